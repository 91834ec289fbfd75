//! Peers that lie: each is told of in the log and left alone, and harms nobody else.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use gitback_envelope::{EnvelopeId, Statement};
use gitback_gossip::reconcile::{Ids, respond};
use gitback_identity::{Handle, ProjectId, PuddleKey, SecretKey};
use gitback_peer::{
    Caller, Digests, PushAnswer, PushBody, Refusal, Service, SyncAnswer, SyncRequest, Tip,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::holder::{Asked, Held, Holder, Shape, serve, unknown};
use crate::world::{World, seal};

const SMALL: Shape = Shape {
    commits: 12,
    bytes: 1000,
    large: None,
    hints: true,
};

/// How often the honest peer is asked, while a liar is not asked a third as often.
const MEANWHILE: usize = 60;

/// What a liar does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// It shows a digest that nothing leads to.
    Digest,
    /// It gives an envelope of another project.
    Foreign,
    /// It gives bytes that are no envelope.
    Unsound,
    /// It always has another page, and never news.
    Pages,
    /// It has ids, and does not give what they stand for.
    Ids,
    /// It answers a comparison of sets with nonsense.
    Sets,
    /// It gives nonsense for a pack.
    Pack,
    /// Its pack goes on and on.
    EndlessPack,
}

/// A peer that holds what another one holds, and lies about one thing.
struct Liar {
    lie: Lie,
    honest: Holder,
    /// How often it was asked what it holds.
    asked: Arc<AtomicUsize>,
    written: Arc<AtomicU64>,
}

impl Liar {
    /// An end of a chain that nobody has heard of.
    fn tip(&self) -> Tip {
        let last = self.honest.held.envelopes.last().expect("some");
        let statement = last.statement();
        Tip {
            signer: *statement.signer.as_bytes(),
            puddle: *statement.puddle.as_bytes(),
            incarnation: [77; 16],
            seq: 7,
            id: [77; 32],
        }
    }
}

impl Service for Liar {
    fn digests(&self, caller: &Caller, theirs: Digests) -> Result<Digests, Refusal> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut shown = self.honest.digests(caller, theirs)?;
        if !matches!(self.lie, Lie::Pack | Lie::EndlessPack) {
            for (_, digest) in &mut shown.projects {
                *digest = [99; 32];
            }
        }
        Ok(shown)
    }

    fn sync(
        &self,
        caller: &Caller,
        id: &ProjectId,
        asked: SyncRequest,
    ) -> Result<SyncAnswer, Refusal> {
        let mut answer = self.honest.sync(caller, id, asked)?;
        if matches!(self.lie, Lie::Pack | Lie::EndlessPack) {
            return Ok(answer);
        }
        answer.digest = [99; 32];
        match self.lie {
            Lie::Foreign => {
                let other = SecretKey::from_seed(&[88; 32]);
                let handle: Handle = "other".parse().expect("valid");
                let init = Statement::init(&PuddleKey::new(other.public()), &handle);
                answer.envelopes = vec![seal(init, &other).bytes().to_vec()];
            }
            Lie::Unsound => answer.envelopes = vec![b"nonsense".to_vec()],
            Lie::Pages => {
                let all = self.honest.held.envelopes.iter();
                answer.envelopes = all.map(|one| one.bytes().to_vec()).collect();
                answer.more = true;
            }
            Lie::Ids | Lie::Sets => answer.tips = vec![self.tip()],
            Lie::Digest | Lie::Pack | Lie::EndlessPack => {}
        }
        Ok(answer)
    }

    fn push(&self, _: &Caller, _: &ProjectId, _: &mut PushBody) -> Result<PushAnswer, Refusal> {
        Err(unknown())
    }

    fn upload_pack(
        &self,
        _: &Caller,
        _: &ProjectId,
        _: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        let _ = match self.lie {
            Lie::EndlessPack => endless(output, &self.written),
            _ => output.write_all(b"000dpackfile\n0010\x01PACKnonsen0000"),
        };
        Ok(())
    }

    fn reconcile(&self, _: &Caller, _: &ProjectId, message: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        if self.lie == Lie::Sets {
            return Ok(b"nonsense".to_vec());
        }
        let ids = (0..50).map(|number| EnvelopeId::from_bytes(&[number; 32]));
        respond(&Ids::new(ids), &message).map_err(|_| unknown())
    }

    fn envelopes(
        &self,
        _: &Caller,
        _: &ProjectId,
        _: Vec<[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        Ok(Vec::new())
    }
}

