//! Tokens: what each proves, and each reason why one proves nothing.

pub(crate) mod cases;

use std::fs;
use std::path::Path;

use gitback_envelope::{Access, Act, Envelope, Project, Token, TokenReject};
use gitback_identity::{ProjectId, hex};
use serde::Deserialize;

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
    project: String,
    token: String,
    puddle: String,
    access: String,
    envoy: String,
    uid: Option<u32>,
    expires_ms: Option<u64>,
}

const CODES: [&str; 10] = [
    "accepted",
    "token-too-long",
    "truncated",
    "bad-signature",
    "bad-heir-signature",
    "wrong-project",
    "token-no-init",
    "token-broken-line",
    "token-broken-membership",
    "token-no-grant",
];

#[test]
fn every_vector_gives_what_it_expects() {
    for code in CODES {
        let path = Path::new(cases::FOLDER).join(format!("{code}.toml"));
        let text = fs::read_to_string(&path).expect("a vector for each reason");
        let file: File = toml::from_str(&text).expect("a well-formed vector");
        assert_eq!(file.expect, code);
        assert!(!file.case.is_empty(), "{code} has no case");
        for case in &file.case {
            assert_eq!(run(case), code, "{}", case.note);
        }
    }
}

#[test]
fn files_are_what_the_cases_make() {
    for file in cases::files() {
        let path = Path::new(cases::FOLDER).join(file.name());
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == file.text(),
            "{} differs: run cargo run -p gitback-envelope --example token-vectors",
            path.display()
        );
        assert!(CODES.contains(&file.expect()), "{}", file.name());
    }
}

fn run(case: &Case) -> &'static str {
    let bytes = hex::decode(&case.token, 1 << 20).expect("hex");
    let project: ProjectId = case.project.parse().expect("a project id");
    let proof = Token::decode(&bytes).and_then(|token| {
        assert_eq!(token.encode(), bytes, "{}", case.note);
        token.verify(&project)
    });
    match proof {
        Ok(proof) => {
            let access = match proof.access {
                Access::Reader => "reader",
                Access::Member => "member",
                Access::Founder => "founder",
            };
            assert_eq!(access, case.access, "{}", case.note);
            assert_eq!(proof.puddle.to_string(), case.puddle, "{}", case.note);
            assert_eq!(proof.envoy.to_string(), case.envoy, "{}", case.note);
            assert_eq!(Some(proof.uid), case.uid, "{}", case.note);
            assert_eq!(proof.expires_ms, case.expires_ms, "{}", case.note);
            "accepted"
        }
        Err(reject) => reject.code(),
    }
}

#[test]
fn a_project_makes_the_token_that_verifies() {
    let world = cases::World::new();
    let mut project = Project::new(world.id());
    for envelope in world.all() {
        let _ = project.insert(envelope.clone());
    }
    let mut made = 0;
    for envelope in world.all() {
        let Some(token) = project.token(envelope.id()) else {
            continue;
        };
        let proof = token.verify(&world.id()).expect("it proves itself");
        assert_eq!(proof.puddle, envelope.statement().puddle);
        assert_eq!(Some(proof.access), project.access(&proof.puddle));
        let read = Token::decode(&token.encode()).expect("it reads back");
        assert_eq!(read.grant(), Some(envelope.id()));
        made += 1;
    }
    // The heir, a member and a reader; the retired founder's grant counts and opens nothing.
    assert_eq!(made, 3);
}

#[test]
fn any_cut_short_or_flipped_token_is_refused() {
    let world = cases::World::new();
    let token = world.member().encode();
    for end in 0..token.len() {
        assert!(Token::decode(&token[..end]).is_err(), "{end}");
    }
    for at in 0..token.len() {
        for bit in [0x01, 0x80] {
            let mut flipped = token.clone();
            flipped[at] ^= bit;
            let accepted = Token::decode(&flipped).and_then(|token| token.verify(&world.id()));
            assert!(accepted.is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_token_of_nothing_proves_nothing() {
    let token = Token::decode(&[0x80]).expect("an empty list");
    let project = cases::World::new().id();
    assert_eq!(token.verify(&project), Err(TokenReject::NoInit));
}

#[test]
fn envelopes_in_tokens_are_envelopes() {
    let world = cases::World::new();
    for envelope in world.member().envelopes() {
        let again = Envelope::decode(envelope.bytes()).and_then(Envelope::verify);
        assert_eq!(again.expect("well formed").id(), envelope.id());
        assert!(!matches!(envelope.statement().act, Act::Update(_)));
    }
}
