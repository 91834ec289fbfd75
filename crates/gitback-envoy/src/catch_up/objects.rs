//! Bringing in the objects that updates name and that are missing here.

use gitback_envelope::Oid;
use gitback_identity::EnvoyKey;
use gitback_peer::{CallError, RefusalKind};

use super::CatchUpError;
use super::budget::Budget;
use super::fetch::{Failed, Route};
use super::slices::{self, Slices};
use super::together::{bring_packs, forget_blocks};
use crate::cell::{Cell, git};
use crate::fanout;
use crate::fault::{Fault, pack_fault};
use crate::service::HAVES_MAX;
use crate::trace::Trace;

/// Most object ids that one fetch asks for.
pub(super) const WANTS_MAX: usize = 4096;

/// Most objects that are fetched one by one in one catch-up, after they could not be had together.
const SINGLY_MAX: usize = 256;

/// Most rounds of fetching in one catch-up: heads first, then what only old updates name.
const ROUNDS_MAX: usize = 8;

/// Brings in what is lacking; whether there is more, for which the budget does not do.
pub(super) fn bring_objects(
    route: Route<'_>,
    budget: &mut Budget,
    trace: &mut Trace,
    progress: &mut dyn FnMut(String),
) -> Result<bool, CatchUpError> {
    let cell = route.cell;
    // What has just come was checked where nobody waits for the project's lock.
    let mut came = Vec::new();
    let mut has_asked_all = false;
    for _ in 0..ROUNDS_MAX {
        let peer = route.neighbour.key();
        let wants = lacking(cell, peer, &came).map_err(CatchUpError::Ours)?;
        trace.step("refs");
        if wants.is_empty() {
            cell.forget_parts().map_err(CatchUpError::Ours)?;
            forget_blocks(route).map_err(CatchUpError::Ours)?;
            return Ok(false);
        }
        if budget.is_used_up() {
            return Ok(true);
        }
        // On a full disk refs still go back from what has no effect any more.
        if let Err(why) = route.envoy.room() {
            forget_blocks(route).map_err(CatchUpError::Ours)?;
            return Err(CatchUpError::Room(why));
        }
        if !std::mem::replace(&mut has_asked_all, true) {
            came = bring_packs(route, &wants, budget, progress)?;
            trace.step("packs");
            if !came.is_empty() {
                continue;
            }
        }
        let brought = bring(route, &wants, budget, progress);
        trace.step("objects");
        match brought {
            Ok(Moved::All) => came = wants,
            Ok(Moved::Part) => return Ok(true),
            // One object that the peer lacks too must not keep back those that it has.
            Err(error) if is_of_one_object(&error) => {
                let is_told = wants.len() == 1 && !matches!(error, CatchUpError::Lacks { .. });
                let failed = is_told.then_some(error);
                return bring_singly(route, &wants, failed, budget, progress);
            }
            Err(error) => return Err(error),
        }
    }
    let complete = cell.lock().has_all();
    if complete {
        Ok(false)
    } else {
        Err(short(route))
    }
}

/// How far a transfer has come.
pub(super) enum Moved {
    /// All that was wanted is here.
    All,
    /// Some of it is, and no more may be moved now.
    Part,
}

/// What is missing here: what heads need, and when that is nothing, what only old updates name. The closure of what
/// `came` is here.
///
/// What cannot be checked, or a ref that cannot be moved, keeps nothing from coming: it is an error once nothing else is
/// missing.
fn lacking(cell: &Cell, peer: &EnvoyKey, came: &[Oid]) -> Result<Vec<Oid>, Fault> {
    let mut state = cell.lock();
    let followed = cell.advance(&mut state, came)?;
    let heads: Vec<Oid> = state.lacking().iter().copied().take(WANTS_MAX).collect();
    let wants = match heads.is_empty() {
        true => absent(cell, state.unjudged_objects(peer))?,
        false => heads,
    };
    if wants.is_empty() {
        followed?;
    }
    Ok(wants)
}

/// Those of `oids` that are not here, a bounded number of them.
fn absent(cell: &Cell, mut oids: Vec<Oid>) -> Result<Vec<Oid>, Fault> {
    oids.sort_unstable();
    oids.dedup();
    let mut absent = Vec::new();
    for oid in oids {
        if absent.len() < WANTS_MAX
            && !cell
                .repo()
                .has(&git(oid))
                .map_err(pack_fault(*cell.id(), "look into"))?
        {
            absent.push(oid);
        }
    }
    Ok(absent)
}

