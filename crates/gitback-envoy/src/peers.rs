//! What is known of each peer: when it was seen, why it is away, what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gitback_envelope::{EnvelopeId, Oid, Tip};
use gitback_identity::{EnvoyKey, ProjectId};
use gitback_peer::{CallError, PeerAddress};
use tokio::sync::Semaphore;

use crate::changes::Changes;
use crate::clock;
use crate::config::Peer;
use crate::service;

/// How long at least one address is tried, unless it is known to be the one that failed.
const MOVE_GAP: Duration = Duration::from_secs(1);

/// Why a peer cannot be reached of which nobody has said where it is.
const NO_ADDRESS: &str = "where it is is not known yet";

/// How long what a peer shows unasked may have been on its way.
const ON_ITS_WAY_MAX: Duration = Duration::from_secs(10);

/// Why a peer does not have the newest yet that has just said what it lacks.
pub(crate) const CATCHING_UP: &str = "catching up";

/// Pushes sent to one peer at the same time, at most: a slow user holds as much there as here.
const RELAYS_MAX: usize = 8;

/// How long a commit that was more than may come is not asked for again, of one peer.
const TOO_MUCH_FOR: Duration = Duration::from_secs(3600);

/// Most such commits of one peer.
const TOO_MUCH_MAX: usize = 64;

/// Another envoy of the fleet, configured or enrolled, shared by the threads that talk to it.
#[derive(Debug)]
pub(crate) struct Neighbour {
    peer: Peer,
    places: Mutex<Places>,
    seen: Mutex<Seen>,
    relays: Semaphore,
    changes: Arc<Changes>,
}

/// Where a peer may be reached, the best first, and which of them is tried now.
#[derive(Debug, Default)]
struct Places {
    addresses: Vec<String>,
    at: usize,
    /// When it last went on to another one.
    moved: Option<Instant>,
}

/// What a peer has shown of itself.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) last_seen_ms: Option<u64>,
    /// Since when it is away, and why.
    pub(crate) away: Option<Away>,
    pub(crate) projects: BTreeMap<ProjectId, Holding>,
    /// Projects that were asked for once although the peer did not list them.
    introduced: BTreeSet<ProjectId>,
    /// Requests to be invited again that it has taken.
    heard: BTreeSet<EnvelopeId>,
    /// Commits that alone were more than may come: when that was seen, and why.
    too_much: BTreeMap<Oid, (Instant, String)>,
    /// It was asked something that cannot wait, and has not answered anything since.
    unresponsive: bool,
    /// The digests of our roster and one of its that are of no use to each other: it is of another fleet.
    pub(crate) useless_rosters: Option<([u8; 32], [u8; 32])>,
    /// How many comparisons with it have begun, and the number of the last one that has ended.
    pub(crate) contacts_begun: u64,
    pub(crate) contacts_done: u64,
}

/// Why a peer does not answer.
#[derive(Debug, Clone)]
pub(crate) struct Away {
    pub(crate) since_ms: u64,
    pub(crate) reason: String,
    /// It answered, and said no.
    pub(crate) refused: bool,
    /// Another key than the configured one answered where the configuration says that it is.
    pub(crate) wrong_key: bool,
}

/// What a peer holds of one project.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holding {
    pub(crate) digest: [u8; 32],
    /// Its chains, when it has told them.
    pub(crate) tips: Vec<Tip>,
    /// The digest that it had when it told its chains.
    pub(crate) tips_digest: [u8; 32],
    /// It answered, and does not list the project.
    pub(crate) absent: bool,
    /// Since when it is known to hold less than we do, or something else.
    pub(crate) differs_since_ms: Option<u64>,
    pub(crate) reason: Option<String>,
    /// It answered, and would not take it.
    pub(crate) refused: bool,
    /// When it last said that it holds what is here.
    pub(crate) confirmed: Option<Instant>,
}

