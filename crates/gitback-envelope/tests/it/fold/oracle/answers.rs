//! What can be asked of a project, answered by the fold and by the oracle.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{
    Access, Act, Alarm, Claim, Contest, EnvelopeId, Equivocation, Hop, Membership, MembershipState,
    Oid, Policy, Project, RefName, Scope, Successor, Verdict,
};
use gitback_identity::{EnvoyKey, Handle, PublicKey, PuddleKey};
use sha2::{Digest as _, Sha256};

use super::super::play::{ENVOYS, NAMES, puddles};
use super::super::stage::{Voice, envoy};
use super::super::world::name;
use super::{Ids, Oracle, members, parents};

/// Users on whose behalf an envoy may sign.
const UIDS: [u32; 3] = [0, 1, 2];

/// Everything about a project that the specification determines.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Answers {
    verdicts: BTreeMap<EnvelopeId, Verdict>,
    founder: (Option<PuddleKey>, Option<Handle>),
    line: Vec<Hop>,
    current_founder: Option<PuddleKey>,
    contests: Vec<Contest>,
    contest: Option<Contest>,
    fresh_pins: Vec<(u64, EnvelopeId)>,
    successors: (bool, Vec<Successor>),
    access: Vec<(Option<Access>, bool)>,
    memberships: Vec<Membership>,
    grants: Vec<Vec<EnvelopeId>>,
    granted_envoys: Vec<Option<Access>>,
    policy: (bool, Policy),
    heads_of: Vec<Vec<(EnvelopeId, Oid)>>,
    head_target: Option<RefName>,
    claims: Vec<Vec<Claim>>,
    heads: Vec<EnvelopeId>,
    valid_heads: Vec<EnvelopeId>,
    cut: Vec<EnvelopeId>,
    deps: Vec<Vec<EnvelopeId>>,
    next: Vec<(u64, Option<EnvelopeId>)>,
    missing: Vec<EnvelopeId>,
    counts: [usize; 4],
    equivocations: Vec<Equivocation>,
    alarms: Vec<Alarm>,
    digest: [u8; 32],
}

fn envoys() -> Vec<EnvoyKey> {
    ENVOYS.iter().map(|seed| envoy(*seed)).collect()
}

impl Answers {
    pub(in super::super) fn of(project: &Project, ids: &Ids, voices: &[Voice]) -> Self {
        let grants = envoys().into_iter().flat_map(|envoy| {
            UIDS.map(|uid| {
                let grants = project.grants_for(&envoy, uid).into_iter();
                let grants: Vec<_> = grants.map(|grant| *grant.id()).collect();
                let best = project.grant(&envoy, uid).map(|grant| *grant.id());
                assert_eq!(best, grants.first().copied());
                grants
            })
        });
        let heads_of = |text| {
            let heads = project.heads_of(&name(text)).into_iter();
            heads.map(|head| (head.update, head.oid)).collect()
        };
        Self {
            verdicts: ids.iter().map(|id| (*id, project.verdict(id))).collect(),
            founder: (project.founder(), project.handle().cloned()),
            line: project.line().to_vec(),
            current_founder: project.current_founder(),
            contests: project.contests().to_vec(),
            contest: project.contest().cloned(),
            fresh_pins: project.fresh_pins(),
            successors: (project.ended(), project.successors()),
            access: puddles()
                .iter()
                .map(|puddle| (project.access(puddle), project.party(puddle)))
                .collect(),
            memberships: project.memberships(),
            grants: grants.collect(),
            granted_envoys: envoys()
                .iter()
                .map(|envoy| project.granted_envoy(envoy))
                .collect(),
            policy: (project.has_policy(), project.policy()),
            heads_of: NAMES.into_iter().map(heads_of).collect(),
            head_target: project.head_target(),
            claims: ids.iter().map(|id| project.claims(id)).collect(),
            heads: project.heads(),
            valid_heads: project.deps_after(None),
            cut: project.cut(),
            deps: ids.iter().map(|id| project.deps_after(Some(id))).collect(),
            next: voices.iter().map(|voice| next(project, voice)).collect(),
            missing: project.missing(),
            counts: [
                project.len(),
                project.waiting_len(),
                project.unknown_len(),
                project.void_len(),
            ],
            equivocations: project.equivocations(),
            alarms: project.alarms(),
            digest: project.digest(),
        }
    }
}

