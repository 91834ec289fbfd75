//! The machine that founded the fleet is lost: another one takes the fleet over, by the copy of the authority's key that
//! is sealed to a person.

mod seals;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gitback_fleet::{EnrolRequest, Roster};
use gitback_helper::{Reply, Request};
use gitback_identity::{PuddleKey, SecretKey, hex};
use gitback_tests::{Fleet, Invocation, Person, Terminal, until};
use serde_json::Value;

use crate::fleet::{
    helper, identity, join, let_them_compare, list, secret_in, strangers, ticket, wait_for_fleet,
    with,
};
use crate::world::{SOON, done, fails, says};

/// Mars has founded a fleet with the others, and dan's puddle is on all of them.
fn founded(envoys: usize) -> Fleet {
    let mut fleet = strangers(envoys);
    fleet.make_puddle("dan").expect("dan's puddle");
    let made = done(fleet.person(0).vigo(["envoy", "ticket"]));
    says(&made.stderr, &["dan can take the fleet over"]);
    done(fleet.person(1).vigo(["join", made.stdout.trim()]));
    for index in 2..envoys {
        join(&fleet, index);
    }
    for index in 0..envoys {
        wait_for_fleet(fleet.person(index), &NAMES[..envoys]);
    }
    fleet
}

const NAMES: [&str; 4] = ["mars", "venus", "titan", "pluto"];

fn authority(person: &Person) -> Value {
    let asked = done(person.vigo(["envoy", "authority", "--json"]));
    serde_json::from_str(&asked.stdout).expect("JSON")
}

