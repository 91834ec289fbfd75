//! Keeping account of what people were told about their pushes, to hold the fleet to it.
//!
//! Whoever pushes through an [`Account`] has every acknowledgement noted, and at once compared with the disk of each
//! envoy that it names. At the end [`Account::breaches`] compares the whole with what all envoys hold. It is the one
//! part of this crate that reads the daemons' repositories; it never writes there.

mod evidence;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

pub use self::evidence::{Evidence, Replica, Statement};
pub use self::verdict::{Breach, breaches};
use crate::{Fleet, Outcome, Person};

/// One ref of one push that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which push it was part of.
    pub push: usize,
    /// The envoy on which it was made.
    pub by: String,
    /// The full name of the ref.
    pub name: String,
    /// The commit that it was moved to; none for a deletion.
    pub commit: Option<String>,
    /// The commit that was knowingly thrown away by it.
    pub over: Option<String>,
    /// The envoys that were said to hold it durably.
    pub on: BTreeSet<String>,
}

/// What people were told, and what was found wrong on the way.
#[derive(Debug)]
pub struct Account {
    reader: Person,
    roots: BTreeMap<String, PathBuf>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pushes: usize,
    told: Vec<Told>,
    breaches: Vec<Breach>,
}

impl Account {
    /// An account of the pushes to the one project of a fleet.
    #[must_use]
    pub fn of(fleet: &Fleet) -> Self {
        let root = |envoy: &crate::Envoy| (envoy.name().to_owned(), envoy.root().to_owned());
        Self {
            reader: fleet.outside(),
            roots: fleet.envoys().map(root).collect(),
            kept: Mutex::default(),
        }
    }

    /// Runs `git push` in `dir` with these arguments (the remote and refspecs last), and notes what was acknowledged.
    ///
    /// # Errors
    ///
    /// When git cannot be run. A push that failed or was refused is no error here: nobody was told anything then.
    pub fn push(&self, person: &Person, dir: &Path, args: &[&str]) -> Result<Outcome> {
        let known = served(person, dir, args);
        let command = ["push", "--porcelain"].iter().chain(args);
        let outcome = person.git(dir, command).run()?;
        let on = said_to_hold(&outcome.stderr);
        let moved: Vec<Moved> = outcome.stdout.lines().filter_map(moved).collect();
        if on.is_empty() || moved.is_empty() {
            return Ok(outcome);
        }
        let mut told = Vec::new();
        for Moved { from, to, thrown } in moved {
            let commit = match from.as_str() {
                "" => None,
                source => Some(commit_of(person, dir, source)?),
            };
            told.push(Told {
                push: 0,
                by: person.envoy().to_owned(),
                over: known.get(&to).filter(|_| thrown).cloned(),
                name: to,
                commit,
                on: on.clone(),
            });
        }
        let broken = self.broken_already(&told)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let push = kept.pushes;
        kept.pushes += 1;
        kept.told
            .extend(told.into_iter().map(|told| Told { push, ..told }));
        kept.breaches.extend(broken);
        Ok(outcome)
    }

    /// Everything that was acknowledged so far.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .told
            .clone()
    }

    /// Compares everything that people were told with what all envoys of a fleet hold. The daemons run, and nothing
    /// is under way.
    ///
    /// # Errors
    ///
    /// When git or `vigo` fails.
    pub fn breaches(&self, fleet: &Fleet, project: &str) -> Result<Vec<Breach>> {
        let replicas = (0..fleet.len()).map(|index| {
            let envoy = fleet.envoy(index);
            let person = fleet.person(index);
            Ok((envoy.name().to_owned(), Replica::read(person, project)?))
        });
        let evidence = Evidence {
            told: self.told(),
            replicas: replicas.collect::<Result<_>>()?,
        };
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = kept.breaches.clone();
        found.extend(breaches(&evidence));
        Ok(found)
    }

    /// What the envoys that were just said to hold something do not hold.
    fn broken_already(&self, told: &[Told]) -> Result<Vec<Breach>> {
        let mut found = Vec::new();
        for told in told {
            let Some(commit) = &told.commit else { continue };
            for name in &told.on {
                let root = self
                    .roots
                    .get(name)
                    .with_context(|| format!("no envoy is called {name}"))?;
                if let Err(instead) = evidence::keeps(&self.reader, root, commit)? {
                    found.push(Breach::Early {
                        envoy: name.clone(),
                        told: told.clone(),
                        found: instead,
                    });
                }
            }
        }
        Ok(found)
    }
}

