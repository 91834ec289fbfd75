//! Envelope types, and how large each kind may be.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;

use crate::reject::Reject;

/// The most bytes in the body of an `update`: 1 MiB.
pub const UPDATE_BODY_MAX: usize = 1024 * 1024;
/// The most bytes in the body of any other known kind: 8 KiB.
pub const BODY_MAX: usize = 8 * 1024;
/// The most bytes in the body of a kind that this version does not know: 64 KiB, what the largest kinds to come need.
pub const UNKNOWN_BODY_MAX: usize = 64 * 1024;
/// The most bytes in a type.
pub const TYPE_MAX: usize = 96;

const PREFIX: &str = "application/vnd.gitback.";
const SUFFIX: &str = "+cbor";
const NAME_MAX: usize = 32;
const VERSION_DIGITS_MAX: usize = 4;

/// What a type says about a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Init,
    Grant,
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
            "grant.v1" => Self::Grant,
            "update.v1" => Self::Update,
            other => Self::Unknown(other.to_owned()),
        })
    }

    pub(crate) const fn body_max(&self) -> usize {
        match self {
            Self::Init | Self::Grant => BODY_MAX,
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
