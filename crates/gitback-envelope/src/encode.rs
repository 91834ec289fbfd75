//! Writing a statement's body.

use alloc::vec::Vec;

use crate::cbor::Writer;
use crate::decode::key;
use crate::id::EnvelopeId;
use crate::reject::Reject;
use crate::statement::{Act, Change, Grant, Statement, Update};

/// The body of `statement`, in which lists stand as the caller gave them: only the reader judges them.
pub(crate) fn body(statement: &Statement) -> Result<Vec<u8>, Reject> {
    let mut writer = Writer::default();
    writer.map(header_fields(statement) + act_fields(&statement.act)?);
    header(&mut writer, statement);
    match &statement.act {
        Act::Init { handle } => {
            writer.uint(key::HANDLE);
            writer.text(handle.as_str());
        }
        Act::Grant(act) => grant(&mut writer, act),
        Act::Update(act) => update(&mut writer, act),
        Act::Unknown { .. } => return Err(Reject::NotWritable),
    }
    Ok(writer.finish())
}

fn header_fields(statement: &Statement) -> usize {
    6 + usize::from(statement.prev.is_some())
        + usize::from(!statement.deps.is_empty())
        + usize::from(statement.time_ms.is_some())
}

fn act_fields(act: &Act) -> Result<usize, Reject> {
    match act {
        Act::Init { .. } => Ok(1),
        Act::Grant(grant) => Ok(2 + usize::from(grant.expires_ms.is_some())),
        Act::Update(update) => {
            Ok(1 + usize::from(update.head.is_some()) + usize::from(update.pack.is_some()))
        }
        Act::Unknown { .. } => Err(Reject::NotWritable),
    }
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
