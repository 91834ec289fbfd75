//! What was heard of whom, so that it is not told over and over, and a flood costs little.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant};

use gitback_identity::EnvoyKey;
use mdns_sd::{ResolvedService, ScopedIp};

use super::KEY;

/// Addresses of one envoy that are told.
const ADDRESSES_MAX: usize = 8;
/// Envoys that are remembered to have been told.
const NEAR_MAX: usize = 256;
/// After how long the same is told again.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Sightings that are looked at, at once and then each second.
const SIGHTINGS_BURST: u32 = 256;
pub(super) const SIGHTINGS_RATE: u32 = 16;

/// The envoys that were seen lately.
#[derive(Debug)]
pub(super) struct Near {
    me: EnvoyKey,
    told: BTreeMap<EnvoyKey, (Instant, BTreeSet<SocketAddr>)>,
    left: u32,
    filled: Instant,
}

impl Near {
    pub(super) const fn new(me: EnvoyKey, now: Instant) -> Self {
        Self {
            me,
            told: BTreeMap::new(),
            left: SIGHTINGS_BURST,
            filled: now,
        }
    }

    /// Tells `on_sighting` what is new in this.
    pub(super) fn sight(
        &mut self,
        service: &ResolvedService,
        now: Instant,
        on_sighting: &mut impl FnMut(EnvoyKey, String),
    ) {
        if !self.may_look(now) {
            return;
        }
        let key = service.get_property_val_str(KEY);
        let Some(key) = key.and_then(|key| key.parse::<EnvoyKey>().ok()) else {
            return;
        };
        if key == self.me {
            return;
        }
        for address in self.news(key, addresses(service), now) {
            on_sighting(key, address.to_string());
        }
    }

    /// Those of `addresses` that were not told of `key` lately.
    fn news(&mut self, key: EnvoyKey, addresses: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        self.told
            .retain(|_, (at, _)| now.saturating_duration_since(*at) < TELL_AGAIN);
        if !self.told.contains_key(&key) && self.told.len() >= NEAR_MAX {
            return Vec::new();
        }
        let (_, told) = self
            .told
            .entry(key)
            .or_insert_with(|| (now, BTreeSet::new()));
        let room = ADDRESSES_MAX.saturating_sub(told.len());
        let news = addresses
            .into_iter()
            .filter(|address| !told.contains(address));
        let news: Vec<SocketAddr> = news.take(room).collect();
        told.extend(&news);
        news
    }

    fn may_look(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs();
        if seconds > 0 {
            let gained = u32::try_from(seconds)
                .unwrap_or(u32::MAX)
                .saturating_mul(SIGHTINGS_RATE);
            self.left = self.left.saturating_add(gained).min(SIGHTINGS_BURST);
            self.filled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// Where the service says it is, IPv4 first. An address that only holds on one link names the link by its number here.
fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let port = service.get_port();
    let mut addresses: Vec<SocketAddr> = service
        .get_addresses()
        .iter()
        .filter_map(|address| socket_address(address, port))
        .collect();
    addresses.sort_unstable();
    addresses
}

fn socket_address(address: &ScopedIp, port: u16) -> Option<SocketAddr> {
    let ip = address.to_ip_addr();
    if port == 0 || ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    match (ip, address) {
        (IpAddr::V4(ip), _) => Some(SocketAddrV4::new(ip, port).into()),
        (IpAddr::V6(ip), ScopedIp::V6(scoped)) if ip.is_unicast_link_local() => {
            Some(SocketAddrV6::new(ip, port, 0, scoped.scope_id().index).into())
        }
        (IpAddr::V6(ip), _) => Some(SocketAddrV6::new(ip, port, 0, 0).into()),
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;
    use mdns_sd::ServiceInfo;

    use super::super::SERVICE;
    use super::*;

    fn key(seed: u8) -> EnvoyKey {
        EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    fn service(property: &str, ip: &str, port: u16) -> ResolvedService {
        let properties = [(KEY, property)];
        ServiceInfo::new(SERVICE, "x", "x.local.", ip, port, &properties[..])
            .expect("a service")
            .as_resolved_service()
    }

    fn told(near: &mut Near, service: &ResolvedService, now: Instant) -> Vec<(EnvoyKey, String)> {
        let mut told = Vec::new();
        near.sight(service, now, &mut |key, address| told.push((key, address)));
        told
    }

    #[test]
    fn what_is_new_is_told_once_a_minute() {
        let now = Instant::now();
        let mut near = Near::new(key(1), now);
        let other = key(2);
        let seen = service(&other.to_string(), "10.0.0.2,fd00::2", 9418);
        let both = [
            (other, "10.0.0.2:9418".to_owned()),
            (other, "[fd00::2]:9418".to_owned()),
        ];
        assert_eq!(told(&mut near, &seen, now), both);
        assert_eq!(told(&mut near, &seen, now), []);
        let moved = service(&other.to_string(), "10.0.0.3", 9418);
        let there = [(other, "10.0.0.3:9418".to_owned())];
        assert_eq!(told(&mut near, &moved, now), there);
        assert_eq!(told(&mut near, &seen, now + TELL_AGAIN), both);
    }

    #[test]
    fn nobody_is_told_of_itself_or_of_what_is_no_envoy() {
        let now = Instant::now();
        let mut near = Near::new(key(1), now);
        let bad = [
            service(&key(1).to_string(), "10.0.0.2", 9418),
            service("", "10.0.0.2", 9418),
            service("zz", "10.0.0.2", 9418),
            service(&"0".repeat(64), "10.0.0.2", 9418),
            service(&key(2).to_string(), "10.0.0.2", 0),
            service(&key(2).to_string(), "0.0.0.0", 9418),
            service(&key(2).to_string(), "224.0.0.251", 9418),
        ];
        for bad in bad {
            assert_eq!(told(&mut near, &bad, now), [], "{bad:?}");
        }
    }

    #[test]
    fn a_flood_is_looked_at_slowly_and_remembered_briefly() {
        let now = Instant::now();
        let mut near = Near::new(key(1), now);
        let addresses: Vec<String> = (0..=255).map(|last| format!("10.0.0.{last}")).collect();
        let many = service(&key(2).to_string(), &addresses.join(","), 9418);
        assert_eq!(told(&mut near, &many, now).len(), ADDRESSES_MAX);
        assert_eq!(told(&mut near, &many, now), [], "nor the others later");
        for _ in 0..SIGHTINGS_BURST {
            let _ = told(&mut near, &many, now);
        }
        let other = service(&key(3).to_string(), "10.0.0.2", 9418);
        assert_eq!(told(&mut near, &other, now), []);
        let later = now + Duration::from_secs(1);
        assert_eq!(told(&mut near, &other, later).len(), 1);
    }
}
