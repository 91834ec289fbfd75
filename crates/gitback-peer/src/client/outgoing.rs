//! Bodies of requests: bytes in hand, or a pack read while it is sent.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{CallError, PackFile, unsendable};
use crate::frame::{self, HEAD_LEN, Head, Kind};
use crate::limits::{
    CHUNKS_MAX, ENVELOPE_MAX, PACK_FRAME_MAX, PUSH_ENVELOPES_MAX, PUSH_HEADER_MAX,
};
use crate::reject::Reject;
use crate::wire::{PackInfo, PushHeader, envelope_count};

/// The body of one request.
pub(super) struct Outgoing {
    source: Source,
    progress: Progress,
}

enum Source {
    Whole(Bytes),
    Fed(mpsc::Receiver<Fed>),
}

enum Fed {
    Data(Bytes),
    /// All is sent. A feeder that hangs up without it has failed.
    Done,
}

/// How far a body is, seen from outside.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// When the last byte was taken.
    pub(super) moved: Instant,
    /// Whether all of them were.
    pub(super) sent: bool,
}

/// Tells why the pack of a push could not be read, if so.
#[derive(Debug, Clone, Default)]
pub(super) struct Feeder(Arc<Mutex<Option<io::Error>>>);

impl Outgoing {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            progress: Progress::new(bytes.is_empty()),
            source: Source::Whole(bytes),
        }
    }

    /// Starts to read a push: header, pack, envelopes, end. The reading thread waits while the peer
    /// is slow, and ends when the body is dropped.
    pub(super) fn push(
        envelopes: Vec<Vec<u8>>,
        pack: Option<PackFile>,
    ) -> Result<(Self, Feeder), CallError> {
        let head = push_head(&envelopes, pack.as_ref()).map_err(unsendable)?;
        let tail = push_tail(&envelopes).map_err(unsendable)?;
        drop(envelopes);
        let (feed, fed) = mpsc::channel(CHUNKS_MAX);
        let feeder = Feeder::default();
        let failure = feeder.clone();
        tokio::task::spawn_blocking(move || {
            // Noted before `feed` is dropped, so that who sees the body fail finds it.
            match feed_push(&feed, head, pack, tail) {
                Ok(()) => {}
                Err(error) => *failure.lock() = Some(error),
            }
        });
        let body = Self {
            source: Source::Fed(fed),
            progress: Progress::new(false),
        };
        Ok((body, feeder))
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match &mut self.source {
            Source::Whole(bytes) if bytes.is_empty() => None,
            Source::Whole(bytes) => {
                let chunk = bytes.split_to(bytes.len().min(PACK_FRAME_MAX));
                let last = bytes.is_empty();
                self.progress.moved(last);
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            Source::Fed(fed) => match ready!(fed.poll_recv(context)) {
                Some(Fed::Data(chunk)) => {
                    self.progress.moved(false);
                    Some(Ok(Frame::data(chunk)))
                }
                Some(Fed::Done) => {
                    self.progress.moved(true);
                    self.source = Source::Whole(Bytes::new());
                    None
                }
                None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            },
        };
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.source, Source::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Fed(_) => SizeHint::default(),
        }
    }
}

impl Progress {
    fn new(sent: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            moved: Instant::now(),
            sent,
        })))
    }

    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    /// Starts the clock: the body is about to be sent.
    pub(super) fn begin(&self) {
        self.lock().moved = Instant::now();
    }

    fn moved(&self, sent: bool) {
        *self.lock() = State {
            moved: Instant::now(),
            sent,
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeder {
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<io::Error>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_head(envelopes: &[Vec<u8>], pack: Option<&PackFile>) -> Result<Vec<u8>, Reject> {
    let header = PushHeader {
        pack: pack.map(|pack| PackInfo {
            bytes: pack.bytes,
            blake3: pack.blake3,
        }),
        envelopes: envelope_count(envelopes)?,
    };
    let mut head = Vec::new();
    frame::put(&mut head, Kind::Header, &header.encode()?, PUSH_HEADER_MAX)?;
    Ok(head)
}

/// Encodes what follows the pack: at most [`PUSH_ENVELOPES_MAX`] bytes of envelopes, checked before
/// they are copied.
fn push_tail(envelopes: &[Vec<u8>]) -> Result<Vec<u8>, Reject> {
    let total: u64 = envelopes.iter().map(|envelope| envelope.len() as u64).sum();
    if total > PUSH_ENVELOPES_MAX {
        return Err(Reject::TooLong {
            what: "the list of envelopes",
            limit: PUSH_ENVELOPES_MAX,
        });
    }
    let mut tail = Vec::new();
    for envelope in envelopes {
        frame::put(&mut tail, Kind::Envelope, envelope, ENVELOPE_MAX)?;
    }
    tail.extend_from_slice(&Head::END.to_bytes());
    Ok(tail)
}

/// Feeds one push; a receiver that hangs up ends it without an error.
fn feed_push(
    feed: &mpsc::Sender<Fed>,
    head: Vec<u8>,
    pack: Option<PackFile>,
    tail: Vec<u8>,
) -> io::Result<()> {
    let put = |bytes: Bytes| feed.blocking_send(Fed::Data(bytes)).is_ok();
    if !put(head.into()) {
        return Ok(());
    }
    if let Some(pack) = pack {
        let mut file = File::open(&pack.path)?;
        let mut left = pack.bytes;
        while left > 0 {
            let frame = pack_frame(&mut file, left)?;
            left -= (frame.len() - HEAD_LEN) as u64;
            if !put(frame.into()) {
                return Ok(());
            }
        }
    }
    let mut tail = Bytes::from(tail);
    while !tail.is_empty() {
        if !put(tail.split_to(tail.len().min(PACK_FRAME_MAX))) {
            return Ok(());
        }
    }
    // Nobody to tell when the receiver is gone.
    let _ = feed.blocking_send(Fed::Done);
    Ok(())
}

/// Reads one pack frame, head included.
fn pack_frame(file: &mut File, left: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(left)
        .unwrap_or(PACK_FRAME_MAX)
        .min(PACK_FRAME_MAX);
    let head = Head {
        kind: Kind::Pack,
        len: u32::try_from(len).unwrap_or(u32::MAX),
    };
    let mut frame = Vec::with_capacity(HEAD_LEN + len);
    frame.extend_from_slice(&head.to_bytes());
    frame.resize(HEAD_LEN + len, 0);
    let payload = frame.get_mut(HEAD_LEN..).unwrap_or_default();
    file.read_exact(payload)?;
    Ok(frame)
}
