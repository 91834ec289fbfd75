use std::collections::BTreeMap;

use super::*;
use crate::account::Statement;

/// What `mars` and `venus` hold after two pushes to main, one after the other, and a branch that was deleted.
fn honest() -> Evidence {
    let told = |push, name: &str, commit: Option<&str>, over: Option<&str>| Told {
        push,
        by: "mars".to_owned(),
        name: name.to_owned(),
        commit: commit.map(str::to_owned),
        over: over.map(str::to_owned),
        on: BTreeSet::from(["mars".to_owned(), "venus".to_owned()]),
    };
    let statement = |kind: &str| Statement {
        kind: kind.to_owned(),
        verdict: "valid".to_owned(),
    };
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    let commits = [
        ("a", ""),
        ("b", "a"),
        ("c", "b"),
        ("x", "a"),
        ("other", "b"),
    ];
    let parents = commits.map(|(commit, parent)| {
        let parents = Some(parent).filter(|parent| !parent.is_empty());
        (
            commit.to_owned(),
            parents.map(str::to_owned).into_iter().collect(),
        )
    });
    let kinds = [
        "init.v1",
        "update.v1",
        "update.v1",
        "update.v1",
        "update.v1",
        "update.v1",
    ];
    let statements = (0..)
        .zip(kinds)
        .map(|(id, kind)| (format!("id{id}"), statement(kind)));
    let replica = Replica {
        refs: text(&[
            ("HEAD", "refs/heads/main"),
            ("refs/heads/main", "c"),
            ("refs/envoys/0123/heads/main@4567", "other"),
        ]),
        parents: parents.into_iter().collect(),
        statements: statements.collect(),
        complaints: Vec::new(),
    };
    let both = ["mars", "venus"].map(|name| (name.to_owned(), replica.clone()));
    Evidence {
        told: vec![
            told(0, "refs/heads/main", Some("b"), None),
            told(1, "refs/heads/main", Some("c"), None),
            told(2, "refs/heads/main", Some("other"), None),
            told(3, "refs/heads/topic", Some("x"), None),
            told(4, "refs/heads/topic", None, Some("x")),
        ],
        replicas: both.into_iter().collect(),
    }
}

/// The breaches after venus was changed.
fn after(lie: impl Fn(&mut Replica)) -> Vec<String> {
    let mut evidence = honest();
    lie(evidence.replicas.get_mut("venus").expect("venus"));
    breaches(&evidence).iter().map(Breach::to_string).collect()
}

#[track_caller]
fn caught(found: &[String], what: &str) {
    assert!(
        found.iter().any(|line| line.contains(what)),
        "no {what:?} in {found:#?}"
    );
}

#[test]
fn finds_nothing_where_all_is_kept() {
    assert_eq!(breaches(&honest()), Vec::new());
}

#[test]
fn catches_a_lost_push() {
    let found = after(|venus| {
        venus.parents.remove("b");
    });
    caught(
        &found,
        "venus has lost b, pushed to refs/heads/main on mars (push 0)",
    );
}

#[test]
fn catches_a_push_that_is_kept_and_shown_nowhere() {
    let found = after(|venus| {
        venus.refs.remove("refs/envoys/0123/heads/main@4567");
    });
    caught(&found, "venus shows nowhere other");
    let found = after(|venus| {
        venus
            .refs
            .insert("refs/heads/main".to_owned(), "b".to_owned());
    });
    caught(&found, "venus shows nowhere c");
}

#[test]
fn what_was_thrown_away_need_not_be_shown_but_must_be_kept() {
    let mut evidence = honest();
    evidence.told.pop();
    let found: Vec<String> = breaches(&evidence).iter().map(Breach::to_string).collect();
    caught(&found, "mars shows nowhere x");
    let found = after(|venus| {
        venus.parents.remove("x");
    });
    caught(&found, "venus has lost x");
}

#[test]
fn catches_refs_that_differ() {
    let found = after(|venus| {
        venus
            .refs
            .insert("HEAD".to_owned(), "refs/heads/topic".to_owned());
    });
    caught(
        &found,
        "HEAD is refs/heads/main on mars and refs/heads/topic on venus",
    );
    let found = after(|venus| {
        venus.refs.insert("refs/tags/v1".to_owned(), "b".to_owned());
    });
    caught(&found, "refs/tags/v1 is nothing on mars and b on venus");
}

#[test]
fn catches_statements_that_differ_or_do_not_count() {
    let found = after(|venus| {
        venus.statements.remove("id0");
    });
    caught(&found, "id0 is valid on mars and nothing on venus");
    let found = after(|venus| {
        let statement = venus.statements.get_mut("id3").expect("an update");
        statement.verdict = "void: held out".to_owned();
    });
    caught(&found, "on venus statement id3 is void: held out");
    caught(&found, "id3 is valid on mars and void: held out on venus");
}

#[test]
fn catches_an_acknowledgement_without_an_update() {
    let mut evidence = honest();
    for replica in evidence.replicas.values_mut() {
        replica.statements.remove("id5");
    }
    let found: Vec<String> = breaches(&evidence).iter().map(Breach::to_string).collect();
    caught(&found, "mars holds 4 updates of 5 pushes");
}

#[test]
fn catches_damage() {
    let found = after(|venus| venus.complaints.push("missing blob 1234".to_owned()));
    caught(&found, "git fsck on venus: missing blob 1234");
}
