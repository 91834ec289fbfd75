//! Bringing what two envoys know of names together: union, by the highest counter.
//!
//! Source: docs/spec/peer.md §5.11.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitback_envelope::VerifiedClaim;
use gitback_identity::PuddleKey;
use gitback_peer::limits::{CLAIM_MAX, CLAIMS_MAX};
use gitback_peer::{CallError, HeldClaim, Names as Message, NamesAnswer};
use thiserror::Error;

use super::book::{Book, PUDDLES_MAX, Source, Taken};
use crate::daemon::{Envoy, chain};
use crate::fault::Fault;
use crate::peers::Neighbour;

/// Most questions of one exchange. A range is cut where the peer knows more than fits, so there are more than pages
/// here, and a peer that cuts off less and less is not followed for ever.
const QUESTIONS_MAX: usize = 4 * PUDDLES_MAX.div_ceil(CLAIMS_MAX);

/// An empty range: nothing is asked.
const NOTHING: [u8; 32] = [0; 32];

/// Why an exchange ended early.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    /// The peer could not be asked.
    #[error("the peer does not answer")]
    Call(#[source] CallError),
    /// What it answers is no progress.
    #[error("the peer answers another range than it was asked for")]
    Range,
    /// What it sent as a claim is none.
    #[error("the peer sent what is no claim")]
    Claim(#[source] gitback_envelope::Reject),
    /// What it sent could not be stored here.
    #[error("claims cannot be stored")]
    Ours(#[source] Fault),
}

/// Brings claims together with a peer that has shown `theirs`, unless that is what is known here, or brought nothing
/// the last time.
pub(crate) fn exchange(envoy: &Arc<Envoy>, neighbour: &Neighbour, theirs: Option<[u8; 32]>) {
    let names = envoy.names();
    let ours = names.book().digest();
    // An envoy that shows no digest takes no part in this.
    let Some(theirs) = theirs.filter(|theirs| *theirs != ours) else {
        return;
    };
    if names.is_settled(neighbour.key(), [ours, theirs]) {
        return;
    }
    if let Err(error) = pages(envoy, neighbour) {
        tracing::warn!(peer = neighbour.name(), error = %chain(&error), "claims to names are not brought together");
        return;
    }
    // What came in is news to others, and they see it by the digest; with this one, it may go on.
    if names.book().digest() == ours {
        names.settle(*neighbour.key(), [ours, theirs]);
    }
}

/// Goes through the keys of all puddles, range by range.
fn pages(envoy: &Arc<Envoy>, neighbour: &Neighbour) -> Result<(), ExchangeError> {
    let names = envoy.names();
    let mut asking = Asking::default();
    while let Some(question) = asking.question(&names.book()) {
        let to = neighbour.address();
        let call = envoy.client().names(&to, &question);
        let answer = envoy.handle().block_on(call).map_err(ExchangeError::Call)?;
        take_in(envoy, &answer.claims)?;
        asking.hear(&names.book(), &question, &answer)?;
    }
    Ok(())
}

/// How far an exchange is, on the side of whoever asks.
#[derive(Debug, Default)]
struct Asking {
    questions: usize,
    from: Option<[u8; 32]>,
    /// What the peer wants of the range before.
    owed: Vec<Vec<u8>>,
    asked_all: bool,
}

impl Asking {
    /// The next question, until all was asked and told.
    fn question(&mut self, book: &Book) -> Option<Message> {
        let is_done = self.asked_all && self.owed.is_empty();
        if is_done || self.questions == QUESTIONS_MAX {
            return None;
        }
        self.questions += 1;
        let claims = std::mem::take(&mut self.owed);
        Some(match self.asked_all {
            false => page(book, self.from, claims),
            true => Message {
                to: Some(NOTHING),
                claims,
                ..Message::default()
            },
        })
    }

    /// What was answered is in `book` already.
    fn hear(
        &mut self,
        book: &Book,
        question: &Message,
        answer: &NamesAnswer,
    ) -> Result<(), ExchangeError> {
        if self.asked_all {
            // It has been told all that it wanted.
            return Ok(());
        }
        self.owed = wanted(book, &answer.wants);
        self.from = end_of(question, answer)?;
        self.asked_all = self.from.is_none();
        Ok(())
    }
}

/// What is known in the range that begins with `from`: as much as fits, and the end that follows from that.
fn page(book: &Book, from: Option<[u8; 32]>, claims: Vec<Vec<u8>>) -> Message {
    let mut known = book.from(from.as_ref()).map(|known| known.in_short());
    let have: Vec<HeldClaim> = known.by_ref().take(CLAIMS_MAX).collect();
    Message {
        from,
        to: known.next().map(|next| next.puddle),
        have,
        claims,
    }
}

/// Where the next question begins; nowhere if this was the last.
fn end_of(question: &Message, answer: &NamesAnswer) -> Result<Option<[u8; 32]>, ExchangeError> {
    let Some(to) = answer.to else {
        return Ok(question.to);
    };
    let forward = question.from.is_none_or(|from| to > from);
    let inside = question.to.is_none_or(|end| to <= end);
    match forward && inside {
        true => Ok(Some(to)),
        false => Err(ExchangeError::Range),
    }
}

/// The claims of those puddles, as they were signed.
fn wanted(book: &Book, wants: &[[u8; 32]]) -> Vec<Vec<u8>> {
    let known = wants.iter().filter_map(|puddle| {
        let puddle = PuddleKey::from_bytes(puddle).ok()?;
        Some(book.of(&puddle)?.claim().bytes().to_vec())
    });
    known.take(CLAIMS_MAX).collect()
}

/// Verifies claims, and takes in what is new. One that is none spoils them all: its sender is at fault.
fn take_in(envoy: &Envoy, claims: &[Vec<u8>]) -> Result<Vec<Taken>, ExchangeError> {
    let decoded = claims.iter().map(|bytes| VerifiedClaim::decode(bytes));
    let decoded: Result<Vec<VerifiedClaim>, _> = decoded.collect();
    let decoded = decoded.map_err(ExchangeError::Claim)?;
    let taken = envoy.names().take(decoded, Source::Peer, || kin(envoy));
    let taken = taken.map_err(ExchangeError::Ours)?;
    if taken.contains(&Taken::New) {
        envoy.changes().note();
    }
    Ok(taken)
}

/// The puddles that have, or had, a part in projects here.
fn kin(envoy: &Envoy) -> BTreeSet<PuddleKey> {
    let mut kin = BTreeSet::new();
    for cell in envoy.store().all() {
        let Some(state) = cell.lock_if_sound() else {
            continue;
        };
        kin.extend(state.fold().line().iter().map(|hop| hop.key));
        kin.extend(state.fold().memberships().iter().map(|one| one.puddle));
    }
    kin
}

/// What a peer is told that says what it knows. Its claims are taken in first.
pub(crate) fn answer(envoy: &Envoy, theirs: &Message) -> Result<NamesAnswer, Refused> {
    take_in(envoy, &theirs.claims).map_err(|error| match error {
        ExchangeError::Ours(fault) => Refused::Ours(fault),
        error => Refused::Claim(chain(&error)),
    })?;
    Ok(answer_from(&envoy.names().book(), theirs))
}

/// Why claims were not taken in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// One of them is none.
    Claim(String),
    /// They could not be stored.
    Ours(Fault),
}

fn answer_from(book: &Book, theirs: &Message) -> NamesAnswer {
    let mut answer = NamesAnswer::default();
    let told: BTreeMap<[u8; 32], &HeldClaim> =
        theirs.have.iter().map(|held| (held.puddle, held)).collect();
    let inside = |puddle: &[u8; 32]| theirs.to.is_none_or(|to| *puddle < to);
    for known in book.from(theirs.from.as_ref()) {
        let short = known.in_short();
        if !inside(&short.puddle) {
            break;
        }
        let newer = told
            .get(&short.puddle)
            .is_none_or(|held| (held.counter, held.digest) < (short.counter, short.digest));
        if !newer {
            continue;
        }
        if answer.claims.len() == CLAIMS_MAX {
            answer.to = Some(short.puddle);
            break;
        }
        answer.claims.push(known.claim().bytes().to_vec());
    }
    let behind = |puddle: &[u8; 32]| answer.to.is_some_and(|to| *puddle >= to);
    let lacking = theirs.have.iter().filter(|held| book.lacks(held));
    let lacking = lacking.map(|held| held.puddle);
    answer.wants = lacking.filter(|puddle| !behind(puddle)).collect();
    answer
}

/// The longest claim there can be is shorter than what a message may carry.
const _: () = assert!(CLAIM_MAX >= 256);

#[cfg(test)]
mod tests {
    use super::super::book::tests::claim;
    use super::*;

    fn book(claims: impl Iterator<Item = VerifiedClaim>) -> Book {
        let mut book = Book::default();
        for claim in claims {
            book.take(claim, Source::Peer, 0);
        }
        book
    }

    fn take(book: &mut Book, claims: &[Vec<u8>]) {
        for bytes in claims {
            let claim = VerifiedClaim::decode(bytes).expect("a claim");
            book.take(claim, Source::Peer, 0);
        }
    }

    /// Runs an exchange between two books, as two envoys would, and gives the number of questions.
    fn meet(ours: &mut Book, theirs: &mut Book) -> usize {
        let mut asking = Asking::default();
        while let Some(question) = asking.question(ours) {
            assert!(question.have.len() <= CLAIMS_MAX && question.claims.len() <= CLAIMS_MAX);
            take(theirs, &question.claims);
            let answer = answer_from(theirs, &question);
            assert!(answer.claims.len() <= CLAIMS_MAX && answer.wants.len() <= CLAIMS_MAX);
            take(ours, &answer.claims);
            asking.hear(ours, &question, &answer).expect("progress");
        }
        assert!(asking.asked_all && asking.owed.is_empty(), "no end");
        asking.questions
    }

    #[test]
    fn two_books_become_the_same_whatever_they_held() {
        let nothing = || book(std::iter::empty());
        let some = |seeds: std::ops::Range<u16>, counter| {
            book(seeds.map(move |seed| claim(seed, counter, Some("dan"))))
        };
        for (mut ours, mut theirs) in [
            (nothing(), some(0..3, 1)),
            (some(0..3, 1), nothing()),
            (some(0..3, 1), some(2..5, 1)),
            (some(0..5, 1), some(2..5, 2)),
            (some(0..5, 2), some(2..5, 1)),
        ] {
            let before = (ours.digest(), theirs.digest());
            let questions = meet(&mut ours, &mut theirs);
            assert_eq!(ours.digest(), theirs.digest(), "{before:?}");
            assert!(questions <= 2);
        }
    }

    #[test]
    fn large_books_meet_page_by_page() {
        let many =
            |seeds: std::ops::Range<u16>| book(seeds.map(|seed| claim(seed, 1, Some("dan"))));
        let (mut ours, mut theirs) = (many(0..900), many(300..1700));
        let questions = meet(&mut ours, &mut theirs);
        assert_eq!(ours.digest(), theirs.digest());
        assert_eq!(ours.len(), 1700);
        assert!(questions <= QUESTIONS_MAX);
        let (mut all, mut none) = (many(0..1200), many(0..0));
        meet(&mut none, &mut all);
        assert_eq!(none.digest(), all.digest());
    }

    #[test]
    fn an_answer_that_goes_nowhere_is_no_answer() {
        let question = Message {
            from: Some([5; 32]),
            to: Some([9; 32]),
            ..Message::default()
        };
        let answer = |to: u8| NamesAnswer {
            to: Some([to; 32]),
            ..NamesAnswer::default()
        };
        assert_eq!(
            end_of(&question, &answer(7)).expect("inside"),
            Some([7; 32])
        );
        assert!(end_of(&question, &answer(5)).is_err());
        assert!(end_of(&question, &answer(10)).is_err());
        let all = end_of(&question, &NamesAnswer::default());
        assert_eq!(all.expect("all of it"), Some([9; 32]));
    }
}
