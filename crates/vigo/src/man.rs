//! The manual pages, from the same definitions as the help.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use gitback_helper::{Failure, exit_code};

use crate::cli::Cli;
use crate::console::{Console, Stop};

/// Other names under which a page is looked for: `git gitback --help` wants
/// gitback(1).
const ALIASES: [&str; 2] = ["gitback.1", "git-gitback.1"];

/// Writes a page for each command.
pub(crate) fn write(dir: &Path, console: &mut Console<'_>) -> Result<(), Stop> {
    let pages = write_pages(dir).map_err(|error| {
        let what = format!("cannot write the manual pages to {}", dir.display());
        Failure::new(exit_code::FAILED, what).because(error.to_string())
    })?;
    console.line(format_args!("Wrote {pages} pages to {}", dir.display()))
}

fn write_pages(dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    for alias in ALIASES {
        fs::write(dir.join(alias), ".so man1/vigo-swarm-gitback.1\n")?;
    }
    Ok(fs::read_dir(dir)?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_for_people_has_a_page() {
        let dir = tempfile::tempdir().expect("a directory");
        write_pages(dir.path()).expect("written");
        for page in [
            "vigo.1",
            "vigo-envoy-run.1",
            "vigo-swarm-puddle-init.1",
            "vigo-swarm-gitback-project-status.1",
            "vigo-swarm-gitback-project-re-found.1",
            "vigo-swarm-gitback-log.1",
            "vigo-swarm-gitback-restore.1",
            "vigo-swarm-gitback-sync.1",
            "vigo-swarm-gitback-purge.1",
            "vigo-swarm-gitback-gc-orphans.1",
            "vigo-swarm-gitback-scrub.1",
            "gitback.1",
        ] {
            assert!(dir.path().join(page).is_file(), "{page}");
        }
        let page = fs::read_to_string(dir.path().join("vigo.1")).expect("a page");
        assert!(page.contains("Exit codes"), "{page}");
    }
}
