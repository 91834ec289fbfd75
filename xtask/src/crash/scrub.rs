//! `cargo xtask crash --scrub`: stops a daemon at every change that it makes while it sets damaged packs aside.
//!
//! Two packs are damaged: in one the checksum, so that all of it can be read, in the other an object. There is nobody
//! to repair from. Whatever a crash leaves, the daemon has to start and show the same refs, another scrub has to come to
//! the same end as one that nothing disturbed, and the bytes of both packs have to be kept.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gitback_tests::Stop;

use super::scene::{Scene, repositories};
use super::{Arguments, walk};
use crate::show;

/// What a scrub that nothing disturbs comes to.
struct Wanted {
    /// All objects that can be read, with kind and size.
    readable: BTreeSet<String>,
    /// The damaged packs, byte for byte.
    rotten: Vec<Vec<u8>>,
}

/// Traces a daemon that scrubs, and looks at every crash.
pub(super) fn crashes(scene: &mut Scene, arguments: &Arguments, stop: &Stop) -> Result<()> {
    scene.found_and_push()?;
    scene.commit(3)?;
    scene.push(&["main"], &[("refs/heads/main", Some("main"))])?;
    scene.fleet.envoy_mut(0).end()?;
    let rotten = damage(&scene.held)?;
    let replay = scene.traced(|scene| scrub(scene))?;
    let wanted = Wanted {
        readable: readable(scene)?,
        rotten,
    };
    show::line(&format!(
        "two damaged packs are set aside, {}",
        replay.size()
    ))?;
    let counts = walk(scene, &replay, arguments, stop, |scene, _, _| {
        look(scene, &wanted)
    })?;
    counts.conclude()
}

/// Changes a byte in each of two packs, where they are.
fn damage(held: &Path) -> Result<Vec<Vec<u8>>> {
    let mut packs = Vec::new();
    for bare in repositories(held)? {
        for path in listed(&bare.join("objects/pack"))? {
            if path.extension().is_some_and(|end| end == "pack") {
                packs.push(path);
            }
        }
    }
    packs.sort_by_key(|path| path.metadata().map_or(0, |metadata| metadata.len()));
    let [small, large] = packs.as_slice() else {
        bail!("two pushes make two packs: {packs:?}");
    };
    let mut rotten = Vec::new();
    for (path, is_checksum) in [(small, true), (large, false)] {
        let mut bytes = fs::read(path)?;
        let at = if is_checksum {
            bytes.len() - 1
        } else {
            bytes.len() / 2
        };
        *bytes
            .get_mut(at)
            .context("a pack has a middle and an end")? ^= 0x10;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        fs::write(path, &bytes)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o444))?;
        rotten.push(bytes);
    }
    Ok(rotten)
}

fn look(scene: &Scene, wanted: &Wanted) -> Result<()> {
    let shown = scene.shown()?;
    if shown != Some(scene.refs()) {
        bail!("the refs are {shown:?}");
    }
    scrub(scene)?;
    let readable = readable(scene)?;
    if readable != wanted.readable {
        let (is, was) = (readable.len(), wanted.readable.len());
        bail!("{is} objects can be read, and could be {was}");
    }
    let mut kept = Vec::new();
    for bare in repositories(&scene.held)? {
        for path in listed(&bare.join("damaged"))? {
            kept.push(fs::read(path)?);
        }
    }
    if !wanted.rotten.iter().all(|rotten| kept.contains(rotten)) {
        bail!("a damaged pack was not kept");
    }
    Ok(())
}

/// Scrubs; an object stays lacking.
fn scrub(scene: &Scene) -> Result<()> {
    let scrub = ["swarm", "gitback", "scrub", "notes"];
    scene.fleet.person(0).vigo(scrub).run()?.exit(1)?;
    Ok(())
}

fn readable(scene: &Scene) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for bare in repositories(&scene.held)? {
        let all = ["cat-file", "--batch-all-objects", "--batch-check"];
        let said = scene.fleet.person(0).git(&bare, all).run()?.success()?;
        found.extend(said.stdout.lines().map(str::to_owned));
    }
    Ok(found)
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths.collect()
}
