//! One TLS connection, bounded in time and bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData, StreamOwned};
use zeroize::Zeroizing;

use crate::frame::{self, Frame, Kind, WireError};
use crate::message::Reason;
use crate::proof::{EXPORTER_BYTES, EXPORTER_LABEL, Exporter};

/// The one application protocol spoken.
pub(crate) const ALPN: &[u8] = b"gitback-pair/1";
/// What one side may send before it has proven anything, in bytes on the wire, TLS included.
const STRANGER_BYTES: u64 = 16 << 10;
/// What it may send in all after that: the largest puddle, and room for TLS.
const PROVEN_BYTES: u64 = 4 << 20;

/// A socket whose reads and writes end by one instant, and whose reads by a number of bytes.
#[derive(Debug)]
pub(crate) struct Bounded {
    socket: TcpStream,
    ends: Instant,
    bytes_left: u64,
}

impl Bounded {
    pub(crate) fn new(socket: TcpStream, patience: Duration) -> Self {
        Self {
            socket,
            ends: Instant::now() + patience,
            bytes_left: STRANGER_BYTES,
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// A socket's timeout shows as `WouldBlock`.
fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.socket.set_read_timeout(Some(self.left()?))?;
        let room = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        let room = room.min(into.len());
        let into = into.get_mut(..room).unwrap_or_default();
        let read = self.socket.read(into).map_err(name_timeout)?;
        self.bytes_left = self.bytes_left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes).map_err(name_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A connection after its handshake.
pub(crate) struct Channel<C, S>
where
    C: std::ops::DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    stream: StreamOwned<C, Bounded>,
    exporter: Exporter,
}

/// The guest's end.
pub(crate) type GuestChannel = Channel<ClientConnection, rustls::client::ClientConnectionData>;
/// The host's end.
pub(crate) type HostChannel = Channel<ServerConnection, rustls::server::ServerConnectionData>;

/// Why there is no channel.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The other side speaks TLS, but not this protocol.
    OtherProtocol,
    /// The other side does not speak TLS as it should.
    Tls(rustls::Error),
    Wire(WireError),
}

impl<C, S> Channel<C, S>
where
    C: std::ops::DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    /// Does the handshake.
    pub(crate) fn begin(connection: C, wire: Bounded) -> Result<Self, HandshakeError> {
        let mut stream = StreamOwned::new(connection, wire);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(handshake_error)?;
        }
        // A side that offers no protocol at all gets through the handshake.
        if stream.conn.alpn_protocol() != Some(ALPN) {
            return Err(HandshakeError::OtherProtocol);
        }
        let secret = Zeroizing::new([0; EXPORTER_BYTES]);
        let mut exporter = Exporter(secret);
        stream
            .conn
            .export_keying_material(exporter.0.as_mut(), EXPORTER_LABEL, None)
            .map_err(HandshakeError::Tls)?;
        Ok(Self { stream, exporter })
    }

    pub(crate) fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// From now on, everything has to be done within `patience`.
    pub(crate) fn within(&mut self, patience: Duration) -> &mut Self {
        self.stream.sock.ends = Instant::now() + patience;
        self
    }

    /// The other side has proven that it knows the code: it may send more.
    pub(crate) fn trust(&mut self) {
        self.stream.sock.bytes_left = PROVEN_BYTES;
    }

    pub(crate) fn read(&mut self, wanted: Kind) -> Result<Frame, WireError> {
        frame::read(&mut self.stream, wanted)
    }

    pub(crate) fn write(&mut self, kind: Kind, payload: &[u8]) -> Result<(), WireError> {
        frame::write(&mut self.stream, kind, payload)
    }

    /// Says why this is the end, if anybody listens.
    pub(crate) fn refuse(mut self, reason: Reason) {
        // Whoever is gone needs no reason.
        let _ = self.write(Kind::Refused, &[reason.code()]);
        self.close();
    }

    /// Ends the connection in good order.
    pub(crate) fn close(mut self) {
        self.stream.conn.send_close_notify();
        // Whoever is gone needs no goodbye.
        let _ = self.stream.flush();
        let _ = self.stream.sock.socket.shutdown(Shutdown::Write);
    }

    /// Becomes readable when the other side has ended the connection or sent something.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.sock.socket.as_fd()
    }

    /// Whether the other side, whose turn it is not, has ended the connection or sent something.
    pub(crate) fn is_gone(&mut self) -> bool {
        let buffered = self.stream.conn.process_new_packets();
        if !buffered
            .is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed())
        {
            return true;
        }
        let socket = &self.stream.sock.socket;
        if socket.set_nonblocking(true).is_err() {
            return true;
        }
        let seen = socket.peek(&mut [0]);
        let waits = matches!(&seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        socket.set_nonblocking(false).is_err() || !waits
    }
}

fn handshake_error(error: io::Error) -> HandshakeError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::NoApplicationProtocol) => HandshakeError::OtherProtocol,
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)) => {
            HandshakeError::OtherProtocol
        }
        Some(tls) => HandshakeError::Tls(tls.clone()),
        None => HandshakeError::Wire(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn pair(patience: Duration) -> (Bounded, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let other = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (socket, _) = listener.accept().expect("taken");
        (Bounded::new(socket, patience), other)
    }

    /// Each byte comes in time, and all of them do not.
    #[test]
    fn who_sends_a_byte_now_and_then_is_late() {
        let (mut bounded, mut other) = pair(Duration::from_millis(50));
        bounded.bytes_left = u64::MAX;
        thread::scope(|scope| {
            scope.spawn(move || while other.write_all(&[0]).is_ok() {});
            let late = loop {
                if let Err(error) = bounded.read(&mut [0]) {
                    break error;
                }
            };
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            drop(bounded);
        });
    }

    #[test]
    fn a_stranger_sends_no_more_than_it_may() {
        let (mut bounded, mut other) = pair(Duration::from_secs(60));
        thread::scope(|scope| {
            scope.spawn(move || while other.write_all(&[0; 1024]).is_ok() {});
            let mut read = 0;
            let much = loop {
                match bounded.read(&mut [0; 4096]) {
                    Ok(bytes) => read += bytes as u64,
                    Err(error) => break error,
                }
            };
            assert_eq!(
                (read, much.kind()),
                (STRANGER_BYTES, io::ErrorKind::FileTooLarge)
            );
            drop(bounded);
        });
    }

    #[test]
    fn who_takes_nothing_is_late() {
        let (mut bounded, other) = pair(Duration::from_millis(50));
        let late = loop {
            if let Err(error) = bounded.write(&[0; 65536]) {
                break error;
            }
        };
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(other);
    }
}
