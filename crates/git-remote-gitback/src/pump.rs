//! Bytes between git and the daemon, untouched.
//!
//! Plain read and write calls only: `std::io::copy` splices between sockets and pipes and then
//! hangs, and a line-buffered stdout holds back what git waits for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

/// Bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// How long neither side may say a word. Long, because git says nothing while it compresses a
/// large pack.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

/// Why a stream ended early.
#[derive(Debug, Error)]
pub(crate) enum PumpError {
    /// Nothing moved for too long.
    #[error("nothing was sent or received for {} minutes", after.as_secs() / 60)]
    Idle {
        /// How long.
        after: Duration,
    },
    /// The daemon's socket failed.
    #[error("the connection to the daemon failed")]
    Socket(#[source] io::Error),
}

/// Moves bytes both ways until the daemon's side ends.
///
/// The end of `input` is passed on as the end of the client's side only. When the daemon's side
/// ends first, the thread that reads `input` is left behind: nothing it could read is of use.
pub(crate) fn pump(
    input: impl Read + Send + 'static,
    stream: UnixStream,
    output: &mut impl Write,
) -> Result<(), PumpError> {
    pump_within(IDLE_MAX, input, stream, output)
}

fn pump_within(
    idle: Duration,
    input: impl Read + Send + 'static,
    stream: UnixStream,
    output: &mut impl Write,
) -> Result<(), PumpError> {
    stream
        .set_read_timeout(Some(idle))
        .map_err(PumpError::Socket)?;
    stream
        .set_write_timeout(Some(idle))
        .map_err(PumpError::Socket)?;
    let upstream = stream.try_clone().map_err(PumpError::Socket)?;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || send(input, &upstream, &counter));
    receive(stream, output, &sent, idle)
}

fn send(mut input: impl Read, mut upstream: &UnixStream, sent: &AtomicU64) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        // The daemon may be done already; what it said last is on its way to git.
        let Some(chunk) = buffer.get(..count) else {
            break;
        };
        if upstream.write_all(chunk).is_err() {
            return;
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    // Fails only when the daemon closed first.
    let _ = upstream.shutdown(Shutdown::Write);
}

fn receive(
    mut stream: UnixStream,
    output: &mut impl Write,
    sent: &AtomicU64,
    idle: Duration,
) -> Result<(), PumpError> {
    let mut buffer = vec![0; CHUNK];
    let mut seen = sent.load(Ordering::Relaxed);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                // The daemon left without reading all of git's words; git judges what it heard.
                ErrorKind::ConnectionReset => return Ok(()),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    let now = sent.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(PumpError::Idle { after: idle });
                    }
                    seen = now;
                    continue;
                }
                _ => return Err(PumpError::Socket(error)),
            },
        };
        let chunk = buffer.get(..count).unwrap_or_default();
        if output
            .write_all(chunk)
            .and_then(|()| output.flush())
            .is_err()
        {
            // git is gone and needs nothing more.
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_end_of_the_input_on_and_then_the_answer_back() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let daemon = std::thread::spawn(move || {
            let mut heard = String::new();
            theirs
                .read_to_string(&mut heard)
                .expect("the client ends its side");
            theirs
                .write_all(b"and this is the answer")
                .expect("the client listens");
            heard
        });
        let mut output = Vec::new();
        pump(&b"0000 from git"[..], ours, &mut output).expect("the daemon ends its side");

        assert_eq!(daemon.join().expect("no panic"), "0000 from git");
        assert_eq!(output, b"and this is the answer");
    }

    #[test]
    fn ends_with_the_daemon_while_git_still_listens() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        // An input that never ends: git keeps its side open until the helper is gone.
        let (git, _kept_open) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"last words").expect("room in the socket");
        drop(theirs);
        let mut output = Vec::new();
        pump(git, ours, &mut output).expect("the daemon ends its side");

        assert_eq!(output, b"last words");
    }

    #[test]
    fn gives_up_when_nobody_says_a_word() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let (git, _kept_open) = UnixStream::pair().expect("a pair");
        let error = pump_within(Duration::from_millis(20), git, ours, &mut Vec::new())
            .expect_err("nothing moves");
        assert!(matches!(error, PumpError::Idle { .. }), "{error:?}");
    }

    #[test]
    fn goes_on_while_git_sends_and_the_daemon_only_listens() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let daemon = std::thread::spawn(move || io::copy(&mut theirs, &mut io::sink()));
        let slow = Slow {
            words: 20,
            pause: Duration::from_millis(50),
        };
        // Shorter than all the words together, longer than each.
        pump_within(Duration::from_millis(500), slow, ours, &mut Vec::new())
            .expect("the daemon ends its side");
        assert_eq!(daemon.join().expect("no panic").expect("it reads"), 20);
    }

    /// Gives a byte every now and then, through a socket's timeout.
    struct Slow {
        words: u32,
        pause: Duration,
    }

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (mut silent, _kept_open) = UnixStream::pair()?;
            silent.set_read_timeout(Some(self.pause))?;
            let _ = silent.read(&mut [0]);
            let Some(left) = self.words.checked_sub(1) else {
                return Ok(0);
            };
            self.words = left;
            buffer[0] = b'x';
            Ok(1)
        }
    }
}
