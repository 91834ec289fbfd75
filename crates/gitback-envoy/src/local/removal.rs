//! Giving copies up: on a person's word, and those that no local user holds.
//!
//! The last copy that is known is not deleted unless that is said as well. What counts as another copy is what a peer
//! answers at this moment, and only one that holds exactly what is held here. Before it is asked, this envoy ceases to
//! show its own copy as whole and takes nothing more in: of two envoys that give up at the same time, neither counts
//! on the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gitback_helper::{Failure, Removal, Removing, Reply, exit_code};
use gitback_identity::{EnvoyKey, ProjectId};

use super::admission::administers;
use super::failures::{failed, ours, parse_id, unknown_project};
use crate::access::{self, Partner};
use crate::cell::{Cell, State};
use crate::clock;
use crate::daemon::Envoy;
use crate::fault::Fault;
use crate::given_up::GivenUp;
use crate::peers::Neighbour;

/// How long a peer may take to say what it holds.
const ASK_MAX: Duration = Duration::from_secs(10);

/// What the peers say that they hold, now.
struct Fleet {
    answers: Vec<Answer>,
}

struct Answer {
    neighbour: Arc<Neighbour>,
    /// The digest of each project that it holds; nothing where it did not answer.
    held: Option<BTreeMap<ProjectId, [u8; 32]>>,
}

/// A copy that is being given up; it is not after all when this is dropped, unless it is gone then.
struct Leaving {
    cell: Arc<Cell>,
    gone: bool,
}

impl Leaving {
    /// Nothing where somebody else is giving it up, or where something is arriving.
    fn begin(cell: &Arc<Cell>) -> Option<Self> {
        let _only_one = cell.try_catch_up()?;
        let mut state = cell.lock();
        if state.is_leaving() {
            return None;
        }
        state.set_leaving(true);
        Some(Self {
            cell: Arc::clone(cell),
            gone: false,
        })
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Perhaps a panic ends this, and another one would end the envoy.
        if !self.gone
            && let Some(mut state) = self.cell.lock_if_sound()
        {
            state.set_leaving(false);
        }
    }
}

/// Gives up the copy of one project, or lists what could be.
pub(super) fn purge(
    envoy: &Arc<Envoy>,
    uid: u32,
    project: Option<&str>,
    how: Removing,
) -> Result<Reply, Failure> {
    may_delete(envoy, uid)?;
    let cells = match project {
        Some(project) => {
            let id = parse_id(project)?;
            let cell = envoy.store().founded(&id);
            vec![cell.ok_or_else(|| unknown_project(envoy, uid, &id, None))?]
        }
        None if how == Removing::Look => envoy.store().all(),
        None => return Err(failed("name the project whose copy is to be given up")),
    };
    let listed = cells.into_iter().map(|cell| (cell, "asked")).collect();
    Ok(removals(work(envoy, listed, how)?))
}

/// Lists or deletes the repositories that no local user holds.
pub(super) fn orphans(envoy: &Arc<Envoy>, uid: u32, how: Removing) -> Result<Reply, Failure> {
    may_delete(envoy, uid)?;
    let mut listed = Vec::new();
    for cell in envoy.store().all() {
        let why = orphaned(envoy, &cell.lock());
        listed.extend(why.map(|why| (cell, why)));
    }
    let unfounded = envoy.store().all_unfounded().into_iter();
    listed.extend(unfounded.map(|cell| (cell, "stray")));
    let mut items = work(envoy, listed, how)?;
    for path in envoy.store().strays().map_err(|fault| ours(&fault))? {
        let mut item = Removal {
            path: path.display().to_string(),
            bytes: size_of(&path),
            ..blank("stray")
        };
        match how {
            Removing::Look => {}
            Removing::Delete => keep(&mut item, LAST),
            Removing::DeleteEvenLast => {
                let fault = envoy.store().delete_stray(&path).err();
                let fault = fault.map(|fault| crate::daemon::chain(&fault));
                gave_up(&mut item, fault.is_none(), fault);
            }
        }
        items.push(item);
    }
    Ok(removals(items))
}

