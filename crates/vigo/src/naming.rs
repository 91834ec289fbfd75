//! Which project somebody means, and what to call it.

use gitback_helper::{Failure, ProjectStatus};
use gitback_identity::similar::{SLIPS_MAX, slips};
use gitback_identity::{Address, Host, ProjectId};
use gitback_puddle::Public;

use crate::failure;

/// The shortest beginning of an id that means anything.
const PREFIX_MIN: usize = 4;

/// What people call a project: `dan/notes`, or the short id in place of a
/// founder who is not known by name.
pub(crate) fn display(project: &ProjectStatus, own: Option<&Public>) -> String {
    format!("{}/{}", host(project, own), project.handle)
}

/// The first eight digits of an id.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Finds the id of the project that `text` means: name, handle, id or the
/// beginning of one, or address.
pub(crate) fn find(
    text: &str,
    projects: &[ProjectStatus],
    own: Option<&Public>,
) -> Result<String, Failure> {
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
    let matching = |test: &dyn Fn(&ProjectStatus) -> bool| {
        let found = projects.iter().filter(|project| test(project));
        found.collect::<Vec<_>>()
    };
    let by_prefix = |project: &ProjectStatus| {
        named.len() >= PREFIX_MIN && project.project_id.starts_with(&named)
    };
    let mut found = matching(&|project| display(project, own) == named);
    if found.is_empty() {
        found = matching(&|project| project.handle == named);
    }
    if found.is_empty() {
        found = matching(&by_prefix);
    }
    match found.as_slice() {
        [project] => Ok(project.project_id.clone()),
        [] => Err(failure::unknown_project(
            text,
            nearest(&named, projects, own).as_deref(),
        )),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|project| {
                    format!(
                        "{} (id {})",
                        display(project, own),
                        short(&project.project_id)
                    )
                })
                .collect();
            Err(failure::ambiguous_project(text, &names))
        }
    }
}

fn host(project: &ProjectStatus, own: Option<&Public>) -> String {
    match (own, &project.founder_name) {
        (Some(own), _) if own.key.to_string() == project.founder => own.name.to_string(),
        (_, Some(name)) => name.clone(),
        (_, None) => short(&project.project_id),
    }
}

fn nearest(text: &str, projects: &[ProjectStatus], own: Option<&Public>) -> Option<String> {
    let names = projects.iter().filter_map(|project| {
        let name = display(project, own);
        let spellings = [name.as_str(), &project.handle];
        let fewest = spellings.into_iter().filter_map(|known| slips(text, known));
        Some((fewest.min()?, name))
    });
    let near = names.filter(|(slips, _)| *slips <= SLIPS_MAX);
    near.min().map(|(_, name)| name)
}

#[cfg(test)]
pub(crate) mod tests {
    use gitback_identity::{PuddleKey, SecretKey};

    use super::*;

    pub(crate) fn dan() -> Public {
        Public {
            name: "dan".parse().expect("a name"),
            key: PuddleKey::new(SecretKey::from_seed(&[7; 32]).public()),
            created_ms: 0,
        }
    }

    pub(crate) fn project(founder: &str, handle: &str, id: &str) -> ProjectStatus {
        ProjectStatus {
            project_id: format!("{id}{}", "0".repeat(64 - id.len())),
            handle: handle.to_owned(),
            founder: founder.to_owned(),
            founder_name: None,
            role: None,
            members: 1,
            bytes: 0,
            refs: 0,
            envelopes: 1,
            head: None,
            last_push_ms: None,
            last_push_envoy: None,
            state: "current".to_owned(),
            reason: None,
            diverged: Vec::new(),
            copies: 1,
            envoys: Vec::new(),
            ref_list: Vec::new(),
            ..ProjectStatus::default()
        }
    }

    fn projects() -> Vec<ProjectStatus> {
        let dan = dan().key.to_string();
        let other = "11".repeat(32);
        vec![
            project(&dan, "notes", "7f3a91c2"),
            project(&dan, "dotfiles", "19be0d44"),
            project(&other, "api", "7f3a0000"),
            project(&other, "notes", "aaaa0000"),
        ]
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        let found = find(text, &projects(), Some(&dan()));
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
