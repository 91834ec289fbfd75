//! Who is of a fleet: enrolments, removals, requests, rosters, petitions, welcomes and tickets, and what becomes of two
//! rosters that hear the same in another order.
//!
//! The first byte picks which, the second whose key signs, since no fuzzer finds a signature.

#![no_main]

use gitback_envelope::signing_bytes;
use gitback_fleet::{
    ENROL_REQUEST_TYPE, ENROLMENT_TYPE, EnrolRequest, Enrolment, FleetReject, Petition,
    REMOVAL_TYPE, Removal, Role, Roster, Ticket, Welcome,
};
use gitback_fuzz::{known, wire_pair};
use gitback_identity::EnvoyKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[what, by], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let sealed = |type_name: &str| {
        let signature = known(by % 8 + 1).sign(&signing_bytes(type_name, rest));
        wire_pair(rest, signature.as_bytes())
    };
    match what % 8 {
        0 => enrolment(&sealed(ENROLMENT_TYPE)),
        1 => removal(&sealed(REMOVAL_TYPE)),
        2 => request(&sealed(ENROL_REQUEST_TYPE)),
        3 => roster(rest),
        4 => petition(rest),
        5 => welcome(rest),
        6 => ticket(rest),
        _ => hearsay(rest),
    }
});

fn enrolment(bytes: &[u8]) {
    let Ok(read) = Enrolment::decode(bytes) else {
        return;
    };
    assert_eq!(read.bytes(), bytes);
    let authority = (1..=8)
        .map(known)
        .find(|one| one.public() == *read.authority());
    let again = Enrolment::sign(
        &authority.expect("it was signed here"),
        *read.envoy(),
        read.name(),
        read.role(),
        read.number(),
        read.expires_ms(),
        read.through().copied(),
    );
    assert_eq!(again, Ok(read), "what was read can be said");
}

fn removal(bytes: &[u8]) {
    if let Ok(read) = Removal::decode(bytes) {
        assert_eq!(read.bytes(), bytes);
    }
}

fn request(bytes: &[u8]) {
    let Ok(read) = EnrolRequest::decode(bytes) else {
        return;
    };
    assert_eq!(read.bytes(), bytes);
    let asked = Petition {
        request: read,
        challenge: [1; 32],
        secret: None,
    };
    assert_eq!(Petition::decode(&asked.encode()), Ok(asked));
}

fn roster(bytes: &[u8]) {
    let Ok(read) = Roster::decode(bytes) else {
        return;
    };
    assert_eq!(read.encode(), bytes, "it is written as it was read");
    let authority = Roster::authority_in(bytes);
    for one in read.enrolments() {
        assert_eq!(authority, Ok(*one.authority()));
        let found = Roster::enrolment_in(bytes, one.envoy());
        assert_eq!(found, Ok(Some(one.clone())));
    }
}

fn petition(bytes: &[u8]) {
    if let Ok(read) = Petition::decode(bytes) {
        assert_eq!(read.encode(), bytes, "it is written as it was read");
    }
}

fn welcome(bytes: &[u8]) {
    if let Ok(read) = Welcome::decode(bytes) {
        assert_eq!(read.encode(), bytes, "it is written as it was read");
    }
}

fn ticket(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Ticket>() {
        Ok(read) => {
            assert_eq!(read.to_string(), text);
            let again = Ticket::new(*read.envoy(), *read.secret(), read.addresses());
            assert_eq!(again.to_string(), text);
        }
        Err(reject) => {
            let message = reject.to_string();
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }
}

/// Statements of one authority, four bytes each, heard in this order and in the other, and by way of a merge.
fn hearsay(script: &[u8]) {
    let authority = known(1);
    let key = |seed: u8| EnvoyKey::new(known(seed % 5 + 2).public());
    let said: Vec<&[u8; 4]> = script.as_chunks().0.iter().take(24).collect();
    let hear = |roster: &mut Roster, [kind, who, number, more]: &[u8; 4]| {
        let news = match kind % 4 {
            0 => {
                let removal = Removal::sign(&authority, key(*who), "venus", u64::from(*number));
                roster.remove(removal.expect("a name"))
            }
            _ => {
                let role = match more % 3 {
                    0 => Role::Member,
                    _ => Role::Authority,
                };
                let through = (more % 2 == 0).then(|| key(*more));
                let (number, ends) = (u64::from(*number), u64::from(*more));
                let one =
                    Enrolment::sign(&authority, key(*who), "venus", role, number, ends, through);
                roster.enrol(one.expect("a name"))
            }
        };
        assert_ne!(news, Err(FleetReject::OtherFleet));
    };
    let empty = || Roster::new(authority.public());
    let (mut one, mut other, mut parts) = (empty(), empty(), [empty(), empty()]);
    for (at, word) in said.iter().enumerate() {
        hear(&mut one, word);
        hear(&mut parts[at % 2], word);
    }
    said.iter().rev().for_each(|word| hear(&mut other, word));
    let [mut merged, half] = parts;
    merged.merge(&half).expect("one fleet");
    assert_eq!(one, other, "the order does not matter");
    assert_eq!(one, merged);
    assert_eq!(one.digest(), merged.digest());
    assert_eq!(merged.merge(&one), Ok(false), "there is no more to hear");
    for gone in one.removals() {
        assert!(one.enrolment(gone.envoy()).is_none());
    }
    roster(&one.encode());
}
