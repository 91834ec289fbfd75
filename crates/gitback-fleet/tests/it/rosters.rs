//! Rosters: what each does with news, and what is none.

use gitback_envelope::cbor::Writer;
use gitback_fleet::{
    ENVOYS_MAX, Enrolment, FleetReject, REMOVED_MAX, ROSTER_MAX, Removal, Role, Roster, SEALS_MAX,
    Seal,
};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};

use crate::{AUTHORITY, enrolment, envoy, removal, seal, secret};

fn empty() -> Roster {
    Roster::new(secret(AUTHORITY).public())
}

#[test]
fn the_newest_enrolment_holds() {
    let mut roster = empty();
    assert_eq!(roster.enrol(enrolment(1, 5)), Ok(true));
    assert_eq!(roster.enrol(enrolment(1, 4)), Ok(false));
    assert_eq!(roster.enrol(enrolment(1, 5)), Ok(false));
    assert_eq!(roster.enrol(enrolment(1, 6)), Ok(true));
    let held = roster.enrolment(&envoy(1)).map(Enrolment::number);
    assert_eq!(held, Some(6));
    assert!(roster.is_live(&envoy(1), 0));
    assert!(!roster.is_live(&envoy(2), 0));
}

#[test]
fn a_removal_is_for_good() {
    let mut roster = empty();
    roster.enrol(enrolment(1, 5)).expect("room");
    assert_eq!(roster.remove(removal(1, 9)), Ok(true));
    assert_eq!(roster.enrol(enrolment(1, 100)), Ok(false));
    assert!(!roster.is_live(&envoy(1), 0));
    // Also when it is heard of before the enrolment, and whatever it says of the time.
    let mut late = empty();
    assert_eq!(late.remove(removal(1, 9)), Ok(true));
    assert_eq!(late.enrol(enrolment(1, 100)), Ok(false));
    assert_eq!(late, roster);
    assert_eq!(late.remove(removal(1, 10)), Ok(false), "the earlier holds");
}

#[test]
fn another_fleet_changes_nothing() {
    let other = secret(AUTHORITY - 1);
    let theirs =
        Enrolment::sign(&other, envoy(2), "venus", Role::Member, 1, 2, None).expect("a name");
    let gone = Removal::sign(&other, envoy(1), "mars", 1).expect("a name");
    let mut roster = empty();
    roster.enrol(enrolment(1, 5)).expect("room");
    let before = roster.clone();
    assert_eq!(roster.enrol(theirs.clone()), Err(FleetReject::OtherFleet));
    assert_eq!(roster.remove(gone.clone()), Err(FleetReject::OtherFleet));
    let mut foreign = Roster::new(other.public());
    foreign.enrol(theirs).expect("room");
    foreign.remove(gone).expect("room");
    assert_eq!(roster.merge(&foreign), Err(FleetReject::OtherFleet));
    assert_eq!(roster, before);
}

/// A roster as somebody could send it who takes no care.
fn written(authority: &SecretKey, enrolments: &[Enrolment], removals: &[Removal]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(3);
    writer.bytes(authority.public().as_bytes());
    writer.array(enrolments.len());
    for one in enrolments {
        writer.bytes(one.bytes());
    }
    writer.array(removals.len());
    for one in removals {
        writer.bytes(one.bytes());
    }
    writer.finish()
}

