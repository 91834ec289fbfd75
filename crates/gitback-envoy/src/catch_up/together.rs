//! Bringing in the packs of a project from everybody who has them, before what is then lacking is fetched from one peer.
//!
//! Nobody is trusted with it: every block is checked against what its holder has signed, and the pack goes through the same
//! quarantine as any other.
//!
//! Source: docs/spec/pack.md §11; docs/decisions/0026.

mod board;
mod choice;
mod manifest;
mod transfer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gitback_envelope::Oid;
use gitback_gossip::Input;
use gitback_identity::ProjectId;
use gitback_pack::{Limits, Offer, Reject};
use gitback_peer::{CallError, Client, PeerAddress, RefusalKind};

use super::CatchUpError;
use super::budget::Budget;
use super::fetch::{Failed, Route};
use crate::cell::{PARTS_MAX, git, own};
use crate::daemon::chain;
use crate::fault::{Fault, pack_fault};
use crate::peers::Neighbour;
use choice::{Lacking, WORTH_BYTES, Wanted, choose};
use manifest::opened;
pub(crate) use manifest::signed_manifest;
pub(crate) use transfer::PACK_GONE;
use transfer::{Dropped, InOrder, Transfer};

/// Most envoys that are asked for parts of one project.
const HOLDERS_MAX: usize = 8;

/// How often manifests are asked for in one round: packs go where they are put together with others.
const ASKS_MAX: usize = 3;

/// How long the first answer about packs may take: whoever gives it reads them once.
const FIRST_WITHIN: Duration = Duration::from_secs(30);

/// How long others get after that.
const OTHERS_WITHIN: Duration = Duration::from_secs(5);

/// Most objects that updates name of which it is looked whether a pack brings them.
const NAMED_MAX: usize = 8192;

/// Most of these from which what is lacking is asked for.
const TIPS_MAX: usize = 512;

/// How long whoever is busy reading packs is left in peace before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What became of one pack.
enum Came {
    /// It is here, and these are in it with all that they lead to.
    Whole(Vec<Oid>),
    /// It is not complete by itself, or costs too much; why, for people.
    Unfit(String),
    /// Some or all of those who gave it have it no more.
    Gone,
    /// Nobody gives the rest of it now.
    Cut,
}

/// Brings in packs that several envoys have, if much is lacking. Yields those of `wants` that are here whole then, and
/// other objects of which that is true.
pub(super) fn bring_packs(
    route: Route<'_>,
    wants: &[Oid],
    budget: &mut Budget,
    progress: &mut dyn FnMut(String),
) -> Result<Vec<Oid>, CatchUpError> {
    let (expected, named) = {
        let state = route.cell.lock();
        (
            state.awaited_bytes(),
            named(wants, state.unjudged_objects(route.neighbour.key())),
        )
    };
    if !is_worth_it(route, expected)? {
        forget_blocks(route).map_err(CatchUpError::Ours)?;
        return Ok(Vec::new());
    }
    let mut round = Round {
        route,
        named,
        blamed: BTreeSet::new(),
        came: Vec::new(),
    };
    for _ in 0..ASKS_MAX {
        match round.go(expected, budget, progress)? {
            Next::AskAgain => {}
            Next::Fetch => break,
        }
    }
    round.finish()
}

fn is_worth_it(route: Route<'_>, expected: Option<u64>) -> Result<bool, CatchUpError> {
    if !route.cell.repo().takes_packs() {
        return Ok(false);
    }
    match expected {
        Some(bytes) => Ok(bytes >= WORTH_BYTES),
        // Nobody says how much there is: at a project that begins here it is worth a question.
        None => {
            let refs = route.cell.shown_refs().map_err(CatchUpError::Ours)?;
            Ok(refs.is_empty())
        }
    }
}

/// Objects with which updates say where refs are: the heads first, then the newest.
fn named(wants: &[Oid], unjudged: Vec<Oid>) -> Vec<Oid> {
    let mut seen = BTreeSet::new();
    let all = wants.iter().copied().chain(unjudged.into_iter().rev());
    all.filter(|oid| seen.insert(*oid))
        .take(NAMED_MAX)
        .collect()
}

/// What is to be done after the packs of one answer.
enum Next {
    /// Packs have gone meanwhile: ask who gives which now.
    AskAgain,
    /// The rest comes as usual.
    Fetch,
}

