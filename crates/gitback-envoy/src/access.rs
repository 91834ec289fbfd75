//! What a local user, or another envoy, may do in a project here, and why not.
//!
//! The fold says what a puddle may do. This module ties it to a user of this machine and to a clock: a grant names an
//! envoy and a user, and the envoy that it names stops using it when it expires.

use std::collections::BTreeSet;
use std::fmt;

use gitback_envelope::{
    Access, Act, EnvelopeId, Membership, MembershipState, Project, Scope, Verified, VoidReason,
};
use gitback_identity::{EnvoyKey, PuddleKey};

use crate::cell::{Foothold, State, Void};
use crate::clock;
use crate::daemon::Envoy;

/// For whom a local user may act.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) puddle: PuddleKey,
    pub(crate) access: Access,
    pub(crate) grant: EnvelopeId,
    pub(crate) expires_ms: Option<u64>,
}

/// Why something may not be done, with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    /// One line for people.
    pub(crate) what: String,
    /// A stable word.
    pub(crate) code: &'static str,
    /// The rule of the fold, where it is one's.
    pub(crate) rule: Option<u8>,
    /// The envelope that says so, where one does.
    pub(crate) envelope: Option<EnvelopeId>,
}

impl Denial {
    fn by(reason: VoidReason, envelope: Option<EnvelopeId>, what: String) -> Self {
        Self {
            what,
            code: reason.code(),
            rule: Some(reason.rule()),
            envelope,
        }
    }

    /// The same about an envelope that would have no effect.
    pub(crate) fn void(void: &Void) -> Self {
        let what = format!("it would not count: {}", void.reason);
        Self::by(void.reason, Some(void.id), what)
    }

    /// What proves it: "revoked, rule 7, envelope 0f…".
    pub(crate) fn proof(&self) -> String {
        let mut proof = self.code.to_owned();
        if let Some(rule) = self.rule {
            proof.push_str(&format!(", rule {rule}"));
        }
        if let Some(envelope) = &self.envelope {
            proof.push_str(&format!(", envelope {envelope}"));
        }
        proof
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.proof())
    }
}

/// The best live grant by which this envoy serves `uid`: one that has not expired by our clock.
pub(crate) fn standing(envoy: &Envoy, state: &State, uid: u32) -> Option<Standing> {
    let now = clock::now_ms();
    let grants = state.fold().grants_for(envoy.public(), uid);
    grants.into_iter().find_map(|grant| {
        let standing = of_grant(state.fold(), grant)?;
        standing
            .expires_ms
            .is_none_or(|at| at > now)
            .then_some(standing)
    })
}

/// The same for one puddle.
pub(crate) fn standing_of(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: &PuddleKey,
) -> Option<Standing> {
    let now = clock::now_ms();
    let grants = state.fold().grants_for(envoy.public(), uid);
    let mut own = grants
        .into_iter()
        .filter(|grant| grant.statement().puddle == *puddle)
        .filter_map(|grant| of_grant(state.fold(), grant));
    own.find(|standing| standing.expires_ms.is_none_or(|at| at > now))
}

fn of_grant(fold: &Project, grant: &Verified) -> Option<Standing> {
    let puddle = grant.statement().puddle;
    Some(Standing {
        puddle,
        access: fold.access(&puddle)?,
        grant: *grant.id(),
        expires_ms: grant.statement().grant()?.expires_ms,
    })
}

/// The grant by which `uid` may still push for `puddle`: asked again right before the push is signed.
pub(crate) fn may_push(
    envoy: &Envoy,
    state: &State,
    uid: u32,
    puddle: &PuddleKey,
) -> Result<EnvelopeId, Denial> {
    if let Some(denial) = ended(state.fold()) {
        return Err(denial);
    }
    match standing_of(envoy, state, uid, puddle) {
        Some(standing) if standing.access >= Access::Member => Ok(standing.grant),
        Some(standing) => Err(reader(state.fold(), &standing.puddle)),
        None => Err(why_not(envoy, state, uid, Some(*puddle))),
    }
}

