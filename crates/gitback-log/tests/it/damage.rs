//! Every cut and every flipped byte.

use std::fs;
use std::path::Path;

use gitback_log::{Dropped, Fault, Log};

use crate::{append_all, reopen, sample, saved, write_sample};

const HEADER: usize = 8;
const HEAD: usize = 56;

/// Where each record of the sample begins, and the end of the file.
fn boundaries() -> Vec<usize> {
    let mut at = HEADER;
    let mut all = vec![at];
    for (_, payload) in sample() {
        at += HEAD + payload.len();
        all.push(at);
    }
    all
}

fn with_file(bytes: &[u8], check: impl FnOnce(&Path)) {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("envelopes");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("log"), bytes).expect("the file");
    check(&dir);
}

#[test]
fn keeps_whole_records_when_cut_at_any_byte() {
    let parent = tempfile::tempdir().expect("a directory");
    let whole = write_sample(parent.path());
    let boundaries = boundaries();
    assert_eq!(boundaries.last(), Some(&whole.len()));
    for cut in 0..=whole.len() {
        let survive = boundaries.iter().filter(|end| **end <= cut).count();
        let sound = boundaries[..survive].last().copied().unwrap_or(0);
        with_file(&whole[..cut], |dir| {
            let opened = reopen(dir);
            assert_eq!(
                opened.records,
                sample()[..survive.saturating_sub(1)],
                "cut at {cut}"
            );
            let torn = &whole[sound..cut];
            let dropped: u64 = opened.dropped.iter().map(|span| span.bytes).sum();
            assert_eq!(dropped, torn.len() as u64, "cut at {cut}");
            let expected: Vec<_> = (!torn.is_empty())
                .then(|| torn.to_vec())
                .into_iter()
                .collect();
            assert_eq!(saved(dir), expected, "cut at {cut}");

            let (mut log, _) = Log::open(dir).expect("a log");
            append_all(&mut log, &sample());
            drop(log);
            assert_eq!(reopen(dir).records, sample(), "cut at {cut}");
        });
    }
}

#[test]
fn loses_only_the_record_in_which_a_byte_flipped() {
    let parent = tempfile::tempdir().expect("a directory");
    let whole = write_sample(parent.path());
    let boundaries = boundaries();
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            let hit = boundaries.iter().filter(|start| **start <= at).count();
            with_file(&bytes, |dir| {
                let opened = reopen(dir);
                let mut expected = sample();
                // 0 is the header, which takes no record with it.
                if hit > 0 {
                    expected.remove(hit - 1);
                }
                assert_eq!(opened.records, expected, "byte {at}");
                let start = if hit == 0 { 0 } else { boundaries[hit - 1] };
                let end = if hit == 0 { HEADER } else { boundaries[hit] };
                let span = Dropped {
                    offset: start as u64,
                    bytes: (end - start) as u64,
                };
                assert_eq!(opened.dropped, [span], "byte {at}");
                assert_eq!(saved(dir), [bytes[start..end].to_vec()], "byte {at}");
            });
        }
    }
}

#[test]
fn keeps_records_on_both_sides_of_many_holes() {
    let parent = tempfile::tempdir().expect("a directory");
    let whole = write_sample(parent.path());
    let boundaries = boundaries();
    let mut bytes = whole.clone();
    bytes[boundaries[0]] ^= 1;
    bytes[boundaries[2] + HEAD] ^= 1;
    with_file(&bytes, |dir| {
        let opened = reopen(dir);
        assert_eq!(opened.records, [sample()[1].clone(), sample()[3].clone()]);
        assert_eq!(opened.dropped.len(), 2);
        assert_eq!(saved(dir).len(), 2);
    });
}

#[test]
fn does_not_keep_a_tail_of_zeros() {
    let parent = tempfile::tempdir().expect("a directory");
    let whole = write_sample(parent.path());
    let mut bytes = whole.clone();
    bytes.resize(whole.len() + 4096, 0);
    with_file(&bytes, |dir| {
        let opened = reopen(dir);
        assert_eq!(opened.records, sample());
        let span = Dropped {
            offset: whole.len() as u64,
            bytes: 4096,
        };
        assert_eq!(opened.dropped, [span]);
        assert!(saved(dir).is_empty());
    });
}

#[test]
fn keeps_every_torn_tail_at_one_offset() {
    with_file(b"GBLOG\0\0\x01one", |dir| {
        reopen(dir);
        fs::write(dir.join("log"), b"GBLOG\0\0\x01two").expect("the file");
        reopen(dir);
        assert_eq!(saved(dir), [b"one".to_vec(), b"two".to_vec()]);
    });
}

#[test]
fn starts_afresh_beside_a_file_that_is_no_log() {
    with_file(b"this was never a log, but it is kept", |dir| {
        let opened = reopen(dir);
        assert!(opened.records.is_empty());
        assert_eq!(
            saved(dir),
            [b"this was never a log, but it is kept".to_vec()]
        );
    });
}

#[test]
fn leaves_a_later_version_alone() {
    let bytes = b"GBLOG\0\0\x02GBR2 and whatever follows";
    with_file(bytes, |dir| {
        let error = Log::open(dir).expect_err("the version is unknown");
        assert!(
            matches!(error, Fault::UnknownVersion { version: 2, .. }),
            "{error:?}"
        );
        assert_eq!(fs::read(dir.join("log")).expect("the file"), bytes);
    });
}

#[test]
fn opens_any_bytes_without_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..64 {
        let mut bytes = b"GBLOG\0\0\x01".to_vec();
        for _ in 0..200 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state.is_multiple_of(5) {
                bytes.extend_from_slice(b"GBR1");
            }
            bytes
                .extend_from_slice(&state.to_le_bytes()[..usize::from(state.to_le_bytes()[3] % 9)]);
        }
        with_file(&bytes, |dir| {
            let opened = reopen(dir);
            assert!(opened.records.is_empty(), "round {round}");
        });
    }
}
