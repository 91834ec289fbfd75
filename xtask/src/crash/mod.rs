//! `cargo xtask crash`: stops a daemon at every change that it makes to its files, and sees what is left.
//!
//! A daemon takes pushes while strace writes down what it and its git processes do to files. From that, the disk is put
//! together as it would be after a crash at each step: once with everything that was done so far, as after a kill; once
//! with nothing that was not synced, as after the worst loss of power; and as often as is wanted with a part of what was
//! not synced, drawn by lot, the last write of it torn. On each such disk a daemon is started. It has to serve every push
//! that git had reported as done before, whole, and to take the one that was under way once more, or another one.

mod disk;
mod full;
mod pushes;
mod receiver;
mod replay;
mod scene;
mod scrub;
mod strace;

use anyhow::{Result, anyhow, bail};
use gitback_tests::{Binaries, Profile, Stop};

use crate::{cargo, show};
use replay::{Counts, Crash, Replay};
use scene::Scene;
pub(crate) use strace::can_trace;

/// What can be said to `cargo xtask crash`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many disks are drawn by lot for each step.
    #[arg(long, default_value_t = 1)]
    draws: u64,
    /// Look at every so many-th step only, or push with every so many-th amount of room.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// The seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Crash an envoy that receives what is pushed on another one, instead; in all scenes, or in one.
    #[arg(long, value_name = "SCENE", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    receiver: Option<Receiver>,
    /// Push to a disk that is full, and then ever a little less full, instead. Needs root.
    #[arg(long, conflicts_with = "receiver")]
    full_disk: bool,
    /// Crash while damaged packs are set aside, instead.
    #[arg(long, conflicts_with_all = ["full_disk", "receiver"])]
    scrub: bool,
    /// Use the programs as tests do, not as shipped: quicker to build, slower to run.
    #[arg(long)]
    dev: bool,
}

impl Arguments {
    /// A few steps of an envoy that takes pushes.
    pub(crate) const fn as_check() -> Self {
        Self {
            draws: 1,
            every: 40,
            seed: 1,
            receiver: None,
            full_disk: false,
            scrub: false,
            dev: true,
        }
    }

    /// A few steps of an envoy that receives them.
    pub(crate) const fn as_receiver_check() -> Self {
        Self {
            receiver: Some(Receiver::All),
            ..Self::as_check()
        }
    }
}

/// How an envoy comes to hold what another one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Receiver {
    /// In each of these ways.
    All,
    /// Pushes, as they are made.
    Pushes,
    /// Pushes that it has missed.
    CatchUp,
    /// A project that it has lost, in blocks.
    Blocks,
}

/// How often another push is tried on what a crash has left.
const PROBE_EVERY: usize = 8;

/// How many of its last lines are shown of an envoy that shows something wrong.
const LAST_WORDS: usize = 6;

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
    if arguments.full_disk {
        return full::levels(&binaries, arguments.every, stop);
    }
    if let Some(scenes) = arguments.receiver {
        return receiver::crashes(&binaries, scenes, arguments, stop);
    }
    let mut scene = Scene::alone(&binaries, stop)?;
    if arguments.scrub {
        return scrub::crashes(&mut scene, arguments, stop);
    }
    taker(&mut scene, arguments, stop)
}

/// Crashes an envoy that takes pushes, from the founding of the project on.
fn taker(scene: &mut Scene, arguments: &Arguments, stop: &Stop) -> Result<()> {
    let replay = scene.traced(|scene| {
        scene.found_and_push()?;
        scene.push_all_kinds()
    })?;
    let pushes = scene.pushed();
    show::line(&format!(
        "a founding and {pushes} pushes, {}",
        replay.size()
    ))?;
    walk(scene, &replay, arguments, stop, look)?.conclude()
}

/// Starts the envoy that is crashed on what each crash has left, with no other one there, and has it looked at.
fn walk(
    scene: &mut Scene,
    replay: &Replay,
    arguments: &Arguments,
    stop: &Stop,
    mut look: impl FnMut(&mut Scene, &Crash, &mut Counts) -> Result<()>,
) -> Result<Counts> {
    replay.walk(arguments, stop, |crash, counts| {
        crash.disk.write(&scene.held)?;
        let envoy = scene.traced;
        let started = scene.fleet.restart(envoy);
        let looked = started.and_then(|()| look(scene, crash, counts));
        scene.fleet.envoy_mut(envoy).kill()?;
        looked.map_err(|error| anyhow!("{error:#}\n{}", last_words(scene)))
    })
}

/// What the envoy said last.
fn last_words(scene: &Scene) -> String {
    let log = scene.fleet.envoy(scene.traced).log_tail();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.len().saturating_sub(LAST_WORDS);
    lines.get(last..).unwrap_or_default().join("\n")
}

/// Sees what a daemon serves after a crash, and that it takes a push.
fn look(scene: &mut Scene, crash: &Crash, counts: &mut Counts) -> Result<()> {
    let found = scene.look_at_refs(crash.time)?;
    scene.fsck()?;
    if crash.point.is_multiple_of(PROBE_EVERY) && found.is_some() {
        scene.probe()?;
        counts.probed += 1;
    } else if scene.push_again(crash.time, found.as_ref())? {
        counts.again += 1;
    }
    Ok(())
}
