//! Finding a host on the local network.
//!
//! What is heard is a rumour: whoever answers has to prove the code. Nothing is said of the person, the machine or the code.
//!
//! Source: docs/spec/pairing.md §7; RFC 6762, RFC 6763.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use gitback_identity::hex;
use if_addrs::IfAddr;
use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use thiserror::Error;

/// The kind of service that hosts are.
const SERVICE: &str = "_gitback-pair._tcp.local.";
/// Hosts that are remembered, and addresses of each: that are heard, and that are worth a try.
const FOUND_MAX: usize = 16;
const HEARD_MAX: usize = 32;
const ADDRESSES_MAX: usize = 8;
/// Events that are looked at.
const EVENTS_MAX: usize = 1024;
/// For how long more is heard after the first host was.
const SETTLE: Duration = Duration::from_secs(1);
const NAME_BYTES: usize = 8;
/// Addresses of this machine that are shown.
const OWN_MAX: usize = 4;
/// Where the way out of this network leads to. Nothing is sent there.
const OUTSIDE: [&str; 2] = ["1.1.1.1:9", "[2606:4700:4700::1111]:9"];

/// Says that a host is here, until it is dropped.
pub struct Announcement(ServiceDaemon);

/// A host that says that it is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it says it is: first what is on a network of this machine, and IPv4 before IPv6.
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
/// are not this machine's alone. Those by which this machine gets out of its network come first, then all in the order of its
/// interfaces.
#[must_use]
pub fn own_addresses(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let own = interfaces.iter().map(if_addrs::Interface::ip);
    let outgoing = OUTSIDE.iter().filter_map(|outside| outgoing(outside));
    let ips = shown(outgoing, own, address.is_ipv6());
    let ips = ips.into_iter();
    ips.map(|ip| SocketAddr::new(ip, address.port())).collect()
}

/// The address from which `outside` would be reached: the system looks its routes up, and sends nothing.
fn outgoing(outside: &str) -> Option<IpAddr> {
    let outside: SocketAddr = outside.parse().ok()?;
    let any: IpAddr = match outside {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(outside).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn shown(
    outgoing: impl Iterator<Item = IpAddr>,
    own: impl Iterator<Item = IpAddr>,
    listens_on_v6: bool,
) -> Vec<IpAddr> {
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => listens_on_v6 && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut shown = Vec::with_capacity(OWN_MAX);
    for ip in outgoing.chain(own).filter(reachable) {
        if !shown.contains(&ip) && shown.len() < OWN_MAX {
            shown.push(ip);
        }
    }
    shown
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
        let heard = addresses(network, &service);
        if heard.is_empty() {
            continue;
        }
        if found.is_empty() {
            ends = ends.min(Instant::now() + SETTLE);
        }
        let known = found.entry(name).or_default();
        let room = HEARD_MAX.saturating_sub(known.len());
        known.extend(heard.into_iter().take(room));
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let is_near = |ip: IpAddr| interfaces.iter().any(|own| is_neighbour(own, ip));
    let found = found.into_values().map(|addresses| Found {
        addresses: near_first(addresses, is_near),
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

/// What is near first, and else in the order of addresses: the same each time.
fn near_first(
    addresses: BTreeSet<SocketAddr>,
    is_near: impl Fn(IpAddr) -> bool,
) -> Vec<SocketAddr> {
    let (near, far): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| is_near(address.ip()));
    near.into_iter().chain(far).take(ADDRESSES_MAX).collect()
}

/// Whether an address is on the network of an interface of this machine.
fn is_neighbour(own: &if_addrs::Interface, other: IpAddr) -> bool {
    match (&own.addr, other) {
        (IfAddr::V4(own), IpAddr::V4(other)) => {
            (own.ip.to_bits() ^ other.to_bits()) & own.netmask.to_bits() == 0
        }
        (IfAddr::V6(own), IpAddr::V6(other)) => {
            (own.ip.to_bits() ^ other.to_bits()) & own.netmask.to_bits() == 0
        }
        (IfAddr::V4(_), IpAddr::V6(_)) | (IfAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn addresses(network: Network, service: &ResolvedService) -> BTreeSet<SocketAddr> {
    let port = service.get_port();
    let addresses = service.get_addresses().iter();
    addresses
        .filter_map(|address| socket_address(address, port))
        .filter(|address| network.may_hold(address.ip()))
        .collect()
}

impl Network {
    /// Whether a host that was heard here may be there. Nobody on the network is at an address of this machine alone.
    fn may_hold(self, ip: IpAddr) -> bool {
        match self {
            Self::Lan => !ip.to_canonical().is_loopback(),
            #[cfg(test)]
            Self::Loopback(_) => true,
        }
    }
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

    fn ips<const N: usize>(texts: [&str; N]) -> [IpAddr; N] {
        texts.map(|text| text.parse().expect("an address"))
    }

    #[test]
    fn the_way_out_is_shown_first_and_then_what_interfaces_have() {
        let own = ips([
            "127.0.0.1",
            "::1",
            "172.17.0.1",
            "10.0.3.1",
            "192.168.1.4",
            "169.254.1.1",
            "fe80::1",
            "fd00::4",
            "10.9.9.9",
        ]);
        let out = ips(["192.168.1.4", "fd00::4"]);
        let check = |listens_on_v6, expected: &[IpAddr]| {
            assert_eq!(
                shown(out.into_iter(), own.into_iter(), listens_on_v6),
                expected
            );
        };
        check(
            true,
            &ips(["192.168.1.4", "fd00::4", "172.17.0.1", "10.0.3.1"]),
        );
        check(
            false,
            &ips(["192.168.1.4", "172.17.0.1", "10.0.3.1", "10.9.9.9"]),
        );
    }

    #[test]
    fn a_host_is_tried_first_where_it_is_near() {
        let all = ["10.0.3.1:7", "172.17.0.1:7", "192.168.1.4:7", "[fd00::4]:7"];
        let all = all.map(|text| text.parse::<SocketAddr>().expect("an address"));
        let near = ips(["192.168.1.4", "fd00::4"]);
        let sorted = near_first(all.into(), |ip| near.contains(&ip));
        assert_eq!(sorted, [all[2], all[3], all[0], all[1]]);
    }

    #[test]
    fn near_is_what_is_on_a_network_of_this_machine() {
        let [ip, netmask] = ["192.168.1.77", "255.255.255.0"];
        let own = if_addrs::Interface {
            name: "lan".to_owned(),
            addr: IfAddr::V4(if_addrs::Ifv4Addr {
                ip: ip.parse().expect("an address"),
                netmask: netmask.parse().expect("a mask"),
                prefixlen: 24,
                broadcast: None,
            }),
            index: None,
            oper_status: if_addrs::IfOperStatus::Up,
            is_p2p: false,
        };
        let near = ips(["192.168.1.4", "192.168.2.4", "fd00::4"]).map(|ip| is_neighbour(&own, ip));
        assert_eq!(near, [true, false, false]);
    }

    #[test]
    fn nobody_else_is_on_the_loopback() {
        let held = ips(["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1"]);
        let held = held.map(|ip| Network::Lan.may_hold(ip));
        assert_eq!(held, [false, false, false, true]);
    }
}
