//! Bodies of requests: bytes in hand, or pieces fed from a blocking thread.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use crate::frame::HEAD_LEN;
use crate::limits::{CHUNKS_MAX, LINGER, PACK_FRAME_MAX};

/// Most bytes given to HTTP/2 at once: one pack frame, head included.
pub(super) const PIECE_MAX: usize = HEAD_LEN + PACK_FRAME_MAX;

/// The body of one request.
pub(super) struct Outgoing {
    source: Source,
    progress: Progress,
}

enum Source {
    Whole(Bytes),
    /// Not asked for yet.
    Unfed(Feed),
    Fed(Merged),
    /// The feeder hung up.
    Broken,
}

/// Runs on a blocking thread.
type Feed = Box<dyn FnOnce(mpsc::Sender<Fed>) + Send>;

/// What a feeder says.
pub(super) enum Fed {
    /// At most [`PIECE_MAX`] bytes; may wait for more to be sent with them.
    Data(Vec<u8>),
    /// What came before may not wait.
    Flush,
    /// All is said. A feeder that hangs up without it has failed.
    Done,
}

/// Pieces, merged into larger ones while they come fast.
struct Merged {
    pieces: mpsc::Receiver<Fed>,
    held: Vec<u8>,
    /// When the held bytes are sent although they are few.
    until: Option<Pin<Box<Sleep>>>,
}

enum Next {
    Data(Vec<u8>),
    /// The last bytes, maybe none.
    Last(Vec<u8>),
    HungUp,
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
    /// Whether they ended early, on this side.
    pub(super) broken: bool,
}

impl Outgoing {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            progress: Progress::new(bytes.is_empty()),
            source: Source::Whole(bytes),
        }
    }

    /// Makes a body that `feed` feeds, on a blocking thread, from when the body is first asked for.
    /// The thread waits while the peer is slow, and cannot send once the body was dropped.
    pub(super) fn fed(feed: impl FnOnce(mpsc::Sender<Fed>) + Send + 'static) -> Self {
        Self {
            progress: Progress::new(false),
            source: Source::Unfed(Box::new(feed)),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Starts the feeder, if there is one that was not.
    fn start(&mut self) {
        if !matches!(self.source, Source::Unfed(_)) {
            return;
        }
        if let Source::Unfed(feed) = std::mem::replace(&mut self.source, Source::Broken) {
            let (sender, pieces) = mpsc::channel(CHUNKS_MAX);
            tokio::task::spawn_blocking(move || feed(sender));
            self.source = Source::Fed(Merged::new(pieces));
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.start();
        let next = match &mut self.source {
            Source::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Source::Whole(bytes) => {
                let chunk = bytes.split_to(bytes.len().min(PACK_FRAME_MAX));
                let last = bytes.is_empty();
                self.progress.moved(last);
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            Source::Fed(merged) => ready!(merged.poll_next(context)),
            Source::Unfed(_) | Source::Broken => Next::HungUp,
        };
        Poll::Ready(match next {
            Next::Data(bytes) => {
                self.progress.moved(false);
                Some(Ok(Frame::data(bytes.into())))
            }
            Next::Last(bytes) => {
                self.progress.moved(true);
                self.source = Source::Whole(Bytes::new());
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes.into())))
            }
            Next::HungUp => {
                self.progress.broken();
                self.source = Source::Broken;
                Some(Err(io::ErrorKind::UnexpectedEof.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.source, Source::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Unfed(_) | Source::Fed(_) | Source::Broken => SizeHint::default(),
        }
    }
}

impl Merged {
    fn new(pieces: mpsc::Receiver<Fed>) -> Self {
        Self {
            pieces,
            held: Vec::new(),
            until: None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        while self.held.len() < PIECE_MAX {
            let fed = match self.pieces.poll_recv(context) {
                Poll::Ready(fed) => fed,
                Poll::Pending => {
                    ready!(self.poll_linger(context));
                    break;
                }
            };
            match fed {
                Some(Fed::Data(piece)) => {
                    if self.held.len() + piece.len() > PIECE_MAX {
                        let full = self.release();
                        self.held = piece;
                        return Poll::Ready(Next::Data(full));
                    }
                    if self.held.is_empty() {
                        self.held = piece;
                    } else {
                        self.held.extend_from_slice(&piece);
                    }
                }
                Some(Fed::Flush) if self.held.is_empty() => {}
                Some(Fed::Flush) => break,
                Some(Fed::Done) => return Poll::Ready(Next::Last(self.release())),
                None => return Poll::Ready(Next::HungUp),
            }
        }
        Poll::Ready(Next::Data(self.release()))
    }

    /// Waits until what is held was held long enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.held.is_empty() {
            return Poll::Pending;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        until.as_mut().poll(context)
    }

    fn release(&mut self) -> Vec<u8> {
        self.until = None;
        std::mem::take(&mut self.held)
    }
}

impl Progress {
    fn new(sent: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            moved: Instant::now(),
            sent,
            broken: false,
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
        let mut state = self.lock();
        state.moved = Instant::now();
        state.sent = sent;
    }

    fn broken(&self) {
        self.lock().broken = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
