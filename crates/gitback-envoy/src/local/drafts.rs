//! Drafts of what a puddle is to sign, each in its place on its chain.

use gitback_envelope::{
    Access, Act, EnvelopeId, Grant, Incarnation, Membership, MembershipState, Reject, Statement,
    VoidReason,
};
use gitback_helper::{DRAFTS_MAX, Draft, Failure, GRANT_LIFE, Renewal, Reply};
use gitback_identity::{Handle, ProjectId, PuddleKey, hex};

use super::admission::{Asked, project_of};
use super::failures::{failed, refused, unknown_project, usage};
use crate::access;
use crate::cell::{Drafting, State};
use crate::clock;
use crate::daemon::Envoy;

/// Who is to sign, on behalf of which user of this machine, in a project that is here.
pub(super) struct Author<'a> {
    pub(super) envoy: &'a Envoy,
    pub(super) state: &'a State,
    pub(super) uid: u32,
    pub(super) puddle: PuddleKey,
}

/// What a puddle has to sign before it is served, and what for.
pub(super) struct Needed {
    pub(super) drafts: Vec<Draft>,
    /// In words that go on after "puddle dan is locked; ".
    pub(super) why: String,
}

impl Author<'_> {
    /// What the puddle has to sign so that this envoy serves the user with at least `enough`; nothing, if no signature
    /// of its own helps.
    ///
    /// An invitation is accepted here only for somebody who is in already, or was and asked to be let in again.
    /// Whoever was never in accepts it with `project join`.
    pub(super) fn needed(&self, enough: Access) -> Result<Option<Needed>, Failure> {
        if let Some(invite) = invited_again(self.state, &self.puddle)
            && Access::from(invite.role) >= enough
        {
            let why = "accepting a new invitation needs a signature".to_owned();
            let drafts = self.joining(invite.invite)?;
            return Ok(Some(Needed { drafts, why }));
        }
        let has_access = self.state.fold().access(&self.puddle) >= Some(enough);
        let standing = access::standing_of(self.envoy, self.state, self.uid, &self.puddle);
        if !has_access || standing.is_some() {
            return Ok(None);
        }
        let why = "this machine needs a signature, once, to serve it".to_owned();
        let drafts = self.granting()?;
        Ok(Some(Needed { drafts, why }))
    }

    /// A new grant in the place of one that has lived more than half of its life.
    fn ageing(&self) -> Result<Option<Needed>, Failure> {
        let standing = access::standing_of(self.envoy, self.state, self.uid, &self.puddle);
        let fresh_until = clock::now_ms().saturating_add(life_ms() / 2);
        let ages = |at: u64| at <= fresh_until;
        if !standing
            .and_then(|standing| standing.expires_ms)
            .is_some_and(ages)
        {
            return Ok(None);
        }
        let why = format!("the grant for {} is to be renewed", self.envoy.name());
        let drafts = self.granting()?;
        Ok(Some(Needed { drafts, why }))
    }

    /// A grant for this envoy and user.
    pub(super) fn granting(&self) -> Result<Vec<Draft>, Failure> {
        self.draft(|_| Ok(vec![grant(self.envoy, self.uid)]))
    }

    /// A join and what it is for: a grant for this envoy and user.
    pub(super) fn joining(&self, invite: EnvelopeId) -> Result<Vec<Draft>, Failure> {
        let acts = vec![Act::Join { invite }, grant(self.envoy, self.uid)];
        self.chained(Some(invite), |_| Ok(acts))
    }

    /// What the puddle says by the standing that it has. `acts` is handed what a cut names so that everything valid
    /// still counts.
    pub(super) fn draft(
        &self,
        acts: impl FnOnce(Vec<EnvelopeId>) -> Result<Vec<Act>, Failure>,
    ) -> Result<Vec<Draft>, Failure> {
        self.chained(self.basis(), acts)
    }

    fn chained(
        &self,
        basis: Option<EnvelopeId>,
        acts: impl FnOnce(Vec<EnvelopeId>) -> Result<Vec<Act>, Failure>,
    ) -> Result<Vec<Draft>, Failure> {
        let (puddle, envoy) = (self.puddle, *self.envoy.public());
        let drafting = Drafting::after(self.state, *puddle.key(), puddle, envoy, basis);
        let drafting = drafting.map_err(|reject| refused(&reject, None))?;
        let acts = acts(drafting.cut())?;
        complete(drafting, acts).map_err(|reject| refused(&reject, None))
    }

    /// The envelope by which the puddle may speak.
    fn basis(&self) -> Option<EnvelopeId> {
        let fold = self.state.fold();
        if let Some(hop) = fold.line().iter().find(|hop| hop.key == self.puddle) {
            return hop.delegate;
        }
        let mut own = fold
            .memberships()
            .into_iter()
            .filter(|one| one.puddle == self.puddle);
        own.find_map(|one| match one.state {
            MembershipState::Live { join } => Some(join),
            MembershipState::Open
            | MembershipState::Left { .. }
            | MembershipState::Revoked { .. } => None,
        })
    }
}

