//! Whom to compare with at a tick.

use gitback_identity::EnvoyKey;

use crate::dice::Dice;
use crate::millis::Millis;

/// Chooses among the peers that answer: all of a small fleet, a few of a large one.
///
/// Of a large fleet half of the few are those not compared with for longest, so that everybody gets a turn, and half are
/// drawn, so that what is new takes short ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    all: usize,
    width: usize,
}

impl Rounds {
    /// All, while there are at most `all`; else `width` at a time, at least one.
    #[must_use]
    pub const fn new(all: usize, width: usize) -> Self {
        Self { all, width }
    }

    /// Picks from `candidates`, each with the moment at which it was last compared with. Nobody is picked twice.
    pub(crate) fn pick(
        &self,
        mut candidates: Vec<(Option<Millis>, EnvoyKey)>,
        dice: &mut Dice,
    ) -> Vec<EnvoyKey> {
        let width = if candidates.len() <= self.all {
            candidates.len()
        } else {
            self.width.clamp(1, candidates.len())
        };
        let longest = if width == candidates.len() {
            0
        } else {
            width.div_ceil(2)
        };
        let mut picked = Vec::with_capacity(width);
        for _ in 0..longest {
            // Among those that waited equally long chance decides, or all of a new fleet would start with one peer.
            let first = candidates.iter().map(|(last, _)| *last).min();
            let equal = || {
                candidates
                    .iter()
                    .enumerate()
                    .filter(|(_, one)| Some(one.0) == first)
            };
            let drawn = dice.below(equal().count());
            let at = equal().nth(drawn).map_or(0, |(at, _)| at);
            picked.push(candidates.swap_remove(at).1);
        }
        while picked.len() < width {
            let at = dice.below(candidates.len());
            picked.push(candidates.swap_remove(at).1);
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gitback_identity::SecretKey;

    use super::*;

    fn fleet(size: u8) -> Vec<(Option<Millis>, EnvoyKey)> {
        let key = |seed| EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public());
        (0..size).map(|seed| (None, key(seed))).collect()
    }

    #[test]
    fn picks_all_of_a_small_fleet_once_each() {
        let (rounds, mut dice) = (Rounds::new(8, 2), Dice::new(&[1; 32]));
        for size in 0..=8 {
            let picked = rounds.pick(fleet(size), &mut dice);
            assert_eq!(picked.len(), usize::from(size));
            assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), picked.len());
        }
    }

    #[test]
    fn everybody_in_a_large_fleet_gets_a_turn() {
        let (rounds, mut dice) = (Rounds::new(8, 2), Dice::new(&[2; 32]));
        let mut fleet = fleet(40);
        for tick in 0..40 {
            let picked = rounds.pick(fleet.clone(), &mut dice);
            assert_eq!(picked.len(), 2);
            for (last, key) in &mut fleet {
                if picked.contains(key) {
                    *last = Some(Millis(tick));
                }
            }
        }
        assert!(fleet.iter().all(|(last, _)| last.is_some()));
    }
}
