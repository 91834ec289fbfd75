//! The thread that asks a source and feeds the body of a push.
//!
//! What is ready goes out together: pieces are merged where the body is taken, which holds them
//! back for [`LINGER`] at most, and not at all once the source was seen to wait.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::outgoing::{Fed, Outgoing, PIECE_MAX};
use super::source::{PushSource, sendable};
use super::{CallError, unsendable};
use crate::frame::{self, HEAD_LEN, Head, Kind};
use crate::limits::{ENVELOPE_MAX, LINGER, PACK_END_MAX, PACK_FRAME_MAX, PUSH_HEADER_MAX};
use crate::reject::Reject;
use crate::wire::PushHeader;

/// Why a push broke off on this side, if it did. Held by the call: when it is dropped, the feeding
/// ends.
#[derive(Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<CallError>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<CallError> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Makes the body of a push. The source is first asked when the body is, so when a connection took
/// the request.
pub(super) fn feed(source: impl PushSource, failure: &Failure, wait: Duration) -> Outgoing {
    let call = Arc::downgrade(&failure.0);
    Outgoing::fed(move |pieces| {
        let mut feeder = Feeder {
            source,
            pieces,
            call,
            wait,
            sent: Instant::now(),
            waits: false,
        };
        if let Err(Stop::Failed(error)) = feeder.run()
            && let Some(failure) = feeder.call.upgrade()
        {
            // Noted before `pieces` is dropped, so that who sees the body fail finds it.
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    })
}

struct Feeder<S> {
    source: S,
    pieces: mpsc::Sender<Fed>,
    /// Dangles once the call is over.
    call: Weak<Mutex<Option<CallError>>>,
    wait: Duration,
    /// When the last piece was taken.
    sent: Instant,
    /// Whether the source was seen to wait, so that it is asked only after what is there was sent.
    waits: bool,
}

/// Why nothing more is fed.
enum Stop {
    /// Nobody takes it any more.
    Gone,
    Failed(CallError),
}

impl<S: PushSource> Feeder<S> {
    /// Feeds header, pack, envelopes, end.
    fn run(&mut self) -> Result<(), Stop> {
        let header = PushHeader {
            pack: self.source.has_pack(),
            whole: self.source.is_whole(),
            handoff: self.source.handoff(),
        };
        let json = header.encode()?;
        self.put(framed(Kind::Header, &json, PUSH_HEADER_MAX)?)?;
        if header.pack {
            self.feed_pack()?;
        }
        self.feed_envelopes()?;
        self.send(Fed::Done)
    }

    fn feed_pack(&mut self) -> Result<(), Stop> {
        let mut buffer = vec![0; PACK_FRAME_MAX];
        let mut sent: u64 = 0;
        loop {
            let count = self.ask(|source| source.read_pack(&mut buffer))?;
            let Some(payload @ [_, ..]) = buffer.get(..count) else {
                break;
            };
            self.put(framed(Kind::Pack, payload, PACK_FRAME_MAX)?)?;
            sent += count as u64;
        }
        let info = self.ask(S::pack_info)?;
        let json = info.encode()?;
        if info.bytes != sent {
            let said = format!("a pack of {} bytes, of which {sent} came", info.bytes);
            let source = io::Error::new(io::ErrorKind::InvalidData, said);
            return Err(Stop::Failed(CallError::Local { source }));
        }
        self.put(framed(Kind::PackEnd, &json, PACK_END_MAX)?)
    }

    fn feed_envelopes(&mut self) -> Result<(), Stop> {
        let envelopes = self.ask(S::envelopes)?;
        sendable(&envelopes)?;
        let mut piece = Vec::new();
        for envelope in envelopes {
            frame::put(&mut piece, Kind::Envelope, &envelope, ENVELOPE_MAX)?;
            if piece.len() >= PIECE_MAX {
                self.put_cut(&std::mem::take(&mut piece))?;
            }
        }
        piece.extend_from_slice(&Head::END.to_bytes());
        self.put_cut(&piece)
    }

    /// Asks until the source has something to say.
    fn ask<T>(&mut self, mut question: impl FnMut(&mut S) -> io::Result<T>) -> Result<T, Stop> {
        loop {
            if self.waits {
                self.send(Fed::Flush)?;
            }
            let asked = Instant::now();
            let answer = question(&mut self.source);
            self.waits |= asked.elapsed() > LINGER;
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.nothing_yet()?,
                Err(source) => return Err(Stop::Failed(CallError::Local { source })),
            }
        }
    }

    /// The source has nothing: tells the peer now and then.
    fn nothing_yet(&mut self) -> Result<(), Stop> {
        self.waits = true;
        if self.sent.elapsed() >= self.wait {
            self.put(Head::WAIT.to_bytes().to_vec())?;
        }
        Ok(())
    }

    /// Puts bytes that may be too many for one piece.
    fn put_cut(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        bytes
            .chunks(PIECE_MAX)
            .try_for_each(|piece| self.put(piece.to_vec()))
    }

    fn put(&mut self, piece: Vec<u8>) -> Result<(), Stop> {
        self.send(Fed::Data(piece))?;
        self.sent = Instant::now();
        Ok(())
    }

    /// Waits while the peer is slow.
    fn send(&self, fed: Fed) -> Result<(), Stop> {
        if self.call.strong_count() == 0 {
            return Err(Stop::Gone);
        }
        self.pieces.blocking_send(fed).map_err(|_| Stop::Gone)
    }
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Failed(unsendable(reject))
    }
}

fn framed(kind: Kind, payload: &[u8], limit: usize) -> Result<Vec<u8>, Reject> {
    let mut frame = Vec::with_capacity(HEAD_LEN + payload.len());
    frame::put(&mut frame, kind, payload, limit)?;
    Ok(frame)
}

#[cfg(test)]
mod tests;
