//! Where many say things at once: who said what, who has seen what, and a die to decide by.
//!
//! Unlike an [`Author`](super::world::Author) a voice folds nothing; it may say whatever it likes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use gitback_envelope::{Act, DEPS_MAX, EnvelopeId, Incarnation, Statement, Verified};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};

use super::world::{accepted, init, project_id};

/// A small generator of numbers, the same everywhere for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Die(u64);

impl Die {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64, Steele, Lea and Flood 2014.
    pub(crate) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `count`; 0 if there are none.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).expect("a small number");
        usize::try_from(self.number() % count).expect("a small number")
    }

    /// Whether something happens that happens in `percent` of cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len());
        from.get(at)
    }

    /// A few of `from`, in order.
    pub(crate) fn some<T: Copy>(&mut self, from: &[T], most: usize) -> Vec<T> {
        let wanted = self.below(most + 1).min(from.len());
        let mut left = from.len();
        let mut taken = 0;
        let mut some = Vec::new();
        for item in from {
            if self.below(left) < wanted - taken {
                some.push(*item);
                taken += 1;
            }
            left -= 1;
            if taken == wanted {
                break;
            }
        }
        some
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

struct Keys {
    secret: SecretKey,
    puddle: PuddleKey,
}

/// The key pair of a seed, made once.
fn keys(seed: u8) -> &'static Keys {
    static KEYS: OnceLock<Vec<Keys>> = OnceLock::new();
    let all = KEYS.get_or_init(|| {
        let make = |seed| {
            let secret = SecretKey::from_seed(&[seed; 32]);
            let puddle = PuddleKey::new(secret.public());
            Keys { secret, puddle }
        };
        (0..=u8::MAX).map(make).collect()
    });
    all.get(usize::from(seed)).expect("one for each seed")
}

pub(crate) fn puddle(seed: u8) -> PuddleKey {
    keys(seed).puddle
}

pub(crate) fn envoy(seed: u8) -> EnvoyKey {
    EnvoyKey::new(*keys(seed).puddle.key())
}

/// Some of the things that were said, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Vec<u64>);

impl Seen {
    pub(crate) fn has(&self, number: usize) -> bool {
        let word = self.0.get(number / 64);
        word.is_some_and(|word| (word >> (number % 64)) & 1 == 1)
    }

    pub(crate) fn add(&mut self, number: usize) {
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            let set = (0..64).filter(move |bit| (word >> bit) & 1 == 1);
            set.map(move |bit| at * 64 + bit)
        })
    }
}

/// Somebody who signs one chain, and what has come to its ears: always with its whole past.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    /// Whose secret key signs.
    pub(crate) seed: u8,
    pub(crate) puddle: PuddleKey,
    pub(crate) envoy: EnvoyKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) seen: Seen,
    /// What it has said itself, by number.
    pub(crate) chain: Vec<usize>,
}

impl Voice {
    /// The session of a person.
    pub(crate) fn person(seed: u8, incarnation: u8) -> Self {
        Self {
            seed,
            puddle: puddle(seed),
            envoy: envoy(99),
            incarnation: Incarnation::from_bytes(&[incarnation; 16]),
            seen: Seen::default(),
            chain: Vec::new(),
        }
    }

    /// An envoy that signs for somebody.
    pub(crate) fn envoy(seed: u8, of: u8) -> Self {
        Self {
            puddle: puddle(of),
            envoy: envoy(seed),
            ..Self::person(seed, seed)
        }
    }

    pub(crate) fn by_puddle(&self) -> bool {
        puddle(self.seed) == self.puddle
    }
}

/// Everything that was ever said.
#[derive(Clone)]
pub(crate) struct Stage {
    said: Vec<Verified>,
    /// What each names as its past.
    parents: Vec<Vec<usize>>,
    /// The past of each, itself included.
    past: Vec<Seen>,
    /// Of a kind that nobody knows, or after such.
    beyond: Seen,
    numbers: BTreeMap<EnvelopeId, usize>,
}

impl Stage {
    /// Founded, and nothing else said.
    pub(crate) fn new() -> Self {
        static INIT: OnceLock<Verified> = OnceLock::new();
        let init = INIT.get_or_init(init).clone();
        let mut stage = Self {
            said: Vec::new(),
            parents: Vec::new(),
            past: Vec::new(),
            beyond: Seen::default(),
            numbers: BTreeMap::new(),
        };
        stage.put(init);
        stage
    }

    pub(crate) const fn len(&self) -> usize {
        self.said.len()
    }

    pub(crate) fn all(&self) -> &[Verified] {
        &self.said
    }

    pub(crate) fn into_all(self) -> Vec<Verified> {
        self.said
    }

    pub(crate) fn get(&self, number: usize) -> &Verified {
        self.said.get(number).expect("it was said")
    }

