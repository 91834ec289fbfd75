//! Packs for others: what some objects lead to, as far as all of it is here.

use gitback_envelope::Oid;

use super::super::history::Bits;
use super::super::wire::{Answer, Refused};
use super::super::world::World;

impl World {
    /// Serves a fetch: what `wants` lead to and `haves` do not, as far as all of it is here.
    pub(in crate::sim) fn pack_for(
        &mut self,
        envoy: usize,
        project: usize,
        wants: &[Oid],
        haves: &[Oid],
    ) -> Answer {
        let (_, shelf, history) = self.cell_shelf(envoy, project);
        let number = |oid: &Oid| history.find(oid);
        let here = |number: &u32| history.whole(&shelf.objects, *number);
        let wants: Vec<u32> = wants.iter().filter_map(number).filter(here).collect();
        let haves: Vec<u32> = haves.iter().filter_map(number).filter(here).collect();
        if wants.is_empty() {
            return Answer::Refused(Refused::Internal);
        }
        let bases = history.closure(haves);
        Answer::Pack(history.closure(wants).without(&bases))
    }

    /// All that refs and `wants` lead to, for a peer that has `haves`.
    pub(in crate::sim) fn whole_pack(
        &mut self,
        envoy: usize,
        project: usize,
        mut wants: Vec<Oid>,
        haves: &[Oid],
    ) -> Bits {
        let (cell, _, _) = self.cell_shelf(envoy, project);
        wants.extend(cell.fold.served().into_values());
        match self.pack_for(envoy, project, &wants, haves) {
            Answer::Pack(objects) => objects,
            _ => Bits::default(),
        }
    }
}
