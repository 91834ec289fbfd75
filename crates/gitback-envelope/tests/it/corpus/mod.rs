//! Where the files in `tests/vectors/envelope` come from.

mod accepted;
mod encoding;
mod fields;
mod names;
pub(crate) mod raw;
mod rules;
mod sets;

use std::fmt::Write as _;

use gitback_identity::hex;

pub(crate) const FOLDER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/envelope");

/// One file: one reason, or what is accepted.
pub(crate) struct File {
    expect: &'static str,
    about: &'static str,
    cases: Vec<Case>,
}

pub(crate) struct Case {
    note: &'static str,
    /// Envelopes that are put in first.
    before: Vec<Vec<u8>>,
    envelope: Vec<u8>,
    /// Further lines, in the order in which they are written.
    facts: Vec<(&'static str, String)>,
}

impl File {
    pub(crate) fn name(&self) -> String {
        format!("{}.toml", self.expect)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("# {}\n\nexpect = \"{}\"\n", self.about, self.expect);
        for case in &self.cases {
            let _ = writeln!(text, "\n[[case]]\nnote = \"{}\"", case.note);
            if !case.before.is_empty() {
                text.push_str("before = [\n");
                for envelope in &case.before {
                    let _ = writeln!(text, "  \"{}\",", hex::encode(envelope));
                }
                text.push_str("]\n");
            }
            let _ = writeln!(text, "envelope = \"{}\"", hex::encode(&case.envelope));
            for (name, value) in &case.facts {
                let _ = writeln!(text, "{name} = \"{value}\"");
            }
        }
        text
    }
}

impl Case {
    fn new(note: &'static str, envelope: Vec<u8>) -> Self {
        Self {
            note,
            before: Vec::new(),
            envelope,
            facts: Vec::new(),
        }
    }
}

pub(crate) fn files() -> Vec<File> {
    let mut files = vec![accepted::file()];
    files.extend(encoding::files());
    files.extend(fields::files());
    files.extend(rules::files());
    files.extend(names::files());
    files.extend(sets::files());
    files
}

fn file(expect: &'static str, about: &'static str, cases: Vec<(&'static str, Vec<u8>)>) -> File {
    let case = |(note, envelope)| Case::new(note, envelope);
    File {
        expect,
        about,
        cases: cases.into_iter().map(case).collect(),
    }
}
