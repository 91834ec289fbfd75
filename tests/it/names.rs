//! Three people on three envoys: claims that spread, names that are used, picked, contested and given back.

use std::path::PathBuf;

use gitback_envelope::{NameClaim, VerifiedClaim};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};
use gitback_peer::{CallError, Client, Digests, Names, PeerAddress};
use gitback_tests::{Fleet, Person, Terminal};
use serde_json::Value;

use crate::members::{invite, join, json, project, puddle_key, to_type};
use crate::world::{SOON, commit, done, fails, notes, options, push_all, says};

/// Dan on mars, alice on venus, eve on titan.
fn fleet() -> Fleet {
    let mut fleet = Fleet::start(options(3)).expect("the fleet starts");
    for (index, name) in ["dan", "alice", "eve"].into_iter().enumerate() {
        fleet.create_puddle(index, name).expect("a puddle");
    }
    fleet
}

/// What `names list` says: name, state and key.
fn listed(person: &Person) -> Vec<(String, String, String)> {
    let list = json(person, &["swarm", "puddle", "names", "list"]);
    let rows = list.as_array().cloned().unwrap_or_default();
    let text = |row: &Value, field: &str| row[field].as_str().expect("text").to_owned();
    rows.iter()
        .map(|row| (text(row, "name"), text(row, "state"), text(row, "key")))
        .collect()
}

/// The states under which a name is listed, sorted.
fn states(person: &Person, name: &str) -> Vec<String> {
    let rows = listed(person).into_iter();
    let mut states: Vec<String> = rows
        .filter(|(listed, _, _)| listed == name)
        .map(|(_, state, _)| state)
        .collect();
    states.sort();
    states
}

/// Waits until a name is listed in these states and in no others.
#[track_caller]
fn wait_for_states(person: &Person, name: &str, wanted: &[&str]) {
    let what = format!("{name} in the states {wanted:?}");
    let reached = gitback_tests::until(SOON, &what, || {
        let found = states(person, name);
        Ok(if found == wanted {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        })
    });
    reached.expect("claims spread");
}

fn words(person: &Person) -> String {
    let status = json(person, &["swarm", "puddle", "status"]);
    status["fingerprint"].as_str().expect("words").to_owned()
}

fn name(person: &Person, verb: &[&str]) -> gitback_tests::Outcome {
    let args = ["swarm", "puddle", "name"];
    done(person.vigo(args.iter().chain(verb)))
}

/// Dan's project, of which alice is a member, by names alone; dan says yes beforehand.
fn shared_notes(fleet: &Fleet) -> PathBuf {
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let work = notes(fleet);
    push_all(mars, &work);
    wait_for_states(mars, "alice", &["claimed"]);
    wait_for_states(venus, "dan", &["claimed"]);
    let line = invite(mars, "alice", &["--yes"]);
    join(venus, &line);
    work
}

#[test]
fn a_claim_made_on_one_envoy_is_known_on_the_others_and_clones_by_name() {
    let mut fleet = fleet();
    let (mars, venus, titan) = (
        fleet.person(0).clone(),
        fleet.person(1).clone(),
        fleet.person(2).clone(),
    );
    // Nobody claimed anything by hand: making a puddle did.
    let shown = json(&mars, &["swarm", "puddle", "name", "show"]);
    assert_eq!(shown["claimed"], "dan");
    wait_for_states(&titan, "dan", &["claimed"]);
    wait_for_states(&titan, "alice", &["claimed"]);

    let work = notes(&fleet);
    push_all(&mars, &work);
    wait_for_states(&mars, "alice", &["claimed"]);
    // Without a terminal nobody says yes to a name that was never used; the fingerprint is shown all the same.
    let refused = fails(
        mars.vigo([
            "swarm",
            "gitback",
            "project",
            "invite",
            "alice",
            "--project",
            "notes",
        ]),
        2,
    );
    says(
        &refused,
        &[&words(&venus), "you have not used the name before", "--yes"],
    );
    assert_eq!(states(&mars, "alice"), ["claimed"]);
    let invited = project(&mars, &["invite", "alice", "--project", "notes", "--yes"]);
    says(
        &invited.stderr,
        &[&format!("alice is {} to you from now on", words(&venus))],
    );
    assert_eq!(states(&mars, "alice"), ["used"]);

    // Alice knows dan by his claim alone.
    join(&venus, &to_type(&invited));
    assert_eq!(states(&venus, "dan"), ["claimed"]);
    let cloned = done(venus.git(venus.root(), ["clone", "gitback://dan/notes", "clone"]));
    says(
        &cloned.stderr,
        &[&format!("dan is {} to you from now on", words(&mars))],
    );
    assert_eq!(states(&venus, "dan"), ["used"]);
    let clone = venus.root().join("clone");
    commit(&venus, &clone, "by alice");
    done(venus.git(&clone, ["push", "origin", "main"]));
    let status = json(
        &venus,
        &["swarm", "gitback", "project", "status", "dan/notes"],
    );
    assert_eq!(status["founder_name"], "dan");

    // What was claimed and used is known after a restart, and pinned names work without any daemon's word.
    fleet.envoy_mut(1).kill().expect("killed");
    assert_eq!(states(&venus, "dan"), ["used"]);
    fleet.restart(1).expect("again");
    assert_eq!(states(&venus, "eve"), ["claimed"]);
    done(venus.git(&clone, ["fetch", "origin"]));
}

