//! What a node knows of each peer.

use std::collections::BTreeMap;

use gitback_identity::ProjectId;

use super::terms::{Presence, Settings, Standing};
use crate::address::AddressRecord;
use crate::backoff::Backoff;
use crate::millis::Millis;

/// Most peers of a node.
pub(crate) const PEERS_MAX: usize = 16_384;
/// Most addresses of a peer that are kept from each source.
const ADDRESSES_MAX: usize = 8;
/// Longest address that is kept, in bytes.
const ADDRESS_MAX: usize = 255;
/// How many fruitless catch-ups in a row a peer may have before it has to wait for the next.
const FRUITLESS_MAX: u32 = 16;
/// Most projects of a peer in which it is watched whether it catches up by itself.
pub(crate) const LAGGING_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    configured: Vec<String>,
    recorded: Option<Recorded>,
    sighted: Vec<String>,
    life: Life,
    /// Waits between attempts while it is away.
    trouble: Backoff,
    /// It gave a sign of life since it went away, and was tried at once for that.
    hastened: bool,
    last_answer: Option<Millis>,
    pub(crate) last_compared: Option<Millis>,
    /// Waits between comparisons that it refuses.
    rest: Backoff,
    rest_until: Millis,
    penalty: Backoff,
    penalised: Option<(Millis, String)>,
    /// Whether the next comparison is in the queue.
    pub(crate) queued: bool,
    /// Compare once more when the open comparison ends.
    pub(crate) again: bool,
    /// The last comparison showed more than could be kept.
    pub(crate) truncated: bool,
    /// Something came from it since the last comparison.
    pub(crate) useful: bool,
    fruitless: u32,
    starve: Backoff,
    starved_until: Millis,
    pub(crate) lagging: BTreeMap<ProjectId, Lag>,
    /// Up to which version it was told of the records of others and of this envoy, and when directly.
    pub(crate) told: u64,
    pub(crate) told_at: Option<Millis>,
    /// When it last asked for anything.
    pub(crate) called: Option<Millis>,
    /// When it was asked where the others are.
    pub(crate) places_asked: Option<Millis>,
}

#[derive(Debug)]
enum Life {
    Untried,
    Up,
    Away {
        since: Millis,
        reason: String,
        /// When it failed last.
        failed: Millis,
        next: Millis,
    },
}

/// What a peer last said of itself.
#[derive(Debug)]
struct Recorded {
    record: AddressRecord,
    /// Its time is over: only its number counts.
    is_expired: bool,
}

impl Recorded {
    /// Whether it gives way to `other` when the clock on the wall shows `wall_ms`, if that is known.
    fn yields_to(&self, other: &AddressRecord, wall_ms: Option<u64>) -> bool {
        let rank = |record: &AddressRecord| {
            let is_sound = wall_ms.is_none_or(|now| !record.is_from_future(now));
            (is_sound, record.number())
        };
        let (kept, other) = (rank(&self.record), rank(other));
        kept < other || (kept == other && self.is_expired)
    }
}

/// What a record that was taken has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// The best known addresses of the peer.
    pub(crate) is_moved: bool,
    /// It says other addresses than the one before it.
    pub(crate) is_news: bool,
}

/// A project in which a peer is behind.
#[derive(Debug)]
pub(crate) struct Lag {
    pub(crate) digest: [u8; 32],
    pub(crate) next: Millis,
    pub(crate) backoff: Backoff,
}

impl Peer {
    pub(crate) fn new(settings: &Settings) -> Self {
        let retry = Backoff::new(settings.retry, settings.retry_cap);
        Self {
            name: String::new(),
            configured: Vec::new(),
            recorded: None,
            sighted: Vec::new(),
            life: Life::Untried,
            trouble: retry.clone(),
            hastened: false,
            last_answer: None,
            last_compared: None,
            rest: Backoff::new(settings.quiet, settings.quiet_cap),
            rest_until: Millis(0),
            penalty: Backoff::new(settings.penalty, settings.penalty_cap),
            penalised: None,
            queued: false,
            again: false,
            truncated: false,
            useful: false,
            fruitless: 0,
            starve: retry,
            starved_until: Millis(0),
            lagging: BTreeMap::new(),
            told: 0,
            told_at: None,
            called: None,
            places_asked: None,
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.life, Life::Up)
    }

