//! How large envelopes are: the table in docs/spec/envelope.md §9, measured.

use std::fs;

use gitback_envelope::{BODY_MAX, CUT_MAX, DEPS_MAX, ENVELOPE_MAX, UPDATE_BODY_MAX};

use crate::codec::every_kind;
use crate::corpus::raw::{Draft, HEIR, array, bytes, change, id, text, uint};
use crate::limits::many_ids;

const CHAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/envelope.md");

#[test]
fn are_as_documented() {
    let chapter = fs::read_to_string(CHAPTER).expect("the chapter is there");
    let documented: Vec<_> = chapter.lines().filter_map(row).collect();
    let mut measured: Vec<_> = every_kind().iter().map(measure).collect();
    measured.push(measure(&Draft::claim()));
    assert_eq!(documented, measured);
}

/// A kind, the bytes of a plain envelope and the most that one has.
type Row = (String, usize, usize);

/// The row of the table that `line` is, if it is one.
fn row(line: &str) -> Option<Row> {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [_, kind, plain, most, _, _] = cells[..] else {
        return None;
    };
    let number = |text: &str| text.replace(',', "").parse().ok();
    Some((kind.replace('`', ""), number(plain)?, number(most)?))
}

fn measure(draft: &Draft) -> Row {
    let (kind, _) = draft.kind().split_once('.').expect("a version");
    let most = most(draft);
    assert!(most <= ENVELOPE_MAX, "{kind}");
    (kind.to_owned(), plain(draft).seal().len(), most)
}

/// One that follows another and has seen no other head.
fn plain(draft: &Draft) -> Draft {
    if matches!(draft.kind(), "init.v1" | "name-claim.v1") {
        return draft.clone();
    }
    let follows = draft.clone().without(7).with(5, uint(23)).with(6, id(1));
    let cut = array(&[id(1)]);
    match draft.kind() {
        "policy.v1" => follows
            .with(17, array(&[bytes(b"refs/heads/main")]))
            .with(18, uint(3)),
        "merge.v1" => follows.with(7, array(&[id(1), id(2)])),
        "grant.v1" => follows.with(18, uint(1_800_000_000_000)),
        "revoke.v1" | "ungrant.v1" => follows.with(17, cut),
        "delegate.v1" => follows.with(18, id(2)).with(19, cut).accepted_by(HEIR),
        "tombstone.v1" => follows.with(18, cut),
        "update.v1" => follows
            .with(16, array(&[change(b"refs/heads/main", 1, &[id(1)], &[])]))
            .with(18, array(&[id(3), uint(123_456)])),
        _ => follows,
    }
}

/// The bytes of the longest one.
fn most(draft: &Draft) -> usize {
    let handle = || text(&[b'a'; 64]);
    match draft.kind() {
        // What these may hold is more than fits into a body.
        "policy.v1" => return draft.seal_body(&vec![0; BODY_MAX]).len(),
        "update.v1" => return draft.seal_body(&vec![0; UPDATE_BODY_MAX]).len(),
        "init.v1" => return draft.clone().with(16, handle()).seal().len(),
        "name-claim.v1" => {
            let longest = draft
                .clone()
                .with(5, uint(u64::MAX))
                .with(8, uint(u64::MAX));
            return longest.with(16, text(&[b'a'; 32])).seal().len();
        }
        _ => {}
    }
    let full = draft
        .clone()
        .with(5, uint(u64::MAX))
        .with(6, id(1))
        .with(7, array(&many_ids(DEPS_MAX)))
        .with(8, uint(u64::MAX));
    let cut = array(&many_ids(CUT_MAX));
    let full = match draft.kind() {
        "grant.v1" => full
            .with(17, uint(u32::MAX.into()))
            .with(18, uint(u64::MAX)),
        "revoke.v1" | "ungrant.v1" => full.with(17, cut),
        "delegate.v1" => full
            .with(16, uint(u64::MAX))
            .with(18, id(1))
            .with(19, cut)
            .accepted_by(HEIR),
        "tombstone.v1" => full.with(17, handle()).with(18, cut),
        _ => full,
    };
    full.seal().len()
}