#[test]
fn rosters_that_are_none() {
    let by = secret(AUTHORITY);
    let mut two = [enrolment(1, 5), enrolment(2, 5)];
    two.sort_by_key(|one| *one.envoy());
    let sound = written(&by, &two, &[removal(3, 1)]);
    let decoded = Roster::decode(&sound).expect("sound");
    assert_eq!(decoded.encode(), sound);
    assert_eq!(Roster::authority_in(&sound), Ok(by.public()));
    let refused = |bytes: &[u8]| Roster::decode(bytes).expect_err("must be refused").code();
    two.reverse();
    assert_eq!(refused(&written(&by, &two, &[])), "bad-order");
    let twice = [enrolment(1, 5), enrolment(1, 6)];
    assert_eq!(refused(&written(&by, &twice, &[])), "bad-order");
    let both = written(&by, &two[..1], &[removal(1, 1), removal(2, 1)]);
    assert_eq!(refused(&both), "bad-order");
    let mine = written(&secret(7), &two[..1], &[]);
    assert_eq!(refused(&mine), "other-fleet");
    assert_eq!(
        refused(&written(&secret(7), &[], &[removal(1, 1)])),
        "other-fleet"
    );
    assert_eq!(refused(&vec![0; ROSTER_MAX + 1]), "too-large");
    for end in 0..sound.len() {
        assert!(Roster::decode(&sound[..end]).is_err(), "{end}");
    }
    for (items, most) in [(1, ENVOYS_MAX), (2, REMOVED_MAX)] {
        let mut writer = Writer::default();
        writer.array(3);
        writer.bytes(by.public().as_bytes());
        if items == 2 {
            writer.array(0);
        }
        writer.array(most + 1);
        assert_eq!(refused(&writer.finish()), "too-many-envoys");
    }
}

/// A roster with a list of seals, whatever is in it.
fn with_seals(by: &SecretKey, seals: &[Seal]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4);
    writer.bytes(by.public().as_bytes());
    writer.array(0);
    writer.array(0);
    writer.array(seals.len());
    for one in seals {
        writer.bytes(one.bytes());
    }
    writer.finish()
}

#[test]
fn seals_are_a_fourth_list_and_a_roster_of_three_is_one_without_them() {
    let by = secret(AUTHORITY);
    let three = written(&by, &[enrolment(1, 5)], &[removal(3, 1)]);
    let mut roster = Roster::decode(&three).expect("sound");
    assert_eq!(roster.seals().count(), 0);
    assert_eq!(roster.encode(), three, "it stays what it was");
    roster.take_seal(seal(1, 5, false)).expect("of this fleet");
    let four = roster.encode();
    assert_eq!(Roster::decode(&four), Ok(roster.clone()));
    assert_eq!(Roster::authority_in(&four), Ok(by.public()));
    let found = Roster::enrolment_in(&four, &envoy(1));
    assert_eq!(found, Ok(Some(enrolment(1, 5))));
    for end in 0..four.len() {
        assert!(Roster::decode(&four[..end]).is_err(), "{end}");
    }
    // Whoever was removed sees none of them.
    assert_eq!(roster.only_removal_of(&envoy(3)).seals().count(), 0);

    let refused = |bytes: &[u8]| Roster::decode(bytes).expect_err("must be refused").code();
    let mut two = [seal(1, 5, false), seal(2, 5, true)];
    two.sort_by_key(|one| *one.member());
    assert!(Roster::decode(&with_seals(&by, &two)).is_ok());
    two.reverse();
    assert_eq!(refused(&with_seals(&by, &two)), "bad-order");
    let twice = [seal(1, 5, false), seal(1, 6, false)];
    assert_eq!(refused(&with_seals(&by, &twice)), "bad-order");
    assert_eq!(refused(&with_seals(&secret(7), &two[..1])), "other-fleet");
    let none = Roster::decode(&with_seals(&by, &[]));
    none.expect_err("a list that is empty is left out");
    let mut writer = Writer::default();
    writer.array(4);
    writer.bytes(by.public().as_bytes());
    writer.array(0);
    writer.array(0);
    writer.array(SEALS_MAX + 1);
    assert_eq!(refused(&writer.finish()), "too-many-envoys");
}

#[test]
fn whoever_was_removed_is_shown_that_and_nothing_else() {
    let mut roster = empty();
    roster.enrol(enrolment(1, 5)).expect("room");
    for seed in [2, 3] {
        roster.remove(removal(seed, 5)).expect("room");
    }
    let shown = roster.only_removal_of(&envoy(2));
    assert_eq!(shown.enrolments().count(), 0);
    assert_eq!(shown.removals().count(), 1);
    assert!(shown.removal(&envoy(2)).is_some());
    assert_eq!(roster.only_removal_of(&envoy(1)), empty());
    // It goes into the roster of the one that was removed.
    let mut its = empty();
    its.enrol(enrolment(1, 5)).expect("room");
    its.enrol(enrolment(2, 5)).expect("room");
    assert_eq!(its.merge(&shown), Ok(true));
    assert!(!its.is_live(&envoy(2), 0));
}