#[test]
fn a_name_that_two_claim_means_nobody_until_it_is_picked() {
    let fleet = fleet();
    let (mars, venus, titan) = (fleet.person(0), fleet.person(1), fleet.person(2));
    wait_for_states(titan, "dan", &["claimed"]);
    let said = name(titan, &["claim", "dan", "--yes"]);
    says(
        &said.stdout,
        &[&format!("Claimed dan for {}", words(titan))],
    );
    says(
        &said.stderr,
        &[
            &format!("dan is claimed by {} as well", words(mars)),
            &format!("your own is {}", words(titan)),
        ],
    );
    wait_for_states(venus, "dan", &["contested", "contested"]);
    wait_for_states(venus, "eve", &[]);

    let work = notes(&fleet);
    push_all(mars, &work);
    let address = "gitback://dan/notes";
    let both = [words(mars), words(titan)];
    let refused = fails(venus.git(venus.root(), ["ls-remote", address]), 128);
    says(&refused, &["2 keys claim the name dan", &both[0], &both[1]]);
    let refused = fails(
        venus.vigo(["swarm", "gitback", "project", "join", address]),
        13,
    );
    says(
        &refused,
        &[
            &both[0],
            &both[1],
            &format!("names pick dan {}", puddle_key(mars)),
            &format!("names pick dan {}", puddle_key(titan)),
        ],
    );
    let refused = fails(
        venus.vigo(["swarm", "gitback", "project", "status", "dan/notes"]),
        13,
    );
    says(&refused, &both.each_ref().map(String::as_str));

    // The words of one of the claimants end it; words that nobody has do not.
    let pick = |words: &str| venus.vigo(["swarm", "puddle", "names", "pick", "dan", words]);
    says(
        &fails(pick(&words(venus)), 10),
        &["no key that claims dan has these words"],
    );
    done(pick(&both[0]));
    assert_eq!(states(venus, "dan"), ["contested", "picked"]);
    done(mars.vigo([
        "swarm",
        "puddle",
        "names",
        "pick",
        "alice",
        &puddle_key(venus),
    ]));
    join(venus, &invite(mars, "alice", &[]));
    let cloned = done(venus.git(venus.root(), ["clone", address, "clone"]));
    says(
        &cloned.stderr,
        &[&format!(
            "warning: dan is claimed by another key too: {}",
            both[1]
        )],
    );

    // Eve gives it back, and nobody is warned any more.
    name(titan, &["release"]);
    wait_for_states(venus, "dan", &["picked"]);
    let fetched = done(venus.git(&venus.root().join("clone"), ["fetch", "origin"]));
    assert!(!fetched.stderr.contains("warning"), "{fetched}");
}

