//! Telling the fleet where this envoy can be reached: a signed record, made anew when that changes; and by which clock
//! those of others expire.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use gitback_gossip::{ADDRESSES_MAX, AddressRecord, Input};

use crate::clock;
use crate::daemon::{Envoy, chain};

/// How often the interfaces are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long a record holds, in milliseconds: an envoy that is away for longer has to be heard again.
const VALID_MS: u64 = 7 * 24 * 3_600_000;

/// After how long a record is made anew although nothing has changed, in milliseconds.
const RENEW_MS: u64 = 24 * 3_600_000;

/// Makes a record when there is something new to tell, until `stop` closes.
pub(crate) fn watch(envoy: &Arc<Envoy>, port: u16, stop: &Receiver<()>) {
    let mut told: Option<(Vec<String>, u64)> = None;
    loop {
        let (addresses, now) = (own_addresses(envoy, port), clock::now_ms());
        envoy.heal().tell(Input::WallClock { unix_ms: now });
        let is_news = told.as_ref().is_none_or(|(before, at)| {
            *before != addresses || now.saturating_sub(*at) > RENEW_MS || now < *at
        });
        if is_news && !(addresses.is_empty() && told.is_none()) {
            // Its number has to grow over restarts, and the clock does.
            let number = told.as_ref().map_or(now, |(_, at)| now.max(at + 1));
            let expires = now.saturating_add(VALID_MS);
            match AddressRecord::sign(envoy.key(), envoy.name(), &addresses, number, expires) {
                Ok(record) => envoy.heal().tell(Input::OwnRecord(record)),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot tell the fleet where this envoy is");
                }
            }
            told = Some((addresses, number));
        }
        let interval = LOOK_EVERY.min(envoy.config().contact_interval() * 10);
        if stop.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// What is configured; else where it listens; else, if that is everywhere, what the interfaces say.
fn own_addresses(envoy: &Envoy, port: u16) -> Vec<String> {
    let listen = envoy.config().listen();
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
