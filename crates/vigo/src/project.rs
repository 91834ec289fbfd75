//! The reading verbs of projects: `status`, `project list`, `project status`.

use gitback_helper::{CopyStatus, EnvoyStatus, Failure, ProjectStatus, Reply, Request};
use gitback_puddle::Public;
use serde::Serialize;

use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::git::Git;
use crate::puddle::{self, PuddleStatus};
use crate::show::{self, Table};
use crate::{cli, envoy, failure, naming};

/// Refs shown before the rest is only counted.
const REFS_SHOWN_MAX: usize = 40;
/// Names of diverged refs shown in a cell.
const DIVERGED_SHOWN_MAX: usize = 3;

/// Everything at a glance.
pub(crate) fn overview(
    context: &Context,
    json: cli::Json,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let own = context.puddle_if_any()?;
    let mut daemon = context.daemon()?;
    let envoy = envoy::ask(&mut daemon, console)?;
    let projects = ask_all(&mut daemon, own.as_ref(), console)?;
    let puddle = match &own {
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
            naming::display(project, own.as_ref()),
            copies(project),
            last_push(project, envoy.now_ms),
            needs_you(project, envoy.now_ms),
        ]);
    }
    console.line(table.render())
}

/// All projects with their ids.
pub(crate) fn list(
    context: &Context,
    json: cli::Json,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let own = context.puddle_if_any()?;
    let projects = ask_all(&mut context.daemon()?, own.as_ref(), console)?;
    if json.json {
        return console.json(&projects);
    }
    if projects.is_empty() {
        return none_yet(console);
    }
    let mut table = Table::new(&["PROJECT", "ID", "ROLE", "MEMBERS", "SIZE", "COPIES"]);
    for project in &projects {
        let state = match project.state.as_str() {
            "current" => String::new(),
            other => format!(" {other}"),
        };
        table.row([
            naming::display(project, own.as_ref()),
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
    context: &Context,
    arguments: &cli::ProjectStatus,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let own = context.puddle_if_any()?;
    let text = match &arguments.project {
        Some(text) => text.clone(),
        None => connected_project(context)?,
    };
    let mut daemon = context.daemon()?;
    let projects = ask_all(&mut daemon, own.as_ref(), console)?;
    let id = naming::find(&text, &projects, own.as_ref())?;
    let project = ask_one(&mut daemon, &id, own.as_ref(), console)?;
    if arguments.json.json {
        return console.json(&project);
    }
    describe(&project, own.as_ref(), console)
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

/// Asks the daemon for one project.
pub(crate) fn ask_one(
    daemon: &mut Daemon<'_>,
    id: &str,
    own: Option<&Public>,
    console: &mut Console<'_>,
) -> Result<ProjectStatus, Failure> {
    let request = Request::Project {
        project: id.to_owned(),
    };
    match daemon.call(&request, console)? {
        Reply::Project(project) => Ok(with_name(project, own)),
        other => Err(other.unexpected()),
    }
}

/// "3/4": envoys that hold everything, of those that should.
pub(crate) fn copies(project: &ProjectStatus) -> String {
    format!("{}/{}", project.copies, project.envoys.len())
}

fn ask_all(
    daemon: &mut Daemon<'_>,
    own: Option<&Public>,
    console: &mut Console<'_>,
) -> Result<Vec<ProjectStatus>, Failure> {
    match daemon.call(&Request::Projects, console)? {
        Reply::Projects(projects) => {
            let named = projects.into_iter().map(|project| with_name(project, own));
            let mut named: Vec<ProjectStatus> = named.collect();
            named.sort_by_cached_key(|project| {
                (naming::display(project, own), project.project_id.clone())
            });
            Ok(named)
        }
        other => Err(other.unexpected()),
    }
}

/// The daemon knows keys; the user's own name is known here.
fn with_name(mut project: ProjectStatus, own: Option<&Public>) -> ProjectStatus {
    if let Some(own) = own.filter(|own| own.key.to_string() == project.founder) {
        project.founder_name = Some(own.name.to_string());
    }
    project
}

/// The address of the project that this folder is connected to.
fn connected_project(context: &Context) -> Result<String, Failure> {
    let remotes = Git::new(context).remotes()?;
    let mut connected = remotes
        .iter()
        .filter(|remote| remote.url.starts_with("gitback://"));
    let usual = connected.clone().find(|remote| remote.name == "gitback");
    match (usual, connected.next(), connected.next()) {
        (Some(remote), _, _) | (None, Some(remote), None) => Ok(remote.url.clone()),
        (None, _, _) => Err(failure::which_project()),
    }
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
    let mut needs = Vec::new();
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
        .map(|copy| format!("{} {}", copy.name, condition(copy, now_ms)))
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

/// "offline 2 h, behind 2".
fn condition(copy: &CopyStatus, now_ms: u64) -> String {
    let age = copy
        .since_ms
        .map(|since| format!(" {}", show::span(now_ms.saturating_sub(since))));
    let age = age.unwrap_or_default();
    match (copy.state.as_str(), copy.behind) {
        ("behind", Some(behind)) => format!("behind {behind}"),
        (state, Some(behind)) if behind > 0 => format!("{state}{age}, behind {behind}"),
        (state, _) => format!("{state}{age}"),
    }
}

fn describe(
    project: &ProjectStatus,
    own: Option<&Public>,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let now_ms = show::now_ms();
    let role = match &project.role {
        Some(role) => format!("  role {role}"),
        None => String::new(),
    };
    console.line(show::plain(&format!(
        "{}  id {}{role}",
        naming::display(project, own),
        naming::short(&project.project_id)
    )))?;
    let state = match &project.reason {
        Some(reason) => format!("{}: {reason}", project.state),
        None => project.state.clone(),
    };
    let contents = format!(
        "{}, {}, {}",
        show::size(project.bytes),
        show::count(u64::from(project.refs), "ref"),
        show::count(project.envelopes, "envelope")
    );
    let address = format!("gitback://{}/{}", project.project_id, project.handle);
    for (label, value) in [
        ("State", state),
        ("Copies", copies(project)),
        ("Last push", last_push(project, now_ms)),
        ("Contents", contents),
        (
            "HEAD",
            project.head.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("Address", address),
    ] {
        console.line(format_args!("  {label:<10} {}", show::plain(&value)))?;
    }

    console.line(format_args!("\n{}", envoys(project, now_ms).render()))?;
    if !project.ref_list.is_empty() {
        console.line(format_args!("\n{}", refs(project)))?;
    }
    if !project.diverged.is_empty() {
        console.hint("nothing is lost; the other versions: git ls-remote gitback 'refs/envoys/*'");
    }
    Ok(())
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

fn short_ref(name: &str) -> &str {
    name.strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/"))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests;
