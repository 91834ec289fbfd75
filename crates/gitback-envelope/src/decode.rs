//! Reading a statement's body.

use alloc::string::String;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, KeyReject, ProjectId, PublicKey, PuddleKey};

use crate::cbor::{Keys, Reader};
use crate::id::{EnvelopeId, Incarnation, Oid};
use crate::kind::Kind;
use crate::refname::RefName;
use crate::reject::{Breach, FieldFault, Malformed, Reject};
use crate::statement::{
    Act, CHANGES_MAX, Change, DEPS_MAX, Grant, NAMED_HEADS_MAX, PackHint, Statement, Update,
};

/// The numbers of the fields, docs/spec/envelope.md §4 and §5.
pub(crate) mod key {
    pub(crate) const PROJECT: u64 = 0;
    pub(crate) const SIGNER: u64 = 1;
    pub(crate) const PUDDLE: u64 = 2;
    pub(crate) const ENVOY: u64 = 3;
    pub(crate) const INCARNATION: u64 = 4;
    pub(crate) const SEQ: u64 = 5;
    pub(crate) const PREV: u64 = 6;
    pub(crate) const DEPS: u64 = 7;
    pub(crate) const TIME: u64 = 8;

    pub(crate) const HANDLE: u64 = 16;

    pub(crate) const GRANTED_ENVOY: u64 = 16;
    pub(crate) const UID: u64 = 17;
    pub(crate) const EXPIRES: u64 = 18;

    pub(crate) const CHANGES: u64 = 16;
    pub(crate) const HEAD: u64 = 17;
    pub(crate) const PACK: u64 = 18;
}

/// Reads a body of the kind that `type_name` says, by every rule that needs nothing but these bytes.
pub(crate) fn statement(type_name: &str, body: &[u8]) -> Result<Statement, Reject> {
    let kind = Kind::of(type_name)?;
    let limit = kind.body_max();
    if body.len() > limit {
        return Err(Reject::TooLarge { limit });
    }
    let mut reader = Reader::new(body);
    let mut keys = Keys::default();
    let mut header = Header::default();
    let mut fields = Fields::of(kind);
    for _ in 0..reader.map()? {
        let key = keys.next(&mut reader)?;
        if !header.read(key, &mut reader)? {
            fields.read(key, &mut reader)?;
        }
    }
    reader.finish()?;
    let statement = header.finish(fields.finish()?)?;
    check_rules(&statement)?;
    Ok(statement)
}

/// The fields that every kind has.
#[derive(Default)]
struct Header {
    project: Option<ProjectId>,
    signer: Option<PublicKey>,
    puddle: Option<PuddleKey>,
    envoy: Option<Option<EnvoyKey>>,
    incarnation: Option<Incarnation>,
    seq: Option<u64>,
    prev: Option<EnvelopeId>,
    deps: Vec<EnvelopeId>,
    time_ms: Option<u64>,
}

