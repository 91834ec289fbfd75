//! Who may do what in a project, on one machine with a real daemon. Several machines and several people are in the
//! end-to-end tests of the workspace.

use gitback_identity::SecretKey;

use crate::Machine;
use crate::project::{Daemon, commit, work_tree};

/// A machine with dan's puddle, a daemon and the project notes.
fn founded() -> (Machine, Daemon) {
    let machine = Machine::new();
    machine.make_puddle();
    let daemon = Daemon::start(&machine);
    let tree = work_tree(&machine, "notes");
    commit(&machine, &tree, "one");
    machine
        .vigo_in(&tree, "swarm gitback project init")
        .expect(0);
    (machine, daemon)
}

/// The key of somebody who is not here.
fn key(seed: u8) -> String {
    SecretKey::from_seed(&[seed; 32]).public().to_string()
}

fn words(seed: u8) -> String {
    let key = SecretKey::from_seed(&[seed; 32]).public();
    key.fingerprint().to_string()
}

fn status(machine: &Machine) -> serde_json::Value {
    let line = "swarm gitback project status notes --json";
    machine.vigo(line).expect(0).json()
}

#[test]
fn an_invitation_is_a_line_to_type() {
    let (machine, _daemon) = founded();
    let alice = key(8);
    let project = "swarm gitback project";
    let said = machine
        .vigo(&format!("{project} invite {alice} --project notes"))
        .expect(0)
        .says(&format!("Invited {} to dan/notes, as member\n", words(8)))
        .says("hint: to accept, they type that line");
    let id = status(&machine)["project_id"].clone();
    let id = id.as_str().expect("an id");
    let invite = status(&machine)["member_list"][0]["invite"].clone();
    let invite = invite.as_str().expect("an id");
    let line =
        format!("vigo swarm gitback project join gitback://{id}/notes --invitation {invite}\n");
    assert_eq!(said.answer, line);

    // Once invited is invited, by whichever name.
    let again = machine
        .vigo(&format!("{project} invite {} --project notes", words(8)))
        .expect(0)
        .says("was invited to dan/notes already, as member\n");
    assert_eq!(again.answer, line);
    let json = machine
        .vigo(&format!(
            "{project} invite {} --project notes --json",
            &alice[..12]
        ))
        .expect(0)
        .json();
    assert_eq!(json[0]["command"].as_str(), Some(line.trim_end()));
    assert_eq!(
        (&json[0]["puddle"], &json[0]["name"]),
        (&alice.as_str().into(), &().into())
    );
    assert_eq!(status(&machine)["envelopes"], 5);
}

#[test]
fn several_are_invited_at_once_or_nobody() {
    let (machine, _daemon) = founded();
    let invite = "swarm gitback project invite --project notes";
    machine
        .vigo(&format!("{invite} {} bob", key(8)))
        .expect(10)
        .says("error: nobody is known here as bob\n")
        .says("hint:  to give somebody a name: vigo swarm puddle names pick NAME KEY");
    machine
        .vigo(&format!("{invite} {} dan", key(8)))
        .expect(2)
        .says("error: dan is you\n");
    assert_eq!(status(&machine)["member_list"], serde_json::json!([]));

    machine
        .vigo(&format!("swarm puddle names pick bob {}", key(9)))
        .expect(0);
    let said = machine
        .vigo(&format!("{invite} --role reader {} bob", key(8)))
        .expect(0)
        .says(&format!(
            "Invited bob ({}) to dan/notes, as reader",
            words(9)
        ));
    assert_eq!(said.answer.lines().count(), 2, "{said:?}");
    machine
        .vigo("swarm gitback project status notes")
        .expect(0)
        .answers(&format!("bob     {}", words(9)))
        .answers("reader  invited");
}

