//! §4 and §5: memberships, grants, policies.

use gitback_envelope::{Access, Act, EnvelopeId, Invite, Role, Update, VoidReason};
use gitback_identity::EnvoyKey;

use super::{Ids, Oracle, Worth};

pub(super) struct Instance {
    pub(super) invite: Invite,
    pub(super) revokes: Ids,
    /// What lies within the cuts of all revokes.
    revoked: Option<Ids>,
    pub(super) joins: Ids,
    pub(super) leaves: Ids,
    /// What lies in the past of all leaves.
    left: Option<Ids>,
    pub(super) rejoins: Ids,
}

impl Instance {
    pub(super) fn is_live(&self) -> bool {
        !self.joins.is_empty() && self.revokes.is_empty() && self.leaves.is_empty()
    }
}

impl Oracle {
    pub(super) fn instances(&mut self) {
        let invites = self.of_kind(|act| matches!(act, Act::Invite(_)));
        for id in self.counting(invites) {
            let Act::Invite(invite) = *self.act(&id) else {
                continue;
            };
            let instance = Instance {
                invite,
                revokes: Ids::new(),
                revoked: None,
                joins: Ids::new(),
                leaves: Ids::new(),
                left: None,
                rejoins: Ids::new(),
            };
            self.instances.insert(id, instance);
        }
        // One after the other: each rests on those before.
        for id in self.instances.keys().copied().collect::<Vec<_>>() {
            let about = |kind: fn(&Act) -> Option<EnvelopeId>| {
                let named = move |act: &Act| kind(act) == Some(id);
                self.of_kind(named)
            };
            let revokes = about(|act| match act {
                Act::Revoke(revoke) => Some(revoke.invite),
                _ => None,
            });
            let joins = about(|act| match act {
                Act::Join { invite } => Some(*invite),
                _ => None,
            });
            let leaves = about(|act| match act {
                Act::Leave { invite } => Some(*invite),
                _ => None,
            });
            let rejoins = about(|act| match act {
                Act::Rejoin { invite } => Some(*invite),
                _ => None,
            });
            let revokes = self.counting(revokes);
            let revoked = self.within_each(&revokes);
            self.set(&id, |one| (one.revokes, one.revoked) = (revokes, revoked));
            let joins = self.counting(joins);
            self.set(&id, |one| one.joins = joins);
            let leaves = self.counting(leaves);
            let left = leaves.iter().map(|leave| {
                let mut past = self.past[leave].clone();
                past.insert(*leave);
                past
            });
            let left = left.reduce(|one, other| &one & &other);
            self.set(&id, |one| (one.leaves, one.left) = (leaves, left));
            let rejoins = self.counting(rejoins);
            self.set(&id, |one| one.rejoins = rejoins);
        }
    }

    fn set(&mut self, id: &EnvelopeId, set: impl FnOnce(&mut Instance)) {
        set(self.instances.get_mut(id).expect("an instance"));
    }

    pub(super) fn worth_of_revoke(&self, id: &EnvelopeId, invite: &EnvelopeId) -> Worth {
        let entitled = |id: &EnvelopeId| {
            self.speaks_for_founder(id)?;
            if self.instances.contains_key(invite) && self.before(invite, id) {
                Ok(())
            } else {
                Err(VoidReason::NoInvite)
            }
        };
        entitled(id)?;
        let ended = |id: &EnvelopeId| self.end.as_ref().is_some_and(|end| !end.contains(id));
        let others = self.of_kind(|act| matches!(act, Act::Revoke(one) if one.invite == *invite));
        let earlier =
            |other: &EnvelopeId| self.before(other, id) && entitled(other).is_ok() && !ended(other);
        if others.iter().any(earlier) {
            return Err(VoidReason::Recut);
        }
        Ok(())
    }

    /// What joins, leaves and rejoins have in common: by whom, after what, and within which cuts.
    fn by_subject(&self, id: &EnvelopeId, invite: &EnvelopeId) -> Result<&Instance, VoidReason> {
        let instance = self.instances.get(invite).ok_or(VoidReason::NoInvite)?;
        if !self.before(invite, id) {
            return Err(VoidReason::NoInvite);
        }
        if self.puddle(id) != instance.invite.puddle {
            return Err(VoidReason::NotInvited);
        }
        if !self.within_limit(id) {
            return Err(VoidReason::Retired);
        }
        Ok(instance)
    }

    pub(super) fn worth_of_join(&self, id: &EnvelopeId, invite: &EnvelopeId) -> Worth {
        let instance = self.by_subject(id, invite)?;
        if !lies_within(&instance.revoked, id) {
            return Err(VoidReason::Revoked);
        }
        Ok(())
    }

    pub(super) fn worth_of_leave(&self, id: &EnvelopeId, invite: &EnvelopeId) -> Worth {
        let leaves = |id: &EnvelopeId| {
            let instance = self.by_subject(id, invite)?;
            if !lies_within(&instance.revoked, id) {
                return Err(VoidReason::Revoked);
            }
            if !instance.joins.iter().any(|join| self.before(join, id)) {
                return Err(VoidReason::NotJoined);
            }
            Ok(())
        };
        leaves(id)?;
        let others =
            self.of_kind(|act| matches!(act, Act::Leave { invite: other } if other == invite));
        let earlier = |other: &EnvelopeId| self.before(other, id) && leaves(other).is_ok();
        if others.iter().any(earlier) {
            return Err(VoidReason::Left);
        }
        Ok(())
    }

