//! Calling other envoys.

mod blocks;
mod call;
mod dial;
mod feed;
mod fleet;
mod heal;
mod outgoing;
mod pool;
mod source;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use gitback_identity::{EnvoyKey, ProjectId, SecretKey};

use crate::limits::{DIGESTS_MAX, PUSH_ANSWER_MAX, Patience, SUMMARY_ABOVE, SYNC_ANSWER_MAX};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::tls::{Identity, TlsFault};
use crate::wire::{Compared, Comparison, Digests, Handoff, PushAnswer, SyncAnswer, SyncRequest};
use dial::TlsDialer;
pub use dial::{Dialer, Link};
use pool::Pool;
pub use source::{PackFile, PushSource};
use source::{Settled, sendable};

/// Whom to call: the key that must answer, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// The envoy key that the other side must prove.
    pub key: EnvoyKey,
    /// `host:port`.
    pub address: String,
}

/// Calls other envoys. Clones share one pool, with one connection for each [`PeerAddress`].
///
/// The methods want a Tokio runtime with time and I/O; a blocking caller uses `Handle::block_on`.
/// Dropping a call's future cancels the call.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    patience: Patience,
}

/// Why a call did not give its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection came about.
    #[error("cannot reach {address}")]
    Unreachable {
        /// The address dialled.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Somebody else answers at that address.
    #[error("the envoy there is not {expected}")]
    WrongKey {
        /// The key asked for.
        expected: EnvoyKey,
        /// The key shown; `None` when it was no sound key.
        found: Option<EnvoyKey>,
    },
    /// The connection broke while the call was in progress. Whether the peer carried it out is not
    /// known; every call may be made again.
    #[error("connection lost")]
    Lost {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The peer said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Nothing came for too long.
    #[error("no answer in {} s", after.as_secs_f32())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The answer came, byte by byte, and was not going to end.
    #[error("only {bytes} bytes in {} s", after.as_secs_f32())]
    TooSlow {
        /// How much came in that time.
        bytes: u64,
        /// How long was waited.
        after: Duration,
    },
    /// The peer answered what is no answer.
    #[error("answer not understood")]
    Protocol {
        /// What is wrong with it.
        #[source]
        source: Reject,
    },
    /// What should be sent breaks the limits of the protocol.
    #[error("the message cannot be sent")]
    Unsendable {
        /// Which limit.
        #[source]
        source: Reject,
    },
    /// What to send cannot be read, or the sink cannot be written.
    #[error("local file failed")]
    Local {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Our own TLS set-up failed.
    #[error("cannot set up the connection")]
    Setup {
        /// The cause.
        #[source]
        source: TlsFault,
    },
}

impl Client {
    /// Makes a client that proves `identity` to every peer.
    ///
    /// # Errors
    ///
    /// [`TlsFault`] when the key cannot be used.
    pub fn new(identity: &SecretKey) -> Result<Self, TlsFault> {
        Self::with_patience(identity, Patience::default())
    }

    /// Makes a client as [`Self::new`] does, with other deadlines.
    ///
    /// # Errors
    ///
    /// [`TlsFault`] when the key cannot be used.
    pub fn with_patience(identity: &SecretKey, patience: Patience) -> Result<Self, TlsFault> {
        Ok(Self::with_dialer(Self::direct(identity)?, patience))
    }

    /// Makes the route that [`Self::new`] takes, TCP and TLS, for a [`Dialer`] that builds on it.
    ///
    /// # Errors
    ///
    /// [`TlsFault`] when the key cannot be used.
    pub fn direct(identity: &SecretKey) -> Result<Arc<dyn Dialer>, TlsFault> {
        Ok(Arc::new(TlsDialer::new(Identity::new(identity)?)))
    }

    /// Makes a client that reaches peers by another route.
    #[must_use]
    pub fn with_dialer(dialer: Arc<dyn Dialer>, patience: Patience) -> Self {
        Self {
            pool: Arc::new(Pool::new(dialer, patience.connect)),
            patience,
        }
    }

    /// Compares what both envoys hold. A list of more than
    /// [`SUMMARY_ABOVE`](crate::limits::SUMMARY_ABOVE) projects is sent only if the peer's has another
    /// summary, with a second request; when the lists are the same, ours is returned under the
    /// peer's name.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn digests(&self, to: &PeerAddress, ours: &Digests) -> Result<Digests, CallError> {
        if ours.projects.len() > SUMMARY_ABOVE {
            let summary = Comparison::Summary {
                name: ours.name.clone(),
                summary: ours.summary(),
                roster: ours.roster,
                names: ours.names,
            };
            match self.compare(to, &summary).await? {
                Compared::Summary {
                    name,
                    same: true,
                    roster,
                    names,
                } => {
                    let projects = ours.projects.clone();
                    return Ok(Digests {
                        name,
                        projects,
                        roster,
                        names,
                    });
                }
                Compared::Summary { same: false, .. } => {}
                Compared::Full(_) => return Err(not_asked_for()),
            }
        }
        match self.compare(to, &Comparison::Full(ours.clone())).await? {
            Compared::Full(theirs) => Ok(theirs),
            Compared::Summary { .. } => Err(not_asked_for()),
        }
    }

    async fn compare(
        &self,
        to: &PeerAddress,
        comparison: &Comparison,
    ) -> Result<Compared, CallError> {
        let body = comparison.encode().map_err(unsendable)?;
        let path = "/swarm/gitback/digests".to_owned();
        let answer = self.query(to, path, body, DIGESTS_MAX).await?;
        Compared::decode(&answer).map_err(protocol)
    }

    /// Asks for one page of envelopes.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn sync(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        request: &SyncRequest,
    ) -> Result<SyncAnswer, CallError> {
        let body = request.encode().map_err(unsendable)?;
        let path = format!("/swarm/gitback/sync/{project}");
        let answer = self.query(to, path, body, SYNC_ANSWER_MAX).await?;
        SyncAnswer::decode(&answer).map_err(protocol)
    }

    /// Sends a pack and envelopes, and waits until the peer says that they are durable there. A
    /// refusal ends the sending.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn push(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        envelopes: Vec<Vec<u8>>,
        pack: Option<PackFile>,
    ) -> Result<PushAnswer, CallError> {
        let nothing = Handoff::default();
        self.push_handing_on(to, project, envelopes, pack, nothing, false)
            .await
    }

    /// Sends a push as [`Self::push`] does, and asks the peer to hand it on. `whole` says whether
    /// nothing of the project is lacking here.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn push_handing_on(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        envelopes: Vec<Vec<u8>>,
        pack: Option<PackFile>,
        handoff: Handoff,
        whole: bool,
    ) -> Result<PushAnswer, CallError> {
        sendable(&envelopes).map_err(unsendable)?;
        let source = Settled::new(envelopes, pack, handoff, whole);
        self.push_from(to, project, source).await
    }

    /// Sends what `source` gives as it gives it, and waits until the peer says that it is durable
    /// there. An answer that comes before the end of the source, be it a refusal, ends the sending
    /// and is returned at once; the source is dropped after its next answer.
    ///
    /// The source is asked on a blocking thread, from when the connection has taken the request.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong; [`CallError::Local`] when `source` failed, and
    /// then the peer does not take what it got for a push.
    pub async fn push_from(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        source: impl PushSource,
    ) -> Result<PushAnswer, CallError> {
        let path = format!("/swarm/gitback/push/{project}");
        let answer = self.feed(to, path, source, PUSH_ANSWER_MAX).await?;
        PushAnswer::decode(&answer).map_err(protocol)
    }

    /// Sends one stateless `git-upload-pack` request and writes the answer to `sink`, on a blocking
    /// thread. Returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong; part of the answer may be in `sink` then.
    pub async fn upload_pack(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        request: Vec<u8>,
        sink: impl io::Write + Send + 'static,
    ) -> Result<u64, CallError> {
        let path = format!("/swarm/gitback/{project}/git-upload-pack");
        self.download(to, path, request, sink).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl CallError {
    /// Says it in a few words, for a list of peers: "connection refused", "wrong key".
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable { source, .. } => unreachable_reason(source),
            Self::WrongKey { .. } => "wrong key".to_owned(),
            Self::Lost { .. } => "connection lost".to_owned(),
            Self::Refused(refusal) => format!("refused: {}", refusal.reason),
            Self::TimedOut { .. } | Self::TooSlow { .. } => self.to_string(),
            Self::Protocol { source } => format!("answer not understood: {source}"),
            Self::Unsendable { source } => source.to_string(),
            Self::Local { source } => source.to_string(),
            Self::Setup { .. } => "own key not usable".to_owned(),
        }
    }
}

fn unreachable_reason(source: &io::Error) -> String {
    use io::ErrorKind;
    match source.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no route".to_owned(),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => "connection closed by the other side".to_owned(),
        ErrorKind::InvalidData | ErrorKind::Unsupported => "not an envoy".to_owned(),
        ErrorKind::InvalidInput => "bad address".to_owned(),
        _ => source.to_string(),
    }
}

fn protocol(source: Reject) -> CallError {
    CallError::Protocol { source }
}

fn not_asked_for() -> CallError {
    protocol(Reject::Malformed {
        what: "the answer to the digests",
    })
}

fn unsendable(source: Reject) -> CallError {
    CallError::Unsendable { source }
}