/// That the project has ended, if it has.
pub(crate) fn ended(fold: &Project) -> Option<Denial> {
    let successors = fold.successors();
    let first = successors.first()?;
    let places: Vec<String> = successors.iter().map(crate::cell::address).collect();
    let what = match places.as_slice() {
        [one] => format!("the project has ended; {one} takes its place"),
        several => format!(
            "the project has ended, and several are said to take its place: {}",
            several.join(", ")
        ),
    };
    Some(Denial::by(VoidReason::Ended, Some(first.tombstone), what))
}

/// That a puddle may fetch and not push.
pub(crate) fn reader(fold: &Project, puddle: &PuddleKey) -> Denial {
    let what = format!("{} may fetch and not push", puddle.fingerprint());
    let live = |one: &Membership| {
        one.puddle == *puddle && matches!(one.state, MembershipState::Live { .. })
    };
    let invite = fold.memberships().into_iter().find(live);
    Denial::by(VoidReason::Reader, invite.map(|one| one.invite), what)
}

/// Why this envoy does not serve `uid`, or not for `puddle`.
pub(crate) fn why_not(envoy: &Envoy, state: &State, uid: u32, puddle: Option<PuddleKey>) -> Denial {
    let fold = state.fold();
    let granted: Vec<PuddleKey> = match puddle {
        Some(puddle) => vec![puddle],
        None => grants_ever(envoy, state, uid),
    };
    for puddle in &granted {
        if let Some(denial) = why_no_access(fold, puddle) {
            return denial;
        }
    }
    let name = envoy.name();
    for puddle in &granted {
        if let Some(denial) = why_no_grant(envoy, state, uid, puddle) {
            return denial;
        }
    }
    let what = format!("no member has granted user {uid} on {name} anything");
    Denial::by(VoidReason::NotGranted, None, what)
}

/// The puddles of parties that ever granted this envoy for `uid`, the latest first.
fn grants_ever(envoy: &Envoy, state: &State, uid: u32) -> Vec<PuddleKey> {
    let mut puddles = Vec::new();
    for envelope in state.fold().iter() {
        let statement = envelope.statement();
        let for_us =
            |grant: &gitback_envelope::Grant| grant.envoy == *envoy.public() && grant.uid == uid;
        if statement.grant().is_some_and(for_us) && state.fold().party(&statement.puddle) {
            puddles.retain(|puddle| *puddle != statement.puddle);
            puddles.insert(0, statement.puddle);
        }
    }
    puddles
}

/// Why the puddle may do nothing; nothing: it may.
pub(crate) fn why_no_access(fold: &Project, puddle: &PuddleKey) -> Option<Denial> {
    if fold.access(puddle).is_some() {
        return None;
    }
    let who = puddle.fingerprint();
    if let Some(at) = fold.line().iter().position(|hop| hop.key == *puddle) {
        let heir = fold.line().get(at + 1)?;
        let what = format!(
            "the key of {who} was replaced {} by {}",
            when(fold, heir.delegate.as_ref()),
            heir.key.fingerprint()
        );
        return Some(Denial::by(VoidReason::Retired, heir.delegate, what));
    }
    let memberships = fold.memberships();
    let own: Vec<&Membership> = memberships
        .iter()
        .filter(|one| one.puddle == *puddle)
        .collect();
    if let Some(open) = own
        .iter()
        .find(|one| matches!(one.state, MembershipState::Open))
    {
        let what = format!("{who} is invited and has not joined");
        return Some(Denial::by(VoidReason::NotMember, Some(open.invite), what));
    }
    let end = |one: &&&Membership| match one.state {
        MembershipState::Revoked { revoke } => time(fold, &revoke),
        MembershipState::Left { leave } => time(fold, &leave),
        MembershipState::Open | MembershipState::Live { .. } => None,
    };
    let Some(last) = own.iter().max_by_key(end) else {
        let what = format!("{who} is not a member of {}", handle(fold));
        return Some(Denial::by(VoidReason::NotMember, None, what));
    };
    match last.state {
        MembershipState::Revoked { revoke } => {
            let by = fold.get(&revoke).map(|act| act.statement().puddle);
            let by = by.map_or_else(String::new, |by| format!(", by {}", by.fingerprint()));
            let what = format!("{who}'s access ended {}{by}", when(fold, Some(&revoke)));
            Some(Denial::by(VoidReason::Revoked, Some(revoke), what))
        }
        MembershipState::Left { leave } => {
            let what = format!("{who} left {} {}", handle(fold), when(fold, Some(&leave)));
            Some(Denial::by(VoidReason::Left, Some(leave), what))
        }
        MembershipState::Open | MembershipState::Live { .. } => None,
    }
}

