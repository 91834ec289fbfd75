//! Running the user's git in the user's repository.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gitback_helper::Failure;

use crate::context::Context;
use crate::failure;

const REMOTE_HELPER: &str = "git-remote-gitback";

/// A remote as the repository's configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// git, in the directory where the user is.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    context: &'a Context,
}

impl<'a> Git<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Self { context }
    }

    /// The top of the work tree; a failure outside of one.
    pub(crate) fn work_tree(&self) -> Result<PathBuf, Failure> {
        let output = self.output(["rev-parse", "--show-toplevel"])?;
        if !output.status.success() {
            return Err(failure::no_work_tree(&first_line(&output.stderr)));
        }
        let mut path = output.stdout;
        if path.last() == Some(&b'\n') {
            path.pop();
        }
        if path.is_empty() {
            return Err(failure::no_work_tree("a bare repository has no work tree"));
        }
        Ok(PathBuf::from(OsString::from_vec(path)))
    }

    /// Refuses a repository with other object names than SHA-1.
    pub(crate) fn require_sha1(&self) -> Result<(), Failure> {
        let output = self.output(["rev-parse", "--show-object-format"])?;
        match first_line(&output.stdout).as_str() {
            "sha256" => Err(failure::sha256_repository()),
            _ => Ok(()),
        }
    }

    /// All remotes, in the order of the configuration. None outside of a
    /// repository.
    pub(crate) fn remotes(&self) -> Result<Vec<Remote>, Failure> {
        let asked = ["config", "-z", "--get-regexp", r"^remote\..*\.url$"];
        Ok(parse_remotes(&self.output(asked)?.stdout))
    }

    pub(crate) fn add_remote(&self, name: &str, url: &str) -> Result<(), Failure> {
        let output = self.output(["remote", "add", name, url])?;
        if output.status.success() {
            return Ok(());
        }
        let what = format!("cannot add the remote \"{name}\"");
        Err(failure::git_failed(&what, &first_line(&output.stderr)))
    }

    /// Whether any ref has a name that begins with `prefix`.
    pub(crate) fn has_refs(&self, prefix: &str) -> Result<bool, Failure> {
        let output = self.output(["for-each-ref", "--count=1", "--format=x", prefix])?;
        Ok(!output.stdout.is_empty())
    }

    /// The branch that is checked out, as a full ref name, if it has a commit.
    pub(crate) fn current_branch(&self) -> Result<Option<String>, Failure> {
        let output = self.output(["symbolic-ref", "--quiet", "HEAD"])?;
        let name = first_line(&output.stdout);
        let is_branch = output.status.success() && name.starts_with("refs/heads/");
        Ok((is_branch && self.has_refs(&name)?).then_some(name))
    }

    /// Has a plain `git push` and `git pull` on this branch go to `remote`, unless they go somewhere already.
    pub(crate) fn track(&self, remote: &str, branch: &str) -> Result<(), Failure> {
        let Some(short) = branch.strip_prefix("refs/heads/") else {
            return Ok(());
        };
        let (remote_of, merge_of) = (
            format!("branch.{short}.remote"),
            format!("branch.{short}.merge"),
        );
        let there = self.output(["config", "--get", &remote_of])?;
        if !there.stdout.is_empty() {
            return Ok(());
        }
        for (name, value) in [(&remote_of, remote), (&merge_of, branch)] {
            let set = self.output(["config", "--local", name, value])?;
            if !set.status.success() {
                let what = format!("cannot set {name} in this repository");
                let why = String::from_utf8_lossy(&set.stderr).trim().to_owned();
                return Err(Failure::new(gitback_helper::exit_code::FAILED, what).because(why));
            }
        }
        Ok(())
    }

    /// How many tracked files are kept by Git LFS.
    pub(crate) fn lfs_files(&self) -> Result<u64, Failure> {
        let output = self.output(["ls-files", "-z", "--", ":(top,attr:filter=lfs)"])?;
        let names = output.stdout.split(|byte| *byte == 0);
        Ok(names.filter(|name| !name.is_empty()).count() as u64)
    }

    /// Pushes, with git's own words going to our stderr.
    pub(crate) fn push<S: AsRef<OsStr>>(
        &self,
        remote: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<(), Failure> {
        let mut command = self.command()?;
        let stderr = std::io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| failure::git_missing(&error))?;
        let status = command
            .arg("push")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stderr)
            .status()
            .map_err(|error| failure::git_missing(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(failure::push_failed(remote))
    }

    fn output<const N: usize>(&self, arguments: [&str; N]) -> Result<Output, Failure> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.context.facts.directory)
            .stdin(Stdio::null());
        command
            .output()
            .map_err(|error| failure::git_missing(&error))
    }

    /// A git that will find the remote helper and this envoy.
    fn command(&self) -> Result<Command, Failure> {
        let facts = &self.context.facts;
        let mut command = Command::new("git");
        command.current_dir(&facts.directory);
        if let Some(root) = &facts.places.root {
            command.env("VIGO_ROOT", root);
        }
        let path = facts.path.clone().unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| has_helper(&dir)) {
            let beside = facts.program.as_deref().and_then(Path::parent);
            let beside = beside.filter(|dir| has_helper(dir));
            let dir = beside.ok_or_else(failure::remote_helper_missing)?;
            let dirs = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path));
            let joined = std::env::join_paths(dirs);
            command.env(
                "PATH",
                joined.map_err(|_| failure::remote_helper_missing())?,
            );
        }
        Ok(command)
    }
}

fn has_helper(dir: &Path) -> bool {
    let metadata = dir.join(REMOTE_HELPER).metadata();
    metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Reads `git config -z --get-regexp`: key, newline, value, zero byte.
fn parse_remotes(bytes: &[u8]) -> Vec<Remote> {
    let text = String::from_utf8_lossy(bytes);
    let entries = text.split('\0').filter_map(|entry| {
        let (key, url) = entry.split_once('\n')?;
        let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
        Some(Remote {
            name: name.to_owned(),
            url: url.to_owned(),
        })
    });
    entries.collect()
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_keep_their_order_and_dots() {
        let bytes = b"remote.origin.url\nhttps://x/y\0remote.a.b.url\ngitback://dan/notes\0";
        let remote = |name: &str, url: &str| Remote {
            name: name.to_owned(),
            url: url.to_owned(),
        };
        assert_eq!(
            parse_remotes(bytes),
            [
                remote("origin", "https://x/y"),
                remote("a.b", "gitback://dan/notes")
            ]
        );
        assert!(parse_remotes(b"").is_empty());
        assert!(parse_remotes(b"remote.origin.url\0junk").is_empty());
    }
}
