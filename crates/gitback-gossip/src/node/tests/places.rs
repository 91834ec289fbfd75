//! Who learns where those have gone that moved.

use proptest::prelude::*;

use super::super::{Failure, Input, Output, Settings};
use super::driver::Driver;
use super::world::{World, key, secret};
use super::{MINUTE, heal};
use crate::address::AddressRecord;
use crate::millis::Millis;
use crate::places::{PLACES_MAX, Places};

const SECOND: Millis = Millis::from_secs(1);

/// The longest wait for a peer that was away, and some ticks.
fn soon() -> Millis {
    let settings = Settings::default();
    settings.retry_cap.plus(settings.tick.times(4))
}

fn cut_off(world: &mut World, one: usize, other: usize) {
    world.cut.insert((one, other));
    world.cut.insert((other, one));
}

fn record(of: usize, number: u64, host: &str) -> AddressRecord {
    let addresses = [format!("{host}:1")];
    AddressRecord::sign(&secret(of), "node", &addresses, number, u64::MAX).expect("a record")
}

fn places(is_asking: bool, records: &[AddressRecord]) -> Vec<u8> {
    let mut places = Places::new(is_asking);
    records.iter().for_each(|record| places.push(record));
    places.encode()
}

#[test]
fn who_was_cut_off_learns_where_somebody_went_meanwhile() {
    let mut world = World::new(3, &[1; 32]);
    world.run_for(MINUTE);
    cut_off(&mut world, 1, 0);
    cut_off(&mut world, 1, 2);
    world.run_for(MINUTE);
    world.move_away(0);
    world.run_for(MINUTE);
    assert!(world.finds(2, 0) && !world.finds(1, 0));
    heal(&mut world);
    assert!(world.find_all(soon()));
}

#[test]
fn two_that_moved_while_cut_off_from_each_other_find_each_other_by_a_third() {
    let mut world = World::new(3, &[2; 32]);
    world.run_for(MINUTE);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        cut_off(&mut world, one, other);
    }
    world.run_for(MINUTE);
    world.move_away(0);
    world.move_away(1);
    world.run_for(MINUTE);
    heal(&mut world);
    cut_off(&mut world, 0, 1);
    assert!(world.find_all(soon()), "they know, and do not reach");
}

#[test]
fn who_forgot_everything_asks_where_the_others_are() {
    let mut world = World::new(3, &[3; 32]);
    world.run_for(MINUTE);
    world.move_away(0);
    world.run_for(MINUTE);
    // So quickly that nobody sees that it was away.
    world.set_up(1, false);
    world.set_up(1, true);
    assert!(!world.finds(1, 0));
    assert!(world.find_all(soon()));
}

#[test]
fn who_is_not_called_any_more_tells_where_it_is() {
    let mut world = World::new(2, &[4; 32]);
    world.run_for(MINUTE);
    world.move_away(0);
    world.run_for(MINUTE);
    world.set_up(1, false);
    world.set_up(1, true);
    assert!(world.find_all(MINUTE.times(6)));
}

