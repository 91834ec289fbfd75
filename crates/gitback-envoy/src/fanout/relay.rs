//! What one peer is sent of a push while it arrives here.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitback_envelope::{EnvelopeId, Tip, Verified};
use gitback_identity::EnvoyKey;
use gitback_pack::Follower;
use gitback_peer::{Handoff, PackInfo, PushSource};
use tokio::sync::watch;

use super::{Extent, Fate, bounded};
use crate::access;
use crate::cell::Cell;
use crate::daemon::Envoy;

/// Most envelopes sent to a peer of which nothing is known; it asks for the rest.
const UNASKED_MAX: usize = 64;

/// How long a source that has nothing keeps its asker waiting.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// How long a pack may stand still before peers are let go. They are sent it as a whole later, so that a user who
/// stalls holds nothing on other machines.
const STALL_MAX: Duration = Duration::from_secs(20);

/// How long the checks here may take while peers hold what they have.
const DECISION_MAX: Duration = Duration::from_secs(600);

/// After how many bytes of a pack it is asked again whether the peer may have it.
const RECHECK_BYTES: usize = 4 << 20;

/// What one peer is sent of a push that is still being taken in here.
pub(super) struct Relay {
    pub(super) envoy: Arc<Envoy>,
    pub(super) cell: Arc<Cell>,
    pub(super) to: EnvoyKey,
    pub(super) handoff: Handoff,
    /// What the peer is known to hold.
    pub(super) known: Vec<Tip>,
    pub(super) follower: Option<Follower>,
    pub(super) fate: watch::Receiver<Fate>,
    /// Since when there was nothing to send.
    pub(super) idle_since: Instant,
    /// Bytes sent since it was asked whether the peer may have them.
    pub(super) unchecked: usize,
    /// The peer was told that nothing of the project is lacking here.
    pub(super) said_whole: bool,
}

impl Relay {
    /// Nothing yet; or, after `most`, nothing at all.
    fn nothing_yet(&self, most: Duration) -> io::Error {
        let given_up = self.idle_since.elapsed() > most;
        if given_up {
            ErrorKind::TimedOut
        } else {
            ErrorKind::WouldBlock
        }
        .into()
    }

    fn lacking(&self, stored: &[EnvelopeId]) -> Vec<Vec<u8>> {
        let state = self.cell.lock();
        if self.said_whole && !state.is_copy() {
            // Statements have come whose objects have not, since it was said.
            return Vec::new();
        }
        let lacking = state.lacking_for(&self.known);
        let envelopes = access::tellable(&self.envoy, &state, &self.to, lacking);
        drop(state);
        let newest = |envelopes: &[Verified]| {
            let newest = envelopes.iter().filter(|one| stored.contains(one.id()));
            bounded(newest.cloned().collect()).0
        };
        if self.known.is_empty() && envelopes.len() > UNASKED_MAX {
            return newest(&envelopes);
        }
        match bounded(envelopes.clone()) {
            (whole, Extent::Whole) => whole,
            // Its answer to the last ones alone says what it lacks, and is no answer to a part.
            (_, Extent::Part) => newest(&envelopes),
        }
    }
}

impl PushSource for Relay {
    fn has_pack(&self) -> bool {
        self.follower.is_some()
    }

    fn is_whole(&mut self) -> bool {
        // The peer waits for it, and whoever has the lock may walk through a whole history.
        let state = self.cell.try_lock();
        self.said_whole = state.is_some_and(|state| state.is_copy());
        self.said_whole
    }

    fn handoff(&self) -> Handoff {
        self.handoff.clone()
    }

    fn read_pack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let open_for_ever = self.fate.has_changed().is_err();
        match *self.fate.borrow() {
            Fate::Stored(_) => {}
            Fate::Open if !open_for_ever => {}
            Fate::Open | Fate::Dropped => return Err(ErrorKind::BrokenPipe.into()),
        }
        let Some(follower) = &mut self.follower else {
            return Ok(0);
        };
        let read = match follower.read(buffer, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(self.nothing_yet(STALL_MAX));
            }
            read => read?,
        };
        self.idle_since = Instant::now();
        self.unchecked += read;
        if self.unchecked >= RECHECK_BYTES {
            self.unchecked = 0;
            if !access::may_ask(&self.envoy, &self.cell.lock(), &self.to) {
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        Ok(read)
    }

    fn pack_info(&mut self) -> io::Result<PackInfo> {
        let whole = self.follower.as_ref().and_then(Follower::whole);
        let (bytes, blake3) = whole.ok_or(ErrorKind::UnexpectedEof)?;
        Ok(PackInfo { bytes, blake3 })
    }

    fn envelopes(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut fate = self.fate.clone();
        let decided = self.envoy.handle().block_on(async {
            let decision = fate.wait_for(|fate| !matches!(fate, Fate::Open));
            tokio::time::timeout(PATIENCE, decision)
                .await
                .map(|decided| decided.map(|fate| fate.clone()))
        });
        match decided {
            Ok(Ok(Fate::Stored(new))) => {
                let lacking = self.lacking(&new);
                // What it may not be told of any more it is not sent; nor is what was said of this copy taken back.
                if lacking.is_empty() {
                    return Err(ErrorKind::BrokenPipe.into());
                }
                Ok(lacking)
            }
            Ok(_) => Err(ErrorKind::BrokenPipe.into()),
            Err(_) => Err(self.nothing_yet(DECISION_MAX)),
        }
    }
}
