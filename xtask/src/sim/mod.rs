//! `cargo xtask sim`: a simulated fleet that runs the pure code of the daemon under faults, and what must hold in it.
//!
//! Read docs/simulation.md first, then `world`.

mod book;
mod disk;
mod faults;
mod history;
mod invariants;
mod keys;
mod malice;
mod network;
mod people;
mod plan;
mod planted;
mod prelude;
mod replica;
mod report;
mod rng;
mod run;
mod watch;
mod wire;
mod world;

use anyhow::Result;
use gitback_tests::Stop;

use crate::cargo;

/// What can be said to `cargo xtask sim`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Plays this one world, and prints what happens in it.
    #[arg(long, conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// Plays so many worlds, or those from one seed to before another: COUNT or FROM..TO.
    #[arg(long, value_name = "COUNT|FROM..TO")]
    seeds: Option<String>,
    /// The first seed of a count.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Worlds at a time; as many as there are processors if it is not said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Plays worlds for so many minutes, with seeds that follow from the commit.
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// Measures fleets of 10, 100, 1,000 and 10,000 envoys instead.
    #[arg(long)]
    report: bool,
    /// Plays worlds with one planted bug until its checker has caught it; `all` plays each.
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
}

/// Worlds that a check plays.
const CHECK_WORLDS: u64 = 2_000;

impl Arguments {
    /// As one of the checks before a change lands: a count of worlds, never a time.
    pub(crate) fn as_check() -> Self {
        Self {
            seeds: Some(CHECK_WORLDS.to_string()),
            from: run::commit_seed(),
            ..Self::default()
        }
    }
}

/// Runs what was asked for: many worlds optimised, or they would take many times as long.
pub(crate) fn run(arguments: &Arguments, stop: &Stop) -> Result<()> {
    if cfg!(debug_assertions) && arguments.seed.is_none() && arguments.planted.is_none() {
        let mut args: Vec<String> = [
            "run",
            "--release",
            "--quiet",
            "--package",
            "xtask",
            "--",
            "sim",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(arguments.words());
        return cargo::run(args.iter().map(String::as_str), &[]);
    }
    run::run(arguments, stop)
}

impl Arguments {
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([name.to_owned(), value]);
            }
        };
        say("--seed", self.seed.map(|seed| seed.to_string()));
        say("--seeds", self.seeds.clone());
        say("--from", (self.from != 0).then(|| self.from.to_string()));
        say("--jobs", self.jobs.map(|jobs| jobs.to_string()));
        say("--minutes", self.minutes.map(|minutes| minutes.to_string()));
        say("--planted", self.planted.clone());
        if self.report {
            words.push("--report".to_owned());
        }
        words
    }
}
