//! Documents: links lead somewhere, every crate is described, and code cites chapters that exist.

use super::Source;

const ARCHITECTURE: &str = "docs/architecture.md";

pub(super) fn check(files: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let dead = links(&file.text).filter(|target| !leads_somewhere(&file.path, target, files));
        faults.extend(
            dead.map(|target| format!("{}: the link to {target} leads nowhere", file.path)),
        );
    }
    for file in files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && !file.path.starts_with("xtask/"))
    {
        let dead =
            citations(&file.text).filter(|cited| !files.iter().any(|other| other.path == *cited));
        faults.extend(
            dead.map(|cited| format!("{}: cites {cited}, which does not exist", file.path)),
        );
    }
    faults.extend(undescribed(files));
    faults.extend(commands(files));
    faults
}

/// Crates that the architecture does not name.
fn undescribed(files: &[Source]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == ARCHITECTURE) else {
        return vec![format!("{ARCHITECTURE} is missing")];
    };
    let crates = files.iter().filter_map(|file| {
        file.path
            .strip_prefix("crates/")?
            .strip_suffix("/Cargo.toml")
    });
    let silent = crates.filter(|name| !page.text.contains(&format!("`{name}`")));
    silent
        .map(|name| format!("{ARCHITECTURE}: says nothing of `{name}`"))
        .collect()
}

/// What the README tells a stranger to type is what is checked.
fn commands(files: &[Source]) -> Vec<String> {
    const TOLD: &[(&str, &str)] = &[
        ("README.md", "cargo xtask test"),
        ("README.md", "cargo xtask demo"),
        (".ci/run", "cargo xtask ci"),
    ];
    let says = |path: &str, command: &str| {
        files
            .iter()
            .any(|file| file.path == path && file.text.contains(command))
    };
    let silent = TOLD.iter().filter(|(path, command)| !says(path, command));
    silent
        .map(|(path, command)| format!("{path}: does not say `{command}`"))
        .collect()
}

/// The targets of a document's links that stay in the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split('#').next().unwrap_or_default());
    targets.filter(|target| {
        !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")
    })
}

fn leads_somewhere(from: &str, target: &str, files: &[Source]) -> bool {
    let mut path: Vec<&str> = from.split('/').collect();
    path.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            name => path.push(name),
        }
    }
    let path = path.join("/");
    files
        .iter()
        .any(|file| file.path == path || file.path.starts_with(&format!("{path}/")))
}

/// The chapters of the specification that source code cites: `docs/spec/NAME.md`.
fn citations(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("docs/spec/").filter_map(|(at, _)| {
        let rest = text.get(at..)?;
        let end = rest.find(".md")? + ".md".len();
        let cited = rest.get(..end)?;
        cited
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c))
            .then_some(cited)
    })
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    fn good() -> Vec<Source> {
        vec![
            source(
                "README.md",
                "`cargo xtask test`, `cargo xtask demo`, [licence](LICENSE) and [docs](docs/)",
            ),
            source(".ci/run", "cargo xtask ci\n"),
            source("LICENSE", "do what you want"),
            source("crates/a/Cargo.toml", ""),
            source("crates/a/src/lib.rs", "//! Source: docs/spec/a.md §1.\n"),
            source(
                "docs/architecture.md",
                "`a` does it; see [the format](spec/a.md#1) and [git](https://git-scm.com)",
            ),
            source("docs/spec/a.md", "back to [the top](../../README.md)"),
        ]
    }

    fn with(path: &str, text: &str) -> Vec<String> {
        let mut files = good();
        files.retain(|file| file.path != path);
        files.push(source(path, text));
        check(&files)
    }

    #[test]
    fn a_good_tree_has_no_fault() {
        assert!(check(&good()).is_empty(), "{:?}", check(&good()));
    }

    #[test]
    fn a_dead_link_is_a_fault() {
        assert_eq!(
            with("docs/spec/a.md", "[x](b.md)"),
            ["docs/spec/a.md: the link to b.md leads nowhere"]
        );
    }

    #[test]
    fn a_crate_that_nobody_describes_is_a_fault() {
        assert_eq!(
            with("crates/b/Cargo.toml", ""),
            ["docs/architecture.md: says nothing of `b`"]
        );
    }

    #[test]
    fn a_citation_of_a_chapter_that_is_not_there_is_a_fault() {
        let faults = with("crates/a/src/lib.rs", "//! Source: docs/spec/none.md\n");
        assert_eq!(
            faults,
            ["crates/a/src/lib.rs: cites docs/spec/none.md, which does not exist"]
        );
    }

    #[test]
    fn a_ci_that_runs_something_else_is_a_fault() {
        assert_eq!(
            with(".ci/run", "cargo test\n"),
            [".ci/run: does not say `cargo xtask ci`"]
        );
    }
}
