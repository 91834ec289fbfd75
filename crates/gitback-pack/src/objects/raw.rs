//! Entries of packs as they lie there, for whoever copies them.
//!
//! Source: gitformat-pack(5).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use gix::odb::pack::data;
use gix::odb::pack::data::entry::Header;

use super::{Objects, Pack, SHA1};
use crate::Oid;
use crate::written::TRAILER_BYTES;

/// Largest pack whose entries are looked up by place, in objects: their order takes time and memory.
const ORDERED_MAX: u32 = 100_000;

/// Where the objects of a pack begin, in its order, with their places in the index.
type Order = Vec<(u64, u32)>;

/// The entries of packs that are looked at one after the other; the order of each pack is found out once.
pub(crate) struct Raw<'a> {
    objects: &'a Objects,
    /// By the pack's place among all; `None`: it is too large for that.
    orders: HashMap<usize, Option<Order>>,
}

/// An entry as it lies in a pack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawEntry<'a> {
    pub(crate) header: Header,
    /// What the object, or the delta, comes to unpacked, in bytes.
    pub(crate) size: u64,
    /// What the delta builds on, if it is one.
    pub(crate) base: Option<Oid>,
    /// The compressed bytes behind the header.
    pub(crate) data: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(crate) fn new(objects: &'a Objects) -> Self {
        Self {
            objects,
            orders: HashMap::new(),
        }
    }

    /// The copies of an object in packs, in as far as each is what its index says.
    pub(crate) fn entries(&mut self, oid: &Oid) -> Vec<RawEntry<'a>> {
        let mut entries = Vec::new();
        let objects: &'a Objects = self.objects;
        for (number, pack) in objects.packs.iter().enumerate() {
            let Some(place) = pack.index.lookup(oid) else {
                continue;
            };
            let order = match self.orders.entry(number) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(free) => free.insert(pack.order()),
            };
            entries.extend(order.as_ref().and_then(|order| pack.raw(order, place)));
        }
        entries
    }
}

impl Pack {
    fn order(&self) -> Option<Order> {
        let count = self.index.num_objects();
        if count > ORDERED_MAX {
            return None;
        }
        let mut order: Order = (0..count)
            .map(|place| (self.index.pack_offset_at_index(place), place))
            .collect();
        order.sort_unstable();
        Some(order)
    }

    /// The entry of the object at this place of the index; `None` if it is not as the index says.
    fn raw(&self, order: &Order, place: u32) -> Option<RawEntry<'_>> {
        let data = self.data().ok()?;
        let offset = self.index.pack_offset_at_index(place);
        let at = order
            .binary_search_by_key(&offset, |(offset, _)| *offset)
            .ok()?;
        let end = match order.get(at + 1) {
            Some((next, _)) => *next,
            None => u64::try_from(data.data_len().checked_sub(TRAILER_BYTES)?).ok()?,
        };
        let bytes = data.entry_slice(offset..end)?;
        if self.index.crc32_at_index(place)? != crc32fast::hash(bytes) {
            return None;
        }
        let entry = data::Entry::from_bytes(bytes, offset, SHA1).ok()?;
        let base = match entry.header {
            Header::OfsDelta { base_distance } => {
                let offset = entry.checked_base_pack_offset(base_distance)?;
                let at = order
                    .binary_search_by_key(&offset, |(offset, _)| *offset)
                    .ok()?;
                let (_, place) = order.get(at)?;
                Some(self.index.oid_at_index(*place).to_owned())
            }
            Header::RefDelta { base_id } => Some(base_id),
            Header::Commit | Header::Tree | Header::Blob | Header::Tag => None,
        };
        // The header may be longer than it need be.
        let length = usize::try_from(entry.data_offset.checked_sub(offset)?).ok()?;
        Some(RawEntry {
            header: entry.header,
            size: entry.decompressed_size,
            base,
            data: bytes.get(length..)?,
        })
    }
}
