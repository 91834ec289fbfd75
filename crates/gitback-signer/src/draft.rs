//! Looking at what the daemon wants signed.

use std::time::Duration;

use gitback_envelope::{
    Act, CUT_BODY_MAX, Delegate, EnvelopeId, Invite, Policy, Reject, Statement,
};
use gitback_helper::{DRAFTS_MAX, Draft, GRANT_LIFE};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, Signature, hex};
use thiserror::Error;

/// How far the daemon's clock may be ahead when it says when a grant ends. Both run on one machine.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 3600);

/// What the user has asked for. Drafts that say anything else are not signed.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The project that they are about.
    pub project: &'a ProjectId,
    /// The puddle that signs, for itself.
    pub puddle: &'a PuddleKey,
    /// What they may say. A `merge` says nothing and may always come along.
    pub may: &'a [May],
}

/// One thing that a draft may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum May {
    /// The envoy on which it is written may sign when this user asks.
    Grant {
        /// The user.
        uid: u32,
        /// The latest end of the grant, Unix milliseconds.
        until_ms: u64,
    },
    /// The puddle accepts an invitation.
    Join {
        /// Which one; any if absent.
        invite: Option<EnvelopeId>,
    },
    /// The puddle ends its own membership.
    Leave,
    /// The puddle asks to be invited again.
    Rejoin,
    /// Exactly this puddle is invited to do exactly this.
    Invite(Invite),
    /// One of these memberships ends.
    Revoke {
        /// The memberships of the puddle that the user named.
        invites: Vec<EnvelopeId>,
    },
    /// The founder line passes to this key. The heir has not signed yet.
    Delegate {
        /// The heir.
        to: PuddleKey,
        /// SHA-256 of the key that must come after the heir.
        next: Option<[u8; 32]>,
    },
    /// The project ends, and this one takes its place.
    Tombstone {
        /// The successor's founder.
        founder: PuddleKey,
        /// The successor's handle.
        handle: Handle,
    },
    /// This envoy may sign for the puddle no longer.
    Ungrant {
        /// The envoy.
        envoy: EnvoyKey,
    },
    /// The project is kept exactly like this.
    Policy(Policy),
}

/// Why drafts are not signed.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DraftReject {
    /// There is nothing to sign, or more than a reply holds.
    #[error("it sent {count} drafts")]
    Count {
        /// How many.
        count: usize,
    },
    /// A body is not what the socket carries.
    #[error("it is not written in hex, or is too long")]
    Hex,
    /// A body says nothing that this version understands.
    #[error("it is no statement")]
    Statement(#[source] Reject),
    /// It says something that nobody asked for.
    #[error("nobody asked for {type_name}")]
    OtherKind {
        /// Its type.
        type_name: String,
    },
    /// It is about a project that nobody asked for.
    #[error("it is about another project, {}", project.short())]
    OtherProject {
        /// Which one.
        project: ProjectId,
    },
    /// Somebody else is to sign, or for somebody else.
    #[error("it is for another puddle")]
    OtherPuddle,
    /// It lets somebody else in.
    #[error("it would let user {uid} in")]
    OtherUser {
        /// Whom.
        uid: u32,
    },
    /// It is of the right kind and says something else than was asked for.
    #[error("its {field} is not what was asked for")]
    Field {
        /// What differs.
        field: &'static str,
    },
}

/// A statement that may be signed: it was looked at, or made here.
#[derive(Debug)]
pub struct Approved {
    statement: Statement,
    type_name: String,
    body: Vec<u8>,
}

/// Looks at drafts. They come back in their order, and only if each of them says what was asked for.
///
/// # Errors
///
/// [`DraftReject`] says what is wrong with the first that differs.
pub fn approve(drafts: &[Draft], expected: Expected<'_>) -> Result<Vec<Approved>, DraftReject> {
    let count = drafts.len();
    if count == 0 || count > DRAFTS_MAX {
        return Err(DraftReject::Count { count });
    }
    let looked_at = drafts.iter().map(|draft| look_at(draft, expected));
    looked_at.collect()
}

fn look_at(draft: &Draft, expected: Expected<'_>) -> Result<Approved, DraftReject> {
    let body = hex::decode(&draft.body, CUT_BODY_MAX).ok_or(DraftReject::Hex)?;
    let statement = Statement::decode(&draft.type_name, &body).map_err(DraftReject::Statement)?;
    if statement.project != *expected.project {
        return Err(DraftReject::OtherProject {
            project: statement.project,
        });
    }
    if statement.puddle != *expected.puddle || !statement.by_puddle() {
        return Err(DraftReject::OtherPuddle);
    }
    allowed(&statement, expected.may)?;
    Ok(Approved {
        type_name: draft.type_name.clone(),
        body,
        statement,
    })
}