#[test]
fn what_was_allowed_is_taken_back() {
    let (machine, _daemon) = founded();
    let project = "swarm gitback project";
    machine
        .vigo(&format!("{project} invite {} --project notes", key(8)))
        .expect(0);
    let revoke = format!("{project} revoke notes {}", key(8));
    machine
        .vigo(&revoke)
        .expect(2)
        .says("hint:  give it with --yes");
    machine
        .vigo(&format!("{revoke} --yes"))
        .expect(0)
        .answers(&format!("Revoked {} from dan/notes\n", words(8)));
    assert_eq!(status(&machine)["member_list"][0]["state"], "revoked");
    machine
        .vigo(&format!("{revoke} --yes"))
        .expect(10)
        .says("is not a member of dan/notes\n");
    machine
        .vigo(&format!("{project} revoke notes dan --yes"))
        .expect(2)
        .says("error: dan is you");

    machine
        .vigo(&format!("{project} ungrant notes pluto"))
        .expect(10)
        .says("error: no envoy is known as pluto\n");
    machine
        .vigo(&format!("{project} ungrant notes"))
        .expect(0)
        .answers("mars signs for you in dan/notes no longer\n");
    machine.vigo("swarm puddle lock").expect(0);
    let tree = machine.dir.path().join("notes");
    machine
        .git_in(&tree, "fetch gitback")
        .expect(128)
        .says("error: puddle dan is locked");
}

#[test]
fn a_policy_is_shown_and_changed() {
    let machine = Machine::new();
    machine.make_puddle();
    let _daemon = Daemon::start(&machine);
    let tree = work_tree(&machine, "notes");
    let init = "swarm gitback project init";
    machine
        .vigo_in(&tree, &format!("{init} --scope members"))
        .expect(0);
    let policy = "swarm gitback project policy notes";
    machine.vigo(policy).expect(0).answers(
        "dan/notes\n  Scope      members: the envoys that a member uses\n  Protected  -\n  Copies     -\n",
    );
    machine
        .vigo(&format!("{policy} --scope swarm --protect main --protect refs/tags/v1 --replicas 3"))
        .expect(0)
        .answers("  Scope      swarm: all envoys of the fleet\n  Protected  main, tags/v1\n  Copies     3\n");
    let json = machine
        .vigo(&format!("{policy} --unprotect main --json"))
        .expect(0)
        .json();
    assert_eq!(json["protected"], serde_json::json!(["refs/tags/v1"]));
    assert_eq!(
        (&json["scope"], &json["replicas"]),
        (&"swarm".into(), &3.into())
    );
    machine
        .vigo(&format!("{policy} --unprotect main"))
        .expect(10)
        .says("error: main is not protected\n");

    // Founding goes on and does not begin again.
    let before = status(&machine)["envelopes"].clone();
    machine
        .vigo_in(&tree, &format!("{init} --scope members"))
        .expect(0)
        .says("warning: --scope only counts when a project is founded");
    assert_eq!(status(&machine)["scope"], "swarm");
    assert_eq!(status(&machine)["envelopes"], before);
}

#[test]
fn the_founder_stays_and_others_are_asked_first() {
    let (machine, daemon) = founded();
    let leave = "swarm gitback project leave notes";
    machine
        .vigo(leave)
        .expect(12)
        .says("error: the founder cannot leave dan/notes\n")
        .says("re-found");
    daemon.end();
    machine
        .vigo(&format!("{leave} --yes"))
        .expect(12)
        .says("error: the founder cannot leave dan/notes\n");
    machine
        .vigo("swarm gitback project leave elsewhere --yes")
        .expect(10);
}

#[test]
fn a_log_shows_every_envelope_and_whether_it_counts() {
    let (machine, _daemon) = founded();
    let said = machine.vigo("swarm gitback log notes").expect(0);
    let kinds: Vec<&str> = said
        .answer
        .lines()
        .filter_map(|line| {
            line.split_whitespace()
                .rev()
                .find(|word| word.ends_with(':'))
        })
        .collect();
    assert_eq!(kinds, ["dan:"; 4], "{said:?}");
    let log = machine
        .vigo("swarm gitback log notes --json")
        .expect(0)
        .json();
    let kinds: Vec<&str> = log
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["init.v1", "policy.v1", "grant.v1", "update.v1"]);
    assert!(
        log.as_array()
            .expect("a list")
            .iter()
            .all(|entry| entry["verdict"] == "valid"),
        "{log}"
    );
}

