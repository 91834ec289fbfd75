//! Envoys, their user, and what that pushes.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use gitback_tests::{Binaries, Fleet, Invocation, Options, Outcome, Stop, until};

use super::disk::Disk;
use super::pushes::{Pushed, Refs, done, is_allowed};
use super::replay::{Lot, Replay};
use super::strace::{self, Reader};

/// How many pushes are made at the same moment.
const AT_ONCE: usize = 8;

/// How long the daemon may take to put small packs together, under strace.
const TOGETHER_MAX: Duration = Duration::from_secs(120);

/// What git says of a project that is not on an envoy which reaches no other one.
const NOT_HERE: [&str; 3] = [
    "no project notes is known on",
    "nobody reachable has notes",
    "the project has not arrived on",
];

/// What git says of a push that both envoys of two have.
pub(super) const ON_BOTH: &str = "replicated to 2 of 2 envoys";

/// For whom pushes wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Nobody,
    /// And git has to say that all have it.
    All,
}

impl Wait {
    /// The first words of a push.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Nobody => &["push", "--quiet", "-o", "gitback.wait=0"],
            // What is to be quiet does not say who has it.
            Self::All => &["push", "-o", "gitback.wait=all"],
        }
    }

    /// Whether git has said what it has to.
    fn check(self, pushed: &Outcome) -> Result<()> {
        if self == Self::All && !pushed.stderr.contains(ON_BOTH) {
            bail!("it does not say that both have it:\n{pushed}");
        }
        Ok(())
    }
}

/// Envoys, of which one is crashed, their user, and what that has pushed on the first.
pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) work: PathBuf,
    /// Which envoy is crashed.
    pub(super) traced: usize,
    /// What of its files is played with.
    pub(super) held: PathBuf,
    /// What was reported as done, in that order.
    pub(super) states: Vec<Pushed>,
    pub(super) wait: Wait,
    commits: u32,
}

impl Scene {
    /// One envoy, and a small history that is not a project yet.
    pub(super) fn alone(binaries: &Binaries, stop: &Stop) -> Result<Self> {
        let options = Options::new(binaries.clone()).settings("min_free_percent = 0\n");
        Self::begin(options, stop, 0, Wait::Nobody)
    }

    /// Two envoys; pushes are made on mars, and venus is the one that is crashed.
    pub(super) fn pair(binaries: &Binaries, stop: &Stop) -> Result<Self> {
        let options = Options::new(binaries.clone()).envoys(2);
        Self::begin(options, stop, 1, Wait::All)
    }

    fn begin(options: Options, stop: &Stop, traced: usize, wait: Wait) -> Result<Self> {
        let mut fleet = Fleet::start(options.stop(stop.clone()))?;
        fleet.make_puddle("dan")?;
        let work = fleet.dir().join("work");
        std::fs::create_dir(&work)?;
        let held = held(&fleet, traced);
        let mut scene = Self {
            fleet,
            work,
            traced,
            held,
            states: Vec::new(),
            wait,
            commits: 0,
        };
        scene.git(&["init", "--quiet", "--initial-branch=main"])?;
        for _ in 0..5 {
            scene.commit(20)?;
        }
        Ok(scene)
    }

    /// Has the envoy traced that is crashed, while something is done with it; it is killed in the end.
    pub(super) fn traced(&mut self, act: impl FnOnce(&mut Self) -> Result<()>) -> Result<Replay> {
        let envoy = self.traced;
        self.fleet.envoy_mut(envoy).end()?;
        let base = Disk::of(&self.held)?;
        let log = self.fleet.dir().join("trace");
        let tool = strace::tool(&log);
        self.fleet.envoy_mut(envoy).start_under(&tool, None)?;
        let acted = act(self);
        self.fleet.envoy_mut(envoy).kill()?;
        acted?;
        let trace = std::fs::read_to_string(&log).context("strace has written nothing")?;
        let steps = Reader::new(&self.held, base.clone()).read(&trace)?;
        Ok(Replay::new(base, steps))
    }

    /// How many pushes were reported as done.
    pub(super) fn pushed(&self) -> usize {
        let pushes = self.states.iter().filter(|state| !state.again.is_empty());
        pushes.count()
    }

