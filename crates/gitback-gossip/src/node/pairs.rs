//! Which catch-ups brought nothing, so that they are not made again and again.

use std::collections::BTreeMap;

use gitback_identity::{EnvoyKey, ProjectId};

use super::terms::Settings;
use crate::agenda::Agenda;
use crate::backoff::Backoff;
use crate::millis::Millis;

/// Most projects of one peer that are remembered; the one that was touched longest ago makes room.
const PAIRS_PER_PEER_MAX: usize = 1_024;
/// Most in all.
const PAIRS_MAX: usize = 32_768;
/// After how many catch-ups in a row that did not end the difference even a new digest has to wait a little.
const UNEQUAL_MAX: u32 = 3;

/// What both sides showed of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) theirs: [u8; 32],
    pub(crate) ours: Option<[u8; 32]>,
}

#[derive(Debug)]
pub(crate) struct Pairs {
    peers: BTreeMap<EnvoyKey, Peer>,
    total: usize,
    settings: Settings,
}

#[derive(Debug)]
struct Peer {
    pairs: BTreeMap<ProjectId, Pair>,
    /// By when they were touched last.
    touched: Agenda<ProjectId>,
}

#[derive(Debug)]
struct Pair {
    shown: Shown,
    last: Millis,
    until: Millis,
    quiet: Backoff,
    busy: Backoff,
    /// The peer asked for time: nothing but time ends the wait.
    firm: bool,
    unequal: u32,
    refused: Backoff,
    refused_until: Millis,
}

impl Pairs {
    pub(crate) const fn new(settings: Settings) -> Self {
        Self {
            peers: BTreeMap::new(),
            total: 0,
            settings,
        }
    }

    /// When `project` may be caught up from `from`; nothing if that would bring what it brought before.
    pub(crate) fn allows(
        &self,
        now: Millis,
        from: &EnvoyKey,
        project: &ProjectId,
        shown: Shown,
    ) -> Option<Millis> {
        let Some(pair) = self
            .peers
            .get(from)
            .and_then(|peer| peer.pairs.get(project))
        else {
            return Some(now);
        };
        if pair.until <= now {
            Some(now)
        } else if pair.firm {
            Some(pair.until)
        } else if pair.shown == shown {
            None
        } else if pair.unequal >= UNEQUAL_MAX {
            Some(pair.last.plus(self.settings.quiet).max(now))
        } else {
            Some(now)
        }
    }

    /// Whether anything is remembered.
    pub(crate) fn knows(&self, from: &EnvoyKey, project: &ProjectId) -> bool {
        let peer = self.peers.get(from);
        peer.is_some_and(|peer| peer.pairs.contains_key(project))
    }

    /// Whether `from` refused `project` lately, so that a rumour is no reason to ask it.
    pub(crate) fn refused(&self, now: Millis, from: &EnvoyKey, project: &ProjectId) -> bool {
        let pair = self
            .peers
            .get(from)
            .and_then(|peer| peer.pairs.get(project));
        pair.is_some_and(|pair| pair.refused_until > now)
    }

    /// Both are the same.
    pub(crate) fn settled(&mut self, from: &EnvoyKey, project: &ProjectId) {
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        if peer.pairs.remove(project).is_some() {
            peer.touched.remove(project);
            self.total -= 1;
        }
        if peer.pairs.is_empty() {
            self.peers.remove(from);
        }
    }

    /// All was brought in, and yet the two differ; `changed` if something came in.
    pub(crate) fn unequal(
        &mut self,
        now: Millis,
        from: EnvoyKey,
        project: ProjectId,
        shown: Shown,
        changed: bool,
        random: u64,
    ) {
        let Some(pair) = self.touch(now, from, project) else {
            return;
        };
        if changed || pair.shown != shown {
            pair.quiet.reset();
        }
        pair.shown = shown;
        pair.firm = false;
        pair.busy.reset();
        pair.unequal = pair.unequal.saturating_add(1);
        pair.until = now.plus(pair.quiet.fail(random));
    }

    /// The peer will not.
    pub(crate) fn refuses(
        &mut self,
        now: Millis,
        from: EnvoyKey,
        project: ProjectId,
        shown: Shown,
        random: u64,
    ) {
        self.unequal(now, from, project, shown, false, random);
        if let Some(pair) = self.touch(now, from, project) {
            pair.refused_until = now.plus(pair.refused.fail(random));
        }
    }

    /// The peer cannot now, or nothing can be written here. The moment at which to ask again.
    pub(crate) fn busy(
        &mut self,
        now: Millis,
        from: EnvoyKey,
        project: ProjectId,
        shown: Shown,
        random: u64,
    ) -> Millis {
        let fallback = now.plus(self.settings.retry_cap);
        let Some(pair) = self.touch(now, from, project) else {
            return fallback;
        };
        pair.shown = shown;
        pair.firm = true;
        pair.until = now.plus(pair.busy.fail(random));
        pair.until
    }

    pub(crate) fn forget(&mut self, from: &EnvoyKey) {
        if let Some(peer) = self.peers.remove(from) {
            self.total -= peer.pairs.len();
        }
    }

    fn touch(&mut self, now: Millis, from: EnvoyKey, project: ProjectId) -> Option<&mut Pair> {
        let peer = self.peers.entry(from).or_insert_with(|| Peer {
            pairs: BTreeMap::new(),
            touched: Agenda::new(),
        });
        if !peer.pairs.contains_key(&project) {
            let full = self.total >= PAIRS_MAX || peer.pairs.len() >= PAIRS_PER_PEER_MAX;
            let oldest = peer.touched.ready(Millis(u64::MAX)).next();
            match oldest.filter(|_| full) {
                Some(oldest) => {
                    peer.pairs.remove(&oldest);
                    peer.touched.remove(&oldest);
                }
                None => self.total += 1,
            }
        }
        let settings = &self.settings;
        peer.touched.put(project, now);
        let pair = peer.pairs.entry(project).or_insert_with(|| Pair {
            shown: Shown {
                theirs: [0; 32],
                ours: None,
            },
            last: now,
            until: now,
            quiet: Backoff::new(settings.quiet, settings.quiet_cap),
            busy: Backoff::new(settings.retry, settings.retry_cap),
            firm: false,
            unequal: 0,
            refused: Backoff::new(settings.refused, settings.refused_cap),
            refused_until: now,
        });
        pair.last = now;
        Some(pair)
    }
}
