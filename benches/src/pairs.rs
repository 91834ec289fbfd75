//! Times in pairs, and what they come to.

use std::time::Duration;

/// The same work done both ways, several times, one right after the other.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    plain: Vec<Duration>,
    ours: Vec<Duration>,
}

impl Pairs {
    /// Adds one pair.
    pub fn add(&mut self, plain: Duration, ours: Duration) {
        self.plain.push(plain);
        self.ours.push(ours);
    }

    /// How many pairs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ours.len()
    }

    /// The median time of plain git; zero without pairs.
    #[must_use]
    pub fn plain(&self) -> Duration {
        median(&self.plain)
    }

    /// The median time of gitback; zero without pairs.
    #[must_use]
    pub fn ours(&self) -> Duration {
        median(&self.ours)
    }

    /// How many times as long gitback takes: the median of the ratios of each pair.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let ratio = |(ours, plain): (&Duration, &Duration)| {
            ours.as_secs_f64() / plain.as_secs_f64().max(1e-9)
        };
        let mut ratios: Vec<f64> = self.ours.iter().zip(&self.plain).map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or_default()
    }

    /// The shortest and longest time of gitback.
    #[must_use]
    pub fn spread(&self) -> (Duration, Duration) {
        let least = self.ours.iter().min().copied().unwrap_or_default();
        (least, self.ours.iter().max().copied().unwrap_or_default())
    }
}

/// The middle one of these times, the later of the two middle ones if their number is even; zero without any.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_pair_does_not_move_the_figure() {
        let mut pairs = Pairs::default();
        for (plain, ours) in [(10, 20), (10, 20), (1000, 2000), (12, 24), (9, 18)] {
            pairs.add(Duration::from_millis(plain), Duration::from_millis(ours));
        }
        assert_eq!(pairs.plain(), Duration::from_millis(10));
        assert_eq!(pairs.ours(), Duration::from_millis(20));
        assert!((pairs.ratio() - 2.0).abs() < 1e-9);
        assert_eq!(
            pairs.spread(),
            (Duration::from_millis(18), Duration::from_millis(2000))
        );
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(median(&[]), Duration::ZERO);
        assert_eq!(Pairs::default().count(), 0);
    }
}
