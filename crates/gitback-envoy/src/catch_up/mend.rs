//! Bringing in objects that were here and are lost.
//!
//! Refs say nothing about them: all that is known is their names. What comes goes through a quarantine like any pack.

use std::cell::Cell as Slot;
use std::collections::BTreeSet;
use std::sync::Arc;

use gitback_pack::fetch::{FetchError, request, request_exactly};
use gitback_pack::{Limits, Oid, Reject};

use super::CatchUpError;
use super::budget::Budget;
use super::fetch::{Failed, Route};
use super::objects::is_of_one_object;
use crate::cell::Cell;
use crate::daemon::Envoy;
use crate::peers::Neighbour;

/// Most objects that one request asks for.
const BATCH_MAX: usize = 1000;
/// Most requests to one peer.
const REQUESTS_MAX: usize = 4096;
/// Such a part of what may come in all may come of one request for several objects. When it is more, half as many are
/// asked for.
const BATCH_PART: u64 = 16;
/// Most rounds: what a lost tree leads to is only seen when that is here again.
const ROUNDS_MAX: usize = 16;

/// What has come of asking one peer.
pub(crate) struct Mended {
    /// What is lacking now; as before where that cannot be told.
    pub(crate) lacking: BTreeSet<Oid>,
    /// What the peer has said it does not have.
    pub(crate) denied: BTreeSet<Oid>,
    /// Why not all of it came.
    pub(crate) failed: Option<CatchUpError>,
}

/// Brings in what of `lacking` one peer has, and what is found to be lacking then; less when `stop` says so. The caller
/// holds the project's catch-up right.
pub(crate) fn mend(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    lacking: BTreeSet<Oid>,
    stop: &dyn Fn() -> bool,
    tell: &dyn Fn(String),
) -> Mended {
    let route = Route {
        envoy,
        cell,
        neighbour,
    };
    let mut asking = Asking {
        route,
        budget: Budget::new(envoy.pack_limits().input_bytes),
        requests: 0,
        denied: BTreeSet::new(),
        failed: None,
        stop,
        tell,
    };
    let mut mended = lacking.clone();
    let (mut asked, mut wants, mut ask) = (lacking.clone(), lacking, Ask::Exactly);
    for _ in 0..ROUNDS_MAX {
        let goes_on = asking.bring_all(wants.iter().copied().collect(), ask);
        match cell.repo().lacking(stop) {
            Ok(Some(left)) => mended = left,
            Ok(None) => break,
            Err(fault) => {
                asking.failed = Some(route.ours(fault));
                break;
            }
        }
        // Only what nobody knew before is asked for with what it leads to: of all others that is mostly here.
        wants = mended.difference(&asked).copied().collect();
        if !goes_on || wants.is_empty() {
            break;
        }
        asked.extend(&wants);
        ask = Ask::WithAll;
    }
    Mended {
        failed: asking.failed.filter(|_| !mended.is_empty()),
        lacking: mended,
        denied: asking.denied,
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Objects alone.
    Exactly,
    /// Objects with all that they lead to.
    WithAll,
}

/// One peer that is asked, and what that has come to so far.
struct Asking<'a> {
    route: Route<'a>,
    budget: Budget,
    requests: usize,
    denied: BTreeSet<Oid>,
    failed: Option<CatchUpError>,
    stop: &'a dyn Fn() -> bool,
    tell: &'a dyn Fn(String),
}

