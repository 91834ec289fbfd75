//! What a server serves.

use std::io::{Read, Write};
use std::net::SocketAddr;

use gitback_identity::{EnvoyKey, ProjectId};

use crate::push::PushBody;
use crate::refusal::{Refusal, RefusalKind};
use crate::wire::{
    BlockRange, Digests, Fresh, FreshAnswer, Names, NamesAnswer, PushAnswer, SyncAnswer,
    SyncRequest,
};

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
    /// Whether `key` is that of an envoy this one knows, so that its connections count as welcome
    /// from the start: strangers, who share less room, cannot crowd it out. Asked once for each
    /// connection, on the runtime: must not block for long.
    fn knows(&self, _key: &EnvoyKey) -> bool {
        false
    }

    /// Whether `key` was that of an envoy this one knew and is so no longer: its connections are a stranger's, also when
    /// something is answered on them. Asked after each request.
    fn shuns(&self, _key: &EnvoyKey) -> bool {
        false
    }

    /// Returns what [`Self::digests`] would answer the caller now, and notes nothing; `None`: this
    /// service does not say, and lists are compared in full.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn listed(&self, _caller: &Caller) -> Result<Option<Digests>, Refusal> {
        Ok(None)
    }

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

    /// Takes gossip messages, in the order in which they were sent: at most
    /// [`GOSSIP_MESSAGES_MAX`](crate::limits::GOSSIP_MESSAGES_MAX) of at most
    /// [`GOSSIP_MESSAGE_MAX`](crate::limits::GOSSIP_MESSAGE_MAX) bytes.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn gossip(&self, _caller: &Caller, _messages: Vec<Vec<u8>>) -> Result<(), Refusal> {
        Err(not_offered())
    }

    /// Takes claims to names in, and answers with those that the caller lacks.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn names(&self, _caller: &Caller, _theirs: Names) -> Result<NamesAnswer, Refusal> {
        Err(not_offered())
    }

    /// Says what is held here, and whether a push of this envoy goes first.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn fresh(
        &self,
        _caller: &Caller,
        _project: &ProjectId,
        _question: Fresh,
    ) -> Result<FreshAnswer, Refusal> {
        Err(not_offered())
    }

    /// Answers one message of a reconciliation; both are at most
    /// [`RECONCILE_MAX`](crate::limits::RECONCILE_MAX) bytes, and nothing is kept between two.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn reconcile(
        &self,
        _caller: &Caller,
        _project: &ProjectId,
        _message: Vec<u8>,
    ) -> Result<Vec<u8>, Refusal> {
        Err(not_offered())
    }

    /// Gives envelopes by their ids: those that are here, ancestors first, at most
    /// [`SYNC_PAGE_MAX`](crate::limits::SYNC_PAGE_MAX) bytes of them. The caller asks again for what it
    /// still wants. At most [`ASKED_IDS_MAX`](crate::limits::ASKED_IDS_MAX) ids.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn envelopes(
        &self,
        _caller: &Caller,
        _project: &ProjectId,
        _ids: Vec<[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        Err(not_offered())
    }

    /// Takes the roster of a fleet as the caller has it, and gives it as it is here; both are at most
    /// [`ROSTER_MAX`](crate::limits::ROSTER_MAX) bytes and prove themselves.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn roster(&self, _caller: &Caller, _theirs: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        Err(not_offered())
    }

    /// Enrols an envoy: a petition of at most [`PETITION_MAX`](crate::limits::PETITION_MAX) bytes,
    /// answered by at most [`WELCOME_MAX`](crate::limits::WELCOME_MAX).
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn enrol(&self, _caller: &Caller, _petition: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        Err(not_offered())
    }

    /// Says which packs of a project are given in blocks: a manifest of at most
    /// [`MANIFEST_MAX`](crate::limits::MANIFEST_MAX) bytes.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn packs(&self, _caller: &Caller, _project: &ProjectId) -> Result<Vec<u8>, Refusal> {
        Err(not_offered())
    }

    /// Writes blocks of a pack. Writes fail when the caller goes away or stalls.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]. Before the first byte of output it is the answer; after that it ends the output, and the caller
    /// learns of it too.
    fn blocks(
        &self,
        _caller: &Caller,
        _project: &ProjectId,
        _range: BlockRange,
        _output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        Err(not_offered())
    }

    /// Takes a receipt: the envelopes of these ids, and all that they need, are durable at the
    /// caller. At most [`HELD_IDS_MAX`](crate::limits::HELD_IDS_MAX) ids.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], sent to the caller as it is.
    fn held(
        &self,
        _caller: &Caller,
        _project: &ProjectId,
        _ids: Vec<[u8; 32]>,
    ) -> Result<(), Refusal> {
        Err(not_offered())
    }
}

/// The answer of a service that does not take part in what a route is for.
fn not_offered() -> Refusal {
    Refusal::new(
        RefusalKind::NotFound,
        "not-offered",
        "this envoy does not offer that",
    )
}
