//! What takes long: a long history, a gibibyte, and many peers and projects.

use std::time::Duration;

use anyhow::Result;
use gitback_tests::{Binaries, Fleet, Options, Shape, Stop};

use super::history::size_kib;
use super::{Bench, GIT_MAX, Plan, Report, Room, copies};
use crate::Memory;

/// A gibibyte, in files of one mebibyte.
const GIBIBYTE_FILES: u32 = 1024;
/// How many envoys know each other where only that they do nothing is measured.
const ENVOYS: usize = 11;
/// How many projects they hold.
const PROJECTS: u32 = 100;
/// After so long a daemon has closed what it had open: every 30 s it indexes what got nothing new for 20 s, and closes what
/// nobody, that included, has used for 60 s.
const QUIET: Duration = Duration::from_secs(150);
/// What an idle daemon may take, in MiB.
const IDLE_MAX_MIB: u64 = 24;

impl Bench {
    /// Measures a first publish, one-commit pushes and a gibibyte on the history, and then how much many daemons with many
    /// projects take that do nothing.
    ///
    /// # Errors
    ///
    /// As [`Bench::run`].
    pub fn run_large(
        mut self,
        binaries: Binaries,
        plan: &Plan,
        stop: &Stop,
        say: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Report> {
        let (mut rows, mut rooms) = (Vec::new(), Vec::new());
        say("first publish of everything")?;
        self.publishes(plan.whole_runs, &mut rows, &mut rooms)?;
        say("one-commit pushes")?;
        rows.push(self.one_commit_on_all(plan.runs)?);
        let size_kib = size_kib(self.person(0), &self.bare(0))?;
        say("a gibibyte of new content")?;
        for index in [0, 1] {
            Memory::forget_peak(self.pid(index)?)?;
        }
        rows.push(self.content(
            1,
            GIBIBYTE_FILES,
            "a gibibyte of new content, on 3 envoys",
            Some(1.4),
        )?);
        let peak = |memory: &Memory| memory.peak_kib;
        rooms.push(self.room("peak, taking a gibibyte", 0, peak)?);
        rooms.push(self.room("peak, receiving it from a peer", 1, peak)?);
        say("a clone of all that")?;
        Memory::forget_peak(self.pid(1)?)?;
        self.clone("gitback://dan/bench-0", "large")?;
        rooms.push(self.room("peak, serving a clone of it", 1, peak)?);
        let commits = self.commits;
        drop(self);
        say("a hundred projects on eleven envoys")?;
        rooms.extend(idle(binaries, stop)?);
        Ok(Report {
            commits,
            size_kib,
            rows,
            rooms,
        })
    }
}

/// What a daemon with ten peers and a hundred projects takes that does nothing.
///
/// # Errors
///
/// When a command fails, or somebody asked to stop.
pub fn idle(binaries: Binaries, stop: &Stop) -> Result<Vec<Room>> {
    let options = Options::new(binaries)
        .envoys(ENVOYS)
        .settings("min_free_percent = 0\n")
        .stop(stop.clone());
    let mut fleet = Fleet::start(options)?;
    fleet.make_puddle("dan")?;
    let work = fleet.dir().join("work");
    Shape::SMALL.write(&fleet.outside(), &work)?;
    let person = fleet.person(0);
    let last = format!("project-{}", PROJECTS - 1);
    for number in 0..PROJECTS {
        if number > 0 {
            let forget = person.git(&work, ["remote", "remove", "gitback"]);
            forget.run()?.success()?;
        }
        let name = format!("project-{number}");
        let found = ["swarm", "gitback", "project", "init", &name];
        person.vigo(found).cwd(&work).run()?.success()?;
    }
    let asked = ["swarm", "gitback", "project", "status", &last, "--json"];
    let asked = person.vigo(asked);
    let all = u64::try_from(ENVOYS)?;
    gitback_tests::until(GIT_MAX, "copies on all", || copies(&asked, all))?;
    let mut rooms = Vec::new();
    let mut look = |fleet: &Fleet, what, index: usize| {
        std::thread::sleep(QUIET);
        let pid = fleet.envoy(index).pid();
        let memory = Memory::of(pid.ok_or_else(|| anyhow::anyhow!("a daemon has ended"))?)?;
        rooms.push(Room {
            what,
            kib: memory.now_kib,
            own_kib: Some(memory.own_kib),
            program_kib: Some(memory.program_kib),
            target_mib: Some(IDLE_MAX_MIB),
        });
        Ok::<_, anyhow::Error>(())
    };
    look(
        &fleet,
        "idle, 10 peers and 100 projects, all pushed to others",
        0,
    )?;
    look(
        &fleet,
        "idle, 10 peers and 100 projects, all come from a peer",
        1,
    )?;
    fleet.envoy_mut(1).kill()?;
    fleet.restart(1)?;
    look(
        &fleet,
        "idle, 10 peers and 100 projects, after a restart",
        1,
    )?;
    Ok(rooms)
}
