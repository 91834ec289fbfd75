//! Checking what updates claim about the git graph, and remembering how far that has come.

use std::collections::BTreeSet;
use std::path::Path;

use gitback_envelope::{Claim, EnvelopeId, REF_NAME_MAX, RefName};
use gitback_identity::hex;
use gitback_pack::Repository;
use sha2::{Digest as _, Sha256};

use super::incarnation::identity;
use super::{Cell, State, git};
use crate::disk;
use crate::fault::{Fault, pack_fault};

/// The note beside the log.
const FILE: &str = "judged";

/// Its first line, up to the number.
const JUDGED_HEADER: &str = "judged records 4: ";

/// Its last line, up to the SHA-256 of all others. Without it the note is not whole: mostly nobody waits until it is on
/// the disk.
const JUDGED_SUM: &str = "sum ";

/// How many records the note may lag behind the log: so many are judged again at a start.
const BEHIND_MAX: usize = 64;

/// What became of the claims of one update.
#[derive(Default)]
struct Verdict {
    /// The refs about which it says something false.
    lies: Vec<RefName>,
    /// Whether objects are missing, or cannot be read, so that more may be false.
    later: bool,
    /// What could not be read.
    failed: Option<gitback_pack::Fault>,
}

/// What is asked about the git graph.
trait Graph {
    fn has(&self, oid: &gitback_pack::Oid) -> Result<bool, gitback_pack::Fault>;

    fn is_complete(&self, tip: &gitback_pack::Oid) -> Result<bool, gitback_pack::Fault>;

    fn is_ancestor(
        &self,
        old: &gitback_pack::Oid,
        new: &gitback_pack::Oid,
    ) -> Result<bool, gitback_pack::Fault>;
}

impl Graph for Repository {
    fn has(&self, oid: &gitback_pack::Oid) -> Result<bool, gitback_pack::Fault> {
        self.has(oid)
    }

    fn is_complete(&self, tip: &gitback_pack::Oid) -> Result<bool, gitback_pack::Fault> {
        self.complete(std::slice::from_ref(tip))
    }

    fn is_ancestor(
        &self,
        old: &gitback_pack::Oid,
        new: &gitback_pack::Oid,
    ) -> Result<bool, gitback_pack::Fault> {
        self.is_ancestor(old, new)
    }
}

impl Cell {
    /// Checks the claims of updates that were not judged yet. Updates whose objects are not here, or cannot be read,
    /// stay unjudged.
    ///
    /// An update that says it contains a commit which its own history does not reach is held out of the fold: every
    /// envoy sees the same graph and comes to the same verdict.
    ///
    /// # Errors
    ///
    /// Why the first of those could not be read that cannot.
    pub(super) fn judge(&self, state: &mut State) -> Result<(), Fault> {
        let (mut later, caught, mut failed) = (Vec::new(), state.held_out.len(), None);
        for id in std::mem::take(&mut state.unjudged) {
            let verdict = judge_one(&self.repo, &state.fold.claims(&id));
            for name in verdict.lies {
                state.hold_out(id, name);
            }
            if verdict.later {
                later.push(id);
            } else if state.void(&id).is_none() {
                state.note_arrived(&id);
            }
            failed = failed.or(verdict.failed);
        }
        state.unjudged = later;
        if state.held_out.len() > caught {
            self.tell_alarms(state);
        }
        if let Err(fault) = self.write_judged(state) {
            // Losing the note costs time only.
            tracing::warn!(project = %self.id, error = %crate::daemon::chain(&fault), "cannot note what was judged");
        }
        failed.map_or(Ok(()), |fault| Err(pack_fault(self.id, "look into")(fault)))
    }

