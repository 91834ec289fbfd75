//! What can go wrong, by whose fault it is.

use std::io;
use std::path::PathBuf;

use crate::Oid;

/// Our own disk, git or object store failed; the sender is not to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A file or directory could not be read or written.
    #[error("cannot {doing} {path}", path = path.display())]
    Io {
        /// What was tried, a verb: "read", "create".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A pipe or the other end of a stream failed.
    #[error("cannot {doing}")]
    Stream {
        /// What was tried: "send to the client".
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A git process could not be started.
    #[error("cannot start git {verb}")]
    Spawn {
        /// The git command.
        verb: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A git process ended with a failure.
    #[error("git {verb} failed: {message}")]
    Git {
        /// The git command.
        verb: &'static str,
        /// The last line it printed to stderr, bounded, or its exit status.
        message: String,
    },
    /// A look at what is here costs more than allowed.
    #[error("git rev-list takes more than {}", bound.amount(*limit))]
    OverLimit {
        /// Of what it is too much.
        bound: Bound,
        /// How much there may be.
        limit: u64,
    },
    /// The object store could not be read.
    #[error("cannot read object {oid}")]
    ReadObject {
        /// The object that was looked up.
        oid: Oid,
        /// Why it failed.
        #[source]
        source: gix::Error,
    },
    /// An object that had to be there is not.
    #[error("object {oid} is missing")]
    NoObject {
        /// The absent object.
        oid: Oid,
    },
    /// The refs could not be read or written.
    #[error("cannot {doing} the refs of {path}", path = path.display())]
    Refs {
        /// What was tried, a verb: "read", "write".
        doing: &'static str,
        /// The repository.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: gix::Error,
    },
    /// There is a repository at this path already.
    #[error("there is a repository at {path} already", path = path.display())]
    Exists {
        /// The repository.
        path: PathBuf,
    },
    /// A request holds more than the limit.
    #[error("a request to serve holds more than {limit} bytes")]
    RequestTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The name is not one that a ref may have.
    #[error("{name} is not the name of a ref")]
    RefName {
        /// The name, printable.
        name: String,
    },
    /// A quarantine holds commits without what they name, which may not enter the repository.
    #[error("commits without their trees cannot enter the repository")]
    NotWhole,
    /// A sync of the names of packs has failed before: nobody knows which of them the disk has.
    #[error("{path} takes no more packs after a failed sync; open the repository again", path = path.display())]
    Unsynced {
        /// The directory of the packs.
        path: PathBuf,
    },
    /// A pack is not what its index says, or cannot be put together with others.
    #[error("the pack {} is damaged", .path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
    },
}

impl Fault {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn stream(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Stream { doing, source }
    }
}

/// A repository cannot be used as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing at this path is a repository.
    #[error("{path} is not a bare git repository", path = path.display())]
    NotRepository {
        /// The path.
        path: PathBuf,
    },
    /// Another process, or this one, has it open.
    #[error("{path} is in use", path = path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The repository is of a kind that would be misread.
    #[error("{path} cannot be used: {what}", path = path.display())]
    Unsupported {
        /// The path.
        path: PathBuf,
        /// Which kind: "its refs are a reftable".
        what: &'static str,
    },
    /// A file that redirects git elsewhere was put into the repository.
    #[error("{path} must not be there: it points git away from this repository", path = path.display())]
    Planted {
        /// The file.
        path: PathBuf,
    },
    /// Our own disk failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Refs were not moved; none of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefError {
    /// The name is not one that a ref may have.
    #[error("{name} is not the name of a ref")]
    Name {
        /// The name, printable.
        name: String,
    },
    /// One name occurs twice.
    #[error("{name} is changed twice")]
    Duplicate {
        /// The name, printable.
        name: String,
    },
    /// The ref is not where the change expects it.
    #[error("{name} is at {found}, not at {expected}", found = or_absent(found.as_ref()), expected = or_absent(expected.as_ref()))]
    Stale {
        /// The name, printable.
        name: String,
        /// What the change expects; `None`: no such ref.
        expected: Option<Oid>,
        /// What is there; `None`: no such ref.
        found: Option<Oid>,
    },
    /// The object to point to is not in the repository.
    #[error("{name} cannot point to {oid}, which is not here")]
    MissingTarget {
        /// The name, printable.
        name: String,
        /// The absent object.
        oid: Oid,
    },
    /// One of two refs would have to be a file and a directory.
    #[error("{name} cannot be beside {other}")]
    Conflict {
        /// The name, printable.
        name: String,
        /// The ref in the way, printable.
        other: String,
    },
    /// Our own disk failed. Some of the refs may have moved.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What somebody sent is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// The stream ended before the pack did.
    #[error("the pack ends early")]
    Truncated,
    /// The pack, or the walk from its tips, costs more than allowed.
    #[error("{}", bound.broken(*limit))]
    OverLimit {
        /// Of what it is too much.
        bound: Bound,
        /// How much there may be. Of processor time a small pack gets less than what was set.
        limit: u64,
    },
    /// More of something than allowed.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what: "commits", "push options".
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The disk became too full on the way.
    #[error("{free_percent}% disk free, more than {needed_percent}% needed")]
    Room {
        /// How much of it was free.
        free_percent: u8,
        /// More than this has to be.
        needed_percent: u8,
    },
    /// A thin pack builds on objects that are not here.
    #[error("the pack builds on objects that are not here")]
    MissingBase,
    /// An object that the pack or a tip needs is neither in the pack nor here.
    #[error("{} is missing", object(oid.as_ref()))]
    MissingObject {
        /// The object, where git named it.
        oid: Option<Oid>,
    },
    /// Nothing of what was asked for is in the pack.
    #[error("the pack has nothing of what was asked for")]
    Unasked,
    /// An object breaks git's rules for objects.
    #[error("{message}")]
    BadObject {
        /// The object, where git named it.
        oid: Option<Oid>,
        /// What git said.
        message: String,
    },
    /// The bytes are not a pack.
    #[error("the pack is damaged: {message}")]
    Corrupt {
        /// What git said.
        message: String,
    },
    /// Reading from or writing to the sender failed.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The sender does not speak the protocol.
    #[error("not the protocol of git push: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The push comes from a shallow clone.
    #[error("a push from a shallow clone is not accepted; run git fetch --unshallow first")]
    Shallow,
    /// Our own disk or git failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Reject {
    /// Whether the pack costs more than its receiver allows; another one may take it.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        matches!(self, Self::OverLimit { .. } | Self::TooMany { .. })
    }
}

