//! What every test begins with: a fleet on a network of its own, a project that all hold, and a clone at each envoy.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitback_tests::{
    Account, Binaries, Breach, Fleet, Invocation, Net, Options, Outcome, Person, Refs, Shape,
};
use serde_json::Value;

use crate::chance::Chance;

/// The longest that anything may take that the fleet does by itself.
pub(crate) const SOON: Duration = Duration::from_secs(100);

/// Peers talk often, and a push does not wait long for those that are silent.
pub(crate) const SETTINGS: &str =
    "contact_interval_ms = 150\nmin_free_percent = 0\npush_wait_ms = 400\n";

/// How often a push is tried again after somebody else was faster.
const TRIES_MAX: usize = 8;

pub(crate) const NOTES: &str = "gitback://dan/notes";

/// A fleet whose people push, and an account of what they were told.
pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) account: Account,
    pub(crate) chance: Chance,
}

/// So many envoys, or nothing and a printed reason.
pub(crate) fn world(envoys: usize) -> Option<World> {
    world_of(envoys, |options| options)
}

/// So many envoys with other options, or nothing and a printed reason.
pub(crate) fn world_of(envoys: usize, change: impl Fn(Options) -> Options) -> Option<World> {
    if let Err(why) = Net::possible() {
        skip(&why);
        return None;
    }
    let binaries = Binaries::of_tests().expect("vigo and git-remote-gitback are built");
    let options = Options::new(binaries).envoys(envoys).net();
    let options = change(options.settings(SETTINGS));
    let fleet = Fleet::start(options).expect("the fleet starts");
    let account = Account::of(&fleet);
    let mut world = World {
        fleet,
        account,
        chance: Chance::new(),
    };
    world.found();
    Some(world)
}

pub(crate) fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

impl World {
    fn found(&mut self) {
        self.fleet.make_puddle("dan").expect("dan's puddle");
        let work = self.fleet.dir().join("notes");
        let mars = self.fleet.person(0);
        Shape::SMALL.write(mars, &work).expect("a history");
        let init = ["swarm", "gitback", "project", "init", "notes", "--no-push"];
        done(mars.vigo(init).cwd(&work));
        let all = [
            "gitback",
            "refs/heads/*:refs/heads/*",
            "refs/tags/*:refs/tags/*",
        ];
        done(mars.git(&work, ["push", "--quiet"].iter().chain(&all)));
        self.settle();
        for index in 0..self.fleet.len() {
            let person = self.fleet.person(index);
            done(person.git(person.root(), ["clone", "--quiet", NOTES, "work"]));
        }
    }

    /// The person at envoy `index`, to be handed to a thread.
    pub(crate) fn at(&self, index: usize) -> Pusher<'_> {
        Pusher::new(self.fleet.person(index).clone(), &self.account)
    }

    pub(crate) fn net(&self) -> &Net {
        self.fleet.net()
    }

    /// Waits until all envoys show the same and each knows that all hold everything.
    #[track_caller]
    pub(crate) fn settle(&self) {
        let all: Vec<usize> = (0..self.fleet.len()).collect();
        self.settle_among(&all);
    }

    /// Waits until these envoys show the same; if they are all, until each knows that.
    #[track_caller]
    pub(crate) fn settle_among(&self, envoys: &[usize]) {
        let settled = gitback_tests::until(SOON, "the envoys agree", || {
            let mut first: Option<Seen> = None;
            for index in envoys {
                let status = status(self.fleet.person(*index))?;
                let name = self.fleet.envoy(*index).name();
                let known = status["copies"].as_u64().unwrap_or(0);
                if envoys.len() == self.fleet.len() && known < self.fleet.len() as u64 {
                    return Ok(Err(format!("{name} knows of {known} copies: {status:#}")));
                }
                let seen = Seen::of(&status);
                match &first {
                    Some(first) if *first != seen => {
                        return Ok(Err(format!("{first:#?}\nand {name}: {seen:#?}")));
                    }
                    _ => first = Some(seen),
                }
            }
            Ok(Ok(()))
        });
        settled.expect("the fleet gets there");
    }

    /// Waits until every envoy agrees, and expects every promise to have been kept.
    #[track_caller]
    pub(crate) fn judge(&self) {
        self.settle();
        let found = self
            .account
            .breaches(&self.fleet, "notes")
            .expect("evidence");
        let lines: Vec<String> = found.iter().map(Breach::to_string).collect();
        assert!(
            lines.is_empty(),
            "promises that were not kept:\n{}",
            lines.join("\n")
        );
        assert!(
            !self.account.told().is_empty(),
            "somebody was told something"
        );
    }

    /// Waits until an envoy serves this commit under this name. Its status may know of it before it has the objects.
    #[track_caller]
    pub(crate) fn wait_for_ref(&self, index: usize, name: &str, commit: &str) {
        let reached = gitback_tests::until(SOON, &format!("{name} at {commit}"), || {
            let served = self.served(index);
            let there = served.get(name).map(String::as_str) == Some(commit);
            Ok(if there {
                Ok(())
            } else {
                Err(format!("{served:#?}"))
            })
        });
        reached.expect("the fleet gets there");
    }

    /// What an envoy shows to plain git.
    #[track_caller]
    pub(crate) fn served(&self, index: usize) -> Refs {
        let person = self.fleet.person(index);
        let listed = done(person.git(person.root(), ["ls-remote", "--refs", NOTES]));
        let pair = |line: &str| {
            line.split_once('\t')
                .map(|(oid, name)| (name.to_owned(), oid.to_owned()))
        };
        listed.stdout.lines().filter_map(pair).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut said = self.chance.again();
        for envoy in self.fleet.envoys() {
            said.push_str(&format!("\n{}", envoy.log_tail()));
        }
        let _ = writeln!(std::io::stderr(), "{said}");
    }
}

