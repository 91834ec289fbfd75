//! What the kinds of envelopes say.

use alloc::string::String;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, Signature};

use crate::id::{EnvelopeId, Oid};
use crate::refname::RefName;

/// The most refs one update moves.
pub const CHANGES_MAX: usize = 8192;
/// The most heads a change names as contained, and the most it names as forced away.
pub const NAMED_HEADS_MAX: usize = 1024;
/// The most envelopes a cut names.
pub const CUT_MAX: usize = 1024;
/// The most refs a policy protects.
pub const PROTECTED_MAX: usize = 64;
/// The most copies a policy asks for.
pub const REPLICAS_MAX: u32 = 10_000;

/// What a [`Statement`](crate::Statement) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The project exists. Everything in it follows from the founder and the handle.
    Init {
        /// What the founder calls the project.
        handle: Handle,
    },
    /// How the project is to be kept.
    Policy(Policy),
    /// Nothing but its past: gathers heads.
    Merge,
    /// A puddle may come in: a membership instance, which the envelope's id names.
    Invite(Invite),
    /// The invited puddle comes in.
    Join {
        /// The membership instance.
        invite: EnvelopeId,
    },
    /// The puddle ends its own membership, at this envelope.
    Leave {
        /// The membership instance.
        invite: EnvelopeId,
    },
    /// The founder line ends a membership.
    Revoke(Revoke),
    /// A puddle that left asks to be invited again.
    Rejoin {
        /// The membership instance that it left.
        invite: EnvelopeId,
    },
    /// An envoy may sign updates for the puddle.
    Grant(Grant),
    /// An envoy may sign for the puddle no longer.
    Ungrant(Ungrant),
    /// The founder line passes to another key.
    Delegate(Delegate),
    /// The project ends; another takes its place.
    Tombstone(Tombstone),
    /// Refs moved.
    Update(Update),
    /// Something that this version does not know. Kept and passed on; what descends from it has no effect yet.
    Unknown {
        /// `<kind>.v<number>`, as in its type.
        kind: String,
    },
}

impl Act {
    /// `<kind>.v<number>`, as in the type.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Init { .. } => "init.v1",
            Self::Policy(_) => "policy.v1",
            Self::Merge => "merge.v1",
            Self::Invite(_) => "invite.v1",
            Self::Join { .. } => "join.v1",
            Self::Leave { .. } => "leave.v1",
            Self::Revoke(_) => "revoke.v1",
            Self::Rejoin { .. } => "rejoin.v1",
            Self::Grant(_) => "grant.v1",
            Self::Ungrant(_) => "ungrant.v1",
            Self::Delegate(_) => "delegate.v1",
            Self::Tombstone(_) => "tombstone.v1",
            Self::Update(_) => "update.v1",
            Self::Unknown { kind } => kind,
        }
    }

    /// The update it is, if it is one.
    #[must_use]
    pub const fn update(&self) -> Option<&Update> {
        if let Self::Update(update) = self {
            Some(update)
        } else {
            None
        }
    }

    /// The grant it is, if it is one.
    #[must_use]
    pub const fn grant(&self) -> Option<&Grant> {
        if let Self::Grant(grant) = self {
            Some(grant)
        } else {
            None
        }
    }

    /// The envelopes that still count, where it ends something.
    #[must_use]
    pub fn cut(&self) -> Option<&[EnvelopeId]> {
        match self {
            Self::Revoke(Revoke { cut, .. })
            | Self::Ungrant(Ungrant { cut, .. })
            | Self::Delegate(Delegate { cut, .. })
            | Self::Tombstone(Tombstone { cut, .. }) => Some(cut),
            Self::Init { .. }
            | Self::Policy(_)
            | Self::Merge
            | Self::Invite(_)
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Rejoin { .. }
            | Self::Grant(_)
            | Self::Update(_)
            | Self::Unknown { .. } => None,
        }
    }
}

/// Which envoys should hold the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The envoys that members have granted. What holds when no policy says anything.
    MembersOnly,
    /// Every envoy of the fleet.
    SwarmWide,
}

