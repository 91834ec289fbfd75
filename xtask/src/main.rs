//! The developer's commands. Read `main`, then the module named after the command.

mod attack;
mod bench;
mod cargo;
mod ci;
mod crash;
mod demo;
mod show;
#[expect(
    clippy::indexing_slicing,
    reason = "a simulated world is tables by number, and a number out of place has to be seen at once"
)]
mod sim;
mod test;
mod tidy;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use gitback_tests::Stop;

/// The developer's commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the main job with real daemons: push, lose the machine, clone from a survivor, compare.
    Demo(demo::Arguments),
    /// Runs every test, with what is after `--` handed to the test runner.
    Test(test::Arguments),
    /// Plays random worlds and attacks each with every key that was retired in it.
    Attack(attack::Arguments),
    /// Measures what a push, a clone and a daemon cost, against plain git on the same disk.
    Bench(bench::Arguments),
    /// Crashes a daemon at every change that it makes to its files, and sees that no push is lost.
    Crash(crash::Arguments),
    /// Plays simulated fleets under faults, each from a seed, and checks what must hold in them.
    Sim(sim::Arguments),
    /// Checks what the compiler cannot: forbidden dependencies, manifests, documents; prints smells.
    Tidy,
    /// Everything that must pass before a change lands.
    Ci,
}

/// The exit code of a command that the user interrupted, as shells count.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    match run(&verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended { error, interrupted }) => {
            // If standard error is closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            if interrupted {
                ExitCode::from(INTERRUPTED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

struct Ended {
    error: anyhow::Error,
    interrupted: bool,
}

fn run(verb: &Verb) -> Result<(), Ended> {
    let ended = |error, interrupted| Ended { error, interrupted };
    let stop = stop_on_signal().map_err(|error| ended(error, false))?;
    let result = match verb {
        Verb::Demo(arguments) => demo::run(arguments, &stop),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Attack(arguments) => attack::run(arguments),
        Verb::Bench(arguments) => bench::run(arguments, &stop),
        Verb::Crash(arguments) => crash::run(arguments, &stop),
        Verb::Sim(arguments) => sim::run(arguments, &stop),
        Verb::Tidy => tidy::run(),
        Verb::Ci => ci::run(&stop),
    };
    result.map_err(|error| ended(error, stop.asked()))
}

/// A wish to stop that Ctrl-C, a closed terminal and `kill` ask.
fn stop_on_signal() -> Result<Stop> {
    let stop = Stop::new().context("cannot make a pipe")?;
    let asked = stop.clone();
    ctrlc::set_handler(move || asked.ask()).context("cannot handle signals")?;
    Ok(stop)
}
