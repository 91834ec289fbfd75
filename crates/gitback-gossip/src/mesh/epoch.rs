//! The one place where this crate touches a clock, to learn nothing from it.

use std::time::{Duration, Instant};

use crate::millis::Millis;

/// Turns the driver's moments into the opaque ones that iroh-gossip's core asks for.
///
/// An [`Instant`] can only be made by asking the clock, so it is asked once. The core only ever compares moments made
/// here with one another, by the spans between them, and those are the driver's: what the clock said cancels out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(Instant);

impl Epoch {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// The moment of the driver's `now`. Beyond [`SPAN_MAX`] time stands still rather than overflow.
    pub(super) fn at(self, now: Millis) -> Instant {
        let span = Duration::from_millis(now.min(SPAN_MAX).0);
        self.0.checked_add(span).unwrap_or(self.0)
    }
}

/// A span that still leaves room for every timer after it: a thousand years.
const SPAN_MAX: Millis = Millis(1000 * 366 * 24 * 60 * 60 * 1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spans_matter() {
        let (one, other) = (Epoch::new(), Epoch::new());
        for span in [0, 1, 86_400_000, u64::MAX] {
            assert_eq!(
                one.at(Millis(span)) - one.at(Millis(0)),
                other.at(Millis(span)) - other.at(Millis(0)),
            );
        }
    }
}
