//! `vigo swarm gitback sync`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gitback_helper::{
    ContactStatus, Failure, ProjectStatus, Reply, Request, SYNC_WAIT_MAX, SyncStatus, exit_code,
};
use serde::Serialize;

use super::changes::{Change, Seen};
use crate::console::{Console, Stop};
use crate::errand::Errand;
use crate::show::{self, Table};
use crate::{cli, naming};

/// How long is waited if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The answer of `sync --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Synced<'a> {
    /// Whether what was asked for has come true.
    reached: bool,
    projects: &'a [ProjectStatus],
    peers: &'a [ContactStatus],
}

/// When it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Every peer was asked.
    Asked,
    /// Every envoy that answers is current.
    Current,
    /// So many copies of each project are.
    Copies(u32),
    /// Never.
    Interrupted,
}

/// Makes contact with every peer and tells what changes.
pub(crate) fn sync(errand: &mut Errand<'_, '_>, arguments: &cli::Sync) -> Result<(), Stop> {
    let until = match (arguments.copies, arguments.wait, arguments.watch) {
        (Some(copies), _, _) => Until::Copies(copies),
        (None, true, _) => Until::Current,
        (None, false, true) => Until::Interrupted,
        (None, false, false) => Until::Asked,
    };
    let timeout = match (&arguments.timeout, until) {
        (Some(text), _) => Some(time(text)?),
        (None, Until::Interrupted) => None,
        (None, _) => Some(TIMEOUT),
    };
    let mut ids = Vec::new();
    for project in &arguments.projects {
        ids.push(errand.chosen(Some(project))?.project_id);
    }
    let begun = Instant::now();
    let left = || timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
    let mut status = ask(errand, &ids, None, Duration::ZERO)?;
    let asked = status.contacts.clone();
    let mut seen = Seen::default();
    let first = seen.look(&status);
    if until == Until::Interrupted {
        tell(errand.console, &first, arguments.json.json)?;
    }
    let reached = loop {
        if is_reached(until, &status, &asked) {
            break true;
        }
        let left = left();
        if left.is_some_and(|left| left.is_zero()) {
            break false;
        }
        let wait = left.unwrap_or(SYNC_WAIT_MAX).min(SYNC_WAIT_MAX);
        status = ask(errand, &ids, Some(status.change), wait)?;
        let changes = seen.look(&status);
        if until == Until::Interrupted || !arguments.json.json {
            tell(errand.console, &changes, arguments.json.json)?;
        }
    };
    if until == Until::Interrupted {
        return Ok(());
    }
    let console = &mut *errand.console;
    if arguments.json.json {
        console.json(&Synced {
            reached,
            projects: &status.projects,
            peers: &status.contacts,
        })?;
    } else {
        summary(console, &status)?;
    }
    if reached {
        return Ok(());
    }
    console.finish()?;
    Err(too_few(until, &status, &asked).into())
}

fn time(text: &str) -> Result<Duration, Failure> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .ok_or_else(|| {
            let what = format!("\"{}\" is no length of time", show::plain(text));
            Failure::new(exit_code::USAGE, what).hint("--timeout 30s, --timeout 5m")
        })
}

/// The first question asks for contact as well.
fn ask(
    errand: &mut Errand<'_, '_>,
    ids: &[String],
    after: Option<u64>,
    wait: Duration,
) -> Result<SyncStatus, Failure> {
    let request = Request::Sync {
        projects: ids.to_vec(),
        contact: after.is_none(),
        after,
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    };
    match errand.quiet_call(&request)? {
        Reply::Sync(mut status) => {
            let projects = std::mem::take(&mut status.projects);
            status.projects = errand.named(projects);
            Ok(status)
        }
        other => Err(other.unexpected()),
    }
}

fn tell(console: &mut Console<'_>, changes: &[Change], as_json: bool) -> Result<(), Stop> {
    for change in changes {
        if as_json {
            let json = serde_json::to_string(change).map_err(std::io::Error::from)?;
            console.line(json)?;
        } else {
            console.line(change.told())?;
        }
    }
    // Whoever watches through a pipe sees it now.
    console.finish()
}

fn is_reached(until: Until, status: &SyncStatus, asked: &[ContactStatus]) -> bool {
    let contacted = are_contacted(status, asked);
    match until {
        Until::Interrupted => false,
        Until::Asked => contacted,
        Until::Current => {
            contacted
                && status
                    .projects
                    .iter()
                    .all(|project| lagging(project, status).is_empty())
        }
        Until::Copies(copies) => {
            contacted
                && status
                    .projects
                    .iter()
                    .all(|project| project.copies >= copies)
        }
    }
}

/// Whether a comparison with each peer that began after the question has ended.
fn are_contacted(status: &SyncStatus, asked: &[ContactStatus]) -> bool {
    let begun: BTreeMap<&str, u64> = asked
        .iter()
        .map(|contact| (contact.key.as_str(), contact.begun))
        .collect();
    status.contacts.iter().all(|contact| {
        let before = begun.get(contact.key.as_str()).copied().unwrap_or(0);
        contact.done > before
    })
}

