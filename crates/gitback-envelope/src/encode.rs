//! Writing a statement's body.

use alloc::vec::Vec;

use crate::act::{Act, Change, Delegate, Grant, Policy, Role, Scope, Tombstone, Update};
use crate::cbor::Writer;
use crate::decode::key;
use crate::id::EnvelopeId;
use crate::reject::Reject;
use crate::statement::Statement;

/// The body of `statement`, in which lists stand as the caller gave them: only the reader judges them.
pub(crate) fn body(statement: &Statement) -> Result<Vec<u8>, Reject> {
    let fields = act_fields(&statement.act)?;
    let mut writer = begin(statement, fields);
    act(&mut writer, &statement.act);
    if let Act::Delegate(delegate) = &statement.act {
        writer.uint(key::ACCEPT);
        writer.bytes(delegate.accept.as_bytes());
    }
    Ok(writer.finish())
}

/// The body of a `delegate` without the heir's signature, which is its last field.
pub(crate) fn acceptance(statement: &Statement) -> Result<Vec<u8>, Reject> {
    let fields = act_fields(&statement.act)?;
    let mut writer = begin(statement, fields.saturating_sub(1));
    act(&mut writer, &statement.act);
    Ok(writer.finish())
}

fn begin(statement: &Statement, act_fields: usize) -> Writer {
    let mut writer = Writer::default();
    writer.map(header_fields(statement) + act_fields);
    header(&mut writer, statement);
    writer
}

/// What the kind says, the heir's signature excepted.
fn act(writer: &mut Writer, act: &Act) {
    match act {
        Act::Init { handle } => {
            writer.uint(key::HANDLE);
            writer.text(handle.as_str());
        }
        Act::Policy(act) => policy(writer, act),
        Act::Merge | Act::Unknown { .. } => {}
        Act::Invite(act) => {
            writer.uint(key::INVITED);
            writer.bytes(act.puddle.as_bytes());
            writer.uint(key::ROLE);
            writer.uint(match act.role {
                Role::Member => 0,
                Role::Reader => 1,
            });
        }
        Act::Join { invite } | Act::Leave { invite } | Act::Rejoin { invite } => {
            writer.uint(key::INSTANCE);
            writer.bytes(invite.as_bytes());
        }
        Act::Revoke(act) => {
            writer.uint(key::INSTANCE);
            writer.bytes(act.invite.as_bytes());
            writer.uint(key::REVOKE_CUT);
            ids(writer, &act.cut);
        }
        Act::Grant(act) => grant(writer, act),
        Act::Ungrant(act) => {
            writer.uint(key::GRANTED_ENVOY);
            writer.bytes(act.envoy.as_bytes());
            writer.uint(key::UNGRANT_CUT);
            ids(writer, &act.cut);
        }
        Act::Delegate(act) => delegate(writer, act),
        Act::Tombstone(act) => tombstone(writer, act),
        Act::Update(act) => update(writer, act),
    }
}

fn header_fields(statement: &Statement) -> usize {
    6 + usize::from(statement.prev.is_some())
        + usize::from(!statement.deps.is_empty())
        + usize::from(statement.time_ms.is_some())
}

fn act_fields(act: &Act) -> Result<usize, Reject> {
    Ok(match act {
        Act::Merge => 0,
        Act::Init { .. } | Act::Join { .. } | Act::Leave { .. } | Act::Rejoin { .. } => 1,
        Act::Invite(_) | Act::Revoke(_) | Act::Ungrant(_) => 2,
        Act::Tombstone(_) => 3,
        Act::Policy(policy) => {
            1 + usize::from(!policy.protected.is_empty()) + usize::from(policy.replicas.is_some())
        }
        Act::Grant(grant) => 2 + usize::from(grant.expires_ms.is_some()),
        Act::Delegate(delegate) => 4 + usize::from(delegate.next.is_some()),
        Act::Update(update) => {
            1 + usize::from(update.head.is_some()) + usize::from(update.pack.is_some())
        }
        Act::Unknown { .. } => return Err(Reject::NotWritable),
    })
}

