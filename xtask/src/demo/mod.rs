//! `cargo xtask demo`: the main job, with real daemons and real git, told command by command.

mod source;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gitback_tests::{Binaries, Fleet, Options, Outcome, Profile, Refs, Stop};

use source::Source;
use stage::Stage;

use crate::cargo;

/// What can be said to `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many envoys to start, at least two.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=64))]
    envoys: u8,
    /// The repository to push; this one if none is named. It is only read.
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
    /// Leave the surviving envoys running and say how to use them.
    #[arg(long)]
    keep: bool,
    /// Use the programs as tests do, not as shipped: quicker to build, slower to run.
    #[arg(long)]
    dev: bool,
}

impl Arguments {
    /// The demo as part of the checks: the programs that the tests have built, and a repository of its own.
    pub(crate) fn as_check(repo: &Path) -> Self {
        Self {
            envoys: 3,
            repo: Some(repo.to_owned()),
            keep: false,
            dev: true,
        }
    }
}

/// The person, and so the first part of every address.
const PUDDLE: &str = "dan";

/// How long one git command may take; large histories are slow on small machines.
const GIT_MAX: Duration = Duration::from_secs(3600);

/// How long the survivors may take to hold everything.
const COPIES_MAX: Duration = Duration::from_secs(1800);

/// Runs the demo.
///
/// # Errors
///
/// When a step fails, a ref differs, the clone is damaged, or the user interrupts. Everything is ended and removed by then.
pub(crate) fn run(arguments: &Arguments, stop: &Stop) -> Result<()> {
    let mut stage = Stage::new();
    let binaries = build(&mut stage, arguments.dev)?;
    if stop.asked() {
        bail!("interrupted");
    }
    let mut play = Play::start(&mut stage, arguments, binaries, stop)?;
    play.share_puddle(&mut stage)?;
    play.found(&mut stage)?;
    play.push_everything(&mut stage)?;
    play.push_one_more(&mut stage)?;
    play.wait_for_copies(&mut stage)?;
    let served = play.as_served()?;
    play.lose_first(&mut stage)?;
    play.clone_and_compare(&mut stage, &served)?;
    stage.end()?;
    if arguments.keep { play.keep() } else { Ok(()) }
}

fn build(stage: &mut Stage, dev: bool) -> Result<Binaries> {
    let profile = if dev { Profile::Dev } else { Profile::Release };
    stage.title(match profile {
        Profile::Dev => "Building vigo and git-remote-gitback",
        Profile::Release => {
            "Building vigo and git-remote-gitback in release (a few minutes the first time)"
        }
    })?;
    let target = cargo::target_dir()?;
    stage.timed("build the programs", || Binaries::build(profile, &target))
}

/// The demo between two steps.
struct Play {
    fleet: Fleet,
    source: Source,
    work: PathBuf,
    remote: &'static str,
}

impl Play {
    fn start(
        stage: &mut Stage,
        arguments: &Arguments,
        binaries: Binaries,
        stop: &Stop,
    ) -> Result<Self> {
        let count = usize::from(arguments.envoys);
        let settings = "contact_interval_ms = 1000\n";
        let options = Options::new(binaries)
            .envoys(count)
            .settings(settings)
            .stop(stop.clone());
        let options = if arguments.keep {
            options.keepable()
        } else {
            options
        };
        let path = arguments
            .repo
            .clone()
            .unwrap_or_else(|| cargo::workspace().to_owned());
        let fleet = Fleet::prepare(options)?;
        // Before anything is started: a repository that cannot be pushed is said at once.
        let source = Source::open(&fleet.outside(), &path)?;
        stage.title(&format!(
            "Starting {count} envoys, each with its own root, port and key"
        ))?;
        let fleet = stage.timed(&format!("start {count} envoys"), || fleet.started())?;
        for envoy in fleet.envoys() {
            let command = envoy.command().line();
            stage.say(
                envoy.name(),
                &format!("{command} &"),
                &ready_line(&envoy.log()),
            )?;
        }
        stage.note("Each `mars$` below is a shell with VIGO_ROOT set to that machine's root.")?;
        let work = fleet.dir().join("work");
        Ok(Self {
            fleet,
            source,
            work,
            remote: "gitback",
        })
    }

    fn share_puddle(&mut self, stage: &mut Stage) -> Result<()> {
        stage.title(&format!(
            "Making {PUDDLE}'s puddle and carrying its wrapped key to the other machines"
        ))?;
        let passphrase = self.fleet.passphrase_file().to_string_lossy().into_owned();
        let first = self.fleet.person(0).clone();
        let args = [
            "swarm",
            "puddle",
            "init",
            "--name",
            PUDDLE,
            "--passphrase-file",
            &passphrase,
        ];
        let mut took = stage.command(&first, &first.vigo(args))?.took;
        self.fleet.puddle_made(PUDDLE);
        for index in 1..self.fleet.len() {
            self.fleet.carry_puddle(0, index)?;
            let (from, to) = (
                first.root().display(),
                self.fleet.person(index).root().display(),
            );
            let copy =
                format!("cp -p {from}/home/.vigo-puddle/identity.wrapped {to}/home/.vigo-puddle/");
            stage.say(self.fleet.person(index).envoy(), &copy, "")?;
        }
        // Making a puddle leaves it unlocked; carrying it does not.
        for index in 1..self.fleet.len() {
            let person = self.fleet.person(index);
            let args = [
                "swarm",
                "puddle",
                "unlock",
                "--passphrase-file",
                &passphrase,
            ];
            took += stage.command(person, &person.vigo(args))?.took;
        }
        stage.record("make and unlock the puddle", took, "");
        Ok(())
    }

