//! Names of git refs that a project may have.

use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

/// The most bytes a ref name has.
pub const REF_NAME_MAX: usize = 1024;
/// The most bytes between two slashes of a ref name, so that the name, a served suffix and git's `.lock` still fit
/// into the 255 bytes that file systems allow.
pub const REF_COMPONENT_MAX: usize = 240;

const PREFIX: &[u8] = b"refs/";
/// Served names of other heads, and names that gitback keeps for itself: no update may move them.
const RESERVED: [&[u8]; 2] = [b"refs/envoys", b"refs/gitback"];

/// The full name of a ref, such as `refs/heads/main`.
///
/// Shape: begins with `refs/`, passes `git check-ref-format`, at most [`REF_NAME_MAX`] bytes with at most
/// [`REF_COMPONENT_MAX`] between slashes, and is neither under `refs/envoys/` nor under `refs/gitback/`. Any other
/// byte is allowed, so a name need not be UTF-8. Compared byte by byte.
///
/// Source: git-check-ref-format(1); docs/spec/envelope.md §6.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(Arc<[u8]>);

impl RefName {
    /// Accepts a well-formed name.
    ///
    /// # Errors
    ///
    /// [`RefReject`] says which rule `name` breaks.
    pub fn new(name: &[u8]) -> Result<Self, RefReject> {
        check(name)?;
        Ok(Self(name.into()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name without `refs/`.
    #[must_use]
    pub fn without_refs(&self) -> &[u8] {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }

    /// The names of the folders this ref lies in, the nearest last: `refs`, `refs/heads`, …
    pub(crate) fn folders(&self) -> impl Iterator<Item = &[u8]> {
        let name = self.as_bytes();
        name.iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .filter_map(|(at, _)| name.get(..at))
    }
}

fn check(name: &[u8]) -> Result<(), RefReject> {
    if name.len() > REF_NAME_MAX {
        return Err(RefReject::TooLong);
    }
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return Err(RefReject::NotUnderRefs);
    };
    for reserved in RESERVED {
        if let Some(rest) = name.strip_prefix(reserved)
            && (rest.is_empty() || rest.starts_with(b"/"))
        {
            return Err(RefReject::Reserved);
        }
    }
    if !name.iter().copied().all(is_allowed) {
        return Err(RefReject::Character);
    }
    let has = |pair: &[u8]| name.windows(2).any(|window| window == pair);
    if has(b"..") || has(b"@{") || name.ends_with(b".") {
        return Err(RefReject::Sequence);
    }
    rest.split(|byte| *byte == b'/')
        .try_for_each(check_component)
}

/// Bytes outside the control characters, space and those with a meaning in revisions and patterns.
const fn is_allowed(byte: u8) -> bool {
    !matches!(
        byte,
        0..=b' ' | 0x7f | b'~' | b'^' | b':' | b'?' | b'*' | b'[' | b'\\'
    )
}

fn check_component(component: &[u8]) -> Result<(), RefReject> {
    if component.is_empty() || component.starts_with(b".") || component.ends_with(b".lock") {
        return Err(RefReject::Component);
    }
    if component.len() > REF_COMPONENT_MAX {
        return Err(RefReject::ComponentTooLong);
    }
    Ok(())
}

impl Borrow<[u8]> for RefName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefName({self})")
    }
}

impl FromStr for RefName {
    type Err = RefReject;

    fn from_str(text: &str) -> Result<Self, RefReject> {
        Self::new(text.as_bytes())
    }
}

/// Why bytes are not the name of a ref that a project may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefReject {
    /// It has more than [`REF_NAME_MAX`] bytes.
    #[error("a ref name has at most {REF_NAME_MAX} bytes")]
    TooLong,
    /// It does not begin with `refs/`.
    #[error("a ref name begins with refs/")]
    NotUnderRefs,
    /// It lies under `refs/envoys/` or `refs/gitback/`.
    #[error("refs/envoys/ and refs/gitback/ are kept for gitback itself")]
    Reserved,
    /// It holds a byte that git does not allow.
    #[error("a ref name has no space, no control character and none of ~ ^ : ? * [ \\")]
    Character,
    /// It holds `..` or `@{`, or ends in a dot.
    #[error("a ref name has no .. and no @{{ and does not end in a dot")]
    Sequence,
    /// A part between slashes is empty, begins with a dot or ends in `.lock`.
    #[error("a part of a ref name is empty, begins with a dot or ends in .lock")]
    Component,
    /// A part between slashes has more than [`REF_COMPONENT_MAX`] bytes.
    #[error("a part of a ref name has at most {REF_COMPONENT_MAX} bytes")]
    ComponentTooLong,
}

impl RefReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "ref-too-long",
            Self::NotUnderRefs => "ref-not-under-refs",
            Self::Reserved => "ref-reserved",
            Self::Character => "ref-character",
            Self::Sequence => "ref-sequence",
            Self::Component => "ref-component",
            Self::ComponentTooLong => "ref-component-too-long",
        }
    }
}
