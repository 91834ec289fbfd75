//! `vigo swarm gitback restore`

use gitback_helper::{Reply, Request, Restored};

use crate::console::Stop;
use crate::errand::Errand;
use crate::founding::grant;
use crate::project::{Subject, short_ref};
use crate::{cli, naming, show};

/// Gives a ref a value again that it had.
pub(crate) fn restore(errand: &mut Errand<'_, '_>, arguments: &cli::Restore) -> Result<(), Stop> {
    let project = errand.chosen(Some(&arguments.project))?;
    // On a machine that has not signed for the user yet, it is granted first, as by a push.
    if !arguments.dry_run && project.access.is_none() && errand.people.own().is_some() {
        let subject = Subject::of(project.clone())?;
        let what_for = format!(
            "restoring {} needs a signature",
            show::plain(&arguments.reference)
        );
        let desk = errand.desk(&subject, what_for)?;
        grant(errand, &desk)?;
    }
    let request = Request::Restore {
        project: project.project_id.clone(),
        name: arguments.reference.clone(),
        to: arguments.to.clone(),
        dry_run: arguments.dry_run,
        push_wait_ms: None,
    };
    let restored = match errand.call(&request)? {
        Reply::Restored(restored) => restored,
        other => return Err(other.unexpected().into()),
    };
    let console = &mut *errand.console;
    if arguments.json.json {
        return console.json(&restored);
    }
    console.line(told(
        &restored,
        &naming::display(&project),
        arguments.dry_run,
    ))?;
    restored
        .notes
        .iter()
        .for_each(|note| console.progress(note));
    if let (Some(_), true, Some(old)) = (&restored.update, restored.forced, &restored.old) {
        console.hint(format_args!(
            "to take that back: vigo swarm gitback restore {} {} --to {}",
            naming::short(&project.project_id),
            short_ref(&show::plain(&restored.name)),
            brief(old)
        ));
    }
    Ok(())
}

/// What was done, or would be, in one line.
fn told(restored: &Restored, project: &str, dry_run: bool) -> String {
    let name = show::plain(short_ref(&restored.name));
    let new = brief(&restored.new);
    let from = restored.from.as_deref().map_or_else(String::new, |from| {
        format!(" (update {})", naming::short(from))
    });
    let was = match (&restored.old, restored.forced) {
        (None, _) => "where there is none".to_owned(),
        (Some(old), true) => format!("and takes {} away", brief(old)),
        (Some(old), false) => format!("from {}", brief(old)),
    };
    if restored.old.as_ref() == Some(&restored.new) {
        return format!("{name} of {project} is at {new} already");
    }
    match (dry_run, &restored.old) {
        (true, _) => format!("Would put {name} of {project} to {new}{from}, {was}"),
        (false, None) => format!("Restored {name} of {project} to {new}{from}"),
        (false, Some(old)) => {
            format!(
                "Restored {name} of {project} to {new}{from}; it was at {}",
                brief(old)
            )
        }
    }
}

/// The first ten digits of an object's id.
pub(crate) fn brief(oid: &str) -> String {
    let digits = oid.chars().filter(char::is_ascii_hexdigit);
    digits.take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_or_would_be_done() {
        let mut restored = Restored {
            name: "refs/heads/main".to_owned(),
            old: Some("22".repeat(20)),
            new: "11".repeat(20),
            from: Some("ab".repeat(32)),
            update: None,
            forced: true,
            notes: Vec::new(),
        };
        let dry = "Would put main of dan/notes to 1111111111 (update abababab), and takes 2222222222 away";
        assert_eq!(told(&restored, "dan/notes", true), dry);
        let done =
            "Restored main of dan/notes to 1111111111 (update abababab); it was at 2222222222";
        assert_eq!(told(&restored, "dan/notes", false), done);
        restored.old = None;
        let dry =
            "Would put main of dan/notes to 1111111111 (update abababab), where there is none";
        assert_eq!(told(&restored, "dan/notes", true), dry);
        restored.old = Some(restored.new.clone());
        let there = "main of dan/notes is at 1111111111 already";
        assert_eq!(told(&restored, "dan/notes", false), there);
    }
}
