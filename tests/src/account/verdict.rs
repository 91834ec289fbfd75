//! What a fleet has promised and not kept. Pure: evidence in, breaches out.

use std::collections::BTreeSet;
use std::fmt;

use super::{Evidence, Replica, Told};

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// At the moment of the acknowledgement an envoy that it names did not keep the commit.
    Early {
        /// Which envoy.
        envoy: String,
        /// What was said.
        told: Told,
        /// What was there instead.
        found: String,
    },
    /// An envoy does not keep a commit at the end, when every envoy should.
    Lost {
        /// Which envoy.
        envoy: String,
        /// What was said.
        told: Told,
    },
    /// No branch, tag or other head of an envoy contains a commit that nobody threw away.
    Unseen {
        /// Which envoy.
        envoy: String,
        /// What was said of the commit.
        told: Told,
    },
    /// Two envoys do not show the same under a name.
    Differs {
        /// The name of a ref, or the id of a statement.
        name: String,
        /// One envoy and what it shows.
        one: (String, String),
        /// Another envoy and what it shows.
        other: (String, String),
    },
    /// A statement does not count, although nobody's rights were ever ended.
    Void {
        /// Which envoy says so.
        envoy: String,
        /// The statement's id.
        statement: String,
        /// Why.
        verdict: String,
    },
    /// Fewer updates are held than pushes were acknowledged.
    Unsaid {
        /// Which envoy.
        envoy: String,
        /// How many updates it holds.
        updates: usize,
        /// How many pushes were acknowledged.
        pushes: usize,
    },
    /// `git fsck` complains about an envoy's repository.
    Damaged {
        /// Which envoy.
        envoy: String,
        /// What git says.
        complaint: String,
    },
}

/// Every promise that the evidence shows not to be kept, once all envoys can reach each other again and are at rest.
#[must_use]
pub fn breaches(evidence: &Evidence) -> Vec<Breach> {
    let mut found = Vec::new();
    for (envoy, replica) in &evidence.replicas {
        found.extend(lost(evidence, envoy, replica));
        found.extend(unseen(evidence, envoy, replica));
        found.extend(void(envoy, replica));
        found.extend(unsaid(evidence, envoy, replica));
        found.extend(replica.complaints.iter().map(|complaint| Breach::Damaged {
            envoy: envoy.clone(),
            complaint: complaint.clone(),
        }));
    }
    found.extend(differing(evidence));
    found
}

/// Whatever was acknowledged anywhere is kept everywhere: thrown away in sight or not, it can be had again.
fn lost(evidence: &Evidence, envoy: &str, replica: &Replica) -> Vec<Breach> {
    let kept = |told: &&Told| {
        let commit = told.commit.as_ref();
        commit.is_none_or(|commit| replica.parents.contains_key(commit))
    };
    let lost = evidence.told.iter().filter(|told| !kept(told));
    lost.map(|told| Breach::Lost {
        envoy: envoy.to_owned(),
        told: told.clone(),
    })
    .collect()
}

/// What nobody threw away is in a branch, in a tag, or among the other heads.
fn unseen(evidence: &Evidence, envoy: &str, replica: &Replica) -> Vec<Breach> {
    let tips = replica.refs.values();
    let seen: BTreeSet<&str> = tips.flat_map(|tip| replica.history(tip)).collect();
    let thrown_away = |told: &Told, commit: &str| {
        let others = evidence.told.iter().filter(|other| other.name == told.name);
        let mut over = others.filter_map(|other| other.over.as_deref());
        over.any(|over| replica.history(over).contains(commit))
    };
    let unseen = evidence.told.iter().filter(|told| {
        let commit = told.commit.as_deref();
        commit.is_some_and(|commit| {
            // One that is not even kept is lost, which is said already.
            replica.parents.contains_key(commit)
                && !seen.contains(commit)
                && !thrown_away(told, commit)
        })
    });
    unseen
        .map(|told| Breach::Unseen {
            envoy: envoy.to_owned(),
            told: told.clone(),
        })
        .collect()
}

fn void(envoy: &str, replica: &Replica) -> Vec<Breach> {
    let statements = replica.statements.iter();
    let void = statements.filter(|(_, statement)| statement.verdict != "valid");
    void.map(|(id, statement)| Breach::Void {
        envoy: envoy.to_owned(),
        statement: id.clone(),
        verdict: statement.verdict.clone(),
    })
    .collect()
}

fn unsaid(evidence: &Evidence, envoy: &str, replica: &Replica) -> Option<Breach> {
    let told: BTreeSet<usize> = evidence.told.iter().map(|told| told.push).collect();
    let pushes = told.len();
    let statements = replica.statements.values();
    let updates = statements
        .filter(|one| one.kind.starts_with("update."))
        .count();
    (updates < pushes).then(|| Breach::Unsaid {
        envoy: envoy.to_owned(),
        updates,
        pushes,
    })
}

/// All envoys show the same refs and hold the same statements.
fn differing(evidence: &Evidence) -> Vec<Breach> {
    let mut replicas = evidence.replicas.iter();
    let Some((first, expected)) = replicas.next() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (envoy, replica) in replicas {
        let differs = |name: &str, one: Option<&str>, other: Option<&str>| {
            let side = |what: Option<&str>| what.unwrap_or("nothing").to_owned();
            (one != other).then(|| Breach::Differs {
                name: name.to_owned(),
                one: (first.clone(), side(one)),
                other: (envoy.clone(), side(other)),
            })
        };
        let names: BTreeSet<&String> = expected.refs.keys().chain(replica.refs.keys()).collect();
        let shown = |side: &'_ Replica, name: &String| side.refs.get(name).cloned();
        found.extend(names.into_iter().filter_map(|name| {
            let (one, other) = (shown(expected, name), shown(replica, name));
            differs(name, one.as_deref(), other.as_deref())
        }));
        let (ours, theirs) = (&expected.statements, &replica.statements);
        let ids: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        found.extend(ids.into_iter().filter_map(|id| {
            let verdict =
                |side: &'_ Replica| side.statements.get(id).map(|one| one.verdict.clone());
            let (one, other) = (verdict(expected), verdict(replica));
            differs(id, one.as_deref(), other.as_deref())
        }));
    }
    found
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early { envoy, told, found } => {
                write!(f, "{envoy} did not keep yet {}; {found}", Shown(told))
            }
            Self::Lost { envoy, told } => write!(f, "{envoy} has lost {}", Shown(told)),
            Self::Unseen { envoy, told } => write!(f, "{envoy} shows nowhere {}", Shown(told)),
            Self::Differs { name, one, other } => {
                write!(
                    f,
                    "{name} is {} on {} and {} on {}",
                    one.1, one.0, other.1, other.0
                )
            }
            Self::Void {
                envoy,
                statement,
                verdict,
            } => write!(f, "on {envoy} statement {statement} is {verdict}"),
            Self::Unsaid {
                envoy,
                updates,
                pushes,
            } => write!(f, "{envoy} holds {updates} updates of {pushes} pushes"),
            Self::Damaged { envoy, complaint } => write!(f, "git fsck on {envoy}: {complaint}"),
        }
    }
}

struct Shown<'a>(&'a Told);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told {
            push,
            by,
            name,
            commit,
            on,
            ..
        } = self.0;
        let commit = commit.as_deref().unwrap_or("a deletion");
        let on = on.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "{commit}, pushed to {name} on {by} (push {push}), acknowledged by {on}"
        )
    }
}

#[cfg(test)]
mod tests;
