//! A pack and its index on the way to their names.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use gix::odb::pack::data;
use tempfile::NamedTempFile;

use crate::{Fault, Oid};

/// What a pack ends with, and an index.
pub(crate) const TRAILER_BYTES: usize = 20;

/// A pack and its index under names that nobody looks at; they vanish when this is dropped.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) pack: NamedTempFile,
    pub(crate) index: NamedTempFile,
}

impl Written {
    /// Two empty files in a directory, which is that of the packs only if nobody watches that.
    pub(crate) fn new(directory: &Path) -> Result<Self, Fault> {
        let temporary = |prefix| {
            let made = tempfile::Builder::new()
                .prefix(prefix)
                .tempfile_in(directory);
            made.map_err(Fault::io("create a file in", directory))
        };
        Ok(Self {
            pack: temporary("tmp_pack_")?,
            index: temporary("tmp_idx_")?,
        })
    }

    pub(crate) fn write_index(&self, index: &[u8]) -> Result<(), Fault> {
        write(&self.index, index)
    }

    pub(crate) fn write_pack(&self, pack: &[u8]) -> Result<(), Fault> {
        write(&self.pack, pack)
    }

    /// Makes both durable, and nobody's to write.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        for file in [&self.pack, &self.index] {
            fs::set_permissions(file.path(), Permissions::from_mode(0o444))
                .map_err(Fault::io("protect", file.path()))?;
        }
        for file in [&self.pack, &self.index] {
            file.as_file()
                .sync_all()
                .map_err(Fault::io("sync", file.path()))?;
        }
        Ok(())
    }

    /// Gives them the names by which they are found, the index last.
    ///
    /// The name is the hash of the content. What has it already is replaced, for it may be damaged.
    pub(crate) fn install(self, directory: &Path, stem: &str) -> Result<(), Fault> {
        let named = |suffix| directory.join(format!("{stem}.{suffix}"));
        let (pack, index) = (named("pack"), named("idx"));
        for (file, path) in [(self.pack, pack), (self.index, index)] {
            let moved = file.persist(&path);
            moved.map_err(|error| Fault::io("move", path)(error.error))?;
        }
        Ok(())
    }
}

/// A pack that is being written.
pub(crate) struct Out<'a> {
    path: PathBuf,
    file: BufWriter<&'a File>,
    hasher: gix::hash::Hasher,
    offset: u64,
}

impl<'a> Out<'a> {
    /// Begins a pack of so many objects.
    pub(crate) fn begin(written: &'a Written, objects: u32) -> Result<Self, Fault> {
        let mut out = Self {
            path: written.pack.path().to_owned(),
            file: BufWriter::new(written.pack.as_file()),
            hasher: gix::hash::hasher(gix::hash::Kind::Sha1),
            offset: 0,
        };
        out.write(&data::header::encode(data::Version::V2, objects))?;
        Ok(out)
    }

    /// How many bytes there are so far.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.hasher.update(bytes);
        self.offset = self
            .offset
            .saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
        self.file
            .write_all(bytes)
            .map_err(Fault::io("write", &self.path))
    }

    /// Its checksum and its size.
    pub(crate) fn finish(mut self) -> Result<(Oid, u64), Fault> {
        let unsound = |path: &Path| Fault::Unsound {
            path: path.to_owned(),
        };
        let sum = self
            .hasher
            .try_finalize()
            .map_err(|_| unsound(&self.path))?;
        let written = self.file.write_all(sum.as_slice());
        written
            .and_then(|()| self.file.flush())
            .map_err(Fault::io("write", &self.path))?;
        let trailer = u64::try_from(TRAILER_BYTES).unwrap_or(0);
        Ok((sum, self.offset.saturating_add(trailer)))
    }
}

fn write(file: &NamedTempFile, bytes: &[u8]) -> Result<(), Fault> {
    let written = file.as_file().write_all(bytes);
    written.map_err(Fault::io("write", file.path()))
}
