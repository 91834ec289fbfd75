//! What people wish, as acts that a puddle may sign; or why it may not.

use gitback_envelope::{
    Access, Act, Delegate, EnvelopeId, HOPS_MAX, Invite, Membership, MembershipState, Policy,
    RefName, Revoke, Role, Scope, Tombstone, Ungrant, VoidReason,
};
use gitback_helper::{DRAFTS_MAX, Draft, Failure, Reply, Wish, exit_code};
use gitback_identity::{EnvoyKey, Handle, PuddleKey, Signature, hex};

use super::admission::project_of;
use super::drafts::{Author, envelope_id};
use super::failures::{denied, failed, parse_puddle, usage};
use crate::access::{self, Denial};
use crate::cell::State;

/// From which hop on a founder is told that the line is nearly used up.
const HOPS_WARN: u64 = 3;

/// How many drafts are kept free for what gathers heads.
const MERGES_MAX: usize = 32;

/// What makes a wish come true.
pub(super) fn wished(author: &Author<'_>, wish: Wish) -> Result<Reply, Failure> {
    if let Some(denial) = access::ended(author.state.fold()) {
        return Err(denied(&denial));
    }
    let mut notes = Vec::new();
    let drafts = drafts(author, wish, &mut notes)?;
    let (founder, handle) = project_of(author.state);
    Ok(Reply::Drafts {
        drafts,
        founder,
        handle,
        notes,
    })
}

fn drafts(author: &Author<'_>, wish: Wish, notes: &mut Vec<String>) -> Result<Vec<Draft>, Failure> {
    let (state, puddle) = (author.state, &author.puddle);
    match wish {
        Wish::Grant => match access::why_no_access(state.fold(), puddle) {
            Some(denial) => Err(denied(&denial)),
            None => author.granting(),
        },
        Wish::Join { invitation } => {
            let invite = invitation_of(state, puddle, invitation.as_deref())?;
            author.joining(invite.invite)
        }
        Wish::Leave => author.draft(|_| leaves(state, puddle)),
        Wish::Rejoin => author.draft(|_| Ok(vec![rejoin(state, puddle)?])),
        Wish::Ungrant { envoy } => author.draft(|cut| ungrant(author, envoy.as_deref(), cut)),
        Wish::Invite { puddle: who, role } => {
            check_founder(author)?;
            let invite = invite(state, &who, role_of(role))?;
            author.draft(|_| Ok(vec![Act::Invite(invite)]))
        }
        Wish::ReinviteAll => {
            check_founder(author)?;
            author.draft(|_| reinvitations(state, puddle))
        }
        Wish::Revoke { puddle: who } => {
            check_founder(author)?;
            author.draft(|cut| revocations(state, &parse_puddle(&who)?, &cut))
        }
        Wish::Delegate { to, next } => {
            check_founder(author)?;
            author.draft(|cut| delegation(state, &to, next.as_deref(), cut, notes))
        }
        Wish::Tombstone { founder, handle } => {
            check_founder(author)?;
            author.draft(|cut| tombstone(&founder, &handle, cut))
        }
        Wish::Policy {
            scope,
            protected,
            replicas,
        } => {
            check_founder(author)?;
            let policy = policy(scope, &protected, replicas)?;
            author.draft(|_| Ok(vec![Act::Policy(policy)]))
        }
    }
}

fn check_founder(author: &Author<'_>) -> Result<(), Failure> {
    let (fold, puddle) = (author.state.fold(), &author.puddle);
    if fold.access(puddle) == Some(Access::Founder) {
        return Ok(());
    }
    let denial = access::why_no_access(fold, puddle);
    let denial = denial.unwrap_or_else(|| not_founder(author.state, puddle));
    Err(denied(&denial))
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
    let who = parse_puddle(who)?;
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

/// Fresh invitations by the current key for every live member that has none of it.
fn reinvitations(state: &State, current: &PuddleKey) -> Result<Vec<Act>, Failure> {
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
    if invites.is_empty() {
        return Err(failed("every member has an invitation by this key already"));
    }
    let some = invites.into_iter().take(DRAFTS_MAX - MERGES_MAX);
    Ok(some.map(Act::Invite).collect())
}

/// The end of every membership of `who`.
fn revocations(state: &State, who: &PuddleKey, cut: &[EnvelopeId]) -> Result<Vec<Act>, Failure> {
    let fold = state.fold();
    let ends = |one: &Membership| {
        one.puddle == *who
            && matches!(
                one.state,
                MembershipState::Open | MembershipState::Live { .. }
            )
    };
    let revoke = |one: Membership| {
        Act::Revoke(Revoke {
            invite: one.invite,
            cut: cut.to_vec(),
        })
    };
    let memberships = fold.memberships().into_iter();
    let acts: Vec<Act> = memberships.filter(ends).map(revoke).collect();
    if !acts.is_empty() {
        return Ok(acts);
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

fn delegation(
    state: &State,
    to: &str,
    next: Option<&str>,
    cut: Vec<EnvelopeId>,
    notes: &mut Vec<String>,
) -> Result<Vec<Act>, Failure> {
    let fold = state.fold();
    let to = parse_puddle(to)?;
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
    if hop >= HOPS_WARN {
        notes.push(format!(
            "the founder line passes on {HOPS_MAX} times at most, and this is number {hop}"
        ));
    }
    Ok(vec![Act::Delegate(Delegate {
        hop,
        to,
        next,
        cut,
        // The heir's signature takes this place before the founder signs.
        accept: Signature::from_bytes(&[0; 64]),
    })])
}

fn tombstone(founder: &str, handle: &str, cut: Vec<EnvelopeId>) -> Result<Vec<Act>, Failure> {
    let founder = parse_puddle(founder)?;
    let handle: Handle = handle
        .parse()
        .map_err(|_| usage("the successor's handle is none"))?;
    Ok(vec![Act::Tombstone(Tombstone {
        founder,
        handle,
        cut,
    })])
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
    let id = envelope_id(wanted)?;
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

/// The end of the puddle's grants to an envoy.
fn ungrant(
    author: &Author<'_>,
    other: Option<&str>,
    cut: Vec<EnvelopeId>,
) -> Result<Vec<Act>, Failure> {
    let other = other.map(str::parse::<EnvoyKey>).transpose();
    let other = other.map_err(|_| usage("an envoy key is 64 lowercase hex digits"))?;
    let envoy = other.unwrap_or(*author.envoy.public());
    let granted = author.state.fold().iter().any(|envelope| {
        let statement = envelope.statement();
        statement.puddle == author.puddle
            && statement.grant().is_some_and(|grant| grant.envoy == envoy)
    });
    if granted {
        return Ok(vec![Act::Ungrant(Ungrant { envoy, cut })]);
    }
    Err(failed(format!(
        "{} has granted {} nothing",
        author.puddle.fingerprint(),
        author.envoy.name_of(&envoy)
    )))
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
