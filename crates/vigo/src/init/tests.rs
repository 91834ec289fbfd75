use gitback_envelope::{Act, Grant, Incarnation};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};

use super::*;
use crate::naming::tests::{dan, project as status};

fn founding(handle: &str) -> Founding {
    Founding::new(dan(), handle.parse().expect("a handle"))
}

fn remote(name: &str, url: &str) -> Remote {
    Remote {
        name: name.to_owned(),
        url: url.to_owned(),
    }
}

fn check_handle(given: Option<&str>, remotes: &[Remote], folder: &str, expected: Option<&str>) {
    let chosen = choose_handle(given, remotes, &dan(), Path::new(folder));
    let chosen = chosen.ok().map(|handle| handle.to_string());
    assert_eq!(chosen.as_deref(), expected, "{given:?} {folder}");
}

#[test]
fn handle_is_given_or_connected_or_the_folder() {
    let id = founding("old").id;
    let connected = [remote("gitback", "gitback://dan/old")];
    let by_id = [remote("gitback", &format!("gitback://{id}/old"))];
    let others = [
        remote("gitback", "gitback://eve/old"),
        remote("origin", "gitback://dan/old"),
    ];
    check_handle(Some("new"), &connected, "/home/dan/notes", Some("new"));
    check_handle(None, &connected, "/home/dan/notes", Some("old"));
    check_handle(None, &by_id, "/home/dan/notes", Some("old"));
    check_handle(None, &others, "/home/dan/notes", Some("notes"));
    check_handle(None, &[], "/home/dan/My-Notes", Some("my-notes"));
    check_handle(None, &[], "/home/dan/my notes", None);
    check_handle(Some("My-Notes"), &[], "/home/dan/notes", None);
}

fn draft(statement: &Statement) -> Draft {
    Draft {
        type_name: statement.type_name(),
        body: hex::encode(&statement.encode_body().expect("a body")),
    }
}

fn grant_for(founding: &Founding, uid: u32) -> Statement {
    let init = Statement::init(&founding.public.key, &founding.handle);
    let envoy = EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public());
    Statement {
        envoy: Some(envoy),
        incarnation: Incarnation::from_bytes(&[5; 16]),
        deps: vec![init.id().expect("an id")],
        act: Act::Grant(Grant {
            envoy,
            uid,
            expires_ms: None,
        }),
        ..init
    }
}

#[test]
fn signs_only_a_grant_for_this_user_and_project() {
    let notes = founding("notes");
    let honest = grant_for(&notes, 1000);
    let checked = check_draft(&draft(&honest), &notes, 1000);
    assert_eq!(checked, Ok(honest.clone()));

    let refuse = |draft: &Draft, why: &str| {
        let refused = check_draft(draft, &notes, 1000).expect_err("refused");
        assert!(refused.contains(why), "{refused}");
    };
    refuse(&draft(&grant_for(&notes, 0)), "let user 0 in");
    refuse(
        &draft(&grant_for(&founding("other"), 1000)),
        "another project",
    );
    let init = Statement::init(&notes.public.key, &notes.handle);
    refuse(&draft(&init), "not a grant");
    let eve = PuddleKey::new(SecretKey::from_seed(&[8; 32]).public());
    let eves = Statement {
        puddle: eve,
        signer: *eve.key(),
        ..honest.clone()
    };
    refuse(&draft(&eves), "another puddle");
    let junk = Draft {
        type_name: honest.type_name(),
        body: "zz".to_owned(),
    };
    refuse(&junk, "not hex");
}

#[test]
fn finds_the_remote_by_either_address() {
    let notes = founding("notes");
    let by_id = format!("gitback://{}/notes", notes.id);
    for url in ["gitback://dan/notes", by_id.as_str()] {
        let remotes = [remote("origin", "https://x/y"), remote("mine", url)];
        let found = notes.remote(&remotes).map(|remote| remote.name.as_str());
        assert_eq!(found, Some("mine"), "{url}");
    }
    assert!(
        notes
            .remote(&[remote("gitback", "gitback://eve/notes")])
            .is_none()
    );
}

#[test]
fn names_the_envoys_that_keep_it() {
    let copy = |name: &str, state: &str| gitback_helper::CopyStatus {
        name: name.to_owned(),
        key: String::new(),
        state: state.to_owned(),
        behind: None,
        reason: None,
        since_ms: None,
    };
    let mut project = status("", "notes", "7f");
    project.envoys = vec![copy("mars", "current"), copy("venus", "current")];
    assert_eq!(kept_on(&project), "2 envoys: mars, venus");
    project.envoys.push(copy("pluto", "offline"));
    assert_eq!(kept_on(&project), "2 of 3 envoys: mars, venus");
}
