//! `cargo xtask crash --full-disk`: pushes to an envoy whose disk has ever more room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use gitback_tests::Stop;

use super::Scene;
use crate::show;

/// How large the disk is.
const DISK: &str = "size=640m,mode=0700";
/// A small push fits into so many bytes, with everything that it makes.
const SMALL_MOST: u64 = 256 << 10;
/// The same for one that git indexes.
const LARGE_MOST: u64 = 8 << 20;
/// How much more room there is from one push to the next.
const SMALL_STEP: u64 = 4 << 10;
const LARGE_STEP: u64 = 64 << 10;
/// How often the daemon is started anew in between.
const RESTART_EVERY: u64 = 16;

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

/// Pushes at each level, and sees that nothing is lost, nothing half done, and that room is all it needs to go on.
pub(super) fn levels(scene: &mut Scene, stop: &Stop) -> Result<()> {
    let base = scene.base()?;
    let disk = Disk::mount(&scene.held)?;
    base.fill(&scene.held)?;
    scene.fleet.restart(0)?;
    let (mut levels, mut refused, mut hidden) = (0_u64, 0_u64, 0_u64);
    for (most, step, large) in [
        (SMALL_MOST, SMALL_STEP, false),
        (LARGE_MOST, LARGE_STEP, true),
    ] {
        let mut free = 0;
        while free <= most {
            if stop.asked() {
                bail!("stopped after {levels} levels");
            }
            if levels.is_multiple_of(RESTART_EVERY) {
                scene.fleet.envoy_mut(0).kill()?;
                scene.fleet.restart(0)?;
            }
            let ended = level(scene, &disk, free, large);
            match ended.with_context(|| format!("with {free} bytes free"))? {
                Ended::Done => {}
                Ended::Hidden => hidden += 1,
                Ended::Refused => refused += 1,
            }
            levels += 1;
            free += step;
        }
    }
    scene.fleet.envoy_mut(0).kill()?;
    drop(disk);
    if refused == 0 || refused == levels {
        bail!("{refused} of {levels} pushes were refused: the disk was never full, or always");
    }
    show::line(&format!(
        "{levels} pushes to a disk that was all but full: {refused} refused, {hidden} stored and shown when there was room \
         for the ref, all others done; nothing was lost"
    ))
}

/// How a push to a full disk ended.
enum Ended {
    /// It is stored, and shown.
    Done,
    /// It is stored, and there was no room to move the ref.
    Hidden,
    Refused,
}

/// One push with so many bytes free.
fn level(scene: &mut Scene, disk: &Disk, free: u64, large: bool) -> Result<Ended> {
    if large {
        scene.make_noise(free)?;
    }
    scene.commit(1)?;
    let before = scene.listed()?;
    let tip = scene.git(&["rev-parse", "main"])?;
    disk.leave(free)?;
    let push = ["push", "-o", "gitback.wait=0", "gitback", "main"];
    let pushed = scene.fleet.person(0).git(&scene.work, push).run()?;
    let is_done = pushed.code == Some(0);
    if !is_done && !pushed.stderr.contains("error: ") && !pushed.stderr.contains("rejected") {
        bail!("it does not say what is wrong:\n{pushed}");
    }
    let on_main = |refs: &super::Refs| refs.get("refs/heads/main").cloned();
    let shown = scene.listed()?;
    let ended = match (is_done, on_main(&shown)) {
        (true, Some(shown)) if shown == tip => Ended::Done,
        (true, shown) if shown == on_main(&before) => Ended::Hidden,
        (false, shown) if shown == on_main(&before) => Ended::Refused,
        (_, shown) => bail!("main is at {shown:?}:\n{pushed}"),
    };
    disk.clear()?;
    scene.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", "main"])?;
    if on_main(&scene.listed()?) != Some(tip) {
        bail!("with room again, main does not move");
    }
    scene.fsck()?;
    Ok(ended)
}
