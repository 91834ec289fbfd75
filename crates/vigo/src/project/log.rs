//! `vigo swarm gitback log`: a project's envelopes.

use gitback_helper::{Failure, LogEntry, Reply, Request};

use super::refs;
use crate::console::Stop;
use crate::errand::Errand;
use crate::people::People;
use crate::{cli, naming, show};

/// Prints every envelope of a project, oldest first; or what has happened to refs.
pub(crate) fn log(errand: &mut Errand<'_, '_>, arguments: &cli::Log) -> Result<(), Stop> {
    let project = errand.chosen(arguments.project.as_deref())?;
    if arguments.refs || arguments.reference.is_some() {
        let reference = arguments.reference.as_deref();
        return refs::log(errand, &project, reference, arguments.json.json);
    }
    let mut skip = 0;
    // Printed as it comes: a long history is not kept in memory.
    loop {
        let (entries, more) = page(errand, &project.project_id, skip)?;
        let console = &mut *errand.console;
        for (number, entry) in (skip..).zip(&entries) {
            if arguments.json.json {
                let opening = if number == 0 { "[" } else { "," };
                console.raw(opening)?;
                console.json(entry)?;
            } else {
                console.line(told(entry, &errand.people))?;
            }
        }
        skip += entries.len() as u64;
        if !more || entries.is_empty() {
            break;
        }
    }
    match (arguments.json.json, skip) {
        (true, 0) => errand.console.line("[]"),
        (true, _) => errand.console.line("]"),
        (false, _) => Ok(()),
    }
}

/// One page of a project's envelopes, and whether there is another.
pub(crate) fn page(
    errand: &mut Errand<'_, '_>,
    project: &str,
    skip: u64,
) -> Result<(Vec<LogEntry>, bool), Failure> {
    let request = Request::Log {
        project: project.to_owned(),
        skip,
    };
    match errand.call(&request)? {
        Reply::Log { entries, more } => Ok((entries, more)),
        other => Err(other.unexpected()),
    }
}

/// One line for what counts, a second one where it does not.
fn told(entry: &LogEntry, people: &People) -> String {
    let time = entry
        .time_ms
        .map_or_else(|| "-".to_owned(), show::date_and_time);
    let kind = entry.kind.split('.').next().unwrap_or_default();
    let line = format!(
        "{time:<16}  {}  {:<9}  {}: {}",
        show::plain(&naming::short(&entry.id)),
        show::plain(kind),
        people.called(&entry.puddle),
        show::plain(&entry.says)
    );
    match entry.verdict.as_str() {
        "valid" => line,
        "void" => {
            let rule = entry
                .rule
                .map_or_else(String::new, |rule| format!("rule {rule}, "));
            let code = entry.code.as_deref().unwrap_or("unknown");
            let why = entry.why.as_deref().unwrap_or("no reason was given");
            let reason = show::plain(&format!("({rule}{code}): {why}"));
            format!("{line}\n{:18}VOID {reason}", "")
        }
        other => format!(
            "{line}\n{:18}{}: it has no effect yet",
            "",
            show::plain(other)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::known;

    #[test]
    fn void_envelopes_say_by_which_rule() {
        let mut entry = LogEntry {
            id: "ab".repeat(32),
            kind: "invite.v1".to_owned(),
            puddle: known().own().expect("dan").key.to_string(),
            signer: String::new(),
            envoy: None,
            incarnation: String::new(),
            seq: 0,
            time_ms: None,
            verdict: "valid".to_owned(),
            code: None,
            rule: None,
            why: None,
            says: "invites birch comet ladle frost as member".to_owned(),
            prev: None,
            deps: vec![],
            grant: None,
            ungrants: None,
        };
        let line =
            "-                 abababab  invite     dan: invites birch comet ladle frost as member";
        assert_eq!(told(&entry, &known()), line);
        entry.verdict = "void".to_owned();
        entry.code = Some("not-founder".to_owned());
        entry.rule = Some(6);
        entry.why = Some("only the founder line invites".to_owned());
        let second = "                  VOID (rule 6, not-founder): only the founder line invites";
        assert_eq!(told(&entry, &known()), format!("{line}\n{second}"));
        entry.verdict = "waiting".to_owned();
        let second = "                  waiting: it has no effect yet";
        assert_eq!(told(&entry, &known()), format!("{line}\n{second}"));
    }
}
