//! Whether a folded envelope counts, and if not, why.

/// What is known about one envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It folded and counts.
    Valid,
    /// It folded and has no effect.
    Void(VoidReason),
    /// It has no effect yet: its past is not all here, or it, or something in its past, is of a kind that this
    /// version does not know.
    Waiting,
    /// It was never put in.
    Unknown,
}

/// Why a folded envelope has no effect.
///
/// Source: docs/spec/fold.md §8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum VoidReason {
    /// Its puddle is no member of the project, or had not joined yet.
    #[error("its puddle is not a member of the project")]
    NotMember,
    /// No counting grant in its past lets its envoy sign for its puddle.
    #[error("no grant in its past lets its envoy sign for its puddle")]
    NotGranted,
    /// The grant by which its envoy signed was taken back.
    #[error("its puddle had taken the grant back by which its envoy signed")]
    Ungranted,
    /// Its puddle is not on the founder line, which alone may say this.
    #[error("only the founder line may say this, and its puddle is not on it")]
    NotFounder,
    /// Its key is on the founder line, but it does not follow the delegation to it.
    #[error("it does not follow the delegation to its key")]
    NotYetHeir,
    /// Its key has been retired, and it lies outside the cut.
    #[error("its key was retired, and it lies outside the cut")]
    Retired,
    /// The membership was revoked, and it lies outside the cut.
    #[error("its puddle's membership was revoked, and it lies outside the cut")]
    Revoked,
    /// The puddle had left.
    #[error("its puddle had left the project")]
    Left,
    /// The project had ended, and it lies outside the cut.
    #[error("the project had ended, and it lies outside the cut")]
    Ended,
    /// A reader may not say this.
    #[error("its puddle may read and not write")]
    Reader,
    /// It names no counting invitation in its past.
    #[error("it names no counting invitation in its past")]
    NoInvite,
    /// The invitation that it names is for another puddle.
    #[error("the invitation that it names is for another puddle")]
    NotInvited,
    /// It ends a membership that had not begun.
    #[error("its puddle had not joined")]
    NotJoined,
    /// It asks back in, and its puddle had not left.
    #[error("its puddle had not left")]
    NotLeft,
    /// The membership was revoked before; a revocation is final.
    #[error("the membership had been revoked before, and that is final")]
    Recut,
    /// Its hop is not the next one of the founder line.
    #[error("its hop is not the next one of the founder line")]
    WrongHop,
    /// The founder line is as long as it may be.
    #[error("the founder line passes on five times at most")]
    HopLimit,
    /// The heir is on the founder line already.
    #[error("its heir has been on the founder line before")]
    KeyTwice,
    /// The delegation before committed to another heir.
    #[error("the delegation before has committed to another heir")]
    NotCommitted,
    /// Two delegations of this hop exist and nothing says which to follow.
    #[error("another delegation of this hop exists, and nobody has picked one")]
    Contested,
    /// Another delegation of this hop is followed here.
    #[error("another delegation of this hop is followed here")]
    NotPicked,
    /// It forces or deletes a ref that a policy in its past protects.
    #[error("it forces or deletes a protected ref")]
    Protected,
    /// It says something false about the git graph.
    #[error("it says something false about the git graph")]
    HeldOut,
}

impl VoidReason {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::NotMember,
        Self::NotGranted,
        Self::Ungranted,
        Self::NotFounder,
        Self::NotYetHeir,
        Self::Retired,
        Self::Revoked,
        Self::Left,
        Self::Ended,
        Self::Reader,
        Self::NoInvite,
        Self::NotInvited,
        Self::NotJoined,
        Self::NotLeft,
        Self::Recut,
        Self::WrongHop,
        Self::HopLimit,
        Self::KeyTwice,
        Self::NotCommitted,
        Self::Contested,
        Self::NotPicked,
        Self::Protected,
        Self::HeldOut,
    ];

    /// A stable word for it, as the test vectors, `log` and peers spell it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotMember => "not-member",
            Self::NotGranted => "not-granted",
            Self::Ungranted => "ungranted",
            Self::NotFounder => "not-founder",
            Self::NotYetHeir => "not-yet-heir",
            Self::Retired => "retired-key",
            Self::Revoked => "revoked",
            Self::Left => "left",
            Self::Ended => "project-ended",
            Self::Reader => "reader",
            Self::NoInvite => "no-invite",
            Self::NotInvited => "not-invited",
            Self::NotJoined => "not-joined",
            Self::NotLeft => "not-left",
            Self::Recut => "recut",
            Self::WrongHop => "wrong-hop",
            Self::HopLimit => "hop-limit",
            Self::KeyTwice => "key-twice",
            Self::NotCommitted => "not-committed",
            Self::Contested => "contested",
            Self::NotPicked => "not-picked",
            Self::Protected => "protected-ref",
            Self::HeldOut => "held-out",
        }
    }

    /// The number of the rule that it breaks, docs/spec/fold.md §2.
    #[must_use]
    pub const fn rule(self) -> u8 {
        match self {
            Self::WrongHop | Self::HopLimit | Self::KeyTwice => 3,
            Self::NotYetHeir | Self::Retired => 4,
            Self::NotCommitted | Self::Contested | Self::NotPicked => 5,
            Self::NotFounder => 6,
            Self::NotMember
            | Self::Reader
            | Self::Revoked
            | Self::NoInvite
            | Self::NotInvited
            | Self::Recut => 7,
            Self::Left | Self::NotJoined | Self::NotLeft => 8,
            Self::Ended => 11,
            Self::Protected | Self::HeldOut => 12,
            Self::NotGranted | Self::Ungranted => 13,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Valid,
    Void(VoidReason),
    /// Of an unknown kind, or a descendant of one.
    Beyond,
}
