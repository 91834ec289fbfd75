//! `vigo envoy …`

use std::sync::Mutex;

use gitback_envoy::{Config, Options, envoy_key};
use gitback_helper::{EnvoyStatus, Failure, PeerStatus, Reply, Request};
use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::show::{self, Table};
use crate::{cli, failure, fleet};

/// What is logged where `VIGO_LOG` does not say.
const LOG_DEFAULT: &str = "info";

/// How another machine comes in.
const ADD_MACHINE: &str = "to add a machine: vigo envoy ticket, and there: vigo join TICKET";

/// Prints the public key.
pub(crate) fn key(context: &Context, console: &mut Console<'_>) -> Result<(), Stop> {
    let secret =
        envoy_key(&context.layout.identity_dir).map_err(|error| failure::envoy_key(&error))?;
    console.line(secret.public())
}

/// How many places to allocate in the C library keeps; by itself it makes eight for each processor.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");
/// From which size on, in bytes, memory is the system's again as soon as it is free; by itself the C library raises that
/// with what it sees, to 32 MiB.
const APART: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "262144");
/// Each thread keeps no freed pieces for itself: what many threads keep nobody else can use, and the pages that these lie on
/// are never the system's again.
const SHARED: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
/// What a daemon tells the C library by its environment.
pub(crate) const ALLOCATOR: [(&str, &str); 3] = [ARENAS, APART, SHARED];

/// Begins anew with settings that the C library reads at the start of a program only: with a place to allocate in for each
/// of many threads, and what a large pack has taken kept for the next one, a daemon that has nothing to do holds many
/// mebibytes that nobody uses. If it cannot, it goes on.
///
/// Source: mallopt(3), `M_ARENA_MAX` and `M_MMAP_THRESHOLD`; The GNU C Library, "Memory Allocation Tunables".
fn begin_small() {
    use std::os::unix::process::CommandExt as _;
    if std::env::var_os(ARENAS.0).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else {
        return;
    };
    let mut again = std::process::Command::new(program);
    again.arg0(name).args(arguments);
    // What somebody has set stays.
    let unset = |(name, _): &(&str, &str)| std::env::var_os(name).is_none();
    again.envs(ALLOCATOR.into_iter().filter(unset));
    // Only a failure comes back.
    let _ = again.exec();
}

/// Is the daemon, until a signal ends it.
pub(crate) fn run(context: Context, arguments: &cli::EnvoyRun) -> Result<(), Stop> {
    if arguments.background {
        // A terminal that is closed must not end it. Fails only for a process that leads its group, and then there is
        // no need.
        let _ = rustix::process::setsid();
    }
    begin_small();
    let path = &context.layout.config_file;
    let config = Config::load(path).map_err(|error| failure::envoy_config(&error, path))?;
    start_log(&context);
    let name = config.name().to_owned();
    let uid = context.uid();
    let options = Options {
        layout: context.layout,
        config,
        uid,
    };
    let stop = stop_signal()?;
    let ready = |address| {
        // A daemon whose stderr is gone goes on.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("envoy {name} ready on {address}\n"),
        );
        // Nobody else is told where no service manager has asked for it.
        let state = [
            NotifyState::Ready,
            NotifyState::Status(&format!("listens on {address}")),
        ];
        let _ = sd_notify::notify(&state);
    };
    let ended = gitback_envoy::run(options, ready, async {
        // The sender lives as long as the process.
        let _ = stop.await;
    });
    ended.map_err(|error| failure::envoy_run(&error).into())
}

/// Shows this envoy and its peers.
pub(crate) fn status(
    context: &Context,
    json: cli::Json,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let mut daemon = context.daemon()?;
    let status = ask(&mut daemon, console)?;
    if json.json {
        return console.json(&status);
    }
    let (fleet, of_fleet) = fleet::summary(&mut daemon, console)?;
    console.line(format_args!(
        "Envoy {}, version {}, {}",
        show::plain(&status.name),
        show::plain(&status.version),
        mode(&status)
    ))?;
    console.line(format_args!("  Key       {}", show::plain(&status.key)))?;
    console.line(format_args!("  Listens   {}", show::plain(&status.listen)))?;
    let running = status.now_ms.saturating_sub(status.started_ms);
    console.line(format_args!("  Fleet     {fleet}"))?;
    console.line(format_args!("  Running   for {}", show::span(running)))?;
    console.line(format_args!("  Disk      {} % free", status.free_percent))?;
    console.line(format_args!("  Projects  {}", status.projects))?;
    console.line("")?;
    if status.peers.is_empty() {
        console.line("No peers")?;
        fleet::warn(&of_fleet, console);
        if !fleet::is_removed(&of_fleet) {
            console.hint(ADD_MACHINE);
        }
        return Ok(());
    }
    console.line(peers(&status).render())?;
    fleet::warn(&of_fleet, console);
    Ok(())
}

/// Asks the daemon how it is.
pub(crate) fn ask(
    daemon: &mut Daemon<'_>,
    console: &mut Console<'_>,
) -> Result<EnvoyStatus, Failure> {
    match daemon.call(&Request::Envoy, console)? {
        Reply::Envoy(status) => Ok(status),
        other => Err(other.unexpected()),
    }
}

fn mode(status: &EnvoyStatus) -> String {
    match status.mode.as_str() {
        "root" => "for all users of this machine".to_owned(),
        "user" => "for one user".to_owned(),
        "root dir" => "in a directory of its own".to_owned(),
        other => show::plain(other),
    }
}

fn peers(status: &EnvoyStatus) -> Table {
    let mut table = Table::new(&["PEER", "STATE", "LAST SEEN", "ADDRESS", "REASON"]);
    for peer in &status.peers {
        table.row([
            peer.name.clone(),
            peer.state.clone(),
            peer.last_seen_ms
                .map_or_else(|| "never".to_owned(), |seen| show::ago(seen, status.now_ms)),
            peer.address.clone(),
            reason(peer, status.now_ms),
        ]);
    }
    table
}

fn reason(peer: &PeerStatus, now_ms: u64) -> String {
    match (&peer.reason, peer.since_ms) {
        (None, _) => "-".to_owned(),
        (Some(reason), None) => reason.clone(),
        (Some(reason), Some(since)) => {
            format!("{reason}, for {}", show::span(now_ms.saturating_sub(since)))
        }
    }
}

fn start_log(context: &Context) {
    let wanted = context.facts.log.as_ref().and_then(|log| log.to_str());
    let filter = EnvFilter::try_new(wanted.unwrap_or(LOG_DEFAULT))
        .unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
    // It fails only where a log was started before, which then serves as well.
    drop(started);
}

/// Fires at the first SIGTERM, SIGINT or SIGHUP.
fn stop_signal() -> Result<oneshot::Receiver<()>, Failure> {
    let (fire, fired) = oneshot::channel();
    let fire = Mutex::new(Some(fire));
    ctrlc::set_handler(move || {
        let fire = fire.lock().ok().and_then(|mut fire| fire.take());
        if let Some(fire) = fire {
            // If the daemon has ended by itself, there is nothing to stop.
            let _ = fire.send(());
        }
    })
    .map_err(|error| failure::signals(&error))?;
    Ok(fired)
}
