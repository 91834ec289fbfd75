//! Comparing repositories by what plain git says of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::Person;

/// Full ref names and the object ids they point at, and `HEAD` with the name of its branch.
pub type Refs = BTreeMap<String, String>;

/// The branches and tags of the repository in `dir`, and `HEAD`.
///
/// # Errors
///
/// When git fails.
pub fn refs_of(person: &Person, dir: &Path) -> Result<Refs> {
    let mut refs = for_each_ref(person, dir, &["refs/heads", "refs/tags"])?;
    let head = person.git(dir, ["symbolic-ref", "--quiet", "HEAD"]).run()?;
    if head.code == Some(0) {
        refs.insert("HEAD".to_owned(), head.stdout.trim().to_owned());
    }
    Ok(refs)
}

/// The branches and tags of the repository that the clone in `dir` was made from, and its `HEAD`, as plain
/// `git clone` stored them.
///
/// # Errors
///
/// When git fails.
pub fn refs_as_cloned(person: &Person, dir: &Path) -> Result<Refs> {
    const REMOTE: &str = "refs/remotes/origin/";
    let mut refs = for_each_ref(person, dir, &["refs/tags"])?;
    let branches = for_each_ref(person, dir, &["refs/remotes/origin"])?;
    for (name, oid) in branches {
        match name.strip_prefix(REMOTE) {
            Some("HEAD") | None => {}
            Some(branch) => {
                refs.insert(format!("refs/heads/{branch}"), oid);
            }
        }
    }
    let head = person
        .git(dir, ["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"])
        .run()?;
    if let Some(branch) = head.stdout.trim().strip_prefix(REMOTE) {
        refs.insert("HEAD".to_owned(), format!("refs/heads/{branch}"));
    }
    Ok(refs)
}

/// One line for each ref that is not the same on both sides.
#[must_use]
pub fn differences(expected: &Refs, found: &Refs) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let side =
        |refs: &Refs, name: &String| refs.get(name).map_or("missing", String::as_str).to_owned();
    names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| {
            format!(
                "{name}: expected {}, found {}",
                side(expected, name),
                side(found, name)
            )
        })
        .collect()
}

fn for_each_ref(person: &Person, dir: &Path, patterns: &[&str]) -> Result<Refs> {
    let args = ["for-each-ref", "--format=%(refname) %(objectname)"]
        .iter()
        .chain(patterns);
    let listed = person.git(dir, args).run()?.success()?;
    let pair = |line: &str| {
        line.rsplit_once(' ')
            .map(|(name, oid)| (name.to_owned(), oid.to_owned()))
    };
    Ok(listed.stdout.lines().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_difference_and_nothing_else() {
        let refs = |pairs: &[(&str, &str)]| -> Refs {
            pairs
                .iter()
                .map(|(name, oid)| ((*name).to_owned(), (*oid).to_owned()))
                .collect()
        };
        let expected = refs(&[("same", "1"), ("moved", "1"), ("lost", "1")]);
        let found = refs(&[("same", "1"), ("moved", "2"), ("new", "1")]);
        let lines = differences(&expected, &found);
        assert_eq!(
            lines,
            [
                "lost: expected 1, found missing",
                "moved: expected 1, found 2",
                "new: expected missing, found 1"
            ]
        );
        assert!(differences(&expected, &expected).is_empty());
    }
}
