//! What the session signs, and what it does not.
//!
//! Whatever is signed here was understood first: a signature over bytes that
//! somebody else chose could mean anything.
//!
//! Source: docs/spec/puddle.md §6.

use std::error::Error;

use gitback_envelope::{Act, NameClaim, Reject, Statement, signing_bytes};
use gitback_identity::{PublicKey, SecretKey, Signature, hex};

use super::FRAME_MAX;

/// Why something is not signed.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// A stable code.
    pub(crate) code: &'static str,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Signs a statement about a project: one of a known kind, with the own key as
/// the signer. Not a delegation: nobody could take it back, so giving a project
/// away takes the key itself, and with it the passphrase.
pub(crate) fn statement(
    own: &SecretKey,
    type_name: &str,
    body: &str,
) -> Result<Signature, Refusal> {
    let body = read_hex(body)?;
    let statement = read_statement(type_name, &body)?;
    require_own(own, "signer", "foreign-signer", &statement.signer)?;
    if let Act::Unknown { kind } = statement.act {
        let reason = format!("the kind {kind} is not known");
        return Err(refusal("unknown-kind", reason));
    }
    if let Act::Delegate(_) = statement.act {
        let reason = "a session gives no project away; that takes the passphrase";
        return Err(refusal("delegation", reason.to_owned()));
    }
    Ok(own.sign(&signing_bytes(type_name, &body)))
}

/// Signs that the own key takes over what a delegation passes to it. The heir's
/// signature in the draft may be anything: it is what is made here.
pub(crate) fn delegation(
    own: &SecretKey,
    type_name: &str,
    body: &str,
) -> Result<Signature, Refusal> {
    let statement = read_statement(type_name, &read_hex(body)?)?;
    let accepted = statement.acceptance_bytes().map_err(|reject| of(&reject))?;
    let (Act::Delegate(delegate), Some(accepted)) = (&statement.act, accepted) else {
        let reason = format!("the kind {} delegates nothing", statement.act.kind());
        return Err(refusal("no-delegation", reason));
    };
    require_own(own, "heir", "foreign-heir", delegate.to.key())?;
    Ok(own.sign(&accepted))
}

/// Signs a claim of the own key to a name, or its release.
pub(crate) fn claim(own: &SecretKey, body: &str) -> Result<Signature, Refusal> {
    let body = read_hex(body)?;
    let claim = NameClaim::decode_body(&body).map_err(|reject| of(&reject))?;
    require_own(own, "puddle", "foreign-signer", claim.puddle.key())?;
    Ok(own.sign(&signing_bytes(&NameClaim::type_name(), &body)))
}

fn read_hex(body: &str) -> Result<Vec<u8>, Refusal> {
    hex::decode(body, FRAME_MAX)
        .ok_or_else(|| refusal("not-hex", "the body is not lowercase hex".to_owned()))
}

fn read_statement(type_name: &str, body: &[u8]) -> Result<Statement, Refusal> {
    Statement::decode(type_name, body).map_err(|reject| of(&reject))
}

fn require_own(
    own: &SecretKey,
    who: &str,
    code: &'static str,
    key: &PublicKey,
) -> Result<(), Refusal> {
    let own = own.public();
    if *key == own {
        return Ok(());
    }
    Err(refusal(code, format!("the {who} is {key}, not {own}")))
}

fn refusal(code: &'static str, reason: String) -> Refusal {
    Refusal { code, reason }
}

/// A reject and what is behind it, on one line.
fn of(reject: &Reject) -> Refusal {
    let mut reason = reject.to_string();
    let mut cause = reject.source();
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    refusal(reject.code(), reason)
}
