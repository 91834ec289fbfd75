//! Runs `tests/vectors/envelope`, where each file is one reason and is named by its code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gitback_envelope::{Act, Envelope, Project, Reject, Statement, Verified};
use gitback_identity::hex;
use serde::Deserialize;

use crate::corpus;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    expect: String,
    case: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    note: String,
    before: Vec<String>,
    envelope: String,
    r#type: String,
    body: String,
    id: String,
    signed: String,
}

#[test]
fn every_vector_gives_what_it_expects() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(corpus::FOLDER).expect("the vectors are there") {
        let path = entry.expect("a readable entry").path();
        let text = fs::read_to_string(&path).expect("a readable vector");
        let file: File = toml::from_str(&text).expect("a well-formed vector");
        assert!(!file.case.is_empty(), "{} has no case", path.display());
        for case in &file.case {
            let got = run(case);
            assert_eq!(got, file.expect, "{}: {}", path.display(), case.note);
        }
        assert_eq!(
            path.file_stem().and_then(|stem| stem.to_str()),
            Some(&*file.expect)
        );
        seen.insert(file.expect);
    }
    let missing: Vec<_> = CODES.iter().filter(|code| !seen.contains(**code)).collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

#[test]
fn files_are_what_the_corpus_makes() {
    let hint = "run cargo run -p gitback-envelope --example vectors";
    let mut expected = BTreeSet::new();
    for file in corpus::files() {
        let path = Path::new(corpus::FOLDER).join(file.name());
        let text = fs::read_to_string(&path).expect("a readable vector");
        assert!(text == file.text(), "{} differs: {hint}", path.display());
        expected.insert(path);
    }
    let entries = fs::read_dir(corpus::FOLDER).expect("the vectors are there");
    let found: BTreeSet<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let names = |paths: &BTreeSet<std::path::PathBuf>| -> BTreeSet<_> {
        paths
            .iter()
            .filter_map(|path| path.file_name().map(ToOwned::to_owned))
            .collect()
    };
    assert_eq!(names(&found), names(&expected), "{hint}");
}

fn run(case: &Case) -> &'static str {
    let result = read(&case.envelope).and_then(|verified| put(case, verified));
    match result {
        Ok(verified) => {
            check_accepted(case, &verified);
            "accepted"
        }
        Err(reject) => reject.code(),
    }
}

fn read(envelope: &str) -> Result<Verified, Reject> {
    let bytes = hex::decode(envelope, 1 << 20).expect("hex");
    Envelope::decode(&bytes)?.verify()
}

fn put(case: &Case, verified: Verified) -> Result<Verified, Reject> {
    let before: Vec<Verified> = case
        .before
        .iter()
        .map(|envelope| read(envelope).expect("what comes before holds"))
        .collect();
    if let Some(first) = before.first() {
        let mut project = Project::new(first.statement().project);
        for envelope in before {
            project.insert(envelope)?;
        }
        project.insert(verified.clone())?;
    }
    Ok(verified)
}

fn check_accepted(case: &Case, verified: &Verified) {
    let note = &case.note;
    let statement = verified.statement();
    let body = hex::decode(&case.body, 1 << 20).expect("hex");
    assert_eq!(hex::encode(verified.bytes()), case.envelope, "{note}");
    assert_eq!(verified.id().to_string(), case.id, "{note}");
    assert_eq!(statement.type_name(), case.r#type, "{note}");
    assert_eq!(
        Statement::decode(&case.r#type, &body).as_ref(),
        Ok(statement),
        "{note}"
    );
    let encoded = statement.encode_body();
    if let Act::Unknown { .. } = statement.act {
        assert_eq!(encoded, Err(Reject::NotWritable), "{note}");
    } else {
        assert_eq!(encoded, Ok(body), "{note}");
    }
    if !case.signed.is_empty() {
        let signed = statement.signing_bytes().expect("a known kind");
        assert_eq!(hex::encode(&signed), case.signed, "{note}");
    }
}

/// Every reason that one envelope, or one after a few others, can give. A new one belongs here and into the corpus.
/// The reasons that need thousands of envelopes are in `limits.rs`.
const CODES: [&str; 40] = [
    "accepted",
    "bad-type",
    "too-large",
    "truncated",
    "trailing-bytes",
    "not-shortest",
    "wrong-item-type",
    "unsupported-item",
    "not-utf8",
    "key-order",
    "too-deep",
    "item-count",
    "missing-field",
    "unknown-field",
    "wrong-length",
    "out-of-range",
    "list-order",
    "too-many",
    "empty-list",
    "key-weak",
    "key-not-canonical",
    "key-not-a-point",
    "handle-ending",
    "ref-too-long",
    "ref-not-under-refs",
    "ref-reserved",
    "ref-character",
    "ref-sequence",
    "ref-component",
    "ref-component-too-long",
    "init-not-bare",
    "project-mismatch",
    "wrong-signer",
    "no-envoy",
    "no-incarnation",
    "prev-mismatch",
    "no-past",
    "bad-signature",
    "wrong-project",
    "broken-chain",
];
