//! Projects that have moved, and names that mean several projects.

use gitback_helper::{Failure, Reply, Request, exit_code};
use gitback_identity::{ProjectId, PuddleKey, SecretKey};
use gitback_puddle::{Cost, Passphrase, rotate};

use crate::world::{NOTES, World, dan, handle, notes};

fn world() -> World {
    let world = World::new();
    world.make_repository();
    world
}

fn alice() -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[8; 32]).public())
}

/// What a daemon says where alice has taken the project on as notes-2.
fn moved() -> Reply {
    let handle = "notes-2".parse().expect("a handle");
    Reply::Moved {
        founder: alice().to_string(),
        project: ProjectId::derive(&alice(), &handle).to_string(),
        handle: handle.to_string(),
    }
}

/// A daemon on which dan's notes have moved, and everything else is open.
fn successor_is_here(request: &Request) -> Vec<Reply> {
    match request {
        Request::Open { project, .. } if *project == notes().to_string() => vec![moved()],
        _ => vec![Reply::Ready],
    }
}

#[test]
fn a_friendly_address_follows_a_project_that_moves() {
    let world = world();
    let daemon = world.daemon(successor_is_here);
    let output = world.try_git(".", &["clone", NOTES, "copy"]);
    assert!(output.status.success(), "{output:?}");
    let Reply::Moved { project, .. } = moved() else {
        panic!("it has moved");
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = format!("notes has moved to gitback://{project}/notes-2\n");
    assert!(errors.contains(&line), "{errors}");

    let requests = daemon.requests();
    let Some(Request::Open {
        project: asked,
        handle,
        ..
    }) = requests.last()
    else {
        panic!("{requests:?}");
    };
    assert_eq!((asked, handle.as_str()), (&project, "notes-2"));
}

#[test]
fn an_address_with_an_id_fails_with_the_new_address() {
    let world = world();
    let daemon = world.daemon(successor_is_here);
    let errors = world.git_fails(".", &["ls-remote", &format!("gitback://{}/notes", notes())]);
    let Reply::Moved { project, .. } = moved() else {
        panic!("it has moved");
    };
    assert_eq!(
        errors,
        format!(
            "error: notes has ended; another project takes its place\n\
             why:   an address with a project's id leads to that project and to no other\n\
             hint:  its new address: gitback://{project}/notes-2\n"
        )
    );
    assert_eq!(daemon.requests().len(), 1);
}

#[test]
fn moving_in_circles_comes_to_an_end() {
    let world = world();
    let daemon = world.daemon(|_request| vec![moved()]);
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert!(
        errors.contains("error: notes-2 has ended; another project takes its place\n"),
        "{errors}"
    );
    assert_eq!(daemon.requests().len(), 6);
}

#[test]
fn a_successor_that_cannot_be_is_not_followed() {
    let world = world();
    let daemon = world.daemon(|_request| {
        vec![Reply::Moved {
            founder: alice().to_string(),
            handle: "notes-2".to_owned(),
            project: notes().to_string(),
        }]
    });
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert!(
        errors.starts_with("error: notes has ended, and the daemon names an impossible successor"),
        "{errors}"
    );
    assert_eq!(daemon.requests().len(), 1);
}

/// The puddle got a new key; its projects keep the id that the first one gave them.
#[test]
fn the_users_own_name_finds_a_project_of_an_earlier_key() {
    let world = world();
    let passphrase = Passphrase::new("orange".to_owned()).expect("a passphrase");
    let cheap = Cost::new(64, 1, 1).expect("a cost");
    let new = SecretKey::from_seed(&[6; 32]);
    rotate(&world.puddle_dir(), &passphrase, &new, cheap, 2).expect("rotated");
    let first = ProjectId::derive(&PuddleKey::new(new.public()), &handle());
    let daemon = world.daemon(move |request| match request {
        // Nothing is brought in for a guess while the right one is here.
        Request::Open { project, .. } if *project == first.to_string() => {
            vec![Reply::NeedToken { drafts: vec![] }]
        }
        Request::Open { project, .. } if *project == notes().to_string() => vec![Reply::Ready],
        _ => vec![Reply::Failed(Failure::new(exit_code::FAILED, "no"))],
    });
    world.git(".", &["ls-remote", NOTES]);
    let asked: Vec<String> = daemon
        .requests()
        .iter()
        .map(|request| match request {
            Request::Open { project, .. } => project.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [first.to_string(), notes().to_string()]);
    assert_ne!(PuddleKey::new(new.public()), dan());
}

#[test]
fn what_nobody_knows_is_said_of_the_first_meaning() {
    let world = world();
    let _daemon = world.daemon(|request| match request {
        Request::Open { project, .. } => {
            let what = format!("no project {} is known", &project[..8]);
            vec![Reply::Failed(Failure::new(exit_code::UNKNOWN, what))]
        }
        _ => vec![],
    });
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert_eq!(
        errors,
        format!("error: no project {} is known\n", notes().short())
    );
}
