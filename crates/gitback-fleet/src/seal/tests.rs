use gitback_identity::EnvoyKey;

use super::*;
use crate::{Enrolment, Role, Roster};

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn person(seed: u8) -> PuddleKey {
    PuddleKey::new(secret(seed).public())
}

const AUTHORITY: u8 = 200;
const DAN: u8 = 1;

fn sealed() -> Seal {
    Seal::sign(&secret(AUTHORITY), person(DAN), 5, &[9; 32]).expect("a usable key")
}

/// The same bytes with other ones sealed, signed as whoever holds the authority's key could.
fn with_sealed(change: impl FnOnce(&mut [u8; SEALED_LEN])) -> Seal {
    let seal = sealed();
    let mut bytes = seal.sealed.expect("in force");
    change(&mut bytes);
    Seal::signed(&secret(AUTHORITY), seal.member, seal.number, Some(bytes))
}

fn why_not(seal: &Seal, by: u8) -> OpenReject {
    seal.open(&secret(by)).expect_err("does not open")
}

#[test]
fn its_person_opens_it_and_nobody_else() {
    let seal = sealed();
    let opened = seal.open(&secret(DAN)).expect("it opens");
    assert_eq!(opened.seed(), secret(AUTHORITY).seed());
    assert_eq!(why_not(&seal, 2), OpenReject::OtherMember);
    assert_eq!(why_not(&seal, AUTHORITY), OpenReject::OtherMember);
    assert!(seal.bytes().len() <= SEAL_MAX);
    let contains = |part: &[u8]| seal.bytes().windows(part.len()).any(|at| at == part);
    assert!(!contains(secret(AUTHORITY).seed()));
    assert_eq!(Seal::decode(seal.bytes()), Ok(seal));
}

/// Made by another implementation, from docs/spec/fleet.md §11: Python, with `cryptography`.
#[test]
fn it_is_the_one_that_is_written_down() {
    let sealed = sealed().sealed.expect("in force");
    let text = gitback_identity::hex::encode(&sealed);
    assert_eq!(text, VECTOR);
}

const VECTOR: &str = "57db4b359f23ae5e146e4e2512056704722506348c150c14753d0c933d04d4211d59f1206c62e565264f18e473c04e0a4dd769879931db8b0bbc6f525f68878891bcc79e77f589afe07cf46b083e72ea";

#[test]
fn a_seal_that_was_taken_from_somebody_else_does_not_open() {
    // What is sealed to dan, signed as if it were eve's.
    let bytes = sealed().sealed;
    let eves = Seal::signed(&secret(AUTHORITY), person(2), 6, bytes);
    assert_eq!(why_not(&eves, 2), OpenReject::Sealed);
    // And what another authority has sealed to dan.
    let other = Seal::signed(&secret(201), person(DAN), 6, bytes);
    assert_eq!(why_not(&other, DAN), OpenReject::Sealed);
}

#[test]
fn no_bit_of_what_is_sealed_can_be_changed() {
    for at in 0..SEALED_LEN {
        for bit in 0..8 {
            let bent = with_sealed(|bytes| bytes[at] ^= 1 << bit);
            let why = why_not(&bent, DAN);
            assert_eq!(why, OpenReject::Sealed, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn no_bit_of_a_seal_can_be_changed() {
    let bytes = sealed().bytes().to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bent = bytes.clone();
            bent[at] ^= 1 << bit;
            assert!(Seal::decode(&bent).is_err(), "bit {bit} of byte {at}");
        }
        assert!(Seal::decode(&bytes[..at]).is_err(), "{at}");
    }
}

/// The points of small order of Curve25519, in every form that a reader takes.
///
/// Source: RFC 7748 §7; cr.yp.to/ecdh.html#validate.
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn a_point_of_small_order_is_refused() {
    for point in LOW_ORDER {
        let point: [u8; 32] = gitback_identity::hex::decode_exact(point).expect("hex");
        // What everybody knows whom the point is shown to: the agreement would be all zeros.
        let cipher = cipher(&[0; 32], &point, &person(DAN), &secret(AUTHORITY).public());
        let text = cipher.encrypt(&Nonce::default(), secret(AUTHORITY).seed().as_slice());
        let text = text.expect("sealed");
        for high in [0, 0x80] {
            let bent = with_sealed(|bytes| {
                bytes[..32].copy_from_slice(&point);
                bytes[31] |= high;
                bytes[32..].copy_from_slice(&text);
            });
            assert_eq!(why_not(&bent, DAN), OpenReject::WeakPoint);
        }
        assert!(secret(DAN).agree(&point).is_none());
    }
}

#[test]
fn a_key_to_which_nothing_can_be_sealed_is_none() {
    // Of small order, and not in canonical form: neither can be the member of a seal.
    let sound = sealed();
    for key in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let key: [u8; 32] = gitback_identity::hex::decode_exact(key).expect("hex");
        let mut bytes = sound.bytes().to_vec();
        let place = bytes
            .windows(32)
            .position(|part| part == person(DAN).as_bytes());
        let place = place.expect("it names its person");
        bytes[place..place + 32].copy_from_slice(&key);
        assert!(matches!(Seal::decode(&bytes), Err(FleetReject::Key(_))));
    }
}

#[test]
fn another_key_in_a_sound_seal_is_refused() {
    let point = agreement_point(&[9; 32]);
    let shared = person(DAN).key().agree(&[9; 32]).expect("usable");
    let cipher = cipher(&shared, &point, &person(DAN), &secret(AUTHORITY).public());
    let text = cipher
        .encrypt(&Nonce::default(), [3; 32].as_slice())
        .expect("sealed");
    let other = with_sealed(|bytes| bytes[32..].copy_from_slice(&text));
    assert_eq!(why_not(&other, DAN), OpenReject::OtherAuthority);
}

#[test]
fn the_newest_holds_and_an_empty_one_ends_it() {
    let authority = secret(AUTHORITY);
    let mut roster = Roster::new(authority.public());
    assert_eq!(roster.take_seal(sealed()), Ok(true));
    assert_eq!(roster.take_seal(sealed()), Ok(false));
    let old = Seal::sign(&authority, person(DAN), 4, &[8; 32]).expect("usable");
    assert_eq!(
        roster.take_seal(old.clone()),
        Ok(false),
        "an old one is no news"
    );
    let end = Seal::end(&authority, person(DAN), 6);
    assert_eq!(Seal::decode(end.bytes()), Ok(end.clone()));
    assert_eq!(why_not(&end, DAN), OpenReject::Ended);
    assert_eq!(roster.take_seal(end), Ok(true));
    for one in [old, sealed()] {
        assert_eq!(roster.take_seal(one), Ok(false), "it stays ended");
    }
    assert!(
        roster
            .seal(&person(DAN))
            .is_some_and(|one| !one.is_in_force())
    );
    let foreign = Seal::end(&secret(201), person(DAN), 9);
    assert_eq!(roster.take_seal(foreign), Err(FleetReject::OtherFleet));
    assert_eq!(Roster::decode(&roster.encode()), Ok(roster));
}

#[test]
fn a_seal_is_no_enrolment_and_an_enrolment_no_seal() {
    let mars = EnvoyKey::new(secret(3).public());
    let enrolment = Enrolment::sign(&secret(AUTHORITY), mars, "mars", Role::Member, 1, 2, None);
    assert!(Seal::decode(enrolment.expect("a name").bytes()).is_err());
    assert!(Enrolment::decode(sealed().bytes()).is_err());
}
