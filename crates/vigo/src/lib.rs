//! The commands that people type: arguments in, report out.
//!
//! Decides what is asked of whom (the session, the daemon, git), in which
//! words the answer is given, and with which exit code. Decides nothing about
//! projects: the daemon does, and what it says is shown. Never opens a
//! repository of the daemon, and keeps no secret longer than it takes to hand
//! it to the session.
//!
//! Read [`run`] and [`Facts`] first. The JSON that it prints is written down in
//! `docs/spec/json.md`.
//!
//! ```
//! let facts = vigo::Facts::from_lookup(1000, &|_variable| None, &|_path| false);
//! let (mut answer, mut talk) = (Vec::new(), Vec::new());
//! let code = vigo::run(&["vigo".into(), "--version".into()], &facts, &mut answer, &mut talk);
//! assert_eq!(code, 0);
//! assert!(answer.starts_with(b"vigo "));
//! ```

mod ask;
mod authority;
mod cli;
mod console;
mod context;
mod copies;
mod desk;
mod envoy;
mod errand;
mod failure;
mod fleet;
mod founding;
mod gate;
mod git;
mod init;
mod keys;
mod man;
mod naming;
mod people;
mod project;
mod puddle;
mod record;
mod renew;
mod session;
mod show;
mod up;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use gitback_helper::{Failure, exit_code};

pub use crate::context::Facts;

use crate::cli::{Cli, Command, Envoy, Gitback, Project, Puddle, Swarm};
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::errand::Errand;

/// Whether this program was started by git, as `git-remote-gitback`.
#[must_use]
pub fn is_remote_helper(arguments: &[OsString]) -> bool {
    called(arguments) == Some(OsStr::new("git-remote-gitback"))
}

/// Does what `arguments` say, the program's name first, and gives the exit
/// code. The answer goes to `answer`; everything else that is said to `talk`.
pub fn run(
    arguments: &[OsString],
    facts: &Facts,
    answer: &mut dyn Write,
    talk: &mut dyn Write,
) -> u8 {
    let arguments = expand(arguments);
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error, &arguments, answer, talk),
    };
    let json = cli.command.wants_json();
    let mut console = Console::new(answer, talk);
    match obey(cli, facts, &mut console).and_then(|()| console.finish()) {
        Ok(()) | Err(Stop::NobodyReads) => 0,
        Err(Stop::Failed(failure)) => {
            match json {
                true => console.failure_as_json(&failure),
                false => console.failure(&failure),
            }
            failure.code
        }
    }
}

