//! The machine that founded the fleet is lost: another one takes the fleet over, by the copy of the authority's key that
//! is sealed to a person.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gitback_fleet::{Roster, Seal};
use gitback_identity::{PuddleKey, SecretKey, hex};
use gitback_puddle::{Passphrase, unwrap};
use gitback_tests::{Fleet, Invocation, Outcome, Person, Terminal, until};
use serde_json::Value;

use crate::fleet::{
    Hand, identity, join, let_them_compare, list, place, secret_in, strangers, ticket,
    wait_for_fleet, with,
};
use crate::world::{SOON, done, fails, options, says};

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
fn whoever_it_is_not_sealed_to_takes_nothing_over() {
    let mut fleet = founded(3);
    let said = fails(fleet.person(1).vigo(["envoy", "authority", "seal"]), 12);
    says(&said, &["only mars seals its key", "run this on mars"]);
    // Eve is root of titan, with a puddle of her own.
    fleet.lock(2).expect("locked");
    fs::remove_dir_all(fleet.person(2).root().join("home/.vigo-puddle")).expect("gone");
    fleet.create_puddle(2, "eve").expect("eve's puddle");
    let said = fails(take_over(&fleet, 2), 12);
    says(&said, &["is not sealed to", "who can take the fleet over"]);
    let eve = own_key(fleet.person(2));
    let eves = unwrap(
        &fleet.person(2).root().join("home/.vigo-puddle"),
        &Passphrase::new(
            fs::read_to_string(fleet.passphrase_file())
                .expect("typed")
                .trim_end()
                .to_owned(),
        )
        .expect("a passphrase"),
    );
    let eves = eves.expect("it opens");
    for one in roster(&fleet, 2).seals() {
        one.open(&eves).expect_err("it is dan's");
    }
    // Words that are no member's do not help, and neither does a key of one's own.
    let words = fleet.dir().join("words");
    fs::write(&words, &*gitback_puddle::recovery_words(&eves)).expect("written");
    let words = words.to_string_lossy().into_owned();
    let by_words = [
        "envoy",
        "authority",
        "take-over",
        "--from-recovery",
        "--words-file",
        &words,
    ];
    let said = fails(fleet.person(2).vigo(by_words), 12);
    says(&said, &["is not sealed to"]);

    // With the word of whoever holds the key she can.
    let mars = fleet.person(0);
    let said = fails(mars.vigo(["envoy", "authority", "seal", &eve]), 2);
    says(&said, &["--yes"]);
    done(mars.vigo(["envoy", "authority", "seal", &eve, "--yes"]));
    wait_until("eve's seal", || match sealed_to(fleet.person(2)).len() {
        2 => Ok(()),
        other => Err(other.to_string()),
    });
    done(take_over(&fleet, 2));
    wait_for_holders(fleet.person(0), &["mars", "titan"]);
}

