//! `cargo xtask crash`: stops a daemon at every change that it makes to its files, and sees what is left.
//!
//! A daemon takes pushes while strace writes down what it and its git processes do to files. From that, the disk is put
//! together as it would be after a crash at each step: once with everything that was done so far, as after a kill; once
//! with nothing that was not synced, as after the worst loss of power; and as often as is wanted with a part of what was
//! not synced, drawn by lot, the last write of it torn. On each such disk a daemon is started. It has to serve every push
//! that git had reported as done before, whole, and to take the next one.

mod disk;
mod full;
mod scrub;
mod strace;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use gitback_tests::{Binaries, Fleet, Invocation, Options, Profile, Stop};

use crate::{cargo, show};
use disk::{Act, Disk};
use strace::{Reader, Step};

/// What can be said to `cargo xtask crash`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many disks are drawn by lot for each step.
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// Look at every so many-th step only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// The seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Push to a disk that is full, and then ever a little less full, instead. Needs root.
    #[arg(long)]
    full_disk: bool,
    /// Crash while damaged packs are set aside, instead.
    #[arg(long, conflicts_with = "full_disk")]
    scrub: bool,
    /// Use the programs as tests do, not as shipped: quicker to build, slower to run.
    #[arg(long)]
    dev: bool,
}

impl Arguments {
    /// A few steps of the whole.
    pub(crate) const fn as_check() -> Self {
        Self {
            draws: 1,
            every: 40,
            seed: 1,
            full_disk: false,
            scrub: false,
            dev: true,
        }
    }
}

/// What of that which was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// All: the process was killed.
    Nothing,
    /// None of it.
    Everything,
    /// What the lot says.
    Drawn(u64),
}

/// The refs that a reader has to be shown, by name.
type Refs = BTreeMap<String, String>;

const STRACE: &str = "/usr/bin/strace";

/// How often a new push is tried on what a crash has left.
const PROBE_EVERY: usize = 8;

/// How many pushes are made at the same moment.
const AT_ONCE: usize = 8;

