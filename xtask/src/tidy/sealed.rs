//! A crate that is pure by promise, not by `no_std`, names nothing of the outside world.

use super::Source;
use super::arrows::SEALED;

/// What the source of such a crate does not say, outside comments, and why.
const OUTSIDE: &[(&str, &str)] = &[
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("tokio", "the driver runs things"),
    ("std::thread", "the driver runs things"),
    ("std::process", "the driver runs things"),
    ("std::fs", "it has no files"),
    ("std::net", "it has no sockets"),
    ("std::os", "it has no files and no sockets"),
    ("std::io", "it has no files and no sockets"),
    ("std::env", "it has no environment"),
    (
        "use std::{",
        "each module of std is named on its own line, where this check sees it",
    ),
    (
        "use std::*",
        "each module of std is named on its own line, where this check sees it",
    ),
    ("static ", "it keeps nothing between its callers"),
    ("thread_local!", "it keeps nothing between its callers"),
    ("HashMap", "the order of a hash map is random"),
    ("HashSet", "the order of a hash map is random"),
    ("RandomState", "randomness is an argument"),
    ("ThreadRng", "randomness is an argument"),
    ("SysRng", "randomness is an argument"),
    ("rand::rng()", "randomness is an argument"),
    ("rand::random", "randomness is an argument"),
    ("make_rng", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
];

/// What a file may say after all, once, because its comment shows that nothing comes of it.
const EXCEPTIONS: &[(&str, &str)] = &[("crates/gitback-gossip/src/mesh/epoch.rs", "Instant::now")];

pub(super) fn check(files: &[Source]) -> Vec<String> {
    let sealed = files.iter().filter(|file| {
        SEALED
            .iter()
            .any(|name| file.path.starts_with(&format!("crates/{name}/src/")))
    });
    sealed.flat_map(outside).collect()
}

fn outside(file: &Source) -> Vec<String> {
    let mut exceptions: Vec<&str> = EXCEPTIONS
        .iter()
        .filter(|(path, _)| *path == file.path)
        .map(|(_, name)| *name)
        .collect();
    let mut faults = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        for (name, why) in OUTSIDE.iter().filter(|(name, _)| says(code, name)) {
            if let Some(used) = exceptions.iter().position(|exception| exception == name) {
                exceptions.remove(used);
                continue;
            }
            let name = name.trim();
            faults.push(format!("{}:{}: {name}: {why}", file.path, index + 1));
        }
    }
    faults
}

/// Whether `code` names `name`, and not something that only ends like it, as a lifetime ends like a `static`.
fn says(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '\''))
    })
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_clock_a_file_or_chance_in_a_sealed_crate_is_a_fault() {
        let path = "crates/gitback-gossip/src/node.rs";
        let bad = "use std::fs;\nlet now = std::time::Instant::now();\nlet dice = rand::rng();\n";
        assert_eq!(
            check(&[source(path, bad)]),
            [
                "crates/gitback-gossip/src/node.rs:1: std::fs: it has no files",
                "crates/gitback-gossip/src/node.rs:2: Instant::now: time is an argument",
                "crates/gitback-gossip/src/node.rs:3: rand::rng(): randomness is an argument",
            ]
        );
        assert_eq!(check(&[source(path, "use std::{fmt, fs};\n")]).len(), 1);
        assert!(check(&[source("crates/gitback-envoy/src/a.rs", bad)]).is_empty());
    }

    #[test]
    fn what_only_sounds_like_it_is_fine() {
        let good = "// std::fs is for others\nfn code() -> &'static str { \"a\" }\nuse rand::rngs::StdRng;\n";
        let path = "crates/gitback-gossip/src/a.rs";
        let faults = check(&[source(path, good)]);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn an_exception_holds_once_and_there_only() {
        let path = "crates/gitback-gossip/src/mesh/epoch.rs";
        assert!(check(&[source(path, "Instant::now()\n")]).is_empty());
        assert_eq!(
            check(&[source(path, "Instant::now()\nInstant::now()\n")]).len(),
            1
        );
        assert_eq!(check(&[source(path, "SystemTime\n")]).len(), 1);
    }
}