#[test]
fn what_was_used_keeps_working_when_somebody_else_claims_the_name() {
    let fleet = fleet();
    let (mars, venus, titan) = (fleet.person(0), fleet.person(1), fleet.person(2));
    let work = notes(&fleet);
    push_all(mars, &work);
    wait_for_states(mars, "alice", &["claimed"]);
    wait_for_states(venus, "dan", &["claimed"]);
    let line = invite(mars, "alice", &["--yes"]);
    let invitation = line.last().expect("an invitation");
    let joined = project(venus, &["join", "dan/notes", "--invitation", invitation]);
    says(
        &joined.stderr,
        &[
            &format!("dan is {} to you from now on", words(mars)),
            "git clone gitback://dan/notes",
        ],
    );
    done(venus.git(
        venus.root(),
        ["clone", "--quiet", "gitback://dan/notes", "clone"],
    ));
    name(titan, &["claim", "dan", "--yes"]);
    wait_for_states(venus, "dan", &["contested", "used"]);
    let clone = venus.root().join("clone");
    commit(venus, &clone, "all the same");
    let pushed = done(venus.git(&clone, ["push", "origin", "main"]));
    let warning = format!("dan is claimed by another key too: {}", words(titan));
    says(
        &pushed.stderr,
        &[&warning, &format!("to you it stays {}", words(mars))],
    );
    assert_eq!(
        pushed.stderr.matches("is claimed by another key").count(),
        1,
        "{pushed}"
    );

    // Dan himself is told who else claims his name, and means himself by it.
    wait_for_states(mars, "dan", &["hidden", "own"]);
    let shown = json(mars, &["swarm", "puddle", "name", "show"]);
    assert_eq!(shown["others"][0]["fingerprint"], words(titan).as_str());
    done(mars.git(mars.root(), ["ls-remote", "gitback://dan/notes"]));
    // The address by id never depends on anybody's claim.
    let id = json(mars, &["swarm", "gitback", "project", "status", "notes"]);
    let by_id = format!(
        "gitback://{}/notes",
        id["project_id"].as_str().expect("an id")
    );
    let asked = done(venus.git(venus.root(), ["ls-remote", &by_id]));
    assert!(!asked.stderr.contains("claimed"), "{asked}");
}

#[test]
fn a_new_key_takes_the_name_over_and_old_projects_are_found_by_it() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    shared_notes(&fleet);
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    done(mars.vigo(["swarm", "puddle", "rotate", "--passphrase-file", &file]));
    let fresh = puddle_key(mars);
    gitback_tests::until(SOON, "the new key's claim alone", || {
        let rows = listed(venus);
        let of_dan: Vec<_> = rows.iter().filter(|(name, _, _)| name == "dan").collect();
        let moved = matches!(&of_dan[..], [(_, state, key)] if state == "claimed" && *key == fresh);
        Ok(if moved {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        })
    })
    .expect("the claim has passed on");
    project(mars, &["reanchor", "notes", "--passphrase-file", &file]);
    // The project was founded with the old key, whose id no name of the new one gives.
    gitback_tests::until(SOON, "the line on venus", || {
        let outcome = venus
            .git(venus.root(), ["ls-remote", "gitback://dan/notes"])
            .run()?;
        Ok(if outcome.code == Some(0) {
            Ok(())
        } else {
            Err(outcome.to_string())
        })
    })
    .expect("found by the line");
}

