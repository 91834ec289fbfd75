//! Starting the process that holds the unlocked key, and being it.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use gitback_helper::Failure;
use gitback_identity::{PuddleKey, SecretKey};
use gitback_puddle::Public;
use gitback_puddle::session::{Server, Vault, harden};

use crate::context::Context;
use crate::{ask, cli, failure};

/// What the session says once it listens.
const READY: &str = "ready";
/// The same where its memory could not be locked.
const READY_SWAPPABLE: &str = "ready, swappable";
/// The longest answer that is read from a starting session, in bytes.
const ANSWER_MAX: u64 = 4096;

/// How well a session keeps its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// Out of the swap.
    Locked,
    /// As well as the system allows.
    Swappable,
}

/// Starts a session and returns when it answers.
///
/// The seed goes over a pipe: arguments and environment can be read by others.
pub(crate) fn start(
    context: &Context,
    secret: &SecretKey,
    public: &Public,
    length: Duration,
    idle: Option<Duration>,
) -> Result<Started, Failure> {
    let program = context
        .facts
        .program
        .as_ref()
        .ok_or_else(|| failure::session_start("this program does not know its own file"))?;
    let millis = |time: Duration| {
        u64::try_from(time.as_millis())
            .unwrap_or(u64::MAX)
            .to_string()
    };
    let mut command = Command::new(program);
    command
        .arg0("vigo")
        .args(["swarm", "puddle", "session", "--socket"])
        .arg(&context.layout.session_socket)
        .args(["--name", public.name.as_str()])
        .args(["--for-ms", &millis(length)])
        .args(
            idle.iter()
                .flat_map(|idle| ["--idle-ms".to_owned(), millis(*idle)]),
        )
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
        READY => Ok(Started::Locked),
        READY_SWAPPABLE => Ok(Started::Swappable),
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
    let hardened = harden();
    let mut say = std::io::stdout();
    let prepared = match hardened.closed.tracer {
        Some(pid) => Err(format!("process {pid} traces it, and would see the key")),
        None => prepare(arguments),
    };
    let (server, vault, public) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            // Nobody may be left to tell.
            let _ = writeln!(say, "{why}");
            return Err(failure::session_start(why));
        }
    };
    let ready = match vault.is_locked() {
        true => READY,
        false => READY_SWAPPABLE,
    };
    let _ = writeln!(say, "{ready}").and_then(|()| say.flush());
    let_go_of_stdout();
    let length = Duration::from_millis(arguments.for_ms);
    let idle = arguments.idle_ms.map(Duration::from_millis);
    let ended = server.run(vault, public, length, idle);
    ended
        .map(|_| ())
        .map_err(|error| failure::session_start(failure::chain(&error)))
}

fn prepare(arguments: &cli::Session) -> Result<(Server, Vault, Public), String> {
    // Not through the usual reader of stdin, whose buffer would keep the seed.
    let vault = ask::raw_stdin()
        .and_then(|mut stdin| Vault::read(&mut stdin))
        .map_err(|error| format!("no key arrived: {error}"))?;
    let name = arguments
        .name
        .parse()
        .map_err(|reject| failure::chain(&reject))?;
    let public = Public {
        name,
        key: PuddleKey::new(vault.secret().public()),
        created_ms: 0,
    };
    let server = Server::bind(&arguments.socket).map_err(|error| failure::chain(&error))?;
    Ok((server, vault, public))
}

/// Whoever waits for the end of our output must not wait for hours.
fn let_go_of_stdout() {
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
