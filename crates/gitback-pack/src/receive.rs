//! The server's side of `git push`: receive-pack, in process.
//!
//! Speaks protocol 0 to every client; protocol 1 differs by one line and a client
//! takes 0 for an answer. The caller decides about each command; [`Session`] only
//! reads and writes.
//!
//! Source: gitprotocol-pack(5), "Pushing Data To a Server"; docs/spec/pack.md §6.

use std::collections::BTreeSet;
use std::io::{self, BufReader, ErrorKind, Read, Write};

use crate::error::printable;
use crate::packet::{self, PAYLOAD_MAX, Packet};
use crate::{Oid, Reject, Repository};

/// Most commands in one push.
pub const COMMANDS_MAX: usize = 65_536;
/// Most bytes of all ref names in one push.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most options in one push.
pub const OPTIONS_MAX: usize = 64;
/// Longest option of a push.
pub const OPTION_BYTES_MAX: usize = 4096;
/// Longest line of a report; git prints longer ones in full, nobody reads them.
const REASON_MAX: usize = 2048;

/// Refs that a push cannot name: shown to the client as objects that are here.
const HIDDEN: [&[u8]; 2] = [b"refs/gitback/", b"refs/envoys/"];

const CAPABILITIES: &str = "report-status side-band-64k delete-refs atomic ofs-delta push-options quiet object-format=sha1 agent=";

/// What the client wants done to one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The full name as sent; judge it with [`valid_ref_name`](crate::valid_ref_name).
    pub name: Vec<u8>,
    /// Where the client believes it is; the null id: absent.
    pub old: Oid,
    /// Where it should go; the null id: delete it.
    pub new: Oid,
}

/// A whole request. Names are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// At least one.
    pub commands: Vec<Command>,
    /// The push options, in order.
    pub options: Vec<Vec<u8>>,
    /// All commands or none.
    pub atomic: bool,
    /// The client wants no progress.
    pub quiet: bool,
}

impl Request {
    /// Whether a pack follows: not when every command deletes.
    #[must_use]
    pub fn has_pack(&self) -> bool {
        self.commands.iter().any(|command| !command.new.is_null())
    }
}

/// One push: advertise, [`request`](Session::request), [`pack_reader`](Session::pack_reader), [`report`](Session::report).
#[derive(Debug)]
pub struct Session<R, W> {
    reader: BufReader<R>,
    writer: W,
    chosen: Chosen,
}

/// What is read, in bytes, from a client that pushes nothing.
const REST_MAX: u64 = 1 << 20;

/// What the client chose of our capabilities.
#[derive(Debug, Default, Clone, Copy)]
struct Chosen {
    report: bool,
    bands: bool,
    atomic: bool,
    quiet: bool,
    options: bool,
}