/// Holds a project again whose copy was given up.
pub(super) fn bring_back(envoy: &Arc<Envoy>, uid: u32, project: &str) -> Result<Reply, Failure> {
    let id = parse_id(project)?;
    let note = envoy.store().given_up(&id);
    let may = |note: &GivenUp| administers(envoy, uid) || note.uids.contains(&uid);
    if !note.as_ref().is_some_and(may) {
        if envoy.store().founded(&id).is_some() && administers(envoy, uid) {
            let what = format!("project {} was not purged on {}", id.short(), envoy.name());
            return Err(failed(what));
        }
        return Err(unknown_project(envoy, uid, &id, None));
    }
    envoy
        .store()
        .bring_back(&id)
        .map_err(|fault| still_used(envoy, &fault))?;
    envoy.heal().compare_all();
    Ok(Reply::Accepted {
        notes: Vec::new(),
        token: None,
    })
}

/// Holds a project again, whose copy was given up, for a user who was served there and uses it now. Returns whether
/// there was something to bring back.
pub(super) fn revive(envoy: &Arc<Envoy>, uid: u32, id: &ProjectId) -> Result<bool, Failure> {
    let note = envoy.store().given_up(id);
    if !note.is_some_and(|note| note.uids.contains(&uid)) {
        return Ok(false);
    }
    let brought = envoy.store().bring_back(id);
    brought.map_err(|fault| still_used(envoy, &fault))?;
    envoy.heal().compare_all();
    Ok(true)
}

fn still_used(envoy: &Envoy, fault: &Fault) -> Failure {
    let what = format!("{} cannot hold the project again yet", envoy.name());
    failed(what)
        .because(crate::daemon::chain(fault))
        .hint("somebody still reads the copy that was deleted; try again in a moment")
}

fn removals(mut items: Vec<Removal>) -> Reply {
    items.sort_by(|a, b| (b.bytes, &a.path).cmp(&(a.bytes, &b.path)));
    Reply::Removals { items }
}

fn may_delete(envoy: &Envoy, uid: u32) -> Result<(), Failure> {
    if administers(envoy, uid) {
        return Ok(());
    }
    let what = format!("user {uid} may not delete copies on {}", envoy.name());
    Err(Failure::new(exit_code::NOT_PERMITTED, what)
        .because("only root and the user as whom the daemon runs may")
        .hint("to give up your own part: vigo swarm gitback project leave"))
}

/// Why no local user holds a project that is here; nothing where one does.
fn orphaned(envoy: &Envoy, state: &State) -> Option<&'static str> {
    if access::ended(state.fold()).is_some() {
        return Some("ended");
    }
    if !granted_users(state, envoy.public()).is_empty() {
        return None;
    }
    let fleet_holds = state.fold().policy().scope == gitback_envelope::Scope::SwarmWide;
    let granted = access::partner(envoy, state, envoy.public()) == Partner::Full;
    match fleet_holds || granted {
        true => Some("no-user"),
        false => Some("not-a-partner"),
    }
}

const LAST: &str = "no other envoy says that it holds all of it: it is the last copy that is known";
const BUSY: &str = "something is arriving there; try again in a moment";