fn signer(voice: &Voice) -> PublicKey {
    *envoy(voice.seed).key()
}

fn next(project: &Project, voice: &Voice) -> (u64, Option<EnvelopeId>) {
    project.next(&signer(voice), &voice.puddle, &voice.incarnation)
}

impl Oracle {
    pub(in super::super) fn answers(&self, ids: &Ids, voices: &[Voice]) -> Answers {
        let folded: Ids = self.past.keys().copied().collect();
        let valid: Ids = folded.iter().filter(|id| self.valid(id)).copied().collect();
        let valid_heads = self.last(&valid);
        let void = |id: &&EnvelopeId| matches!(self.verdict(id), Verdict::Void(_));
        let unknown = |id: &&EnvelopeId| matches!(self.act(id), Act::Unknown { .. });
        let grants = envoys()
            .into_iter()
            .flat_map(|envoy| UIDS.map(|uid| self.grants_for(&envoy, uid)));
        let deps_after = |prev: &EnvelopeId| {
            let past = self.past.get(prev);
            let seen =
                |head: &&EnvelopeId| past.is_some_and(|past| past.contains(*head) || *head == prev);
            let deps = valid_heads.iter().filter(|head| !seen(head));
            deps.copied().collect()
        };
        Answers {
            verdicts: ids.iter().map(|id| (*id, self.verdict(id))).collect(),
            founder: (self.genesis(), self.handle()),
            line: self.line.hops.clone(),
            current_founder: self.line.hops.last().map(|hop| hop.key),
            contests: self.line.contests.clone(),
            contest: self.open_contest(),
            fresh_pins: self.fresh_pins(),
            successors: (!self.tombstones.is_empty(), self.successors()),
            access: puddles()
                .iter()
                .map(|puddle| (self.access(puddle), self.party(puddle)))
                .collect(),
            memberships: self.memberships(),
            grants: grants.collect(),
            granted_envoys: envoys()
                .iter()
                .map(|envoy| {
                    let grants = self.live_grants(envoy).into_iter();
                    grants.filter_map(|id| self.access(&self.puddle(&id))).max()
                })
                .collect(),
            policy: (!self.policies.is_empty(), self.policy()),
            heads_of: NAMES.iter().map(|text| self.heads(&name(text))).collect(),
            head_target: self.head_target(),
            claims: ids
                .iter()
                .map(|id| match self.all.get(id) {
                    Some(_) => self.claims(id),
                    None => vec![],
                })
                .collect(),
            heads: self.last(&folded).into_iter().collect(),
            valid_heads: valid_heads.iter().copied().collect(),
            cut: valid_heads.iter().copied().collect(),
            deps: ids.iter().map(deps_after).collect(),
            next: voices.iter().map(|voice| self.next(voice)).collect(),
            missing: self.missing(),
            counts: [
                folded.len(),
                self.waiting().len(),
                folded.iter().filter(unknown).count(),
                folded.iter().filter(void).count(),
            ],
            equivocations: self.equivocations(),
            alarms: self.alarms(),
            digest: self.digest(),
        }
    }

    fn handle(&self) -> Option<Handle> {
        let init = self.of_kind(|act| matches!(act, Act::Init { .. }));
        match self.act(init.first()?) {
            Act::Init { handle } => Some(handle.clone()),
            _ => None,
        }
    }

    fn open_contest(&self) -> Option<Contest> {
        let mut contests = self.line.contests.iter();
        contests.find(|one| one.followed.is_none()).cloned()
    }

