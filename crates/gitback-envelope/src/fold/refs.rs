//! Which updates are the heads of each ref, and under which names they are served.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, PuddleKey, hex};

use super::graph::{Graph, Place};
use super::line::Line;
use super::standing::Standing;
use crate::act::{Change, Update};
use crate::id::{EnvelopeId, Oid};
use crate::refname::RefName;

const ENVOYS: &str = "refs/envoys/";
/// Bytes of an envoy's key that a served name shows.
const ENVOY_SHOWN: usize = 8;

/// One value that a ref has, and the update that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The object; zero for a deletion.
    pub oid: Oid,
    /// The update.
    pub update: EnvelopeId,
    /// The envoy that accepted it.
    pub envoy: EnvoyKey,
    /// The puddle it was accepted for.
    pub puddle: PuddleKey,
}

/// The values of a ref that nobody has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefState {
    /// The one served under the ref's own name: the founder line's first, then the one with the lowest update id.
    pub visible: Head,
    /// The others, in the same order. More than none: the ref is divergent.
    pub others: Vec<Head>,
    /// The ref that stands in the way of serving this one under its own name: `refs/heads/a` beside
    /// `refs/heads/a/b`. Then even the visible head is served as the others are.
    pub hidden_by: Option<RefName>,
}

/// What an update says about the git graph, with what follows from it, for whoever can look into the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The ref.
    pub name: RefName,
    /// Where it points; zero for a deletion.
    pub new: Oid,
    /// Objects that `new` must contain. A deletion contains nothing: one that claims to is a lie.
    pub contains: Vec<Oid>,
    /// Objects that are forced away.
    pub forces: Vec<Oid>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Refs {
    tracks: BTreeMap<RefName, Track>,
    /// Updates that say where HEAD points, in the order in which they folded.
    head_updates: Vec<Place>,
    /// Those of them that no later one has seen.
    head_heads: BTreeSet<Place>,
}

#[derive(Clone, Debug, Default)]
struct Track {
    /// Every update of this ref, in the order in which they folded, whether it counts or not.
    updates: Vec<Place>,
    heads: BTreeSet<Place>,
}

impl Refs {
    /// Takes in an update that has just folded, so that nothing here descends from it, whether it counts or not.
    pub(super) fn apply(&mut self, graph: &Graph, place: Place, update: &Update) {
        let counts = is_valid(graph, place);
        for change in &update.changes {
            if !self.tracks.contains_key(&change.name) {
                self.tracks.insert(change.name.clone(), Track::default());
            }
            if let Some(track) = self.tracks.get_mut(&change.name) {
                track.updates.push(place);
                if counts {
                    track.apply(graph, place, change);
                }
            }
        }
        if update.head.is_some() {
            self.head_updates.push(place);
            if counts {
                apply_head(&mut self.head_heads, graph, place);
            }
        }
    }

    /// Works out again everything that the updates at `places` touch, after their standing has changed.
    pub(super) fn recompute(&mut self, graph: &Graph, places: &[Place]) {
        let updates = || places.iter().filter_map(|place| update_at(graph, *place));
        let changes = updates().flat_map(|update| &update.changes);
        let names: BTreeSet<&RefName> = changes.map(|change| &change.name).collect();
        for name in names {
            if let Some(track) = self.tracks.get_mut(name) {
                track.recompute(graph, name);
            }
        }
        if updates().any(|update| update.head.is_some()) {
            self.head_heads.clear();
            for place in self.head_updates.iter().copied() {
                if is_valid(graph, place) {
                    apply_head(&mut self.head_heads, graph, place);
                }
            }
        }
    }

    /// The heads of one ref, the visible one first, deletions last.
    pub(super) fn heads_of(&self, graph: &Graph, founder: &Line, name: &RefName) -> Vec<Head> {
        let track = self.tracks.get(name);
        let places = track.into_iter().flat_map(|track| track.heads.iter());
        let mut heads: Vec<Head> = places
            .filter_map(|place| head(graph, *place, name))
            .collect();
        heads.sort_by_key(|head| (head.oid.is_zero(), rank(founder, head)));
        heads
    }

    /// Every ref that has a live head.
    pub(super) fn states(&self, graph: &Graph, founder: &Line) -> BTreeMap<RefName, RefState> {
        let mut states = BTreeMap::new();
        for name in self.tracks.keys() {
            let heads = self.heads_of(graph, founder, name);
            let mut live = heads.into_iter().filter(|head| !head.oid.is_zero());
            if let Some(visible) = live.next() {
                let state = RefState {
                    visible,
                    others: live.collect(),
                    hidden_by: None,
                };
                states.insert(name.clone(), state);
            }
        }
        for (name, other) in collisions(&states, founder) {
            if let Some(state) = states.get_mut(&name) {
                state.hidden_by = Some(other);
            }
        }
        states
    }

