//! Envelopes of every kind, each damaged in every way of one sort.

#![expect(
    clippy::indexing_slicing,
    reason = "the envelopes are our own, and a panic fails the test"
)]

use gitback_envelope::{Envelope, Reject, Verified, VerifiedClaim};

use super::{EVERY_TYPE, every_kind};
use crate::corpus::raw::{Draft, wrap};

fn read(bytes: &[u8]) -> Result<Verified, Reject> {
    Envelope::decode(bytes)?.verify()
}

/// One of each type that a peer may hand in, a claim to a name among them.
fn everything() -> Vec<Draft> {
    let mut everything = EVERY_TYPE.clone();
    everything.push(Draft::claim());
    everything
}

/// Why `bytes` are refused where something like `draft` is expected.
fn refusal(draft: &Draft, bytes: &[u8]) -> Option<Reject> {
    if draft.kind() == "name-claim.v1" {
        VerifiedClaim::decode(bytes).err()
    } else {
        read(bytes).err()
    }
}

#[test]
fn rejects_any_single_bit_flip() {
    for draft in everything() {
        let whole = draft.seal();
        assert_eq!(refusal(&draft, &whole), None, "{}", draft.kind());
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                refusal(&draft, &flipped).is_some(),
                "{}: bit {bit}",
                draft.kind()
            );
        }
    }
}

#[test]
fn rejects_every_shorter_and_longer_copy() {
    for draft in everything() {
        let whole = draft.seal();
        for end in 0..whole.len() {
            let reject = refusal(&draft, &whole[..end]).expect("cut off");
            assert_eq!(reject.code(), "truncated", "{} at {end}", draft.kind());
        }
        for byte in [0, 0x60, 0xff] {
            let reject = refusal(&draft, &[&whole[..], &[byte]].concat()).expect("too long");
            assert_eq!(reject.code(), "trailing-bytes", "{}", draft.kind());
        }
    }
}

#[test]
fn rejects_every_shorter_and_longer_body() {
    for draft in everything() {
        let body = draft.body();
        for end in 0..body.len() {
            let reject = refusal(&draft, &draft.seal_body(&body[..end])).expect("cut off");
            assert_eq!(reject.code(), "truncated", "{} at {end}", draft.kind());
        }
        let longer = draft.seal_body(&[&body[..], &[0]].concat());
        let reject = refusal(&draft, &longer).expect("too long");
        assert_eq!(reject.code(), "trailing-bytes", "{}", draft.kind());
    }
}

#[test]
fn rejects_every_other_encoding_of_the_same_body() {
    for draft in everything() {
        let body = draft.body();
        for at in heads(&body) {
            for wider in wider(&body, at) {
                let reject = refusal(&draft, &draft.seal_body(&wider)).expect("another encoding");
                assert_eq!(reject.code(), "not-shortest", "{} at {at}", draft.kind());
            }
        }
        for first in 1..draft.fields.len() {
            let mut swapped = draft.clone();
            swapped.fields.swap(first - 1, first);
            let reject = refusal(&draft, &swapped.seal()).expect("out of order");
            assert_eq!(reject.code(), "key-order", "{} at {first}", draft.kind());
            let mut twice = draft.clone();
            twice.fields.insert(first, twice.fields[first - 1].clone());
            let reject = refusal(&draft, &twice.seal()).expect("one field twice");
            assert_eq!(reject.code(), "key-order", "{} at {first}", draft.kind());
        }
        let endless = [&[0xbf], &body[1..], &[0xff]].concat();
        let reject = refusal(&draft, &draft.seal_body(&endless)).expect("no length");
        assert_eq!(reject.code(), "unsupported-item", "{}", draft.kind());
    }
}

#[test]
fn rejects_every_other_encoding_of_the_same_envelope() {
    for draft in everything() {
        let whole = draft.seal();
        for at in heads(&whole) {
            for wider in wider(&whole, at) {
                let reject = refusal(&draft, &wider).expect("another encoding");
                assert_eq!(reject.code(), "not-shortest", "{} at {at}", draft.kind());
            }
        }
    }
}

#[test]
fn rejects_any_signature_under_another_type() {
    let everything = everything();
    for draft in &everything {
        let whole = draft.seal();
        let signature = &whole[whole.len() - 64..];
        for other in &everything {
            if other.type_name != draft.type_name {
                let moved = wrap(other.type_name.as_bytes(), &draft.body(), signature);
                assert!(
                    refusal(other, &moved).is_some(),
                    "{} as {}",
                    draft.kind(),
                    other.kind()
                );
            }
        }
    }
}

#[test]
fn rejects_every_known_kind_without_one_of_its_fields() {
    // What may be absent anywhere, or makes it the first of its chain.
    const FREE: [u64; 3] = [6, 7, 8];
    for draft in every_kind() {
        for (number, _) in &draft.fields {
            if !FREE.contains(number) {
                let reject = read(&draft.clone().without(*number).seal()).expect_err("not whole");
                assert_eq!(reject.code(), "missing-field", "{} {number}", draft.kind());
            }
        }
    }
}

/// Where each item of these bytes begins, inside arrays and maps as well.
fn heads(bytes: &[u8]) -> Vec<usize> {
    let mut heads = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        heads.push(at);
        let (wide, argument) = head(bytes, at);
        at += 1 + wide;
        if matches!(bytes[heads[heads.len() - 1]] >> 5, 2 | 3) {
            at += usize::try_from(argument).expect("a short string");
        }
    }
    heads
}

/// How many bytes the argument takes after the first, and the argument.
fn head(bytes: &[u8], at: usize) -> (usize, u64) {
    let small = bytes[at] & 0x1f;
    if small < 24 {
        return (0, small.into());
    }
    let wide = 1 << (small - 24);
    let argument = bytes[at + 1..=at + wide].iter();
    let argument = argument.fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    (wide, argument)
}

/// The same bytes with the head at `at` in each of its longer forms.
fn wider(bytes: &[u8], at: usize) -> Vec<Vec<u8>> {
    let (wide, argument) = head(bytes, at);
    let forms = [(24_u8, 1), (25, 2), (26, 4), (27, 8)];
    let longer = forms.iter().filter(|(_, size)| *size > wide);
    let written = longer.map(|(info, size)| {
        let first = bytes[at] & 0xe0 | info;
        let argument = &argument.to_be_bytes()[8 - size..];
        let (before, after) = (&bytes[..at], &bytes[at + 1 + wide..]);
        [before, &[first], argument, after].concat()
    });
    written.collect()
}
