//! What puddles say in tests, and a daemon that wants it signed.

use std::sync::atomic::{AtomicBool, Ordering};

use gitback_envelope::{Act, Envelope, Grant, Incarnation, Statement, Token, Verified};
use gitback_helper::{Draft, Reply, Request};
use gitback_identity::{EnvoyKey, SecretKey, hex};

use crate::world::{dan, handle, notes, secret, uid};

/// The founding of the project, sealed.
pub(crate) fn founding() -> Verified {
    sealed(Statement::init(&dan(), &handle()), &secret())
}

/// The envoy that the daemon is.
pub(crate) fn mars() -> EnvoyKey {
    EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public())
}

/// An honest draft: the founder lets this envoy serve this user.
pub(crate) fn grant() -> Statement {
    let envoy = mars();
    Statement {
        project: notes(),
        signer: *dan().key(),
        puddle: dan(),
        envoy: Some(envoy),
        incarnation: Incarnation::from_bytes(&[3; 16]),
        seq: 0,
        prev: None,
        deps: vec![*founding().id()],
        time_ms: Some(1),
        act: Act::Grant(Grant {
            envoy,
            uid: uid(),
            // Any end will do that is not further away than a grant lives.
            expires_ms: Some(1),
        }),
    }
}

pub(crate) fn draft(statement: &Statement) -> Draft {
    let body = statement
        .encode_body()
        .expect("a statement that can be written");
    Draft {
        type_name: statement.type_name(),
        body: hex::encode(&body),
    }
}

/// A daemon that opens the stream once something was handed in, and until then says `need`.
pub(crate) fn asks_first(need: Reply) -> impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static {
    let satisfied = AtomicBool::new(false);
    move |request| match request {
        Request::Open { .. } if satisfied.load(Ordering::SeqCst) => vec![Reply::Ready],
        Request::Open { .. } => vec![need.clone()],
        _ => {
            satisfied.store(true, Ordering::SeqCst);
            vec![
                Reply::Progress {
                    text: "writing it down".to_owned(),
                },
                Reply::Accepted {
                    notes: vec!["mars may serve you now".to_owned()],
                    token: Some(hex::encode(&token().encode())),
                },
            ]
        }
    }
}

pub(crate) fn verified(envelope: &str) -> Verified {
    let bytes = hex::decode(envelope, 1 << 20).expect("hex");
    Envelope::decode(&bytes)
        .expect("an envelope")
        .verify()
        .expect("a signature")
}

/// What proves that dan's grant is one.
pub(crate) fn token() -> Token {
    Token::new(vec![founding(), sealed(grant(), &secret())])
}

pub(crate) fn sealed(statement: Statement, by: &SecretKey) -> Verified {
    let signature = by.sign(&statement.signing_bytes().expect("a statement"));
    statement.seal(signature).expect("its signer's signature")
}
