//! What one envoy holds: its repository as plain git reads it, and its statements as `vigo` prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Told;
use crate::{Person, Refs};

/// How often it is looked at before a complaint counts.
const LOOKS: usize = 3;

/// Everything that a verdict is about.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What people were told.
    pub told: Vec<Told>,
    /// What each envoy holds, by its name.
    pub replicas: BTreeMap<String, Replica>,
}

/// One envoy's copy of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replica {
    /// What it shows to plain git: branches, tags, the other heads under `refs/envoys/`, and `HEAD`.
    pub refs: Refs,
    /// Every commit that any of its refs keeps, hidden ones too, with its parents.
    pub parents: BTreeMap<String, Vec<String>>,
    /// Its statements by their ids.
    pub statements: BTreeMap<String, Statement>,
    /// What `git fsck` complained about.
    pub complaints: Vec<String>,
}

/// One signed statement, as an envoy judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Such as `update.v1`.
    pub kind: String,
    /// `valid`, or why it does not count.
    pub verdict: String,
}

impl Replica {
    /// Reads the copy of `project` at `person`'s envoy.
    pub(super) fn read(person: &Person, project: &str) -> Result<Self> {
        let bare = repository(person.root())?;
        Ok(Self {
            refs: shown(person, &bare)?,
            parents: parents(person, &bare)?,
            statements: statements(person, project)?,
            complaints: complaints(person, &bare)?,
        })
    }

    /// The commit and all that it grew from, as far as they are kept here.
    pub(super) fn history<'a>(&'a self, tip: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open = vec![tip];
        while let Some(commit) = open.pop() {
            if let Some(parents) = self.parents.get(commit)
                && found.insert(commit)
            {
                open.extend(parents.iter().map(String::as_str));
            }
        }
        found
    }
}

/// Whether a ref of the envoy with this root keeps the commit; if not, what its refs are.
pub(super) fn keeps(person: &Person, root: &Path, commit: &str) -> Result<Result<(), String>> {
    let bare = repository(root)?;
    let args = ["for-each-ref", "--count=1", "--contains", commit];
    let mut before = None;
    loop {
        let found = person.git(&bare, args).run()?;
        if found.code == Some(0) && !found.stdout.is_empty() {
            return Ok(Ok(()));
        }
        // git reads one ref after the other: what moves meanwhile from one name to another it may see at neither.
        let listed = person.git(&bare, ["for-each-ref"]).run()?.stdout;
        if before.as_ref() == Some(&listed) {
            return Ok(Err(format!("{found}the refs are\n{listed}")));
        }
        before = Some(listed);
    }
}

/// The only repository of an envoy.
fn repository(root: &Path) -> Result<PathBuf> {
    let projects = root.join("var/lib/vigo/swarm/gitback/projects");
    let entries = std::fs::read_dir(&projects)
        .with_context(|| format!("no projects in {}", projects.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "git") {
            found.push(path);
        }
    }
    match found.pop() {
        Some(only) if found.is_empty() => Ok(only),
        _ => bail!("not one repository in {}", projects.display()),
    }
}

fn shown(person: &Person, bare: &Path) -> Result<Refs> {
    let args = [
        "for-each-ref",
        "--format=%(objectname) %(refname)",
        "refs/heads",
        "refs/tags",
        "refs/envoys",
    ];
    let listed = person.git(bare, args).run()?.success()?.stdout;
    let pair = |line: &str| {
        line.split_once(' ')
            .map(|(oid, name)| (name.to_owned(), oid.to_owned()))
    };
    let mut refs: Refs = listed.lines().filter_map(pair).collect();
    let head = person
        .git(bare, ["symbolic-ref", "HEAD"])
        .run()?
        .success()?;
    refs.insert("HEAD".to_owned(), head.stdout.trim().to_owned());
    Ok(refs)
}

fn parents(person: &Person, bare: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let listed = person
        .git(bare, ["rev-list", "--all", "--parents"])
        .run()?
        .success()?;
    let commit = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        words.next().map(|commit| (commit, words.collect()))
    };
    Ok(listed.stdout.lines().filter_map(commit).collect())
}

fn statements(person: &Person, project: &str) -> Result<BTreeMap<String, Statement>> {
    let asked = person.vigo(["swarm", "gitback", "log", project, "--json"]);
    let printed = asked.run()?.success()?.stdout;
    let entries: Vec<Value> = serde_json::from_str(&printed).context("vigo printed no JSON")?;
    let statement = |entry: &Value| {
        let field = |name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let verdict = match (field("verdict"), field("why")) {
            (verdict, why) if why.is_empty() => verdict,
            (verdict, why) => format!("{verdict}: {why}"),
        };
        (
            field("id"),
            Statement {
                kind: field("kind"),
                verdict,
            },
        )
    };
    Ok(entries.iter().map(statement).collect())
}

/// What git complains of in every one of some looks: housekeeping takes packs away that git has just listed and not opened
/// yet, and what is damaged stays so.
fn complaints(person: &Person, bare: &Path) -> Result<Vec<String>> {
    let mut complaints = complaints_once(person, bare)?;
    for _ in 1..LOOKS {
        if complaints.is_empty() {
            break;
        }
        complaints = complaints_once(person, bare)?;
    }
    Ok(complaints)
}

fn complaints_once(person: &Person, bare: &Path) -> Result<Vec<String>> {
    let args = ["fsck", "--full", "--no-dangling", "--no-progress"];
    let checked = person.git(bare, args).run()?;
    let said = checked.stderr.lines().chain(checked.stdout.lines());
    let mut complaints: Vec<String> = said.map(str::to_owned).collect();
    if checked.code != Some(0) && complaints.is_empty() {
        complaints.push(format!("git fsck ended with {:?}", checked.code));
    }
    Ok(complaints)
}