impl<R: Read, W: Write> Session<R, W> {
    /// Greets the client with the refs of `repository`.
    ///
    /// `agent` names this program, without spaces.
    ///
    /// # Errors
    ///
    /// [`Reject::Broken`] if the client is gone; [`Reject::Fault`].
    pub fn advertise(
        repository: &Repository,
        reader: R,
        mut writer: W,
        agent: &str,
    ) -> Result<Self, Reject> {
        let mut lines: Vec<(Oid, Vec<u8>)> = Vec::new();
        let (mut shown, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        for reference in repository.refs()? {
            if HIDDEN
                .iter()
                .any(|prefix| reference.name.starts_with(prefix))
            {
                hidden.insert(reference.oid);
            } else {
                shown.insert(reference.oid);
                lines.push((reference.oid, reference.name));
            }
        }
        lines.extend(
            hidden
                .difference(&shown)
                .map(|oid| (*oid, b".have".to_vec())),
        );
        if lines.is_empty() {
            lines.push((
                Oid::null(gix::hash::Kind::Sha1),
                b"capabilities^{}".to_vec(),
            ));
        }
        let mut greeting = Vec::new();
        let mut capabilities = format!("\0{CAPABILITIES}{agent}").into_bytes();
        for (oid, name) in lines {
            let line = [
                oid.to_string().as_bytes(),
                b" ",
                &name,
                &capabilities,
                b"\n",
            ]
            .concat();
            capabilities.clear();
            packet::write(&mut greeting, &line).map_err(Reject::Broken)?;
        }
        packet::write_flush(&mut greeting).map_err(Reject::Broken)?;
        writer
            .write_all(&greeting)
            .and_then(|()| writer.flush())
            .map_err(Reject::Broken)?;
        Ok(Self {
            reader: BufReader::new(reader),
            writer,
            chosen: Chosen::default(),
        })
    }

    /// Reads what the client wants; `None` when it wants nothing, or has hung up.
    ///
    /// # Errors
    ///
    /// [`Reject::Malformed`], [`Reject::TooMany`], [`Reject::Shallow`], [`Reject::Broken`].
    /// After [`Reject::Shallow`] the session can still [`fail`](Session::fail).
    pub fn request(&mut self) -> Result<Option<Request>, Reject> {
        let mut buffer = Vec::new();
        let (mut commands, mut names, mut bytes, mut shallow) =
            (Vec::new(), BTreeSet::new(), 0_usize, false);
        loop {
            match packet::read(&mut self.reader, &mut buffer).map_err(broken)? {
                None if commands.is_empty() => return Ok(None),
                None => return Err(Reject::Broken(ErrorKind::UnexpectedEof.into())),
                Some(Packet::Flush) => break,
                Some(Packet::Data) => {}
                Some(_) => {
                    return Err(Reject::Malformed {
                        what: "a mark of protocol 2",
                    });
                }
            }
            if buffer.starts_with(b"shallow ") {
                shallow = true;
                continue;
            }
            let line = if commands.is_empty() {
                self.choose(&buffer)
            } else {
                &buffer
            };
            let command = Command::parse(line)?;
            bytes = bytes.saturating_add(command.name.len());
            if commands.len() >= COMMANDS_MAX || bytes > COMMAND_BYTES_MAX {
                return Err(Reject::TooMany {
                    what: "refs in one push",
                    limit: as_u64(COMMANDS_MAX),
                });
            }
            if !names.insert(command.name.clone()) {
                return Err(Reject::Malformed {
                    what: "one ref is named twice",
                });
            }
            commands.push(command);
        }
        if commands.is_empty() {
            // git says its push options also when it has nothing to push. Cut off while it does, it dies without a word.
            let mut rest = (&mut self.reader).take(REST_MAX);
            // Whatever becomes of it, nobody asks for anything.
            let _ = io::copy(&mut rest, &mut io::sink());
            return Ok(None);
        }
        let options = if self.chosen.options {
            self.options()?
        } else {
            Vec::new()
        };
        if shallow {
            return Err(Reject::Shallow);
        }
        Ok(Some(Request {
            commands,
            options,
            atomic: self.chosen.atomic,
            quiet: self.chosen.quiet,
        }))
    }

    /// The pack, to the end of the client's side of the stream.
    ///
    /// Not to be read when [`Request::has_pack`] is false: no pack comes then, and the
    /// client waits for the report.
    pub fn pack_reader(&mut self) -> impl Read + '_ {
        &mut self.reader
    }

    /// The pack and the way to send messages, for use at the same time.
    pub fn halves(&mut self) -> (impl Read + '_, Messages<'_, W>) {
        (
            &mut self.reader,
            Messages {
                writer: &mut self.writer,
                bands: self.chosen.bands,
            },
        )
    }

    /// Shows `text` to the person who pushes; nothing if the client cannot show it.
    ///
    /// # Errors
    ///
    /// [`Reject::Broken`].
    pub fn message(&mut self, text: &str) -> Result<(), Reject> {
        self.halves().1.message(text)
    }

    /// Tells what became of each command, and ends the push.
    ///
    /// `unpack` is about the pack as a whole. A reason becomes one line, which git
    /// shows beside the ref.
    ///
    /// # Errors
    ///
    /// [`Reject::Broken`].
    pub fn report(
        mut self,
        unpack: Result<(), String>,
        results: &[(Vec<u8>, Result<(), String>)],
    ) -> Result<(), Reject> {
        if self.chosen.report {
            let report = render(unpack, results).map_err(Reject::Broken)?;
            self.send(&report).map_err(Reject::Broken)?;
        }
        if self.chosen.bands {
            packet::write_flush(&mut self.writer).map_err(Reject::Broken)?;
        }
        self.writer.flush().map_err(Reject::Broken)
    }

    /// Ends the push with a reason instead of a report.
    ///
    /// # Errors
    ///
    /// [`Reject::Broken`].
    pub fn fail(mut self, reason: &str) -> Result<(), Reject> {
        let reason = one_line(reason);
        let sent = if self.chosen.bands {
            packet::write_banded(&mut self.writer, Some(3), format!("{reason}\n").as_bytes())
                .and_then(|()| packet::write_flush(&mut self.writer))
        } else {
            packet::write(&mut self.writer, format!("ERR {reason}\n").as_bytes())
        };
        sent.and_then(|()| self.writer.flush())
            .map_err(Reject::Broken)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.chosen.bands {
            return self.writer.write_all(bytes);
        }
        bytes
            .chunks(PAYLOAD_MAX - 1)
            .try_for_each(|chunk| packet::write_banded(&mut self.writer, Some(1), chunk))
    }