/// Why a puddle with access is not served: its grant was taken back, or has expired.
fn why_no_grant(envoy: &Envoy, state: &State, uid: u32, puddle: &PuddleKey) -> Option<Denial> {
    let fold = state.fold();
    let own = |grant: &&Verified| grant.statement().puddle == *puddle;
    let grants = fold.grants_for(envoy.public(), uid);
    if let Some(expired) = grants.into_iter().find(own) {
        let at = expired.statement().grant()?.expires_ms?;
        let what = format!(
            "the grant for user {uid} on {} expired {}",
            envoy.name(),
            clock::day(at, clock::now_ms())
        );
        return Some(Denial {
            what,
            code: "expired-grant",
            rule: Some(VoidReason::NotGranted.rule()),
            envelope: Some(*expired.id()),
        });
    }
    let taken_back = fold.iter().filter(|envelope| {
        let statement = envelope.statement();
        matches!(&statement.act, Act::Ungrant(ungrant) if ungrant.envoy == *envoy.public())
            && statement.puddle == *puddle
            && state.void(envelope.id()).is_none()
    });
    let ungrant = taken_back.last()?;
    let what = format!(
        "{} took the grant for {} back {}",
        puddle.fingerprint(),
        envoy.name(),
        when(fold, Some(ungrant.id()))
    );
    Some(Denial::by(VoidReason::Ungranted, Some(*ungrant.id()), what))
}

/// What another envoy is to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partner {
    /// It may hold the project: a puddle with access has granted it, or it is of the fleet and the policy lets the
    /// fleet hold it.
    Full,
    /// It was granted once, and is not any more. It is told what ended that, so that it stops too.
    Former,
    /// It has nothing to do with it.
    Stranger,
}

/// What the envoy `key` is to the project, by what is known here now.
pub(crate) fn partner(envoy: &Envoy, state: &State, key: &EnvoyKey) -> Partner {
    let fold = state.fold();
    let of_fleet = || envoy.neighbour(key).is_some() && fold.policy().scope == Scope::SwarmWide;
    let is_granted = fold.granted_envoy(key).is_some();
    if is_granted || of_fleet() {
        // Whose machine was removed, stolen perhaps, is refused whatever somebody has granted it before.
        match envoy.fleet().removed_ms(key) {
            Some(_) => Partner::Stranger,
            None => Partner::Full,
        }
    } else if state.ever_granted(key) {
        Partner::Former
    } else {
        Partner::Stranger
    }
}

/// What may be asked of the envoy `key` about the project: a partner; and while nothing is known of the project,
/// every envoy of the fleet.
pub(crate) fn may_ask(envoy: &Envoy, state: &State, key: &EnvoyKey) -> bool {
    let unknown = state.fold().founder().is_none() || state.foothold() != Foothold::Known;
    unknown || partner(envoy, state, key) == Partner::Full
}

