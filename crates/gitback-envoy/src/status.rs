//! What the reading verbs show.

mod copies;
mod people;

use std::collections::BTreeMap;

use gitback_envelope::{Access, Head, Project, RefName, RefState};
use gitback_helper::{
    CopyStatus, EnvoyStatus, PeerStatus, ProjectStatus, RefStatus, VersionStatus,
};
use gitback_identity::ProjectId;

use crate::access;
use crate::aftermath::served_as;
use crate::cell::{Cell, Foothold, State};
use crate::clock;
use crate::daemon::Envoy;
use crate::given_up::GivenUp;
use crate::peers::{Neighbour, Seen};

/// Most refs listed for one project.
const REFS_LISTED_MAX: usize = 10_000;

/// Most versions of diverged refs that are listed for one project.
const VERSIONS_LISTED_MAX: usize = 64;

/// How much is told of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Its copies: what changes often, and costs little.
    Copies,
    /// With its size.
    List,
    /// With its refs, its founder line and its members.
    Full,
}

/// This envoy and its peers.
pub(crate) fn envoy(envoy: &Envoy) -> EnvoyStatus {
    EnvoyStatus {
        name: envoy.name().to_owned(),
        key: envoy.public().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: envoy.layout().mode.as_str().to_owned(),
        listen: envoy.config().listen().to_string(),
        started_ms: envoy.started_ms(),
        now_ms: clock::now_ms(),
        free_percent: envoy.free_percent().unwrap_or(0),
        projects: u32::try_from(envoy.store().all().len()).unwrap_or(u32::MAX),
        peers: envoy
            .neighbours()
            .iter()
            .map(|neighbour| peer(envoy, neighbour))
            .collect(),
    }
}

fn peer(envoy: &Envoy, neighbour: &Neighbour) -> PeerStatus {
    let penalty = envoy.heal().penalty(neighbour.key());
    let seen = neighbour.seen();
    let (mut state, mut reason, since_ms) = reach(&seen, envoy.started_ms());
    if let Some(penalty) = penalty {
        (state, reason) = ("refused", Some(penalty));
    }
    PeerStatus {
        name: neighbour.name().to_owned(),
        key: neighbour.key().to_string(),
        address: neighbour.address().address,
        state: state.to_owned(),
        reason,
        since_ms,
        last_seen_ms: seen.last_seen_ms,
    }
}

/// The state word of a peer as such: current means that it answers. `started_ms` is since when nothing was heard of one
/// that never answered.
pub(crate) fn reach(seen: &Seen, started_ms: u64) -> (&'static str, Option<String>, Option<u64>) {
    match (&seen.away, seen.last_seen_ms) {
        (Some(away), _) if away.refused => {
            ("refused", Some(away.reason.clone()), Some(away.since_ms))
        }
        (Some(away), None) => ("never", Some(away.reason.clone()), Some(away.since_ms)),
        (Some(away), Some(_)) => ("offline", Some(away.reason.clone()), Some(away.since_ms)),
        (None, Some(_)) => ("current", None, None),
        (None, None) => ("never", Some("no contact yet".to_owned()), Some(started_ms)),
    }
}

/// The projects that pass `visible`, as `uid` sees them.
pub(crate) fn projects(
    envoy: &Envoy,
    uid: u32,
    visible: &dyn Fn(&Cell) -> bool,
) -> Vec<ProjectStatus> {
    let cells = envoy.store().all();
    let seen = cells.iter().filter(|cell| visible(cell));
    seen.map(|cell| project(envoy, cell, uid, Detail::List))
        .collect()
}

/// A project whose copy this envoy gave up.
pub(crate) fn given_up(envoy: &Envoy, id: &ProjectId, note: &GivenUp) -> ProjectStatus {
    let own = copies::given_up(envoy, note);
    ProjectStatus {
        project_id: id.to_string(),
        handle: note
            .handle
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        founder: note.founder.map_or_else(String::new, |key| key.to_string()),
        state: own.state.clone(),
        reason: own.reason.clone(),
        envoys: vec![own],
        ..ProjectStatus::default()
    }
}

