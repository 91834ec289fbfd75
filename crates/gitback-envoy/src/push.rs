//! A push by a local user: from git's commands to a durable update, refs, and the lines that name who holds it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gitback_envelope::{
    Change, EnvelopeId, NAMED_HEADS_MAX, Oid, PackHint, RefName, Update, VoidReason,
};
use gitback_identity::PuddleKey;
use gitback_pack::receive::{Command, Request, Session};
use gitback_pack::{Incoming, Kind, Limits, Quarantine, Received, Reject, valid_ref_name};

use crate::access::{Denial, may_push};
use crate::cell::{Admitted, Cell, State, git, own};
use crate::daemon::{Envoy, chain};
use crate::fanout::{Answer, Fanout, Outcome};
use crate::fault::{Fault, pack_fault};
use crate::fresh;
use crate::quota::Quota;
use crate::trace::{Millis, Trace};
use crate::wait::{Standing, Wait};

/// Most refs that one update moves.
const REFS_MAX: usize = 8192;

/// Who pushes, and how.
#[derive(Debug)]
pub(crate) struct Pusher {
    /// The user of this machine.
    pub(crate) uid: u32,
    /// The puddle for whom the update is signed.
    pub(crate) puddle: PuddleKey,
    pub(crate) push_wait: Option<Duration>,
    /// The user asked for silence. The capability of that name says less: git sets it whenever its output is not a
    /// terminal.
    pub(crate) quiet: bool,
    /// The user wants to see where the time goes.
    pub(crate) trace: bool,
}

/// One command and, once it is known, why it cannot be done.
struct Verdict {
    command: Command,
    refusal: Option<String>,
}

impl Verdict {
    /// Whether it stands so far, and needs objects.
    fn wants_objects(&self) -> bool {
        self.refusal.is_none() && !self.command.new.is_null()
    }
}

/// What a push asked for by `-o gitback.…`.
struct Wishes {
    wait: Wait,
    head: Option<RefName>,
}

/// What a push is besides its commands.
struct Push<'a> {
    uid: u32,
    puddle: PuddleKey,
    atomic: bool,
    wishes: &'a Wishes,
}

/// What the commit point made durable. The spool is kept while peers may still read it.
struct Stored {
    ids: Vec<EnvelopeId>,
    _spool: Option<Received>,
}

