//! How the versions of a diverged ref become one again, as commands to type.

use gitback_helper::{ProjectStatus, VersionStatus};
use gitback_identity::{Address, Host};

use super::short_ref;
use crate::console::Console;
use crate::context::Context;
use crate::git::Git;
use crate::naming::short;
use crate::show;

/// Most refs of one project that are told of.
const SHOWN_MAX: usize = 3;

/// Says how each diverged ref of a project becomes one again.
pub(super) fn advise(context: &Context, project: &ProjectStatus, console: &mut Console<'_>) {
    if project.diverged.is_empty() {
        return;
    }
    let remote = remote(context, project);
    for name in project.diverged.iter().take(SHOWN_MAX) {
        let mut versions = project
            .versions
            .iter()
            .filter(|version| version.name == *name);
        let Some(version) = versions.next() else {
            continue;
        };
        for line in joining(
            &short(&project.project_id),
            &remote,
            version,
            versions.count(),
        ) {
            console.hint(line);
        }
    }
    if project.diverged.len() > SHOWN_MAX {
        console.hint(format_args!(
            "the other versions of the rest: git ls-remote {remote} 'refs/envoys/*'"
        ));
    }
}

fn joining(project: &str, remote: &str, version: &VersionStatus, more: usize) -> Vec<String> {
    let name = show::plain(&version.name);
    let short = short_ref(&name).to_owned();
    let object: String = show::plain(&version.oid).chars().take(10).collect();
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut lines = vec![format!(
        "{short}: nothing is lost; {object}, pushed on {}{more}, stands beside it. To make one of them:",
        show::plain(&version.envoy)
    )];
    if name.starts_with("refs/heads/") {
        lines.push(format!(
            "  git fetch {remote} {}",
            show::plain(&version.served_as)
        ));
        lines.push("  git merge FETCH_HEAD    (or: git rebase FETCH_HEAD)".to_owned());
        lines.push(format!("  git push {remote} {short}"));
    } else {
        lines.push(format!(
            "  vigo swarm gitback restore {project} {short}    (takes the other one; once more: this one)"
        ));
    }
    lines
}

/// What git calls the project in the folder where the user is; its address elsewhere.
fn remote(context: &Context, project: &ProjectStatus) -> String {
    let is_it = |url: &str| {
        let Ok(address) = url.parse::<Address>() else {
            return false;
        };
        let is_host = match address.host() {
            Host::Project(id) => id.to_string() == project.project_id,
            Host::Puddle(name) => project.founder_name.as_deref() == Some(name.as_str()),
        };
        is_host && address.handle().as_str() == project.handle
    };
    let remotes = Git::new(context).remotes().unwrap_or_default();
    let known = remotes.into_iter().find(|remote| is_it(&remote.url));
    known.map_or_else(
        || format!("gitback://{}/{}", project.project_id, project.handle),
        |remote| remote.name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> VersionStatus {
        VersionStatus {
            name: name.to_owned(),
            oid: "9c".repeat(20),
            served_as: "refs/envoys/12/heads/main@ab".to_owned(),
            envoy: "titan".to_owned(),
            puddle: "00".repeat(32),
        }
    }

    #[test]
    fn a_branch_is_joined_by_a_merge() {
        let lines = joining("7f3a91c2", "gitback", &version("refs/heads/main"), 0);
        assert_eq!(
            lines,
            [
                "main: nothing is lost; 9c9c9c9c9c, pushed on titan, stands beside it. To make one of them:",
                "  git fetch gitback refs/envoys/12/heads/main@ab",
                "  git merge FETCH_HEAD    (or: git rebase FETCH_HEAD)",
                "  git push gitback main",
            ]
        );
    }

    #[test]
    fn of_a_tag_one_value_is_chosen() {
        let text = joining("7f3a91c2", "gitback", &version("refs/tags/v1"), 2).join("\n");
        assert!(text.contains("pushed on titan and 2 more"), "{text}");
        assert!(
            text.contains("vigo swarm gitback restore 7f3a91c2 tags/v1 "),
            "{text}"
        );
        assert!(!text.contains("merge"), "{text}");
    }
}
