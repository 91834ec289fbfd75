//! The reading verbs of projects: `status`, `project list`, `project status`.

mod divergence;
mod invite;
mod join;
mod leave;
mod log;
mod policy;
mod reanchor;
mod refound;
mod refs;
mod revoke;
mod subject;

use gitback_helper::{CopyStatus, EnvoyStatus, MemberStatus, ProjectStatus};
use serde::Serialize;

use crate::console::{Console, Stop};
use crate::context::Context;
use crate::errand::Errand;
use crate::people::People;
use crate::puddle::{self, PuddleStatus};
use crate::show::{self, Table};
use crate::{cli, envoy, naming};

pub(crate) use invite::{again as invite_again, invite};
pub(crate) use join::{join, rejoin};
pub(crate) use leave::{PENDING as PENDING_LEAVE, go_on as go_on_leaving, leave};
pub(crate) use log::{log, page as log_page};
pub(crate) use policy::policy;
pub(crate) use reanchor::{founder_of, pick_line, reanchor};
pub(crate) use refound::{NOTE as REFOUND_NOTE, refound};
pub(crate) use revoke::{revoke, ungrant};
pub(crate) use subject::{Subject, connected_project, remembered};

/// Refs shown before the rest is only counted.
const REFS_SHOWN_MAX: usize = 40;
/// Copies that are not current which are shown one by one; --json has all.
const LAGGING_SHOWN_MAX: usize = 100;
/// Names of diverged refs shown in a cell.
const DIVERGED_SHOWN_MAX: usize = 3;

/// Everything at a glance.
pub(crate) fn overview(
    context: &Context,
    json: cli::Json,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let mut errand = Errand::begin(context, console)?;
    let envoy = envoy::ask(&mut errand.daemon, errand.console)?;
    let projects = errand.projects()?;
    let Errand {
        people, console, ..
    } = errand;
    let puddle = match people.own() {
        Some(public) => Some(puddle::describe(context, public)?),
        None => None,
    };
    if json.json {
        return console.json(&Overview {
            puddle,
            envoy,
            projects,
        });
    }
    console.line(headline(puddle.as_ref(), &envoy))?;
    console.line("")?;
    if projects.is_empty() {
        return none_yet(console);
    }
    let mut table = Table::new(&["PROJECT", "COPIES", "LAST PUSH", "NEEDS YOU"]);
    for project in &projects {
        table.row([
            naming::display(project),
            copies(project),
            last_push(project, envoy.now_ms),
            needs_you(project, envoy.now_ms),
        ]);
    }
    console.line(table.render())?;
    if let Some(table) = lagging(&projects, envoy.now_ms) {
        console.line(format_args!("\n{}", table.render()))?;
    }
    for project in projects.iter().filter(|project| !has_ended(project)) {
        divergence::advise(context, project, console);
    }
    Ok(())
}

/// All projects with their ids.
pub(crate) fn list(errand: &mut Errand<'_, '_>, json: cli::Json) -> Result<(), Stop> {
    let projects = errand.projects()?;
    let console = &mut *errand.console;
    if json.json {
        return console.json(&projects);
    }
    if projects.is_empty() {
        return none_yet(console);
    }
    let mut table = Table::new(&["PROJECT", "ID", "ROLE", "MEMBERS", "SIZE", "COPIES"]);
    for project in &projects {
        let state = match project.state.as_str() {
            _ if has_ended(project) => " ended".to_owned(),
            "current" => String::new(),
            other => format!(" {other}"),
        };
        table.row([
            naming::display(project),
            naming::short(&project.project_id),
            project.role.clone().unwrap_or_else(|| "-".to_owned()),
            project.members.to_string(),
            show::size(project.bytes),
            format!("{}{state}", copies(project)),
        ]);
    }
    console.line(table.render())
}

