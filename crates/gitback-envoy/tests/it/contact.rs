//! What an envoy makes of a peer that answers, and never says what would settle the matter.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gitback_envelope::{Act, Delegate, Envelope, EnvelopeId, Project, Verified};
use gitback_helper::{Reply, Role, Wish};
use gitback_identity::{ProjectId, SecretKey, hex};
use gitback_peer::{
    CallError, Caller, Digests, PushAnswer, PushBody, Refusal, RefusalKind, Server, Service,
    SyncAnswer, SyncRequest,
};

use crate::world::{World, main_at, seal};

/// The longest that a contact which was asked for may take.
const SOON: Duration = Duration::from_secs(30);

/// Longer than it takes to ask again when nothing keeps the envoy from it.
const QUIET: Duration = Duration::from_millis(2500);

/// More often than an envoy asks that has just begun and has nothing to hear.
const OFTEN: usize = 8;

/// A peer that shows the same few things whatever it is asked.
struct Parrot {
    shows: Arc<Mutex<Shows>>,
    asked: Mutex<Sender<Asked>>,
}

/// What the parrot was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Digests,
    Sync,
}

#[derive(Default)]
struct Shows {
    project: Option<ProjectId>,
    digest: [u8; 32],
    envelopes: Vec<Vec<u8>>,
}

impl Service for Parrot {
    fn digests(&self, _: &Caller, _: Digests) -> Result<Digests, Refusal> {
        let shows = self.shows.lock().expect("no panic");
        let projects = shows.project.iter().map(|id| (*id, shows.digest)).collect();
        self.note(Asked::Digests);
        let name = "venus".to_owned();
        Ok(Digests {
            name,
            projects,
            ..Digests::default()
        })
    }

    fn sync(&self, _: &Caller, _: &ProjectId, _: SyncRequest) -> Result<SyncAnswer, Refusal> {
        self.note(Asked::Sync);
        let shows = self.shows.lock().expect("no panic");
        Ok(SyncAnswer {
            envelopes: shows.envelopes.clone(),
            more: false,
            digest: shows.digest,
            tips: Vec::new(),
        })
    }

    fn push(&self, _: &Caller, _: &ProjectId, _: &mut PushBody) -> Result<PushAnswer, Refusal> {
        Err(unwilling())
    }

    fn upload_pack(
        &self,
        _: &Caller,
        _: &ProjectId,
        _: &mut (dyn Read + Send),
        _: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        Err(unwilling())
    }
}

impl Parrot {
    fn note(&self, what: Asked) {
        let _ = self.asked.lock().expect("no panic").send(what);
    }
}

fn unwilling() -> Refusal {
    Refusal {
        status: RefusalKind::Forbidden,
        code: "left".to_owned(),
        reason: "a parrot has nothing".to_owned(),
    }
}

/// An envoy whose only peer is a parrot, what that shows, and a word for each thing that it is asked.
struct Cage {
    world: World,
    shows: Arc<Mutex<Shows>>,
    asked: Receiver<Asked>,
    _runtime: tokio::runtime::Runtime,
}

impl Cage {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let bound = runtime.block_on(Server::bind("127.0.0.1:0"));
        let bound = bound.expect("a port");
        let world = World::with_peer_at(&bound.local_addr().to_string());
        let (sender, asked) = channel();
        let shows = Arc::new(Mutex::new(Shows::default()));
        let parrot = Parrot {
            shows: Arc::clone(&shows),
            asked: Mutex::new(sender),
        };
        runtime.spawn(bound.run(&world.peer, Arc::new(parrot), std::future::pending()));
        let cage = Self {
            world,
            shows,
            asked,
            _runtime: runtime,
        };
        cage.wait_until_asked(Asked::Digests);
        cage
    }

    /// Waits until the parrot is asked this. How often it is asked for its digests at the start depends on what comes
    /// first.
    fn wait_until_asked(&self, what: Asked) {
        let begun = Instant::now();
        loop {
            let left = SOON.saturating_sub(begun.elapsed());
            if self.asked.recv_timeout(left).expect("the envoy asks") == what {
                return;
            }
        }
    }

    fn show(&self, digest: [u8; 32], envelopes: &[&Verified]) {
        let mut shows = self.shows.lock().expect("no panic");
        shows.project = Some(self.world.project);
        shows.digest = digest;
        shows.envelopes = envelopes.iter().map(|one| one.bytes().to_vec()).collect();
    }

    /// A project of the founder's in which the peer has a part, with a commit on main.
    fn found(&self) -> (Verified, Verified) {
        let (oids, packs) = self.world.history(1);
        let (init, grant) = {
            let init = self.world.init();
            let grant = self.world.grant(&init, &self.world.peer);
            (init, grant)
        };
        let update = main_at(oids[0], &[], Some(&packs[0]));
        let first = self.world.update(&self.world.peer, 0, &[&grant], update);
        let pushed = self
            .world
            .push(&self.world.peer, &[&init, &grant, &first], Some(&packs[0]));
        assert!(
            matches!(pushed, Ok(PushAnswer::Durable { .. })),
            "{pushed:?}"
        );
        (init, grant)
    }
}

