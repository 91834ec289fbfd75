//! Drives what `gitback-gossip` decides: hands in what happens, and carries out what comes back.
//!
//! One thread waits for news or for the next timer. Whatever takes time runs elsewhere; how many such things run at
//! once is bounded by the node, which has a bounded number of commands open.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gitback_envelope::Scope;
use gitback_gossip::{EARLIER_MAX, Failure, Input, Millis, Node, Output, Settings};
use gitback_identity::{EnvoyKey, ProjectId};
use gitback_peer::CallError;

use crate::catch_up::classify_call;
use crate::cell::{Cell, ROUND_MAX, State};
use crate::contact;
use crate::daemon::Envoy;
use crate::fanout;
use crate::peers::Neighbour;

/// Most gossip messages in one request to a peer.
const MESSAGES_MAX: usize = 64;

// Whoever shows what was held before a round, or within it, is behind and no more.
const _: () = assert!(EARLIER_MAX >= ROUND_MAX + 8);

/// The node, and the thread that waits for it.
#[derive(Debug)]
pub(crate) struct Heal {
    inner: Mutex<Inner>,
    news: Condvar,
    begun: Instant,
}

#[derive(Debug)]
struct Inner {
    node: Node,
    stopping: bool,
}

impl Heal {
    /// A node that knows nobody yet.
    pub(crate) fn new(me: EnvoyKey, seed: [u8; 32], contact_interval: Duration) -> Self {
        let begun = Instant::now();
        let tick = Millis(u64::try_from(contact_interval.as_millis()).unwrap_or(u64::MAX));
        let node = Node::new(me, seed, Settings::with_tick(tick), Millis(0));
        Self {
            inner: Mutex::new(Inner {
                node,
                stopping: false,
            }),
            news: Condvar::new(),
            begun,
        }
    }

    /// Hands in what happened.
    pub(crate) fn tell(&self, input: Input) {
        let now = self.now();
        self.inner().node.handle(now, input);
        self.news.notify_all();
    }

    /// Says what is held of a project now. The fleet is told, unless the project is for its members' envoys only.
    pub(crate) fn changed(&self, cell: &Cell) {
        self.changed_to(cell, &cell.lock());
    }

    /// The same for whoever has the project's lock.
    pub(crate) fn changed_to(&self, cell: &Cell, state: &State) {
        self.note(cell.id(), state, true);
    }

    /// Says what is held of a project, as it was before the daemon started: no news to anybody.
    pub(crate) fn holds(&self, cell: &Cell) {
        self.note(cell.id(), &cell.lock(), false);
    }

    /// Says what was held of a project on the way to what is held now, though nobody was shown it: whoever shows it has
    /// nothing that is missing here.
    pub(crate) fn passed(&self, project: &ProjectId, digest: [u8; 32]) {
        self.tell(Input::Holds {
            project: *project,
            digest,
            spread: false,
        });
    }

    /// Says that a project is no longer held here, and is not to be.
    pub(crate) fn dropped(&self, project: &ProjectId) {
        self.tell(Input::Dropped { project: *project });
    }

    /// Under the project's lock, so that what is said last is what holds.
    fn note(&self, id: &ProjectId, state: &State, is_news: bool) {
        if state.fold().founder().is_none() {
            return;
        }
        self.tell(Input::Holds {
            project: *id,
            digest: state.shown_digest(),
            spread: is_news && state.fold().policy().scope == Scope::SwarmWide,
        });
    }

    /// Notes that a push did not reach a peer.
    pub(crate) fn owes(&self, to: &EnvoyKey, project: &ProjectId, reason: String) {
        self.tell(Input::Owes {
            to: *to,
            project: *project,
            reason,
        });
    }

    /// Notes a sign of life.
    pub(crate) fn answered(&self, peer: &EnvoyKey) {
        self.tell(Input::Answered { peer: *peer });
    }

    /// Has every peer asked what it holds, now.
    pub(crate) fn compare_all(&self) {
        self.tell(Input::CompareAll);
    }

    /// Has one peer asked what it holds, soon.
    pub(crate) fn compare(&self, peer: &EnvoyKey) {
        self.tell(Input::CompareSoon { with: *peer });
    }

    /// Whether what a peer shows of a project was held here lately: then the peer is merely behind.
    pub(crate) fn had(&self, project: &ProjectId, digest: &[u8; 32]) -> bool {
        self.inner().node.had(project, digest)
    }

    /// Why a peer is left alone for now, if it is.
    pub(crate) fn penalty(&self, peer: &EnvoyKey) -> Option<String> {
        let standing = self.inner().node.standing(peer)?;
        let (_, lie) = standing.penalty?;
        Some(format!("left alone for a while: {lie}"))
    }

    /// Ends [`Heal::run`].
    pub(crate) fn stop(&self) {
        self.inner().stopping = true;
        self.news.notify_all();
    }