/// Brings in what `wants` lead to: at once when that fits, else in parts. Where all of it came, it was found connected
/// before it entered the repository.
fn bring(
    route: Route<'_>,
    wants: &[Oid],
    budget: &mut Budget,
    progress: &mut dyn FnMut(String),
) -> Result<Moved, CatchUpError> {
    let (cell, name) = (route.cell, route.neighbour.name());
    progress(format!("bringing it in from {name}"));
    let expected = cell.lock().awaited_bytes();
    let parts = cell.parts().map_err(CatchUpError::Ours)?;
    let wants: Vec<_> = wants.iter().map(|oid| git(*oid)).collect();
    let fits = expected.is_none_or(|bytes| bytes <= budget.left());
    // After packs that came from several envoys, what is left is mostly little.
    if fits && (parts.is_empty() || budget.has_brought()) {
        let most = budget.left().min(slices::ONE_MAX);
        let mut here: Vec<_> = parts.iter().map(|oid| git(*oid)).collect();
        here.extend(haves(cell)?);
        match route.fetch(&wants, &here, most, budget, progress) {
            Ok(objects) => {
                progress(format!("received {objects} objects from {name}"));
                return Ok(Moved::All);
            }
            Err(Failed::TooMuch(_)) => {}
            Err(Failed::Cut { bytes, .. }) if bytes >= slices::target(budget.most()) => {}
            Err(failed) => return Err(failed.into()),
        }
    }
    tracing::info!(peer = name, project = %cell.id(), expected, "bringing a project in by parts");
    Slices::new(route, parts, expected).bring(&wants, budget, progress)
}

/// Objects that are here whole, for the peer to leave out.
pub(super) fn haves(cell: &Cell) -> Result<Vec<gitback_pack::Oid>, CatchUpError> {
    let haves = fanout::haves(cell, HAVES_MAX).map_err(CatchUpError::Ours)?;
    let haves = haves.iter().map(|have| git(Oid::from_bytes(have)));
    Ok(haves.collect())
}