    pub(super) fn head_target(&self, graph: &Graph, founder: &Line) -> Option<RefName> {
        let targets = self.head_heads.iter().filter_map(|place| {
            let verified = &graph.node(*place).verified;
            let target = update_at(graph, *place)?.head.as_ref()?;
            let foreign = !founder.contains(&verified.statement().puddle);
            Some((foreign, *verified.id(), target))
        });
        targets.min().map(|(_, _, target)| target.clone())
    }
}

impl Track {
    fn apply(&mut self, graph: &Graph, place: Place, change: &Change) {
        for replaced in replaced(graph, place, change).all() {
            self.heads.remove(&replaced);
        }
        self.heads.insert(place);
    }

    fn recompute(&mut self, graph: &Graph, name: &RefName) {
        self.heads.clear();
        for place in self.updates.clone() {
            if is_valid(graph, place)
                && let Some(change) = change_at(graph, place, name)
            {
                self.apply(graph, place, change);
            }
        }
    }
}

/// A later statement about HEAD replaces every one that its author had seen.
fn apply_head(heads: &mut BTreeSet<Place>, graph: &Graph, place: Place) {
    heads.retain(|head| !graph.is_ancestor(*head, place));
    heads.insert(place);
}

/// What one change takes the place of.
struct Replaced {
    contained: BTreeSet<Place>,
    forced: BTreeSet<Place>,
}

impl Replaced {
    fn all(self) -> impl Iterator<Item = Place> {
        self.contained.into_iter().chain(self.forced)
    }
}

/// What `change` of the update at `place` takes the place of.
///
/// Being contained passes through updates that do not count: what such a one contained is contained in whatever contains
/// it. It does not pass through what is known to be false about this ref. Being forced away passes through nothing.
fn replaced(graph: &Graph, place: Place, change: &Change) -> Replaced {
    let name = &change.name;
    let named = |by, id| named_update(graph, by, id, name);
    let forced = change.forced.iter().filter_map(|id| named(place, id));
    let mut replaced = Replaced {
        contained: BTreeSet::new(),
        forced: forced.collect(),
    };
    let mut open = Vec::from([(place, change)]);
    while let Some((by, change)) = open.pop() {
        for inner in change.contained.iter().filter_map(|id| named(by, id)) {
            if replaced.contained.insert(inner) && passes_on(graph, inner, name) {
                open.extend(change_at(graph, inner, name).map(|change| (inner, change)));
            }
        }
    }
    replaced
}

/// Whether what an update contained of a ref is contained in whatever contains it: it counts no more, and what it said
/// about this ref is not known to be false. What it said about others does not matter: their objects may not be
/// everywhere, and every envoy must come to the same answer.
fn passes_on(graph: &Graph, place: Place, name: &RefName) -> bool {
    match graph.node(place).standing {
        Standing::Valid | Standing::Beyond => false,
        Standing::Void(_) => !graph.lies_about(place, name),
    }
}

/// The update called `id`, if it lies in the past of `by` and touches `name`. Anything else named is ignored.
fn named_update(graph: &Graph, by: Place, id: &EnvelopeId, name: &RefName) -> Option<Place> {
    let place = graph.place(id)?;
    change_at(graph, place, name)?;
    graph.is_ancestor(place, by).then_some(place)
}

/// What the update called `id` claims about the git graph.
pub(super) fn claims(graph: &Graph, id: &EnvelopeId) -> Vec<Claim> {
    let Some(place) = graph.place(id) else {
        return Vec::new();
    };
    let changes = update_at(graph, place).map(|update| update.changes.as_slice());
    let claim = |change: &Change| {
        let replaced = replaced(graph, place, change);
        let oids = |places: BTreeSet<Place>| {
            let oids = places
                .into_iter()
                .filter_map(|place| Some(change_at(graph, place, &change.name)?.new));
            let live: BTreeSet<Oid> = oids.filter(|oid| !oid.is_zero()).collect();
            live.into_iter().collect()
        };
        Claim {
            name: change.name.clone(),
            new: change.new,
            contains: oids(replaced.contained),
            forces: oids(replaced.forced),
        }
    };
    changes.unwrap_or_default().iter().map(claim).collect()
}