/// Looks at copies, or gives them up.
fn work(
    envoy: &Arc<Envoy>,
    listed: Vec<(Arc<Cell>, &'static str)>,
    how: Removing,
) -> Result<Vec<Removal>, Failure> {
    let begin = |cell: &Arc<Cell>| match how {
        Removing::Look => None,
        Removing::Delete | Removing::DeleteEvenLast => Leaving::begin(cell),
    };
    let listed: Vec<_> = listed
        .into_iter()
        .map(|(cell, why)| {
            let leaving = begin(&cell);
            (cell, why, leaving)
        })
        .collect();
    let fleet = ask(envoy);
    let mut items = Vec::new();
    let mut deleted = false;
    for (cell, why, leaving) in listed {
        let mut item = describe(envoy, &cell, why, &fleet);
        match (how, leaving) {
            (Removing::Look, _) => {}
            (_, None) => keep(&mut item, BUSY),
            (Removing::Delete, Some(_)) if item.copies == 0 => keep(&mut item, LAST),
            (_, Some(mut leaving)) => {
                let note = note(envoy.public(), &cell.lock());
                let given_up = envoy.store().give_up(Arc::clone(&cell), note);
                // Whoever still has it in hand stores nothing more.
                leaving.gone = envoy.store().given_up(cell.id()).is_some();
                let fault = given_up.err().map(|fault| crate::daemon::chain(&fault));
                if leaving.gone {
                    deleted = true;
                    envoy.heal().dropped(cell.id());
                    tracing::info!(project = %cell.id(), bytes = item.bytes, why, "gave a copy up");
                }
                gave_up(&mut item, leaving.gone, fault);
            }
        }
        items.push(item);
    }
    if deleted {
        envoy.changes().note();
        // They see from what is shown to them that it is not held here any more.
        envoy.heal().compare_all();
    }
    Ok(items)
}

fn keep(item: &mut Removal, why: &str) {
    item.outcome = "kept".to_owned();
    item.reason = Some(why.to_owned());
}

/// What became of a copy that was to be given up. One that is gone from here is, whatever ailed the disk then.
fn gave_up(item: &mut Removal, gone: bool, fault: Option<String>) {
    if gone {
        item.outcome = "deleted".to_owned();
        item.reason =
            fault.map(|fault| format!("its files go at the daemon's next start: {fault}"));
    } else {
        keep(item, &fault.unwrap_or_default());
    }
}

fn note(me: &EnvoyKey, state: &State) -> GivenUp {
    GivenUp {
        at_ms: clock::now_ms(),
        handle: state.fold().handle().cloned(),
        founder: state.fold().founder(),
        uids: granted_users(state, me),
    }
}

/// The users of the envoy's machine to whom somebody with access grants it, whether or not that has expired: a clock
/// that is ahead must not make a project nobody's.
fn granted_users(state: &State, me: &EnvoyKey) -> Vec<u32> {
    let mut users: Vec<u32> = state.users_of(me).into_iter().collect();
    users.retain(|uid| state.fold().grant(me, *uid).is_some());
    users
}

/// Asks every peer what it holds.
fn ask(envoy: &Arc<Envoy>) -> Fleet {
    let asked: Vec<_> = envoy
        .neighbours()
        .iter()
        .map(|neighbour| {
            let (client, to) = (envoy.client().clone(), neighbour.address());
            let ours = envoy.digests(neighbour.key());
            let call = async move {
                let call = client.digests(&to, &ours);
                tokio::time::timeout(ASK_MAX, call).await
            };
            (Arc::clone(neighbour), envoy.handle().spawn(call))
        })
        .collect();
    let mut answers = Vec::new();
    for (neighbour, call) in asked {
        let held = match envoy.handle().block_on(call) {
            Ok(Ok(Ok(theirs))) => {
                neighbour.note_answer();
                Some(theirs.projects.into_iter().collect())
            }
            Ok(Ok(Err(error))) => {
                neighbour.note_failure(&error);
                None
            }
            Ok(Err(_)) | Err(_) => None,
        };
        answers.push(Answer { neighbour, held });
    }
    Fleet { answers }
}

fn blank(why: &str) -> Removal {
    Removal {
        project_id: None,
        handle: None,
        founder: None,
        path: String::new(),
        bytes: 0,
        why: why.to_owned(),
        copies: 0,
        holders: Vec::new(),
        others: Vec::new(),
        replicas: None,
        outcome: "listed".to_owned(),
        reason: None,
    }
}

fn describe(envoy: &Envoy, cell: &Cell, why: &str, fleet: &Fleet) -> Removal {
    let bytes = cell.repo().size_bytes().unwrap_or(0);
    let state = cell.lock();
    let fold = state.fold();
    let (mut holders, mut others) = (Vec::new(), Vec::new());
    for Answer { neighbour, held } in &fleet.answers {
        let name = neighbour.name();
        let shown = held.as_ref().map(|held| held.get(cell.id()));
        match shown {
            // What is not known to have been founded can be compared with nothing.
            Some(Some(digest)) if *digest == fold.digest() && fold.founder().is_some() => {
                holders.push(name.to_owned());
            }
            Some(Some(_)) => others.push(format!("{name} does not hold exactly what is here")),
            Some(None) if access::may_ask(envoy, &state, neighbour.key()) => {
                others.push(format!("{name} does not hold it"));
            }
            Some(None) => {}
            None => others.push(neighbour.away_line(None)),
        }
    }
    Removal {
        project_id: Some(cell.id().to_string()),
        handle: fold.handle().map(ToString::to_string),
        founder: fold.founder().map(|key| key.to_string()),
        path: cell.repo().path().display().to_string(),
        bytes,
        copies: u32::try_from(holders.len()).unwrap_or(u32::MAX),
        holders,
        others,
        replicas: fold.policy().replicas,
        ..blank(why)
    }
}

/// What the files below `path` take; what cannot be read counts for nothing.
fn size_of(path: &std::path::Path) -> u64 {
    let mut total = 0_u64;
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) => total = total.saturating_add(metadata.len()),
                Err(_) => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Act, Grant, Incarnation, Statement, Ungrant, Verified};
    use gitback_identity::{Handle, PuddleKey, SecretKey};

    use super::*;
    use crate::cell::Drafting;

    fn seal(statement: Statement, key: &SecretKey) -> Verified {
        let signature = key.sign(&statement.signing_bytes().expect("encodes"));
        statement.seal(signature).expect("its own")
    }

    #[test]
    fn whom_an_expired_grant_serves_still_holds_the_project() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let key = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(key.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle, &handle), &key);
        let id = init.statement().project;
        let folder = |name| dir.path().join(name);
        let (projects, envelopes) = (folder("projects"), folder("envelopes"));
        let limits = gitback_pack::Limits::default();
        let cell = Cell::open(id, &projects, &envelopes, &limits).expect("opens");
        let me = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let life = Incarnation::from_bytes(&[1; 16]);
        let mut drafting = Drafting::outside(id, puddle, me, life, *init.id());
        for (uid, expires_ms) in [(0, Some(1)), (8, Some(u64::MAX))] {
            let grant = Grant {
                envoy: me,
                uid,
                expires_ms,
            };
            drafting.add(Act::Grant(grant)).expect("encodes");
        }
        let (envoy, cut) = (me, Vec::new());
        drafting
            .add(Act::Ungrant(Ungrant { envoy, cut }))
            .expect("encodes");
        let statements = drafting.into_statements().into_iter();
        let mut sealed: Vec<_> = statements.map(|statement| seal(statement, &key)).collect();
        let taken_back = sealed.pop().expect("the last one");
        let mut state = cell.lock();
        state.admit(vec![init]).expect("the disk works");
        assert!(granted_users(&state, &me).is_empty());
        state.admit(sealed).expect("the disk works");
        assert_eq!(granted_users(&state, &me), [0, 8]);
        assert_eq!(note(&me, &state).uids, [0, 8]);
        state.admit(vec![taken_back]).expect("the disk works");
        assert!(granted_users(&state, &me).is_empty());
    }

    #[test]
    fn a_copy_that_is_gone_is_not_said_to_be_kept() {
        let fault = || Some("cannot move it".to_owned());
        for (gone, fault, outcome, said) in [
            (true, None, "deleted", None),
            (true, fault(), "deleted", Some("next start: cannot move it")),
            (false, fault(), "kept", Some("cannot move it")),
        ] {
            let mut item = blank("asked");
            gave_up(&mut item, gone, fault);
            assert_eq!(item.outcome, outcome);
            let reason = item.reason.as_deref();
            assert_eq!(reason.is_some(), said.is_some(), "{reason:?}");
            assert!(
                reason
                    .unwrap_or_default()
                    .ends_with(said.unwrap_or_default())
            );
        }
    }
}
