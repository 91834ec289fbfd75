//! Asking for packs in blocks.

use std::io;

use gitback_identity::ProjectId;

use super::{CallError, Client, PeerAddress, unsendable};
use crate::limits::MANIFEST_MAX;
use crate::wire::BlockRange;

impl Client {
    /// Asks which packs of a project the peer gives in blocks. The answer is a manifest, at most [`MANIFEST_MAX`] bytes, and
    /// is not looked into here.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn packs(&self, to: &PeerAddress, project: &ProjectId) -> Result<Vec<u8>, CallError> {
        let path = format!("/swarm/gitback/packs/{project}");
        self.query(to, path, Vec::new(), MANIFEST_MAX).await
    }

    /// Asks for blocks of a pack and writes them to `sink`, on a blocking thread, as they come. Returns the number of bytes
    /// written, which the caller compares with what it asked for.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong; part of the answer may be in `sink` then.
    pub async fn blocks(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        range: BlockRange,
        sink: impl io::Write + Send + 'static,
    ) -> Result<u64, CallError> {
        let body = range.encode().map_err(unsendable)?;
        let path = format!("/swarm/gitback/blocks/{project}");
        self.download(to, path, body, sink).await
    }
}
