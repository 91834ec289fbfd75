//! Telling the fleet where this envoy can be reached: a signed record, made anew when that changes; and by which clock
//! those of others expire.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use gitback_gossip::{ADDRESSES_MAX, AHEAD_MAX_MS, AddressRecord, Input, VALID_MS};

use crate::clock;
use crate::daemon::{Envoy, chain};

/// How often the interfaces are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// After how long a record is made anew although nothing has changed, in milliseconds.
const RENEW_MS: u64 = 24 * 3_600_000;

/// What the fleet was told last.
struct Told {
    addresses: Vec<String>,
    /// What the clock showed then, in milliseconds since 1970.
    signed_ms: u64,
    number: u64,
}

impl Told {
    /// Whether this is to be told anew: it has changed, or is old, or the clock was set back behind it.
    fn is_outdated(&self, addresses: &[String], now_ms: u64) -> bool {
        self.addresses != addresses
            || now_ms < self.signed_ms
            || now_ms.saturating_sub(self.signed_ms) > RENEW_MS
    }

    /// The number of the next record. It has to grow, over restarts as well, and the clock does; but a number that
    /// was taken from a clock that was far ahead counts for nobody, and would be far behind after a restart.
    fn next_number(&self, now_ms: u64) -> u64 {
        if self.number > now_ms.saturating_add(AHEAD_MAX_MS) {
            now_ms
        } else {
            now_ms.max(self.number.saturating_add(1))
        }
    }
}

/// Makes a record when there is something new to tell, until `stop` closes.
pub(crate) fn watch(envoy: &Arc<Envoy>, stop: &Receiver<()>) {
    let mut told: Option<Told> = None;
    loop {
        let (addresses, now_ms) = (own_addresses(envoy), clock::now_ms());
        envoy.heal().tell(Input::WallClock { unix_ms: now_ms });
        let is_news = told.as_ref().map_or(!addresses.is_empty(), |told| {
            told.is_outdated(&addresses, now_ms)
        });
        if is_news {
            let number = told
                .as_ref()
                .map_or(now_ms, |told| told.next_number(now_ms));
            let expires_ms = now_ms.saturating_add(VALID_MS);
            match AddressRecord::sign(envoy.key(), envoy.name(), &addresses, number, expires_ms) {
                Ok(record) => envoy.heal().tell(Input::OwnRecord(record)),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot tell the fleet where this envoy is");
                }
            }
            told = Some(Told {
                addresses,
                signed_ms: now_ms,
                number,
            });
        }
        envoy.fleet().tend(envoy);
        let interval = LOOK_EVERY.min(envoy.config().contact_interval() * 10);
        if stop.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// What is configured; else where it listens; else, if that is everywhere, what the interfaces say.
pub(crate) fn own_addresses(envoy: &Envoy) -> Vec<String> {
    let (listen, port) = (envoy.config().listen(), envoy.port());
    if let Some(advertised) = envoy.config().advertise() {
        return advertised.to_vec();
    }
    if !listen.ip().is_unspecified() {
        return vec![format!("{}:{port}", bracketed(listen.ip()))];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let outside = interfaces
        .iter()
        .filter(|one| !one.is_loopback() && !one.is_link_local());
    let mut addresses: Vec<String> = outside
        .map(|one| one.ip())
        .filter(|ip| ip.is_ipv4() || listen.is_ipv6())
        .map(|ip| format!("{}:{port}", bracketed(ip)))
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

fn bracketed(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND_MS: u64 = 1_790_000_000_000;

    fn told(signed_ms: u64, number: u64) -> Told {
        Told {
            addresses: vec!["mars:4433".to_owned()],
            signed_ms,
            number,
        }
    }

    #[test]
    fn is_told_anew_when_it_changed_or_is_old_or_the_clock_was_set_back() {
        let told = told(SOUND_MS, SOUND_MS);
        let same = told.addresses.clone();
        assert!(!told.is_outdated(&same, SOUND_MS));
        assert!(!told.is_outdated(&same, SOUND_MS + RENEW_MS));
        assert!(told.is_outdated(&same, SOUND_MS + RENEW_MS + 1));
        assert!(told.is_outdated(&[], SOUND_MS));
        assert!(told.is_outdated(&same, SOUND_MS - 1));
    }

    #[test]
    fn after_the_clock_was_set_back_it_is_told_once() {
        for ahead_ms in [3_600_000, 4 * 365 * RENEW_MS] {
            let before = told(SOUND_MS + ahead_ms, SOUND_MS + ahead_ms);
            let same = before.addresses.clone();
            assert!(before.is_outdated(&same, SOUND_MS));
            let after = told(SOUND_MS, before.next_number(SOUND_MS));
            assert!(!after.is_outdated(&same, SOUND_MS + 30_000), "{ahead_ms}");
        }
    }

    #[test]
    fn numbers_grow_unless_the_last_is_of_a_clock_that_was_wrong() {
        let next = |number| told(SOUND_MS, number).next_number(SOUND_MS);
        assert_eq!(next(SOUND_MS - 5), SOUND_MS);
        assert_eq!(next(SOUND_MS), SOUND_MS + 1);
        assert_eq!(next(SOUND_MS + AHEAD_MAX_MS), SOUND_MS + AHEAD_MAX_MS + 1);
        assert_eq!(next(SOUND_MS + AHEAD_MAX_MS + 1), SOUND_MS);
        assert_eq!(next(u64::MAX), SOUND_MS);
    }
}
