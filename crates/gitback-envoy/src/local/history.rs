//! A project's envelopes as people read them.

use gitback_envelope::{Act, Oid, Policy, Scope, Update, Verdict, Verified};
use gitback_helper::{GrantStatus, LOG_PAGE_MAX, LogEntry, Reply};
use gitback_identity::hex;

use super::wishes::word;
use crate::cell::State;
use crate::clock;
use crate::daemon::Envoy;

/// Most refs that are named in one line.
const REFS_SHOWN: usize = 3;

/// A page of the envelopes, in the order in which they folded here.
pub(super) fn page(envoy: &Envoy, state: &State, skip: u64) -> Reply {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let mut rest = state.fold().iter().skip(skip);
    let shown = rest.by_ref().take(LOG_PAGE_MAX);
    let entries = shown
        .map(|envelope| entry(envoy, state, envelope))
        .collect();
    Reply::Log {
        entries,
        more: rest.next().is_some(),
    }
}

fn entry(envoy: &Envoy, state: &State, envelope: &Verified) -> LogEntry {
    let statement = envelope.statement();
    let reason = match state.fold().verdict(envelope.id()) {
        Verdict::Void(reason) => Some(reason),
        Verdict::Valid | Verdict::Waiting | Verdict::Unknown => None,
    };
    let verdict = match state.fold().verdict(envelope.id()) {
        Verdict::Valid => "valid",
        Verdict::Void(_) => "void",
        Verdict::Waiting | Verdict::Unknown => "waiting",
    };
    LogEntry {
        id: envelope.id().to_string(),
        kind: statement.act.kind().to_owned(),
        puddle: statement.puddle.to_string(),
        signer: statement.signer.to_string(),
        envoy: statement.envoy.map(|key| key.to_string()),
        incarnation: hex::encode(statement.incarnation.as_bytes()),
        seq: statement.seq,
        time_ms: statement.time_ms,
        verdict: verdict.to_owned(),
        code: reason.map(|reason| reason.code().to_owned()),
        rule: reason.map(|reason| reason.rule()),
        why: reason.map(|reason| reason.to_string()),
        says: says(envoy, state, envelope),
        prev: statement.prev.map(|id| id.to_string()),
        deps: statement.deps.iter().map(ToString::to_string).collect(),
        grant: statement.grant().map(|grant| {
            let live = state.fold().grants_for(&grant.envoy, grant.uid);
            GrantStatus {
                envoy: grant.envoy.to_string(),
                uid: grant.uid,
                expires_ms: grant.expires_ms,
                live: live.iter().any(|one| one.id() == envelope.id()),
            }
        }),
        ungrants: match &statement.act {
            Act::Ungrant(ungrant) => Some(ungrant.envoy.to_string()),
            _ => None,
        },
    }
}

/// What an envelope says, in one line.
fn says(envoy: &Envoy, state: &State, envelope: &Verified) -> String {
    let invited = |id| match state.fold().get(id).map(|one| &one.statement().act) {
        Some(Act::Invite(invite)) => invite.puddle.fingerprint().to_string(),
        _ => format!("whom {id} invites"),
    };
    match &envelope.statement().act {
        Act::Init { handle } => format!("founds {handle}"),
        Act::Policy(policy) => policed(policy),
        Act::Merge => "gathers heads".to_owned(),
        Act::Invite(invite) => format!(
            "invites {} as {}",
            invite.puddle.fingerprint(),
            word(invite.role)
        ),
        Act::Join { .. } => "joins".to_owned(),
        Act::Leave { .. } => "leaves".to_owned(),
        Act::Revoke(revoke) => format!("ends the membership of {}", invited(&revoke.invite)),
        Act::Rejoin { .. } => "asks to be invited again".to_owned(),
        Act::Grant(grant) => {
            let until = grant.expires_ms.map_or_else(String::new, |at| {
                format!(" until {}", clock::day(at, clock::now_ms()))
            });
            let name = envoy.name_of(&grant.envoy);
            format!("lets {name} sign for user {}{until}", grant.uid)
        }
        Act::Ungrant(ungrant) => {
            format!("lets {} sign no longer", envoy.name_of(&ungrant.envoy))
        }
        Act::Delegate(delegate) => format!(
            "hands the project on to {} (hop {})",
            delegate.to.fingerprint(),
            delegate.hop
        ),
        Act::Tombstone(tombstone) => format!(
            "ends the project; gitback://{}/{} takes its place",
            tombstone.successor(),
            tombstone.handle
        ),
        Act::Update(update) => moved(update),
        Act::Unknown { kind } => format!("{kind}, which this version does not know"),
    }
}

fn policed(policy: &Policy) -> String {
    let mut says = match policy.scope {
        Scope::MembersOnly => "for the members' envoys only".to_owned(),
        Scope::SwarmWide => "for every envoy of the fleet".to_owned(),
    };
    if !policy.protected.is_empty() {
        let names = policy.protected.iter();
        let names: Vec<_> = names
            .map(|name| String::from_utf8_lossy(name.as_bytes()))
            .collect();
        says.push_str(&format!(", protects {}", names.join(", ")));
    }
    if let Some(replicas) = policy.replicas {
        says.push_str(&format!(", {replicas} copies wanted"));
    }
    says
}

fn moved(update: &Update) -> String {
    let mut parts: Vec<String> = Vec::new();
    for change in update.changes.iter().take(REFS_SHOWN) {
        let name = String::from_utf8_lossy(change.name.as_bytes()).into_owned();
        parts.push(if change.new.is_zero() {
            format!("deletes {name}")
        } else if change.forced.is_empty() {
            format!("{name} to {}", short(&change.new))
        } else {
            format!("{name} forced to {}", short(&change.new))
        });
    }
    let more = update.changes.len().saturating_sub(REFS_SHOWN);
    if more > 0 {
        parts.push(format!("{more} more refs"));
    }
    if let Some(head) = &update.head {
        let head = String::from_utf8_lossy(head.as_bytes()).into_owned();
        parts.push(format!("HEAD to {head}"));
    }
    parts.join(", ")
}

fn short(oid: &Oid) -> String {
    oid.to_string().chars().take(10).collect()
}
