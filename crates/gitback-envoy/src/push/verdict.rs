//! What becomes of each command of a push: names, clashes, and whether it is current.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Oid, RefName};
use gitback_pack::receive::Command;
use gitback_pack::valid_ref_name;

use super::REFS_MAX;
use crate::cell::{State, own};
use crate::daemon::Envoy;

/// One command and, once it is known, why it cannot be done.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) command: Command,
    pub(super) refusal: Option<String>,
}

impl Verdict {
    /// Whether it stands so far, and needs objects.
    pub(super) fn wants_objects(&self) -> bool {
        self.refusal.is_none() && !self.command.new.is_null()
    }
}

/// Commands of which nothing is known yet.
pub(super) fn open(commands: Vec<Command>) -> Vec<Verdict> {
    let open = |command| Verdict {
        command,
        refusal: None,
    };
    commands.into_iter().map(open).collect()
}

/// The refs that stand to be moved.
pub(super) fn names(verdicts: &[Verdict]) -> Vec<Vec<u8>> {
    let standing = verdicts.iter().filter(|verdict| verdict.refusal.is_none());
    standing
        .map(|verdict| verdict.command.name.clone())
        .collect()
}

pub(super) fn refuse_all(verdicts: &mut [Verdict], why: &str) {
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| verdict.refusal.is_none())
    {
        verdict.refusal = Some(why.to_owned());
    }
}

/// Refuses what stands of an atomic push of which something does not.
pub(super) fn refuse_rest(verdicts: &mut [Verdict]) {
    let why = "the push is atomic and another of its refs was refused";
    refuse_all(verdicts, why);
}

pub(super) fn check_names(verdicts: &mut [Verdict]) {
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        let name = &verdict.command.name;
        verdict.refusal = if name.starts_with(b"refs/envoys/") || name.starts_with(b"refs/gitback/")
        {
            Some("this name is reserved: gitback writes it itself".to_owned())
        } else if RefName::new(name).is_err() || !valid_ref_name(name) {
            Some("not a name that git takes for a ref".to_owned())
        } else if index >= REFS_MAX {
            Some(format!(
                "one push moves at most {REFS_MAX} refs; push the rest in a second one"
            ))
        } else {
            None
        };
    }
}

pub(super) fn check_disk(envoy: &Envoy, verdicts: &mut [Verdict]) {
    // Deletions free nothing at once, and yet must work on a full disk.
    if verdicts.iter().any(Verdict::wants_objects)
        && let Err(reason) = envoy.room()
    {
        refuse_all(verdicts, &reason);
    }
}

/// Refuses commands whose idea of the ref is no longer true, and names that clash with others.
pub(super) fn check_current(
    shown: &BTreeMap<Vec<u8>, Oid>,
    state: &State,
    verdicts: &mut [Verdict],
) {
    let served = state.fold().served();
    let mut after: BTreeMap<Vec<u8>, bool> = served
        .keys()
        .chain(shown.keys())
        .map(|name| (name.clone(), true))
        .collect();
    for verdict in verdicts.iter().filter(|verdict| verdict.refusal.is_none()) {
        after.insert(verdict.command.name.clone(), !verdict.command.new.is_null());
    }
    after.retain(|_, lives| *lives);
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| verdict.refusal.is_none())
    {
        let Command { name, old, new } = &mut verdict.command;
        let now = shown.get(name);
        let to_be = served.get(name);
        let is_here = to_be.is_none_or(|oid| !state.lacking().contains(oid));
        if is_here && to_be.copied() == value(new) {
            // It is stored, perhaps by this very push, of which somebody has not heard the end: there is nothing to do.
            *old = *new;
            continue;
        }
        if now != to_be && is_here {
            // Another push has moved it already, and nobody could see that.
            let why = "try again: what was stored of it before cannot be shown yet";
            verdict.refusal = Some(why.to_owned());
            continue;
        }
        if now.copied() != value(old) {
            let at = now.map_or_else(|| "gone".to_owned(), |oid| format!("at {}", short(oid)));
            verdict.refusal = Some(format!("fetch first: it is {at} here now"));
        } else if let Some(other) = (!new.is_null()).then(|| clash(name, &after)).flatten() {
            verdict.refusal = Some(format!(
                "{} exists; git cannot keep both",
                String::from_utf8_lossy(&other)
            ));
        }
    }
}

/// What a ref is at; `None` where it is gone.
fn value(oid: &gitback_pack::Oid) -> Option<Oid> {
    (!oid.is_null()).then(|| own(oid))
}

/// A living ref that is a folder of `name`, or below it.
pub(super) fn clash(name: &[u8], after: &BTreeMap<Vec<u8>, bool>) -> Option<Vec<u8>> {
    let above = folders(name).find(|parent| after.contains_key(*parent));
    if let Some(parent) = above {
        return Some(parent.to_vec());
    }
    let mut below = name.to_vec();
    below.push(b'/');
    after
        .range(below.clone()..)
        .next()
        .filter(|(other, _)| other.starts_with(&below))
        .map(|(other, _)| other.clone())
}

/// Whether a name of one push is one of the other, or has one of the other as a folder.
pub(super) fn nest(names: &BTreeSet<Vec<u8>>, others: &BTreeSet<Vec<u8>>) -> bool {
    let nests = |name: &Vec<u8>| {
        others.contains(name) || folders(name).any(|folder| others.contains(folder))
    };
    names.iter().any(nests)
}

/// What a ref may not be called beside `name`, since it would be a folder of it.
fn folders(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| name.get(..at))
}

pub(super) fn short(oid: &Oid) -> String {
    oid.to_string().chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::git;
    use crate::cell::sample::Sample;

    #[test]
    fn nobody_pushes_past_what_is_stored_and_not_shown() {
        let sample = Sample::new();
        let (one, other) = (sample.commit("one", &[]), sample.commit("other", &[]));
        let absent = Oid::from_bytes(&[7; 20]);
        sample.update("refs/heads/main", one, &[]);
        sample.update("refs/heads/away", absent, &[]);
        sample.obstruct("refs/heads/main");
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        let judged = |name: &str, new: Oid, state: &State| {
            let shown = sample.cell.shown_refs().expect("readable");
            let command = Command {
                name: name.into(),
                old: git(Oid::zero()),
                new: git(new),
            };
            let mut verdicts = open(vec![command]);
            check_current(&shown, state, &mut verdicts);
            verdicts.remove(0)
        };
        let check = |name: &str, state: &State| judged(name, other, state).refusal;
        let is_done = |name: &str, new: Oid, state: &State| {
            let Verdict { command, refusal } = judged(name, new, state);
            refusal.is_none() && command.old == command.new
        };
        let refusal = check("refs/heads/main", &state);
        assert!(refusal.is_some_and(|why| why.starts_with("try again")));
        // The same push once more has nothing to do.
        assert!(is_done("refs/heads/main", one, &state));
        // Of what has not arrived nobody knows.
        assert!(!is_done("refs/heads/away", absent, &state));
        assert_eq!(check("refs/heads/away", &state), None);
        assert_eq!(check("refs/heads/new", &state), None);
        sample.clear("refs/heads/main");
        sample.cell.follow_again(&mut state);
        let refusal = check("refs/heads/main", &state);
        assert!(refusal.is_some_and(|why| why.starts_with("fetch first")));
        assert!(is_done("refs/heads/main", one, &state));
    }
}