    fn found(&mut self, stage: &mut Stage) -> Result<()> {
        let (source, handle) = (&self.source, &self.source.handle);
        stage.title(&format!(
            "Founding {PUDDLE}/{handle} from a repository with {}, {} and {}",
            source.commits(),
            source.branches(),
            source.tags().as_deref().unwrap_or("no tags"),
        ))?;
        std::fs::create_dir(&self.work)?;
        let first = self.fleet.person(0);
        stage.say(
            first.envoy(),
            &format!("mkdir {0} && cd {0}", self.work.display()),
            "",
        )?;
        for command in self.source.copy(first, &self.work) {
            stage.command(first, &command.deadline(GIT_MAX))?;
        }
        let args = ["swarm", "gitback", "project", "init", handle, "--no-push"];
        let founded = stage.command(first, &first.vigo(args).cwd(&self.work))?;
        stage.record("found the project", founded.took, "");
        Ok(())
    }

    fn push_everything(&mut self, stage: &mut Stage) -> Result<()> {
        stage.title("Pushing all branches and tags with plain git push")?;
        let (branches, commits) = (self.source.branches(), self.source.commits());
        self.push(stage, "--all", &format!("push {branches} ({commits})"))?;
        if let Some(tags) = self.source.tags() {
            self.push(stage, "--tags", &format!("push {tags}"))?;
        }
        Ok(())
    }

    fn push_one_more(&mut self, stage: &mut Stage) -> Result<()> {
        stage.title("Pushing one more commit")?;
        let first = self.fleet.person(0);
        let file = self.work.join("pushed-before-the-loss.txt");
        std::fs::write(
            &file,
            "this line was pushed to a machine that no longer exists\n",
        )?;
        let name = "pushed-before-the-loss.txt";
        stage.command(first, &first.git(&self.work, ["add", "--force", name]))?;
        stage.command(
            first,
            &first.git(&self.work, ["commit", "--quiet", "-m", "Add one more line"]),
        )?;
        let branch = self.source.branch.clone();
        self.push(stage, &branch, "push one more commit")
    }

    fn push(&self, stage: &mut Stage, what: &str, step: &str) -> Result<()> {
        let first = self.fleet.person(0);
        let command = first
            .git(&self.work, ["push", self.remote, what])
            .deadline(GIT_MAX);
        let pushed = stage.command(first, &command)?;
        stage.record(step, pushed.took, &held_by(&pushed.stderr));
        Ok(())
    }

    /// A large first push goes on to the other envoys after git has returned: nothing may be lost before it is over.
    fn wait_for_copies(&self, stage: &mut Stage) -> Result<()> {
        stage.title("Waiting until every envoy says that it holds everything")?;
        let first = self.fleet.person(0);
        let handle = self.source.handle.as_str();
        let wanted = u64::try_from(self.fleet.len())?;
        let waited = std::time::Instant::now();
        gitback_tests::until(COPIES_MAX, "all copies current", || {
            let asked = first.vigo(["swarm", "gitback", "project", "status", handle, "--json"]);
            let status = asked.run()?.success()?.stdout;
            let status: serde_json::Value =
                serde_json::from_str(&status).context("status is not JSON")?;
            let copies = status.get("copies").and_then(serde_json::Value::as_u64);
            Ok(if copies == Some(wanted) {
                Ok(())
            } else {
                Err(format!("{copies:?} of {wanted} copies"))
            })
        })?;
        let waited = waited.elapsed();
        stage.command(
            first,
            &first.vigo(["swarm", "gitback", "project", "status", handle]),
        )?;
        stage.record(
            "wait for the last copy",
            waited,
            &format!("{wanted} of {wanted} envoys"),
        );
        Ok(())
    }