    /// What all pushes have left.
    pub(super) fn refs(&self) -> Refs {
        let last = self.states.last();
        last.map(|state| state.refs.clone()).unwrap_or_default()
    }

    /// Founds the project, and makes the first push. Founding is reported as done by the envoy where that is, not by others.
    pub(super) fn found_and_push(&mut self) -> Result<()> {
        let begun = now()?;
        self.found()?;
        if self.traced == 0 {
            let time = now()?;
            self.states.push(Pushed {
                begun,
                time,
                refs: Refs::new(),
                last: self.states.len(),
                again: Vec::new(),
            });
        }
        self.push(&["main"], &[("refs/heads/main", Some("main"))])
    }

    fn found(&self) -> Result<()> {
        let found = ["swarm", "gitback", "project", "init", "notes", "--no-push"];
        let found = self.fleet.person(0).vigo(found).cwd(&self.work);
        found.run()?.success()?;
        Ok(())
    }

    /// One push of everything: small packs in the daemon, others by git, refs alone.
    pub(super) fn push_all_kinds(&mut self) -> Result<()> {
        self.commit(1)?;
        self.push(&["main"], &[("refs/heads/main", Some("main"))])?;
        self.git(&["checkout", "--quiet", "-b", "side"])?;
        self.commit(1)?;
        self.push(&["side"], &[("refs/heads/side", Some("side"))])?;
        self.git(&["commit", "--quiet", "--amend", "-m", "instead"])?;
        self.push(&["--force", "side"], &[("refs/heads/side", Some("side"))])?;
        self.git(&["tag", "-a", "-m", "one", "v1"])?;
        self.push(&["v1"], &[("refs/tags/v1", Some("v1"))])?;
        let both = [("refs/heads/side", None), ("refs/heads/late", Some("side"))];
        self.push(&["--atomic", ":side", "side:refs/heads/late"], &both)?;
        // In folders of its own.
        let deep = "refs/heads/deep/down/side";
        self.commit(1)?;
        self.push(&["side:refs/heads/deep/down/side"], &[(deep, Some("side"))])?;
        self.git(&["checkout", "--quiet", "main"])?;
        for _ in 0..12 {
            self.commit(1)?;
            self.push(&["main"], &[("refs/heads/main", Some("main"))])?;
        }
        if self.fleet.envoy(self.traced).pid().is_some() {
            self.wait_until_together()?;
        }
        self.push_at_once()?;
        self.make_noise(1)?;
        self.commit(1)?;
        self.push(&["main"], &[("refs/heads/main", Some("main"))])?;
        self.commit(1)?;
        self.push(&["main"], &[("refs/heads/main", Some("main"))])?;
        // Nothing in it builds on what is there, so that the daemon itself indexes it, and it becomes a pack as it came.
        self.git(&["checkout", "--quiet", "--orphan", "apart"])?;
        self.make_noise(2)?;
        self.commit(1)?;
        self.push(&["apart"], &[("refs/heads/apart", Some("apart"))])?;
        self.git(&["checkout", "--quiet", "main"])?;
        Ok(())
    }

    /// By now small packs are put together.
    fn wait_until_together(&self) -> Result<()> {
        until(TOGETHER_MAX, "few packs", || {
            std::thread::sleep(Duration::from_millis(5));
            let packs = indexes(&self.held)?;
            Ok(if packs < 8 {
                Ok(())
            } else {
                Err(format!("{packs} packs"))
            })
        })
    }

    /// Pushes, and notes what the refs are from then on: each of `moved` at what the work tree calls so, or gone.
    pub(super) fn push(&mut self, what: &[&str], moved: &[(&str, Option<&str>)]) -> Result<()> {
        let (mut refs, mut again) = (self.refs(), Vec::new());
        for (name, value) in moved {
            match value {
                Some(value) => {
                    let value = self.git(&["rev-parse", value])?;
                    again.push(format!("+{value}:{name}"));
                    refs.insert((*name).to_owned(), value);
                }
                None => {
                    again.push(format!(":{name}"));
                    refs.remove(*name);
                }
            }
        }
        let (options, names): (Vec<&str>, Vec<&str>) =
            what.iter().partition(|word| word.starts_with("--"));
        let push = [self.wait.words(), &options, &["gitback"], &names].concat();
        let push = self.fleet.person(0).git(&self.work, push);
        let begun = now()?;
        self.wait.check(&push.run()?.success()?)?;
        let time = now()?;
        let last = self.states.len();
        self.states.push(Pushed {
            begun,
            time,
            refs,
            last,
            again,
        });
        Ok(())
    }