impl Neighbour {
    /// A peer that may be reached at these addresses. What is noted of it counts as a change in `changes`.
    pub(crate) fn at(peer: Peer, addresses: Vec<String>, changes: Arc<Changes>) -> Self {
        Self {
            peer,
            places: Mutex::new(Places {
                addresses,
                ..Places::default()
            }),
            seen: Mutex::default(),
            relays: Semaphore::new(RELAYS_MAX),
            changes,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.peer.name
    }

    pub(crate) fn key(&self) -> &EnvoyKey {
        &self.peer.key
    }

    /// Where it is tried next; an empty address when none is known.
    pub(crate) fn address(&self) -> PeerAddress {
        let places = self.places();
        let address = places.addresses.get(places.at).cloned();
        PeerAddress {
            key: self.peer.key,
            address: address.unwrap_or_default(),
        }
    }

    /// Where it may be reached, the one in use first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let places = self.places();
        let mut addresses = places.addresses.clone();
        addresses.rotate_left(places.at.min(places.addresses.len()));
        addresses
    }

    /// Notes where it may be reached, the best first. The one in use stays in use while it is among them.
    pub(crate) fn note_addresses(&self, addresses: Vec<String>) {
        let mut places = self.places();
        let current = places.addresses.get(places.at);
        let at = addresses.iter().position(|one| Some(one) == current);
        *places = Places {
            at: at.unwrap_or(0),
            addresses,
            moved: None,
        };
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places
            .lock()
            .expect("no thread panics with a peer's addresses")
    }

    /// Whether it answered the last time that it was asked, so that a user may be kept waiting for it.
    pub(crate) fn is_present(&self) -> bool {
        let seen = self.seen();
        seen.away.is_none() && seen.last_seen_ms.is_some() && !seen.unresponsive
    }

    /// Notes that a user waited for it in vain.
    pub(crate) fn note_unresponsive(&self) {
        self.seen().unresponsive = true;
    }

    /// The right to send this peer a push while it still arrives.
    pub(crate) fn relays(&self) -> &Semaphore {
        &self.relays
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen
            .lock()
            .expect("no thread panics with a peer's state")
    }

    /// Notes that the peer answered.
    pub(crate) fn note_answer(&self) {
        let mut seen = self.seen();
        let news = seen.away.is_some() || seen.last_seen_ms.is_none();
        seen.last_seen_ms = Some(clock::now_ms());
        seen.away = None;
        seen.unresponsive = false;
        drop(seen);
        if news {
            self.changes.note();
        }
    }

    /// Notes that it is being compared with what is here.
    pub(crate) fn note_contact_begins(&self) {
        self.seen().contacts_begun += 1;
    }

    /// Notes that the comparison that began last has ended, well or not.
    pub(crate) fn note_contact_ends(&self) {
        let mut seen = self.seen();
        seen.contacts_done = seen.contacts_begun;
        drop(seen);
        self.changes.note();
    }

    /// Notes that a call failed; the time of the first of a row of failures stays.
    pub(crate) fn note_failure(&self, error: &CallError) {
        let (reason, refused) = match error {
            // Our own disk or limits: it says nothing about the peer.
            CallError::Local { .. } | CallError::Unsendable { .. } | CallError::Setup { .. } => {
                return;
            }
            CallError::Refused(refusal) => (refusal.reason.clone(), true),
            _ => {
                let nowhere = self.next_address(error);
                let reason = nowhere.or_else(|| self.wrong_key(error));
                (reason.unwrap_or_else(|| error.reason()), false)
            }
        };
        let now = clock::now_ms();
        let mut seen = self.seen();
        let since_ms = seen.away.as_ref().map_or(now, |away| away.since_ms);
        seen.away = Some(Away {
            since_ms,
            reason,
            refused,
            wrong_key: self.wrong_key(error).is_some(),
        });
        if refused {
            seen.last_seen_ms = Some(now);
        }
        drop(seen);
        self.changes.note();
    }

    /// Whether whoever answers has another key than the configuration says: waiting does not help.
    pub(crate) fn has_wrong_key(&self) -> bool {
        let seen = self.seen();
        seen.away.as_ref().is_some_and(|away| away.wrong_key)
    }

    /// Says so of an error, where it is the configuration that names address and key.
    fn wrong_key(&self, error: &CallError) -> Option<String> {
        let CallError::WrongKey { found, .. } = error else {
            return None;
        };
        self.peer.address.as_ref()?;
        let found = found.as_ref().map_or_else(
            || "the one that answers is unsound".to_owned(),
            |key| format!("{} answers", service::short_key(key)),
        );
        Some(format!("wrong key: {found}, not the one in [[peers]]"))
    }