/// Live refs that cannot be served beside one that ranks before them, each with that one.
fn collisions(states: &BTreeMap<RefName, RefState>, founder: &Line) -> Vec<(RefName, RefName)> {
    let mut involved = BTreeSet::new();
    for name in states.keys() {
        for folder in name.folders() {
            if let Some((folder, _)) = states.get_key_value(folder) {
                involved.extend([folder, name]);
            }
        }
    }
    let order = |name: &&RefName| {
        let state = states.get(*name);
        state.map(|state| (rank(founder, &state.visible), (*name).clone()))
    };
    let mut ranked: Vec<&RefName> = involved.into_iter().collect();
    ranked.sort_by_cached_key(order);
    let mut served: BTreeMap<&[u8], &RefName> = BTreeMap::new();
    let mut hidden = Vec::new();
    for name in ranked {
        if let Some(other) = in_the_way(&served, name) {
            hidden.push((name.clone(), other.clone()));
        } else {
            served.insert(name.as_bytes(), name);
        }
    }
    hidden
}

/// One of `served` that is a folder of `name`, or for which `name` is a folder.
fn in_the_way<'a>(served: &BTreeMap<&[u8], &'a RefName>, name: &RefName) -> Option<&'a RefName> {
    let above = name.folders().find_map(|folder| served.get(folder));
    let mut inside = name.as_bytes().to_owned();
    inside.push(b'/');
    let inside = inside.as_slice();
    let below = || {
        let (first, name) = served.range(inside..).next()?;
        first.starts_with(inside).then_some(name)
    };
    above.or_else(below).copied()
}

/// What git is shown: each visible ref under its own name, every other head under `refs/envoys/`.
pub(super) fn served(states: &BTreeMap<RefName, RefState>) -> BTreeMap<Vec<u8>, Oid> {
    let mut served = Served::default();
    for (name, state) in states {
        let visible = Some(&state.visible).filter(|_| state.hidden_by.is_some());
        for head in visible.into_iter().chain(&state.others) {
            served.insert(name, head);
        }
        if state.hidden_by.is_none() {
            let name = name.as_bytes().to_owned();
            served.names.insert(name, state.visible.oid);
        }
    }
    served.names
}

#[derive(Default)]
struct Served {
    names: BTreeMap<Vec<u8>, Oid>,
    /// Every folder that a name under `refs/envoys/` lies in.
    folders: BTreeSet<Vec<u8>>,
}

impl Served {
    /// Serves another head under its short name, or, when that is taken, under one that cannot be.
    fn insert(&mut self, name: &RefName, head: &Head) {
        let short = short_name(name, head);
        let name = if self.is_free(&short) {
            short
        } else {
            long_name(name, head)
        };
        for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.folders.extend(name.get(..at).map(<[u8]>::to_owned));
        }
        self.names.insert(name, head.oid);
    }

    fn is_free(&self, name: &[u8]) -> bool {
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut folders = slashes.filter_map(|(at, _)| name.get(..at));
        !self.names.contains_key(name)
            && !self.folders.contains(name)
            && !folders.any(|folder| self.names.contains_key(folder))
    }
}

/// `refs/envoys/<16 digits of the envoy>/<name without refs/>@<8 digits of the update>`
fn short_name(name: &RefName, head: &Head) -> Vec<u8> {
    let envoy = head.envoy.as_bytes().first_chunk::<ENVOY_SHOWN>();
    let envoy = hex::encode(envoy.map_or(&[], |shown| shown.as_slice()));
    let mut served = format!("{ENVOYS}{envoy}/").into_bytes();
    served.extend_from_slice(name.without_refs());
    served.extend_from_slice(format!("@{}", head.update.short()).as_bytes());
    served
}

/// `refs/envoys/<64 digits of the update>/<64 digits of the name's bytes, hashed>`: no short name begins so, and no
/// two heads share it.
fn long_name(name: &RefName, head: &Head) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let name = hex::encode(&Sha256::digest(name.as_bytes()));
    format!("{ENVOYS}{}/{name}", head.update).into_bytes()
}

fn rank(founder: &Line, head: &Head) -> (bool, EnvelopeId) {
    (!founder.contains(&head.puddle), head.update)
}

fn head(graph: &Graph, place: Place, name: &RefName) -> Option<Head> {
    let verified = &graph.node(place).verified;
    let statement = verified.statement();
    Some(Head {
        oid: change_at(graph, place, name)?.new,
        update: *verified.id(),
        envoy: statement.envoy?,
        puddle: statement.puddle,
    })
}

fn is_valid(graph: &Graph, place: Place) -> bool {
    graph.node(place).standing == Standing::Valid
}

fn update_at(graph: &Graph, place: Place) -> Option<&Update> {
    graph.node(place).verified.statement().update()
}

fn change_at<'a>(graph: &'a Graph, place: Place, name: &RefName) -> Option<&'a Change> {
    update_at(graph, place)?.change(name)
}
