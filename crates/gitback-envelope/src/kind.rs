//! Envelope types, and how large each kind may be.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;

use crate::reject::Reject;

/// The most bytes in the body of an `update`: 1 MiB.
pub const UPDATE_BODY_MAX: usize = 1024 * 1024;
/// The most bytes in the body of a kind that has a cut: 64 KiB.
pub const CUT_BODY_MAX: usize = 64 * 1024;
/// The most bytes in the body of any other known kind: 8 KiB.
pub const BODY_MAX: usize = 8 * 1024;
/// The most bytes in the body of a kind that this version does not know: 64 KiB.
pub const UNKNOWN_BODY_MAX: usize = 64 * 1024;
/// The most bytes in a type.
pub const TYPE_MAX: usize = 96;

/// The kind under which a puddle claims a name, outside any project.
pub(crate) const NAME_CLAIM: &str = "name-claim.v1";
/// The kind under which the heir of a delegation signs; no envelope has it.
pub(crate) const ACCEPTANCE: &str = "delegate-accept.v1";

const PREFIX: &str = "application/vnd.gitback.";
const SUFFIX: &str = "+cbor";
const NAME_MAX: usize = 32;
const VERSION_DIGITS_MAX: usize = 4;

/// What a type says about a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Init,
    Policy,
    Merge,
    Invite,
    Join,
    Leave,
    Revoke,
    Rejoin,
    Grant,
    Ungrant,
    Delegate,
    Tombstone,
    Update,
    /// `<kind>.v<number>`, well formed and not one of those above.
    Unknown(String),
}

impl Kind {
    pub(crate) fn of(type_name: &str) -> Result<Self, Reject> {
        if type_name.len() > TYPE_MAX {
            return Err(Reject::Type);
        }
        let name = type_name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_suffix(SUFFIX))
            .ok_or(Reject::Type)?;
        if !is_well_formed(name) {
            return Err(Reject::Type);
        }
        Ok(match name {
            "init.v1" => Self::Init,
            "policy.v1" => Self::Policy,
            "merge.v1" => Self::Merge,
            "invite.v1" => Self::Invite,
            "join.v1" => Self::Join,
            "leave.v1" => Self::Leave,
            "revoke.v1" => Self::Revoke,
            "rejoin.v1" => Self::Rejoin,
            "grant.v1" => Self::Grant,
            "ungrant.v1" => Self::Ungrant,
            "delegate.v1" => Self::Delegate,
            "tombstone.v1" => Self::Tombstone,
            "update.v1" => Self::Update,
            // Known, and not for a project's set.
            NAME_CLAIM | ACCEPTANCE => return Err(Reject::Type),
            other => Self::Unknown(other.to_owned()),
        })
    }

    pub(crate) const fn body_max(&self) -> usize {
        match self {
            Self::Init
            | Self::Policy
            | Self::Merge
            | Self::Invite
            | Self::Join
            | Self::Leave
            | Self::Rejoin
            | Self::Grant => BODY_MAX,
            Self::Revoke | Self::Ungrant | Self::Delegate | Self::Tombstone => CUT_BODY_MAX,
            Self::Update => UPDATE_BODY_MAX,
            Self::Unknown(_) => UNKNOWN_BODY_MAX,
        }
    }
}

/// The full type of the kind called `name`, version included.
pub(crate) fn type_name(name: &str) -> String {
    format!("{PREFIX}{name}{SUFFIX}")
}

/// `[a-z][a-z0-9-]{0,31}.v[1-9][0-9]{0,3}`
fn is_well_formed(name: &str) -> bool {
    let Some((kind, version)) = name.split_once(".v") else {
        return false;
    };
    let kind_ok = kind.len() <= NAME_MAX
        && kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let version_ok = (1..=VERSION_DIGITS_MAX).contains(&version.len())
        && !version.starts_with('0')
        && version.bytes().all(|byte| byte.is_ascii_digit());
    kind_ok && version_ok
}
