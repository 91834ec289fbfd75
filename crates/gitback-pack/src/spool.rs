//! A pack exactly as it was received or made.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;

use crate::{Fault, Follower, Incoming};

/// How the names of the files begin.
const PREFIX: &str = "pack-";

/// A pack exactly as it was received, for as long as this lives.
#[derive(Debug)]
pub struct Received {
    incoming: Incoming,
    bytes: u64,
    blake3: [u8; 32],
}

impl Received {
    /// Its size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The BLAKE3 hash of its content.
    #[must_use]
    pub const fn blake3(&self) -> [u8; 32] {
        self.blake3
    }

    /// A reader of it, from its beginning.
    #[must_use]
    pub fn follow(&self) -> Follower {
        self.incoming.follow()
    }
}

/// A pack that was made, as a file. It is removed on drop.
#[derive(Debug)]
pub struct Spool {
    path: Arc<TempPath>,
    bytes: u64,
    blake3: [u8; 32],
}

impl Spool {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The BLAKE3 hash of its content.
    #[must_use]
    pub const fn blake3(&self) -> [u8; 32] {
        self.blake3
    }
}

/// A pack that is being written: up to some size in memory, from there on in a file.
#[derive(Debug)]
pub(crate) struct Spooling {
    directory: PathBuf,
    memory_max: u64,
    /// A file that has every byte before it is written here.
    there: Option<PathBuf>,
    file: Option<(File, Arc<TempPath>)>,
    hasher: blake3::Hasher,
    bytes: u64,
    incoming: Incoming,
}

impl Spooling {
    /// Starts one whose file will be in `directory`, and of which the followers of `incoming` read.
    pub(crate) fn begin(directory: PathBuf, incoming: Incoming, memory_max: u64) -> Self {
        Self {
            directory,
            memory_max,
            there: None,
            file: None,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            incoming,
        }
    }

    /// As [`Spooling::begin`], of bytes that are in this file already: they are not written again.
    pub(crate) fn begin_there(
        directory: PathBuf,
        incoming: Incoming,
        memory_max: u64,
        there: PathBuf,
    ) -> Self {
        let mut begun = Self::begin(directory, incoming, memory_max);
        begun.there = Some(there);
        begun
    }

    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let added = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(added);
        self.hasher.update(chunk);
        if self.file.is_none() && self.bytes <= self.memory_max {
            self.incoming.hold(chunk);
            return Ok(());
        }
        let is_there = self.spill()?;
        if let (Some((file, path)), false) = (&mut self.file, is_there) {
            let written = file.write_all(chunk);
            written.map_err(|source| Fault::io("write", path.to_path_buf())(source))?;
        }
        self.incoming.grow(self.bytes);
        Ok(())
    }

    /// Goes on in a file, with what was held in memory. Whether it is the one in which everything is already.
    pub(crate) fn spill(&mut self) -> Result<bool, Fault> {
        if self.file.is_none() {
            let linked = self
                .there
                .as_ref()
                .and_then(|there| linked(there, &self.directory));
            let (file, path) = match linked {
                Some(linked) => linked,
                None => {
                    self.there = None;
                    self.written()?
                }
            };
            let path = Arc::new(path);
            self.incoming.begin(Arc::clone(&path));
            self.file = Some((file, path));
        }
        Ok(self.there.is_some())
    }

    /// A new file with what was held in memory.
    fn written(&self) -> Result<(File, TempPath), Fault> {
        let (mut file, path) = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(&self.directory)
            .map_err(Fault::io("create a file in", &self.directory))?
            .into_parts();
        let held = file.write_all(&self.incoming.held());
        held.map_err(Fault::io("write", path.to_path_buf()))?;
        Ok((file, path))
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A reader of it, from its beginning.
    pub(crate) fn follow(&self) -> Follower {
        self.incoming.follow()
    }

    /// The file, once it is too large for memory.
    pub(crate) fn path(&self) -> Option<Arc<TempPath>> {
        let (_, path) = self.file.as_ref()?;
        Some(Arc::clone(path))
    }

    /// All of it, while it is held in memory.
    pub(crate) fn held(&self) -> Option<Vec<u8>> {
        self.file.is_none().then(|| self.incoming.held())
    }

    /// Nothing more comes: the followers may tell what they have read.
    pub(crate) fn complete(&self) {
        self.incoming.complete(self.hasher.finalize().into());
    }

    pub(crate) fn finish(self) -> Received {
        self.complete();
        Received {
            incoming: self.incoming.clone(),
            bytes: self.bytes,
            blake3: self.hasher.finalize().into(),
        }
    }

    /// The file, if it was not to be held in memory; `None` if nothing was written.
    pub(crate) fn into_file(self) -> Option<Spool> {
        let (_, path) = self.file.as_ref()?;
        Some(Spool {
            path: Arc::clone(path),
            bytes: self.bytes,
            blake3: self.hasher.finalize().into(),
        })
    }
}

/// Another name for a file, which vanishes as the name of any other spool; `None` where the file system has no links.
fn linked(there: &Path, directory: &Path) -> Option<(File, TempPath)> {
    let link = |path: &Path| {
        std::fs::hard_link(there, path)?;
        File::open(path)
    };
    let made = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(directory, link);
    Some(made.ok()?.into_parts())
}

impl Drop for Spooling {
    fn drop(&mut self) {
        self.incoming.break_off();
    }
}