/// The envoys that answer and are not current, each with its state.
fn lagging(project: &ProjectStatus, status: &SyncStatus) -> Vec<String> {
    let answers = |key: &str| {
        let contact = status.contacts.iter().find(|contact| contact.key == key);
        contact.is_some_and(|contact| contact.state == "current")
    };
    // This envoy's own copy comes first.
    let lagging = project
        .envoys
        .iter()
        .enumerate()
        .filter(|(place, copy)| copy.state != "current" && (*place == 0 || answers(&copy.key)));
    let told = lagging.map(|(_, copy)| {
        let reason = copy.reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        show::plain(&format!("{} {}{reason}", copy.name, copy.state))
    });
    told.collect()
}

fn summary(console: &mut Console<'_>, status: &SyncStatus) -> Result<(), Stop> {
    if status.projects.is_empty() {
        return console.line("No projects to bring together");
    }
    let mut table = Table::new(&["PROJECT", "COPIES", "NOT CURRENT"]);
    for project in &status.projects {
        let others: Vec<String> = project
            .envoys
            .iter()
            .filter(|copy| copy.state != "current")
            .map(|copy| crate::project::condition_of(copy, status.now_ms))
            .collect();
        let others = match others.is_empty() {
            true => "-".to_owned(),
            false => others.join(", "),
        };
        table.row([
            naming::display(project),
            crate::project::copies(project),
            others,
        ]);
    }
    console.line(table.render())
}

fn too_few(until: Until, status: &SyncStatus, asked: &[ContactStatus]) -> Failure {
    if !are_contacted(status, asked) {
        let open = status.contacts.iter().filter(|contact| {
            let before = asked.iter().find(|asked| asked.key == contact.key);
            contact.done <= before.map_or(0, |before| before.begun)
        });
        let names: Vec<String> = open.map(|contact| show::plain(&contact.name)).collect();
        return Failure::new(exit_code::FEWER_COPIES, "not every envoy was asked in time")
            .because(format!("no end yet with {}", names.join(", ")))
            .hint("give it more time: --timeout 5m");
    }
    let short = |project: &&ProjectStatus| match until {
        Until::Copies(copies) => project.copies < copies,
        _ => !lagging(project, status).is_empty(),
    };
    let mut parts = Vec::new();
    for project in status.projects.iter().filter(short) {
        let wanted = match until {
            Until::Copies(copies) => format!(" of {copies}"),
            _ => String::new(),
        };
        let name = show::plain(&naming::display(project));
        parts.push(format!(
            "{name}: {}{wanted} current, {}",
            project.copies,
            match lagging(project, status).as_slice() {
                [] => "and no other envoy answers".to_owned(),
                lagging => lagging.join(", "),
            }
        ));
    }
    Failure::new(
        exit_code::FEWER_COPIES,
        "fewer copies are current than asked for",
    )
    .because(parts.join("; "))
    .hint("which envoys answer: vigo envoy status")
}

#[cfg(test)]
mod tests {
    use gitback_helper::CopyStatus;

    use super::*;
    use crate::naming::tests::project;

    fn contact(name: &str, state: &str, begun: u64, done: u64) -> ContactStatus {
        ContactStatus {
            name: name.to_owned(),
            key: name.to_owned(),
            state: state.to_owned(),
            reason: None,
            begun,
            done,
        }
    }

    fn status(contacts: Vec<ContactStatus>, copies: &[(&str, &str)]) -> SyncStatus {
        let copy = |(name, state): &(&str, &str)| CopyStatus {
            name: (*name).to_owned(),
            key: (*name).to_owned(),
            state: (*state).to_owned(),
            behind: None,
            updates_behind: None,
            reason: None,
            since_ms: None,
        };
        let current = copies.iter().filter(|(_, state)| *state == "current");
        SyncStatus {
            change: 0,
            now_ms: 0,
            contacts,
            projects: vec![ProjectStatus {
                copies: u32::try_from(current.count()).expect("few"),
                envoys: copies.iter().map(copy).collect(),
                ..project(Some("dan"), "notes", "7f3a91c2")
            }],
        }
    }

    #[test]
    fn only_contact_that_began_after_the_question_counts() {
        let asked = [contact("venus", "current", 3, 3)];
        let check = |begun, done, expected| {
            let status = status(vec![contact("venus", "current", begun, done)], &[]);
            assert_eq!(are_contacted(&status, &asked), expected, "{begun} {done}");
        };
        check(3, 3, false);
        check(4, 3, false);
        check(4, 4, true);
    }

    #[test]
    fn envoys_that_do_not_answer_are_not_waited_for() {
        let asked = [];
        let contacts = vec![
            contact("venus", "current", 1, 1),
            contact("pluto", "offline", 1, 1),
        ];
        let all = [
            ("mars", "current"),
            ("venus", "behind"),
            ("pluto", "offline"),
        ];
        let behind = status(contacts.clone(), &all);
        assert!(!is_reached(Until::Current, &behind, &asked));
        assert!(is_reached(Until::Copies(1), &behind, &asked));
        assert!(!is_reached(Until::Copies(2), &behind, &asked));
        let failure = too_few(Until::Copies(2), &behind, &asked);
        assert_eq!(failure.code, exit_code::FEWER_COPIES);
        assert_eq!(
            failure.why.as_deref(),
            Some("dan/notes: 1 of 2 current, venus behind")
        );
        let all = [
            ("mars", "current"),
            ("venus", "current"),
            ("pluto", "offline"),
        ];
        assert!(is_reached(
            Until::Current,
            &status(contacts.clone(), &all),
            &asked
        ));
        let own = [("mars", "catching up"), ("venus", "current")];
        assert!(!is_reached(Until::Current, &status(contacts, &own), &asked));
    }
}