/// Serves one `git receive-pack` conversation. The error is the client's: it broke the protocol or hung up.
pub(crate) fn receive(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    pusher: &Pusher,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<(), Reject> {
    let agent = concat!("gitback/", env!("CARGO_PKG_VERSION"));
    let mut trace = Trace::begin();
    let mut session = Session::advertise(cell.repo(), input, output, agent)?;
    trace.step("greeting");
    let Some(request) = session.request()? else {
        return Ok(());
    };
    trace.step("commands");
    let Request {
        commands,
        options,
        atomic,
        ..
    } = request;
    let mut verdicts = open(commands);
    let wishes = match wishes(&options) {
        Ok(wishes) => wishes,
        Err(problem) => {
            refuse_all(&mut verdicts, &problem);
            drain(&mut session, &verdicts);
            return finish(session, Ok(()), &verdicts);
        }
    };
    check_names(&mut verdicts);
    check_disk(envoy, &mut verdicts);
    if verdicts.iter().all(|verdict| verdict.refusal.is_some()) {
        drain(&mut session, &verdicts);
        return finish(session, Ok(()), &verdicts);
    }
    let brings_pack = verdicts.iter().any(Verdict::wants_objects);
    let incoming = Incoming::new();
    // Peers read along from the first byte; they keep nothing before the update is durable here.
    let fanout = Fanout::begin(envoy, cell, brings_pack.then_some(&incoming));
    // The project's lock is taken only where there is one.
    let is_bounded = envoy.config().member_max_bytes().is_some();
    let quota = is_bounded.then(|| Quota::of(envoy, &cell.lock(), &pusher.puddle));
    let quota = quota.flatten();
    let mut limits = envoy.pack_limits();
    if let Some(quota) = quota {
        limits = quota.bound(limits);
    }
    let quarantine = match unpack(
        cell,
        &limits,
        &mut session,
        &mut verdicts,
        &incoming,
        &mut trace,
    ) {
        Ok(quarantine) => quarantine,
        Err(reject) => {
            fanout.dropped();
            let for_quota = match (&reject, quota) {
                (Reject::TooLarge { limit }, Some(quota)) => {
                    let is_own = quota.refuses(limit.saturating_add(1));
                    is_own.then(|| quota.refusal(envoy.name()))
                }
                _ => None,
            };
            let by_quota = for_quota.is_some();
            let problem = for_quota.unwrap_or_else(|| chain(&reject));
            refuse_all(&mut verdicts, &problem);
            if reject.is_over_limit() && !by_quota {
                let name = envoy.name();
                session.message(&format!("hint: what {name} takes is set in its envoy.toml: pack_max_bytes and what goes with it"))?;
            }
            return finish(session, Err(problem), &verdicts);
        }
    };
    let push = Push {
        uid: pusher.uid,
        puddle: pusher.puddle,
        atomic,
        wishes: &wishes,
    };
    match commit_in_turn(envoy, cell, &push, &mut verdicts, quarantine, &mut trace) {
        Ok(Some(stored)) => {
            let answers = fanout.stored(&stored.ids);
            let configured = pusher.push_wait.unwrap_or(envoy.config().push_wait());
            let limit = wishes.wait.limit(configured);
            let standing = await_peers(envoy, cell, &answers, wishes.wait, limit);
            trace.step("peers");
            for line in standing.lines() {
                if !pusher.quiet || line.starts_with("warning:") {
                    session.message(&line)?;
                }
            }
            tracing::debug!(project = %cell.id(), %trace, "a push is stored");
            if pusher.trace {
                for line in traced(envoy, &trace, &standing) {
                    session.message(&line)?;
                }
            }
        }
        Ok(None) => fanout.dropped(),
        Err(fault) => {
            fanout.dropped();
            tracing::error!(project = %cell.id(), error = %chain(&fault), "cannot store a push");
            let reason = format!("{} could not store it: {}", envoy.name(), chain(&fault));
            refuse_all(&mut verdicts, &reason);
        }
    }
    finish(session, Ok(()), &verdicts)
}

/// What became of refs that were moved without a pack.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) update: EnvelopeId,
    /// Who holds it, as git shows it after a push.
    pub(crate) notes: Vec<String>,
}

/// Why refs were not moved.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// What stands against it, one line.
    Refused(String),
    /// This envoy's own failure.
    Ours(Fault),
}

/// Moves refs to objects that are here, everything that they lead to included, as a push of the same does: signed,
/// stored, sent to all partners and waited for. The caller has checked the objects.
pub(crate) fn move_refs(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    pusher: &Pusher,
    commands: Vec<Command>,
) -> Result<Moved, MoveError> {
    let mut verdicts = open(commands);
    check_names(&mut verdicts);
    let wishes = Wishes {
        wait: Wait::Default,
        head: None,
    };
    let push = Push {
        uid: pusher.uid,
        puddle: pusher.puddle,
        atomic: true,
        wishes: &wishes,
    };
    let fanout = Fanout::begin(envoy, cell, None);
    let mut trace = Trace::begin();
    let stored = match commit_in_turn(envoy, cell, &push, &mut verdicts, None, &mut trace) {
        Ok(stored) => stored,
        Err(fault) => {
            fanout.dropped();
            return Err(MoveError::Ours(fault));
        }
    };
    let update = stored
        .as_ref()
        .and_then(|stored| stored.ids.last().copied());
    let (Some(stored), Some(update)) = (stored, update) else {
        fanout.dropped();
        let refusal = verdicts.into_iter().find_map(|verdict| verdict.refusal);
        let refusal = refusal.unwrap_or_else(|| "nothing is to be moved".to_owned());
        return Err(MoveError::Refused(refusal));
    };
    let answers = fanout.stored(&stored.ids);
    let limit = pusher.push_wait.unwrap_or(envoy.config().push_wait());
    let standing = await_peers(envoy, cell, &answers, wishes.wait, limit);
    Ok(Moved {
        update,
        notes: standing.lines(),
    })
}

