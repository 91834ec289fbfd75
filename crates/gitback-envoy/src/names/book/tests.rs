use gitback_envelope::NameClaim;
use gitback_identity::SecretKey;

use super::*;

pub(crate) fn key(seed: u16) -> SecretKey {
    let mut bytes = [1; 32];
    bytes[..2].copy_from_slice(&seed.to_be_bytes());
    SecretKey::from_seed(&bytes)
}

pub(crate) fn puddle(seed: u16) -> PuddleKey {
    PuddleKey::new(key(seed).public())
}

/// A claim of the puddle `seed`; without a name, a release.
pub(crate) fn claim(seed: u16, counter: u64, name: Option<&str>) -> VerifiedClaim {
    timed(seed, counter, name, None)
}

fn timed(seed: u16, counter: u64, name: Option<&str>, time_ms: Option<u64>) -> VerifiedClaim {
    let claim = NameClaim {
        puddle: puddle(seed),
        counter,
        time_ms,
        name: name.map(|name| name.parse().expect("a name")),
    };
    let signature = key(seed).sign(&claim.signing_bytes());
    claim.seal(&signature).expect("its own signature")
}

fn name(text: &str) -> PuddleName {
    text.parse().expect("a name")
}

fn claimants(book: &Book, text: &str) -> Vec<PuddleKey> {
    let (known, _) = book.claimants(&name(text));
    known
        .iter()
        .map(|known| known.claim().claim().puddle)
        .collect()
}

fn bytes(book: &Book) -> Vec<Vec<u8>> {
    book.from(None)
        .map(|known| known.claim().bytes().to_vec())
        .collect()
}

#[test]
fn the_highest_counter_of_a_puddle_holds() {
    let mut book = Book::default();
    let mut take = |claim, now_ms| book.take(claim, Source::Peer, now_ms);
    assert_eq!(take(claim(1, 5, Some("dan")), 10), Taken::New);
    assert_eq!(take(claim(1, 5, Some("dan")), 11), Taken::Same);
    assert_eq!(take(claim(1, 4, Some("alice")), 12), Taken::Older);
    assert_eq!(take(claim(1, 6, Some("dan")), 13), Taken::New);
    let since = book.of(&puddle(1)).expect("known").since_ms;
    assert_eq!(since, 10, "the name is the same");
    assert_eq!(claimants(&book, "dan"), [puddle(1)]);

    let mut take = |claim, now_ms| book.take(claim, Source::Peer, now_ms);
    assert_eq!(take(claim(1, 7, Some("danny")), 14), Taken::New);
    assert_eq!(take(claim(2, 1, Some("danny")), 15), Taken::New);
    assert_eq!(claimants(&book, "dan"), []);
    assert_eq!(claimants(&book, "danny"), [puddle(1), puddle(2)]);
    assert_eq!(book.near(&name("dany")), Some(&name("danny")));
    assert_eq!(book.near(&name("danny")), None, "it is claimed itself");
}

#[test]
fn a_release_ends_a_claim_and_stays_known() {
    let mut book = Book::default();
    book.take(claim(1, 5, Some("dan")), Source::Peer, 1);
    assert_eq!(book.take(claim(1, 6, None), Source::Peer, 2), Taken::New);
    assert_eq!(claimants(&book, "dan"), []);
    assert_eq!(book.names().count(), 0);
    // The old claim cannot be played back.
    let again = book.take(claim(1, 5, Some("dan")), Source::Peer, 3);
    assert_eq!((again, claimants(&book, "dan").len()), (Taken::Older, 0));
    assert_eq!(book.len(), 1);
}

#[test]
fn what_is_known_never_makes_room() {
    let mut book = Book::default();
    let seeds = || 0..u16::try_from(PUDDLES_MAX).expect("few");
    for seed in seeds() {
        let taken = book.take(claim(seed, 1, Some("dan")), Source::Peer, seed.into());
        assert_eq!(taken, Taken::New);
    }
    let one_more = u16::try_from(PUDDLES_MAX).expect("few");
    let digest = book.digest();
    let taken = book.take(claim(one_more, 1, Some("eve")), Source::Peer, 0);
    assert_eq!((taken, book.len()), (Taken::Full, PUDDLES_MAX));
    assert_eq!(book.digest(), digest);
    // Those who are there change their claims as they like, and are shown longest known first.
    assert_eq!(book.take(claim(7, 2, None), Source::Peer, 0), Taken::New);
    let (shown, all) = book.claimants(&name("dan"));
    assert_eq!((shown.len(), all), (SHOWN_MAX, PUDDLES_MAX - 1));
    assert_eq!(shown[0].claim().claim().puddle, puddle(0));
    assert_eq!(shown[7].claim().claim().puddle, puddle(8));
}

