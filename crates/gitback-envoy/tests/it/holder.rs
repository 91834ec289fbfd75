//! A peer made by the test, which holds a real history and serves it as told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gitback_envelope::{
    Act, Grant, Incarnation, Oid, PackHint, Project, Statement, Update, Verified,
};
use gitback_gossip::reconcile::{Ids, respond};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};
use gitback_pack::{Limits, Repository};
use gitback_peer::{
    Caller, Digests, PushAnswer, PushBody, Refusal, RefusalKind, Server, Service, SyncAnswer,
    SyncRequest, Tip,
};
use tempfile::TempDir;

use crate::world::{git, main_at, seal};

/// A project with a long history, and everything that a holder of it has.
pub(crate) struct Held {
    pub(crate) project: ProjectId,
    pub(crate) envelopes: Vec<Verified>,
    pub(crate) digest: [u8; 32],
    /// The commits of the first parents' line, oldest first.
    pub(crate) commits: Vec<Oid>,
    repository: Repository,
    _home: TempDir,
}

/// What is in each commit of a history.
pub(crate) struct Shape {
    pub(crate) commits: usize,
    /// Bytes of a new file in each, which do not compress.
    pub(crate) bytes: usize,
    /// One commit that has so many.
    pub(crate) large: Option<(usize, usize)>,
    /// Whether updates say how large their packs were.
    pub(crate) hints: bool,
}

impl Held {
    /// Makes it; `holder` signs the updates.
    pub(crate) fn new(holder: &SecretKey, shape: &Shape) -> Self {
        let home = tempfile::Builder::new().prefix("gh").tempdir();
        let home = home.expect("temporary folder");
        let work = home.path().join("work");
        git(home.path(), &["init", "-q", "-b", "main", "work"], None);
        git(&work, &["fast-import", "--quiet"], Some(&history(shape)));
        let listed = git(
            &work,
            &["rev-list", "--first-parent", "--reverse", "main"],
            None,
        );
        let listed = String::from_utf8(listed).expect("hex");
        let commits: Vec<Oid> = listed
            .lines()
            .map(|line| line.parse().expect("an object id"))
            .collect();
        let repository = Repository::create(&home.path().join("held.git")).expect("created");
        store(&work, &repository);
        let mut held = Self {
            project: ProjectId::from_bytes(&[0; 32]),
            envelopes: Vec::new(),
            digest: [0; 32],
            commits,
            repository,
            _home: home,
        };
        held.sign(holder, shape, &work);
        held
    }

    /// A history of three updates: a third of it, two thirds, all.
    fn sign(&mut self, holder: &SecretKey, shape: &Shape, work: &Path) {
        let founder = SecretKey::from_seed(&[1; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle, &handle), &founder);
        self.project = ProjectId::derive(&puddle, &handle);
        let envoy = EnvoyKey::new(holder.public());
        let statement = |signer: &SecretKey, seq, prev: Option<&Verified>, dep, act| Statement {
            project: ProjectId::derive(&puddle, &handle),
            signer: signer.public(),
            puddle,
            envoy: Some(envoy),
            incarnation: Incarnation::from_bytes(&[5; 16]),
            seq,
            prev: prev.map(|prev| *prev.id()),
            deps: dep,
            time_ms: Some(1),
            act,
        };
        let grant = Act::Grant(Grant {
            envoy,
            uid: 0,
            expires_ms: None,
        });
        let grant = statement(&founder, 0, None, vec![*init.id()], grant);
        let grant = seal(grant, &founder);
        let mut updates: Vec<Verified> = Vec::new();
        let mut from: Option<Oid> = None;
        for (seq, third) in [(0, 1), (1, 2), (2, 3)] {
            let to = self.commits[self.commits.len() * third / 3 - 1];
            let contained: Vec<&Verified> = updates.last().into_iter().collect();
            let mut update: Update = main_at(to, &contained, None);
            update.pack = shape.hints.then(|| hint(work, from, to));
            let dep = if seq == 0 { vec![*grant.id()] } else { vec![] };
            let update = statement(holder, seq, updates.last(), dep, Act::Update(update));
            updates.push(seal(update, holder));
            from = Some(to);
        }
        self.envelopes = [init, grant].into_iter().chain(updates).collect();
        let mut fold = Project::new(self.project);
        for envelope in &self.envelopes {
            fold.insert(envelope.clone()).expect("it counts");
        }
        self.digest = fold.digest();
    }