fn obey(cli: Cli, facts: &Facts, console: &mut Console<'_>) -> Result<(), Stop> {
    let Cli { root, command } = cli;
    let context = || Context::new(facts.clone(), root.clone());
    let of_daemon = || Context::of_daemon(facts.clone(), root.clone());
    match command {
        Command::Man { dir } => man::write(&dir, console),
        Command::Up(arguments) => up::up(&context()?, &arguments, console),
        Command::Down => up::down(&context()?, console),
        Command::Envoy(Envoy::Key) => envoy::key(&of_daemon()?, console),
        Command::Envoy(Envoy::Run(arguments)) => envoy::run(of_daemon()?, &arguments),
        Command::Envoy(Envoy::Ticket(arguments)) => fleet::ticket(&context()?, &arguments, console),
        Command::Envoy(Envoy::List(json)) => fleet::list(&context()?, json, console),
        Command::Envoy(Envoy::Remove(arguments)) => fleet::remove(&context()?, &arguments, console),
        Command::Envoy(Envoy::Authority(arguments)) => {
            authority::authority(&context()?, &arguments, console)
        }
        Command::Join(arguments) => fleet::join(&context()?, &arguments, console),
        Command::Envoy(Envoy::Status(json)) => envoy::status(&context()?, json, console),
        Command::Swarm(Swarm::Puddle(verb)) => match verb {
            Puddle::Init(arguments) => puddle::init(&context()?, &arguments, console),
            Puddle::Recovery(arguments) => puddle::recovery(&context()?, &arguments, console),
            Puddle::Unlock(arguments) => puddle::unlock(&context()?, &arguments, console),
            Puddle::Lock => puddle::lock(&context()?, console),
            Puddle::Status(json) => puddle::status(&context()?, json, console),
            Puddle::Pair(arguments) => puddle::pair(&context()?, &arguments, console),
            Puddle::Join(arguments) => puddle::join(&context()?, &arguments, console),
            Puddle::Rotate(arguments) => puddle::rotate(&context()?, &arguments, console),
            Puddle::RotatePassphrase(arguments) => {
                puddle::rotate_passphrase(&context()?, &arguments, console)
            }
            Puddle::Leave(arguments) => puddle::leave(&context()?, &arguments, console),
            Puddle::Name(verb) => puddle::name(&context()?, &verb, console),
            Puddle::Names(verb) => puddle::names(&context()?, &verb, console),
            Puddle::Session(arguments) => Ok(session::run(&arguments)?),
        },
        Command::Swarm(Swarm::Gitback(verb)) => match verb {
            Gitback::Status(json) => project::overview(&context()?, json, console),
            Gitback::Log(arguments) => {
                let context = context()?;
                project::log(&mut Errand::begin(&context, console)?, &arguments)
            }
            Gitback::Restore(arguments) => {
                let context = context()?;
                copies::restore(&mut Errand::begin(&context, console)?, &arguments)
            }
            Gitback::Sync(arguments) => {
                let context = context()?;
                copies::sync(&mut Errand::begin(&context, console)?, &arguments)
            }
            Gitback::Purge(arguments) => {
                let context = context()?;
                copies::purge(&mut Errand::begin(&context, console)?, &arguments)
            }
            Gitback::GcOrphans(arguments) => {
                let context = context()?;
                copies::gc_orphans(&mut Errand::begin(&context, console)?, &arguments)
            }
            Gitback::Scrub(arguments) => {
                let context = context()?;
                copies::scrub(&mut Errand::begin(&context, console)?, &arguments)
            }
            Gitback::Project(verb) => obey_project(&context()?, verb, console),
        },
    }
}

fn obey_project(context: &Context, verb: Project, console: &mut Console<'_>) -> Result<(), Stop> {
    let begin = Errand::begin;
    match verb {
        // These two have something to do before the daemon is asked, or without it.
        Project::Init(arguments) => init::init(context, &arguments, console),
        Project::Leave(arguments) => project::leave(context, &arguments, console),
        Project::List(json) => project::list(&mut begin(context, console)?, json),
        Project::Status(arguments) => project::status(&mut begin(context, console)?, &arguments),
        Project::Invite(arguments) => project::invite(&mut begin(context, console)?, &arguments),
        Project::Join(arguments) => project::join(&mut begin(context, console)?, &arguments),
        Project::Revoke(arguments) => project::revoke(&mut begin(context, console)?, &arguments),
        Project::Rejoin(arguments) => project::rejoin(&mut begin(context, console)?, &arguments),
        Project::Policy(arguments) => project::policy(&mut begin(context, console)?, &arguments),
        Project::Reanchor(arguments) => {
            project::reanchor(&mut begin(context, console)?, &arguments)
        }
        Project::ReinviteAll(arguments) => {
            project::invite_again(&mut begin(context, console)?, &arguments)
        }
        Project::Refound(arguments) => project::refound(&mut begin(context, console)?, &arguments),
        Project::PickLine(arguments) => {
            project::pick_line(&mut begin(context, console)?, &arguments)
        }
        Project::Ungrant(arguments) => project::ungrant(&mut begin(context, console)?, &arguments),
    }
}

/// The name under which this program was called.
fn called(arguments: &[OsString]) -> Option<&OsStr> {
    Path::new(arguments.first()?).file_name()
}

/// `git gitback …` is short for `vigo swarm gitback …`.
fn expand(arguments: &[OsString]) -> Vec<OsString> {
    let prefix: &[&str] = match called(arguments).and_then(OsStr::to_str) {
        Some("git-gitback") => &["vigo", "swarm", "gitback"],
        _ => &["vigo"],
    };
    let prefix = prefix.iter().map(OsString::from);
    prefix.chain(arguments.iter().skip(1).cloned()).collect()
}

