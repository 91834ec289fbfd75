//! What is pushed.

use std::path::Path;

use anyhow::{Result, bail};
use gitback_tests::Person;

use super::GIT_MAX;

/// Copies branches and tags of the repository at `path`, packed as git would after a clone.
pub(super) fn copy(person: &Person, path: &Path, work: &Path) -> Result<()> {
    std::fs::create_dir_all(work)?;
    let path = path.to_string_lossy();
    let head = person
        .git(work, ["ls-remote", "--symref", &path, "HEAD"])
        .run()?
        .success()?
        .stdout;
    let branch = head
        .lines()
        .find_map(|line| line.strip_prefix("ref: refs/heads/")?.split('\t').next());
    let Some(branch) = branch else {
        bail!("{path} has no branch checked out")
    };
    let initial = format!("--initial-branch={branch}");
    person
        .git(work, ["init", "--quiet", &initial])
        .run()?
        .success()?;
    let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
    let fetch = person.git(
        work,
        [
            "fetch",
            "--quiet",
            "--update-head-ok",
            &path,
            all[0],
            all[1],
        ],
    );
    fetch.deadline(GIT_MAX).run()?.success()?;
    person
        .git(work, ["reset", "--quiet", "--hard"])
        .deadline(GIT_MAX)
        .run()?
        .success()?;
    Ok(())
}

/// What a bare repository takes, loose objects included, in KiB.
pub(super) fn size_kib(person: &Person, bare: &Path) -> Result<u64> {
    let counted = person
        .git(bare, ["count-objects", "-v"])
        .run()?
        .success()?
        .stdout;
    let field = |name: &str| {
        counted
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    Ok(field("size-pack:").unwrap_or(0) + field("size:").unwrap_or(0))
}

/// Bytes that do not compress, the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
