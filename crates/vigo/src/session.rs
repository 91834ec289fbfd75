//! Starting the process that holds the unlocked key, and being it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use gitback_helper::Failure;
use gitback_identity::{PuddleKey, SecretKey};
use gitback_puddle::Public;
use gitback_puddle::session::{Server, harden};
use zeroize::Zeroizing;

use crate::cli;
use crate::context::Context;
use crate::failure;

/// What the session says once it listens.
const READY: &str = "ready";
/// The longest answer that is read from a starting session, in bytes.
const ANSWER_MAX: u64 = 4096;

/// Starts a session and returns when it answers.
///
/// The seed goes over a pipe: arguments and environment can be read by others.
pub(crate) fn start(
    context: &Context,
    secret: &SecretKey,
    public: &Public,
    length: Duration,
) -> Result<(), Failure> {
    let program = context
        .facts
        .program
        .as_ref()
        .ok_or_else(|| failure::session_start("this program does not know its own file"))?;
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut command = Command::new(program);
    command
        .arg0("vigo")
        .args(["swarm", "puddle", "session", "--socket"])
        .arg(&context.layout.session_socket)
        .args(["--name", public.name.as_str()])
        .args(["--for-ms", &millis.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let fault = |error: std::io::Error| failure::session_start(error.to_string());
    let mut child = command.spawn().map_err(fault)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A session that ended already says why on its stdout.
        let _ = stdin.write_all(secret.seed());
    }
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut limited = BufReader::new(stdout.take(ANSWER_MAX));
        limited.read_line(&mut answer).map_err(fault)?;
    }
    match answer.trim_end() {
        READY => Ok(()),
        "" => Err(failure::session_start("it ended at once")),
        why => Err(failure::session_start(why)),
    }
}

/// Is the session: reads the seed from stdin, says on stdout that it is ready
/// or what is wrong, and serves until the end.
pub(crate) fn run(arguments: &cli::Session) -> Result<(), Failure> {
    // A terminal that is closed must not end it. Fails only for a process
    // that leads its group, and then there is no need.
    let _ = rustix::process::setsid();
    harden();
    let mut say = std::io::stdout();
    let prepared = prepare(arguments);
    let (server, secret, public) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            // Nobody may be left to tell.
            let _ = writeln!(say, "{why}");
            return Err(failure::session_start(why));
        }
    };
    let _ = writeln!(say, "{READY}").and_then(|()| say.flush());
    let_go_of_stdout();
    let length = Duration::from_millis(arguments.for_ms);
    let ended = server.run(secret, public, length, None);
    ended
        .map(|_| ())
        .map_err(|error| failure::session_start(failure::chain(&error)))
}

fn prepare(arguments: &cli::Session) -> Result<(Server, SecretKey, Public), String> {
    let mut seed = Zeroizing::new([0; 32]);
    std::io::stdin()
        .read_exact(seed.as_mut())
        .map_err(|error| format!("no key arrived: {error}"))?;
    let secret = SecretKey::from_seed(&seed);
    let name = arguments
        .name
        .parse()
        .map_err(|reject| failure::chain(&reject))?;
    let public = Public {
        name,
        key: PuddleKey::new(secret.public()),
        created_ms: 0,
    };
    let server = Server::bind(&arguments.socket).map_err(|error| failure::chain(&error))?;
    Ok((server, secret, public))
}

/// Whoever waits for the end of our output must not wait for hours.
fn let_go_of_stdout() {
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