/// Where the time went, for whoever wants to see it.
fn traced(envoy: &Envoy, trace: &Trace, standing: &Standing) -> Vec<String> {
    let own = format!("trace: {} {trace}", envoy.name());
    let answers = standing.answered.iter();
    let peers = answers.map(|(name, after)| {
        format!(
            "trace: {name} had it {} after it was stored",
            Millis(*after)
        )
    });
    std::iter::once(own).chain(peers).collect()
}

/// Commands of which nothing is known yet.
fn open(commands: Vec<Command>) -> Vec<Verdict> {
    let open = |command| Verdict {
        command,
        refusal: None,
    };
    commands.into_iter().map(open).collect()
}

/// The refs that stand to be moved.
fn names(verdicts: &[Verdict]) -> Vec<Vec<u8>> {
    let standing = verdicts.iter().filter(|verdict| verdict.refusal.is_none());
    standing
        .map(|verdict| verdict.command.name.clone())
        .collect()
}

fn finish<R: Read, W: Write>(
    session: Session<R, W>,
    unpack: Result<(), String>,
    verdicts: &[Verdict],
) -> Result<(), Reject> {
    let results: Vec<(Vec<u8>, Result<(), String>)> = verdicts
        .iter()
        .map(|verdict| {
            (
                verdict.command.name.clone(),
                verdict.refusal.clone().map_or(Ok(()), Err),
            )
        })
        .collect();
    session.report(unpack, &results)
}

/// Reads what the client still sends, so that it sees the report and not a broken pipe.
fn drain<R: Read, W: Write>(session: &mut Session<R, W>, verdicts: &[Verdict]) {
    if verdicts
        .iter()
        .any(|verdict| !verdict.command.new.is_null())
    {
        let mut reader = session.pack_reader();
        let mut buffer = [0; 65_536];
        while matches!(reader.read(&mut buffer), Ok(1..)) {}
    }
}

fn wishes(options: &[Vec<u8>]) -> Result<Wishes, String> {
    let mut wishes = Wishes {
        wait: Wait::Default,
        head: None,
    };
    for option in options {
        let text = String::from_utf8_lossy(option);
        if let Some(value) = text.strip_prefix("gitback.wait=") {
            wishes.wait = Wait::parse(value)
                .ok_or_else(|| format!("gitback.wait={value}: say all, majority or a number"))?;
        } else if let Some(value) = text.strip_prefix("gitback.head=") {
            let name = RefName::new(value.as_bytes())
                .map_err(|_| format!("gitback.head={value}: not the full name of a branch"))?;
            if !name.as_bytes().starts_with(b"refs/heads/") {
                return Err(format!(
                    "gitback.head={value}: not the full name of a branch"
                ));
            }
            wishes.head = Some(name);
        } else if text.starts_with("gitback.") {
            return Err(format!(
                "unknown push option {text}; known: gitback.wait, gitback.head"
            ));
        }
    }
    Ok(wishes)
}

fn refuse_all(verdicts: &mut [Verdict], why: &str) {
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| verdict.refusal.is_none())
    {
        verdict.refusal = Some(why.to_owned());
    }
}

/// Refuses what stands of an atomic push of which something does not.
fn refuse_rest(verdicts: &mut [Verdict]) {
    let why = "the push is atomic and another of its refs was refused";
    refuse_all(verdicts, why);
}