    /// Pushes branches, each by a process of its own, at the same moment: those that wait for each other are stored
    /// together.
    fn push_at_once(&mut self) -> Result<()> {
        let names: Vec<String> = (0..AT_ONCE)
            .map(|number| format!("at-once-{number}"))
            .collect();
        for name in &names {
            self.git(&["checkout", "--quiet", "-b", name, "main"])?;
            self.commit(1)?;
        }
        self.git(&["checkout", "--quiet", "main"])?;
        let (barrier, wait) = (Barrier::new(names.len()), self.wait);
        let command = |name: &String| {
            let push = [wait.words(), &["gitback", name.as_str()]].concat();
            self.fleet.person(0).git(&self.work, push)
        };
        let commands: Vec<Invocation> = names.iter().map(command).collect();
        let run = |command: &Invocation| {
            barrier.wait();
            wait.check(&command.run()?.success()?)?;
            now()
        };
        let begun = now()?;
        let ended: Result<Vec<f64>> = std::thread::scope(|scope| {
            let running = commands.iter().map(|one| scope.spawn(|| run(one)));
            let running: Vec<_> = running.collect();
            let ended = running.into_iter().map(|one| one.join());
            ended
                .map(|one| one.map_err(|_| anyhow!("a push panicked"))?)
                .collect()
        });
        let mut ended: Vec<(f64, &String)> = ended?.into_iter().zip(&names).collect();
        ended.sort_by(|one, other| one.0.total_cmp(&other.0));
        let last = self.states.len() + names.len() - 1;
        let mut refs = self.refs();
        for (time, name) in ended {
            let value = self.git(&["rev-parse", name])?;
            let name = format!("refs/heads/{name}");
            let again = vec![format!("+{value}:{name}")];
            refs.insert(name, value);
            let refs = refs.clone();
            self.states.push(Pushed {
                begun,
                time,
                refs,
                last,
                again,
            });
        }
        Ok(())
    }

    /// What a reader is shown after a crash at that time, if that may be so.
    pub(super) fn look_at_refs(&self, crash: f64) -> Result<Option<Refs>> {
        let found = self.shown()?;
        let done = done(&self.states, crash);
        if !is_allowed(&self.states, done, found.as_ref()) {
            bail!("{done} pushes were done, and the refs are {found:?}");
        }
        Ok(found)
    }

    /// Makes what was under way at a crash once more, at the envoy that was crashed. Whether something was.
    pub(super) fn push_again(&self, crash: f64, found: Option<&Refs>) -> Result<bool> {
        let done = done(&self.states, crash);
        let Some(next) = self.states.get(done).filter(|next| next.begun < crash) else {
            return Ok(false);
        };
        if next.again.is_empty() {
            self.found()?;
        } else {
            let Some(found) = found else {
                return Ok(false);
            };
            let group = self.states.get(done..=next.last).unwrap_or_default();
            let words = group.iter().flat_map(|state| &state.again);
            // Git pushes nothing that is there already, and deletes nothing that is not.
            let words = words.map(String::as_str).filter(|word| {
                let (value, name) = word.split_once(':').unwrap_or_default();
                let value = value.strip_prefix('+');
                value != found.get(name).map(String::as_str)
            });
            let words: Vec<&str> = words.collect();
            if words.is_empty() {
                return Ok(false);
            }
            self.push_here(words)?;
        }
        let wanted = self.states.get(next.last).map(|last| &last.refs);
        let shown = self.shown()?;
        if shown.as_ref() != wanted {
            bail!("made again, it leaves {shown:?}");
        }
        Ok(true)
    }

    /// Another push, at the envoy that was crashed.
    pub(super) fn probe(&self) -> Result<()> {
        self.push_here(["HEAD:refs/heads/probe"])
    }