#[test]
fn a_peer_that_differs_for_good_is_not_asked_again_at_once() {
    let cage = Cage::new();
    cage.found();
    // As a peer does that follows another founder line, or in whose eyes our part has ended.
    cage.show([0; 32], &[]);
    cage.world.show_digest([0; 32]);
    cage.wait_until_asked(Asked::Sync);
    let mut more = Vec::new();
    while let Ok(what) = cage.asked.recv_timeout(QUIET) {
        more.push(what);
        assert!(
            more.len() < OFTEN,
            "there is no news to tell or to ask for: {more:?}"
        );
    }
}

#[test]
fn what_ended_our_part_is_not_all_there_is_to_know_of_a_project_whose_log_was_lost() {
    let mut cage = Cage::new();
    let (init, grant) = cage.found();
    let refs = cage.world.refs();
    assert_eq!(refs.len(), 1, "{refs:?}");
    // What a former partner is told: some envelopes, and neither tips nor a digest.
    cage.show([0; 32], &[&init, &grant]);
    let log = cage.world.log_dir().join("log");
    let Cage { world, asked, .. } = &mut cage;
    world.restart(|_| {
        std::fs::remove_file(log).expect("there was a log");
        while asked.try_recv().is_ok() {}
    });
    cage.wait_until_asked(Asked::Sync);
    cage.world.show_digest([2; 32]);
    cage.wait_until_asked(Asked::Sync);
    assert_eq!(cage.world.refs(), refs, "they are all that is known");
}

/// Passes the founder line on.
fn pass_on(world: &World, heir: &SecretKey) -> Verified {
    let wish = Wish::Delegate {
        to: heir.public().to_string(),
        next: None,
    };
    let Reply::Drafts { drafts, .. } = world.wish(&world.founder, wish) else {
        panic!("a draft");
    };
    let body = hex::decode(&drafts[0].body, 1 << 16).expect("hex");
    let statement = gitback_envelope::Statement::decode(&drafts[0].type_name, &body);
    let mut statement = statement.expect("well formed");
    let bytes = statement.acceptance_bytes().expect("encodes");
    let accept = heir.sign(&bytes.expect("a delegation"));
    if let Act::Delegate(act) = statement.act {
        statement.act = Act::Delegate(Delegate { accept, ..act });
    }
    let sealed = seal(statement, &world.founder);
    world.submit(&[&sealed]);
    sealed
}

#[test]
fn what_a_former_partner_is_told_does_not_grow_when_the_founder_line_goes_on() {
    let world = World::new();
    world.found();
    let alice = SecretKey::from_seed(&[21; 32]);
    world.invite(&alice, Role::Member);
    let joined = world.fulfil(&alice, Wish::Join { invitation: None });
    let laptop = SecretKey::from_seed(&[40; 32]);
    let grant = world.grant_by(&alice, &laptop, &[&joined[1]]);
    world.sync(&laptop, &[&grant]).expect("let in");
    let revoke = Wish::Revoke {
        puddle: alice.public().to_string(),
    };
    world.fulfil(&world.founder, revoke);
    let told = || -> Vec<EnvelopeId> {
        let answer = world.sync(&laptop, &[]).expect("it is told");
        let envelopes = answer.envelopes.iter().map(|bytes| Envelope::decode(bytes));
        let verified = envelopes.map(|envelope| envelope.and_then(Envelope::verify));
        verified.map(|one| *one.expect("sound").id()).collect()
    };
    let before = told();
    world.invite(&SecretKey::from_seed(&[22; 32]), Role::Member);
    pass_on(&world, &SecretKey::from_seed(&[50; 32]));
    assert_eq!(told(), before, "that is no business of whoever was revoked");
}

#[test]
fn a_grant_that_was_refused_leaves_the_envoy_a_stranger() {
    let world = World::new();
    world.found();
    let alice = SecretKey::from_seed(&[21; 32]);
    let invite = world.invite(&alice, Role::Member);
    let laptop = SecretKey::from_seed(&[40; 32]);
    let grant = world.grant_by(&alice, &laptop, &[&invite]);
    let codes = [&[&grant][..], &[]].map(|token| match world.sync(&laptop, token) {
        Err(CallError::Refused(refusal)) => refusal.code,
        other => panic!("must be refused: {other:?}"),
    });
    assert_eq!(codes, ["not-member", "not-of-the-fleet"]);
}