/// What ended the part that the envoy `key` had, if it had one.
pub(crate) fn why_former(state: &State, key: &EnvoyKey) -> Option<Denial> {
    let fold = state.fold();
    if !state.ever_granted(key) {
        return None;
    }
    let grants = fold.iter().filter(|envelope| {
        let grant = envelope.statement().grant();
        grant.is_some_and(|grant| grant.envoy == *key)
    });
    let puddles: Vec<PuddleKey> = grants.map(|grant| grant.statement().puddle).collect();
    let no_access = |puddle: &PuddleKey| why_no_access(fold, puddle);
    puddles.iter().rev().find_map(no_access).or_else(|| {
        let ungrants = fold.iter().filter(|envelope| {
            let act = &envelope.statement().act;
            matches!(act, Act::Ungrant(ungrant) if ungrant.envoy == *key)
                && state.void(envelope.id()).is_none()
        });
        let id = *ungrants.last()?.id();
        let what = format!(
            "the grant for the envoy {key} was taken back {}",
            when(fold, Some(&id))
        );
        Some(Denial::by(VoidReason::Ungranted, Some(id), what))
    })
}

/// What of `envelopes` the envoy `key` may be told.
pub(crate) fn tellable(
    envoy: &Envoy,
    state: &State,
    key: &EnvoyKey,
    envelopes: Vec<Verified>,
) -> Vec<Verified> {
    match partner(envoy, state, key) {
        Partner::Full => envelopes,
        Partner::Former => farewell(state, key, envelopes),
        Partner::Stranger => Vec::new(),
    }
}

/// What a former partner may be told: what ended its standing, and the past of that.
fn farewell(state: &State, key: &EnvoyKey, envelopes: Vec<Verified>) -> Vec<Verified> {
    let fold = state.fold();
    let mut puddles = BTreeSet::new();
    let mut ends: Vec<EnvelopeId> = Vec::new();
    let mut with_project = false;
    for envelope in fold.iter() {
        let statement = envelope.statement();
        match &statement.act {
            Act::Grant(grant) if grant.envoy == *key => {
                let void = state.void(envelope.id());
                with_project |= void.is_some_and(|void| void.reason == VoidReason::Ended);
                if state.ever_granted_by(key, &statement.puddle) {
                    puddles.insert(statement.puddle);
                }
            }
            Act::Ungrant(ungrant) if ungrant.envoy == *key => ends.push(*envelope.id()),
            _ => {}
        }
    }
    for puddle in &puddles {
        ends.extend(ends_of(fold, puddle));
    }
    if with_project {
        let is_end = |act: &Act| matches!(act, Act::Tombstone(_));
        let envelopes = fold.iter().filter(|one| is_end(&one.statement().act));
        ends.extend(envelopes.map(Verified::id));
    }
    ends.retain(|end| state.void(end).is_none());
    let told = |envelope: &Verified| {
        let id = envelope.id();
        ends.iter()
            .any(|end| end == id || fold.is_ancestor(id, end))
    };
    envelopes.into_iter().filter(told).collect()
}

/// What ended a part that the puddle had.
fn ends_of(fold: &Project, puddle: &PuddleKey) -> Vec<EnvelopeId> {
    let line = fold.line();
    if let Some(at) = line.iter().position(|hop| hop.key == *puddle) {
        let heir = line.get(at + 1);
        return heir.and_then(|heir| heir.delegate).into_iter().collect();
    }
    let mut own = fold.memberships();
    own.retain(|one| one.puddle == *puddle);
    if own.is_empty() {
        // Its invitation counts no more, for the line went on without it.
        return line.iter().filter_map(|hop| hop.delegate).collect();
    }
    let ends = own.iter().filter_map(|one| match one.state {
        MembershipState::Revoked { revoke } => Some(revoke),
        MembershipState::Left { leave } => Some(leave),
        MembershipState::Open | MembershipState::Live { .. } => None,
    });
    ends.collect()
}

fn handle(fold: &Project) -> String {
    fold.handle().map(ToString::to_string).unwrap_or_default()
}

fn time(fold: &Project, id: &EnvelopeId) -> Option<u64> {
    fold.get(id)?.statement().time_ms
}

/// "4 Nov", by the clock of who said it; nothing when it does not say.
fn when(fold: &Project, id: Option<&EnvelopeId>) -> String {
    let at = id.and_then(|id| time(fold, id));
    at.map_or_else(String::new, |at| clock::day(at, clock::now_ms()))
}
