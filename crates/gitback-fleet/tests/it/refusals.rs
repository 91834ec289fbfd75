//! Each reason to refuse something, by bytes that have nothing else wrong with them.

use gitback_envelope::cbor::Writer;
use gitback_envelope::signing_bytes;
use gitback_fleet::{
    ADDRESSES_MAX, ENROL_REQUEST_TYPE, ENROLMENT_MAX, ENROLMENT_TYPE, EnrolRequest, Enrolment,
    FleetReject, GRACE_MS, Petition, REMOVAL_TYPE, Removal, Role, Roster, Welcome,
};
use gitback_identity::SecretKey;

use crate::{AUTHORITY, enrolment, envoy, removal, secret};

/// Signs any body as if it were sound.
fn sealed(by: &SecretKey, type_name: &str, body: &[u8]) -> Vec<u8> {
    let signature = by.sign(&signing_bytes(type_name, body));
    let mut writer = Writer::default();
    writer.array(2);
    writer.bytes(body);
    writer.bytes(signature.as_bytes());
    writer.finish()
}

/// A value of a field, written by hand.
type Value<'a> = &'a dyn Fn(&mut Writer);

fn map(fields: &[(u64, Value<'_>)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.map(fields.len());
    for (key, value) in fields {
        writer.uint(*key);
        value(&mut writer);
    }
    writer.finish()
}

fn enrolment_of(change: Option<(u64, Value<'_>)>, without: Option<u64>) -> Vec<u8> {
    let authority = *secret(AUTHORITY).public().as_bytes();
    let key = *envoy(1).as_bytes();
    let sound: [(u64, Value<'_>); 6] = [
        (0, &|writer| writer.bytes(&authority)),
        (1, &|writer| writer.bytes(&key)),
        (2, &|writer| writer.text("mars")),
        (3, &|writer| writer.uint(0)),
        (4, &|writer| writer.uint(1)),
        (5, &|writer| writer.uint(2)),
    ];
    let mut fields: Vec<(u64, Value<'_>)> = sound.to_vec();
    if let Some((key, value)) = change {
        fields.retain(|(known, _)| *known != key);
        fields.push((key, value));
        fields.sort_by_key(|(key, _)| *key);
    }
    fields.retain(|(key, _)| Some(*key) != without);
    sealed(&secret(AUTHORITY), ENROLMENT_TYPE, &map(&fields))
}

#[track_caller]
fn refused(bytes: &[u8], code: &str) {
    let reject = Enrolment::decode(bytes).expect_err("must be refused");
    assert_eq!(reject.code(), code);
}

#[test]
fn enrolments_that_are_none() {
    let sound = enrolment_of(None, None);
    let decoded = Enrolment::decode(&sound).expect("sound");
    assert_eq!(decoded.name(), "mars");
    assert_eq!(decoded.role(), Role::Member);
    assert_eq!(decoded.bytes(), sound);

    refused(&vec![0; ENROLMENT_MAX + 1], "too-large");
    for field in 0..6 {
        refused(&enrolment_of(None, Some(field)), "missing-field");
    }
    assert_eq!(decoded.through(), None);
    let through = *envoy(2).as_bytes();
    let brought = enrolment_of(Some((6, &|writer| writer.bytes(&through))), None);
    let brought = Enrolment::decode(&brought).expect("sound");
    assert_eq!(brought.through(), Some(&envoy(2)));
    refused(
        &enrolment_of(Some((6, &|writer| writer.bytes(&[0; 32]))), None),
        "key-weak",
    );
    refused(
        &enrolment_of(Some((6, &|writer| writer.bytes(&[1; 31]))), None),
        "wrong-length",
    );
    refused(
        &enrolment_of(Some((7, &|writer| writer.uint(0))), None),
        "unknown-field",
    );
    refused(
        &enrolment_of(Some((1, &|writer| writer.bytes(&[1; 31]))), None),
        "wrong-length",
    );
    refused(
        &enrolment_of(Some((3, &|writer| writer.uint(3))), None),
        "wrong-length",
    );
    refused(
        &enrolment_of(Some((1, &|writer| writer.bytes(&[0; 32]))), None),
        "key-weak",
    );
    for name in ["", "a b", "a\u{7}", "ä", &"n".repeat(64)] {
        refused(
            &enrolment_of(Some((2, &|writer| writer.text(name))), None),
            "bad-name",
        );
    }
    let mut trailing = sound.clone();
    trailing.push(0);
    refused(&trailing, "trailing-bytes");
    for end in 0..sound.len() {
        assert!(Enrolment::decode(&sound[..end]).is_err(), "{end}");
    }
}

#[test]
fn enrolments_that_somebody_else_signed() {
    let sound = enrolment_of(None, None);
    for at in 0..sound.len() {
        let mut bent = sound.clone();
        bent[at] ^= 1;
        assert!(Enrolment::decode(&bent).is_err(), "{at}");
    }
    let authority = *secret(AUTHORITY).public().as_bytes();
    let key = *envoy(1).as_bytes();
    let body = map(&[
        (0, &|writer| writer.bytes(&authority)),
        (1, &|writer| writer.bytes(&key)),
        (2, &|writer| writer.text("mars")),
        (3, &|writer| writer.uint(0)),
        (4, &|writer| writer.uint(1)),
        (5, &|writer| writer.uint(2)),
    ]);
    // By the envoy itself, and by the authority under another type.
    refused(&sealed(&secret(1), ENROLMENT_TYPE, &body), "bad-signature");
    refused(
        &sealed(&secret(AUTHORITY), REMOVAL_TYPE, &body),
        "bad-signature",
    );
    refused(
        &sealed(&secret(AUTHORITY), ENROL_REQUEST_TYPE, &body),
        "bad-signature",
    );
}

#[test]
fn an_enrolment_ends_a_week_after_its_end() {
    let one = enrolment(1, 5);
    assert!(one.is_in_force(0), "for a clock that is behind");
    assert!(one.is_in_force(1_005 + GRACE_MS));
    assert!(!one.is_in_force(1_006 + GRACE_MS));
    let last = Enrolment::sign(
        &secret(AUTHORITY),
        envoy(1),
        "mars",
        Role::Member,
        1,
        u64::MAX,
        None,
    );
    assert!(last.expect("a name").is_in_force(u64::MAX));
}

#[test]
fn removals_that_are_none() {
    let sound = removal(1, 5);
    let decoded = Removal::decode(sound.bytes()).expect("sound");
    assert_eq!(decoded, sound);
    assert_eq!((decoded.name(), decoded.time_ms()), ("envoy1", 5));
    for at in 0..sound.bytes().len() {
        let mut bent = sound.bytes().to_vec();
        bent[at] ^= 1;
        assert!(Removal::decode(&bent).is_err(), "{at}");
        assert!(Removal::decode(&sound.bytes()[..at]).is_err(), "{at}");
    }
    // An enrolment is no removal, and the other way round.
    assert!(Removal::decode(enrolment(1, 5).bytes()).is_err());
    assert!(Enrolment::decode(sound.bytes()).is_err());
    let bad = Removal::sign(&secret(AUTHORITY), envoy(1), "a b", 5);
    assert_eq!(bad, Err(FleetReject::Name));
}

#[test]
fn requests_that_are_none() {
    let places = ["mars:1531".to_owned(), "[::1]:9".to_owned()];
    let sound = EnrolRequest::sign(&secret(1), "mars", &places, &[7; 32]).expect("sound");
    let decoded = EnrolRequest::decode(sound.bytes()).expect("sound");
    assert_eq!(decoded, sound);
    assert_eq!(decoded.addresses(), places);
    assert_eq!(decoded.challenge(), &[7; 32]);
    assert_eq!(*decoded.envoy(), envoy(1));
    for at in 0..sound.bytes().len() {
        let mut bent = sound.bytes().to_vec();
        bent[at] ^= 1;
        assert!(EnrolRequest::decode(&bent).is_err(), "{at}");
    }
    let sign =
        |name: &str, places: &[String]| EnrolRequest::sign(&secret(1), name, places, &[7; 32]);
    assert_eq!(sign("a b", &[]), Err(FleetReject::Name));
    assert_eq!(sign("a", &["mars".to_owned()]), Err(FleetReject::Address));
    let many = vec!["mars:1".to_owned(); ADDRESSES_MAX + 1];
    assert_eq!(sign("a", &many), Err(FleetReject::Address));
    assert!(sign("a", &many[1..]).is_ok());
}

#[test]
fn petitions_and_welcomes_come_back_as_they_were() {
    let request = EnrolRequest::sign(&secret(1), "mars", &[], &[7; 32]).expect("sound");
    for secret in [None, Some([9; 16])] {
        let petition = Petition {
            request: request.clone(),
            challenge: [7; 32],
            secret,
        };
        let bytes = petition.encode();
        assert_eq!(Petition::decode(&bytes), Ok(petition));
        for end in 0..bytes.len() {
            assert!(Petition::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
    let mut roster = Roster::new(secret(AUTHORITY).public());
    roster.enrol(enrolment(1, 5)).expect("room");
    let place = gitback_fleet::Place {
        envoy: envoy(1),
        addresses: vec!["mars:1531".to_owned()],
    };
    let welcome = Welcome {
        roster,
        places: vec![place],
    };
    let bytes = welcome.encode();
    assert_eq!(Welcome::decode(&bytes), Ok(welcome));
    for end in 0..bytes.len() {
        assert!(Welcome::decode(&bytes[..end]).is_err(), "{end}");
    }
}
