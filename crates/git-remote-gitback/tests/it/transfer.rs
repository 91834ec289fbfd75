use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use gitback_helper::{Reply, Request, Service, VERSION};

use crate::world::{NOTES, World, dan, notes};

fn world() -> World {
    let world = World::new();
    world.make_repository();
    world
}

#[test]
fn a_clone_says_what_it_wants_and_gets_it() {
    let world = world();
    let daemon = world.willing_daemon();
    world.git(".", &["clone", "--quiet", NOTES, "copy"]);

    assert_eq!(
        world.git("copy", &["rev-parse", "HEAD"]),
        world.git("origin", &["rev-parse", "HEAD"])
    );
    assert_eq!(
        fs::read_to_string(world.path("copy/file3")).expect("a file"),
        "text 3\n"
    );
    assert_eq!(
        daemon.requests(),
        [Request::Open {
            version: VERSION,
            service: Service::UploadPack,
            project: notes().to_string(),
            handle: "notes".to_owned(),
            puddle: Some(dan().to_string()),
            protocol: Some("version=2".to_owned()),
            push_wait_ms: None,
            quiet: true,
            progress: false,
            trace: false,
            called: None,
            remote: None,
        }]
    );
}

#[test]
fn a_project_id_is_an_address_of_its_own() {
    let world = world();
    let daemon = world.willing_daemon();
    let other = "ab".repeat(32);
    world.git(".", &["ls-remote", &format!("gitback://{other}/notes")]);

    assert!(matches!(&daemon.requests()[..], [Request::Open { project, .. }] if *project == other));
}

#[test]
fn a_user_without_a_puddle_can_use_a_project_id() {
    let world = World::empty();
    world.make_repository();
    let daemon = world.willing_daemon();
    world.git(".", &["ls-remote", &format!("gitback://{}/notes", notes())]);

    assert!(matches!(
        &daemon.requests()[..],
        [Request::Open { puddle: None, .. }]
    ));
}

#[test]
fn every_protocol_version_works() {
    for (option, expected) in [
        ("protocol.version=0", None),
        ("protocol.version=1", Some("version=1")),
        ("protocol.version=2", Some("version=2")),
    ] {
        let world = world();
        let daemon = world.willing_daemon();
        world.git(".", &["-c", option, "clone", "--quiet", NOTES, "copy"]);

        assert_eq!(
            world.git("copy", &["rev-list", "--count", "HEAD"]),
            "3",
            "{option}"
        );
        let requests = daemon.requests();
        let Some(Request::Open { protocol, .. }) = requests.first() else {
            panic!("{requests:?}");
        };
        assert_eq!(protocol.as_deref(), expected, "{option}");
    }
}

