//! For how long and how hard.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gitback_puddle::Cost;
use rustix::time::{ClockId, clock_gettime};

/// How long a code holds if nothing else was said.
pub const LIFE: Duration = Duration::from_secs(5 * 60);
/// The longest that a code can hold.
pub const LIFE_MAX: Duration = Duration::from_secs(10 * 60);
/// How often the code may be wrong from one address before proofs from there are not looked at any more.
pub const TRIES_MAX: u32 = 3;
/// How often the code may be wrong in all before it is dead. Of 2^66 codes that is one in 2^60.
pub const TRIES_IN_ALL_MAX: u32 = 64;

/// The terms of one pairing.
///
/// [`Terms::default`] is the protocol. A cheaper cost is for tests that do not guess; machines that differ in it do not understand
/// each other.
#[derive(Debug, Clone)]
pub struct Terms {
    pub(crate) life: Duration,
    pub(crate) cost: Cost,
    pub(crate) clock: Clock,
}

/// A clock that only goes forward, and does not stand still while the machine sleeps.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Default for Terms {
    fn default() -> Self {
        Self {
            life: LIFE,
            cost: Cost::STANDARD,
            clock: Clock::system(),
        }
    }
}

impl Terms {
    /// The same for another life of the code, [`LIFE_MAX`] at the most.
    #[must_use]
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life.min(LIFE_MAX);
        self
    }

    /// The same at another cost of a guess.
    #[must_use]
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    /// The same by another clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(|| {
            let now = clock_gettime(ClockId::Boottime);
            let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
            Duration::from_secs(seconds)
                + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or_default())
        })
    }

    /// A clock that says what `now` says.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(..)")
    }
}
