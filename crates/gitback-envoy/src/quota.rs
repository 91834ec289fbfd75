//! How much one member may bring into a project by pushes to this envoy.
//!
//! What a member has brought in is what its signed updates say of their packs, so that it is the same on every envoy,
//! and outlives a lost disk.

use gitback_identity::PuddleKey;
use gitback_pack::Limits;

use crate::cell::State;
use crate::daemon::Envoy;

/// The size of a pack without objects.
const EMPTY_PACK_BYTES: u64 = 32;

/// What a member has brought into a project, and how much it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    used: u64,
    most: u64,
}

impl Quota {
    /// Of `member` in the project of `state`; `None` where nothing is set.
    pub(crate) fn of(envoy: &Envoy, state: &State, member: &PuddleKey) -> Option<Self> {
        let most = envoy.config().member_max_bytes()?;
        Some(Self {
            used: brought(state, member),
            most,
        })
    }

    /// The limits of the next pack: it may not be larger than what is left.
    pub(crate) fn bound(&self, limits: Limits) -> Limits {
        Limits {
            input_bytes: limits.input_bytes.min(self.left()),
            ..limits
        }
    }

    /// Whether a pack of so many bytes is refused for the quota alone.
    pub(crate) fn refuses(&self, bytes: u64) -> bool {
        bytes > self.left()
    }

    /// Why a push does not come in, with the way out.
    pub(crate) fn refusal(&self, envoy: &str) -> String {
        let Self { used, most } = self;
        format!(
            "your pushes to this project come to {used} of {most} bytes that {envoy} takes of one member, and this one is larger than the rest; \
             who runs {envoy} can raise member_max_bytes"
        )
    }

    /// A pack without objects always comes in: moving a ref to what is here takes no room.
    fn left(&self) -> u64 {
        self.most.saturating_sub(self.used).max(EMPTY_PACK_BYTES)
    }
}

/// What the member's updates that count brought in, in bytes of packs.
fn brought(state: &State, member: &PuddleKey) -> u64 {
    let envelopes = state.fold().iter();
    let own = envelopes.filter(|envelope| {
        envelope.statement().puddle == *member && state.void(envelope.id()).is_none()
    });
    own.filter_map(|envelope| envelope.statement().update()?.pack)
        .fold(0, |sum, pack| sum.saturating_add(pack.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_bounds_the_next_pack() {
        let quota = |used| Quota { used, most: 1000 };
        assert!(!quota(400).refuses(600));
        assert!(quota(400).refuses(601));
        assert_eq!(quota(400).bound(Limits::default()).input_bytes, 600);
        // All is used up, or more than all: the limit was lowered, or others took it in.
        for used in [1000, 5000] {
            assert!(!quota(used).refuses(EMPTY_PACK_BYTES));
            assert!(quota(used).refuses(EMPTY_PACK_BYTES + 1));
        }
    }
}
