//! Where the files in `tests/vectors/envelope` and `tests/vectors/name-claim` come from.

mod accepted;
mod claims;
mod encoding;
mod fields;
mod kinds;
mod names;
pub(crate) mod raw;
mod rules;
mod says;
mod sets;

use std::fmt::Write as _;
use std::path::PathBuf;

use gitback_identity::hex;

use raw::Draft;

/// One folder of vectors: one decoder.
pub(crate) struct Area {
    pub(crate) name: &'static str,
    pub(crate) files: Vec<File>,
}

impl Area {
    pub(crate) fn folder(&self) -> PathBuf {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
        PathBuf::from(vectors).join(self.name)
    }
}

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
    /// What is accepted, field by field: the lines of a table.
    says: String,
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
            if !case.says.is_empty() {
                let _ = write!(text, "[case.says]\n{}", case.says);
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
            says: String::new(),
        }
    }

    /// One that is accepted, with what it says.
    fn accepted(note: &'static str, draft: &Draft) -> Self {
        Self {
            facts: vec![
                ("type", draft.type_name.clone()),
                ("body", hex::encode(&draft.body())),
                ("id", hex::encode(&draft.id())),
            ],
            says: says::lines(draft),
            ..Self::new(note, draft.seal())
        }
    }
}

pub(crate) fn areas() -> [Area; 2] {
    let mut envelopes = vec![accepted::file()];
    envelopes.extend(encoding::files());
    envelopes.extend(fields::files());
    envelopes.extend(rules::files());
    envelopes.extend(names::files());
    envelopes.extend(sets::files());
    for more in kinds::files() {
        match envelopes.iter_mut().find(|file| file.expect == more.expect) {
            Some(file) => file.cases.extend(more.cases),
            None => envelopes.push(more),
        }
    }
    [
        Area {
            name: "envelope",
            files: envelopes,
        },
        Area {
            name: "name-claim",
            files: claims::files(),
        },
    ]
}

fn file(expect: &'static str, about: &'static str, cases: Vec<(&'static str, Vec<u8>)>) -> File {
    let case = |(note, envelope)| Case::new(note, envelope);
    File {
        expect,
        about,
        cases: cases.into_iter().map(case).collect(),
    }
}
