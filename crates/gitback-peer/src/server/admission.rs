//! How many requests are in progress, in total and for each key, and how often each key asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gitback_identity::EnvoyKey;

use super::rate::Rates;
use crate::limits::Limits;
use crate::refusal::Refusal;

/// Counts requests from their head to the last byte of their answer.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    total_max: usize,
    key_max: usize,
    counts: Mutex<Counts>,
    rates: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    strangers: usize,
    keys: HashMap<EnvoyKey, usize>,
}

/// What is known of a connection when a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A request was granted on it before.
    Welcome,
    /// None was, so far.
    Stranger,
}

/// One request in progress, over when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    key: EnvoyKey,
    standing: Standing,
    shared: Arc<Shared>,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                total_max: limits.requests,
                key_max: limits.key_requests,
                counts: Mutex::default(),
                rates: Mutex::new(Rates::new(limits.key_rate, limits.key_burst)),
            }),
        }
    }

    /// Admits a request of `key` on a connection that was `welcome` before, or is a stranger's;
    /// strangers share one half, so that they cannot shut out peers.
    pub(super) fn enter(
        &self,
        key: EnvoyKey,
        standing: Standing,
        now: Instant,
    ) -> Result<Ticket, Refusal> {
        // Nothing panics while the lock is held.
        let rates = self.shared.rates.lock();
        if !rates.unwrap_or_else(PoisonError::into_inner).take(key, now) {
            return Err(Refusal::busy(
                "too-fast",
                "too many requests of this envoy in a short time",
            ));
        }
        let mut counts = self.shared.lock();
        let room = match standing {
            Standing::Welcome => counts.total < self.shared.total_max,
            Standing::Stranger => {
                counts.total < self.shared.total_max
                    && counts.strangers < self.shared.total_max.div_ceil(2)
            }
        };
        if !room {
            return Err(Refusal::busy("busy", "too many requests in progress"));
        }
        let held = counts.keys.entry(key).or_default();
        if *held >= self.shared.key_max {
            return Err(Refusal::busy(
                "too-many-requests",
                "too many requests of this envoy in progress",
            ));
        }
        *held += 1;
        counts.total += 1;
        if standing == Standing::Stranger {
            counts.strangers += 1;
        }
        Ok(Ticket {
            key,
            standing,
            shared: self.shared.clone(),
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.shared.lock();
        counts.total = counts.total.saturating_sub(1);
        if self.standing == Standing::Stranger {
            counts.strangers = counts.strangers.saturating_sub(1);
        }
        if let Some(held) = counts.keys.get_mut(&self.key) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                counts.keys.remove(&self.key);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while the lock is held.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    fn key(seed: u8) -> EnvoyKey {
        EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    fn bounded(requests: usize, key_requests: usize) -> Admission {
        Admission::new(&Limits {
            requests,
            key_requests,
            ..Limits::default()
        })
    }

    #[test]
    fn bounds_each_key_and_all_together() {
        let admission = bounded(3, 2);
        let now = Instant::now();
        let enter = |seed| admission.enter(key(seed), Standing::Welcome, now);
        let first = enter(1).expect("first of key 1");
        let _second = enter(1).expect("second of key 1");
        assert_eq!(enter(1).expect_err("third").code, "too-many-requests");
        let _third = enter(2).expect("first of key 2");
        assert_eq!(enter(3).expect_err("fourth").code, "busy");
        drop(first);
        let _fourth = enter(3).expect("room again");
    }

    #[test]
    fn strangers_leave_room_for_peers() {
        let (admission, now) = (bounded(2, 2), Instant::now());
        let enter = |seed, standing| admission.enter(key(seed), standing, now);
        let stranger = enter(1, Standing::Stranger).expect("one");
        let refusal = enter(2, Standing::Stranger);
        assert_eq!(refusal.expect_err("a second stranger").code, "busy");
        let _peer = enter(3, Standing::Welcome).expect("a peer");
        drop(stranger);
        enter(2, Standing::Stranger).expect("room again");
    }

    #[test]
    fn bounds_how_often_a_key_asks() {
        let limits = Limits {
            key_rate: 1,
            key_burst: 2,
            ..Limits::default()
        };
        let (admission, now) = (Admission::new(&limits), Instant::now());
        let enter = |seed| admission.enter(key(seed), Standing::Welcome, now);
        drop(enter(1).expect("one"));
        drop(enter(1).expect("another"));
        assert_eq!(enter(1).expect_err("a third").code, "too-fast");
        drop(enter(2).expect("of somebody else"));
    }
}
