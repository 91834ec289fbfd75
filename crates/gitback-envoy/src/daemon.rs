//! The daemon's life: start, serve, stop.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gitback_envelope::{EnvelopeId, Incarnation, Tip};
use gitback_fleet::{Enrolment, Role};
use gitback_gossip::Input;
use gitback_helper::{AcceptError, Layout, Listener};
use gitback_identity::{EnvoyKey, PublicKey, PuddleKey, SecretKey};
use gitback_pack::Limits;
use gitback_peer::{Client, Digests, Server};
use rustix::fs::FlockOperation;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::access::Partner;
use crate::cell::{Cell, State};
use crate::changes::Changes;
use crate::config::Config;
use crate::fault::Fault;
use crate::fleet::{Fleet, FleetFault};
use crate::fresh::Turns;
use crate::heal::Heal;
use crate::lan::LanHandle;
use crate::maintenance::Maintenance;
use crate::names::Names;
use crate::peers::Neighbour;
use crate::receipts::Receipts;
use crate::service::Surface;
use crate::store::Store;
use crate::{access, clock, disk, fanout, key, lan, leave, local, maintenance, whereabouts};

/// How long a stopping daemon waits for transfers in progress.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a starting daemon tries to get its state folder for itself.
const LOCK_WITHIN: Duration = Duration::from_secs(1);