/// Help and version are answers; everything else is a wrong command line.
fn not_parsed(
    error: &clap::Error,
    arguments: &[OsString],
    answer: &mut dyn Write,
    talk: &mut dyn Write,
) -> u8 {
    let text = format!("{}{}", error.render(), hints(error, arguments));
    if !error.use_stderr() {
        // Nobody may be there to read it.
        let _ = write!(answer, "{text}").and_then(|()| answer.flush());
        return 0;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let first = text.lines().next().unwrap_or_default();
        let what = first.strip_prefix("error: ").unwrap_or(first);
        let failure = Failure::new(exit_code::USAGE, what);
        Console::new(answer, talk).failure_as_json(&failure);
        return exit_code::USAGE;
    }
    let _ = write!(talk, "{text}");
    exit_code::USAGE
}

/// What was meant by a wrong command line, as lines: the whole commands that end in the word which is none here.
fn hints(error: &clap::Error, arguments: &[OsString]) -> String {
    let meant = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => {
            cli::commands_called(word)
        }
        // `vigo join` is about a fleet; most people who type it bare have the other one in mind.
        (ErrorKind::MissingRequiredArgument, _) if arguments.get(1..) == Some(&["join".into()]) => {
            vec!["vigo swarm puddle join".to_owned()]
        }
        // `status` is about all projects; one has a verb of its own.
        (ErrorKind::UnknownArgument, _) => match arguments.get(1..) {
            Some([swarm, gitback, status, project])
                if swarm == "swarm"
                    && gitback == "gitback"
                    && status == "status"
                    && !project.to_string_lossy().starts_with('-') =>
            {
                let project = show::plain(&project.to_string_lossy());
                vec![format!("vigo swarm gitback project status {project}")]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let hint = |command: String| format!("hint:  did you mean `{command}`?\n");
    meant.into_iter().map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn is_called_by_several_names() {
        let check = |line: &str, expected: &str| assert_eq!(expand(&words(line)), words(expected));
        check("vigo envoy key", "vigo envoy key");
        check("/usr/bin/vigocli envoy key", "vigo envoy key");
        check(
            "/usr/lib/git-core/git-gitback status",
            "vigo swarm gitback status",
        );
        assert!(is_remote_helper(&words("/usr/bin/git-remote-gitback a b")));
        assert!(!is_remote_helper(&words("vigo git-remote-gitback")));
        assert!(!is_remote_helper(&[]));
    }

    fn say(line: &str) -> (u8, String, String) {
        let facts = Facts::from_lookup(1000, &|_| None, &|_| false);
        let (mut answer, mut talk) = (Vec::new(), Vec::new());
        let code = run(&words(line), &facts, &mut answer, &mut talk);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (code, text(answer), text(talk))
    }

    #[test]
    fn help_is_an_answer_and_a_wrong_line_is_not() {
        let (code, answer, talk) = say("vigo swarm puddle --help");
        assert_eq!((code, talk.as_str()), (0, ""));
        assert!(answer.contains("unlock") && !answer.contains("session"));

        let (code, answer, talk) = say("vigo swarm puddle unlok");
        assert_eq!((code, answer.as_str()), (2, ""));
        assert!(
            talk.starts_with("error: ") && talk.contains("unlock"),
            "{talk}"
        );

        let hints = |line: &str| {
            let (code, _, talk) = say(line);
            assert_eq!(code, 2, "{line}");
            let hints = talk
                .lines()
                .filter_map(|line| line.strip_prefix("hint:  did you mean `"));
            hints
                .map(|hint| hint.trim_end_matches("`?").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(hints("vigo pair"), ["vigo swarm puddle pair"]);
        assert_eq!(hints("vigo swarm unlock"), ["vigo swarm puddle unlock"]);
        assert_eq!(hints("vigo join"), ["vigo swarm puddle join"]);
        let one = "vigo swarm gitback project status notes";
        assert_eq!(hints("vigo swarm gitback status notes"), [one]);
        assert_eq!(hints("vigo nonsense"), Vec::<String>::new());
        assert_eq!(
            hints("vigo session"),
            Vec::<String>::new(),
            "it is not for people"
        );
        assert_eq!(
            hints("vigo status"),
            [
                "vigo envoy status",
                "vigo swarm puddle status",
                "vigo swarm gitback status",
                "vigo swarm gitback project status",
            ]
        );

        let (code, _, talk) = say("vigo swarm gitback status --json --nosuch");
        assert_eq!(code, 2);
        assert!(
            talk.starts_with("{\"message_type\":\"error\",\"code\":2,"),
            "{talk}"
        );
    }
}
