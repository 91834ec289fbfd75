//! Finding a host on the local network.
//!
//! What is heard is a rumour: whoever answers has to prove the code. Nothing is said of the person, the machine or the code.
//!
//! Source: docs/spec/pairing.md §7; RFC 6762, RFC 6763.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant};

use gitback_identity::hex;
use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use thiserror::Error;

/// The kind of service that hosts are.
const SERVICE: &str = "_gitback-pair._tcp.local.";
/// Hosts that are remembered, and addresses of each.
const FOUND_MAX: usize = 16;
const ADDRESSES_MAX: usize = 8;
/// Events that are looked at.
const EVENTS_MAX: usize = 1024;
/// For how long more is heard after the first host was.
const SETTLE: Duration = Duration::from_secs(1);
const NAME_BYTES: usize = 8;
/// Addresses of this machine that are shown.
const OWN_MAX: usize = 2;

/// Says that a host is here, until it is dropped.
pub struct Announcement(ServiceDaemon);

/// A host that says that it is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it says it is, IPv4 first.
    pub addresses: Vec<SocketAddr>,
}

/// Why hosts that are near are not found, or this one is not.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NearbyError {
    /// There is no multicast here.
    #[error("cannot use multicast DNS")]
    Multicast(#[source] mdns_sd::Error),
    /// There is no name for this host.
    #[error("the operating system gave no random bytes")]
    NoRandomness(#[source] getrandom::Error),
}

/// Where to be heard.
#[derive(Debug, Clone, Copy)]
enum Network {
    Lan,
    /// This machine only, on another port than that of multicast DNS.
    #[cfg(test)]
    Loopback(u16),
}

/// Begins to say on every network of this machine that a host listens at `port`, under a name that means nothing.
///
/// # Errors
///
/// [`NearbyError`] if that cannot begin. The host can still be reached by its address.
pub fn announce(port: u16) -> Result<Announcement, NearbyError> {
    announce_on(Network::Lan, port)
}

/// Listens for hosts for at most `patience`, less when one was found.
///
/// # Errors
///
/// [`NearbyError`] if that cannot begin.
pub fn find(patience: Duration) -> Result<Vec<Found>, NearbyError> {
    find_on(Network::Lan, patience)
}

/// Where another machine reaches a host that listens at `address`: that address, or if it means all of them, the first few that
/// are not this machine's alone.
#[must_use]
pub fn own_addresses(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let ips = interfaces.iter().map(if_addrs::Interface::ip);
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let ips: BTreeSet<IpAddr> = ips.filter(reachable).collect();
    let ips = ips.into_iter().take(OWN_MAX);
    ips.map(|ip| SocketAddr::new(ip, address.port())).collect()
}

fn announce_on(network: Network, port: u16) -> Result<Announcement, NearbyError> {
    let mut name = [0; NAME_BYTES];
    getrandom::fill(&mut name).map_err(NearbyError::NoRandomness)?;
    let name = format!("pair-{}", hex::encode(&name));
    let host = format!("{name}.local.");
    // Ended when it is dropped, also when what follows fails.
    let announcement = Announcement(daemon(network).map_err(NearbyError::Multicast)?);
    let nothing: [(&str, &str); 0] = [];
    let service = ServiceInfo::new(SERVICE, &name, &host, "", port, &nothing[..]);
    service
        .and_then(|service| announcement.0.register(service.enable_addr_auto()))
        .map_err(NearbyError::Multicast)?;
    Ok(announcement)
}

fn find_on(network: Network, patience: Duration) -> Result<Vec<Found>, NearbyError> {
    let daemon = Announcement(daemon(network).map_err(NearbyError::Multicast)?);
    let events = daemon.0.browse(SERVICE).map_err(NearbyError::Multicast)?;
    let mut ends = Instant::now() + patience;
    let mut found: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
    for _ in 0..EVENTS_MAX {
        let left = ends.saturating_duration_since(Instant::now());
        let Ok(event) = events.recv_timeout(left) else {
            break;
        };
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        let name = service.get_fullname().to_owned();
        if !found.contains_key(&name) && found.len() >= FOUND_MAX {
            break;
        }
        let heard = addresses(&service);
        if heard.is_empty() {
            continue;
        }
        if found.is_empty() {
            ends = ends.min(Instant::now() + SETTLE);
        }
        let known = found.entry(name).or_default();
        let room = ADDRESSES_MAX.saturating_sub(known.len());
        known.extend(heard.into_iter().take(room));
    }
    let found = found.into_values().map(|addresses| Found {
        addresses: addresses.into_iter().collect(),
    });
    Ok(found.collect())
}

fn daemon(network: Network) -> mdns_sd::Result<ServiceDaemon> {
    match network {
        Network::Lan => {
            let daemon = ServiceDaemon::new()?;
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
            Ok(daemon)
        }
        #[cfg(test)]
        Network::Loopback(port) => {
            let daemon = ServiceDaemon::new_with_port(port)?;
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::LoopbackV4)?;
            Ok(daemon)
        }
    }
}

fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let port = service.get_port();
    let addresses = service.get_addresses().iter();
    addresses
        .filter_map(|address| socket_address(address, port))
        .collect()
}

/// An address that only holds on one link names the link by its number here.
fn socket_address(address: &ScopedIp, port: u16) -> Option<SocketAddr> {
    let ip = address.to_ip_addr();
    if port == 0 || ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    Some(match (ip, address) {
        (IpAddr::V4(ip), _) => SocketAddrV4::new(ip, port).into(),
        (IpAddr::V6(ip), ScopedIp::V6(scoped)) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, port, 0, scoped.scope_id().index).into()
        }
        (IpAddr::V6(ip), _) => SocketAddrV6::new(ip, port, 0, 0).into(),
    })
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Announcement(..)")
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // It says goodbye first. Fails only if it has ended.
        let _ = self.0.shutdown();
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// A port on which nobody speaks, if multicast reaches anybody on the loopback here.
    fn port_with_multicast() -> Option<u16> {
        let group = "224.0.0.251".parse().expect("an address");
        let here = "127.0.0.1".parse().expect("an address");
        let receiver = UdpSocket::bind("0.0.0.0:0").ok()?;
        receiver.join_multicast_v4(&group, &here).ok()?;
        receiver
            .set_read_timeout(Some(Duration::from_secs(2)))
            .ok()?;
        let port = receiver.local_addr().ok()?.port();
        let sender = UdpSocket::bind("127.0.0.1:0").ok()?;
        sender.send_to(b"?", (group, port)).ok()?;
        receiver.recv_from(&mut [0; 1]).ok().map(|_| port)
    }

    #[test]
    fn a_host_is_found_by_a_name_that_means_nothing() {
        let Some(port) = port_with_multicast() else {
            // A sandbox may have no multicast on its loopback.
            return;
        };
        let network = Network::Loopback(port);
        let announced = announce_on(network, 4001).expect("announced");
        let found = find_on(network, Duration::from_secs(60)).expect("heard");
        let expected = "127.0.0.1:4001".parse().expect("an address");
        assert_eq!(
            found,
            [Found {
                addresses: vec![expected]
            }]
        );
        drop(announced);
    }
}
