//! What is to be caught up from whom.

use std::collections::BTreeMap;
use std::ops::Bound;

use gitback_identity::{EnvoyKey, ProjectId};

use crate::agenda::Agenda;
use crate::millis::Millis;

/// Most projects that wait to be caught up from one peer. The rest is found again by the next comparison.
pub(crate) const WANTS_PER_PEER_MAX: usize = 256;
/// Most in all; a peer of whom nothing waits may always add one.
pub(crate) const WANTS_MAX: usize = 16_384;

/// A reason to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// What the peer is said to hold.
    pub(crate) digest: [u8; 32],
    /// Also if that is what is held here: it is not whole.
    pub(crate) even_if_same: bool,
}

/// A line for each peer; the peers take turns.
#[derive(Debug)]
pub(crate) struct Wants {
    lines: BTreeMap<EnvoyKey, Line>,
    total: usize,
    served_last: Option<EnvoyKey>,
}

#[derive(Debug)]
struct Line {
    wants: BTreeMap<ProjectId, Want>,
    agenda: Agenda<ProjectId>,
}

impl Wants {
    pub(crate) const fn new() -> Self {
        Self {
            lines: BTreeMap::new(),
            total: 0,
            served_last: None,
        }
    }

    /// Adds a want, or replaces what was wanted of the same project, which keeps its place if that is the better one.
    /// `false` if there is no room.
    pub(crate) fn put(
        &mut self,
        from: EnvoyKey,
        project: ProjectId,
        want: Want,
        due: Millis,
    ) -> bool {
        let line = self.lines.entry(from).or_insert_with(|| Line {
            wants: BTreeMap::new(),
            agenda: Agenda::new(),
        });
        if let Some(known) = line.wants.get_mut(&project) {
            *known = Want {
                digest: want.digest,
                even_if_same: want.even_if_same || known.even_if_same,
            };
            if line
                .agenda
                .due(&project)
                .is_none_or(|earlier| due < earlier)
            {
                line.agenda.put(project, due);
            }
            return true;
        }
        let full = self.total >= WANTS_MAX && !line.wants.is_empty();
        if full || line.wants.len() >= WANTS_PER_PEER_MAX {
            return false;
        }
        line.wants.insert(project, want);
        line.agenda.put(project, due);
        self.total += 1;
        true
    }

    /// Takes what is due next from a peer that is `usable`, of a project that is not `busy`.
    pub(crate) fn pick(
        &mut self,
        now: Millis,
        usable: impl Fn(&EnvoyKey) -> bool,
        busy: impl Fn(&ProjectId) -> bool,
    ) -> Option<(EnvoyKey, ProjectId, Want)> {
        let after = self.served_last.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.lines.range((after, Bound::Unbounded));
        // Once round: whoever is named twice has nothing the first time.
        let (from, project) = later.chain(self.lines.iter()).find_map(|(from, line)| {
            let mut ready = line.agenda.ready(now).filter(|_| usable(from));
            Some((*from, ready.find(|project| !busy(project))?))
        })?;
        self.served_last = Some(from);
        let want = self.remove(&from, &project)?;
        Some((from, project, want))
    }

    pub(crate) fn remove(&mut self, from: &EnvoyKey, project: &ProjectId) -> Option<Want> {
        let line = self.lines.get_mut(from)?;
        let want = line.wants.remove(project)?;
        line.agenda.remove(project);
        self.total -= 1;
        if line.wants.is_empty() {
            self.lines.remove(from);
        }
        Some(want)
    }

    /// From whom something waits to be caught up.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &EnvoyKey> {
        self.lines.keys()
    }

    /// How much waits to be caught up from `from`.
    pub(crate) fn waiting(&self, from: &EnvoyKey) -> usize {
        self.lines.get(from).map_or(0, |line| line.wants.len())
    }

    /// Nothing is wanted from `from` any more.
    pub(crate) fn forget(&mut self, from: &EnvoyKey) {
        if let Some(line) = self.lines.remove(from) {
            self.total -= line.wants.len();
        }
    }

    /// Nobody is asked for `project` any more.
    pub(crate) fn drop_project(&mut self, project: &ProjectId) {
        let mut dropped = 0;
        self.lines.retain(|_, line| {
            dropped += usize::from(line.wants.remove(project).is_some());
            line.agenda.remove(project);
            !line.wants.is_empty()
        });
        self.total -= dropped;
    }

    /// The first moment after `now` at which something is due from a peer that is `usable`.
    pub(crate) fn next_after(
        &self,
        now: Millis,
        usable: impl Fn(&EnvoyKey) -> bool,
    ) -> Option<Millis> {
        let lines = self.lines.iter().filter(|(from, _)| usable(from));
        lines
            .filter_map(|(_, line)| line.agenda.next_after(now))
            .min()
    }
}