    fn fresh_pins(&self) -> Vec<(u64, EnvelopeId)> {
        let hops = self.line.hops.iter();
        let followed = hops.filter_map(|hop| Some((hop.hop, hop.delegate?)));
        followed
            .filter(|(hop, _)| !self.pins.contains_key(hop))
            .collect()
    }

    fn successors(&self) -> Vec<Successor> {
        let mut found: BTreeMap<(PuddleKey, Handle), EnvelopeId> = BTreeMap::new();
        for id in &self.tombstones {
            if let Act::Tombstone(act) = self.act(id) {
                // Ids ascend, so the first one is the lowest.
                found
                    .entry((act.founder, act.handle.clone()))
                    .or_insert(*id);
            }
        }
        let successor = |((founder, handle), tombstone)| Successor {
            founder,
            handle,
            tombstone,
        };
        found.into_iter().map(successor).collect()
    }

    fn access(&self, puddle: &PuddleKey) -> Option<Access> {
        if self.line.hops.last().map(|hop| hop.key) == Some(*puddle) {
            return Some(Access::Founder);
        }
        if self.is_retired(puddle) {
            return None;
        }
        let own = self.instances.values();
        let live = own.filter(|one| one.invite.puddle == *puddle && one.is_live());
        live.map(|one| members::access(one.invite.role)).max()
    }

    fn party(&self, puddle: &PuddleKey) -> bool {
        let mut instances = self.instances.values();
        self.on_line(puddle) || instances.any(|one| one.invite.puddle == *puddle)
    }

    fn memberships(&self) -> Vec<Membership> {
        let instances = self.instances.iter();
        let membership = |(id, one): (&EnvelopeId, &members::Instance)| {
            let state = if let Some(revoke) = one.revokes.first() {
                MembershipState::Revoked { revoke: *revoke }
            } else if let Some(leave) = one.leaves.first() {
                MembershipState::Left { leave: *leave }
            } else if let Some(join) = one.joins.first() {
                MembershipState::Live { join: *join }
            } else {
                MembershipState::Open
            };
            let answered = |asks: &EnvelopeId| {
                let mut others = self.instances.iter();
                others.any(|(id, other)| {
                    other.invite.puddle == one.invite.puddle && self.before(asks, id)
                })
            };
            let mut rejoins = one.rejoins.iter();
            Membership {
                invite: *id,
                puddle: one.invite.puddle,
                role: one.invite.role,
                by: self.puddle(id),
                state,
                asks_back: rejoins.find(|asks| !answered(asks)).copied(),
            }
        };
        instances.map(membership).collect()
    }

    fn live_grants(&self, envoy: &EnvoyKey) -> Vec<EnvelopeId> {
        let live = |id: &&EnvelopeId| {
            self.granted_envoy_of(id) == *envoy
                && self.enders(id).is_empty()
                && self.access(&self.puddle(id)).is_some()
        };
        self.grants.iter().filter(live).copied().collect()
    }

    fn grants_for(&self, envoy: &EnvoyKey, uid: u32) -> Vec<EnvelopeId> {
        let mut found = Vec::new();
        for id in self.live_grants(envoy) {
            if let Act::Grant(grant) = self.act(&id)
                && grant.uid == uid
            {
                let lasts = grant.expires_ms.unwrap_or(u64::MAX);
                let access = self.access(&self.puddle(&id));
                found.push((Reverse(access), Reverse(lasts), id));
            }
        }
        found.sort();
        found.into_iter().map(|(_, _, id)| id).collect()
    }

