//! Frames inside a body: `kind u8 | length u32 BE | payload`.
//!
//! Source: docs/spec/peer.md §4.

use std::io::{self, Read};

use crate::reject::Reject;

/// Bytes before the payload of a frame.
pub(crate) const HEAD_LEN: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Header,
    Pack,
    Envelope,
    End,
    PackEnd,
    Wait,
    Message,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Header,
            2 => Self::Pack,
            3 => Self::Envelope,
            4 => Self::End,
            5 => Self::PackEnd,
            6 => Self::Wait,
            7 => Self::Message,
            _ => return None,
        })
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Pack => 2,
            Self::Envelope => 3,
            Self::End => 4,
            Self::PackEnd => 5,
            Self::Wait => 6,
            Self::Message => 7,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
}

impl Head {
    pub(crate) const END: Self = Self {
        kind: Kind::End,
        len: 0,
    };

    pub(crate) const WAIT: Self = Self {
        kind: Kind::Wait,
        len: 0,
    };

    pub(crate) fn to_bytes(self) -> [u8; HEAD_LEN] {
        let [a, b, c, d] = self.len.to_be_bytes();
        [self.kind.to_byte(), a, b, c, d]
    }

    /// Decodes a head; a kind byte outside the specification is refused.
    pub(crate) fn from_bytes(bytes: [u8; HEAD_LEN]) -> Result<Self, Reject> {
        let [kind, a, b, c, d] = bytes;
        Ok(Self {
            kind: Kind::from_byte(kind).ok_or(Reject::Frame {
                kind,
                expected: "a known kind",
            })?,
            len: u32::from_be_bytes([a, b, c, d]),
        })
    }

    /// Requires this frame to be of `kind`.
    pub(crate) fn expect(self, kind: Kind, expected: &'static str) -> Result<Self, Reject> {
        if self.kind == kind {
            Ok(self)
        } else {
            Err(Reject::Frame {
                kind: self.kind.to_byte(),
                expected,
            })
        }
    }
}

/// Appends one frame. The caller keeps `payload` within its limit, all of which fit a `u32`.
pub(crate) fn put(
    out: &mut Vec<u8>,
    kind: Kind,
    payload: &[u8],
    limit: usize,
) -> Result<(), Reject> {
    let len = match u32::try_from(payload.len()) {
        Ok(len) if payload.len() <= limit => len,
        _ => {
            return Err(Reject::TooLong {
                what: "a frame",
                limit: limit as u64,
            });
        }
    };
    out.extend_from_slice(&Head { kind, len }.to_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Reads frames from any byte source.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    input: R,
}

impl<R: Read> Frames<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input }
    }

    pub(crate) fn head(&mut self) -> Result<Head, Reject> {
        let mut bytes = [0; HEAD_LEN];
        self.fill(&mut bytes, "a frame")?;
        Head::from_bytes(bytes)
    }

    /// Reads the payload of `head`, at most `limit` bytes, checked before memory is taken.
    pub(crate) fn payload(
        &mut self,
        head: Head,
        limit: usize,
        what: &'static str,
    ) -> Result<Vec<u8>, Reject> {
        let len = match usize::try_from(head.len) {
            Ok(len) if len <= limit => len,
            _ => {
                return Err(Reject::TooLong {
                    what,
                    limit: limit as u64,
                });
            }
        };
        let mut payload = vec![0; len];
        self.fill(&mut payload, what)?;
        Ok(payload)
    }

    /// Reads some payload bytes straight into `out`.
    pub(crate) fn some(&mut self, out: &mut [u8], what: &'static str) -> Result<usize, Reject> {
        match self.input.read(out) {
            Ok(0) => Err(Reject::Truncated { what }),
            Ok(count) => Ok(count),
            Err(source) => Err(Reject::Read { what, source }),
        }
    }

    pub(crate) fn into_input(self) -> R {
        self.input
    }

    fn fill(&mut self, out: &mut [u8], what: &'static str) -> Result<(), Reject> {
        self.input.read_exact(out).map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                Reject::Truncated { what }
            } else {
                Reject::Read { what, source }
            }
        })
    }
}

impl Frames<&[u8]> {
    /// Whether no byte is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.input.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_round_trips() {
        for kind in [
            Kind::Header,
            Kind::Pack,
            Kind::Envelope,
            Kind::End,
            Kind::PackEnd,
            Kind::Wait,
            Kind::Message,
        ] {
            let head = Head {
                kind,
                len: 0x0102_0304,
            };
            assert_eq!(head.to_bytes()[1..], [1, 2, 3, 4]);
            assert_eq!(Head::from_bytes(head.to_bytes()).expect("own head"), head);
        }
    }

    #[test]
    fn refuses_unknown_kinds_and_long_payloads() {
        assert_eq!(
            Head::from_bytes([0, 0, 0, 0, 0]).unwrap_err().code(),
            "unexpected-frame"
        );
        assert_eq!(
            Head::from_bytes([8, 0, 0, 0, 0]).unwrap_err().code(),
            "unexpected-frame"
        );
        let mut frames = Frames::new(&[3, 0xff, 0xff, 0xff, 0xff][..]);
        let head = frames.head().expect("a head");
        let reject = frames.payload(head, 10, "an envelope").unwrap_err();
        assert_eq!(reject.code(), "too-long");
    }
}
