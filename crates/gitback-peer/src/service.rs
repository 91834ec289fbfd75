//! What a server serves.

use std::io::{Read, Write};
use std::net::SocketAddr;

use gitback_identity::{EnvoyKey, ProjectId};

use crate::push::PushBody;
use crate::refusal::Refusal;
use crate::wire::{Digests, PushAnswer, SyncAnswer, SyncRequest};

/// Who asks. The key was proven in the TLS handshake; what it may do is the service's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The proven envoy key.
    pub key: EnvoyKey,
    /// Where the connection comes from; for display only.
    pub address: SocketAddr,
}

/// The work behind the routes.
///
/// Every method runs on a blocking thread and is called concurrently. Anyone with a sound key gets
/// here, so each method first decides whether `caller` may ask, against the state of the moment. A
/// panic is answered as an internal error.
pub trait Service: Send + Sync + 'static {
    /// Compares what both hold.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn digests(&self, caller: &Caller, theirs: Digests) -> Result<Digests, Refusal>;

    /// Answers with a page of the envelopes that the caller lacks.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn sync(
        &self,
        caller: &Caller,
        project: &ProjectId,
        request: SyncRequest,
    ) -> Result<SyncAnswer, Refusal>;

    /// Takes a push in. May answer before all of `body` is read: the caller then stops sending.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is, except when `body` itself was at fault: then
    /// the caller is told that.
    fn push(
        &self,
        caller: &Caller,
        project: &ProjectId,
        body: &mut PushBody,
    ) -> Result<PushAnswer, Refusal>;

    /// Serves one stateless `git-upload-pack` request of git protocol version 2.
    ///
    /// Reads and writes fail when the caller goes away or stalls.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]. Before the first byte of output it is the answer; after that it ends the
    /// output, and the caller learns of it too.
    fn upload_pack(
        &self,
        caller: &Caller,
        project: &ProjectId,
        input: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal>;
}
