//! What has changed between two looks at the copies.

use std::collections::BTreeMap;

use gitback_helper::{CopyStatus, ProjectStatus, SyncStatus};
use serde::Serialize;

use crate::{naming, show};

/// One copy that is in another state than before.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) time_ms: u64,
    pub(super) project_id: String,
    pub(super) project: String,
    pub(super) envoy: String,
    pub(super) key: String,
    /// The state before; nothing at the first look.
    pub(super) from: Option<String>,
    /// The state now; nothing where the project or the envoy is none of it any more.
    pub(super) to: Option<String>,
    pub(super) updates_behind: Option<u64>,
    pub(super) reason: Option<String>,
    pub(super) since_ms: Option<u64>,
    pub(super) copies: u32,
}

impl Change {
    /// One line for people.
    pub(super) fn told(&self) -> String {
        let before = self
            .from
            .as_deref()
            .map_or_else(String::new, |from| format!("{from} -> "));
        let now = self.to.as_deref().unwrap_or("gone");
        let behind = self.updates_behind.filter(|behind| *behind > 0);
        let behind = behind.map_or_else(String::new, |behind| format!(" {behind}"));
        let reason = self.reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let clock = show::clock(self.time_ms, self.time_ms);
        let line = format!(
            "{clock}  {}  {}  {before}{now}{behind}{reason}",
            self.project, self.envoy
        );
        show::plain(&line)
    }
}

/// The copies as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    copies: BTreeMap<(String, String), Known>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    project: String,
    envoy: String,
    state: String,
    updates_behind: Option<u64>,
}

impl Seen {
    /// Takes a new look, and says what is different.
    pub(super) fn look(&mut self, status: &SyncStatus) -> Vec<Change> {
        let mut now = BTreeMap::new();
        let mut changes = Vec::new();
        for project in &status.projects {
            for copy in &project.envoys {
                let key = (project.project_id.clone(), copy.key.clone());
                let known = Known {
                    project: naming::display(project),
                    envoy: copy.name.clone(),
                    state: copy.state.clone(),
                    updates_behind: copy.updates_behind,
                };
                let before = self.copies.remove(&key);
                if before.as_ref() != Some(&known) {
                    changes.push(change(status.now_ms, project, copy, before));
                }
                now.insert(key, known);
            }
        }
        for ((project_id, key), gone) in std::mem::replace(&mut self.copies, now) {
            let project = status
                .projects
                .iter()
                .find(|one| one.project_id == project_id);
            changes.push(Change {
                time_ms: status.now_ms,
                project_id,
                project: gone.project,
                envoy: gone.envoy,
                key,
                from: Some(gone.state),
                to: None,
                updates_behind: None,
                reason: None,
                since_ms: None,
                copies: project.map_or(0, |project| project.copies),
            });
        }
        changes
    }
}

fn change(
    time_ms: u64,
    project: &ProjectStatus,
    copy: &CopyStatus,
    before: Option<Known>,
) -> Change {
    Change {
        time_ms,
        project_id: project.project_id.clone(),
        project: naming::display(project),
        envoy: copy.name.clone(),
        key: copy.key.clone(),
        from: before.map(|before| before.state),
        to: Some(copy.state.clone()),
        updates_behind: copy.updates_behind,
        reason: copy.reason.clone(),
        since_ms: copy.since_ms,
        copies: project.copies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naming::tests::project;

    fn status(copies: &[(&str, &str, Option<u64>)]) -> SyncStatus {
        let copy = |(name, state, behind): &(&str, &str, Option<u64>)| CopyStatus {
            name: (*name).to_owned(),
            key: format!("key of {name}"),
            state: (*state).to_owned(),
            behind: *behind,
            updates_behind: *behind,
            reason: None,
            since_ms: None,
        };
        SyncStatus {
            change: 0,
            now_ms: 5,
            contacts: Vec::new(),
            projects: vec![ProjectStatus {
                envoys: copies.iter().map(copy).collect(),
                ..project(Some("dan"), "notes", "7f3a91c2")
            }],
        }
    }

    #[test]
    fn only_what_is_different_is_told() {
        let mut seen = Seen::default();
        let first = status(&[("mars", "current", None), ("venus", "behind", Some(2))]);
        let told: Vec<_> = seen
            .look(&first)
            .into_iter()
            .map(|one| (one.envoy, one.from))
            .collect();
        assert_eq!(
            told,
            [("mars".to_owned(), None), ("venus".to_owned(), None)]
        );
        assert_eq!(seen.look(&first), []);
        let nearer = seen.look(&status(&[
            ("mars", "current", None),
            ("venus", "behind", Some(1)),
        ]));
        assert_eq!(nearer.len(), 1);
        assert!(
            nearer[0]
                .told()
                .ends_with("dan/notes  venus  behind -> behind 1"),
            "{nearer:?}"
        );
        let gone = seen.look(&status(&[("mars", "current", None)]));
        assert!(
            gone[0].told().ends_with("venus  behind -> gone"),
            "{gone:?}"
        );
    }
}