/// What a daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// Where its state lives.
    pub layout: Layout,
    /// Its configuration.
    pub config: Config,
    /// The user it runs as.
    pub uid: u32,
}

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Another daemon serves this root.
    #[error("another envoy already runs on {path}")]
    AlreadyRuns {
        /// The folder that is taken.
        path: PathBuf,
    },
    /// The state folder cannot be made or locked.
    #[error("cannot prepare {path}")]
    Prepare {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no usable envoy key.
    #[error("cannot load the envoy key")]
    Key(#[source] key::KeyError),
    /// What is known of the fleet cannot be loaded.
    #[error("cannot load the fleet")]
    Fleet(#[source] FleetFault),
    /// The projects' folders cannot be used.
    #[error("cannot open the projects")]
    Projects(#[source] Fault),
    /// The helper socket cannot be bound.
    #[error("cannot open the helper socket")]
    Helper(#[source] gitback_helper::BindError),
    /// The peers' port cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The TLS client cannot be made.
    #[error("cannot set up the connections to peers")]
    Client(#[source] gitback_peer::TlsFault),
    /// The server for peers failed.
    #[error("the server for peers ended")]
    Serve(#[source] gitback_peer::TlsFault),
    /// No threads or no runtime.
    #[error("cannot start {what}")]
    Start {
        /// What was to start.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What the threads of a daemon share.
#[derive(Debug)]
pub(crate) struct Envoy {
    config: Config,
    layout: Layout,
    uid: u32,
    key: SecretKey,
    public: EnvoyKey,
    store: Store,
    fleet: Fleet,
    neighbours: Mutex<Arc<Vec<Arc<Neighbour>>>>,
    client: Client,
    handle: Handle,
    heal: Heal,
    turns: Turns,
    receipts: Receipts,
    relays: Semaphore,
    sends: Semaphore,
    started_ms: u64,
    /// On which it listens for peers.
    port: u16,
    changes: Arc<Changes>,
    maintenance: Maintenance,
    names: Names,
}

impl Envoy {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn name(&self) -> &str {
        self.config.name()
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(crate) fn public(&self) -> &EnvoyKey {
        &self.public
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The fleet that this envoy is in, if it is.
    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What the configuration makes of this envoy where it holds the key of its fleet's authority.
    pub(crate) fn role(&self) -> Role {
        self.config.role()
    }

    /// Which envoy of the fleet enrols others. Where the key was carried to another one, one that answers.
    pub(crate) fn authority(&self) -> Option<Enrolment> {
        let roster = self.fleet.roster()?;
        let live = roster.live(clock::now_ms());
        let holders = live.filter(|one| one.role().is_authority());
        let best = holders.max_by_key(|one| {
            let neighbour = self.neighbour(one.envoy());
            let is_present = neighbour.is_some_and(|neighbour| neighbour.is_present());
            (is_present, one.number())
        });
        best.cloned()
    }

    /// The other envoys, as they are known at this moment.
    pub(crate) fn neighbours(&self) -> Arc<Vec<Arc<Neighbour>>> {
        let neighbours = self.neighbours.lock();
        Arc::clone(&neighbours.expect("no thread panics with the peers"))
    }

    /// Replaces the other envoys by those that are known now.
    pub(crate) fn set_neighbours(&self, neighbours: Vec<Arc<Neighbour>>) {
        let known = self.neighbours.lock();
        *known.expect("no thread panics with the peers") = Arc::new(neighbours);
    }

    pub(crate) fn neighbour(&self, key: &EnvoyKey) -> Option<Arc<Neighbour>> {
        let neighbours = self.neighbours();
        let mut found = neighbours.iter().filter(|neighbour| neighbour.key() == key);
        found.next().cloned()
    }

    /// The envoys of the fleet that may hold the project, by what is known here now.
    pub(crate) fn partners(&self, cell: &Cell) -> Vec<Arc<Neighbour>> {
        // Where nobody else is, nobody waits for the lock to hear of it.
        if self.neighbours().is_empty() {
            return Vec::new();
        }
        self.partners_by(&cell.lock())
    }

    /// The same for whoever has the project's lock.
    pub(crate) fn partners_by(&self, state: &State) -> Vec<Arc<Neighbour>> {
        let may = |neighbour: &&Arc<Neighbour>| access::may_ask(self, state, neighbour.key());
        self.neighbours().iter().filter(may).cloned().collect()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The count of what has changed that status shows.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn shared_changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What decides who is asked, told and caught up from.
    pub(crate) fn heal(&self) -> &Heal {
        &self.heal
    }

    /// What looks after the repositories.
    pub(crate) fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    /// Which claims to names are known.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Whose turn it is to move a ref.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Who says that a handed-on push is durable there.
    pub(crate) fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// The right to pass a pack on while it arrives.
    pub(crate) fn relays(&self) -> &Semaphore {
        &self.relays
    }

    /// The right to make a pack for a peer and send it.
    pub(crate) fn sends(&self) -> &Semaphore {
        &self.sends
    }

    pub(crate) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How much of its file system is free to a user, in per cent: where objects are stored, or where envelopes are, if
    /// that is less.
    pub(crate) fn free_percent(&self) -> Option<u8> {
        let places = [&self.layout.repositories_dir, &self.layout.envelopes_dir];
        let free = places.map(|path| gitback_pack::free_percent(path).ok());
        free.into_iter().flatten().min()
    }

    /// Whether there is room for more; if not, why.
    pub(crate) fn room(&self) -> Result<(), String> {
        let needed = self.config.min_free_percent();
        let free = self.free_percent().unwrap_or(100);
        if needed == 0 || free > needed {
            return Ok(());
        }
        Err(format!(
            "{}: {free}% disk free, more than {needed}% needed",
            self.name()
        ))
    }

    /// What one pack may cost.
    pub(crate) fn pack_limits(&self) -> Limits {
        self.config.packs()
    }

    /// What this envoy shows the envoy `to` of itself: the projects in which that has a part. One that had a part
    /// once learns that there is something to ask for, and nothing of what changes.
    pub(crate) fn digests(&self, to: &EnvoyKey) -> Digests {
        let shown = |cell: Arc<Cell>| {
            let state = cell.lock_if_sound()?;
            let digest = match access::partner(self, &state, to) {
                Partner::Full => state.shown_digest(),
                Partner::Former => [0; 32],
                Partner::Stranger => return None,
            };
            Some((*cell.id(), digest))
        };
        Digests {
            name: self.name().to_owned(),
            projects: self.store.all().into_iter().filter_map(shown).collect(),
            roster: self.fleet.digest(),
            names: Some(self.names.book().digest()),
        }
    }

    /// The name of the envoy with this key, as far as it is known here.
    pub(crate) fn name_of(&self, key: &EnvoyKey) -> String {
        if *key == self.public {
            return self.name().to_owned();
        }
        self.neighbour(key).map_or_else(
            || crate::service::short_key(key),
            |neighbour| neighbour.name().to_owned(),
        )
    }
}

/// Runs the daemon until `stop` fires.
///
/// `ready` is called once, when both sockets answer, with the address peers reach it at.
///
/// # Errors
///
/// [`RunError`] when it cannot start. Whatever goes wrong later is logged, and the daemon goes on.
pub fn run(
    options: Options,
    ready: impl FnOnce(std::net::SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let Options {
        layout,
        config,
        uid,
    } = options;
    let _lock = lock(&layout.state_dir)?;
    let key = key::envoy_key(&layout.identity_dir).map_err(RunError::Key)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // More than requests in progress, commands of the node, relays and packs for peers can take together.
        .max_blocking_threads(192)
        .thread_name("peers")
        .enable_all()
        .build()
        .map_err(|source| RunError::Start {
            what: "the runtime",
            source,
        })?;
    let store = Store::open(
        &layout.repositories_dir,
        &layout.envelopes_dir,
        config.packs(),
    )
    .map_err(RunError::Projects)?;
    let address = config.listen();
    let bound = runtime
        .block_on(Server::bind(address))
        .map_err(|source| RunError::Listen { address, source })?;
    let listener =
        Listener::bind(&layout.helper_socket, layout.socket_mode()).map_err(RunError::Helper)?;
    let local_address = bound.local_addr();
    let changes = Arc::new(Changes::default());
    let public = EnvoyKey::new(key.public());
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| RunError::Start {
        what: "without randomness",
        source: error.into(),
    })?;
    let fleet = Fleet::open(&layout.identity_dir).map_err(RunError::Fleet)?;
    let envoy = Arc::new(Envoy {
        fleet,
        neighbours: Mutex::default(),
        client: Client::new(&key).map_err(RunError::Client)?,
        heal: Heal::new(public, seed, config.contact_interval()),
        turns: Turns::new(public),
        receipts: Receipts::default(),
        relays: Semaphore::new(fanout::RELAYS_MAX),
        sends: Semaphore::new(fanout::SENDS_MAX),
        public,
        handle: runtime.handle().clone(),
        started_ms: clock::now_ms(),
        port: local_address.port(),
        config,
        names: Names::open(&layout.state_dir),
        layout,
        uid,
        key,
        store,
        changes,
        maintenance: Maintenance::default(),
    });
    envoy.begin_fleet();
    let threads = Threads::start(&envoy, listener)?;
    tracing::info!(name = envoy.name(), key = %envoy.public, address = %local_address, "envoy runs");
    ready(local_address);
    let served =
        runtime.block_on(bound.run(&envoy.key, Arc::new(Surface(Arc::clone(&envoy))), stop));
    threads.end(&envoy);
    runtime.shutdown_timeout(DRAIN);
    served.map_err(RunError::Serve)
}

/// One daemon for one state folder.
fn lock(state_dir: &Path) -> Result<std::fs::File, RunError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let prepare = |source| RunError::Prepare {
        path: state_dir.to_owned(),
        source,
    };
    disk::make_dirs(state_dir).map_err(prepare)?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(state_dir.join("lock"))
        .map_err(prepare)?;
    let begun = std::time::Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // Who only looks whether a daemon runs has it for a moment.
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WITHIN => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(RunError::AlreadyRuns {
                    path: state_dir.to_owned(),
                });
            }
            Err(error) => return Err(prepare(error.into())),
        }
    }
}

/// The threads beside the runtime: one accepts local users, one looks for leaves in files, one keeps the
/// fleet together, one looks after the repositories, one tells the fleet where this envoy is.
struct Threads {
    stopper: gitback_helper::Stopper,
    joins: Vec<std::thread::JoinHandle<()>>,
    conversations: Arc<Mutex<usize>>,
    /// Dropped, it ends the one that looks for leaves.
    watching: Sender<()>,
    /// Dropped, it ends the one that tells the fleet where this envoy is.
    telling: Sender<()>,
    /// Dropped, it ends looking for envoys on the local network.
    lan: Option<LanHandle>,
}

impl Threads {
    fn start(envoy: &Arc<Envoy>, listener: Listener) -> Result<Self, RunError> {
        let stopper = listener.stopper();
        let conversations = Arc::new(Mutex::new(0));
        let mut joins = Vec::new();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .stack_size(1 << 20)
                .spawn(work)
                .map_err(|source| RunError::Start {
                    what: "a thread",
                    source,
                })
        };
        let (host, running) = (Arc::clone(envoy), Arc::clone(&conversations));
        joins.push(spawn(
            "local",
            Box::new(move || accept_locals(&host, &listener, &running)),
        )?);
        let (watching, stop) = channel();
        let (host, interval) = (Arc::clone(envoy), envoy.config().contact_interval());
        joins.push(spawn(
            "leaves",
            Box::new(move || leave::watch(&host, interval, &stop)),
        )?);
        for cell in envoy.store().all() {
            envoy.heal().holds(&cell);
        }
        let host = Arc::clone(envoy);
        joins.push(spawn("heal", Box::new(move || host.heal().run(&host)))?);
        let host = Arc::clone(envoy);
        joins.push(spawn(
            "maintenance",
            Box::new(move || maintenance::run(&host)),
        )?);
        let (telling, stop) = channel();
        let host = Arc::clone(envoy);
        let watch = move || whereabouts::watch(&host, &stop);
        joins.push(spawn("whereabouts", Box::new(watch))?);
        Ok(Self {
            stopper,
            joins,
            conversations,
            watching,
            telling,
            lan: look_around(envoy),
        })
    }

    /// Ends what can end now; a conversation that is in the middle of a push gets a bounded time.
    fn end(self, envoy: &Envoy) {
        self.stopper.stop();
        envoy.changes().end();
        drop(self.watching);
        drop(self.telling);
        drop(self.lan);
        envoy.heal().stop();
        envoy.maintenance().stop();
        let begun = std::time::Instant::now();
        let busy = || {
            *self
                .conversations
                .lock()
                .expect("no thread panics with the count")
                > 0
        };
        while begun.elapsed() < DRAIN
            && (busy() || self.joins.iter().any(|join| !join.is_finished()))
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Looks for the fleet on the local network, if there is one and it is wanted.
fn look_around(envoy: &Arc<Envoy>) -> Option<LanHandle> {
    let config = envoy.config();
    if !config.lan_discovery() || config.listen().ip().is_loopback() {
        return None;
    }
    let host = Arc::downgrade(envoy);
    let on_sighting = move |key, address| {
        if let Some(envoy) = host.upgrade() {
            envoy.heal().tell(Input::Sighted { key, address });
        }
    };
    let started = lan::start(*envoy.public(), envoy.port(), on_sighting);
    started
        .inspect_err(|error| {
            tracing::warn!(error = %chain(error), "other envoys on the local network are not found");
        })
        .ok()
}

fn accept_locals(envoy: &Arc<Envoy>, listener: &Listener, running: &Arc<Mutex<usize>>) {
    loop {
        let connection = match listener.accept() {
            Ok(connection) => connection,
            Err(AcceptError::Stopped) => return,
            Err(error) => {
                tracing::error!(error = %chain(&error), "the helper socket failed");
                return;
            }
        };
        let guard = Running::new(running);
        let envoy = Arc::clone(envoy);
        let work = move || {
            let _guard = guard;
            local::converse(&envoy, connection);
        };
        // The number of connections is bounded by the listener, and so is the number of threads.
        if let Err(error) = std::thread::Builder::new()
            .name("user".to_owned())
            .stack_size(2 << 20)
            .spawn(work)
        {
            tracing::error!(%error, "cannot start a thread for a local user");
        }
    }
}

/// Counts one conversation for as long as it lives.
struct Running(Arc<Mutex<usize>>);

impl Running {
    fn new(count: &Arc<Mutex<usize>>) -> Self {
        *count.lock().expect("no thread panics with the count") += 1;
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.lock().expect("no thread panics with the count") -= 1;
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// A peer's account of a chain's end; nothing when a key in it is none.
pub(crate) fn tip_from_peer(tip: &gitback_peer::Tip) -> Option<Tip> {
    Some(Tip {
        signer: PublicKey::from_bytes(&tip.signer).ok()?,
        puddle: PuddleKey::from_bytes(&tip.puddle).ok()?,
        incarnation: Incarnation::from_bytes(&tip.incarnation),
        seq: tip.seq,
        id: EnvelopeId::from_bytes(&tip.id),
    })
}

/// What is held of a project, for a peer; of very many chains, a part: the peer then sends more than is lacking.
pub(crate) fn tips_for_peer(state: &State) -> Vec<gitback_peer::Tip> {
    let tips = state.fold().tips();
    tips.iter()
        .take(gitback_peer::limits::TIPS_MAX)
        .map(tip_to_peer)
        .collect()
}

fn tip_to_peer(tip: &Tip) -> gitback_peer::Tip {
    gitback_peer::Tip {
        signer: *tip.signer.as_bytes(),
        puddle: *tip.puddle.as_bytes(),
        incarnation: *tip.incarnation.as_bytes(),
        seq: tip.seq,
        id: *tip.id.as_bytes(),
    }
}
