//! Giving a project the objects and the refs of another one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::{Access, CHANGES_MAX, Change, Oid, Project, RefName, Update, Verified};
use gitback_helper::{Failure, Reply, exit_code};
use gitback_identity::{ProjectId, PuddleKey};

use super::admission::administers;
use super::failures::{denied, failed, ours, room, unknown_project};
use super::submit::take;
use crate::access::{self, Standing};
use crate::cell::{Cell, State, git};
use crate::daemon::Envoy;
use crate::fanout::spread;
use crate::fault::{Fault, pack_fault};
use crate::push::change;

/// How long it waits for other envoys, so that what is said of the copies is true.
const WAIT: Duration = Duration::from_secs(1);

/// Refs that belong to this daemon and not to people.
const OWN_REFS: [&[u8]; 2] = [b"refs/envoys/", b"refs/gitback/"];

/// Carries objects and refs of the project `from` over to the project `to`: objects as hard links, refs by one update
/// that this envoy signs for the asker's puddle.
pub(super) fn carry_over(
    envoy: &Arc<Envoy>,
    uid: u32,
    from: &ProjectId,
    to: &ProjectId,
) -> Result<Reply, Failure> {
    if from == to {
        return Err(failed("a project cannot be carried over to itself"));
    }
    let target = envoy
        .store()
        .founded(to)
        .ok_or_else(|| unknown_project(envoy, uid, to, None))?;
    let source = envoy
        .store()
        .find(from)
        .ok_or_else(|| unknown_project(envoy, uid, from, None))?;
    let _in_use = [source.repo().in_use(), target.repo().in_use()];
    let standing = may_write(envoy, uid, &target)?;
    check_source(envoy, uid, &source, &standing)?;
    room(envoy)?;
    let refs = refs_of(&source).map_err(|fault| ours(&fault))?;
    let head = source.repo().head_target();
    let head = head
        .map_err(pack_fault(*from, "read"))
        .map_err(|fault| ours(&fault))?;
    if refs.is_empty() {
        return Ok(accepted(vec!["there are no refs to carry over".to_owned()]));
    }
    target
        .repo()
        .adopt_objects(source.repo())
        .map_err(pack_fault(*to, "link objects into"))
        .map_err(|fault| ours(&fault))?;
    let new = {
        let mut state = target.lock();
        let moved = moves(&target, &state, &refs).map_err(|fault| ours(&fault))?;
        let updates = updates(&state, &moved, head);
        let mut new = Vec::new();
        for update in updates {
            let signed = sign(envoy, &state, &standing, update)?;
            new.extend(take(&target, &mut state, signed)?);
        }
        new
    };
    if new.is_empty() {
        return Ok(accepted(vec!["the refs were there already".to_owned()]));
    }
    spread(envoy, &target, &new, &[], WAIT);
    Ok(accepted(Vec::new()))
}

fn accepted(notes: Vec<String>) -> Reply {
    Reply::Accepted { notes, token: None }
}

fn may_write(envoy: &Envoy, uid: u32, target: &Cell) -> Result<Standing, Failure> {
    let state = target.lock();
    let standing = access::standing(envoy, &state, uid);
    let standing = standing.ok_or_else(|| denied(&access::why_not(envoy, &state, uid, None)))?;
    let may = access::may_push(envoy, &state, uid, &standing.puddle);
    may.map_err(|denial| denied(&denial))?;
    Ok(standing)
}

/// Whoever may read the one project now may carry it over, and who administers this envoy: also where the record of it
/// was lost.
fn check_source(
    envoy: &Envoy,
    uid: u32,
    source: &Cell,
    standing: &Standing,
) -> Result<(), Failure> {
    let state = source.lock();
    let may_read =
        access::standing(envoy, &state, uid).is_some() || reads(state.fold(), &standing.puddle);
    if may_read || administers(envoy, uid) {
        return Ok(());
    }
    let id = state.fold().id();
    let what = format!("user {uid} may not read project {}", id.short());
    Err(Failure::new(exit_code::NOT_PERMITTED, what)
        .because(access::why_not(envoy, &state, uid, None).to_string()))
}

