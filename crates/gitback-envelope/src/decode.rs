//! Reading a statement's body.

use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, KeyReject, ProjectId, PublicKey, PuddleKey, Signature};

use crate::act::{
    Act, CHANGES_MAX, CUT_MAX, Change, Delegate, Grant, Invite, NAMED_HEADS_MAX, PROTECTED_MAX,
    PackHint, Policy, REPLICAS_MAX, Revoke, Role, Scope, Tombstone, Ungrant, Update,
};
use crate::cbor::{Keys, Reader};
use crate::id::{EnvelopeId, Incarnation, Oid};
use crate::kind::Kind;
use crate::refname::RefName;
use crate::reject::{Breach, FieldFault, Malformed, Reject};
use crate::statement::{DEPS_MAX, Statement};

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

    pub(crate) const NAME: u64 = 16;

    pub(crate) const HANDLE: u64 = 16;

    pub(crate) const SCOPE: u64 = 16;
    pub(crate) const PROTECTED: u64 = 17;
    pub(crate) const REPLICAS: u64 = 18;

    pub(crate) const INVITED: u64 = 16;
    pub(crate) const ROLE: u64 = 17;

    pub(crate) const INSTANCE: u64 = 16;
    pub(crate) const REVOKE_CUT: u64 = 17;

    pub(crate) const GRANTED_ENVOY: u64 = 16;
    pub(crate) const UID: u64 = 17;
    pub(crate) const EXPIRES: u64 = 18;
    pub(crate) const UNGRANT_CUT: u64 = 17;

    pub(crate) const HOP: u64 = 16;
    pub(crate) const HEIR: u64 = 17;
    pub(crate) const NEXT: u64 = 18;
    pub(crate) const DELEGATE_CUT: u64 = 19;
    pub(crate) const ACCEPT: u64 = 20;

    pub(crate) const SUCCESSOR_FOUNDER: u64 = 16;
    pub(crate) const SUCCESSOR_HANDLE: u64 = 17;
    pub(crate) const TOMBSTONE_CUT: u64 = 18;

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
    let mut fields = Fields::default();
    for _ in 0..reader.map()? {
        let key = keys.next(&mut reader)?;
        if !header.read(key, &mut reader)? {
            fields.read(&kind, key, &mut reader)?;
        }
    }
    reader.finish()?;
    let statement = header.finish(fields.finish(kind)?)?;
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

/// The fields of one kind, as far as they have been read.
#[derive(Default)]
struct Fields {
    handle: Option<Handle>,
    scope: Option<Scope>,
    protected: Vec<RefName>,
    replicas: Option<u32>,
    puddle: Option<PuddleKey>,
    role: Option<Role>,
    invite: Option<EnvelopeId>,
    cut: Option<Vec<EnvelopeId>>,
    envoy: Option<EnvoyKey>,
    uid: Option<u32>,
    expires_ms: Option<u64>,
    hop: Option<u64>,
    next: Option<[u8; 32]>,
    accept: Option<Signature>,
    changes: Option<Vec<Change>>,
    head: Option<RefName>,
    pack: Option<PackHint>,
}

impl Fields {
    fn read(&mut self, kind: &Kind, key: u64, reader: &mut Reader<'_>) -> Result<(), Reject> {
        match (kind, key) {
            (Kind::Init, key::HANDLE) | (Kind::Tombstone, key::SUCCESSOR_HANDLE) => {
                self.handle = Some(handle(key, reader)?);
            }
            (Kind::Policy, key::SCOPE) => self.scope = Some(scope(reader)?),
            (Kind::Policy, key::PROTECTED) => self.protected = protected(reader)?,
            (Kind::Policy, key::REPLICAS) => {
                let count = in_range(key, reader.uint()?, 1, u64::from(REPLICAS_MAX))?;
                self.replicas = u32::try_from(count).ok();
            }
            (Kind::Invite, key::INVITED)
            | (Kind::Delegate, key::HEIR)
            | (Kind::Tombstone, key::SUCCESSOR_FOUNDER) => {
                self.puddle = Some(PuddleKey::new(public_key(key, reader)?));
            }
            (Kind::Invite, key::ROLE) => self.role = Some(role(reader)?),
            (Kind::Join | Kind::Leave | Kind::Rejoin | Kind::Revoke, key::INSTANCE) => {
                self.invite = Some(EnvelopeId::from_bytes(fixed(key, reader)?));
            }
            (Kind::Revoke, key::REVOKE_CUT)
            | (Kind::Ungrant, key::UNGRANT_CUT)
            | (Kind::Delegate, key::DELEGATE_CUT)
            | (Kind::Tombstone, key::TOMBSTONE_CUT) => {
                self.cut = Some(ids(key, reader, CUT_MAX)?);
            }
            (Kind::Grant | Kind::Ungrant, key::GRANTED_ENVOY) => {
                self.envoy = Some(EnvoyKey::new(public_key(key, reader)?));
            }
            (Kind::Grant, key::UID) => {
                let uid = in_range(key, reader.uint()?, 0, u64::from(u32::MAX))?;
                self.uid = u32::try_from(uid).ok();
            }
            (Kind::Grant, key::EXPIRES) => self.expires_ms = Some(reader.uint()?),
            (Kind::Delegate, key::HOP) => {
                self.hop = Some(in_range(key, reader.uint()?, 1, u64::MAX)?);
            }
            (Kind::Delegate, key::NEXT) => self.next = Some(*fixed(key, reader)?),
            (Kind::Delegate, key::ACCEPT) => {
                self.accept = Some(Signature::from_bytes(fixed(key, reader)?));
            }
            (Kind::Update, key::CHANGES) => self.changes = Some(read_changes(reader)?),
            (Kind::Update, key::HEAD) => self.head = Some(ref_name(key, reader)?),
            (Kind::Update, key::PACK) => self.pack = Some(pack_hint(reader)?),
            (Kind::Unknown(_), _) => reader.skip()?,
            _ => return Err(Reject::field(key, FieldFault::Unknown)),
        }
        Ok(())
    }