#[test]
fn a_full_fleet_fits_and_takes_nobody_else() {
    let by = secret(AUTHORITY);
    let key = |number: u32, kind: u8| {
        let mut seed = [kind; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        EnvoyKey::new(SecretKey::from_seed(&seed).public())
    };
    let name = "n".repeat(63);
    let mut roster = empty();
    for number in 0..1024 {
        let one = key(number, 1);
        let most = (u64::MAX, u64::MAX, Some(one));
        let one = Enrolment::sign(&by, one, &name, Role::Member, most.0, most.1, most.2);
        roster.enrol(one.expect("a name")).expect("room");
        let gone = Removal::sign(&by, key(number, 2), &name, u64::MAX);
        roster.remove(gone.expect("a name")).expect("room");
    }
    for number in 0..u32::try_from(SEALS_MAX).expect("few") {
        let member = PuddleKey::new(*key(number, 3).key());
        let one = Seal::sign(&by, member, u64::MAX, &[7; 32]);
        roster.take_seal(one.expect("usable")).expect("its own");
    }
    assert!(
        roster.encode().len() <= ROSTER_MAX,
        "{}",
        roster.encode().len()
    );
    let before = roster.clone();
    assert_eq!(roster.enrol(enrolment(1, 5)), Err(FleetReject::TooMany));
    assert_eq!(roster.remove(removal(1, 5)), Err(FleetReject::TooMany));
    let mut more = empty();
    more.enrol(enrolment(1, 5)).expect("room");
    assert_eq!(roster.merge(&more), Err(FleetReject::TooMany));
    assert_eq!(roster, before);
}

#[test]
fn whoever_came_in_through_an_envoy_is_found_with_those_whom_they_brought() {
    let by = secret(AUTHORITY);
    let mut roster = empty();
    for (seed, through) in [
        (1, None),
        (2, Some(1)),
        (3, Some(2)),
        (4, Some(5)),
        (5, None),
    ] {
        let through = through.map(envoy);
        let one = Enrolment::sign(&by, envoy(seed), "one", Role::Member, 1, 2, through);
        roster.enrol(one.expect("a name")).expect("room");
    }
    let brought = |roster: &Roster, by: u8| -> Vec<EnvoyKey> {
        let found = roster.brought_in_by(&envoy(by));
        found.iter().map(|one| *one.envoy()).collect()
    };
    let sorted = |mut keys: Vec<EnvoyKey>| {
        keys.sort();
        keys
    };
    assert_eq!(brought(&roster, 1), sorted(vec![envoy(2), envoy(3)]));
    assert_eq!(brought(&roster, 2), [envoy(3)]);
    assert!(brought(&roster, 3).is_empty());
    roster.remove(removal(5, 1)).expect("room");
    assert_eq!(brought(&roster, 5), [envoy(4)], "after the removal as well");
}

#[test]
fn one_enrolment_is_found_without_looking_at_the_others() {
    let mut roster = empty();
    for seed in 1..=3 {
        roster.enrol(enrolment(seed, 5)).expect("room");
    }
    let bytes = roster.encode();
    for seed in 1..=3 {
        let found = Roster::enrolment_in(&bytes, &envoy(seed));
        assert_eq!(found, Ok(Some(enrolment(seed, 5))));
    }
    assert_eq!(Roster::enrolment_in(&bytes, &envoy(4)), Ok(None));
    // The signatures of two others are bent; that of its own counts.
    let bent = |seed: u8| {
        let mut bytes = bytes.clone();
        let one = enrolment(seed, 5);
        let one = one.bytes();
        let at = bytes.windows(one.len()).position(|part| part == one);
        bytes[at.expect("it is in it") + one.len() - 1] ^= 1;
        bytes
    };
    assert!(Roster::enrolment_in(&bent(2), &envoy(1)).is_ok());
    assert_eq!(
        Roster::enrolment_in(&bent(1), &envoy(1)),
        Err(FleetReject::Signature)
    );
    // The list of removals is behind the enrolments.
    for end in 0..bytes.len() - 1 {
        assert!(Roster::enrolment_in(&bytes[..end], &envoy(4)).is_err());
    }
}