fn check_names(verdicts: &mut [Verdict]) {
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

fn check_disk(envoy: &Envoy, verdicts: &mut [Verdict]) {
    // Deletions free nothing at once, and yet must work on a full disk.
    if verdicts.iter().any(Verdict::wants_objects)
        && let Err(reason) = envoy.room()
    {
        refuse_all(verdicts, &reason);
    }
}

/// Takes the pack into a quarantine and checks it. The error is a line for the client.
fn unpack<R: Read, W: Write>(
    cell: &Cell,
    limits: &Limits,
    session: &mut Session<R, W>,
    verdicts: &mut [Verdict],
    incoming: &Incoming,
    trace: &mut Trace,
) -> Result<Option<(Quarantine, Received)>, Reject> {
    if !verdicts.iter().any(Verdict::wants_objects) {
        drain(session, verdicts);
        return Ok(None);
    }
    let mut quarantine = cell.repo().quarantine();
    let ingested = quarantine.ingest_shared(session.pack_reader(), limits, incoming)?;
    trace.step("pack");
    let wanting = verdicts.iter().filter(|verdict| verdict.wants_objects());
    let tips: Vec<_> = wanting.map(|verdict| verdict.command.new).collect();
    if quarantine.check_connected(&tips).is_err() {
        // Find out which: one broken branch must not stop the others.
        for verdict in verdicts
            .iter_mut()
            .filter(|verdict| verdict.wants_objects())
        {
            if let Err(reject) = quarantine.check_connected(&[verdict.command.new]) {
                verdict.refusal = Some(chain(&reject));
            }
        }
    }
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| verdict.wants_objects())
    {
        let Command { name, new, .. } = &verdict.command;
        let kind = quarantine.kind(new)?;
        if name.starts_with(b"refs/heads/") && kind != Some(Kind::Commit) {
            verdict.refusal = Some("a branch must point at a commit".to_owned());
        }
    }
    trace.step("connectivity");
    Ok(Some((quarantine, ingested.pack)))
}

/// Brings in what is newer elsewhere, waits for those who go first, and commits.
fn commit_in_turn(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    push: &Push<'_>,
    verdicts: &mut [Verdict],
    quarantine: Option<(Quarantine, Received)>,
    trace: &mut Trace,
) -> Result<Option<Stored>, Fault> {
    // Held until the push is stored: nobody who asks meanwhile stores another one to the same refs.
    let turn = fresh::check(envoy, cell, names(verdicts), envoy.config().push_check());
    trace.step("turn");
    let stored = commit(envoy, cell, push, verdicts, quarantine, trace)?;
    drop(turn);
    if stored.is_some() {
        envoy.heal().changed(cell);
    }
    Ok(stored)
}

/// The commit point: objects, then the signed update, then refs, each durable before the next.
fn commit(
    envoy: &Envoy,
    cell: &Cell,
    push: &Push<'_>,
    verdicts: &mut [Verdict],
    quarantine: Option<(Quarantine, Received)>,
    trace: &mut Trace,
) -> Result<Option<Stored>, Fault> {
    let mut state = cell.lock();
    // A revocation may have come in while the pack did.
    let grant = match may_push(envoy, &state, push.uid, &push.puddle) {
        Ok(grant) => grant,
        Err(denial) => {
            refuse_all(verdicts, &denial.to_string());
            return Ok(None);
        }
    };
    let shown = cell.shown_refs()?;
    check_current(&shown, &state, verdicts);
    let stands = |verdict: &Verdict| verdict.refusal.is_none();
    if !verdicts.iter().any(stands) {
        return Ok(None);
    }
    if push.atomic && !verdicts.iter().all(stands) {
        refuse_rest(verdicts);
        return Ok(None);
    }
    // Others of the same member may have come in while the pack did.
    if let Some((_, spool)) = &quarantine
        && let Some(quota) = Quota::of(envoy, &state, &push.puddle)
        && quota.refuses(spool.bytes())
    {
        refuse_all(verdicts, &quota.refusal(envoy.name()));
        return Ok(None);
    }
    let spool = match quarantine {
        Some((quarantine, spool)) => {
            let migrated = quarantine.migrate();
            migrated.map_err(pack_fault(*cell.id(), "store objects in"))?;
            envoy.maintenance().note_pack(cell.id());
            Some(spool)
        }
        None => None,
    };
    trace.step("objects");
    let update = update(cell, &state, &shown, verdicts, spool.as_ref(), push)?;
    if update.changes.is_empty() {
        return Ok(None);
    }
    let values = update.changes.iter().map(|change| change.new);
    let tips: Vec<Oid> = values.filter(|oid| !oid.is_zero()).collect();
    let envelopes = state.sign_update(envoy.key(), push.puddle, grant, update)?;
    let counts = |state: &State, admitted: &Admitted| match admitted.first_void(state) {
        Some(void) => Err(Denial::void(&void).to_string()),
        None => match admitted.refused.first() {
            Some((id, reject)) => Err(format!("{reject} ({}, envelope {id})", reject.code())),
            None => Ok(()),
        },
    };
    let admitted = match state.admit_if(envelopes, counts)? {
        Ok(admitted) => admitted,
        Err(why) => {
            refuse_all(verdicts, &why);
            return Ok(None);
        }
    };
    state.mark_judged(&admitted.folded);
    trace.step("update");
    // The push is stored, and what is stored is never reported as failed.
    cell.follow(&mut state, &tips);
    trace.step("refs");
    Ok(Some(Stored {
        ids: admitted.folded,
        _spool: spool,
    }))
}

