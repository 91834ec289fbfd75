//! Which objects are plainly good by git's rules, and what they name.
//!
//! Narrower than git everywhere: names that any file system could take for `.git`, people and dates in unusual forms,
//! tags, and files that git itself obeys are left to git unless they are as simple as they usually are.
//!
//! Source: git's fsck.c; git-fsck(1), "fsck messages".

use std::collections::HashSet;

use gix::objs::Kind;

use crate::{Oid, walk};

/// Largest file that git obeys and that is looked at here, in bytes.
pub(super) const OBEYED_MAX: u64 = 64 * 1024;
/// Longest line of attributes that git takes, in bytes.
const ATTRIBUTES_LINE_MAX: usize = 2048;
/// Longest target of a symbolic link that is looked at here, in bytes.
const LINK_MAX: usize = 1024;
/// Longest name that is looked at here, in bytes.
const NAME_MAX: usize = 255;
/// Most digits of a date: so many never overflow.
const DATE_DIGITS_MAX: usize = 12;

/// Names that begin like `.git` and that git gives no meaning in which they could do harm.
const HARMLESS: &[&[u8]] = &[
    b".gitignore",
    b".github",
    b".gitkeep",
    b".gitlab",
    b".gitlab-ci.yml",
    b".gitea",
    b".git-blame-ignore-revs",
];

/// What an object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Links {
    Blob,
    Tree(Vec<Entry>),
    Commit {
        tree: Oid,
        parents: Vec<Oid>,
        /// Seconds since the epoch.
        date: i64,
    },
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) oid: Oid,
    /// `None`: a commit of another repository.
    pub(super) kind: Option<Kind>,
}

impl Links {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Blob => Kind::Blob,
            Self::Tree(_) => Kind::Tree,
            Self::Commit { .. } => Kind::Commit,
        }
    }

    /// The objects that it names, and what they have to be.
    pub(super) fn named(&self) -> Vec<(Oid, Kind)> {
        match self {
            Self::Blob => Vec::new(),
            Self::Tree(entries) => entries
                .iter()
                .filter_map(|entry| Some((entry.oid, entry.kind?)))
                .collect(),
            Self::Commit { tree, parents, .. } => {
                let parents = parents.iter().map(|parent| (*parent, Kind::Commit));
                std::iter::once((*tree, Kind::Tree))
                    .chain(parents)
                    .collect()
            }
        }
    }
}

/// Files of which git obeys what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Obeyed {
    Attributes,
    Modules,
    /// A symbolic link. Some versions of git refuse one that leads into `.git`.
    Link,
}

impl Obeyed {
    pub(super) fn is_good(self, bytes: &[u8]) -> bool {
        match self {
            Self::Attributes => are_attributes(bytes),
            Self::Modules => are_modules(bytes),
            Self::Link => is_link(bytes),
        }
    }
}

/// What an object names; `None` unless it is plainly good. `is_good` looks at a file that git obeys.
pub(super) fn links(
    kind: Kind,
    bytes: &[u8],
    is_good: &mut dyn FnMut(&Oid, Obeyed) -> bool,
) -> Option<Links> {
    match kind {
        Kind::Blob => Some(Links::Blob),
        Kind::Commit => commit(bytes),
        Kind::Tree => {
            let modes = tree(bytes)?;
            // First, so that a name is looked at once.
            is_sorted(&modes).then_some(())?;
            for (mode, entry) in &modes {
                check_entry(mode, entry, is_good)?;
            }
            let entries = modes.into_iter().map(|(_, entry)| entry);
            Some(Links::Tree(entries.collect()))
        }
        Kind::Tag => None,
    }
}

/// What a tree of the repository names: read, not judged.
pub(super) fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    Some(tree(bytes)?.into_iter().map(|(_, entry)| entry).collect())
}

fn tree(mut bytes: &[u8]) -> Option<Vec<(&[u8], Entry)>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (mode, rest) = split_once(bytes, b' ')?;
        let (name, rest) = split_once(rest, 0)?;
        let (oid, rest) = rest.split_at_checked(20)?;
        bytes = rest;
        let kind = match mode {
            b"40000" | b"040000" => Some(Kind::Tree),
            b"160000" => None,
            _ => Some(Kind::Blob),
        };
        let entry = Entry {
            name: name.to_vec(),
            oid: Oid::from_bytes_or_panic(oid),
            kind,
        };
        entries.push((mode, entry));
    }
    Some(entries)
}

