//! `cargo xtask test`: every test of the workspace.

use anyhow::Result;

use crate::cargo;

/// What can be said to `cargo xtask test`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Handed to the test runner, such as part of a test's name.
    #[arg(last = true)]
    runner: Vec<String>,
}

/// Tells the end-to-end tests that the programs they start were built just now.
const BUILT: (&str, &str) = ("GITBACK_TESTS_BUILT", "1");

/// Builds the programs that the end-to-end tests start, then runs all tests and the examples in the documentation.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    cargo::run(
        [
            "build",
            "--package",
            "vigo",
            "--package",
            "git-remote-gitback",
        ],
        &[],
    )?;
    let extra = arguments.runner.iter().map(String::as_str);
    if cargo::has("nextest") {
        cargo::run(
            ["nextest", "run", "--workspace"].into_iter().chain(extra),
            &[BUILT],
        )?;
    } else {
        let usual = ["test", "--workspace", "--lib", "--bins", "--tests", "--"];
        cargo::run(usual.into_iter().chain(extra), &[BUILT])?;
    }
    if arguments.runner.is_empty() {
        // The runner above does not know these.
        cargo::run(["test", "--workspace", "--doc", "--quiet"], &[])?;
    }
    Ok(())
}
