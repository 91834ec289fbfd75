//! What a fleet costs together: catching up, coming to one mind after a cut, and one push to many.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gitback_tests::{Binaries, Fleet, Options, Person, Shape, Stop};

use crate::Pairs;
use crate::start::{bare_start, since_beginning};

/// What to measure.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// How often each catch-up and each heal is measured.
    pub rounds: u32,
    /// How many pairs of one-commit pushes to each size of a fleet.
    pub pushes: u32,
}

/// What was measured.
#[derive(Debug)]
pub struct FleetReport {
    /// For each number of missed pushes: `git fetch` of them, and how much longer an envoy takes from its start until it
    /// serves them than one that has missed nothing takes to start.
    pub catch_ups: Vec<(u32, Pairs)>,
    /// From the end of a cut until the envoy that was cut off and the others show the same, with a push on each side.
    pub heals: Vec<Duration>,
    /// For each size of a fleet: a plain one-commit push, and one that waits until every envoy has it durably.
    pub pushes: Vec<(usize, Pairs)>,
}

/// Pushes that an envoy misses.
pub const MISSED: [u32; 2] = [50, 500];
/// Envoys in a fleet that is pushed to, the one that takes the push included.
const SIZES: [usize; 3] = [3, 8, 24];
/// As users have it, but for the disk of the machine that measures.
const SETTINGS: &str = "min_free_percent = 0\n";
/// The longest that anything here may take.
const MOST: Duration = Duration::from_secs(600);
/// Between two looks at a file; part of each figure that it ends.
const LOOK: Duration = Duration::from_millis(1);