fn check_entry(
    mode: &[u8],
    entry: &Entry,
    is_good: &mut dyn FnMut(&Oid, Obeyed) -> bool,
) -> Option<()> {
    let name = entry.name.as_slice();
    let is_file = matches!(mode, b"100644" | b"100755");
    if !is_file && !matches!(mode, b"40000" | b"120000" | b"160000") {
        return None;
    }
    if entry.oid.is_null() || name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    // A slash parts folders, a backslash and a colon do on some systems; a tilde is in short names of others.
    let parts = |byte: &u8| matches!(byte, b'/' | b'\\' | b':' | b'~') || *byte < b' ';
    // The first bytes of characters that some file systems leave out of a name.
    let ignored = |byte: &u8| matches!(byte, 0xe2 | 0xef);
    if name.iter().any(|byte| parts(byte) || ignored(byte)) {
        return None;
    }
    if matches!(name, b"." | b"..") || matches!(name.last(), Some(b' ' | b'.')) {
        return None;
    }
    if name == b".gitattributes" {
        return (is_file && is_good(&entry.oid, Obeyed::Attributes)).then_some(());
    }
    if name == b".gitmodules" {
        return (is_file && is_good(&entry.oid, Obeyed::Modules)).then_some(());
    }
    if mode == b"120000" && !is_good(&entry.oid, Obeyed::Link) {
        return None;
    }
    let is_harmless = is_file || mode == b"40000";
    let begins = |with: &[u8]| {
        let start = name.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    let is_special = begins(b".git") || begins(b".mailmap");
    let is_known = HARMLESS.contains(&name) || name == b".mailmap";
    (!is_special || (is_harmless && is_known)).then_some(())
}

/// Whether the entries are in git's order, and no name is there twice, as a file and a folder neither.
fn is_sorted(entries: &[(&[u8], Entry)]) -> bool {
    let key = |(_, entry): &(&[u8], Entry)| {
        let mut key = entry.name.clone();
        if entry.kind == Some(Kind::Tree) {
            key.push(b'/');
        }
        key
    };
    let mut names = HashSet::with_capacity(entries.len());
    entries.is_sorted_by(|a, b| key(a) < key(b))
        && entries.iter().all(|(_, entry)| names.insert(&entry.name))
}

/// Whether it is short and plain, and `.git` is nowhere in it.
fn is_link(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| !matches!(byte, 0..b' ' | b'\\' | b':' | b'~' | 0xe2 | 0xef);
    let mut parts = bytes.windows(4);
    bytes.len() <= LINK_MAX
        && bytes.iter().all(plain)
        && !parts.any(|part| part.eq_ignore_ascii_case(b".git"))
}

fn are_attributes(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    !bytes.contains(&0) && lines.all(|line| line.len() < ATTRIBUTES_LINE_MAX)
}

/// Whether submodules are described as git writes it itself, with addresses of no special form.
fn are_modules(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    text.lines().all(|line| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return !line.ends_with('\\');
        }
        if let Some(name) = line
            .strip_prefix("[submodule \"")
            .and_then(|rest| rest.strip_suffix("\"]"))
        {
            return is_path(name);
        }
        match line.split_once(" = ") {
            Some(("path", path)) => is_path(path),
            Some(("url", url)) => url
                .strip_prefix("https://")
                .is_some_and(|rest| is_path(rest) && rest.contains('/')),
            Some(("branch", branch)) => is_path(branch),
            Some(("shallow", value)) => matches!(value, "true" | "false"),
            _ => false,
        }
    })
}

/// Whether it is made of plain names with single slashes between them.
fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    path.split('/').all(|part| {
        part.bytes().all(plain)
            && part.bytes().next().is_some_and(|byte| byte != b'-')
            && !part.starts_with("..")
            && part != "."
    })
}

/// What a commit names; `None` unless it is as git writes it.
pub(super) fn commit(bytes: &[u8]) -> Option<Links> {
    if bytes.contains(&0) {
        return None;
    }
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = bytes.get(..end)?.split(|byte| *byte == b'\n').peekable();
    let tree = oid(lines.next()?.strip_prefix(b"tree ")?)?;
    let mut parents = Vec::new();
    while let Some(parent) = lines.next_if(|line| line.starts_with(b"parent ")) {
        parents.push(oid(parent.strip_prefix(b"parent ")?)?);
    }
    for role in [&b"author "[..], b"committer "] {
        if !is_person(lines.next()?.strip_prefix(role)?) {
            return None;
        }
    }
    let date = walk::Commit::parse(bytes).date;
    Some(Links::Commit {
        tree,
        parents,
        date,
    })
}

/// Whether it is `name <address> seconds zone`, as git writes it.
fn is_person(line: &[u8]) -> bool {
    let plain = |part: &[u8]| !part.iter().any(|byte| matches!(byte, b'<' | b'>'));
    let Some((name, rest)) = split_once(line, b'<') else {
        return false;
    };
    let Some((address, rest)) = split_once(rest, b'>') else {
        return false;
    };
    let Some((date, zone)) = rest
        .strip_prefix(b" ")
        .and_then(|rest| split_once(rest, b' '))
    else {
        return false;
    };
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let is_date = digits(date)
        && (1..=DATE_DIGITS_MAX).contains(&date.len())
        && (date == b"0" || !date.starts_with(b"0"));
    let is_zone = zone.len() == 5
        && matches!(zone.first(), Some(b'+' | b'-'))
        && zone.get(1..).is_some_and(digits);
    name.len() > 1 && name.ends_with(b" ") && plain(name) && plain(address) && is_date && is_zone
}

/// Forty lower-case digits.
fn oid(hex: &[u8]) -> Option<Oid> {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if hex.len() != 40 || !hex.iter().all(lower) {
        return None;
    }
    Oid::from_hex(hex).ok()
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..index)?, bytes.get(index + 1..)?))
}
