use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Output, Stdio};

use gitback_helper::{Failure, Reply, exit_code};

use crate::world::{NOTES, PROGRAM, World};

/// Runs the program as git would, with these commands.
fn talk(world: &World, arguments: &[&str], commands: &[u8]) -> Output {
    let mut program = world
        .command(PROGRAM)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut input = program.stdin.take().expect("a pipe");
    // It may have seen enough already.
    let _ = input.write_all(commands);
    drop(input);
    program.wait_with_output().expect("it ends")
}

#[test]
fn each_bad_address_has_its_own_words() {
    let check = |url: &str, why: &str, hint: &str| {
        let world = World::new();
        // Straight to the program: git has its own opinion of some of these.
        let output = talk(&world, &["origin", url], b"connect git-upload-pack\n");
        assert_eq!(output.status.code(), Some(128), "{url}");
        let quoted: String = url.escape_debug().take(80).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            errors.starts_with(&format!("error: \"{quoted}")),
            "{errors}"
        );
        assert!(
            errors.ends_with(&format!(
                " is not a gitback address\nwhy:   {why}\nhint:  {hint}\n"
            )),
            "{errors}"
        );
        assert_eq!(errors.lines().count(), 3, "{errors}");
        assert!(output.stdout.is_empty(), "{output:?}");
    };
    let form = "an address is gitback://<puddle>/<handle> or gitback://<project id>/<handle>";
    let part = "leave that part out";
    check(
        "gitback://dan/notes/",
        "the address has a path below the handle",
        "did you mean gitback://dan/notes?",
    );
    check("-oProxyCommand=x", "the address begins with a hyphen", form);
    check(
        "gitback://-x/notes",
        "the address begins with a hyphen",
        form,
    );
    check(
        "gitback://dan/no\ntes",
        "the address contains a control character",
        form,
    );
    check(
        "gitback://dan/\u{1b}[2J",
        "the address contains a control character",
        form,
    );
    check(
        "gitback://dan/nötes",
        "the address contains a character that is not ASCII",
        form,
    );
    check(
        "gitback://dan/my notes",
        "the address contains a space",
        form,
    );
    check(
        "gitback://dan/../notes",
        "the address contains two dots in a row",
        form,
    );
    check(
        "http://dan/notes",
        "the address does not begin with gitback://",
        form,
    );
    check(
        "gitback://dan\\notes",
        "the address contains a backslash",
        form,
    );
    check(
        "gitback://me@dan/notes",
        "the address names a user, which gitback addresses do not have",
        part,
    );
    check(
        "gitback://dan:22/notes",
        "the address names a port, which gitback addresses do not have",
        part,
    );
    check(
        "gitback://dan/notes?x=1",
        "the address has a query, which gitback addresses do not have",
        part,
    );
    check(
        "gitback://dan/notes#x",
        "the address has a fragment, which gitback addresses do not have",
        part,
    );
    check(
        "gitback://dan/n%6ftes",
        "the address has a percent escape, which gitback addresses do not have",
        part,
    );
    check(
        "gitback:///notes",
        "the address names no project or puddle",
        form,
    );
    check(
        "gitback://dan",
        "the address names no handle",
        "add the project's handle: gitback://…/<handle>",
    );
    check(
        "gitback://dan/",
        "the address names no handle",
        "add the project's handle: gitback://…/<handle>",
    );
    check(
        "gitback://dan/notes/x",
        "the address has a path below the handle",
        "leave out everything after the handle",
    );
    check(
        &format!("gitback://{}/notes", "AB".repeat(32)),
        "a project id is written in lowercase digits",
        "write the project id in lowercase",
    );
    check(
        "gitback://Dan/notes",
        "the address names neither a project id nor a puddle: a puddle name begins with a lowercase letter",
        form,
    );
    check(
        "gitback://dan/notes.git",
        "the address names a malformed handle: a handle cannot end in .git",
        "did you mean gitback://dan/notes?",
    );
    check(
        &format!("gitback://dan/{}", "x".repeat(300)),
        "the address is longer than 256 characters",
        form,
    );
}

#[test]
fn a_damaged_puddle_is_not_taken_for_none() {
    let world = World::new();
    fs::write(world.puddle_dir().join("identity.pub"), "{").expect("our file");
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert!(
        errors.starts_with("error: cannot read your puddle\nwhy:   "),
        "{errors}"
    );
    assert!(
        errors.ends_with("hint:  vigo swarm puddle status\n"),
        "{errors}"
    );
}

#[test]
fn a_daemon_that_is_not_running_is_said_to_be_so() {
    let world = World::new();
    let socket = world.helper_socket();
    let expected = format!(
        "error: the daemon is not answering on {}\n\
         why:   nothing listens there\n\
         hint:  start it: vigo up\n",
        socket.display()
    );
    assert_eq!(world.git_fails(".", &["ls-remote", NOTES]), expected);

    // The same when a crash has left its socket.
    fs::create_dir_all(socket.parent().expect("a directory")).expect("room");
    drop(UnixListener::bind(&socket).expect("the path is free"));
    assert_eq!(world.git_fails(".", &["ls-remote", NOTES]), expected);
}

