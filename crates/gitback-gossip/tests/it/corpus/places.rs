//! What one envoy tells another directly of who can be reached where.

use super::notices::{bytes, record_at, record_of};
use super::{Case, File, case};

const HEAD: &[u8; 32] = b"gitback fleet places, version 1.";

pub(super) fn files() -> Vec<File> {
    let record = bytes(&record_of("mars"));
    let mut bent = record_of("mars");
    *bent.last_mut().expect("a signature") ^= 1;
    vec![
        file("accepted", "Messages that are read.", accepted()),
        file(
            "too-large",
            "More than 4096 bytes.",
            vec![case("4097 bytes", message(&[&[0x81, 0], &[0; 4063]]))],
        ),
        file(
            "item-count",
            "Not even the first item.",
            vec![case("an empty array", message(&[&[0x80]]))],
        ),
        file(
            "too-many-records",
            "More than 16 records.",
            vec![case("17", message(&[&[0x92, 0], &record.repeat(17)]))],
        ),
        file(
            "unknown-flag",
            "It neither asks nor does not.",
            vec![case("2", message(&[&[0x82, 2], &record]))],
        ),
        file(
            "trailing-bytes",
            "Bytes follow the last record.",
            vec![case("a zero", message(&[&[0x82, 0], &record, &[0]]))],
        ),
        file(
            "truncated",
            "The bytes end inside an item.",
            vec![
                case("the head alone", message(&[])),
                case("one record of two", message(&[&[0x83, 0], &record])),
            ],
        ),
        file(
            "wrong-item-type",
            "An item of another type stands where this one is expected.",
            vec![case("a number for the record", message(&[&[0x82, 0, 0]]))],
        ),
        file(
            "bad-signature",
            "A signature does not hold: nothing of the message is read.",
            vec![case("of the second record", {
                message(&[&[0x83, 0], &record, &bytes(&bent)])
            })],
        ),
    ]
}

fn accepted() -> Vec<Case> {
    let record = bytes(&record_of("mars"));
    let sixteen = record.repeat(16);
    let place = format!("{}:1", "h".repeat(200));
    let long = bytes(&record_at(&[place.as_str(); 3]));
    [
        ("asks, and tells nothing", message(&[&[0x81, 1]]), 0),
        ("asks, and tells one", message(&[&[0x82, 1], &record]), 1),
        (
            "tells as many as there may be",
            message(&[&[0x91, 0], &sixteen]),
            16,
        ),
        (
            "tells long ones",
            message(&[&[0x84, 0], &long.repeat(3)]),
            3,
        ),
    ]
    .into_iter()
    .map(|(note, bytes, count)| {
        let mut case = case(note, bytes);
        case.facts = vec![
            ("asks", note.starts_with("asks").to_string()),
            ("records", count.to_string()),
        ];
        case
    })
    .collect()
}

fn file(expect: &'static str, about: &'static str, cases: Vec<Case>) -> File {
    File {
        what: "places",
        expect,
        about,
        cases,
    }
}

fn message(parts: &[&[u8]]) -> Vec<u8> {
    [HEAD.as_slice(), &parts.concat()].concat()
}
