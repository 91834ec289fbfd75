//! Objects that are not plainly good, shown to git by themselves.

use std::io::Write as _;
use std::process::Stdio;

use rustix::process::Resource;

use super::bounds::Bounds;
use super::judge::Doubt;
use crate::Quarantine;
use crate::git::Running;
use crate::outgoing::quarantined;
use crate::quick::store::{deflate, entry_header};
use crate::severity::objects_argument;

/// Whether git's rules allow all of these objects of a pack of so many bytes; `None` as well when that cannot be told.
pub(super) fn are_good(
    doubtful: &[Doubt],
    quarantine: &Quarantine,
    bounds: &Bounds,
    pack_bytes: u64,
) -> Option<()> {
    if doubtful.is_empty() {
        return Some(());
    }
    let pack = pack(doubtful)?;
    let path = quarantine.path().ok()?;
    let mut command = quarantined(quarantine.repository().path(), path, "index-pack").ok()?;
    // Beside the packs, where nobody looks; it vanishes with the quarantine.
    command
        .args(["--stdin", &objects_argument()])
        .arg(path.join("doubts.pack"))
        .stdin(Stdio::piped());
    let Bounds { limits, spent, .. } = bounds;
    let seconds = spent.left_of(limits.cpu_for(pack_bytes)).ok()?;
    let mut running = Running::spawn(command, "index-pack").ok()?;
    running
        .limit(Resource::Cpu, seconds)
        .and_then(|()| running.limit(Resource::Data, limits.memory_bytes))
        .ok()?;
    let written = running.stdin().write_all(&pack);
    let finished = running.finish().ok()?;
    spent.add(finished.taken);
    (written.is_ok() && finished.succeeded()).then_some(())
}

/// A pack of them, none a delta.
fn pack(doubtful: &[Doubt]) -> Option<Vec<u8>> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&u32::try_from(doubtful.len()).ok()?.to_be_bytes());
    for Doubt { kind, bytes, .. } in doubtful {
        entry_header(*kind, bytes.len(), &mut pack);
        deflate(bytes, &mut pack)?;
    }
    let sum = crate::index::sum(&pack)?;
    pack.extend_from_slice(sum.as_slice());
    Some(pack)
}
