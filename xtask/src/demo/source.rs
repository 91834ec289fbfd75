//! The repository that the demo pushes: checked, then copied, so that the user's own is never touched.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gitback_tests::Person;

use crate::show::count;

/// A repository with a history worth showing.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// What the project will be called.
    pub(super) handle: String,
    /// The branch that is checked out.
    pub(super) branch: String,
    /// How many commits its branches and tags reach.
    commits: u64,
    /// How many branches it has.
    branches: u64,
    /// How many tags it has.
    tags: u64,
}

impl Source {
    /// Looks at the repository at `path`.
    pub(super) fn open(person: &Person, path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .with_context(|| format!("there is no {}", path.display()))?;
        let here = path.display();
        let ask = |args: &[&str]| person.git(&path, args).run();
        if ask(&["rev-parse", "--git-dir"])?.code != Some(0) {
            bail!("{here} is not a git repository; name one with --repo PATH");
        }
        if ask(&["rev-parse", "--is-shallow-repository"])?
            .stdout
            .trim()
            == "true"
        {
            bail!(
                "{here} is a shallow clone, so its history is not here to be pushed; \
                 fetch the rest with `git fetch --unshallow`, or name another with --repo PATH"
            );
        }
        let number = |prefix: &str| -> Result<u64> {
            let listed = ask(&["for-each-ref", "--format=%(refname)", prefix])?.success()?;
            Ok(u64::try_from(listed.stdout.lines().count())?)
        };
        let (branches, tags) = (number("refs/heads")?, number("refs/tags")?);
        if branches == 0 {
            bail!(
                "{here} has no commits on any branch yet; make one, or name another with --repo PATH"
            );
        }
        let commits = ask(&["rev-list", "--count", "--branches", "--tags"])?.success()?;
        let commits = commits
            .stdout
            .trim()
            .parse()
            .context("git counted no commits")?;
        let branch = branch_of(&|args| Ok(ask(args)?.stdout))?;
        Ok(Self {
            handle: handle_of(&path),
            path,
            branch,
            commits,
            branches,
            tags,
        })
    }

    /// How many commits, for people.
    pub(super) fn commits(&self) -> String {
        count(self.commits, "commit", "commits")
    }

    /// How many branches, for people.
    pub(super) fn branches(&self) -> String {
        count(self.branches, "branch", "branches")
    }

    /// How many tags, for people; nothing if there are none.
    pub(super) fn tags(&self) -> Option<String> {
        (self.tags > 0).then(|| count(self.tags, "tag", "tags"))
    }

    /// The commands that make a work tree with all branches and tags in `dir`, which exists and is empty.
    pub(super) fn copy(&self, person: &Person, dir: &Path) -> Vec<gitback_tests::Invocation> {
        let path = self.path.to_string_lossy().into_owned();
        let branch = format!("--initial-branch={}", self.branch);
        let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        vec![
            person.git(dir, ["init", "--quiet", &branch]),
            person.git(
                dir,
                [
                    "fetch",
                    "--quiet",
                    "--update-head-ok",
                    &path,
                    all[0],
                    all[1],
                ],
            ),
            person.git(dir, ["reset", "--quiet", "--hard"]),
        ]
    }
}

/// The branch that is checked out, or else one that exists.
fn branch_of(ask: &dyn Fn(&[&str]) -> Result<String>) -> Result<String> {
    let all = ask(&["for-each-ref", "--format=%(refname:short)", "refs/heads"])?;
    let all: Vec<&str> = all.lines().collect();
    let head = ask(&["symbolic-ref", "--quiet", "--short", "HEAD"])?;
    let wanted = [head.trim(), "main", "master"];
    let found = wanted
        .iter()
        .find(|name| all.contains(*name))
        .or_else(|| all.first());
    found
        .map(|name| (*name).to_owned())
        .context("there is no branch")
}

/// The directory's name as far as a handle allows it.
fn handle_of(path: &Path) -> String {
    const HANDLE_MAX: usize = 40;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let name = name.strip_suffix(".git").unwrap_or(&name);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let mapped: String = name.chars().map(plain).take(HANDLE_MAX).collect();
    let trimmed = mapped.trim_matches('-');
    if trimmed.is_empty() {
        "project".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_made_of_the_directory_name() {
        let handle = |path| handle_of(Path::new(path));
        assert_eq!(handle("/srv/My Notes.git"), "my-notes");
        assert_eq!(handle("/srv/linux"), "linux");
        assert_eq!(handle("/"), "project");
        assert_eq!(handle("/srv/..x"), "x");
    }

    #[test]
    fn prefers_the_branch_that_is_checked_out() {
        let asked = |head: &'static str, all: &'static str| {
            let answer = move |args: &[&str]| {
                Ok(if args[0] == "symbolic-ref" { head } else { all }.to_owned())
            };
            branch_of(&answer).expect("a branch")
        };
        assert_eq!(asked("topic\n", "main\ntopic\n"), "topic");
        assert_eq!(asked("", "a\nmaster\n"), "master");
        assert_eq!(asked("unborn\n", "a\nb\n"), "a");
    }
}
