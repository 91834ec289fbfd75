//! One project on this envoy: its envelope log, its fold, its repository, and the order in which they change.
//!
//! **Invariant:** what is in the fold is durable in the log; a ref on disk names only objects whose whole closure is
//! in the repository; refs follow the fold and nothing else.

mod alarms;
mod drafting;
mod expiry;
mod foothold;
mod graph;
mod ids;
mod incarnation;
mod judge;
mod kept;
mod moves;
mod parts;
mod pins;
mod rot;
mod rounds;
#[cfg(test)]
pub(crate) mod sample;
mod settle;
mod state;

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gitback_envelope::{Oid, Project};
use gitback_identity::ProjectId;
use gitback_log::Log;
use gitback_pack::{InUse, Limits, Repository};

use crate::fault::{Fault, pack_fault};
use crate::push::Ready;
use ids::Compared;
use incarnation::incarnation;
use judge::{Judged, forget_judged, read_judged};
use moves::Stuck;
use rounds::Rounds;

pub(crate) use alarms::{address, describe};
pub(crate) use drafting::Drafting;
pub(crate) use expiry::{Swept, without_let_go};
pub(crate) use foothold::Foothold;
pub(crate) use graph::Graph;
pub(crate) use parts::PARTS_MAX;
pub(crate) use rounds::ROUND_MAX;
pub(crate) use state::{Admitted, Folding, State, Void};

/// How long somebody who was asked for what is lacking may take to begin to bring it, before it is caught up otherwise.
const ASKED_MAX: Duration = Duration::from_secs(1);

/// How long a push that is arriving holds a catch-up of the same project off.
const ARRIVAL_MAX: Duration = Duration::from_secs(600);

/// How long a push that is arriving, and may be about to be stored where it comes from, is waited for.
const STORED_SOON: Duration = Duration::from_millis(20);

/// The one catch-up of a project that may run at a time.
#[derive(Debug, Default)]
struct CatchingUp {
    runs: bool,
    /// How far it is, for people; empty before it tells anything.
    told: String,
    /// How often any has told something.
    times: u64,
}

/// A project's handle for every thread of the daemon.
#[derive(Debug)]
pub(crate) struct Cell {
    id: ProjectId,
    repo: Repository,
    log_dir: PathBuf,
    state: Mutex<State>,
    /// Pushes that are ready to be stored.
    pushes: Rounds<Ready>,
    /// The one catch-up that may run at a time.
    catching_up: Mutex<CatchingUp>,
    /// Fires when it has ended or has told how far it is.
    caught_up: Condvar,
    /// Forwarded pushes that are being taken in.
    arriving: Mutex<Arriving>,
    compared: Compared,
    stuck: Stuck,
    /// Fires when one of them has ended.
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Arriving {
    count: usize,
    /// How many of them are stored at their sender.
    stored: usize,
    /// When the count left zero.
    since: Option<Instant>,
    /// When somebody who offered something was last asked for it, and has not brought it yet.
    asked: Option<Instant>,
}

impl Arriving {
    /// Whether a catch-up would bring what somebody else brings already.
    fn is_busy(&self) -> bool {
        let within = |since: Option<Instant>, most| since.is_some_and(|at| at.elapsed() < most);
        (self.count > 0 && within(self.since, ARRIVAL_MAX)) || within(self.asked, ASKED_MAX)
    }
}

/// Says for as long as it lives that a forwarded push is being taken in.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    cell: &'a Cell,
    _in_use: InUse,
    is_stored: bool,
    /// Its sender is asked for more.
    asks: bool,
}

impl Arrival<'_> {
    /// Notes that the push is stored at its sender. Before that it may itself wait until this envoy's own pushes are
    /// through.
    pub(crate) fn note_stored(&mut self) {
        if !self.is_stored {
            self.is_stored = true;
            self.cell.arriving().stored += 1;
        }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut arriving = self.cell.arriving();
        arriving.count -= 1;
        arriving.asked = self.asks.then(Instant::now);
        arriving.stored -= usize::from(self.is_stored);
        drop(arriving);
        self.cell.arrived.notify_all();
    }
}

/// The right to catch up, for as long as it lives.
#[derive(Debug)]
pub(crate) struct CatchUpRight<'a> {
    cell: &'a Cell,
    _in_use: InUse,
}

impl Drop for CatchUpRight<'_> {
    fn drop(&mut self) {
        let mut catching_up = self.cell.catching_up();
        catching_up.runs = false;
        catching_up.told.clear();
        drop(catching_up);
        // Not all who wait want the right.
        self.cell.caught_up.notify_all();
    }
}

