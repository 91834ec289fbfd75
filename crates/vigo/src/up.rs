//! `vigo up` and `vigo down`: this machine's envoy as a service, without a page of instructions.
//!
//! With systemd it is a unit: the machine's for root, the user's own otherwise. Without systemd, and below a directory
//! that `--root` names, it is a process in the background.

mod background;
mod settings;
mod unit;

use std::path::Path;
use std::time::{Duration, Instant};

use gitback_envoy::Config;
use gitback_helper::{EnvoyStatus, Failure, Mode, Reply, Request, exit_code};

use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, cli, failure, show};

use background::Alone;
use unit::{Manager, Standing};

/// How long a daemon may take until it answers. With many projects, some of which a crash left unfinished, it has to
/// do before it opens its socket.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a daemon may take to end: it lets transfers finish for some seconds.
const END_MAX: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Makes this machine's envoy run, and says what comes next.
pub(crate) fn up(
    context: &Context,
    arguments: &cli::Up,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    start(context, arguments, console)?;
    if context.puddle_if_any()?.is_none() {
        console.hint("the first of your machines:  vigo swarm puddle init");
        console.hint("one more of your machines:   vigo swarm puddle join");
    }
    Ok(())
}

/// Makes the envoy run, now and, where something sees to it, after the next start of the machine.
fn start(context: &Context, arguments: &cli::Up, console: &mut Console<'_>) -> Result<(), Stop> {
    let config = &context.layout.config_file;
    if let Some(status) = answering(context)? {
        console.line(format_args!(
            "Envoy {} runs already, for {}",
            show::plain(&status.name),
            show::span(status.now_ms.saturating_sub(status.started_ms))
        ))?;
        if arguments.sets_something() {
            console.warning("what you have asked for was not applied: an envoy reads its settings when it starts");
            console.hint(format_args!("change them: {}", config.display()));
            console.hint("then: vigo down && vigo up");
        }
        return Ok(());
    }
    refuse_beside_the_machines(context)?;
    let made = settings::write_if_missing(context, arguments)?;
    let settings = Config::load(config).map_err(|error| failure::envoy_config(&error, config))?;
    warn_of_what_is_missing(context, console);
    let manager = match arguments.no_service {
        true => None,
        false => Manager::find(context),
    };
    let keeper = match &manager {
        Some(manager) => {
            manager.install(context)?;
            Keeper::Unit(manager, manager.enable(context)?)
        }
        None => Keeper::Nobody(background::start(context)?),
    };
    let status = wait_until_it_answers(context, keeper, console)?;
    console.line(format_args!("Envoy {} runs", show::plain(&status.name)))?;
    console.line(format_args!("  Listens   {}", show::plain(&status.listen)))?;
    let note = if made { " (written now)" } else { "" };
    console.line(format_args!("  Settings  {}{note}", config.display()))?;
    console.line(format_args!(
        "  State     {}",
        context.layout.state_dir.display()
    ))?;
    match &manager {
        Some(manager) => console.line(format_args!("  Service   {}", manager.described()))?,
        None => console.line(format_args!(
            "  Log       {}",
            background::log_file(&context.layout.state_dir).display()
        ))?,
    }
    match &manager {
        Some(manager) if manager.ends_with_the_login(context) => {
            console
                .warning("it ends when you log out, and does not start by itself with the machine");
            console.hint(format_args!(
                "let it run always: loginctl enable-linger {}",
                context.facts.user_name()
            ));
        }
        Some(_) => {}
        None => {
            console.warning("it does not start by itself when the machine does");
            console.hint("after a restart of the machine: vigo up");
        }
    }
    if settings.listen().ip().is_loopback() && context.layout.mode != Mode::RootDir {
        console.warning(format_args!(
            "it listens on {}, where no other machine reaches it",
            settings.listen()
        ));
    }
    Ok(())
}