/// A line of `git push --porcelain` about a ref that moved.
struct Moved {
    /// What was pushed; empty for a deletion.
    from: String,
    /// The full name of the ref that moved.
    to: String,
    /// Whether something was thrown away.
    thrown: bool,
}

fn moved(line: &str) -> Option<Moved> {
    let mut fields = line.split('\t');
    let flag = fields.next()?;
    let (from, to) = fields.next()?.split_once(':')?;
    matches!(flag, " " | "+" | "-" | "*").then(|| Moved {
        from: from.to_owned(),
        to: to.to_owned(),
        thrown: matches!(flag, "+" | "-"),
    })
}

/// The envoys that a push was said to be durable on.
fn said_to_hold(said: &str) -> BTreeSet<String> {
    let lines = said
        .lines()
        .map(|line| line.trim_start_matches("remote:").trim());
    let mut on = BTreeSet::new();
    for line in lines {
        if let Some((_, names)) = line
            .strip_prefix("success: replicated to ")
            .and_then(|rest| rest.trim_end_matches(')').split_once('('))
        {
            on.extend(names.split(", ").map(str::to_owned));
        } else if let Some(name) = line.strip_prefix("success: stored on ") {
            on.insert(name.to_owned());
        }
    }
    on
}

/// What the remote had before a push that throws something away; nothing for any other push.
fn served(person: &Person, dir: &Path, args: &[&str]) -> BTreeMap<String, String> {
    let throws = |arg: &&str| arg.starts_with(['+', ':']) || matches!(*arg, "--force" | "--delete");
    let remote = args
        .iter()
        .find(|arg| !arg.starts_with('-') && !arg.contains('='));
    let (true, Some(remote)) = (args.iter().any(throws), remote) else {
        return BTreeMap::new();
    };
    let listed = person.git(dir, ["ls-remote", remote]).run();
    let listed = listed.map(|outcome| outcome.stdout).unwrap_or_default();
    let pair = |line: &str| {
        line.split_once('\t')
            .map(|(oid, name)| (name.to_owned(), oid.to_owned()))
    };
    listed.lines().filter_map(pair).collect()
}

fn commit_of(person: &Person, dir: &Path, source: &str) -> Result<String> {
    let commit = format!("{source}^{{commit}}");
    let found = person.git(dir, ["rev-parse", "--verify", "--quiet", &commit]);
    Ok(found.run()?.success()?.stdout.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_who_holds_a_push() {
        let said = "remote: success: replicated to 2 of 3 envoys (mars, venus)        \n\
                    remote: warning: titan offline; will catch up\n";
        assert_eq!(
            said_to_hold(said),
            BTreeSet::from(["mars".to_owned(), "venus".to_owned()])
        );
        let alone = said_to_hold("remote: success: stored on mars\n");
        assert_eq!(alone, BTreeSet::from(["mars".to_owned()]));
        assert!(said_to_hold("error: failed to push some refs\n").is_empty());
    }

    #[test]
    fn reads_what_moved_and_not_what_was_refused() {
        let moved = |line| moved(line).map(|moved| (moved.from, moved.to, moved.thrown));
        let text = str::to_owned;
        assert_eq!(
            moved("*\trefs/heads/main:refs/heads/main\t[new branch]"),
            Some((text("refs/heads/main"), text("refs/heads/main"), false))
        );
        assert_eq!(
            moved("-\t:refs/heads/old\t[deleted]"),
            Some((text(""), text("refs/heads/old"), true))
        );
        assert_eq!(
            moved("!\trefs/heads/main:refs/heads/main\t[rejected] (fetch first)"),
            None
        );
        assert_eq!(
            moved("=\trefs/heads/main:refs/heads/main\t[up to date]"),
            None
        );
        assert_eq!(moved("To gitback://dan/notes"), None);
    }
}
