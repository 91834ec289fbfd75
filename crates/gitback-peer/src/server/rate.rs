//! How often each key may ask.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gitback_identity::EnvoyKey;

use crate::limits::RATES_MAX;

/// A token bucket for each key, kept as the time at which it is full again.
#[derive(Debug)]
pub(super) struct Rates {
    /// One token comes back in this time.
    every: Duration,
    /// All of them come back in this time.
    whole: Duration,
    full_at: HashMap<EnvoyKey, Instant>,
}

impl Rates {
    /// Allows `burst` requests at once and `rate` a second in the long run; both at least 1.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        let every = Duration::from_secs(1) / rate.max(1);
        Self {
            every,
            whole: every * burst.max(1),
            full_at: HashMap::new(),
        }
    }

    /// Takes one token of `key`; false: there is none.
    pub(super) fn take(&mut self, key: EnvoyKey, now: Instant) -> bool {
        if !self.full_at.contains_key(&key) {
            self.make_room(now);
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let then = (*full_at).max(now) + self.every;
        let allowed = then.duration_since(now) <= self.whole;
        if allowed {
            *full_at = then;
        }
        allowed
    }

    /// Forgets the keys whose buckets are full; when none is, the one that is soonest.
    fn make_room(&mut self, now: Instant) {
        if self.full_at.len() < RATES_MAX {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() < RATES_MAX {
            return;
        }
        let soonest = self.full_at.iter().min_by_key(|(_, full_at)| **full_at);
        if let Some(key) = soonest.map(|(key, _)| *key) {
            self.full_at.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    fn key(number: u32) -> EnvoyKey {
        let mut seed = [7; 32];
        let [a, b, c, d] = number.to_be_bytes();
        seed[..4].copy_from_slice(&[a, b, c, d]);
        EnvoyKey::new(SecretKey::from_seed(&seed).public())
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut rates, start) = (Rates::new(10, 3), Instant::now());
        let mut taken = |ms| {
            let now = start + Duration::from_millis(ms);
            std::iter::from_fn(|| rates.take(key(1), now).then_some(())).count()
        };
        assert_eq!(taken(0), 3);
        assert_eq!(taken(99), 0);
        assert_eq!(taken(100), 1);
        assert_eq!(taken(250), 1);
        assert_eq!(taken(300), 1);
        assert_eq!(taken(60_000), 3, "no more than a burst comes back");
    }

    #[test]
    fn one_key_does_not_use_up_the_tokens_of_another() {
        let (mut rates, now) = (Rates::new(10, 1), Instant::now());
        assert!(rates.take(key(1), now));
        assert!(!rates.take(key(1), now));
        assert!(rates.take(key(2), now));
    }

    #[test]
    fn remembers_a_bounded_number_of_keys() {
        let (mut rates, now) = (Rates::new(1, 2), Instant::now());
        let most = u32::try_from(RATES_MAX).expect("small");
        assert!(rates.take(key(0), now));
        assert!(rates.take(key(0), now));
        for number in 1..most + 10 {
            assert!(rates.take(key(number), now));
        }
        assert_eq!(rates.full_at.len(), RATES_MAX);
        assert!(!rates.take(key(0), now), "the busiest is not forgotten");
        let later = now + Duration::from_secs(10);
        assert!(rates.take(key(most + 10), later));
        assert_eq!(rates.full_at.len(), 1, "those that are quiet are");
    }
}
