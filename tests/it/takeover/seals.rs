//! To whom the authority's key is sealed, and who gets nothing by it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use gitback_fleet::{Roster, Seal, WELCOME_MAX, Welcome};
use gitback_helper::{Client, Reply, Request};
use gitback_identity::{PuddleKey, SecretKey};
use gitback_puddle::{Passphrase, unwrap};
use gitback_tests::{Fleet, Invocation, Outcome, Terminal};
use serde_json::Value;

use super::{
    authority, founded, own_key, roster, sealed_to, take_over, wait_for_holders, wait_for_seals,
    wait_until,
};
use crate::fleet::{Hand, helper, identity, place, refused, secret_in, strangers, ticket};
use crate::world::{done, fails, options, says};

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
    // The roster that goes through that user's hands to a new envoy has no seals; root's has.
    let socket = root.join("var/run/vigo/gitback.sock");
    let shown = |uid: Option<u32>| enrolled_anew(socket.clone(), uid).seals().count();
    assert_eq!((shown(Some(4711)), shown(None)), (0, 1));
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

/// The roster that a user gets who has the envoy enrol itself once more.
fn enrolled_anew(socket: PathBuf, uid: Option<u32>) -> Roster {
    let asking = std::thread::spawn(move || {
        if let Some(uid) = uid.map(rustix::process::Uid::from_raw) {
            // This thread's alone.
            rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root can");
        }
        let challenge = "07".repeat(32);
        let mut helper = Client::connect(&socket).expect("the daemon runs");
        let mut call = |request| helper.call(&request, &mut |_| ()).expect("an answer");
        let asked = call(Request::EnrolRequest {
            challenge: challenge.clone(),
        });
        let Reply::EnrolRequest { request } = asked else {
            panic!("no request: {asked:?}");
        };
        match call(Request::Enrol { request, challenge }) {
            Reply::Enrolled { enrolment, .. } => enrolment,
            other => panic!("not enrolled: {other:?}"),
        }
    });
    let enrolment = asking.join().expect("an enrolment");
    let bytes = gitback_identity::hex::decode(&enrolment, WELCOME_MAX).expect("hex");
    Welcome::decode(&bytes).expect("a welcome").roster
}