impl Asking<'_> {
    /// Brings in those of `wants` that can be had; whether the peer may be asked for more.
    fn bring_all(&mut self, wants: Vec<Oid>, ask: Ask) -> bool {
        let mut left = wants;
        loop {
            let before = left.len();
            match self.bring_in_batches(&left, ask) {
                Ok(rest) => left = rest,
                Err(error) => {
                    self.failed = Some(error);
                    return false;
                }
            }
            // Some can be taken only after what they name.
            if left.is_empty() || left.len() == before {
                return !(self.stop)() && !self.is_used_up();
            }
        }
    }

    /// Those that did not come, and of which the peer did not say that it has none.
    fn bring_in_batches(&mut self, wants: &[Oid], ask: Ask) -> Result<Vec<Oid>, CatchUpError> {
        let mut rest = Vec::new();
        // The last is asked for first, so that halves come before the next whole batch.
        let mut batches: Vec<Vec<Oid>> = wants.chunks(BATCH_MAX).map(<[Oid]>::to_vec).collect();
        while let Some(mut batch) = batches.pop() {
            if (self.stop)() || self.is_used_up() {
                rest.extend(batch);
                break;
            }
            let unknown = Slot::new(None);
            match self.bring(&batch, ask, &unknown) {
                Ok(()) => {
                    // git leaves out what a tree names that is wanted as well.
                    let before = batch.len();
                    let batch = self.absent(batch)?;
                    if batch.len() < before && !batch.is_empty() {
                        batches.push(batch);
                    } else {
                        rest.extend(batch);
                    }
                    continue;
                }
                Err(error) if is_of_one_object(&error) => self.failed = Some(error),
                Err(error) => return Err(error),
            }
            let before = batch.len();
            if let Some(oid) = unknown.get() {
                batch.retain(|want| *want != oid);
                if batch.len() < before {
                    self.denied.insert(oid);
                }
            }
            if batch.len() == 1 && before == 1 {
                rest.extend(batch);
                continue;
            }
            let (one, other) = batch.split_at(batch.len() / 2);
            let halves = [one.to_vec(), other.to_vec()].into_iter();
            batches.extend(halves.filter(|half| !half.is_empty()));
        }
        rest.extend(batches.into_iter().flatten());
        Ok(rest)
    }

    fn absent(&self, wants: Vec<Oid>) -> Result<Vec<Oid>, CatchUpError> {
        let mut absent = Vec::new();
        for want in wants {
            let here = self.route.cell.repo().has(&want);
            if !here.map_err(|fault| self.route.ours(fault))? {
                absent.push(want);
            }
        }
        Ok(absent)
    }

    fn is_used_up(&self) -> bool {
        self.requests >= REQUESTS_MAX || self.budget.left() == 0
    }

    /// Sends a request and stores what is answered; it is durable on return. `unknown` hears what the peer does not have.
    fn bring(
        &mut self,
        wants: &[Oid],
        ask: Ask,
        unknown: &Slot<Option<Oid>>,
    ) -> Result<(), CatchUpError> {
        let route = self.route;
        route.envoy.room().map_err(CatchUpError::Room)?;
        self.requests += 1;
        let part = match wants.len() > 1 && ask == Ask::Exactly {
            true => (self.budget.most() / BATCH_PART).max(1),
            false => self.budget.most(),
        };
        let limits = Limits {
            input_bytes: part.min(self.budget.left()),
            ..route.envoy.pack_limits()
        };
        let request = match ask {
            Ask::Exactly => request_exactly(wants),
            Ask::WithAll => request(wants, &[]),
        };
        let mut progress = |text| (self.tell)(text);
        let received = route.receive(
            request,
            &mut self.budget,
            &mut progress,
            |quarantine, pack| {
                let ingested = match ask {
                    Ask::Exactly => quarantine.ingest_lost(pack, wants, &limits),
                    Ask::WithAll => quarantine.ingest(pack, &limits),
                };
                if let Err(Reject::Broken(error)) = &ingested {
                    unknown.set(FetchError::unknown(error));
                }
                match ask == Ask::Exactly || ingested.is_err() || quarantine.brings_any(wants)? {
                    true => ingested,
                    false => Err(Reject::Unasked),
                }
            },
        );
        let (quarantine, _) = received.map_err(CatchUpError::from)?;
        let moved = quarantine.migrate();
        moved.map_err(|fault| CatchUpError::from(Failed::Other(route.ours(fault))))?;
        Ok(())
    }
}
