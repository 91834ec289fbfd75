//! Where the files in `tests/vectors/gossip` come from. The bytes are built here by hand, not by the code under test.

mod messages;
mod notices;
mod places;

use std::fmt::Write as _;
use std::path::PathBuf;

use gitback_identity::{SecretKey, hex};

/// The folder of the vectors.
pub(crate) fn folder() -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/gossip");
    PathBuf::from(folder)
}

/// Every file.
pub(crate) fn files() -> Vec<File> {
    let mut files = notices::files();
    files.extend(messages::files());
    files.extend(places::files());
    files
}

/// One file: one reason, or what is accepted.
pub(crate) struct File {
    what: &'static str,
    expect: &'static str,
    about: &'static str,
    cases: Vec<Case>,
}

struct Case {
    note: &'static str,
    bytes: Vec<u8>,
    /// Further lines, in the order in which they are written.
    facts: Vec<(&'static str, String)>,
}

impl File {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}.toml", self.what, self.expect)
    }

    pub(crate) fn text(&self) -> String {
        let (about, what, expect) = (self.about, self.what, self.expect);
        let mut text = format!("# {about}\n\nwhat = \"{what}\"\nexpect = \"{expect}\"\n");
        for case in &self.cases {
            let _ = writeln!(text, "\n[[case]]\nnote = \"{}\"", case.note);
            let _ = writeln!(text, "bytes = \"{}\"", hex::encode(&case.bytes));
            for (name, value) in &case.facts {
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        text
    }
}

fn case(note: &'static str, bytes: Vec<u8>) -> Case {
    Case {
        note,
        bytes,
        facts: Vec::new(),
    }
}

/// The key of an envoy, by the one byte that is its whole seed.
pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    *secret(seed).public().as_bytes()
}
