//! Who may do what: the founder line, memberships, grants, policies and the end of the project.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, PuddleKey};

use super::awaited::{Awaited, Rests};
use super::bound::{Bound, narrow};
use super::grants::Grants;
use super::graph::{Graph, Place};
use super::line::Line;
use super::standing::VoidReason;
use crate::act::{Act, Role};
use crate::id::EnvelopeId;

/// Every folded act of authority, whether it counts or not.
#[derive(Clone, Debug, Default)]
struct Acts {
    founding: Option<(PuddleKey, Handle)>,
    delegates: BTreeMap<u64, Vec<Place>>,
    tombstones: Vec<Place>,
    policies: Vec<Place>,
    invites: Vec<Place>,
    /// What is said about each invitation.
    about: BTreeMap<EnvelopeId, About>,
    grants: BTreeMap<PuddleKey, Vec<Place>>,
    ungrants: BTreeMap<PuddleKey, Vec<Place>>,
}

#[derive(Clone, Debug, Default)]
struct About {
    joins: Vec<Place>,
    leaves: Vec<Place>,
    revokes: Vec<Place>,
    rejoins: Vec<Place>,
}

/// A membership: one counting invitation, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) invite: Place,
    pub(super) puddle: PuddleKey,
    pub(super) role: Role,
    /// Joins that count, later ones included.
    pub(super) joins: Vec<Place>,
    /// Counting revocations, and what they let count.
    pub(super) revokes: Vec<Place>,
    revoked: Option<Bound>,
    /// Counting leaves, none after another, and what they let count.
    pub(super) leaves: Vec<Place>,
    left: Option<Bound>,
    /// Requests to be invited again.
    pub(super) rejoins: Vec<Place>,
}

impl Instance {
    pub(super) const fn is_live(&self) -> bool {
        !self.joins.is_empty() && self.revoked.is_none() && self.left.is_none()
    }
}

/// What a puddle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Fetch.
    Reader,
    /// Fetch and push.
    Member,
    /// Speak for the founder.
    Founder,
}

impl From<Role> for Access {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Member => Self::Member,
        }
    }
}

/// Which envelopes are to be judged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shaken {
    Nobody,
    These(Vec<Place>),
    Puddle(PuddleKey),
    Everybody,
}

impl Shaken {
    /// Both together.
    fn and(self, other: Self, graph: &Graph) -> Self {
        match (self, other) {
            (Self::Nobody, other) | (other, Self::Nobody) => other,
            (Self::Everybody, _) | (_, Self::Everybody) => Self::Everybody,
            (one, other) => {
                let mut places = one.places(graph);
                places.extend(other.places(graph));
                Self::These(places)
            }
        }
    }

    /// Which envelopes, in the order in which they folded within each puddle.
    pub(super) fn places(self, graph: &Graph) -> Vec<Place> {
        match self {
            Self::Nobody => Vec::new(),
            Self::These(places) => places,
            Self::Puddle(puddle) => graph.said_for(&puddle).to_vec(),
            Self::Everybody => graph.places().collect(),
        }
    }
}

/// Who may do what, as far as it has folded.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    acts: Acts,
    pins: BTreeMap<u64, EnvelopeId>,
    line: Line,
    /// Tombstones of the founder line, and what they let count.
    tombstones: Vec<Place>,
    end: Option<Bound>,
    instances: BTreeMap<EnvelopeId, Instance>,
    invited: BTreeMap<PuddleKey, Vec<EnvelopeId>>,
    grants: Grants,
    policies: Vec<Place>,
    /// Named in a cut that counts, and not here yet.
    awaited: Awaited,
}

impl Authority {
    pub(super) fn with_pins(pins: BTreeMap<u64, EnvelopeId>) -> Self {
        Self {
            pins,
            ..Self::default()
        }
    }

    pub(super) const fn pins(&self) -> &BTreeMap<u64, EnvelopeId> {
        &self.pins
    }

    /// Sets a pin. Everything is to be judged again if that changes the line.
    pub(super) fn pin(&mut self, graph: &Graph, hop: u64, delegate: &EnvelopeId) -> Shaken {
        self.pins.insert(hop, *delegate);
        self.follow_line(graph)
    }

    pub(super) fn founder(&self) -> Option<PuddleKey> {
        self.acts.founding.as_ref().map(|(founder, _)| *founder)
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        self.acts.founding.as_ref().map(|(_, handle)| handle)
    }

