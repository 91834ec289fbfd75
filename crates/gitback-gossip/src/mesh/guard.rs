//! What any one peer may make this envoy remember or do.
//!
//! The core keeps what it is told for as long as its timers run, however much it is told. The guard stands before it:
//! what goes past a limit is dropped, which costs a notice its speed, never its truth: the comparison of digests
//! finds whatever a notice did not tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::wire::{Announced, Body, Frame, Peer, Spread};
use super::{CONTENT_KEEP, MessageReject};
use crate::millis::Millis;

/// Messages about who knows whom that a peer may send at once, and then for each second.
const SWARM_BURST: u64 = 256;
const SWARM_RATE: u64 = 16;
/// Messages that spread something that a peer may send at once, and then for each second.
const SPREAD_BURST: u64 = 4096;
const SPREAD_RATE: u64 = 512;
/// Announcements without their content yet: in all, of one peer, and the peers that may announce one of them.
const ANNOUNCED_MAX: usize = 8192;
const ANNOUNCED_BY_ONE_MAX: usize = 2048;
const ANNOUNCERS_MAX: usize = 8;
/// How long an announcement counts: longer than the core asks every announcer in turn for the content.
const ANNOUNCED_KEEP: Millis = Millis(5000);
/// New contents that are kept at once to be given on: those heard, and room besides for our own.
const HEARD_MAX: usize = 6144;
const OWN_MAX: usize = 2048;
/// How often one peer is told that it is no neighbour.
const SET_RIGHT_EVERY: Millis = Millis(5000);

#[derive(Debug, Default)]
pub(super) struct Guard {
    swarm: BTreeMap<Peer, Bucket>,
    spread: BTreeMap<Peer, Bucket>,
    announced: BTreeMap<[u8; 32], BTreeSet<Peer>>,
    /// The announcements in the order they came.
    order: VecDeque<(Millis, [u8; 32])>,
    by_one: BTreeMap<Peer, usize>,
    heard: Window,
    own: Window,
    /// Who was set right, and when.
    set_right: BTreeMap<Peer, Millis>,
    /// Whether announcements went at the last look: the core may still have asked for one of them since.
    went: bool,
}

impl Guard {
    /// Lets `frame` of `from` pass, without the announcements that are one too many.
    pub(super) fn admit(
        &mut self,
        now: Millis,
        from: Peer,
        frame: &mut Frame,
    ) -> Result<(), MessageReject> {
        let bucket = match &frame.message {
            Body::Swarm(_) => {
                self.swarm
                    .entry(from)
                    .or_insert(Bucket::full(now, SWARM_BURST, SWARM_RATE))
            }
            Body::Spread(_) => {
                self.spread
                    .entry(from)
                    .or_insert(Bucket::full(now, SPREAD_BURST, SPREAD_RATE))
            }
        };
        if !bucket.take(now) {
            return Err(MessageReject::Flood);
        }
        match &mut frame.message {
            Body::Spread(Spread::Content { .. }) if !self.heard.has_room(now, HEARD_MAX) => {
                Err(MessageReject::Flood)
            }
            Body::Spread(Spread::IHave(announced)) => {
                announced.retain(|one| self.announce(now, from, one));
                Ok(())
            }
            Body::Spread(_) | Body::Swarm(_) => Ok(()),
        }
    }

    /// Counts one content that the core has taken as new.
    pub(super) fn heard(&mut self, now: Millis) {
        self.heard.note(now);
    }

    /// Whether the core has room for one more content of our own, which is then counted.
    pub(super) fn may_spread(&mut self, now: Millis) -> bool {
        let room = self.own.has_room(now, OWN_MAX);
        if room {
            self.own.note(now);
        }
        room
    }

    /// Forgets what no longer counts. Whether any announcement was among it, now or the last time, which the core must
    /// then forget too.
    pub(super) fn expire(&mut self, now: Millis) -> bool {
        let before = self.went;
        let mut any = false;
        while let Some((at, id)) = self.order.front().copied() {
            if now.since(at) < ANNOUNCED_KEEP {
                break;
            }
            self.order.pop_front();
            for peer in self.announced.remove(&id).unwrap_or_default() {
                self.uncount(&peer);
            }
            any = true;
        }
        self.went = any;
        any || before
    }

    /// Whether `peer` may be told that it is mistaken, which then counts.
    pub(super) fn may_set_right(&mut self, now: Millis, peer: Peer) -> bool {
        let last = self.set_right.get(&peer);
        let may = last.is_none_or(|last| now.since(*last) >= SET_RIGHT_EVERY);
        if may {
            self.set_right.insert(peer, now);
        }
        may
    }

    pub(super) fn forget(&mut self, peer: &Peer) {
        self.set_right.remove(peer);
        self.swarm.remove(peer);
        self.spread.remove(peer);
    }

    fn announce(&mut self, now: Millis, from: Peer, one: &Announced) -> bool {
        let mine = self.by_one.get(&from).copied().unwrap_or(0);
        if mine >= ANNOUNCED_BY_ONE_MAX {
            return false;
        }
        let known = self.announced.contains_key(&one.id);
        if !known && self.announced.len() >= ANNOUNCED_MAX {
            return false;
        }
        let announcers = self.announced.entry(one.id).or_default();
        if announcers.len() >= ANNOUNCERS_MAX || !announcers.insert(from) {
            return false;
        }
        if !known {
            self.order.push_back((now, one.id));
        }
        self.by_one.insert(from, mine + 1);
        true
    }

