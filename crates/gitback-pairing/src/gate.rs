//! Whether a code may still be tried.

use std::time::Duration;

use crate::terms::TRIES_MAX;

/// The state of one code. Decides, and does nothing.
///
/// Source: docs/spec/pairing.md §5.
#[derive(Debug)]
pub(crate) struct Gate {
    ends: Duration,
    tries_left: u32,
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
            tries_left: TRIES_MAX,
            is_spent: false,
        }
    }

    pub(crate) fn standing(&self, now: Duration) -> Standing {
        let left = self.ends.saturating_sub(now);
        match self {
            Self { is_spent: true, .. } => Standing::Spent,
            Self { tries_left: 0, .. } => Standing::Dead,
            _ if left.is_zero() => Standing::Expired,
            _ => Standing::Open(left),
        }
    }

    /// A proof was wrong. How many may still be.
    pub(crate) fn wrong(&mut self) -> u32 {
        self.tries_left = self.tries_left.saturating_sub(1);
        self.tries_left
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

    #[test]
    fn dies_of_three_wrong_tries() {
        let mut gate = Gate::new(at(0), at(300));
        assert_eq!([gate.wrong(), gate.wrong()], [2, 1]);
        assert_eq!(gate.standing(at(1)), Standing::Open(at(299)));
        assert_eq!(gate.wrong(), 0);
        assert_eq!(gate.standing(at(1)), Standing::Dead);
        assert_eq!(gate.wrong(), 0);
    }

    #[test]
    fn works_once() {
        let mut gate = Gate::new(at(0), at(300));
        gate.spend();
        assert_eq!(gate.standing(at(1)), Standing::Spent);
    }
}
