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

/// A response that names 40 envoys that nobody has heard of, from the `number`th on.
fn lies(number: u32) -> Vec<u8> {
    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 40, 0, 0, 0, 0];
    for lie in number..number + 40 {
        for label in ["_gitback", "_tcp", "local"] {
            packet.push(u8::try_from(label.len()).expect("short"));
            packet.extend_from_slice(label.as_bytes());
        }
        // The end of the name; PTR, IN, two minutes; the length of a label of 8 and of a pointer to the name.
        packet.extend_from_slice(&[0, 0, 12, 0, 1, 0, 0, 0, 120, 0, 11, 8]);
        packet.extend_from_slice(format!("{lie:08x}").as_bytes());
        packet.extend_from_slice(&[0xc0, 12]);
    }
    packet
}

#[test]
fn a_flood_is_thrown_away_and_nothing_heard_for_a_while() {
    let Some(mdns_port) = port_with_multicast() else {
        tracing::info!("skipped: no multicast on the loopback here");
        return;
    };
    let handle = start_on(Network::Loopback(mdns_port), key(1), 4001, |_, _| {});
    let handle = handle.expect("begins");
    let liar = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let begun = Instant::now();
    let mut told = 0;
    while handle.shared.daemon().is_some() {
        liar.send_to(&lies(told), ("224.0.0.251", mdns_port))
            .expect("sends");
        told += 40;
        std::thread::yield_now();
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it still listens"
        );
    }
    // It rests for a minute, but not when it is to end.
    drop(handle);
    assert!(begun.elapsed() < REST * 2);
}
