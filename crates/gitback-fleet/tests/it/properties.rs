//! What holds for any input.

use std::sync::LazyLock;

use gitback_fleet::{
    EnrolRequest, Enrolment, Petition, Removal, Role, Roster, SEALS_MAX, Seal, Ticket, Welcome,
};
use proptest::prelude::*;

use crate::{AUTHORITY, envoy, removal, seal, secret};

/// One thing that an authority may sign.
#[derive(Debug, Clone)]
enum News {
    Enrol { seed: u8, number: u64, name: u8 },
    Remove { seed: u8, time_ms: u64 },
    Seal { seed: u8, number: u64, ends: bool },
}

fn news() -> impl Strategy<Value = News> {
    prop_oneof![
        3 => (1_u8..=5, 0_u64..4, 0_u8..3)
            .prop_map(|(seed, number, name)| News::Enrol { seed, number, name }),
        1 => (1_u8..=5, 0_u64..3).prop_map(|(seed, time_ms)| News::Remove { seed, time_ms }),
        2 => (1_u8..=3, 0_u64..4, any::<bool>())
            .prop_map(|(seed, number, ends)| News::Seal { seed, number, ends }),
    ]
}

fn roster(news: &[News]) -> Roster {
    let authority = secret(AUTHORITY);
    let mut roster = Roster::new(authority.public());
    for one in news {
        match one {
            News::Enrol { seed, number, name } => {
                let name = format!("envoy{name}");
                let one = Enrolment::sign(
                    &authority,
                    envoy(*seed),
                    &name,
                    Role::Member,
                    *number,
                    *number,
                    (*number > 1).then(|| envoy(9)),
                );
                roster.enrol(one.expect("a name")).expect("room");
            }
            News::Remove { seed, time_ms } => {
                roster.remove(removal(*seed, *time_ms)).expect("room");
            }
            News::Seal { seed, number, ends } => {
                let one = seal(*seed, *number, *ends);
                roster.take_seal(one).expect("of this fleet");
            }
        }
    }
    roster
}

fn merged(one: &Roster, other: &Roster) -> Roster {
    let mut merged = one.clone();
    let is_news = merged.merge(other).expect("room");
    assert_eq!(is_news, merged != *one);
    merged
}

/// Two seals each for more people than a roster keeps.
static MANY: LazyLock<Vec<Seal>> = LazyLock::new(|| {
    let people = 1..=u8::try_from(SEALS_MAX + 8).expect("few");
    let two = |seed: u8| {
        let number = u64::from(seed % 7);
        [
            seal(seed, number, false),
            seal(seed, number + 3, seed.is_multiple_of(2)),
        ]
    };
    people.flat_map(two).collect()
});

fn of_seals(seals: &[&Seal]) -> Roster {
    let mut roster = Roster::new(secret(AUTHORITY).public());
    for one in seals {
        roster.take_seal(Seal::clone(one)).expect("of this fleet");
    }
    roster
}

fn some_news() -> impl Strategy<Value = Vec<News>> {
    prop::collection::vec(news(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merging_does_not_depend_on_the_order(
        one in some_news(), two in some_news(), three in some_news(),
    ) {
        let (a, b, c) = (roster(&one), roster(&two), roster(&three));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        // It is what somebody knows who has heard all of it.
        let all: Vec<News> = one.into_iter().chain(two).collect();
        prop_assert_eq!(merged(&a, &b), roster(&all));
    }

    #[test]
    fn of_too_many_seals_the_same_ones_stay_in_any_order(
        parts in prop::collection::vec(0_u8..3, MANY.len()..=MANY.len()),
    ) {
        let part = |which: u8| -> Vec<&Seal> {
            let of_it = MANY.iter().zip(&parts).filter(|(_, part)| **part == which);
            of_it.map(|(one, _)| one).collect()
        };
        let (a, b, c) = (of_seals(&part(0)), of_seals(&part(1)), of_seals(&part(2)));
        let all: Vec<&Seal> = MANY.iter().collect();
        let expected = of_seals(&all);
        prop_assert_eq!(expected.seals().count(), SEALS_MAX);
        prop_assert_eq!(merged(&merged(&a, &b), &c), expected.clone());
        prop_assert_eq!(merged(&c, &merged(&b, &a)), expected.clone());
        prop_assert_eq!(merged(&expected, &a), expected.clone());
        let backwards: Vec<&Seal> = MANY.iter().rev().collect();
        prop_assert_eq!(of_seals(&backwards), expected);
    }

    #[test]
    fn a_roster_comes_back_as_it_was(news in some_news()) {
        let roster = roster(&news);
        let decoded = Roster::decode(&roster.encode()).expect("own bytes");
        prop_assert_eq!(decoded.digest(), roster.digest());
        prop_assert_eq!(decoded, roster);
    }

    #[test]
    fn whoever_was_removed_is_not_live(news in some_news(), now in 0_u64..10) {
        let roster = roster(&news);
        for removal in roster.removals() {
            prop_assert!(!roster.is_live(removal.envoy(), now));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_sound(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Enrolment::decode(&bytes);
        let _ = Removal::decode(&bytes);
        let _ = Seal::decode(&bytes);
        let _ = EnrolRequest::decode(&bytes);
        let _ = Roster::decode(&bytes);
        let _ = Roster::authority_in(&bytes);
        let _ = Petition::decode(&bytes);
        let _ = Welcome::decode(&bytes);
    }

    #[test]
    fn a_bent_roster_is_another_one_or_none(
        news in some_news(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let roster = roster(&news);
        let mut bytes = roster.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // What is signed cannot be bent; the authority of a roster of nobody can.
        if let Ok(other) = Roster::decode(&bytes) {
            let signed = other.enrolments().count() + other.removals().count();
            prop_assert_eq!(signed + other.seals().count(), 0);
        }
    }

    #[test]
    fn any_text_is_a_ticket_or_not(text in "(vigo1)?[a-z2-7]{0,80}") {
        if let Ok(ticket) = text.parse::<Ticket>() {
            prop_assert_eq!(ticket.to_string(), text);
        }
    }
}