/// Ends this machine's envoy, and sees to it that it stays so. Nothing that it keeps is touched.
pub(crate) fn down(context: &Context, console: &mut Console<'_>) -> Result<(), Stop> {
    let manager = Manager::find(context).filter(|manager| manager.has_unit());
    let before = answering(context)?;
    if let Some(manager) = &manager {
        manager.disable(context)?;
    }
    // Somebody may have started it by hand.
    if let Some(process) = background::serving(&context.layout.helper_socket) {
        background::end(process).map_err(|error| cannot_end(&error.to_string()))?;
    }
    let begun = Instant::now();
    while background::is_locked(&context.layout.state_dir) {
        if begun.elapsed() > END_MAX {
            let why = format!("it still runs after {}", show::span(millis(END_MAX)));
            return Err(cannot_end(&why).hint("see why: vigo envoy status").into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    match before {
        Some(status) => console.line(format_args!(
            "Envoy {} has ended",
            show::plain(&status.name)
        ))?,
        None => console.line("No envoy ran here")?,
    }
    console.hint("its projects stay where they are; start it again: vigo up");
    Ok(())
}

/// Whether an envoy is wanted where none runs: what the flags say; else, on a terminal, what the person says.
pub(crate) fn offer(
    context: &Context,
    wanted: cli::WithEnvoy,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    if wanted.no_up || answering(context)?.is_some() {
        return Ok(());
    }
    let question = "No envoy runs on this machine, so nothing is replicated. Start one? [Y/n] ";
    let starts = wanted.up || (ask::is_terminal() && ask::not_no(question, console)?);
    if !starts {
        console.hint("no envoy runs on this machine; start one: vigo up");
        return Ok(());
    }
    start(context, &cli::Up::default(), console)
}

/// The envoy that serves this user, if one does.
fn answering(context: &Context) -> Result<Option<EnvoyStatus>, Failure> {
    let Ok(mut daemon) = context.hasty_daemon() else {
        return Ok(None);
    };
    match daemon.quiet_call(&Request::Envoy) {
        Ok(Reply::Envoy(status)) => Ok(Some(status)),
        Ok(other) => Err(other.unexpected()),
        // It ended in the middle of the answer.
        Err(failure) if failure.code == exit_code::UNREACHABLE => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A user of a machine with an envoy for all has no use for another one.
fn refuse_beside_the_machines(context: &Context) -> Result<(), Failure> {
    if context.uid() == 0 || context.layout.mode != Mode::Root {
        return Ok(());
    }
    let what = "root runs the envoy of this machine, and it does not answer";
    Err(Failure::new(exit_code::UNREACHABLE, what)
        .because(format!(
            "{} is there and nobody serves it",
            context.layout.helper_socket.display()
        ))
        .hint("start it: sudo vigo up"))
}

fn warn_of_what_is_missing(context: &Context, console: &mut Console<'_>) {
    let on_path = |program: &str| {
        let path = context.facts.path.as_deref().unwrap_or_default();
        std::env::split_paths(path).any(|dir| dir.join(program).is_file())
    };
    if !on_path("git") {
        console.warning("there is no git on PATH, and the envoy needs it");
        console.hint("install it: apt-get install git");
    }
    if !on_path("git-remote-gitback") {
        console.warning(
            "there is no git-remote-gitback on PATH: git will not know gitback:// addresses",
        );
        let dir = context.facts.program.as_deref().and_then(Path::parent);
        let dir = dir.map_or_else(
            || "its directory".to_owned(),
            |dir| dir.display().to_string(),
        );
        console.hint(format_args!(
            "put it beside vigo, in {dir}, and that directory on PATH"
        ));
    }
}

/// Who looks after a daemon that is starting.
enum Keeper<'a> {
    /// With how the unit was before.
    Unit(&'a Manager, Standing),
    Nobody(Alone),
}

fn wait_until_it_answers(
    context: &Context,
    mut keeper: Keeper<'_>,
    console: &mut Console<'_>,
) -> Result<EnvoyStatus, Failure> {
    let begun = Instant::now();
    let mut said = Duration::ZERO;
    loop {
        if let Some(status) = answering(context)? {
            return Ok(status);
        }
        let waited = begun.elapsed();
        let failed = match &mut keeper {
            Keeper::Unit(manager, before) => manager.failed(context, *before),
            Keeper::Nobody(alone) => alone.has_failed(),
        };
        if !failed && waited > READY_MAX {
            return Err(still_starting());
        }
        if failed {
            let last_words = match &keeper {
                Keeper::Unit(manager, _) => {
                    let last_words = manager.last_words(context);
                    // It would be started again and again, and say the same.
                    manager.disable(context)?;
                    last_words
                }
                Keeper::Nobody(alone) => alone.last_words(),
            };
            return Err(did_not_start(&last_words));
        }
        if waited.saturating_sub(said) > Duration::from_secs(2) {
            said = waited;
            console.progress(format_args!(
                "waiting for the envoy ({} s)",
                waited.as_secs()
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// It may have much to do before it opens its socket. It is left alone.
fn still_starting() -> Failure {
    let what = format!(
        "the envoy does not answer after {}",
        show::span(millis(READY_MAX))
    );
    Failure::new(exit_code::UNREACHABLE, what)
        .because("it is still starting, and goes on")
        .hint("ask again in a while: vigo envoy status")
        .hint("end it: vigo down")
}

fn did_not_start(log: &str) -> Failure {
    let failure = Failure::new(exit_code::FAILED, "the envoy did not start");
    let failure = match log.trim() {
        "" => failure,
        log => failure.because(log),
    };
    failure.hint("see it fail: vigo envoy run")
}

fn cannot_end(why: &str) -> Failure {
    Failure::new(exit_code::FAILED, "cannot end the envoy").because(why)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