/// What `puddle` may sign now so that this envoy goes on serving `uid` everywhere: grants that are missing or have
/// lived more than half of their life, and joins of those who were invited again.
pub(super) fn renewals(envoy: &Envoy, uid: u32, puddle: PuddleKey) -> Result<Reply, Failure> {
    let mut items = Vec::new();
    let mut room = DRAFTS_MAX;
    for cell in envoy.store().all() {
        let state = cell.lock();
        if !state.fold().party(&puddle) || state.fold().ended() {
            continue;
        }
        let author = Author {
            envoy,
            state: &state,
            uid,
            puddle,
        };
        let due = match author.needed(Access::Reader)? {
            Some(due) => Some(due),
            None => author.ageing()?,
        };
        let Some(Needed { drafts, why }) = due else {
            continue;
        };
        let Some(left) = room.checked_sub(drafts.len()) else {
            break;
        };
        room = left;
        items.push(Renewal {
            project: cell.id().to_string(),
            handle: project_of(&state).1,
            drafts,
            why,
        });
    }
    Ok(Reply::Renewals { items })
}

/// The open invitation of a puddle that is in, that left and asked to come back, or that was in by the word of a key
/// that counts no more; the one that allows most.
fn invited_again(state: &State, puddle: &PuddleKey) -> Option<Membership> {
    let mut memberships = state.fold().memberships();
    memberships.retain(|one| one.puddle == *puddle);
    let access = state.fold().access(puddle);
    let wanted = access.is_some() || asked_back(state, puddle) || lost_inviter(state, puddle);
    // One that allows less than the puddle may do anyway, or that it has had before, would change nothing.
    let news = |one: &Membership| match access {
        Some(access) => Access::from(one.role) > access || is_renewed(state, one, &memberships),
        None => true,
    };
    let open = memberships
        .iter()
        .filter(|one| matches!(one.state, MembershipState::Open) && wanted && news(one));
    open.max_by_key(|one| (one.role, one.invite)).cloned()
}

/// Whether the puddle's own last word on its membership is that it asks to be let in again.
fn asked_back(state: &State, puddle: &PuddleKey) -> bool {
    let words = state.fold().iter().filter(|envelope| {
        envelope.statement().puddle == *puddle && state.void(envelope.id()).is_none()
    });
    let last = words
        .filter(|envelope| {
            matches!(
                envelope.statement().act,
                Act::Join { .. } | Act::Leave { .. } | Act::Rejoin { .. }
            )
        })
        .last();
    last.is_some_and(|last| matches!(last.statement().act, Act::Rejoin { .. }))
}

/// Whether a later key of the founder line invites than for every live membership of the same puddle: the founder
/// has renewed the invitations after a change of keys.
fn is_renewed(state: &State, invite: &Membership, own: &[Membership]) -> bool {
    let hop = |by: &PuddleKey| {
        let mut line = state.fold().line().iter();
        line.find(|hop| hop.key == *by).map(|hop| hop.hop)
    };
    let mut live = own
        .iter()
        .filter(|one| matches!(one.state, MembershipState::Live { .. }));
    live.all(|one| hop(&one.by) < hop(&invite.by))
}