#[test]
fn nobody_is_told_anything_when_nobody_comes_or_moves() {
    let mut world = World::new(6, &[5; 32]);
    for at in 0..6 {
        world.run_for(MINUTE);
        world.move_away(at);
    }
    world.run_for(MINUTE.times(5));
    let before = world.counts.places;
    assert!(before > 0);
    world.run_for(MINUTE.times(60));
    assert_eq!(world.counts.places, before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_find_all_after_partitions_moves_and_restarts(seed: [u8; 32], nodes in 2_usize..7) {
        let mut world = World::new(nodes, &seed);
        world.run_for(MINUTE);
        for _ in 0..30 {
            let (one, other) = (world.dice.below(nodes), world.dice.below(nodes));
            match world.dice.below(6) {
                0 | 1 => cut_off(&mut world, one, other),
                2 => world.cut.clear(),
                // One stays: of two that moved and forgot everything neither can find the other.
                3 if one > 0 => world.move_away(one),
                4 => world.set_up(one, false),
                _ => world.set_up(one, true),
            }
            let wait = world.dice.roll() % 60_000;
            world.run_for(Millis(wait));
        }
        heal(&mut world);
        prop_assert!(world.find_all(MINUTE.times(6)));
    }
}

#[test]
fn what_somebody_alone_was_told_is_passed_on_unless_the_fleet_was_told() {
    let mut driver = Driver::new(3);
    driver.pass(SECOND.times(30), |_| Ok(vec![]));
    let moved = record(2, 5, "new");
    let message = |bytes| Input::Message {
        from: key(1),
        bytes,
    };
    driver.tell(message(places(false, std::slice::from_ref(&moved))));
    let standing = driver.node.standing(&key(2)).expect("a peer");
    assert_eq!(
        standing.addresses.first().map(String::as_str),
        Some("new:1")
    );
    assert_eq!(driver.node.telling.passing_on(), 1);
    let notice = crate::notice::Notice::Address(moved.clone()).encode();
    driver.node.heard(&key(3), &notice);
    assert_eq!(driver.node.telling.passing_on(), 0);
    driver.tell(message(places(false, &[moved])));
    assert_eq!(driver.node.telling.passing_on(), 0, "it is no news");
}

#[test]
fn who_comes_back_is_told_once_and_what_is_new() {
    let mut driver = Driver::new(40);
    driver.pass(MINUTE.times(5), |_| Ok(vec![]));
    driver.places.clear();
    driver.pass(MINUTE.times(5), |with| {
        if with == key(1) {
            Err(Failure::Away("no route".to_owned()))
        } else {
            Ok(vec![])
        }
    });
    assert!(driver.places.is_empty(), "nobody came");
    for of in 2..=3 {
        let notice = crate::notice::Notice::Address(record(of, 5, "new")).encode();
        driver.node.heard(&key(4), &notice);
    }
    driver.pass(MINUTE.times(5), |_| Ok(vec![]));
    let [(to, told)] = driver.places.as_slice() else {
        panic!("told {} times", driver.places.len());
    };
    assert_eq!(*to, key(1));
    let mut whose: Vec<_> = told.records().iter().map(|one| *one.key()).collect();
    whose.sort();
    let mut expected = [key(2), key(3)];
    expected.sort();
    assert_eq!(whose, expected);
}

#[test]
fn who_asks_much_is_told_a_little() {
    let mut driver = Driver::new(40);
    for of in 2..=40 {
        let notice = crate::notice::Notice::Address(record(of, 5, "new")).encode();
        driver.node.heard(&key(2), &notice);
    }
    driver.pass(MINUTE.times(5), |_| Ok(vec![]));
    driver.places.clear();
    for _ in 0..10_000 {
        let (from, bytes) = (key(1), places(true, &[]));
        driver.tell(Input::Message { from, bytes });
    }
    assert_eq!(driver.places.len(), 1);
    driver.pass(SECOND.times(30), |_| Ok(vec![]));
    let told = driver.places.iter().filter(|(to, _)| *to == key(1));
    assert!(told.clone().count() <= 2);
    assert!(
        told.clone()
            .all(|(_, told)| told.records().len() == PLACES_MAX)
    );
    let strangers = Input::Message {
        from: key(99),
        bytes: places(true, &[]),
    };
    let before = driver.places.len();
    driver.tell(strangers);
    assert_eq!(driver.places.len(), before);
}

#[test]
fn nonsense_is_complained_of_once() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Ok(vec![]));
    let mut bytes = places(false, &[record(1, 5, "new")]);
    bytes.pop();
    for _ in 0..3 {
        driver.tell(Input::Message {
            from: key(1),
            bytes: bytes.clone(),
        });
    }
    let complaints = driver.logs.iter().filter(|line| line.contains("gossip"));
    assert_eq!(complaints.count(), 1);
    assert!(
        !driver
            .take()
            .iter()
            .any(|one| matches!(one, Output::Moved { .. }))
    );
}
