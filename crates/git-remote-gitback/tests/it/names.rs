//! Which project a puddle's name in an address means.

use std::fs;

use gitback_helper::{Called, ClaimStatus, Failure, NamesStatus, Reply, Request};
use gitback_identity::{ProjectId, PuddleKey, PuddleName, SecretKey};
use gitback_puddle::names;

use crate::daemon::Daemon;
use crate::world::{NOTES, World, dan, handle};

/// The last hints for a name that means nothing.
fn name_hints(name: &str) -> String {
    format!(
        "hint:  say whose name it is: vigo swarm puddle names pick {name} KEY\n\
         hint:  or use the full address: gitback://<project id>/notes\n"
    )
}

fn pick_alice(world: &World) -> PuddleKey {
    let alice = PuddleKey::new(SecretKey::from_seed(&[8; 32]).public());
    let name = "alice".parse().expect("a name");
    names::pick(&world.puddle_dir(), &name, &alice, 1).expect("picked");
    alice
}

#[test]
fn a_name_wrong_by_a_letter_gets_a_suggestion() {
    let check = |world: &World, typed: &str, meant: &str| {
        let _daemon = world.daemon(|_| vec![Reply::Names(NamesStatus::default())]);
        let address = format!("gitback://{typed}/notes");
        assert_eq!(
            world.git_fails(".", &["ls-remote", &address]),
            format!(
                "error: no puddle is called {typed}\n\
                 hint:  did you mean {meant}?\n{}",
                name_hints(typed)
            )
        );
    };
    let world = World::empty();
    world.make_puddle("pluto");
    pick_alice(&world);
    check(&world, "plutto", "pluto");
    check(&world, "alcie", "alice");
}

#[test]
fn a_name_that_nobody_has_says_which_names_are_known() {
    let check = |world: &World, why: &str| {
        let _daemon = world.daemon(|_| vec![Reply::Names(NamesStatus::default())]);
        assert_eq!(
            world.git_fails(".", &["ls-remote", "gitback://bob/notes"]),
            format!(
                "error: no puddle is called bob\nwhy:   {why}\n{}",
                name_hints("bob")
            )
        );
    };
    let world = World::new();
    check(
        &world,
        "the only name known on this machine is your own, dan",
    );
    pick_alice(&world);
    check(
        &world,
        "it is neither your own name nor one that you picked, and nobody claims it",
    );
    let world = World::empty();
    pick_alice(&world);
    check(
        &world,
        "nobody claims that name, you never picked it, and have no puddle on this machine\n\
         hint:  bring your puddle to this machine: vigo swarm puddle join",
    );
}

#[test]
fn a_user_without_a_puddle_is_told_how_to_get_one() {
    let world = World::empty();
    let socket = world.root().join("var/run/vigo/gitback.sock");
    assert_eq!(
        world.git_fails(".", &["ls-remote", NOTES]),
        format!(
            "error: no puddle is called dan\n\
             why:   you have no puddle on this machine, so no name is known\n\
             hint:  bring your puddle to this machine: vigo swarm puddle join\n\
             hint:  or make a new puddle: vigo swarm puddle init\n{}\
             hint:  claims to it cannot be looked up: the daemon is not answering on {} (vigo envoy status)\n",
            name_hints("dan"),
            socket.display()
        )
    );
}