/// Traces a daemon and looks at every crash.
pub(crate) fn run(arguments: &Arguments, stop: &Stop) -> Result<()> {
    if !arguments.full_disk && !can_trace() {
        bail!("strace is not there or may not trace; hint: apt-get install strace");
    }
    let profile = if arguments.dev {
        Profile::Dev
    } else {
        Profile::Release
    };
    let binaries = Binaries::build(profile, &cargo::target_dir()?)?;
    let mut scene = Scene::new(binaries, stop)?;
    if arguments.full_disk {
        return full::levels(&mut scene, stop);
    }
    if arguments.scrub {
        return scrub::crashes(&mut scene, arguments, stop);
    }
    let base = scene.base()?;
    let trace = scene.trace()?;
    let steps = Reader::new(&scene.held, base.clone()).read(&trace)?;
    show::line(&format!(
        "{} pushes, {} changes of files, of which {} are syncs",
        scene.states.len() - 1,
        steps.len(),
        steps.iter().filter(|step| step.act.is_sync()).count(),
    ))?;
    let covers = covers(&steps);
    let mut losses = vec![Loss::Nothing, Loss::Everything];
    losses.extend((0..arguments.draws).map(Loss::Drawn));
    let (begun, mut points, mut failed) = (Instant::now(), 0, 0);
    let every = usize::try_from(arguments.every).unwrap_or(usize::MAX);
    for at in (0..=steps.len()).step_by(every) {
        for loss in &losses {
            if stop.asked() {
                bail!("stopped after {points} crashes");
            }
            let disk = after(&base, &steps, &covers, at, *loss, arguments.seed);
            if let Err(error) = scene.check(&disk, &steps, at, points) {
                failed += 1;
                let last = at.checked_sub(1).and_then(|last| steps.get(last));
                show::line(&format!(
                    "FAILED after step {at}, {loss:?}, {}: {error:#}",
                    said(last)
                ))?;
            }
            points += 1;
            if points % 200 == 0 {
                let seconds = begun.elapsed().as_secs_f64();
                show::line(&format!(
                    "{points} crashes in {seconds:.0} s, {failed} failed"
                ))?;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let summary = format!(
        "{points} crashes in {seconds:.0} s, {} of them followed by another push, {failed} failed",
        points.div_ceil(PROBE_EVERY)
    );
    if failed > 0 {
        bail!("{summary}");
    }
    show::line(&summary)
}

/// Whether strace is here and the system lets it trace.
pub(crate) fn can_trace() -> bool {
    let traced = Command::new(STRACE)
        .args(["-o", "/dev/null", "true"])
        .output();
    traced.is_ok_and(|output| output.status.success())
}

fn said(step: Option<&Step>) -> String {
    match step.map(|step| &step.act) {
        None => "the beginning".to_owned(),
        Some(Act::Write { file, at, bytes }) => {
            format!("{} bytes at {at} of {file:?}", bytes.len())
        }
        Some(act) => format!("{act:?}"),
    }
}

/// For each step, the step that makes it durable.
fn covers(steps: &[Step]) -> Vec<Option<usize>> {
    let (mut files, mut folders) = (BTreeMap::new(), BTreeMap::new());
    let mut covers = vec![None; steps.len()];
    for (at, step) in steps.iter().enumerate().rev() {
        match &step.act {
            Act::SyncFile { file } => drop(files.insert(*file, at)),
            Act::SyncFolder { path } => drop(folders.insert(path.clone(), at)),
            act => {
                let content = act.content().and_then(|file| files.get(&file).copied());
                // A rename is one change, wherever it shows.
                let names = act
                    .folders()
                    .into_iter()
                    .filter_map(|path| folders.get(path).copied());
                if let Some(cover) = covers.get_mut(at) {
                    *cover = content.or_else(|| names.min());
                }
            }
        }
    }
    covers
}

/// The disk after a crash before step `at`.
fn after(
    base: &Disk,
    steps: &[Step],
    covers: &[Option<usize>],
    at: usize,
    loss: Loss,
    seed: u64,
) -> Disk {
    let mut disk = base.clone();
    let mut lot = Lot(seed
        ^ (at as u64) << 20
        ^ match loss {
            Loss::Drawn(number) => number,
            Loss::Nothing | Loss::Everything => 0,
        });
    for (step, cover) in steps.iter().zip(covers).take(at) {
        let is_durable = cover.is_some_and(|cover| cover < at);
        let drawn = lot.draw();
        let (survives, torn) = match (loss, &step.act) {
            (Loss::Nothing, _) => (true, None),
            _ if is_durable => (true, None),
            (Loss::Everything, _) => (false, None),
            (Loss::Drawn(_), Act::Write { bytes, .. }) if drawn.is_multiple_of(4) => (
                true,
                Some(usize::try_from(drawn >> 8).unwrap_or(0) % (bytes.len() + 1)),
            ),
            (Loss::Drawn(_), _) => (drawn.is_multiple_of(2), None),
        };
        if survives {
            disk.apply(&step.act, torn);
        }
    }
    disk
}

/// Seconds since the epoch.
fn now() -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(now.as_secs_f64())
}

/// Numbers by lot, the same for the same seed. Source: splitmix64, public domain, S. Vigna.
struct Lot(u64);

impl Lot {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One envoy, its user, and what that has pushed.
struct Scene {
    fleet: Fleet,
    work: PathBuf,
    /// What of the envoy's files is played with.
    held: PathBuf,
    /// What was reported as done, in that order.
    states: Vec<Pushed>,
    commits: u32,
}

/// What a push has left.
struct Pushed {
    /// When it was reported as done, in seconds since the epoch.
    time: f64,
    refs: Refs,
    /// The last one of those that were pushed at the same moment.
    last: usize,
}

impl Scene {
    fn new(binaries: Binaries, stop: &Stop) -> Result<Self> {
        let options = Options::new(binaries).settings("min_free_percent = 0\n");
        let mut fleet = Fleet::start(options.stop(stop.clone()))?;
        fleet.make_puddle("dan")?;
        let (work, held) = (fleet.dir().join("work"), fleet.envoy(0).root().join("var"));
        std::fs::create_dir(&work)?;
        let mut scene = Self {
            fleet,
            work,
            held,
            states: Vec::new(),
            commits: 0,
        };
        scene.git(&["init", "--quiet", "--initial-branch=main"])?;
        for _ in 0..5 {
            scene.commit(20)?;
        }
        let found = ["swarm", "gitback", "project", "init", "notes", "--no-push"];
        scene
            .fleet
            .person(0)
            .vigo(found)
            .cwd(&scene.work)
            .run()?
            .success()?;
        scene.push(&["main"], &[("refs/heads/main", Some("main"))])?;
        Ok(scene)
    }

    /// What is on the disk when the daemon has ended well.
    fn base(&mut self) -> Result<Disk> {
        self.fleet.envoy_mut(0).end()?;
        Disk::of(&self.held)
    }

    /// Has a daemon traced while it takes all kinds of pushes.
    fn trace(&mut self) -> Result<String> {
        let log = self.fleet.dir().join("trace");
        let calls = format!("trace={}", strace::CALLS);
        let tool = [STRACE, "-f", "-ttt", "-y", "-xx", "-s", "67108864", "-e"];
        let mut tool: Vec<OsString> = tool.map(OsString::from).to_vec();
        tool.extend([calls.into(), "-o".into(), log.clone().into(), "--".into()]);
        self.fleet.envoy_mut(0).start_under(&tool, None)?;
        // One of everything: small packs in the daemon, others by git, refs alone.
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
        self.git(&["checkout", "--quiet", "main"])?;
        for _ in 0..12 {
            self.commit(1)?;
            self.push(&["main"], &[("refs/heads/main", Some("main"))])?;
        }
        // By now small packs are put together.
        gitback_tests::until(Duration::from_secs(60), "few packs", || {
            std::thread::sleep(Duration::from_millis(5));
            let packs = indexes(&self.held)?;
            Ok(if packs < 8 {
                Ok(())
            } else {
                Err(format!("{packs} packs"))
            })
        })?;
        // Those that wait for each other are stored together.
        let names: Vec<String> = (0..AT_ONCE)
            .map(|number| format!("at-once-{number}"))
            .collect();
        for name in &names {
            self.git(&["checkout", "--quiet", "-b", name, "main"])?;
            self.commit(1)?;
        }
        self.git(&["checkout", "--quiet", "main"])?;
        self.push_at_once(&names)?;
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
        self.fleet.envoy_mut(0).kill()?;
        std::fs::read_to_string(&log).context("strace has written nothing")
    }

    /// Pushes, and notes what the refs are from then on: each of `moved` at what the work tree calls so, or gone.
    fn push(&mut self, what: &[&str], moved: &[(&str, Option<&str>)]) -> Result<()> {
        let mut refs = self
            .states
            .last()
            .map(|state| state.refs.clone())
            .unwrap_or_default();
        for (name, value) in moved {
            match value {
                Some(value) => {
                    let value = self.git(&["rev-parse", value])?;
                    refs.insert((*name).to_owned(), value);
                }
                None => drop(refs.remove(*name)),
            }
        }
        let push = ["push", "--quiet", "-o", "gitback.wait=0"];
        let (options, names): (Vec<&str>, Vec<&str>) =
            what.iter().partition(|word| word.starts_with("--"));
        self.git(&[&push[..], &options, &["gitback"], &names].concat())?;
        let last = self.states.len();
        let time = now()?;
        self.states.push(Pushed { time, refs, last });
        Ok(())
    }

    /// Pushes branches, each by a process of its own, at the same moment.
    fn push_at_once(&mut self, names: &[String]) -> Result<()> {
        let barrier = Barrier::new(names.len());
        let push = ["push", "--quiet", "-o", "gitback.wait=0", "gitback"];
        let person = self.fleet.person(0);
        let commands = names.iter().map(|name| {
            let arguments = push.into_iter().chain([name.as_str()]);
            person.git(&self.work, arguments)
        });
        let commands: Vec<Invocation> = commands.collect();
        let run = |command: &Invocation| {
            barrier.wait();
            command.run()?.success()?;
            now()
        };
        let ended: Result<Vec<f64>> = std::thread::scope(|scope| {
            let running = commands.iter().map(|one| scope.spawn(|| run(one)));
            let running: Vec<_> = running.collect();
            let ended = running.into_iter().map(|one| one.join());
            ended
                .map(|one| one.map_err(|_| anyhow!("a push panicked"))?)
                .collect()
        });
        let mut ended: Vec<(f64, &String)> = ended?.into_iter().zip(names).collect();
        ended.sort_by(|one, other| one.0.total_cmp(&other.0));
        let last = self.states.len() + names.len() - 1;
        let mut refs = self.states.last().map(|state| state.refs.clone());
        for (time, name) in ended {
            let refs = refs.get_or_insert_default();
            refs.insert(
                format!("refs/heads/{name}"),
                self.git(&["rev-parse", name])?,
            );
            let refs = refs.clone();
            self.states.push(Pushed { time, refs, last });
        }
        Ok(())
    }

    /// Starts a daemon on what a crash before step `at` has left, and sees what it serves.
    fn check(&mut self, disk: &Disk, steps: &[Step], at: usize, point: usize) -> Result<()> {
        disk.write(&self.held)?;
        let checked = self
            .fleet
            .restart(0)
            .and_then(|()| self.look(steps, at, point));
        self.fleet.envoy_mut(0).kill()?;
        checked
    }

    fn look(&mut self, steps: &[Step], at: usize, point: usize) -> Result<()> {
        let found = self.listed()?;
        // The crash came at the latest when the next step began.
        let crash = steps.get(at).map_or(f64::INFINITY, |step| step.time);
        let done = self.states.iter().filter(|state| state.time < crash);
        let done = done.count();
        if !self.is_allowed(done, &found) {
            bail!("{done} pushes were done, and the refs are {found:?}");
        }
        self.fsck()?;
        if point.is_multiple_of(PROBE_EVERY) {
            self.git(&[
                "push",
                "--quiet",
                "-o",
                "gitback.wait=0",
                "gitback",
                "HEAD:refs/heads/probe",
            ])?;
        }
        Ok(())
    }

    /// Whether a reader may be shown these refs when so many pushes were reported as done: what those have left, and what
    /// was under way wholly or not at all.
    fn is_allowed(&self, done: usize, found: &Refs) -> bool {
        let empty = Refs::new();
        let least = done.checked_sub(1).and_then(|last| self.states.get(last));
        let least = least.map_or(&empty, |state| &state.refs);
        let Some(next) = self.states.get(done) else {
            return found == least;
        };
        if next.last == done {
            return found == least || *found == next.refs;
        }
        // Each of those at the same moment moves one ref.
        let most = self.states.get(next.last).map_or(&empty, |last| &last.refs);
        let mut names = least.keys().chain(most.keys()).chain(found.keys());
        names.all(|name| {
            let value = found.get(name);
            value == least.get(name) || value == most.get(name)
        })
    }

    /// The refs that a reader is shown.
    fn listed(&self) -> Result<Refs> {
        let listed = self.git(&["ls-remote", "gitback"])?;
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        let refs = lines.filter(|(_, name)| name.starts_with("refs/") && !name.ends_with("^{}"));
        Ok(refs
            .map(|(value, name)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    /// Has git look at everything that is held. While packs are put together, git may have listed one whose index has just
    /// gone, and complains: then it looks again.
    fn fsck(&self) -> Result<()> {
        for bare in repositories(&self.held)? {
            let fsck = ["fsck", "--full", "--no-dangling"];
            let fsck = self.fleet.person(0).git(&bare, fsck);
            gitback_tests::until(Duration::from_secs(30), "git fsck", || {
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
    fn make_noise(&self, seed: u64) -> Result<()> {
        let mut lot = Lot(seed);
        let noise: Vec<u8> = (0..200_000)
            .flat_map(|_| lot.draw().to_le_bytes())
            .collect();
        Ok(std::fs::write(self.work.join("noise"), noise)?)
    }

    /// One more commit that changes so many lines.
    fn commit(&mut self, lines: u32) -> Result<()> {
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

    fn git(&self, args: &[&str]) -> Result<String> {
        let done = self
            .fleet
            .person(0)
            .git(&self.work, args)
            .run()?
            .success()?;
        Ok(done.stdout.trim().to_owned())
    }
}

fn repositories(held: &Path) -> Result<Vec<PathBuf>> {
    let projects = held.join("lib/vigo/swarm/gitback/projects");
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