fn held_by(person: &Person) -> Vec<String> {
    let status = authority(person);
    let holders = status["holders"].as_array().expect("a list").clone();
    let mut names: Vec<String> = holders
        .iter()
        .map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

/// The keys to which it is sealed.
fn sealed_to(person: &Person) -> Vec<String> {
    let status = authority(person);
    let seals = status["seals"].as_array().expect("a list").clone();
    seals
        .iter()
        .map(|one| one["puddle"].as_str().expect("a key").to_owned())
        .collect()
}

#[track_caller]
fn wait_until(what: &str, wanted: impl Fn() -> Result<(), String>) {
    until(SOON, what, || Ok(wanted())).expect(what);
}

#[track_caller]
fn wait_for_holders(person: &Person, names: &[&str]) {
    wait_until("the holders of the key", || {
        let held = held_by(person);
        if held == names {
            Ok(())
        } else {
            Err(format!("{held:?}"))
        }
    });
}

#[track_caller]
fn wait_for_seals(person: &Person, keys: &[String]) {
    wait_until("the seals", || {
        let sealed = sealed_to(person);
        if sealed == keys {
            Ok(())
        } else {
            Err(format!("{sealed:?}"))
        }
    });
}

fn own_key(person: &Person) -> String {
    let asked = done(person.vigo(["swarm", "puddle", "status", "--json"]));
    let status: Value = serde_json::from_str(&asked.stdout).expect("JSON");
    status["key"].as_str().expect("a key").to_owned()
}

fn take_over(fleet: &Fleet, index: usize) -> Invocation {
    with_passphrase(fleet.person(index), &fleet.passphrase_file())
}

fn with_passphrase(person: &Person, file: &Path) -> Invocation {
    let file = file.to_string_lossy().into_owned();
    person.vigo([
        "envoy",
        "authority",
        "take-over",
        "--passphrase-file",
        &file,
    ])
}

fn roster(fleet: &Fleet, index: usize) -> Roster {
    let bytes = fs::read(identity(fleet, index).join("fleet")).expect("a roster");
    Roster::decode(&bytes).expect("sound")
}

#[test]
fn the_fleet_outlives_the_machine_that_founded_it() {
    let mut fleet = founded(4);
    let dan = own_key(fleet.person(0));
    let venus = fleet.person(1);
    wait_for_seals(venus, std::slice::from_ref(&dan));
    assert_eq!(held_by(venus), ["mars"]);
    let shown = done(venus.vigo(["envoy", "authority"]));
    says(&shown.stdout, &["mars (seen", "dan, your own"]);
    says(&shown.stderr, &["vigo envoy authority take-over"]);
    let key = secret_in(&fleet, 0, "authority.key");

    fleet.envoy_mut(0).lose().expect("lost for good");
    let venus = fleet.person(1);
    let said = fails(venus.vigo(["envoy", "ticket"]), 12);
    says(&said, &["only mars gives out tickets", "take-over"]);
    let said = fails(venus.vigo(["envoy", "remove", "mars", "--yes"]), 12);
    says(&said, &["only mars removes envoys", "take-over"]);

    // The puddle is unlocked, and that is not enough.
    let said = fails(venus.vigo(["envoy", "authority", "take-over"]), 2);
    says(&said, &["--passphrase-file"]);
    let wrong = fleet.dir().join("wrong");
    fs::write(&wrong, "not this one, and no other\n").expect("a file");
    let said = fails(with_passphrase(venus, &wrong), 11);
    says(&said, &["wrong passphrase for dan"]);
    assert!(!identity(&fleet, 1).join("authority.key").exists());

    fleet.lock(1).expect("locked");
    let taken = done(take_over(&fleet, 1));
    says(&taken.stdout, &["venus holds the key"]);
    says(&taken.stderr, &["vigo envoy remove mars"]);
    let kept = identity(&fleet, 1).join("authority.key");
    let mode = kept.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(secret_in(&fleet, 1, "authority.key").seed(), key.seed());
    for index in [1, 2, 3] {
        wait_for_holders(fleet.person(index), &["mars", "venus"]);
    }
    let again = done(take_over(&fleet, 1));
    says(&again.stdout, &["already"]);

    let venus = fleet.person(1);
    let removed = done(venus.vigo(["envoy", "remove", "mars", "--yes"]));
    says(
        &removed.stdout,
        &["mars is of the fleet no longer", "mars held the key"],
    );
    for index in [1, 2, 3] {
        wait_for_holders(fleet.person(index), &["venus"]);
        assert_eq!(with("removed", &list(fleet.person(index))), ["mars"]);
    }
    // Pluto goes, and comes back as a new machine.
    done(venus.vigo(["envoy", "remove", "pluto", "--yes"]));
    fleet.envoy_mut(3).end().expect("ended");
    for file in ["envoy.key", "fleet"] {
        fs::remove_file(identity(&fleet, 3).join(file)).expect("moved away");
    }
    fleet.restart(3).expect("a new envoy");
    let made = ticket(&fleet, 1);
    done(fleet.person(3).vigo(["join", &made]));
    for index in [1, 2, 3] {
        wait_for_fleet(fleet.person(index), &["pluto", "titan", "venus"]);
    }
    assert_eq!(roster(&fleet, 1).seals().count(), 1);
}

#[test]
fn a_machine_is_paired_at_one_that_asks_whoever_took_the_fleet_over() {
    let mut fleet = strangers(4);
    fleet.create_puddle(0, "dan").expect("dan's puddle");
    for index in [1, 2] {
        fleet.carry_puddle(0, index).expect("carried");
        join(&fleet, index);
    }
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &NAMES[..3]);
    }
    fleet.envoy_mut(0).lose().expect("lost for good");
    done(take_over(&fleet, 1));
    wait_for_holders(fleet.person(2), &["mars", "venus"]);

    let (titan, pluto) = (fleet.person(2), fleet.person(3));
    let pairing = titan.vigo(["swarm", "puddle", "pair", "--listen", "127.0.0.1:0"]);
    let mut host = Terminal::start(&pairing).expect("a terminal");
    let code = host.sees_line("and enter this code:").expect("a code");
    let line = "vigo swarm puddle join --from ";
    let from = host.sees_line(line).expect("an address");
    let file = fleet.dir().join("code");
    fs::write(&file, code).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let joining = [
        "swarm",
        "puddle",
        "join",
        "--from",
        &from,
        "--code-file",
        &file,
        "--no-up",
        "--no-unlock",
    ];
    let joining = pluto.vigo(joining);
    let mut guest = Terminal::start(&joining).expect("a terminal");
    host.sees("Allow? [y/N] ").expect("the question");
    host.types("y").expect("typed");
    let enrolled = guest.sees("Fleet        that of titan, which has");
    enrolled.expect("enrolled by venus");
    guest.ends(0).expect("ends well");
    host.ends(0).expect("ends well");
    done(fleet.person(1).vigo(["envoy", "remove", "mars", "--yes"]));
    for index in [1, 2, 3] {
        wait_for_fleet(fleet.person(index), &["pluto", "titan", "venus"]);
    }
}

