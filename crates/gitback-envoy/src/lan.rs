//! Which envoys are near: each says by multicast DNS which key it has and on which port it listens, and hears others.
//!
//! What is heard is a rumour: whoever answers at an address has to prove the key as always. So nothing is decided here,
//! and only what one machine may make this one remember is bounded.
//!
//! Source: docs/spec/lan.md; RFC 6762, RFC 6763.

mod near;

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gitback_identity::EnvoyKey;
use mdns_sd::{IfKind, Receiver, RecvTimeoutError, ServiceDaemon, ServiceEvent, ServiceInfo};

use near::Near;

/// The kind of service that envoys are.
const SERVICE: &str = "_gitback._tcp.local.";
/// The one property: the whole key, in hex. A label of DNS is too short for it.
const KEY: &str = "key";
/// Envoys nearby, and records of them, that are remembered. With more all are forgotten, and nothing is heard for a while.
const FOUND_MAX: usize = 1024;
const RECORDS_MAX: i64 = 8192;
/// How long the end may take to be noticed when the library is too busy to say that it ended.
const WAKE_EVERY: Duration = Duration::from_secs(1);
/// How often the records are counted, and how long that may take before it is taken for too many.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long nothing is heard after a flood or a fault.
const REST: Duration = Duration::from_secs(60);

/// Says that this envoy is here and listens for others, until it is dropped.
pub(crate) struct LanHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Why envoys that are near are not found. The daemon goes on without.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LanError {
    /// There is no multicast here, or it does not take our service.
    #[error("cannot use multicast DNS")]
    Multicast(#[source] mdns_sd::Error),
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Begins to advertise `key` at `port` on every network of this machine, and to tell `on_sighting` of others: their key
/// and a `host:port`, again and again while they are there. It is called on a thread of its own, at most
/// [`near::SIGHTINGS_RATE`] times a second in the long run.
///
/// # Errors
///
/// [`LanError`] if that cannot begin. What goes wrong later is a line in the log, and tried again.
pub(crate) fn start(
    key: EnvoyKey,
    port: u16,
    on_sighting: impl FnMut(EnvoyKey, String) + Send + 'static,
) -> Result<LanHandle, LanError> {
    start_on(Network::Lan, key, port, on_sighting)
}

/// Where to be heard.
#[derive(Debug, Clone, Copy)]
enum Network {
    Lan,
    /// This machine only, on another port than that of multicast DNS.
    #[cfg(test)]
    Loopback(u16),
}

struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

struct State {
    stopping: bool,
    daemon: Option<ServiceDaemon>,
}

struct Worker<F> {
    shared: Arc<Shared>,
    network: Network,
    key: EnvoyKey,
    port: u16,
    near: Near,
    on_sighting: F,
}

fn start_on(
    network: Network,
    key: EnvoyKey,
    port: u16,
    on_sighting: impl FnMut(EnvoyKey, String) + Send + 'static,
) -> Result<LanHandle, LanError> {
    let (daemon, events) = begin(network, &key, port).map_err(LanError::Multicast)?;
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            stopping: false,
            daemon: Some(daemon),
        }),
        stopped: Condvar::new(),
    });
    let worker = Worker {
        shared: Arc::clone(&shared),
        network,
        key,
        port,
        near: Near::new(key, Instant::now()),
        on_sighting,
    };
    // Dropping the handle ends the daemon also when the thread could not be started.
    let mut handle = LanHandle {
        shared,
        thread: None,
    };
    let thread = std::thread::Builder::new()
        .name("lan".to_owned())
        .stack_size(1 << 20)
        .spawn(move || worker.run(events));
    handle.thread = Some(thread.map_err(LanError::Thread)?);
    Ok(handle)
}

/// The name under which an envoy is found: enough of its key to differ, and nothing of its machine.
fn instance(key: &EnvoyKey) -> String {
    format!("gitback-{}", key.short())
}

fn begin(
    network: Network,
    key: &EnvoyKey,
    port: u16,
) -> mdns_sd::Result<(ServiceDaemon, Receiver<ServiceEvent>)> {
    let daemon = match network {
        Network::Lan => {
            let daemon = ServiceDaemon::new()?;
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
            daemon
        }
        #[cfg(test)]
        Network::Loopback(port) => {
            let daemon = ServiceDaemon::new_with_port(port)?;
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::LoopbackV4)?;
            daemon
        }
    };
    let begun = advertise(&daemon, key, port).and_then(|()| daemon.browse(SERVICE));
    match begun {
        Ok(events) => Ok((daemon, events)),
        Err(error) => {
            end(Some(daemon));
            Err(error)
        }
    }
}

