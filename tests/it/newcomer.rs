//! Three fresh machines and somebody who types what the README says, on a network of their own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Invocation, Net, Outcome, Shape, Terminal};

use crate::world::{binaries, done, options, says};

/// What the person chooses as a passphrase.
const PASSPHRASE: &str = "correct horse battery staple";

/// The question of `init` and `join` on a machine without an envoy.
const START_ONE: &str = "Start one? [Y/n]";

/// Machines on one network, on which nothing of gitback has ever run.
struct Newcomer {
    /// Where the files are, and who has the programs on their path; none of its envoys is started.
    fleet: Fleet,
    net: Net,
}

const MACHINES: [&str; 3] = ["mars", "venus", "titan"];

impl Newcomer {
    fn with_three_machines() -> Option<Self> {
        if let Err(why) = Net::possible() {
            let _ = writeln!(std::io::stderr(), "skipped: {why}");
            return None;
        }
        let fleet = Fleet::prepare(options(1)).expect("a directory");
        let net = Net::new(MACHINES.len()).expect("a network");
        let newcomer = Self { fleet, net };
        for name in MACHINES {
            let config = newcomer.root(name).join("etc/vigo");
            fs::create_dir_all(newcomer.root(name).join("home")).expect("a home");
            fs::create_dir_all(&config).expect("a directory");
            // The disk is shared with whatever else this machine does; so is its processor.
            let settings =
                format!("name = \"{name}\"\nmin_free_percent = 0\npush_wait_ms = 60000\n");
            fs::write(config.join("envoy.toml"), settings).expect("settings");
        }
        Some(newcomer)
    }

    fn root(&self, name: &str) -> PathBuf {
        self.fleet.dir().join("machines").join(name)
    }

    /// A command as it is typed at a machine.
    fn at(&self, name: &str, program: &str, words: &[&str]) -> Invocation {
        let index = MACHINES.iter().position(|one| *one == name);
        let root = self.root(name);
        let command = self.fleet.person(0).any(program, words);
        let command = command
            .env("VIGO_ROOT", &root)
            .env("HOME", root.join("home"))
            .env("USER", "dan")
            .cwd(root.join("home"));
        self.net
            .command(index.expect("one of the machines"), command)
    }

    fn vigo(&self, name: &str, line: &str) -> Invocation {
        let program = binaries().vigo();
        let words: Vec<&str> = line.split(' ').collect();
        self.at(name, &program.to_string_lossy(), &words)
    }

    fn types(&self, name: &str, line: &str) -> Terminal {
        Terminal::start(&self.vigo(name, line)).expect("a terminal")
    }

    /// `vigo swarm puddle pair` there, and `vigo swarm puddle join` here.
    fn pairs(&self, there: &str, here: &str) {
        let mut host = self.types(there, "swarm puddle pair");
        let code = host.sees_line("enter this code:").expect("a code");
        let mut guest = self.types(here, "swarm puddle join");
        guest.sees(START_ONE).expect("asked for an envoy");
        guest.types("").expect("typed");
        guest.sees("Code: ").expect("asked for the code");
        guest.types(&code).expect("typed");
        host.sees(here).expect("who asks");
        host.sees("[y/N]").expect("asked whether to let it in");
        host.types("y").expect("typed");
        guest.sees("Passphrase for dan:").expect("asked to unlock");
        guest.types(PASSPHRASE).expect("typed");
        let said = guest.ends(0).expect("joined");
        says(&said, &["Joined dan"]);
        says(&host.ends(0).expect("paired"), &[here]);
    }

    fn clones(&self, name: &str) -> PathBuf {
        done(self.at(name, "git", &["clone", "--quiet", "gitback://dan/notes"]));
        self.root(name).join("home/notes")
    }

    fn head(&self, name: &str, work: &Path) -> String {
        let asked = self.at(name, "git", &["rev-parse", "HEAD"]).cwd(work);
        done(asked).stdout
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        for name in MACHINES {
            let _ = self.vigo(name, "swarm puddle lock").run();
            let _ = self.vigo(name, "down").run();
        }
    }
}

#[test]
fn from_nothing_to_three_machines_in_the_commands_of_the_readme() {
    let Some(dan) = Newcomer::with_three_machines() else {
        return;
    };
    let mut init = dan.types("mars", "swarm puddle init");
    init.sees("Name people will type")
        .expect("asked for a name");
    init.types("dan").expect("typed");
    init.sees("Passphrase:").expect("asked for a passphrase");
    init.types(PASSPHRASE).expect("typed");
    init.sees("Again:").expect("asked again");
    init.types(PASSPHRASE).expect("typed");
    init.sees(START_ONE).expect("asked for an envoy");
    init.types("").expect("typed");
    says(
        &init.ends(0).expect("made"),
        &["Created puddle dan", "Envoy mars runs"],
    );

    let work = dan.root("mars").join("home/notes");
    Shape::SMALL
        .write(dan.fleet.person(0), &work)
        .expect("a history");
    let founded = done(dan.vigo("mars", "swarm gitback project init").cwd(&work));
    says(&founded.stderr, &["stored on mars"]);
    done(
        dan.at("mars", "git", &["push", "gitback", "main"])
            .cwd(&work),
    );

    dan.pairs("mars", "venus");
    dan.pairs("mars", "titan");
    let head = dan.head("mars", &work);
    for name in ["venus", "titan"] {
        let clone = dan.clones(name);
        assert_eq!(dan.head(name, &clone), head, "{name}");
    }

    // From now on every push is on all three.
    let commit = ["commit", "--quiet", "--allow-empty", "-m", "one more"];
    done(dan.at("mars", "git", &commit).cwd(&work));
    let pushed: Outcome = done(
        dan.at("mars", "git", &["push", "gitback", "main"])
            .cwd(&work),
    );
    says(&pushed.stderr, &["replicated to 3 of 3 envoys"]);

    // The machine on which it all began is lost.
    done(dan.vigo("mars", "down"));
    let again = dan.root("titan").join("home/again");
    let line = ["clone", "--quiet", "gitback://dan/notes", "again"];
    done(dan.at("titan", "git", &line));
    assert_eq!(dan.head("titan", &again), dan.head("mars", &work));
}