    fn finish(self, kind: Kind) -> Result<Act, Reject> {
        Ok(match kind {
            Kind::Init => Act::Init {
                handle: need(key::HANDLE, self.handle)?,
            },
            Kind::Policy => Act::Policy(Policy {
                scope: need(key::SCOPE, self.scope)?,
                protected: self.protected,
                replicas: self.replicas,
            }),
            Kind::Merge => Act::Merge,
            Kind::Invite => Act::Invite(Invite {
                puddle: need(key::INVITED, self.puddle)?,
                role: need(key::ROLE, self.role)?,
            }),
            Kind::Join => Act::Join {
                invite: need(key::INSTANCE, self.invite)?,
            },
            Kind::Leave => Act::Leave {
                invite: need(key::INSTANCE, self.invite)?,
            },
            Kind::Rejoin => Act::Rejoin {
                invite: need(key::INSTANCE, self.invite)?,
            },
            Kind::Revoke => Act::Revoke(Revoke {
                invite: need(key::INSTANCE, self.invite)?,
                cut: need(key::REVOKE_CUT, self.cut)?,
            }),
            Kind::Grant => Act::Grant(Grant {
                envoy: need(key::GRANTED_ENVOY, self.envoy)?,
                uid: need(key::UID, self.uid)?,
                expires_ms: self.expires_ms,
            }),
            Kind::Ungrant => Act::Ungrant(Ungrant {
                envoy: need(key::GRANTED_ENVOY, self.envoy)?,
                cut: need(key::UNGRANT_CUT, self.cut)?,
            }),
            Kind::Delegate => Act::Delegate(Delegate {
                hop: need(key::HOP, self.hop)?,
                to: need(key::HEIR, self.puddle)?,
                next: self.next,
                cut: need(key::DELEGATE_CUT, self.cut)?,
                accept: need(key::ACCEPT, self.accept)?,
            }),
            Kind::Tombstone => Act::Tombstone(Tombstone {
                founder: need(key::SUCCESSOR_FOUNDER, self.puddle)?,
                handle: need(key::SUCCESSOR_HANDLE, self.handle)?,
                cut: need(key::TOMBSTONE_CUT, self.cut)?,
            }),
            Kind::Update => Act::Update(Update {
                changes: need(key::CHANGES, self.changes)?,
                head: self.head,
                pack: self.pack,
            }),
            Kind::Unknown(kind) => Act::Unknown { kind },
        })
    }
}

pub(crate) fn need<T>(key: u64, value: Option<T>) -> Result<T, Reject> {
    value.ok_or_else(|| missing(key))
}

fn in_range(key: u64, number: u64, least: u64, most: u64) -> Result<u64, Reject> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Reject::field(key, FieldFault::OutOfRange))
    }
}

fn handle(key: u64, reader: &mut Reader<'_>) -> Result<Handle, Reject> {
    Handle::parse(reader.text()?).map_err(|reason| Reject::field(key, FieldFault::Handle(reason)))
}

fn scope(reader: &mut Reader<'_>) -> Result<Scope, Reject> {
    match reader.uint()? {
        0 => Ok(Scope::MembersOnly),
        1 => Ok(Scope::SwarmWide),
        _ => Err(Reject::field(key::SCOPE, FieldFault::OutOfRange)),
    }
}

fn role(reader: &mut Reader<'_>) -> Result<Role, Reject> {
    match reader.uint()? {
        0 => Ok(Role::Member),
        1 => Ok(Role::Reader),
        _ => Err(Reject::field(key::ROLE, FieldFault::OutOfRange)),
    }
}

fn protected(reader: &mut Reader<'_>) -> Result<Vec<RefName>, Reject> {
    let key = key::PROTECTED;
    let count = bounded(key, reader.array()?, PROTECTED_MAX)?;
    if count == 0 {
        return Err(Reject::field(key, FieldFault::Empty));
    }
    let mut names: Vec<RefName> = Vec::new();
    for _ in 0..count {
        let name = ref_name(key, reader)?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(Reject::field(key, FieldFault::OutOfOrder));
        }
        names.push(name);
    }
    Ok(names)
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

pub(crate) fn public_key(key: u64, reader: &mut Reader<'_>) -> Result<PublicKey, Reject> {
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
    let by_envoy = statement.envoy.map(|envoy| *envoy.key()) == Some(statement.signer);
    match &statement.act {
        Act::Init { .. } | Act::Unknown { .. } => return Ok(()),
        Act::Update(_) | Act::Merge if by_envoy => {}
        Act::Tombstone(tombstone) if tombstone.successor() == statement.project => {
            return Err(Breach::OwnSuccessor);
        }
        Act::Update(_)
        | Act::Merge
        | Act::Policy(_)
        | Act::Invite(_)
        | Act::Join { .. }
        | Act::Leave { .. }
        | Act::Revoke(_)
        | Act::Rejoin { .. }
        | Act::Grant(_)
        | Act::Ungrant(_)
        | Act::Delegate(_)
        | Act::Tombstone(_) => {
            if statement.envoy.is_none() {
                return Err(Breach::NoEnvoy);
            }
            if !statement.by_puddle() {
                return Err(Breach::WrongSigner);
            }
        }
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
