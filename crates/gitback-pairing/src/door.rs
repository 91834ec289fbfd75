//! Who is let in to try: connections are taken, bounded, and read up to their first message.

use std::io::{self, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection};

use crate::channel::{Bounded, Channel, HostChannel};
use crate::frame::Kind;
use crate::message::Reason;
use crate::proof::{PROOF_BYTES, Proof};
use crate::queue::Queue;
use crate::seats::{Seats, Taken};

/// How long a stranger has for the handshake and the proof.
const PROVE_WITHIN: Duration = Duration::from_secs(30);
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
    address: SocketAddr,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    config: Arc<ServerConfig>,
    state: Mutex<State>,
    has_arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// Proofs are not looked at: what comes is refused without a look.
    is_shut: bool,
    arrivals: Queue<Arrival>,
    strangers: Seats<TcpStream>,
}

impl Door {
    pub(crate) fn open(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let shared = Arc::new(Shared {
            config,
            state: Mutex::default(),
            has_arrived: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = Builder::new()
            .name("door".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || take(&of_thread, &listener, &woken))?;
        Ok(Self {
            shared,
            address,
            wake,
            thread: Some(thread),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next who says that they know the code; `wrong` is how often an address was wrong.
    pub(crate) fn next(
        &self,
        patience: Duration,
        wrong: impl Fn(IpAddr) -> u32,
    ) -> Option<Arrival> {
        let ends = Instant::now() + patience;
        let mut state = self.shared.state();
        loop {
            if let Some(arrival) = state.arrivals.next(&wrong) {
                return Some(arrival);
            }
            let left = ends.checked_duration_since(Instant::now())?;
            let waited = self.shared.has_arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// From now on proofs are looked at.
    pub(crate) fn admit(&self) {
        self.shared.state().is_shut = false;
    }

    /// From now on nobody is listened to. Who waits hears so.
    pub(crate) fn turn_away(&self) {
        let mut state = self.shared.state();
        state.is_shut = true;
        let waiting = state.arrivals.drain();
        drop(state);
        for arrival in waiting {
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

    /// Makes room for one more, and counts it; nothing if there is none.
    fn enter(&self, socket: &TcpStream, from: IpAddr) -> io::Result<Option<u64>> {
        let socket = socket.try_clone()?;
        let taken = self.state().strangers.take(Instant::now(), from, socket);
        let Some(Taken { number, evicted }) = taken else {
            return Ok(None);
        };
        if let Some(other) = evicted {
            // Its own thread finds out.
            let _ = other.shutdown(Shutdown::Both);
        }
        Ok(Some(number))
    }

    fn leave(&self, number: u64) {
        self.state().strangers.leave(number);
    }

    /// Hands over who has said hello, or refuses them.
    fn announce(&self, arrival: Arrival) {
        let mut state = self.state();
        let refused = match state.is_shut {
            true => Some(arrival),
            false => state.arrivals.push(arrival.from, arrival),
        };
        drop(state);
        self.has_arrived.notify_one();
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
    for stranger in shared.state().strangers.held() {
        // Who was about to speak still hears that it is too late.
        let _ = stranger.shutdown(Shutdown::Read);
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
    let Some(number) = shared.enter(&socket, from)? else {
        return Ok(());
    };
    let of_thread = Arc::clone(shared);
    let thread = Builder::new()
        .name("stranger".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let arrival = listen(&of_thread, socket, from, number);
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
fn listen(shared: &Shared, socket: TcpStream, from: IpAddr, number: u64) -> Option<Arrival> {
    let connection = ServerConnection::new(Arc::clone(&shared.config)).ok()?;
    let mut channel = Channel::begin(connection, Bounded::new(socket, PROVE_WITHIN)).ok()?;
    shared.state().strangers.greeted(number);
    let frame = match channel.read(Kind::Hello) {
        Ok(frame) if frame.kind == Kind::Hello => frame,
        Ok(_) => return None,
        Err(_) => {
            if shared.state().is_shut {
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