/// Measures all of it, and says before each part what it is.
///
/// # Errors
///
/// When a measured command fails, or somebody asked to stop.
pub fn fleet_report(
    binaries: &Binaries,
    plan: &FleetPlan,
    stop: &Stop,
    say: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<FleetReport> {
    let start = |envoys, links| Stage::start(binaries, envoys, links, stop);
    let catch_ups = catch_up_pairs(binaries, &MISSED, plan.rounds, stop, say)?;
    say("one mind after a cut")?;
    let heals = start(3, true)?.heals(plan.rounds)?;
    let mut pushes = Vec::new();
    for envoys in SIZES {
        say(&format!("one push to {envoys} envoys"))?;
        pushes.push((envoys, start(envoys, false)?.pushes(plan.pushes)?));
    }
    Ok(FleetReport {
        catch_ups,
        heals,
        pushes,
    })
}

/// Measures only [`FleetReport::catch_ups`], so many for each of these numbers of missed pushes.
///
/// # Errors
///
/// As [`fleet_report`].
pub fn catch_up_pairs(
    binaries: &Binaries,
    missed: &[u32],
    rounds: u32,
    stop: &Stop,
    say: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Vec<(u32, Pairs)>> {
    let mut catch_ups = Vec::new();
    for missed in missed.iter().copied() {
        say(&format!("catching up after {missed} missed pushes"))?;
        let stage = Stage::start(binaries, 2, false, stop)?;
        catch_ups.push((missed, stage.catch_ups(missed, rounds, say)?));
    }
    Ok(catch_ups)
}

/// A fleet that holds a project, its work tree on the first envoy, and a plain bare repository with the same.
struct Stage {
    fleet: Fleet,
    work: PathBuf,
    plain: PathBuf,
    commits: u32,
}

impl Stage {
    fn start(binaries: &Binaries, envoys: usize, links: bool, stop: &Stop) -> Result<Self> {
        let options = Options::new(binaries.clone()).envoys(envoys);
        let options = options.settings(SETTINGS).stop(stop.clone());
        let options = if links { options.links() } else { options };
        let mut fleet = Fleet::start(options)?;
        fleet.create_puddle(0, "dan")?;
        let (work, plain) = (fleet.dir().join("work"), fleet.dir().join("plain.git"));
        let shape = Shape {
            commits: 1000,
            files: 100,
            branches: 0,
            tags: 0,
        };
        shape.write(fleet.person(0), &work)?;
        let found = ["swarm", "gitback", "project", "init", "notes", "--no-push"];
        fleet.person(0).vigo(found).cwd(&work).run()?.success()?;
        let stage = Self {
            fleet,
            work,
            plain,
            commits: 0,
        };
        let plain = stage.plain.to_string_lossy().into_owned();
        stage.git(&["init", "--quiet", "--bare", &plain])?;
        stage.git(&["push", "--quiet", &plain, "main"])?;
        stage.git(&[
            "push",
            "--quiet",
            "-o",
            "gitback.wait=all",
            "gitback",
            "main",
        ])?;
        Ok(stage)
    }

    fn catch_ups(
        mut self,
        missed: u32,
        rounds: u32,
        say: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        let behind = self.fleet.dir().join("behind.git");
        let (from, to) = (file(&self.plain), behind.to_string_lossy().into_owned());
        self.git(&["clone", "--quiet", "--bare", &from, &to])?;
        for round in 1..=rounds.max(1) {
            say(&format!("{missed} pushes, round {round} of {rounds}"))?;
            let start = bare_start(&mut self.fleet, 1)?;
            self.agreed()?;
            self.fleet.envoy_mut(1).end()?;
            for _ in 0..missed {
                self.commit()?;
                self.git(&["push", "--quiet", &from, "main"])?;
                self.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", "main"])?;
            }
            let tip = self.tip()?;
            let fetch = ["fetch", "--quiet", &from, "+main:main"];
            let outcome = self.person().git(&behind, fetch).deadline(MOST).run()?;
            let plain = outcome.success()?.took;
            self.fleet.restart(1)?;
            self.wait_for(1, "main", &tip)?;
            // It begins before it says that it is ready; the start of one that has missed nothing is no catching up.
            let whole = since_beginning(&self.fleet, 1)?;
            pairs.add(plain, whole.saturating_sub(start));
            self.agreed()?;
        }
        Ok(pairs)
    }

    fn heals(mut self, rounds: u32) -> Result<Vec<Duration>> {
        // Who pushes on the far side needs the key there.
        self.fleet.carry_puddle(0, 2)?;
        self.fleet.unlock(2)?;
        let far = self.fleet.person(2).clone();
        let clone = far.root().join("clone");
        let url = "gitback://dan/notes";
        far.git(far.root(), ["clone", "--quiet", url, "clone"])
            .run()?
            .success()?;
        let mut heals = Vec::new();
        for round in 0..rounds.max(1) {
            self.fleet.cut(2);
            self.wait_for_state(0, "titan", "offline")?;
            self.wait_for_state(2, "mars", "offline")?;
            self.commit()?;
            self.git(&["push", "--quiet", "-o", "gitback.wait=1", "gitback", "main"])?;
            let message = format!("far {round}");
            let args = ["commit", "--quiet", "--allow-empty", "-m", &message];
            far.git(&clone, args).run()?.success()?;
            let args = [
                "push",
                "--quiet",
                "-o",
                "gitback.wait=0",
                "origin",
                "HEAD:refs/heads/far",
            ];
            far.git(&clone, args).run()?.success()?;
            let (near, far_tip) = (self.tip()?, tip_of(&far, &clone)?);
            let healed = Instant::now();
            self.fleet.mend(2);
            self.wait_for(2, "main", &near)?;
            self.wait_for(0, "far", &far_tip)?;
            self.wait_for(1, "far", &far_tip)?;
            heals.push(healed.elapsed());
            self.agreed()?;
        }
        Ok(heals)
    }

    fn pushes(mut self, runs: u32) -> Result<Pairs> {
        let plain = file(&self.plain);
        let all = format!("replicated to {0} of {0} envoys", self.fleet.len());
        let mut pairs = Pairs::default();
        // The first pair opens connections and warms caches; it does not count.
        for run in 0..=runs {
            self.commit()?;
            let plain = self.git(&["push", "--quiet", &plain, "main"])?.took;
            let ours = self.git(&["push", "-o", "gitback.wait=all", "gitback", "main"])?;
            if !ours.stderr.contains(&all) {
                bail!("not {all}:\n{ours}");
            }
            if run > 0 {
                pairs.add(plain, ours.took);
            }
            self.agreed()?;
        }
        Ok(pairs)
    }

    /// Waits until the first envoy knows that all hold everything, so that nothing runs into the next measurement.
    fn agreed(&self) -> Result<()> {
        let all = self.fleet.len() as u64;
        let asked = ["swarm", "gitback", "project", "status", "notes", "--json"];
        let asked = self.person().vigo(asked);
        gitback_tests::until(MOST, "copies on all envoys", || {
            std::thread::sleep(LOOK);
            let status: serde_json::Value = serde_json::from_str(&asked.run()?.success()?.stdout)?;
            let found = status.get("copies").and_then(serde_json::Value::as_u64);
            Ok(if found == Some(all) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            })
        })
    }

    /// Waits until an envoy calls another one by this state.
    fn wait_for_state(&self, index: usize, peer: &str, state: &str) -> Result<()> {
        let asked = self.fleet.person(index).vigo(["envoy", "status", "--json"]);
        gitback_tests::until(MOST, &format!("{peer} {state}"), || {
            std::thread::sleep(LOOK);
            let status: serde_json::Value = serde_json::from_str(&asked.run()?.success()?.stdout)?;
            let peers = status.get("peers").and_then(serde_json::Value::as_array);
            let found = peers
                .into_iter()
                .flatten()
                .find(|one| is(one, "name", peer));
            let there = found.is_some_and(|one| is(one, "state", state));
            Ok(if there {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            })
        })
    }

    /// Waits until the repository of an envoy has this commit as this branch.
    fn wait_for(&self, index: usize, branch: &str, commit: &str) -> Result<()> {
        let bare = repository(self.fleet.envoy(index).root())?;
        let packed = format!("{commit} refs/heads/{branch}\n");
        gitback_tests::until(MOST, &format!("{branch} at {commit}"), || {
            std::thread::sleep(LOOK);
            let read = |name: &str| std::fs::read_to_string(bare.join(name)).unwrap_or_default();
            let loose = read(&format!("refs/heads/{branch}"));
            let there = loose.trim() == commit
                || (loose.is_empty() && read("packed-refs").contains(&packed));
            Ok(if there { Ok(()) } else { Err(loose) })
        })
    }

    /// One more commit with a change of one line.
    fn commit(&mut self) -> Result<()> {
        self.commits += 1;
        std::fs::write(
            self.work.join("line.txt"),
            format!("line {}\n", self.commits),
        )?;
        self.git(&["add", "line.txt"])?;
        self.git(&["commit", "--quiet", "-m", "Change the line"])?;
        Ok(())
    }

    fn tip(&self) -> Result<String> {
        tip_of(self.person(), &self.work)
    }

    fn git(&self, args: &[&str]) -> Result<gitback_tests::Outcome> {
        let command = self.person().git(&self.work, args).deadline(MOST);
        command.run()?.success()
    }

    fn person(&self) -> &Person {
        self.fleet.person(0)
    }
}

fn is(value: &serde_json::Value, field: &str, expected: &str) -> bool {
    value.get(field).and_then(serde_json::Value::as_str) == Some(expected)
}

fn tip_of(person: &Person, dir: &Path) -> Result<String> {
    let found = person.git(dir, ["rev-parse", "HEAD"]).run()?.success()?;
    Ok(found.stdout.trim().to_owned())
}

fn file(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The only repository of an envoy.
fn repository(root: &Path) -> Result<PathBuf> {
    let projects = root.join("var/lib/vigo/swarm/gitback/projects");
    let mut entries = std::fs::read_dir(&projects)?
        .flatten()
        .map(|entry| entry.path());
    let found = entries.find(|path| path.extension().is_some_and(|extension| extension == "git"));
    found.with_context(|| format!("no repository in {}", projects.display()))
}