    pub(super) const fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn tombstones(&self) -> &[Place] {
        &self.tombstones
    }

    pub(super) const fn instances(&self) -> &BTreeMap<EnvelopeId, Instance> {
        &self.instances
    }

    pub(super) fn policies(&self) -> &[Place] {
        &self.policies
    }

    /// The memberships of a puddle that were ever offered to it.
    pub(super) fn instances_of(&self, puddle: &PuddleKey) -> impl Iterator<Item = &Instance> {
        let ids = self.invited.get(puddle).into_iter().flatten();
        ids.filter_map(|id| self.instances.get(id))
    }

    /// Whether the puddle is on the founder line or was ever invited.
    pub(super) fn is_party(&self, puddle: &PuddleKey) -> bool {
        self.line.contains(puddle) || self.invited.contains_key(puddle)
    }

    /// Whether a cut that counts names this envelope, which is not here.
    pub(super) fn awaits(&self, id: &EnvelopeId) -> bool {
        self.awaited.contains(id)
    }

    /// Whether a cut that counts names anything that is not here.
    pub(super) fn awaits_any(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// What the puddle may do now.
    pub(super) fn access(&self, puddle: &PuddleKey) -> Option<Access> {
        if self.line.current() == Some(*puddle) {
            return Some(Access::Founder);
        }
        if self.line.is_retired(puddle) {
            return None;
        }
        let live = self.instances_of(puddle).filter(|one| one.is_live());
        live.map(|instance| Access::from(instance.role)).max()
    }

    /// Whether a join of `invite` by `puddle` that has seen it would be the first one, and count.
    pub(super) fn lets_in(&self, invite: &EnvelopeId, puddle: &PuddleKey) -> bool {
        let open =
            |one: &Instance| one.puddle == *puddle && one.joins.is_empty() && one.revoked.is_none();
        self.end.is_none()
            && !self.line.is_retired(puddle)
            && self.instances.get(invite).is_some_and(open)
    }

    /// The counting grants to `envoy` that nobody has taken back, with what their puddles may do now.
    pub(super) fn live_grants(&self, envoy: &EnvoyKey) -> impl Iterator<Item = (Place, Access)> {
        let live = self.grants.live(envoy);
        live.filter_map(|(puddle, place)| Some((place, self.access(puddle)?)))
    }

    /// Takes note that an envelope is here, whatever it says: a cut may have named it.
    pub(super) fn arrive(&mut self, graph: &Graph, place: Place) -> Shaken {
        let rests = self.awaited.come(graph.id(place));
        if rests.contains(&Rests::Everything) {
            self.rebuild(graph);
            return Shaken::Everybody;
        }
        let mut puddles = BTreeSet::new();
        for one in rests {
            match one {
                Rests::Everything => {}
                Rests::Membership(invite) => {
                    self.rebuild_instance(graph, &invite);
                    puddles.extend(self.instances.get(&invite).map(|one| one.puddle));
                }
                Rests::Grants(puddle) => {
                    puddles.insert(puddle);
                }
            }
        }
        let mut shaken = Vec::new();
        for puddle in puddles {
            self.rebuild_grants(graph, &puddle);
            shaken.extend_from_slice(graph.said_for(&puddle));
        }
        if shaken.is_empty() {
            Shaken::Nobody
        } else {
            Shaken::These(shaken)
        }
    }

    /// Takes note of an envelope that has just been added, and says whom that shakes. Nothing here descends from it.
    pub(super) fn take(&mut self, graph: &Graph, place: Place) -> Shaken {
        let by_coming = self.arrive(graph, place);
        self.note(graph, place);
        let by_word = self.heed(graph, place);
        by_coming.and(by_word, graph)
    }

    /// Lets an envelope take effect, if it counts, and says whom that shakes.
    fn heed(&mut self, graph: &Graph, place: Place) -> Shaken {
        let statement = graph.statement(place);
        let puddle = statement.puddle;
        let counts = self.judge(graph, place).is_ok();
        match &statement.act {
            Act::Init { .. } => {
                self.rebuild(graph);
                Shaken::Nobody
            }
            Act::Delegate(_) => self.follow_line(graph),
            Act::Tombstone(_) if counts => {
                self.rebuild(graph);
                Shaken::Everybody
            }
            Act::Policy(_) if counts => {
                self.policies.push(place);
                Shaken::Nobody
            }
            Act::Invite(_) if counts => {
                self.add_instance(graph, place);
                Shaken::Nobody
            }
            // A join beside a leave is void, and a leave may still follow it.
            Act::Join { invite } if self.judge_subject(graph, place, invite).is_ok() => {
                if let Some(instance) = self.instances.get_mut(invite) {
                    instance.joins.push(place);
                }
                Shaken::Nobody
            }
            Act::Rejoin { invite } if counts => {
                if let Some(instance) = self.instances.get_mut(invite) {
                    instance.rejoins.push(place);
                }
                Shaken::Nobody
            }
            Act::Leave { invite } if counts => {
                self.rebuild_instance(graph, invite);
                self.rebuild_grants(graph, &puddle);
                Shaken::Puddle(puddle)
            }
            Act::Revoke(revoke) if counts => {
                self.rebuild_instance(graph, &revoke.invite);
                let subject = self.instances.get(&revoke.invite).map(|one| one.puddle);
                subject.map_or(Shaken::Nobody, |subject| {
                    self.rebuild_grants(graph, &subject);
                    Shaken::Puddle(subject)
                })
            }
            Act::Grant(_) if counts => {
                self.grants.add(graph, place);
                Shaken::Nobody
            }
            Act::Ungrant(ungrant) if counts => {
                self.grants.take_back(graph, place);
                let rests = Rests::Grants(puddle);
                self.awaited.expect(graph, &ungrant.cut, rests);
                let said = graph.said_for(&puddle).iter();
                let by_envoy =
                    said.filter(|at| graph.statement(**at).signer == *ungrant.envoy.key());
                Shaken::These(by_envoy.copied().collect())
            }
            Act::Policy(_)
            | Act::Merge
            | Act::Invite(_)
            | Act::Join { .. }
            | Act::Leave { .. }
            | Act::Revoke(_)
            | Act::Rejoin { .. }
            | Act::Grant(_)
            | Act::Ungrant(_)
            | Act::Tombstone(_)
            | Act::Update(_)
            | Act::Unknown { .. } => Shaken::Nobody,
        }
    }

    /// Files an act under its kind.
    fn note(&mut self, graph: &Graph, place: Place) {
        let statement = graph.statement(place);
        let acts = &mut self.acts;
        match &statement.act {
            Act::Init { handle } => acts.founding = Some((statement.puddle, handle.clone())),
            Act::Policy(_) => acts.policies.push(place),
            Act::Invite(_) => acts.invites.push(place),
            Act::Join { invite } => acts.about.entry(*invite).or_default().joins.push(place),
            Act::Leave { invite } => acts.about.entry(*invite).or_default().leaves.push(place),
            Act::Rejoin { invite } => acts.about.entry(*invite).or_default().rejoins.push(place),
            Act::Revoke(revoke) => {
                let about = acts.about.entry(revoke.invite).or_default();
                about.revokes.push(place);
            }
            Act::Grant(_) => acts.grants.entry(statement.puddle).or_default().push(place),
            Act::Ungrant(_) => {
                let ungrants = acts.ungrants.entry(statement.puddle).or_default();
                ungrants.push(place);
            }
            Act::Delegate(delegate) => acts.delegates.entry(delegate.hop).or_default().push(place),
            Act::Tombstone(_) => acts.tombstones.push(place),
            Act::Merge | Act::Update(_) | Act::Unknown { .. } => {}
        }
    }

    /// Follows the founder line again; everything else only if it runs differently.
    fn follow_line(&mut self, graph: &Graph) -> Shaken {
        let Some(genesis) = self.founder() else {
            return Shaken::Nobody;
        };
        let line = Line::follow(graph, genesis, &self.acts.delegates, &self.pins);
        if line.hops() != self.line.hops() {
            self.rebuild(graph);
            return Shaken::Everybody;
        }
        // A delegation that nobody follows shakes no more than the others of its kind, or whoever has copied an old key
        // could have everything judged again as often as they like.
        self.line = line;
        let delegates = self.acts.delegates.values().flatten();
        Shaken::These(delegates.copied().collect())
    }

    /// Works everything out again from the acts, each thing after what it rests on.
    fn rebuild(&mut self, graph: &Graph) {
        let Some(genesis) = self.founder() else {
            return;
        };
        self.line = Line::follow(graph, genesis, &self.acts.delegates, &self.pins);
        self.awaited = Awaited::default();
        let delegates = self.line.hops().iter().filter_map(|hop| hop.delegate);
        for place in delegates.filter_map(|id| graph.place(&id)) {
            let cut = graph.statement(place).act.cut().unwrap_or_default();
            self.awaited.expect(graph, cut, Rests::Everything);
        }
        self.rebuild_end(graph);
        self.instances.clear();
        self.invited.clear();
        for place in self.acts.invites.clone() {
            if self.judge(graph, place).is_ok() {
                self.add_instance(graph, place);
            }
        }
        for invite in self.acts.about.keys().copied().collect::<Vec<_>>() {
            self.rebuild_instance(graph, &invite);
        }
        self.policies.clear();
        for place in self.acts.policies.clone() {
            if self.judge(graph, place).is_ok() {
                self.policies.push(place);
            }
        }
        self.grants = Grants::default();
        for puddle in self.acts.grants.keys().copied().collect::<Vec<_>>() {
            self.rebuild_grants(graph, &puddle);
        }
    }

    fn rebuild_end(&mut self, graph: &Graph) {
        self.tombstones.clear();
        self.end = None;
        for place in self.acts.tombstones.iter().copied() {
            if self.line.speaks(graph, place).is_ok() {
                let cut = graph.statement(place).act.cut().unwrap_or_default();
                self.awaited.expect(graph, cut, Rests::Everything);
                let bound = Bound::cut(graph, cut).and_past(graph, place);
                narrow(&mut self.end, bound);
                self.tombstones.push(place);
            }
        }
    }

    fn add_instance(&mut self, graph: &Graph, place: Place) {
        let Act::Invite(invite) = graph.statement(place).act else {
            return;
        };
        let id = *graph.id(place);
        let instance = Instance {
            invite: place,
            puddle: invite.puddle,
            role: invite.role,
            joins: Vec::new(),
            revokes: Vec::new(),
            revoked: None,
            leaves: Vec::new(),
            left: None,
            rejoins: Vec::new(),
        };
        self.instances.insert(id, instance);
        self.invited.entry(invite.puddle).or_default().push(id);
    }

    /// Works out again what became of one membership.
    fn rebuild_instance(&mut self, graph: &Graph, invite: &EnvelopeId) {
        let (Some(about), true) = (
            self.acts.about.get(invite),
            self.instances.contains_key(invite),
        ) else {
            return;
        };
        let (revokes, joins) = (about.revokes.clone(), about.joins.clone());
        let (leaves, rejoins) = (about.leaves.clone(), about.rejoins.clone());
        self.reset_instance(invite);
        let entitled = |place: &Place| self.entitled_to_revoke(graph, *place, invite).is_ok();
        let revokes: Vec<Place> = revokes.into_iter().filter(entitled).collect();
        let follows = |place: &Place| revokes.iter().any(|by| graph.is_ancestor(*by, *place));
        let first: Vec<Place> = revokes
            .iter()
            .copied()
            .filter(|place| !follows(place))
            .collect();
        if let Some(instance) = self.instances.get_mut(invite) {
            for place in &first {
                let cut = graph.statement(*place).act.cut().unwrap_or_default();
                narrow(&mut instance.revoked, Bound::cut(graph, cut));
            }
            instance.revokes = first;
        }
        let counts = |all: Vec<Place>, authority: &Self| -> Vec<Place> {
            let counts = |place: &Place| authority.judge_subject(graph, *place, invite).is_ok();
            all.into_iter().filter(counts).collect()
        };
        let joins = counts(joins, self);
        if let Some(instance) = self.instances.get_mut(invite) {
            instance.joins = joins;
        }
        let leaves = counts(leaves, self);
        let follows = |place: &Place| leaves.iter().any(|by| graph.is_ancestor(*by, *place));
        let leaves: Vec<Place> = leaves.iter().copied().filter(|at| !follows(at)).collect();
        if let Some(instance) = self.instances.get_mut(invite) {
            for place in &leaves {
                narrow(&mut instance.left, Bound::past(graph, *place));
            }
            instance.leaves = leaves;
        }
        let rejoins = counts(rejoins, self);
        if let Some(instance) = self.instances.get_mut(invite) {
            instance.rejoins = rejoins;
        }
        self.await_cuts(graph, invite);
    }

    fn reset_instance(&mut self, invite: &EnvelopeId) {
        if let Some(instance) = self.instances.get_mut(invite) {
            instance.joins.clear();
            instance.revokes.clear();
            instance.revoked = None;
            instance.leaves.clear();
            instance.left = None;
            instance.rejoins.clear();
        }
    }

    /// Works out again which grants of a puddle count, and which were taken back.
    fn rebuild_grants(&mut self, graph: &Graph, puddle: &PuddleKey) {
        self.grants.forget(puddle);
        for place in self.acts.grants.get(puddle).cloned().unwrap_or_default() {
            if self.judge(graph, place).is_ok() {
                self.grants.add(graph, place);
            }
        }
        for place in self.acts.ungrants.get(puddle).cloned().unwrap_or_default() {
            if self.judge(graph, place).is_ok() {
                self.grants.take_back(graph, place);
                let cut = graph.statement(place).act.cut().unwrap_or_default();
                self.awaited.expect(graph, cut, Rests::Grants(*puddle));
            }
        }
    }

    /// Notes what the cuts of one membership name and is not here.
    fn await_cuts(&mut self, graph: &Graph, invite: &EnvelopeId) {
        let revokes = self.instances.get(invite).map(|one| one.revokes.as_slice());
        for place in revokes.unwrap_or_default() {
            let cut = graph.statement(*place).act.cut().unwrap_or_default();
            self.awaited.expect(graph, cut, Rests::Membership(*invite));
        }
    }

    /// Whether the envelope at `place` counts, by its past and by what has ended since.
    pub(super) fn judge(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        let statement = graph.statement(place);
        match &statement.act {
            Act::Init { .. } => Ok(()),
            Act::Delegate(_) => self.line.judge(graph, place),
            Act::Tombstone(_) => self.line.speaks(graph, place),
            Act::Invite(_) | Act::Policy(_) => {
                self.before_end(graph, place)?;
                self.line.speaks(graph, place)
            }
            Act::Revoke(revoke) => {
                self.entitled_to_revoke(graph, place, &revoke.invite)?;
                self.first_to_revoke(graph, place, &revoke.invite)
            }
            Act::Join { invite } => {
                self.judge_subject(graph, place, invite)?;
                let left = self.instances.get(invite).and_then(|one| one.left.as_ref());
                if left.is_some_and(|left| !left.contains(graph, place)) {
                    return Err(VoidReason::Left);
                }
                Ok(())
            }
            Act::Leave { invite } | Act::Rejoin { invite } => {
                self.judge_subject(graph, place, invite)
            }
            Act::Grant(_) | Act::Ungrant(_) => {
                self.before_end(graph, place)?;
                self.standing_at(graph, place).map(drop)
            }
            Act::Merge | Act::Update(_) => self.judge_writer(graph, place),
            // An author's words of an unknown kind are never asked about.
            Act::Unknown { .. } => Err(VoidReason::NotMember),
        }
    }

    fn before_end(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        let end = self.end.as_ref();
        if end.is_none_or(|end| end.contains(graph, place)) {
            Ok(())
        } else {
            Err(VoidReason::Ended)
        }
    }

    /// Whether the founder line may end `invite` at `place`: it speaks, and has seen the invitation.
    fn entitled_to_revoke(
        &self,
        graph: &Graph,
        place: Place,
        invite: &EnvelopeId,
    ) -> Result<(), VoidReason> {
        self.before_end(graph, place)?;
        self.line.speaks(graph, place)?;
        let instance = self.instances.get(invite).ok_or(VoidReason::NoInvite)?;
        if graph.is_ancestor(instance.invite, place) {
            Ok(())
        } else {
            Err(VoidReason::NoInvite)
        }
    }

    /// A revocation that follows another of the same membership says nothing new.
    fn first_to_revoke(
        &self,
        graph: &Graph,
        place: Place,
        invite: &EnvelopeId,
    ) -> Result<(), VoidReason> {
        let revokes = self.instances.get(invite).map(|one| one.revokes.as_slice());
        let earlier = |by: &Place| graph.is_ancestor(*by, place);
        if revokes.unwrap_or_default().iter().any(earlier) {
            Err(VoidReason::Recut)
        } else {
            Ok(())
        }
    }

    /// Whether the subject of an invitation may say at `place` that it joins, leaves or asks back in.
    fn judge_subject(
        &self,
        graph: &Graph,
        place: Place,
        invite: &EnvelopeId,
    ) -> Result<(), VoidReason> {
        let statement = graph.statement(place);
        if !matches!(statement.act, Act::Leave { .. }) {
            self.before_end(graph, place)?;
        }
        let instance = self.instances.get(invite).ok_or(VoidReason::NoInvite)?;
        // An invitation out of sight is none: it may not even be here.
        if !graph.is_ancestor(instance.invite, place) {
            return Err(VoidReason::NoInvite);
        }
        if instance.puddle != statement.puddle {
            return Err(VoidReason::NotInvited);
        }
        let puddle = &instance.puddle;
        if !self.line.within_limit(graph, puddle, place) {
            return Err(VoidReason::Retired);
        }
        let after = |places: &[Place]| places.iter().any(|by| graph.is_ancestor(*by, place));
        let rejoins = matches!(statement.act, Act::Rejoin { .. });
        let revoked = instance.revoked.as_ref();
        if revoked.is_some_and(|bound| rejoins || !bound.contains(graph, place)) {
            return Err(VoidReason::Revoked);
        }
        match &statement.act {
            Act::Join { .. } => Ok(()),
            Act::Leave { .. } if after(&instance.leaves) => Err(VoidReason::Left),
            Act::Leave { .. } if after(&instance.joins) => Ok(()),
            Act::Rejoin { .. } if after(&instance.leaves) => Ok(()),
            Act::Rejoin { .. } => Err(VoidReason::NotLeft),
            _ => Err(VoidReason::NotJoined),
        }
    }

    /// What the puddle of the envelope at `place` might do there.
    fn standing_at(&self, graph: &Graph, place: Place) -> Result<Access, VoidReason> {
        let puddle = graph.statement(place).puddle;
        let as_founder = match self.line.speaks(graph, place) {
            Ok(()) => return Ok(Access::Founder),
            Err(VoidReason::NotFounder) => VoidReason::NotMember,
            Err(reason) => reason,
        };
        if !self.line.within_limit(graph, &puddle, place) {
            return Err(VoidReason::Retired);
        }
        let (mut best, mut ended): (Option<Access>, Option<VoidReason>) = (None, None);
        for instance in self.instances_of(&puddle) {
            let joined = |join: &Place| graph.is_ancestor(*join, place);
            if !instance.joins.iter().any(joined) {
                continue;
            }
            let outside = |bound: &Option<Bound>| {
                let bound = bound.as_ref();
                bound.is_some_and(|bound| !bound.contains(graph, place))
            };
            if outside(&instance.revoked) {
                ended = Some(VoidReason::Revoked);
            } else if outside(&instance.left) {
                // Memberships stand in the order in which they came; what is shown must not depend on it.
                ended = ended.or(Some(VoidReason::Left));
            } else {
                best = best.max(Some(Access::from(instance.role)));
            }
        }
        best.ok_or_else(|| ended.unwrap_or(as_founder))
    }

    /// Whether an update or a merge at `place` counts.
    fn judge_writer(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        self.before_end(graph, place)?;
        if self.standing_at(graph, place)? == Access::Reader {
            return Err(VoidReason::Reader);
        }
        self.grants.judge(graph, place)?;
        self.judge_protection(graph, place)
    }

    /// Whether an update leaves alone what the policy in its past protects.
    fn judge_protection(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        let Some(update) = graph.statement(place).update() else {
            return Ok(());
        };
        let harsh =
            |change: &&crate::act::Change| change.new.is_zero() || !change.forced.is_empty();
        if !update.changes.iter().any(|change| harsh(&change)) {
            return Ok(());
        }
        let in_past = |policy: &&Place| graph.is_ancestor(**policy, place);
        let policies: Vec<Place> = self.policies.iter().filter(in_past).copied().collect();
        let latest = super::latest(graph, &policies);
        let protects = |name: &crate::refname::RefName| {
            latest
                .iter()
                .any(|policy| match &graph.statement(*policy).act {
                    Act::Policy(policy) => policy.protected.contains(name),
                    _ => false,
                })
        };
        let mut harsh = update.changes.iter().filter(harsh);
        if harsh.any(|change| protects(&change.name)) {
            return Err(VoidReason::Protected);
        }
        Ok(())
    }
}
