//! `git push` against a session.

use std::fs;
use std::io::{Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;

use gitback_pack::receive::{OPTIONS_MAX, Session};
use gitback_pack::{Oid, Reject, valid_ref_name};

use crate::support::{World, git, stderr};

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// What a session makes of a client that sends `bytes` and hangs up.
fn request(world: &World, bytes: &str) -> Result<Option<gitback_pack::receive::Request>, Reject> {
    let mut session = Session::advertise(
        &world.repository,
        Cursor::new(bytes.to_owned()),
        Vec::new(),
        "test/1",
    )?;
    session.request()
}

#[test]
fn stores_what_is_pushed_and_shows_messages() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let (output, request) = world.push(&clone, &["main"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("remote: success: 2 of 2 envoys hold it"),
        "{}",
        stderr(&output)
    );
    let request = request.expect("a request");
    assert!(!request.atomic && request.options.is_empty());
    assert_eq!(world.get("refs/heads/main"), Some(clone.oid("main")));
    git(world.path(), &["fsck", "--strict", "--no-dangling"]);

    clone.commit("second", "more\n");
    let (output, _) = world.push(&clone, &["main"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.get("refs/heads/main"), Some(clone.oid("main")));
    assert!(world.files("pack-").iter().all(|path| {
        let mode = path.metadata().expect("there").permissions().mode();
        mode & 0o777 == 0o444
    }));
    assert!(world.files("tmp_objdir").is_empty());
    assert!(
        fs::read_dir(world.path().join("gitback-spool"))
            .expect("there")
            .next()
            .is_none()
    );
}

#[test]
fn takes_nothing_when_the_client_is_up_to_date() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    world.seed(&clone);
    let (output, request) = world.push(&clone, &["main"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("Everything up-to-date"),
        "{}",
        stderr(&output)
    );
    assert_eq!(request, None);
}

#[test]
fn deletes_without_a_pack_and_creates_without_objects() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    let (output, _) = world.push(&clone, &["main:refs/heads/other", "main:refs/tags/v1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.get("refs/heads/other"), Some(head));
    assert_eq!(world.files(".pack").len(), 1, "an empty pack is not kept");

    let (output, request) = world.push(&clone, &[":refs/heads/other", ":refs/tags/v1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!request.expect("a request").has_pack());
    assert_eq!(world.get("refs/heads/other"), None);
    assert_eq!(world.get("refs/heads/main"), Some(head));
}

#[test]
fn passes_on_atomic_options_and_quiet() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let (output, request) = world.push(
        &clone,
        &[
            "--atomic",
            "--quiet",
            "-ogitback.wait=all",
            "-osecond",
            "main",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let request = request.expect("a request");
    assert!(request.atomic && request.quiet);
    assert_eq!(
        request.options,
        [b"gitback.wait=all".to_vec(), b"second".to_vec()]
    );
}

#[test]
fn shows_the_reason_beside_the_ref() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    world.seed(&clone);
    let (output, _) = world.push(
        &clone,
        &["main:refs/heads/main/below", "main:refs/heads/fine"],
    );
    assert!(!output.status.success());
    let reason = "(refs/heads/main/below cannot be beside refs/heads/main)";
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    assert!(world.get("refs/heads/fine").is_some());
}

#[test]
fn tells_the_client_why_a_bad_object_is_refused() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let blob = clone.oid("HEAD:file");
    let entry = [b"100644 .git\0".as_slice(), blob.as_slice()].concat();
    let tree = clone.object("tree", &entry);
    let commit = clone.git(&["commit-tree", "-m", "bad", &tree.to_string()]);
    let (output, _) = world.push(&clone, &[&format!("{commit}:refs/heads/bad")]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("hasDotgit"), "{}", stderr(&output));
    assert!(world.files(".pack").is_empty() && world.files("tmp_objdir").is_empty());
}

#[test]
fn accepts_the_same_push_after_a_crash_between_objects_and_refs() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    world
        .store(&clone.pack(&["main"], &[]), &[clone.oid("main")])
        .expect("a good pack");
    let World { home, repository } = world;
    let path = repository.path().to_owned();
    drop(repository);
    let (repository, _) = gitback_pack::Repository::open(&path).expect("a repository");
    let world = World { home, repository };
    assert_eq!(world.get("refs/heads/main"), None);
    let (output, _) = world.push(&clone, &["main"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.get("refs/heads/main"), Some(clone.oid("main")));
    git(world.path(), &["fsck", "--strict"]);
}

#[test]
fn keeps_reserved_refs_through_a_mirror_push() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    for name in [
        "refs/gitback/kept/1",
        "refs/envoys/aa/heads/main@bb",
        "refs/heads/old",
    ] {
        world.set(name, head);
    }
    let (output, _) = world.push(&clone, &["--mirror"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        world.get("refs/gitback/kept/1").is_some()
            && world.get("refs/envoys/aa/heads/main@bb").is_some()
    );
    assert_eq!(world.get("refs/heads/old"), None);
}

#[test]
fn shows_hidden_refs_as_objects_that_are_here() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = clone.oid("HEAD");
    let second = clone.commit("second", "2\n");
    world
        .store(&clone.pack(&["HEAD"], &[]), &[second])
        .expect("a good pack");
    world.set("refs/gitback/kept", second);
    world.set("refs/heads/main", first);
    let mut greeting = Vec::new();
    Session::advertise(&world.repository, Cursor::new(""), &mut greeting, "test/1")
        .expect("a greeting");
    let greeting = String::from_utf8(greeting).expect("text");
    assert!(
        greeting.contains(&format!("{first} refs/heads/main\0report-status ")),
        "{greeting}"
    );
    assert!(
        greeting.ends_with(&format!("{second} .have\n0000")),
        "{greeting}"
    );
    assert!(!greeting.contains("refs/gitback"));

    let (output, _) = world.push(&clone, &["main"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.files(".pack").len(), 1, "nothing was sent again");
}

#[test]
fn refuses_shallow_clones_with_words() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    clone.commit("second", "2\n");
    let from = format!("file://{}", clone.path.display());
    git(
        world.home.path(),
        &["clone", "-q", "--depth=1", &from, "shallow"],
    );
    let shallow = crate::support::Clone {
        path: world.home.path().join("shallow"),
    };
    let served = world.path().to_str().expect("UTF-8");
    let (output, refused) =
        world.converse(&shallow.path, "push", &[served, "main"], |input, output| {
            let mut session =
                Session::advertise(&world.repository, input, output, "test/1").expect("a client");
            let refused = session.request().expect_err("shallow");
            session
                .fail(&refused.to_string())
                .expect("the client listens");
            refused
        });
    assert!(matches!(refused, Reject::Shallow));
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("run git fetch --unshallow first"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn whoever_pushes_nothing_is_heard_to_the_end() {
    let world = World::new();
    // git sends its options after a list of commands that is empty.
    let mut options = Cursor::new(format!("{}0000", line("gitback.wait=0")));
    let input = Cursor::new("0000").chain(&mut options);
    let session = Session::advertise(&world.repository, input, Vec::new(), "test/1");
    let request = session.expect("a greeting").request();
    assert!(matches!(request, Ok(None)), "{request:?}");
    assert_eq!(options.position(), options.get_ref().len() as u64);
}

#[test]
fn hears_a_client_that_hangs_up() {
    let world = World::new();
    let (old, new) = ("0".repeat(40), "1".repeat(40));
    let command = line(&format!("{old} {new} refs/heads/a\0 report-status\n"));
    assert!(matches!(request(&world, ""), Ok(None)));
    assert!(matches!(request(&world, "0000"), Ok(None)));
    assert!(matches!(request(&world, &command), Err(Reject::Broken(_))));
    assert!(matches!(
        request(&world, &command[..20]),
        Err(Reject::Broken(_))
    ));
    let whole = request(&world, &format!("{command}0000"))
        .expect("a request")
        .expect("a command");
    assert_eq!(
        whole.commands[0].new,
        Oid::from_hex(new.as_bytes()).expect("an id")
    );
}

#[test]
fn rejects_what_is_not_a_push() {
    let world = World::new();
    let (old, new) = ("0".repeat(40), "1".repeat(40));
    let twice = line(&format!("{old} {new} refs/heads/a\0 report-status\n"))
        + &line(&format!("{old} {new} refs/heads/a"));
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "0009hello",
        "0001",
        "000anonsen",
        &format!("{twice}0000"),
    ] {
        assert!(
            matches!(request(&world, bytes), Err(Reject::Malformed { .. })),
            "{bytes}"
        );
    }
    let options: String = (0..=OPTIONS_MAX).map(|n| line(&format!("o{n}"))).collect();
    let many =
        line(&format!("{old} {new} refs/heads/a\0push-options")) + "0000" + &options + "0000";
    assert!(matches!(
        request(&world, &many),
        Err(Reject::TooMany { .. })
    ));
}

#[test]
fn judges_names_as_git_and_the_file_system_do() {
    for name in [
        "refs/heads/main",
        "refs/heads/ä/b",
        "refs/tags/v1.0",
        "refs/x/y",
    ] {
        assert!(valid_ref_name(name.as_bytes()), "{name}");
    }
    let long = format!("refs/heads/{}", "a".repeat(251));
    for name in [
        "HEAD",
        "refs/heads",
        "refs/heads/",
        "refs/heads/a..b",
        "refs/heads/a.lock",
        "refs/heads//a",
    ] {
        assert!(!valid_ref_name(name.as_bytes()), "{name}");
    }
    for name in [
        "refs/heads/a b",
        "refs/../x/y",
        "refs/heads/.a",
        "refs/heads/a\n",
        "heads/a/b",
        &long,
    ] {
        assert!(!valid_ref_name(name.as_bytes()), "{name}");
    }
}

#[test]
fn runs_nothing_that_was_planted_in_the_repository() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let marker = world.home.path().join("ran");
    let script = format!("#!/bin/sh\ntouch '{}'\n", marker.display());
    fs::create_dir_all(world.path().join("hooks")).expect("a directory");
    for hook in [
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
        "program",
    ] {
        let path = world.path().join("hooks").join(hook);
        fs::write(&path, &script).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let program = world.path().join("hooks/program");
    let config = format!(
        "[core]\n\trepositoryformatversion=0\n\tbare=true\n\talternateRefsCommand={0}\n\tfsmonitor={0}\n\tsshCommand={0}\n\
         [uploadpack]\n\tpackObjectsHook={0}\n[gc]\n\tauto=1\n",
        program.display()
    );
    fs::write(world.path().join("config"), config).expect("a file");
    let (output, _) = world.push(&clone, &["main"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let served = world.path().to_str().expect("UTF-8");
    let (output, served_well) = world.converse(
        world.home.path(),
        "clone",
        &["--no-local", served, "copy"],
        |mut input, output| {
            let served = world.repository.upload_pack(&mut input, output, None);
            let mut rest = Vec::new();
            input.read_to_end(&mut rest).expect("readable");
            served
        },
    );
    assert!(output.status.success(), "{}", stderr(&output));
    served_well.expect("served");
    assert!(!marker.exists());
}