/// Writes a pack of one blob that does not end, for as long as somebody takes it.
fn endless(output: &mut (dyn Write + Send), written: &AtomicU64) -> std::io::Result<()> {
    output.write_all(b"000dpackfile\n")?;
    // A blob of 4 GiB, kept as blocks that are stored as they are.
    let mut head = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    head.extend_from_slice(&[0xb0, 0x80, 0x80, 0x80, 0x80, 0x02, 0x78, 0x01]);
    let mut packet = |bytes: &[u8]| {
        written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        output.write_all(format!("{:04x}\x01", bytes.len() + 5).as_bytes())?;
        output.write_all(bytes)
    };
    packet(&head)?;
    let mut block = vec![0, 0x00, 0x80, 0xff, 0x7f];
    block.resize(5 + 0x8000, b'x');
    loop {
        packet(&block)?;
    }
}

/// What the daemon has logged in this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn capture() -> &'static Self {
        static LINES: OnceLock<Lines> = OnceLock::new();
        LINES.get_or_init(|| {
            let lines = Self::default();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::INFO)
                .with_writer(lines.clone());
            // Another test of the same process has it already, and the same lines.
            let _ = subscriber.try_init();
            lines
        })
    }

    /// Waits for a line with all of `words`.
    fn wait_for(&self, words: &[&str]) {
        self.wait_until(|line| words.iter().all(|word| line.contains(word)));
    }

    /// Waits until the liar is left alone for more than the first second.
    fn wait_for_longer(&self) {
        self.wait_until(|line| {
            let seconds = line.split_once("left alone for ");
            let seconds = seconds.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            line.contains("pluto") && seconds.is_some_and(|seconds: u64| seconds > 1)
        });
    }

    fn wait_until(&self, is_it: impl Fn(&str) -> bool) {
        let told = || {
            let bytes = self.0.lock().expect("no panic").clone();
            String::from_utf8_lossy(&bytes).lines().any(&is_it)
        };
        while !told() {
            std::thread::yield_now();
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An envoy with an honest peer and one that lies.
struct Scene {
    world: World,
    held: Arc<Held>,
    honest: Arc<Asked>,
    liar: Arc<AtomicUsize>,
    written: Arc<AtomicU64>,
    lines: &'static Lines,
    /// Where the honest peer will be, and its key.
    address: String,
    venus: SecretKey,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// The honest peer is not there yet: nobody but the liar has the project.
    fn open(lie: Lie) -> Self {
        let lines = Lines::capture();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let [venus, pluto] = [9, 66].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let held = Arc::new(Held::new(&venus, &SMALL));
        let asked = Arc::<AtomicUsize>::default();
        let written = Arc::<AtomicU64>::default();
        let liar = Liar {
            lie,
            honest: Holder::of(&held),
            asked: Arc::clone(&asked),
            written: Arc::clone(&written),
        };
        let at = serve(&runtime, &pluto, liar);
        let more = "contact_interval_ms = 50\ncatch_up_max_bytes = 4194304\n";
        let address = free();
        let world = World::with_peers(more, &[("venus", &venus, &address), ("pluto", &pluto, &at)]);
        Self {
            world,
            held,
            honest: Arc::default(),
            liar: asked,
            written,
            lines,
            address,
            venus,
            runtime,
        }
    }

    /// The honest peer comes.
    fn help(&self) {
        let mut holder = Holder::of(&self.held);
        holder.asked = Arc::clone(&self.honest);
        let bound = gitback_peer::Server::bind(&self.address);
        let bound = self
            .runtime
            .block_on(bound)
            .expect("the port is still free");
        let serving = bound.run(&self.venus, Arc::new(holder), std::future::pending());
        self.runtime.spawn(serving);
    }

    /// The honest peer's project is here, whatever the liar does.
    fn until_served(&self) {
        let main = self.world.repository().join("refs/heads/main");
        let head = self.held.head().to_string();
        let arrived = || std::fs::read_to_string(&main).is_ok_and(|text| text.trim() == head);
        while !arrived() {
            std::thread::yield_now();
        }
    }

    /// The liar is told of with the reason, and left alone for longer and longer, while the other one is asked.
    fn until_left_alone(&self, reason: &str) {
        self.lines.wait_for(&["pluto", "left alone", reason]);
        self.help();
        self.until_served();
        self.lines.wait_for_longer();
        let contacts = || self.honest.digests.load(Ordering::SeqCst);
        let (before, begun) = (self.liar.load(Ordering::SeqCst), contacts());
        while contacts() < begun + MEANWHILE {
            std::thread::yield_now();
        }
        let after = self.liar.load(Ordering::SeqCst);
        assert!(
            after - before <= MEANWHILE / 3,
            "{} questions",
            after - before
        );
    }
}

/// An address at which nobody listens yet.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

fn check(lie: Lie, reason: &str) -> Scene {
    let scene = Scene::open(lie);
    scene.until_left_alone(reason);
    scene
}

#[test]
fn envelopes_of_another_project() {
    check(Lie::Foreign, "an envelope of another project");
}

#[test]
fn bytes_that_are_no_envelope() {
    check(Lie::Unsound, "an envelope that is refused");
}

#[test]
fn page_after_page_without_news() {
    check(Lie::Pages, "page after page");
}

#[test]
fn ids_of_what_it_does_not_give() {
    check(Lie::Ids, "ids of envelopes that it does not give");
}

#[test]
fn nonsense_for_a_comparison_of_sets() {
    check(Lie::Sets, "not version 1");
}

#[test]
fn nonsense_for_a_pack() {
    let scene = Scene::open(Lie::Pack);
    scene
        .lines
        .wait_for(&["pluto", "left alone", "a pack that is refused"]);
    scene.help();
    scene.until_served();
}

#[test]
fn a_pack_without_end() {
    let scene = Scene::open(Lie::EndlessPack);
    scene.lines.wait_for(&["pluto", "left alone", "pack"]);
    scene.help();
    scene.until_served();
    // What a catch-up may move, and then the commits alone, each time; and what a pipe and a connection hold.
    let asked = scene.liar.load(Ordering::SeqCst) as u64;
    let written = scene.written.load(Ordering::SeqCst);
    assert!(
        written < (asked + 1) * (80 << 20),
        "{written} bytes, {asked} questions"
    );
}

#[test]
fn a_digest_that_nothing_leads_to() {
    let scene = Scene::open(Lie::Digest);
    scene.help();
    scene.until_served();
    // It may be an honest difference, so that it is no lie: it is asked again and again, and less and less.
    let contacts = || scene.honest.digests.load(Ordering::SeqCst);
    let begun = contacts();
    while contacts() < begun + MEANWHILE {
        std::thread::yield_now();
    }
    assert_eq!(scene.world.log().len(), scene.held.envelopes.len());
}

#[test]
fn a_peer_that_takes_the_connection_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("bound").to_string();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let [venus, pluto] = [9, 66].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let held = Arc::new(Held::new(&venus, &SMALL));
    let honest = serve(&runtime, &venus, Holder::of(&held));
    let more = "contact_interval_ms = 50\n";
    let lines = Lines::capture();
    let world = World::with_peers(more, &[("venus", &venus, &honest), ("pluto", &pluto, &at)]);
    while !world.repository().join("refs/heads/main").exists() {
        std::thread::yield_now();
    }
    lines.wait_for(&["pluto", "does not answer"]);
    drop(silent);
}

#[test]
fn receipts_that_are_forged_count_for_nobody() {
    let world = World::new();
    let init = world.found();
    let grant = world.grant(&init, &world.peer);
    world.sync(&world.peer, &[&grant]).expect("let in");
    let copies = |world: &World| world.status().expect("it is here").copies;
    let before = copies(&world);
    let receipt = |from: &SecretKey, ids: Vec<[u8; 32]>| {
        world.ask(from, async |client, to| {
            client.held(to, &world.project, &ids).await
        })
    };
    let stranger = SecretKey::from_seed(&[77; 32]);
    assert!(receipt(&stranger, vec![*init.id().as_bytes()]).is_err());
    receipt(&world.peer, vec![[7; 32]; 1024]).expect("heard, and of no use");
    assert_eq!(copies(&world), before);
}