    /// The ends of its chains.
    fn tips(&self) -> Vec<Tip> {
        let last = self.envelopes.last().expect("some");
        let statement = last.statement();
        vec![Tip {
            signer: *statement.signer.as_bytes(),
            puddle: *statement.puddle.as_bytes(),
            incarnation: *statement.incarnation.as_bytes(),
            seq: statement.seq,
            id: *last.id().as_bytes(),
        }]
    }

    pub(crate) fn head(&self) -> Oid {
        *self.commits.last().expect("some")
    }
}

/// A history for fast-import: a line of commits, every tenth of which merges a side branch.
fn history(shape: &Shape) -> Vec<u8> {
    let (mut stream, mut noise) = (Vec::new(), Noise(1));
    let mut side = None;
    for number in 1..=shape.commits {
        let bytes = match shape.large {
            Some((at, bytes)) if at == number => bytes,
            _ => shape.bytes,
        };
        let (mark, of_side) = (number * 2, number * 2 + 1);
        let merged = side.take().filter(|_| number % 10 == 0);
        commit(&mut stream, "main", mark, merged, &noise.bytes(bytes));
        if number % 10 == 5 {
            stream.extend_from_slice(format!("reset refs/heads/side\nfrom :{mark}\n\n").as_bytes());
            commit(&mut stream, "side", of_side, None, &noise.bytes(bytes));
            side = Some(of_side);
        }
    }
    stream.extend_from_slice(b"done\n");
    stream
}

fn commit(stream: &mut Vec<u8>, branch: &str, mark: usize, merged: Option<usize>, data: &[u8]) {
    let mut put = |text: String| stream.extend_from_slice(text.as_bytes());
    put(format!("commit refs/heads/{branch}\nmark :{mark}\n"));
    put(format!(
        "committer T <t@example.org> {mark} +0000\ndata 2\nx\n"
    ));
    if let Some(merged) = merged {
        put(format!("merge :{merged}\n"));
    }
    put(format!("M 100644 inline {branch}/{}\n", mark % 7));
    put(format!("data {}\n", data.len()));
    stream.extend_from_slice(data);
    stream.push(b'\n');
}

/// Bytes that do not compress, the same each time.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn store(work: &Path, repository: &Repository) {
    let pack = git(
        work,
        &["pack-objects", "--all", "--stdout", "-q"],
        Some(b""),
    );
    let mut quarantine = repository.quarantine();
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("a good pack");
    quarantine.migrate().expect("moved");
}

fn hint(work: &Path, from: Option<Oid>, to: Oid) -> PackHint {
    let mut revisions = format!("{to}\n");
    if let Some(from) = from {
        revisions.push_str(&format!("^{from}\n"));
    }
    let arguments = ["pack-objects", "--revs", "--stdout", "-q", "--thin"];
    let pack = git(work, &arguments, Some(revisions.as_bytes()));
    PackHint {
        blake3: *blake3::hash(&pack).as_bytes(),
        bytes: pack.len() as u64,
    }
}

/// What a holder was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) digests: AtomicUsize,
    pub(crate) syncs: AtomicUsize,
    pub(crate) reconciled: AtomicUsize,
    /// Each request for objects, and how many bytes its answer had.
    pub(crate) uploads: Mutex<Vec<(String, u64)>>,
}

/// An honest holder.
pub(crate) struct Holder {
    pub(crate) held: Arc<Held>,
    pub(crate) asked: Arc<Asked>,
    /// How many of its envelopes it gives by tips; the others only to who compares whole sets.
    pub(crate) by_tips: usize,
}

impl Holder {
    pub(crate) fn of(held: &Arc<Held>) -> Self {
        Self {
            held: Arc::clone(held),
            asked: Arc::default(),
            by_tips: usize::MAX,
        }
    }
}

impl Service for Holder {
    fn digests(&self, _: &Caller, _: Digests) -> Result<Digests, Refusal> {
        self.asked.digests.fetch_add(1, Ordering::SeqCst);
        Ok(Digests {
            name: "venus".to_owned(),
            projects: vec![(self.held.project, self.held.digest)],
            ..Digests::default()
        })
    }