    /// Notes how far judging has come, so that the next start need not do it again. Losing the note costs time only, so
    /// that it is not worth two syncs for each push, unless it names lies: those are rare, and what was found out of them
    /// is not to be found out again from what may be gone.
    fn write_judged(&self, state: &mut State) -> Result<(), Fault> {
        let records = state.log.len();
        let behind = records.checked_sub(state.judged_records);
        let is_near = behind.is_some_and(|behind| behind < BEHIND_MAX);
        let says_all = state.unjudged.is_empty() && state.held_out.len() == state.judged_held_out;
        if is_near && says_all {
            return Ok(());
        }
        let log = identity(&self.log_dir)?;
        let mut text = format!("{JUDGED_HEADER}{records}\n{log}\n");
        for id in &state.unjudged {
            text.push_str(&format!("unjudged {id}\n"));
        }
        for (id, name) in &state.held_out {
            let name = hex::encode(name.as_bytes());
            text.push_str(&format!("held-out {id} {name}\n"));
        }
        let text = with_sum(&text);
        let path = self.log_dir.join(FILE);
        let written = match state.held_out.is_empty() {
            true => disk::replace_loosely(&path, text.as_bytes()),
            false => disk::replace(&path, text.as_bytes()),
        };
        written.map_err(|source| Fault::File {
            doing: "write",
            path,
            source,
        })?;
        state.judged_records = records;
        state.judged_held_out = state.held_out.len();
        Ok(())
    }
}

fn judge_one(graph: &impl Graph, claims: &[Claim]) -> Verdict {
    let mut verdict = Verdict::default();
    for claim in claims {
        match is_true(graph, claim) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => verdict.lies.push(claim.name.clone()),
            Ok(None) => verdict.later = true,
            Err(fault) => {
                verdict.later = true;
                verdict.failed.get_or_insert(fault);
            }
        }
    }
    verdict
}

/// Whether the claim is true; `None` if that cannot be told for want of objects.
fn is_true(graph: &impl Graph, claim: &Claim) -> Result<Option<bool>, gitback_pack::Fault> {
    let new = git(claim.new);
    if claim.new.is_zero() {
        // A deletion contains nothing.
        return Ok(Some(claim.contains.is_empty()));
    }
    if !graph.has(&new)? {
        return Ok(None);
    }
    let (mut is_known, mut failed) = (true, None);
    for old in &claim.contains {
        match contains(graph, &new, &git(*old)) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Ok(Some(false)),
            Ok(None) => is_known = false,
            Err(fault) => failed = failed.or(Some(fault)),
        }
    }
    match failed {
        Some(fault) => Err(fault),
        None => Ok(is_known.then_some(true)),
    }
}

