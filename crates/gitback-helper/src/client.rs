//! The client half: any program that wants something from the daemon of its machine.
//!
//! Source: docs/spec/helper-socket.md §1 to §5.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use thiserror::Error;

use crate::address::socket_address;
use crate::frame::{Deadline, HEADER_BYTES, is_gone, is_pause, read_payload, write_message};
use crate::{AddressFault, FRAME_MAX, FrameError, REQUEST_MAX, Reply, Request};

/// How long a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the daemon to take the connection.
    pub connect: Duration,
    /// For the daemon to take a request.
    pub request: Duration,
    /// For the next word of an answer, [`Reply::Progress`] included.
    pub answer: Duration,
    /// After how much silence the caller first hears [`Meanwhile::Silence`].
    pub first_word: Duration,
    /// How much later the caller hears it again.
    pub next_word: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            answer: Duration::from_secs(120),
            first_word: Duration::from_millis(800),
            next_word: Duration::from_secs(10),
        }
    }
}

/// What happens while an answer is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile<'a> {
    /// The daemon says what it is doing.
    Progress(&'a str),
    /// The daemon has said nothing for this long.
    Silence(Duration),
}

/// A conversation with the daemon of this machine.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    patience: Patience,
}

/// Why there is no conversation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The path is no address.
    #[error("cannot reach the daemon")]
    Address(#[source] AddressFault),
    /// No daemon listens there.
    #[error("the daemon is not answering on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is not for this user.
    #[error("this user may not use {}", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon listens and takes no connection.
    #[error("the daemon takes no connection on {} within {} s", path.display(), after.as_secs_f32())]
    Busy {
        /// The socket.
        path: PathBuf,
        /// How long this end waited.
        after: Duration,
    },
    /// The system failed otherwise.
    #[error("cannot connect to {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// Whether no daemon listens there.
    #[must_use]
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }
}

/// Why a request got no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request could not be sent.
    #[error("cannot send a request to the daemon")]
    Send(#[source] FrameError),
    /// The answer did not arrive.
    #[error("cannot read the daemon's answer")]
    Receive(#[source] FrameError),
    /// The daemon said nothing for too long.
    #[error("the daemon has not answered for {} s", after.as_secs_f32())]
    Silent {
        /// How long this end waited.
        after: Duration,
    },
    /// The daemon's answer is not understood: the two ends are of different versions.
    #[error("the daemon's answer is not understood")]
    Malformed {
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NotRunning`] if nobody listens there; otherwise what kept the connection
    /// from being made within [`Patience::connect`].
    pub fn connect(path: &Path) -> Result<Self, ConnectError> {
        Self::connect_with(path, Patience::default())
    }

    /// As [`Client::connect`], waiting as long as the caller likes.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect_with(path: &Path, patience: Patience) -> Result<Self, ConnectError> {
        Ok(Self {
            stream: dial(path, patience.connect)?,
            patience,
        })
    }

    /// The user as whom the daemon listens, as the kernel says.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn daemon_uid(&self) -> io::Result<u32> {
        let credentials = sockopt::socket_peercred(&self.stream)?;
        Ok(credentials.uid.as_raw())
    }

    /// Asks one thing and waits for the answer, which is never [`Reply::Progress`].
    ///
    /// After [`Reply::Ready`] the only thing to do is [`Client::into_stream`].
    ///
    /// # Errors
    ///
    /// [`CallError`]; after any of them the conversation is over.
    pub fn call(
        &mut self,
        request: &Request,
        meanwhile: &mut dyn FnMut(Meanwhile<'_>),
    ) -> Result<Reply, CallError> {
        let deadline = Deadline::starting_now(self.patience.request);
        match write_message(&self.stream, request, REQUEST_MAX, deadline) {
            // A daemon that turned this client away has said why before it closed.
            Ok(()) | Err(FrameError::Closed) => {}
            Err(error) => return Err(CallError::Send(error)),
        }
        loop {
            match self.read_reply(meanwhile)? {
                Reply::Progress { text } => meanwhile(Meanwhile::Progress(&text)),
                reply => return Ok(reply),
            }
        }
    }

    /// The raw stream behind the conversation, after [`Reply::Ready`]. It has no timeouts.
    ///
    /// # Errors
    ///
    /// What the system says when the socket's timeouts cannot be cleared.
    pub fn into_stream(self) -> io::Result<UnixStream> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)?;
        Ok(self.stream)
    }

    fn read_reply(&self, meanwhile: &mut dyn FnMut(Meanwhile<'_>)) -> Result<Reply, CallError> {
        let header = self.await_header(meanwhile)?;
        let deadline = Deadline::starting_now(self.patience.answer);
        let payload =
            read_payload(&self.stream, header, FRAME_MAX, deadline).map_err(CallError::Receive)?;
        serde_json::from_slice(&payload).map_err(|source| CallError::Malformed { source })
    }

    /// Reads a frame's length, telling the caller every now and then that it is still waiting.
    fn await_header(
        &self,
        meanwhile: &mut dyn FnMut(Meanwhile<'_>),
    ) -> Result<[u8; HEADER_BYTES], CallError> {
        let receive = |source| CallError::Receive(FrameError::Socket { source });
        let started = Instant::now();
        let mut next_word = self.patience.first_word;
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let waited = started.elapsed();
            if waited >= self.patience.answer {
                return Err(CallError::Silent {
                    after: self.patience.answer,
                });
            }
            if waited >= next_word {
                meanwhile(Meanwhile::Silence(waited));
                next_word = waited + self.patience.next_word;
            }
            let pause = next_word.min(self.patience.answer).saturating_sub(waited);
            // Zero would mean "for ever" to the socket.
            let pause = pause.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(pause)).map_err(receive)?;
            match (&self.stream).read(rest) {
                Ok(0) if filled == 0 => return Err(CallError::Receive(FrameError::Closed)),
                Ok(0) => return Err(CallError::Receive(FrameError::Truncated)),
                Ok(count) => filled += count,
                Err(error) if is_pause(error.kind()) => {}
                Err(error) if is_gone(error.kind()) => {
                    return Err(CallError::Receive(FrameError::Closed));
                }
                Err(source) => return Err(receive(source)),
            }
        }
        Ok(header)
    }
}

/// Connects within `wait`, also when the daemon's queue of connections is full.
pub(crate) fn dial(path: &Path, wait: Duration) -> Result<UnixStream, ConnectError> {
    let fault = |source: rustix::io::Errno| ConnectError::Socket {
        path: path.to_owned(),
        source: source.into(),
    };
    let address = socket_address(path).map_err(ConnectError::Address)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(fault)?;
    // Linux bounds `connect` on a unix socket by the send timeout.
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(wait)).map_err(fault)?;

    let started = Instant::now();
    loop {
        use rustix::io::Errno;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(Errno::INTR) if started.elapsed() < wait => {}
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR) => {
                return Err(ConnectError::NotRunning {
                    path: path.to_owned(),
                });
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                return Err(ConnectError::NotPermitted {
                    path: path.to_owned(),
                });
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                return Err(ConnectError::Busy {
                    path: path.to_owned(),
                    after: wait,
                });
            }
            Err(errno) => return Err(fault(errno)),
        }
    }
}