    /// Whether commands for it make sense now.
    pub(crate) fn is_usable(&self, now: Millis) -> bool {
        !matches!(self.life, Life::Away { .. }) && !self.is_penalised(now)
    }

    pub(crate) fn is_penalised(&self, now: Millis) -> bool {
        self.penalised
            .as_ref()
            .is_some_and(|(until, _)| *until > now)
    }

    /// Whether it may be among those to compare with at a tick.
    pub(crate) fn is_candidate(&self, now: Millis) -> bool {
        self.is_usable(now) && self.rest_until <= now && !self.queued
    }

    /// When it may be asked for a project again.
    pub(crate) const fn starved_until(&self) -> Millis {
        self.starved_until
    }

    /// A command of ours succeeded, or at least was answered. `true` if that is news.
    pub(crate) fn answered(&mut self, now: Millis) -> bool {
        self.last_answer = Some(now);
        self.trouble.reset();
        self.hastened = false;
        !matches!(std::mem::replace(&mut self.life, Life::Up), Life::Up)
    }

    /// It asked for something. The moment at which to try it, if it was thought to be away.
    ///
    /// That it reaches us says little of whether we reach it: it is tried at once one time, then once a `tick`.
    pub(crate) fn asked(&mut self, now: Millis, tick: Millis) -> Option<Millis> {
        self.last_answer = Some(now);
        self.called = Some(now);
        let Life::Away { failed, next, .. } = &mut self.life else {
            return None;
        };
        let soonest = if self.hastened {
            failed.plus(tick)
        } else {
            now
        };
        if soonest.max(now) >= *next {
            return None;
        }
        self.hastened = true;
        *next = soonest.max(now);
        Some(*next)
    }

    /// It could not be reached. The moment at which to try it again, if this changes that; `true` if it was not away.
    pub(crate) fn failed(
        &mut self,
        now: Millis,
        reason: &str,
        random: u64,
    ) -> (Option<Millis>, bool) {
        let reason = crate::owed::shortened(reason);
        match &mut self.life {
            // Several commands that were open when it vanished fail together: that is one failure.
            Life::Away {
                reason: last, next, ..
            } if *next > now => {
                *last = reason;
                (None, false)
            }
            Life::Away {
                reason: last,
                failed,
                next,
                ..
            } => {
                *last = reason;
                *failed = now;
                *next = now.plus(self.trouble.fail(random));
                (Some(*next), false)
            }
            Life::Untried | Life::Up => {
                let next = now.plus(self.trouble.fail(random));
                self.hastened = false;
                self.life = Life::Away {
                    since: now,
                    reason,
                    failed: now,
                    next,
                };
                (Some(next), true)
            }
        }
    }

    /// When it is to be tried again, if it is away.
    pub(crate) const fn next_probe(&self) -> Option<Millis> {
        match &self.life {
            Life::Away { next, .. } => Some(*next),
            Life::Untried | Life::Up => None,
        }
    }

    /// It lied: it is left alone until the moment returned.
    pub(crate) fn punish(&mut self, now: Millis, reason: &str, random: u64) -> Millis {
        // Lies of commands that were open together are one lie.
        if let Some((until, _)) = &self.penalised
            && *until > now
        {
            return *until;
        }
        let until = now.plus(self.penalty.fail(random));
        self.penalised = Some((until, crate::owed::shortened(reason)));
        until
    }

    /// The end of its penalty has come, or it has been honest for a penalty of the longest kind since.
    pub(crate) fn forgive(&mut self, now: Millis, cap: Millis) {
        if let Some((until, _)) = &self.penalised
            && until.plus(cap) <= now
        {
            self.penalised = None;
            self.penalty.reset();
        }
    }

