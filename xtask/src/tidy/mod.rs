//! `cargo xtask tidy`: rules that the compiler does not know. Every rule has a test that plants a fault.

mod arrows;
mod documents;
mod manifests;
mod sealed;
mod smells;
mod text;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, show};

/// A file of the repository: its path from the top, and its text.
#[derive(Debug, Clone)]
struct Source {
    path: String,
    text: String,
}

/// Checks every rule, prints what breaks one, then prints the smells, which break nothing.
pub(crate) fn run() -> Result<()> {
    let metadata = cargo::metadata()?;
    let files = tracked(cargo::workspace())?;
    let graph = arrows::Graph::of(&metadata);
    let mut faults = arrows::check(&graph, arrows::NEVER);
    faults.extend(manifests::check(&files));
    faults.extend(sealed::check(&files));
    faults.extend(text::check(&files));
    faults.extend(documents::check(&files));
    for smell in smells::find(&files) {
        show::line(&format!("smell: {smell}"))?;
    }
    for fault in &faults {
        show::line(&format!("fault: {fault}"))?;
    }
    if !faults.is_empty() {
        bail!("{} rules are broken", faults.len());
    }
    show::line("tidy: no rule is broken")
}

/// Every text file that git tracks or would track, so that a fault is found before it is committed.
fn tracked(top: &Path) -> Result<Vec<Source>> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(top)
        .output()
        .context("cannot run git")?;
    if !listed.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&listed.stderr).trim()
        );
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    // A file that is deleted and not yet committed, or not UTF-8, has no text to check.
    let read = |name: &str| {
        let text = std::fs::read_to_string(top.join(name)).ok()?;
        Some(Source {
            path: name.to_owned(),
            text,
        })
    };
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(read)
        .collect())
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}
