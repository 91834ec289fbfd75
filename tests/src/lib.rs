//! A fleet of real daemons on one machine, for the end-to-end tests, the demo and the benchmarks.
//!
//! It starts `vigo envoy run` once for each envoy, each with a root directory, a port and a key of its own, gives
//! all of them one puddle, and runs `git` and `vigo` as a person on one of those machines would. Only [`Account`] looks
//! inside a repository of the daemon; nothing talks to a daemon but through these two programs.
//!
//! Read [`Fleet`] first, then [`Person`]. Everything that a fleet starts is ended and everything that it writes is
//! removed when it is dropped, also after a panic or an interrupt (see [`Stop`]).
//!
//! ```no_run
//! use gitback_tests::{Binaries, Fleet, Options};
//!
//! let mut fleet = Fleet::start(Options::new(Binaries::of_tests()?).envoys(3))?;
//! fleet.make_puddle("dan")?;
//! let status = fleet.person(0).vigo(["envoy", "status"]).run()?.success()?;
//! assert!(status.stdout.contains("mars"));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod account;
mod binaries;
mod daemon;
mod fleet;
mod git;
mod history;
mod link;
mod netns;
mod options;
mod person;
mod process;
mod stop;
mod stragglers;
mod terminal;

pub use account::{Account, Breach, Evidence, Replica, Statement, Told, breaches};
pub use binaries::{Binaries, Profile};
pub use daemon::{Envoy, READY_MAX};
pub use fleet::{ENVOYS_MAX, Fleet};
pub use git::{Refs, differences, refs_as_cloned, refs_of};
pub use history::Shape;
pub use netns::{Net, PLACES_MAX, PORT};
pub use options::{ExtraPeer, Options};
pub use person::Person;
pub use process::{Invocation, OUTPUT_MAX, Outcome, Talk};
pub use stop::Stop;
pub use stragglers::{Straggler, end_stragglers, stragglers};
pub use terminal::Terminal;

use std::time::{Duration, Instant};

/// Asks `question` until it answers, for at most `limit`.
///
/// For facts that only a daemon knows and that it tells nobody unasked, such as a peer that has caught up. Each
/// question should itself be a command or a request: there is no pause between two of them.
///
/// # Errors
///
/// The question's own error at once, or the time limit with the last thing that was seen.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut question: impl FnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        match question()? {
            Ok(answer) => return Ok(answer),
            Err(seen) if started.elapsed() > limit => {
                anyhow::bail!("{what}: not within {limit:?}; last seen: {seen}")
            }
            Err(_) => {}
        }
    }
}
