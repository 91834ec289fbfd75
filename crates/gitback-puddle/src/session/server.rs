//! The half that holds the key.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gitback_identity::{SecretKey, Signature, hex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::deadline::Deadline;
use super::judge::{self, Refusal};
use super::message::{self, Reply, Request};
use super::vault::{Vault, wipe_stack};
use crate::Public;

/// How long one connection may keep the session busy.
const CONNECTION: Duration = Duration::from_secs(5);
/// Requests on one connection.
const REQUESTS_MAX: u32 = 64;
/// Connections that wait while one is served.
const BACKLOG: i32 = 16;
/// The longest sleep: a machine that was suspended must notice soon after
/// waking that the session is over.
const NAP: Duration = Duration::from_secs(15);

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Somebody asked for it.
    Locked,
    /// Its time was up.
    TimeUp,
    /// Nobody had it sign anything for so long.
    Idle,
    /// Its socket was removed, or another session has taken it.
    Replaced,
}

/// Why a session did not start, or broke down.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A session answers on the socket already.
    #[error("a session runs already on {socket}")]
    Running {
        /// The socket.
        socket: PathBuf,
    },
    /// Something that is no socket has its name; it was left alone.
    #[error("{path} is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket could not be made or used.
    #[error("cannot {action} {socket}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The socket, or its directory.
        socket: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A session's socket, before the secret is behind it.
///
/// Clients can connect from here on and are answered by [`Server::run`]. The
/// socket is removed when this is dropped.
#[derive(Debug)]
pub struct Server(Bound);

impl Server {
    /// Listens on `socket`, 0600, in a directory that is made 0700 where it is
    /// missing. A socket that nobody serves any more is replaced.
    ///
    /// # Errors
    ///
    /// [`ServeError::Running`] if a session is there already; otherwise
    /// [`ServeError`] for what failed.
    pub fn bind(socket: &Path) -> Result<Self, ServeError> {
        Bound::new(socket).map(Self)
    }

    /// Serves with the secret in `vault` until the session ends, then removes the socket
    /// and wipes the secret.
    ///
    /// The session lasts `until` (time asleep counts), or shorter if nothing
    /// is signed for `idle`.
    ///
    /// # Errors
    ///
    /// [`ServeError::Io`] if the socket breaks.
    pub fn run(
        self,
        vault: Vault,
        public: Public,
        until: Duration,
        idle: Option<Duration>,
    ) -> Result<Ended, ServeError> {
        let Self(bound) = self;
        let session = Session {
            until_ms: wall_clock_ms().saturating_add(millis(until)),
            idle_ms: idle.map(millis),
            vault,
            public,
        };
        let mut clock = Clock::start(until, idle);
        loop {
            if let Some(ended) = clock.ended() {
                return Ok(ended);
            }
            if !bound.is_ours() {
                return Ok(Ended::Replaced);
            }
            let Some(stream) = bound.accept(clock.nap())? else {
                continue;
            };
            match session.converse(stream, &mut clock) {
                Next::Go => {}
                Next::End(reply) => {
                    // The socket goes first: who is told "locked" finds it gone.
                    drop(bound);
                    reply.send();
                    return Ok(Ended::Locked);
                }
            }
        }
    }
}

/// [`Server::bind`] and [`Server::run`] in one.
///
/// # Errors
///
/// Those of both.
pub fn serve(
    socket: &Path,
    secret: SecretKey,
    public: Public,
    until: Duration,
    idle: Option<Duration>,
) -> Result<Ended, ServeError> {
    Server::bind(socket)?.run(Vault::new(secret), public, until, idle)
}

/// The socket, removed when dropped.
#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, by which the socket is told from a successor's.
    place: (u64, u64),
}