impl Cell {
    /// Opens project `id` below the two folders, making what is missing. A walk through what is here may cost what a pack
    /// may.
    pub(crate) fn open(
        id: ProjectId,
        repositories: &Path,
        envelopes: &Path,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let project = id.to_string();
        let log_dir = envelopes.join(&project);
        let path = repositories.join(format!("{project}.git"));
        let repo = if path.join("HEAD").exists() {
            let opened = Repository::open(&path);
            let (repo, recovered) = opened.map_err(|source| Fault::Open {
                project: project.clone(),
                source,
            })?;
            if !recovered.is_nothing() {
                tracing::info!(project = %id, ?recovered, "cleared away what an earlier run left");
            }
            repo
        } else {
            Repository::create(&path).map_err(pack_fault(id, "create"))?
        };
        repo.set_limits(limits);
        let (log, opened) = Log::open(&log_dir).map_err(|source| Fault::Log {
            doing: "open",
            project,
            source,
        })?;
        for dropped in &opened.dropped {
            tracing::warn!(project = %id, offset = dropped.offset, bytes = dropped.bytes, "set damaged log bytes aside");
        }
        let incarnation = incarnation(&log_dir, opened.created)?;
        let fold = Project::with_pins(id, pins::read(&log_dir)?);
        let mut state = State::new(fold, log, log_dir.clone(), incarnation);
        state.foothold = foothold::read(&log_dir);
        state.let_go = expiry::read(&log_dir);
        let judged = match opened.dropped.is_empty() {
            true => read_judged(&log_dir, opened.records.len())?,
            false => None,
        };
        let judged = match judged {
            Some(judged) => judged,
            None => {
                forget_judged(&log_dir)?;
                Judged::default()
            }
        };
        state.replay(opened.records, judged);
        let cell = Self {
            id,
            repo,
            log_dir,
            state: Mutex::new(state),
            pushes: Rounds::default(),
            catching_up: Mutex::default(),
            caught_up: Condvar::new(),
            arriving: Mutex::default(),
            compared: Compared::default(),
            stuck: Stuck::default(),
            arrived: Condvar::new(),
        };
        let mut state = cell.lock();
        state.set_damaged(cell.repo.is_known_to_lack());
        if state.fold.is_empty() {
            // Whoever has refs had a log.
            if !cell.shown_refs()?.is_empty() {
                tracing::error!(project = %id, "the envelope log was lost; nothing is served until another envoy that holds the project has answered");
                cell.note_foothold(&mut state, Foothold::Lost)?;
            }
        } else {
            state.keep_pins()?;
            // A project whose refs cannot follow now is still served as it is.
            cell.follow(&mut state, &[]);
            if let Err(fault) = cell.check_tips(&mut state) {
                tracing::error!(project = %id, error = %crate::daemon::chain(&fault), "cannot check the refs");
            }
        }
        drop(state);
        Ok(cell)
    }

    pub(crate) fn id(&self) -> &ProjectId {
        &self.id
    }