/// What was said of packs.
struct Told {
    offers: Vec<(Arc<Neighbour>, Vec<Offer>)>,
    /// Everybody who has a part in the project has said so.
    is_all: bool,
}

/// Bringing packs in, in one catch-up.
struct Round<'a> {
    route: Route<'a>,
    named: Vec<Oid>,
    /// The keys of those whose lies were told.
    blamed: BTreeSet<[u8; 32]>,
    came: Vec<Oid>,
}

impl Round<'_> {
    fn go(
        &mut self,
        expected: Option<u64>,
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<Next, CatchUpError> {
        let repo = self.route.cell.repo();
        let told = self.ask();
        let is_all = told.is_all;
        let (holders, offers): (Vec<_>, Vec<_>) = told.offers.into_iter().unzip();
        let is_of_use = |offer: &Offer| !repo.has_pack(&offer.name) && !repo.is_unfit(&offer.tree);
        let of_use = |own: Vec<Offer>| own.into_iter().filter(is_of_use).collect();
        let offers: Vec<Vec<Offer>> = offers.into_iter().map(of_use).collect();
        let refs = self.route.cell.shown_refs().map_err(CatchUpError::Ours)?;
        let given = offers.iter().flatten();
        let (begun, of_use): (Vec<&Offer>, Vec<&Offer>) =
            given.partition(|offer| repo.is_gathered(offer));
        if is_all {
            // Of the others nobody gives any more.
            repo.forget_gathered(&begun)
                .map_err(|fault| self.route.ours(fault))?;
        }
        if begun.is_empty() && of_use.is_empty() {
            return Ok(Next::Fetch);
        }
        let begun: Vec<_> = begun.iter().map(|offer| offer.name).collect();
        let lacking = Lacking {
            expected,
            all: refs.is_empty(),
            begun: &begun,
            most: budget.most().min(self.limits().input_bytes),
        };
        let mut wanted = choose(&offers, lacking);
        let mut again = false;
        // Packs come in the order in which their holder got them. One that builds on a later one waits for that.
        for _ in 0..2 {
            let mut unfit = Vec::new();
            let before = self.came.len();
            for one in wanted {
                if one.offer.tree.bytes() > budget.left() {
                    if !self.came.is_empty() {
                        // It comes in the next round.
                        budget.spend(budget.left());
                    }
                    return Ok(Next::Fetch);
                }
                self.route.envoy.room().map_err(CatchUpError::Room)?;
                match self.bring(&one, &holders, budget, progress)? {
                    Came::Whole(tips) => self.came.extend(tips),
                    Came::Gone => again = true,
                    Came::Cut => return Ok(Next::Fetch),
                    Came::Unfit(why) => unfit.push((one, why)),
                }
            }
            let is_last = self.came.len() == before;
            if is_last {
                for (one, why) in &unfit {
                    tracing::warn!(project = %self.route.cell.id(), pack = %one.offer.name, why, "a pack from several envoys is not taken");
                    repo.note_unfit(&one.offer.tree);
                }
            }
            wanted = unfit.into_iter().map(|(one, _)| one).collect();
            if is_last || wanted.is_empty() {
                break;
            }
        }
        Ok(if again { Next::AskAgain } else { Next::Fetch })
    }

    /// Who gives which packs: the peer from which the project is brought in, and the others that may be asked.
    fn ask(&mut self) -> Told {
        let Route {
            envoy,
            cell,
            neighbour,
        } = self.route;
        let mut asked = envoy.partners(cell);
        let all = asked.len();
        asked.retain(|one| {
            let is_there = one.seen().away.is_none() && envoy.heal().penalty(one.key()).is_none();
            one.key() == neighbour.key()
                || (is_there && !self.blamed.contains(one.key().as_bytes()))
        });
        asked.sort_by_key(|one| one.key() != neighbour.key());
        asked.truncate(HOLDERS_MAX);
        let (answers, inbox) = channel();
        for one in &asked {
            let (client, to, id) = (envoy.client().clone(), one.address(), *cell.id());
            let (one, answers) = (Arc::clone(one), answers.clone());
            envoy.handle().spawn(async move {
                let answer = packs_of(&client, &to, &id).await;
                // Nobody listens any more when it comes too late.
                let _ = answers.send((one, answer));
            });
        }
        drop(answers);
        let mut told: Vec<(Arc<Neighbour>, Vec<Offer>)> = Vec::new();
        let mut until = Instant::now() + FIRST_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (one, answer) = match inbox.recv_timeout(left) {
                Ok(answered) => answered,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            };
            if one.key() == neighbour.key() {
                until = until.min(Instant::now() + OTHERS_WITHIN);
            }
            if let Some(offers) = self.offers_of(&one, answer) {
                told.push((one, offers));
            }
        }
        told.sort_by_key(|(one, _)| (one.key() != neighbour.key(), *one.key().as_bytes()));
        let is_all = told.len() == all;
        Told {
            offers: told,
            is_all,
        }
    }

    fn offers_of(
        &mut self,
        one: &Neighbour,
        answer: Result<Vec<u8>, CallError>,
    ) -> Option<Vec<Offer>> {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(peer = one.name(), project = %self.route.cell.id(), reason = error.reason(), "does not say which packs it gives");
                return None;
            }
        };
        one.note_answer();
        match opened(&bytes, self.route.cell.id(), one.key()) {
            Ok(offers) => Some(offers),
            Err(what) => {
                self.blame(one, &what);
                None
            }
        }
    }

    /// Leaves whoever has lied alone for a while. The peer from which the project is brought in hears of it at the end.
    fn blame(&mut self, one: &Neighbour, what: &str) {
        if !self.blamed.insert(*one.key().as_bytes()) {
            return;
        }
        tracing::warn!(peer = one.name(), project = %self.route.cell.id(), "it sent {what}");
        if one.key() != self.route.neighbour.key() {
            self.route.envoy.heal().tell(Input::Lied {
                peer: *one.key(),
                reason: format!("{} sent {what}", one.name()),
            });
        }
    }

    fn limits(&self) -> Limits {
        self.route.envoy.pack_limits()
    }

    /// Brings one pack in.
    fn bring(
        &mut self,
        wanted: &Wanted,
        all: &[Arc<Neighbour>],
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<Came, CatchUpError> {
        let (route, offer) = (self.route, &wanted.offer);
        let (repo, bytes) = (route.cell.repo(), offer.tree.bytes());
        let holders: Vec<Arc<Neighbour>> = wanted
            .holders
            .iter()
            .filter_map(|place| all.get(*place))
            .filter(|one| !self.blamed.contains(one.key().as_bytes()))
            .cloned()
            .collect();
        let names = holders.iter().map(|one| one.name().to_owned()).collect();
        let (gathered, here) = repo.gather(offer).map_err(|fault| route.ours(fault))?;
        let resumed = here.iter().filter(|is_here| **is_here).count();
        let transfer = Transfer::new(gathered, &here, names);
        let limits = Limits {
            input_bytes: bytes,
            ..self.limits()
        };
        let mut quarantine = repo.quarantine();
        let ingested = transfer.run(route, &offer.name, &holders, || {
            let mut in_order = InOrder::new(&transfer, progress);
            quarantine.ingest_gathered(transfer.gathered(), |at| in_order.wait(at), &limits)
        });
        if let Some(why) = transfer.take_full() {
            forget_blocks(route).map_err(CatchUpError::Ours)?;
            return Err(CatchUpError::Room(why));
        }
        let (moved, from) = transfer.moved();
        budget.spend(moved);
        let dropped = transfer.dropped();
        for (one, why) in holders.iter().zip(&dropped) {
            if let Some(Dropped::Lied(what)) = why {
                self.blame(one, &format!("{what}, of pack {}", offer.name));
            }
        }
        if let Some(fault) = transfer.take_fault() {
            // What is wrong may be that the disk is full.
            forget_blocks(route).map_err(CatchUpError::Ours)?;
            return Err(route.ours(fault));
        }
        let is_whole = transfer.is_whole();
        let tips = match ingested {
            Ok(ingested) if ingested.checksum != offer.name => {
                for one in &holders {
                    self.blame(
                        one,
                        &format!(
                            "a list in which pack {} has another name",
                            ingested.checksum
                        ),
                    );
                }
                repo.note_unfit(&offer.tree);
                return Ok(Came::Unfit("it has another name".to_owned()));
            }
            Ok(_) => self.tips(&quarantine),
            Err(reject) => Err(reject),
        };
        let tips = match tips {
            Ok(tips) => tips,
            Err(Reject::Broken(_)) if !is_whole => {
                if transfer.has_stalled() {
                    tracing::warn!(project = %route.cell.id(), pack = %offer.name, "next to nothing of a pack comes: it is fetched instead");
                    repo.note_unfit(&offer.tree);
                }
                let gone = dropped.contains(&Some(Dropped::Gone));
                return Ok(if gone { Came::Gone } else { Came::Cut });
            }
            Err(reject @ (Reject::Fault(_) | Reject::Room { .. })) => {
                let Failed::Other(error) = route.refused(reject) else {
                    return Ok(Came::Cut);
                };
                forget_blocks(route).map_err(CatchUpError::Ours)?;
                return Err(error);
            }
            Err(reject) => return Ok(Came::Unfit(chain(&reject))),
        };
        if tips.is_empty() {
            // Whatever is in it, nobody can tell what it is for.
            return Ok(Came::Unfit("nothing that is lacking is in it".to_owned()));
        }
        if let Err(fault) = quarantine.migrate() {
            // The kernel may call clean what the disk has not confirmed.
            forget_blocks(route).map_err(CatchUpError::Ours)?;
            return Err(route.ours(fault));
        }
        route.cell.note_came_back().map_err(CatchUpError::Ours)?;
        route.envoy.maintenance().note_pack(route.cell.id());
        budget.bring();
        let parts = route.cell.parts().map_err(CatchUpError::Ours)?.len();
        let room = (PARTS_MAX / 2).saturating_sub(parts).min(TIPS_MAX);
        let ends: Vec<Oid> = tips.iter().take(room).copied().collect();
        route
            .cell
            .keep_part(&ends, &[])
            .map_err(CatchUpError::Ours)?;
        if let Some(gathered) = transfer.into_gathered() {
            gathered.discard().map_err(|fault| route.ours(fault))?;
        }
        tracing::info!(project = %route.cell.id(), pack = %offer.name, bytes, moved, resumed, from, "brought a pack in from several envoys");
        progress(format!("received a pack: {from}"));
        Ok(Came::Whole(tips))
    }

    /// What of the objects that updates name a pack brings, with all that they lead to.
    fn tips(&self, quarantine: &gitback_pack::Quarantine) -> Result<Vec<Oid>, Reject> {
        let named: Vec<_> = self.named.iter().map(|oid| git(*oid)).collect();
        let mut brought = quarantine.brought(&named)?;
        let here = self.route.cell.repo();
        let mut lacking = Vec::new();
        for oid in brought.drain(..) {
            if !here.has(&oid)? {
                lacking.push(oid);
            }
        }
        let brought = lacking;
        quarantine.check_connected(&brought)?;
        Ok(brought.iter().map(own).collect())
    }

    /// What came; an error, if the peer from which the rest would come has lied.
    fn finish(self) -> Result<Vec<Oid>, CatchUpError> {
        let neighbour = self.route.neighbour;
        if self.blamed.contains(neighbour.key().as_bytes()) {
            return Err(CatchUpError::Sent {
                peer: neighbour.name().to_owned(),
                what: "blocks of a pack, or a list of its packs, that are not what they should be"
                    .to_owned(),
            });
        }
        Ok(self.came)
    }
}

/// What a peer says of its packs; it may be reading them for somebody else just now.
async fn packs_of(
    client: &Client,
    to: &PeerAddress,
    project: &ProjectId,
) -> Result<Vec<u8>, CallError> {
    let until = Instant::now() + FIRST_WITHIN;
    loop {
        let answer = client.packs(to, project).await;
        let is_busy = matches!(&answer, Err(CallError::Refused(refusal)) if refusal.status == RefusalKind::Busy);
        if !is_busy || Instant::now() >= until {
            return answer;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Removes what is left of packs that came in blocks: all that was wanted is here.
pub(super) fn forget_blocks(route: Route<'_>) -> Result<(), Fault> {
    let forgotten = route.cell.repo().forget_gathered(&[]);
    forgotten.map_err(pack_fault(*route.cell.id(), "tidy up"))
}
