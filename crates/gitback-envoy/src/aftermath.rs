//! What a push leaves that its author may want to do something about: other versions of the refs, and what was
//! replaced. Lines for git's sideband.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Change, EnvelopeId, Head, Oid, RefName, RefState};
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
        let Some(other) = Other::of(name, one, ids, served) else {
            continue;
        };
        lines.extend(joining(
            envoy,
            name,
            &other,
            one.others.len(),
            (cell.id(), &remote),
        ));
    }
    lines.extend(kept(&state, &changes));
    lines
}

/// A version of a ref that whoever has just pushed does not have.
struct Other<'a> {
    head: &'a Head,
    /// Under which name git fetches it.
    place: Option<String>,
}

impl<'a> Other<'a> {
    /// Which version is shown is decided by the updates alone, so that after a push it may be another one than before: then
    /// what was pushed is among the others, and what is shown is lacking.
    fn of(
        name: &RefName,
        one: &'a RefState,
        pushed: &[EnvelopeId],
        served: &BTreeMap<Vec<u8>, Oid>,
    ) -> Option<Self> {
        let is_own = |head: &Head| pushed.contains(&head.update);
        let is_beside = !is_own(&one.visible) && one.others.iter().any(is_own);
        if is_beside && one.hidden_by.is_none() && !one.visible.oid.is_zero() {
            let (head, place) = (&one.visible, Some(text(name)));
            return Some(Self { head, place });
        }
        let head = one.others.first()?;
        let place = served_as(served, &head.update, &head.oid);
        Some(Self { head, place })
    }
}

/// How the versions of one ref become one again.
fn joining(
    envoy: &Envoy,
    name: &RefName,
    other: &Other<'_>,
    others: usize,
    (project, remote): (&ProjectId, &str),
) -> Vec<String> {
    let (full, mut lines) = (text(name), Vec::new());
    let short = short(&full);
    let more = match others {
        0 | 1 => String::new(),
        _ => format!(" and {} more", others - 1),
    };
    lines.push(format!(
        "warning: {short} has diverged: {} was pushed on {}{more}",
        brief(&other.head.oid),
        envoy.name_of(&other.head.envoy)
    ));
    let Some(place) = &other.place else {
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
    use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};

    use super::*;

    fn head(number: u8) -> Head {
        let secret = SecretKey::from_seed(&[number; 32]);
        Head {
            oid: Oid::from_bytes(&[number; 20]),
            update: EnvelopeId::from_bytes(&[number; 32]),
            envoy: EnvoyKey::new(secret.public()),
            puddle: PuddleKey::new(secret.public()),
        }
    }

    #[test]
    fn whoever_pushed_is_shown_the_version_that_is_lacking() {
        let name = RefName::new(b"refs/heads/main").expect("valid");
        let beside = format!("refs/envoys/mars/heads/main@{}", head(0x22).update.short());
        let served = BTreeMap::from([(beside.into_bytes(), head(0x22).oid)]);
        let state = RefState {
            visible: head(0x11),
            others: vec![head(0x22)],
            hidden_by: None,
        };
        let other = |pushed: u8| {
            let pushed = [head(pushed).update];
            let other = Other::of(&name, &state, &pushed, &served).expect("there is one");
            (other.head.oid, other.place)
        };
        assert_eq!(
            other(0x22),
            (head(0x11).oid, Some("refs/heads/main".to_owned()))
        );
        let (oid, place) = other(0x11);
        assert_eq!(oid, head(0x22).oid);
        assert!(place.is_some_and(|place| place.starts_with("refs/envoys/")));
    }

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
