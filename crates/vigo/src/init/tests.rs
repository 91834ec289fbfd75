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
        updates_behind: None,
        reason: None,
        since_ms: None,
    };
    let mut project = status(Some("dan"), "notes", "7f");
    project.envoys = vec![copy("mars", "current"), copy("venus", "current")];
    assert_eq!(kept_on(&project), "2 envoys: mars, venus");
    project.envoys.push(copy("pluto", "offline"));
    assert_eq!(kept_on(&project), "2 of 3 envoys: mars, venus");
}
