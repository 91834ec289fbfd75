//! Reading the body of a push: a header, a pack, envelopes, the end.
//!
//! Source: docs/spec/peer.md §4.2.

use std::fmt;
use std::io::{self, Read};

use crate::frame::{Frames, Head, Kind};
use crate::limits::{ENVELOPE_MAX, PACK_FRAME_MAX, PUSH_ENVELOPES_MAX, PUSH_HEADER_MAX};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::wire::PushHeader;

/// The body of a push while it arrives. Holds one frame at a time in memory.
pub struct PushBody {
    input: Input,
    header: PushHeader,
    due: Due,
    envelope_bytes: u64,
}

/// One part of a push, in the order they arrive.
pub enum Part<'a> {
    /// What the push declares. First, once.
    Header(PushHeader),
    /// The pack, when one was declared: exactly the declared number of bytes up to the end of the
    /// reader, or an error. What is not read is skipped by the next call of [`PushBody::next`].
    Pack(&'a mut (dyn Read + Send)),
    /// One envelope, not decoded and not verified.
    Envelope(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Header,
    Pack,
    Envelopes { left: u32 },
    Nothing,
}

impl PushBody {
    /// Reads and checks the header frame; at most `push_bytes` of pack may be declared.
    ///
    /// # Errors
    ///
    /// A [`Reject`] when the header is malformed, declares too much, or cannot be read.
    pub fn open(input: impl Read + Send + 'static, push_bytes: u64) -> Result<Self, Reject> {
        let mut frames = Frames::new(Box::new(input) as Box<dyn Read + Send>);
        let head = frames.head()?.expect(Kind::Header, "the header")?;
        let header =
            PushHeader::decode(&frames.payload(head, PUSH_HEADER_MAX, "the push header")?)?;
        if header.pack.is_some_and(|pack| pack.bytes > push_bytes) {
            return Err(Reject::TooLong {
                what: "the pack",
                limit: push_bytes,
            });
        }
        let declared = header.pack.map_or(0, |pack| pack.bytes);
        Ok(Self {
            input: Input {
                frames,
                declared,
                pack_left: declared,
                frame_left: 0,
                peeked: None,
                fault: None,
            },
            header,
            due: Due::Header,
            envelope_bytes: 0,
        })
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
                self.due = match self.header.pack {
                    Some(_) => Due::Pack,
                    None => self.envelopes_due(),
                };
                Ok(Some(Part::Header(self.header)))
            }
            Due::Pack => {
                self.due = self.envelopes_due();
                Ok(Some(Part::Pack(&mut self.input)))
            }
            Due::Envelopes { left: 0 } => {
                let end = self.input.past_pack()?;
                self.due = Due::Nothing;
                self.check_end(end)
                    .map_err(|reject| self.input.note(reject))?;
                Ok(None)
            }
            Due::Envelopes { left } => {
                let head = self.input.past_pack()?;
                self.due = Due::Envelopes { left: left - 1 };
                self.envelope(head)
                    .map(|envelope| Some(Part::Envelope(envelope)))
                    .map_err(|reject| self.input.note(reject))
            }
            Due::Nothing => Ok(None),
        }
    }

    /// What the body itself was refused for, if it was.
    pub(crate) fn take_fault(&mut self) -> Option<Refusal> {
        self.input.fault.take()
    }

    fn envelopes_due(&self) -> Due {
        Due::Envelopes {
            left: self.header.envelopes,
        }
    }

    fn envelope(&mut self, head: Head) -> Result<Vec<u8>, Reject> {
        if head.kind == Kind::End {
            return Err(Reject::Truncated {
                what: "the list of envelopes",
            });
        }
        let head = head.expect(Kind::Envelope, "an envelope")?;
        self.envelope_bytes = self.envelope_bytes.saturating_add(u64::from(head.len));
        if self.envelope_bytes > PUSH_ENVELOPES_MAX {
            return Err(Reject::TooLong {
                what: "the list of envelopes",
                limit: PUSH_ENVELOPES_MAX,
            });
        }
        self.input.frames.payload(head, ENVELOPE_MAX, "an envelope")
    }

    fn check_end(&self, head: Head) -> Result<(), Reject> {
        match head.kind {
            Kind::End if head == Head::END => Ok(()),
            Kind::Envelope => Err(Reject::Excess {
                what: "the list of envelopes",
                declared: u64::from(self.header.envelopes),
            }),
            kind => Err(Reject::Frame {
                kind: kind.to_byte(),
                expected: "the end",
            }),
        }
    }
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
            Self::Envelope(bytes) => f.debug_tuple("Envelope").field(&bytes.len()).finish(),
        }
    }
}

/// The frames, read as the bytes of a pack for as long as they are pack frames.
struct Input {
    frames: Frames<Box<dyn Read + Send>>,
    declared: u64,
    pack_left: u64,
    frame_left: usize,
    /// The first head after the pack.
    peeked: Option<Head>,
    fault: Option<Refusal>,
}

impl Input {
    /// Keeps the fault for the answer.
    fn note(&mut self, reject: Reject) -> Reject {
        self.fault.get_or_insert_with(|| reject.refusal());
        reject
    }

    /// Skips what is left of the pack and returns the head that follows it.
    fn past_pack(&mut self) -> Result<Head, Reject> {
        let mut skipped = [0; 4096];
        while self
            .pack(&mut skipped)
            .map_err(|reject| self.note(reject))?
            > 0
        {}
        match self.peeked.take() {
            Some(head) => Ok(head),
            None => self.frames.head().map_err(|reject| self.note(reject)),
        }
    }

    /// Reads pack bytes; 0 once the first frame of another kind was seen after a complete pack.
    fn pack(&mut self, out: &mut [u8]) -> Result<usize, Reject> {
        if out.is_empty() || self.peeked.is_some() {
            return Ok(0);
        }
        if self.frame_left == 0 && !self.next_pack_frame()? {
            return Ok(0);
        }
        let room = out.len().min(self.frame_left);
        let out = out.get_mut(..room).unwrap_or_default();
        let count = self.frames.some(out, "the pack")?;
        self.frame_left -= count;
        self.pack_left -= count as u64;
        Ok(count)
    }

    /// Reads one head; whether it is that of another pack frame.
    fn next_pack_frame(&mut self) -> Result<bool, Reject> {
        let head = self.frames.head()?;
        if head.kind != Kind::Pack {
            if self.pack_left > 0 {
                return Err(Reject::Truncated { what: "the pack" });
            }
            self.peeked = Some(head);
            return Ok(false);
        }
        if u64::from(head.len) > self.pack_left {
            return Err(Reject::Excess {
                what: "the pack",
                declared: self.declared,
            });
        }
        self.frame_left = match usize::try_from(head.len) {
            Ok(len) if (1..=PACK_FRAME_MAX).contains(&len) => len,
            _ => {
                return Err(Reject::Malformed {
                    what: "the length of a pack frame",
                });
            }
        };
        Ok(true)
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
