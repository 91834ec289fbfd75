//! Which objects are plainly good by git's rules, and what they name.
//!
//! Narrower than git everywhere: names that any file system could take for `.git`, people and dates in unusual forms,
//! tags, and files that git itself obeys are left to git unless they are as simple as they usually are.
//!
//! Source: git's fsck.c; git-fsck(1), "fsck messages".

use gix::objs::Kind;

use crate::{Oid, walk};

/// Largest file that git obeys and that is looked at here, in bytes.
pub(crate) const OBEYED_MAX: u64 = 64 * 1024;
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
pub(crate) enum Links {
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
pub(crate) struct Entry {
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
pub(crate) enum Obeyed {
    Attributes,
    Modules,
    /// A symbolic link. Some versions of git refuse one that leads into `.git`.
    Link,
}

impl Obeyed {
    pub(crate) fn is_good(self, bytes: &[u8]) -> bool {
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
            // First, so that a name is looked at once.
            is_sorted(bytes)?.then_some(())?;
            let mut entries = Vec::new();
            for leaf in leaves(bytes) {
                let leaf = leaf?;
                check_leaf(&leaf, is_good)?;
                entries.push(leaf.entry());
            }
            Some(Links::Tree(entries))
        }
        Kind::Tag => None,
    }
}

/// What a tree of the repository names: read, not judged.
pub(super) fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    leaves(bytes).map(|leaf| Some(leaf?.entry())).collect()
}

/// An entry of a tree, where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf<'a> {
    pub(crate) mode: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) oid: Oid,
}

impl Leaf<'_> {
    /// What it has to be; `None`: a commit of another repository. Of a mode that no version of git has written it says
    /// nothing.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.mode {
            b"40000" | b"040000" => Some(Kind::Tree),
            b"160000" => None,
            _ => Some(Kind::Blob),
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            name: self.name.to_vec(),
            oid: self.oid,
            kind: self.kind(),
        }
    }

    /// Its name as it is sorted.
    fn key(&self) -> impl Iterator<Item = &u8> {
        let slash: &[u8] = match self.kind() {
            Some(Kind::Tree) => b"/",
            _ => b"",
        };
        self.name.iter().chain(slash)
    }
}

/// The entries of a tree, in their order; `None` in place of the first that is none, and then nothing more.
pub(crate) fn leaves(mut bytes: &[u8]) -> impl Iterator<Item = Option<Leaf<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (leaf, rest) = leaf(bytes).unzip();
        bytes = rest.unwrap_or_default();
        Some(leaf)
    })
}

fn leaf(bytes: &[u8]) -> Option<(Leaf<'_>, &[u8])> {
    let (mode, rest) = split_once(bytes, b' ')?;
    let (name, rest) = split_once(rest, 0)?;
    let (oid, rest) = rest.split_at_checked(20)?;
    let oid = Oid::from_bytes_or_panic(oid);
    Some((Leaf { mode, name, oid }, rest))
}

/// `None` unless an entry is plainly good. `is_good` looks at a file that git obeys.
pub(crate) fn check_leaf(
    leaf: &Leaf<'_>,
    is_good: &mut dyn FnMut(&Oid, Obeyed) -> bool,
) -> Option<()> {
    let Leaf { mode, name, oid } = *leaf;
    let is_file = matches!(mode, b"100644" | b"100755");
    if !is_file && !matches!(mode, b"40000" | b"120000" | b"160000") {
        return None;
    }
    if oid.is_null() || name.is_empty() || name.len() > NAME_MAX {
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
        return (is_file && is_good(&oid, Obeyed::Attributes)).then_some(());
    }
    if name == b".gitmodules" {
        return (is_file && is_good(&oid, Obeyed::Modules)).then_some(());
    }
    if mode == b"120000" && !is_good(&oid, Obeyed::Link) {
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

/// Whether the entries are in git's order, and no name is there twice, as a file and a folder neither. `None` when they
/// cannot be read.
pub(crate) fn is_sorted(bytes: &[u8]) -> Option<bool> {
    let mut last: Option<Leaf<'_>> = None;
    // Files whose names a folder may still have: between the two stands only what begins like them and goes on below
    // the slash. Each begins like the one before.
    let mut open: Vec<&[u8]> = Vec::new();
    for leaf in leaves(bytes) {
        let leaf = leaf?;
        let is_after = last.is_none_or(|last| last.key().lt(leaf.key()));
        if !is_after || leaf.name.len() > NAME_MAX {
            return Some(false);
        }
        let is_between = |name: &[u8]| {
            let more = leaf.name.strip_prefix(name);
            more.is_some_and(|more| more.first().is_none_or(|byte| *byte < b'/'))
        };
        while open.pop_if(|name| !is_between(name)).is_some() {}
        if open.last() == Some(&leaf.name) {
            return Some(false);
        }
        if leaf.kind() != Some(Kind::Tree) {
            open.push(leaf.name);
        }
        last = Some(leaf);
    }
    Some(true)
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
pub(crate) fn commit(bytes: &[u8]) -> Option<Links> {
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
pub(crate) fn oid(hex: &[u8]) -> Option<Oid> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Vec<u8> {
        let entry = |(mode, name): &(&str, &str)| {
            let mut bytes = format!("{mode} {name}\0").into_bytes();
            bytes.extend_from_slice(&[7; 20]);
            bytes
        };
        entries.iter().flat_map(entry).collect()
    }

    #[test]
    fn a_name_is_there_once_however_far_apart() {
        const FILE: &str = "100644";
        const FOLDER: &str = "40000";
        let good: [&[(&str, &str)]; 5] = [
            &[],
            &[
                (FILE, "a"),
                (FILE, "a!"),
                (FILE, "a!!"),
                (FOLDER, "a.b"),
                (FILE, "b"),
            ],
            &[(FILE, "a!"), (FOLDER, "a"), (FILE, "a0")],
            &[(FILE, "foo.bar"), (FILE, "foo.bar.baz"), (FOLDER, "foo")],
            &[(FILE, "x"), (FILE, "x!"), (FOLDER, "x-"), (FILE, "x0")],
        ];
        for entries in good {
            assert_eq!(is_sorted(&tree(entries)), Some(true), "{entries:?}");
        }
        let bad: [&[(&str, &str)]; 7] = [
            &[(FILE, "b"), (FILE, "a")],
            &[(FILE, "a"), (FILE, "a")],
            &[(FOLDER, "a"), (FOLDER, "a")],
            &[(FILE, "a"), (FOLDER, "a")],
            &[
                (FILE, "a"),
                (FILE, "a!"),
                (FILE, "a!!"),
                (FOLDER, "a!!"),
                (FOLDER, "a!"),
            ],
            &[
                (FILE, "foo"),
                (FILE, "foo.bar"),
                (FILE, "foo.bar.baz"),
                (FOLDER, "foo.bar"),
                (FOLDER, "foo"),
            ],
            &[
                (FILE, "a"),
                (FILE, "a!"),
                (FILE, "a!b"),
                (FILE, "a-"),
                (FOLDER, "a"),
            ],
        ];
        for entries in bad {
            assert_eq!(is_sorted(&tree(entries)), Some(false), "{entries:?}");
        }
        assert_eq!(is_sorted(b"100644 a\0short"), None);
    }
}
