//! The measurements themselves.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gitback_tests::{Binaries, Fleet, Invocation, Options, Person, Shape, Stop};

use crate::{Memory, Pairs};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The repository whose history is used; a made-up one of 10,000 commits if none is named.
    pub repo: Option<PathBuf>,
    /// How many pairs of one-commit pushes.
    pub runs: u32,
    /// How many pairs of whole publishes, and of clones.
    pub whole_runs: u32,
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    /// Commits in the history.
    pub commits: u64,
    /// Size of the history as one bare repository, in KiB.
    pub size_kib: u64,
    /// A one-commit push that waits for two other envoys to be durable.
    pub push_all: Pairs,
    /// A one-commit push with `-o gitback.wait=0`.
    pub push_none: Pairs,
    /// A one-commit push with `-o gitback.wait=0`, beside a plain push to a repository with `core.fsync=all`.
    pub push_none_synced: Pairs,
    /// The first push of everything, until git returns.
    pub publish: Pairs,
    /// The first push of everything, until two other envoys hold it.
    pub publish_held: Vec<Duration>,
    /// A clone from an envoy that did not take the push, after the one that did is gone.
    pub clone: Pairs,
    /// A daemon that was just started and has no project.
    pub idle: Memory,
    /// The daemon that took the first publish, at its peak.
    pub publish_peak: Memory,
    /// A daemon that received the first publish from it, at its peak.
    pub receive_peak: Memory,
    /// The daemon that served a clone, at its peak.
    pub clone_peak: Memory,
    /// A daemon with the project, after all this.
    pub idle_after: Memory,
}

/// How long one git command may take.
const GIT_MAX: Duration = Duration::from_secs(3600);

/// A fleet of three, a repository, and plain bare repositories beside it.
#[derive(Debug)]
pub struct Bench {
    fleet: Fleet,
    work: PathBuf,
    commits: u64,
}

/// A one-commit push of both kinds.
struct Small<'a> {
    bare: &'a Path,
    options: &'a [&'a str],
}

impl Bench {
    /// Starts three envoys with one unlocked puddle, and copies the history.
    ///
    /// # Errors
    ///
    /// When a daemon does not start or the history cannot be copied.
    pub fn start(binaries: Binaries, plan: &Plan, stop: &Stop) -> Result<Self> {
        let settings = "min_free_percent = 0\ncontact_interval_ms = 10000\n";
        let options = Options::new(binaries)
            .envoys(3)
            .settings(settings)
            .stop(stop.clone());
        let mut fleet = Fleet::start(options)?;
        fleet.make_puddle("dan")?;
        let work = fleet.dir().join("work");
        let outside = fleet.outside();
        match &plan.repo {
            Some(path) => copy(
                &outside,
                &path.canonicalize().context("there is no such repository")?,
                &work,
            )?,
            None => Shape {
                commits: 10_000,
                files: 500,
                branches: 10,
                tags: 20,
            }
            .write(&outside, &work)?,
        }
        let counted = outside
            .git(&work, ["rev-list", "--count", "--all"])
            .run()?
            .success()?;
        let commits = counted
            .stdout
            .trim()
            .parse()
            .context("git counted no commits")?;
        Ok(Self {
            fleet,
            work,
            commits,
        })
    }

