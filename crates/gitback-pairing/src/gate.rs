//! Whether a code may still be tried, and by whom.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::terms::{TRIES_IN_ALL_MAX, TRIES_MAX};

/// The state of one code. Decides, and does nothing.
///
/// Source: docs/spec/pairing.md §5.
#[derive(Debug)]
pub(crate) struct Gate {
    ends: Duration,
    /// How often each address was wrong. As long as [`TRIES_IN_ALL_MAX`] at the most.
    wrong: BTreeMap<IpAddr, u32>,
    is_spent: bool,
}

/// How a code is at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may be tried, and holds for so long.
    Open(Duration),
    /// Its time is up.
    Expired,
    /// It was wrong too often.
    Dead,
    /// The puddle was sent, or refused.
    Spent,
}

impl Gate {
    pub(crate) fn new(now: Duration, life: Duration) -> Self {
        Self {
            ends: now.saturating_add(life),
            wrong: BTreeMap::new(),
            is_spent: false,
        }
    }

    pub(crate) fn standing(&self, now: Duration) -> Standing {
        let left = self.ends.saturating_sub(now);
        if self.is_spent {
            return Standing::Spent;
        }
        if self.wrong.values().sum::<u32>() >= TRIES_IN_ALL_MAX {
            return Standing::Dead;
        }
        match left.is_zero() {
            true => Standing::Expired,
            false => Standing::Open(left),
        }
    }

    /// A proof from there was wrong. How many from there may still be.
    pub(crate) fn wrong(&mut self, from: IpAddr) -> u32 {
        *self.wrong.entry(from).or_default() += 1;
        TRIES_MAX.saturating_sub(self.wrong_from(from))
    }

    /// How many proofs from there were wrong.
    pub(crate) fn wrong_from(&self, from: IpAddr) -> u32 {
        self.wrong.get(&from).copied().unwrap_or_default()
    }

    /// Whether a proof from there is looked at.
    pub(crate) fn is_open_to(&self, from: IpAddr) -> bool {
        self.wrong_from(from) < TRIES_MAX
    }

    /// The code is of no use any more.
    pub(crate) fn spend(&mut self) {
        self.is_spent = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ends_with_its_time() {
        let gate = Gate::new(at(1000), at(300));
        assert_eq!(gate.standing(at(1000)), Standing::Open(at(300)));
        assert_eq!(gate.standing(at(1299)), Standing::Open(at(1)));
        assert_eq!(gate.standing(at(1300)), Standing::Expired);
        assert_eq!(gate.standing(at(9999)), Standing::Expired);
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn three_wrong_tries_shut_one_address_out_and_no_other() {
        let mut gate = Gate::new(at(0), at(300));
        let left = [(); 4].map(|()| gate.wrong(ip(1)));
        assert_eq!(left, [2, 1, 0, 0]);
        assert!(!gate.is_open_to(ip(1)));
        assert!(gate.is_open_to(ip(2)));
        assert_eq!(gate.standing(at(1)), Standing::Open(at(299)));
    }

    #[test]
    fn dies_of_sixty_four_wrong_tries() {
        let mut gate = Gate::new(at(0), at(300));
        for last in 0..63 {
            gate.wrong(ip(last));
        }
        assert_eq!(gate.standing(at(1)), Standing::Open(at(299)));
        gate.wrong(ip(0));
        assert_eq!(gate.standing(at(1)), Standing::Dead);
    }

    #[test]
    fn works_once() {
        let mut gate = Gate::new(at(0), at(300));
        gate.spend();
        assert_eq!(gate.standing(at(1)), Standing::Spent);
    }
}
