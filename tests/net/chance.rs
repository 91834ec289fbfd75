//! Choices that differ from run to run, and a number that says which were made.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Set to a number that a failed run has printed, to make the same choices again.
const SEED: &str = "GITBACK_NET_SEED";

/// A stream of choices. The order of what envoys do is the kernel's: the same choices need not fail twice.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    pub(crate) fn new() -> Self {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self { seed, state: seed }
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // SplitMix64, Steele and others 2014.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(mixed % end).expect("below a small number")
    }

    /// What to say when a run failed.
    pub(crate) fn again(&self) -> String {
        format!("the choices of this run: {SEED}={}", self.seed)
    }
}
