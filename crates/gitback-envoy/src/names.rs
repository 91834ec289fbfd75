//! The claims to names that this envoy knows: who is called what, by the puddles' own word.
//!
//! A claim proves who wants a name, not that nobody else does. So nothing is decided here but which claim of one
//! puddle holds; whom a name means is decided by each user's own programs.
//!
//! Source: docs/spec/peer.md §5.11.

pub(crate) mod book;
mod exchange;
mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gitback_envelope::VerifiedClaim;
use gitback_identity::{EnvoyKey, PuddleKey};

use crate::clock;
use crate::daemon::chain;
use crate::fault::Fault;
use book::{Book, Source, Taken};

pub(crate) use exchange::{Refused, answer, exchange};

/// What is known, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Names {
    dir: PathBuf,
    book: RwLock<Arc<Book>>,
    /// Held by whoever changes it, from looking to having it on disk.
    changing: Mutex<()>,
    /// With which digests, ours and theirs, an exchange with a peer brought nothing in: it would bring nothing again.
    settled: Mutex<BTreeMap<EnvoyKey, [[u8; 32]; 2]>>,
}

impl Names {
    /// Reads what is on disk. A damaged file is set aside and said, and is no reason not to start: what it held comes
    /// in again from other envoys.
    pub(crate) fn open(state_dir: &Path) -> Self {
        let dir = file::dir(state_dir);
        let book = match file::read(&dir) {
            Ok(found) => {
                if let Some(damage) = &found.damage {
                    mend(&dir, &found.book, damage);
                }
                found.book
            }
            Err(error) => {
                tracing::error!(dir = %dir.display(), %error, "cannot read the claims to names; they come in again from other envoys");
                // What could not be read may be whole, and is not written over.
                mend(&dir, &Book::default(), &error.to_string());
                Book::default()
            }
        };
        Self {
            dir,
            book: RwLock::new(Arc::new(book)),
            changing: Mutex::default(),
            settled: Mutex::default(),
        }
    }

    /// What is known now.
    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes claims in, and says of each what became of it. What is new is durable when this returns.
    ///
    /// `kin` are the puddles that have a part in projects here; it is asked for only where there is little room left.
    pub(crate) fn take(
        &self,
        claims: impl IntoIterator<Item = VerifiedClaim>,
        by: Source,
        kin: impl FnOnce() -> BTreeSet<PuddleKey>,
    ) -> Result<Vec<Taken>, Fault> {
        // Before anything is held: it looks into projects.
        let kin = match by == Source::Peer && self.book().has_room_for_strangers() {
            true => None,
            false => Some(kin()),
        };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = Book::clone(&self.book());
        let now_ms = clock::now_ms();
        let claims = claims.into_iter();
        let mut take = |claim: VerifiedClaim| {
            let puddle = &claim.claim().puddle;
            let is_stranger = by == Source::Peer
                && book.of(puddle).is_none()
                && kin.as_ref().is_none_or(|kin| !kin.contains(puddle));
            match is_stranger && !book.has_room_for_strangers() {
                true => Taken::Full,
                false => book.take(claim, by, now_ms),
            }
        };
        let taken: Vec<Taken> = claims.map(&mut take).collect();
        if taken.contains(&Taken::Full) {
            tracing::warn!(
                "there are as many claims to names as there can be; others are not taken in"
            );
        }
        if taken.contains(&Taken::New) {
            file::write(&self.dir, &book).map_err(|source| Fault::File {
                doing: "write",
                path: self.dir.clone(),
                source,
            })?;
            *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
        }
        Ok(taken)
    }

    /// Whether an exchange with these digests brought nothing when it was made last.
    fn is_settled(&self, with: &EnvoyKey, digests: [[u8; 32]; 2]) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(with) == Some(&digests)
    }

    fn settle(&self, with: EnvoyKey, digests: [[u8; 32]; 2]) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.insert(with, digests);
    }
}

