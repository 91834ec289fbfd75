//! `vigo swarm gitback log PROJECT REF`: what has happened to refs.

use gitback_helper::{Failure, ProjectStatus, RefEvent, Reply, Request};

use super::short_ref;
use crate::console::Stop;
use crate::copies::brief;
use crate::errand::Errand;
use crate::people::People;
use crate::{naming, show};

/// Prints what has moved one ref or all, newest first.
pub(super) fn log(
    errand: &mut Errand<'_, '_>,
    project: &ProjectStatus,
    reference: Option<&str>,
    as_json: bool,
) -> Result<(), Stop> {
    let mut skip = 0;
    // Printed as it comes: a long history is not kept in memory.
    loop {
        let (events, more) = page(errand, &project.project_id, reference, skip)?;
        let console = &mut *errand.console;
        for (number, event) in (skip..).zip(&events) {
            if as_json {
                let opening = if number == 0 { "[" } else { "," };
                console.raw(opening)?;
                console.json(event)?;
            } else {
                console.line(told(event, &errand.people))?;
            }
        }
        skip += events.len() as u64;
        if !more || events.is_empty() {
            break;
        }
    }
    let console = &mut *errand.console;
    match (as_json, skip) {
        (true, 0) => console.line("[]"),
        (true, _) => console.line("]"),
        (false, 0) => console.line("Nothing was pushed yet"),
        (false, _) => {
            console.hint(format_args!(
                "to bring a value back: vigo swarm gitback restore {} {} --to ID",
                naming::short(&project.project_id),
                reference.map_or_else(|| "REF".to_owned(), show::plain)
            ));
            Ok(())
        }
    }
}

fn page(
    errand: &mut Errand<'_, '_>,
    project: &str,
    reference: Option<&str>,
    skip: u64,
) -> Result<(Vec<RefEvent>, bool), Failure> {
    let request = Request::RefLog {
        project: project.to_owned(),
        name: reference.map(ToOwned::to_owned),
        skip,
    };
    match errand.call(&request)? {
        Reply::RefLog { events, more } => Ok((events, more)),
        other => Err(other.unexpected()),
    }
}

/// One line for what was done, and a second one where there is more to know.
fn told(event: &RefEvent, people: &People) -> String {
    let time = event
        .time_ms
        .map_or_else(|| "-".to_owned(), show::date_and_time);
    let envoy = event
        .envoy_name
        .as_deref()
        .map_or_else(String::new, |envoy| format!(" on {envoy}"));
    let old: Vec<String> = event.old.iter().map(|oid| brief(oid)).collect();
    let old = if old.is_empty() {
        "-".to_owned()
    } else {
        old.join(" + ")
    };
    let new = event.new.as_deref().map_or_else(|| "-".to_owned(), brief);
    let mark = match event.state.as_str() {
        "current" => "  (now)",
        _ => "",
    };
    let line = show::plain(&format!(
        "{time:<16}  {}  {:<7}  {}  {old} -> {new}  {}{envoy}{mark}",
        naming::short(&event.update),
        event.what,
        short_ref(&event.name),
        people.called(&event.puddle),
    ));
    let more = more(event);
    if more.is_empty() {
        return line;
    }
    format!("{line}\n{:18}{}", "", show::plain(&more.join("; ")))
}

fn more(event: &RefEvent) -> Vec<String> {
    let mut more = Vec::new();
    match event.state.as_str() {
        "void" => {
            let rule = event
                .rule
                .map_or_else(String::new, |rule| format!("rule {rule}, "));
            let code = event.code.as_deref().unwrap_or("unknown");
            let why = event.why.as_deref().unwrap_or("no reason was given");
            more.push(format!("VOID ({rule}{code}): {why}"));
        }
        "diverged" => {
            let place = event.served_as.as_deref();
            more.push(match place {
                Some(place) => format!("stands beside the visible one, as {place}"),
                None => "stands beside the visible one".to_owned(),
            });
        }
        "waiting" => more.push("waiting: it has no effect yet".to_owned()),
        _ => {}
    }
    if event.new.is_some() && !event.here {
        more.push(match (event.let_go_ms, &event.let_go_by) {
            (Some(at), Some(setting)) => format!(
                "its objects were let go here on {} (keep_replaced = \"{setting}\")",
                show::date(at)
            ),
            _ => "its objects are not here".to_owned(),
        });
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::known;

    #[test]
    fn each_line_has_what_restore_needs() {
        let mut event = RefEvent {
            name: "refs/heads/main".to_owned(),
            update: "ab".repeat(32),
            time_ms: None,
            puddle: known().own().expect("dan").key.to_string(),
            envoy: None,
            envoy_name: Some("mars".to_owned()),
            old: vec!["11".repeat(20)],
            new: Some("22".repeat(20)),
            what: "forced".to_owned(),
            state: "current".to_owned(),
            code: None,
            rule: None,
            why: None,
            replaced_by: None,
            served_as: None,
            here: true,
            let_go_ms: None,
            let_go_by: None,
        };
        let line =
            "-                 abababab  forced   main  1111111111 -> 2222222222  dan on mars";
        assert_eq!(told(&event, &known()), format!("{line}  (now)"));
        event.state = "void".to_owned();
        (event.rule, event.code) = (Some(7), Some("revoked".to_owned()));
        event.why = Some("the membership has ended".to_owned());
        event.here = false;
        let second = "VOID (rule 7, revoked): the membership has ended; its objects are not here";
        assert_eq!(
            told(&event, &known()),
            format!("{line}\n                  {second}")
        );
        event.new = None;
        event.what = "deleted".to_owned();
        event.state = "current".to_owned();
        let line = "-                 abababab  deleted  main  1111111111 -> -  dan on mars  (now)";
        assert_eq!(told(&event, &known()), line);
    }
}
