//! Making projects and throwing them away, and giving copies up, killed at every step.

use gitback_envelope::{Statement, Verified};
use gitback_identity::{Handle, PuddleKey, SecretKey};

use super::*;

fn init() -> Verified {
    let founder = SecretKey::from_seed(&[3; 32]);
    let puddle = PuddleKey::new(founder.public());
    let handle: Handle = "notes".parse().expect("valid");
    let init = Statement::init(&puddle, &handle);
    let signature = founder.sign(&init.signing_bytes().expect("encodes"));
    init.seal(signature).expect("the founder's")
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }

    fn open(&self) -> Store {
        let folder = |name| self.0.path().join(name);
        let limits = Limits::default();
        Store::open(&folder("projects"), &folder("envelopes"), limits).expect("opens")
    }

    fn repositories(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path().join("projects")).expect("a folder");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

/// A store with one project, and that project.
fn founded(place: &Place) -> (Store, Arc<Cell>) {
    let (store, init) = (place.open(), init());
    let cell = store.find_or_make(&init.statement().project).expect("made");
    cell.lock().admit(vec![init]).expect("the disk works");
    (store, cell)
}

fn note() -> GivenUp {
    GivenUp {
        at_ms: 5,
        handle: None,
        founder: None,
        uids: vec![1000],
    }
}

/// A second project, as a request makes it that gets no `init`.
fn unfounded(store: &Store) -> Arc<Cell> {
    let other = PuddleKey::new(SecretKey::from_seed(&[4; 32]).public());
    let handle: Handle = "other".parse().expect("valid");
    let id = ProjectId::derive(&other, &handle);
    store.find_or_make(&id).expect("made")
}

/// Has a thread panic while it changes the project.
fn panic_with(cell: &Cell) {
    std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let _state = cell.lock();
            panic!("as a bug would");
        });
        panics.join().expect_err("it panics");
    });
}

#[test]
fn a_project_without_envelopes_is_thrown_away_unless_it_is_in_use() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let other = unfounded(&store);
    let id = *other.id();
    let in_use = Arc::clone(&other);
    store.discard_if_unfounded(other);
    assert!(store.find(&id).is_some());
    let logs = [cell.log_dir().to_owned(), in_use.log_dir().to_owned()];
    store.discard_if_unfounded(in_use);
    assert!(store.find(&id).is_none());
    store.discard_if_unfounded(cell);
    assert_eq!(store.all().len(), 1, "what was founded stays");
    assert_eq!(place.repositories().len(), 1);
    assert_eq!(logs.map(|path| path.exists()), [true, false]);
    drop(unfounded(&store));
    assert!(store.find(&id).is_some(), "made again");
}

#[test]
fn nobody_waits_for_a_project_that_is_not_thrown_away() {
    let place = Place::new();
    let (store, founded) = founded(&place);
    for cell in [founded, unfounded(&store)] {
        let id = *cell.id();
        let handed_in = Arc::clone(&cell);
        let weak = Arc::downgrade(&cell);
        let state = cell.lock();
        // Would never return if it waited for what this thread has.
        std::thread::scope(|scope| {
            scope.spawn(|| store.discard_if_unfounded(handed_in));
        });
        assert!(store.find(&id).is_some());
        drop(state);
        drop(cell);
        assert_eq!(weak.strong_count(), 1, "only the store has it");
    }
}

#[test]
fn what_is_here_is_found_while_another_is_being_made() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let making = store.making();
    // Would never return if it waited for what this thread has.
    let found = std::thread::scope(|scope| {
        let finds = scope.spawn(|| store.find_or_make(cell.id()));
        finds.join().expect("no panic").expect("it is here")
    });
    drop(making);
    assert!(Arc::ptr_eq(&found, &cell));
}

#[test]
fn a_project_that_a_thread_panicked_with_leaves_the_store_usable() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let other = unfounded(&store);
    let id = *other.id();
    panic_with(&other);
    store.discard_if_unfounded(other);
    assert!(store.find(&id).is_some());
    assert!(store.find(cell.id()).is_some());
}

#[test]
fn a_project_that_a_thread_panicked_with_is_passed_over_and_the_others_are_served() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    panic_with(&unfounded(&store));
    assert_eq!(store.all().len(), 1);
    assert!(store.all_unfounded().is_empty());
    panic_with(&cell);
    assert!(store.all().is_empty() && store.all_unfounded().is_empty());
    assert!(store.founded(cell.id()).is_none());
    let why = store.why_unopened(cell.id()).expect("it is said why");
    assert!(why.contains("restart"), "{why}");
    drop((store, cell));
    assert_eq!(place.open().all().len(), 1, "nothing is lost");
}

