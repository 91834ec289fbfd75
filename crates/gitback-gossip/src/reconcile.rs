//! Which envelopes one side has and the other lacks, at a cost that follows the difference.
//!
//! Range-based set reconciliation by the Negentropy protocol, version 1. The initiator asks, the responder answers each
//! message from its set alone and remembers nothing. What a peer answers is never believed further than this: an id that
//! it says to have is asked for, and the envelope proves itself; and afterwards both compare digests of their sets, since
//! a peer that chose its ids could make two different ranges look the same.
//!
//! ```
//! use gitback_envelope::EnvelopeId;
//! use gitback_gossip::reconcile::{Ids, Initiator, Step, respond};
//!
//! let id = |byte| EnvelopeId::from_bytes(&[byte; 32]);
//! let (ours, theirs) = (Ids::new([id(1), id(2)]), Ids::new([id(2), id(3)]));
//!
//! let (mut initiator, mut message) = Initiator::new(&ours);
//! while let Step::Ask(next) = initiator.take(&respond(&theirs, &message)?)? {
//!     message = next;
//! }
//! let found = initiator.finish();
//! assert_eq!(found.have, [id(1)]);
//! assert_eq!(found.need, [id(3)]);
//! # Ok::<(), gitback_gossip::reconcile::ReconcileReject>(())
//! ```
//!
//! Source: docs/spec/reconcile.md.

use std::collections::BTreeSet;

use gitback_envelope::EnvelopeId;
use negentropy::{Bound, Error, Id, Item, Negentropy, NegentropyStorageBase};

/// Longest message in either direction, in bytes.
pub const FRAME_MAX: usize = 60 * 1024;
/// Most answers that are taken in one reconciliation. A difference that needs more is found by the next one.
pub const ROUNDS_MAX: usize = 512;
/// Most ids of each kind that one reconciliation gives: what is needed beyond that is found by the next one.
pub const FOUND_MAX: usize = 1 << 18;

/// The protocol's only version.
const VERSION: u8 = 0x61;

/// A set of ids, ready to be compared.
///
/// Costs 32 bytes an id; a responder keeps it from one message to the next, or makes it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    sorted: Vec<EnvelopeId>,
}

impl Ids {
    /// The set of `ids`, in any order, with or without repetition.
    #[must_use]
    pub fn new(ids: impl IntoIterator<Item = EnvelopeId>) -> Self {
        let mut sorted: Vec<EnvelopeId> = ids.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted }
    }

    /// Whether `id` is in the set.
    #[must_use]
    pub fn contains(&self, id: &EnvelopeId) -> bool {
        self.sorted.binary_search(id).is_ok()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// Answers one message of an initiator. Nothing is kept between two messages.
///
/// Shape: a message of Negentropy version 1, at most [`FRAME_MAX`] bytes in either direction. Time follows the size of
/// the set, once over it for each message.
///
/// # Errors
///
/// [`ReconcileReject`] if `message` is not one.
///
/// Source: docs/spec/reconcile.md §2.
pub fn respond(ids: &Ids, message: &[u8]) -> Result<Vec<u8>, ReconcileReject> {
    check(message)?;
    let mut responder = negentropy(ids);
    let answer = responder
        .reconcile(message)
        .map_err(ReconcileReject::from)?;
    if answer.len() > FRAME_MAX {
        return Err(ReconcileReject::TooLarge);
    }
    Ok(answer)
}

/// The side that asks.
#[derive(Debug)]
pub struct Initiator<'a> {
    ids: &'a Ids,
    asking: Negentropy<'a, Ids>,
    have: BTreeSet<EnvelopeId>,
    need: BTreeSet<EnvelopeId>,
    rounds: usize,
    complete: bool,
}

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Send this, and take the answer.
    Ask(Vec<u8>),
    /// There is nothing more to ask: see [`Initiator::finish`].
    Done,
}

/// What a reconciliation found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What the other side lacks, in order; at most [`FOUND_MAX`].
    pub have: Vec<EnvelopeId>,
    /// What the other side says to have that is not here, in order; at most [`FOUND_MAX`].
    pub need: Vec<EnvelopeId>,
    /// Whether all was compared. If not, bring in what is needed and start anew; if nothing is needed then, the other
    /// side leads nowhere.
    pub complete: bool,
}