fn header(writer: &mut Writer, statement: &Statement) {
    writer.uint(key::PROJECT);
    writer.bytes(statement.project.as_bytes());
    writer.uint(key::SIGNER);
    writer.bytes(statement.signer.as_bytes());
    writer.uint(key::PUDDLE);
    writer.bytes(statement.puddle.as_bytes());
    writer.uint(key::ENVOY);
    writer.bytes(match &statement.envoy {
        Some(envoy) => envoy.as_bytes(),
        None => &[0; 32],
    });
    writer.uint(key::INCARNATION);
    writer.bytes(statement.incarnation.as_bytes());
    writer.uint(key::SEQ);
    writer.uint(statement.seq);
    if let Some(prev) = &statement.prev {
        writer.uint(key::PREV);
        writer.bytes(prev.as_bytes());
    }
    if !statement.deps.is_empty() {
        writer.uint(key::DEPS);
        ids(writer, &statement.deps);
    }
    if let Some(time_ms) = statement.time_ms {
        writer.uint(key::TIME);
        writer.uint(time_ms);
    }
}

fn policy(writer: &mut Writer, policy: &Policy) {
    writer.uint(key::SCOPE);
    writer.uint(match policy.scope {
        Scope::MembersOnly => 0,
        Scope::SwarmWide => 1,
    });
    if !policy.protected.is_empty() {
        writer.uint(key::PROTECTED);
        writer.array(policy.protected.len());
        for name in &policy.protected {
            writer.bytes(name.as_bytes());
        }
    }
    if let Some(replicas) = policy.replicas {
        writer.uint(key::REPLICAS);
        writer.uint(replicas.into());
    }
}

fn delegate(writer: &mut Writer, delegate: &Delegate) {
    writer.uint(key::HOP);
    writer.uint(delegate.hop);
    writer.uint(key::HEIR);
    writer.bytes(delegate.to.as_bytes());
    if let Some(next) = &delegate.next {
        writer.uint(key::NEXT);
        writer.bytes(next);
    }
    writer.uint(key::DELEGATE_CUT);
    ids(writer, &delegate.cut);
}

fn tombstone(writer: &mut Writer, tombstone: &Tombstone) {
    writer.uint(key::SUCCESSOR_FOUNDER);
    writer.bytes(tombstone.founder.as_bytes());
    writer.uint(key::SUCCESSOR_HANDLE);
    writer.text(tombstone.handle.as_str());
    writer.uint(key::TOMBSTONE_CUT);
    ids(writer, &tombstone.cut);
}

fn grant(writer: &mut Writer, grant: &Grant) {
    writer.uint(key::GRANTED_ENVOY);
    writer.bytes(grant.envoy.as_bytes());
    writer.uint(key::UID);
    writer.uint(grant.uid.into());
    if let Some(expires_ms) = grant.expires_ms {
        writer.uint(key::EXPIRES);
        writer.uint(expires_ms);
    }
}

fn update(writer: &mut Writer, update: &Update) {
    writer.uint(key::CHANGES);
    writer.array(update.changes.len());
    for change in &update.changes {
        self::change(writer, change);
    }
    if let Some(head) = &update.head {
        writer.uint(key::HEAD);
        writer.bytes(head.as_bytes());
    }
    if let Some(pack) = &update.pack {
        writer.uint(key::PACK);
        writer.array(2);
        writer.bytes(&pack.blake3);
        writer.uint(pack.bytes);
    }
}

fn change(writer: &mut Writer, change: &Change) {
    writer.array(4);
    writer.bytes(change.name.as_bytes());
    writer.bytes(change.new.as_bytes());
    ids(writer, &change.contained);
    ids(writer, &change.forced);
}

fn ids(writer: &mut Writer, ids: &[EnvelopeId]) {
    writer.array(ids.len());
    for id in ids {
        writer.bytes(id.as_bytes());
    }
}