    /// Measures everything, and says before each part what it is.
    ///
    /// # Errors
    ///
    /// When a measured command fails, or somebody asked to stop.
    pub fn run(mut self, plan: &Plan, say: &mut dyn FnMut(&str) -> Result<()>) -> Result<Report> {
        say("memory of an idle daemon")?;
        let idle = self.memory(0)?;
        say("first publish of everything")?;
        let (publish, publish_held, publish_peak, receive_peak) =
            self.publishes(plan.whole_runs)?;
        let bare = self.bare(0);
        say("one-commit pushes")?;
        let small = |options| Small {
            bare: &bare,
            options,
        };
        let push_all = self.pushes(plan.runs, &small(&["-o", "gitback.wait=2"]))?;
        let push_none = self.pushes(plan.runs, &small(&["-o", "gitback.wait=0"]))?;
        self.person(0)
            .git(&bare, ["config", "core.fsync", "all"])
            .run()?
            .success()?;
        let push_none_synced = self.pushes(plan.runs, &small(&["-o", "gitback.wait=0"]))?;
        say("clone from a survivor")?;
        self.wait_for_copies("bench-0")?;
        self.fleet.envoy_mut(0).kill()?;
        let (clone, clone_peak) = self.clones(plan.whole_runs, &bare)?;
        let idle_after = self.memory(1)?;
        let size_kib = size_kib(self.person(1), &bare)?;
        Ok(Report {
            commits: self.commits,
            size_kib,
            push_all,
            push_none,
            push_none_synced,
            publish,
            publish_held,
            clone,
            idle,
            publish_peak,
            receive_peak,
            clone_peak,
            idle_after,
        })
    }

    fn publishes(&self, runs: u32) -> Result<(Pairs, Vec<Duration>, Memory, Memory)> {
        let all = ["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"];
        let (mut pairs, mut held, mut peaks) = (Pairs::default(), Vec::new(), None);
        for run in 0..runs.max(1) {
            let bare = self.bare(run);
            let bare_name = bare.to_string_lossy().into_owned();
            let name = format!("bench-{run}");
            self.git(&["init", "--quiet", "--bare", &bare_name])?;
            self.forget_remote()?;
            let found = ["swarm", "gitback", "project", "init", &name, "--no-push"];
            self.person(0)
                .vigo(found)
                .cwd(&self.work)
                .run()?
                .success()?;
            for index in [0, 1] {
                Memory::forget_peak(self.pid(index)?)?;
            }
            let plain = self.git(&["push", "--quiet", &bare_name, all[0], all[1]])?;
            let started = Instant::now();
            let ours = self.git(&["push", "--quiet", "gitback", all[0], all[1]])?;
            self.wait_for_copies(&name)?;
            held.push(started.elapsed());
            pairs.add(plain, ours);
            peaks.get_or_insert((self.memory(0)?, self.memory(1)?));
        }
        // The small pushes and the clones use the first project.
        self.forget_remote()?;
        self.git(&["remote", "add", "gitback", "gitback://dan/bench-0"])?;
        let (publish_peak, receive_peak) = peaks.context("nothing was published")?;
        Ok((pairs, held, publish_peak, receive_peak))
    }

    fn pushes(&self, runs: u32, small: &Small<'_>) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        let bare = small.bare.to_string_lossy().into_owned();
        // The first pair opens connections and warms caches; it does not count.
        for run in 0..=runs {
            let line = format!("line {run} of {:?}\n", Instant::now());
            std::fs::write(self.work.join("one-more-line.txt"), line)?;
            self.git(&["add", "--force", "one-more-line.txt"])?;
            self.git(&["commit", "--quiet", "-m", "Add one more line"])?;
            let plain = self.git(&["push", "--quiet", &bare, "HEAD"])?;
            let mut args = vec!["push", "--quiet"];
            args.extend_from_slice(small.options);
            args.extend(["gitback", "HEAD"]);
            let ours = self.git(&args)?;
            if run > 0 {
                pairs.add(plain, ours);
            }
            // What goes on after git has returned must not run into the next measurement.
            self.wait_for_copies("bench-0")?;
        }
        Ok(pairs)
    }

