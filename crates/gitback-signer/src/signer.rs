//! Having it signed.

use std::path::Path;

use gitback_envelope::{NameClaim, Reject, Verified, VerifiedClaim};
use gitback_identity::{PuddleKey, SecretKey, Signature};
use gitback_puddle::session::{self, CallError, ConnectError};
use thiserror::Error;

use crate::Approved;

/// Whoever holds the key.
#[derive(Debug)]
pub struct Signer {
    key: PuddleKey,
    by: By,
}

#[derive(Debug)]
enum By {
    Session(session::Client),
    Secret(SecretKey),
}

/// Why nothing was signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// No session answers: the puddle is locked, most often.
    #[error("cannot reach the session")]
    Connect(#[source] ConnectError),
    /// The session holds another key.
    #[error("the session holds another key, {}", key.short())]
    OtherKey {
        /// Which one.
        key: PuddleKey,
    },
    /// The session did not sign.
    #[error("the session did not sign")]
    Call(#[source] CallError),
    /// What came of it is no envelope.
    #[error("cannot write an envelope")]
    Envelope(#[source] Reject),
}

impl SignError {
    /// Whether no session runs at all.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::Locked { .. })
                | Self::Call(CallError::Connect(ConnectError::Locked { .. }))
        )
    }
}

impl Signer {
    /// The session on `socket`, which must hold `key`.
    ///
    /// # Errors
    ///
    /// [`SignError::Connect`] if no session runs, [`SignError::OtherKey`] if it is of another puddle.
    pub fn connect(socket: &Path, key: &PuddleKey) -> Result<Self, SignError> {
        let client = session::Client::connect(socket).map_err(SignError::Connect)?;
        let status = client.status().map_err(SignError::Call)?;
        if status.key != *key {
            return Err(SignError::OtherKey { key: status.key });
        }
        Ok(Self {
            key: *key,
            by: By::Session(client),
        })
    }

    /// A key in hand, such as a retired one that was unwrapped for one use.
    #[must_use]
    pub fn holding(secret: SecretKey) -> Self {
        Self {
            key: PuddleKey::new(secret.public()),
            by: By::Secret(secret),
        }
    }

    /// Who signs.
    #[must_use]
    pub const fn key(&self) -> &PuddleKey {
        &self.key
    }

    /// Has a statement signed, and seals it.
    ///
    /// # Errors
    ///
    /// [`SignError`] if it is not signed, or the signature is not that of the statement's signer.
    pub fn seal(&self, approved: Approved) -> Result<Verified, SignError> {
        let (type_name, body) = (approved.type_name(), approved.body());
        let signature = match &self.by {
            By::Session(session) => session.sign(type_name, body).map_err(SignError::Call)?,
            By::Secret(secret) => secret.sign(&gitback_envelope::signing_bytes(type_name, body)),
        };
        let statement = approved.into_statement();
        statement.seal(signature).map_err(SignError::Envelope)
    }

    /// Has a claim to a name signed, or its release, and seals it.
    ///
    /// # Errors
    ///
    /// [`SignError`] if it is not signed, or is not this key's claim.
    pub fn claim(&self, claim: &NameClaim) -> Result<VerifiedClaim, SignError> {
        let signature = match &self.by {
            By::Session(session) => session.claim_name(&claim.encode_body()),
            By::Secret(secret) => Ok(secret.sign(&claim.signing_bytes())),
        };
        let signature = signature.map_err(SignError::Call)?;
        claim.seal(&signature).map_err(SignError::Envelope)
    }

    /// Has the acceptance of a delegation to this key signed.
    ///
    /// # Errors
    ///
    /// [`SignError`] if it is not signed, or is no delegation.
    pub fn accept(&self, delegation: &Approved) -> Result<Signature, SignError> {
        let (type_name, body) = (delegation.type_name(), delegation.body());
        match &self.by {
            By::Session(session) => session.accept(type_name, body).map_err(SignError::Call),
            By::Secret(secret) => {
                let bytes = delegation.statement().acceptance_bytes();
                let bytes = bytes.map_err(SignError::Envelope)?;
                Ok(secret.sign(&bytes.ok_or(SignError::Envelope(Reject::Type))?))
            }
        }
    }
}