impl Header {
    /// Reads the value of `key` if it belongs to the header.
    fn read(&mut self, key: u64, reader: &mut Reader<'_>) -> Result<bool, Reject> {
        match key {
            key::PROJECT => self.project = Some(ProjectId::from_bytes(fixed(key, reader)?)),
            key::SIGNER => self.signer = Some(public_key(key, reader)?),
            key::PUDDLE => self.puddle = Some(PuddleKey::new(public_key(key, reader)?)),
            key::ENVOY => {
                let bytes = fixed(key, reader)?;
                self.envoy = Some(if *bytes == [0; 32] {
                    None
                } else {
                    Some(EnvoyKey::from_bytes(bytes).map_err(|reason| bad_key(key, reason))?)
                });
            }
            key::INCARNATION => {
                self.incarnation = Some(Incarnation::from_bytes(fixed(key, reader)?));
            }
            key::SEQ => self.seq = Some(reader.uint()?),
            key::PREV => self.prev = Some(EnvelopeId::from_bytes(fixed(key, reader)?)),
            key::DEPS => {
                self.deps = ids(key, reader, DEPS_MAX)?;
                if self.deps.is_empty() {
                    return Err(Reject::field(key, FieldFault::Empty));
                }
            }
            key::TIME => self.time_ms = Some(reader.uint()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, act: Act) -> Result<Statement, Reject> {
        Ok(Statement {
            project: self.project.ok_or_else(|| missing(key::PROJECT))?,
            signer: self.signer.ok_or_else(|| missing(key::SIGNER))?,
            puddle: self.puddle.ok_or_else(|| missing(key::PUDDLE))?,
            envoy: self.envoy.ok_or_else(|| missing(key::ENVOY))?,
            incarnation: self.incarnation.ok_or_else(|| missing(key::INCARNATION))?,
            seq: self.seq.ok_or_else(|| missing(key::SEQ))?,
            prev: self.prev,
            deps: self.deps,
            time_ms: self.time_ms,
            act,
        })
    }
}

/// The fields that one kind has, as far as they have been read.
enum Fields {
    Init {
        handle: Option<Handle>,
    },
    Grant {
        envoy: Option<EnvoyKey>,
        uid: Option<u32>,
        expires_ms: Option<u64>,
    },
    Update {
        changes: Option<Vec<Change>>,
        head: Option<RefName>,
        pack: Option<PackHint>,
    },
    Unknown {
        kind: String,
    },
}

impl Fields {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Init => Self::Init { handle: None },
            Kind::Grant => Self::Grant {
                envoy: None,
                uid: None,
                expires_ms: None,
            },
            Kind::Update => Self::Update {
                changes: None,
                head: None,
                pack: None,
            },
            Kind::Unknown(kind) => Self::Unknown { kind },
        }
    }

