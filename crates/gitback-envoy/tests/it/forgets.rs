//! What an envoy does when its disk has forgotten something, and what it keeps about the founder line.

use std::fs;

use gitback_envelope::{Act, Delegate, Oid, Verified};
use gitback_helper::{Reply, Request, Service, Wish};
use gitback_identity::{EnvoyKey, ProjectId, PuddleKey, SecretKey};
use gitback_peer::PushAnswer;

use crate::world::{Pack, World, main_at, seal, sign};

/// A project that the founder's other envoy has pushed a commit to.
fn with_a_commit(world: &World) -> (Verified, Verified, Vec<Oid>, Vec<Pack>) {
    let (oids, packs) = world.history(2);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let first = world.update(
        &world.peer,
        0,
        &[&grant],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    let answer = world.push(&world.peer, &[&init, &grant, &first], Some(&packs[0]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    (init, first, oids, packs)
}

fn refused(reply: Reply) -> gitback_helper::Failure {
    match reply {
        Reply::Failed(failure) => failure,
        other => panic!("must be refused: {other:?}"),
    }
}

fn found_again(world: &World, init: &Verified) -> Reply {
    world.call(&Request::Found {
        envelope: gitback_identity::hex::encode(init.bytes()),
    })
}

#[test]
fn a_lost_log_leaves_the_refs_alone_and_serves_nothing() {
    let mut world = World::new();
    let (init, first, oids, packs) = with_a_commit(&world);
    let refs = world.refs();
    let incarnation = |world: &World| {
        let text = fs::read_to_string(world.log_dir().join("incarnation")).expect("a note");
        text.lines().next().expect("a line").to_owned()
    };
    let before = incarnation(&world);
    world.restart(|world| fs::remove_file(world.log_dir().join("log")).expect("removed"));
    assert_eq!(world.refs(), refs);
    assert_ne!(incarnation(&world), before);
    assert!(world.status().is_none());
    let failure = refused(found_again(&world, &init));
    assert!(failure.what.contains("has lost its record"), "{failure}");
    // A part of what was known comes back by a push: still nobody has told the rest.
    let grant = world.grant(&init, &world.peer);
    let answer = world.push(&world.peer, &[&init, &grant], None);
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    assert_eq!(world.refs(), refs, "objects and refs stay");
    assert_eq!(world.status().expect("founded").state, "catching up");
    world.fulfil(&world.founder, Wish::Grant);
    for service in [Service::UploadPack, Service::ReceivePack] {
        let failure = refused(world.open(&world.founder, service));
        assert!(failure.what.contains("has lost its record"), "{failure}");
    }
    world.restart(|_| ());
    assert_eq!(world.status().expect("founded").state, "catching up");
    drop((first, oids, packs));
}

#[test]
fn a_lost_repository_is_told_as_such_and_takes_a_push_of_the_rest() {
    let mut world = World::new();
    let (_, first, oids, packs) = with_a_commit(&world);
    world.restart(|world| fs::remove_dir_all(world.repository()).expect("removed"));
    let status = world.status().expect("the log is here");
    assert_eq!(status.state, "catching up");
    assert_eq!(world.refs(), Vec::<String>::new());
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[1])),
    );
    let answer = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    assert_eq!(world.status().expect("founded").state, "current");
}

#[test]
fn a_log_from_a_backup_begins_a_new_incarnation_before_anything_is_signed() {
    let mut world = World::new();
    world.found();
    let log = |world: &World| world.log_dir().join("log");
    let backup = world.path().join("backup");
    fs::copy(log(&world), &backup).expect("copied");
    let first = world.fulfil(&world.founder, Wish::Grant).remove(0);
    world.restart(|world| {
        fs::remove_file(log(world)).expect("removed");
        fs::copy(&backup, log(world)).expect("restored");
    });
    let again = world.draft(&world.founder, Wish::Grant).remove(0);
    assert_eq!(
        again.statement().seq,
        first.statement().seq,
        "the same number"
    );
    assert_ne!(
        again.statement().incarnation,
        first.statement().incarnation,
        "in another life"
    );
}

/// Delegates the founder line to `heir`, in place of the daemon's first draft of it.
fn delegate(world: &World, heir: &SecretKey) -> Verified {
    let wish = Wish::Delegate {
        to: heir.public().to_string(),
        next: None,
    };
    let Reply::Drafts { drafts, .. } = world.wish(&world.founder, wish) else {
        panic!("a draft");
    };
    let statement = {
        let body = gitback_identity::hex::decode(&drafts[0].body, 1 << 16).expect("hex");
        gitback_envelope::Statement::decode(&drafts[0].type_name, &body).expect("well formed")
    };
    accepted(statement, heir, &world.founder)
}

