//! The server half: a socket, who is at the other end, and how long and how often they may be.
//!
//! Source: docs/spec/helper-socket.md §1, §5 and §6.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::address::socket_address;
use crate::client::dial;
use crate::frame::{Deadline, read_frame, write_message};
use crate::slots::{Full, Slots};
use crate::{
    AddressFault, FRAME_MAX, Failure, FrameError, REQUEST_MAX, Reply, Request, RequestReject, Slot,
    exit_code,
};

/// The most requests in one conversation.
pub const REQUESTS_MAX: u32 = 32;

/// Connections the kernel keeps waiting for [`Listener::accept`].
const BACKLOG: i32 = 128;

/// How long `bind` waits for an older daemon to take a connection.
const PROBE_WAIT: Duration = Duration::from_millis(500);

/// How long `accept` rests when the system has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How long a client that is turned away may take to hear why.
///
/// Its socket buffer is empty, so the answer is written at once.
const TURN_AWAY_WAIT: Duration = Duration::from_millis(50);

/// What one client, and all of them together, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the moment the server waits for a request until all of it is there.
    pub request: Duration,
    /// From the first byte of an answer until the client has taken the last.
    pub reply: Duration,
    /// The longest silence on a stream of git's protocol, in either direction.
    ///
    /// Long, because a client that compresses a large pack says nothing meanwhile.
    pub stream_idle: Duration,
    /// Requests in one conversation.
    pub requests_max: u32,
    /// Connections of one user.
    pub connections_of_one_user_max: usize,
    /// Connections of all users.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            reply: Duration::from_secs(10),
            stream_idle: Duration::from_secs(30 * 60),
            requests_max: REQUESTS_MAX,
            connections_of_one_user_max: 32,
            connections_max: 512,
        }
    }
}

/// The socket on which a daemon serves the users of its machine.
///
/// The socket's file is removed when this is dropped. A file beside it, the socket's name with
/// `.lock` added, stays: it is what keeps two daemons from serving the same place.
#[derive(Debug)]
pub struct Listener {
    socket: Arc<UnixListener>,
    stopped: Arc<AtomicBool>,
    path: PathBuf,
    limits: Limits,
    slots: Slots,
    /// Held for its lock.
    _lock: File,
}

/// Ends [`Listener::accept`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    socket: Arc<UnixListener>,
    stopped: Arc<AtomicBool>,
}

/// Why a listener could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The path is no address.
    #[error("cannot listen")]
    Address(#[source] AddressFault),
    /// Another daemon answers there.
    #[error("a daemon is already serving {}", path.display())]
    AlreadyServed {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is in the way. It is left alone.
    #[error("{} is in the way and is not a socket", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// A file or directory could not be prepared.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The socket could not be made.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Why no connection came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// A [`Stopper`] ended it.
    #[error("the socket was closed")]
    Stopped,
    /// The listening socket failed.
    #[error("cannot accept a connection")]
    Socket {
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Why no request was read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The frame did not arrive.
    #[error("cannot read a request")]
    Frame(#[source] FrameError),
    /// It arrived and is no request.
    #[error("cannot read a request")]
    Reject(#[source] RequestReject),
    /// The conversation has gone on for too long.
    #[error("more than {max} requests in one conversation")]
    TooMany {
        /// What is allowed.
        max: u32,
    },
}

impl ReadError {
    /// Whether the client just went away between two requests.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Frame(FrameError::Closed))
    }
}

impl Listener {
    /// Listens on `path` with the file mode `mode` and the default limits.
    ///
    /// The directory is made if it is missing: open to all who may use the socket, closed to
    /// others. A socket that a dead daemon left is replaced.
    ///
    /// # Errors
    ///
    /// [`BindError::AlreadyServed`] if a daemon answers there; otherwise what kept the socket
    /// from being made.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        Self::bind_with(path, mode, Limits::default())
    }

    /// As [`Listener::bind`], with limits of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    pub fn bind_with(path: &Path, mode: u32, limits: Limits) -> Result<Self, BindError> {
        let address = socket_address(path).map_err(BindError::Address)?;
        prepare_directory(path, mode)?;
        let lock = lock_beside(path)?;
        remove_stale(path)?;

        let fault = |source: rustix::io::Errno| BindError::Socket {
            path: path.to_owned(),
            source: source.into(),
        };
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(fault)?;
        rustix::net::bind(&socket, &address).map_err(fault)?;
        // Nobody can connect before `listen`, so the mode is right before it matters.
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|source| {
            BindError::Prepare {
                path: path.to_owned(),
                source,
            }
        })?;
        rustix::net::listen(&socket, BACKLOG).map_err(fault)?;

        Ok(Self {
            socket: Arc::new(UnixListener::from(socket)),
            stopped: Arc::default(),
            path: path.to_owned(),
            limits,
            slots: Slots::new(limits.connections_max, limits.connections_of_one_user_max),
            _lock: lock,
        })
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A handle that ends [`Listener::accept`].
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            socket: Arc::clone(&self.socket),
            stopped: Arc::clone(&self.stopped),
        }
    }

    /// Waits for the next client that is within its limits.
    ///
    /// A client over a limit is told so and closed here; a shortage of descriptors is waited out.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Stopped`] after [`Stopper::stop`]; [`AcceptError::Socket`] if the socket
    /// is of no more use.
    pub fn accept(&self) -> Result<Connection, AcceptError> {
        loop {
            let accepted = self.socket.accept();
            if self.stopped.load(Ordering::Acquire) {
                return Err(AcceptError::Stopped);
            }
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) if is_passing(&error) => continue,
                Err(error) if is_exhausted(&error) => {
                    std::thread::sleep(EXHAUSTED_PAUSE);
                    continue;
                }
                Err(source) => return Err(AcceptError::Socket { source }),
            };
            // The client may be gone already; the next one is what matters.
            let Ok(credentials) = sockopt::socket_peercred(&stream) else {
                continue;
            };
            let uid = credentials.uid.as_raw();
            match self.slots.take(uid) {
                Ok(slot) => return Ok(Connection::new(stream, uid, slot, self.limits)),
                Err(full) => turn_away(&stream, full),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Still under the lock, so this is our own file. A missing one is no matter.
        let _ = fs::remove_file(&self.path);
    }
}