    fn read(&mut self, key: u64, reader: &mut Reader<'_>) -> Result<(), Reject> {
        match (self, key) {
            (Self::Init { handle }, key::HANDLE) => {
                let text = reader.text()?;
                let parsed = Handle::parse(text)
                    .map_err(|reason| Reject::field(key, FieldFault::Handle(reason)))?;
                *handle = Some(parsed);
            }
            (Self::Grant { envoy, .. }, key::GRANTED_ENVOY) => {
                *envoy = Some(EnvoyKey::new(public_key(key, reader)?));
            }
            (Self::Grant { uid, .. }, key::UID) => {
                let number = u32::try_from(reader.uint()?)
                    .map_err(|_| Reject::field(key, FieldFault::OutOfRange))?;
                *uid = Some(number);
            }
            (Self::Grant { expires_ms, .. }, key::EXPIRES) => *expires_ms = Some(reader.uint()?),
            (Self::Update { changes, .. }, key::CHANGES) => *changes = Some(read_changes(reader)?),
            (Self::Update { head, .. }, key::HEAD) => *head = Some(ref_name(key, reader)?),
            (Self::Update { pack, .. }, key::PACK) => *pack = Some(pack_hint(reader)?),
            (Self::Unknown { .. }, _) => reader.skip()?,
            _ => return Err(Reject::field(key, FieldFault::Unknown)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Act, Reject> {
        match self {
            Self::Init { handle } => Ok(Act::Init {
                handle: handle.ok_or_else(|| missing(key::HANDLE))?,
            }),
            Self::Grant {
                envoy,
                uid,
                expires_ms,
            } => Ok(Act::Grant(Grant {
                envoy: envoy.ok_or_else(|| missing(key::GRANTED_ENVOY))?,
                uid: uid.ok_or_else(|| missing(key::UID))?,
                expires_ms,
            })),
            Self::Update {
                changes,
                head,
                pack,
            } => Ok(Act::Update(Update {
                changes: changes.ok_or_else(|| missing(key::CHANGES))?,
                head,
                pack,
            })),
            Self::Unknown { kind } => Ok(Act::Unknown { kind }),
        }
    }
}

fn read_changes(reader: &mut Reader<'_>) -> Result<Vec<Change>, Reject> {
    let key = key::CHANGES;
    let count = bounded(key, reader.array()?, CHANGES_MAX)?;
    if count == 0 {
        return Err(Reject::field(key, FieldFault::Empty));
    }
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..count {
        let change = change(reader)?;
        if changes.last().is_some_and(|last| last.name >= change.name) {
            return Err(Reject::field(key, FieldFault::OutOfOrder));
        }
        changes.push(change);
    }
    Ok(changes)
}

fn change(reader: &mut Reader<'_>) -> Result<Change, Reject> {
    let key = key::CHANGES;
    if reader.array()? != 4 {
        return Err(Malformed::ItemCount.into());
    }
    Ok(Change {
        name: ref_name(key, reader)?,
        new: Oid::from_bytes(fixed(key, reader)?),
        contained: ids(key, reader, NAMED_HEADS_MAX)?,
        forced: ids(key, reader, NAMED_HEADS_MAX)?,
    })
}

fn pack_hint(reader: &mut Reader<'_>) -> Result<PackHint, Reject> {
    if reader.array()? != 2 {
        return Err(Malformed::ItemCount.into());
    }
    Ok(PackHint {
        blake3: *fixed(key::PACK, reader)?,
        bytes: reader.uint()?,
    })
}

fn ref_name(key: u64, reader: &mut Reader<'_>) -> Result<RefName, Reject> {
    RefName::new(reader.bytes()?).map_err(|reason| Reject::field(key, FieldFault::RefName(reason)))
}

fn public_key(key: u64, reader: &mut Reader<'_>) -> Result<PublicKey, Reject> {
    PublicKey::from_bytes(fixed(key, reader)?).map_err(|reason| bad_key(key, reason))
}

/// A strictly ascending list. Grows only as items are really there, so a false count costs nothing.
fn ids(key: u64, reader: &mut Reader<'_>, limit: usize) -> Result<Vec<EnvelopeId>, Reject> {
    let count = bounded(key, reader.array()?, limit)?;
    let mut ids: Vec<EnvelopeId> = Vec::new();
    for _ in 0..count {
        let id = EnvelopeId::from_bytes(fixed(key, reader)?);
        if ids.last().is_some_and(|last| *last >= id) {
            return Err(Reject::field(key, FieldFault::OutOfOrder));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn fixed<'a, const N: usize>(key: u64, reader: &mut Reader<'a>) -> Result<&'a [u8; N], Reject> {
    reader
        .bytes()?
        .try_into()
        .map_err(|_| Reject::field(key, FieldFault::WrongLength))
}

fn bounded(key: u64, count: u64, limit: usize) -> Result<usize, Reject> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= limit)
        .ok_or(Reject::field(key, FieldFault::TooMany { limit }))
}

const fn missing(key: u64) -> Reject {
    Reject::field(key, FieldFault::Missing)
}

const fn bad_key(key: u64, reason: KeyReject) -> Reject {
    Reject::field(key, FieldFault::Key(reason))
}

/// The rules between fields, docs/spec/envelope.md §4 and §5.
fn check_rules(statement: &Statement) -> Result<(), Breach> {
    if let Act::Init { handle } = &statement.act {
        return check_init(statement, handle);
    }
    if statement.prev.is_some() == (statement.seq == 0) {
        return Err(Breach::PrevMismatch);
    }
    if statement.prev.is_none() && statement.deps.is_empty() {
        return Err(Breach::NoPast);
    }
    if statement.incarnation.is_zero() {
        return Err(Breach::NoIncarnation);
    }
    let signed_by_puddle = statement.signer == *statement.puddle.key();
    match &statement.act {
        Act::Grant(_) => {
            if statement.envoy.is_none() {
                return Err(Breach::NoEnvoy);
            }
            if !signed_by_puddle {
                return Err(Breach::WrongSigner);
            }
        }
        Act::Update(_) => {
            let envoy = statement.envoy.ok_or(Breach::NoEnvoy)?;
            if !signed_by_puddle && statement.signer != *envoy.key() {
                return Err(Breach::WrongSigner);
            }
        }
        Act::Init { .. } | Act::Unknown { .. } => {}
    }
    Ok(())
}

/// `init` has no free field, so that its founder can make the very same one again anywhere.
fn check_init(statement: &Statement, handle: &Handle) -> Result<(), Breach> {
    if statement.signer != *statement.puddle.key() {
        return Err(Breach::WrongSigner);
    }
    if statement.project != ProjectId::derive(&statement.puddle, handle) {
        return Err(Breach::ProjectMismatch);
    }
    if *statement != Statement::init(&statement.puddle, handle) {
        return Err(Breach::InitNotBare);
    }
    Ok(())
}
