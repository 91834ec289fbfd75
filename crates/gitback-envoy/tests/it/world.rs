//! An envoy in a thread of the test, and the keys to speak to it.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use gitback_envelope::{
    Act, Grant, Incarnation, Oid, PackHint, RefName, Scope, Statement, Update, Verified,
};
use gitback_envoy::{Config, Options};
use gitback_helper::{
    Client as Helper, Draft, Environment, Layout, LogEntry, ProjectStatus, Reply, Request, Role,
    Service, Wish,
};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey, hex};
use gitback_peer::{
    CallError, Client, Digests, Handoff, PackFile, PackInfo, PeerAddress, PushAnswer, PushSource,
    SyncAnswer, SyncRequest,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// The envoy under test, the founder of its project, and a peer that it knows.
pub(crate) struct World {
    pub(crate) founder: SecretKey,
    pub(crate) peer: SecretKey,
    pub(crate) project: ProjectId,
    pub(crate) handle: Handle,
    layout: Layout,
    address: SocketAddr,
    config: Config,
    pub(crate) envoy: EnvoyKey,
    runtime: tokio::runtime::Runtime,
    daemon: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    home: TempDir,
}

impl World {
    /// Starts it; the project is not there yet.
    pub(crate) fn new() -> Self {
        Self::with_peer_at("127.0.0.1:9")
    }

    /// The same, with a peer that may answer.
    pub(crate) fn with_peer_at(address: &str) -> Self {
        let peer = SecretKey::from_seed(&[9; 32]);
        let more = "contact_interval_ms = 86400000\n";
        Self::with_peers(more, &[("venus", &peer, address)])
    }

    /// The same, with several peers, of which the first one is [`Self::peer`], and more lines of configuration.
    pub(crate) fn with_peers(more: &str, peers: &[(&str, &SecretKey, &str)]) -> Self {
        let home = tempfile::Builder::new()
            .prefix("gb")
            .tempdir()
            .expect("temporary folder");
        let uid = rustix::process::getuid().as_raw();
        let root = home.path().join("mars");
        let environment = Environment {
            root: Some(root),
            uid,
            home: None,
            xdg_runtime_dir: None,
            xdg_data_home: None,
            xdg_config_home: None,
            system_socket_exists: false,
        };
        let layout = Layout::choose(&environment).expect("a root folder is always a layout");
        let mut config = format!(
            "name = \"mars\"\nlisten = \"127.0.0.1:0\"\nmin_free_percent = 0\nlan_discovery = false\n{more}"
        );
        for (name, key, address) in peers {
            let key = key.public();
            config.push_str(&format!(
                "[[peers]]\nname = \"{name}\"\nkey = \"{key}\"\naddress = \"{address}\"\n"
            ));
        }
        let peer = SecretKey::from_seed(peers.first().expect("a peer").1.seed());
        let envoy = EnvoyKey::new(
            gitback_envoy::envoy_key(&layout.identity_dir)
                .expect("a key")
                .public(),
        );
        let config = Config::parse(&config).expect("valid");
        let (address, daemon) = start(&layout, config.clone());
        let founder = SecretKey::from_seed(&[1; 32]);
        let handle: Handle = "notes".parse().expect("valid");
        Self {
            project: ProjectId::derive(&PuddleKey::new(founder.public()), &handle),
            address,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime"),
            daemon: Some(daemon),
            config,
            founder,
            peer,
            handle,
            layout,
            envoy,
            home,
        }
    }

    /// Stops the daemon, lets `meanwhile` loose on its files, and starts it again.
    pub(crate) fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.stop();
        meanwhile(self);
        let (address, daemon) = start(&self.layout, self.config.clone());
        self.address = address;
        self.daemon = Some(daemon);
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.daemon.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// The folder of the project's log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.layout.envelopes_dir.join(self.project.to_string())
    }

    /// The folder in which a user keeps what belongs to the project.
    pub(crate) fn user_dir(&self) -> PathBuf {
        self.layout.projects_dir.join(self.project.to_string())
    }

    pub(crate) fn puddle(&self) -> PuddleKey {
        PuddleKey::new(self.founder.public())
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn call(&self, request: &Request) -> Reply {
        let mut helper = Helper::connect(&self.layout.helper_socket).expect("the daemon listens");
        helper
            .call(request, &mut |_| ())
            .expect("the daemon answers")
    }

    /// Founds the project through the helper socket, as `vigo` does.
    pub(crate) fn found(&self) -> Verified {
        let init = self.init();
        let reply = self.call(&Request::Found {
            envelope: hex::encode(init.bytes()),
        });
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        init
    }

    pub(crate) fn init(&self) -> Verified {
        seal(Statement::init(&self.puddle(), &self.handle), &self.founder)
    }

    /// A grant by the founder for `envoy`, right after `init`.
    pub(crate) fn grant(&self, init: &Verified, envoy: &SecretKey) -> Verified {
        let envoy = EnvoyKey::new(envoy.public());
        let statement = Statement {
            project: self.project,
            signer: self.founder.public(),
            puddle: self.puddle(),
            envoy: Some(envoy),
            incarnation: Incarnation::from_bytes(&[5; 16]),
            seq: 0,
            prev: None,
            deps: vec![*init.id()],
            time_ms: Some(1),
            act: Act::Grant(Grant {
                envoy,
                uid: 0,
                expires_ms: None,
            }),
        };
        seal(statement, &self.founder)
    }

    /// The founder's policy, written on this envoy, right after `after`.
    pub(crate) fn policy(&self, after: &Verified, scope: Scope) -> Verified {
        let wish = Wish::Policy {
            scope: match scope {
                Scope::MembersOnly => gitback_helper::Scope::Members,
                Scope::SwarmWide => gitback_helper::Scope::Swarm,
            },
            protected: Vec::new(),
            replicas: None,
        };
        let drafts = self.draft(&self.founder, wish);
        let [policy] = drafts.as_slice() else {
            panic!("one draft: {drafts:?}");
        };
        assert!(policy.statement().deps.contains(after.id()));
        policy.clone()
    }

    /// What the daemon drafts for a wish of `puddle`, signed.
    pub(crate) fn draft(&self, puddle: &SecretKey, wish: Wish) -> Vec<Verified> {
        match self.wish(puddle, wish) {
            Reply::Drafts { drafts, .. } => sign(&drafts, puddle),
            other => panic!("drafts: {other:?}"),
        }
    }

    pub(crate) fn wish(&self, puddle: &SecretKey, wish: Wish) -> Reply {
        self.call(&Request::Draft {
            project: self.project.to_string(),
            handle: self.handle.to_string(),
            puddle: puddle.public().to_string(),
            wish,
        })
    }

    /// Hands envelopes in that must be taken.
    pub(crate) fn submit(&self, envelopes: &[&Verified]) -> Option<String> {
        match self.try_submit(envelopes) {
            Reply::Accepted { token, .. } => token,
            other => panic!("accepted: {other:?}"),
        }
    }

    pub(crate) fn try_submit(&self, envelopes: &[&Verified]) -> Reply {
        self.call(&Request::Submit {
            project: self.project.to_string(),
            envelopes: envelopes
                .iter()
                .map(|envelope| hex::encode(envelope.bytes()))
                .collect(),
        })
    }

    /// How many packs the repository has.
    pub(crate) fn packs(&self) -> usize {
        let path = self.repository().join("objects/pack");
        let names = std::fs::read_dir(path).expect("readable").flatten();
        names
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
            .count()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.layout
            .repositories_dir
            .join(format!("{}.git", self.project))
    }

    /// An update for the founder signed by `signer`, which it follows from `after`.
    pub(crate) fn update(
        &self,
        signer: &SecretKey,
        seq: u64,
        after: &[&Verified],
        update: Update,
    ) -> Verified {
        self.update_for(&self.founder, signer, seq, after, update)
    }

    /// The same for another puddle.
    pub(crate) fn update_for(
        &self,
        puddle: &SecretKey,
        signer: &SecretKey,
        seq: u64,
        after: &[&Verified],
        update: Update,
    ) -> Verified {
        let own = |past: &&&Verified| seq > 0 && past.statement().signer == signer.public();
        let prev = after.iter().find(own).map(|past| *past.id());
        let others = after.iter().filter(|past| !own(past));
        let mut deps: Vec<_> = others.map(|past| *past.id()).collect();
        deps.sort_unstable();
        let statement = Statement {
            project: self.project,
            signer: signer.public(),
            puddle: PuddleKey::new(puddle.public()),
            envoy: Some(EnvoyKey::new(signer.public())),
            incarnation: Incarnation::from_bytes(&[6; 16]),
            seq,
            prev,
            deps,
            time_ms: Some(2),
            act: Act::Update(update),
        };
        seal(statement, signer)
    }

    /// A grant by `puddle` for `envoy`, behind `after`, in a life of its own.
    pub(crate) fn grant_by(
        &self,
        puddle: &SecretKey,
        envoy: &SecretKey,
        after: &[&Verified],
    ) -> Verified {
        let envoy = EnvoyKey::new(envoy.public());
        let act = Act::Grant(Grant {
            envoy,
            uid: 0,
            expires_ms: None,
        });
        self.say(puddle, envoy, after, act)
    }

    /// What `puddle` says on `envoy`, as the first of a chain, behind `after`.
    pub(crate) fn say(
        &self,
        puddle: &SecretKey,
        envoy: EnvoyKey,
        after: &[&Verified],
        act: Act,
    ) -> Verified {
        let mut deps: Vec<_> = after.iter().map(|past| *past.id()).collect();
        deps.sort_unstable();
        let statement = Statement {
            project: self.project,
            signer: puddle.public(),
            puddle: PuddleKey::new(puddle.public()),
            envoy: Some(envoy),
            incarnation: Incarnation::from_bytes(&[7; 16]),
            seq: 0,
            prev: None,
            deps,
            time_ms: Some(3),
            act,
        };
        seal(statement, puddle)
    }

    /// Lets the founder invite `who`.
    pub(crate) fn invite(&self, who: &SecretKey, role: Role) -> Verified {
        let wish = Wish::Invite {
            puddle: who.public().to_string(),
            role,
        };
        self.fulfil(&self.founder, wish).remove(0)
    }

    /// Drafts, signs and hands in what `puddle` wishes.
    pub(crate) fn fulfil(&self, puddle: &SecretKey, wish: Wish) -> Vec<Verified> {
        let envelopes = self.draft(puddle, wish);
        self.submit(&envelopes.iter().collect::<Vec<_>>());
        envelopes
    }

    /// A stream of git's protocol, for whoever has the puddle's key.
    pub(crate) fn stream(&self, puddle: &SecretKey, service: Service) -> UnixStream {
        let mut helper = Helper::connect(&self.layout.helper_socket).expect("the daemon listens");
        let reply = helper.call(&self.opening(puddle, service), &mut |_| ());
        assert!(matches!(reply, Ok(Reply::Ready)), "{reply:?}");
        helper.into_stream().expect("a stream")
    }

    /// Asks for a stream as whoever has the puddle's key. Nothing goes through it.
    pub(crate) fn open(&self, puddle: &SecretKey, service: Service) -> Reply {
        self.call(&self.opening(puddle, service))
    }

    fn opening(&self, puddle: &SecretKey, service: Service) -> Request {
        Request::Open {
            version: gitback_helper::VERSION,
            service,
            project: self.project.to_string(),
            handle: self.handle.to_string(),
            puddle: Some(puddle.public().to_string()),
            protocol: None,
            push_wait_ms: Some(0),
            quiet: true,
            progress: false,
            trace: false,
            called: None,
            remote: None,
        }
    }

    /// All entries of the log.
    pub(crate) fn log(&self) -> Vec<LogEntry> {
        let request = Request::Log {
            project: self.project.to_string(),
            skip: 0,
        };
        match self.call(&request) {
            Reply::Log { entries, more } => {
                assert!(!more);
                entries
            }
            other => panic!("a log: {other:?}"),
        }
    }

    /// Asks for envelopes as `from`, with `token`.
    pub(crate) fn sync(
        &self,
        from: &SecretKey,
        token: &[&Verified],
    ) -> Result<SyncAnswer, CallError> {
        let client = Client::new(from).expect("a client");
        let to = PeerAddress {
            key: self.envoy,
            address: self.address.to_string(),
        };
        let request = SyncRequest {
            token: token
                .iter()
                .map(|envelope| envelope.bytes().to_vec())
                .collect(),
            ..SyncRequest::default()
        };
        self.runtime
            .block_on(client.sync(&to, &self.project, &request))
    }

    /// What the envoy answers `from` when it calls.
    pub(crate) fn ask<T>(
        &self,
        from: &SecretKey,
        call: impl AsyncFnOnce(&Client, &PeerAddress) -> T,
    ) -> T {
        let client = Client::new(from).expect("a client");
        let to = PeerAddress {
            key: self.envoy,
            address: self.address.to_string(),
        };
        self.runtime.block_on(call(&client, &to))
    }

    /// Tells the envoy, as the peer, what that holds of the project. The envoy looks into it if it differs.
    pub(crate) fn show_digest(&self, digest: [u8; 32]) {
        let client = Client::new(&self.peer).expect("a client");
        let to = PeerAddress {
            key: self.envoy,
            address: self.address.to_string(),
        };
        let shown = Digests {
            name: "venus".to_owned(),
            projects: vec![(self.project, digest)],
            ..Digests::default()
        };
        let answer = self.runtime.block_on(client.digests(&to, &shown));
        answer.expect("the peer is known");
    }

    /// What git finds under a name in the repository, shown or not.
    pub(crate) fn refs(&self) -> Vec<String> {
        let listed = git(
            &self.repository(),
            &["for-each-ref", "--format=%(refname) %(objectname)"],
            None,
        );
        let listed = String::from_utf8(listed).expect("names are UTF-8 here");
        listed.lines().map(ToOwned::to_owned).collect()
    }

    pub(crate) fn push(
        &self,
        from: &SecretKey,
        envelopes: &[&Verified],
        pack: Option<&Pack>,
    ) -> Result<PushAnswer, CallError> {
        let raw = envelopes
            .iter()
            .map(|envelope| envelope.bytes().to_vec())
            .collect();
        self.push_raw(from, raw, pack)
    }

    pub(crate) fn push_raw(
        &self,
        from: &SecretKey,
        envelopes: Vec<Vec<u8>>,
        pack: Option<&Pack>,
    ) -> Result<PushAnswer, CallError> {
        self.push_holding(from, envelopes, pack, true)
    }

    /// A push of whoever says that it lacks nothing of the project, or that it may.
    pub(crate) fn push_holding(
        &self,
        from: &SecretKey,
        envelopes: Vec<Vec<u8>>,
        pack: Option<&Pack>,
        whole: bool,
    ) -> Result<PushAnswer, CallError> {
        let client = Client::new(from).expect("a client");
        let to = PeerAddress {
            key: self.envoy,
            address: self.address.to_string(),
        };
        let pack = pack.map(|pack| PackFile {
            path: pack.path.clone(),
            bytes: pack.hint.bytes,
            blake3: pack.hint.blake3,
        });
        let handoff = Handoff::default();
        let push = client.push_handing_on(&to, &self.project, envelopes, pack, handoff, whole);
        self.runtime.block_on(push)
    }

    /// Sends a pack and then breaks off, as a sender does whose own checks refused the push.
    pub(crate) fn push_and_cancel(
        &self,
        from: &SecretKey,
        pack: &Pack,
    ) -> Result<PushAnswer, CallError> {
        let client = Client::new(from).expect("a client");
        let to = PeerAddress {
            key: self.envoy,
            address: self.address.to_string(),
        };
        let source = Cancelled {
            rest: pack.bytes(),
            hint: pack.hint,
        };
        self.runtime
            .block_on(client.push_from(&to, &self.project, source))
    }

    pub(crate) fn status(&self) -> Option<ProjectStatus> {
        match self.call(&Request::Project {
            project: self.project.to_string(),
        }) {
            Reply::Project(status) => Some(status),
            Reply::Failed(failure) => {
                assert_eq!(failure.code, 10, "{failure:?}");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    /// The commits of a throw-away repository, oldest first, and a pack of everything up to each.
    pub(crate) fn history(&self, commits: usize) -> (Vec<Oid>, Vec<Pack>) {
        let work = self.path().join("work");
        git(self.path(), &["init", "-q", "-b", "main", "work"], None);
        let (mut oids, mut packs) = (Vec::new(), Vec::new());
        for number in 0..commits {
            std::fs::write(work.join("file"), format!("{number}\n")).expect("written");
            git(&work, &["add", "file"], None);
            git(&work, &["commit", "-q", "-m", "change"], None);
            let oid = String::from_utf8(git(&work, &["rev-parse", "HEAD"], None)).expect("hex");
            let pack = git(
                &work,
                &["pack-objects", "--revs", "--stdout", "-q"],
                Some(b"HEAD\n"),
            );
            packs.push(Pack::new(self.path().join(format!("{number}.pack")), &pack));
            oids.push(oid.trim().parse().expect("an object id"));
        }
        (oids, packs)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a daemon in a thread until it is told to stop.
fn start(layout: &Layout, config: Config) -> (SocketAddr, (oneshot::Sender<()>, JoinHandle<()>)) {
    let options = Options {
        layout: layout.clone(),
        config,
        uid: rustix::process::getuid().as_raw(),
    };
    let (ready, wait) = channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let ready = move |address| ready.send(address).expect("the test waits");
        gitback_envoy::run(options, ready, async { drop(stopped.await) }).expect("runs to its end");
    });
    let address = wait.recv().expect("the daemon starts");
    (address, (stop, thread))
}

/// A whole pack, and no envelopes after it.
struct Cancelled {
    rest: Vec<u8>,
    hint: PackHint,
}

impl PushSource for Cancelled {
    fn has_pack(&self) -> bool {
        true
    }

    fn read_pack(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }

    fn pack_info(&mut self) -> std::io::Result<PackInfo> {
        Ok(PackInfo {
            bytes: self.hint.bytes,
            blake3: self.hint.blake3,
        })
    }

    fn envelopes(&mut self) -> std::io::Result<Vec<Vec<u8>>> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

/// A pack in a file.
pub(crate) struct Pack {
    path: PathBuf,
    pub(crate) hint: PackHint,
}

impl Pack {
    pub(crate) fn new(path: PathBuf, bytes: &[u8]) -> Self {
        std::fs::write(&path, bytes).expect("written");
        let hint = PackHint {
            blake3: *blake3::hash(bytes).as_bytes(),
            bytes: bytes.len() as u64,
        };
        Self { path, hint }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("readable")
    }
}

/// Signs drafts of the daemon's.
pub(crate) fn sign(drafts: &[Draft], key: &SecretKey) -> Vec<Verified> {
    let sealed = drafts.iter().map(|draft| {
        let body = hex::decode(&draft.body, 1 << 20).expect("hex");
        let statement = Statement::decode(&draft.type_name, &body).expect("well formed");
        seal(statement, key)
    });
    sealed.collect()
}

pub(crate) fn seal(statement: Statement, key: &SecretKey) -> Verified {
    let signature = key.sign(&statement.signing_bytes().expect("encodes"));
    statement.seal(signature).expect("the key is the signer's")
}

/// An update that puts `refs/heads/main` at `new`.
pub(crate) fn main_at(new: Oid, contained: &[&Verified], pack: Option<&Pack>) -> Update {
    let change = gitback_envelope::Change {
        name: RefName::new(b"refs/heads/main").expect("valid"),
        new,
        contained: contained.iter().map(|envelope| *envelope.id()).collect(),
        forced: Vec::new(),
    };
    Update {
        changes: vec![change],
        head: None,
        pack: pack.map(|pack| pack.hint),
    }
}

pub(crate) fn git(dir: &Path, arguments: &[&str], input: Option<&[u8]>) -> Vec<u8> {
    use std::io::Write as _;
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
        .args(arguments);
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("git runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.unwrap_or_default())
        .expect("git reads");
    let output = child.wait_with_output().expect("git ends");
    assert!(output.status.success(), "git {arguments:?}");
    output.stdout
}