/// Lets the heir accept, and then the founder sign.
fn accepted(
    mut statement: gitback_envelope::Statement,
    heir: &SecretKey,
    founder: &SecretKey,
) -> Verified {
    let bytes = statement.acceptance_bytes().expect("encodes");
    let accept = heir.sign(&bytes.expect("a delegation"));
    let Act::Delegate(act) = &statement.act else {
        panic!("a delegation");
    };
    statement.act = Act::Delegate(Delegate {
        accept,
        ..act.clone()
    });
    seal(statement, founder)
}

#[test]
fn the_first_heir_is_pinned_and_a_thief_with_the_old_key_convinces_nobody() {
    let mut world = World::new();
    let init = world.found();
    let (heir, thief) = (
        SecretKey::from_seed(&[50; 32]),
        SecretKey::from_seed(&[51; 32]),
    );
    let first = delegate(&world, &heir);
    let rival = {
        let wanted = first.statement().clone();
        let Act::Delegate(act) = wanted.act.clone() else {
            panic!("a delegation");
        };
        let act = Act::Delegate(Delegate {
            to: PuddleKey::new(thief.public()),
            ..act
        });
        let statement = gitback_envelope::Statement { act, ..wanted };
        accepted(statement, &thief, &world.founder)
    };
    world.submit(&[&first]);
    let pins = fs::read_to_string(world.log_dir().join("pins")).expect("pinned");
    assert_eq!(pins, format!("pins 1: 1\n1 {}\n", first.id()));
    let line = |world: &World| {
        let line = world.status().expect("founded").line;
        line.into_iter().map(|hop| hop.key).collect::<Vec<_>>()
    };
    let expected = [world.founder.public(), heir.public()].map(|key| key.to_string());
    assert_eq!(line(&world), expected);
    // The rival comes by another envoy, which the heir has granted.
    let grant = world.say(
        &heir,
        EnvoyKey::new(world.peer.public()),
        &[&first],
        world.grant(&init, &world.peer).statement().act.clone(),
    );
    let answer = world.push(&world.peer, &[&grant], None);
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    let answer = world.push(&world.peer, &[&rival], None);
    assert!(answer.is_err(), "it has no effect here: {answer:?}");
    assert_eq!(line(&world), expected);
    let alarms = world.status().expect("founded").alarms;
    assert!(
        alarms.iter().any(|alarm| alarm.code == "contested-line"),
        "{alarms:?}"
    );
    world.restart(|_| ());
    assert_eq!(line(&world), expected, "also after a start");
    // A person may settle it otherwise, and back.
    for (picked, key) in [(&rival, &thief), (&first, &heir)] {
        let reply = world.call(&Request::PickLine {
            project: world.project.to_string(),
            delegate: picked.id().to_string(),
        });
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        assert_eq!(line(&world)[1], key.public().to_string());
    }
    world.restart(|world| fs::write(world.log_dir().join("pins"), "pins 1: 1\n").expect("written"));
    let failure = refused(world.open(&heir, Service::UploadPack));
    assert!(
        failure
            .why
            .as_deref()
            .unwrap_or_default()
            .contains("pick-line"),
        "a damaged file is not passed over: {failure}"
    );
}

#[test]
fn a_project_that_begins_anew_gets_objects_and_refs_of_the_old_one() {
    let world = World::new();
    let (_, _, oids, _) = with_a_commit(&world);
    let heir = SecretKey::from_seed(&[60; 32]);
    let handle = world.handle.clone();
    let to = ProjectId::derive(&PuddleKey::new(heir.public()), &handle);
    let statement = gitback_envelope::Statement::init(&PuddleKey::new(heir.public()), &handle);
    let init = seal(statement, &heir);
    assert!(matches!(found_again(&world, &init), Reply::Accepted { .. }));
    let carry = Request::CarryOver {
        from: world.project.to_string(),
        to: to.to_string(),
    };
    let failure = refused(world.call(&carry));
    assert!(failure.why.expect("a proof").contains("not-granted"));
    let Reply::Drafts { drafts, .. } = world.call(&Request::Draft {
        project: to.to_string(),
        handle: handle.to_string(),
        puddle: heir.public().to_string(),
        wish: Wish::Grant,
    }) else {
        panic!("a draft");
    };
    let grant = sign(&drafts, &heir).remove(0);
    let reply = world.call(&Request::Submit {
        project: to.to_string(),
        envelopes: vec![gitback_identity::hex::encode(grant.bytes())],
    });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    for notes in [0, 1] {
        match world.call(&carry) {
            Reply::Accepted { notes: said, .. } => assert_eq!(said.len(), notes),
            other => panic!("carried over: {other:?}"),
        }
    }
    let Reply::Project(status) = world.call(&Request::Project {
        project: to.to_string(),
    }) else {
        panic!("a project");
    };
    assert_eq!(status.ref_list[0].oid, oids[0].to_string());
    assert_eq!((status.state.as_str(), status.envelopes), ("current", 3));
}