/// How the project is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which envoys should hold it.
    pub scope: Scope,
    /// Refs that are neither forced nor deleted, strictly ascending, at most [`PROTECTED_MAX`].
    pub protected: Vec<RefName>,
    /// How many copies there should be, 1 to [`REPLICAS_MAX`].
    pub replicas: Option<u32>,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Fetch.
    Reader,
    /// Fetch and push.
    Member,
}

/// One puddle may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The puddle that is invited.
    pub puddle: PuddleKey,
    /// What it may do.
    pub role: Role,
}

/// A membership ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// The membership instance.
    pub invite: EnvelopeId,
    /// Envelopes whose past, with them, still counts; strictly ascending, at most [`CUT_MAX`].
    pub cut: Vec<EnvelopeId>,
}

/// An envoy may sign updates for the puddle, when asked by one Unix user there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The envoy that may sign.
    pub envoy: EnvoyKey,
    /// The user on that envoy's machine for whom it may sign.
    pub uid: u32,
    /// When the envoy stops using it, milliseconds since 1970. The fold ignores it.
    pub expires_ms: Option<u64>,
}

/// Every grant to an envoy that its puddle had seen ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ungrant {
    /// The envoy.
    pub envoy: EnvoyKey,
    /// Envelopes whose past, with them, still counts; strictly ascending, at most [`CUT_MAX`].
    pub cut: Vec<EnvelopeId>,
}

/// The founder line passes to another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    /// Which hop of the line it is: 1 for the first after the genesis key.
    pub hop: u64,
    /// The heir.
    pub to: PuddleKey,
    /// SHA-256 of the key that must come after the heir, if the heir has committed to one.
    pub next: Option<[u8; 32]>,
    /// Envelopes whose past, with them, still counts of the retiring key; strictly ascending, at most [`CUT_MAX`].
    pub cut: Vec<EnvelopeId>,
    /// The heir's signature over [`Statement::acceptance_bytes`](crate::Statement::acceptance_bytes).
    pub accept: Signature,
}

/// The project ends at `cut`; another takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The founder of the project that takes its place.
    pub founder: PuddleKey,
    /// The handle of the project that takes its place.
    pub handle: Handle,
    /// Envelopes whose past, with them, still counts; strictly ascending, at most [`CUT_MAX`].
    pub cut: Vec<EnvelopeId>,
}

impl Tombstone {
    /// The project that takes the place of the one that ends.
    #[must_use]
    pub fn successor(&self) -> ProjectId {
        ProjectId::derive(&self.founder, &self.handle)
    }
}

/// Refs moved: one accepted push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What happened to each ref, strictly ascending by name, 1 to [`CHANGES_MAX`].
    pub changes: Vec<Change>,
    /// The ref that HEAD names from now on, when that changes.
    pub head: Option<RefName>,
    /// The pack that carried the objects; a hint for transfers, no part of the truth.
    pub pack: Option<PackHint>,
}

impl Update {
    /// What it does to `name`, if anything.
    #[must_use]
    pub fn change(&self, name: &RefName) -> Option<&Change> {
        let at = self
            .changes
            .binary_search_by(|change| change.name.cmp(name))
            .ok()?;
        self.changes.get(at)
    }
}

/// What an update does to one ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The ref.
    pub name: RefName,
    /// Where it points now; [`Oid::zero`] deletes it.
    pub new: Oid,
    /// Updates whose heads `new` contains, strictly ascending, at most [`NAMED_HEADS_MAX`].
    pub contained: Vec<EnvelopeId>,
    /// Updates whose heads are forced away, strictly ascending, at most [`NAMED_HEADS_MAX`].
    pub forced: Vec<EnvelopeId>,
}

/// The pack that carried an update's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHint {
    /// The BLAKE3 hash of the pack as it was received.
    pub blake3: [u8; 32],
    /// Its size in bytes.
    pub bytes: u64,
}
