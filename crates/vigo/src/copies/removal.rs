//! `vigo swarm gitback purge` and `gc-orphans`

use gitback_helper::{Failure, Removal, Removing, Reply, Request, exit_code};

use crate::console::{Console, Stop};
use crate::errand::Errand;
use crate::show::{self, Table};
use crate::{ask, cli, failure, naming};

/// Gives this machine's copy of a project up, or takes that back.
pub(crate) fn purge(errand: &mut Errand<'_, '_>, arguments: &cli::Purge) -> Result<(), Stop> {
    let project = match &arguments.project {
        Some(project) => Some(errand.chosen(Some(project))?),
        None => None,
    };
    let json = arguments.json.json;
    if let (Some(project), true) = (&project, arguments.undo) {
        let id = project.project_id.clone();
        errand.have_done(&Request::BringBack {
            project: id.clone(),
        })?;
        let console = &mut *errand.console;
        if json {
            return console.json(&Undone { project_id: &id });
        }
        let name = show::plain(&naming::display(project));
        console.line(format_args!("{name} is being brought in again"))?;
        console.hint(format_args!(
            "watch: vigo swarm gitback sync {} --wait",
            naming::short(&id)
        ));
        return Ok(());
    }
    let look = |how| Request::Purge {
        project: project.as_ref().map(|project| project.project_id.clone()),
        how,
    };
    let items = ask_for(errand, &look(Removing::Look))?;
    let (Some(project), false) = (&project, arguments.dry_run) else {
        if json {
            return errand.console.json(&items);
        }
        list(errand, &items, false)?;
        errand.console.progress("Nothing was deleted.");
        return Ok(());
    };
    let name = show::plain(&naming::display(project));
    if let Some(item) = items.first()
        && item.copies == 0
        && !arguments.even_last
    {
        return Err(last_copy(&name, item).into());
    }
    if !arguments.yes {
        confirm(&name, &project.handle, &items, errand.console)?;
    }
    let how = match arguments.even_last {
        true => Removing::DeleteEvenLast,
        false => Removing::Delete,
    };
    let items = ask_for(errand, &look(how))?;
    if let Some(item) = items.iter().find(|item| item.outcome != "deleted") {
        return Err(kept(&name, item).into());
    }
    let console = &mut *errand.console;
    if json {
        return console.json(&items);
    }
    for item in &items {
        console.line(format_args!(
            "Purged {name} here: {} freed; {}",
            show::size(item.bytes),
            remain(item)
        ))?;
        if let Some(reason) = &item.reason {
            console.warning(show::plain(reason));
        }
        if item.replicas.is_some_and(|wanted| item.copies < wanted) {
            let wanted = show::copies_wanted(item.replicas.unwrap_or(0));
            console.warning(format_args!("{wanted} by its policy"));
        }
    }
    console.hint(format_args!(
        "to have it here again: vigo swarm gitback purge {} --undo",
        naming::short(&project.project_id)
    ));
    Ok(())
}

/// The answer of `purge --undo --json`.
///
/// Source: docs/spec/json.md.
#[derive(serde::Serialize)]
struct Undone<'a> {
    project_id: &'a str,
}

/// Lists the repositories that no user of this machine holds, or deletes them.
pub(crate) fn gc_orphans(
    errand: &mut Errand<'_, '_>,
    arguments: &cli::GcOrphans,
) -> Result<(), Stop> {
    let how = match (arguments.yes, arguments.even_last) {
        (false, _) => Removing::Look,
        (true, false) => Removing::Delete,
        (true, true) => Removing::DeleteEvenLast,
    };
    let items = ask_for(errand, &Request::Orphans { how })?;
    if arguments.json.json {
        errand.console.json(&items)?;
    } else if items.is_empty() {
        return errand
            .console
            .line("No orphans: a user of this machine holds every repository here");
    } else {
        list(errand, &items, true)?;
        let console = &mut *errand.console;
        if how == Removing::Look {
            console.progress("Nothing was deleted.");
            console.hint(
                "to delete those of which others hold all: vigo swarm gitback gc-orphans --yes",
            );
            return Ok(());
        }
        let deleted = items.iter().filter(|item| item.outcome == "deleted");
        let freed = deleted.map(|item| item.bytes).sum();
        console.line(format_args!("Freed {}", show::size(freed)))?;
    }
    let kept: Vec<&Removal> = items.iter().filter(|item| item.outcome == "kept").collect();
    if kept.is_empty() {
        return Ok(());
    }
    errand.console.finish()?;
    let what = format!("{} kept", show::count(kept.len() as u64, "orphan"));
    let reasons: Vec<String> = kept
        .iter()
        .map(|item| format!("{}: {}", called(errand, item), why_kept(item)))
        .collect();
    Err(Failure::new(exit_code::FAILED, what)
        .because(reasons.join("; "))
        .hint("to delete last copies too: vigo swarm gitback gc-orphans --yes --even-last")
        .into())
}

fn ask_for(errand: &mut Errand<'_, '_>, request: &Request) -> Result<Vec<Removal>, Failure> {
    match errand.call(request)? {
        Reply::Removals { items } => Ok(items),
        other => Err(other.unexpected()),
    }
}