/// What envoys that agree have in common.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    refs: Refs,
    head: Value,
    envelopes: Value,
}

impl Seen {
    fn of(status: &Value) -> Self {
        Self {
            refs: refs_of(status),
            head: status["head"].clone(),
            envelopes: status["envelopes"].clone(),
        }
    }
}

fn refs_of(status: &Value) -> Refs {
    let refs = status["ref_list"].as_array();
    let refs = refs.map(Vec::as_slice).unwrap_or_default().iter();
    let field = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    refs.map(|one| (field(one, "name"), field(one, "oid")))
        .collect()
}

/// The project as an envoy reports it; nothing while it has not heard of it.
fn status(person: &Person) -> anyhow::Result<Value> {
    let asked = person.vigo(["swarm", "gitback", "project", "status", "notes", "--json"]);
    Ok(serde_json::from_str(&asked.run()?.stdout).unwrap_or(Value::Null))
}

/// Somebody at one envoy with a clone of the project.
pub(crate) struct Pusher<'a> {
    pub(crate) person: Person,
    pub(crate) work: PathBuf,
    account: &'a Account,
}

impl<'a> Pusher<'a> {
    pub(crate) fn new(person: Person, account: &'a Account) -> Self {
        Self {
            work: person.root().join("work"),
            person,
            account,
        }
    }

    /// Runs git in the clone; it must succeed.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> Outcome {
        done(self.person.git(&self.work, args))
    }

    /// The commit that a name means in the clone.
    #[track_caller]
    pub(crate) fn commit_at(&self, name: &str) -> String {
        self.git(&["rev-parse", "--verify", name])
            .stdout
            .trim()
            .to_owned()
    }

    /// Commits a line to a file of one's own on the branch that is checked out, and returns the commit.
    #[track_caller]
    pub(crate) fn commit(&self, line: &str) -> String {
        let file = format!("{}.txt", self.person.envoy());
        let path = self.work.join(&file);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        write(&path, format!("{before}{line}\n").as_bytes());
        self.git(&["add", &file]);
        self.git(&["commit", "--quiet", "-m", line]);
        self.commit_at("HEAD")
    }

    /// Pushes and has noted what was said.
    #[track_caller]
    pub(crate) fn push(&self, args: &[&str]) -> Outcome {
        self.account
            .push(&self.person, &self.work, args)
            .expect("git runs")
    }

    /// Pushes; it must be taken.
    #[track_caller]
    pub(crate) fn pushes(&self, args: &[&str]) -> Outcome {
        self.push(args).success().expect("the push is taken")
    }

    /// Pushes the branch that is checked out; when somebody else was faster, merges what they did and tries again.
    /// Whether it was taken.
    #[track_caller]
    pub(crate) fn push_or_merge(&self) -> bool {
        for _ in 0..TRIES_MAX {
            let pushed = self.push(&["origin", "HEAD"]);
            if pushed.code == Some(0) {
                return true;
            }
            let said = format!("{}{}", pushed.stdout, pushed.stderr);
            if !["fetch first", "non-fast-forward", "stale"]
                .iter()
                .any(|word| said.contains(word))
            {
                return false;
            }
            if self
                .person
                .git(&self.work, PULL)
                .run()
                .expect("git runs")
                .code
                != Some(0)
            {
                return false;
            }
        }
        false
    }

    /// Merges every head that its envoy shows of the branch that is checked out, and pushes that: the ordinary end of
    /// a divergence.
    #[track_caller]
    pub(crate) fn join_all(&self) {
        self.git(&[
            "fetch",
            "--quiet",
            "origin",
            "+refs/envoys/*:refs/remotes/other/*",
        ]);
        self.git(PULL);
        let branch = self.git(&["rev-parse", "--abbrev-ref", "HEAD"]).stdout;
        let part = format!("/heads/{}@", branch.trim());
        let listed = self
            .git(&["for-each-ref", "--format=%(refname)", "refs/remotes/other"])
            .stdout;
        for other in listed.lines().filter(|name| name.contains(&part)) {
            self.git(&["merge", "--quiet", "--no-edit", "-X", "ours", other]);
        }
        self.pushes(&["origin", "HEAD"]);
    }
}

pub(crate) const PULL: &[&str] = &["pull", "--quiet", "--no-rebase", "--no-edit", "-X", "ours"];

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn done(command: Invocation) -> Outcome {
    command
        .run()
        .and_then(Outcome::success)
        .expect("the command succeeds")
}

/// Expects text to contain every one of `parts`.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}
