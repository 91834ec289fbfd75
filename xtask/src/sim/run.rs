//! Playing worlds, one or millions, and saying how it went.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gitback_tests::Stop;

use super::plan::Plan;
use super::planted;
use super::world::{Outcome, World};
use super::{Arguments, report};
use crate::{cargo, show};

/// Worlds when nothing is said.
const WORLDS: u64 = 10_000;

/// How often it is said how far it has come.
const SAY_EVERY: Duration = Duration::from_secs(10);

pub(super) fn run(arguments: &Arguments, stop: &Stop) -> Result<()> {
    if arguments.report {
        return report::run();
    }
    if let Some(name) = &arguments.planted {
        return hunt(name);
    }
    if let Some(seed) = arguments.seed {
        return one(seed);
    }
    let jobs = arguments.jobs.unwrap_or_else(processors);
    if let Some(minutes) = arguments.minutes {
        let limit = Duration::from_secs(minutes * 60);
        return many(commit_seed(), u64::MAX, jobs, Some(limit), stop);
    }
    let (from, count) = seeds(arguments)?;
    many(from, count, jobs, None, stop)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first seed and how many.
fn seeds(arguments: &Arguments) -> Result<(u64, u64)> {
    let Some(text) = &arguments.seeds else {
        return Ok((arguments.from, WORLDS));
    };
    match text.split_once("..") {
        Some((from, to)) => {
            let from: u64 = from.parse().context("the first seed is a number")?;
            let to: u64 = to.parse().context("the seed after the last is a number")?;
            Ok((from, to.saturating_sub(from)))
        }
        None => Ok((arguments.from, text.parse().context("a count of seeds")?)),
    }
}

fn hunt(name: &str) -> Result<()> {
    if name != "all" {
        return show::line(&planted::hunt(name)?);
    }
    for planted in planted::PLANTED {
        show::line(&planted::hunt(planted.name)?)?;
    }
    Ok(())
}

/// Plays one world aloud.
fn one(seed: u64) -> Result<()> {
    let outcome = World::new(Plan::of(seed), None, true).play();
    let Outcome {
        trace,
        events,
        converged_us,
        ..
    } = outcome;
    show::line(&format!(
        "seed {seed}: {events} events, trace {trace:016x}, together {} ms after the faults",
        converged_us / 1000
    ))?;
    match outcome.violation {
        Some(violation) => bail!("{}: {}", violation.checker, violation.what),
        None => Ok(()),
    }
}

/// What several worlds came to.
#[derive(Debug, Default)]
struct Tally {
    events: AtomicU64,
    pushes: AtomicU64,
    acknowledged: AtomicU64,
    slowest_us: AtomicU64,
    worlds: AtomicU64,
    failures: Mutex<Vec<(u64, String)>>,
}

impl Tally {
    fn add(&self, seed: u64, outcome: Outcome) {
        self.worlds.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(outcome.events, Ordering::Relaxed);
        self.pushes.fetch_add(outcome.pushes, Ordering::Relaxed);
        self.acknowledged
            .fetch_add(outcome.acknowledged, Ordering::Relaxed);
        self.slowest_us
            .fetch_max(outcome.converged_us, Ordering::Relaxed);
        if let Some(violation) = outcome.violation {
            let text = format!("{}: {}", violation.checker, violation.what);
            self.fail(seed, text);
        }
    }

    fn fail(&self, seed: u64, text: String) {
        let _ = show::line(&format!(
            "seed {seed}: {text}\nREPRODUCE: cargo xtask sim --seed {seed}"
        ));
        let mut failures = self.failures.lock().expect("nobody panics while it counts");
        failures.push((seed, text));
    }

    fn failed(&self) -> usize {
        let failures = self.failures.lock();
        failures.map_or(0, |failures| failures.len())
    }
}

/// Most failures before it stops.
const FAILURES_MAX: usize = 10;

fn many(from: u64, count: u64, jobs: usize, limit: Option<Duration>, asked: &Stop) -> Result<()> {
    let (tally, next, stop) = (Tally::default(), AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| scope.spawn(|| work(from, count, &next, &stop, &tally)))
            .collect();
        let mut said = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::park_timeout(Duration::from_millis(50));
            if asked.asked() || limit.is_some_and(|limit| begun.elapsed() > limit) {
                stop.store(true, Ordering::Relaxed);
            }
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                let _ = show::line(&line(&tally, begun));
            }
        }
    });
    show::line(&line(&tally, begun))?;
    let mut failures = tally.failures.into_inner().unwrap_or_default();
    failures.sort();
    match failures.first() {
        None => Ok(()),
        Some((seed, what)) => bail!(
            "{} worlds failed, first seed {seed}: {what}",
            failures.len()
        ),
    }
}

fn work(from: u64, count: u64, next: &AtomicU64, stop: &AtomicBool, tally: &Tally) {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= count || stop.load(Ordering::Relaxed) || tally.failed() >= FAILURES_MAX {
            return;
        }
        let seed = from.wrapping_add(at);
        let played = std::panic::catch_unwind(|| World::new(Plan::of(seed), None, false).play());
        match played {
            Ok(outcome) => tally.add(seed, outcome),
            Err(_) => tally.fail(seed, "it panicked".to_owned()),
        }
    }
}

fn line(tally: &Tally, begun: Instant) -> String {
    let seconds = begun.elapsed().as_secs_f64();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (worlds, events) = (load(&tally.worlds), load(&tally.events));
    format!(
        "{worlds} worlds in {seconds:.1} s ({:.0} a second), {events} events ({:.0} a second), {} pushes, {} acknowledged, \
         together after {} s at the most, {} failed",
        worlds as f64 / seconds,
        events as f64 / seconds,
        load(&tally.pushes),
        load(&tally.acknowledged),
        load(&tally.slowest_us) / 1_000_000,
        tally.failed(),
    )
}

/// A seed that follows from the commit; 0 where there is none.
pub(super) fn commit_seed() -> u64 {
    let head = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(cargo::workspace())
        .output();
    let text = head.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let digits: String = text.chars().take(12).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_world() {
        let play = |seed| World::new(Plan::of(seed), None, false).play();
        let mut traces = std::collections::BTreeSet::new();
        for seed in 0..6 {
            let (one, other) = (play(seed), play(seed));
            assert_eq!((one.trace, one.events), (other.trace, other.events));
            assert!(traces.insert(one.trace), "each seed is a world of its own");
        }
    }

    #[test]
    fn a_few_worlds_keep_what_must_hold() {
        for seed in 0..20 {
            let outcome = World::new(Plan::of(seed), None, false).play();
            if let Some(violation) = outcome.violation {
                panic!("seed {seed}: {}: {}", violation.checker, violation.what);
            }
        }
    }
}
