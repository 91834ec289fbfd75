//! Statements that need no daemon: whoever is invited, or holds a token, knows their past.

use gitback_envelope::{Act, EnvelopeId, Grant, Incarnation, Reject, Statement};
use gitback_helper::GRANT_LIFE;
use gitback_identity::{EnvoyKey, ProjectId, PuddleKey};
use thiserror::Error;

use crate::Approved;

/// The operating system gave no random bytes.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness {
    #[source]
    source: getrandom::Error,
}

/// A new chain of the puddle's own, which begins here.
#[derive(Debug, Clone)]
pub struct Author {
    /// What about.
    pub project: ProjectId,
    /// Who speaks.
    pub puddle: PuddleKey,
    /// On which envoy.
    pub envoy: EnvoyKey,
    /// A fresh one: a number of a chain is never signed twice.
    pub incarnation: Incarnation,
    /// For display, Unix milliseconds.
    pub now_ms: u64,
}

impl Author {
    /// Says `acts` one after the other, the first of them after `past`.
    ///
    /// # Errors
    ///
    /// [`Reject`] if one breaks a rule of envelopes.
    pub fn say(
        &self,
        past: EnvelopeId,
        acts: impl IntoIterator<Item = Act>,
    ) -> Result<Vec<Approved>, Reject> {
        let mut said = Vec::new();
        let mut last = None;
        for (seq, act) in (0..).zip(acts) {
            let statement = Statement {
                project: self.project,
                signer: *self.puddle.key(),
                puddle: self.puddle,
                envoy: Some(self.envoy),
                incarnation: self.incarnation,
                seq,
                prev: last,
                deps: if seq == 0 { vec![past] } else { Vec::new() },
                time_ms: Some(self.now_ms),
                act,
            };
            last = Some(statement.id()?);
            said.push(Approved::made(statement)?);
        }
        Ok(said)
    }
}

/// A grant as the daemon drafts it: for [`GRANT_LIFE`].
#[must_use]
pub fn grant(envoy: EnvoyKey, uid: u32, now_ms: u64) -> Act {
    let life_ms = u64::try_from(GRANT_LIFE.as_millis()).unwrap_or(u64::MAX);
    Act::Grant(Grant {
        envoy,
        uid,
        expires_ms: Some(now_ms.saturating_add(life_ms)),
    })
}

/// An incarnation that nobody has used.
///
/// # Errors
///
/// [`NoRandomness`] if the operating system gives none.
pub fn fresh_incarnation() -> Result<Incarnation, NoRandomness> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|source| NoRandomness { source })?;
    Ok(Incarnation::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Inserted, Invite, Project, Role, Verified};
    use gitback_identity::SecretKey;

    use super::*;
    use crate::Signer;

    fn sealed(signer: &Signer, said: Vec<Approved>) -> Vec<Verified> {
        let sealed = said.into_iter().map(|one| signer.seal(one));
        sealed.collect::<Result<_, _>>().expect("signed")
    }

    #[test]
    fn a_join_and_a_grant_of_an_invited_puddle_count() {
        let signer = |seed| Signer::holding(SecretKey::from_seed(&[seed; 32]));
        let (dan, alice) = (signer(7), signer(8));
        let handle = "notes".parse().expect("a handle");
        let init = Statement::init(dan.key(), &handle);
        let project = init.project;
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public());
        let author = |puddle: &PuddleKey, number| Author {
            project,
            puddle: *puddle,
            envoy,
            incarnation: Incarnation::from_bytes(&[number; 16]),
            now_ms: 1,
        };
        let init = dan
            .seal(Approved::made(init).expect("a statement"))
            .expect("signed");
        let invite = Act::Invite(Invite {
            puddle: *alice.key(),
            role: Role::Member,
        });
        let said = author(dan.key(), 1)
            .say(*init.id(), [invite])
            .expect("said");
        let invite = sealed(&dan, said);
        let join = Act::Join {
            invite: *invite[0].id(),
        };
        let said = author(alice.key(), 2)
            .say(*invite[0].id(), [join, grant(envoy, 1000, 1)])
            .expect("said");
        let theirs = sealed(&alice, said);

        let mut fold = Project::new(project);
        for envelope in [init].into_iter().chain(invite).chain(theirs) {
            let folded = fold.insert(envelope).expect("well formed");
            assert!(matches!(folded, Inserted::Folded(_)), "{folded:?}");
        }
        let granted = fold.grant(&envoy, 1000).expect("it counts");
        assert_eq!(granted.statement().puddle, *alice.key());
        let expires = granted
            .statement()
            .grant()
            .and_then(|grant| grant.expires_ms);
        assert_eq!(expires, Some(1 + 90 * 24 * 3600 * 1000));
    }

    #[test]
    fn incarnations_differ() {
        let fresh = || fresh_incarnation().expect("randomness");
        assert_ne!(fresh(), fresh());
    }
}