    pub(crate) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// The folder of the envelope log.
    pub(crate) fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Takes the project's lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("a thread panicked while it changed this project")
    }

    /// Pushes that are ready to be stored.
    pub(crate) fn pushes(&self) -> &Rounds<Ready> {
        &self.pushes
    }

    /// Takes the project's lock unless a thread has panicked with it.
    pub(crate) fn lock_if_sound(&self) -> Option<MutexGuard<'_, State>> {
        self.state.lock().ok()
    }

    /// Takes the project's lock unless somebody has it, or has panicked with it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        self.state.try_lock().ok()
    }

    /// Notes that a forwarded push begins to arrive.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        let mut arriving = self.arriving();
        if arriving.count == 0 {
            arriving.since = Some(Instant::now());
        }
        arriving.count += 1;
        Arrival {
            cell: self,
            _in_use: self.repo.in_use(),
            is_stored: false,
            asks: false,
        }
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving
            .lock()
            .expect("no thread panics while it counts")
    }

    /// Takes the right to catch up, unless another thread has it, or a push brings the same objects already or is about
    /// to: then they would be sent twice. A push that takes very long keeps nobody from catching up.
    pub(crate) fn try_catch_up(&self) -> Option<CatchUpRight<'_>> {
        let arriving = self.arriving();
        if arriving.is_busy() {
            return None;
        }
        let mut catching_up = self.catching_up();
        if catching_up.runs {
            return None;
        }
        catching_up.runs = true;
        Some(self.catch_up_right())
    }

    /// Waits for the right to catch up, and passes on what the catch-up that runs until then tells.
    pub(crate) fn wait_catch_up(&self, progress: &mut dyn FnMut(String)) -> CatchUpRight<'_> {
        let mut heard = 0;
        let mut catching_up = self.catching_up();
        while catching_up.runs {
            if catching_up.times == heard || catching_up.told.is_empty() {
                let waited = self.caught_up.wait(catching_up);
                catching_up = waited.expect("no thread panics with a flag");
                continue;
            }
            heard = catching_up.times;
            let told = catching_up.told.clone();
            // Whoever listens may be slow.
            drop(catching_up);
            progress(told);
            catching_up = self.catching_up();
        }
        catching_up.runs = true;
        drop(catching_up);
        self.catch_up_right()
    }

    /// Tells those who wait for the catch-up that runs how far it is.
    pub(crate) fn tell(&self, text: &str) {
        let mut catching_up = self.catching_up();
        text.clone_into(&mut catching_up.told);
        catching_up.times += 1;
        drop(catching_up);
        self.caught_up.notify_all();
    }

    /// Whoever has set the flag has the right.
    fn catch_up_right(&self) -> CatchUpRight<'_> {
        CatchUpRight {
            cell: self,
            _in_use: self.repo.in_use(),
        }
    }

    /// Waits for the pushes that are arriving and stored at their sender, and for the right to catch up, until `until`.
    ///
    /// A push that is not stored yet is given a moment only: it may be waiting for the very one that wants to catch up.
    pub(crate) fn catch_up_until(&self, until: Instant) -> Option<CatchUpRight<'_>> {
        let left = || until.saturating_duration_since(Instant::now());
        let wait = |limit: Duration, busy: fn(&mut Arriving) -> bool| {
            let waited = self
                .arrived
                .wait_timeout_while(self.arriving(), limit, busy);
            drop(waited.expect("no thread panics while it counts"));
        };
        wait(left().min(STORED_SOON), |arriving| arriving.count > 0);
        wait(left(), |arriving| arriving.stored > 0);
        let waited = self
            .caught_up
            .wait_timeout_while(self.catching_up(), left(), |one| one.runs);
        let (mut catching_up, waited) = waited.expect("no thread panics with a flag");
        if waited.timed_out() && catching_up.runs {
            return None;
        }
        catching_up.runs = true;
        Some(self.catch_up_right())
    }

    /// Whether what is lacking may be asked for of whom has offered it: not while a catch-up runs, which brings the same.
    /// None begins then before that one had time to bring it.
    pub(crate) fn may_ask(&self, arrival: &mut Arrival<'_>) -> bool {
        let arriving = self.arriving();
        let free = !self.is_catching_up();
        drop(arriving);
        arrival.asks |= free;
        free
    }

    /// Waits, for at most `limit`, until no catch-up runs.
    pub(crate) fn wait_caught_up(&self, limit: Duration) {
        let waited = self
            .caught_up
            .wait_timeout_while(self.catching_up(), limit, |one| one.runs);
        drop(waited.expect("no thread panics with a flag"));
    }

    /// Whether a catch-up runs.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.catching_up().runs
    }

    fn catching_up(&self) -> MutexGuard<'_, CatchingUp> {
        self.catching_up
            .lock()
            .expect("no thread panics with a flag")
    }
}

/// The object id in git's type.
pub(crate) fn git(oid: Oid) -> gitback_pack::Oid {
    gitback_pack::Oid::Sha1(*oid.as_bytes())
}