#[test]
fn one_user_brings_so_many_puddles_and_no_more() {
    let mut book = Book::default();
    let of_user = u16::try_from(PUDDLES_OF_USER_MAX).expect("few");
    for seed in 0..of_user {
        let taken = book.take(claim(seed, 1, Some("dan")), Source::User(1000), 0);
        assert_eq!(taken, Taken::New);
    }
    let mut take = |seed, counter, by| book.take(claim(seed, counter, Some("dan")), by, 0);
    assert_eq!(take(of_user, 1, Source::User(1000)), Taken::UserFull);
    assert_eq!(take(0, 2, Source::User(1000)), Taken::New);
    assert_eq!(take(of_user, 1, Source::User(1001)), Taken::New);
    assert_eq!(take(of_user + 1, 1, Source::Peer), Taken::New);
}

/// Small numbers from a seed; enough to shuffle with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// Claims of few puddles with few counters, so that they meet.
    fn claims(&mut self, count: u64) -> Vec<VerifiedClaim> {
        let mut one = |_| {
            let names = [None, Some("dan"), Some("alice"), Some("dan-2")];
            let named = names[usize::try_from(self.below(4)).expect("small")];
            let seed = u16::try_from(self.below(6)).expect("small");
            timed(seed, self.below(3), named, Some(self.below(2)))
        };
        (0..count).map(&mut one).collect()
    }
}

fn book_of(claims: &[VerifiedClaim]) -> Book {
    let mut book = Book::default();
    for claim in claims {
        book.take(claim.clone(), Source::Peer, 0);
    }
    book
}

/// What comes of an exchange: everything of both.
fn merged(one: &Book, other: &Book) -> Book {
    let mut merged = one.clone();
    for known in other.from(None) {
        merged.take(known.claim().clone(), Source::Peer, 0);
    }
    merged
}

#[test]
fn merging_is_commutative_associative_and_idempotent() {
    for seed in 1..=60 {
        let mut dice = Dice(seed);
        let mut book = || {
            let count = dice.below(14);
            book_of(&dice.claims(count))
        };
        let (a, b, c) = (book(), book(), book());
        let same = |one: &Book, other: &Book, what: &str| {
            assert_eq!(bytes(one), bytes(other), "{what}, seed {seed}");
            assert_eq!(one.digest(), other.digest(), "{what}, seed {seed}");
            assert_eq!(one.names, other.names, "{what}, seed {seed}");
        };
        same(&merged(&a, &b), &merged(&b, &a), "either way round");
        same(
            &merged(&merged(&a, &b), &c),
            &merged(&a, &merged(&b, &c)),
            "in any grouping",
        );
        same(&merged(&a, &a), &a, "with itself");
        same(&merged(&merged(&a, &b), &b), &merged(&a, &b), "again");
    }
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    for seed in 1..=40 {
        let mut dice = Dice(seed * 7919);
        let mut claims = dice.claims(16);
        let first = book_of(&claims);
        for end in (1..claims.len()).rev() {
            let with = usize::try_from(dice.below(end as u64 + 1)).expect("small");
            claims.swap(end, with);
        }
        let second = book_of(&claims);
        assert_eq!(bytes(&first), bytes(&second), "seed {seed}");
        assert_eq!(first.names, second.names, "seed {seed}");
    }
}

#[test]
fn different_books_have_different_digests_and_know_what_they_lack() {
    let one = book_of(&[claim(1, 1, Some("dan"))]);
    let two = book_of(&[claim(1, 2, Some("dan"))]);
    let short = |book: &Book| book.from(None).next().expect("one").in_short();
    assert_ne!(one.digest(), two.digest());
    assert_ne!(one.digest(), Book::default().digest());
    assert!(one.lacks(&short(&two)) && !two.lacks(&short(&one)) && !one.lacks(&short(&one)));
    let weak = HeldClaim {
        puddle: [0; 32],
        ..short(&two)
    };
    assert!(!one.lacks(&weak), "nobody can have that key");
}
