//! What has happened to refs, as people read it.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Change, EnvelopeId, Head, Oid, RefName, Verdict, Verified};
use gitback_helper::{Failure, LOG_PAGE_MAX, RefEvent, Reply, exit_code};
use gitback_identity::similar::{SLIPS_MAX, slips};

use crate::aftermath::served_as;
use crate::cell::{Cell, State, git};
use crate::daemon::Envoy;

/// Folders that people leave out of a ref's name, in the order in which they are looked through.
const FOLDERS: [&str; 4] = ["", "refs/heads/", "refs/tags/", "refs/"];

/// A page of what has happened to one ref or to all, newest first.
pub(super) fn page(
    envoy: &Envoy,
    cell: &Cell,
    name: Option<&str>,
    skip: u64,
) -> Result<Reply, Failure> {
    let (mut events, more) = {
        let state = cell.lock();
        let name = name.map(|name| resolve(&state, name)).transpose()?;
        let history = History::of(&state, name.as_ref());
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut rest = history.moves.iter().rev().skip(skip);
        let page = rest.by_ref().take(LOG_PAGE_MAX);
        let page: Vec<_> = page.map(|one| history.event(envoy, one)).collect();
        (page, rest.next().is_some())
    };
    // The project's lock is not held while the repository is looked into.
    let mut here = BTreeMap::new();
    for event in &mut events {
        if let Some(new) = event.new.as_deref() {
            event.here = *here.entry(new.to_owned()).or_insert_with(|| {
                let oid = new.parse::<Oid>();
                oid.is_ok_and(|oid| cell.repo().has(&git(oid)).unwrap_or(false))
            });
        }
    }
    let state = cell.lock();
    for event in events.iter_mut().filter(|event| !event.here) {
        let new = event.new.as_deref().and_then(|new| new.parse::<Oid>().ok());
        if let Some(gone) = new.and_then(|new| state.let_go(&new)) {
            event.let_go_ms = Some(gone.at_ms);
            event.let_go_by = Some(gone.setting.clone());
        }
    }
    Ok(Reply::RefLog { events, more })
}

/// What one update did to one ref.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move<'a> {
    pub(super) envelope: &'a Verified,
    pub(super) change: &'a Change,
}

impl Move<'_> {
    pub(super) fn id(&self) -> &EnvelopeId {
        self.envelope.id()
    }
}

/// Every move of one ref or of all, in the order in which they folded here.
#[derive(Debug)]
pub(super) struct History<'a> {
    state: &'a State,
    pub(super) moves: Vec<Move<'a>>,
    /// By which move that counts each one was replaced first.
    replaced_by: BTreeMap<(EnvelopeId, &'a RefName), EnvelopeId>,
    heads: BTreeMap<&'a RefName, Vec<Head>>,
    served: BTreeMap<Vec<u8>, Oid>,
}

impl<'a> History<'a> {
    pub(super) fn of(state: &'a State, name: Option<&RefName>) -> Self {
        let fold = state.fold();
        let mut moves = Vec::new();
        let mut replaced_by = BTreeMap::new();
        let mut heads = BTreeMap::new();
        for envelope in fold.iter() {
            let changes = envelope.statement().update().map(|update| &update.changes);
            for change in changes.into_iter().flatten() {
                if name.is_some_and(|name| *name != change.name) {
                    continue;
                }
                moves.push(Move { envelope, change });
                heads
                    .entry(&change.name)
                    .or_insert_with(|| fold.heads_of(&change.name));
                if fold.verdict(envelope.id()) == Verdict::Valid {
                    for replaced in change.contained.iter().chain(&change.forced) {
                        let key = (*replaced, &change.name);
                        replaced_by.entry(key).or_insert(*envelope.id());
                    }
                }
            }
        }
        Self {
            state,
            moves,
            replaced_by,
            heads,
            served: fold.served(),
        }
    }

    /// The heads of the ref, the visible one first.
    pub(super) fn heads(&self, name: &RefName) -> &[Head] {
        self.heads.get(name).map_or(&[], Vec::as_slice)
    }

    /// The update that replaced this one first.
    pub(super) fn replaced_by(&self, id: &EnvelopeId, name: &'a RefName) -> Option<EnvelopeId> {
        self.replaced_by.get(&(*id, name)).copied()
    }

