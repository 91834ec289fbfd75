//! What an envoy hears in passing: a notice, an address record, where others are, or a conversation with a few peers.
//!
//! The first byte picks which.

#![no_main]

use gitback_envelope::signing_bytes;
use gitback_fuzz::{known, wire_pair};
use gitback_gossip::{
    ADDRESS_TYPE, AddressRecord, Input, MESSAGE_MAX, Mesh, MeshOutput, MessageReject, Millis, Node,
    Notice, Output, Places, Settings,
};
use gitback_identity::EnvoyKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    match first % 4 {
        0 => notice(rest),
        1 => record(rest),
        3 => places(rest),
        _ => conversation(rest),
    }
});

fn notice(bytes: &[u8]) {
    if let Ok(notice) = Notice::decode(bytes) {
        assert_eq!(notice.encode(), bytes, "it is written as it was read");
    }
}

fn places(bytes: &[u8]) {
    let message = [b"gitback fleet places, version 1.".as_slice(), bytes].concat();
    if let Ok(places) = Places::decode(&message) {
        assert_eq!(places.encode(), message, "it is written as it was read");
    }
    let key = |seed: u8| EnvoyKey::new(known(seed).public());
    let mut node = Node::new(key(1), [1; 32], Settings::default(), Millis(0));
    for peer in [key(2), key(3)] {
        node.handle(
            Millis(0),
            Input::Peer {
                key: peer,
                name: String::new(),
                addresses: Vec::new(),
            },
        );
    }
    let (from, bytes) = (key(2), message);
    node.handle(Millis(1), Input::Message { from, bytes });
    while let Some(output) = node.poll() {
        if let Output::Message { bytes, .. } = output {
            assert!(bytes.len() <= MESSAGE_MAX);
        }
    }
}

/// A body that somebody did sign.
fn record(body: &[u8]) {
    let signature = known(1).sign(&signing_bytes(ADDRESS_TYPE, body));
    let bytes = wire_pair(body, signature.as_bytes());
    let Ok(record) = AddressRecord::decode(&bytes) else {
        return;
    };
    assert_eq!(record.encode(), bytes, "it is written as it was read");
    assert_eq!(record.key().key(), &known(1).public());
    let again = AddressRecord::sign(
        &known(1),
        record.name(),
        record.addresses(),
        record.number(),
        record.expires_ms(),
    );
    assert_eq!(again, Ok(record), "what was read can be said");
}

const TOPIC: &[u8; 32] = b"gitback fleet gossip, version 1.";

struct Table {
    mesh: Mesh,
    /// Takes everything that the mesh sends, as if it came from the one who sent it.
    reader: Mesh,
    me: EnvoyKey,
    peers: Vec<EnvoyKey>,
    here: Vec<bool>,
    now: Millis,
}

/// Steps of what happens, who does it, how long after the step before, and what is said.
fn conversation(mut script: &[u8]) {
    let key = |seed: u8| EnvoyKey::new(known(seed).public());
    let start = Millis(0);
    let peers: Vec<EnvoyKey> = (2..=7).map(key).collect();
    let mut table = Table {
        mesh: Mesh::new(key(1), [1; 32], start),
        reader: Mesh::new(key(8), [8; 32], start),
        me: key(1),
        here: vec![true; peers.len()],
        peers,
        now: start,
    };
    table.mesh.join(start, &table.peers);
    table.reader.join(start, &[table.me]);
    while let Some((&[what, who, slow, fast, length], rest)) = script.split_first_chunk() {
        let (said, rest) = rest.split_at(usize::from(length).min(rest.len()));
        script = rest;
        let wait = u64::from(slow) * 1000 + u64::from(fast);
        table.now = table.now.plus(Millis(wait));
        table.step(what, usize::from(who), said);
        table.drain();
    }
}

impl Table {
    fn step(&mut self, what: u8, who: usize, said: &[u8]) {
        let who = who % self.peers.len();
        let peer = self.peers[who];
        let now = self.now;
        match what % 7 {
            0 => {
                let message = [TOPIC.as_slice(), said].concat();
                let taken = self.mesh.receive(now, &peer, &message);
                assert!(self.here[who] || taken == Err(MessageReject::Stranger));
            }
            1 => {
                let id = blake3::hash(said);
                let length = [said.len() as u8 & 0x7f | 0x80, (said.len() >> 7) as u8];
                let message = [
                    TOPIC.as_slice(),
                    &[1, 0],
                    id.as_bytes().as_slice(),
                    &length,
                    said,
                    &[0, 1],
                ];
                let _ = self.mesh.receive(now, &peer, &message.concat());
            }
            2 => self.mesh.lost(now, &peer),
            3 => {
                self.mesh.forget(now, &peer);
                self.here[who] = false;
            }
            4 => {
                self.mesh.join(now, &[peer]);
                self.here[who] = true;
            }
            5 => self.mesh.spread(now, said.to_vec()),
            _ => self.mesh.wake(now),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.mesh.poll() {
            match output {
                MeshOutput::Send { to, message } => {
                    let known = self.peers.iter().position(|peer| *peer == to);
                    let known = known.expect("nothing goes to anybody unknown");
                    assert!(self.here[known], "nor to anybody forgotten");
                    assert!(message.len() <= MESSAGE_MAX);
                    let taken = self.reader.receive(self.now, &self.me, &message);
                    assert!(
                        matches!(taken, Ok(()) | Err(MessageReject::Flood)),
                        "{taken:?}"
                    );
                    while self.reader.poll().is_some() {}
                }
                MeshOutput::Heard { from, .. } | MeshOutput::Up(from) | MeshOutput::Down(from) => {
                    assert!(self.peers.contains(&from));
                }
            }
        }
        let neighbours = self.mesh.neighbours();
        assert!(neighbours.iter().all(|near| self.peers.contains(near)));
    }
}