    fn push_here<'a>(&self, what: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let push = ["push", "--quiet", "-o", "gitback.wait=0", "gitback"];
        let push = push.into_iter().chain(what);
        let person = self.fleet.person(self.traced);
        person.git(&self.work, push).run()?.success()?;
        Ok(())
    }

    /// The refs that a reader at the envoy that is crashed is shown; nothing, if the project is not there.
    pub(super) fn shown(&self) -> Result<Option<Refs>> {
        self.shown_at(self.traced)
    }

    /// The same at any envoy.
    pub(super) fn shown_at(&self, envoy: usize) -> Result<Option<Refs>> {
        let list = self
            .fleet
            .person(envoy)
            .git(&self.work, ["ls-remote", "gitback"]);
        let listed = list.run()?;
        if listed.code != Some(0) && NOT_HERE.iter().any(|says| listed.stderr.contains(says)) {
            return Ok(None);
        }
        let listed = listed.success()?;
        let lines = listed.stdout.lines();
        let lines = lines.filter_map(|line| line.split_once('\t'));
        let refs = lines.filter(|(_, name)| name.starts_with("refs/") && !name.ends_with("^{}"));
        let refs = refs.map(|(value, name)| (name.to_owned(), value.to_owned()));
        Ok(Some(refs.collect()))
    }

    /// Has git look at everything that is held. While packs are put together, git may have listed one whose index has just
    /// gone, and complains: then it looks again.
    pub(super) fn fsck(&self) -> Result<()> {
        for bare in repositories(&self.held)? {
            let fsck = ["fsck", "--full", "--no-dangling"];
            let fsck = self.fleet.person(0).git(&bare, fsck);
            until(Duration::from_secs(30), "git fsck", || {
                // Nothing was in one that is not there any more.
                if !bare.join("HEAD").exists() {
                    return Ok(Ok(()));
                }
                let ended = fsck.run()?;
                Ok(if ended.code == Some(0) {
                    Ok(())
                } else {
                    Err(ended.to_string())
                })
            })?;
        }
        Ok(())
    }

    /// Writes more to the work tree than is held in memory of a push, and does not compress.
    pub(super) fn make_noise(&self, seed: u64) -> Result<()> {
        self.make_noise_in("noise", 200_000, seed)
    }

    /// The same in a file of that name, of so many times eight bytes.
    pub(super) fn make_noise_in(&self, name: &str, words: usize, seed: u64) -> Result<()> {
        let mut lot = Lot::new(seed);
        let noise = (0..words).flat_map(|_| lot.draw().to_le_bytes());
        let noise: Vec<u8> = noise.collect();
        Ok(std::fs::write(self.work.join(name), noise)?)
    }

    /// One more commit that changes so many lines.
    pub(super) fn commit(&mut self, lines: u32) -> Result<()> {
        self.commits += 1;
        let line = |at| {
            format!(
                "line {at} of {}\n",
                if at < lines { self.commits } else { 0 }
            )
        };
        let text: String = (0..200).map(line).collect();
        std::fs::write(self.work.join("file"), text)?;
        self.git(&["add", "."])?;
        self.git(&["commit", "--quiet", "-m", "Change the file"])?;
        Ok(())
    }

    /// Git, where the pushes are made.
    pub(super) fn git(&self, args: &[&str]) -> Result<String> {
        let git = self.fleet.person(0).git(&self.work, args);
        Ok(git.run()?.success()?.stdout.trim().to_owned())
    }
}

/// What of an envoy's files is played with: its state. Beside it are the sockets, also that of the unlocked puddle.
pub(super) fn held(fleet: &Fleet, envoy: usize) -> PathBuf {
    fleet.envoy(envoy).root().join("var/lib")
}

/// The repositories of an envoy.
pub(super) fn repositories(held: &Path) -> Result<Vec<PathBuf>> {
    let projects = held.join("vigo/swarm/gitback/projects");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&projects)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "git") {
            found.push(path);
        }
    }
    Ok(found)
}

fn indexes(held: &Path) -> Result<usize> {
    let mut count = 0;
    for bare in repositories(held)? {
        for entry in std::fs::read_dir(bare.join("objects/pack"))? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            count += usize::from(name.starts_with("pack-") && name.ends_with(".idx"));
        }
    }
    Ok(count)
}

/// Seconds since the epoch.
pub(super) fn now() -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(now.as_secs_f64())
}
