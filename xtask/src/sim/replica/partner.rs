//! What another envoy is to a project, and what it may be told. What `gitback-envoy` decides in `access`.

use std::collections::BTreeSet;

use gitback_envelope::{Act, EnvelopeId, MembershipState, Scope, Verified};
use gitback_identity::{EnvoyKey, PuddleKey};

use super::super::wire::Letter;
use super::super::world::World;
use super::cell::Cell;

/// What another envoy is to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Partner {
    Full,
    Former,
    Stranger,
}

/// What the envoy `key` is to the project. Every envoy of a simulated fleet knows every other.
pub(in crate::sim) fn partner(cell: &Cell, key: &EnvoyKey) -> Partner {
    let fold = &cell.fold;
    if fold.granted_envoy(key).is_some() || fold.policy().scope == Scope::SwarmWide {
        Partner::Full
    } else if cell.ever_granted(key) {
        Partner::Former
    } else {
        Partner::Stranger
    }
}

/// What of `envelopes` the envoy `key` may be told.
pub(in crate::sim) fn tellable(
    cell: &Cell,
    key: &EnvoyKey,
    envelopes: Vec<Verified>,
) -> Vec<Verified> {
    match partner(cell, key) {
        Partner::Full => envelopes,
        Partner::Former => farewell(cell, key, envelopes),
        Partner::Stranger => Vec::new(),
    }
}

/// What a former partner may be told: what ended its standing, and the past of that.
fn farewell(cell: &Cell, key: &EnvoyKey, envelopes: Vec<Verified>) -> Vec<Verified> {
    let fold = &cell.fold;
    let mut puddles: BTreeSet<PuddleKey> = BTreeSet::new();
    let mut ends: Vec<EnvelopeId> = Vec::new();
    for envelope in fold.iter() {
        let statement = envelope.statement();
        match &statement.act {
            Act::Grant(grant)
                if grant.envoy == *key && cell.ever_granted_by(key, &statement.puddle) =>
            {
                puddles.insert(statement.puddle);
            }
            Act::Ungrant(ungrant) if ungrant.envoy == *key => ends.push(*envelope.id()),
            _ => {}
        }
    }
    for one in fold.memberships() {
        match one.state {
            _ if !puddles.contains(&one.puddle) => {}
            MembershipState::Revoked { revoke } => ends.push(revoke),
            MembershipState::Left { leave } => ends.push(leave),
            MembershipState::Open | MembershipState::Live { .. } => {}
        }
    }
    ends.retain(|end| cell.void(end).is_none());
    let told = |envelope: &Verified| {
        let id = envelope.id();
        ends.iter()
            .any(|end| end == id || fold.is_ancestor(id, end))
    };
    envelopes.into_iter().filter(told).collect()
}

impl World {
    /// The other envoys that should hold a project, by what is known on `envoy`.
    pub(in crate::sim) fn partners(&self, envoy: usize, project: usize) -> Vec<usize> {
        let cell = &self.replicas[envoy].cells[project];
        let others = self.known_peers(envoy).into_iter();
        others
            .filter(|other| partner(cell, &self.keys.envoy(*other)) == Partner::Full)
            .collect()
    }

    /// The same by another fold of the project.
    pub(in crate::sim) fn partners_of(
        &self,
        envoy: usize,
        fold: &gitback_envelope::Project,
    ) -> Vec<usize> {
        let everybody = fold.policy().scope == Scope::SwarmWide;
        let others = self.known_peers(envoy).into_iter();
        others
            .filter(|other| everybody || fold.granted_envoy(&self.keys.envoy(*other)).is_some())
            .collect()
    }

    /// What of these `envoy` tells `to`, on its way.
    pub(in crate::sim) fn letters(
        &self,
        envoy: usize,
        project: usize,
        to: usize,
        envelopes: Vec<Verified>,
    ) -> Vec<Letter> {
        let cell = &self.replicas[envoy].cells[project];
        let told = tellable(cell, &self.keys.envoy(to), envelopes);
        told.into_iter().map(Letter::Sealed).collect()
    }
}
