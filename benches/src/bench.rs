//! The measurements themselves.

mod away;
mod clones;
mod crowd;
mod history;
mod large;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gitback_tests::{Binaries, Fleet, Invocation, Options, Person, Shape, Stop};

use crate::memory::processor_time;
use crate::{Memory, Pairs, median};
use history::{copy, noise, size_kib};
pub use large::idle;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The repository whose history is used; a made-up one if none is named.
    pub repo: Option<PathBuf>,
    /// How many commits a made-up one has.
    pub commits: u32,
    /// How many pairs of one-commit pushes.
    pub runs: u32,
    /// How many pairs of everything larger.
    pub whole_runs: u32,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// What was done with gitback.
    pub what: &'static str,
    /// What was done with plain git; if not with that, with what.
    pub reference: &'static str,
    /// The ratio that is promised, if one is.
    pub target: Option<f64>,
    /// The times.
    pub pairs: Pairs,
    /// Processor time of each daemon, with the git processes that it started, in the middle run.
    pub cpu: Option<Duration>,
}

/// Memory of one daemon at one moment, or at its peak.
#[derive(Debug)]
pub struct Room {
    /// When.
    pub what: &'static str,
    /// How much, in KiB.
    pub kib: u64,
    /// What of that is no page of a file; `None` for a peak, of which nobody keeps it.
    pub own_kib: Option<u64>,
    /// What of it are pages of the program's file; `None` for a peak as well.
    pub program_kib: Option<u64>,
    /// The most that is promised, in MiB, if anything is.
    pub target_mib: Option<u64>,
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    /// Commits in the history.
    pub commits: u64,
    /// Size of the history as one bare repository, in KiB.
    pub size_kib: u64,
    /// The table.
    pub rows: Vec<Row>,
    /// What the daemons took.
    pub rooms: Vec<Room>,
}

/// How long one git command may take.
const GIT_MAX: Duration = Duration::from_secs(3600);
/// Between two looks at a file; part of each figure that it ends.
const LOOK: Duration = Duration::from_millis(1);
/// How many small pushes go in a row.
const IN_A_ROW: u32 = 100;
/// New content that does not compress: so many files of 1 MiB.
const CONTENT_FILES: u32 = 100;
/// A fleet of three, a repository, and plain bare repositories beside it.
#[derive(Debug)]
pub struct Bench {
    fleet: Fleet,
    work: PathBuf,
    commits: u64,
    /// How many commits were added here.
    added: u32,
}

