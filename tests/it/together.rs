//! A project that comes from several envoys at once, of which some do not do what they should.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use gitback_identity::{EnvoyKey, ProjectId, SecretKey};
use gitback_peer::{
    BlockRange, Caller, Client, Digests, PeerAddress, PushAnswer, PushBody, Refusal, RefusalKind,
    Server, Service, SyncAnswer, SyncRequest,
};
use gitback_tests::{ExtraPeer, Fleet};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Handle, Runtime};

use crate::world::{SOON, binaries, done, local, notes, push_all, served, wait_for_copies};

/// Blocks of the pack that the project has; a few more bytes make one more.
const BLOCKS: usize = 12;
const BLOCK: usize = 1 << 20;

/// What an envoy says when a pack is here that several gave.
const BROUGHT: &str = "brought a pack in from several envoys";

/// A history with so many mebibytes that do not compress, founded as `notes` and pushed from mars.
pub(crate) fn large(fleet: &Fleet) -> PathBuf {
    let work = notes(fleet);
    for file in 0..BLOCKS {
        let mut bytes = Vec::with_capacity(BLOCK);
        let mut state: [u8; 32] = Sha256::digest(file.to_be_bytes()).into();
        while bytes.len() < BLOCK {
            state = Sha256::digest(state).into();
            bytes.extend_from_slice(&state);
        }
        fs::write(work.join(format!("{file}.bin")), bytes).expect("a file");
    }
    let mars = fleet.person(0);
    done(mars.git(&work, ["add", "."]));
    done(mars.git(&work, ["commit", "--quiet", "-m", "much"]));
    push_all(mars, &work);
    work
}

/// Takes the project from a daemon that does not run: its repository and its log.
pub(crate) fn take_away(fleet: &Fleet, index: usize) -> PathBuf {
    let root = fleet.envoy(index).root().join("var/lib/vigo/swarm/gitback");
    let bare = only(&root.join("projects"));
    fs::remove_dir_all(&bare).expect("removed");
    fs::remove_dir_all(only(&root.join("envelopes"))).expect("removed");
    bare
}

pub(crate) fn only(dir: &Path) -> PathBuf {
    let mut entries = fs::read_dir(dir).expect("a folder").flatten();
    entries.next().expect("one project").path()
}

/// The line with which an envoy tells what came from whom.
pub(crate) fn brought(fleet: &Fleet, index: usize) -> Option<String> {
    let log = fleet.envoy(index).log();
    let line = log.lines().rfind(|line| line.contains(BROUGHT))?;
    Some(line.to_owned())
}

