//! What one guess at the passphrase of a stolen `identity.wrapped` costs:
//! `cargo run --package gitback-benches --example guess`.
//!
//! The key is wrapped as real keys are, and opened with a wrong passphrase, on one thread. What is told is processor
//! time of that thread, which says more than the clock where a machine is busy, and the clock's time beside it.
//! Key derivation is optimised in every profile of this workspace.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use gitback_benches::median;
use gitback_puddle::{Cost, Passphrase, UnwrapError, create, generate, unwrap};
use rustix::time::{ClockId, clock_gettime};

/// How many guesses.
const GUESSES: usize = 21;

fn main() -> Result<()> {
    let home = tempfile::tempdir()?;
    let dir = home.path().join(".vigo-puddle");
    let right = Passphrase::new("four words at random".to_owned())?;
    let wrong = Passphrase::new("four other words".to_owned())?;
    let cost = Cost::STANDARD;
    create(&dir, &"dan".parse()?, &right, &generate()?, cost, 0)?;
    let (mut processor, mut clock) = (Vec::new(), Vec::new());
    for _ in 0..GUESSES {
        let (before, begun) = (thread_time(), Instant::now());
        let Err(UnwrapError::WrongPassphrase { .. }) = unwrap(&dir, &wrong) else {
            bail!("a wrong passphrase was taken");
        };
        clock.push(begun.elapsed());
        processor.push(thread_time().saturating_sub(before));
    }
    let least = processor.iter().min().copied().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "argon2id, {} KiB, {} passes, {} lane: {GUESSES} guesses",
        cost.memory_kib(),
        cost.passes(),
        cost.lanes()
    )?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    writeln!(
        out,
        "processor time: median {:.0} ms, least {:.0} ms",
        ms(median(&processor)),
        ms(least)
    )?;
    writeln!(out, "by the clock:   median {:.0} ms", ms(median(&clock)))?;
    Ok(())
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}