    /// It will not compare now.
    pub(crate) fn rest(&mut self, now: Millis, random: u64) {
        self.rest_until = now.plus(self.rest.fail(random));
    }

    pub(crate) const fn rested(&mut self) {
        self.rest.reset();
        self.rest_until = Millis(0);
    }

    /// A catch-up from it brought something.
    pub(crate) const fn brought(&mut self) {
        self.useful = true;
        self.fruitless = 0;
        self.starve.reset();
        self.starved_until = Millis(0);
    }

    /// A catch-up from it brought nothing.
    pub(crate) fn brought_nothing(&mut self, now: Millis, random: u64) {
        self.fruitless = self.fruitless.saturating_add(1);
        if self.fruitless > FRUITLESS_MAX {
            self.starved_until = now.plus(self.starve.fail(random));
        }
    }

    /// Takes what the configuration says. `true` if the best known addresses changed.
    pub(crate) fn configure(&mut self, name: String, addresses: Vec<String>) -> bool {
        let before = self.addresses();
        self.name = name;
        self.configured = bounded(addresses);
        self.addresses() != before
    }

    /// Takes an address of the local network.
    pub(crate) fn sight(&mut self, address: String) -> bool {
        let before = self.addresses();
        self.sighted.retain(|known| *known != address);
        self.sighted.insert(0, address);
        self.sighted = bounded(std::mem::take(&mut self.sighted));
        self.addresses() != before
    }

    /// Takes what it says of itself, if that is newer than what is known. `wall_ms` is what the clock on the wall
    /// shows, if that is known. Nothing if it was not taken.
    pub(crate) fn record(&mut self, record: &AddressRecord, wall_ms: Option<u64>) -> Option<Taken> {
        let known = self.recorded.as_ref();
        if known.is_some_and(|known| !known.yields_to(record, wall_ms)) {
            return None;
        }
        let is_news = known.is_none_or(|known| known.record.addresses() != record.addresses());
        let before = self.addresses();
        self.recorded = Some(Recorded {
            record: record.clone(),
            is_expired: false,
        });
        Some(Taken {
            is_moved: self.addresses() != before,
            is_news,
        })
    }

    /// What it last said of itself, while that holds.
    pub(crate) fn valid_record(&self) -> Option<&AddressRecord> {
        let recorded = self.recorded.as_ref().filter(|one| !one.is_expired);
        recorded.map(|one| &one.record)
    }

    /// Uses the addresses that it announced while they hold. `true` if the best known addresses may have changed.
    ///
    /// The record stays when its time is over: how new it was counts, and a clock that was ahead may be set back.
    pub(crate) fn expire(&mut self, wall_ms: u64) -> bool {
        let Some(recorded) = self.recorded.as_mut() else {
            return false;
        };
        let was_expired = recorded.is_expired;
        recorded.is_expired = recorded.record.expires_ms() <= wall_ms;
        was_expired != recorded.is_expired && !recorded.record.addresses().is_empty()
    }

    /// Where it is best tried: on the local network, then where it says it is, then where the configuration says.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let recorded = self.recorded.iter().filter(|one| !one.is_expired);
        let recorded = recorded.flat_map(|one| one.record.addresses());
        let mut addresses: Vec<String> = Vec::new();
        for address in self.sighted.iter().chain(recorded).chain(&self.configured) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    pub(crate) fn standing(&self, now: Millis) -> Standing {
        Standing {
            presence: match &self.life {
                Life::Untried => Presence::Untried,
                Life::Up => Presence::Up,
                Life::Away {
                    since,
                    reason,
                    next,
                    ..
                } => Presence::Away {
                    since: *since,
                    reason: reason.clone(),
                    next: *next,
                },
            },
            last_answer: self.last_answer,
            last_compared: self.last_compared,
            penalty: self.penalised.clone().filter(|(until, _)| *until > now),
            addresses: self.addresses(),
        }
    }
}

fn bounded(mut addresses: Vec<String>) -> Vec<String> {
    addresses.retain(|address| address.len() <= ADDRESS_MAX);
    addresses.truncate(ADDRESSES_MAX);
    addresses
}
