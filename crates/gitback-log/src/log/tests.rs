//! Failures of the disk, played by files that refuse to grow or to sync.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::*;

const A: ([u8; 32], &[u8]) = ([1; 32], b"first");
const B: ([u8; 32], &[u8]) = ([2; 32], b"second");

fn ids(opened: &Opened) -> Vec<[u8; 32]> {
    opened.records.iter().map(|(id, _)| *id).collect()
}

/// A file of `length` bytes that cannot grow, as on a full disk.
fn full_disk(length: u64) -> File {
    let memory: OwnedFd =
        memfd_create("gitback-log", MemfdFlags::ALLOW_SEALING).expect("a memory file");
    let file = File::from(memory);
    file.set_len(length).expect("a length");
    fcntl_add_seals(&file, SealFlags::GROW).expect("a seal");
    file
}

/// A file that takes every write and can neither sync nor be cut.
fn no_sync() -> File {
    OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .expect("the null device")
}

/// A file whose writes fail and cannot be taken back.
fn no_write() -> File {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("the full device")
}

#[test]
fn failed_write_stores_nothing_and_leaves_the_log_usable() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    log.append(&[A]).expect("an append");

    let real = std::mem::replace(&mut log.file, full_disk(log.end));
    let error = log.append(&[B]).expect_err("the disk is full");
    assert!(matches!(error, Fault::Append { .. }), "{error:?}");
    assert!(!log.contains(&B.0));

    log.file = real;
    log.append(&[B]).expect("an append once there is room");
    drop(log);
    let (_, opened) = Log::open(dir.path()).expect("a log");
    assert_eq!(ids(&opened), [A.0, B.0]);
    assert!(opened.dropped.is_empty());
}

#[test]
fn write_that_cannot_be_undone_poisons() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    let real = std::mem::replace(&mut log.file, no_write());
    let error = log.append(&[A]).expect_err("the write fails");
    assert!(matches!(error, Fault::Append { .. }), "{error:?}");

    log.file = real;
    let error = log.append(&[A]).expect_err("the log is poisoned");
    assert!(matches!(error, Fault::Poisoned { .. }), "{error:?}");
}

#[test]
fn failed_sync_poisons_until_opened_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    log.append(&[A]).expect("an append");
    let real = std::mem::replace(&mut log.file, no_sync());
    let error = log.append(&[B]).expect_err("the sync fails");
    assert!(matches!(error, Fault::Sync { .. }), "{error:?}");
    assert!(!log.contains(&B.0));

    log.file = real;
    let error = log.append(&[B]).expect_err("a second sync would lie");
    assert!(matches!(error, Fault::Poisoned { .. }), "{error:?}");
    drop(log);

    let (mut log, opened) = Log::open(dir.path()).expect("a log");
    assert_eq!(ids(&opened), [A.0]);
    log.append(&[B]).expect("an append after opening again");
}

#[test]
fn failed_sync_cuts_off_what_only_the_cache_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    log.append(&[A]).expect("an append");
    let end = log.end;
    // The bytes are in the file as after a write; the sync is what failed.
    let mut bytes = Vec::new();
    record::encode(&mut bytes, &B.0, B.1);
    log.file.write_all_at(&bytes, end).expect("a write");
    log.undo();
    assert_eq!(log.file.metadata().expect("metadata").len(), end);
    assert!(!log.poisoned);
}

#[test]
fn get_reports_a_record_that_rotted_since() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    log.append(&[A]).expect("an append");
    log.file
        .write_all_at(b"F", log.end - 5)
        .expect("a changed byte");
    let error = log.get(&A.0).expect_err("the record is damaged");
    assert!(
        matches!(error, Fault::Damaged { offset: 8, .. }),
        "{error:?}"
    );
}

#[test]
fn what_is_damaged_is_stored_anew_and_read_at_the_next_opening() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = Log::open(dir.path()).expect("a log");
    log.append(&[A, B]).expect("an append");
    let flipped = log.places.get(&A.0).expect("stored").offset + RECORD_HEAD as u64;
    log.file.write_all_at(b"F", flipped).expect("written");
    let error = log.get(&A.0).expect_err("its bytes are others");
    assert!(matches!(error, Fault::Damaged { .. }), "{error:?}");

    let real = std::mem::replace(&mut log.file, full_disk(log.end));
    log.renew(&[A]).expect_err("the disk is full");
    log.file = real;
    assert!(log.contains(&A.0));
    log.get(&A.0).expect_err("it is as it was");

    log.renew(&[A]).expect("an append");
    assert_eq!(log.get(&A.0).expect("sound").as_deref(), Some(A.1));
    assert_eq!(log.len(), 2);
    drop(log);
    let (log, opened) = Log::open(dir.path()).expect("a log");
    assert_eq!(ids(&opened), [B.0, A.0]);
    assert_eq!(opened.dropped.len(), 1);
    assert_eq!(log.get(&A.0).expect("sound").as_deref(), Some(A.1));
}
