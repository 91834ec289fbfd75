//! Asking another envoy for objects: protocol 2, one request, one answer.
//!
//! [`request`] is what [`Repository::upload_pack_request`](crate::Repository::upload_pack_request)
//! answers; [`PackReader`] takes the pack out of that answer.
//!
//! Source: gitprotocol-v2(5), "fetch".

use std::io::{self, ErrorKind, Read};

use crate::Oid;
use crate::error::printable;
use crate::packet::{self, Packet};

/// Most haves in one request: they save bytes, and the request is bounded.
pub const HAVES_MAX: usize = 16_384;
/// Most commits that an answer says are without their parents: as many as one asks for.
const SHALLOW_MAX: usize = 16_384;

/// How the section begins that is the pack.
pub(crate) const PACKFILE: &[u8] = b"packfile\n";

/// The sender has refused, or does not speak the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The sender says why there is no pack.
    #[error("{message}")]
    Refused {
        /// Its words, printable.
        message: String,
    },
    /// The answer is not one of protocol 2.
    #[error("not an answer to a fetch: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

impl FetchError {
    /// The object that the sender says it does not have, where `error` is about that.
    #[must_use]
    pub fn unknown(error: &io::Error) -> Option<Oid> {
        let inner = error.get_ref()?.downcast_ref()?;
        match inner {
            Self::Refused { message } => {
                let hex = message.strip_prefix("upload-pack: not our ref ")?;
                Oid::from_hex(hex.as_bytes()).ok()
            }
            Self::Malformed { .. } => None,
        }
    }
}

/// A request for what `wants` lead to and `haves` do not, as a thin pack.
///
/// Haves that the other side lacks do no harm; those after the first [`HAVES_MAX`] are
/// left out.
#[must_use]
pub fn request(wants: &[Oid], haves: &[Oid]) -> Vec<u8> {
    written(&["thin-pack"], wants, haves)
}

/// A request for the commits and tags alone that `wants` lead to and `haves` do not, as a pack
/// that stands by itself. What is wanted itself comes, whatever it is.
#[must_use]
pub fn request_commits(wants: &[Oid], haves: &[Oid]) -> Vec<u8> {
    written(&["filter tree:0"], wants, haves)
}

/// A request for exactly what `wants` names, whatever it is, and for the commits that tags among it point to, as a pack
/// that stands by itself.
#[must_use]
pub fn request_exactly(wants: &[Oid]) -> Vec<u8> {
    written(&["deepen 1", "filter tree:0"], wants, &[])
}

fn written(capabilities: &[&str], wants: &[Oid], haves: &[Oid]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut line =
        |text: &str| lines.extend_from_slice(format!("{:04x}{text}", text.len() + 4).as_bytes());
    line("command=fetch");
    line("object-format=sha1");
    lines.extend_from_slice(b"0001");
    let mut line =
        |text: &str| lines.extend_from_slice(format!("{:04x}{text}", text.len() + 4).as_bytes());
    for capability in capabilities {
        line(capability);
    }
    line("no-progress");
    line("ofs-delta");
    for oid in wants {
        line(&format!("want {oid}\n"));
    }
    for oid in haves.iter().take(HAVES_MAX) {
        line(&format!("have {oid}\n"));
    }
    line("done\n");
    lines.extend_from_slice(b"0000");
    lines
}

/// A request for a pack and nothing else, such as [`request`] makes.
pub(crate) struct Asked {
    pub(crate) wants: Vec<Oid>,
    pub(crate) haves: Vec<Oid>,
    /// The pack may build on what haves lead to.
    pub(crate) thin: bool,
}

