//! Where peers are tried.

use super::super::{Input, Output};
use super::driver::Driver;
use super::world::{key, secret};
use crate::address::{AHEAD_MAX_MS, AddressRecord, VALID_MS};
use crate::millis::Millis;
use crate::notice::Notice;

const SECOND: Millis = Millis::from_secs(1);
const DAY_MS: u64 = 24 * 3_600_000;
/// Some day in 2026, and one in 2030.
const SOUND_MS: u64 = 1_790_000_000_000;
const WRONG_MS: u64 = 1_900_000_000_000;

/// What node 1 says of itself.
fn record(number: u64, host: &str, expires_ms: u64) -> Vec<u8> {
    let addresses = vec![format!("{host}:1")];
    let record = AddressRecord::sign(&secret(1), "node1", &addresses, number, expires_ms);
    Notice::Address(record.expect("a record")).encode()
}

/// Where node 1 is tried first.
fn first(driver: &Driver) -> String {
    let standing = driver.node.standing(&key(1)).expect("a peer");
    standing.addresses.first().cloned().unwrap_or_default()
}

#[test]
fn addresses_come_in_order_of_preference() {
    let mut driver = Driver::new(1);
    driver.take();
    driver.tell(Input::Sighted {
        key: key(1),
        address: "lan:1".to_owned(),
    });
    let expected = Output::Moved {
        peer: key(1),
        addresses: vec!["lan:1".to_owned(), "node1:1".to_owned()],
    };
    assert_eq!(driver.take(), [expected]);
    driver.tell(Input::Sighted {
        key: key(1),
        address: "lan:1".to_owned(),
    });
    assert_eq!(driver.take(), [], "nothing new");
}

#[test]
fn addresses_that_a_peer_announces_are_used_until_they_expire() {
    let mut driver = Driver::new(1);
    driver.tell(Input::WallClock { unix_ms: 1_000_000 });
    driver.node.heard(&key(1), &record(5, "new", 1_060_000));
    assert_eq!(first(&driver), "new:1");
    driver.node.heard(&key(1), &record(4, "old", 1_060_000));
    assert_eq!(first(&driver), "new:1", "an older record");
    driver.node.heard(&key(1), &record(6, "late", 1_000_000));
    assert_eq!(first(&driver), "new:1", "an expired record");
    driver.pass(SECOND.times(90), |_| Ok(vec![]));
    assert_eq!(first(&driver), "node1:1");
}

#[test]
fn a_record_of_a_clock_that_was_wrong_gives_way_to_a_sound_one() {
    let wrong = record(WRONG_MS, "wrong", WRONG_MS + VALID_MS);
    let sound = record(SOUND_MS, "sound", SOUND_MS + VALID_MS);
    for clock_known_first in [true, false] {
        let mut driver = Driver::new(1);
        let clock = Input::WallClock { unix_ms: SOUND_MS };
        if clock_known_first {
            driver.tell(clock.clone());
        }
        driver.node.heard(&key(1), &wrong);
        assert_eq!(first(&driver), "wrong:1", "better than nothing");
        driver.tell(clock);
        driver.node.heard(&key(1), &sound);
        assert_eq!(first(&driver), "sound:1");
        driver.node.heard(&key(1), &wrong);
        assert_eq!(first(&driver), "sound:1", "its number counts for nothing");
    }
}

#[test]
fn a_record_from_the_future_is_one_that_expires_or_is_numbered_far_ahead() {
    let limit = SOUND_MS + AHEAD_MAX_MS;
    for (number, expires, is_taken) in [
        (limit, limit, true),
        (limit + 1, limit, false),
        (limit, limit + 1, false),
    ] {
        let mut driver = Driver::new(1);
        driver.tell(Input::WallClock { unix_ms: SOUND_MS });
        let before = record(SOUND_MS, "before", SOUND_MS + VALID_MS);
        driver.node.heard(&key(1), &before);
        driver
            .node
            .heard(&key(1), &record(number, "after", expires));
        assert_eq!(first(&driver) == "after:1", is_taken, "{number} {expires}");
    }
}

#[test]
fn nobody_is_lost_by_a_reader_whose_clock_is_in_the_past() {
    let mut driver = Driver::new(1);
    driver.tell(Input::WallClock { unix_ms: 0 });
    for (number, host) in [(1, "one"), (3, "three"), (2, "two")] {
        let expires = SOUND_MS + number + VALID_MS;
        driver
            .node
            .heard(&key(1), &record(SOUND_MS + number, host, expires));
    }
    assert_eq!(first(&driver), "three:1", "the newest of them");
}

#[test]
fn addresses_that_a_wrong_clock_let_expire_are_used_again() {
    let mut driver = Driver::new(1);
    driver.tell(Input::WallClock { unix_ms: SOUND_MS });
    let bytes = record(SOUND_MS, "new", SOUND_MS + VALID_MS);
    driver.node.heard(&key(1), &bytes);
    let jump = |driver: &mut Driver| {
        let unix_ms = SOUND_MS + 8 * DAY_MS;
        driver.tell(Input::WallClock { unix_ms });
        driver.pass(SECOND.times(20), |_| Ok(vec![]));
        assert_eq!(first(driver), "node1:1");
        driver.tell(Input::WallClock { unix_ms: SOUND_MS });
    };
    jump(&mut driver);
    driver.node.heard(&key(1), &bytes);
    assert_eq!(first(&driver), "new:1", "the same record was spread again");
    jump(&mut driver);
    driver.pass(SECOND.times(20), |_| Ok(vec![]));
    assert_eq!(first(&driver), "new:1", "the clock was set right");
}