/// Allowed is what is allowed by any of `may`. Where several are of the kind, the first says what
/// is wrong.
fn allowed(statement: &Statement, may: &[May]) -> Result<(), DraftReject> {
    if statement.act == Act::Merge {
        return Ok(());
    }
    let mut wrong = None;
    for one in may {
        match one.judge(statement) {
            Some(Ok(())) => return Ok(()),
            Some(Err(reject)) => wrong = wrong.or(Some(reject)),
            None => {}
        }
    }
    Err(wrong.unwrap_or_else(|| DraftReject::OtherKind {
        type_name: statement.type_name(),
    }))
}

impl May {
    /// A grant for this user, for [`GRANT_LIFE`] from now.
    #[must_use]
    pub fn grant(uid: u32, now_ms: u64) -> Self {
        let life = GRANT_LIFE.saturating_add(CLOCK_SLACK).as_millis();
        Self::Grant {
            uid,
            until_ms: now_ms.saturating_add(u64::try_from(life).unwrap_or(u64::MAX)),
        }
    }

    /// Nothing if the statement is of another kind.
    fn judge(&self, statement: &Statement) -> Option<Result<(), DraftReject>> {
        let field = |same: bool, field| {
            if same {
                Ok(())
            } else {
                Err(DraftReject::Field { field })
            }
        };
        let judged = match (self, &statement.act) {
            (Self::Grant { uid, until_ms }, Act::Grant(grant)) => {
                if grant.uid != *uid {
                    Err(DraftReject::OtherUser { uid: grant.uid })
                } else if statement.envoy != Some(grant.envoy) {
                    field(false, "envoy")
                } else {
                    let ends = grant.expires_ms.is_some_and(|end| end <= *until_ms);
                    field(ends, "end")
                }
            }
            (Self::Join { invite: asked }, Act::Join { invite }) => {
                field(asked.is_none_or(|asked| asked == *invite), "invitation")
            }
            (Self::Leave, Act::Leave { .. }) | (Self::Rejoin, Act::Rejoin { .. }) => Ok(()),
            (Self::Invite(asked), Act::Invite(invite)) => {
                field(asked.puddle == invite.puddle, "guest")
                    .and_then(|()| field(asked.role == invite.role, "role"))
            }
            (Self::Revoke { invites }, Act::Revoke(revoke)) => {
                field(invites.contains(&revoke.invite), "membership")
            }
            (Self::Delegate { to, next }, Act::Delegate(delegate)) => {
                field(delegate.to == *to, "heir")
                    .and_then(|()| field(delegate.next == *next, "heir after the heir"))
                    .and_then(|()| field(delegate.accept == unsigned(), "acceptance"))
            }
            (Self::Tombstone { founder, handle }, Act::Tombstone(end)) => field(
                (&end.founder, &end.handle) == (founder, handle),
                "successor",
            ),
            (Self::Ungrant { envoy }, Act::Ungrant(ungrant)) => {
                field(ungrant.envoy == *envoy, "envoy")
            }
            (Self::Policy(asked), Act::Policy(policy)) => field(asked == policy, "policy"),
            _ => return None,
        };
        Some(judged)
    }
}

/// What stands in a draft where the heir will sign.
fn unsigned() -> Signature {
    Signature::from_bytes(&[0; 64])
}

impl Approved {
    /// A statement that was made here and needs no looking at.
    ///
    /// # Errors
    ///
    /// [`Reject`] if it breaks a rule of envelopes.
    pub fn made(statement: Statement) -> Result<Self, Reject> {
        Ok(Self {
            type_name: statement.type_name(),
            body: statement.encode_body()?,
            statement,
        })
    }

    /// What it says.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The same delegation, with the signature of its heir in it. Anything else stays as it is.
    ///
    /// # Errors
    ///
    /// [`Reject`] if it breaks a rule of envelopes.
    pub fn accepted(self, heir: Signature) -> Result<Self, Reject> {
        let mut statement = self.statement;
        if let Act::Delegate(Delegate { accept, .. }) = &mut statement.act {
            *accept = heir;
        }
        Self::made(statement)
    }

    pub(crate) fn type_name(&self) -> &str {
        &self.type_name
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn into_statement(self) -> Statement {
        self.statement
    }
}

#[cfg(test)]
mod tests;
