//! Frames: a length, then JSON.
//!
//! Every byte of a frame is asked for by count, so nothing after it is ever swallowed: the
//! bytes behind the frame that holds [`Reply::Ready`](crate::Reply::Ready) are git's.
//!
//! Source: docs/spec/helper-socket.md §2.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest payload of a frame, in bytes.
pub const FRAME_MAX: usize = 4 * 1024 * 1024;

/// The longest payload of a request, in bytes.
///
/// The largest requests hand in [`DRAFTS_MAX`](crate::DRAFTS_MAX) envelopes of some hundred bytes, or a few of at most
/// 64 KiB, in hex, or the roster of the largest fleet.
pub const REQUEST_MAX: usize = 1088 * 1024;

/// What a frame takes before it has to grow, in bytes.
const FRAME_ROOM: usize = 1024;

/// Length of the length.
pub(crate) const HEADER_BYTES: usize = 4;

/// A frame could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The other end closed the connection between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The other end closed the connection inside a frame.
    #[error("the connection was closed inside a message")]
    Truncated,
    /// The frame is longer than this end accepts. Nothing of its payload was read.
    #[error("a message of {declared} bytes is too long: at most {max} are accepted")]
    TooLong {
        /// The length the other end declared, or the one about to be sent.
        declared: u64,
        /// What is accepted.
        max: usize,
    },
    /// The frame did not pass in time.
    #[error("no complete message within {} s", after.as_secs_f32())]
    TimedOut {
        /// How long this end waited.
        after: Duration,
    },
    /// The message cannot be written as JSON.
    #[error("cannot encode a message")]
    Encode {
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// The socket failed.
    #[error("the socket failed")]
    Socket {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A deadline for one whole frame, kept by shrinking the socket's timeout before every call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    started: Instant,
    allowed: Duration,
}

impl Deadline {
    pub(crate) fn starting_now(allowed: Duration) -> Self {
        Self {
            started: Instant::now(),
            allowed,
        }
    }

    /// What is left, never zero: a zero timeout would mean "for ever" to the socket.
    pub(crate) fn left(&self) -> Result<Duration, FrameError> {
        match self.allowed.checked_sub(self.started.elapsed()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(FrameError::TimedOut {
                after: self.allowed,
            }),
        }
    }
}

/// Reads exactly one frame, all of it before `deadline`.
///
/// # Errors
///
/// [`FrameError::TooLong`] before anything is allocated when the declared length exceeds `max`;
/// otherwise whatever keeps the frame from being read.
pub(crate) fn read_frame(
    stream: &UnixStream,
    max: usize,
    deadline: Deadline,
) -> Result<Vec<u8>, FrameError> {
    let mut header = [0; HEADER_BYTES];
    fill(stream, &mut header, deadline).map_err(|short| match short {
        Short::End { filled: 0 } => FrameError::Closed,
        Short::End { .. } => FrameError::Truncated,
        Short::Frame(error) => error,
    })?;
    read_payload(stream, header, max, deadline)
}

/// Reads the payload that `header` announces.
pub(crate) fn read_payload(
    stream: &UnixStream,
    header: [u8; HEADER_BYTES],
    max: usize,
    deadline: Deadline,
) -> Result<Vec<u8>, FrameError> {
    let declared = u32::from_be_bytes(header);
    let length = usize::try_from(declared).unwrap_or(usize::MAX);
    if length > max {
        return Err(FrameError::TooLong {
            declared: u64::from(declared),
            max,
        });
    }
    let mut payload = vec![0; length];
    fill(stream, &mut payload, deadline).map_err(|short| match short {
        Short::End { .. } => FrameError::Truncated,
        Short::Frame(error) => error,
    })?;
    Ok(payload)
}

/// Writes one message as a frame, all of it before `deadline`.
///
/// # Errors
///
/// [`FrameError::TooLong`] before anything is written when the message exceeds `max`;
/// otherwise whatever keeps the frame from being written.
pub(crate) fn write_message(
    stream: &UnixStream,
    message: &impl Serialize,
    max: usize,
    deadline: Deadline,
) -> Result<(), FrameError> {
    // One kind of request holds a secret, and has room in this: what a buffer leaves behind that grows is not wiped.
    let mut frame = Zeroizing::new(Vec::with_capacity(FRAME_ROOM));
    frame.extend_from_slice(&[0; HEADER_BYTES]);
    serde_json::to_writer(&mut *frame, message).map_err(|source| FrameError::Encode { source })?;
    let length = frame.len().saturating_sub(HEADER_BYTES);
    let too_long = || FrameError::TooLong {
        declared: u64::try_from(length).unwrap_or(u64::MAX),
        max,
    };
    let header = u32::try_from(length).map_err(|_| too_long())?.to_be_bytes();
    if length > max {
        return Err(too_long());
    }
    for (to, from) in frame.iter_mut().zip(header) {
        *to = from;
    }
    drain(stream, &frame, deadline)
}

/// Why a buffer was not filled.
enum Short {
    End { filled: usize },
    Frame(FrameError),
}

fn fill(mut stream: &UnixStream, buffer: &mut [u8], deadline: Deadline) -> Result<(), Short> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let left = deadline.left().map_err(Short::Frame)?;
        stream
            .set_read_timeout(Some(left))
            .map_err(|source| Short::Frame(FrameError::Socket { source }))?;
        match stream.read(rest) {
            Ok(0) => return Err(Short::End { filled }),
            Ok(count) => filled += count,
            // The deadline decides at the top of the loop.
            Err(error) if is_pause(error.kind()) => {}
            // The other end left without reading everything that it was sent.
            Err(error) if is_gone(error.kind()) => return Err(Short::End { filled }),
            Err(source) => return Err(Short::Frame(FrameError::Socket { source })),
        }
    }
    Ok(())
}

fn drain(mut stream: &UnixStream, frame: &[u8], deadline: Deadline) -> Result<(), FrameError> {
    let mut rest = frame;
    while !rest.is_empty() {
        stream
            .set_write_timeout(Some(deadline.left()?))
            .map_err(|source| FrameError::Socket { source })?;
        match stream.write(rest) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if is_pause(error.kind()) => {}
            Err(error) if is_gone(error.kind()) => return Err(FrameError::Closed),
            Err(source) => return Err(FrameError::Socket { source }),
        }
    }
    Ok(())
}

/// Whether the other end closed the connection.
pub(crate) fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Whether the call merely ended early.
pub(crate) fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}
