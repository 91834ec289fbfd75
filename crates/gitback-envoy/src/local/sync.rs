//! How copies are, asked again whenever that has changed.

use std::sync::Arc;
use std::time::Duration;

use gitback_helper::{ContactStatus, Failure, Reply, SYNC_WAIT_MAX, SyncStatus};
use gitback_identity::ProjectId;

use super::admission::{may_see, visible};
use super::failures::{parse_id, usage};
use crate::cell::Cell;
use crate::clock;
use crate::daemon::Envoy;
use crate::status::{self, Detail};

/// Most projects that one question names.
const NAMED_MAX: usize = 1000;

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) projects: &'a [String],
    pub(super) contact: bool,
    pub(super) after: Option<u64>,
    pub(super) wait_ms: u64,
}

/// Answers at once, or when more has changed than the asker knows of.
pub(super) fn sync(envoy: &Arc<Envoy>, uid: u32, asked: &Asked<'_>) -> Result<Reply, Failure> {
    if asked.projects.len() > NAMED_MAX {
        return Err(usage("at most 1000 projects are asked for at once"));
    }
    let ids: Vec<ProjectId> = asked
        .projects
        .iter()
        .map(|id| parse_id(id))
        .collect::<Result<_, _>>()?;
    for id in &ids {
        visible(envoy, uid, id)?;
    }
    // Counted before they are asked, so that the contact which follows has a higher number.
    let before = asked.contact.then(|| contacts(envoy));
    if asked.contact {
        envoy.heal().compare_all();
    }
    if let Some(after) = asked.after {
        let wait = Duration::from_millis(asked.wait_ms).min(SYNC_WAIT_MAX);
        envoy.changes().wait(after, wait);
    }
    // Before the look, so that nothing which changes meanwhile is missed.
    let change = envoy.changes().now();
    let contacts = before.unwrap_or_else(|| contacts(envoy));
    let cells: Vec<Arc<Cell>> = if ids.is_empty() {
        let all = envoy.store().all().into_iter();
        all.filter(|cell| may_see(envoy, uid, cell)).collect()
    } else {
        let found = ids.iter().filter_map(|id| envoy.store().founded(id));
        found.collect()
    };
    let projects = cells
        .iter()
        .map(|cell| status::project(envoy, cell, uid, Detail::Copies));
    Ok(Reply::Sync(SyncStatus {
        change,
        now_ms: clock::now_ms(),
        contacts,
        projects: projects.collect(),
    }))
}

fn contacts(envoy: &Envoy) -> Vec<ContactStatus> {
    let contact = |neighbour: &Arc<crate::peers::Neighbour>| {
        let seen = neighbour.seen();
        let (state, reason, _) = status::reach(&seen, envoy.started_ms());
        ContactStatus {
            name: neighbour.name().to_owned(),
            key: neighbour.key().to_string(),
            state: state.to_owned(),
            reason,
            begun: seen.contacts_begun,
            done: seen.contacts_done,
        }
    };
    envoy.neighbours().iter().map(contact).collect()
}
