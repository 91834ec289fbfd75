//! §7: refs.

use gitback_envelope::{Act, Change, Claim, EnvelopeId, Oid, RefName, Verdict};

use super::{Ids, Oracle};

impl Oracle {
    fn change(&self, id: &EnvelopeId, name: &RefName) -> Option<&Change> {
        let update = self.all.get(id)?.statement().update()?;
        update.changes.iter().find(|change| change.name == *name)
    }

    /// Updates of `name` that `id` may speak about.
    fn named<'a>(
        &'a self,
        id: &'a EnvelopeId,
        ids: &'a [EnvelopeId],
        name: &'a RefName,
    ) -> impl Iterator<Item = EnvelopeId> + 'a {
        let real =
            |named: &&EnvelopeId| self.before(named, id) && self.change(named, name).is_some();
        ids.iter().filter(real).copied()
    }

    /// What `id` contains of `name`, by itself and through void updates.
    fn contained(&self, id: &EnvelopeId, name: &RefName) -> Ids {
        let mut all = Ids::new();
        let Some(change) = self.change(id, name) else {
            return all;
        };
        for inner in self.named(id, &change.contained, name) {
            let void = matches!(self.verdict(&inner), Verdict::Void(_));
            if void && !self.held_out.contains(&(inner, name.clone())) {
                all.extend(self.contained(&inner, name));
            }
            all.insert(inner);
        }
        all
    }

    fn forced(&self, id: &EnvelopeId, name: &RefName) -> Ids {
        let change = self.change(id, name);
        let forced = change.map_or(&[][..], |change| change.forced.as_slice());
        self.named(id, forced, name).collect()
    }

    /// The heads of a ref, the visible one first.
    pub(in super::super) fn heads(&self, name: &RefName) -> Vec<(EnvelopeId, Oid)> {
        let touching = self
            .past
            .keys()
            .filter(|id| self.change(id, name).is_some());
        let updates: Ids = touching.filter(|id| self.valid(id)).copied().collect();
        let replaced = |id: &EnvelopeId| &self.contained(id, name) | &self.forced(id, name);
        let replaced: Ids = updates.iter().flat_map(replaced).collect();
        let mut heads: Vec<_> = (&updates - &replaced)
            .into_iter()
            .map(|id| {
                let new = self.change(&id, name).expect("it touches the ref").new;
                (new.is_zero(), self.ranks_behind(&id), id, new)
            })
            .collect();
        heads.sort();
        heads.into_iter().map(|(_, _, id, new)| (id, new)).collect()
    }

    /// The founder line comes first.
    fn ranks_behind(&self, id: &EnvelopeId) -> bool {
        !self.on_line(&self.puddle(id))
    }

    pub(in super::super) fn head_target(&self) -> Option<RefName> {
        let saying = self.of_kind(|act| act.update().is_some_and(|update| update.head.is_some()));
        let saying: Ids = saying.into_iter().filter(|id| self.valid(id)).collect();
        let latest = self.last(&saying);
        let first = latest
            .iter()
            .min_by_key(|id| (self.ranks_behind(id), **id))?;
        self.statement(first).update()?.head.clone()
    }

    pub(in super::super) fn claims(&self, id: &EnvelopeId) -> Vec<Claim> {
        let folded = self.past.contains_key(id);
        let Act::Update(update) = self.act(id) else {
            return vec![];
        };
        let changes = update.changes.iter().filter(|_| folded);
        let claim = |change: &Change| {
            let oids = |ids: Ids| {
                let oids = ids.iter().filter_map(|id| self.change(id, &change.name));
                let oids = oids.map(|change| change.new).filter(|oid| !oid.is_zero());
                let oids: std::collections::BTreeSet<Oid> = oids.collect();
                oids.into_iter().collect()
            };
            Claim {
                name: change.name.clone(),
                new: change.new,
                contains: oids(self.contained(id, &change.name)),
                forces: oids(self.forced(id, &change.name)),
            }
        };
        changes.map(claim).collect()
    }
}
