//! Looking at what the daemon wants signed, and having it signed.
//!
//! The daemon drafts, since it knows the chain. It is not taken at its word: only a grant for
//! this user, in this project, by the user's own puddle is handed to the session that signs.

use std::path::Path;

use gitback_envelope::{Act, Reject, Statement};
use gitback_helper::{Draft, Failure};
use gitback_identity::{Handle, ProjectId, hex};
use gitback_puddle::session;
use thiserror::Error;

use crate::failures;
use crate::resolve::Own;

/// The longest body of a draft, in bytes.
const DRAFT_MAX: usize = 8 * 1024;

/// What an honest draft says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) project: &'a ProjectId,
    pub(crate) own: &'a Own,
    pub(crate) uid: u32,
}

/// Why a draft is not signed.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum DraftReject {
    #[error("it is not written in hex, or is too long")]
    Hex,
    #[error("it is no statement")]
    Statement(#[source] Reject),
    #[error("it is not a grant but {type_name}")]
    OtherKind { type_name: String },
    #[error("it is about another project, {}", project.short())]
    OtherProject { project: ProjectId },
    #[error("it is for another puddle")]
    OtherPuddle,
    #[error("it would let user {uid} in")]
    OtherUser { uid: u32 },
}

/// A statement that was looked at and may be signed.
#[derive(Debug)]
pub(crate) struct Approved {
    statement: Statement,
    type_name: String,
    body: Vec<u8>,
}

/// Looks at a draft of a grant.
pub(crate) fn check(draft: &Draft, expected: Expected<'_>) -> Result<Approved, DraftReject> {
    let body = hex::decode(&draft.body, DRAFT_MAX).ok_or(DraftReject::Hex)?;
    let statement = Statement::decode(&draft.type_name, &body).map_err(DraftReject::Statement)?;
    let Act::Grant(grant) = &statement.act else {
        return Err(DraftReject::OtherKind {
            type_name: draft.type_name.clone(),
        });
    };
    if statement.project != *expected.project {
        return Err(DraftReject::OtherProject {
            project: statement.project,
        });
    }
    let own = &expected.own.key;
    if statement.puddle != *own || statement.signer != *own.key() {
        return Err(DraftReject::OtherPuddle);
    }
    if grant.uid != expected.uid {
        return Err(DraftReject::OtherUser { uid: grant.uid });
    }
    Ok(Approved {
        type_name: draft.type_name.clone(),
        body,
        statement,
    })
}

/// The founding of the user's own project, which needs no looking at: it is made here.
pub(crate) fn founding(own: &Own, handle: &Handle) -> Result<Approved, Failure> {
    let statement = Statement::init(&own.key, handle);
    let body = statement
        .encode_body()
        .map_err(|reject| failures::not_sealed(&reject))?;
    Ok(Approved {
        type_name: statement.type_name(),
        body,
        statement,
    })
}

/// The user's unlocked puddle.
pub(crate) struct Signer<'a> {
    client: session::Client,
    own: &'a Own,
    what_for: &'a str,
}

impl<'a> Signer<'a> {
    /// Finds the session that holds the key. `what_for` completes "puddle dan is locked; ".
    pub(crate) fn connect(socket: &Path, own: &'a Own, what_for: &'a str) -> Result<Self, Failure> {
        let client = session::Client::connect(socket)
            .map_err(|error| failures::session(&error, &own.name, what_for))?;
        Ok(Self {
            client,
            own,
            what_for,
        })
    }

    /// Has a statement signed, and gives the sealed envelope in hex.
    pub(crate) fn seal(&self, approved: Approved) -> Result<String, Failure> {
        let Approved {
            statement,
            type_name,
            body,
        } = approved;
        let signature = self
            .client
            .sign(&type_name, &body)
            .map_err(|error| failures::not_signed(&error, &self.own.name, self.what_for))?;
        let sealed = statement
            .seal(signature)
            .map_err(|reject| failures::not_sealed(&reject))?;
        Ok(hex::encode(sealed.bytes()))
    }
}
