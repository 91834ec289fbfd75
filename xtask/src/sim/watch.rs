//! Following one push through a fleet, for reports.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::Request;
use super::world::World;

/// One push, followed through the fleet.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// What a fold that holds it shows.
    digest: Option<[u8; 32]>,
    holders: BTreeSet<usize>,
    heard: BTreeMap<usize, u64>,
}

impl World {
    /// From now on it is noted who hears of the next push.
    pub(super) fn watch_push(&mut self) {
        self.watched = Some(Watched::default());
    }

    /// Whether every envoy holds the push that is watched.
    pub(super) fn push_is_everywhere(&self) -> bool {
        let watched = self.watched.as_ref();
        watched.is_some_and(|watched| watched.holders.len() == self.plan.envoys)
    }

    /// When each envoy heard of the push that is watched, in microseconds.
    pub(super) fn heard_notice(&self) -> impl Iterator<Item = u64> + '_ {
        self.watched
            .iter()
            .flat_map(|watched| watched.heard.values().copied())
    }

    /// An envoy holds this much now.
    pub(super) fn watch_holding(&mut self, envoy: usize, digest: [u8; 32]) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        let wanted = *watched.digest.get_or_insert(digest);
        if wanted == digest {
            watched.holders.insert(envoy);
        }
    }

    pub(super) fn watch_gossip(&mut self, envoy: usize, request: &Request) {
        let now = self.now;
        if let (Some(watched), Request::Gossip(bytes)) = (&mut self.watched, request)
            && let Some(digest) = watched.digest
            && bytes.windows(32).any(|window| window == digest)
        {
            watched.heard.entry(envoy).or_insert(now);
        }
    }
}