    fn policy(&self) -> Policy {
        let in_force = self.last(&self.policies);
        let in_force = in_force.iter().filter_map(|id| match self.act(id) {
            Act::Policy(policy) => Some(policy),
            _ => None,
        });
        let in_force: Vec<_> = in_force.collect();
        let swarm_wide = |policy: &&Policy| policy.scope == Scope::SwarmWide;
        let protected = in_force.iter().flat_map(|policy| &policy.protected);
        let protected: BTreeSet<_> = protected.cloned().collect();
        Policy {
            scope: if !in_force.is_empty() && in_force.iter().all(swarm_wide) {
                Scope::SwarmWide
            } else {
                Scope::MembersOnly
            },
            protected: protected.into_iter().collect(),
            replicas: in_force.iter().filter_map(|policy| policy.replicas).max(),
        }
    }

    fn waiting(&self) -> Ids {
        let waiting = self.all.keys().filter(|id| !self.past.contains_key(*id));
        waiting.copied().collect()
    }

    fn missing(&self) -> Vec<EnvelopeId> {
        let waiting = self.waiting();
        let named: Ids = waiting
            .iter()
            .flat_map(|id| parents(self.statement(id)))
            .collect();
        let missing = named.into_iter().filter(|id| !self.all.contains_key(id));
        missing.collect()
    }

    /// The longest end of a chain, of several the one with the lowest id, and the number after it.
    fn next(&self, voice: &Voice) -> (u64, Option<EnvelopeId>) {
        let own = self.past.keys().filter(|id| {
            let statement = self.statement(id);
            (statement.signer, statement.puddle, statement.incarnation)
                == (signer(voice), voice.puddle, voice.incarnation)
        });
        let end = own.min_by_key(|id| (Reverse(self.statement(id).seq), **id));
        end.map_or((0, None), |id| (self.statement(id).seq + 1, Some(*id)))
    }

    /// Those that follow one and the same envelope on one chain, or begin it.
    fn equivocations(&self) -> Vec<Equivocation> {
        let mut siblings: BTreeMap<_, Ids> = BTreeMap::new();
        for id in self.past.keys() {
            let said = self.statement(id);
            let chain = (said.signer, said.puddle, said.incarnation);
            siblings
                .entry((chain, said.seq, said.prev))
                .or_default()
                .insert(*id);
        }
        let mut forks: BTreeMap<_, Ids> = BTreeMap::new();
        for ((chain, seq, _), ids) in siblings {
            if ids.len() > 1 {
                forks.entry((chain, seq)).or_default().extend(ids);
            }
        }
        let forks = forks.into_iter();
        let equivocation =
            |(((signer, puddle, incarnation), seq), ids): ((_, _), Ids)| Equivocation {
                signer,
                puddle,
                incarnation,
                seq,
                ids: ids.into_iter().collect(),
            };
        forks.map(equivocation).collect()
    }

    fn alarms(&self) -> Vec<Alarm> {
        let mut alarms: Vec<_> = self
            .line
            .contests
            .iter()
            .cloned()
            .map(Alarm::Contest)
            .collect();
        alarms.extend(self.equivocations().into_iter().map(Alarm::Equivocation));
        let lies: BTreeSet<EnvelopeId> = self.held_out.iter().map(|(id, _)| *id).collect();
        let lies = lies.into_iter().filter(|id| self.past.contains_key(id));
        alarms.extend(lies.map(Alarm::Lie));
        if self.successors().len() > 1 {
            alarms.push(Alarm::Successors(self.successors()));
        }
        alarms
    }

    /// §9.
    fn digest(&self) -> [u8; 32] {
        let ids = self.past.keys().map(|id| Sha256::digest(id.as_bytes()));
        let pins = self.pins.iter().map(|(hop, id)| {
            let mut hash = Sha256::new();
            hash.update(b"gitback pin v1");
            hash.update(hop.to_be_bytes());
            hash.update(id.as_bytes());
            hash.finalize()
        });
        let mut sum = [0_u8; 32];
        for addend in ids.chain(pins) {
            let mut carry = 0;
            for (total, byte) in sum.iter_mut().zip(addend).rev() {
                let wide = u16::from(*total) + u16::from(byte) + carry;
                *total = wide.to_be_bytes()[1];
                carry = wide >> 8;
            }
        }
        sum
    }
}
