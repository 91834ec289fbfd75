//! `cargo xtask attack`: many random worlds, each attacked with every key that it has retired.

use anyhow::Result;

use crate::cargo;

/// What can be said to `cargo xtask attack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many worlds; each is attacked in ten ways.
    #[arg(long, default_value_t = 10_000)]
    worlds: u64,
    /// The seed of the first world; the others follow it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Builds the worlds optimised and plays them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (seed, worlds) = (arguments.seed.to_string(), arguments.worlds.to_string());
    cargo::run(
        [
            "run",
            "--release",
            "--quiet",
            "--package",
            "gitback-envelope",
            "--example",
            "attack",
            "--",
            &seed,
            &worlds,
        ],
        &[],
    )
}