#[test]
fn envelopes_without_their_objects_are_not_durable() {
    let cage = Cage::new();
    let world = &cage.world;
    let (oids, packs) = world.history(2);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let first = main_at(oids[0], &[], Some(&packs[0]));
    let first = world.update(&world.peer, 0, &[&grant], first);
    let pushed = world.push(&world.peer, &[&init, &grant, &first], Some(&packs[0]));
    assert!(
        matches!(pushed, Ok(PushAnswer::Durable { .. })),
        "{pushed:?}"
    );
    let second = main_at(oids[1], &[&first], Some(&packs[1]));
    let second = world.update(&world.peer, 1, &[&first], second);
    // The parrot tells of the update and gives no objects.
    cage.show([1; 32], &[&second]);
    let known = || {
        world
            .log()
            .iter()
            .any(|one| one.id == second.id().to_string())
    };
    world.show_digest([1; 32]);
    let begun = Instant::now();
    while !known() {
        assert!(
            begun.elapsed() < SOON,
            "the envoy asks for what it was shown"
        );
    }
    let alone = world.push(&world.peer, &[&second], None);
    assert!(
        !matches!(alone, Ok(PushAnswer::Durable { .. })),
        "{alone:?}"
    );
    let whole = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert!(matches!(whole, Ok(PushAnswer::Durable { .. })), "{whole:?}");
    let alone = world.push(&world.peer, &[&second], None);
    assert!(matches!(alone, Ok(PushAnswer::Durable { .. })), "{alone:?}");
}

#[test]
fn a_push_of_nothing_leaves_nothing() {
    let cage = Cage::new();
    let nothing = cage.world.push(&cage.world.peer, &[], None);
    let Err(CallError::Refused(refusal)) = nothing else {
        panic!("{nothing:?}");
    };
    assert_eq!(refusal.code, "malformed-push");
    assert!(
        !cage.world.repository().exists(),
        "no repository is kept for it"
    );
}

#[test]
fn who_has_the_newest_statement_and_lacks_objects_is_no_copy() {
    let cage = Cage::new();
    let world = &cage.world;
    let (oids, packs) = world.history(1);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let first = main_at(oids[0], &[], Some(&packs[0]));
    let first = world.update(&world.peer, 0, &[&grant], first);
    let mut fold = Project::new(world.project);
    for one in [&init, &grant, &first] {
        fold.insert(one.clone()).expect("it counts");
    }
    cage.show(fold.digest().map(|byte| !byte), &[]);
    let sent: Vec<_> = [&init, &grant, &first]
        .map(|one| one.bytes().to_vec())
        .into();
    let state = || {
        let status = world.status().expect("the project");
        let peer = world.peer.public().to_string();
        let copy = status.envoys.into_iter().find(|copy| copy.key == peer);
        copy.expect("the peer's copy").state
    };
    for (whole, is_copy) in [(false, false), (true, true)] {
        let pushed = world.push_holding(&world.peer, sent.clone(), Some(&packs[0]), whole);
        assert!(
            matches!(pushed, Ok(PushAnswer::Durable { whole: true })),
            "{pushed:?}"
        );
        assert_eq!(state() == "current", is_copy, "{}", state());
    }
}

#[test]
fn what_a_peer_showed_before_it_confirmed_the_newest_says_nothing_of_it() {
    let cage = Cage::new();
    let world = &cage.world;
    let (oids, packs) = world.history(2);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let first = main_at(oids[0], &[], Some(&packs[0]));
    let first = world.update(&world.peer, 0, &[&grant], first);
    let second = main_at(oids[1], &[&first], Some(&packs[1]));
    let second = world.update(&world.peer, 1, &[&first], second);
    let mut fold = Project::new(world.project);
    let mut digest_with = |more: &[&Verified]| {
        for one in more {
            fold.insert((*one).clone()).expect("it counts");
        }
        fold.digest()
    };
    let before = digest_with(&[&init, &grant, &first]);
    let after = digest_with(&[&second]);
    // Whenever it is asked, it has the newest.
    cage.show(after, &[]);
    let pushed = world.push(&world.peer, &[&init, &grant, &first], Some(&packs[0]));
    assert!(
        matches!(pushed, Ok(PushAnswer::Durable { .. })),
        "{pushed:?}"
    );
    let pushed = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert!(
        matches!(pushed, Ok(PushAnswer::Durable { .. })),
        "{pushed:?}"
    );
    // What it sent before that was longer under way.
    for late in [before, before.map(|byte| !byte)] {
        world.show_digest(late);
        let status = world.status().expect("the project");
        let peer = world.peer.public().to_string();
        let copy = status.envoys.iter().find(|copy| copy.key == peer);
        assert_eq!(
            copy.expect("the peer's copy").state,
            "current",
            "{status:?}"
        );
    }
}