/// A number in a line of a log.
fn number(line: &str, name: &str) -> usize {
    let (_, rest) = line.split_once(&format!("{name}=")).expect("it says so");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// Waits until an envoy serves what mars pushed.
pub(crate) fn wait_until_whole(fleet: &Fleet, index: usize, work: &Path) {
    let wanted = local(fleet.person(0), work);
    let person = fleet.person(index);
    let asked = person.git(
        person.root(),
        [
            "ls-remote",
            "--heads",
            "--tags",
            "--refs",
            "gitback://dan/notes",
        ],
    );
    let there = gitback_tests::until(SOON, "the project is here", || {
        let listed = asked.run()?;
        let is_whole = wanted
            .iter()
            .all(|(name, oid)| listed.stdout.contains(&format!("{oid}\t{name}")));
        Ok(if is_whole {
            Ok(())
        } else {
            Err(fleet.envoy(index).log_tail())
        })
    });
    there.expect("the project comes back");
    assert_eq!(served(person, "gitback://dan/notes"), wanted);
}

#[test]
fn a_project_comes_from_all_who_have_it() {
    let mut fleet = crate::world::fleet(3);
    let work = large(&fleet);
    wait_for_copies(fleet.person(0), 3);
    fleet.envoy_mut(2).kill().expect("titan is switched off");
    let bare = take_away(&fleet, 2);
    fleet.restart(2).expect("titan returns");
    wait_until_whole(&fleet, 2, &work);
    let line = brought(&fleet, 2).expect("titan says from whom it came");
    assert!(
        line.contains("from mars") && line.contains("from venus"),
        "{line}"
    );
    assert_eq!(number(&line, "resumed"), 0, "{line}");
    assert_eq!(number(&line, "moved"), number(&line, "bytes"), "{line}");
    done(
        fleet
            .outside()
            .git(&bare, ["fsck", "--full", "--no-progress"]),
    );
    assert!(
        !bare.join("gitback-blocks").exists(),
        "nothing is left behind"
    );
}

/// What pluto gives instead of the genuine bytes.
type Gives = dyn Fn(&Pluto, &[u8], &mut (dyn Write + Send)) -> Result<(), Refusal> + Send + Sync;

/// A peer that says it has the packs that mars has, and does with them what a test wants.
struct Pluto {
    key: SecretKey,
    client: Client,
    handle: Handle,
    mars: Mutex<Option<PeerAddress>>,
    gives: Box<Gives>,
    /// How often it was asked for blocks.
    asked: AtomicUsize,
    /// From now on it gives what is genuine.
    honest: AtomicBool,
    mars_pid: AtomicU32,
    released: Mutex<bool>,
    news: Condvar,
}

impl Pluto {
    fn mars(&self) -> Result<PeerAddress, Refusal> {
        let mars = self.mars.lock().expect("no panic").clone();
        mars.ok_or_else(|| Refusal::new(RefusalKind::Busy, "busy", "not yet"))
    }

    /// Stops mars in its tracks.
    fn freeze_mars(&self) {
        let pid = i32::try_from(self.mars_pid.load(Ordering::SeqCst)).expect("a process");
        let pid = Pid::from_raw(pid).expect("a process");
        kill_process(pid, Signal::STOP).expect("mars runs");
    }

    /// Gives nothing until the test ends.
    fn hang(&self) {
        let mut released = self.released.lock().expect("no panic");
        while !*released {
            released = self.news.wait(released).expect("no panic");
        }
    }
}

fn no() -> Refusal {
    Refusal::new(
        RefusalKind::NotFound,
        "unknown-project",
        "pluto does not hold it",
    )
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The service of pluto; a wrapper, for the trait and its type are of different crates.
struct Surface(Arc<Pluto>);

impl Service for Surface {
    fn digests(&self, _: &Caller, theirs: Digests) -> Result<Digests, Refusal> {
        Ok(Digests {
            name: "pluto".to_owned(),
            ..theirs
        })
    }

    fn sync(&self, _: &Caller, _: &ProjectId, _: SyncRequest) -> Result<SyncAnswer, Refusal> {
        Err(no())
    }

    fn push(&self, _: &Caller, _: &ProjectId, _: &mut PushBody) -> Result<PushAnswer, Refusal> {
        Err(no())
    }

    fn upload_pack(
        &self,
        _: &Caller,
        _: &ProjectId,
        _: &mut (dyn std::io::Read + Send),
        _: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        Err(no())
    }

    /// What mars says, signed by pluto.
    fn packs(&self, _: &Caller, project: &ProjectId) -> Result<Vec<u8>, Refusal> {
        let pluto = &self.0;
        let mars = pluto.mars()?;
        // Mars may be reading its packs for venus.
        let theirs = gitback_tests::until(SOON, "mars says what it gives", || {
            let asked = pluto.client.packs(&mars, project);
            let answer = pluto.handle.block_on(asked);
            Ok(answer.map_err(|error| error.to_string()))
        });
        let theirs = theirs.map_err(|_| no())?;
        let length = u32::from_be_bytes(theirs[..4].try_into().expect("four bytes"));
        let end = 4 + usize::try_from(length).expect("short");
        let mut body = theirs[4..end].to_vec();
        body[33..65].copy_from_slice(EnvoyKey::new(pluto.key.public()).as_bytes());
        let signed = gitback_envelope::signing_bytes("application/vnd.gitback.packs.v1", &body);
        let signature = pluto.key.sign(&signed);
        let mut ours = theirs[..4].to_vec();
        ours.extend_from_slice(&body);
        ours.extend_from_slice(signature.as_bytes());
        ours.extend_from_slice(&theirs[end + 64..]);
        Ok(ours)
    }

    fn blocks(
        &self,
        _: &Caller,
        project: &ProjectId,
        range: BlockRange,
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        let pluto = &self.0;
        let (mars, genuine) = (pluto.mars()?, Kept::default());
        let asked = pluto.client.blocks(&mars, project, range, genuine.clone());
        pluto.handle.block_on(asked).map_err(|_| no())?;
        let genuine = std::mem::take(&mut *genuine.0.lock().expect("no panic"));
        pluto.asked.fetch_add(1, Ordering::SeqCst);
        if pluto.honest.load(Ordering::SeqCst) {
            return output.write_all(&genuine).map_err(|_| no());
        }
        (pluto.gives)(pluto, &genuine, output)
    }
}

/// Mars, venus, and pluto, who is not what it seems. Mars has pushed the project, and venus has lost it and is switched off.
struct Stage {
    fleet: Fleet,
    work: PathBuf,
    bare: PathBuf,
    pluto: Arc<Pluto>,
    runtime: Option<Runtime>,
}

impl Stage {
    fn set(
        gives: impl Fn(&Pluto, &[u8], &mut (dyn Write + Send)) -> Result<(), Refusal>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let key = SecretKey::from_seed(&[9; 32]);
        let server = runtime
            .block_on(Server::bind("127.0.0.1:0"))
            .expect("a port");
        let peer = ExtraPeer {
            name: "pluto".to_owned(),
            key: key.public().to_string(),
            address: server.local_addr().to_string(),
        };
        let client = {
            let _inside = runtime.enter();
            Client::new(&key).expect("a client")
        };
        let pluto = Arc::new(Pluto {
            client,
            handle: runtime.handle().clone(),
            mars: Mutex::new(None),
            gives: Box::new(gives),
            asked: AtomicUsize::new(0),
            honest: AtomicBool::new(false),
            mars_pid: AtomicU32::new(0),
            released: Mutex::new(false),
            news: Condvar::new(),
            key: SecretKey::from_seed(&[9; 32]),
        });
        let service = Arc::new(Surface(Arc::clone(&pluto)));
        runtime.spawn(async move { server.run(&key, service, std::future::pending()).await });

        let options = gitback_tests::Options::new(binaries())
            .envoys(2)
            .extra_peer(peer);
        let mut fleet = Fleet::start(options).expect("the fleet starts");
        fleet.make_puddle("dan").expect("dan's puddle");
        let work = large(&fleet);
        wait_until_whole(&fleet, 1, &work);
        fleet.envoy_mut(1).kill().expect("venus is switched off");
        let bare = take_away(&fleet, 1);
        *pluto.mars.lock().expect("no panic") = Some(PeerAddress {
            key: fleet.envoy(0).key().parse().expect("a key"),
            address: fleet.envoy(0).address(),
        });
        Self {
            fleet,
            work,
            bare,
            pluto,
            runtime: Some(runtime),
        }
    }

    /// Venus returns and gets all of the project; what it says of the pack.
    fn brought_in(&mut self) -> String {
        self.fleet.restart(1).expect("venus returns");
        wait_until_whole(&self.fleet, 1, &self.work);
        let line = brought(&self.fleet, 1).expect("venus says from whom it came");
        assert!(
            self.pluto.asked.load(Ordering::SeqCst) > 0,
            "pluto took part"
        );
        assert!(
            !self.bare.join("gitback-blocks").exists(),
            "nothing is left behind"
        );
        let outside = self.fleet.outside();
        done(outside.git(&self.bare, ["fsck", "--full", "--no-progress"]));
        line
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        *self.pluto.released.lock().expect("no panic") = true;
        self.pluto.news.notify_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[test]
fn whoever_gives_a_bad_block_is_blamed_and_the_project_arrives() {
    let mut stage = Stage::set(|_, genuine, output| {
        let mut forged = genuine.to_vec();
        forged[77] ^= 1;
        output.write_all(&forged).map_err(|_| no())
    });
    let line = stage.brought_in();
    assert!(
        line.contains("from mars") && !line.contains("from pluto"),
        "{line}"
    );
    let log = stage.fleet.envoy(1).log();
    let blamed: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("with other bytes than it had said"))
        .collect();
    assert!(
        !blamed.is_empty() && blamed.iter().all(|line| line.contains("pluto")),
        "{blamed:?}"
    );
    // Not for long: somebody who asks for the status may come too late to see it.
    let left_alone = gitback_tests::until(SOON, "pluto is left alone", || {
        let log = stage.fleet.envoy(1).log();
        let told = log
            .lines()
            .any(|line| line.contains("pluto") && line.contains("is left alone for"));
        Ok(if told { Ok(()) } else { Err(log) })
    });
    left_alone.expect("told");
}

#[test]
fn whoever_breaks_off_is_replaced_by_the_others() {
    let mut stage = Stage::set(|_, genuine, output| {
        output.write_all(&genuine[..BLOCK / 2]).map_err(|_| no())?;
        Err(Refusal::new(
            RefusalKind::Internal,
            "fault",
            "the disk is gone",
        ))
    });
    let line = stage.brought_in();
    assert!(
        line.contains("from mars") && !line.contains("from pluto"),
        "{line}"
    );
}

#[test]
fn whoever_falls_silent_keeps_nothing_back() {
    let mut stage = Stage::set(|pluto, genuine, output| {
        output.write_all(&genuine[..BLOCK]).map_err(|_| no())?;
        output.flush().map_err(|_| no())?;
        pluto.hang();
        Ok(())
    });
    let line = stage.brought_in();
    // Its first blocks were good.
    assert!(
        line.contains("from mars") && line.contains("from pluto"),
        "{line}"
    );
}

#[test]
fn a_pack_that_has_gone_is_taken_from_who_has_it() {
    let gone = || {
        Refusal::new(
            RefusalKind::NotFound,
            "pack-gone",
            "put together with others",
        )
    };
    let mut stage = Stage::set(move |_, _, _| Err(gone()));
    let line = stage.brought_in();
    assert!(
        line.contains("from mars") && !line.contains("from pluto"),
        "{line}"
    );
    let log = stage.fleet.envoy(1).log();
    assert!(!log.contains("than it had said"), "nobody has lied");
}

#[test]
fn what_has_come_before_a_crash_does_not_come_again() {
    let mut stage = Stage::set(|pluto, genuine, output| {
        // Nobody gives anything more from here on, and what pluto was asked for is not all here.
        pluto.freeze_mars();
        if pluto.asked.load(Ordering::SeqCst) > 1 {
            pluto.hang();
        }
        output.write_all(&genuine[..BLOCK]).map_err(|_| no())?;
        output.flush().map_err(|_| no())?;
        pluto.hang();
        Ok(())
    });
    let mars = stage.fleet.envoy(0).pid().expect("mars runs");
    stage.pluto.mars_pid.store(mars, Ordering::SeqCst);
    stage.fleet.restart(1).expect("venus returns");
    let blocks = stage.bare.join("gitback-blocks");
    let begun = gitback_tests::until(SOON, "blocks come", || {
        let file = fs::read_dir(&blocks)
            .ok()
            .and_then(|mut files| files.next());
        let length = file
            .and_then(Result::ok)
            .and_then(|file| file.metadata().ok());
        Ok(match length {
            Some(file) if file.len() > 0 => Ok(()),
            _ => Err("none yet".to_owned()),
        })
    });
    begun.expect("venus gets blocks");
    stage.fleet.envoy_mut(1).kill().expect("venus crashes");
    assert_eq!(brought(&stage.fleet, 1), None, "it was in the middle of it");
    stage.fleet.envoy(0).thaw().expect("mars goes on");
    stage.pluto.honest.store(true, Ordering::SeqCst);
    let line = stage.brought_in();
    let (resumed, bytes) = (number(&line, "resumed"), number(&line, "bytes"));
    assert!(resumed > 0, "{line}");
    let last = bytes % BLOCK;
    let moved = number(&line, "moved");
    let blocks = bytes.div_ceil(BLOCK);
    // The last block is shorter; it may have been among those that were here.
    let lacking = (blocks - resumed) * BLOCK;
    assert!(
        moved == lacking || moved == lacking - (BLOCK - last),
        "{line}"
    );
}
