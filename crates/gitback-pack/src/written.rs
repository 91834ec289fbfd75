//! A pack and its index on the way to their names.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::Fault;

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
    /// The name is the hash of the content: a pack that is there already stays as it is.
    pub(crate) fn install(self, directory: &Path, stem: &str) -> Result<(), Fault> {
        let named = |suffix| directory.join(format!("{stem}.{suffix}"));
        let (pack, index) = (named("pack"), named("idx"));
        if pack.exists() && index.exists() {
            return Ok(());
        }
        for (file, path) in [(self.pack, pack), (self.index, index)] {
            let moved = file.persist(&path);
            moved.map_err(|error| Fault::io("move", path)(error.error))?;
        }
        Ok(())
    }
}

fn write(file: &NamedTempFile, bytes: &[u8]) -> Result<(), Fault> {
    let written = file.as_file().write_all(bytes);
    written.map_err(Fault::io("write", file.path()))
}
