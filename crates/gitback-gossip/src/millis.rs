//! A moment of a driver's own clock.

use std::fmt;

/// Milliseconds since some moment that the driver chose, or a span of them.
///
/// The driver's clock never runs backwards and means nothing to another machine. Arithmetic saturates: the end of
/// time is a moment that never comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment `span` later.
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span since `earlier`, nothing if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The span `factor` times.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_neither_wraps_nor_runs_backwards() {
        let end = Millis(u64::MAX);
        assert_eq!(end.plus(Millis(1)), end);
        assert_eq!(end.times(2), end);
        assert_eq!(Millis(1).since(Millis(2)), Millis(0));
        assert_eq!(Millis::from_secs(2).since(Millis(500)), Millis(1500));
    }
}