    /// Goes on to the next address, for the present one did not answer. Says so when there is none.
    fn next_address(&self, error: &CallError) -> Option<String> {
        let mut places = self.places();
        let Some(current) = places.addresses.get(places.at) else {
            return Some(NO_ADDRESS.to_owned());
        };
        let is_current = match error {
            CallError::Unreachable { address, .. } => address == current,
            // Which address it was is not said; one that was begun at another address says nothing of this one.
            CallError::TimedOut { after } => places
                .moved
                .is_none_or(|at| at.elapsed() > *after + MOVE_GAP),
            _ => places.moved.is_none_or(|at| at.elapsed() >= MOVE_GAP),
        };
        if is_current {
            places.at = (places.at + 1) % places.addresses.len();
            places.moved = Some(Instant::now());
        }
        None
    }

    /// Notes what the peer holds of a project. Returns whether that is news.
    pub(crate) fn note_holding(
        &self,
        project: ProjectId,
        digest: [u8; 32],
        tips: Option<Vec<Tip>>,
        same_as_ours: bool,
    ) -> bool {
        let mut seen = self.seen();
        let holding = seen.projects.entry(project).or_default();
        let news = holding.digest != digest;
        let told = tips.is_some();
        holding.digest = digest;
        if let Some(tips) = tips {
            holding.tips = tips;
            holding.tips_digest = digest;
        }
        holding.absent = false;
        holding.reason = None;
        holding.refused = false;
        if same_as_ours {
            holding.differs_since_ms = None;
            holding.confirmed = Some(Instant::now());
        } else {
            let since = holding.differs_since_ms;
            holding.differs_since_ms = since.or(Some(clock::now_ms()));
        }
        drop(seen);
        if news || told {
            self.changes.note();
        }
        news
    }

    /// Whether the peer has said that it holds what is here after it made up what it shows now: that was an answer to a
    /// question of `asked`, or came unasked. A push is confirmed while such messages are under way.
    pub(crate) fn has_confirmed_since(&self, project: &ProjectId, asked: Option<Instant>) -> bool {
        let seen = self.seen();
        let holding = seen.projects.get(project);
        let confirmed = holding.and_then(|holding| holding.confirmed);
        confirmed.is_some_and(|at| match asked {
            Some(asked) => at > asked,
            None => at.elapsed() < ON_ITS_WAY_MAX,
        })
    }

    /// Notes that it does not list a project which it should hold. Why it would not take it stays known.
    pub(crate) fn note_absent(&self, project: ProjectId) {
        let mut seen = self.seen();
        let holding = seen.projects.entry(project).or_default();
        let news = !holding.absent;
        *holding = Holding {
            absent: true,
            differs_since_ms: holding.differs_since_ms.or(Some(clock::now_ms())),
            reason: holding.reason.take().filter(|_| holding.refused),
            refused: holding.refused,
            ..Holding::default()
        };
        drop(seen);
        if news {
            self.changes.note();
        }
    }

    /// What the peer showed of a project when it was last heard.
    pub(crate) fn digest(&self, project: &ProjectId) -> Option<[u8; 32]> {
        let seen = self.seen();
        seen.projects.get(project).map(|holding| holding.digest)
    }

    /// Notes why the peer does not have the newest of a project.
    pub(crate) fn note_behind(&self, project: ProjectId, reason: String) {
        self.note_lag(project, reason, false);
    }

    /// Notes that the peer answered and would not take the newest of a project.
    pub(crate) fn note_refusal(&self, project: ProjectId, reason: String) {
        self.note_answer();
        self.note_lag(project, reason, true);
    }

    fn note_lag(&self, project: ProjectId, reason: String, refused: bool) {
        let mut seen = self.seen();
        let holding = seen.projects.entry(project).or_default();
        let now = clock::now_ms();
        holding.differs_since_ms = holding.differs_since_ms.or(Some(now));
        holding.reason = Some(reason);
        holding.refused = refused;
        drop(seen);
        self.changes.note();
    }

