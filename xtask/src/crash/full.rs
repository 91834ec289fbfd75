//! `cargo xtask crash --full-disk`: pushes to an envoy whose disk has ever more room, and to one beside it whose disk has
//! enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use gitback_tests::{Binaries, Stop};

use super::disk::Disk as Files;
use super::pushes::Refs;
use super::receiver::sync;
use super::scene::{ON_BOTH, Scene};
use crate::show;

/// How large the disk is.
const DISK: &str = "size=900m,mode=0700";
/// A small push fits into so many bytes, with everything that it makes.
const SMALL_MOST: u64 = 256 << 10;
/// The same for a large one.
const LARGE_MOST: u64 = 8 << 20;
/// How much more room there is from one push to the next.
const SMALL_STEP: u64 = 4 << 10;
const LARGE_STEP: u64 = 64 << 10;
/// What is received takes so many times larger steps.
const RECEIVED: u64 = 4;
/// How often the daemon is started anew in between.
const RESTART_EVERY: u64 = 16;

/// How often git looks at everything.
const FSCK_EVERY: u64 = 8;

/// What is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Small,
    /// Git indexes it.
    Large,
    /// The daemon indexes it: nothing in it builds on what is there.
    Apart,
}

/// A file system in memory at a folder, unmounted on drop.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(at: &Path) -> Result<Self> {
        run("mount", &["-t", "tmpfs", "-o", DISK, "gitback-crash"], at)?;
        Ok(Self { at: at.to_owned() })
    }

    /// Leaves so many bytes free.
    fn leave(&self, bytes: u64) -> Result<()> {
        let _ = fs::remove_file(self.ballast());
        let stat = rustix::fs::statvfs(&self.at)?;
        let free = stat.f_bavail * stat.f_bsize;
        let file = fs::File::create(self.ballast())?;
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&file, flags, 0, free.saturating_sub(bytes).max(1)) {
            // The daemon may be putting packs together; then there is less room still.
            Ok(()) | Err(rustix::io::Errno::NOSPC) => {}
            Err(error) => return Err(error).context("cannot fill the disk"),
        }
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("cannot make room")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a daemon that is about to be killed may still be there.
        let _ = run("umount", &["-l"], &self.at);
    }
}

fn run(program: &str, arguments: &[&str], at: &Path) -> Result<()> {
    let mut command = Command::new(program);
    let ended = command.args(arguments).arg(at).status();
    let ended = ended.with_context(|| format!("cannot run {program}"))?;
    if !ended.success() {
        bail!("{program} {}: {ended}; this needs root", at.display());
    }
    Ok(())
}

/// Pushes at each level to an envoy, and then beside another one, and sees that nothing is lost, nothing half done, and that
/// room is all it needs to go on.
pub(super) fn levels(binaries: &Binaries, every: u64, stop: &Stop) -> Result<()> {
    let mut scene = Scene::alone(binaries, stop)?;
    let own = play(&mut scene, every, push_to_it, stop)?;
    drop(scene);
    let Ends { refused, .. } = own;
    show::line(&format!(
        "{} pushes to a disk that was all but full: {refused} refused, {} stored and shown when there was room for the ref, all \
         others done; nothing was lost",
        own.levels, own.hidden
    ))?;
    let mut scene = Scene::pair(binaries, stop)?;
    let received = play(&mut scene, RECEIVED * every, push_beside_it, stop)?;
    let Ends { refused, .. } = received;
    show::line(&format!(
        "{} pushes beside an envoy whose disk was all but full, done on the other one: {refused} refused by it and brought in when \
         there was room, {} stored and shown then, all others received",
        received.levels, received.hidden
    ))?;
    let all = own.levels + received.levels;
    show::line(&format!("{all} pushes in all"))
}

/// How a push to a full disk ended.
enum Ended {
    /// It is stored, and shown.
    Done,
    /// It is stored, and there was no room to move the ref.
    Hidden,
    Refused,
}

/// How many of them.
#[derive(Debug, Default)]
struct Ends {
    levels: u64,
    hidden: u64,
    refused: u64,
}

/// One push of a kind, its number, and how many bytes are free for it.
struct Level {
    kind: Kind,
    number: u64,
    free: u64,
}

/// Puts the envoy that would be crashed on a disk of its own, and pushes at each level.
fn play(
    scene: &mut Scene,
    coarse: u64,
    push: fn(&mut Scene, &Disk, &Level) -> Result<Ended>,
    stop: &Stop,
) -> Result<Ends> {
    let envoy = scene.traced;
    scene.found_and_push()?;
    // Whoever looks for the first time has something signed, which needs room.
    scene.shown()?;
    scene.fleet.envoy_mut(envoy).end()?;
    let base = Files::of(&scene.held)?;
    let disk = Disk::mount(&scene.held)?;
    base.fill(&scene.held)?;
    scene.fleet.restart(envoy)?;
    let mut ends = Ends::default();
    for (kind, most, step) in [
        (Kind::Small, SMALL_MOST, SMALL_STEP),
        (Kind::Large, LARGE_MOST, LARGE_STEP),
        (Kind::Apart, LARGE_MOST, LARGE_STEP),
    ] {
        let mut free = 0;
        while free <= most {
            if stop.asked() {
                bail!("stopped after {} levels", ends.levels);
            }
            if ends.levels.is_multiple_of(RESTART_EVERY) {
                scene.fleet.envoy_mut(envoy).kill()?;
                scene.fleet.restart(envoy)?;
            }
            let number = ends.levels;
            let ended = push(scene, &disk, &Level { kind, number, free });
            match ended.with_context(|| format!("{kind:?} with {free} bytes free"))? {
                Ended::Done => {}
                Ended::Hidden => ends.hidden += 1,
                Ended::Refused => ends.refused += 1,
            }
            // What is wrong stays so, and the repository grows.
            if number.is_multiple_of(FSCK_EVERY) {
                scene.fsck()?;
            }
            ends.levels += 1;
            free += step * coarse;
        }
    }
    scene.fsck()?;
    scene.fleet.envoy_mut(envoy).kill()?;
    drop(disk);
    let Ends {
        levels, refused, ..
    } = ends;
    if refused == 0 || refused == levels {
        bail!("{refused} of {levels} pushes were refused: the disk was never full, or always");
    }
    Ok(ends)
}