/// One project.
pub(crate) fn status(
    errand: &mut Errand<'_, '_>,
    arguments: &cli::ProjectStatus,
) -> Result<(), Stop> {
    let project = errand.chosen(arguments.project.as_deref())?;
    if arguments.json.json {
        return errand.console.json(&project);
    }
    describe(&project, &errand.people, errand.console)?;
    divergence::advise(errand.context, &project, errand.console);
    Ok(())
}

/// The answer of `status --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Overview {
    puddle: Option<PuddleStatus>,
    envoy: EnvoyStatus,
    projects: Vec<ProjectStatus>,
}

/// "3/4": envoys that hold everything, of those that should.
pub(crate) fn copies(project: &ProjectStatus) -> String {
    format!("{}/{}", project.copies, project.envoys.len())
}

/// Whether another project, or none, takes its place.
pub(crate) fn has_ended(project: &ProjectStatus) -> bool {
    !project.successors.is_empty()
}

fn none_yet(console: &mut Console<'_>) -> Result<(), Stop> {
    console.line("No projects. Start one: vigo swarm gitback project init")
}

fn headline(puddle: Option<&PuddleStatus>, envoy: &EnvoyStatus) -> String {
    let puddle = match puddle {
        None => "No puddle".to_owned(),
        Some(PuddleStatus { name, until_ms, .. }) => match until_ms {
            Some(until) => {
                let end = show::clock(*until, envoy.now_ms);
                format!("Puddle {name} unlocked until {end}")
            }
            None => format!("Puddle {name} locked"),
        },
    };
    let answering = envoy.peers.iter().filter(|peer| peer.state == "current");
    format!(
        "{puddle} · envoy {} ok · {} of {} reachable",
        show::plain(&envoy.name),
        answering.count() + 1,
        envoy.peers.len() + 1
    )
}

fn last_push(project: &ProjectStatus, now_ms: u64) -> String {
    match (project.last_push_ms, &project.last_push_envoy) {
        (None, _) => "-".to_owned(),
        (Some(at), None) => show::ago(at, now_ms),
        (Some(at), Some(envoy)) => format!("{}, {envoy}", show::ago(at, now_ms)),
    }
}

/// What is not as it should be, or "-".
fn needs_you(project: &ProjectStatus, now_ms: u64) -> String {
    if has_ended(project) {
        return "ended".to_owned();
    }
    if project.state == "refused" {
        let reason = project.reason.as_deref().unwrap_or("it is not held here");
        return reason.to_owned();
    }
    let mut needs = Vec::new();
    if project.contest.is_some() {
        needs.push("FOUNDER CONTESTED".to_owned());
    } else if !project.alarms.is_empty() {
        needs.push(show::count(project.alarms.len() as u64, "alarm"));
    }
    if !project.diverged.is_empty() {
        needs.push(diverged(&project.diverged));
    }
    if project.state == "catching up" {
        let reason = project.reason.as_deref().unwrap_or("objects are missing");
        needs.push(format!("catching up: {reason}"));
    }
    let lacking: Vec<String> = project
        .envoys
        .iter()
        .filter(|copy| copy.state != "current")
        .map(|copy| condition_of(copy, now_ms))
        .collect();
    match (project.copies, lacking.is_empty()) {
        (0 | 1, true) => needs.push("ONLY COPY: add a machine".to_owned()),
        (1, false) => needs.push(format!("ONLY COPY: {}", lacking.join(", "))),
        (_, true) => {}
        (_, false) => needs.push(lacking.join(", ")),
    }
    match needs.is_empty() {
        true => "-".to_owned(),
        false => needs.join("; "),
    }
}

fn diverged(refs: &[String]) -> String {
    let shown: Vec<&str> = refs
        .iter()
        .take(DIVERGED_SHOWN_MAX)
        .map(|name| short_ref(name))
        .collect();
    let more = refs.len().saturating_sub(DIVERGED_SHOWN_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more} diverged", shown.join(", "))
}

/// "pluto offline 2 h, behind 2".
pub(crate) fn condition_of(copy: &CopyStatus, now_ms: u64) -> String {
    format!("{} {}", copy.name, condition(copy, now_ms))
}

