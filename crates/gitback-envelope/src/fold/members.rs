//! Questions about people: members, heirs, grants, policy, alarms.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, PuddleKey};

use super::authority::{Access, Instance};
use super::graph::Place;
use super::line::{Contest, Hop};
use super::{Equivocation, Project, Verdict};
use crate::act::{Act, CUT_MAX, Policy, Role, Scope};
use crate::envelope::Verified;
use crate::id::EnvelopeId;
use crate::statement::DEPS_MAX;
use crate::token::Token;

/// One membership: a counting invitation of one puddle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The invitation, which names the membership.
    pub invite: EnvelopeId,
    /// Whose it is.
    pub puddle: PuddleKey,
    /// What it allows.
    pub role: Role,
    /// The key of the founder line that invited.
    pub by: PuddleKey,
    /// What became of it.
    pub state: MembershipState,
    /// The request to be invited again that nobody has answered yet.
    pub asks_back: Option<EnvelopeId>,
}

/// What became of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipState {
    /// Nobody has joined.
    Open,
    /// The puddle is in.
    Live {
        /// Its first join, the one with the lowest id.
        join: EnvelopeId,
    },
    /// The puddle has left.
    Left {
        /// The leave, the one with the lowest id.
        leave: EnvelopeId,
    },
    /// The founder line has ended it.
    Revoked {
        /// The revocation, the one with the lowest id.
        revoke: EnvelopeId,
    },
}

/// The project that takes the place of one that has ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Successor {
    /// Its founder.
    pub founder: PuddleKey,
    /// Its handle.
    pub handle: Handle,
    /// The tombstone that says so.
    pub tombstone: EnvelopeId,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// Two envelopes at one number of a chain: a key was copied, or an envoy's disk was put back.
    Equivocation(Equivocation),
    /// Two delegations of one hop: a key of the founder line was copied.
    Contest(Contest),
    /// An update says something false about the git graph.
    Lie(EnvelopeId),
    /// Several projects are said to take this one's place.
    Successors(Vec<Successor>),
}

impl Alarm {
    /// A stable word for the kind of alarm.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Equivocation(_) => "equivocation",
            Self::Contest(_) => "contested-line",
            Self::Lie(_) => "false-claim",
            Self::Successors(_) => "several-successors",
        }
    }
}

impl Project {
    /// The puddle that founded the project, once `init` is here: the genesis key.
    #[must_use]
    pub fn founder(&self) -> Option<PuddleKey> {
        self.authority.founder()
    }