#[test]
fn a_user_who_does_not_administer_the_envoy_takes_nothing_over_and_sees_no_seal() {
    if !Path::new("/usr/bin/setpriv").exists() || !rustix::process::geteuid().is_root() {
        return;
    }
    let served = options(1)
        .strangers()
        .more_settings("allow_uids = [4711]\n");
    let mut fleet = Fleet::start(served).expect("it starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    drop(ticket(&fleet, 0));
    let programs = crate::world::binaries().copied_to(&fleet.dir().join("bin"));
    let programs = programs.expect("programs for all");
    let root = fleet.envoy(0).root().to_owned();
    let mut dir = root.join("var/run/vigo");
    while dir.starts_with(fleet.dir()) {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("opened");
        dir.pop();
    }
    let as_somebody = |args: &[&str]| -> Outcome {
        let root = root.to_string_lossy().into_owned();
        let all = ["--root", &root, "envoy", "authority"];
        let line = Invocation::new(programs.vigo(), all.iter().chain(args));
        let ids = ["--reuid", "4711", "--regid", "4711", "--clear-groups", "--"];
        let line = line.env("HOME", "/tmp").under("/usr/bin/setpriv", ids);
        line.run().expect("it runs")
    };
    let shown = as_somebody(&["--json"]);
    let status: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(status["may_administer"], false);
    assert_eq!(status["seals"].as_array().map(Vec::len), Some(1));
    assert!(status["seals"][0]["record"].is_null(), "{status}");
    let key = own_key(fleet.person(0));
    for args in [&["seal", &key, "--yes"][..], &["unseal", &key, "--yes"]] {
        let refused = as_somebody(args);
        assert_eq!(refused.code, Some(12), "{refused}");
        says(&refused.stderr, &["user 4711 may not", "root"]);
    }
    // Nor with the key itself in hand, past every question that vigo asks.
    fs::remove_file(identity(&fleet, 0).join("authority.key")).expect("as if it were lost");
    fleet.envoy_mut(0).end().expect("ended");
    fleet.restart(0).expect("started");
    let socket = root.join("var/run/vigo");
    for dir in [socket.clone(), root.join("var/run"), root.join("var")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("opened");
    }
    let refused = as_somebody(&["take-over"]);
    assert_eq!(refused.code, Some(12), "{refused}");
    says(
        &refused.stderr,
        &["user 4711 may not take the fleet over", "sudo vigo"],
    );
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
    // Killed as soon as anybody may have been told.
    done(take_over(&fleet, 2));
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
fn a_seal_follows_a_rotation_and_an_old_one_does_not_come_back() {
    let mut fleet = founded(3);
    let old = own_key(fleet.person(0));
    let before = roster(&fleet, 2);
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let rotate = ["swarm", "puddle", "rotate", "--passphrase-file", &file];
    let rotated = done(fleet.person(0).vigo(rotate));
    says(
        &rotated.stderr,
        &["can take the fleet over", "found the fleet anew"],
    );
    let new = own_key(fleet.person(0));
    assert_ne!(old, new);
    for index in 0..3 {
        wait_for_seals(fleet.person(index), std::slice::from_ref(&new));
    }
    // Titan means ill, and shows the roster of before.
    let titan = Hand::with(&secret_in(&fleet, 2, "envoy.key"));
    for index in [0, 1] {
        let shown = titan.roster(&place(&fleet, index), &before);
        let shown = shown.expect("an answer");
        let ended = shown.seal(&old.parse().expect("a key"));
        assert!(ended.is_some_and(|one| !one.is_in_force()));
        assert_eq!(sealed_to(fleet.person(index)), [new.clone()]);
    }
    // Nor is one taken that somebody else has signed.
    let mallory = SecretKey::from_seed(&[4; 32]);
    let member = PuddleKey::new(mallory.public());
    let forged = Seal::sign(&mallory, member, u64::MAX, &[1; 32]).expect("usable");
    let mut theirs = Roster::new(mallory.public());
    theirs.take_seal(forged).expect("of that fleet");
    titan
        .roster(&place(&fleet, 0), &theirs)
        .expect_err("refused");

    // Venus has the key of before only: it opens nothing, and the words of the new one do.
    fleet.envoy_mut(0).end().expect("ended");
    let said = fails(take_over(&fleet, 1), 12);
    says(&said, &["is not sealed to"]);
    let words = fleet.dir().join("words");
    let words = words.to_string_lossy().into_owned();
    let write = [
        "swarm",
        "puddle",
        "recovery",
        "--passphrase-file",
        &file,
        "--to",
        &words,
    ];
    done(fleet.person(0).vigo(write));
    let by_words = [
        "envoy",
        "authority",
        "take-over",
        "--from-recovery",
        "--words-file",
        &words,
    ];
    done(fleet.person(1).vigo(by_words));
    wait_for_holders(fleet.person(2), &["mars", "venus"]);

    // What was ended by hand is not sealed again by the way.
    let venus = fleet.person(1);
    let ended = ["envoy", "authority", "unseal", &new[..12], "--yes"];
    says(&done(venus.vigo(ended)).stdout, &["nobody can now"]);
    drop(ticket(&fleet, 1));
    assert_eq!(sealed_to(fleet.person(1)), [""; 0]);
    let shown = done(fleet.person(1).vigo(["envoy", "authority"]));
    says(&shown.stdout, &["nobody"]);
    says(&shown.stderr, &["if venus is lost"]);
    let key = [&old[..], "--yes"];
    done(
        fleet
            .person(1)
            .vigo(["envoy", "authority", "seal"].iter().chain(&key)),
    );
    assert_eq!(sealed_to(fleet.person(1)), [old]);
}
