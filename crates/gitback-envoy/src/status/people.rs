//! Who belongs to a project, and what people should look at.

use std::collections::BTreeSet;

use gitback_envelope::{
    Act, Contest, EnvelopeId, Membership, MembershipState, Project, Role, Scope,
};
use gitback_helper::{
    AlarmStatus, ContestStatus, HopStatus, MemberStatus, ProjectStatus, RivalStatus,
    SuccessorStatus,
};
use gitback_identity::ProjectId;

use super::text;
use crate::cell::describe;

/// Fills in what the fold says of people; who and since when only if `in_full`.
pub(super) fn fill_in(status: &mut ProjectStatus, fold: &Project, in_full: bool) {
    let memberships = fold.memberships();
    status.members = count(fold, &memberships);
    let policy = fold.policy();
    status.scope = match policy.scope {
        Scope::MembersOnly => "members",
        Scope::SwarmWide => "swarm",
    }
    .to_owned();
    status.protected = policy.protected.iter().map(text).collect();
    status.replicas = policy.replicas;
    status.void = fold.void_len() as u64;
    status.alarms = fold
        .alarms()
        .iter()
        .map(|alarm| AlarmStatus {
            code: alarm.code().to_owned(),
            text: describe(alarm),
        })
        .collect();
    status.successors = fold
        .successors()
        .iter()
        .map(|one| SuccessorStatus {
            project: ProjectId::derive(&one.founder, &one.handle).to_string(),
            founder: one.founder.to_string(),
            handle: one.handle.to_string(),
        })
        .collect();
    status.contest = fold.contest().map(|contest| contested(fold, contest));
    if in_full {
        status.line = line(fold);
        status.member_list = members(fold, &memberships);
    }
}

/// How many puddles may do something now.
fn count(fold: &Project, memberships: &[Membership]) -> u32 {
    let members = memberships.iter().map(|one| one.puddle);
    let puddles: BTreeSet<_> = members.chain(fold.current_founder()).collect();
    let with_access = puddles
        .iter()
        .filter(|puddle| fold.access(puddle).is_some());
    u32::try_from(with_access.count()).unwrap_or(u32::MAX)
}

fn line(fold: &Project) -> Vec<HopStatus> {
    let hops = fold.line().iter();
    hops.map(|hop| HopStatus {
        hop: hop.hop,
        key: hop.key.to_string(),
        fingerprint: hop.key.fingerprint().to_string(),
        delegate: hop.delegate.map(|id| id.to_string()),
    })
    .collect()
}

fn members(fold: &Project, memberships: &[Membership]) -> Vec<MemberStatus> {
    let mut listed: Vec<MemberStatus> = memberships.iter().map(|one| member(fold, one)).collect();
    let invited = |one: &MemberStatus| {
        let at = memberships
            .iter()
            .find(|membership| membership.invite.to_string() == one.invite)
            .and_then(|membership| fold.get(&membership.invite)?.statement().time_ms);
        (at, one.invite.clone())
    };
    listed.sort_by_cached_key(invited);
    listed
}

fn member(fold: &Project, one: &Membership) -> MemberStatus {
    let time = |id: &EnvelopeId| fold.get(id).and_then(|act| act.statement().time_ms);
    let (state, since) = match &one.state {
        MembershipState::Open => ("open", &one.invite),
        MembershipState::Live { join } => ("live", join),
        MembershipState::Left { leave } => ("left", leave),
        MembershipState::Revoked { revoke } => ("revoked", revoke),
    };
    MemberStatus {
        puddle: one.puddle.to_string(),
        fingerprint: one.puddle.fingerprint().to_string(),
        role: match one.role {
            Role::Reader => "reader",
            Role::Member => "member",
        }
        .to_owned(),
        state: state.to_owned(),
        invite: one.invite.to_string(),
        by: one.by.to_string(),
        since_ms: time(since),
        asks_back: one.asks_back.is_some(),
    }
}

fn contested(fold: &Project, contest: &Contest) -> ContestStatus {
    let rivals = contest.delegates.iter().filter_map(|id| {
        let Act::Delegate(delegate) = &fold.get(id)?.statement().act else {
            return None;
        };
        Some(RivalStatus {
            delegate: id.to_string(),
            key: delegate.to.to_string(),
            fingerprint: delegate.to.fingerprint().to_string(),
        })
    });
    ContestStatus {
        hop: contest.hop,
        rivals: rivals.collect(),
    }
}
