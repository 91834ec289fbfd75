//! Every crate takes the workspace's lints and says what it is; a pure crate has no standard library, and
//! a library names each of its errors.

use super::Source;
use super::arrows::{LIBRARIES, PURE};

pub(super) fn check(files: &[Source]) -> Vec<String> {
    let manifests = files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && !file.path.contains("/fuzz/"));
    let mut faults: Vec<String> = manifests.flat_map(manifest).collect();
    faults.extend(PURE.iter().filter_map(|name| pure(files, name)));
    faults.extend(LIBRARIES.iter().filter_map(|name| library(files, name)));
    faults
}

fn manifest(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if value(&file.text, "lints", "workspace") != Some("true") {
        faults.push(format!("{}: no [lints] workspace = true", file.path));
    }
    if value(&file.text, "package", "description").is_none() {
        faults.push(format!("{}: the package has no description", file.path));
    }
    faults
}

fn pure(files: &[Source], name: &str) -> Option<String> {
    let path = format!("crates/{name}/src/lib.rs");
    let file = files.iter().find(|file| file.path == path)?;
    let declared = file.text.lines().any(|line| line.trim() == "#![no_std]");
    (!declared).then(|| format!("{path}: a pure crate says #![no_std]"))
}

/// Others may bring `anyhow`, as the core of gossip does; what a library itself depends on is a line of its manifest.
fn library(files: &[Source], name: &str) -> Option<String> {
    let path = format!("crates/{name}/Cargo.toml");
    let file = files.iter().find(|file| file.path == path)?;
    let named = file.text.lines().any(|line| line.starts_with("anyhow"));
    named.then(|| format!("{path}: a library names its errors, and has no anyhow"))
}

/// The value of `key` in `[section]`, as written.
fn value<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let head = format!("[{section}]");
    let lines = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != head)
        .skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    lines.find_map(|line| {
        line.strip_prefix(key)?
            .trim_start()
            .strip_prefix('=')
            .map(str::trim)
    })
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    const GOOD: &str =
        "[package]\nname = \"a\"\ndescription = \"d\"\n\n[lints]\nworkspace = true\n";

    #[test]
    fn a_crate_without_the_lints_is_a_fault() {
        assert!(check(&[source("crates/a/Cargo.toml", GOOD)]).is_empty());
        let bad = GOOD.replace("true", "false");
        assert_eq!(
            check(&[source("crates/a/Cargo.toml", &bad)]),
            ["crates/a/Cargo.toml: no [lints] workspace = true"]
        );
        let elsewhere = GOOD.replace("[lints]", "[metadata]");
        assert_eq!(check(&[source("crates/a/Cargo.toml", &elsewhere)]).len(), 1);
    }

    #[test]
    fn a_crate_that_does_not_say_what_it_is_is_a_fault() {
        let bad = GOOD.replace("description", "descriptor");
        assert_eq!(
            check(&[source("xtask/Cargo.toml", &bad)]),
            ["xtask/Cargo.toml: the package has no description"]
        );
    }

    #[test]
    fn a_library_with_errors_that_have_no_name_is_a_fault() {
        let bad = format!("{GOOD}\n[dependencies]\nanyhow.workspace = true\n");
        let at = |path: &str| check(&[source(path, &bad)]).len();
        assert_eq!(at("crates/gitback-peer/Cargo.toml"), 1);
        assert_eq!(at("xtask/Cargo.toml"), 0);
    }

    #[test]
    fn a_pure_crate_with_the_standard_library_is_a_fault() {
        let path = "crates/gitback-identity/src/lib.rs";
        assert!(check(&[source(path, "//! Keys.\n#![no_std]\n")]).is_empty());
        assert_eq!(check(&[source(path, "//! Not `#![no_std]`.\n")]).len(), 1);
    }
}
