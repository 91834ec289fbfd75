//! `cargo xtask crash --receiver`: stops an envoy at every change that it makes while it receives what was pushed elsewhere.
//!
//! Mars takes pushes and venus is traced, in three scenes: venus receives pushes as they are made, and git says that both
//! have them; venus was away and catches up; venus has lost the project and brings it in, in blocks. After each crash venus
//! starts alone. What git had said that both have is there, nothing wrong is shown, and when mars returns both come to hold
//! the same.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gitback_tests::{Binaries, Stop, until};

use super::disk::Disk;
use super::pushes::{Refs, is_between};
use super::replay::{Counts, Crash, Replay};
use super::scene::{Scene, Wait, held, now};
use super::{Arguments, PROBE_EVERY, Receiver, walk};
use crate::show;

/// How often mars returns where venus takes no pushes by itself.
const RETURN_EVERY: usize = 4;

/// How long two that reach each other may take to show the same.
const AGREE_MAX: Duration = Duration::from_secs(60);

/// What an envoy writes to its log when a pack is there that came in blocks.
const BROUGHT: &str = "brought a pack in from several envoys";

/// So many files of a mebibyte make a project that is worth it to bring in in blocks.
const LARGE_FILES: u64 = 10;

/// Plays one of the scenes or all three, and looks at every crash of each.
pub(super) fn crashes(
    binaries: &Binaries,
    scenes: Receiver,
    arguments: &Arguments,
    stop: &Stop,
) -> Result<()> {
    let mut all = Counts::default();
    for one in [Receiver::Pushes, Receiver::CatchUp, Receiver::Blocks] {
        if scenes != Receiver::All && scenes != one {
            continue;
        }
        let mut scene = Scene::pair(binaries, stop)?;
        let counts = match one {
            Receiver::CatchUp => catch_up(&mut scene, arguments, stop)?,
            Receiver::Blocks => bring_in(&mut scene, arguments, stop)?,
            Receiver::Pushes | Receiver::All => receive(&mut scene, arguments, stop)?,
        };
        show::line(&counts.says())?;
        all.add(&counts);
    }
    show::line("in all:")?;
    all.conclude()
}

/// What the other envoy holds in the end.
struct Mars {
    disk: Disk,
    refs: Refs,
}

impl Mars {
    /// Ends it, and keeps what it holds.
    fn leave(scene: &mut Scene) -> Result<Self> {
        scene.fleet.envoy_mut(0).end()?;
        let disk = Disk::of(&held(&scene.fleet, 0))?;
        let refs = scene.refs();
        Ok(Self { disk, refs })
    }

    /// Starts it with all that it holds, and ends it as soon as it says that both hold all. Then both show the same.
    fn meet(&self, scene: &mut Scene) -> Result<()> {
        self.disk.write(&held(&scene.fleet, 0))?;
        let started = scene.fleet.restart(0);
        let met = started
            .and_then(|()| self.shows(scene, 0))
            .and_then(|()| sync(scene));
        scene.fleet.envoy_mut(0).kill()?;
        met?;
        // With nobody to fetch from.
        self.shows(scene, 1)?;
        scene.fsck()
    }

    /// Waits until an envoy shows what mars did.
    fn shows(&self, scene: &Scene, envoy: usize) -> Result<()> {
        let name = scene.fleet.envoy(envoy).name();
        until(AGREE_MAX, "it shows what mars did", || {
            let shown = scene.shown_at(envoy)?;
            Ok(if shown.as_ref() == Some(&self.refs) {
                Ok(())
            } else {
                Err(format!("{name} shows {shown:?}"))
            })
        })
    }
}

/// Waits until mars knows that both hold all of the project.
pub(super) fn sync(scene: &Scene) -> Result<()> {
    let sync = ["swarm", "gitback", "sync", "notes", "--copies", "2"];
    let synced = scene.fleet.person(0).vigo(sync).run()?;
    synced.success().context("the two do not come to agree")?;
    Ok(())
}

/// Pushes as they are made.
fn receive(scene: &mut Scene, arguments: &Arguments, stop: &Stop) -> Result<Counts> {
    let replay = scene.traced(|scene| {
        scene.found_and_push()?;
        scene.push_all_kinds()
    })?;
    let mars = Mars::leave(scene)?;
    let pushes = scene.pushed();
    let size = replay.size();
    show::line(&format!(
        "{pushes} pushes that git said both have, {size} of venus"
    ))?;
    walk(scene, &replay, arguments, stop, |scene, crash, counts| {
        let found = scene.look_at_refs(crash.time)?;
        scene.fsck()?;
        if crash.point.is_multiple_of(2 * PROBE_EVERY) {
            mars.meet(scene)?;
            counts.met += 1;
        } else if crash.point.is_multiple_of(PROBE_EVERY) && found.is_some() {
            scene.probe()?;
            counts.probed += 1;
        } else if scene.push_again(crash.time, found.as_ref())? {
            counts.again += 1;
        }
        Ok(())
    })
}

