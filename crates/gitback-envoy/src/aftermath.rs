//! What a push leaves that its author may want to do something about: other versions of the refs, and what was
//! replaced. Lines for git's sideband.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Change, EnvelopeId, Head, Oid, RefName};
use gitback_identity::ProjectId;

use crate::cell::{Cell, State};
use crate::daemon::Envoy;

/// Most diverged refs of which one push speaks.
const DIVERGED_MAX: usize = 3;

/// Longest name of a remote that is repeated.
const REMOTE_MAX: usize = 128;

/// What there is to say after the updates `ids` were stored. `remote` is what the user's git calls this project.
pub(crate) fn lines(
    envoy: &Envoy,
    cell: &Cell,
    ids: &[EnvelopeId],
    remote: Option<&str>,
) -> Vec<String> {
    let state = cell.lock();
    let updates = ids.iter().filter_map(|id| state.fold().get(id));
    let updates = updates.filter_map(|one| one.statement().update());
    let changes: Vec<&Change> = updates.flat_map(|update| &update.changes).collect();
    let mut lines = Vec::new();
    let moved: BTreeSet<&RefName> = changes.iter().map(|change| &change.name).collect();
    let refs = state.fold().refs();
    let diverged = refs
        .iter()
        .filter(|(name, one)| moved.contains(name) && !one.others.is_empty());
    let remote = remote.filter(|name| is_plain(name));
    let remote = remote.map_or_else(|| address(&state), ToOwned::to_owned);
    let mut served = None;
    for (name, one) in diverged.take(DIVERGED_MAX) {
        let served = served.get_or_insert_with(|| state.fold().served());
        lines.extend(joining(
            envoy,
            name,
            &one.others,
            served,
            (cell.id(), &remote),
        ));
    }
    lines.extend(kept(&state, &changes));
    lines
}

/// How the versions of one ref become one again.
fn joining(
    envoy: &Envoy,
    name: &RefName,
    others: &[Head],
    served: &BTreeMap<Vec<u8>, Oid>,
    (project, remote): (&ProjectId, &str),
) -> Vec<String> {
    let (full, mut lines) = (text(name), Vec::new());
    let short = short(&full);
    let Some(other) = others.first() else {
        return lines;
    };
    let more = match others.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    lines.push(format!(
        "warning: {short} has diverged: {} was pushed on {}{more}",
        brief(&other.oid),
        envoy.name_of(&other.envoy)
    ));
    let Some(place) = served_as(served, &other.update, &other.oid) else {
        return lines;
    };
    lines.push("hint: nothing is lost. To make one of the versions:".to_owned());
    if full.starts_with("refs/heads/") {
        lines.push(format!("hint:   git fetch {remote} {place}"));
        lines.push("hint:   git merge FETCH_HEAD    (or: git rebase FETCH_HEAD)".to_owned());
        lines.push(format!("hint:   git push {remote} {short}"));
    } else {
        lines.push(format!(
            "hint:   vigo swarm gitback restore {} {short}    (takes the other one; once more: this one)",
            project.short()
        ));
    }
    lines
}

/// That what was forced away or deleted can be had again.
fn kept(state: &State, changes: &[&Change]) -> Option<String> {
    let takes_away = |change: &&&Change| change.new.is_zero() || !change.forced.is_empty();
    let mut replaced = changes.iter().filter(takes_away);
    let first = replaced.next()?;
    let project = state.fold().id().short();
    let verb = match replaced.next() {
        None => format!("restore {project} {}", short(&text(&first.name))),
        Some(_) => format!("log {project} --refs"),
    };
    Some(format!(
        "hint: what was there before is kept: vigo swarm gitback {verb}"
    ))
}

/// Under which name git is shown what an update made of a ref that has other versions.
pub(crate) fn served_as(
    served: &BTreeMap<Vec<u8>, Oid>,
    update: &EnvelopeId,
    oid: &Oid,
) -> Option<String> {
    let (short, long) = (format!("@{}", update.short()), format!("/{update}/"));
    let mut names = served.iter().filter(|(_, served)| *served == oid);
    names.find_map(|(name, _)| {
        let name = String::from_utf8_lossy(name).into_owned();
        let is_it =
            name.starts_with("refs/envoys/") && (name.ends_with(&short) || name.contains(&long));
        is_it.then_some(name)
    })
}

/// What can be typed in any shell without quotes, and is no option.
fn is_plain(remote: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    !remote.is_empty()
        && remote.len() <= REMOTE_MAX
        && !remote.starts_with('-')
        && remote.bytes().all(is_plain)
}

fn address(state: &State) -> String {
    let handle = state.fold().handle().map(ToString::to_string);
    format!(
        "gitback://{}/{}",
        state.fold().id(),
        handle.unwrap_or_default()
    )
}

fn brief(oid: &Oid) -> String {
    oid.to_string().chars().take(10).collect()
}

fn text(name: &RefName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/"))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_only_what_a_shell_takes_as_one_word() {
        for remote in ["gitback", "origin", "my/fork-2", "gitback://dan/notes"] {
            assert!(is_plain(remote), "{remote}");
        }
        let long = "x".repeat(REMOTE_MAX + 1);
        for remote in ["", "-o", "a b", "$(id)", "a;b", "\u{1b}[2J", "é", &long] {
            assert!(!is_plain(remote), "{remote}");
        }
    }
}