    pub(super) fn worth_of_rejoin(&self, id: &EnvelopeId, invite: &EnvelopeId) -> Worth {
        let instance = self.by_subject(id, invite)?;
        if !instance.revokes.is_empty() {
            return Err(VoidReason::Revoked);
        }
        if !instance.leaves.iter().any(|leave| self.before(leave, id)) {
            return Err(VoidReason::NotLeft);
        }
        Ok(())
    }

    /// A join is shown as void if the puddle had left before, though a leave may rest on it.
    pub(super) fn is_outside_leaves(&self, id: &EnvelopeId, invite: &EnvelopeId) -> bool {
        let instance = self.instances.get(invite);
        instance.is_some_and(|instance| !lies_within(&instance.left, id))
    }

    /// What the puddle of an envelope may do at its place.
    pub(super) fn role_at(&self, id: &EnvelopeId) -> Result<Access, VoidReason> {
        let otherwise = match self.speaks_for_founder(id) {
            Ok(()) => return Ok(Access::Founder),
            Err(VoidReason::NotFounder) => VoidReason::NotMember,
            Err(reason) => reason,
        };
        if !self.within_limit(id) {
            return Err(VoidReason::Retired);
        }
        let own = self.instances.values().filter(|instance| {
            let joined = instance.joins.iter().any(|join| self.before(join, id));
            instance.invite.puddle == self.puddle(id) && joined
        });
        let own: Vec<_> = own.collect();
        let allowed = own.iter().filter(|instance| {
            lies_within(&instance.revoked, id) && lies_within(&instance.left, id)
        });
        let roles = allowed.map(|instance| access(instance.invite.role));
        roles.max().ok_or_else(|| {
            if own.is_empty() {
                otherwise
            } else if own.iter().any(|one| !lies_within(&one.revoked, id)) {
                VoidReason::Revoked
            } else {
                VoidReason::Left
            }
        })
    }

    pub(super) fn grants(&mut self) {
        let grants = self.of_kind(|act| matches!(act, Act::Grant(_)));
        self.grants = self.counting(grants);
        let ungrants = self.of_kind(|act| matches!(act, Act::Ungrant(_)));
        self.ungrants = self.counting(ungrants);
    }

    pub(super) fn granted_envoy_of(&self, id: &EnvelopeId) -> EnvoyKey {
        match self.act(id) {
            Act::Grant(grant) => grant.envoy,
            Act::Ungrant(ungrant) => ungrant.envoy,
            _ => panic!("{id} is neither grant nor ungrant"),
        }
    }

    /// What ends a grant.
    pub(super) fn enders(&self, grant: &EnvelopeId) -> Ids {
        let ends = |id: &&EnvelopeId| {
            self.puddle(id) == self.puddle(grant)
                && self.granted_envoy_of(id) == self.granted_envoy_of(grant)
                && self.before(grant, id)
        };
        let enders = self.ungrants.iter().filter(ends).copied().collect();
        self.first(&enders)
    }

    pub(super) fn worth_of_writer(&self, id: &EnvelopeId) -> Worth {
        if self.role_at(id)? == Access::Reader {
            return Err(VoidReason::Reader);
        }
        let statement = self.statement(id);
        if statement.signer == *statement.puddle.key() {
            return Ok(());
        }
        let by_these = |grant: &&EnvelopeId| {
            self.puddle(grant) == statement.puddle
                && *self.granted_envoy_of(grant).key() == statement.signer
                && self.before(grant, id)
        };
        let grants: Vec<_> = self.grants.iter().filter(by_these).collect();
        let allows = |grant: &&EnvelopeId| lies_within(&self.within_each(&self.enders(grant)), id);
        if grants.iter().any(allows) {
            Ok(())
        } else if grants.is_empty() {
            Err(VoidReason::NotGranted)
        } else {
            Err(VoidReason::Ungranted)
        }
    }

    pub(super) fn leaves_protected_alone(&self, id: &EnvelopeId, update: &Update) -> Worth {
        let in_past = self
            .policies
            .iter()
            .filter(|policy| self.before(policy, id));
        let bound_by = self.last(&in_past.copied().collect());
        for change in &update.changes {
            let harsh = change.new.is_zero() || !change.forced.is_empty();
            let protects = |policy: &EnvelopeId| match self.act(policy) {
                Act::Policy(policy) => policy.protected.contains(&change.name),
                _ => false,
            };
            if harsh && bound_by.iter().any(protects) {
                return Err(VoidReason::Protected);
            }
        }
        Ok(())
    }
}

fn lies_within(cut: &Option<Ids>, id: &EnvelopeId) -> bool {
    cut.as_ref().is_none_or(|within| within.contains(id))
}

pub(super) const fn access(role: Role) -> Access {
    match role {
        Role::Reader => Access::Reader,
        Role::Member => Access::Member,
    }
}
