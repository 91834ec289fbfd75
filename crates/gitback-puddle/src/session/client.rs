//! The half that asks.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitback_identity::{PublicKey, PuddleKey, Signature, hex};
use rustix::net::sockopt::socket_peercred;
use thiserror::Error;

use super::Status;
use super::deadline::Deadline;
use super::message::{self, Reply, Request};

/// How long one call may take. The session serves one connection at a time
/// and gives a stalled one five seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running session, by its socket. Each call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no session to talk to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No session runs: the puddle is locked.
    #[error("no session answers on {socket}")]
    Locked {
        /// Where it would be.
        socket: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("the session on {socket} belongs to user {uid}")]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// Whose process answers.
        uid: u32,
    },
    /// The socket is there and cannot be used.
    #[error("cannot connect to {socket}")]
    Io {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why a call had no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The session is gone, or never was.
    #[error("cannot reach the session")]
    Connect(#[source] ConnectError),
    /// The session does not sign this.
    #[error("the session refuses ({code}): {reason}")]
    Refused {
        /// A stable code.
        code: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection broke, or took too long.
    #[error("the session did not answer")]
    Io(#[source] io::Error),
    /// The answer makes no sense; another version, perhaps.
    #[error("the session gave an answer that was not asked for")]
    Unexpected,
}

impl Client {
    /// Finds the session on `socket`.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Locked`] if none runs; [`ConnectError::Foreign`] if it
    /// is another user's; [`ConnectError::Io`] otherwise.
    pub fn connect(socket: &Path) -> Result<Self, ConnectError> {
        open(socket)?;
        Ok(Self {
            socket: socket.to_owned(),
        })
    }

    /// Has the body of an envelope about a project signed.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] if the session does not sign it.
    pub fn sign(&self, type_name: &str, body: &[u8]) -> Result<Signature, CallError> {
        self.signature(&Request::Sign {
            type_name: type_name.to_owned(),
            body: hex::encode(body),
        })
    }

    /// Has the heir's acceptance of a delegation signed: of the draft with this
    /// type and body, which names the session's key as the heir.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] if the session does not sign it.
    pub fn accept(&self, type_name: &str, body: &[u8]) -> Result<Signature, CallError> {
        self.signature(&Request::Accept {
            type_name: type_name.to_owned(),
            body: hex::encode(body),
        })
    }

    /// Has a claim to a name signed, or its release: the body of a
    /// [`NameClaim`](gitback_envelope::NameClaim) of the session's key.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] if the session does not sign it.
    pub fn claim_name(&self, body: &[u8]) -> Result<Signature, CallError> {
        self.signature(&Request::ClaimName {
            body: hex::encode(body),
        })
    }

    /// Asks who is unlocked, and until when.
    ///
    /// # Errors
    ///
    /// [`CallError`] if there is no answer.
    pub fn status(&self) -> Result<Status, CallError> {
        let Reply::Status {
            name,
            key,
            until_ms,
            idle_ms,
            memory_locked,
        } = self.call(&Request::Status)?
        else {
            return Err(CallError::Unexpected);
        };
        let key: PublicKey = key.parse().map_err(|_| CallError::Unexpected)?;
        Ok(Status {
            name: name.parse().map_err(|_| CallError::Unexpected)?,
            key: PuddleKey::new(key),
            until_ms,
            idle_ms,
            memory_locked,
        })
    }

    /// Ends the session. When this returns the socket is gone and the secret
    /// about to be wiped.
    ///
    /// # Errors
    ///
    /// [`CallError`] if there is no answer.
    pub fn lock(&self) -> Result<(), CallError> {
        match self.call(&Request::Lock)? {
            Reply::Locked => Ok(()),
            Reply::Signed { .. } | Reply::Status { .. } | Reply::Refused { .. } => {
                Err(CallError::Unexpected)
            }
        }
    }

    fn signature(&self, request: &Request) -> Result<Signature, CallError> {
        let Reply::Signed { signature } = self.call(request)? else {
            return Err(CallError::Unexpected);
        };
        let bytes = hex::decode_exact(&signature).ok_or(CallError::Unexpected)?;
        Ok(Signature::from_bytes(&bytes))
    }

    fn call(&self, request: &Request) -> Result<Reply, CallError> {
        let stream = open(&self.socket).map_err(CallError::Connect)?;
        let mut stream = Deadline::new(stream, PATIENCE);
        message::write(&mut stream, request).map_err(CallError::Io)?;
        match message::read(&mut stream).map_err(CallError::Io)? {
            Some(Reply::Refused { code, reason }) => Err(CallError::Refused { code, reason }),
            Some(reply) => Ok(reply),
            None => Err(CallError::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn open(socket: &Path) -> Result<UnixStream, ConnectError> {
    let fault = |source| ConnectError::Io {
        socket: socket.to_owned(),
        source,
    };
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(ConnectError::Locked {
                socket: socket.to_owned(),
            });
        }
        Err(error) => return Err(fault(error)),
    };
    let peer = socket_peercred(&stream).map_err(|error| fault(error.into()))?;
    if peer.uid != rustix::process::geteuid() {
        return Err(ConnectError::Foreign {
            socket: socket.to_owned(),
            uid: peer.uid.as_raw(),
        });
    }
    Ok(stream)
}
