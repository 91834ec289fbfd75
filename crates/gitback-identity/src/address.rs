//! The `gitback://` address of a project.

use core::fmt;
use core::str::FromStr;

use crate::hex;
use crate::name::{Handle, HandleReject, NameReject, PuddleName};
use crate::project::ProjectId;

/// The most bytes an address has: the scheme, a project id, a slash and a handle, with room for a clear refusal of
/// something slightly longer.
pub const ADDRESS_MAX: usize = 256;

const SCHEME: &str = "gitback://";

/// Where a project is found.
///
/// Shape: `gitback://<project id>/<handle>`, which proves itself once the founder's key is known, or
/// `gitback://<puddle name>/<handle>`, which is resolved through the known names and then hashed. The reader accepts
/// exactly these forms and runs before anything else looks at the text.
///
/// Source: docs/spec/identity.md §5.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Host,
    handle: Handle,
}

/// The first half of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// The project's own id.
    Project(ProjectId),
    /// The name of the puddle that founded it.
    Puddle(PuddleName),
}

impl Address {
    /// Puts an address together.
    #[must_use]
    pub const fn new(host: Host, handle: Handle) -> Self {
        Self { host, handle }
    }

    /// The address that is probably meant by text that is none: without the slashes and the `.git` at its end that
    /// addresses of other servers may have.
    #[must_use]
    pub fn meant_by(text: &str) -> Option<Self> {
        let bare = text.trim_end_matches('/');
        bare.strip_suffix(".git").unwrap_or(bare).parse().ok()
    }

    /// The project id or the puddle name.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The project's handle.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(project) => project.fmt(f),
            Self::Puddle(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.handle)
    }
}

impl FromStr for Address {
    type Err = AddressReject;

    fn from_str(text: &str) -> Result<Self, AddressReject> {
        check_characters(text)?;
        let rest = text.strip_prefix(SCHEME).ok_or(AddressReject::Scheme)?;
        check_url_parts(rest)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = read_host(host)?;
        if path.is_empty() {
            return Err(AddressReject::NoHandle);
        }
        if path.contains('/') {
            return Err(AddressReject::ExtraPath);
        }
        let handle = Handle::parse(path).map_err(|reason| AddressReject::Handle { reason })?;
        Ok(Self { host, handle })
    }
}

/// What would be dangerous in any position is refused before the text is taken apart.
fn check_characters(text: &str) -> Result<(), AddressReject> {
    if text.len() > ADDRESS_MAX {
        return Err(AddressReject::TooLong);
    }
    if text.starts_with('-') {
        return Err(AddressReject::LeadingHyphen);
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(AddressReject::ControlCharacter);
    }
    if !text.is_ascii() {
        return Err(AddressReject::NotAscii);
    }
    if text.contains(' ') {
        return Err(AddressReject::Space);
    }
    if text.contains("..") {
        return Err(AddressReject::DotDot);
    }
    Ok(())
}

/// Parts that other URLs have and these never do, each with its own reason.
fn check_url_parts(rest: &str) -> Result<(), AddressReject> {
    for byte in rest.bytes() {
        match byte {
            b'@' => return Err(AddressReject::User),
            b':' => return Err(AddressReject::Port),
            b'?' => return Err(AddressReject::Query),
            b'#' => return Err(AddressReject::Fragment),
            b'%' => return Err(AddressReject::PercentEscape),
            b'\\' => return Err(AddressReject::Backslash),
            _ => {}
        }
    }
    Ok(())
}

fn read_host(host: &str) -> Result<Host, AddressReject> {
    if host.is_empty() {
        return Err(AddressReject::NoHost);
    }
    if host.starts_with('-') {
        return Err(AddressReject::LeadingHyphen);
    }
    if let Some(bytes) = hex::decode_exact(host) {
        return Ok(Host::Project(ProjectId::from_bytes(&bytes)));
    }
    if host.len() == 64 && host.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(AddressReject::CapitalHex);
    }
    PuddleName::parse(host)
        .map(Host::Puddle)
        .map_err(|reason| AddressReject::Host { reason })
}

/// Why text is not a gitback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressReject {
    /// It has more than [`ADDRESS_MAX`] bytes.
    #[error("the address is longer than {ADDRESS_MAX} characters")]
    TooLong,
    /// It, or its host, begins with a hyphen and could be read as an option.
    #[error("the address begins with a hyphen")]
    LeadingHyphen,
    /// It holds a newline, an escape or another control character.
    #[error("the address contains a control character")]
    ControlCharacter,
    /// It holds something other than ASCII.
    #[error("the address contains a character that is not ASCII")]
    NotAscii,
    /// It holds a space.
    #[error("the address contains a space")]
    Space,
    /// It holds `..`.
    #[error("the address contains two dots in a row")]
    DotDot,
    /// It does not begin with `gitback://`.
    #[error("the address does not begin with {SCHEME}")]
    Scheme,
    /// It names a user.
    #[error("the address names a user, which gitback addresses do not have")]
    User,
    /// It names a port.
    #[error("the address names a port, which gitback addresses do not have")]
    Port,
    /// It has a query.
    #[error("the address has a query, which gitback addresses do not have")]
    Query,
    /// It has a fragment.
    #[error("the address has a fragment, which gitback addresses do not have")]
    Fragment,
    /// It has percent escapes.
    #[error("the address has a percent escape, which gitback addresses do not have")]
    PercentEscape,
    /// It has a backslash.
    #[error("the address contains a backslash")]
    Backslash,
    /// There is nothing between the scheme and the handle.
    #[error("the address names no project or puddle")]
    NoHost,
    /// The host is a project id in capital digits.
    #[error("a project id is written in lowercase digits")]
    CapitalHex,
    /// The host is neither a project id nor a puddle name.
    #[error("the address names neither a project id nor a puddle")]
    Host {
        /// Why it is not a puddle name.
        #[source]
        reason: NameReject,
    },
    /// There is no handle.
    #[error("the address names no handle")]
    NoHandle,
    /// Something follows the handle.
    #[error("the address has a path below the handle")]
    ExtraPath,
    /// The handle is malformed.
    #[error("the address names a malformed handle")]
    Handle {
        /// Why it is not a handle.
        #[source]
        reason: HandleReject,
    },
}

impl AddressReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "address-too-long",
            Self::LeadingHyphen => "address-leading-hyphen",
            Self::ControlCharacter => "address-control-character",
            Self::NotAscii => "address-not-ascii",
            Self::Space => "address-space",
            Self::DotDot => "address-dot-dot",
            Self::Scheme => "address-scheme",
            Self::User => "address-user",
            Self::Port => "address-port",
            Self::Query => "address-query",
            Self::Fragment => "address-fragment",
            Self::PercentEscape => "address-percent-escape",
            Self::Backslash => "address-backslash",
            Self::NoHost => "address-no-host",
            Self::CapitalHex => "address-capital-hex",
            Self::Host { reason } => reason.code(),
            Self::NoHandle => "address-no-handle",
            Self::ExtraPath => "address-extra-path",
            Self::Handle { reason } => reason.code(),
        }
    }
}
