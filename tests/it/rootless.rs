//! A daemon of one's own, without `--root` and without root.

use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gitback_tests::{Invocation, Shape};

use crate::world::{binaries, done, fails, says};

/// The user that Debian gives to those who own nothing.
const NOBODY: &str = "65534";

/// Runs a command as another, ordinary user; nothing, and a printed reason, when we may not.
pub(crate) fn as_nobody(command: Invocation) -> Option<Invocation> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can become another user");
        return None;
    }
    if !Path::new("/usr/bin/setpriv").exists() {
        skip("setpriv is not installed");
        return None;
    }
    Some(command.under(
        "/usr/bin/setpriv",
        ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"],
    ))
}

fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

#[test]
fn an_ordinary_user_runs_a_daemon_of_their_own() {
    if Path::new("/var/run/vigo/gitback.sock").exists() {
        return skip("a daemon of root runs on this machine, and users go there");
    }
    // A prepared fleet is where the files go and what removes them; its own envoy is not started.
    let fleet = gitback_tests::Fleet::prepare(crate::world::options(1)).expect("a directory");
    let home = fleet.dir().join("user");
    let programs = binaries()
        .copied_to(&fleet.dir().join("bin"))
        .expect("programs that anybody can run");
    let port = fleet.envoy(0).address();
    for dir in ["run", "data", "config/vigo", "tmp"] {
        std::fs::create_dir_all(home.join(dir)).expect("directories");
    }
    let config = format!("name = \"mars\"\nlisten = \"{port}\"\nmin_free_percent = 0\n");
    std::fs::write(home.join("config/vigo/envoy.toml"), config).expect("a configuration");
    let passphrase = home.join("passphrase");
    std::fs::write(&passphrase, "correct horse battery staple\n").expect("a passphrase");
    let work = home.join("notes");
    Shape::SMALL
        .write(&fleet.outside(), &work)
        .expect("a history");
    std::fs::set_permissions(home.join("run"), std::fs::Permissions::from_mode(0o700))
        .expect("a private place");
    let root = rustix::process::geteuid().is_root();
    if root {
        let owner = format!("{NOBODY}:{NOBODY}");
        done(
            fleet
                .outside()
                .any("chown", ["-R".as_ref(), owner.as_ref(), home.as_os_str()]),
        );
    }

    let user = |program: &str, args: &[&str]| -> Option<Invocation> {
        let mut path = programs.dir().as_os_str().to_owned();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        let command = Invocation::new(program, args)
            .cwd(&work)
            .env("PATH", path)
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("TMPDIR", home.join("tmp"))
            .env("GIT_CONFIG_GLOBAL", fleet.dir().join("gitconfig"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        if root {
            as_nobody(command)
        } else {
            Some(command)
        }
    };
    let vigo = programs.vigo().to_string_lossy().into_owned();
    let Some(daemon) = user("/bin/sh", &["-c", "exec \"$0\" envoy run 2>&1", &vigo]) else {
        return;
    };
    let mut daemon = daemon.talk().expect("the daemon starts");
    let mut said = String::new();
    while !said.contains("ready on") {
        let read = daemon.output().read_line(&mut said).expect("text");
        assert!(read > 0, "the daemon ended: {said}");
    }
    let passphrase = passphrase.to_string_lossy().into_owned();
    let run = |program: &str, args: &[&str]| done(user(program, args).expect("as above"));
    run(
        &vigo,
        &[
            "swarm",
            "puddle",
            "init",
            "--name",
            "dan",
            "--passphrase-file",
            &passphrase,
        ],
    );
    run(
        &vigo,
        &[
            "swarm",
            "puddle",
            "unlock",
            "--passphrase-file",
            &passphrase,
        ],
    );
    run(
        &vigo,
        &["swarm", "gitback", "project", "init", "notes", "--no-push"],
    );
    says(
        &run("git", &["push", "gitback", "main"]).stderr,
        &["success: stored on mars", "THE ONLY COPY"],
    );
    run(
        "git",
        &["clone", "--quiet", "gitback://dan/notes", "../clone"],
    );
    says(
        &run(&vigo, &["envoy", "status", "--json"]).stdout,
        &["\"user\""],
    );
    assert!(home.join("data/vigo/swarm/gitback/projects").exists());
    if root {
        // Whose daemon it is: root may ask it, another user may not.
        let other = Invocation::new(&vigo, ["envoy", "status"]).under(
            "/usr/bin/setpriv",
            [
                "--reuid",
                "65533",
                "--regid",
                "65533",
                "--clear-groups",
                "--",
            ],
        );
        let other = other
            .env("HOME", "/nonexistent")
            .env("XDG_RUNTIME_DIR", home.join("run"));
        says(&fails(other, 12), &["error: "]);
    }
    run(&vigo, &["swarm", "puddle", "lock"]);
}