/// "offline 2 h, behind 2": pushes are counted; what else is lacking has no number.
fn condition(copy: &CopyStatus, now_ms: u64) -> String {
    let age = copy
        .since_ms
        .map(|since| format!(" {}", show::span(now_ms.saturating_sub(since))));
    let age = age.unwrap_or_default();
    match (copy.state.as_str(), copy.updates_behind) {
        ("behind", Some(behind)) if behind > 0 => format!("behind {behind}"),
        (state, Some(behind)) if behind > 0 => format!("{state}{age}, behind {behind}"),
        (state, _) => format!("{state}{age}"),
    }
}

/// Every copy that is not current, with why.
fn lagging(projects: &[ProjectStatus], now_ms: u64) -> Option<Table> {
    let mut table = Table::new(&["PROJECT", "ENVOY", "STATE", "WHY"]);
    let mut rows = 0;
    for project in projects.iter().filter(|project| !has_ended(project)) {
        for copy in project.envoys.iter().filter(|copy| copy.state != "current") {
            rows += 1;
            if rows <= LAGGING_SHOWN_MAX {
                table.row([
                    naming::display(project),
                    copy.name.clone(),
                    condition(copy, now_ms),
                    copy.reason.clone().unwrap_or_else(|| "-".to_owned()),
                ]);
            }
        }
    }
    (rows > 0).then_some(table)
}

fn describe(
    project: &ProjectStatus,
    people: &People,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let now_ms = show::now_ms();
    let role = match &project.role {
        Some(role) => format!("  role {role}"),
        None => String::new(),
    };
    console.line(show::plain(&format!(
        "{}  id {}{role}",
        naming::display(project),
        naming::short(&project.project_id)
    )))?;
    for (label, value) in facts(project, now_ms) {
        console.line(format_args!("  {label:<10} {}", show::plain(&value)))?;
    }
    if project.line.len() > 1 {
        console.line(format_args!("\n{}", line(project, people).render()))?;
    }
    if !project.member_list.is_empty() {
        console.line(format_args!(
            "\n{}",
            members(project, people, now_ms).render()
        ))?;
    }
    console.line(format_args!("\n{}", envoys(project, now_ms).render()))?;
    if !project.ref_list.is_empty() {
        console.line(format_args!("\n{}", refs(project)))?;
    }
    advise(project, people, console);
    Ok(())
}

