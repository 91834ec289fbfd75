//! `vigo swarm gitback scrub`

use gitback_helper::{Failure, Reply, Request, Scrub, exit_code};

use super::removal::called_project;
use crate::console::Stop;
use crate::errand::Errand;
use crate::{cli, naming, show};

/// Has everything read that this machine keeps of projects, and repairs what is damaged.
pub(crate) fn scrub(errand: &mut Errand<'_, '_>, arguments: &cli::Scrub) -> Result<(), Stop> {
    let mut projects = Vec::new();
    for project in &arguments.projects {
        projects.push(errand.chosen(Some(project))?.project_id);
    }
    let mut items = match errand.call(&Request::Scrub { projects })? {
        Reply::Scrubbed { items } => items,
        other => return Err(other.unexpected().into()),
    };
    let name = |errand: &Errand<'_, '_>, item: &Scrub| {
        let (handle, founder) = (item.handle.as_deref(), item.founder.as_deref());
        called_project(errand, &item.project_id, handle, founder)
    };
    items.sort_by_cached_key(|item| (name(errand, item), item.project_id.clone()));
    if arguments.json.json {
        errand.console.json(&items)?;
    } else if items.is_empty() {
        return errand.console.line("No projects are on this machine");
    } else {
        for item in &items {
            let told = told(&name(errand, item), item);
            errand.console.line(told)?;
        }
        let aside: Vec<&String> = items.iter().flat_map(|item| &item.set_aside).collect();
        for path in &aside {
            errand.console.progress(format_args!("damaged: {path}"));
        }
        if !aside.is_empty() {
            let hint =
                "these files are kept until you delete them; look at the disk that they are on";
            errand.console.hint(hint);
        }
    }
    let bad: Vec<&Scrub> = items.iter().filter(|item| !is_well(item)).collect();
    if bad.is_empty() {
        return Ok(());
    }
    errand.console.finish()?;
    let whys: Vec<String> = bad
        .iter()
        .map(|item| format!("{}: {}", name(errand, item), why(item)))
        .collect();
    Err(failure(&bad, &whys).into())
}

fn is_well(item: &Scrub) -> bool {
    ["sound", "repaired"].contains(&item.outcome.as_str())
}

/// What was found, in one line.
fn told(name: &str, item: &Scrub) -> String {
    let amount = format!(
        "{} in {}",
        show::count(item.objects, "object"),
        show::count(item.packs, "pack")
    );
    let line = match item.outcome.as_str() {
        "sound" => format!("{name}  sound: {amount}"),
        "repaired" => format!("{name}  repaired {}: {amount}{}", from(item), lost(item)),
        "damaged" => format!("{name}  damaged: {}", lacking(item)),
        _ => format!("{name}  could not be read"),
    };
    show::plain(&line)
}

fn from(item: &Scrub) -> String {
    let source = |source: &gitback_helper::ScrubSource| {
        format!(
            "{} ({})",
            source.name,
            show::count(source.objects, "object")
        )
    };
    let sources: Vec<String> = item.sources.iter().map(source).collect();
    match sources.as_slice() {
        [] => "from what is here".to_owned(),
        sources => format!("from {}", sources.join(", ")),
    }
}

/// What nobody has and nothing leads to.
fn lost(item: &Scrub) -> String {
    match item.lost {
        0 => String::new(),
        lost => format!(
            "; {} that nothing leads to lost for good",
            show::count(lost, "object")
        ),
    }
}

fn lacking(item: &Scrub) -> String {
    match item.lacking {
        0 => item.reason.clone().unwrap_or_default(),
        1 => "1 object is lacking".to_owned(),
        more => format!("{more} objects are lacking"),
    }
}

/// Why a project is not repaired.
fn why(item: &Scrub) -> String {
    if item.lacking == 0 {
        return show::plain(item.reason.as_deref().unwrap_or("no reason was given"));
    }
    let mut parts = vec![match item.lacking_objects.first() {
        Some(first) => format!("{}, such as {first}", lacking(item)),
        None => lacking(item),
    }];
    match item.asked.as_slice() {
        [] => parts.push("there is no other envoy for it".to_owned()),
        asked => parts.extend(asked.iter().cloned()),
    }
    show::plain(&parts.join("; "))
}

fn failure(bad: &[&Scrub], whys: &[String]) -> Failure {
    let what = match bad {
        [_] => "1 project is damaged on this machine".to_owned(),
        several => format!("{} projects are damaged on this machine", several.len()),
    };
    let ids: Vec<String> = bad
        .iter()
        .map(|item| naming::short(&item.project_id))
        .collect();
    let again = format!("vigo swarm gitback scrub {}", ids.join(" "));
    let failure = Failure::new(exit_code::FAILED, what).because(whys.join("; "));
    match bad.iter().any(|item| item.lacking > 0) {
        true => failure
            .hint(format!(
                "when an envoy that holds it is back, run scrub again: {again}"
            ))
            .hint("what could be read is kept, and so is what could not"),
        false => failure.hint(format!("mend that and run it again: {again}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Scrub {
        Scrub {
            project_id: "7f3a91c2".repeat(8),
            handle: Some("notes".to_owned()),
            founder: None,
            path: "/p".to_owned(),
            outcome: "sound".to_owned(),
            packs: 1,
            objects: 12,
            set_aside: Vec::new(),
            renewed: Vec::new(),
            saved: 0,
            sources: Vec::new(),
            lacking: 0,
            lost: 0,
            lacking_objects: Vec::new(),
            asked: Vec::new(),
            reason: None,
        }
    }

    #[test]
    fn says_what_was_found_and_who_helped() {
        let sound = told("dan/notes", &item());
        assert_eq!(sound, "dan/notes  sound: 12 objects in 1 pack");
        let repaired = Scrub {
            outcome: "repaired".to_owned(),
            sources: vec![gitback_helper::ScrubSource {
                name: "venus".to_owned(),
                objects: 2,
            }],
            ..item()
        };
        let said = "dan/notes  repaired from venus (2 objects): 12 objects in 1 pack";
        assert_eq!(told("dan/notes", &repaired), said);
        let alone = Scrub {
            sources: Vec::new(),
            ..repaired
        };
        assert!(told("dan/notes", &alone).contains("repaired from what is here"));
    }

    #[test]
    fn what_stays_damaged_is_said_with_who_was_asked_and_a_way_out() {
        let damaged = Scrub {
            outcome: "damaged".to_owned(),
            lacking: 2,
            lacking_objects: vec!["ab".repeat(20), "cd".repeat(20)],
            asked: vec!["venus offline".to_owned()],
            ..item()
        };
        assert_eq!(
            told("dan/notes", &damaged),
            "dan/notes  damaged: 2 objects are lacking"
        );
        let why = why(&damaged);
        assert!(
            why.contains("abab") && why.ends_with("; venus offline"),
            "{why}"
        );
        let failure = failure(&[&damaged], &[why]);
        assert_eq!(failure.code, exit_code::FAILED);
        assert!(
            failure
                .hints
                .iter()
                .any(|hint| hint.ends_with("scrub 7f3a91c2"))
        );
    }
}
