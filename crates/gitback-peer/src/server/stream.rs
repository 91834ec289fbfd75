//! Bodies as blocking readers and writers.

use std::fmt;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::crawl::Crawl;
use crate::limits::{CHUNKS_MAX, PACK_FRAME_MAX};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::trailer;

/// A request's body, read from a blocking thread. What is not read stays in the sender's window.
pub(super) struct BodyReader {
    body: Body,
    chunk: Bytes,
    ended: bool,
    handle: Handle,
    idle: Duration,
    until: Until,
}

/// When a body that still moves is given up.
#[derive(Debug)]
pub(super) enum Until {
    /// At that moment.
    Deadline(Instant),
    /// When too little came for too long.
    Crawl(Crawl),
}

impl BodyReader {
    /// Must be called on the runtime. `chunk` is what was already taken from `body`.
    pub(super) fn new(chunk: Bytes, body: Body, idle: Duration, until: Until) -> Self {
        Self {
            body,
            chunk,
            ended: false,
            handle: Handle::current(),
            idle,
            until,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        // The timer wants the runtime when it is made, so it is made inside.
        let patience = match &self.until {
            Until::Deadline(at) => self.idle.min(at.saturating_duration_since(Instant::now())),
            Until::Crawl(_) => self.idle,
        };
        let frame = async { timeout(patience, self.body.frame()).await };
        match self.handle.block_on(frame) {
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no byte for {} s, or too few", self.idle.as_secs()),
            )),
            Ok(None) => {
                self.ended = true;
                Ok(())
            }
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.crawls(data.len())?;
                    self.chunk = data;
                }
                Ok(())
            }
        }
    }

    fn crawls(&mut self, bytes: usize) -> io::Result<()> {
        let Until::Crawl(crawl) = &mut self.until else {
            return Ok(());
        };
        let Some(bytes) = crawl.note(bytes, Instant::now()) else {
            return Ok(());
        };
        let said = format!("only {bytes} bytes for far too long");
        Err(io::Error::new(io::ErrorKind::TimedOut, said))
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended && !out.is_empty() {
            self.refill()?;
        }
        let count = out.len().min(self.chunk.len());
        let taken = self.chunk.split_to(count);
        if let Some(out) = out.get_mut(..count) {
            out.copy_from_slice(&taken);
        }
        Ok(count)
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReader")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Collects a small body of at most `limit` bytes that must arrive within `patience`.
pub(super) async fn collect(
    mut body: Body,
    limit: usize,
    patience: Duration,
    what: &'static str,
) -> Result<Vec<u8>, Reject> {
    let collected = async {
        let mut bytes = Vec::new();
        while let Some(data) = next_data(&mut body, what).await? {
            if bytes.len() + data.len() > limit {
                return Err(Reject::TooLong {
                    what,
                    limit: limit as u64,
                });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    };
    let late = |_| Reject::Read {
        what,
        source: io::ErrorKind::TimedOut.into(),
    };
    timeout(patience, collected).await.map_err(late)?
}

/// Takes from `body` until `enough` says so or it ends; the bytes taken are at most one HTTP/2
/// frame more than `enough` needed.
pub(super) async fn prefix(
    body: &mut Body,
    patience: Duration,
    what: &'static str,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Bytes, Reject> {
    let taken = async {
        let mut bytes = Vec::new();
        while !enough(&bytes) {
            match next_data(body, what).await? {
                Some(data) => bytes.extend_from_slice(&data),
                None => break,
            }
        }
        Ok(bytes.into())
    };
    let late = |_| Reject::Read {
        what,
        source: io::ErrorKind::TimedOut.into(),
    };
    timeout(patience, taken).await.map_err(late)?
}

async fn next_data(body: &mut Body, what: &'static str) -> Result<Option<Bytes>, Reject> {
    loop {
        let frame = match body.frame().await {
            None => return Ok(None),
            Some(Err(source)) => {
                let source = io::Error::new(io::ErrorKind::ConnectionAborted, source);
                return Err(Reject::Read { what, source });
            }
            Some(Ok(frame)) => frame,
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// What goes from a blocking writer to the socket.
#[derive(Debug)]
pub(super) enum Chunk {
    Data(Bytes),
    End(Result<(), Refusal>),
}

/// A bounded way from a blocking thread to the body of an answer.
pub(super) fn output() -> (OutputWriter, mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>) {
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    let writer = OutputWriter {
        chunks: chunks.clone(),
        buffer: Vec::new(),
    };
    (writer, chunks, receiver)
}

/// Writes an answer from a blocking thread, in chunks; blocks while the caller is slow and fails
/// once it is gone.
#[derive(Debug)]
pub(super) struct OutputWriter {
    chunks: mpsc::Sender<Chunk>,
    buffer: Vec<u8>,
}

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PACK_FRAME_MAX.saturating_sub(self.buffer.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() >= PACK_FRAME_MAX {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Chunk::Data(std::mem::take(&mut self.buffer).into());
        self.chunks
            .blocking_send(chunk)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The body of an answer that is still being written. Ends with a trailer that tells success.
#[derive(Debug)]
pub(super) struct OutputBody {
    first: Option<Chunk>,
    chunks: mpsc::Receiver<Chunk>,
    ended: bool,
}

impl OutputBody {
    pub(super) fn new(first: Chunk, chunks: mpsc::Receiver<Chunk>) -> Self {
        Self {
            first: Some(first),
            chunks,
            ended: false,
        }
    }
}

impl hyper::body::Body for OutputBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.chunks.poll_recv(context)),
        };
        Poll::Ready(Some(match chunk {
            Some(Chunk::Data(data)) => Ok(Frame::data(data)),
            Some(Chunk::End(outcome)) => {
                self.ended = true;
                Ok(Frame::trailers(trailer::encode(outcome.as_ref())))
            }
            // The job vanished without an end: the runtime is shutting down.
            None => {
                self.ended = true;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }))
    }
}