    /// Carries out commands until [`Heal::stop`].
    pub(crate) fn run(&self, envoy: &Arc<Envoy>) {
        let mut inner = self.inner();
        while !inner.stopping {
            let mut commands = Vec::new();
            while let Some(command) = inner.node.poll() {
                commands.push(command);
            }
            if !commands.is_empty() {
                drop(inner);
                perform(envoy, commands);
                inner = self.inner();
                continue;
            }
            let now = self.now();
            let left = match inner.node.next_wake() {
                Some(at) if at <= now => {
                    inner.node.handle(now, Input::Wake);
                    continue;
                }
                Some(at) => Duration::from_millis(at.0.saturating_sub(now.0)),
                None => Duration::from_secs(60),
            };
            let waited = self.news.wait_timeout(inner, left);
            inner = waited.expect("no thread panics with the node").0;
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics with the node")
    }
}

fn perform(envoy: &Arc<Envoy>, commands: Vec<Output>) {
    let mut messages: BTreeMap<EnvoyKey, Vec<Vec<u8>>> = BTreeMap::new();
    for command in commands {
        match command {
            Output::Message { to, bytes } => messages.entry(to).or_default().push(bytes),
            Output::Compare { with } => in_turn(
                envoy,
                with,
                |envoy, neighbour| contact::compare(envoy, neighbour),
                move |outcome| Input::Compared { with, outcome },
            ),
            Output::CatchUp { project, from } => in_turn(
                envoy,
                from,
                move |envoy, neighbour| contact::catch_up_from(envoy, &project, neighbour),
                move |outcome| Input::CaughtUp {
                    project,
                    from,
                    outcome,
                },
            ),
            Output::Deliver { project, to } => in_turn(
                envoy,
                to,
                move |envoy, neighbour| deliver(envoy, &project, neighbour),
                move |outcome| Input::Delivered {
                    to,
                    project,
                    outcome,
                },
            ),
            Output::Moved { peer, addresses } => {
                if let Some(neighbour) = envoy.neighbour(&peer) {
                    tracing::info!(peer = neighbour.name(), ?addresses, "may be reached here");
                    neighbour.note_addresses(addresses);
                }
            }
            Output::Log { peer, what } => {
                tracing::warn!(peer = envoy.name_of(&peer), "{what}");
            }
        }
    }
    for (to, bytes) in messages {
        send(envoy, to, bytes);
    }
}

/// Does something about one peer on a thread that may wait, and hands in how it ended: always, once, or a slot of the
/// node would be lost.
fn in_turn<T>(
    envoy: &Arc<Envoy>,
    peer: EnvoyKey,
    work: impl FnOnce(&Arc<Envoy>, &Arc<Neighbour>) -> Result<T, Failure> + Send + 'static,
    ended: impl FnOnce(Result<T, Failure>) -> Input + Send + 'static,
) {
    let envoy = Arc::clone(envoy);
    let handle = envoy.handle().clone();
    handle.spawn_blocking(move || {
        let outcome = match envoy.neighbour(&peer) {
            Some(neighbour) => catch_unwind(AssertUnwindSafe(|| work(&envoy, &neighbour)))
                .unwrap_or_else(|_| Err(Failure::Ours("it failed here".to_owned()))),
            None => Err(unknown()),
        };
        envoy.heal().tell(ended(outcome));
    });
}

fn unknown() -> Failure {
    Failure::Ours("it is no peer any more".to_owned())
}

/// Sends gossip messages, a bounded number at a time, in order.
fn send(envoy: &Arc<Envoy>, to: EnvoyKey, messages: Vec<Vec<u8>>) {
    let envoy = Arc::clone(envoy);
    let handle = envoy.handle().clone();
    handle.spawn(async move {
        for part in messages.chunks(MESSAGES_MAX) {
            let outcome = match envoy.neighbour(&to) {
                Some(neighbour) => {
                    let to = neighbour.address();
                    let sent = envoy.client().gossip(&to, part.to_vec()).await;
                    sent.map_err(|error| {
                        match &error {
                            CallError::Refused(_) => neighbour.note_answer(),
                            _ => neighbour.note_failure(&error),
                        }
                        classify_call(&error)
                    })
                }
                None => Err(unknown()),
            };
            for _ in part {
                let outcome = outcome.clone();
                envoy.heal().tell(Input::MessageSent { to, outcome });
            }
        }
    });
}

/// Brings a peer what it is owed of a project.
fn deliver(
    envoy: &Arc<Envoy>,
    project: &ProjectId,
    neighbour: &Arc<Neighbour>,
) -> Result<(), Failure> {
    match envoy.store().founded(project) {
        Some(cell) => fanout::deliver(envoy, &cell, neighbour),
        // It is gone from here, and nothing is owed any more.
        None => Ok(()),
    }
}