/// Refuses commands whose idea of the ref is no longer true, and names that clash with others.
fn check_current(shown: &BTreeMap<Vec<u8>, Oid>, state: &State, verdicts: &mut [Verdict]) {
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
        let Command { name, old, new } = &verdict.command;
        let now = shown.get(name);
        let expected = if old.is_null() { None } else { Some(own(old)) };
        if now.copied() != expected {
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

/// A living ref that is a folder of `name`, or below it.
fn clash(name: &[u8], after: &BTreeMap<Vec<u8>, bool>) -> Option<Vec<u8>> {
    let slashes = name
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    let above = slashes
        .filter_map(|at| name.get(..at))
        .find(|parent| after.contains_key(*parent));
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

/// Fills in, from the git graph, which heads each new value contains and which it forces away. Refuses what a policy
/// protects.
fn update(
    cell: &Cell,
    state: &State,
    shown: &BTreeMap<Vec<u8>, Oid>,
    verdicts: &mut [Verdict],
    spool: Option<&Received>,
    push: &Push<'_>,
) -> Result<Update, Fault> {
    let protected = state.fold().policy().protected;
    let mut changes = Vec::new();
    let moves = |verdict: &&mut Verdict| {
        verdict.refusal.is_none() && verdict.command.old != verdict.command.new
    };
    for verdict in verdicts.iter_mut().filter(moves) {
        let command = &verdict.command;
        let name = RefName::new(&command.name).expect("refused above when it is no ref name");
        let visible = shown.get(&command.name).copied();
        let change = change(cell, state, name, own(&command.new), visible)?;
        let takes_away = change.new.is_zero() || !change.forced.is_empty();
        if takes_away && protected.contains(&change.name) {
            let reason = VoidReason::Protected;
            verdict.refusal = Some(format!(
                "it is protected: neither forced nor deleted ({}, rule {})",
                reason.code(),
                reason.rule()
            ));
        } else {
            changes.push(change);
        }
    }
    if push.atomic && verdicts.iter().any(|verdict| verdict.refusal.is_some()) {
        refuse_rest(verdicts);
        changes.clear();
    }
    changes.sort_by(|a: &Change, b: &Change| a.name.cmp(&b.name));
    changes.dedup_by(|a, b| a.name == b.name);
    let head = head_after(state, &changes, push.wishes.head.as_ref());
    let pack = spool.map(|spool| PackHint {
        blake3: spool.blake3(),
        bytes: spool.bytes(),
    });
    Ok(Update {
        changes,
        head,
        pack,
    })
}

/// A head whose objects are not here is neither contained nor forced: nobody has seen it, and it stays a head. The
/// same goes for the other heads of a divergent ref, unless the new value contains them.
pub(crate) fn change(
    cell: &Cell,
    state: &State,
    name: RefName,
    new: Oid,
    visible: Option<Oid>,
) -> Result<Change, Fault> {
    let fault = pack_fault(*cell.id(), "walk");
    let (mut contained, mut forced) = (Vec::new(), Vec::new());
    for head in state.fold().heads_of(&name) {
        let inside = head.oid.is_zero()
            || (!new.is_zero()
                && cell.repo().has(&git(head.oid)).map_err(&fault)?
                && cell
                    .repo()
                    .is_ancestor(&git(head.oid), &git(new))
                    .map_err(&fault)?);
        if inside {
            contained.push(head.update);
        } else if visible == Some(head.oid) {
            forced.push(head.update);
        }
    }
    contained.truncate(NAMED_HEADS_MAX);
    forced.truncate(NAMED_HEADS_MAX);
    contained.sort_unstable();
    forced.sort_unstable();
    Ok(Change {
        name,
        new,
        contained,
        forced,
    })
}

/// HEAD's target, when this push changes it: asked for, or chosen by the first push that brings a branch.
fn head_after(state: &State, changes: &[Change], wish: Option<&RefName>) -> Option<RefName> {
    let current = state.fold().head_target();
    let lives = |name: &RefName| {
        changes
            .iter()
            .any(|change| change.name == *name && !change.new.is_zero())
    };
    if let Some(wish) = wish {
        let known = lives(wish) || state.fold().served().contains_key(wish.as_bytes());
        return (known && current.as_ref() != Some(wish)).then(|| wish.clone());
    }
    if current.is_some() {
        return None;
    }
    let branches = || {
        changes.iter().filter(|change| {
            change.name.as_bytes().starts_with(b"refs/heads/") && !change.new.is_zero()
        })
    };
    let usual = |wanted: &[u8]| branches().find(|change| change.name.as_bytes() == wanted);
    let chosen = usual(b"refs/heads/main")
        .or_else(|| usual(b"refs/heads/master"))
        .or_else(|| branches().next());
    chosen.map(|change| change.name.clone())
}

/// Waits until enough peers have answered, or the limit is over.
fn await_peers(
    envoy: &Envoy,
    cell: &Cell,
    answers: &Receiver<Answer>,
    wait: Wait,
    limit: Duration,
) -> Standing {
    let mut open: Vec<String> = envoy
        .partners(cell)
        .iter()
        .map(|neighbour| neighbour.name().to_owned())
        .collect();
    let needed = wait.needed(open.len());
    let begun = Instant::now();
    let mut standing = Standing {
        own: envoy.name().to_owned(),
        did_not_wait: limit.is_zero(),
        kept_to_members: open.len() < envoy.neighbours().len(),
        ..Standing::default()
    };
    while standing.durable.len() < needed && !open.is_empty() {
        let Some(left) = limit
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        else {
            break;
        };
        let answer = match answers.recv_timeout(left) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        };
        open.retain(|name| *name != answer.peer);
        match answer.outcome {
            Outcome::Durable => {
                let after = begun.elapsed();
                standing.answered.push((answer.peer.clone(), after));
                standing.durable.push(answer.peer);
            }
            Outcome::Away(line) => standing.away.push(line),
            Outcome::GaveUp(line) => standing.gave_up.push(line),
        }
    }
    standing.durable.sort();
    standing.away.sort();
    standing.gave_up.sort();
    standing.open = open;
    standing.waited_s = begun.elapsed().as_secs();
    standing.short_of = match wait {
        Wait::Default => 0,
        Wait::All | Wait::Majority | Wait::Peers(_) => {
            needed.saturating_sub(standing.durable.len())
        }
    };
    standing
}

fn short(oid: &Oid) -> String {
    oid.to_string().chars().take(7).collect()
}