/// What a pack may have or take only so much of: a field of [`Limits`](crate::Limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `input_bytes`.
    Input,
    /// `objects`.
    Objects,
    /// `unpacked_bytes`.
    Unpacked,
    /// `delta_depth`.
    DeltaDepth,
    /// `cpu_seconds`.
    ProcessorTime,
    /// `memory_bytes`.
    Memory,
}

impl Bound {
    /// That it is broken, as a sentence.
    fn broken(self, limit: u64) -> String {
        match self {
            Self::Input => format!("the pack is larger than {limit} bytes"),
            Self::Unpacked => format!("more than {limit} bytes when it is unpacked"),
            Self::Objects | Self::DeltaDepth => format!("more than {}", self.amount(limit)),
            Self::ProcessorTime | Self::Memory => {
                format!("the pack takes more than {}", self.amount(limit))
            }
        }
    }

    /// So much of it.
    fn amount(self, limit: u64) -> String {
        match self {
            Self::Input | Self::Unpacked => format!("{limit} bytes"),
            Self::Objects => format!("{limit} objects"),
            Self::DeltaDepth => format!("{limit} deltas on top of each other"),
            Self::ProcessorTime => format!("{limit} seconds of processor time"),
            Self::Memory => format!("{limit} bytes of memory"),
        }
    }
}

fn or_absent(oid: Option<&Oid>) -> String {
    oid.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

/// A ref name or another's text as one printable line.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn object(oid: Option<&Oid>) -> String {
    oid.map_or_else(|| "an object".to_owned(), |oid| format!("object {oid}"))
}