impl Bound {
    fn new(path: &Path) -> Result<Self, ServeError> {
        if let Some(dir) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(fault("create the directory", dir))?;
        }
        remove_stale(path)?;
        let (listener, place) = listen(path).map_err(fault("listen on", path))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            place,
        })
    }

    fn is_ours(&self) -> bool {
        place(&self.path).is_ok_and(|place| place == self.place)
    }

    /// The next connection of the same user; `None` after `nap`.
    fn accept(&self, nap: Duration) -> Result<Option<UnixStream>, ServeError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(nap.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(nap.subsec_nanos()),
        };
        let mut watched = [PollFd::new(&self.listener, PollFlags::IN)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(fault("wait on", &self.path)(error.into())),
        }
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => return Ok(None),
            Err(error) => return Err(fault("accept on", &self.path)(error)),
        };
        let same_user =
            socket_peercred(&stream).is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        Ok(same_user.then_some(stream))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_ours() {
            // Nothing is lost if it stays: the next session replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What to do after a connection.
enum Next {
    Go,
    End(LastReply),
}

/// The answer to LOCK, held back until the socket is gone.
struct LastReply(Deadline);

impl LastReply {
    fn send(mut self) {
        // The session ends whether or not the client still listens.
        let _ = message::write(&mut self.0, &Reply::Locked);
    }
}

struct Session {
    vault: Vault,
    public: Public,
    until_ms: u64,
    idle_ms: Option<u64>,
}

impl Session {
    /// Answers the requests of one connection. What a client does wrong ends
    /// its connection and nothing else.
    fn converse(&self, stream: UnixStream, clock: &mut Clock) -> Next {
        let mut stream = Deadline::new(stream, CONNECTION);
        for _ in 0..REQUESTS_MAX {
            let Ok(Some(request)) = message::read::<Request>(&mut stream) else {
                return Next::Go;
            };
            // The time may have run out while the client was slow.
            if clock.ended().is_some() {
                return Next::Go;
            }
            let reply = match request {
                Request::Lock => return Next::End(LastReply(stream)),
                Request::Status => self.status(),
                Request::Sign { type_name, body } => made(
                    clock,
                    judge::statement(self.vault.secret(), &type_name, &body),
                ),
                Request::Accept { type_name, body } => made(
                    clock,
                    judge::delegation(self.vault.secret(), &type_name, &body),
                ),
                Request::ClaimName { body } => {
                    made(clock, judge::claim(self.vault.secret(), &body))
                }
            };
            if message::write(&mut stream, &reply).is_err() {
                return Next::Go;
            }
        }
        Next::Go
    }

    fn status(&self) -> Reply {
        Reply::Status {
            name: self.public.name.to_string(),
            key: self.vault.secret().public().to_string(),
            until_ms: self.until_ms,
            idle_ms: self.idle_ms,
            memory_locked: self.vault.is_locked(),
        }
    }
}

fn made(clock: &mut Clock, judged: Result<Signature, Refusal>) -> Reply {
    // Whatever signing has left there.
    wipe_stack();
    match judged {
        Ok(signature) => {
            // What is refused keeps no session alive.
            clock.used();
            Reply::Signed {
                signature: hex::encode(signature.as_bytes()),
            }
        }
        Err(Refusal { code, reason }) => Reply::Refused {
            code: code.to_owned(),
            reason,
        },
    }
}

/// When the session ends, by a clock that counts time asleep.
struct Clock {
    end: Duration,
    idle: Option<Duration>,
    last_use: Duration,
}

impl Clock {
    fn start(until: Duration, idle: Option<Duration>) -> Self {
        let now = since_boot();
        Self {
            end: now.saturating_add(until),
            idle,
            last_use: now,
        }
    }

    fn used(&mut self) {
        self.last_use = since_boot();
    }

    fn ended(&self) -> Option<Ended> {
        let now = since_boot();
        if now >= self.end {
            return Some(Ended::TimeUp);
        }
        let idle = self.idle?;
        (now >= self.last_use.saturating_add(idle)).then_some(Ended::Idle)
    }

    fn nap(&self) -> Duration {
        let idle_end = self
            .idle
            .map_or(Duration::MAX, |idle| self.last_use.saturating_add(idle));
        let next = self.end.min(idle_end).saturating_sub(since_boot());
        // One millisecond more, so as not to wake just before the end.
        next.saturating_add(Duration::from_millis(1)).min(NAP)
    }
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

fn wall_clock_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Removes a socket that refuses connections: its session is dead.
fn remove_stale(path: &Path) -> Result<(), ServeError> {
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault("look at", path)(error)),
    };
    if !kind.is_socket() {
        return Err(ServeError::NotASocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ServeError::Running {
            socket: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(fault("remove", path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fault("connect to", path)(error)),
    }
}

/// A listening socket and its place, which is looked at before anyone can know
/// of the socket and replace it. The mode is set before the name exists, so
/// that the socket is never open to others.
fn listen(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let place = place(path)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((UnixListener::from(socket), place))
}

fn place(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = path.symlink_metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// True for failures of one connection rather than of the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

fn fault(action: &'static str, socket: &Path) -> impl FnOnce(io::Error) -> ServeError {
    let socket = socket.to_owned();
    move |source| ServeError::Io {
        action,
        socket,
        source,
    }
}