/// One project.
pub(crate) fn project(envoy: &Envoy, cell: &Cell, uid: u32, detail: Detail) -> ProjectStatus {
    let bytes = match detail {
        Detail::Copies => 0,
        Detail::List | Detail::Full => cell.repo().size_bytes().unwrap_or(0),
    };
    let in_full = detail == Detail::Full;
    let state = cell.lock();
    let fold = state.fold();
    let refs = fold.refs();
    let envoys = copies::all(envoy, cell, &state);
    let diverged: Vec<String> = refs
        .iter()
        .filter(|(_, r)| !r.others.is_empty())
        .map(|(name, _)| text(name))
        .collect();
    let (word, reason) = project_state(&state, &envoys, &diverged);
    let last = state.last_push();
    let access = access::standing(envoy, &state, uid).map(|standing| standing.access);
    let list = if in_full {
        refs.iter()
            .take(REFS_LISTED_MAX)
            .map(|(name, r)| ref_status(name.as_bytes(), &r.visible.oid))
            .collect()
    } else {
        Vec::new()
    };
    let mut status = ProjectStatus {
        project_id: cell.id().to_string(),
        handle: fold.handle().map(ToString::to_string).unwrap_or_default(),
        founder: fold
            .founder()
            .map(|key| key.to_string())
            .unwrap_or_default(),
        role: access.map(|access| access_word(access).to_owned()),
        access: access.map(|access| access_word(access).to_owned()),
        bytes,
        refs: u32::try_from(refs.len()).unwrap_or(u32::MAX),
        envelopes: fold.len() as u64,
        head: fold.head_target().map(|name| text(&name)),
        last_push_ms: last.and_then(|last| last.at_ms),
        last_push_envoy: last
            .and_then(|last| last.envoy)
            .map(|key| envoy.name_of(&key)),
        state: word,
        reason,
        versions: versions(envoy, fold, &refs),
        diverged,
        copies: u32::try_from(envoys.iter().filter(|copy| copy.state == "current").count())
            .unwrap_or(u32::MAX),
        envoys,
        ref_list: list,
        ..ProjectStatus::default()
    };
    people::fill_in(&mut status, fold, in_full);
    status
}

/// The versions of diverged refs that are not shown under the refs' own names.
fn versions(
    envoy: &Envoy,
    fold: &Project,
    refs: &BTreeMap<RefName, RefState>,
) -> Vec<VersionStatus> {
    let others = refs
        .iter()
        .flat_map(|(name, one)| one.others.iter().map(move |other| (name, other)));
    let mut others = others.take(VERSIONS_LISTED_MAX).peekable();
    if others.peek().is_none() {
        return Vec::new();
    }
    let served = fold.served();
    let version = |(name, other): (&RefName, &Head)| {
        Some(VersionStatus {
            name: text(name),
            oid: other.oid.to_string(),
            served_as: served_as(&served, &other.update, &other.oid)?,
            envoy: envoy.name_of(&other.envoy),
            puddle: other.puddle.to_string(),
        })
    };
    others.filter_map(version).collect()
}

/// What a puddle may do, in a word.
fn access_word(access: Access) -> &'static str {
    match access {
        Access::Founder => "founder",
        Access::Member => "member",
        Access::Reader => "reader",
    }
}

fn text(name: &RefName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

fn ref_status(name: &[u8], oid: &gitback_envelope::Oid) -> RefStatus {
    RefStatus {
        name: String::from_utf8_lossy(name).into_owned(),
        oid: oid.to_string(),
    }
}

/// The worst word that holds, with a reason unless all is well.
fn project_state(
    state: &State,
    envoys: &[CopyStatus],
    diverged: &[String],
) -> (String, Option<String>) {
    if !state.has_all() {
        return ("catching up".to_owned(), Some(lag(state)));
    }
    if state.is_damaged() {
        return ("behind".to_owned(), Some(copies::DAMAGED.to_owned()));
    }
    if let Some(denial) = access::ended(state.fold()) {
        return ("current".to_owned(), Some(denial.what));
    }
    if !diverged.is_empty() {
        return (
            "diverged".to_owned(),
            Some(format!("two versions of {}", diverged.join(", "))),
        );
    }
    let others: Vec<String> = envoys
        .iter()
        .filter(|copy| copy.state != "current")
        .map(|copy| {
            format!(
                "{} {}{}",
                copy.name,
                copy.state,
                copy.updates_behind
                    .filter(|n| *n > 0)
                    .map(|n| format!(" {n}"))
                    .unwrap_or_default()
            )
        })
        .collect();
    let reason = (!others.is_empty()).then(|| others.join(", "));
    ("current".to_owned(), reason)
}

fn lag(state: &State) -> String {
    match state.foothold() {
        Foothold::Lost => {
            return "the record of it was lost here; another envoy has to answer first".to_owned();
        }
        Foothold::New => return "it is being brought in".to_owned(),
        Foothold::Known => {}
    }
    if state.lacking().is_empty()
        && let Some(hindrance) = state.hindrance()
    {
        return format!("refs cannot follow what is stored: {hindrance}");
    }
    match state.lacking().len() {
        0 => "new updates are being brought in".to_owned(),
        count => format!("{count} objects that refs need have not arrived"),
    }
}
