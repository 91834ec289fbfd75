//! What the fuzz targets and their seeds agree on.

use std::sync::LazyLock;

use gitback_envelope::{Act, NameClaim, Statement, Token, Verified, signing_bytes};
use gitback_identity::{ProjectId, PublicKey, SecretKey, hex};

/// The kinds that a first byte picks in the `statement` target; the last stands for those that nobody knows.
pub const KINDS: [&str; 14] = [
    "init.v1",
    "policy.v1",
    "merge.v1",
    "invite.v1",
    "join.v1",
    "leave.v1",
    "revoke.v1",
    "rejoin.v1",
    "grant.v1",
    "ungrant.v1",
    "delegate.v1",
    "tombstone.v1",
    "update.v1",
    "x.v1",
];

/// The type of the kind that `choice` picks.
pub fn type_name(choice: u8) -> String {
    let kind = KINDS[usize::from(choice) % KINDS.len()];
    format!("application/vnd.gitback.{kind}+cbor")
}

/// The secret of a key that the vectors use: a seed of one byte, 32 times.
pub fn secret_of(key: &PublicKey) -> Option<SecretKey> {
    thread_local! {
        static KNOWN: Vec<(PublicKey, u8)> = (1..=8)
            .map(|seed| (SecretKey::from_seed(&[seed; 32]).public(), seed))
            .collect();
    }
    let seed = KNOWN.with(|known| {
        known
            .iter()
            .find(|(public, _)| public == key)
            .map(|(_, seed)| *seed)
    })?;
    Some(SecretKey::from_seed(&[seed; 32]))
}

/// One of the secrets that the vectors use.
pub fn known(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// A CBOR array of two byte strings.
pub fn wire_pair(body: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82];
    head(&mut bytes, 2, body.len());
    bytes.extend_from_slice(body);
    head(&mut bytes, 2, signature.len());
    bytes.extend_from_slice(signature);
    bytes
}

/// The envelope of these three parts.
pub fn wire(type_name: &str, body: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x83];
    head(&mut bytes, 3, type_name.len());
    bytes.extend_from_slice(type_name.as_bytes());
    head(&mut bytes, 2, body.len());
    bytes.extend_from_slice(body);
    head(&mut bytes, 2, signature.len());
    bytes.extend_from_slice(signature);
    bytes
}

fn head(bytes: &mut Vec<u8>, major: u8, length: usize) {
    let major = major << 5;
    let wide = u32::try_from(length)
        .expect("no input is that long")
        .to_be_bytes();
    match length {
        0..24 => bytes.push(major | wide[3]),
        24..0x100 => bytes.extend_from_slice(&[major | 24, wide[3]]),
        0x100..0x1_0000 => bytes.extend_from_slice(&[major | 25, wide[2], wide[3]]),
        _ => {
            bytes.push(major | 26);
            bytes.extend_from_slice(&wide);
        }
    }
}

/// What holds of every statement that was read from `body`.
pub fn check_statement(statement: &Statement, body: &[u8]) {
    let type_name = statement.type_name();
    if let Act::Unknown { .. } = statement.act {
        assert!(
            statement.encode_body().is_err(),
            "an unknown kind was written"
        );
        return;
    }
    let encoded = statement
        .encode_body()
        .expect("what was read can be written");
    assert_eq!(encoded, body, "it is written as it was read");
    assert_eq!(
        statement.signing_bytes().as_deref(),
        Ok(&*signing_bytes(&type_name, body)),
    );
    let accepts = statement.acceptance_bytes().expect("a known kind");
    assert_eq!(accepts.is_some(), matches!(statement.act, Act::Delegate(_)));
    if let Some(bytes) = accepts {
        // The heir signs the body without its last field: one field less, and 67 bytes.
        let mut shorter = body[..body.len() - 67].to_vec();
        shorter[0] -= 1;
        let type_name = "application/vnd.gitback.delegate-accept.v1+cbor";
        assert_eq!(bytes, signing_bytes(type_name, &shorter));
    }
}

/// What holds of every claim that was read from `body`.
pub fn check_claim(claim: &NameClaim, body: &[u8]) {
    assert_eq!(claim.encode_body(), body, "it is written as it was read");
    assert_eq!(
        claim.signing_bytes(),
        signing_bytes(&NameClaim::type_name(), body)
    );
}

/// The project of the tokens in the vectors.
pub fn token_project() -> &'static ProjectId {
    static PROJECT: LazyLock<ProjectId> = LazyLock::new(|| {
        let envelope = real_tokens().first().expect("the vectors hold tokens");
        envelope.statement().project
    });
    &PROJECT
}

/// Every envelope in the accepted tokens of the vectors.
pub fn real_tokens() -> &'static [Verified] {
    static ENVELOPES: LazyLock<Vec<Verified>> = LazyLock::new(|| {
        let text = include_str!("../../vectors/token/accepted.toml");
        let tokens = text
            .lines()
            .filter_map(|line| line.strip_prefix("token = \"")?.strip_suffix('"'));
        tokens
            .flat_map(|token| {
                let bytes = hex::decode(token, 1 << 20).expect("hex");
                let token = Token::decode(&bytes).expect("an accepted token");
                token.envelopes().to_vec()
            })
            .collect()
    });
    &ENVELOPES
}