/// Whether the puddle may read the project now. A retired key of the founder may not: somebody may have copied it.
fn reads(fold: &Project, puddle: &PuddleKey) -> bool {
    fold.access(puddle) >= Some(Access::Reader)
}

/// People's refs as they are served. A project whose record was lost has those on disk.
fn refs_of(source: &Cell) -> Result<BTreeMap<Vec<u8>, Oid>, Fault> {
    let mut refs = source.shown_refs()?;
    refs.retain(|name, _| !OWN_REFS.iter().any(|own| name.starts_with(own)));
    Ok(refs)
}

fn moves(
    target: &Cell,
    state: &State,
    refs: &BTreeMap<Vec<u8>, Oid>,
) -> Result<Vec<Change>, Fault> {
    let shown = target.shown_refs()?;
    let graph = target.graph(None);
    let fault = pack_fault(*target.id(), "walk");
    let mut changes = Vec::new();
    for (name, oid) in refs {
        // A name that no envelope may carry came from another program.
        let Ok(ref_name) = RefName::new(name) else {
            continue;
        };
        if shown.get(name) != Some(oid) && target.repo().has(&git(*oid)).unwrap_or(false) {
            let visible = shown.get(name).copied();
            changes.push(change(graph, state, ref_name, *oid, visible).map_err(&fault)?);
        }
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(changes)
}

/// As few updates as hold all changes.
fn updates(state: &State, changes: &[Change], head: Option<Vec<u8>>) -> Vec<Update> {
    let head = head.and_then(|head| RefName::new(&head).ok());
    let head = head.filter(|head| {
        state.fold().head_target().as_ref() != Some(head)
            && changes.iter().any(|change| change.name == *head)
    });
    let mut updates: Vec<Update> = changes
        .chunks(CHANGES_MAX)
        .map(|changes| Update {
            changes: changes.to_vec(),
            head: None,
            pack: None,
        })
        .collect();
    if let Some(last) = updates.last_mut() {
        last.head = head;
    }
    updates
}

fn sign(
    envoy: &Envoy,
    state: &State,
    standing: &Standing,
    update: Update,
) -> Result<Vec<Verified>, Failure> {
    let signed = state.sign_update(envoy.key(), standing.puddle, standing.grant, update);
    signed.map_err(|fault| ours(&fault))
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Act, Delegate, Incarnation, Statement};
    use gitback_identity::{EnvoyKey, Handle, SecretKey, Signature};

    use super::*;

    #[test]
    fn a_retired_key_carries_nothing_over() {
        let key = |seed| SecretKey::from_seed(&[seed; 32]);
        let (founder, heir) = (key(1), key(2));
        let [old, new] = [&founder, &heir].map(|key| PuddleKey::new(key.public()));
        let handle: Handle = "notes".parse().expect("valid");
        let init = Statement::init(&old, &handle);
        let mut fold = Project::new(init.project);
        let seal = |statement: Statement| {
            let signature = founder.sign(&statement.signing_bytes().expect("encodes"));
            statement.seal(signature).expect("its own")
        };
        let init = seal(init);
        let mut delegate = Delegate {
            hop: 1,
            to: new,
            next: None,
            cut: vec![*init.id()],
            accept: Signature::from_bytes(&[0; 64]),
        };
        let mut statement = Statement {
            project: init.statement().project,
            signer: founder.public(),
            puddle: old,
            envoy: Some(EnvoyKey::new(key(3).public())),
            incarnation: Incarnation::from_bytes(&[1; 16]),
            seq: 0,
            prev: None,
            deps: vec![*init.id()],
            time_ms: None,
            act: Act::Delegate(delegate.clone()),
        };
        fold.insert(init).expect("folds");
        assert!(reads(&fold, &old));
        let bytes = statement.acceptance_bytes().expect("encodes");
        delegate.accept = heir.sign(&bytes.expect("a delegation"));
        statement.act = Act::Delegate(delegate);
        fold.insert(seal(statement)).expect("folds");
        assert!(reads(&fold, &new));
        assert!(!reads(&fold, &old));
    }
}