#[test]
fn what_a_peer_forges_or_plays_back_changes_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _guard = runtime.enter();
    let mallory = SecretKey::from_seed(&[66; 32]);
    let peer = gitback_tests::ExtraPeer {
        name: "mallory".to_owned(),
        key: EnvoyKey::new(mallory.public()).to_string(),
        address: "127.0.0.1:9".to_owned(),
    };
    let options = options(1).extra_peer(peer);
    let mut fleet = Fleet::start(options).expect("the fleet starts");
    let mars = fleet.person(0).clone();
    let at = |fleet: &Fleet| PeerAddress {
        key: fleet.envoy(0).key().parse().expect("a key"),
        address: fleet.envoy(0).address(),
    };
    let client = Client::new(&mallory).expect("a usable key");
    let send = |fleet: &Fleet, claims: Vec<Vec<u8>>| {
        let message = Names {
            claims,
            ..Names::default()
        };
        runtime.block_on(client.names(&at(fleet), &message))
    };
    let secret = SecretKey::from_seed(&[3; 32]);
    let claim = |counter, name: Option<&str>| {
        let claim = NameClaim {
            puddle: PuddleKey::new(secret.public()),
            counter,
            time_ms: None,
            name: name.map(|name| name.parse().expect("a name")),
        };
        let sealed: VerifiedClaim = claim
            .seal(&secret.sign(&claim.signing_bytes()))
            .expect("its own signature");
        sealed.bytes().to_vec()
    };
    let answer = send(&fleet, vec![claim(5, Some("bob"))]).expect("taken");
    assert_eq!(
        answer.claims.len(),
        1,
        "what mallory did not say that it has"
    );
    assert_eq!(states(&mars, "bob"), ["claimed"]);
    let digest = |fleet: &Fleet| {
        let ours = Digests::default();
        let shown = runtime.block_on(client.digests(&at(fleet), &ours));
        shown.expect("an answer").names.expect("a digest")
    };
    let before = digest(&fleet);

    let mut forged = claim(9, Some("dan"));
    *forged.last_mut().expect("bytes") ^= 1;
    for bad in [forged, b"nonsense".to_vec()] {
        let refused = send(&fleet, vec![claim(6, Some("eve")), bad]);
        assert!(
            matches!(&refused, Err(CallError::Refused(refusal)) if refusal.code == "bad-claim"),
            "{refused:?}"
        );
    }
    send(&fleet, vec![claim(4, Some("dan")), claim(5, Some("bob"))]).expect("heard");
    assert_eq!((digest(&fleet), states(&mars, "dan")), (before, vec![]));

    // Released is released, also when the old claim comes again, and after a restart.
    send(&fleet, vec![claim(6, None)]).expect("taken");
    let released = digest(&fleet);
    assert_ne!(released, before);
    send(&fleet, vec![claim(5, Some("bob"))]).expect("heard");
    fleet.envoy_mut(0).kill().expect("killed");
    fleet.restart(0).expect("again");
    assert_eq!((digest(&fleet), states(&mars, "bob")), (released, vec![]));

    // A stranger is not heard at all.
    let stranger = Client::new(&SecretKey::from_seed(&[67; 32])).expect("a usable key");
    let message = Names {
        claims: vec![claim(7, Some("bob"))],
        ..Names::default()
    };
    let refused = runtime.block_on(stranger.names(&at(&fleet), &message));
    assert!(
        matches!(&refused, Err(CallError::Refused(refusal)) if refusal.code == "not-of-the-fleet"),
        "{refused:?}"
    );
    assert_eq!(digest(&fleet), released);
}

#[test]
fn who_wants_no_claim_makes_none() {
    let mut fleet = Fleet::start(options(1)).expect("the fleet starts");
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let mars = fleet.person(0).clone();
    let init = [
        "swarm",
        "puddle",
        "init",
        "--name",
        "dan",
        "--no-claim",
        "--passphrase-file",
        &file,
    ];
    done(mars.vigo(init));
    fleet.puddle_made("dan");
    let claimed = || json(&mars, &["swarm", "puddle", "name", "show"])["claimed"].clone();
    assert_eq!(claimed(), Value::Null);
    name(&mars, &["claim"]);
    assert_eq!(claimed(), "dan");
    name(&mars, &["release"]);
    // What was given back is not claimed again by the way.
    notes(&fleet);
    assert_eq!(claimed(), Value::Null);
    says(&name(&mars, &["release"]).stdout, &["Nothing is claimed"]);
    name(&mars, &["claim", "danny"]);
    assert_eq!(claimed(), "danny");
    // Another name takes the place of the first one only if that is meant.
    let other = ["swarm", "puddle", "name", "claim", "daniel"];
    says(
        &fails(mars.vigo(other), 2),
        &["claiming daniel gives danny back", "--yes"],
    );
    let mut asked = Terminal::start(&mars.vigo(other)).expect("a terminal");
    asked
        .sees("Claim daniel in place of danny? [y/N] ")
        .expect("asked");
    asked.types("n").expect("typed");
    says(
        &asked.ends(1).expect("it stays"),
        &["not confirmed; danny is claimed as before"],
    );
    assert_eq!(claimed(), "danny");
    name(&mars, &["claim", "daniel", "--yes"]);
    assert_eq!(claimed(), "daniel");
}