#[test]
fn a_socket_path_too_long_names_the_remedy() {
    let world = World::new();
    let long = world.root().join("d".repeat(100));
    fs::create_dir_all(long.join("home")).expect("room");
    fs::rename(world.puddle_dir(), long.join("home/.vigo-puddle")).expect("room");
    let output = world
        .command("git")
        .args(["ls-remote", NOTES])
        .env("VIGO_ROOT", &long)
        .output()
        .expect("git is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(128));
    assert!(
        errors.starts_with("error: cannot reach the daemon: the socket path "),
        "{errors}"
    );
    assert!(
        errors.contains("choose a shorter directory with --root\n"),
        "{errors}"
    );
}

#[test]
fn what_the_daemon_refuses_is_passed_on_without_its_control_characters() {
    let world = World::new();
    let _daemon = world.daemon(|_request| {
        vec![Reply::Failed(Failure {
            code: exit_code::NOT_PERMITTED,
            what: "only members can push; \u{1b}[31mdan left".to_owned(),
            why: Some("the founder\r is venus".to_owned()),
            hints: vec!["ask alice".to_owned(), "or bob".to_owned()],
        })]
    });
    assert_eq!(
        world.git_fails(".", &["ls-remote", NOTES]),
        "error: only members can push; ?[31mdan left\n\
         why:   the founder? is venus\n\
         hint:  ask alice\n\
         hint:  or bob\n"
    );
}

#[test]
fn a_refusal_is_told_also_when_silence_is_asked_for() {
    let world = World::new();
    let errors = world.git_fails(".", &["clone", "--quiet", NOTES]);
    assert!(
        errors.starts_with("error: the daemon is not answering"),
        "{errors}"
    );
}

#[test]
fn a_daemon_that_hangs_up_is_said_to() {
    let world = World::new();
    let _daemon = world.daemon(|_request| vec![]);
    assert_eq!(
        world.git_fails(".", &["ls-remote", NOTES]),
        format!(
            "error: the daemon on {} gave no answer\n\
             why:   cannot read the daemon's answer: the connection was closed\n\
             hint:  vigo envoy status\n",
            world.helper_socket().display()
        )
    );
}

#[test]
fn an_answer_to_another_question_is_not_taken() {
    let world = World::new();
    let _daemon = world.daemon(|_request| vec![Reply::Projects(vec![])]);
    assert_eq!(
        world.git_fails(".", &["ls-remote", NOTES]),
        "error: the daemon's answer does not fit the question\n\
         why:   it answered projects\n\
         hint:  use one version of vigo and git-remote-gitback, and start the daemon again\n"
    );
}

#[test]
fn a_bad_push_wait_stops_a_push_and_no_fetch() {
    let world = World::new();
    world.make_repository();
    let daemon = world.willing_daemon();
    world.git("origin", &["config", "gitback.pushWait", "soon"]);
    assert_eq!(
        world.git_fails("origin", &["push", NOTES, "main"]),
        "error: gitback.pushWait is \"soon\", which is no waiting time\n\
         why:   it is a number of milliseconds, or a number with ms, s or m; at most 10m\n\
         hint:  git config gitback.pushWait 3s\n"
    );
    assert!(daemon.requests().is_empty());
    world.git("origin", &["fetch", "--quiet", NOTES]);
}

#[test]
fn other_commands_are_refused() {
    let world = World::new();
    let check = |commands: &[u8], errors: &str, output: &[u8]| {
        let found = talk(&world, &["origin", NOTES], commands);
        assert_eq!(String::from_utf8_lossy(&found.stderr), errors);
        assert_eq!(found.stdout, output);
        assert_eq!(
            found.status.code(),
            Some(if errors.is_empty() { 0 } else { 128 })
        );
    };
    check(b"", "", b"");
    check(b"\n", "", b"");
    check(
        b"capabilities\noption verbosity 1\noption progress true\noption depth 3\n\n",
        "",
        b"connect\noption\n\nok\nok\nunsupported\n",
    );
    check(b"connect git-upload-archive\n\n", "", b"fallback\n");
    check(
        b"list for-push\n",
        "error: git asked for \"list for-push\", which this helper does not do\n\
         why:   it offers connect and option, which every git since 1.7 uses\n\
         hint:  git --version\n",
        b"",
    );
    check(
        &[b"option ".as_slice(), &[b'x'; 9000], b"\n"].concat(),
        "error: git sent a command longer than 8192 bytes\n",
        b"",
    );
    check(
        b"capabili",
        "error: git ended in the middle of a command\n",
        b"",
    );
}

#[test]
fn a_wrong_command_line_is_said_to_be_one() {
    let world = World::new();
    for arguments in [&[][..], &["origin"], &["origin", NOTES, "more"]] {
        let output = talk(&world, arguments, b"capabilities\n\n");
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "error: git-remote-gitback takes a remote and a URL\n\
             why:   git starts it; it is not meant to be started by hand\n\
             hint:  git clone gitback://<your puddle>/<handle>\n"
        );
    }
}

#[test]
fn an_archive_is_not_offered_and_git_says_so() {
    let world = World::new();
    let output = world.try_git(".", &["archive", &format!("--remote={NOTES}"), "HEAD"]);
    assert_eq!(output.status.code(), Some(128), "{output:?}");
}
