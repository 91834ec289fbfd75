//! A pack on disk, exactly as it was received or made.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use std::sync::Arc;

use tempfile::TempPath;

use crate::{Fault, Incoming};

/// A pack exactly as it was received or made. The file is removed on drop.
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

    /// Opens it for reading, from its beginning.
    ///
    /// # Errors
    ///
    /// Those of [`File::open`].
    pub fn open(&self) -> io::Result<File> {
        File::open(&*self.path)
    }
}

/// A spool that is being written.
#[derive(Debug)]
pub(crate) struct Spooling {
    file: File,
    path: Arc<TempPath>,
    hasher: blake3::Hasher,
    bytes: u64,
    incoming: Incoming,
}

impl Spooling {
    /// Starts a file in `directory`, and tells the followers of `incoming` of it.
    pub(crate) fn begin(directory: &Path, incoming: Incoming) -> Result<Self, Fault> {
        let file = tempfile::Builder::new()
            .prefix("pack-")
            .tempfile_in(directory)
            .map_err(Fault::io("create a file in", directory))?;
        let (file, path) = file.into_parts();
        let path = Arc::new(path);
        incoming.begin(Arc::clone(&path));
        Ok(Self {
            file,
            path,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            incoming,
        })
    }

    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.file.write_all(chunk).map_err(|source| Fault::Io {
            doing: "write",
            path: self.path.to_path_buf(),
            source,
        })?;
        self.hasher.update(chunk);
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        self.incoming.grow(self.bytes);
        Ok(())
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Nothing more comes: the followers may tell what they have read.
    pub(crate) fn complete(&self) {
        self.incoming.complete(self.hasher.finalize().into());
    }

    pub(crate) fn finish(self) -> Spool {
        self.complete();
        Spool {
            path: Arc::clone(&self.path),
            bytes: self.bytes,
            blake3: self.hasher.finalize().into(),
        }
    }
}

impl Drop for Spooling {
    fn drop(&mut self) {
        self.incoming.break_off();
    }
}