impl Asked {
    /// `None` unless it is plainly one, with everything said at once.
    pub(crate) fn parse(mut request: &[u8]) -> Option<Self> {
        let mut buffer = Vec::new();
        let mut next = |buffer: &mut Vec<u8>| packet::read(&mut request, buffer).ok()?;
        if next(&mut buffer)? != Packet::Data || packet::line(&buffer) != b"command=fetch" {
            return None;
        }
        loop {
            match next(&mut buffer)? {
                Packet::Delimiter => break,
                Packet::Data if packet::line(&buffer) == b"object-format=sha1" => {}
                Packet::Data if buffer.starts_with(b"agent=") => {}
                _ => return None,
            }
        }
        let mut asked = Self {
            wants: Vec::new(),
            haves: Vec::new(),
            thin: false,
        };
        let (mut offsets, mut done) = (false, false);
        while next(&mut buffer)? == Packet::Data {
            let line = packet::line(&buffer);
            match line {
                b"thin-pack" => asked.thin = true,
                b"ofs-delta" => offsets = true,
                b"done" => done = true,
                b"no-progress" => {}
                _ => match (line.strip_prefix(b"want "), line.strip_prefix(b"have ")) {
                    (Some(hex), _) => asked.wants.push(Oid::from_hex(hex).ok()?),
                    (_, Some(hex)) => asked.haves.push(Oid::from_hex(hex).ok()?),
                    _ => return None,
                },
            }
        }
        (offsets && done && request.is_empty()).then_some(asked)
    }
}

/// Reads the pack out of the answer to a [`request`].
///
/// An answer that is cut off, and one that says that something went wrong, read as an
/// error, never as an end; a [`FetchError`] is inside where the sender is to blame.
#[derive(Debug)]
pub struct PackReader<R> {
    reader: R,
    payload: Vec<u8>,
    at: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// So many commits were named that come without their parents.
    Shallow(usize),
    Pack,
    End,
}

impl<R: Read> PackReader<R> {
    /// Reads the answer from `reader`.
    pub const fn new(reader: R) -> Self {
        Self {
            reader,
            payload: Vec::new(),
            at: 0,
            stage: Stage::Head,
        }
    }

    /// Reads packets until there are pack bytes, or the end.
    fn advance(&mut self) -> io::Result<()> {
        while self.at >= self.payload.len() && self.stage != Stage::End {
            let packet = packet::read(&mut self.reader, &mut self.payload)?;
            self.at = 0;
            match (packet.ok_or(ErrorKind::UnexpectedEof)?, self.stage) {
                (Packet::Data, Stage::Pack) => self.band()?,
                (Packet::Data, Stage::Shallow(count)) => self.shallow(count)?,
                (Packet::Delimiter, Stage::Shallow(_)) => self.stage = Stage::Head,
                (Packet::Data, _) => self.head()?,
                (Packet::Flush | Packet::ResponseEnd, Stage::Pack) => self.stage = Stage::End,
                _ => {
                    return Err(invalid(FetchError::Malformed {
                        what: "it ends without a pack",
                    }));
                }
            }
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<()> {
        let line = packet::line(&self.payload);
        if line == packet::line(PACKFILE) {
            self.stage = Stage::Pack;
            self.payload.clear();
            return Ok(());
        }
        if line == b"shallow-info" {
            self.stage = Stage::Shallow(0);
            self.payload.clear();
            return Ok(());
        }
        Err(invalid(match line.strip_prefix(b"ERR ") {
            Some(message) => FetchError::Refused {
                message: printable(message),
            },
            None => FetchError::Malformed {
                what: "it has no pack",
            },
        }))
    }

    fn shallow(&mut self, count: usize) -> io::Result<()> {
        if count >= SHALLOW_MAX || !self.payload.starts_with(b"shallow ") {
            return Err(invalid(FetchError::Malformed {
                what: "it names too many commits, or something else",
            }));
        }
        self.stage = Stage::Shallow(count + 1);
        self.payload.clear();
        Ok(())
    }

    fn band(&mut self) -> io::Result<()> {
        match self.payload.split_first() {
            Some((1, _)) => self.at = 1,
            // Progress, or a sign of life.
            Some((2, _)) => self.payload.clear(),
            Some((3, message)) => {
                return Err(invalid(FetchError::Refused {
                    message: printable(message.trim_ascii()),
                }));
            }
            _ => {
                return Err(invalid(FetchError::Malformed {
                    what: "it uses an unknown side-band",
                }));
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for PackReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance()?;
        let mut rest = self.payload.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

fn invalid(error: FetchError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