fn list(errand: &mut Errand<'_, '_>, items: &[Removal], with_why: bool) -> Result<(), Stop> {
    if items.is_empty() {
        return errand.console.line("No projects are on this machine");
    }
    let mut table = match with_why {
        true => Table::new(&["PROJECT", "SIZE", "WHY", "OTHER COPIES", "OUTCOME"]),
        false => Table::new(&["PROJECT", "SIZE", "OTHER COPIES", "IF PURGED"]),
    };
    for item in items {
        let mut row = vec![called(errand, item), show::size(item.bytes)];
        if with_why {
            row.push(reason(&item.why).to_owned());
        }
        row.push(others(item));
        row.push(match (item.outcome.as_str(), item.copies) {
            ("listed", 0) => "THE LAST COPY: kept unless --even-last".to_owned(),
            ("listed", _) => "freed".to_owned(),
            (outcome, _) => outcome.to_owned(),
        });
        table.row(row);
    }
    errand.console.line(table.render())
}

/// What people call it; a directory that is no project's by its name.
fn called(errand: &Errand<'_, '_>, item: &Removal) -> String {
    let Some(id) = &item.project_id else {
        return show::plain(&item.path);
    };
    called_project(errand, id, item.handle.as_deref(), item.founder.as_deref())
}

/// What people call a project of which so much is known.
pub(super) fn called_project(
    errand: &Errand<'_, '_>,
    id: &str,
    handle: Option<&str>,
    founder: Option<&str>,
) -> String {
    let Some(handle) = handle else {
        return naming::short(id);
    };
    let founder = founder.and_then(|key| errand.people.person(key));
    let host = founder.and_then(|founder| founder.name);
    let host = host.map_or_else(|| naming::short(id), |name| name.to_string());
    show::plain(&format!("{host}/{handle}"))
}

fn others(item: &Removal) -> String {
    match item.holders.as_slice() {
        [] => "none".to_owned(),
        holders => format!("{} ({})", item.copies, holders.join(", ")),
    }
}

fn remain(item: &Removal) -> String {
    match item.holders.as_slice() {
        [] => "no other copy is known".to_owned(),
        holders => {
            let copies = match holders.len() {
                1 => "1 copy".to_owned(),
                more => format!("{more} copies"),
            };
            show::plain(&format!("{copies} remain on {}", holders.join(", ")))
        }
    }
}

/// Why a repository is an orphan, for people.
fn reason(why: &str) -> &str {
    match why {
        "no-user" => "no user here holds it",
        "ended" => "the project has ended",
        "not-a-partner" => "it is not for this machine any more",
        "stray" => "it is no project that is known",
        other => other,
    }
}

fn why_kept(item: &Removal) -> String {
    show::plain(item.reason.as_deref().unwrap_or("no reason was given"))
}

fn last_copy(name: &str, item: &Removal) -> Failure {
    let what = format!("{name} was not purged: it is the last copy that is known");
    let why = match item.others.as_slice() {
        [] => "there is no other envoy for it".to_owned(),
        others => show::plain(&others.join("; ")),
    };
    let id = item
        .project_id
        .as_deref()
        .map_or_else(String::new, naming::short);
    Failure::new(exit_code::FAILED, what)
        .because(why)
        .hint(format!(
            "make another one first: vigo swarm gitback sync {id} --copies 2"
        ))
        .hint("to delete it all the same: --even-last")
}

fn kept(name: &str, item: &Removal) -> Failure {
    if item.copies == 0 {
        return last_copy(name, item);
    }
    Failure::new(exit_code::FAILED, format!("{name} was not purged")).because(why_kept(item))
}

fn confirm(
    name: &str,
    handle: &str,
    items: &[Removal],
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let size: u64 = items.iter().map(|item| item.bytes).sum();
    let remains = items.first().map_or_else(String::new, remain);
    let warning = format!(
        "this deletes the copy of {name} on this machine ({}); {remains}",
        show::size(size)
    );
    match ask::typed(handle, &warning, console)? {
        true => Ok(()),
        false => Err(failure::not_confirmed("nothing was deleted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_copy_is_named_as_such_with_a_way_out() {
        let item = Removal {
            project_id: Some("7f3a91c2".repeat(8)),
            handle: Some("notes".to_owned()),
            founder: None,
            path: "/p".to_owned(),
            bytes: 0,
            why: "asked".to_owned(),
            copies: 0,
            holders: Vec::new(),
            others: vec!["venus does not hold it".to_owned()],
            replicas: None,
            outcome: "kept".to_owned(),
            reason: Some("last".to_owned()),
        };
        let failure = kept("dan/notes", &item);
        assert_eq!(failure.code, exit_code::FAILED);
        assert_eq!(failure.why.as_deref(), Some("venus does not hold it"));
        assert!(
            failure
                .hints
                .iter()
                .any(|hint| hint.contains("--even-last"))
        );
        assert_eq!(others(&item), "none");
        let held = Removal {
            copies: 2,
            holders: vec!["venus".to_owned(), "titan".to_owned()],
            ..item
        };
        assert_eq!(others(&held), "2 (venus, titan)");
        assert_eq!(remain(&held), "2 copies remain on venus, titan");
        assert_eq!(kept("dan/notes", &held).why.as_deref(), Some("last"));
    }
}
