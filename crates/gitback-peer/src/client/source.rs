//! What a push sends, and where it comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::limits::{ENVELOPE_MAX, PUSH_ENVELOPES_MAX};
use crate::reject::Reject;
use crate::wire::{Handoff, PackInfo, envelope_count};

/// What a push sends, asked for piece by piece on a blocking thread: the pack to its end, what it
/// was, then the envelopes.
///
/// Two kinds of errors: [`io::ErrorKind::WouldBlock`] says "nothing yet, ask again", after a wait
/// of at most a few seconds inside, and any other cancels the push. The peer then sees the push
/// break off, not end.
pub trait PushSource: Send + 'static {
    /// Whether the push carries a pack. Asked first, once.
    fn has_pack(&self) -> bool;

    /// Whether the sender lacks nothing of the project, what is being pushed aside. Asked once,
    /// after [`Self::has_pack`].
    fn is_whole(&mut self) -> bool {
        false
    }

    /// What the receiver is asked to do beside taking the push. Asked once, after
    /// [`Self::has_pack`].
    fn handoff(&self) -> Handoff {
        Handoff::default()
    }

    /// Reads pack bytes; 0 at the end. Asked only when there is a pack.
    ///
    /// # Errors
    ///
    /// `WouldBlock` or a reason to cancel, as above.
    fn read_pack(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Tells what was read, once [`Self::read_pack`] has returned 0.
    ///
    /// # Errors
    ///
    /// `WouldBlock` or a reason to cancel, as above.
    fn pack_info(&mut self) -> io::Result<PackInfo>;

    /// Gives the envelopes, ancestors first. Asked last.
    ///
    /// # Errors
    ///
    /// `WouldBlock` or a reason to cancel, as above.
    fn envelopes(&mut self) -> io::Result<Vec<Vec<u8>>>;
}

/// A pack on disk, to be sent with a push. Its length and digest are declared to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its exact length.
    pub bytes: u64,
    /// Its BLAKE3 digest.
    pub blake3: [u8; 32],
}

/// Checks what a peer would refuse: at most [`PUSH_ENVELOPES_MAX`] bytes of envelopes.
pub(super) fn sendable(envelopes: &[Vec<u8>]) -> Result<(), Reject> {
    envelope_count(envelopes)?;
    if envelopes.iter().any(|bytes| bytes.len() > ENVELOPE_MAX) {
        return Err(Reject::TooLong {
            what: "an envelope",
            limit: ENVELOPE_MAX as u64,
        });
    }
    let total: u64 = envelopes.iter().map(|bytes| bytes.len() as u64).sum();
    if total > PUSH_ENVELOPES_MAX {
        return Err(Reject::TooLong {
            what: "the list of envelopes",
            limit: PUSH_ENVELOPES_MAX,
        });
    }
    Ok(())
}

/// A push of which all is there.
pub(super) struct Settled {
    envelopes: Vec<Vec<u8>>,
    pack: Option<PackFile>,
    handoff: Handoff,
    whole: bool,
    file: Option<File>,
    read: u64,
}

impl Settled {
    pub(super) fn new(
        envelopes: Vec<Vec<u8>>,
        pack: Option<PackFile>,
        handoff: Handoff,
        whole: bool,
    ) -> Self {
        Self {
            envelopes,
            pack,
            handoff,
            whole,
            file: None,
            read: 0,
        }
    }
}

impl PushSource for Settled {
    fn has_pack(&self) -> bool {
        self.pack.is_some()
    }

    fn is_whole(&mut self) -> bool {
        self.whole
    }

    fn handoff(&self) -> Handoff {
        self.handoff.clone()
    }

    fn read_pack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pack) = &self.pack else {
            return Ok(0);
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&pack.path)?),
        };
        let left = pack.bytes.saturating_sub(self.read);
        let room = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        // The file may be longer than the pack, but not shorter.
        let out = buffer.get_mut(..room).unwrap_or_default();
        file.read_exact(out)?;
        self.read += room as u64;
        Ok(room)
    }

    fn pack_info(&mut self) -> io::Result<PackInfo> {
        let pack = self.pack.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(PackInfo {
            bytes: pack.bytes,
            blake3: pack.blake3,
        })
    }

    fn envelopes(&mut self) -> io::Result<Vec<Vec<u8>>> {
        Ok(std::mem::take(&mut self.envelopes))
    }
}
