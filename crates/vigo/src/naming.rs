//! Which project somebody means, and what to call it.

use gitback_helper::{Failure, ProjectStatus};
use gitback_identity::similar::{SLIPS_MAX, slips};
use gitback_identity::{Address, Host, ProjectId};

use crate::failure;

/// The shortest beginning of an id that means anything.
const PREFIX_MIN: usize = 4;

/// What people call a project: `dan/notes`, or the short id in place of a
/// founder who is not known by name.
pub(crate) fn display(project: &ProjectStatus) -> String {
    let host = match &project.founder_name {
        Some(name) => name.clone(),
        None => short(&project.project_id),
    };
    format!("{host}/{}", project.handle)
}

/// The first eight digits of an id.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Finds the id of the project that `text` means: name, handle, id or the
/// beginning of one, or address. A project that has ended is meant only where
/// no living one is.
pub(crate) fn find(text: &str, projects: &[ProjectStatus]) -> Result<String, Failure> {
    if text.parse::<ProjectId>().is_ok() {
        return Ok(text.to_owned());
    }
    let named = match text.parse::<Address>() {
        Ok(address) => match address.host() {
            Host::Project(id) => return Ok(id.to_string()),
            Host::Puddle(name) => format!("{name}/{}", address.handle()),
        },
        Err(_) => text.to_owned(),
    };
    let by_prefix = |project: &ProjectStatus| {
        named.len() >= PREFIX_MIN && project.project_id.starts_with(&named)
    };
    let mut found = matching(projects, &|project| display(project) == named);
    if found.is_empty() {
        found = matching(projects, &|project| project.handle == named);
    }
    if found.is_empty() {
        found = matching(projects, &by_prefix);
    }
    match found.as_slice() {
        [project] => Ok(project.project_id.clone()),
        [] => Err(failure::unknown_project(
            text,
            nearest(&named, projects).as_deref(),
        )),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|project| {
                    let id = short(&project.project_id);
                    format!("{} (id {id})", display(project))
                })
                .collect();
            Err(failure::ambiguous_project(text, &names))
        }
    }
}

/// The address that `alice/notes` or `gitback://alice/notes` is; nothing if `text` names no puddle.
pub(crate) fn named(text: &str) -> Option<Address> {
    let whole = || format!("gitback://{text}").parse();
    let address: Address = text.parse().or_else(|_| whole()).ok()?;
    matches!(address.host(), Host::Puddle(_)).then_some(address)
}

/// The living projects that pass `test`; without one, those that have ended.
fn matching<'a>(
    projects: &'a [ProjectStatus],
    test: &dyn Fn(&ProjectStatus) -> bool,
) -> Vec<&'a ProjectStatus> {
    let found = projects.iter().filter(|project| test(project));
    let (living, ended): (Vec<_>, Vec<_>) =
        found.partition(|project| project.successors.is_empty());
    if living.is_empty() { ended } else { living }
}

fn nearest(text: &str, projects: &[ProjectStatus]) -> Option<String> {
    let names = projects.iter().filter_map(|project| {
        let name = display(project);
        let spellings = [name.as_str(), &project.handle];
        let fewest = spellings.into_iter().filter_map(|known| slips(text, known));
        Some((fewest.min()?, name))
    });
    let near = names.filter(|(slips, _)| *slips <= SLIPS_MAX);
    near.min().map(|(_, name)| name)
}

#[cfg(test)]
pub(crate) mod tests {
    use gitback_helper::SuccessorStatus;
    use gitback_identity::{PuddleKey, SecretKey};
    use gitback_puddle::Public;

    use super::*;

    pub(crate) fn dan() -> Public {
        Public {
            name: "dan".parse().expect("a name"),
            key: PuddleKey::new(SecretKey::from_seed(&[7; 32]).public()),
            created_ms: 0,
        }
    }

    pub(crate) fn project(founder: Option<&str>, handle: &str, id: &str) -> ProjectStatus {
        ProjectStatus {
            project_id: format!("{id}{}", "0".repeat(64 - id.len())),
            handle: handle.to_owned(),
            founder_name: founder.map(str::to_owned),
            members: 1,
            envelopes: 1,
            state: "current".to_owned(),
            copies: 1,
            ..ProjectStatus::default()
        }
    }

    fn projects() -> Vec<ProjectStatus> {
        let ended = ProjectStatus {
            successors: vec![SuccessorStatus {
                project: "7f".repeat(32),
                founder: "11".repeat(32),
                handle: "notes".to_owned(),
            }],
            ..project(Some("dan"), "notes", "bbbb0000")
        };
        vec![
            project(Some("dan"), "notes", "7f3a91c2"),
            project(Some("dan"), "dotfiles", "19be0d44"),
            project(None, "api", "7f3a0000"),
            project(None, "notes", "aaaa0000"),
            ended,
        ]
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        let found = find(text, &projects());
        let found = found.map_err(|failure| {
            let hint = failure.hints.first().cloned().unwrap_or_default();
            format!("{}: {hint}", failure.code)
        });
        let expected = expected.map(|id| format!("{id}{}", "0".repeat(64 - id.len())));
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn finds_projects_by_what_people_type() {
        check("dan/notes", Ok("7f3a91c2"));
        check("gitback://dan/notes", Ok("7f3a91c2"));
        check("dotfiles", Ok("19be0d44"));
        check("bbbb0000", Ok("bbbb0000"));
        check("7f3a9", Ok("7f3a91c2"));
        check("7f3a0000/api", Ok("7f3a0000"));
        check(&"5".repeat(64), Ok(&"5".repeat(64)));
        check(
            &format!("gitback://{}/api", "5".repeat(64)),
            Ok(&"5".repeat(64)),
        );
    }

    #[test]
    fn helps_when_a_name_is_wrong_or_not_enough() {
        check("dan/note", Err("10: did you mean dan/notes?"));
        check("dotflies", Err("10: did you mean dan/dotfiles?"));
        check(
            "music",
            Err("10: what is here: vigo swarm gitback project list"),
        );
        check("notes", Err("10: give more of the id"));
        check("7f3a", Err("10: give more of the id"));
        check(
            "7f3",
            Err("10: what is here: vigo swarm gitback project list"),
        );
    }
}