    pub(crate) fn id(&self, number: usize) -> EnvelopeId {
        *self.get(number).id()
    }

    pub(crate) fn act(&self, number: usize) -> &Act {
        &self.get(number).statement().act
    }

    pub(crate) fn past(&self, number: usize) -> &Seen {
        self.past.get(number).expect("it was said")
    }

    pub(crate) fn ids(&self, numbers: &[usize]) -> Vec<EnvelopeId> {
        let mut ids: Vec<_> = numbers.iter().map(|number| self.id(*number)).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// What nothing else of `seen` follows.
    pub(crate) fn heads(&self, seen: &Seen) -> Vec<usize> {
        let mut covered = Seen::default();
        for number in seen.numbers() {
            for parent in self.parents(number) {
                covered.add(parent);
            }
        }
        let heads = seen.numbers().filter(|number| !covered.has(*number));
        heads.collect()
    }

    /// The heads of what is neither of an unknown kind nor after such.
    pub(crate) fn known_heads(&self, seen: &Seen) -> Vec<usize> {
        let mut known = Seen::default();
        for number in seen.numbers().filter(|number| !self.beyond.has(*number)) {
            known.add(number);
        }
        self.heads(&known)
    }

    fn parents(&self, number: usize) -> impl Iterator<Item = usize> {
        self.parents.get(number).into_iter().flatten().copied()
    }

    /// Lets a voice hear one thing, and all that it follows.
    pub(crate) fn tell(&self, voice: &mut Voice, number: usize) {
        voice.seen.add_all(self.past(number));
    }

    /// The next statement of a voice, after everything that it has seen.
    pub(crate) fn draft(&self, voice: &Voice, act: Act) -> Statement {
        let prev = voice.chain.last().copied();
        let heads = self.heads(&voice.seen);
        self.draft_after(voice, prev, &heads, act)
    }

    /// A statement of a voice after `prev`, which need not be its last, and after `deps`.
    pub(crate) fn draft_after(
        &self,
        voice: &Voice,
        prev: Option<usize>,
        deps: &[usize],
        act: Act,
    ) -> Statement {
        let before = |number: &usize| prev.is_some_and(|prev| self.past(prev).has(*number));
        let deps = deps.iter().copied().filter(|number| !before(number));
        let mut deps = self.ids(&deps.collect::<Vec<_>>());
        deps.truncate(DEPS_MAX);
        if prev.is_none() && deps.is_empty() {
            deps.push(self.id(0));
        }
        Statement {
            project: project_id(),
            signer: *puddle(voice.seed).key(),
            puddle: voice.puddle,
            envoy: Some(voice.envoy),
            incarnation: voice.incarnation,
            seq: prev.map_or(0, |prev| self.get(prev).statement().seq + 1),
            prev: prev.map(|prev| self.id(prev)),
            deps,
            time_ms: None,
            act,
        }
    }

    /// Signs a statement, for an heir too if it is a delegation; `None` if the very same was said before.
    pub(crate) fn seal(&mut self, voice: &mut Voice, statement: Statement) -> Option<usize> {
        let statement = match &statement.act {
            Act::Delegate(delegate) => {
                let heir = (0..=u8::MAX).find(|seed| puddle(*seed) == delegate.to);
                accepted(statement, &keys(heir.expect("an heir of ours")).secret)
            }
            _ => statement,
        };
        let signed = statement.signing_bytes().expect("within the rules");
        let signature = keys(voice.seed).secret.sign(&signed);
        let verified = statement.seal(signature).expect("its own signature");
        self.hear(voice, verified)
    }

    /// Takes in what was made elsewhere, as said by `voice`.
    pub(crate) fn hear(&mut self, voice: &mut Voice, verified: Verified) -> Option<usize> {
        let id = *verified.id();
        if self.numbers.contains_key(&id) {
            return None;
        }
        let number = self.put(verified);
        voice.chain.push(number);
        self.tell(voice, number);
        Some(number)
    }

    /// Says something after everything that the voice has seen.
    pub(crate) fn say(&mut self, voice: &mut Voice, act: Act) -> Option<usize> {
        let statement = self.draft(voice, act);
        self.seal(voice, statement)
    }

    fn put(&mut self, verified: Verified) -> usize {
        let number = self.said.len();
        self.numbers.insert(*verified.id(), number);
        let statement = verified.statement();
        let named = statement.prev.iter().chain(&statement.deps);
        let parents = named.filter_map(|id| self.numbers.get(id).copied());
        self.parents.push(parents.collect());
        self.said.push(verified);
        let mut past = Seen::default();
        let mut beyond = matches!(self.act(number), Act::Unknown { .. });
        for parent in self.parents(number) {
            past.add_all(self.past(parent));
            beyond |= self.beyond.has(parent);
        }
        past.add(number);
        if beyond {
            self.beyond.add(number);
        }
        self.past.push(past);
        number
    }
}
