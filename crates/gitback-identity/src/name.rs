//! What people type instead of hex: a project's handle and a puddle's name.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// The most bytes a handle has.
pub const HANDLE_MAX: usize = 64;
/// The fewest bytes a puddle name has.
pub const PUDDLE_NAME_MIN: usize = 2;
/// The most bytes a puddle name has.
pub const PUDDLE_NAME_MAX: usize = 32;

const FORBIDDEN_ENDINGS: [&str; 3] = [".", ".lock", ".git"];

/// What a founder calls a project.
///
/// Shape: `[a-z0-9][a-z0-9._-]{0,63}`, without `..`, not ending in `.`, `.lock` or `.git`, and not 64 hex digits
/// (those are a project id). ASCII only, so no two spellings look the same. Wrong text is refused, never repaired.
///
/// Source: docs/spec/identity.md §3.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

impl Handle {
    /// Accepts a well-formed handle.
    ///
    /// # Errors
    ///
    /// [`HandleReject`] says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, HandleReject> {
        check_handle(text).map(|()| Self(text.to_owned()))
    }

    /// The handle as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_handle(text: &str) -> Result<(), HandleReject> {
    let Some(first) = text.bytes().next() else {
        return Err(HandleReject::Empty);
    };
    if text.len() > HANDLE_MAX {
        return Err(HandleReject::TooLong);
    }
    if !matches!(first, b'a'..=b'z' | b'0'..=b'9') {
        return Err(HandleReject::FirstCharacter);
    }
    if !text.bytes().all(is_handle_byte) {
        return Err(HandleReject::Character);
    }
    if text.contains("..") {
        return Err(HandleReject::DotDot);
    }
    if let Some(ending) = FORBIDDEN_ENDINGS.iter().find(|end| text.ends_with(**end)) {
        return Err(HandleReject::Ending { ending });
    }
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(HandleReject::LooksLikeId);
    }
    Ok(())
}

const fn is_handle_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

/// Why text is not a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandleReject {
    /// There is no text.
    #[error("a handle cannot be empty")]
    Empty,
    /// It has more than [`HANDLE_MAX`] bytes.
    #[error("a handle has at most {HANDLE_MAX} characters")]
    TooLong,
    /// It begins with something other than a lowercase letter or a digit.
    #[error("a handle begins with a lowercase letter or a digit")]
    FirstCharacter,
    /// It holds a character outside the allowed ones.
    #[error("a handle has only lowercase letters, digits, dots, hyphens and underscores")]
    Character,
    /// It holds two dots in a row.
    #[error("a handle cannot contain two dots in a row")]
    DotDot,
    /// It ends in something git or a file system would misread.
    #[error("a handle cannot end in {ending}")]
    Ending {
        /// The ending found.
        ending: &'static str,
    },
    /// It is 64 hex digits, the form of a project id.
    #[error("a handle cannot be 64 hex digits, which is a project id")]
    LooksLikeId,
}

impl HandleReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "handle-empty",
            Self::TooLong => "handle-too-long",
            Self::FirstCharacter => "handle-first-character",
            Self::Character => "handle-character",
            Self::DotDot => "handle-dot-dot",
            Self::Ending { .. } => "handle-ending",
            Self::LooksLikeId => "handle-looks-like-id",
        }
    }
}

/// What a person's puddle is called.
///
/// Shape: `[a-z][a-z0-9-]{1,31}`. Unique only where one looks: a name is a claim, the key is the identity.
///
/// Source: docs/spec/identity.md §3.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PuddleName(String);

impl PuddleName {
    /// Accepts a well-formed puddle name.
    ///
    /// # Errors
    ///
    /// [`NameReject`] says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameReject> {
        check_name(text).map(|()| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_name(text: &str) -> Result<(), NameReject> {
    if text.len() < PUDDLE_NAME_MIN {
        return Err(NameReject::TooShort);
    }
    if text.len() > PUDDLE_NAME_MAX {
        return Err(NameReject::TooLong);
    }
    if !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(NameReject::FirstCharacter);
    }
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !text.bytes().all(allowed) {
        return Err(NameReject::Character);
    }
    Ok(())
}

/// Why text is not a puddle name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameReject {
    /// It has fewer than [`PUDDLE_NAME_MIN`] bytes.
    #[error("a puddle name has at least {PUDDLE_NAME_MIN} characters")]
    TooShort,
    /// It has more than [`PUDDLE_NAME_MAX`] bytes.
    #[error("a puddle name has at most {PUDDLE_NAME_MAX} characters")]
    TooLong,
    /// It begins with something other than a lowercase letter.
    #[error("a puddle name begins with a lowercase letter")]
    FirstCharacter,
    /// It holds a character outside the allowed ones.
    #[error("a puddle name has only lowercase letters, digits and hyphens")]
    Character,
}

impl NameReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooShort => "name-too-short",
            Self::TooLong => "name-too-long",
            Self::FirstCharacter => "name-first-character",
            Self::Character => "name-character",
        }
    }
}

macro_rules! text_forms {
    ($name:ident, $reject:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $reject;

            fn from_str(text: &str) -> Result<Self, $reject> {
                Self::parse(text)
            }
        }
    };
}

text_forms!(Handle, HandleReject);
text_forms!(PuddleName, NameReject);
