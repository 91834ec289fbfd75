//! Runs `tests/vectors/envelope` and `tests/vectors/name-claim`, where each file is one reason and is named by its code.

mod says;

use std::collections::BTreeSet;
use std::fs;

use gitback_envelope::{
    Act, Envelope, NameClaim, Project, Reject, Statement, Verified, VerifiedClaim,
};
use gitback_identity::hex;
use serde::Deserialize;

use crate::codec::every_kind;
use crate::corpus::{self, Area};

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
    heir_signs: String,
    says: toml::Table,
}

#[test]
fn every_vector_gives_what_it_expects() {
    let [envelopes, claims] = corpus::areas();
    check_area(&envelopes, &CODES, run);
    check_area(&claims, &CLAIM_CODES, run_claim);
}

/// Runs every file of `area`, and looks for one of each of `codes`.
fn check_area(area: &Area, codes: &[&str], run: fn(&Case) -> &'static str) {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(area.folder()).expect("the vectors are there") {
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
    let codes: BTreeSet<_> = codes.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(seen, codes, "{}", area.name);
}

/// Each kind must be among what is accepted, so that nobody has to guess how it is written.
#[test]
fn every_kind_has_an_accepted_vector() {
    let [envelopes, _] = corpus::areas();
    let path = envelopes.folder().join("accepted.toml");
    let text = fs::read_to_string(path).expect("a readable vector");
    for draft in every_kind() {
        let line = format!("type = \"{}\"", draft.type_name);
        assert!(text.lines().any(|other| other == line), "no {line}");
    }
}

#[test]
fn files_are_what_the_corpus_makes() {
    for area in corpus::areas() {
        check_files(&area);
    }
}

fn check_files(area: &Area) {
    let hint = "run cargo run -p gitback-envelope --example vectors";
    let mut expected = BTreeSet::new();
    for file in &area.files {
        let path = area.folder().join(file.name());
        let text = fs::read_to_string(&path).expect("a readable vector");
        assert!(text == file.text(), "{} differs: {hint}", path.display());
        expected.insert(file.name());
    }
    let entries = fs::read_dir(area.folder()).expect("the vectors are there");
    let found: BTreeSet<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a name in ASCII"))
        .collect();
    assert_eq!(found, expected, "{hint}");
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
    Envelope::decode(&from_hex(envelope))?.verify()
}

fn from_hex(text: &str) -> Vec<u8> {
    hex::decode(text, 1 << 20).expect("hex")
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
    let body = from_hex(&case.body);
    assert_eq!(hex::encode(verified.bytes()), case.envelope, "{note}");
    assert_eq!(verified.id().to_string(), case.id, "{note}");
    assert_eq!(statement.type_name(), case.r#type, "{note}");
    assert_eq!(
        Statement::decode(&case.r#type, &body).as_ref(),
        Ok(statement),
        "{note}"
    );
    assert_eq!(says::statement(statement), case.says, "{note}");
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
    let heir_signs = statement.acceptance_bytes().expect("whatever was decoded");
    let heir_signs = heir_signs.map(|bytes| hex::encode(&bytes));
    assert_eq!(heir_signs.unwrap_or_default(), case.heir_signs, "{note}");
}

fn run_claim(case: &Case) -> &'static str {
    match VerifiedClaim::decode(&from_hex(&case.envelope)) {
        Ok(verified) => {
            check_accepted_claim(case, &verified);
            "accepted"
        }
        Err(reject) => reject.code(),
    }
}

fn check_accepted_claim(case: &Case, verified: &VerifiedClaim) {
    let note = &case.note;
    let claim = verified.claim();
    let body = from_hex(&case.body);
    assert_eq!(hex::encode(verified.bytes()), case.envelope, "{note}");
    assert_eq!(NameClaim::type_name(), case.r#type, "{note}");
    assert_eq!(NameClaim::decode_body(&body).as_ref(), Ok(claim), "{note}");
    assert_eq!(claim.encode_body(), body, "{note}");
    assert_eq!(says::claim(claim), case.says, "{note}");
}

/// Every reason that one envelope, or one after a few others, can give. A new one belongs here and into the corpus.
/// The reasons that need thousands of envelopes are in `limits.rs`.
const CODES: [&str; 42] = [
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
    "own-successor",
    "bad-signature",
    "bad-heir-signature",
    "wrong-project",
    "broken-chain",
];

/// Every reason that a claim to a name can give.
const CLAIM_CODES: [&str; 22] = [
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
    "item-count",
    "missing-field",
    "unknown-field",
    "wrong-length",
    "key-weak",
    "key-not-canonical",
    "key-not-a-point",
    "name-too-short",
    "name-too-long",
    "name-first-character",
    "name-character",
    "bad-signature",
];
