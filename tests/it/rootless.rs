//! A daemon of one's own, without `--root` and without root.

use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gitback_tests::{Binaries, Fleet, Invocation, Outcome, Shape, Talk};

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

/// An ordinary user with a home of their own: nobody when we are root, else whoever we are.
struct User {
    /// Where the files go and what removes them; its own envoy is not started.
    fleet: Fleet,
    home: PathBuf,
    programs: Binaries,
    root: bool,
}

impl User {
    fn at_home() -> Self {
        let fleet = Fleet::prepare(crate::world::options(1)).expect("a directory");
        let programs = binaries()
            .copied_to(&fleet.dir().join("bin"))
            .expect("programs for all");
        let home = fleet.dir().join("user");
        for dir in ["run", "data", "config/vigo", "tmp"] {
            std::fs::create_dir_all(home.join(dir)).expect("directories");
        }
        let listen = fleet.envoy(0).address();
        let config = format!("name = \"mars\"\nlisten = \"{listen}\"\nmin_free_percent = 0\n");
        std::fs::write(home.join("config/vigo/envoy.toml"), config).expect("a configuration");
        std::fs::write(home.join("passphrase"), "correct horse battery staple\n")
            .expect("a passphrase");
        Shape::SMALL
            .write(&fleet.outside(), &home.join("notes"))
            .expect("a history");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(home.join("run"), private).expect("a private place");
        let root = rustix::process::geteuid().is_root();
        if root {
            let owner = format!("{NOBODY}:{NOBODY}");
            done(
                fleet
                    .outside()
                    .any("chown", ["-R".as_ref(), owner.as_ref(), home.as_os_str()]),
            );
        }
        Self {
            fleet,
            home,
            programs,
            root,
        }
    }

    fn vigo(&self) -> String {
        self.programs.vigo().to_string_lossy().into_owned()
    }

    /// A command in the user's repository; nothing when we may not become that user.
    fn types(&self, program: &str, args: &[&str]) -> Option<Invocation> {
        let mut path = self.programs.dir().as_os_str().to_owned();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        let command = Invocation::new(program, args)
            .cwd(self.home.join("notes"))
            .env("PATH", path)
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .env("XDG_DATA_HOME", self.home.join("data"))
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("TMPDIR", self.home.join("tmp"))
            .env("GIT_CONFIG_GLOBAL", self.fleet.dir().join("gitconfig"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        if self.root {
            as_nobody(command)
        } else {
            Some(command)
        }
    }

    fn does(&self, program: &str, args: &[&str]) -> Outcome {
        done(
            self.types(program, args)
                .expect("the daemon could be started as this user"),
        )
    }

    /// Starts the daemon and waits until it is ready; nothing when we may not become that user.
    fn daemon(&self) -> Option<Talk> {
        let run = self.types(
            "/bin/sh",
            &["-c", "exec \"$0\" envoy run 2>&1", &self.vigo()],
        )?;
        let mut daemon = run.talk().expect("the daemon starts");
        let mut said = String::new();
        while !said.contains("ready on") {
            let read = daemon.output().read_line(&mut said).expect("text");
            assert!(read > 0, "the daemon ended: {said}");
        }
        Some(daemon)
    }
}

#[test]
fn an_ordinary_user_runs_a_daemon_of_their_own() {
    if Path::new("/var/run/vigo/gitback.sock").exists() {
        return skip("a daemon of root runs on this machine, and users go there");
    }
    let user = User::at_home();
    let Some(_daemon) = user.daemon() else { return };
    let vigo = user.vigo();
    let passphrase = user.home.join("passphrase").to_string_lossy().into_owned();
    let init = [
        "swarm",
        "puddle",
        "init",
        "--name",
        "dan",
        "--passphrase-file",
        &passphrase,
    ];
    user.does(&vigo, &init);
    user.does(
        &vigo,
        &["swarm", "gitback", "project", "init", "notes", "--no-push"],
    );
    let pushed = user.does("git", &["push", "gitback", "main"]);
    says(
        &pushed.stderr,
        &["success: stored on mars", "THE ONLY COPY"],
    );
    user.does(
        "git",
        &["clone", "--quiet", "gitback://dan/notes", "../clone"],
    );
    says(
        &user.does(&vigo, &["envoy", "status", "--json"]).stdout,
        &["\"user\""],
    );
    assert!(user.home.join("data/vigo/swarm/gitback/projects").exists());
    if user.root {
        // Whose daemon it is: root may ask it, another user may not.
        let ids = [
            "--reuid",
            "65533",
            "--regid",
            "65533",
            "--clear-groups",
            "--",
        ];
        let other = Invocation::new(&vigo, ["envoy", "status"]).under("/usr/bin/setpriv", ids);
        let other = other
            .env("HOME", "/nonexistent")
            .env("XDG_RUNTIME_DIR", user.home.join("run"));
        says(&fails(other, 12), &["error: "]);
    }
    user.does(&vigo, &["swarm", "puddle", "lock"]);
}

#[test]
fn an_ordinary_user_is_up_by_one_command() {
    if Path::new("/var/run/vigo/gitback.sock").exists() {
        return skip("a daemon of root runs on this machine, and users go there");
    }
    let user = Up(User::at_home());
    let vigo = user.0.vigo();
    let Some(up) = user.0.types(&vigo, &["up", "--no-service"]) else {
        return;
    };
    says(
        &done(up).stdout,
        &["Envoy mars runs", "data/vigo/envoy.log"],
    );
    let status = user.0.does(&vigo, &["envoy", "status", "--json"]);
    says(&status.stdout, &["\"user\""]);
    let down = user.0.does(&vigo, &["down"]);
    says(&down.stdout, &["Envoy mars has ended"]);
}

/// A user whose daemon ends with the test, however that ends.
struct Up(User);

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(down) = self.0.types(&self.0.vigo(), &["down"]) {
            let _ = down.run();
        }
    }
}