    fn clones(&self, runs: u32, bare: &Path) -> Result<(Pairs, Memory)> {
        let survivor = self.person(1);
        let dir = self.fleet.dir().join("clones");
        std::fs::create_dir_all(&dir)?;
        let file = format!("file://{}", bare.display());
        Memory::forget_peak(self.pid(1)?)?;
        let mut pairs = Pairs::default();
        for run in 0..runs.max(1) {
            // Without a work tree: writing files takes the same time on both sides and would hide a difference.
            let clone = |url: &str, name: &str| -> Result<Duration> {
                let args = ["clone", "--quiet", "--no-local", "--no-checkout", url, name];
                let took = survivor
                    .git(&dir, args)
                    .deadline(GIT_MAX)
                    .run()?
                    .success()?
                    .took;
                std::fs::remove_dir_all(dir.join(name))?;
                Ok(took)
            };
            let plain = clone(&file, &format!("plain-{run}"))?;
            pairs.add(
                plain,
                clone("gitback://dan/bench-0", &format!("ours-{run}"))?,
            );
        }
        Ok((pairs, self.memory(1)?))
    }

    /// Waits until all envoys that run hold the project.
    fn wait_for_copies(&self, project: &str) -> Result<()> {
        let asked = self
            .person(0)
            .vigo(["swarm", "gitback", "project", "status", project, "--json"]);
        gitback_tests::until(GIT_MAX, "copies on all envoys", || copies(&asked, 3))
    }

    /// Runs git in the work tree and returns how long it took.
    fn git(&self, args: &[&str]) -> Result<Duration> {
        Ok(self
            .person(0)
            .git(&self.work, args)
            .deadline(GIT_MAX)
            .run()?
            .success()?
            .took)
    }

    fn forget_remote(&self) -> Result<()> {
        let remotes = self
            .person(0)
            .git(&self.work, ["remote"])
            .run()?
            .success()?
            .stdout;
        if remotes.lines().any(|name| name == "gitback") {
            self.git(&["remote", "remove", "gitback"])?;
        }
        Ok(())
    }

    fn person(&self, index: usize) -> &Person {
        self.fleet.person(index)
    }

    fn pid(&self, index: usize) -> Result<u32> {
        self.fleet
            .envoy(index)
            .pid()
            .context("a daemon that should run does not")
    }

    fn memory(&self, index: usize) -> Result<Memory> {
        Memory::of(self.pid(index)?)
    }

    fn bare(&self, run: u32) -> PathBuf {
        self.fleet.dir().join(format!("plain-{run}.git"))
    }
}

fn copies(asked: &Invocation, wanted: u64) -> Result<Result<(), String>> {
    let status: serde_json::Value = serde_json::from_str(&asked.run()?.success()?.stdout)?;
    let found = status.get("copies").and_then(serde_json::Value::as_u64);
    Ok(if found == Some(wanted) {
        Ok(())
    } else {
        Err(format!("{found:?} of {wanted} copies"))
    })
}

/// Copies branches and tags of the repository at `path`, packed as git would after a clone.
fn copy(person: &Person, path: &Path, work: &Path) -> Result<()> {
    std::fs::create_dir_all(work)?;
    let path = path.to_string_lossy();
    let head = person
        .git(work, ["ls-remote", "--symref", &path, "HEAD"])
        .run()?
        .success()?
        .stdout;
    let branch = head
        .lines()
        .find_map(|line| line.strip_prefix("ref: refs/heads/")?.split('\t').next());
    let Some(branch) = branch else {
        bail!("{path} has no branch checked out")
    };
    let initial = format!("--initial-branch={branch}");
    person
        .git(work, ["init", "--quiet", &initial])
        .run()?
        .success()?;
    let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
    let fetch = person.git(
        work,
        [
            "fetch",
            "--quiet",
            "--update-head-ok",
            &path,
            all[0],
            all[1],
        ],
    );
    fetch.deadline(GIT_MAX).run()?.success()?;
    person
        .git(work, ["reset", "--quiet", "--hard"])
        .deadline(GIT_MAX)
        .run()?
        .success()?;
    Ok(())
}

fn size_kib(person: &Person, bare: &Path) -> Result<u64> {
    let counted = person
        .git(bare, ["count-objects", "-v"])
        .run()?
        .success()?
        .stdout;
    let field = |name: &str| {
        counted
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    Ok(field("size-pack:").unwrap_or(0) + field("size:").unwrap_or(0))
}