#[test]
fn a_name_that_was_picked_means_the_project_of_that_key() {
    let world = World::new();
    world.make_repository();
    let alice = pick_alice(&world);
    let daemon = world.willing_daemon();
    world.git(".", &["ls-remote", "gitback://alice/notes"]);
    let requests = daemon.requests();
    let [
        Request::Open {
            project,
            puddle,
            called,
            ..
        },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(*project, ProjectId::derive(&alice, &handle()).to_string());
    assert_eq!(*puddle, Some(dan().to_string()), "who asks is still dan");
    // The daemon says by itself if others claim the name: that takes no question.
    let called_alice = Called {
        name: "alice".to_owned(),
        puddle: alice.to_string(),
    };
    assert_eq!(*called, Some(called_alice));
}

fn key(seed: u8) -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

fn notes_of(seed: u8) -> String {
    ProjectId::derive(&key(seed), &handle()).to_string()
}

/// A daemon that knows those claims to the name alice, and opens every project.
fn daemon_with(world: &World, seeds: &[u8]) -> Daemon {
    let claims = seeds.iter().map(|seed| ClaimStatus {
        name: Some("alice".to_owned()),
        puddle: key(*seed).to_string(),
        counter: 1,
        since_ms: 1,
    });
    let status = NamesStatus {
        claims: claims.collect(),
        ..NamesStatus::default()
    };
    world.daemon(move |request| match request {
        Request::Names { .. } => vec![Reply::Names(status.clone())],
        _ => vec![Reply::Ready],
    })
}

fn pinned(world: &World) -> Option<(PuddleKey, names::How)> {
    let alice: PuddleName = "alice".parse().expect("a name");
    let names = names::read(&world.puddle_dir()).expect("read");
    names.pin(&alice).map(|pin| (pin.key, pin.how))
}

#[test]
fn a_name_that_one_key_claims_means_it_and_is_pinned_by_use() {
    let world = World::new();
    world.make_repository();
    let daemon = daemon_with(&world, &[9]);
    let output = world.try_git(".", &["ls-remote", "gitback://alice/notes"]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        said,
        format!(
            "alice is {} to you from now on; other claims will not change that\n",
            key(9).fingerprint()
        )
    );
    let requests = daemon.requests();
    let [
        Request::Names { name, .. },
        Request::Open {
            project, called, ..
        },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!((name.as_deref(), called), (Some("alice"), &None));
    assert_eq!(*project, notes_of(9));
    assert_eq!(pinned(&world), Some((key(9), names::How::Used)));
    drop(daemon);

    // A newcomer's claim changes nothing, and asking takes no round trip more.
    let daemon = daemon_with(&world, &[9, 8]);
    world.git(".", &["ls-remote", "gitback://alice/notes"]);
    let requests = daemon.requests();
    assert!(
        matches!(&requests[..], [Request::Open { project, .. }] if *project == notes_of(9)),
        "{requests:?}"
    );
}

#[test]
fn a_name_that_several_keys_claim_means_nothing() {
    let world = World::new();
    let daemon = daemon_with(&world, &[9, 8]);
    let said = world.git_fails(".", &["ls-remote", "gitback://alice/notes"]);
    assert!(
        said.starts_with("error: 2 keys claim the name alice\nwhy:   "),
        "{said}"
    );
    for seed in [8, 9] {
        assert!(
            said.contains(&key(seed).fingerprint().to_string()),
            "{said}"
        );
        let pick = format!("vigo swarm puddle names pick alice {}", key(seed));
        assert!(said.contains(&pick), "{said}");
    }
    assert_eq!(daemon.requests().len(), 1, "nothing was opened");
    assert_eq!(pinned(&world), None);
}

#[test]
fn what_was_of_no_use_is_not_pinned() {
    let world = World::new();
    let claim = ClaimStatus {
        name: Some("alice".to_owned()),
        puddle: key(9).to_string(),
        counter: 1,
        since_ms: 1,
    };
    let status = NamesStatus {
        claims: vec![claim],
        ..NamesStatus::default()
    };
    let _daemon = world.daemon(move |request| match request {
        Request::Names { .. } => vec![Reply::Names(status.clone())],
        _ => vec![Reply::Failed(Failure::new(10, "no project notes is known"))],
    });
    let said = world.git_fails(".", &["ls-remote", "gitback://alice/notes"]);
    assert!(
        said.starts_with("error: no project notes is known\n"),
        "{said}"
    );
    let hint = format!(
        "hint:  alice is {} to you; what was founded with an earlier key has another address",
        key(9).fingerprint()
    );
    assert!(said.contains(&hint), "{said}");
    assert_eq!(pinned(&world), None);
}

#[test]
fn a_project_that_has_passed_to_the_claimant_is_found() {
    let world = World::new();
    world.make_repository();
    let passed = notes_of(7);
    let status = NamesStatus {
        claims: vec![ClaimStatus {
            name: Some("alice".to_owned()),
            puddle: key(9).to_string(),
            counter: 1,
            since_ms: 1,
        }],
        projects: vec![passed.clone(), "nonsense".to_owned()],
        ..NamesStatus::default()
    };
    let daemon = world.daemon(move |request| match request {
        Request::Names { .. } => vec![Reply::Names(status.clone())],
        Request::Open { project, .. } if *project == notes_of(7) => vec![Reply::Ready],
        _ => vec![Reply::Failed(Failure::new(10, "no project notes is known"))],
    });
    world.git(".", &["ls-remote", "gitback://alice/notes"]);
    let requests = daemon.requests();
    let [
        Request::Names { .. },
        Request::Open { .. },
        Request::Names { puddle, handle, .. },
        Request::Open { project, .. },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(*puddle, Some(key(9).to_string()));
    assert_eq!(handle.as_deref(), Some("notes"));
    assert_eq!(*project, passed);
    assert_eq!(pinned(&world), Some((key(9), names::How::Used)));
}

#[test]
fn damaged_names_stop_who_needs_them_and_nobody_else() {
    let world = World::new();
    world.make_repository();
    fs::write(world.puddle_dir().join("names.json"), "{").expect("a file");
    let errors = world.git_fails(".", &["ls-remote", "gitback://alice/notes"]);
    assert!(
        errors.starts_with("error: cannot look the puddle's name up\nwhy:   "),
        "{errors}"
    );
    assert!(
        errors.ends_with("hint:  vigo swarm puddle names list\n"),
        "{errors}"
    );
    let _daemon = world.willing_daemon();
    world.git(".", &["ls-remote", NOTES]);
}
