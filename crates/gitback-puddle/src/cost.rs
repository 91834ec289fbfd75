//! How hard a passphrase is to guess.

use thiserror::Error;

/// The most memory that unwrapping takes, in KiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// The most passes over the memory.
const PASSES_MAX: u32 = 64;
/// The most lanes.
const LANES_MAX: u32 = 16;
/// The most memory written in all passes together, in KiB.
const WORK_KIB_MAX: u64 = 16 << 20;

/// Parameters of Argon2id.
///
/// Real keys use [`Cost::STANDARD`] or more. Less is for tests that wrap many
/// keys; a cost is stored with the key it protects, so that it can be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Argon2id cannot work with these parameters, or only at a price that no
/// honest file asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("argon2id with {memory_kib} KiB, {passes} passes and {lanes} lanes is out of bounds")]
pub struct CostReject {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// 64 MiB, 3 passes, one lane: the least for a real key.
    pub const STANDARD: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };

    /// Checks parameters, before anything is allocated for them.
    ///
    /// # Errors
    ///
    /// [`CostReject`] if `memory_kib` is under 8 for each lane or over 1 GiB,
    /// `passes` is not 1 to 64, `lanes` is not 1 to 16, or memory times passes
    /// is over 16 GiB.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CostReject> {
        let work_kib = u64::from(memory_kib) * u64::from(passes);
        let sane = (1..=LANES_MAX).contains(&lanes)
            && (1..=PASSES_MAX).contains(&passes)
            && (8 * lanes..=MEMORY_KIB_MAX).contains(&memory_kib)
            && work_kib <= WORK_KIB_MAX;
        if !sane {
            return Err(CostReject {
                memory_kib,
                passes,
                lanes,
            });
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// The greater of each: within the bounds, as both are and `least` is of a key that could be made.
    pub(crate) fn at_least(self, least: Self) -> Self {
        let greater = Self::new(
            self.memory_kib.max(least.memory_kib),
            self.passes.max(least.passes),
            self.lanes.max(least.lanes),
        );
        greater.unwrap_or(self)
    }

    /// Memory in KiB.
    pub fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub fn lanes(&self) -> u32 {
        self.lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_keeps_that() {
        let cost = |memory, passes, lanes| Cost::new(memory, passes, lanes).expect("a cost");
        let check = |present: Cost, expected| {
            assert_eq!(present.at_least(Cost::STANDARD), expected, "{present:?}");
        };
        check(cost(64, 1, 1), Cost::STANDARD);
        check(cost(1 << 20, 1, 1), cost(1 << 20, 3, 1));
        check(cost(128, 64, 16), cost(64 * 1024, 64, 16));
        check(cost(1 << 18, 64, 4), cost(1 << 18, 64, 4));
    }

    #[test]
    fn accepts_the_standard_and_refuses_the_absurd() {
        let standard = Cost::STANDARD;
        assert_eq!(
            Cost::new(standard.memory_kib, standard.passes, standard.lanes),
            Ok(standard)
        );
        for (memory, passes, lanes) in [
            (0, 1, 1),
            (7, 1, 1),
            (64, 0, 1),
            (64, 1, 0),
            (64, 1, 9),
            (64, 65, 1),
            (u32::MAX, 1, 1),
            (64, u32::MAX, 1),
            (64, 1, u32::MAX),
            (MEMORY_KIB_MAX, 17, 1),
        ] {
            assert!(
                Cost::new(memory, passes, lanes).is_err(),
                "{memory} {passes} {lanes}"
            );
        }
    }
}