/// What there is to say in one line each.
fn facts(project: &ProjectStatus, now_ms: u64) -> Vec<(&'static str, String)> {
    let state = match &project.reason {
        Some(reason) => format!("{}: {reason}", project.state),
        None => project.state.clone(),
    };
    let void = match project.void {
        0 => String::new(),
        void => format!(" ({void} void)"),
    };
    let contents = format!(
        "{}, {}, {}{void}",
        show::size(project.bytes),
        show::count(u64::from(project.refs), "ref"),
        show::count(project.envelopes, "envelope")
    );
    let address = |id: &str, handle: &str| format!("gitback://{id}/{handle}");
    let mut facts = vec![
        ("State", state),
        ("Copies", copies(project)),
        ("Last push", last_push(project, now_ms)),
        ("Contents", contents),
        (
            "HEAD",
            project.head.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("Policy", kept(project)),
        ("Address", address(&project.project_id, &project.handle)),
    ];
    for next in &project.successors {
        facts.push(("Ended for", address(&next.project, &next.handle)));
    }
    facts
}

/// How the project is kept, in one line.
fn kept(project: &ProjectStatus) -> String {
    let mut parts = vec![match project.scope.as_str() {
        "swarm" => "on all envoys of the fleet".to_owned(),
        _ => "on the members' envoys".to_owned(),
    }];
    if !project.protected.is_empty() {
        let names = project.protected.iter().map(|name| short_ref(name));
        parts.push(format!(
            "{} protected",
            names.collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(wanted) = project.replicas {
        parts.push(show::copies_wanted(wanted));
    }
    parts.join("; ")
}

/// What somebody should do or know.
fn advise(project: &ProjectStatus, people: &People, console: &mut Console<'_>) {
    if let Some(contest) = &project.contest {
        console.warning(format_args!(
            "{} keys claim to come after the founder's at hop {}; nothing of the founder's counts until it is settled",
            contest.rivals.len(),
            contest.hop
        ));
        for rival in &contest.rivals {
            let who = people.person(&rival.key);
            let who = who.map_or_else(|| rival.fingerprint.clone(), |who| who.in_full());
            console.hint(format_args!(
                "for {who}: vigo swarm gitback project pick-line {} {}",
                naming::short(&project.project_id),
                naming::short(&rival.delegate)
            ));
        }
    }
    for alarm in &project.alarms {
        console.warning(&alarm.text);
    }
    if project.successors.len() > 1 {
        console.hint("ask the founder which of the successors is right");
    }
    let asking = |member: &&MemberStatus| member.asks_back;
    for member in project.member_list.iter().filter(asking) {
        console.hint(format_args!(
            "{} asks to be let in again: vigo swarm gitback project invite {} --project {}",
            people.called(&member.puddle),
            member.puddle,
            naming::short(&project.project_id)
        ));
    }
}

/// Who speaks for the founder, from the first key to the present one.
fn line(project: &ProjectStatus, people: &People) -> Table {
    let mut table = Table::new(&["HOP", "FOUNDER", "FINGERPRINT", "DELEGATION"]);
    for hop in &project.line {
        let name = people.person(&hop.key).and_then(|person| person.name);
        table.row([
            hop.hop.to_string(),
            name.map_or_else(|| "-".to_owned(), |name| name.to_string()),
            hop.fingerprint.clone(),
            hop.delegate
                .as_deref()
                .map_or_else(|| "-".to_owned(), naming::short),
        ]);
    }
    table
}

fn members(project: &ProjectStatus, people: &People, now_ms: u64) -> Table {
    let mut table = Table::new(&[
        "MEMBER",
        "FINGERPRINT",
        "ROLE",
        "STATE",
        "SINCE",
        "INVITATION",
    ]);
    for member in &project.member_list {
        let name = people.person(&member.puddle).and_then(|person| person.name);
        let state = match (member.state.as_str(), member.asks_back) {
            ("open", _) => "invited".to_owned(),
            (state, true) => format!("{state}, asks back"),
            (state, false) => state.to_owned(),
        };
        table.row([
            name.map_or_else(|| "-".to_owned(), |name| name.to_string()),
            member.fingerprint.clone(),
            member.role.clone(),
            state,
            member
                .since_ms
                .map_or_else(|| "-".to_owned(), |since| show::ago(since, now_ms)),
            naming::short(&member.invite),
        ]);
    }
    table
}

fn envoys(project: &ProjectStatus, now_ms: u64) -> Table {
    let mut table = Table::new(&["ENVOY", "STATE", "REASON"]);
    for copy in &project.envoys {
        table.row([
            copy.name.clone(),
            condition(copy, now_ms),
            copy.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

fn refs(project: &ProjectStatus) -> String {
    let mut table = Table::new(&["REF", "OBJECT"]);
    for found in project.ref_list.iter().take(REFS_SHOWN_MAX) {
        let mark = if project.diverged.contains(&found.name) {
            "  diverged"
        } else {
            ""
        };
        let object: String = found.oid.chars().take(10).collect();
        table.row([short_ref(&found.name).to_owned(), format!("{object}{mark}")]);
    }
    let shown = u32::try_from(project.ref_list.len().min(REFS_SHOWN_MAX)).unwrap_or(u32::MAX);
    match project.refs.saturating_sub(shown) {
        0 => table.render(),
        more => format!("{}\nand {more} more; --json lists them", table.render()),
    }
}

pub(crate) fn short_ref(name: &str) -> &str {
    name.strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/"))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests;