/// Brings in what can be had, one head after the other; and then, as a head that nobody gives must not keep it back,
/// what only older updates name. `failed` is why the only head did not come, if that was tried already.
fn bring_singly(
    route: Route<'_>,
    wants: &[Oid],
    mut failed: Option<CatchUpError>,
    budget: &mut Budget,
    progress: &mut dyn FnMut(String),
) -> Result<bool, CatchUpError> {
    let peer = route.neighbour.key();
    let older = route.cell.lock().unjudged_objects(peer);
    let mut older = absent(route.cell, older).map_err(CatchUpError::Ours)?;
    older.retain(|oid| !wants.contains(oid));
    let heads = wants.iter().filter(|_| failed.is_none());
    let singly: Vec<&Oid> = heads.chain(&older).take(SINGLY_MAX).collect();
    let mut came = Vec::new();
    for want in singly {
        if budget.is_used_up() {
            return Ok(true);
        }
        match bring(route, std::slice::from_ref(want), budget, progress) {
            Ok(Moved::All) => came.push(*want),
            Ok(Moved::Part) => return Ok(true),
            // It may have let that go, as its configuration says.
            Err(CatchUpError::Lacks { .. }) if route.cell.lock().note_denied(*want, *peer) => {}
            Err(error) if is_of_one_object(&error) => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    let cell = route.cell;
    let mut state = cell.lock();
    let followed = cell.advance(&mut state, &came);
    let followed = followed.and_then(|inner| inner);
    match failed {
        Some(error) => Err(error),
        None if wants.len() > SINGLY_MAX => Err(short(route)),
        None => followed.map(|()| false).map_err(CatchUpError::Ours),
    }
}

/// Whether another object may still be had from the same peer.
pub(super) fn is_of_one_object(error: &CatchUpError) -> bool {
    match error {
        CatchUpError::Sent { .. } | CatchUpError::OverLimit { .. } | CatchUpError::Lacks { .. } => {
            true
        }
        CatchUpError::Call { source, .. } => matches!(
            source,
            CallError::Refused(refusal) if refusal.status == RefusalKind::Internal
        ),
        CatchUpError::Ours(_) | CatchUpError::Room(_) | CatchUpError::Short { .. } => false,
    }
}

fn short(route: Route<'_>) -> CatchUpError {
    CatchUpError::Short {
        peer: route.neighbour.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use gitback_envelope::{Act, Change, Grant, Incarnation, RefName, Statement, Update, Verified};
    use gitback_identity::{Handle, PuddleKey, SecretKey};

    use super::*;
    use crate::cell::Drafting;
    use crate::cell::sample::Sample;

    fn seal(statement: Statement, key: &SecretKey) -> Verified {
        let signature = key.sign(&statement.signing_bytes().expect("encodes"));
        statement.seal(signature).expect("its own")
    }

    /// A project whose main is at `tip`, which is made in its repository.
    fn updated(dir: &Path, tip: impl FnOnce(&Path) -> Oid) -> (Cell, Oid) {
        let founder = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle, &handle), &founder);
        let id = init.statement().project;
        let (projects, envelopes) = (dir.join("projects"), dir.join("envelopes"));
        let limits = gitback_pack::Limits::default();
        let cell = Cell::open(id, &projects, &envelopes, &limits).expect("opens");
        let tip = tip(cell.repo().path());
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let life = Incarnation::from_bytes(&[1; 16]);
        let mut drafting = Drafting::outside(id, puddle, envoy, life, *init.id());
        let (uid, expires_ms) = (0, None);
        let grant = Grant {
            envoy,
            uid,
            expires_ms,
        };
        drafting.add(Act::Grant(grant)).expect("encodes");
        let change = Change {
            name: RefName::new(b"refs/heads/main").expect("valid"),
            new: tip,
            contained: Vec::new(),
            forced: Vec::new(),
        };
        let update = Update {
            changes: vec![change],
            head: None,
            pack: None,
        };
        drafting.add(Act::Update(update)).expect("encodes");
        let statements = drafting.into_statements().into_iter();
        let mut batch = vec![init];
        batch.extend(statements.map(|statement| seal(statement, &founder)));
        let admitted = cell.lock().admit(batch).expect("the disk works");
        assert_eq!(admitted.folded.len(), 3, "{admitted:?}");
        (cell, tip)
    }

    /// A commit in the repository, whose tree is not there.
    fn hollow_commit(repository: &Path) -> Oid {
        let mut git = Command::new("git")
            .arg("--git-dir")
            .arg(repository)
            .args(["hash-object", "-t", "commit", "-w", "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git runs");
        let tree = "ab".repeat(20);
        let text =
            format!("tree {tree}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nhollow\n");
        let mut stdin = git.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).expect("written");
        drop(stdin);
        let said = git.wait_with_output().expect("git ends").stdout;
        let oid = String::from_utf8(said).expect("hex");
        let bytes = gitback_identity::hex::decode_exact::<20>(oid.trim());
        Oid::from_bytes(&bytes.expect("an object id"))
    }

    #[test]
    fn what_has_just_come_is_not_walked_again_and_everything_else_is() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, tip) = updated(dir.path(), hollow_commit);
        let other = Oid::from_bytes(&[7; 20]);
        let peer = EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public());
        for came in [&[][..], &[other]] {
            assert_eq!(lacking(&cell, &peer, came).expect("readable"), [tip]);
            assert!(cell.shown_refs().expect("readable").is_empty());
        }
        // Nobody but a walk could tell that it is not whole.
        assert_eq!(lacking(&cell, &peer, &[tip]).expect("readable"), []);
        let refs = cell.shown_refs().expect("readable");
        assert_eq!(refs.values().copied().collect::<Vec<_>>(), [tip]);
    }

    #[test]
    fn what_cannot_be_checked_keeps_nothing_from_coming() {
        let sample = Sample::new();
        let first = sample.commit("first", &[]);
        let middle = sample.commit("middle", &[first]);
        let last = sample.commit("last", &[middle]);
        let absent = Oid::from_bytes(&[7; 20]);
        let contained = sample.update("refs/heads/main", first, &[]);
        sample.update("refs/heads/main", last, &[contained]);
        let file = sample.file_of(&middle);
        std::fs::remove_file(&file).expect("ours");
        std::fs::write(&file, b"damaged").expect("ours");
        let peer = EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public());
        sample.update("refs/heads/other", absent, &[]);
        let wants = lacking(&sample.cell, &peer, &[]).expect("something is lacking");
        assert!(wants.contains(&absent), "{wants:?}");
    }
}
