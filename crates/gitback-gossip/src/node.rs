//! The whole of it: who is compared with whom, who catches up from whom, what is owed, and what the mesh carries.

mod terms;

use gitback_identity::{EnvoyKey, ProjectId};

use crate::millis::Millis;
use crate::owed::Debt;

pub use terms::{Difference, Failure, Input, News, Output, Presence, Settings, Standing};

/// One envoy's part in the fleet: takes what happened, gives orders, does nothing itself.
#[derive(Debug)]
pub struct Node {
    me: EnvoyKey,
    settings: Settings,
    now: Millis,
}

impl Node {
    /// A node that knows nobody and holds nothing. `seed` decides every choice that is left to chance.
    #[must_use]
    pub fn new(me: EnvoyKey, seed: [u8; 32], settings: Settings, now: Millis) -> Self {
        let _ = seed;
        Self { me, settings, now }
    }

    /// Takes one thing that happened at `now`. A `now` before the last one counts as the last one.
    pub fn handle(&mut self, now: Millis, input: Input) {
        let _ = (input, &self.me, &self.settings);
        self.now = self.now.max(now);
    }

    /// The next order, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        None
    }

    /// When [`Input::Wake`] is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        None
    }

    /// What it thinks of a peer, if it is somebody of the fleet.
    #[must_use]
    pub fn standing(&self, _peer: &EnvoyKey) -> Option<Standing> {
        None
    }

    /// What is owed of a project, oldest first.
    #[must_use]
    pub fn owed(&self, _project: &ProjectId) -> Vec<Debt> {
        Vec::new()
    }
}