    /// What the founder calls the project, once `init` is here.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.authority.handle()
    }

    /// The founder line as far as it can be followed, the genesis key first; empty before `init`.
    #[must_use]
    pub fn line(&self) -> &[Hop] {
        self.authority.line().hops()
    }

    /// The key that speaks for the founder now.
    #[must_use]
    pub fn current_founder(&self) -> Option<PuddleKey> {
        self.authority.line().current()
    }

    /// Hops of the founder line with two or more delegations.
    #[must_use]
    pub fn contests(&self) -> &[Contest] {
        self.authority.line().contests()
    }

    /// The hop before which the founder line stops because nobody has picked one of its delegations.
    #[must_use]
    pub fn contest(&self) -> Option<&Contest> {
        let mut contests = self.contests().iter();
        contests.find(|contest| contest.followed.is_none())
    }

    /// Which delegation to follow at some hops, whatever else turns up.
    #[must_use]
    pub const fn pins(&self) -> &alloc::collections::BTreeMap<u64, EnvelopeId> {
        self.authority.pins()
    }

    /// Delegations that are followed here and not pinned yet, by hop. Whoever keeps the project on disk pins them
    /// there first and then says so with [`Self::pin`].
    #[must_use]
    pub fn fresh_pins(&self) -> Vec<(u64, EnvelopeId)> {
        let hops = self.line().iter();
        let fresh = hops.filter_map(|hop| Some((hop.hop, hop.delegate?)));
        fresh
            .filter(|(hop, _)| !self.pins().contains_key(hop))
            .collect()
    }

    /// Follows one delegation of a hop from now on, whatever else turns up: because it was the first to be seen, or
    /// because a person has picked it.
    pub fn pin(&mut self, hop: u64, delegate: &EnvelopeId) {
        let shaken = self.authority.pin(&self.graph, hop, delegate);
        self.settle(shaken);
    }

    /// What the puddle may do now; nothing: it is no member.
    #[must_use]
    pub fn access(&self, puddle: &PuddleKey) -> Option<Access> {
        self.authority.access(puddle)
    }

    /// Whether the puddle is on the founder line, or was ever invited by a counting invitation.
    #[must_use]
    pub fn party(&self, puddle: &PuddleKey) -> bool {
        self.authority.is_party(puddle)
    }

    /// Every counting invitation and what became of it, by id.
    #[must_use]
    pub fn memberships(&self) -> Vec<Membership> {
        let instances = self.authority.instances().iter();
        instances
            .map(|(invite, instance)| Membership {
                invite: *invite,
                puddle: instance.puddle,
                role: instance.role,
                by: self.graph.statement(instance.invite).puddle,
                state: self.state_of(instance),
                asks_back: self.asks_back(instance),
            })
            .collect()
    }

    fn state_of(&self, instance: &Instance) -> MembershipState {
        let lowest = |places: &[Place]| places.iter().map(|at| *self.graph.id(*at)).min();
        if let Some(revoke) = lowest(&instance.revokes) {
            MembershipState::Revoked { revoke }
        } else if let Some(leave) = lowest(&instance.leaves) {
            MembershipState::Left { leave }
        } else if let Some(join) = lowest(&instance.joins) {
            MembershipState::Live { join }
        } else {
            MembershipState::Open
        }
    }

    fn asks_back(&self, instance: &Instance) -> Option<EnvelopeId> {
        let answered = |rejoin: &Place| {
            let mut later = self.authority.instances_of(&instance.puddle);
            later.any(|other| self.graph.is_ancestor(*rejoin, other.invite))
        };
        let open = instance.rejoins.iter().filter(|rejoin| !answered(rejoin));
        open.map(|rejoin| *self.graph.id(*rejoin)).min()
    }

    /// The live grant by which `envoy` may sign when `uid` asks: its puddle may do something now, and nobody has taken
    /// it back. Of several, the one whose puddle may do most, then the one that expires last, then the one with the
    /// lowest id. Whether it has expired is for the caller, who has a clock.
    #[must_use]
    pub fn grant(&self, envoy: &EnvoyKey, uid: u32) -> Option<&Verified> {
        self.grants_for(envoy, uid).into_iter().next()
    }

    /// All live grants by which `envoy` may sign when `uid` asks, the best first.
    #[must_use]
    pub fn grants_for(&self, envoy: &EnvoyKey, uid: u32) -> Vec<&Verified> {
        use core::cmp::Reverse;
        let mut live = Vec::new();
        for (place, access) in self.authority.live_grants(envoy) {
            let verified = &self.graph.node(place).verified;
            let Some(grant) = verified.statement().grant() else {
                continue;
            };
            if grant.uid == uid {
                let lasting = Reverse(grant.expires_ms.unwrap_or(u64::MAX));
                live.push(((Reverse(access), lasting, *verified.id()), verified));
            }
        }
        live.sort_by_key(|(rank, _)| *rank);
        live.into_iter().map(|(_, verified)| verified).collect()
    }

    /// The most that any puddle may do that lets `envoy` sign for it.
    #[must_use]
    pub fn granted_envoy(&self, envoy: &EnvoyKey) -> Option<Access> {
        let live = self.authority.live_grants(envoy);
        live.map(|(_, access)| access).max()
    }

    /// The minimal proof that the envoy of a counting grant may ask for its puddle. Nothing for anything but a counting
    /// grant of a puddle that may do something now.
    #[must_use]
    pub fn token(&self, grant: &EnvelopeId) -> Option<Token> {
        let granted = self
            .get(grant)
            .filter(|_| self.verdict(grant) == Verdict::Valid)?;
        granted.statement().grant()?;
        let puddle = granted.statement().puddle;
        let access = self.access(&puddle)?;
        let init = self.iter().next()?.clone();
        let mut proof = Vec::from([init]);
        let delegates = self.line().iter().filter_map(|hop| hop.delegate);
        proof.extend(delegates.filter_map(|id| self.get(&id)).cloned());
        if access != Access::Founder {
            let mut live = self.authority.instances_of(&puddle);
            let live = live.find(|one| one.is_live() && Access::from(one.role) == access)?;
            let join = live.joins.iter().min_by_key(|join| self.graph.id(**join))?;
            for place in [live.invite, *join] {
                proof.push(self.graph.node(place).verified.clone());
            }
        }
        proof.push(granted.clone());
        Some(Token::new(proof))
    }

    /// The policy in force: of several at once, the stricter in each field. Without one: members only, nothing
    /// protected.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut latest = self.latest_policies();
        let Some(mut strict) = latest.next().cloned() else {
            return Policy {
                scope: Scope::MembersOnly,
                protected: Vec::new(),
                replicas: None,
            };
        };
        for other in latest {
            strict.scope = strict.scope.min(other.scope);
            strict.replicas = strict.replicas.max(other.replicas);
            let protected: BTreeSet<_> = strict.protected.iter().chain(&other.protected).collect();
            strict.protected = protected.into_iter().cloned().collect();
        }
        strict
    }

    /// Whether any policy is in force.
    #[must_use]
    pub fn has_policy(&self) -> bool {
        self.latest_policies().next().is_some()
    }

    fn latest_policies(&self) -> impl Iterator<Item = &Policy> {
        let latest = super::latest(&self.graph, self.authority.policies());
        latest
            .into_iter()
            .filter_map(|place| match &self.graph.statement(place).act {
                Act::Policy(policy) => Some(policy),
                _ => None,
            })
    }

    /// Whether a counting tombstone has ended the project.
    #[must_use]
    pub fn ended(&self) -> bool {
        !self.authority.tombstones().is_empty()
    }

    /// The projects that take this one's place, each once, ascending.
    #[must_use]
    pub fn successors(&self) -> Vec<Successor> {
        let mut successors = BTreeSet::new();
        for place in self.authority.tombstones() {
            if let Act::Tombstone(act) = &self.graph.statement(*place).act {
                successors.insert(Successor {
                    founder: act.founder,
                    handle: act.handle.clone(),
                    tombstone: *self.graph.id(*place),
                });
            }
        }
        let mut successors: Vec<Successor> = successors.into_iter().collect();
        successors.dedup_by(|b, a| (a.founder, &a.handle) == (b.founder, &b.handle));
        successors
    }

    /// What a new cut names so that everything valid here still counts: the valid heads, ascending, at most
    /// [`CUT_MAX`].
    #[must_use]
    pub fn cut(&self) -> Vec<EnvelopeId> {
        self.valid_heads.iter().take(CUT_MAX).copied().collect()
    }

    /// Whether there are more valid heads than an envelope after `prev` can name: then a `merge` comes first.
    #[must_use]
    pub fn heads_to_merge(&self, prev: Option<&EnvelopeId>) -> bool {
        let seen = |head: &&EnvelopeId| {
            prev.is_some_and(|prev| prev == *head || self.is_ancestor(head, prev))
        };
        self.valid_heads.iter().filter(|head| !seen(head)).count() > DEPS_MAX
    }

    /// How many folded envelopes have no effect.
    #[must_use]
    pub const fn void_len(&self) -> usize {
        self.quota.void()
    }

    /// Everything that a person should look at.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> = self
            .contests()
            .iter()
            .cloned()
            .map(Alarm::Contest)
            .collect();
        alarms.extend(self.equivocations().into_iter().map(Alarm::Equivocation));
        let here = |id: &&EnvelopeId| self.graph.contains(id);
        alarms.extend(self.held_out.keys().filter(here).copied().map(Alarm::Lie));
        let successors = self.successors();
        if successors.len() > 1 {
            alarms.push(Alarm::Successors(successors));
        }
        alarms
    }
}
