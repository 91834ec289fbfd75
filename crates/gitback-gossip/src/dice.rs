//! Chance that can be replayed.

/// Numbers that look random and follow from a seed alone.
///
/// SplitMix64, written out so that a seed that found something finds it again after an update of any dependency. It
/// decides waits and the order of peers, never anything that must not be guessed.
///
/// Source: <https://doi.org/10.1145/2714064.2660195>, Steele, Lea and Flood, 2014.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let mut dice = Self { state: 0 };
        for word in seed.as_chunks::<8>().0 {
            dice.state ^= u64::from_le_bytes(*word);
            dice.state = dice.roll();
        }
        dice
    }

    pub(crate) const fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; nothing is below zero, so that gives zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.roll().checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_the_seed_counts() {
        let first = |seed: &[u8; 32]| Dice::new(seed).roll();
        let plain = first(&[0; 32]);
        for at in 0..32 {
            let mut seed = [0; 32];
            seed[at] = 1;
            assert_ne!(first(&seed), plain, "byte {at}");
        }
        assert_eq!(first(&[9; 32]), first(&[9; 32]));
    }

    #[test]
    fn stays_below() {
        let mut dice = Dice::new(&[1; 32]);
        assert!((0..1000).all(|_| dice.below(7) < 7));
        assert_eq!(dice.below(0), 0);
    }
}