#[test]
fn what_is_left_of_a_log_is_not_thrown_away() {
    let place = Place::new();
    for name in ["dropped-8", "dropped-8-1", "pins"] {
        let store = place.open();
        let cell = unfounded(&store);
        let (id, remains) = (*cell.id(), cell.log_dir().join(name));
        std::fs::write(&remains, "pins 1: 0\n").expect("written");
        store.discard_if_unfounded(cell);
        assert!(store.find(&id).is_some() && remains.exists(), "{name}");
        std::fs::remove_file(&remains).expect("removed");
        store.discard_if_unfounded(store.find(&id).expect("still here"));
        assert!(store.find(&id).is_none());
    }
}

#[test]
fn what_is_given_up_is_gone_and_stays_away_until_it_is_brought_back() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let (id, life) = (*cell.id(), cell.lock().incarnation());
    cell.lock().set_leaving(true);
    store.give_up(cell, note()).expect("the disk works");
    assert_eq!(place.repositories(), Vec::<String>::new());
    let check_away = |store: &Store| {
        assert_eq!(store.given_up(&id), Some(note()));
        assert!(store.find(&id).is_none() && store.all().is_empty());
        let made = store.find_or_make(&id);
        assert!(matches!(made, Err(Fault::GivenUp { .. })), "{made:?}");
    };
    check_away(&store);
    drop(store);
    let store = place.open();
    check_away(&store);
    assert_eq!(place.repositories(), Vec::<String>::new());

    let back = store.bring_back(&id).expect("opens");
    assert!(back.lock().fold().founder().is_some(), "the log is there");
    assert_eq!(back.lock().incarnation(), life, "numbers go on");
    assert!(!back.lock().is_leaving());
    assert_eq!(store.given_up(&id), None);
    drop((back, store));
    assert_eq!(place.open().all().len(), 1);
}

#[test]
fn killed_after_the_note_a_start_goes_on() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let (id, log_dir) = (*cell.id(), cell.log_dir().to_owned());
    drop((store, cell));
    given_up::write(&log_dir, &note()).expect("the disk works");
    assert_eq!(place.repositories().len(), 1);
    let store = place.open();
    assert_eq!(store.given_up(&id), Some(note()));
    assert_eq!(place.repositories(), Vec::<String>::new());
}

#[test]
fn killed_while_it_deletes_a_start_goes_on() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let (id, log_dir) = (*cell.id(), cell.log_dir().to_owned());
    let path = cell.repo().path().to_owned();
    drop((store, cell));
    given_up::write(&log_dir, &note()).expect("the disk works");
    let moved = path.with_extension("git.gone");
    std::fs::rename(&path, &moved).expect("moved");
    std::fs::remove_file(moved.join("HEAD")).expect("half deleted");
    let store = place.open();
    assert_eq!(store.given_up(&id), Some(note()));
    assert_eq!(place.repositories(), Vec::<String>::new());
}

#[test]
fn what_somebody_has_in_hand_takes_nothing_more() {
    let place = Place::new();
    let (store, cell) = founded(&place);
    let id = *cell.id();
    let in_hand = Arc::clone(&cell);
    let whole = in_hand.lock().shown_digest();
    cell.lock().set_leaving(true);
    assert_ne!(in_hand.lock().shown_digest(), whole, "nobody counts on it");
    store.give_up(cell, note()).expect("the disk works");
    let taken = in_hand.lock().admit(vec![init()]);
    assert!(matches!(taken, Err(Fault::Leaving { .. })), "{taken:?}");
    // While the old one is in use there is no second one, and it can be tried again.
    store.bring_back(&id).expect_err("its log is in use");
    assert_eq!(store.given_up(&id), Some(note()));
    drop(in_hand);
    store.bring_back(&id).expect("opens");
}

#[test]
fn only_directories_that_are_no_projects_are_strays() {
    let place = Place::new();
    let (store, _cell) = founded(&place);
    let projects = place.0.path().join("projects");
    for name in ["left-over", "x.git", "y.git.gone"] {
        std::fs::create_dir(projects.join(name)).expect("made");
    }
    std::os::unix::fs::symlink("/", projects.join("link")).expect("made");
    let strays = store.strays().expect("readable");
    assert_eq!(strays, [projects.join("left-over"), projects.join("x.git")]);
    store.delete_stray(&strays[0]).expect("the disk works");
    assert_eq!(store.strays().expect("readable").len(), 1);
}
