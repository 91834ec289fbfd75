//! Two envoys on one machine, on its loopback and on a port of the test's own.

use std::net::UdpSocket;
use std::sync::mpsc;
use std::time::Duration;

use gitback_identity::SecretKey;

use super::*;

fn key(seed: u8) -> EnvoyKey {
    EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

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
    let mut buffer = [0; 1];
    receiver.recv_from(&mut buffer).ok().map(|_| port)
}

#[test]
fn two_envoys_find_each_other_and_the_end_of_one_ends_its_threads() {
    let Some(mdns_port) = port_with_multicast() else {
        // A sandbox may have no multicast on its loopback; the network tests have one of their own.
        tracing::info!("skipped: no multicast on the loopback here");
        return;
    };
    let network = Network::Loopback(mdns_port);
    let (here, seen_here) = mpsc::channel();
    let (there, seen_there) = mpsc::channel();
    let one = start_on(network, key(1), 4001, move |key, address| {
        let _ = here.send((key, address));
    });
    let other = start_on(network, key(2), 4002, move |key, address| {
        let _ = there.send((key, address));
    });
    let (one, other) = (one.expect("begins"), other.expect("begins"));
    let limit = Duration::from_secs(60);
    assert_eq!(
        seen_here.recv_timeout(limit),
        Ok((key(2), "127.0.0.1:4002".to_owned()))
    );
    assert_eq!(
        seen_there.recv_timeout(limit),
        Ok((key(1), "127.0.0.1:4001".to_owned()))
    );
    // The callback goes with its thread, and the channel with the callback.
    drop(one);
    assert_eq!(seen_here.recv(), Err(mpsc::RecvError));
    drop(other);
    assert_eq!(seen_there.recv(), Err(mpsc::RecvError));
}