/// Whether the puddle joined by an invitation that a key had given which has no say any more.
fn lost_inviter(state: &State, puddle: &PuddleKey) -> bool {
    let joins = state.fold().iter().filter_map(|envelope| {
        let statement = envelope.statement();
        match &statement.act {
            Act::Join { invite } if statement.puddle == *puddle => state.void(invite),
            _ => None,
        }
    });
    joins.map(|void| void.reason).any(|reason| {
        matches!(
            reason,
            VoidReason::Retired
                | VoidReason::NotFounder
                | VoidReason::NotYetHeir
                | VoidReason::Contested
                | VoidReason::NotPicked
        )
    })
}

/// Drafts for a project that is not here: the grant of its founder, or nothing where somebody else has to prove a
/// membership with the token that they keep.
pub(super) fn for_founder(envoy: &Envoy, asked: &Asked) -> Result<Vec<Draft>, Failure> {
    let unknown = || unknown_project(envoy, asked.uid, &asked.id, Some(&asked.handle));
    let handle: Handle = asked.handle.parse().map_err(|_| unknown())?;
    if cannot_be_had(envoy, asked) {
        return Err(unknown());
    }
    let founder = asked
        .puddle
        .filter(|puddle| ProjectId::derive(puddle, &handle) == asked.id);
    let Some(founder) = founder else {
        return Ok(Vec::new());
    };
    let init = Statement::init(&founder, &handle).id();
    let init = init.map_err(|reject| refused(&reject, None))?;
    let acts = vec![grant(envoy, asked.uid)];
    outside(envoy, asked.id, founder, init, acts)
}

/// The drafts of somebody who was invited to a project that is not here.
pub(super) fn for_invited(
    envoy: &Envoy,
    asked: &Asked,
    puddle: PuddleKey,
    invitation: Option<&str>,
) -> Result<Vec<Draft>, Failure> {
    let unknown = || unknown_project(envoy, asked.uid, &asked.id, Some(&asked.handle));
    let Some(invitation) = invitation else {
        return Err(unknown().hint("name the invitation: --invitation, 64 hex digits"));
    };
    if cannot_be_had(envoy, asked) {
        return Err(unknown());
    }
    let invite = envelope_id(invitation)?;
    let acts = vec![Act::Join { invite }, grant(envoy, asked.uid)];
    outside(envoy, asked.id, puddle, invite, acts)
}

/// Whether nobody could be asked for the project.
fn cannot_be_had(envoy: &Envoy, asked: &Asked) -> bool {
    envoy.neighbours().is_empty() || envoy.store().why_unopened(&asked.id).is_some()
}

fn outside(
    envoy: &Envoy,
    id: ProjectId,
    puddle: PuddleKey,
    past: EnvelopeId,
    acts: Vec<Act>,
) -> Result<Vec<Draft>, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| failed("the system gave no randomness"))?;
    let incarnation = Incarnation::from_bytes(&bytes);
    let drafting = Drafting::outside(id, puddle, *envoy.public(), incarnation, past);
    complete(drafting, acts).map_err(|reject| refused(&reject, None))
}

fn complete(mut drafting: Drafting, acts: Vec<Act>) -> Result<Vec<Draft>, Reject> {
    for act in acts {
        drafting.add(act)?;
    }
    let draft = |statement: Statement| {
        Ok(Draft {
            type_name: statement.type_name(),
            body: hex::encode(&statement.encode_body()?),
        })
    };
    drafting.into_statements().into_iter().map(draft).collect()
}

pub(super) fn envelope_id(text: &str) -> Result<EnvelopeId, Failure> {
    let bytes = hex::decode_exact::<32>(text);
    let bytes = bytes.ok_or_else(|| usage("an envelope is named by 64 lowercase hex digits"))?;
    Ok(EnvelopeId::from_bytes(&bytes))
}

fn grant(envoy: &Envoy, uid: u32) -> Act {
    Act::Grant(Grant {
        envoy: *envoy.public(),
        uid,
        expires_ms: Some(clock::now_ms().saturating_add(life_ms())),
    })
}

fn life_ms() -> u64 {
    u64::try_from(GRANT_LIFE.as_millis()).unwrap_or(u64::MAX)
}