impl Stopper {
    /// Closes the socket to new connections; those that are open go on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes a thread that is blocked in `accept`. It can fail only when it is closed already.
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Both);
    }
}

/// A conversation with one client.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    uid: u32,
    slot: Slot,
    limits: Limits,
    requests_left: u32,
}

impl Connection {
    fn new(stream: UnixStream, uid: u32, slot: Slot, limits: Limits) -> Self {
        Self {
            stream,
            uid,
            slot,
            limits,
            requests_left: limits.requests_max,
        }
    }

    /// The user at the other end, as the kernel saw it when the connection was made.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Reads the next request, all of it within [`Limits::request`].
    ///
    /// # Errors
    ///
    /// [`ReadError`]; after any of them the conversation is over.
    /// [`ReadError::is_closed`] tells the usual end from a fault.
    pub fn read_request(&mut self) -> Result<Request, ReadError> {
        let Some(requests_left) = self.requests_left.checked_sub(1) else {
            return Err(ReadError::TooMany {
                max: self.limits.requests_max,
            });
        };
        self.requests_left = requests_left;
        let deadline = Deadline::starting_now(self.limits.request);
        let payload = read_frame(&self.stream, REQUEST_MAX, deadline).map_err(ReadError::Frame)?;
        // One kind of request holds a secret.
        let payload = Zeroizing::new(payload);
        Request::decode(&payload).map_err(ReadError::Reject)
    }

    /// Sends one answer, all of it within [`Limits::reply`].
    ///
    /// # Errors
    ///
    /// [`FrameError`]; after any of them the conversation is over.
    pub fn reply(&mut self, reply: &Reply) -> Result<(), FrameError> {
        write_message(
            &self.stream,
            reply,
            FRAME_MAX,
            Deadline::starting_now(self.limits.reply),
        )
    }

    /// Gives up the conversation for the bytes behind it, after [`Reply::Ready`].
    ///
    /// The stream fails with `WouldBlock` after [`Limits::stream_idle`] without a byte. The
    /// connection counts against its user for as long as the [`Slot`] is kept.
    ///
    /// # Errors
    ///
    /// What the system says when the socket's timeouts cannot be set.
    pub fn into_stream(self) -> io::Result<(UnixStream, Slot)> {
        self.stream
            .set_read_timeout(Some(self.limits.stream_idle))?;
        self.stream
            .set_write_timeout(Some(self.limits.stream_idle))?;
        Ok((self.stream, self.slot))
    }
}

fn prepare_directory(path: &Path, mode: u32) -> Result<(), BindError> {
    let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    let mode = if mode & 0o077 == 0 { 0o700 } else { 0o755 };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)
        // Again, since a strict umask would lock out the users the socket is for.
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(mode)))
        .map_err(|source| BindError::Prepare {
            path: directory.to_owned(),
            source,
        })
}

/// Takes the lock that says "this path is served". The kernel lets go of it when a daemon dies.
fn lock_beside(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let beside = PathBuf::from(name);
    let fault = |source| BindError::Prepare {
        path: beside.clone(),
        source,
    };
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(fault)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(BindError::AlreadyServed {
            path: path.to_owned(),
        }),
        Err(fs::TryLockError::Error(source)) => Err(fault(source)),
    }
}

/// Removes a dead daemon's socket, and nothing else.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let fault = |source| BindError::Prepare {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(BindError::InTheWay {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(fault(source)),
    }
    // The lock is ours, so only a daemon whose lock file was deleted can still be there.
    match dial(path, PROBE_WAIT) {
        Err(error) if error.is_not_running() => fs::remove_file(path).map_err(fault),
        _ => Err(BindError::AlreadyServed {
            path: path.to_owned(),
        }),
    }
}

/// Whether `accept` failed for the sake of one client that went away.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

/// Whether the system is short of something that comes back.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Tells a client over a limit what is wrong, hardly waiting for it.
fn turn_away(stream: &UnixStream, full: Full) {
    let (what, hint) = match full {
        Full::User => (
            "you have too many connections open to this envoy",
            "wait for some of them to end",
        ),
        Full::All => (
            "this envoy has too many connections open",
            "try again in a moment",
        ),
    };
    let reply = Reply::Failed(Failure {
        code: exit_code::FAILED,
        what: what.to_owned(),
        why: None,
        hints: vec![hint.to_owned()],
    });
    // A client that does not get this sees the close.
    let _ = write_message(
        stream,
        &reply,
        FRAME_MAX,
        Deadline::starting_now(TURN_AWAY_WAIT),
    );
}
