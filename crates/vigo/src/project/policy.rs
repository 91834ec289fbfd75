//! `project policy`

use gitback_envelope::{PROTECTED_MAX, Policy, REPLICAS_MAX, RefName, Scope};
use gitback_helper::{Failure, exit_code};
use gitback_identity::ProjectId;
use serde::Serialize;

use super::subject::by_present_key;
use super::{Subject, short_ref};
use crate::console::{Console, Stop};
use crate::errand::Errand;
use crate::founding::{policy_of, set_policy, text_of};
use crate::{cli, show};

/// The answer of `project policy --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Shown {
    project_id: String,
    scope: &'static str,
    protected: Vec<String>,
    replicas: Option<u32>,
}

/// Shows how a project is kept, after changing it where a flag says so.
pub(crate) fn policy(
    errand: &mut Errand<'_, '_>,
    arguments: &cli::PolicyChange,
) -> Result<(), Stop> {
    let project = errand.chosen(Some(&arguments.project))?;
    let before = policy_of(&project);
    let after = changed(&before, arguments)?;
    let subject = Subject::of(project.clone())?;
    if after != before {
        by_present_key(&project, &errand.people)?;
        let what_for = format!("changing the policy of {} needs a signature", subject.name);
        let desk = errand.desk(&subject, what_for)?;
        set_policy(errand, &desk, &after)?;
    }
    if arguments.json.json {
        return errand.console.json(&shown(&subject.id, &after));
    }
    tell(&subject.name, &after, errand.console)
}

fn shown(id: &ProjectId, policy: &Policy) -> Shown {
    Shown {
        project_id: id.to_string(),
        scope: match policy.scope {
            Scope::MembersOnly => "members",
            Scope::SwarmWide => "swarm",
        },
        protected: policy.protected.iter().map(text_of).collect(),
        replicas: policy.replicas,
    }
}

fn tell(name: &str, policy: &Policy, console: &mut Console<'_>) -> Result<(), Stop> {
    let kept = match policy.scope {
        Scope::MembersOnly => "members: the envoys that a member uses",
        Scope::SwarmWide => "swarm: all envoys of the fleet",
    };
    let names: Vec<String> = policy.protected.iter().map(text_of).collect();
    let protected = match names.as_slice() {
        [] => "-".to_owned(),
        names => names
            .iter()
            .map(|name| short_ref(name))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let wanted = policy
        .replicas
        .map_or_else(|| "-".to_owned(), |number| number.to_string());
    console.line(show::plain(name))?;
    console.line(format_args!("  Scope      {kept}"))?;
    console.line(format_args!("  Protected  {}", show::plain(&protected)))?;
    console.line(format_args!("  Copies     {wanted}"))
}

/// The policy that the flags ask for.
fn changed(before: &Policy, arguments: &cli::PolicyChange) -> Result<Policy, Failure> {
    let mut after = before.clone();
    if let Some(scope) = arguments.scope {
        after.scope = scope.into();
    }
    for text in &arguments.protect {
        after.protected.push(full_name(text)?);
    }
    after.protected.sort_unstable();
    after.protected.dedup();
    for text in &arguments.unprotect {
        let name = full_name(text)?;
        let length = after.protected.len();
        after.protected.retain(|one| *one != name);
        if after.protected.len() == length {
            let what = format!("{} is not protected", show::plain(text));
            return Err(Failure::new(exit_code::UNKNOWN, what));
        }
    }
    if after.protected.len() > PROTECTED_MAX {
        let what = format!("at most {PROTECTED_MAX} refs can be protected");
        return Err(Failure::new(exit_code::USAGE, what));
    }
    match arguments.replicas {
        None => {}
        Some(0) => after.replicas = None,
        Some(number @ 1..=REPLICAS_MAX) => after.replicas = Some(number),
        Some(_) => {
            let what = format!("--replicas is at most {REPLICAS_MAX}");
            return Err(Failure::new(exit_code::USAGE, what));
        }
    }
    Ok(after)
}

/// A branch goes by its short name too.
fn full_name(text: &str) -> Result<RefName, Failure> {
    let full = match text.starts_with("refs/") {
        true => text.to_owned(),
        false => format!("refs/heads/{text}"),
    };
    RefName::new(full.as_bytes()).map_err(|reject| {
        let what = format!("\"{}\" is no ref", show::plain(text));
        Failure::new(exit_code::USAGE, what).because(reject.to_string())
    })
}

impl From<cli::Scope> for Scope {
    fn from(scope: cli::Scope) -> Self {
        match scope {
            cli::Scope::Members => Self::MembersOnly,
            cli::Scope::Swarm => Self::SwarmWide,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(flags: &[&str]) -> cli::PolicyChange {
        use clap::Parser as _;
        let line = ["vigo", "swarm", "gitback", "project", "policy", "notes"];
        let cli = cli::Cli::try_parse_from(line.iter().chain(flags)).expect("parsed");
        match cli.command {
            cli::Command::Swarm(cli::Swarm::Gitback(cli::Gitback::Project(
                cli::Project::Policy(arguments),
            ))) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn check(flags: &[&str], expected: Result<(Scope, &[&str], Option<u32>), u8>) {
        let before = Policy {
            scope: Scope::SwarmWide,
            protected: vec![RefName::new(b"refs/heads/main").expect("a name")],
            replicas: Some(2),
        };
        let after = changed(&before, &arguments(flags));
        let after = after.map_err(|failure| failure.code).map(|policy| {
            let names: Vec<String> = policy.protected.iter().map(text_of).collect();
            (policy.scope, names, policy.replicas)
        });
        let expected = expected.map(|(scope, names, replicas)| {
            let names = names.iter().map(|name| format!("refs/{name}"));
            (scope, names.collect(), replicas)
        });
        assert_eq!(after, expected, "{flags:?}");
    }

    #[test]
    fn flags_change_what_they_name_and_nothing_else() {
        use Scope::{MembersOnly, SwarmWide};
        check(&[], Ok((SwarmWide, &["heads/main"], Some(2))));
        check(
            &["--scope", "members"],
            Ok((MembersOnly, &["heads/main"], Some(2))),
        );
        check(
            &["--protect", "refs/tags/v1", "--protect", "main"],
            Ok((SwarmWide, &["heads/main", "tags/v1"], Some(2))),
        );
        check(
            &["--unprotect", "main", "--protect", "release"],
            Ok((SwarmWide, &["heads/release"], Some(2))),
        );
        check(&["--unprotect", "other"], Err(10));
        check(&["--protect", "a..b"], Err(2));
        check(
            &["--replicas", "3"],
            Ok((SwarmWide, &["heads/main"], Some(3))),
        );
        check(&["--replicas", "0"], Ok((SwarmWide, &["heads/main"], None)));
        check(&["--replicas", "10001"], Err(2));
    }
}