#[test]
fn the_roster_is_for_its_owner_alone() {
    let fleet = strangers(1);
    drop(ticket(&fleet, 0));
    let kept = identity(&fleet, 0).join("fleet").metadata();
    assert_eq!(kept.expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn nothing_is_sealed_unasked_to_a_puddle_behind_a_link() {
    let mut fleet = strangers(1);
    fleet.make_puddle("dan").expect("dan's puddle");
    let mars = fleet.person(0);
    let (dir, moved) = (
        mars.root().join("home/.vigo-puddle"),
        mars.root().join("elsewhere"),
    );
    fs::rename(&dir, &moved).expect("moved");
    std::os::unix::fs::symlink(&moved, &dir).expect("a link");
    drop(ticket(&fleet, 0));
    assert_eq!(sealed_to(mars), [""; 0]);
    let said = fails(mars.vigo(["envoy", "authority", "seal"]), 2);
    says(&said, &["--yes"]);
    assert_eq!(sealed_to(mars), [""; 0]);
    done(mars.vigo(["envoy", "authority", "seal", "--yes"]));
    let old = own_key(mars);
    assert_eq!(sealed_to(mars), [old.as_str()]);
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let rotate = ["swarm", "puddle", "rotate", "--passphrase-file", &file];
    let rotated = done(mars.vigo(rotate));
    says(
        &rotated.stderr,
        &["sealed to your earlier key", "vigo envoy authority seal"],
    );
    assert_eq!(sealed_to(mars), [old.as_str()]);
}

#[test]
fn what_is_named_as_a_puddle_is_not_waited_for_and_no_link_is_followed() {
    let fleet = founded(2);
    let venus = fleet.person(1);
    let dir = fleet.dir().join("theirs");
    fs::create_dir(&dir).expect("a folder");
    let dirs = dir.to_string_lossy().into_owned();
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let take_over = || {
        let line = ["envoy", "authority", "take-over", "--puddle", &dirs];
        venus.vigo(line.iter().chain(&["--passphrase-file", &file]))
    };
    let wrapped = dir.join("identity.wrapped");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &wrapped, kind, mode, 0).expect("a pipe");
    says(&fails(take_over(), 1), &["it is not a file"]);
    fs::remove_file(&wrapped).expect("gone");
    let own = venus.root().join("home/.vigo-puddle/identity.wrapped");
    std::os::unix::fs::symlink(own, &wrapped).expect("a link");
    says(&fails(take_over(), 1), &["it is a symbolic link"]);
}

#[test]
fn whoever_ends_a_seal_by_the_beginning_of_a_key_sees_whose_it_is() {
    let fleet = founded(2);
    let dan = own_key(fleet.person(0));
    let unseal = ["envoy", "authority", "unseal", &dan[..8]];
    let line = fleet.person(0).vigo(unseal);
    let mut screen = Terminal::start(&line).expect("a terminal");
    let words = dan.parse::<PuddleKey>().expect("a key").fingerprint();
    let question = format!(
        "Let {words} ({}) take the fleet over no longer?",
        &dan[..12]
    );
    screen.sees(&question).expect("the question");
    screen.types("n").expect("typed");
    screen.ends(1).expect("nothing was changed");
    assert_eq!(sealed_to(fleet.person(0)), [dan.as_str()]);
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
        assert_eq!(sealed_to(fleet.person(index)), [new.as_str()]);
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
    wait_for_seals(fleet.person(2), std::slice::from_ref(&old));
    // Who has the earlier key as such opens what is still sealed to it.
    let [from, to] = [0, 2].map(|index| fleet.person(index).root().join("home/.vigo-puddle"));
    fs::copy(from.join("identity.wrapped"), to.join("identity.wrapped")).expect("carried");
    fs::create_dir(to.join("retired")).expect("a folder");
    fs::set_permissions(to.join("retired"), fs::Permissions::from_mode(0o700)).expect("closed");
    let retired = format!("retired/{}.wrapped", &old[..16]);
    fs::copy(from.join(&retired), to.join(&retired)).expect("carried");
    done(take_over(&fleet, 2));
    wait_for_holders(fleet.person(1), &["mars", "titan", "venus"]);
}

#[test]
fn it_is_sealed_to_few_people_and_to_no_machine() {
    let fleet = strangers(2);
    crate::fleet::join(&fleet, 1);
    let seal = |key: String| {
        let request = Request::SealAuthority {
            puddle: key,
            by_the_way: false,
        };
        helper(&fleet, 0, &request)
    };
    let own = secret_in(&fleet, 0, "authority.key").public().to_string();
    for machine in [fleet.envoy(0).key(), fleet.envoy(1).key(), &own] {
        refused(seal(machine.to_owned()), 2, &["a machine's"]);
    }
    for bad in ["", "00", &"00".repeat(32), &"ff".repeat(32)] {
        refused(seal(bad.to_owned()), 2, &["not the key of a puddle"]);
    }
    let person = |seed: u8| SecretKey::from_seed(&[seed; 32]).public().to_string();
    let sealed = |reply: Reply| matches!(reply, Reply::Accepted { .. });
    for seed in 1..=16 {
        assert!(sealed(seal(person(seed))), "{seed}");
    }
    assert!(sealed(seal(person(16))), "to whom it is sealed already");
    refused(seal(person(17)), 1, &["16 people", "unseal"]);
    let unseal = Request::UnsealAuthority { puddle: person(3) };
    assert!(sealed(helper(&fleet, 0, &unseal)));
    assert!(sealed(seal(person(17))), "there is room again");
    refused(
        helper(&fleet, 0, &unseal),
        10,
        &["sealed to nobody with the key"],
    );
    let short = Request::UnsealAuthority {
        puddle: String::new(),
    };
    refused(helper(&fleet, 0, &short), 10, &["8 digits"]);
}

#[test]
fn a_key_that_is_not_the_authoritys_is_not_taken() {
    let fleet = strangers(3);
    crate::fleet::join(&fleet, 1);
    let give = |index: usize, digits: String| {
        let secret = gitback_helper::Secret::new(digits);
        helper(&fleet, index, &Request::TakeOver { secret })
    };
    refused(
        give(1, "5e".repeat(32)),
        12,
        &["not the key of this fleet's authority"],
    );
    refused(give(1, "5e".repeat(31)), 2, &["64 lowercase hex digits"]);
    let key = secret_in(&fleet, 0, "authority.key");
    let digits = gitback_identity::hex::encode(key.seed());
    refused(give(2, digits.clone()), 1, &["titan is in no fleet"]);
    done(fleet.person(0).vigo(["envoy", "remove", "venus", "--yes"]));
    wait_until(
        "venus hears of it",
        || match authority(fleet.person(1))["fleet"].is_null() {
            true => Ok(()),
            false => Err(String::new()),
        },
    );
    refused(give(1, digits), 12, &["venus was removed"]);
    for index in [1, 2] {
        assert!(!identity(&fleet, index).join("authority.key").exists());
    }
}

#[test]
fn whoever_leaves_the_machine_that_holds_the_key_is_told_so() {
    let mut fleet = strangers(1);
    fleet.make_puddle("dan").expect("dan's puddle");
    drop(ticket(&fleet, 0));
    let leave = ["swarm", "puddle", "leave", "--yes", "--even-last"];
    let left = done(fleet.person(0).vigo(leave));
    says(
        &left.stderr,
        &[
            "holds the key of the fleet's authority",
            "vigo envoy authority take-over",
            "sealed to your keys alone",
        ],
    );
}
