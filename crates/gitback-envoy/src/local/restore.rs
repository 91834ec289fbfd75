//! Giving a ref a value again that it had: a new update like that of a push, signed here for whoever asks.

use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::{EnvelopeId, Oid, RefName, Verdict};
use gitback_helper::{Failure, Reply, Restored, exit_code};
use gitback_identity::ProjectId;
use gitback_pack::Kind;
use gitback_pack::receive::Command;

use super::PUSH_WAIT_MAX;
use super::admission::visible;
use super::failures::{denied, failed, ours};
use super::ref_log::{History, resolve, short, text};
use crate::access;
use crate::cell::{Cell, State, git};
use crate::clock;
use crate::daemon::Envoy;
use crate::fault::{Fault, pack_fault};
use crate::push::{MoveError, Pusher, move_refs};

/// The shortest beginning of an id that means anything.
const PREFIX_MIN: usize = 4;

/// What to restore, as it was asked for.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) project: &'a ProjectId,
    pub(super) name: &'a str,
    pub(super) to: Option<&'a str>,
    pub(super) dry_run: bool,
    pub(super) push_wait_ms: Option<u64>,
}

/// The value that is meant, and whose it was.
#[derive(Debug, Clone, Copy)]
struct Target {
    oid: Oid,
    from: Option<EnvelopeId>,
}

pub(super) fn restore(envoy: &Arc<Envoy>, uid: u32, wish: &Wish<'_>) -> Result<Reply, Failure> {
    let cell = visible(envoy, uid, wish.project)?;
    let _in_use = cell.repo().in_use();
    let (pusher, name, targets) = {
        let state = cell.lock();
        let pusher = match wish.dry_run {
            true => None,
            false => Some(pusher(envoy, uid, &state, wish)?),
        };
        let name = resolve(&state, wish.name)?;
        let targets = match wish.to {
            Some(to) => vec![named(&state, &name, to)?],
            None => losses(&state, &name),
        };
        (pusher, name, targets)
    };
    let shown = cell.shown_refs().map_err(|fault| ours(&fault))?;
    let old = shown.get(name.as_bytes()).copied();
    let target = match wish.to {
        Some(_) => targets.first().copied(),
        None => first_lost(&cell, old, &targets).map_err(|fault| ours(&fault))?,
    };
    let target = target.ok_or_else(|| nothing_lost(&cell, &name))?;
    let missing = not_here(envoy, &cell.lock(), &name, &target);
    check_objects(&cell, &name, &target, missing)?;
    let mut restored = Restored {
        name: text(&name),
        old: old.map(|oid| oid.to_string()),
        new: target.oid.to_string(),
        from: target.from.map(|id| id.to_string()),
        update: None,
        forced: takes_away(&cell, old, target.oid).map_err(|fault| ours(&fault))?,
        notes: Vec::new(),
    };
    if restored.forced && cell.lock().fold().policy().protected.contains(&name) {
        return Err(protected(&cell, &name));
    }
    let Some(pusher) = pusher.filter(|_| old != Some(target.oid)) else {
        return Ok(Reply::Restored(restored));
    };
    let command = Command {
        name: name.as_bytes().to_vec(),
        old: git(old.unwrap_or_else(Oid::zero)),
        new: git(target.oid),
    };
    match move_refs(envoy, &cell, &pusher, vec![command]) {
        Ok(moved) => {
            restored.update = Some(moved.update.to_string());
            restored.notes = moved.notes;
            Ok(Reply::Restored(restored))
        }
        Err(MoveError::Refused(why)) => {
            let what = format!("{} was not restored", short(&text(&name)));
            Err(failed(what).because(why).hint("try again"))
        }
        Err(MoveError::Ours(fault)) => Err(ours(&fault)),
    }
}

