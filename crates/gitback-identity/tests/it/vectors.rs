//! Runs `tests/vectors/identity`, where each file is one reason and `expect` is its code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gitback_identity::{
    Address, Fingerprint, Handle, ProjectId, PublicKey, PuddleKey, PuddleName, SecretKey,
    Signature, hex,
};
use serde::Deserialize;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/identity");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    expect: String,
    case: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    note: String,
    text: String,
    seed: String,
    key: String,
    message: String,
    signature: String,
    founder: String,
    handle: String,
    project: String,
    words: String,
    hex: String,
}

#[test]
fn every_vector_gives_what_it_expects() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(FOLDER).expect("the vectors are there") {
        let path = entry.expect("a readable entry").path();
        let text = fs::read_to_string(&path).expect("a readable vector");
        let file: File = toml::from_str(&text).expect("a well-formed vector");
        assert!(!file.case.is_empty(), "{} has no case", path.display());
        for case in &file.case {
            let got = run(&file.what, case);
            let shown = format!("{}: {:?} {}", path.display(), case.text, case.note);
            assert_eq!(got, file.expect, "{shown}");
        }
        seen.insert(file.expect);
    }
    let missing: Vec<_> = CODES.iter().filter(|code| !seen.contains(**code)).collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

#[test]
fn every_file_of_a_reason_is_named_by_it() {
    for code in CODES {
        let path = Path::new(FOLDER).join(format!("{code}.toml"));
        assert!(path.is_file(), "{} is missing", path.display());
    }
}

fn run(what: &str, case: &Case) -> &'static str {
    match what {
        "key" => outcome(case.text.parse::<PublicKey>(), |reject| reject.code()),
        "signature" => signature(case),
        "handle" => shown(&case.text, Handle::parse(&case.text), |reject| {
            reject.code()
        }),
        "puddle-name" => shown(&case.text, PuddleName::parse(&case.text), |reject| {
            reject.code()
        }),
        "address" => shown(&case.text, case.text.parse::<Address>(), |reject| {
            reject.code()
        }),
        "project-id" => project_id(case),
        "fingerprint" => fingerprint(case),
        other => panic!("no such kind of vector: {other}"),
    }
}

fn outcome<T, E>(result: Result<T, E>, code: impl Fn(&E) -> &'static str) -> &'static str {
    result.map_or_else(|reject| code(&reject), |_| "accepted")
}

/// What is accepted prints exactly as it was read.
fn shown<T: ToString, E>(
    text: &str,
    result: Result<T, E>,
    code: impl Fn(&E) -> &'static str,
) -> &'static str {
    if let Ok(value) = &result {
        assert_eq!(value.to_string(), text);
    }
    outcome(result, code)
}

fn signature(case: &Case) -> &'static str {
    let key = match case.key.parse::<PublicKey>() {
        Ok(key) => key,
        Err(reject) => return reject.code(),
    };
    let message = hex::decode(&case.message, 64).expect("hex");
    let signature = Signature::from_bytes(&hex::decode_exact(&case.signature).expect("hex"));
    if !case.seed.is_empty() {
        let secret = SecretKey::from_seed(&hex::decode_exact(&case.seed).expect("hex"));
        assert_eq!(secret.public(), key);
        assert_eq!(secret.sign(&message), signature);
    }
    outcome(key.verify(&message, &signature), |_| "bad-signature")
}

fn project_id(case: &Case) -> &'static str {
    let founder: PuddleKey = case.founder.parse().expect("a key");
    let handle: Handle = case.handle.parse().expect("a handle");
    let project = ProjectId::derive(&founder, &handle);
    assert_eq!(project.to_string(), case.project);
    assert_eq!(case.project.parse(), Ok(project));
    "accepted"
}

fn fingerprint(case: &Case) -> &'static str {
    let key: PublicKey = case.key.parse().expect("a key");
    let fingerprint = key.fingerprint();
    assert_eq!(fingerprint.to_string(), case.words);
    assert_eq!(fingerprint.hex(), case.hex);
    assert_eq!(case.words.parse::<Fingerprint>(), Ok(fingerprint));
    assert_eq!(case.hex.parse::<Fingerprint>(), Ok(fingerprint));
    "accepted"
}

/// Every reason there is. A new one belongs here and into a vector of its name.
const CODES: [&str; 33] = [
    "key-not-hex",
    "key-not-a-point",
    "key-not-canonical",
    "key-weak",
    "bad-signature",
    "handle-empty",
    "handle-too-long",
    "handle-first-character",
    "handle-character",
    "handle-dot-dot",
    "handle-ending",
    "handle-looks-like-id",
    "name-too-short",
    "name-too-long",
    "name-first-character",
    "name-character",
    "address-too-long",
    "address-leading-hyphen",
    "address-control-character",
    "address-not-ascii",
    "address-space",
    "address-dot-dot",
    "address-scheme",
    "address-user",
    "address-port",
    "address-query",
    "address-fragment",
    "address-percent-escape",
    "address-backslash",
    "address-no-host",
    "address-capital-hex",
    "address-no-handle",
    "address-extra-path",
];
