//! Which project a puddle's name in an address means.

use std::fs;

use gitback_helper::Request;
use gitback_identity::{ProjectId, PuddleKey, SecretKey};
use gitback_puddle::names;

use crate::world::{NOTES, World, dan, handle};

/// The last two hints for a name that means nothing.
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
        "it is neither your own name nor one that you picked",
    );
    let world = World::empty();
    pick_alice(&world);
    check(
        &world,
        "you never picked that name, and have no puddle on this machine\n\
         hint:  bring your puddle to this machine: vigo swarm puddle join",
    );
}

#[test]
fn a_user_without_a_puddle_is_told_how_to_get_one() {
    let world = World::empty();
    assert_eq!(
        world.git_fails(".", &["ls-remote", NOTES]),
        format!(
            "error: no puddle is called dan\n\
             why:   you have no puddle on this machine, so no name is known\n\
             hint:  bring your puddle to this machine: vigo swarm puddle join\n\
             hint:  or make a new puddle: vigo swarm puddle init\n{}",
            name_hints("dan")
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
            project, puddle, ..
        },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(*project, ProjectId::derive(&alice, &handle()).to_string());
    assert_eq!(*puddle, Some(dan().to_string()), "who asks is still dan");
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
