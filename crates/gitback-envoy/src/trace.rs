//! Where the time of a push or of a catch-up goes: how long each of its steps took, in their order.
//!
//! Kept for each, which costs one look at the clock a step; that of a push is shown to whoever asks for it with
//! `GITBACK_TRACE`, and both are in the daemon's log at the level `debug`.

use std::fmt;
use std::time::{Duration, Instant};

/// The steps so far.
#[derive(Debug)]
pub(crate) struct Trace {
    begun: Instant,
    last: Instant,
    steps: Vec<(&'static str, Duration)>,
}

impl Trace {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            steps: Vec::new(),
        }
    }

    /// A step has ended: it took the time since the one before.
    pub(crate) fn step(&mut self, name: &'static str) {
        let now = Instant::now();
        self.steps.push((name, now.duration_since(self.last)));
        self.last = now;
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::begin()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", Millis(self.last.duration_since(self.begun)))?;
        for (index, (name, took)) in self.steps.iter().enumerate() {
            let before = if index == 0 { ": " } else { ", " };
            write!(out, "{before}{name} {}", Millis(*took))?;
        }
        Ok(())
    }
}

/// A duration in milliseconds with one digit behind the point.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1} ms", self.0.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_step_and_the_sum() {
        let now = Instant::now();
        let trace = Trace {
            begun: now,
            last: now + Duration::from_micros(2500),
            steps: vec![
                ("pack", Duration::from_micros(2000)),
                ("refs", Duration::from_micros(500)),
            ],
        };
        assert_eq!(trace.to_string(), "2.5 ms: pack 2.0 ms, refs 0.5 ms");
    }
}