/// The object id in the envelopes' type.
pub(crate) fn own(oid: &gitback_pack::Oid) -> Oid {
    Oid::from_bytes(
        oid.as_bytes()
            .try_into()
            .expect("repositories are SHA-1: 20 bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use gitback_envelope::{
        Act, EnvelopeId, Incarnation, STRANGERS_VOID_MAX, Statement, Verdict, Verified,
    };
    use gitback_identity::{EnvoyKey, Handle, PuddleKey, SecretKey};

    fn cell(dir: &Path) -> (Cell, Verified) {
        let founder = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = Statement::init(&puddle, &handle);
        let signature = founder.sign(&init.signing_bytes().expect("encodes"));
        let init = init.seal(signature).expect("the founder's");
        let id = init.statement().project;
        let (projects, envelopes) = (dir.join("projects"), dir.join("envelopes"));
        let cell = Cell::open(id, &projects, &envelopes, &Limits::default());
        (cell.expect("opens"), init)
    }

    #[test]
    fn the_fold_goes_back_to_what_the_log_has() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, init) = cell(dir.path());
        let mut state = cell.lock();
        let empty = state.fold().digest();
        // As after an append that failed: folded, and not in the log.
        let mut folding = state.begin().expect("nothing stands against it");
        let agree = |_: &State, _: &Admitted| Ok::<(), ()>(());
        let folded = state.fold_if(&mut folding, vec![init.clone()], agree);
        folded.expect("folds");
        assert_ne!(state.fold().digest(), empty);
        assert!(!state.holds(init.id()));
        state.retreat(folding);
        assert_eq!(state.fold().digest(), empty);
        assert_eq!(
            state
                .admit(vec![init.clone()])
                .expect("the disk works")
                .folded,
            [*init.id()]
        );
        assert!(state.holds(init.id()));
        let folding = state.begin().expect("nothing stands against it");
        state.retreat(folding);
        assert!(state.fold().founder().is_some(), "what is durable stays");
    }

    #[test]
    fn what_one_batch_is_refused_for_keeps_back_no_other_of_its_round() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, init) = cell(dir.path());
        let founder = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(founder.public());
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let mut state = cell.lock();
        state.admit(vec![init]).expect("the disk works");
        let next = |state: &State| {
            let drafting = Drafting::after(state, founder.public(), puddle, envoy, None);
            let mut drafting = drafting.expect("encodes");
            drafting.add(Act::Merge).expect("encodes");
            let statements = drafting.into_statements().into_iter();
            let sealed = statements.map(|statement| {
                let signature = founder.sign(&statement.signing_bytes().expect("encodes"));
                statement.seal(signature).expect("its own")
            });
            sealed.collect::<Vec<Verified>>()
        };
        let mut folding = state.begin().expect("nothing stands against it");
        let mut ids = Vec::new();
        for agrees in [true, false, true] {
            let batch = next(&state);
            ids.extend(batch.iter().map(|one| *one.id()));
            let check = |_: &State, _: &Admitted| agrees.then_some(()).ok_or(());
            let folded = state.fold_if(&mut folding, batch, check);
            assert_eq!(folded.is_ok(), agrees);
        }
        assert!(ids.iter().all(|id| !state.holds(id)), "not yet");
        state.store(folding).expect("the disk works");
        let held: Vec<bool> = ids.iter().map(|id| state.holds(id)).collect();
        // The second and the third were drafted in the same place of the chain; only one of them is there.
        assert_eq!(held, [true, ids[1] == ids[2], true]);
        assert_eq!(state.fold().cut(), [ids[2]]);
        assert!(state.fold().is_ancestor(&ids[0], &ids[2]));
    }

    #[test]
    fn what_was_taken_in_because_another_names_it_is_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, init) = cell(dir.path());
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let by = |seed: u8, past: &[EnvelopeId], count: usize| -> Vec<Verified> {
            let key = SecretKey::from_seed(&[seed; 32]);
            let (puddle, life) = (PuddleKey::new(key.public()), [seed; 16]);
            let life = Incarnation::from_bytes(&life);
            let first = *past.first().expect("some past");
            let mut drafting = Drafting::outside(cell.id, puddle, envoy, life, first);
            for _ in 0..count {
                drafting.add(Act::Merge).expect("encodes");
            }
            let statements = drafting.into_statements().into_iter();
            let sealed = statements.map(|statement| {
                let signature = key.sign(&statement.signing_bytes().expect("encodes"));
                statement.seal(signature).expect("its own")
            });
            sealed.collect()
        };
        let mut words = by(9, &[*init.id()], STRANGERS_VOID_MAX + 1);
        let one_too_many = words.pop().expect("many");
        let naming = by(3, &[*one_too_many.id()], 1).remove(0);
        let last = *naming.id();
        let mut state = cell.lock();
        state.admit(vec![init]).expect("the disk works");
        state.admit(words).expect("the disk works");
        let alone = state.admit(vec![one_too_many.clone()]);
        assert_eq!(alone.expect("the disk works").refused.len(), 1);
        let both = state.admit(vec![naming, one_too_many]);
        assert_eq!(both.expect("the disk works").folded.len(), 2);
        let folding = state.begin().expect("nothing stands against it");
        state.retreat(folding);
        assert_eq!(state.fold().verdict(&last), Verdict::Valid);
        drop(state);
        let id = cell.id;
        drop(cell);
        let again = Cell::open(
            id,
            &dir.path().join("projects"),
            &dir.path().join("envelopes"),
            &Limits::default(),
        );
        let again = again.expect("opens");
        assert_eq!(again.lock().fold().verdict(&last), Verdict::Valid);
    }

    #[test]
    fn what_a_push_is_bringing_is_not_fetched_beside_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, _) = cell(dir.path());
        let (first, second) = (cell.arrival(), cell.arrival());
        assert!(cell.try_catch_up().is_none());
        drop(first);
        assert!(cell.try_catch_up().is_none(), "another push still arrives");
        drop(second);
        assert!(cell.try_catch_up().is_some());
    }

    #[test]
    fn whoever_was_asked_first_brings_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, _) = cell(dir.path());
        // A catch-up runs: nobody is asked, and who offers hears of it when that has ended.
        let right = cell.try_catch_up().expect("nobody else has it");
        let mut offer = cell.arrival();
        assert!(!cell.may_ask(&mut offer));
        let begun = Instant::now();
        cell.wait_caught_up(STORED_SOON);
        assert!(begun.elapsed() >= STORED_SOON);
        drop(right);
        cell.wait_caught_up(Duration::from_secs(3600));
        drop(offer);
        drop(cell.try_catch_up().expect("nobody was asked"));
        // Somebody was asked, and gets time to begin.
        let mut offer = cell.arrival();
        assert!(cell.may_ask(&mut offer));
        drop(offer);
        assert!(cell.try_catch_up().is_none());
        drop(cell.arrival());
        assert!(cell.try_catch_up().is_some(), "it came");
        // Nobody waits for long for what does not come.
        let mut offer = cell.arrival();
        assert!(cell.may_ask(&mut offer));
        drop(offer);
        cell.arriving().asked = Instant::now().checked_sub(ASKED_MAX);
        assert!(cell.try_catch_up().is_some());
    }

    #[test]
    fn whoever_waits_for_a_catch_up_hears_how_far_it_is() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, _) = cell(dir.path());
        let right = cell.try_catch_up().expect("nobody else has it");
        cell.tell("1.0 of 3.0 MiB from mars");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut progress = |text| tell.send(text).expect("somebody listens");
                drop(cell.wait_catch_up(&mut progress));
            });
            // What was told before it came, and everything after that.
            assert_eq!(told.recv().expect("told"), "1.0 of 3.0 MiB from mars");
            cell.tell("2.0 of 3.0 MiB from mars");
            assert_eq!(told.recv().expect("told"), "2.0 of 3.0 MiB from mars");
            drop(right);
            waiting.join().expect("no panic");
        });
        // Of one that has ended nobody hears any more.
        let right = cell.try_catch_up().expect("nobody else has it");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut progress = |text| tell.send(text).expect("somebody listens");
                drop(cell.wait_catch_up(&mut progress));
            });
            cell.tell("another one");
            drop(right);
            waiting.join().expect("no panic");
        });
        assert!(told.try_iter().all(|text| text == "another one"));
    }

    #[test]
    fn a_push_that_is_not_stored_yet_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, _) = cell(dir.path());
        let in_an_hour = || Instant::now() + Duration::from_secs(3600);
        let mut arrival = cell.arrival();
        // It may wait for its turn, and this one is before it.
        assert!(cell.catch_up_until(in_an_hour()).is_some());
        arrival.note_stored();
        // It is waited for, as long as there is time.
        let (begun, limit) = (Instant::now(), 4 * STORED_SOON);
        assert!(cell.catch_up_until(begun + limit).is_some());
        assert!(begun.elapsed() >= limit);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cell.catch_up_until(in_an_hour()).is_some());
            drop(arrival);
            assert!(waiting.join().expect("no panic"));
        });
    }

    #[test]
    fn a_new_log_begins_a_new_incarnation_and_an_old_one_keeps_its_own() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (first, init) = cell(dir.path());
        first.lock().admit(vec![init]).expect("the disk works");
        let incarnation = first.lock().incarnation();
        drop(first);
        let (again, _) = cell(dir.path());
        assert_eq!(again.lock().incarnation(), incarnation);
        let log = again.log_dir().join("log");
        drop(again);
        std::fs::remove_file(log).expect("removed");
        let (lost, _) = cell(dir.path());
        assert_ne!(lost.lock().incarnation(), incarnation);
    }
}