    fn sync(&self, _: &Caller, id: &ProjectId, asked: SyncRequest) -> Result<SyncAnswer, Refusal> {
        self.asked.syncs.fetch_add(1, Ordering::SeqCst);
        if *id != self.held.project {
            return Err(unknown());
        }
        let known = |one: &&Verified| asked.tips.iter().any(|tip| tip.id == *one.id().as_bytes());
        // The chains are short: everything, until the last one is known.
        let all = &self.held.envelopes;
        let lacking = if all.last().is_some_and(|last| known(&last)) {
            &[]
        } else {
            all.as_slice()
        };
        Ok(SyncAnswer {
            envelopes: lacking
                .iter()
                .take(self.by_tips)
                .map(|one| one.bytes().to_vec())
                .collect(),
            more: false,
            digest: self.held.digest,
            tips: self.held.tips(),
        })
    }

    fn reconcile(&self, _: &Caller, _: &ProjectId, message: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.asked.reconciled.fetch_add(1, Ordering::SeqCst);
        let ids = Ids::new(self.held.envelopes.iter().map(|one| *one.id()));
        respond(&ids, &message).map_err(|_| unknown())
    }

    fn envelopes(
        &self,
        _: &Caller,
        _: &ProjectId,
        ids: Vec<[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let asked = |one: &&Verified| ids.contains(one.id().as_bytes());
        let all = self.held.envelopes.iter().filter(asked);
        // A page holds two.
        Ok(all.take(2).map(|one| one.bytes().to_vec()).collect())
    }

    fn push(&self, _: &Caller, _: &ProjectId, _: &mut PushBody) -> Result<PushAnswer, Refusal> {
        Err(unknown())
    }

    fn upload_pack(
        &self,
        _: &Caller,
        _: &ProjectId,
        input: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        let mut request = Vec::new();
        input.read_to_end(&mut request).expect("a small request");
        let mut counted = Counting { output, bytes: 0 };
        let served = self
            .held
            .repository
            .upload_pack_request(&request[..], &mut counted);
        let bytes = counted.bytes;
        let request = String::from_utf8_lossy(&request).into_owned();
        let mut uploads = self.asked.uploads.lock().expect("no panic");
        uploads.push((request, bytes));
        served
            .map(drop)
            .map_err(|_| Refusal::new(RefusalKind::Internal, "fault", "it failed"))
    }
}

struct Counting<'a> {
    output: &'a mut (dyn Write + Send),
    bytes: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

pub(crate) fn unknown() -> Refusal {
    Refusal::new(RefusalKind::NotFound, "unknown-project", "not held here")
}

/// Runs a service as the envoy `key` for as long as the runtime lives; where.
pub(crate) fn serve(
    runtime: &tokio::runtime::Runtime,
    key: &SecretKey,
    service: impl Service,
) -> String {
    let bound = runtime.block_on(Server::bind("127.0.0.1:0"));
    let bound = bound.expect("a port");
    let address = bound.local_addr().to_string();
    runtime.spawn(bound.run(key, Arc::new(service), std::future::pending()));
    address
}

/// A cable that is cut each time so many bytes have come through it, for so many times.
pub(crate) struct Cable {
    pub(crate) address: SocketAddr,
    /// How many bytes the holder's side has sent in all.
    pub(crate) carried: Arc<AtomicU64>,
    pub(crate) cuts: Arc<AtomicUsize>,
}

impl Cable {
    /// To `to`. Its threads end with the connections and with the test's process.
    pub(crate) fn cut_after(to: &str, bytes: u64, times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (carried, cuts) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let (to, count, cut) = (to.to_owned(), Arc::clone(&carried), Arc::clone(&cuts));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(&to).expect("the holder listens");
                let (up, down) = (near.try_clone(), far.try_clone());
                let (mut up, mut into) = (up.expect("a socket"), far);
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut into);
                    let _ = into.shutdown(Shutdown::Both);
                });
                let (count, cut) = (Arc::clone(&count), Arc::clone(&cut));
                let mut from = down.expect("a socket");
                std::thread::spawn(move || {
                    carry(&mut from, &near, &count, &cut, bytes, times);
                    let _ = near.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                });
            }
        });
        Self {
            address,
            carried,
            cuts,
        }
    }
}

fn carry(
    from: &mut TcpStream,
    mut to: &TcpStream,
    count: &AtomicU64,
    cuts: &AtomicUsize,
    bytes: u64,
    times: usize,
) {
    let (mut chunk, mut through) = ([0; 4096], 0);
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..read]).is_err() {
            return;
        }
        count.fetch_add(read as u64, Ordering::SeqCst);
        through += read as u64;
        if through > bytes && cuts.load(Ordering::SeqCst) < times {
            cuts.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
}
