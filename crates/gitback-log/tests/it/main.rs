//! The log against a real file system: cut, damaged, locked.

mod damage;
mod durable;

use std::fs;
use std::path::Path;

use gitback_log::{Log, Opened};

type Stored = Vec<([u8; 32], Vec<u8>)>;

/// Three records: short, empty, and one whose payload looks like a record.
fn sample() -> Stored {
    let mut disguised = b"GBR1".to_vec();
    disguised.extend_from_slice(&4_u32.to_le_bytes());
    disguised.extend_from_slice(&[9; 60]);
    vec![
        ([1; 32], b"the first record".to_vec()),
        ([2; 32], Vec::new()),
        ([3; 32], disguised),
        ([4; 32], b"the last record".to_vec()),
    ]
}

fn append_all(log: &mut Log, records: &Stored) {
    let borrowed: Vec<_> = records
        .iter()
        .map(|(id, payload)| (*id, payload.as_slice()))
        .collect();
    log.append(&borrowed).expect("records are stored");
}

fn write_sample(dir: &Path) -> Vec<u8> {
    let (mut log, opened) = Log::open(dir).expect("a new log");
    assert!(opened.created);
    append_all(&mut log, &sample());
    drop(log);
    fs::read(dir.join("log")).expect("the file")
}

/// Opens, checks that what was read can be read again, and that opening twice
/// changes nothing.
fn reopen(dir: &Path) -> Opened {
    let (log, opened) = Log::open(dir).expect("a damaged log opens");
    for (id, payload) in &opened.records {
        assert_eq!(log.get(id).expect("readable").as_ref(), Some(payload));
    }
    drop(log);
    let (_, again) = Log::open(dir).expect("a repaired log opens");
    assert!(again.dropped.is_empty(), "repaired once: {again:?}");
    assert_eq!(again.records, opened.records);
    opened
}

/// All bytes of the files that keep what was dropped.
fn saved(dir: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with("dropped-"))
        .collect();
    names.sort();
    names
        .iter()
        .map(|name| fs::read(dir.join(name)).expect("a saved span"))
        .collect()
}
