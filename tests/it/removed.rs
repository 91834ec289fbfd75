//! A machine that was taken out of the fleet, stolen perhaps, and whoever has it does not give up.

use std::fmt::Write as _;

use gitback_tests::{Fleet, until};

use crate::world::{SOON, clone, commit, done, local, notes, options, push_all, says, served};

const NOTES: &str = "gitback://dan/notes";

#[test]
fn no_grant_and_no_configuration_brings_a_removed_envoy_back() {
    let mut fleet = Fleet::start(options(3).strangers()).expect("the envoys start");
    for index in [1, 2] {
        let ticket = done(fleet.person(0).vigo(["envoy", "ticket"])).stdout;
        done(fleet.person(index).vigo(["join", ticket.trim()]));
    }
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    // The clone has dan's key grant it to titan.
    let stolen = clone(fleet.person(2), "stolen");
    done(fleet.person(0).vigo(["envoy", "remove", "titan", "--yes"]));
    let heard = until(SOON, "the removal", || {
        let list = done(fleet.person(1).vigo(["envoy", "list", "--json"])).stdout;
        Ok(if list.contains("\"removed\"") {
            Ok(())
        } else {
            Err(list)
        })
    });
    heard.expect("venus hears of it");

    // Who has titan tells it where the others are.
    let file = fleet.envoy(2).config_file();
    let mut settings = std::fs::read_to_string(&file).expect("settings");
    for index in [0, 1] {
        let other = fleet.envoy(index);
        write!(
            settings,
            "\n[[peers]]\nname = \"{}\"\nkey = \"{}\"\naddress = \"{}\"\n",
            other.name(),
            other.key(),
            other.address()
        )
        .expect("text");
    }
    std::fs::write(file, settings).expect("settings");
    fleet.envoy_mut(2).end().expect("titan ends");
    fleet.restart(2).expect("titan starts");
    commit(fleet.person(2), &stolen, "made by a thief");
    let pushed = done(fleet.person(2).git(&stolen, ["push", "origin", "main"]));
    says(&pushed.stderr, &["stored on titan"]);

    // Nobody has taken it, and a push of somebody else goes where it should.
    for index in [0, 1] {
        assert_eq!(
            served(fleet.person(index), NOTES),
            local(fleet.person(0), &work)
        );
    }
    commit(fleet.person(0), &work, "after");
    let pushed = push_all(fleet.person(0), &work);
    says(&pushed.stderr, &["replicated to 2 of 2 envoys"]);
    for index in [0, 1] {
        assert_eq!(
            served(fleet.person(index), NOTES),
            local(fleet.person(0), &work)
        );
    }
}
