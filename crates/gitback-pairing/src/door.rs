//! Who is let in to try: connections are taken, bounded, and read up to their first message.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection};

use crate::channel::{Bounded, Channel, HostChannel};
use crate::frame::Kind;
use crate::message::Reason;
use crate::proof::{PROOF_BYTES, Proof};

/// How long a stranger has for the handshake and the proof.
const PROVE_WITHIN: Duration = Duration::from_secs(30);
/// Strangers at once. With more, the one that has been there longest has to go.
const STRANGERS_MAX: usize = 32;
/// Strangers at once with one address.
const STRANGERS_OF_ONE_MAX: usize = 4;
/// Proofs that wait to be looked at. More than three wrong ones are never looked at.
const ARRIVALS_MAX: usize = 8;
/// How long nobody is let in when the system refuses to.
const REST: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const STACK_BYTES: usize = 512 << 10;

/// Somebody who says that they know the code.
pub(crate) struct Arrival {
    pub(crate) channel: HostChannel,
    pub(crate) from: IpAddr,
    pub(crate) proof: Proof,
    /// The introduction, byte for byte.
    pub(crate) said: Vec<u8>,
}

/// Takes connections until it is dropped.
pub(crate) struct Door {
    shared: Arc<Shared>,
    arrivals: Receiver<Arrival>,
    address: SocketAddr,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    config: Arc<ServerConfig>,
    state: Mutex<State>,
}

struct State {
    /// Proofs are looked at. Where not, what comes is refused without a look.
    is_open: bool,
    queue: SyncSender<Arrival>,
    /// The oldest first.
    strangers: VecDeque<Stranger>,
    next: u64,
}

struct Stranger {
    number: u64,
    from: IpAddr,
    socket: TcpStream,
}

impl Door {
    pub(crate) fn open(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let (queue, arrivals) = sync_channel(ARRIVALS_MAX);
        let shared = Arc::new(Shared {
            config,
            state: Mutex::new(State {
                is_open: true,
                queue,
                strangers: VecDeque::new(),
                next: 0,
            }),
        });
        let of_thread = Arc::clone(&shared);
        let thread = Builder::new()
            .name("door".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || take(&of_thread, &listener, &woken))?;
        Ok(Self {
            shared,
            arrivals,
            address,
            wake,
            thread: Some(thread),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next who says that they know the code.
    pub(crate) fn next(&self, patience: Duration) -> Option<Arrival> {
        self.arrivals.recv_timeout(patience).ok()
    }

    /// From now on proofs are looked at.
    pub(crate) fn admit(&self) {
        self.shared.state().is_open = true;
    }

    /// From now on nobody is listened to. Who waits hears so.
    pub(crate) fn turn_away(&self) {
        self.shared.state().is_open = false;
        while let Ok(arrival) = self.arrivals.try_recv() {
            arrival.channel.refuse(Reason::NotAccepted);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.turn_away();
        // Ends the wait of the thread; if it is gone, that is what is wanted.
        let _ = self.wake.write_all(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more, and counts it.
    fn enter(&self, socket: &TcpStream, from: IpAddr) -> io::Result<u64> {
        let socket = socket.try_clone()?;
        let mut state = self.state();
        let of_one = state.strangers.iter().filter(|other| other.from == from);
        let leaves = if of_one.count() >= STRANGERS_OF_ONE_MAX {
            state.strangers.iter().position(|other| other.from == from)
        } else {
            (state.strangers.len() >= STRANGERS_MAX).then_some(0)
        };
        if let Some(other) = leaves.and_then(|index| state.strangers.remove(index)) {
            // Its own thread finds out.
            let _ = other.socket.shutdown(Shutdown::Both);
        }
        let number = state.next;
        state.next += 1;
        state.strangers.push_back(Stranger {
            number,
            from,
            socket,
        });
        Ok(number)
    }

    fn leave(&self, number: u64) {
        self.state()
            .strangers
            .retain(|stranger| stranger.number != number);
    }

    /// Hands over who has said hello, or refuses them.
    fn announce(&self, arrival: Arrival) {
        let state = self.state();
        let refused = if state.is_open {
            state
                .queue
                .try_send(arrival)
                .err()
                .map(|error| match error {
                    TrySendError::Full(arrival) | TrySendError::Disconnected(arrival) => arrival,
                })
        } else {
            Some(arrival)
        };
        drop(state);
        if let Some(arrival) = refused {
            arrival.channel.refuse(Reason::NotAccepted);
        }
    }
}

/// Takes connections until somebody writes to `woken`.
fn take(shared: &Arc<Shared>, listener: &TcpListener, woken: &UnixStream) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut must_rest = false;
    loop {
        let mut watched = vec![PollFd::from_borrowed_fd(woken.as_fd(), PollFlags::IN)];
        if !must_rest {
            watched.push(PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
        }
        // An interrupted wait is as good as one that was over.
        let _ = poll(&mut watched, must_rest.then_some(&REST));
        if watched
            .first()
            .is_some_and(|woken| !woken.revents().is_empty())
        {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        must_rest = match listener.accept() {
            Ok((socket, from)) => {
                admit(shared, socket, from.ip().to_canonical(), &mut threads).is_err()
            }
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
            ),
        };
    }
    for stranger in &shared.state().strangers {
        // Who was about to speak still hears that it is too late.
        let _ = stranger.socket.shutdown(Shutdown::Read);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn admit(
    shared: &Arc<Shared>,
    socket: TcpStream,
    from: IpAddr,
    threads: &mut Vec<JoinHandle<()>>,
) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let number = shared.enter(&socket, from)?;
    let of_thread = Arc::clone(shared);
    let thread = Builder::new()
        .name("stranger".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let arrival = listen(&of_thread, socket, from);
            of_thread.leave(number);
            if let Some(arrival) = arrival {
                of_thread.announce(arrival);
            }
        });
    match thread {
        Ok(thread) => threads.push(thread),
        Err(error) => {
            shared.leave(number);
            return Err(error);
        }
    }
    Ok(())
}

/// Hears who comes, up to the proof. What is none costs no try and no Argon2.
fn listen(shared: &Shared, socket: TcpStream, from: IpAddr) -> Option<Arrival> {
    let connection = ServerConnection::new(Arc::clone(&shared.config)).ok()?;
    let mut channel = Channel::begin(connection, Bounded::new(socket, PROVE_WITHIN)).ok()?;
    let frame = match channel.read(Kind::Hello) {
        Ok(frame) if frame.kind == Kind::Hello => frame,
        Ok(_) => return None,
        Err(_) => {
            if !shared.state().is_open {
                channel.refuse(Reason::NotAccepted);
            }
            return None;
        }
    };
    let (proof, said) = frame.payload.split_first_chunk::<PROOF_BYTES>()?;
    Some(Arrival {
        proof: Proof::from_bytes(*proof),
        said: said.to_vec(),
        channel,
        from,
    })
}