    /// What a clone must show: the branches and tags that were pushed, and the `HEAD` that mars serves.
    fn as_served(&self) -> Result<Refs> {
        let first = self.fleet.person(0);
        let mut refs = gitback_tests::refs_of(first, &self.work)?;
        let listed = first
            .git(&self.work, ["ls-remote", "--symref", self.remote, "HEAD"])
            .run()?
            .success()?;
        let head = listed
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("ref: ")?.split('\t').next());
        refs.insert(
            "HEAD".to_owned(),
            head.context("the project has no HEAD")?.to_owned(),
        );
        Ok(refs)
    }

    fn lose_first(&mut self, stage: &mut Stage) -> Result<()> {
        let name = self.fleet.envoy(0).name().to_owned();
        stage.title(&format!(
            "Losing {name}, which took every push: killed, and its whole root deleted"
        ))?;
        let pid = self.fleet.envoy(0).pid().context("mars does not run")?;
        let root = self.fleet.envoy(0).root().display().to_string();
        let lost = std::time::Instant::now();
        self.fleet.envoy_mut(0).lose()?;
        stage.say(&name, &format!("kill -9 {pid}; rm -rf {root}"), "")?;
        stage.record(&format!("lose {name}"), lost.elapsed(), "");
        Ok(())
    }

    fn clone_and_compare(&self, stage: &mut Stage, served: &Refs) -> Result<()> {
        let survivor = self.fleet.person(1);
        stage.title(&format!("Cloning from {}, and comparing", survivor.envoy()))?;
        let dir = self.fleet.dir();
        let address = format!("gitback://{PUDDLE}/{}", self.source.handle);
        let clone = survivor
            .git(dir, ["clone", address.as_str(), "clone"])
            .deadline(GIT_MAX);
        let cloned = stage.command(survivor, &clone)?;
        stage.record(&format!("clone from {}", survivor.envoy()), cloned.took, "");
        let clone = dir.join("clone");
        let (flaws, took) = self.fsck(stage, &clone)?;
        let found = gitback_tests::refs_as_cloned(survivor, &clone)?;
        let differences = gitback_tests::differences(served, &found);
        if !differences.is_empty() {
            bail!(
                "the clone is not what was pushed:\n  {}",
                differences.join("\n  ")
            );
        }
        let count = served.len();
        stage.note(&format!(
            "Compared {count} refs (heads, tags and HEAD) with what was pushed: all the same."
        ))?;
        stage.record(
            &format!("compare {count} refs, fsck --full"),
            took,
            &format!("all the same, {flaws}"),
        );
        Ok(())
    }

    /// Checks the clone. An old history may have flaws of its own: those must be the same as where it came from.
    fn fsck(&self, stage: &Stage, clone: &Path) -> Result<(String, Duration)> {
        let survivor = self.fleet.person(1);
        let check = |dir: &Path| {
            survivor
                .git(dir, ["fsck", "--full", "--no-progress", "--no-dangling"])
                .deadline(GIT_MAX)
        };
        stage.say(
            survivor.envoy(),
            &format!("cd {} && git fsck --full", clone.display()),
            "",
        )?;
        let checked = check(clone).run()?;
        let complaints = complaints(&checked);
        if checked.code == Some(0) && complaints.is_empty() {
            stage.note("(clean)")?;
            return Ok(("clean".to_owned(), checked.took));
        }
        let before = check(&self.work).run()?;
        if before.code != checked.code || self::complaints(&before) != complaints {
            bail!(
                "git fsck --full finds in the clone what it does not find in the source:\n{checked}"
            );
        }
        let note = format!(
            "no flaw that the source does not have ({} old ones)",
            complaints.len()
        );
        stage.note(&format!("({note})"))?;
        Ok((note, checked.took))
    }

    fn keep(self) -> Result<()> {
        let survivor = self.fleet.person(1).clone();
        let handle = self.source.handle.clone();
        let dir = self.fleet.keep();
        let pids = gitback_tests::stragglers(&dir)
            .iter()
            .map(|one| one.pid.to_string())
            .collect::<Vec<_>>();
        crate::show::line(&format!(
            "\nThe survivors are still running. To be {PUDDLE} at {}:\n\n{}\n\n\
             Then, for example:\n\n  vigo swarm gitback status\n  vigo swarm gitback project status {handle}\n  cd {}/clone\n\n\
             To end them and remove everything:\n\n  kill {}; rm -rf {}",
            survivor.envoy(),
            survivor.exports(),
            dir.display(),
            pids.join(" "),
            dir.display(),
        ))
    }
}

/// What `git fsck` found, in no particular order.
fn complaints(checked: &Outcome) -> BTreeSet<String> {
    let said = checked.stdout.lines().chain(checked.stderr.lines());
    said.filter(|line| !line.starts_with("notice:"))
        .map(str::to_owned)
        .collect()
}

/// The daemon's own word that it is ready.
fn ready_line(log: &str) -> String {
    log.lines()
        .find(|line| line.contains(" ready on "))
        .unwrap_or_default()
        .to_owned()
}

/// Who holds a push, as its output says.
fn held_by(stderr: &str) -> String {
    let mut said = stderr
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("remote: success: "));
    said.next_back().unwrap_or("nobody said").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_holds_a_push() {
        let stderr = "remote: success: replicated to 3 of 3 envoys (mars, venus, titan)        \nTo gitback://dan/x\n";
        assert_eq!(
            held_by(stderr),
            "replicated to 3 of 3 envoys (mars, venus, titan)"
        );
        assert_eq!(held_by("To gitback://dan/x\n"), "nobody said");
    }
}
