//! Comparing what two envoys hold.
//!
//! Source: docs/spec/peer.md §5.1.

use gitback_identity::ProjectId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Hex, at_most, from_json, to_json};
use crate::limits::{DIGESTS_MAX, NAME_MAX, PROJECTS_MAX};
use crate::reject::Reject;

/// What an envoy holds: a digest for each project it shares with the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests {
    /// The envoy's display name, at most [`NAME_MAX`] bytes, no control characters.
    pub name: String,
    /// A project and the digest of its folded envelopes.
    pub projects: Vec<(ProjectId, [u8; 32])>,
    /// The digest of the roster of its fleet, if it is in one.
    pub roster: Option<[u8; 32]>,
    /// Of the claims to names that it knows, where it takes part in spreading them.
    pub names: Option<[u8; 32]>,
}

/// What a caller asks `digests` with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// All of its list.
    Full(Digests),
    /// Only whether the lists are the same.
    Summary {
        /// The caller's display name.
        name: String,
        /// [`Digests::summary`] of its list.
        summary: [u8; 32],
        /// The digest of the roster of its fleet, if it is in one.
        roster: Option<[u8; 32]>,
        /// [`Digests::names`] of the caller.
        names: Option<[u8; 32]>,
    },
}

/// What `digests` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compared {
    /// All of the holder's list.
    Full(Digests),
    /// Whether the summaries are the same.
    Summary {
        /// The holder's display name.
        name: String,
        /// Whether its list has the caller's summary.
        same: bool,
        /// The digest of the roster of its fleet, if it is in one.
        roster: Option<[u8; 32]>,
        /// [`Digests::names`] of the holder.
        names: Option<[u8; 32]>,
    },
}

#[derive(Default, Serialize, Deserialize)]
struct DigestsBody {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    projects: Option<Vec<(Hex<32>, Hex<32>)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<Hex<32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roster: Option<Hex<32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<Hex<32>>,
}

impl Digests {
    /// Says the whole list in 32 bytes; the name does not count, nor the order.
    ///
    /// Shape: the SHA-256 of `(project id | digest)*`, sorted.
    ///
    /// Source: docs/spec/peer.md §5.1.
    #[must_use]
    pub fn summary(&self) -> [u8; 32] {
        let mut sorted: Vec<_> = self.projects.iter().collect();
        sorted.sort_unstable();
        let mut hash = Sha256::new();
        for (project, digest) in sorted {
            hash.update(project.as_bytes());
            hash.update(digest);
        }
        hash.finalize().into()
    }

    fn check(&self) -> Result<(), Reject> {
        check_name(&self.name)?;
        at_most(self.projects.len(), PROJECTS_MAX, "projects")
    }

    fn body(&self) -> Result<DigestsBody, Reject> {
        self.check()?;
        let pairs = self.projects.iter();
        let pairs = pairs.map(|(project, digest)| (Hex(*project.as_bytes()), Hex(*digest)));
        Ok(DigestsBody {
            name: self.name.clone(),
            projects: Some(pairs.collect()),
            roster: self.roster.map(Hex),
            names: self.names.map(Hex),
            ..DigestsBody::default()
        })
    }
}

impl Comparison {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        let body = match self {
            Self::Full(digests) => digests.body()?,
            Self::Summary {
                name,
                summary,
                roster,
                names,
            } => {
                check_name(name)?;
                DigestsBody {
                    name: name.clone(),
                    summary: Some(Hex(*summary)),
                    roster: roster.map(Hex),
                    names: names.map(Hex),
                    ..DigestsBody::default()
                }
            }
        };
        to_json(&body, "digests", DIGESTS_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: DigestsBody = from_json(json, "digests", DIGESTS_MAX)?;
        let roster = body.roster.map(|digest| digest.0);
        let names = body.names.map(|digest| digest.0);
        match (body.projects, body.summary) {
            (None, Some(summary)) => {
                check_name(&body.name)?;
                Ok(Self::Summary {
                    name: body.name,
                    summary: summary.0,
                    roster,
                    names,
                })
            }
            (projects, _) => full(body.name, projects, roster, names).map(Self::Full),
        }
    }
}

impl Compared {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        let body = match self {
            Self::Full(digests) => digests.body()?,
            Self::Summary {
                name,
                same,
                roster,
                names,
            } => {
                check_name(name)?;
                DigestsBody {
                    name: name.clone(),
                    same: Some(*same),
                    roster: roster.map(Hex),
                    names: names.map(Hex),
                    ..DigestsBody::default()
                }
            }
        };
        to_json(&body, "digests", DIGESTS_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: DigestsBody = from_json(json, "digests", DIGESTS_MAX)?;
        let roster = body.roster.map(|digest| digest.0);
        let names = body.names.map(|digest| digest.0);
        match (body.projects, body.same) {
            (None, Some(same)) => {
                check_name(&body.name)?;
                Ok(Self::Summary {
                    name: body.name,
                    same,
                    roster,
                    names,
                })
            }
            (projects, _) => full(body.name, projects, roster, names).map(Self::Full),
        }
    }
}

fn full(
    name: String,
    projects: Option<Vec<(Hex<32>, Hex<32>)>>,
    roster: Option<[u8; 32]>,
    names: Option<[u8; 32]>,
) -> Result<Digests, Reject> {
    let projects = projects.ok_or(Reject::Malformed {
        what: "the list of digests",
    })?;
    let pairs = projects.into_iter();
    let digests = Digests {
        name,
        projects: pairs
            .map(|(project, digest)| (ProjectId::from_bytes(&project.0), digest.0))
            .collect(),
        roster,
        names,
    };
    digests.check()?;
    Ok(digests)
}

fn check_name(name: &str) -> Result<(), Reject> {
    if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Reject::Malformed { what: "the name" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
