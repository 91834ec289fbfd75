//! Serving fetches and clones.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::fetch::{self, Asked};
use crate::git::{self, Running};
use crate::packet;
use crate::{Fault, Repository};

/// How much is copied at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Largest request of a stateless fetch: some eighty thousand ids.
const REQUEST_MAX: u64 = 4 * 1024 * 1024;
/// Longest value of `GIT_PROTOCOL` that is passed on.
const PROTOCOL_MAX: usize = 256;

/// How a fetch was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// By this process.
    Here {
        /// Objects in the pack.
        objects: usize,
        /// Bytes of the pack.
        bytes: usize,
    },
    /// By a git process.
    ByGit,
}

impl Repository {
    /// Serves one whole `git upload-pack` conversation, protocol 0 to 2.
    ///
    /// `protocol` is the client's `GIT_PROTOCOL`. Refs below `refs/gitback/` are not
    /// shown; partial clones and wants of any object are served. `output` is dropped
    /// as soon as git has ended, and only then is the end of `input` awaited: let its
    /// drop hang up (see [`HangUp`]), or a client that neither sends nor closes keeps
    /// this call.
    ///
    /// # Errors
    ///
    /// [`Fault::Git`] if git ends with a failure, which is also what a client that
    /// hangs up early looks like; [`Fault`].
    pub fn upload_pack(
        &self,
        input: impl Read + Send,
        output: impl Write + Send,
        protocol: Option<&str>,
    ) -> Result<(), Fault> {
        self.serve(input, output, &["--strict", "--timeout=0"], protocol)
    }

    /// Answers one request of a stateless fetch, protocol 2, such as [`fetch::request`](crate::fetch::request) makes.
    ///
    /// The request is read to its end first. Where it asks for little, no process is started.
    ///
    /// # Errors
    ///
    /// [`Fault::RequestTooLarge`]; [`Fault::Git`] if git ends with a failure; [`Fault`].
    pub fn upload_pack_request(
        &self,
        input: impl Read,
        mut output: impl Write + Send,
    ) -> Result<Served, Fault> {
        let mut request = Vec::new();
        input
            .take(REQUEST_MAX + 1)
            .read_to_end(&mut request)
            .map_err(Fault::stream("read the request"))?;
        if u64::try_from(request.len()).unwrap_or(u64::MAX) > REQUEST_MAX {
            return Err(Fault::RequestTooLarge { limit: REQUEST_MAX });
        }
        let found = Asked::parse(&request)
            .and_then(|asked| self.difference(&asked.wants, &asked.haves, asked.thin));
        if let Some(found) = found {
            answer(&mut output, &found.pack).map_err(Fault::stream("send to the client"))?;
            return Ok(Served::Here {
                objects: found.objects,
                bytes: found.pack.len(),
            });
        }
        self.serve(
            request.as_slice(),
            output,
            &["--strict", "--stateless-rpc"],
            Some("version=2"),
        )?;
        Ok(Served::ByGit)
    }

    fn serve(
        &self,
        input: impl Read + Send,
        mut output: impl Write + Send,
        arguments: &[&str],
        protocol: Option<&str>,
    ) -> Result<(), Fault> {
        let _in_use = self.reading();
        let mut command = git::command(self.path(), "upload-pack")?;
        command.args(arguments).arg("--").arg(self.path());
        if let Some(protocol) = protocol.filter(|protocol| is_protocol(protocol)) {
            command.env("GIT_PROTOCOL", protocol);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, "upload-pack")?;
        let (stdin, stdout) = (running.stdin(), running.stdout());
        std::thread::scope(|scope| {
            // When either side of this direction fails, git sees the end of its input.
            scope.spawn(|| copy(input, stdin));
            let sent = copy(stdout, &mut output);
            drop(output);

            match sent {
                Ok(()) => running.finish()?.check(),
                Err(source) => {
                    drop(running);
                    Err(Fault::Stream {
                        doing: "send to the client",
                        source,
                    })
                }
            }
        })
    }
}

/// The section `packfile`, and the end.
fn answer(output: &mut impl Write, pack: &[u8]) -> std::io::Result<()> {
    let mut answer = Vec::with_capacity(pack.len() + pack.len() / 4096 + 32);
    packet::write(&mut answer, fetch::PACKFILE)?;
    for chunk in pack.chunks(packet::PAYLOAD_MAX - 1) {
        packet::write_banded(&mut answer, Some(1), chunk)?;
    }
    packet::write_flush(&mut answer)?;
    output.write_all(&answer)?;
    output.flush()
}

fn is_protocol(text: &str) -> bool {
    text.len() <= PROTOCOL_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"=:.-_".contains(&byte))
}

/// Reads and writes until the end; the standard library's copy splices, which hangs
/// between a socket and a pipe.
fn copy(mut from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return to.flush(),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(chunk.get(..count).unwrap_or_default())?;
        to.flush()?;
    }
}

/// The sending half of a socket whose drop hangs up both ways, so that nobody waits
/// for a client that has been told everything.
#[derive(Debug)]
pub struct HangUp(UnixStream);

impl HangUp {
    /// Takes a clone of the stream that is also read from.
    #[must_use]
    pub const fn new(stream: UnixStream) -> Self {
        Self(stream)
    }
}

impl Write for HangUp {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        // A stream that is closed already needs no hanging up.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}
