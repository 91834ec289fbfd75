//! What must not stand in any file: paths of one person's machine, and hosts that a build must not name.

use super::Source;

/// Pieces are joined here so that this file does not break its own rule.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/tmp/", "plan"), "a path of one machine"),
    (concat!("/root/", ".cargo"), "a path of one machine"),
    (concat!("../", "shared"), "a folder outside the repository"),
    (
        concat!("crates", ".io"),
        "a registry host: name the package, not where it lies",
    ),
    (
        concat!("static.rust-lang", ".org"),
        "a registry host: name the package, not where it lies",
    ),
    (
        concat!("deb.debian", ".org"),
        "a registry host: name the package, not where it lies",
    ),
    (
        concat!("pypi", ".org"),
        "a registry host: name the package, not where it lies",
    ),
    (
        concat!("registry.npmjs", ".org"),
        "a registry host: name the package, not where it lies",
    ),
];

/// The people in our examples; a home directory of anybody else is one of a real machine.
const EXAMPLE_USERS: &[&str] = &["dan", "alice", "bob", "carol", "eve", "mallory", "user"];

const HOME: &str = concat!("/ho", "me/");

pub(super) fn check(files: &[Source]) -> Vec<String> {
    // The lock file names its sources by design.
    let checked = files.iter().filter(|file| file.path != "Cargo.lock");
    let numbered = |file: &'_ Source| -> Vec<String> {
        let lines = file.text.lines().enumerate();
        let found = lines.filter_map(|(index, line)| {
            fault(line).map(|why| format!("{}:{}: {why}", file.path, index + 1))
        });
        found.collect()
    };
    checked.flat_map(numbered).collect()
}

fn fault(line: &str) -> Option<String> {
    let literal = FORBIDDEN.iter().find(|(text, _)| line.contains(text));
    if let Some((text, why)) = literal {
        return Some(format!("{text:?} is {why}"));
    }
    // A path that ends in "home/" inside a longer one, such as a root directory of ours, is none of a machine.
    let starts = line
        .match_indices(HOME)
        .filter(|(at, _)| !line.get(..*at).is_some_and(inside_path));
    let user = |(at, _): (usize, &str)| {
        let rest = line.get(at + HOME.len()..)?;
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        rest.get(..end)
            .filter(|name| !name.is_empty() && !EXAMPLE_USERS.contains(name))
    };
    starts
        .filter_map(user)
        .map(|name| format!("the home directory of {name:?} is a path of one machine"))
        .next()
}

fn inside_path(before: &str) -> bool {
    before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || "}._-)".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn names_the_line_with_a_path_of_one_machine() {
        let text = format!("fine\ncd {}main\n", concat!("/wo", "rk/"));
        let faults = check(&[source("docs/a.md", &text)]);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("docs/a.md:2: "), "{faults:?}");
    }

    #[test]
    fn example_users_have_homes_and_others_do_not() {
        assert_eq!(fault(&format!("{HOME}dan/notes")), None);
        assert!(fault(&format!("{HOME}xkcd/notes")).is_some());
        assert_eq!(fault("DIR/home/.vigo-puddle and root/home/xkcd"), None);
    }

    #[test]
    fn only_the_lock_file_may_name_a_registry() {
        let text = format!("see {}", FORBIDDEN[4].0);
        assert!(check(&[source("Cargo.lock", &text)]).is_empty());
        assert_eq!(check(&[source("README.md", &text)]).len(), 1);
    }
}
