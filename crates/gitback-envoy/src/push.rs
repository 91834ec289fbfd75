//! A push by a local user: from git's commands to a durable update, refs, and the lines that name who holds it.

mod round;
mod update;
mod verdict;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gitback_envelope::{EnvelopeId, RefName};
use gitback_identity::PuddleKey;
use gitback_pack::receive::{Command, Request, Session};
use gitback_pack::{Bound, Incoming, Kind, Limits, Quarantine, Received, Reject};

use crate::aftermath;
use crate::cell::Cell;
use crate::config::{field, over};
use crate::daemon::{Envoy, chain};
use crate::fanout::{Answer, Fanout, Outcome};
use crate::fault::{Fault, pack_fault};
use crate::fresh;
use crate::quota::Quota;
use crate::trace::{Millis, Trace};
use crate::wait::{Standing, Wait};
pub(crate) use round::Ready;
pub(crate) use update::change;
use verdict::{Verdict, check_disk, check_names, names, open, refuse_all};

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
    /// What the user's git calls the project.
    pub(crate) remote: Option<String>,
}

/// What a push asked for by `-o gitback.…`.
struct Wishes {
    wait: Wait,
    head: Option<RefName>,
}

/// What a push is besides its commands.
#[derive(Debug)]
struct Push {
    uid: u32,
    puddle: PuddleKey,
    atomic: bool,
    /// What `HEAD` is to name.
    head: Option<RefName>,
}

/// What the commit point made durable. The spool is kept while peers may still read it.
#[derive(Debug)]
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
    // What the greeting says is here stays until the refs have moved.
    let _in_use = cell.repo().in_use();
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
            let (problem, hint) = not_taken(envoy, &reject, quota);
            refuse_all(&mut verdicts, &problem);
            if let Some(hint) = hint {
                session.message(&hint)?;
            }
            return finish(session, Err(problem), &verdicts);
        }
    };
    let push = Push {
        uid: pusher.uid,
        puddle: pusher.puddle,
        atomic,
        head: wishes.head,
    };
    match commit_in_turn(envoy, cell, push, &mut verdicts, quarantine, &mut trace) {
        Ok(Some(stored)) => {
            let answers = fanout.stored(&stored.ids);
            let configured = pusher.push_wait.unwrap_or(envoy.config().push_wait());
            let limit = wishes.wait.limit(configured);
            let standing = await_peers(envoy, cell, &answers, wishes.wait, limit);
            trace.step("peers");
            let aftermath = aftermath::lines(envoy, cell, &stored.ids, pusher.remote.as_deref());
            for line in standing.lines().into_iter().chain(aftermath) {
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
    let push = Push {
        uid: pusher.uid,
        puddle: pusher.puddle,
        atomic: true,
        head: None,
    };
    let fanout = Fanout::begin(envoy, cell, None);
    let mut trace = Trace::begin();
    let stored = match commit_in_turn(envoy, cell, push, &mut verdicts, None, &mut trace) {
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
    let standing = await_peers(envoy, cell, &answers, Wait::Default, limit);
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

/// Why a pack is not taken, and a line with the way out if it is for a limit.
fn not_taken(envoy: &Envoy, reject: &Reject, quota: Option<Quota>) -> (String, Option<String>) {
    let Reject::OverLimit { bound, limit } = reject else {
        return (chain(reject), None);
    };
    if *bound == Bound::Input
        && let Some(quota) = quota
        && quota.refuses(limit.saturating_add(1))
    {
        return (quota.refusal(envoy.name()), None);
    }
    let hint = format!(
        "hint: who runs {} can raise {} in its envoy.toml; fewer commits at a time may come in as it is",
        envoy.name(),
        field(*bound)
    );
    (over(reject, &envoy.pack_limits()), Some(hint))
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
    match quarantine.check_connected(&tips) {
        Ok(()) => {}
        // For each alone nothing is left.
        Err(reject) if reject.is_over_limit() => return Err(reject),
        // Find out which: one broken branch must not stop the others.
        Err(_) => refuse_unconnected(&quarantine, verdicts)?,
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

/// Refuses those refs whose new values need something that is nowhere. The error is about all of them.
fn refuse_unconnected(quarantine: &Quarantine, verdicts: &mut [Verdict]) -> Result<(), Reject> {
    let wanting = verdicts
        .iter_mut()
        .filter(|verdict| verdict.wants_objects());
    for verdict in wanting {
        match quarantine.check_connected(&[verdict.command.new]) {
            Ok(()) => {}
            Err(reject) if reject.is_over_limit() => return Err(reject),
            Err(reject) => verdict.refusal = Some(chain(&reject)),
        }
    }
    Ok(())
}

/// Syncs what came, brings in what is newer elsewhere, waits for those who go first, and commits.
fn commit_in_turn(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    push: Push,
    verdicts: &mut Vec<Verdict>,
    mut quarantine: Option<(Quarantine, Received)>,
    trace: &mut Trace,
) -> Result<Option<Stored>, Fault> {
    // Before anything is taken for which others wait: so several pushes sync at the same time.
    if let Some((quarantine, _)) = &mut quarantine
        && verdicts.iter().any(|verdict| verdict.refusal.is_none())
    {
        let settled = quarantine.settle();
        settled.map_err(pack_fault(*cell.id(), "store objects in"))?;
        trace.step("sync");
    }
    // Held until the push is stored: nobody who asks meanwhile stores another one to the same refs.
    let turn = fresh::check(envoy, cell, names(verdicts), envoy.config().push_check());
    trace.step("turn");
    let (judged, timed) = (std::mem::take(verdicts), std::mem::take(trace));
    let ready = Ready::new(push, judged, quarantine, timed);
    let mut done = cell.pushes().through(
        ready,
        Ready::meets,
        || cell.lock(),
        |state, round| round::store(envoy, cell, state, round),
    );
    drop(turn);
    *verdicts = std::mem::take(&mut done.verdicts);
    *trace = std::mem::take(&mut done.trace);
    done.into_outcome()
}

/// Waits until enough peers have answered, or the limit is over.
fn await_peers(
    envoy: &Envoy,
    cell: &Cell,
    answers: &Receiver<Answer>,
    wait: Wait,
    limit: Duration,
) -> Standing {
    let partners = envoy.partners(cell);
    let has_wrong_key = |name: &str| {
        let mut named = partners.iter().filter(|neighbour| neighbour.name() == name);
        named.any(|neighbour| neighbour.has_wrong_key())
    };
    let mut open: Vec<String> = partners
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
            Outcome::Away(line) if has_wrong_key(&answer.peer) => standing.wrong_key.push(line),
            Outcome::Away(line) => standing.away.push(line),
            Outcome::GaveUp(line) => standing.gave_up.push(line),
        }
    }
    standing.durable.sort();
    standing.away.sort();
    standing.wrong_key.sort();
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