    fn event(&self, envoy: &Envoy, one: &Move<'a>) -> RefEvent {
        let Move { envelope, change } = one;
        let statement = envelope.statement();
        let verdict = self.state.fold().verdict(envelope.id());
        let reason = match verdict {
            Verdict::Void(reason) => Some(reason),
            Verdict::Valid | Verdict::Waiting | Verdict::Unknown => None,
        };
        let old = self.old(change);
        let what = match (change.new.is_zero(), change.forced.is_empty()) {
            (true, _) => "deleted",
            (false, false) => "forced",
            (false, true) if old.is_empty() => "created",
            (false, true) => "moved",
        };
        let heads = self.heads(&change.name);
        let place = heads.iter().position(|head| head.update == *envelope.id());
        let state = match (verdict, place) {
            (Verdict::Void(_), _) => "void",
            (Verdict::Waiting | Verdict::Unknown, _) => "waiting",
            (Verdict::Valid, Some(0)) => "current",
            (Verdict::Valid, Some(_)) => "diverged",
            (Verdict::Valid, None) => "replaced",
        };
        RefEvent {
            name: text(&change.name),
            update: envelope.id().to_string(),
            time_ms: statement.time_ms,
            puddle: statement.puddle.to_string(),
            envoy: statement.envoy.map(|key| key.to_string()),
            envoy_name: statement.envoy.map(|key| envoy.name_of(&key)),
            old: old.iter().map(ToString::to_string).collect(),
            new: (!change.new.is_zero()).then(|| change.new.to_string()),
            what: what.to_owned(),
            state: state.to_owned(),
            code: reason.map(|reason| reason.code().to_owned()),
            rule: reason.map(|reason| reason.rule()),
            why: reason.map(|reason| reason.to_string()),
            replaced_by: self
                .replaced_by(envelope.id(), &change.name)
                .map(|id| id.to_string()),
            served_as: (state == "diverged")
                .then(|| served_as(&self.served, envelope.id(), &change.new))
                .flatten(),
            here: false,
            let_go_ms: None,
            let_go_by: None,
        }
    }

    /// The values that a change replaced, what was forced away first.
    pub(super) fn old(&self, change: &Change) -> Vec<Oid> {
        let mut old = Vec::new();
        for id in change.forced.iter().chain(&change.contained) {
            let oid = self.state.oid_of(id, &change.name);
            if let Some(oid) = oid.filter(|oid| !oid.is_zero() && !old.contains(oid)) {
                old.push(oid);
            }
        }
        old
    }
}

/// The ref that `typed` means, among all that ever were: its full name, or that without its folder.
pub(super) fn resolve(state: &State, typed: &str) -> Result<RefName, Failure> {
    let mut names: BTreeSet<&RefName> = BTreeSet::new();
    for envelope in state.fold().iter() {
        let changes = envelope.statement().update().map(|update| &update.changes);
        names.extend(changes.into_iter().flatten().map(|change| &change.name));
    }
    for folder in FOLDERS {
        let full = format!("{folder}{typed}");
        let mut found = names.iter().filter(|name| text(name) == full);
        match (found.next(), found.next()) {
            (Some(name), None) => return Ok((*name).clone()),
            (Some(_), Some(_)) => {
                let what = format!("{typed} could be several refs that are not written in UTF-8");
                return Err(Failure::new(exit_code::UNKNOWN, what));
            }
            (None, _) => {}
        }
    }
    let handle = state.fold().handle().map(ToString::to_string);
    let handle = handle.unwrap_or_default();
    let what = format!("{handle} has never had a ref called {typed}");
    let mut failure = Failure::new(exit_code::UNKNOWN, what);
    let near = names.iter().filter_map(|name| {
        let name = short(&text(name)).to_owned();
        Some((slips(short(typed), &name)?, name))
    });
    if let Some((_, name)) = near.filter(|(slips, _)| *slips <= SLIPS_MAX).min() {
        failure = failure.hint(format!("did you mean {name}?"));
    }
    let list = format!(
        "all refs: vigo swarm gitback log {} --refs",
        state.fold().id()
    );
    Err(failure.hint(list))
}

/// A ref's name without the folder that people leave out.
pub(super) fn short(name: &str) -> &str {
    let of_branch = name.strip_prefix("refs/heads/");
    of_branch
        .or_else(|| name.strip_prefix("refs/"))
        .unwrap_or(name)
}

pub(super) fn text(name: &RefName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
