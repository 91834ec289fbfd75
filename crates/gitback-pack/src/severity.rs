//! Which faults of an object refuse a pack.
//!
//! git's own defaults for `receive.fsckObjects` (every error and every warning
//! refuses) apply, except for the faults listed in [`SEVERITIES`]: old and honest
//! histories contain them, nobody can repair them without rewriting every later
//! commit, and none of them misleads git or a file system.
//!
//! Source: git-fsck(1), "fsck messages"; docs/spec/pack.md §3.

/// What a fault does to the pack that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// The pack is taken.
    Warn,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
        }
    }
}

/// The faults that do not refuse a pack: git's message id, the severity, and why.
pub const SEVERITIES: &[(&str, Severity, &str)] = &[
    (
        "zeroPaddedFilemode",
        Severity::Warn,
        "trees written by early hosting services have modes such as 040000",
    ),
    (
        "missingEmail",
        Severity::Warn,
        "imports from other systems leave the address out",
    ),
    (
        "badEmail",
        Severity::Warn,
        "imports put text with an angle bracket into the address",
    ),
    (
        "missingNameBeforeEmail",
        Severity::Warn,
        "imports leave the name out",
    ),
    (
        "badName",
        Severity::Warn,
        "imports put text with an angle bracket into the name",
    ),
    (
        "missingSpaceBeforeEmail",
        Severity::Warn,
        "early tools joined name and address",
    ),
    (
        "missingSpaceBeforeDate",
        Severity::Warn,
        "early tools joined address and date",
    ),
    (
        "zeroPaddedDate",
        Severity::Warn,
        "early tools padded dates with zeroes",
    ),
    (
        "badDate",
        Severity::Warn,
        "imports wrote dates before 1970; readers show them as the epoch",
    ),
    (
        "badDateOverflow",
        Severity::Warn,
        "broken clocks; readers show the largest date they know",
    ),
    (
        "badTimezone",
        Severity::Warn,
        "early tools wrote zones such as +051800",
    ),
    (
        "multipleAuthors",
        Severity::Warn,
        "an early tool wrote co-authors as authors; the first counts",
    ),
    (
        "missingTaggerEntry",
        Severity::Warn,
        "tags from before 2005 name no tagger",
    ),
];

/// The value for `git index-pack --strict=`.
pub(crate) fn strict_argument() -> String {
    format!("--strict={}", list())
}

/// The same rules for objects alone, whether what they name is there or not.
pub(crate) fn objects_argument() -> String {
    format!("--fsck-objects={}", list())
}

fn list() -> String {
    let list: Vec<String> = SEVERITIES
        .iter()
        .map(|(id, severity, _)| format!("{id}={}", severity.name()))
        .collect();
    list.join(",")
}
