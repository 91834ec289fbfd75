//! Creating, appending, locking and reading back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use gitback_log::{Fault, Log, RECORD_MAX};

use crate::{append_all, sample, saved};

#[test]
fn creates_private_directories() {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("a/b");
    let (log, opened) = Log::open(&dir).expect("a log");
    assert!(opened.created && opened.records.is_empty());
    assert!(log.is_empty());
    let mode =
        |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("log")), 0o600);
}

#[test]
fn gives_back_what_was_appended() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    append_all(&mut log, &sample()[..2].to_vec());
    append_all(&mut log, &sample()[2..].to_vec());
    assert_eq!(log.len(), 4);
    for (id, payload) in sample() {
        assert!(log.contains(&id));
        assert_eq!(log.get(&id).expect("readable"), Some(payload));
    }
    assert_eq!(log.get(&[77; 32]).expect("readable"), None);
    let bytes = log.bytes();
    drop(log);

    let (log, opened) = Log::open(dir.path()).expect("a log");
    assert!(!opened.created);
    assert_eq!(opened.records, sample());
    assert_eq!(log.bytes(), bytes);
    assert!(saved(dir.path()).is_empty());
}

#[test]
fn stores_an_id_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    let once: [([u8; 32], &[u8]); 2] = [([1; 32], b"first"), ([1; 32], b"again")];
    log.append(&once).expect("an append");
    log.append(&once).expect("an append");
    log.append(&[]).expect("an append of nothing");
    assert_eq!(log.len(), 1);
    drop(log);
    let (_, opened) = Log::open(dir.path()).expect("a log");
    assert_eq!(opened.records, [([1; 32], b"first".to_vec())]);
}

#[test]
fn refuses_a_second_opener_until_the_first_closes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(dir.path()).expect("a log");
    let error = Log::open(dir.path()).expect_err("the log is in use");
    assert!(matches!(error, Fault::InUse { .. }), "{error:?}");
    drop(log);
    Log::open(dir.path()).expect("the log is free");
}

#[test]
fn takes_the_longest_record_and_refuses_a_longer_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    let payload = vec![7; RECORD_MAX + 1];
    let error = log
        .append(&[([1; 32], b"short"), ([2; 32], &payload)])
        .expect_err("the record is too long");
    assert!(matches!(error, Fault::RecordTooLong { .. }), "{error:?}");
    assert!(log.is_empty(), "nothing of the batch is stored");
    log.append(&[([2; 32], &payload[1..])]).expect("an append");
    drop(log);
    let (_, opened) = Log::open(dir.path()).expect("a log");
    assert_eq!(opened.records.len(), 1);
}

#[test]
fn ignores_what_an_interrupted_rewrite_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    append_all(&mut log, &sample());
    drop(log);
    fs::write(dir.path().join("log.new"), b"half").expect("a file");
    let (_, opened) = Log::open(dir.path()).expect("a log");
    assert_eq!(opened.records, sample());
}