    /// Splits the capabilities off the first command, and keeps them.
    fn choose<'a>(&mut self, first: &'a [u8]) -> &'a [u8] {
        let mut parts = first.splitn(2, |byte| *byte == 0);
        let line = parts.next().unwrap_or_default();
        for word in parts
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .split(|byte| *byte == b' ')
        {
            match word {
                b"report-status" => self.chosen.report = true,
                b"side-band-64k" => self.chosen.bands = true,
                b"atomic" => self.chosen.atomic = true,
                b"quiet" => self.chosen.quiet = true,
                b"push-options" => self.chosen.options = true,
                _ => {}
            }
        }
        line
    }

    fn options(&mut self) -> Result<Vec<Vec<u8>>, Reject> {
        let (mut options, mut buffer) = (Vec::new(), Vec::new());
        loop {
            match packet::read(&mut self.reader, &mut buffer).map_err(broken)? {
                Some(Packet::Flush) => return Ok(options),
                Some(Packet::Data) => {}
                Some(_) => {
                    return Err(Reject::Malformed {
                        what: "a mark of protocol 2",
                    });
                }
                None => return Err(Reject::Broken(ErrorKind::UnexpectedEof.into())),
            }
            let option = packet::line(&buffer);
            if options.len() >= OPTIONS_MAX || option.len() > OPTION_BYTES_MAX {
                return Err(Reject::TooMany {
                    what: "push options",
                    limit: as_u64(OPTIONS_MAX),
                });
            }
            options.push(option.to_vec());
        }
    }
}

/// The way to show messages while the pack is read.
#[derive(Debug)]
pub struct Messages<'a, W> {
    writer: &'a mut W,
    bands: bool,
}

impl<W: Write> Messages<'_, W> {
    /// Shows `text` to the person who pushes; nothing if the client cannot show it.
    ///
    /// # Errors
    ///
    /// [`Reject::Broken`].
    pub fn message(&mut self, text: &str) -> Result<(), Reject> {
        if !self.bands {
            return Ok(());
        }
        for line in text.lines() {
            let line = format!("{}\n", one_line(line));
            packet::write_banded(self.writer, Some(2), line.as_bytes()).map_err(Reject::Broken)?;
        }
        self.writer.flush().map_err(Reject::Broken)
    }
}

impl Command {
    /// Shape: `old SP new SP name [LF]`, ids as 40 digits.
    fn parse(line: &[u8]) -> Result<Self, Reject> {
        let mut parts = packet::line(line).splitn(3, |byte| *byte == b' ');
        let mut oid = || parts.next().and_then(|hex| Oid::from_hex(hex).ok());
        let (old, new) = (oid(), oid());
        let name = parts.next().unwrap_or_default();
        match (old, new) {
            (Some(old), Some(new))
                if !name.is_empty() && !name.iter().any(|byte| byte.is_ascii_control()) =>
            {
                Ok(Self {
                    name: name.to_vec(),
                    old,
                    new,
                })
            }
            _ => Err(Reject::Malformed {
                what: "a command is not two ids and a name",
            }),
        }
    }
}

fn render(
    unpack: Result<(), String>,
    results: &[(Vec<u8>, Result<(), String>)],
) -> io::Result<Vec<u8>> {
    let mut report = Vec::new();
    let unpack = unpack.map_or_else(|reason| one_line(&reason), |()| "ok".to_owned());
    packet::write(&mut report, format!("unpack {unpack}\n").as_bytes())?;
    for (name, result) in results {
        let line = match result {
            Ok(()) => [b"ok ", name.as_slice(), b"\n"].concat(),
            Err(reason) => [
                b"ng ",
                name.as_slice(),
                b" ",
                one_line(reason).as_bytes(),
                b"\n",
            ]
            .concat(),
        };
        packet::write(
            &mut report,
            line.get(..line.len().min(PAYLOAD_MAX)).unwrap_or_default(),
        )?;
    }
    packet::write_flush(&mut report)?;
    Ok(report)
}

/// Text as one printable, bounded line.
fn one_line(text: &str) -> String {
    let text = text.trim().replace('\n', "; ");
    printable(text.as_bytes())
        .chars()
        .take(REASON_MAX)
        .collect()
}

fn broken(error: io::Error) -> Reject {
    match error.kind() {
        ErrorKind::InvalidData => Reject::Malformed {
            what: "a packet has a bad length",
        },
        _ => Reject::Broken(error),
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