#[test]
fn a_push_arrives_and_another_clone_fetches_it() {
    let world = world();
    let daemon = world.willing_daemon();
    world.git(".", &["clone", "--quiet", NOTES, "one"]);
    world.git(".", &["clone", "--quiet", NOTES, "two"]);
    world.commit("one", "news", "news\n");
    world.git("one", &["tag", "v1"]);
    world.git("one", &["push", "origin", "main", "v1"]);
    world.git("two", &["pull", "--quiet", "--ff-only"]);

    let head = world.git("one", &["rev-parse", "HEAD"]);
    assert_eq!(world.git("bare.git", &["rev-parse", "main"]), head);
    assert_eq!(world.git("two", &["rev-parse", "HEAD"]), head);
    assert_eq!(world.git("two", &["tag"]), "v1");
    let services: Vec<_> = daemon
        .requests()
        .iter()
        .map(|request| match request {
            Request::Open {
                service, protocol, ..
            } => (*service, protocol.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        services[2],
        (Service::ReceivePack, false),
        "a push has one version"
    );
}

#[test]
fn a_large_push_and_a_large_clone_do_not_stall() {
    let world = world();
    let _daemon = world.willing_daemon();
    world.git(".", &["clone", "--quiet", NOTES, "one"]);
    // Pseudorandom, so that it fills every pipe and socket on the way.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(6_000_000)
    .collect();
    world.commit("one", "noise", &noise);
    world.git("one", &["push", "--quiet", "origin", "main"]);
    world.git(".", &["clone", "--quiet", NOTES, "two"]);

    assert!(fs::read(world.path("two/noise")).expect("a file") == noise);
}

#[test]
fn a_shallow_clone_is_shallow_and_can_be_deepened() {
    let world = world();
    let _daemon = world.willing_daemon();
    world.git(".", &["clone", "--quiet", "--depth=1", NOTES, "copy"]);
    assert_eq!(world.git("copy", &["rev-list", "--count", "HEAD"]), "1");
    world.git("copy", &["fetch", "--quiet", "--deepen=1"]);
    assert_eq!(world.git("copy", &["rev-list", "--count", "HEAD"]), "2");
    world.git("copy", &["fetch", "--quiet", "--unshallow"]);
    assert_eq!(world.git("copy", &["rev-list", "--count", "HEAD"]), "3");
}

#[test]
fn a_partial_clone_fetches_what_it_lacks_later() {
    let world = world();
    let daemon = world.willing_daemon();
    world.git(
        ".",
        &[
            "clone",
            "--quiet",
            "--no-checkout",
            "--filter=blob:none",
            NOTES,
            "copy",
        ],
    );
    let missing = world.git(
        "copy",
        &["rev-list", "--objects", "--all", "--missing=print"],
    );
    assert_eq!(
        missing.lines().filter(|line| line.starts_with('?')).count(),
        3,
        "{missing}"
    );
    let before = daemon.requests().len();
    world.git("copy", &["checkout", "--quiet", "main"]);

    assert_eq!(
        fs::read_to_string(world.path("copy/file1")).expect("a file"),
        "text 1\n"
    );
    assert!(
        daemon.requests().len() > before,
        "the blobs came through another stream"
    );
}

#[test]
fn push_options_pass() {
    let world = world();
    let _daemon = world.willing_daemon();
    let hook = world.path("bare.git/hooks/pre-receive");
    let script = "#!/bin/sh\necho \"$GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" > options\n";
    fs::write(&hook, script).expect("a hook");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("our file");
    world.git(".", &["clone", "--quiet", NOTES, "copy"]);
    world.commit("copy", "news", "news\n");
    world.git(
        "copy",
        &[
            "push",
            "-o",
            "gitback.wait=all",
            "-o",
            "other",
            "origin",
            "main",
        ],
    );

    let options = fs::read_to_string(world.path("bare.git/options")).expect("the hook ran");
    assert_eq!(options.trim(), "gitback.wait=all other");
}

#[test]
fn a_branch_can_be_made_and_deleted() {
    let world = world();
    let _daemon = world.willing_daemon();
    world.git(".", &["clone", "--quiet", NOTES, "copy"]);
    world.git("copy", &["push", "--quiet", "origin", "main:topic"]);
    assert!(
        world
            .git("bare.git", &["branch", "--list", "topic"])
            .contains("topic")
    );
    world.git("copy", &["push", "--quiet", "origin", "--delete", "topic"]);
    assert_eq!(world.git("bare.git", &["branch", "--list", "topic"]), "");
}

#[test]
fn leases_and_atomic_pushes_are_judged_at_the_other_end() {
    let world = world();
    let _daemon = world.willing_daemon();
    world.git(".", &["clone", "--quiet", NOTES, "copy"]);
    world.git("copy", &["reset", "--quiet", "--hard", "HEAD~1"]);
    world.commit("copy", "other", "another way\n");
    let output = world.try_git(
        "copy",
        &["push", "--atomic", "origin", "main", "main:topic"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(world.git("bare.git", &["branch", "--list", "topic"]), "");

    world.git(
        "copy",
        &["push", "--quiet", "--force-with-lease", "origin", "main"],
    );
    assert_eq!(
        world.git("bare.git", &["rev-parse", "main"]),
        world.git("copy", &["rev-parse", "main"])
    );
}

#[test]
fn a_push_says_how_long_to_wait_and_how_much_to_say() {
    let check = |options: &[&str], push: &[&str], expected: (Option<u64>, bool, bool)| {
        let world = world();
        let daemon = world.willing_daemon();
        world.git(".", &["init", "--quiet", "copy"]);
        world.git("copy", &["config", "gitback.pushWait", "1500ms"]);
        world.git("copy", &["fetch", "--quiet", NOTES, "main"]);
        let push = [options, push, &[NOTES, "FETCH_HEAD:refs/heads/topic"]].concat();
        world.git("copy", &push);
        let requests = daemon.requests();
        let Some(Request::Open {
            push_wait_ms,
            quiet,
            progress,
            ..
        }) = requests.last()
        else {
            panic!("{requests:?}");
        };
        assert_eq!((*push_wait_ms, *quiet, *progress), expected, "{push:?}");
    };
    check(&[], &["push"], (Some(1500), false, false));
    check(&[], &["push", "--quiet"], (Some(1500), true, false));
    check(&[], &["push", "--progress"], (Some(1500), false, true));
    check(
        &["-c", "gitback.pushWait=3s"],
        &["push"],
        (Some(3000), false, false),
    );
}

#[test]
fn a_push_without_configuration_leaves_the_wait_to_the_envoy() {
    let world = world();
    let daemon = world.willing_daemon();
    world.git("origin", &["push", "--quiet", NOTES, "main:topic"]);
    let requests = daemon.requests();
    assert!(
        matches!(
            &requests[..],
            [Request::Open {
                push_wait_ms: None,
                ..
            }]
        ),
        "{requests:?}"
    );
}

#[test]
fn what_the_daemon_does_meanwhile_is_shown_unless_quiet() {
    let world = world();
    let _daemon = world.daemon(|_request| {
        vec![
            Reply::Progress {
                text: "asking venus\u{1b}[2J".to_owned(),
            },
            Reply::Ready,
        ]
    });
    let loud = world.try_git("origin", &["fetch", NOTES]);
    assert!(
        String::from_utf8_lossy(&loud.stderr).contains("asking venus?[2J\n"),
        "{loud:?}"
    );
    let silent = world.try_git("origin", &["fetch", "--quiet", NOTES]);
    assert!(
        silent.status.success() && silent.stderr.is_empty(),
        "{silent:?}"
    );
}

/// The daemon answers only once the user has read that it takes longer.
#[test]
fn a_slow_daemon_is_spoken_of_while_it_works() {
    let world = world();
    let (release, released) = channel();
    let released = Mutex::new(released);
    let _daemon = world.daemon(move |_request| {
        let released = released.lock().expect("no panic");
        released.recv().expect("the test lets it go on");
        vec![Reply::Ready]
    });
    let mut git = world
        .command("git")
        .current_dir(world.path("origin"))
        .args(["fetch", NOTES])
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut line = String::new();
    let mut errors = BufReader::new(git.stderr.take().expect("a pipe"));
    errors.read_line(&mut line).expect("text");
    release.send(()).expect("the daemon waits");

    assert_eq!(line, "waiting for the gitback daemon of this machine\n");
    assert!(git.wait().expect("it ends").success());
}