/// Venus was away while pushes of all kinds were made.
fn catch_up(scene: &mut Scene, arguments: &Arguments, stop: &Stop) -> Result<Counts> {
    scene.found_and_push()?;
    scene.git(&["checkout", "--quiet", "-b", "gone"])?;
    scene.commit(1)?;
    let both = [
        ("refs/heads/gone", Some("gone")),
        ("refs/heads/turned", Some("gone")),
    ];
    scene.push(&["gone", "gone:refs/heads/turned"], &both)?;
    let before = scene.refs();
    scene.fleet.envoy_mut(1).end()?;
    scene.wait = Wait::Nobody;
    scene.push(&[":gone"], &[("refs/heads/gone", None)])?;
    scene.git(&["commit", "--quiet", "--amend", "-m", "turned"])?;
    let turned = [("refs/heads/turned", Some("gone"))];
    scene.push(&["--force", "gone:refs/heads/turned"], &turned)?;
    scene.git(&["checkout", "--quiet", "main"])?;
    scene.push_all_kinds()?;
    let missed = scene.pushed() - 2;
    let came = come_to_hold_it(scene)?;
    let size = came.replay.size();
    show::line(&format!("{missed} pushes that venus catches up on, {size}"))?;
    walk(
        scene,
        &came.replay,
        arguments,
        stop,
        |scene, crash, counts| came.look(scene, Some(&before), crash, counts),
    )
}

/// Venus has lost the project.
fn bring_in(scene: &mut Scene, arguments: &Arguments, stop: &Stop) -> Result<Counts> {
    for file in 0..LARGE_FILES {
        scene.make_noise_in(&format!("large-{file}"), (1 << 20) / 8, file)?;
    }
    scene.commit(1)?;
    scene.found_and_push()?;
    scene.git(&["tag", "-a", "-m", "one", "v1"])?;
    scene.push(&["v1"], &[("refs/tags/v1", Some("v1"))])?;
    scene.commit(1)?;
    scene.push(&["main"], &[("refs/heads/main", Some("main"))])?;
    scene.fleet.envoy_mut(1).end()?;
    let projects = scene.held.join("vigo/swarm/gitback");
    for kept in ["projects", "envelopes"] {
        for entry in fs::read_dir(projects.join(kept))? {
            fs::remove_dir_all(entry?.path())?;
        }
    }
    let came = come_to_hold_it(scene)?;
    if in_blocks(scene).is_empty() {
        bail!("no pack came in blocks");
    }
    let size = came.replay.size();
    show::line(&format!(
        "a project that venus brings in, in blocks, {size}"
    ))?;
    let counts = walk(
        scene,
        &came.replay,
        arguments,
        stop,
        |scene, crash, counts| came.look(scene, None, crash, counts),
    )?;
    let packs = in_blocks(scene);
    let resumed = packs.iter().filter(|line| !line.contains("resumed=0"));
    let (resumed, packs) = (resumed.count(), packs.len());
    show::line(&format!(
        "{packs} packs came in blocks; of {resumed} some were there already"
    ))?;
    Ok(counts)
}

/// What venus says of packs that came in blocks.
fn in_blocks(scene: &Scene) -> Vec<String> {
    let log = scene.fleet.envoy(1).log();
    let lines = log.lines().filter(|line| line.contains(BROUGHT));
    lines.map(str::to_owned).collect()
}

/// How venus came to hold what mars does.
struct Came {
    replay: Replay,
    /// When mars knew that it did, in seconds since the epoch.
    time: f64,
    mars: Mars,
}

/// Starts venus and lets it come to hold what mars does.
fn come_to_hold_it(scene: &mut Scene) -> Result<Came> {
    let mut time = 0.0;
    let replay = scene.traced(|scene| {
        sync(scene)?;
        time = now()?;
        Ok(())
    })?;
    let mars = Mars::leave(scene)?;
    Ok(Came { replay, time, mars })
}

impl Came {
    /// Sees what venus serves after a crash on the way from what it held before, and that it comes to hold all.
    fn look(
        &self,
        scene: &mut Scene,
        before: Option<&Refs>,
        crash: &Crash,
        counts: &mut Counts,
    ) -> Result<()> {
        let found = scene.shown()?;
        let (nothing, all) = (Refs::new(), &self.mars.refs);
        let had_all = self.time < crash.time;
        let is_allowed = match &found {
            Some(found) if had_all => found == all,
            Some(found) => is_between(before.unwrap_or(&nothing), all, found),
            None => before.is_none() && !had_all,
        };
        if !is_allowed {
            let had = if had_all { "all" } else { "a part" };
            bail!("venus had {had} of it, and the refs are {found:?}");
        }
        scene.fsck()?;
        if crash.point.is_multiple_of(RETURN_EVERY) {
            self.mars.meet(scene)?;
            counts.met += 1;
        }
        Ok(())
    }
}
