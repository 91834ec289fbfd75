//! Talking with other envoys about the fleet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gitback_fleet::{FleetReject, Petition, Roster, Welcome};
use gitback_peer::{CallError, PeerAddress, RefusalKind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Fleet, FleetFault, MergeFault};
use crate::daemon::{Envoy, chain};
use crate::peers::Neighbour;

/// With how many envoys rosters are exchanged at the same time.
const AT_ONCE: usize = 8;

/// How long one exchange may take when everybody is told of news.
const TELL_MAX: Duration = Duration::from_secs(15);

/// Why a roster was not exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeFault {
    /// There is no fleet here.
    #[error("this envoy is in no fleet")]
    NoFleet,
    /// The other envoy did not answer, or refused.
    #[error(transparent)]
    Call(CallError),
    /// What it answered is none, or of another fleet, or too large.
    #[error("its roster is of no use here")]
    Useless(#[source] FleetReject),
    /// What it answered could not be stored here.
    #[error(transparent)]
    Store(FleetFault),
}

/// Refusals of a roster that the same roster would get again.
const FINAL_CODES: [&str; 2] = ["other-fleet", "no-fleet"];

impl ExchangeFault {
    /// Whether the same two rosters would be of no use to each other another time. What goes wrong on a disk, or for lack
    /// of time, never is: it would keep a removal from an envoy for ever.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Call(CallError::Refused(refusal)) => {
                // A bad request is one whose bytes are refused, and they would be the same.
                refusal.status == RefusalKind::Bad || FINAL_CODES.contains(&refusal.code.as_str())
            }
            Self::Useless(_) => true,
            Self::NoFleet | Self::Call(_) | Self::Store(_) => false,
        }
    }
}

/// Gives a peer the roster that is here and takes in the peer's. Whether there was news in it.
pub(crate) fn exchange(envoy: &Envoy, neighbour: &Neighbour) -> Result<bool, ExchangeFault> {
    let ours = envoy.fleet().roster().ok_or(ExchangeFault::NoFleet)?;
    let (to, bytes) = (neighbour.address(), ours.encode());
    let call = envoy.client().roster(&to, bytes);
    let theirs = envoy.handle().block_on(call).map_err(ExchangeFault::Call)?;
    take_in(envoy, &ours, &theirs)
}

fn take_in(envoy: &Envoy, ours: &Roster, theirs: &[u8]) -> Result<bool, ExchangeFault> {
    if theirs == ours.encode() {
        return Ok(false);
    }
    let theirs = Roster::decode(theirs).map_err(ExchangeFault::Useless)?;
    envoy
        .fleet()
        .merge(envoy, &theirs)
        .map_err(|fault| match fault {
            MergeFault::Reject(reject) => ExchangeFault::Useless(reject),
            MergeFault::Store(fault) => ExchangeFault::Store(fault),
        })
}

/// Tells every envoy of the fleet at once that something has changed in it, in the background. Whom this does not reach
/// sees it at the next comparison. While that is under way, whatever else changes is told all of them after it.
pub(crate) fn spread(envoy: &Arc<Envoy>) {
    if !envoy.fleet().spreading().begin() {
        return;
    }
    let envoy = Arc::clone(envoy);
    let handle = envoy.handle().clone();
    handle.spawn(async move {
        loop {
            tell_all(&envoy).await;
            if !envoy.fleet().spreading().again() {
                return;
            }
        }
    });
}

async fn tell_all(envoy: &Arc<Envoy>) {
    let Some(ours) = envoy.fleet().roster() else {
        return;
    };
    let bytes = Arc::new(ours.encode());
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut told = JoinSet::new();
    for neighbour in envoy.neighbours().iter() {
        if ours.enrolment(neighbour.key()).is_none() {
            continue;
        }
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let (envoy, to) = (Arc::clone(envoy), neighbour.address());
        let (ours, bytes) = (Arc::clone(&ours), Arc::clone(&bytes));
        told.spawn(async move {
            let _turn = turn;
            tell(envoy, &to, ours, &bytes).await;
        });
    }
    while told.join_next().await.is_some() {}
}

