//! Reading the body of a push: a header, a pack, envelopes, the end.
//!
//! Source: docs/spec/peer.md §4.2.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use gitback_identity::EnvoyKey;

use crate::frame::{Frames, Head, Kind};
use crate::limits::{
    ENVELOPE_MAX, ENVELOPES_MAX, PACK_END_MAX, PACK_FRAME_MAX, PUSH_ENVELOPES_MAX, PUSH_HEADER_MAX,
};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::wire::{Handoff, PackInfo, PushHeader};

/// The body of a push while it arrives. Holds one frame at a time in memory.
///
/// The sender may still be receiving what it sends, so a read can take as long as it takes there;
/// it fails when the sender goes away or gives up.
pub struct PushBody {
    input: Input,
    header: PushHeader,
    due: Due,
    envelopes: u32,
    envelope_bytes: u64,
}

/// One part of a push, in the order they arrive.
pub enum Part<'a> {
    /// What the push declares. First, once.
    Header(PushHeader),
    /// The pack, when one was declared. The reader ends only where the sender said so, at the
    /// length that it said, and fails otherwise. What is not read is skipped by the next call of
    /// [`PushBody::next`].
    Pack(&'a mut (dyn Read + Send)),
    /// What the sender says the pack was, after the pack: the length is that of what came, the
    /// digest is not checked.
    PackEnd(PackInfo),
    /// One envelope, not decoded and not verified.
    Envelope(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Header,
    Pack,
    PackEnd,
    Envelopes,
    Nothing,
}

impl PushBody {
    /// Reads and checks the header frame. At most `push_bytes` of pack are taken, and nothing but
    /// wait frames for at most `wait`.
    ///
    /// # Errors
    ///
    /// A [`Reject`] when the header is malformed or cannot be read.
    pub fn open(
        input: impl Read + Send + 'static,
        push_bytes: u64,
        wait: Duration,
    ) -> Result<Self, Reject> {
        let mut frames = Frames::new(Box::new(input) as Box<dyn Read + Send>);
        let head = frames.head()?.expect(Kind::Header, "the header")?;
        let header =
            PushHeader::decode(&frames.payload(head, PUSH_HEADER_MAX, "the push header")?)?;
        Ok(Self {
            input: Input {
                frames,
                push_bytes,
                wait,
                waiting: None,
                pack_bytes: 0,
                frame_left: 0,
                info: None,
                fault: None,
            },
            header,
            due: Due::Header,
            envelopes: 0,
            envelope_bytes: 0,
        })
    }

    /// What the sender asks beside taking the push.
    #[must_use]
    pub fn handoff(&self) -> &Handoff {
        &self.header.handoff
    }

    /// Whether the sender says that it lacks nothing of the project, this push aside.
    #[must_use]
    pub fn sender_is_whole(&self) -> bool {
        self.header.whole
    }

    /// Who is told where the push is durable, beside the sender.
    #[must_use]
    pub fn origin(&self) -> Option<&EnvoyKey> {
        self.header.handoff.origin.as_ref()
    }

    /// To whom the sender asks to forward the push.
    #[must_use]
    pub fn forward(&self) -> &[EnvoyKey] {
        &self.header.handoff.forward
    }

    /// Reads the next part; `None` after the end frame.
    ///
    /// # Errors
    ///
    /// A [`Reject`] when the peer broke the protocol, went away or stalled. The answer it gets then
    /// names that fault, whatever the service makes of it; `?` turns it into a [`Refusal`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a part borrows from the body, which `Iterator` cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Part<'_>>, Reject> {
        if self.input.fault.is_some() {
            return Err(Reject::Malformed {
                what: "the rest of the push",
            });
        }
        match self.due {
            Due::Header => {
                self.due = if self.header.pack {
                    Due::Pack
                } else {
                    Due::Envelopes
                };
                Ok(Some(Part::Header(self.header.clone())))
            }
            Due::Pack => {
                self.due = Due::PackEnd;
                Ok(Some(Part::Pack(&mut self.input)))
            }
            Due::PackEnd => {
                self.due = Due::Envelopes;
                let info = self.input.past_pack();
                info.map(|info| Some(Part::PackEnd(info)))
                    .map_err(|reject| self.input.note(reject))
            }
            Due::Envelopes => {
                let envelope = self.envelope();
                envelope
                    .map(|envelope| envelope.map(Part::Envelope))
                    .map_err(|reject| self.input.note(reject))
            }
            Due::Nothing => Ok(None),
        }
    }

    /// What the body itself was refused for, if it was.
    pub(crate) fn take_fault(&mut self) -> Option<Refusal> {
        self.input.fault.take()
    }

    /// Reads one envelope, or the end.
    fn envelope(&mut self) -> Result<Option<Vec<u8>>, Reject> {
        let head = self.input.head()?;
        if head.kind == Kind::End {
            self.due = Due::Nothing;
            return ended(head).map(|()| None);
        }
        let head = head.expect(Kind::Envelope, "an envelope or the end")?;
        self.envelopes += 1;
        if self.envelopes > ENVELOPES_MAX {
            return Err(Reject::TooMany {
                what: "envelopes",
                limit: u64::from(ENVELOPES_MAX),
            });
        }
        self.envelope_bytes = self.envelope_bytes.saturating_add(u64::from(head.len));
        if self.envelope_bytes > PUSH_ENVELOPES_MAX {
            return Err(Reject::TooLong {
                what: "the list of envelopes",
                limit: PUSH_ENVELOPES_MAX,
            });
        }
        let envelope = self
            .input
            .frames
            .payload(head, ENVELOPE_MAX, "an envelope")?;
        Ok(Some(envelope))
    }
}