#[test]
fn a_crash_between_keeping_the_key_and_telling_anybody_is_made_good_by_the_next_start() {
    let mut fleet = founded(3);
    let key = secret_in(&fleet, 0, "authority.key");
    fleet.envoy_mut(0).lose().expect("lost for good");
    fleet.envoy_mut(1).kill().expect("killed");
    // The key is durable, and nothing else has happened. Beside it, what an earlier attempt has left.
    let digits = format!("{}\n", hex::encode(key.seed()));
    fs::write(identity(&fleet, 1).join("authority.key"), digits).expect("written");
    fs::write(identity(&fleet, 1).join("authority.key.new"), "5e").expect("written");
    fleet.restart(1).expect("started");
    wait_for_holders(fleet.person(2), &["mars", "venus"]);
    assert!(!identity(&fleet, 1).join("authority.key.new").exists());
    done(fleet.person(1).vigo(["envoy", "remove", "mars", "--yes"]));
    wait_for_holders(fleet.person(2), &["venus"]);

    // Before it had its name, it was not kept: then it is taken over again.
    fleet.envoy_mut(2).kill().expect("killed");
    let half = identity(&fleet, 2).join("authority.key.new");
    fs::write(&half, hex::encode(key.seed())).expect("written");
    fleet.restart(2).expect("started");
    assert!(!half.exists(), "no secret lies about");
    assert_eq!(authority(fleet.person(2))["is_authority"], false);
    // Killed as soon as anybody may have been told. This time root names the puddle of another user.
    let theirs = fleet.person(1).root().join("home/.vigo-puddle");
    let theirs = ["--puddle".into(), theirs.into_os_string()];
    fs::remove_dir_all(fleet.person(2).root().join("home/.vigo-puddle")).expect("gone");
    let file = fleet.passphrase_file().into_os_string();
    let line = ["envoy", "authority", "take-over", "--passphrase-file"].map(Into::into);
    let line = line.into_iter().chain([file]).chain(theirs);
    done(fleet.person(2).vigo(line));
    fleet.envoy_mut(2).kill().expect("killed");
    fleet.restart(2).expect("started");
    wait_for_holders(fleet.person(1), &["titan", "venus"]);
    done(fleet.person(2).vigo(["envoy", "ticket"]));
}