impl<'a> Initiator<'a> {
    /// Starts, and gives the first message.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "a new initiator over a sorted vector always has a first message"
    )]
    pub fn new(ids: &'a Ids) -> (Self, Vec<u8>) {
        let mut asking = negentropy(ids);
        let first = asking
            .initiate()
            .expect("a new initiator over a sorted vector has a first message");
        let initiator = Self {
            ids,
            asking,
            have: BTreeSet::new(),
            need: BTreeSet::new(),
            rounds: 0,
            complete: false,
        };
        (initiator, first)
    }

    /// Takes the answer to the last message.
    ///
    /// # Errors
    ///
    /// [`ReconcileReject`] if it is none. What was found before stays.
    pub fn take(&mut self, answer: &[u8]) -> Result<Step, ReconcileReject> {
        check(answer)?;
        self.rounds += 1;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = self
            .asking
            .reconcile_with_ids(answer, &mut have, &mut need)
            .map_err(ReconcileReject::from)?;
        let ours = have.iter().map(|id| EnvelopeId::from_bytes(id));
        for id in ours {
            if self.have.len() >= FOUND_MAX {
                break;
            }
            self.have.insert(id);
        }
        let theirs = need.iter().map(|id| EnvelopeId::from_bytes(id));
        for id in theirs.filter(|id| !self.ids.contains(id)) {
            if self.need.len() >= FOUND_MAX {
                return Ok(Step::Done);
            }
            self.need.insert(id);
        }
        match next {
            None => {
                self.complete = true;
                Ok(Step::Done)
            }
            Some(_) if self.rounds >= ROUNDS_MAX => Ok(Step::Done),
            Some(message) if message.len() > FRAME_MAX => Err(ReconcileReject::TooLarge),
            Some(message) => Ok(Step::Ask(message)),
        }
    }

    /// How many answers were taken.
    #[must_use]
    pub const fn rounds(&self) -> usize {
        self.rounds
    }

    /// What was found so far.
    #[must_use]
    pub fn finish(self) -> Found {
        Found {
            have: self.have.into_iter().collect(),
            need: self.need.into_iter().collect(),
            complete: self.complete,
        }
    }
}

/// Why a message is refused. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileReject {
    /// It is longer than any message, or would need an answer that is.
    #[error("longer than {FRAME_MAX} bytes")]
    TooLarge,
    /// It is of another version.
    #[error("not version 1 of the protocol")]
    Version,
    /// It is not a message.
    #[error("not a reconciliation message")]
    Malformed,
}

impl From<Error> for ReconcileReject {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}

fn check(message: &[u8]) -> Result<(), ReconcileReject> {
    if message.len() > FRAME_MAX {
        return Err(ReconcileReject::TooLarge);
    }
    match message.first() {
        None => Err(ReconcileReject::Malformed),
        Some(&VERSION) => Ok(()),
        Some(_) => Err(ReconcileReject::Version),
    }
}

fn negentropy(ids: &Ids) -> Negentropy<'_, Ids> {
    Negentropy::borrowed(ids, FRAME_MAX as u64).expect("the frame limit is above the least")
}

/// Every item has the timestamp 0: an id is all that both sides know of an envelope without opening it, ids are hashes
/// and spread evenly, and a time in an envelope is whatever its signer wrote.
impl NegentropyStorageBase for Ids {
    fn size(&self) -> Result<usize, Error> {
        Ok(self.sorted.len())
    }

    fn get_item(&self, at: usize) -> Result<Option<Item>, Error> {
        Ok(self.sorted.get(at).map(item))
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let range = self.sorted.get(begin..end).ok_or(Error::BadRange)?;
        for (at, id) in (begin..end).zip(range) {
            if !visit(item(id), at)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        let range = self.sorted.get(first..last).unwrap_or_default();
        first + range.partition_point(|id| item(id) < value.item)
    }
}

fn item(id: &EnvelopeId) -> Item {
    Item::with_timestamp_and_id(0, Id::from_byte_array(*id.as_bytes()))
}

#[cfg(test)]
mod tests;