    /// Whether it was never asked for this project, which it does not list. From now on it was.
    pub(crate) fn introduce(&self, project: &ProjectId) -> bool {
        self.seen().introduced.insert(*project)
    }

    /// Whether the peer has taken this request.
    pub(crate) fn has_heard(&self, request: &EnvelopeId) -> bool {
        self.seen().heard.contains(request)
    }

    /// Notes that it has.
    pub(crate) fn note_heard(&self, request: EnvelopeId) {
        self.seen().heard.insert(request);
    }

    /// Why this commit of the peer's is more than may come, if that was seen lately.
    pub(crate) fn too_much(&self, commit: &Oid) -> Option<String> {
        let seen = self.seen();
        let lately = |at: &Instant| at.elapsed() < TOO_MUCH_FOR;
        let known = seen.too_much.get(commit).filter(|(at, _)| lately(at));
        known.map(|(_, why)| why.clone())
    }

    /// Notes that it is, so that it is not brought for nothing over and over.
    pub(crate) fn note_too_much(&self, commit: Oid, why: String) {
        let mut seen = self.seen();
        if seen.too_much.len() >= TOO_MUCH_MAX {
            seen.too_much.pop_first();
        }
        seen.too_much.insert(commit, (Instant::now(), why));
    }

    /// The tips of a project that the peer is known to hold; empty when nothing is known.
    pub(crate) fn tips(&self, project: &ProjectId) -> Vec<Tip> {
        self.seen()
            .projects
            .get(project)
            .map(|holding| holding.tips.clone())
            .unwrap_or_default()
    }

    /// One line for people: "pluto offline (last seen 2 h ago): connection refused".
    pub(crate) fn away_line(&self, project: Option<&ProjectId>) -> String {
        let seen = self.seen();
        let name = self.name();
        let Some(away) = &seen.away else {
            let holding = project.and_then(|project| seen.projects.get(project));
            return match holding.and_then(|holding| holding.reason.as_ref()) {
                Some(reason) => format!("{name}: {reason}"),
                None => format!("{name} has not confirmed yet"),
            };
        };
        let word = if away.refused { "refused" } else { "offline" };
        match seen.last_seen_ms.filter(|_| !away.refused) {
            Some(at) => format!(
                "{name} {word} (last seen {} ago): {}",
                clock::age(at, clock::now_ms()),
                away.reason
            ),
            None if away.refused => format!("{name} {word}: {}", away.reason),
            None => format!("{name} {word} (never seen): {}", away.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitback_identity::SecretKey;

    fn venus() -> Neighbour {
        let peer = Peer {
            name: "venus".to_owned(),
            key: EnvoyKey::new(SecretKey::from_seed(&[1; 32]).public()),
            address: None,
        };
        Neighbour::at(peer, Vec::new(), Arc::new(Changes::default()))
    }

    #[test]
    fn so_many_commits_that_are_too_much_are_remembered() {
        let venus = venus();
        let commit = |number: u8| Oid::from_bytes(&[number; 20]);
        for number in 0..=u8::MAX {
            venus.note_too_much(commit(number), format!("{number}"));
            assert_eq!(venus.too_much(&commit(number)), Some(number.to_string()));
        }
        assert_eq!(venus.seen().too_much.len(), TOO_MUCH_MAX);
        assert_eq!(venus.too_much(&commit(0)), None);
    }

    #[test]
    fn what_was_under_way_when_a_push_was_confirmed_is_older() {
        let venus = venus();
        let project = ProjectId::from_bytes(&[7; 32]);
        let asked = Instant::now();
        venus.note_holding(project, [1; 32], None, false);
        assert!(!venus.has_confirmed_since(&project, Some(asked)));
        assert!(!venus.has_confirmed_since(&project, None));
        venus.note_holding(project, [2; 32], Some(Vec::new()), true);
        assert!(venus.has_confirmed_since(&project, Some(asked)));
        assert!(venus.has_confirmed_since(&project, None));
        let asked_again = venus.seen().projects[&project].confirmed;
        assert!(!venus.has_confirmed_since(&project, asked_again));
    }
}
