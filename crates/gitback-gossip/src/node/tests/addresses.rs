//! Where peers are tried.

use super::super::{Input, Output};
use super::driver::Driver;
use super::world::{key, secret};
use crate::address::AddressRecord;
use crate::millis::Millis;
use crate::notice::Notice;

const SECOND: Millis = Millis::from_secs(1);

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
    let secret = secret(1);
    let record = |number, host: &str, expires| {
        let addresses = vec![format!("{host}:1")];
        let record = AddressRecord::sign(&secret, "node1", &addresses, number, expires);
        Notice::Address(record.expect("a record")).encode()
    };
    let first = |driver: &Driver| {
        let standing = driver.node.standing(&key(1)).expect("a peer");
        standing.addresses.first().cloned().unwrap_or_default()
    };
    driver.node.heard(&key(1), &record(5, "new", 1_060_000));
    assert_eq!(first(&driver), "new:1");
    driver.node.heard(&key(1), &record(4, "old", 1_060_000));
    assert_eq!(first(&driver), "new:1", "an older record");
    driver.node.heard(&key(1), &record(6, "late", 1_000_000));
    assert_eq!(first(&driver), "new:1", "an expired record");
    driver.pass(SECOND.times(90), |_| Ok(vec![]));
    assert_eq!(first(&driver), "node1:1");
}