#[test]
fn two_machines_that_hold_the_key_do_not_disturb_each_other() {
    let mut fleet = founded(4);
    done(take_over(&fleet, 1));
    for index in 0..4 {
        wait_for_holders(fleet.person(index), &["mars", "venus"]);
    }
    // Both sign about the same envoy and person, and nobody can tell the other one.
    for index in [0, 2, 3] {
        fleet.envoy_mut(index).end().expect("ended");
    }
    let key = secret_in(&fleet, 1, "authority.key");
    let eve = PuddleKey::new(SecretKey::from_seed(&[5; 32]).public()).to_string();
    done(
        fleet
            .person(1)
            .vigo(["envoy", "authority", "seal", &eve, "--yes"]),
    );
    done(fleet.person(1).vigo(["envoy", "remove", "pluto", "--yes"]));
    fleet.envoy_mut(1).end().expect("ended");
    fleet.restart(0).expect("started");
    let bob = PuddleKey::new(SecretKey::from_seed(&[6; 32]).public()).to_string();
    done(
        fleet
            .person(0)
            .vigo(["envoy", "authority", "seal", &bob, "--yes"]),
    );
    done(
        fleet
            .person(0)
            .vigo(["envoy", "authority", "seal", &eve, "--yes"]),
    );
    done(fleet.person(0).vigo(["envoy", "remove", "pluto", "--yes"]));
    for index in [1, 2] {
        fleet.restart(index).expect("started");
    }
    let mut keys = vec![own_key(fleet.person(0)), eve, bob];
    keys.sort();
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &["mars", "titan", "venus"]);
        wait_for_seals(fleet.person(index), &keys);
    }
    // They come to one roster, and nobody signs anything more.
    wait_until("one roster", || {
        let same = roster(&fleet, 0) == roster(&fleet, 1);
        if same { Ok(()) } else { Err(String::new()) }
    });
    let settled = roster(&fleet, 0);
    let_them_compare(&fleet, (0, 1), 3);
    assert_eq!(roster(&fleet, 0), settled);
    assert_eq!(roster(&fleet, 1), settled);
    assert_eq!(*settled.authority(), key.public());

    // One of them takes the other out, which then has nothing more to say.
    done(fleet.person(1).vigo(["envoy", "remove", "mars", "--yes"]));
    wait_until("mars hears of it", || {
        let list = list(fleet.person(0));
        match with("removed", &list).contains(&"mars".to_owned()) {
            true => Ok(()),
            false => Err(list.to_string()),
        }
    });
    fails(fleet.person(0).vigo(["envoy", "ticket"]), 12);
    fails(
        fleet.person(0).vigo(["envoy", "remove", "venus", "--yes"]),
        12,
    );
    let said = fails(fleet.person(0).vigo(["envoy", "authority", "seal"]), 12);
    says(&said, &["mars was removed"]);
    let shown = authority(fleet.person(0));
    assert!(
        shown["fleet"].is_null() && shown["seals"] == Value::Array(Vec::new()),
        "{shown}"
    );
}

#[test]
fn nothing_that_is_open_to_the_daemon_waits_for_what_is_typed() {
    let mut fleet = founded(2);
    let words = secret_in(&fleet, 0, "authority.key").public().fingerprint();
    fleet.envoy_mut(0).lose().expect("lost for good");
    let line = fleet.person(1).vigo(["envoy", "authority", "take-over"]);
    let mut screen = Terminal::start(&line).expect("a terminal");
    screen
        .sees(&format!("the key of the fleet {words}"))
        .expect("which fleet it is");
    screen.sees("Passphrase for dan: ").expect("asked");
    // A conversation of before ends by this, as it does when somebody types for long.
    fleet.envoy_mut(1).end().expect("ended");
    fleet.restart(1).expect("started");
    let typed = fs::read_to_string(fleet.passphrase_file()).expect("it is there");
    screen.types(typed.trim_end()).expect("typed");
    screen.sees("venus holds the key").expect("taken over");
    screen.ends(0).expect("ends well");
}

#[test]
fn whoever_is_enrolled_anew_by_another_holder_of_the_key_keeps_its_role() {
    let mut fleet = founded(2);
    done(take_over(&fleet, 1));
    wait_for_holders(fleet.person(0), &["mars", "venus"]);
    fleet.envoy_mut(1).end().expect("ended");
    let settled = roster(&fleet, 0);
    let venus = secret_in(&fleet, 1, "envoy.key");
    let challenge = [7; 32];
    let request = EnrolRequest::sign(&venus, "venus", &[], &challenge).expect("sound");
    let enrolled = Request::Enrol {
        request: hex::encode(request.bytes()),
        challenge: hex::encode(&challenge),
    };
    for _ in 0..2 {
        let reply = helper(&fleet, 0, &enrolled);
        assert!(matches!(reply, Reply::Enrolled { .. }), "{reply:?}");
        assert_eq!(roster(&fleet, 0), settled, "nothing is to be signed");
    }
    // Nor does a request from before mars was called so.
    let mars = secret_in(&fleet, 0, "envoy.key");
    let request = EnrolRequest::sign(&mars, "phobos", &[], &challenge).expect("sound");
    let enrolled = Request::Enrol {
        request: hex::encode(request.bytes()),
        challenge: hex::encode(&challenge),
    };
    helper(&fleet, 0, &enrolled);
    assert_eq!(roster(&fleet, 0), settled);
}