/// Whether `new`, which is here, contains `old`; `None` if that cannot be told for want of objects.
fn contains(
    graph: &impl Graph,
    new: &gitback_pack::Oid,
    old: &gitback_pack::Oid,
) -> Result<Option<bool>, gitback_pack::Fault> {
    // What `new` reaches is here whenever `new` is whole; what is not here, it does not reach.
    if !graph.has(old)? {
        if !graph.is_complete(new)? {
            return Ok(None);
        }
        // Both may have come since the first look.
        if !graph.has(old)? {
            return Ok(Some(false));
        }
    }
    match graph.is_ancestor(old, new) {
        Ok(contained) => Ok(Some(contained)),
        // Something between them is not here.
        Err(gitback_pack::Fault::NoObject { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// How far judging had come when the daemon last wrote it down.
#[derive(Default)]
pub(super) struct Judged {
    /// Updates among the first so many records of the log were judged, those listed as unjudged excepted.
    pub(super) records: usize,
    pub(super) unjudged: BTreeSet<EnvelopeId>,
    pub(super) held_out: Vec<(EnvelopeId, RefName)>,
}

/// Reads the note about the log in `log_dir`, which has so many records. One that is missing, damaged, or of another log
/// means that everything is judged again.
pub(super) fn read_judged(log_dir: &Path, records: usize) -> Result<Option<Judged>, Fault> {
    let text = std::fs::read_to_string(log_dir.join(FILE)).unwrap_or_default();
    let log = identity(log_dir)?;
    // What the log had lost and got again may be something else.
    let covers = |judged: &Judged| judged.records <= records;
    Ok(parse_judged(&text, &log).filter(covers))
}

/// Removes a note that is not true of the log, durably: what comes to the log from now on could make it look as if it were.
pub(super) fn forget_judged(log_dir: &Path) -> Result<(), Fault> {
    let path = log_dir.join(FILE);
    let removed = match std::fs::remove_file(&path) {
        Ok(()) => disk::sync_dir(log_dir),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|source| Fault::File {
        doing: "remove",
        path,
        source,
    })
}

fn with_sum(text: &str) -> String {
    let sum = hex::encode(&Sha256::digest(text));
    format!("{text}{JUDGED_SUM}{sum}\n")
}

fn parse_judged(text: &str, log: &str) -> Option<Judged> {
    let (said, _) = text.rsplit_once(JUDGED_SUM)?;
    if with_sum(said) != text {
        return None;
    }
    let mut lines = said.strip_prefix(JUDGED_HEADER)?.lines();
    let mut judged = Judged {
        records: lines.next()?.parse().ok()?,
        ..Judged::default()
    };
    if lines.next()? != log {
        return None;
    }
    for line in lines {
        let (verdict, about) = line.split_once(' ')?;
        let (id, name) = about.split_once(' ').unwrap_or((about, ""));
        let id = EnvelopeId::from_bytes(&hex::decode_exact::<32>(id)?);
        match verdict {
            "unjudged" if name.is_empty() => drop(judged.unjudged.insert(id)),
            "held-out" => {
                let name = hex::decode(name, REF_NAME_MAX)?;
                judged.held_out.push((id, RefName::new(&name).ok()?));
            }
            _ => return None,
        }
    }
    Some(judged)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gitback_envelope::{
        Act, Change, Grant, Incarnation, Oid, RefName, Statement, Update, Verified,
    };
    use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};

    use super::super::Drafting;
    use super::super::sample::Sample;
    use super::*;

    fn seal(statement: Statement, key: &SecretKey) -> Verified {
        let signature = key.sign(&statement.signing_bytes().expect("encodes"));
        statement.seal(signature).expect("its own")
    }

    /// A project with an update of main to `old`, and one that says to contain it with `new`.
    fn claiming(dir: &Path, old: Oid, new: Oid) -> Cell {
        let founder = SecretKey::from_seed(&[255; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle, &handle), &founder);
        let id = ProjectId::derive(&puddle, &handle);
        let (projects, envelopes) = (dir.join("projects"), dir.join("envelopes"));
        let limits = gitback_pack::Limits::default();
        let cell = Cell::open(id, &projects, &envelopes, &limits).expect("opens");
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[254; 32]).public());
        let life = Incarnation::from_bytes(&[1; 16]);
        let mut drafting = Drafting::outside(id, puddle, envoy, life, *init.id());
        let grant = Grant {
            envoy,
            uid: 0,
            expires_ms: None,
        };
        drafting.add(Act::Grant(grant)).expect("encodes");
        let to = |new, contained| {
            let change = Change {
                name: RefName::new(b"refs/heads/main").expect("valid"),
                new,
                contained,
                forced: Vec::new(),
            };
            Act::Update(Update {
                changes: vec![change],
                head: None,
                pack: None,
            })
        };
        let first = drafting.add(to(old, Vec::new())).expect("encodes");
        drafting.add(to(new, vec![first])).expect("encodes");
        let mut batch = vec![init];
        let statements = drafting.into_statements().into_iter();
        batch.extend(statements.map(|statement| seal(statement, &founder)));
        let admitted = cell.lock().admit(batch).expect("the disk works");
        assert!(
            admitted.refused.is_empty() && !admitted.waiting,
            "{admitted:?}"
        );
        cell
    }

    /// What a start would believe.
    fn noted(cell: &Cell) -> Judged {
        let noted = read_judged(cell.log_dir(), usize::MAX).expect("there is a log");
        noted.expect("a good note")
    }

    /// Two commits of which one contains the other, and which come while somebody looks.
    struct Coming {
        looks: std::cell::Cell<u32>,
        /// At which look they are here.
        at: u32,
    }

    impl Graph for Coming {
        fn has(&self, _: &gitback_pack::Oid) -> Result<bool, gitback_pack::Fault> {
            self.looks.set(self.looks.get() + 1);
            Ok(self.looks.get() >= self.at)
        }

        fn is_complete(&self, tip: &gitback_pack::Oid) -> Result<bool, gitback_pack::Fault> {
            self.has(tip)
        }

        fn is_ancestor(
            &self,
            _: &gitback_pack::Oid,
            _: &gitback_pack::Oid,
        ) -> Result<bool, gitback_pack::Fault> {
            Ok(true)
        }
    }

    #[test]
    fn what_comes_while_a_claim_is_judged_makes_no_lie_of_it() {
        let (old, new) = (Oid::from_bytes(&[0xaa; 20]), Oid::from_bytes(&[0xbb; 20]));
        for (at, expected) in [(1, Some(true)), (2, Some(true)), (3, None)] {
            let looks = std::cell::Cell::new(0);
            let graph = Coming { looks, at };
            let said = contains(&graph, &git(new), &git(old));
            assert_eq!(said.expect("readable"), expected, "{at}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_judged_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (old, new) = (Oid::from_bytes(&[0xaa; 20]), Oid::from_bytes(&[0xbb; 20]));
        let cell = claiming(dir.path(), old, new);
        let objects = cell.repo().path().join("objects");
        for oid in [old, new] {
            let name = oid.to_string();
            let (folder, name) = name.split_at(2);
            fs::create_dir(objects.join(folder)).expect("made");
            fs::write(objects.join(folder).join(name), b"damaged").expect("written");
        }
        let mut state = cell.lock();
        assert_eq!(state.unjudged.len(), 2);
        cell.judge(&mut state).expect_err("the objects are damaged");
        let claim = *state.unjudged.last().expect("it is not judged");
        assert_eq!(state.update(&claim).expect("an update").changes[0].new, new);
        drop(state);
        let noted = noted(&cell);
        assert!(noted.unjudged.contains(&claim), "also by the note");
    }

    #[test]
    fn the_note_of_what_was_judged_is_not_written_for_each_push() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let founder = SecretKey::from_seed(&[255; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let id = ProjectId::derive(&puddle, &handle);
        let cell = Cell::open(
            id,
            &dir.path().join("projects"),
            &dir.path().join("envelopes"),
            &gitback_pack::Limits::default(),
        )
        .expect("opens");
        let init = seal(Statement::init(&puddle, &handle), &founder);
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[254; 32]).public());
        let life = Incarnation::from_bytes(&[1; 16]);
        let mut drafting = Drafting::outside(id, puddle, envoy, life, *init.id());
        for _ in 1..BEHIND_MAX {
            drafting.add(Act::Merge).expect("encodes");
        }
        let mut batch = vec![init];
        let statements = drafting.into_statements().into_iter();
        batch.extend(statements.map(|statement| seal(statement, &founder)));
        let last = batch.pop().expect("many");
        let mut state = cell.lock();
        state.admit(batch).expect("the disk works");
        cell.judge(&mut state).expect("judged");
        assert!(!cell.log_dir().join(FILE).exists(), "nothing to say yet");
        state.admit(vec![last]).expect("the disk works");
        cell.judge(&mut state).expect("judged");
        assert_eq!(noted(&cell).records, BEHIND_MAX);
    }

    #[test]
    fn the_note_of_what_was_judged_reads_back_and_a_damaged_one_is_ignored() {
        let id = "ab".repeat(32);
        let name = hex::encode(b"refs/heads/main");
        let log = "log 7 9";
        let said = format!("{JUDGED_HEADER}7\n{log}\nunjudged {id}\nheld-out {id} {name}\n");
        let text = with_sum(&said);
        let judged = parse_judged(&text, log).expect("as it is written");
        assert_eq!(
            (judged.records, judged.unjudged.len(), judged.held_out.len()),
            (7, 1, 1)
        );
        assert!(parse_judged(&text, "log 8 9").is_none(), "of another log");
        for damaged in [
            "",
            &with_sum("judged records 4: x\n"),
            &with_sum(&said.replace("judged records 4", "judged records 3")),
            &with_sum(&said.replace(&name, "")),
            &with_sum(&said.replace("held-out", "hold-out")),
            &format!("{text}\n"),
            &text.replace("unjudged ab", "unjudged ac"),
            &text.replace(&format!("unjudged {id}\n"), ""),
        ] {
            assert!(parse_judged(damaged, log).is_none(), "{damaged:?}");
        }
        // What a loss of power has left of it, at whatever place it ends.
        for cut in 0..text.len() {
            assert!(parse_judged(&text[..cut], log).is_none(), "{cut}");
        }
    }

    /// A sample in which main is at `new`, which says to contain `old` and does not.
    fn lying() -> (Sample, EnvelopeId, Oid) {
        let sample = Sample::new();
        let (old, new) = (sample.commit("old", &[]), sample.commit("new", &[]));
        let contained = sample.update("refs/heads/main", old, &[]);
        let lie = sample.update("refs/heads/main", new, &[contained]);
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        assert_eq!(state.held_out.len(), 1);
        drop(state);
        assert_eq!(sample.at("refs/heads/main"), Some(old));
        (sample, lie, new)
    }

    #[test]
    fn a_note_about_another_log_is_not_believed() {
        // It says that nothing lies, of as many records as there are and so many more.
        for (more, same, believed) in [(0, true, true), (1, true, false), (0, false, false)] {
            let (sample, ..) = lying();
            let records = noted(&sample.cell).records;
            let log = identity(sample.cell.log_dir()).expect("there is a log");
            let log = if same { log } else { "log 7 9".to_owned() };
            let note = with_sum(&format!("{JUDGED_HEADER}{}\n{log}\n", records + more));
            let sample = sample.reopen(|log_dir| {
                fs::write(log_dir.join(FILE), note).expect("written");
            });
            let caught = sample.cell.lock().held_out.len();
            assert_eq!(caught == 0, believed, "{more} {same}");
            // What comes now cannot make it look right.
            let now = noted(&sample.cell);
            assert_eq!((now.records, now.held_out.len()), (records, caught));
        }
    }

    #[test]
    fn a_note_that_is_not_believed_is_gone_before_anything_else_happens() {
        let sample = Sample::new();
        let log = identity(sample.cell.log_dir()).expect("there is a log");
        let note = with_sum(&format!("{JUDGED_HEADER}7\n{log}\n"));
        let sample = sample.reopen(|log_dir| {
            fs::write(log_dir.join(FILE), note).expect("written");
        });
        assert!(!sample.cell.log_dir().join(FILE).exists());
    }

    #[test]
    fn what_a_lie_leads_to_is_kept_for_whoever_judges_it_again() {
        let (sample, lie, new) = lying();
        let kept = format!("refs/gitback/void/{lie}/{new}");
        // Also where it was found out before that was done.
        fs::remove_file(sample.path(&kept)).expect("it was kept");
        let sample = sample.reopen(|_| ());
        assert!(sample.path(&kept).is_file());
        let repository = sample.path("");
        let sample = sample.reopen(|log_dir| {
            let mut git = std::process::Command::new("git");
            git.arg("--git-dir").arg(repository);
            let pruned = git.args(["prune", "--expire=now"]).status();
            assert!(pruned.expect("git runs").success());
            forget_judged(log_dir).expect("removed");
        });
        assert_eq!(sample.cell.lock().held_out.len(), 1, "found out again");
    }
}