fn ended(head: Head) -> Result<(), Reject> {
    if head == Head::END {
        return Ok(());
    }
    Err(Reject::Malformed { what: "the end" })
}

impl fmt::Debug for PushBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushBody")
            .field("header", &self.header)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(header) => f.debug_tuple("Header").field(header).finish(),
            Self::Pack(_) => f.debug_tuple("Pack").finish_non_exhaustive(),
            Self::PackEnd(info) => f.debug_tuple("PackEnd").field(info).finish(),
            Self::Envelope(bytes) => f.debug_tuple("Envelope").field(&bytes.len()).finish(),
        }
    }
}

/// The frames, read as the bytes of a pack for as long as they are pack frames.
struct Input {
    frames: Frames<Box<dyn Read + Send>>,
    push_bytes: u64,
    wait: Duration,
    /// Since when nothing but wait frames has come.
    waiting: Option<Instant>,
    /// The lengths of the pack frames so far.
    pack_bytes: u64,
    frame_left: usize,
    /// What ended the pack.
    info: Option<PackInfo>,
    fault: Option<Refusal>,
}

impl Input {
    /// Keeps the fault for the answer.
    fn note(&mut self, reject: Reject) -> Reject {
        self.fault.get_or_insert_with(|| reject.refusal());
        reject
    }

    /// Reads the next head that is not that of a wait frame.
    fn head(&mut self) -> Result<Head, Reject> {
        loop {
            let head = self.frames.head()?;
            if head.kind != Kind::Wait {
                self.waiting = None;
                return Ok(head);
            }
            self.waited(head)?;
        }
    }

    fn waited(&mut self, head: Head) -> Result<(), Reject> {
        if head != Head::WAIT {
            return Err(Reject::Malformed {
                what: "the length of a wait frame",
            });
        }
        let since = *self.waiting.get_or_insert_with(Instant::now);
        if since.elapsed() < self.wait {
            return Ok(());
        }
        let said = format!("nothing but wait frames for {} s", self.wait.as_secs());
        Err(Reject::Read {
            what: "the rest of the push",
            source: io::Error::new(io::ErrorKind::TimedOut, said),
        })
    }

    /// Skips what is left of the pack and returns what ended it.
    fn past_pack(&mut self) -> Result<PackInfo, Reject> {
        let mut skipped = [0; 4096];
        loop {
            if let Some(info) = self.info {
                return Ok(info);
            }
            self.pack(&mut skipped)?;
        }
    }

    /// Reads pack bytes; 0 once the end of the pack was seen, and is that of these bytes.
    fn pack(&mut self, out: &mut [u8]) -> Result<usize, Reject> {
        if out.is_empty() || self.info.is_some() {
            return Ok(0);
        }
        if self.frame_left == 0 && !self.next_pack_frame()? {
            return Ok(0);
        }
        let room = out.len().min(self.frame_left);
        let out = out.get_mut(..room).unwrap_or_default();
        let count = self.frames.some(out, "the pack")?;
        self.frame_left -= count;
        Ok(count)
    }

    /// Reads one head; whether it is that of another pack frame.
    fn next_pack_frame(&mut self) -> Result<bool, Reject> {
        let head = self.head()?;
        if head.kind == Kind::PackEnd {
            self.info = Some(self.pack_end(head)?);
            return Ok(false);
        }
        let head = head.expect(Kind::Pack, "a pack frame or the end of the pack")?;
        self.frame_left = match usize::try_from(head.len) {
            Ok(len) if (1..=PACK_FRAME_MAX).contains(&len) => len,
            _ => {
                return Err(Reject::Malformed {
                    what: "the length of a pack frame",
                });
            }
        };
        self.pack_bytes = self.pack_bytes.saturating_add(u64::from(head.len));
        if self.pack_bytes > self.push_bytes {
            return Err(Reject::TooLong {
                what: "the pack",
                limit: self.push_bytes,
            });
        }
        Ok(true)
    }

    fn pack_end(&mut self, head: Head) -> Result<PackInfo, Reject> {
        let json = self
            .frames
            .payload(head, PACK_END_MAX, "the end of the pack")?;
        let info = PackInfo::decode(&json)?;
        if self.pack_bytes < info.bytes {
            return Err(Reject::Truncated { what: "the pack" });
        }
        if self.pack_bytes > info.bytes {
            return Err(Reject::Excess {
                what: "the pack",
                declared: info.bytes,
            });
        }
        Ok(info)
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = &self.fault {
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault.clone()));
        }
        self.pack(out).map_err(|reject| {
            let kind = match &reject {
                Reject::Read { source, .. } => source.kind(),
                Reject::Truncated { .. } => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, self.note(reject))
        })
    }
}

#[cfg(test)]
mod tests;
