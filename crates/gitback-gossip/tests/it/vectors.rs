//! Runs `tests/vectors/gossip`, where each file is one reason and is named by what it is about and its code.

use std::collections::BTreeSet;
use std::fs;

use gitback_gossip::{Mesh, MeshOutput, Millis, Notice, Places};
use gitback_identity::{EnvoyKey, hex};
use serde::Deserialize;

use crate::corpus;

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
    bytes: String,
    project: String,
    digest: String,
    holder: String,
    key: String,
    name: String,
    addresses: Vec<String>,
    number: u64,
    expires_ms: u64,
    signed: String,
    content: String,
    asks: bool,
    records: usize,
}

#[test]
fn every_vector_gives_what_it_expects() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(corpus::folder()).expect("the vectors are there") {
        let path = entry.expect("a readable entry").path();
        let text = fs::read_to_string(&path).expect("a readable vector");
        let file: File = toml::from_str(&text).expect("a well-formed vector");
        assert!(!file.case.is_empty(), "{} has no case", path.display());
        for case in &file.case {
            let bytes = hex::decode(&case.bytes, 1 << 16).expect("hex");
            let got = match file.what.as_str() {
                "notice" => notice(case, &bytes),
                "message" => message(case, &bytes),
                "places" => places(case, &bytes),
                other => panic!("{other} is nothing that has vectors"),
            };
            assert_eq!(got, file.expect, "{}: {}", path.display(), case.note);
        }
        let code = format!("{}-{}", file.what, file.expect);
        assert_eq!(
            path.file_stem().and_then(|stem| stem.to_str()),
            Some(&*code)
        );
        seen.insert(code);
    }
    let notices = NOTICE_CODES.iter().map(|code| format!("notice-{code}"));
    let messages = MESSAGE_CODES.iter().map(|code| format!("message-{code}"));
    let places = PLACES_CODES.iter().map(|code| format!("places-{code}"));
    assert_eq!(seen, notices.chain(messages).chain(places).collect());
}

#[test]
fn files_are_what_the_corpus_makes() {
    let hint = "run cargo run -p gitback-gossip --example vectors";
    let mut expected = BTreeSet::new();
    for file in corpus::files() {
        let path = corpus::folder().join(file.name());
        let text = fs::read_to_string(&path).expect("a readable vector");
        assert!(text == file.text(), "{} differs: {hint}", path.display());
        expected.insert(file.name());
    }
    let entries = fs::read_dir(corpus::folder()).expect("the vectors are there");
    let found: BTreeSet<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a name in ASCII"))
        .collect();
    assert_eq!(found, expected, "{hint}");
}

fn notice(case: &Case, bytes: &[u8]) -> &'static str {
    let notice = match Notice::decode(bytes) {
        Ok(notice) => notice,
        Err(reject) => return reject.code(),
    };
    assert_eq!(notice.encode(), bytes, "{}", case.note);
    match notice {
        Notice::Project {
            project,
            digest,
            holder,
        } => {
            assert_eq!(project.to_string(), case.project);
            assert_eq!(hex::encode(&digest), case.digest);
            assert_eq!(holder.to_string(), case.holder);
        }
        Notice::Address(record) => {
            assert_eq!(record.key().to_string(), case.key);
            assert_eq!(record.name(), case.name);
            assert_eq!(record.addresses(), case.addresses);
            assert_eq!(record.number(), case.number);
            assert_eq!(record.expires_ms(), case.expires_ms);
            assert!(case.signed.starts_with("445353457631"), "DSSEv1");
        }
    }
    "accepted"
}

fn message(case: &Case, bytes: &[u8]) -> &'static str {
    let key = |seed: u8| EnvoyKey::new(corpus::secret(seed).public());
    let mut mesh = Mesh::new(key(1), [0; 32], Millis(0));
    mesh.join(Millis(0), &[key(2), key(3)]);
    if let Err(reject) = mesh.receive(Millis(1), &key(2), bytes) {
        return reject.code();
    }
    let heard = std::iter::from_fn(|| mesh.poll()).find_map(|output| match output {
        MeshOutput::Heard { content, .. } => Some(hex::encode(&content)),
        MeshOutput::Send { .. } | MeshOutput::Up(_) | MeshOutput::Down(_) => None,
    });
    assert_eq!(heard.unwrap_or_default(), case.content, "{}", case.note);
    "accepted"
}

fn places(case: &Case, bytes: &[u8]) -> &'static str {
    let places = match Places::decode(bytes) {
        Ok(places) => places,
        Err(reject) => return reject.code(),
    };
    assert!(Places::is_one(bytes));
    assert_eq!(places.encode(), bytes, "{}", case.note);
    assert_eq!(places.is_asking(), case.asks, "{}", case.note);
    assert_eq!(places.records().len(), case.records, "{}", case.note);
    "accepted"
}

const NOTICE_CODES: [&str; 22] = [
    "accepted",
    "bad-address",
    "bad-name",
    "bad-signature",
    "item-count",
    "key-not-a-point",
    "key-not-canonical",
    "key-order",
    "key-weak",
    "missing-field",
    "not-shortest",
    "not-utf8",
    "record-too-large",
    "too-large",
    "too-many-addresses",
    "trailing-bytes",
    "truncated",
    "unknown-field",
    "unknown-kind",
    "unsupported-item",
    "wrong-item-type",
    "wrong-length",
];

/// All but `stranger` and `flood`, which are not in the bytes.
const MESSAGE_CODES: [&str; 11] = [
    "accepted",
    "content-too-large",
    "data-with-key",
    "malformed",
    "neighbours-only",
    "too-large",
    "too-many-hops",
    "too-many-nodes",
    "trailing-bytes",
    "wrong-content-id",
    "wrong-topic",
];

/// All but `wrong-head`, which makes it a message of another kind.
const PLACES_CODES: [&str; 9] = [
    "accepted",
    "bad-signature",
    "item-count",
    "too-large",
    "too-many-records",
    "trailing-bytes",
    "truncated",
    "unknown-flag",
    "wrong-item-type",
];