async fn tell(envoy: Arc<Envoy>, to: &PeerAddress, ours: Arc<Roster>, bytes: &[u8]) {
    let call = envoy.client().roster(to, bytes.to_vec());
    let Ok(Ok(theirs)) = tokio::time::timeout(TELL_MAX, call).await else {
        return;
    };
    let merge = tokio::task::spawn_blocking(move || take_in(&envoy, &ours, &theirs));
    if let Ok(Err(error)) = merge.await {
        tracing::debug!(error = %chain(&error), "a roster was not taken in");
    }
}

/// Whether all are being told of news. There is one at most who does that, however much news there is.
#[derive(Debug, Default)]
pub(crate) struct Spreading(Mutex<Stage>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    UnderWay,
    /// Something has changed since that began.
    Outdated,
}

impl Spreading {
    /// Whether the caller is the one to tell all; if not, whoever is will do it again.
    fn begin(&self) -> bool {
        let mut stage = self.stage();
        let is_idle = *stage == Stage::Idle;
        *stage = if is_idle {
            Stage::UnderWay
        } else {
            Stage::Outdated
        };
        is_idle
    }

    /// Whether to do it again; if not, it has ended.
    fn again(&self) -> bool {
        let mut stage = self.stage();
        let is_outdated = *stage == Stage::Outdated;
        *stage = if is_outdated {
            Stage::UnderWay
        } else {
            Stage::Idle
        };
        is_outdated
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the envoy at one address to enrol another one.
pub(crate) fn petition(
    envoy: &Envoy,
    to: &PeerAddress,
    petition: &Petition,
) -> Result<Welcome, CallError> {
    let call = envoy.client().enrol(to, petition.encode());
    let answer = envoy.handle().block_on(call)?;
    Welcome::decode(&answer).map_err(|_| CallError::Protocol {
        source: gitback_peer::Reject::Malformed {
            what: "the enrolment",
        },
    })
}

impl Fleet {
    /// Whether a roster of this digest is worth asking for.
    pub(crate) fn differs(&self, theirs: Option<[u8; 32]>) -> bool {
        let ours = self.digest();
        ours.is_some() && theirs.is_some() && ours != theirs
    }
}

#[cfg(test)]
mod tests {
    use gitback_peer::Refusal;

    use super::*;

    #[test]
    fn one_tells_all_and_does_it_again_for_what_came_meanwhile() {
        let spreading = Spreading::default();
        assert!(spreading.begin());
        assert!(!spreading.begin());
        assert!(!spreading.begin());
        assert!(spreading.again(), "once for both");
        assert!(!spreading.again());
        assert!(spreading.begin());
    }

    #[test]
    fn only_what_would_come_out_the_same_is_final() {
        let refused = |status, code| {
            let refusal = Refusal::new(status, code, "why");
            ExchangeFault::Call(CallError::Refused(refusal)).is_final()
        };
        assert!(refused(RefusalKind::Forbidden, "other-fleet"));
        assert!(refused(RefusalKind::Forbidden, "no-fleet"));
        assert!(refused(RefusalKind::Bad, "too-many"));
        assert!(ExchangeFault::Useless(FleetReject::OtherFleet).is_final());
        assert!(!refused(RefusalKind::Internal, "fault"));
        assert!(!refused(RefusalKind::Internal, "internal"));
        assert!(!refused(RefusalKind::Busy, "busy"));
        assert!(!refused(RefusalKind::Busy, "too-fast"));
        assert!(!refused(RefusalKind::Forbidden, "not-of-the-fleet"));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = FleetFault::Io {
            doing: "write",
            path: "fleet".into(),
            source: full,
        };
        assert!(!ExchangeFault::Store(full).is_final());
    }
}