fn advertise(daemon: &ServiceDaemon, key: &EnvoyKey, port: u16) -> mdns_sd::Result<()> {
    let name = instance(key);
    let host = format!("{name}.local.");
    let properties = [(KEY, key.to_string())];
    let service = ServiceInfo::new(SERVICE, &name, &host, "", port, &properties[..])?;
    daemon.register(service.enable_addr_auto())
}

/// Ends the thread of the library, which says goodbye first.
fn end(daemon: Option<ServiceDaemon>) {
    // It fails only if it has ended, or is so far behind that it ends when the last of its handles is gone.
    let _ = daemon.map(|daemon| daemon.shutdown());
}

/// Whether it remembers more than it may, or has so much to do that it does not say.
fn is_crowded(daemon: &ServiceDaemon) -> bool {
    let counted = daemon
        .get_metrics()
        .ok()
        .and_then(|answer| answer.recv_timeout(ANSWER_WITHIN).ok());
    counted.is_none_or(|counts| {
        let remembered = counts
            .iter()
            .filter(|(name, _)| name.starts_with("cached-"));
        let records = remembered.fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        records > RECORDS_MAX
    })
}

impl<F: FnMut(EnvoyKey, String)> Worker<F> {
    fn run(mut self, events: Receiver<ServiceEvent>) {
        let mut events = Some(events);
        while let Some(heard) = events.take() {
            let reason = self.listen(&heard);
            drop(heard);
            if self.shared.end() {
                return;
            }
            tracing::warn!(
                reason,
                seconds = REST.as_secs(),
                "envoys nearby are not looked for"
            );
            events = self.begin_again();
        }
    }

    /// Hears others until that cannot go on, and says why.
    fn listen(&mut self, events: &Receiver<ServiceEvent>) -> &'static str {
        const CROWDED: &str = "the network says too much of envoys";
        let mut looked = Instant::now();
        let mut found = 0_usize;
        loop {
            match events.recv_timeout(WAKE_EVERY) {
                Ok(ServiceEvent::ServiceResolved(service)) => {
                    self.near
                        .sight(&service, Instant::now(), &mut self.on_sighting);
                }
                Ok(ServiceEvent::ServiceFound(..)) => found += 1,
                Ok(ServiceEvent::ServiceRemoved(..)) => found = found.saturating_sub(1),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return "multicast DNS ended",
            }
            if found > FOUND_MAX {
                return CROWDED;
            }
            let Some(daemon) = self.shared.daemon() else {
                return "nobody wants to know";
            };
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                if is_crowded(&daemon) {
                    return CROWDED;
                }
            }
        }
    }

    /// Waits and begins anew, until that succeeds or there is nobody to do it for.
    fn begin_again(&mut self) -> Option<Receiver<ServiceEvent>> {
        loop {
            if self.shared.rest() {
                return None;
            }
            match begin(self.network, &self.key, self.port) {
                Ok((daemon, events)) => {
                    return self.shared.take_over(daemon).then_some(events);
                }
                Err(error) => tracing::debug!(%error, "no multicast DNS"),
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn daemon(&self) -> Option<ServiceDaemon> {
        self.state().daemon.clone()
    }

    /// Ends what runs. Whether nothing is to follow.
    fn end(&self) -> bool {
        let mut state = self.state();
        end(state.daemon.take());
        state.stopping
    }

    /// Waits for [`REST`], or less if there is nobody to wait for any more, and says so.
    fn rest(&self) -> bool {
        let state = self.state();
        let waited = self
            .stopped
            .wait_timeout_while(state, REST, |state| !state.stopping);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stopping
    }

    /// Keeps what was begun, unless there is nobody to begin it for any more.
    fn take_over(&self, daemon: ServiceDaemon) -> bool {
        let mut state = self.state();
        if state.stopping {
            end(Some(daemon));
        } else {
            state.daemon = Some(daemon);
        }
        !state.stopping
    }
}

impl fmt::Debug for LanHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanHandle").finish_non_exhaustive()
    }
}

impl Drop for LanHandle {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.stopping = true;
        // A thread that listens hears that nothing more comes; one that rests wakes up.
        end(state.daemon.take());
        drop(state);
        self.shared.stopped.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