/// Keeps a damaged file under another name, and what of it holds under its own.
fn mend(dir: &Path, book: &Book, damage: &str) {
    let kept = book.len();
    match file::set_aside(dir, clock::now_ms()) {
        Ok(aside) => {
            tracing::error!(damage, kept, aside = %aside.display(), "the claims to names were damaged and are set aside; they come in again from other envoys");
        }
        Err(error) => {
            tracing::error!(damage, kept, %error, "the claims to names are damaged, and cannot be set aside");
            return;
        }
    }
    if let Err(error) = file::write(dir, book) {
        tracing::error!(error = %chain(&error), "cannot write the claims to names");
    }
}

#[cfg(test)]
mod tests {
    use super::book::tests::{claim, puddle};
    use super::*;

    fn opened(dir: &Path) -> (usize, [u8; 32]) {
        let book = Names::open(dir).book();
        (book.len(), book.digest())
    }

    #[test]
    fn what_was_taken_in_is_there_after_a_restart() {
        let state = tempfile::tempdir().expect("temporary folder");
        let names = Names::open(state.path());
        let claims = [claim(1, 1, Some("dan")), claim(1, 0, Some("alice"))];
        let taken = names
            .take(claims, Source::Peer, BTreeSet::new)
            .expect("the disk works");
        assert_eq!(taken, [Taken::New, Taken::Older]);
        assert_eq!(opened(state.path()), (1, names.book().digest()));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_what_holds_is_kept() {
        let state = tempfile::tempdir().expect("temporary folder");
        let names = Names::open(state.path());
        let claims = [claim(1, 1, Some("dan")), claim(2, 1, Some("alice"))];
        names
            .take(claims, Source::Peer, BTreeSet::new)
            .expect("the disk works");
        let path = names.dir.join("claims");
        let bytes = std::fs::read(&path).expect("the file");
        std::fs::write(&path, &bytes[..bytes.len() - 9]).expect("torn");
        let entries = || {
            let entries = std::fs::read_dir(&names.dir).expect("a folder");
            entries.count()
        };
        assert_eq!(opened(state.path()).0, 1);
        assert_eq!(entries(), 2, "the damaged file is kept");
        let again = Names::open(state.path());
        assert_eq!(entries(), 2, "it is set aside once");
        let kept = again.book();
        assert!(kept.of(&puddle(1)).is_some() != kept.of(&puddle(2)).is_some());
    }

    #[test]
    fn what_cannot_be_written_is_not_taken_in() {
        let state = tempfile::tempdir().expect("temporary folder");
        let names = Names::open(state.path());
        std::fs::write(state.path().join("swarm"), "in the way").expect("a file");
        let taken = names.take([claim(1, 1, Some("dan"))], Source::Peer, BTreeSet::new);
        assert!(matches!(taken, Err(Fault::File { .. })), "{taken:?}");
        assert_eq!(names.book().len(), 0);
    }

    #[test]
    fn who_floods_it_shuts_out_nobody_who_has_a_part_here() {
        let state = tempfile::tempdir().expect("temporary folder");
        let names = Names::open(state.path());
        let most = u16::try_from(book::STRANGERS_MAX).expect("small");
        let flood = (0..most + 5).map(|seed| claim(seed, 1, Some("dan")));
        let taken = names.take(flood, Source::Peer, BTreeSet::new);
        let taken = taken.expect("the disk works");
        let full = taken.iter().filter(|taken| **taken == Taken::Full);
        assert_eq!((names.book().len(), full.count()), (book::STRANGERS_MAX, 5));

        let (stranger, member) = (most + 10, most + 11);
        let late = [stranger, member].map(|seed| claim(seed, 1, Some("alice")));
        let kin = || BTreeSet::from([puddle(member)]);
        let taken = names.take(late, Source::Peer, kin).expect("the disk works");
        assert_eq!(taken, [Taken::Full, Taken::New]);
        let own = [claim(most + 12, 1, Some("carol"))];
        let taken = names.take(own, Source::User(1000), BTreeSet::new);
        assert_eq!(taken.expect("the disk works"), [Taken::New]);
        // Who is known can always replace the own claim.
        let again = [claim(0, 2, None)];
        let taken = names.take(again, Source::Peer, BTreeSet::new);
        assert_eq!(taken.expect("the disk works"), [Taken::New]);
    }
}