    fn uncount(&mut self, peer: &Peer) {
        if let Some(count) = self.by_one.get_mut(peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_one.remove(peer);
            }
        }
    }
}

/// A token bucket: so many at once, then so many a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// In thousandths of a message.
    tokens: u64,
    burst: u64,
    rate: u64,
    at: Millis,
}

impl Bucket {
    pub(super) const fn full(now: Millis, burst: u64, rate: u64) -> Self {
        Self {
            tokens: burst * 1000,
            burst,
            rate,
            at: now,
        }
    }

    pub(super) fn take(&mut self, now: Millis) -> bool {
        let gained = now.since(self.at).0.saturating_mul(self.rate);
        self.tokens = self.tokens.saturating_add(gained).min(self.burst * 1000);
        self.at = self.at.max(now);
        match self.tokens.checked_sub(1000) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// How many happened while a content is kept.
#[derive(Debug, Default)]
struct Window(VecDeque<Millis>);

impl Window {
    fn has_room(&mut self, now: Millis, most: usize) -> bool {
        while self
            .0
            .front()
            .is_some_and(|at| now.since(*at) >= CONTENT_KEEP)
        {
            self.0.pop_front();
        }
        self.0.len() < most
    }

    fn note(&mut self, now: Millis) {
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Scope, Swarm, TOPIC};
    use super::*;

    const START: Millis = Millis(1_000_000);

    fn ihave(ids: std::ops::Range<u32>) -> Frame {
        let announced = ids.map(|id| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&id.to_be_bytes());
            Announced {
                id: bytes,
                round: 0,
            }
        });
        Frame {
            topic: TOPIC,
            message: Body::Spread(Spread::IHave(announced.collect())),
        }
    }

    fn left(frame: &Frame) -> usize {
        match &frame.message {
            Body::Spread(Spread::IHave(announced)) => announced.len(),
            Body::Spread(_) | Body::Swarm(_) => 0,
        }
    }

    fn announce(guard: &mut Guard, now: Millis, from: u8, ids: std::ops::Range<u32>) -> usize {
        let mut frame = ihave(ids);
        guard
            .admit(now, Peer([from; 32]), &mut frame)
            .expect("no flood");
        left(&frame)
    }

    #[test]
    fn one_peer_announces_so_much_and_no_more_and_leaves_room_for_others() {
        let mut guard = Guard::default();
        let most = u32::try_from(ANNOUNCED_BY_ONE_MAX).expect("small");
        assert_eq!(
            announce(&mut guard, START, 1, 0..most + 5),
            ANNOUNCED_BY_ONE_MAX
        );
        assert_eq!(announce(&mut guard, START, 1, most + 5..most + 6), 0);
        assert_eq!(announce(&mut guard, START, 2, most..most + 7), 7);
        // Twice the same says nothing new.
        assert_eq!(announce(&mut guard, START, 2, most..most + 7), 0);
        let later = START.plus(ANNOUNCED_KEEP);
        assert!(guard.expire(later), "they go");
        assert!(guard.expire(later), "once more for what was under way");
        assert!(!guard.expire(later));
        assert!(guard.by_one.is_empty() && guard.announced.is_empty());
        assert_eq!(announce(&mut guard, later, 1, 0..3), 3);
    }

    #[test]
    fn all_peers_together_announce_so_much_and_no_more() {
        let mut guard = Guard::default();
        let each = u32::try_from(ANNOUNCED_BY_ONE_MAX).expect("small");
        let total: usize = (0..8)
            .map(|peer| {
                let first = u32::from(peer) * each;
                announce(&mut guard, START, peer, first..first + each)
            })
            .sum();
        assert_eq!(total, ANNOUNCED_MAX);
    }

    #[test]
    fn a_flood_of_messages_is_refused_and_ends() {
        let mut guard = Guard::default();
        let mut frame = Frame::swarm(Swarm::Join(None));
        let from = Peer([1; 32]);
        for _ in 0..SWARM_BURST {
            assert_eq!(guard.admit(START, from, &mut frame), Ok(()));
        }
        let flood = Err(MessageReject::Flood);
        assert_eq!(guard.admit(START, from, &mut frame), flood);
        assert_eq!(guard.admit(START, Peer([2; 32]), &mut frame), Ok(()));
        let later = START.plus(Millis::from_secs(1));
        assert_eq!(guard.admit(later, from, &mut frame), Ok(()));
    }

    #[test]
    fn contents_of_others_are_bounded_and_leave_room_for_our_own() {
        let mut guard = Guard::default();
        let mut frame = Frame {
            topic: TOPIC,
            message: Body::Spread(Spread::Content {
                id: [0; 32],
                content: Vec::new(),
                scope: Scope::Swarm(0),
            }),
        };
        for _ in 0..HEARD_MAX {
            guard.heard(START);
        }
        let from = Peer([1; 32]);
        assert_eq!(
            guard.admit(START, from, &mut frame),
            Err(MessageReject::Flood)
        );
        assert!(guard.may_spread(START));
        let later = START.plus(CONTENT_KEEP);
        assert_eq!(guard.admit(later, from, &mut frame), Ok(()));
    }
}
