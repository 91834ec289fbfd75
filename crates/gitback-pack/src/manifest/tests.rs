use super::*;
use crate::blocks::BLOCK_BYTES;

fn offer(name: u8, bytes: usize) -> Offer {
    let content = vec![name; bytes];
    let bytes = u64::try_from(bytes).expect("small");
    Offer {
        name: Oid::from_bytes_or_panic(&[name; 20]),
        objects: 7,
        tree: BlockTree::read(content.as_slice(), bytes).expect("in memory"),
    }
}

fn sample() -> Manifest {
    Manifest {
        project: [1; 32],
        envoy: [2; 32],
        made_ms: 3,
        packs: vec![
            offer(4, 3 * BLOCK_BYTES + 1),
            offer(5, BLOCK_BYTES),
            offer(6, 2 * BLOCK_BYTES),
        ],
    }
}

fn sealed() -> Vec<u8> {
    let sample = sample();
    sample.seal(&sample.body().expect("few packs"), &[9; 64])
}

/// Where in a sealed manifest the entry of a pack begins.
fn entry(index: usize) -> usize {
    4 + HEAD_BYTES + index * PACK_BYTES
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Vec<u8>)) -> BadManifest {
    let mut bytes = sealed();
    change(&mut bytes);
    SignedManifest::decode(&bytes).expect_err("no manifest")
}

#[test]
fn decoding_inverts_sealing() {
    let signed = SignedManifest::decode(&sealed()).expect("its own form");
    assert_eq!(signed.manifest, sample());
    assert_eq!(signed.signature, [9; 64]);
    assert_eq!(signed.body, sample().body().expect("few packs"));
    let none = Manifest {
        packs: Vec::new(),
        ..sample()
    };
    let bytes = none.seal(&none.body().expect("no packs"), &[0; 64]);
    let again = SignedManifest::decode(&bytes).expect("an empty one");
    assert_eq!(again.manifest, none);
}

#[test]
fn every_cut_and_every_byte_too_many_is_refused() {
    let bytes = sealed();
    for length in 0..bytes.len() {
        assert_eq!(
            SignedManifest::decode(&bytes[..length]),
            Err(BadManifest::Malformed),
            "{length}"
        );
    }
    assert_eq!(refused(|bytes| bytes.push(0)), BadManifest::Malformed);
}

#[test]
fn what_the_signature_covers_binds_every_block() {
    // A root, or a value behind the signature: one does not lead to the other any more.
    let name = sample().packs[0].name;
    let root = entry(0) + 32;
    assert_eq!(
        refused(|bytes| bytes[root] ^= 1),
        BadManifest::Unproven { name }
    );
    let values = entry(3) + SIGNATURE_BYTES;
    assert_eq!(
        refused(|bytes| bytes[values + 33] ^= 1),
        BadManifest::Unproven { name }
    );
    // The values of two blocks, swapped.
    assert_eq!(
        refused(|bytes| bytes[values..values + 64].rotate_left(32)),
        BadManifest::Unproven { name }
    );
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_read() {
    let length = entry(0) + 20;
    let set = |to: u64| {
        move |bytes: &mut Vec<u8>| bytes[length..length + 8].copy_from_slice(&to.to_be_bytes())
    };
    let many = BadManifest::TooMany { what: "blocks" };
    assert_eq!(refused(set(u64::MAX)), many);
    assert_eq!(refused(set((BLOCKS_MAX << 20) + 1)), many);
    // One block more: the next pack's first value is taken for it.
    let name = sample().packs[0].name;
    assert_eq!(refused(set(5 << 20)), BadManifest::Unproven { name });
    assert_eq!(refused(set(31)), BadManifest::Impossible { name });
    let says = |to: u32| move |bytes: &mut Vec<u8>| bytes[..4].copy_from_slice(&to.to_be_bytes());
    assert_eq!(refused(says(u32::MAX)), BadManifest::Malformed);
    assert_eq!(refused(says(0)), BadManifest::Malformed);
}

#[test]
fn too_much_another_version_and_the_same_name_twice_are_refused() {
    let count = 4 + HEAD_BYTES - 1;
    let packs = BadManifest::TooMany { what: "packs" };
    assert_eq!(refused(|bytes| bytes[count] = 65), packs);
    assert_eq!(refused(|bytes| bytes[count] = 64), BadManifest::Malformed);
    assert_eq!(
        refused(|bytes| bytes[4] = 2),
        BadManifest::Version { version: 2 }
    );
    let name = sample().packs[0].name;
    let second = entry(1);
    assert_eq!(
        refused(|bytes| bytes[second..second + 20].copy_from_slice(name.as_slice())),
        BadManifest::Impossible { name }
    );
    assert_eq!(
        refused(|bytes| bytes.resize(MANIFEST_MAX + 1, 0)),
        BadManifest::TooLarge {
            bytes: MANIFEST_MAX + 1
        }
    );
    let crowd = Manifest {
        packs: (0..65).map(|name| offer(name, 40)).collect(),
        ..sample()
    };
    assert_eq!(crowd.body(), Err(packs));
}
