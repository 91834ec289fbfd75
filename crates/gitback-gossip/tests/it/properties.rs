//! What holds for any input.

use std::collections::BTreeMap;

use gitback_gossip::{
    AddressRecord, MESSAGE_MAX, Mesh, MeshOutput, Millis, NOTICE_MAX, Notice, Places, RECORD_MAX,
    is_host_port,
};
use gitback_identity::{EnvoyKey, ProjectId};
use proptest::prelude::*;

use crate::corpus::secret;

fn key(seed: u8) -> EnvoyKey {
    EnvoyKey::new(secret(seed).public())
}

fn host_port() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[a-z0-9.-]{1,40}", 1_u16..).prop_map(|(host, port)| format!("{host}:{port}")),
        ("[0-9a-f:]{1,39}", 1_u16..).prop_map(|(host, port)| format!("[{host}]:{port}")),
    ]
}

prop_compose! {
    fn record()(
        seed in 1_u8..=8,
        name in "[^\\p{C}]{0,16}",
        addresses in prop::collection::vec(host_port(), 0..=8),
        number in any::<u64>(),
        expires_ms in any::<u64>(),
    ) -> AddressRecord {
        let name = if name.len() <= 64 { name } else { String::new() };
        AddressRecord::sign(&secret(seed), &name, &addresses, number, expires_ms)
            .expect("a record that others accept")
    }
}

prop_compose! {
    fn project()(project in any::<[u8; 32]>(), digest in any::<[u8; 32]>(), seed in 1_u8..=8) -> Notice {
        Notice::Project { project: ProjectId::from_bytes(&project), digest, holder: key(seed) }
    }
}

fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![project(), record().prop_map(Notice::Address)]
}

/// Real messages of a small swarm, to be bent.
fn messages() -> Vec<Vec<u8>> {
    let all: Vec<EnvoyKey> = (1..=6).map(key).collect();
    let mut nodes: BTreeMap<EnvoyKey, Mesh> = all
        .iter()
        .map(|me| {
            let mut mesh = Mesh::new(*me, *me.as_bytes(), Millis(0));
            mesh.join(Millis(0), &all);
            (*me, mesh)
        })
        .collect();
    let mut messages = Vec::new();
    for step in 1..400_u64 {
        let now = Millis(step * 500);
        for from in &all {
            let mesh = nodes.get_mut(from).expect("it runs");
            mesh.wake(now);
            if step % 20 == 0 {
                mesh.spread(now, step.to_be_bytes().to_vec());
            }
            let outputs: Vec<MeshOutput> = std::iter::from_fn(|| mesh.poll()).collect();
            for output in outputs {
                if let MeshOutput::Send { to, message } = output {
                    let mesh = nodes.get_mut(&to).expect("it runs");
                    mesh.receive(now, from, &message).expect("well formed");
                    messages.push(message);
                }
            }
        }
    }
    messages
}

proptest! {
    #[test]
    fn decoding_inverts_encoding(notice in notice()) {
        let bytes = notice.encode();
        prop_assert!(bytes.len() <= NOTICE_MAX);
        prop_assert_eq!(Notice::decode(&bytes), Ok(notice));
    }

    #[test]
    fn a_record_reads_back(record in record()) {
        let bytes = record.encode();
        prop_assert!(bytes.len() <= RECORD_MAX);
        prop_assert!(record.addresses().iter().all(|address| is_host_port(address)));
        prop_assert_eq!(AddressRecord::decode(&bytes), Ok(record));
    }

    #[test]
    fn any_bytes_are_a_notice_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        if let Ok(notice) = Notice::decode(&bytes) {
            prop_assert_eq!(notice.encode(), bytes);
        }
    }

    #[test]
    fn a_bent_notice_is_not_that_notice(notice in notice(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = notice.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match Notice::decode(&bytes) {
            // A record is signed as a whole.
            Ok(Notice::Address(_)) => prop_assert!(false, "its signature does not hold"),
            Ok(other) => prop_assert_ne!(other, notice),
            Err(_) => {}
        }
    }

    #[test]
    fn places_read_back(asks: bool, records in prop::collection::vec(record(), 0..20)) {
        let mut places = Places::new(asks);
        records.iter().for_each(|record| places.push(record));
        let bytes = places.encode();
        prop_assert!(bytes.len() <= MESSAGE_MAX);
        prop_assert_eq!(Places::decode(&bytes), Ok(places));
    }

    #[test]
    fn any_bytes_are_places_or_a_reason(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [b"gitback fleet places, version 1.".as_slice(), &body].concat();
        if let Ok(places) = Places::decode(&bytes) {
            prop_assert_eq!(places.encode(), bytes);
        }
    }

    #[test]
    fn any_text_is_an_address_or_not(text in ".{0,300}") {
        let _ = is_host_port(&text);
    }
}

/// Whatever one peer sends, in any order, at any time: no panic, and nothing goes to anybody unknown.
#[test]
fn any_messages_are_survived() {
    let real = messages();
    assert!(real.len() > 200, "{}", real.len());
    let bent = (
        any::<prop::sample::Index>(),
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        0_u64..3000,
    );
    proptest!(|(script in prop::collection::vec(bent, 1..120))| {
        let mut mesh = Mesh::new(key(1), [1; 32], Millis(0));
        let fleet: Vec<EnvoyKey> = (1..=6).map(key).collect();
        mesh.join(Millis(0), &fleet);
        let mut now = Millis(0);
        for (step, (which, flip, wait)) in script.into_iter().enumerate() {
            let mut message = which.get(&real).clone();
            if let Some((at, byte)) = flip {
                // The topic is left alone, else everything is about another one.
                let at = 32 + at.index(message.len() - 32);
                message[at] = byte;
            }
            now = now.plus(Millis(wait));
            mesh.wake(now);
            let _ = mesh.receive(now, &fleet[1 + step % 5], &message);
            while let Some(output) = mesh.poll() {
                if let MeshOutput::Send { to, .. } = output {
                    prop_assert!(fleet[1..].contains(&to));
                }
            }
        }
    });
}
