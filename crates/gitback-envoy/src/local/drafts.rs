//! Drafts of what a puddle wishes to sign, each in its place on its chain.

use gitback_envelope::{
    Access, Act, Delegate, EnvelopeId, Grant, HOPS_MAX, Incarnation, Invite, Membership,
    MembershipState, Policy, RefName, Reject, Revoke, Role, Scope, Statement, Tombstone, Ungrant,
    VoidReason,
};
use gitback_helper::{DRAFTS_MAX, Draft, Failure, GRANT_LIFE, Renewal, Reply, Wish, exit_code};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, Signature, hex};

use super::admission::{Asked, project_of};
use super::failures::{denied, failed, refused, unknown_project, usage};
use crate::access::{self, Denial};
use crate::cell::{Drafting, State};
use crate::clock;
use crate::daemon::Envoy;

/// From which hop on a founder is told that the line is nearly used up.
const HOPS_WARN: u64 = 3;

/// What a puddle has to sign before it is served, and what for.
pub(super) struct Needed {
    pub(super) drafts: Vec<Draft>,
    /// In words that go on after "puddle dan is locked; ".
    pub(super) why: String,
}

/// What `puddle` has to sign so that this envoy serves `uid` with at least `enough`; nothing, if no signature of its
/// own helps.
///
/// An invitation is accepted here only for somebody who is in already, or was and asked to be let in again. Whoever
/// was never in accepts it with `project join`.
pub(super) fn needed(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: PuddleKey,
    enough: Access,
) -> Result<Option<Needed>, Failure> {
    if let Some(invite) = invited_again(state, &puddle)
        && Access::from(invite.role) >= enough
    {
        let why = "accepting a new invitation needs a signature".to_owned();
        let drafts = joining(envoy, state, uid, puddle, &invite)?;
        return Ok(Some(Needed { drafts, why }));
    }
    let has_access = state.fold().access(&puddle) >= Some(enough);
    if !has_access || access::standing_of(envoy, state, uid, &puddle).is_some() {
        return Ok(None);
    }
    let why = "this machine needs a signature, once, to serve it".to_owned();
    let drafts = granting(envoy, state, uid, puddle)?;
    Ok(Some(Needed { drafts, why }))
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
        let due = match needed(envoy, &state, uid, puddle, Access::Reader)? {
            Some(due) => Some(due),
            None => ageing(envoy, &state, uid, puddle)?,
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

/// A new grant in the place of one that has lived more than half of its life.
fn ageing(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: PuddleKey,
) -> Result<Option<Needed>, Failure> {
    let Some(standing) = access::standing_of(envoy, state, uid, &puddle) else {
        return Ok(None);
    };
    let half_ms = life_ms() / 2;
    let fresh_until = clock::now_ms().saturating_add(half_ms);
    if standing.expires_ms.is_none_or(|at| at > fresh_until) {
        return Ok(None);
    }
    let why = format!("the grant for {} is to be renewed", envoy.name());
    let drafts = granting(envoy, state, uid, puddle)?;
    Ok(Some(Needed { drafts, why }))
}

/// What makes a wish come true.
pub(super) fn wished(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: PuddleKey,
    wish: Wish,
) -> Result<Reply, Failure> {
    if let Some(denial) = access::ended(state.fold()) {
        return Err(denied(&denial));
    }
    let mut notes = Vec::new();
    let drafts = match wish {
        Wish::Grant => {
            if let Some(denial) = access::why_no_access(state.fold(), &puddle) {
                return Err(denied(&denial));
            }
            granting(envoy, state, uid, puddle)?
        }
        Wish::Join { invitation } => {
            let invite = invitation_of(state, &puddle, invitation.as_deref())?;
            joining(envoy, state, uid, puddle, &invite)?
        }
        Wish::Leave => {
            let acts = leaves(state, &puddle)?;
            draft(envoy, state, puddle, |_| acts)?
        }
        Wish::Rejoin => {
            let act = rejoin(state, &puddle)?;
            draft(envoy, state, puddle, |_| vec![act])?
        }
        Wish::Ungrant { envoy: other } => {
            let other = other.map(|key| key.parse::<EnvoyKey>()).transpose();
            let other = other.map_err(|_| usage("an envoy key is 64 lowercase hex digits"))?;
            let other = other.unwrap_or(*envoy.public());
            ungranting(envoy, state, puddle, other)?
        }
        Wish::Invite { .. }
        | Wish::ReinviteAll
        | Wish::Revoke { .. }
        | Wish::Delegate { .. }
        | Wish::Tombstone { .. }
        | Wish::Policy { .. } => by_founder(envoy, state, puddle, wish, &mut notes)?,
    };
    let (founder, handle) = project_of(state);
    Ok(Reply::Drafts {
        drafts,
        founder,
        handle,
        notes,
    })
}

fn by_founder(
    envoy: &Envoy,
    state: &State,
    puddle: PuddleKey,
    wish: Wish,
    notes: &mut Vec<String>,
) -> Result<Vec<Draft>, Failure> {
    let fold = state.fold();
    if fold.access(&puddle) != Some(Access::Founder) {
        let denial = access::why_no_access(fold, &puddle);
        let denial = denial.unwrap_or_else(|| not_founder(state, &puddle));
        return Err(denied(&denial));
    }
    match wish {
        Wish::Invite { puddle: who, role } => {
            let invite = invite(state, &who, role_of(role))?;
            draft(envoy, state, puddle, |_| vec![Act::Invite(invite)])
        }
        Wish::ReinviteAll => {
            let acts = reinvitations(state, &puddle);
            if acts.is_empty() {
                return Err(failed("every member has an invitation by this key already"));
            }
            draft(envoy, state, puddle, |_| acts)
        }
        Wish::Revoke { puddle: who } => {
            let who = super::failures::parse_puddle(&who)?;
            let instances = instances_to_end(state, &who)?;
            draft(envoy, state, puddle, |cut| {
                let revoke = |invite| {
                    Act::Revoke(Revoke {
                        invite,
                        cut: cut.clone(),
                    })
                };
                instances.into_iter().map(revoke).collect()
            })
        }
        Wish::Delegate { to, next } => {
            let (hop, to, next) = heir(state, &to, next.as_deref())?;
            if hop >= HOPS_WARN {
                notes.push(format!(
                    "the founder line passes on {HOPS_MAX} times at most, and this is number {hop}"
                ));
            }
            draft(envoy, state, puddle, |cut| {
                vec![Act::Delegate(Delegate {
                    hop,
                    to,
                    next,
                    cut,
                    // The heir's signature takes this place before the founder signs.
                    accept: Signature::from_bytes(&[0; 64]),
                })]
            })
        }
        Wish::Tombstone { founder, handle } => {
            let founder = super::failures::parse_puddle(&founder)?;
            let handle: Handle = handle
                .parse()
                .map_err(|_| usage("the successor's handle is none"))?;
            draft(envoy, state, puddle, |cut| {
                vec![Act::Tombstone(Tombstone {
                    founder,
                    handle,
                    cut,
                })]
            })
        }
        Wish::Policy {
            scope,
            protected,
            replicas,
        } => {
            let policy = policy(scope, &protected, replicas)?;
            draft(envoy, state, puddle, |_| vec![Act::Policy(policy)])
        }
        Wish::Grant | Wish::Join { .. } | Wish::Leave | Wish::Rejoin | Wish::Ungrant { .. } => {
            unreachable_wish()
        }
    }
}

/// The caller has sorted these out.
fn unreachable_wish() -> Result<Vec<Draft>, Failure> {
    Err(failed("this wish is not the founder's"))
}

fn not_founder(state: &State, puddle: &PuddleKey) -> Denial {
    let reason = VoidReason::NotFounder;
    let current = state.fold().current_founder();
    let current = current.map_or_else(String::new, |key| {
        format!("; the founder is {}", key.fingerprint())
    });
    Denial {
        what: format!(
            "only the founder may do this, and {} is not{current}",
            puddle.fingerprint()
        ),
        code: reason.code(),
        rule: Some(reason.rule()),
        envelope: None,
    }
}

fn invite(state: &State, who: &str, role: Role) -> Result<Invite, Failure> {
    let who = super::failures::parse_puddle(who)?;
    let fold = state.fold();
    let name = who.fingerprint();
    if fold.line().iter().any(|hop| hop.key == who) {
        return Err(failed(format!("{name} is a key of the founder")));
    }
    for one in fold.memberships().iter().filter(|one| one.puddle == who) {
        match one.state {
            MembershipState::Live { .. } if one.role == role => {
                return Err(failed(format!("{name} is a {} already", word(role)))
                    .because(format!("by invitation {}", one.invite)));
            }
            MembershipState::Open if one.role == role => {
                return Err(
                    failed(format!("{name} is invited already, as {}", word(role)))
                        .because(format!("invitation {}", one.invite))
                        .hint(format!(
                            "to accept it: vigo swarm gitback project join {} --invitation {}",
                            fold.id(),
                            one.invite
                        )),
                );
            }
            _ => {}
        }
    }
    Ok(Invite { puddle: who, role })
}

fn reinvitations(state: &State, current: &PuddleKey) -> Vec<Act> {
    let memberships = state.fold().memberships();
    let mut invites: Vec<Invite> = Vec::new();
    let live = memberships
        .iter()
        .filter(|one| matches!(one.state, MembershipState::Live { .. }));
    for one in live {
        let renewed = |other: &Membership| {
            let lasts = matches!(
                other.state,
                MembershipState::Open | MembershipState::Live { .. }
            );
            other.puddle == one.puddle && other.by == *current && other.role >= one.role && lasts
        };
        let listed = |invite: &Invite| invite.puddle == one.puddle && invite.role >= one.role;
        if !memberships.iter().any(renewed) && !invites.iter().any(listed) {
            invites.retain(|invite| invite.puddle != one.puddle);
            invites.push(Invite {
                puddle: one.puddle,
                role: one.role,
            });
        }
    }
    // Some room is left for what gathers heads.
    let some = invites.into_iter().take(DRAFTS_MAX - 32);
    some.map(Act::Invite).collect()
}

/// The memberships of `who` that a revocation would end.
fn instances_to_end(state: &State, who: &PuddleKey) -> Result<Vec<EnvelopeId>, Failure> {
    let fold = state.fold();
    let ends = |one: &Membership| {
        one.puddle == *who
            && matches!(
                one.state,
                MembershipState::Open | MembershipState::Live { .. }
            )
    };
    let instances: Vec<EnvelopeId> = fold
        .memberships()
        .into_iter()
        .filter(ends)
        .map(|one| one.invite)
        .collect();
    if !instances.is_empty() {
        return Ok(instances);
    }
    let denial = access::why_no_access(fold, who);
    let why = denial.map_or_else(
        || format!("{} is the founder", who.fingerprint()),
        |denial| denial.to_string(),
    );
    Err(Failure::new(
        exit_code::UNKNOWN,
        format!("{} has no membership to end", who.fingerprint()),
    )
    .because(why))
}

fn heir(
    state: &State,
    to: &str,
    next: Option<&str>,
) -> Result<(u64, PuddleKey, Option<[u8; 32]>), Failure> {
    let fold = state.fold();
    let to = super::failures::parse_puddle(to)?;
    let next = next
        .map(|next| hex::decode_exact::<32>(next).ok_or(()))
        .transpose()
        .map_err(|()| usage("a commitment is 64 lowercase hex digits"))?;
    let last = fold.line().last().map_or(0, |hop| hop.hop);
    let hop = last.saturating_add(1);
    if hop > HOPS_MAX {
        let reason = VoidReason::HopLimit;
        return Err(failed("the founder line cannot pass on any more")
            .because(format!(
                "{reason} ({}, rule {})",
                reason.code(),
                reason.rule()
            ))
            .hint("begin anew under the new key: vigo swarm gitback project re-found"));
    }
    if fold.line().iter().any(|hop| hop.key == to) {
        let reason = VoidReason::KeyTwice;
        return Err(
            failed(format!("{} cannot be the heir", to.fingerprint())).because(format!(
                "{reason} ({}, rule {})",
                reason.code(),
                reason.rule()
            )),
        );
    }
    Ok((hop, to, next))
}

fn policy(
    scope: gitback_helper::Scope,
    protected: &[String],
    replicas: Option<u32>,
) -> Result<Policy, Failure> {
    let mut names = Vec::new();
    for name in protected {
        let name = RefName::new(name.as_bytes());
        names.push(name.map_err(|reject| {
            usage("a protected ref is given by its full name").because(reject.to_string())
        })?);
    }
    names.sort_unstable();
    names.dedup();
    Ok(Policy {
        scope: match scope {
            gitback_helper::Scope::Members => Scope::MembersOnly,
            gitback_helper::Scope::Swarm => Scope::SwarmWide,
        },
        protected: names,
        replicas,
    })
}

fn leaves(state: &State, puddle: &PuddleKey) -> Result<Vec<Act>, Failure> {
    let fold = state.fold();
    if fold.access(puddle) == Some(Access::Founder) {
        return Err(failed("the founder cannot leave")
            .because("without a founder nobody could invite or revoke")
            .hint("hand the project on: vigo swarm gitback project reanchor"));
    }
    let live = fold
        .memberships()
        .into_iter()
        .filter(|one| one.puddle == *puddle && matches!(one.state, MembershipState::Live { .. }));
    let acts: Vec<Act> = live.map(|one| Act::Leave { invite: one.invite }).collect();
    if acts.is_empty() {
        let denial = access::why_no_access(fold, puddle);
        let why = denial.map_or_else(String::new, |denial| denial.to_string());
        return Err(failed("there is no membership to leave").because(why));
    }
    Ok(acts)
}

fn rejoin(state: &State, puddle: &PuddleKey) -> Result<Act, Failure> {
    let fold = state.fold();
    let mut own = fold.memberships();
    own.retain(|one| one.puddle == *puddle);
    if let Some(open) = own
        .iter()
        .find(|one| matches!(one.state, MembershipState::Open))
    {
        return Err(failed("there is an invitation already")
            .because(format!("invitation {}", open.invite))
            .hint(format!(
                "to accept it: vigo swarm gitback project join {}",
                fold.id()
            )));
    }
    if fold.access(puddle).is_some() {
        return Err(failed("there is nothing to ask for").because("the membership is live"));
    }
    if let Some(asked) = own.iter().find_map(|one| one.asks_back) {
        return Err(failed("this was asked for already")
            .because(format!("envelope {asked}; nobody has answered it yet")));
    }
    let left = own.iter().filter_map(|one| match one.state {
        MembershipState::Left { leave } => {
            Some((fold.get(&leave)?.statement().time_ms, one.invite))
        }
        _ => None,
    });
    if let Some((_, invite)) = left.max() {
        return Ok(Act::Rejoin { invite });
    }
    let denial = access::why_no_access(fold, puddle);
    Err(denial.map_or_else(
        || failed("there is nothing to ask for"),
        |denial| denied(&denial),
    ))
}

fn invitation_of(
    state: &State,
    puddle: &PuddleKey,
    wanted: Option<&str>,
) -> Result<Membership, Failure> {
    let fold = state.fold();
    let mut own = fold.memberships();
    own.retain(|one| one.puddle == *puddle);
    let open = |one: &&Membership| matches!(one.state, MembershipState::Open);
    let Some(wanted) = wanted else {
        let newest = |one: &&Membership| {
            let at = fold
                .get(&one.invite)
                .and_then(|invite| invite.statement().time_ms);
            (at, one.invite)
        };
        if let Some(invite) = own.iter().filter(open).max_by_key(newest) {
            return Ok(invite.clone());
        }
        if fold.access(puddle).is_some() {
            return Err(failed("there is no open invitation")
                .because(format!("{} is in already", puddle.fingerprint())));
        }
        let denial = access::why_no_access(fold, puddle);
        return Err(denial.map_or_else(|| failed("there is no open invitation"), |d| denied(&d)));
    };
    let id = invitation_id(wanted)?;
    match own.into_iter().find(|one| one.invite == id) {
        Some(one) if open(&&one) => Ok(one),
        Some(one) => {
            let state = match one.state {
                MembershipState::Live { join } => format!("it was accepted by envelope {join}"),
                MembershipState::Left { leave } => format!("it was left by envelope {leave}"),
                MembershipState::Revoked { revoke } => format!("it was ended by envelope {revoke}"),
                MembershipState::Open => String::new(),
            };
            Err(failed("this invitation is not open").because(state))
        }
        None => Err(Failure::new(
            exit_code::UNKNOWN,
            format!("there is no such invitation for {}", puddle.fingerprint()),
        )
        .because(format!("invitation {id}"))
        .hint("it may not have arrived on this machine yet: vigo envoy status")),
    }
}

fn invitation_id(text: &str) -> Result<EnvelopeId, Failure> {
    let bytes = hex::decode_exact::<32>(text);
    let bytes = bytes.ok_or_else(|| usage("an invitation is 64 lowercase hex digits"))?;
    Ok(EnvelopeId::from_bytes(&bytes))
}

fn ungranting(
    envoy: &Envoy,
    state: &State,
    puddle: PuddleKey,
    other: EnvoyKey,
) -> Result<Vec<Draft>, Failure> {
    let granted = state.fold().iter().any(|envelope| {
        let statement = envelope.statement();
        statement.puddle == puddle && statement.grant().is_some_and(|grant| grant.envoy == other)
    });
    if !granted {
        return Err(failed(format!(
            "{} has granted {} nothing",
            puddle.fingerprint(),
            envoy.name_of(&other)
        )));
    }
    draft(envoy, state, puddle, |cut| {
        vec![Act::Ungrant(Ungrant { envoy: other, cut })]
    })
}

/// A grant for this envoy and user.
fn granting(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: PuddleKey,
) -> Result<Vec<Draft>, Failure> {
    let act = grant(envoy, uid);
    draft(envoy, state, puddle, |_| vec![act])
}

/// A join and what it is for: a grant for this envoy and user.
fn joining(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: PuddleKey,
    invite: &Membership,
) -> Result<Vec<Draft>, Failure> {
    let invite = invite.invite;
    let acts = vec![Act::Join { invite }, grant(envoy, uid)];
    chained(envoy, state, puddle, Some(invite), |_| acts)
}

fn draft(
    envoy: &Envoy,
    state: &State,
    puddle: PuddleKey,
    acts: impl FnOnce(Vec<EnvelopeId>) -> Vec<Act>,
) -> Result<Vec<Draft>, Failure> {
    chained(envoy, state, puddle, basis(state, &puddle), acts)
}

fn chained(
    envoy: &Envoy,
    state: &State,
    puddle: PuddleKey,
    basis: Option<EnvelopeId>,
    acts: impl FnOnce(Vec<EnvelopeId>) -> Vec<Act>,
) -> Result<Vec<Draft>, Failure> {
    let make = || {
        let mut drafting = Drafting::after(state, *puddle.key(), puddle, *envoy.public(), basis)?;
        for act in acts(drafting.cut()) {
            drafting.add(act)?;
        }
        encode(drafting.into_statements())
    };
    make().map_err(|reject| refused(&reject, None))
}

/// The envelope by which the puddle may speak.
fn basis(state: &State, puddle: &PuddleKey) -> Option<EnvelopeId> {
    let fold = state.fold();
    let heir = fold.line().iter().find(|hop| hop.key == *puddle);
    if let Some(hop) = heir {
        return hop.delegate;
    }
    let mut own = fold
        .memberships()
        .into_iter()
        .filter(|one| one.puddle == *puddle);
    own.find_map(|one| match one.state {
        MembershipState::Live { join } => Some(join),
        _ => None,
    })
}

/// Drafts for a project that is not here: the grant of its founder, or nothing where somebody else has to prove a
/// membership with the token that they keep.
pub(super) fn for_founder(envoy: &Envoy, asked: &Asked) -> Result<Vec<Draft>, Failure> {
    let unknown = || unknown_project(envoy, asked.uid, &asked.id, Some(&asked.handle));
    let handle: Handle = asked.handle.parse().map_err(|_| unknown())?;
    if envoy.neighbours().is_empty() || envoy.store().why_unopened(&asked.id).is_some() {
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
    outside(envoy, asked, founder, init, vec![grant(envoy, asked.uid)])
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
    if envoy.neighbours().is_empty() || envoy.store().why_unopened(&asked.id).is_some() {
        return Err(unknown());
    }
    let invite = invitation_id(invitation)?;
    let acts = vec![Act::Join { invite }, grant(envoy, asked.uid)];
    outside(envoy, asked, puddle, invite, acts)
}

fn outside(
    envoy: &Envoy,
    asked: &Asked,
    puddle: PuddleKey,
    past: EnvelopeId,
    acts: Vec<Act>,
) -> Result<Vec<Draft>, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| failed("the system gave no randomness"))?;
    let incarnation = Incarnation::from_bytes(&bytes);
    let make = || {
        let mut drafting = Drafting::outside(asked.id, puddle, *envoy.public(), incarnation, past);
        for act in acts {
            drafting.add(act)?;
        }
        encode(drafting.into_statements())
    };
    make().map_err(|reject| refused(&reject, None))
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

fn encode(statements: Vec<Statement>) -> Result<Vec<Draft>, Reject> {
    let draft = |statement: Statement| {
        Ok(Draft {
            type_name: statement.type_name(),
            body: hex::encode(&statement.encode_body()?),
        })
    };
    statements.into_iter().map(draft).collect()
}

fn role_of(role: gitback_helper::Role) -> Role {
    match role {
        gitback_helper::Role::Reader => Role::Reader,
        gitback_helper::Role::Member => Role::Member,
    }
}

/// A role in a word.
pub(super) fn word(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Member => "member",
    }
}