/// Times of a daemon's processor.
type Cpu = Vec<Duration>;

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
                commits: plan.commits,
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
            added: 0,
        })
    }

    /// Measures everything, and says before each part what it is.
    ///
    /// # Errors
    ///
    /// When a measured command fails, or somebody asked to stop.
    pub fn run(mut self, plan: &Plan, say: &mut dyn FnMut(&str) -> Result<()>) -> Result<Report> {
        let (mut rows, mut rooms) = (Vec::new(), Vec::new());
        rooms.push(self.room("idle, no project", 0, |memory| memory.now_kib)?);
        say("first publish of everything")?;
        self.publishes(plan.whole_runs, &mut rows, &mut rooms)?;
        say("one-commit pushes")?;
        self.small(plan.runs, &mut rows)?;
        say("a hundred pushes in a row")?;
        rows.push(self.in_a_row(plan.whole_runs)?);
        say("clones")?;
        self.clones(plan.whole_runs, &mut rows, &mut rooms)?;
        say("many at once")?;
        self.crowds(plan.whole_runs, &mut rows, &mut rooms)?;
        say("one envoy away")?;
        rows.push(self.one_away(plan.runs)?);
        say("catching up after 50 missed pushes")?;
        rows.extend(self.catch_ups(plan.whole_runs)?);
        say("bringing the project in from peers")?;
        rows.extend(self.bring_in(plan.whole_runs)?);
        // How large everything else is has to be known before what does not compress is added.
        let size_kib = size_kib(self.person(0), &self.bare(0))?;
        say("first publish to one envoy alone")?;
        self.leave_alone()?;
        rows.push(self.publish_alone(plan.whole_runs)?);
        say("100 MiB of new content")?;
        for index in [1, 2] {
            self.fleet.restart(index)?;
        }
        self.wait_for_copies("bench-0", 3)?;
        for index in [0, 1] {
            Memory::forget_peak(self.pid(index)?)?;
        }
        rows.push(self.content(
            plan.whole_runs,
            CONTENT_FILES,
            "100 MiB of new content, on 3 envoys",
            Some(1.4),
        )?);
        let peak = |memory: &Memory| memory.peak_kib;
        rooms.push(self.room("peak, taking 100 MiB", 0, peak)?);
        rooms.push(self.room("peak, receiving it from a peer", 1, peak)?);
        self.leave_alone()?;
        rows.push(self.content(
            plan.whole_runs,
            CONTENT_FILES,
            "100 MiB of new content, one envoy alone",
            None,
        )?);
        Ok(Report {
            commits: self.commits,
            size_kib,
            rows,
            rooms,
        })
    }

    fn leave_alone(&mut self) -> Result<()> {
        for index in [1, 2] {
            self.fleet.envoy_mut(index).kill()?;
        }
        Ok(())
    }

    fn publishes(&self, runs: u32, rows: &mut Vec<Row>, rooms: &mut Vec<Room>) -> Result<()> {
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        for run in 0..runs.max(1) {
            let bare = self.found(run)?;
            for index in [0, 1] {
                Memory::forget_peak(self.pid(index)?)?;
            }
            let plain = self.git(&["push", "--quiet", &bare, ALL[0], ALL[1]])?;
            let before = self.cpu()?;
            let push = ["push", "-o", "gitback.wait=2", "gitback", ALL[0], ALL[1]];
            let ours = self.on_all(&push)?;
            cpu.push(spent(&before, &self.cpu()?));
            pairs.add(plain, ours);
            if run == 0 {
                let peak = |memory: &Memory| memory.peak_kib;
                rooms.push(self.room("peak, taking the first publish", 0, peak)?);
                rooms.push(self.room("peak, receiving it from a peer", 1, peak)?);
            }
        }
        rows.push(Row {
            what: "first publish of everything, on 3 envoys",
            reference: "git push",
            target: Some(1.4),
            pairs,
            cpu: Some(median(&cpu)),
        });
        // Everything else uses the first project.
        self.forget_remote()?;
        self.git(&["remote", "add", "gitback", "gitback://dan/bench-0"])?;
        Ok(())
    }

    fn publish_alone(&self, runs: u32) -> Result<Row> {
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        for run in 0..runs.max(1) {
            let bare = self.found(1000 + run)?;
            let plain = self.git(&["push", "--quiet", &bare, ALL[0], ALL[1]])?;
            let before = self.cpu()?;
            let push = ["push", "--quiet", "-o", "gitback.wait=0", "gitback"];
            let ours = self.git(&[&push[..], &ALL].concat())?;
            cpu.push(spent(&before, &self.cpu()?));
            pairs.add(plain, ours);
        }
        Ok(Row {
            what: "first publish of everything, one envoy alone",
            reference: "git push",
            target: None,
            pairs,
            cpu: Some(median(&cpu)),
        })
    }

    /// Makes a bare repository and a project for the work tree; the path of the former.
    fn found(&self, run: u32) -> Result<String> {
        let bare = self.bare(run).to_string_lossy().into_owned();
        let name = format!("bench-{run}");
        self.git(&["init", "--quiet", "--bare", &bare])?;
        self.forget_remote()?;
        let found = ["swarm", "gitback", "project", "init", &name, "--no-push"];
        self.person(0)
            .vigo(found)
            .cwd(&self.work)
            .run()?
            .success()?;
        Ok(bare)
    }

    fn small(&mut self, runs: u32, rows: &mut Vec<Row>) -> Result<()> {
        let bare = self.bare(0).to_string_lossy().into_owned();
        let (pairs, cpu) = self.one_commit(runs, "gitback.wait=0", false)?;
        rows.push(Row {
            what: "one-commit push, durable here (gitback.wait=0)",
            reference: "git push",
            target: Some(1.0),
            pairs,
            cpu,
        });
        rows.push(self.one_commit_on_all(runs)?);
        self.git(&["-C", &bare, "config", "core.fsync", "all"])?;
        let mut pairs = Pairs::default();
        for run in 0..=runs {
            self.commit()?;
            let plain = self.git(&["push", "--quiet", &bare, "HEAD"])?;
            let ours = self.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", "HEAD"])?;
            self.wait_for_copies("bench-0", 3)?;
            if run > 0 {
                pairs.add(plain, ours);
            }
        }
        self.git(&["-C", &bare, "config", "--unset", "core.fsync"])?;
        rows.push(Row {
            what: "one-commit push, durable here (gitback.wait=0)",
            reference: "git push, core.fsync=all",
            target: None,
            pairs,
            cpu: None,
        });
        Ok(())
    }

    fn one_commit_on_all(&mut self, runs: u32) -> Result<Row> {
        let (pairs, cpu) = self.one_commit(runs, "gitback.wait=2", true)?;
        Ok(Row {
            what: "one-commit push, durable on 3 envoys",
            reference: "git push",
            target: Some(1.4),
            pairs,
            cpu,
        })
    }

    fn one_commit(
        &mut self,
        runs: u32,
        wait: &str,
        on_all: bool,
    ) -> Result<(Pairs, Option<Duration>)> {
        let bare = self.bare(0).to_string_lossy().into_owned();
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        // The first pair opens connections and warms caches; it does not count.
        for run in 0..=runs {
            self.commit()?;
            let plain = self.git(&["push", "--quiet", &bare, "HEAD"])?;
            let before = self.cpu()?;
            let push = ["push", "-o", wait, "gitback", "HEAD"];
            let ours = if on_all {
                self.on_all(&push)?
            } else {
                self.git(&push)?
            };
            // What goes on after git has returned must not run into the next measurement.
            self.wait_for_copies("bench-0", 3)?;
            if run > 0 {
                cpu.push(spent(&before, &self.cpu()?));
                pairs.add(plain, ours);
            }
        }
        Ok((pairs, Some(median(&cpu))))
    }

    fn in_a_row(&mut self, runs: u32) -> Result<Row> {
        let bare = self.bare(0).to_string_lossy().into_owned();
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        for _ in 0..runs.max(1) {
            let mut commits = Vec::new();
            for _ in 0..IN_A_ROW {
                self.commit()?;
                commits.push(format!("{}:refs/heads/in-a-row", self.tip()?));
            }
            let (mut plain, mut ours) = (Duration::ZERO, Duration::ZERO);
            for commit in &commits {
                plain += self.git(&["push", "--quiet", "--force", &bare, commit])?;
            }
            let before = self.cpu()?;
            for commit in &commits {
                let push = ["push", "--force", "-o", "gitback.wait=2", "gitback", commit];
                ours += self.on_all(&push)?;
            }
            cpu.push(spent(&before, &self.cpu()?));
            pairs.add(plain, ours);
        }
        Ok(Row {
            what: "100 small pushes in a row, each on 3 envoys",
            reference: "100 times git push",
            target: Some(1.4),
            pairs,
            cpu: Some(median(&cpu)),
        })
    }

    fn content(
        &mut self,
        runs: u32,
        files: u32,
        what: &'static str,
        target: Option<f64>,
    ) -> Result<Row> {
        let bare = self.bare(0).to_string_lossy().into_owned();
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        for _ in 0..runs.max(1) {
            for file in 0..files {
                self.added += 1;
                let path = self.work.join(format!("noise-{file}.bin"));
                std::fs::write(path, noise(u64::from(self.added), 1 << 20))?;
            }
            self.git(&["add", "--force", "."])?;
            self.git(&["commit", "--quiet", "-m", "Add what does not compress"])?;
            let plain = self.git(&["push", "--quiet", &bare, "HEAD"])?;
            let before = self.cpu()?;
            let ours = if target.is_some() {
                self.on_all(&["push", "-o", "gitback.wait=2", "gitback", "HEAD"])?
            } else {
                self.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", "HEAD"])?
            };
            cpu.push(spent(&before, &self.cpu()?));
            pairs.add(plain, ours);
        }
        Ok(Row {
            what,
            reference: "git push",
            target,
            pairs,
            cpu: Some(median(&cpu)),
        })
    }

    /// Pushes, and checks that git was told of three envoys.
    fn on_all(&self, args: &[&str]) -> Result<Duration> {
        let pushed = self
            .person(0)
            .git(&self.work, args)
            .deadline(GIT_MAX)
            .run()?
            .success()?;
        if !pushed.stderr.contains("replicated to 3 of 3 envoys") {
            bail!("not on three envoys:\n{pushed}");
        }
        Ok(pushed.took)
    }

    /// Waits until so many envoys hold the project as it is.
    fn wait_for_copies(&self, project: &str, wanted: u64) -> Result<()> {
        let asked = self
            .person(0)
            .vigo(["swarm", "gitback", "project", "status", project, "--json"]);
        gitback_tests::until(GIT_MAX, "copies on the envoys", || copies(&asked, wanted))
    }

    /// One more commit with a change of one line.
    fn commit(&mut self) -> Result<()> {
        self.added += 1;
        let line = format!("line {}\n", self.added);
        std::fs::write(self.work.join("one-more-line.txt"), line)?;
        self.git(&["add", "--force", "one-more-line.txt"])?;
        self.git(&["commit", "--quiet", "-m", "Add one more line"])?;
        Ok(())
    }

    fn tip(&self) -> Result<String> {
        self.git_text(&["rev-parse", "HEAD"])
    }

    fn git_text(&self, args: &[&str]) -> Result<String> {
        let found = self.person(0).git(&self.work, args).run()?.success()?;
        Ok(found.stdout.trim().to_owned())
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
        let remotes = self.git_text(&["remote"])?;
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

    /// The processor time of each daemon that runs.
    fn cpu(&self) -> Result<Cpu> {
        let pids = self.fleet.envoys().filter_map(|envoy| envoy.pid());
        pids.map(processor_time).collect()
    }

    fn room(&self, what: &'static str, index: usize, of: impl Fn(&Memory) -> u64) -> Result<Room> {
        let memory = Memory::of(self.pid(index)?)?;
        let is_peak = what.starts_with("peak");
        Ok(Room {
            what,
            kib: of(&memory),
            own_kib: (!is_peak).then_some(memory.own_kib),
            program_kib: (!is_peak).then_some(memory.program_kib),
            target_mib: is_peak.then_some(192),
        })
    }

    fn bare(&self, run: u32) -> PathBuf {
        self.fleet.dir().join(format!("plain-{run}.git"))
    }

    fn file(&self, run: u32) -> String {
        format!("file://{}", self.bare(run).display())
    }
}

/// Everything that a first publish brings.
const ALL: [&str; 2] = ["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"];

/// What each of some daemons has spent in between, on average.
fn spent(before: &Cpu, after: &Cpu) -> Duration {
    let total: Duration = after
        .iter()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(*before))
        .sum();
    total / u32::try_from(after.len().max(1)).unwrap_or(1)
}

/// The repositories of an envoy.
fn repositories(root: &Path) -> Result<Vec<PathBuf>> {
    let projects = root.join("var/lib/vigo/swarm/gitback/projects");
    let Ok(entries) = std::fs::read_dir(&projects) else {
        // It has just been started.
        return Ok(Vec::new());
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let is_bare = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "git");
    Ok(paths.filter(is_bare).collect())
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