#[test]
fn a_new_key_takes_its_projects_over_and_may_begin_them_anew() {
    let (machine, _daemon) = founded();
    let project = "swarm gitback project";
    machine
        .vigo(&format!("{project} invite {} --project notes", key(8)))
        .expect(0);
    machine.with_passphrase("swarm puddle rotate").expect(0);
    machine
        .vigo(&format!("{project} invite {} --project notes", key(9)))
        .expect(12)
        .says("error: dan/notes still goes by an earlier key of yours\n")
        .says("hint:  hand it over first: vigo swarm gitback project reanchor --all\n");
    machine
        .vigo(&format!("{project} reanchor notes"))
        .expect(2)
        .says("--passphrase-file FILE");
    machine
        .with_passphrase(&format!("{project} reanchor --all"))
        .expect(0)
        .answers("Handed dan/notes over to the new key (hop 1 of 5)\n");
    machine
        .with_passphrase(&format!("{project} reanchor notes"))
        .expect(0)
        .answers("dan/notes goes by the present key already\n");
    let line = status(&machine)["line"].clone();
    assert_eq!(line.as_array().map(Vec::len), Some(2), "{line}");
    // The new key lets this machine go on.
    let tree = machine.dir.path().join("notes");
    commit(&machine, &tree, "two");
    machine.git_in(&tree, "push gitback main").expect(0);

    let refound = format!("{project} re-found notes");
    machine.vigo(&format!("{refound} --handle Notes")).expect(2);
    let said = machine
        .vigo(&refound)
        .expect(0)
        .answers("  Address   gitback://dan/notes\n")
        .answers("/notes (closed)\n");
    let new = status(&machine);
    assert_eq!((&new["refs"], &new["scope"]), (&1.into(), &"swarm".into()));
    machine
        .vigo(&format!("{project} list"))
        .expect(0)
        .answers(" ended\n");
    let old = said
        .answer
        .split("gitback://")
        .find_map(|part| part.strip_suffix("/notes (closed)\n"))
        .expect("the old id")
        .to_owned();
    machine
        .git_in(&tree, &format!("ls-remote gitback://{old}/notes"))
        .expect(128)
        .says("error: notes has ended; another project takes its place\n");
    machine.git_in(&tree, "ls-remote gitback").expect(0);

    // Once more changes nothing, and says the same.
    let again = machine.vigo(&format!("{project} re-found {old}")).expect(0);
    assert_eq!(again.answer, said.answer);
    assert_eq!(status(&machine)["envelopes"], new["envelopes"]);
    machine
        .vigo(&format!("{project} re-found {old} --handle other"))
        .expect(1)
        .says("has ended already\n");
    machine
        .vigo(&refound)
        .expect(2)
        .says("error: under this key, notes is dan/notes itself\n")
        .says("hint:  choose another handle: --handle notes-2\n");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let (machine, _daemon) = founded();
    let project = "swarm gitback project";
    let id = "5".repeat(64);
    machine
        .vigo(&format!("{project} join notes"))
        .expect(2)
        .says("error: \"notes\" is not a gitback address\n");
    machine
        .vigo(&format!(
            "{project} join gitback://{id}/notes --invitation 12"
        ))
        .expect(2)
        .says("error: \"12\" is no invitation\n");
    machine
        .vigo(&format!("{project} join gitback://{id}/notes"))
        .expect(10);
    machine
        .vigo(&format!("{project} join gitback://alice/notes"))
        .expect(10)
        .says("error: nobody is known here as alice\n");
    machine
        .vigo(&format!("{project} pick-line notes abcd"))
        .expect(10)
        .says("why:   the founder line of this project is not contested here\n");
    machine.vigo(&format!("{project} rejoin notes")).expect(1);
    machine
        .vigo(&format!("{project} reanchor notes --all"))
        .expect(2);
    let said = machine
        .vigo(&format!("{project} invite bob --project notes --json"))
        .expect(10);
    assert_eq!(said.answer, "");
    let error: serde_json::Value = serde_json::from_str(&said.talk).expect("JSON");
    assert_eq!(error["code"], 10);
}

#[test]
fn a_token_is_kept_for_a_machine_that_forgets() {
    let (machine, _daemon) = founded();
    let id = status(&machine)["project_id"].clone();
    let place = machine.root().join("home/.vigo-gitback");
    let place = place.join(id.as_str().expect("an id"));
    assert!(place.join("token").is_file());
}
