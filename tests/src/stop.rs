//! One wish to stop, that every wait in this crate notices at once.

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A wish to stop, shared between a signal handler and the code that waits.
///
/// It is a pipe: once a byte is in it, every `poll` that watches its end returns, whichever thread is in it.
#[derive(Debug, Clone)]
pub struct Stop(Arc<(PipeReader, PipeWriter)>);

impl Stop {
    /// Makes one that nobody has asked yet.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptors left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(Arc::new(std::io::pipe()?)))
    }

    /// Asks everything that waits to stop. Asking twice changes nothing.
    pub fn ask(&self) {
        if !self.asked() {
            // The only failure is a full pipe, and then it has been asked.
            let _ = (&self.0.1).write_all(b"!");
        }
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        let mut watched = [PollFd::new(&self.0.0, PollFlags::IN)];
        matches!(
            poll(
                &mut watched,
                Some(&Timespec {
                    tv_sec: 0,
                    tv_nsec: 0
                })
            ),
            Ok(1..)
        )
    }

    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_reaches_every_clone() {
        let stop = Stop::new().expect("a pipe");
        let other = stop.clone();
        assert!(!other.asked());
        stop.ask();
        stop.ask();
        assert!(other.asked());
    }
}