/// A ref, and where it is to be.
struct Move {
    name: &'static str,
    tip: String,
}

impl Move {
    /// Makes what is pushed.
    fn make(scene: &mut Scene, level: &Level) -> Result<Self> {
        let mut name = "refs/heads/main";
        if level.kind == Kind::Apart {
            name = "refs/heads/apart";
            let orphan = format!("apart-{}", level.number);
            scene.git(&["checkout", "--quiet", "--orphan", &orphan])?;
        }
        if level.kind != Kind::Small {
            scene.make_noise(level.number)?;
        }
        scene.commit(1)?;
        let tip = scene.git(&["rev-parse", "HEAD"])?;
        scene.git(&["checkout", "--quiet", "main"])?;
        Ok(Self { name, tip })
    }

    /// What is said to git.
    fn word(&self) -> String {
        format!("+{}:{}", self.tip, self.name)
    }

    /// Where a reader is shown the ref.
    fn of(&self, refs: Option<&Refs>) -> Option<String> {
        refs.and_then(|refs| refs.get(self.name)).cloned()
    }

    /// Whether it is where it was, or where it is to be, as git has said.
    fn ended(&self, is_stored: bool, before: Option<&Refs>, after: Option<&Refs>) -> Result<Ended> {
        let (before, after) = (self.of(before), self.of(after));
        let has_moved = after.as_ref() == Some(&self.tip);
        match is_stored {
            _ if !has_moved && after != before => bail!("{} is at {after:?}", self.name),
            true if has_moved => Ok(Ended::Done),
            true => Ok(Ended::Hidden),
            false if !has_moved => Ok(Ended::Refused),
            false => bail!("{} is at {after:?}, and it was refused", self.name),
        }
    }
}

/// One push with so many bytes free.
fn push_to_it(scene: &mut Scene, disk: &Disk, level: &Level) -> Result<Ended> {
    let moved = Move::make(scene, level)?;
    let word = moved.word();
    let before = scene.shown()?;
    disk.leave(level.free)?;
    let push = ["push", "-o", "gitback.wait=0", "gitback", &word];
    let pushed = scene.fleet.person(0).git(&scene.work, push).run()?;
    let is_done = pushed.code == Some(0);
    if !is_done && !pushed.stderr.contains("error: ") && !pushed.stderr.contains("rejected") {
        bail!("it does not say what is wrong:\n{pushed}");
    }
    let shown = scene.shown()?;
    let ended = moved.ended(is_done, before.as_ref(), shown.as_ref());
    let ended = ended.with_context(|| pushed.to_string())?;
    disk.clear()?;
    // What is shown is there already.
    if moved.of(shown.as_ref()).as_ref() != Some(&moved.tip) {
        scene.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", &word])?;
    }
    if moved.of(scene.shown()?.as_ref()) != Some(moved.tip) {
        bail!("with room again, {} does not move", moved.name);
    }
    Ok(ended)
}

/// One push on mars, while venus has so many bytes free.
fn push_beside_it(scene: &mut Scene, disk: &Disk, level: &Level) -> Result<Ended> {
    let moved = Move::make(scene, level)?;
    let word = moved.word();
    let before = scene.shown()?;
    disk.leave(level.free)?;
    let push = ["push", "gitback", &word];
    let pushed = scene.fleet.person(0).git(&scene.work, push).run()?;
    let pushed = pushed.success()?;
    let on_both = pushed.stderr.contains(ON_BOTH);
    let is_told = pushed.stderr.contains("stored on mars") && pushed.stderr.contains("venus");
    if !on_both && !is_told {
        bail!("it does not say who has it:\n{pushed}");
    }
    if moved.of(scene.shown_at(0)?.as_ref()).as_ref() != Some(&moved.tip) {
        bail!("mars does not show it:\n{pushed}");
    }
    let shown = scene.shown()?;
    // It may have come meanwhile.
    let is_there = on_both || moved.of(shown.as_ref()).as_ref() == Some(&moved.tip);
    let ended = moved.ended(is_there, before.as_ref(), shown.as_ref());
    let ended = ended.with_context(|| pushed.to_string())?;
    disk.clear()?;
    if matches!(ended, Ended::Hidden) {
        shows_it_alone(scene, &moved).with_context(|| pushed.to_string())?;
    }
    sync(scene)?;
    if moved.of(scene.shown()?.as_ref()) != Some(moved.tip) {
        bail!("with room again, venus does not show {}", moved.name);
    }
    Ok(ended)
}

/// What git said that both have venus shows as soon as there is room for the ref, without mars.
fn shows_it_alone(scene: &mut Scene, moved: &Move) -> Result<()> {
    scene.fleet.envoy_mut(0).kill()?;
    scene.fleet.envoy_mut(1).kill()?;
    scene.fleet.restart(1)?;
    if moved.of(scene.shown()?.as_ref()).as_ref() != Some(&moved.tip) {
        bail!("venus, alone, does not show {}", moved.name);
    }
    scene.fleet.restart(0)
}