/// For whom it is signed: whoever may push here.
fn pusher(envoy: &Envoy, uid: u32, state: &State, wish: &Wish<'_>) -> Result<Pusher, Failure> {
    let standing = access::standing(envoy, state, uid);
    let standing = standing.ok_or_else(|| denied(&access::why_not(envoy, state, uid, None)))?;
    let may = access::may_push(envoy, state, uid, &standing.puddle);
    may.map_err(|denial| denied(&denial))?;
    let wait = wish.push_wait_ms.map(Duration::from_millis);
    Ok(Pusher {
        uid,
        puddle: standing.puddle,
        push_wait: wait.map(|wait| wait.min(PUSH_WAIT_MAX)),
        quiet: false,
        trace: false,
        remote: None,
    })
}

fn protected(cell: &Cell, name: &RefName) -> Failure {
    let text = text(name);
    let (id, short) = (cell.id(), short(&text));
    let what = format!("{short} is protected: it is neither forced nor deleted");
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("the value that it has now is not part of the one that is meant")
        .hint(format!(
            "to have both: fetch {short} and the other value, merge, and push"
        ))
        .hint(format!(
            "or: vigo swarm gitback project policy {id} --unprotect {text}"
        ))
}

/// Whether the ref would lose what it has now.
fn takes_away(cell: &Cell, old: Option<Oid>, new: Oid) -> Result<bool, Fault> {
    let Some(old) = old else {
        return Ok(false);
    };
    match cell.repo().is_ancestor(&git(old), &git(new)) {
        Ok(contained) => Ok(!contained),
        Err(gitback_pack::Fault::NoObject { .. }) => Ok(true),
        Err(fault) => Err(pack_fault(*cell.id(), "walk")(fault)),
    }
}

/// The update, or the object, that `typed` is the id of, or the beginning of it.
fn named(state: &State, name: &RefName, typed: &str) -> Result<Target, Failure> {
    let typed = typed.to_ascii_lowercase();
    let history = History::of(state, Some(name));
    let begins = |id: &str| typed.len() >= PREFIX_MIN && id.starts_with(&typed);
    let mut found: Vec<Target> = Vec::new();
    for one in &history.moves {
        let oid = one.change.new;
        let is_meant =
            begins(&one.id().to_string()) || (!oid.is_zero() && begins(&oid.to_string()));
        if is_meant && found.iter().all(|other| other.oid != oid) {
            let from = Some(*one.id());
            found.push(Target { oid, from });
        }
    }
    let short = short(&text(name)).to_owned();
    let log = format!(
        "what it has been: vigo swarm gitback log {} {short}",
        state.fold().id()
    );
    match found.as_slice() {
        [one] if one.oid.is_zero() => {
            let what = format!("update {typed} deleted {short}");
            Err(failed(what).hint("name the update before it").hint(log))
        }
        [one] => Ok(*one),
        [] => match typed.parse::<Oid>() {
            Ok(oid) if !oid.is_zero() => Ok(Target { oid, from: None }),
            _ => {
                let what = format!("{short} has had no value that {typed} means");
                Err(Failure::new(exit_code::UNKNOWN, what).hint(log))
            }
        },
        _ => {
            let what = format!("{typed} could be several values of {short}");
            Err(Failure::new(exit_code::UNKNOWN, what)
                .hint("give more of the id")
                .hint(log))
        }
    }
}

/// The values that somebody took away from the ref, and those that stand back behind the visible one, the last first.
fn losses(state: &State, name: &RefName) -> Vec<Target> {
    let history = History::of(state, Some(name));
    let mut losses: Vec<Target> = Vec::new();
    let mut add = |oid: Oid, from: EnvelopeId| {
        if !oid.is_zero() && losses.iter().all(|known| known.oid != oid) {
            let from = Some(from);
            losses.push(Target { oid, from });
        }
    };
    let behind = history.heads(name).iter().skip(1);
    let behind: Vec<EnvelopeId> = behind.map(|head| head.update).collect();
    for one in history.moves.iter().rev() {
        if state.fold().verdict(one.id()) != Verdict::Valid {
            continue;
        }
        if behind.contains(one.id()) {
            add(one.change.new, *one.id());
        }
        for forced in &one.change.forced {
            if let Some(oid) = state.oid_of(forced, name) {
                add(oid, *forced);
            }
        }
    }
    losses
}

/// The first of the values that is not part of what the ref has now.
fn first_lost(
    cell: &Cell,
    visible: Option<Oid>,
    losses: &[Target],
) -> Result<Option<Target>, Fault> {
    for loss in losses {
        let Some(visible) = visible else {
            return Ok(Some(*loss));
        };
        if takes_away(cell, Some(loss.oid), visible)? {
            return Ok(Some(*loss));
        }
    }
    Ok(None)
}

fn nothing_lost(cell: &Cell, name: &RefName) -> Failure {
    let text = text(name);
    let (id, short) = (cell.id(), short(&text));
    let what = format!("nothing that {short} had was lost");
    failed(what)
        .because("whatever was forced away, deleted or set aside is part of what it has now")
        .hint(format!(
            "name what you want: vigo swarm gitback restore {id} {short} --to ID"
        ))
        .hint(format!(
            "what it has been: vigo swarm gitback log {id} {short}"
        ))
}

/// What to say where the objects of the value are not here: who certainly had them.
fn not_here(envoy: &Envoy, state: &State, name: &RefName, target: &Target) -> Failure {
    let short = short(&text(name)).to_owned();
    let oid: String = target.oid.to_string().chars().take(10).collect();
    let what = format!("the objects of {oid} are not on {}", envoy.name());
    let failure = failed(what);
    let let_go = state.let_go(&target.oid).map(|gone| {
        let (name, day) = (envoy.name(), clock::day(gone.at_ms, clock::now_ms()));
        let setting = &gone.setting;
        format!("{name} let them go on {day}: its envoy.toml said keep_replaced = \"{setting}\"")
    });
    let Some(from) = target.from else {
        return failure
            .because(let_go.unwrap_or_else(|| "no ref here leads to them".to_owned()))
            .hint("push them, or restore where they are");
    };
    let history = History::of(state, Some(name));
    let at = |id: &EnvelopeId| state.fold().get(id).and_then(|one| one.statement().envoy);
    let replaced = history.moves.iter().find_map(|one| {
        let by = history.replaced_by(&from, &one.change.name)?;
        at(&by)
    });
    let mut holders = Vec::new();
    for key in at(&from).into_iter().chain(replaced) {
        if key != *envoy.public() {
            let line = match envoy.neighbour(&key) {
                Some(neighbour) if neighbour.seen().away.is_some() => neighbour.away_line(None),
                _ => envoy.name_of(&key),
            };
            if !holders.contains(&line) {
                holders.push(line);
            }
        }
    }
    if holders.is_empty() {
        let unknown = || "no envoy is known that had them".to_owned();
        return failure.because(let_go.unwrap_or_else(unknown));
    }
    let had = format!("these envoys had them: {}", holders.join("; "));
    failure
        .because(let_go.map_or_else(|| had.clone(), |let_go| format!("{let_go}; {had}")))
        .hint(format!(
            "there: vigo swarm gitback restore {} {short} --to {from}",
            state.fold().id()
        ))
}

/// Everything that the value leads to must be here, or it could be served to nobody.
fn check_objects(
    cell: &Cell,
    name: &RefName,
    target: &Target,
    missing: Failure,
) -> Result<(), Failure> {
    let oid = git(target.oid);
    let fault = pack_fault(*cell.id(), "look into");
    let kind = cell.repo().kind(&oid);
    let kind = kind.map_err(|source| ours(&fault(source)))?;
    let Some(kind) = kind else {
        return Err(missing);
    };
    let whole = cell.repo().complete(&[oid]);
    if !whole.map_err(|source| ours(&fault(source)))? {
        return Err(missing);
    }
    if name.as_bytes().starts_with(b"refs/heads/") && kind != Kind::Commit {
        return Err(failed("a branch must point at a commit"));
    }
    Ok(())
}
