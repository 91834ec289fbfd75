//! Taking in a forwarded push. What `gitback-envoy` does in `service::intake`, and the handing on after it.

use std::collections::BTreeSet;

use gitback_envelope::{Access, Act, Change, EnvelopeId, Incarnation, Oid, Verified};
use gitback_identity::{EnvoyKey, PuddleKey};

use super::super::disk::{Foothold, Shelf};
use super::super::history::Bits;
use super::super::planted::Bug;
use super::super::wire::{Answer, Letter, Refused, Request};
use super::super::world::World;
use super::Purpose;
use super::cell::{Cell, new_oids};
use super::work::{Then, Work};

impl World {
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of one message"
    )]
    pub(in crate::sim) fn take_push(
        &mut self,
        envoy: usize,
        project: usize,
        from: usize,
        call: u64,
        letters: &[Letter],
        pack: Option<Bits>,
        forward: Vec<EnvoyKey>,
        origin: Option<EnvoyKey>,
    ) {
        let answer = self.weigh(envoy, project, letters, pack.as_ref());
        let (fresh, sent) = match answer {
            Ok(accepted) => accepted,
            Err(answer) => return self.answer(envoy, from, call, answer),
        };
        self.reincarnate_if_shown(envoy, project, &fresh);
        let bug = self.bug;
        let (cell, shelf, history) = self.cell_shelf(envoy, project);
        let before = cell.fold.clone();
        let admitted = cell.admit(fresh);
        let is_new = before.founder().is_none();
        let void = sent.last().and_then(|last| cell.void(last));
        let counting: Vec<EnvelopeId> = admitted
            .folded
            .iter()
            .filter(|id| cell.void(id).is_none())
            .copied()
            .collect();
        let tips: Vec<Oid> = counting
            .iter()
            .filter_map(|id| cell.fold.get(id))
            .flat_map(new_oids)
            .collect();
        let mut held = shelf.objects.clone();
        if let Some(pack) = &pack {
            held.add(pack);
        }
        let whole = |oid: &Oid| {
            let number = history.find(oid);
            number.is_some_and(|number| history.whole(&held, number))
        };
        let stop = if admitted.refused.is_some() {
            Some(Stop::Refuse(Refused::Bad("it does not fold")))
        } else if is_new && void.is_some() {
            Some(Stop::Refuse(Refused::Forbidden))
        } else if admitted.waiting || (!tips.iter().all(whole) && bug != Some(Bug::NoQuarantine)) {
            Some(Stop::Need)
        } else {
            None
        };
        if let Some(stop) = stop {
            cell.retreat(before);
            let answer = match stop {
                Stop::Refuse(why) => Answer::Refused(why),
                Stop::Need => need(cell, shelf),
            };
            return self.answer(envoy, from, call, answer);
        }
        let moves = !tips.is_empty() || counting.iter().any(|id| is_update(cell, id));
        let mends = admitted.folded.is_empty() && !cell.has_all(shelf);
        let keep = moves || mends;
        let objects = pack.clone().filter(|_| keep).unwrap_or_default();
        let log = admitted.folded.iter();
        let log: Vec<Verified> = log.filter_map(|id| cell.fold.get(id).cloned()).collect();
        if shelf.foothold == Foothold::New && cell.fold.founder().is_some() {
            shelf.foothold = Foothold::Known;
        }
        let objects = objects.without(&shelf.objects);
        let answer = match void {
            Some(_) => Answer::Refused(Refused::Forbidden),
            None => Answer::Durable,
        };
        let then = Then::Intake {
            from,
            call,
            sent,
            forward,
            origin,
            pack,
            answer,
        };
        self.write(envoy, project, Work::new(objects, log, before, then));
    }

    /// Everything that is checked before a batch is folded: what is new in it and all that was sent, or the answer.
    fn weigh(
        &mut self,
        envoy: usize,
        project: usize,
        letters: &[Letter],
        pack: Option<&Bits>,
    ) -> Result<(Vec<Verified>, Vec<EnvelopeId>), Answer> {
        let bad = |what| Answer::Refused(Refused::Bad(what));
        if self.replicas[envoy].disk.full {
            return Err(Answer::Refused(Refused::Disk));
        }
        let mut fresh = self.open_letters(project, letters).map_err(bad)?;
        let sent: Vec<EnvelopeId> = fresh.iter().map(|one| *one.id()).collect();
        if sent.is_empty() {
            return Err(bad("a push brings at least one envelope"));
        }
        let (cell, shelf, history) = self.cell_shelf(envoy, project);
        fresh.retain(|one| !shelf.logged.contains(one.id()));
        let here = |id: &EnvelopeId| {
            shelf.logged.contains(id) || fresh.iter().any(|envelope| envelope.id() == id)
        };
        let past_here = fresh.iter().all(|envelope| {
            let statement = envelope.statement();
            statement.prev.iter().chain(&statement.deps).all(here)
        });
        if !past_here {
            return Err(need(cell, shelf));
        }
        if is_stranger(cell, &fresh) {
            return Err(Answer::Refused(Refused::Forbidden));
        }
        let mut held = shelf.objects.clone();
        if let Some(pack) = pack {
            held.add(pack);
        }
        let loose = |number: u32| !history.parents(number).iter().all(|one| held.has(*one));
        let bases_missing = pack.is_some_and(|pack| pack.iter().any(loose));
        let whole = |oid: &Oid| {
            let number = history.find(oid);
            number.is_some_and(|number| history.whole(&held, number))
        };
        let connected = !bases_missing && fresh.iter().flat_map(new_oids).all(|oid| whole(&oid));
        let doubtful = fresh.iter().any(|envelope| is_doubtful(cell, envelope));
        if (bases_missing || (!connected && !doubtful)) && self.bug != Some(Bug::NoQuarantine) {
            let (cell, shelf, _) = self.cell_shelf(envoy, project);
            return Err(need(cell, shelf));
        }
        let (cell, _, history) = self.cell_shelf(envoy, project);
        if connected && cell.first_lie(&held, history, &fresh).is_some() {
            return Err(bad("it says to contain what it does not"));
        }
        Ok((fresh, sent))
    }

    /// Begins a new life of the log if a peer shows what this envoy has said and does not have.
    pub(in crate::sim) fn reincarnate_if_shown(
        &mut self,
        envoy: usize,
        project: usize,
        batch: &[Verified],
    ) {
        let own = self.keys.envoy(envoy);
        let fresh = Incarnation::from_bytes(&self.rng.bytes());
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        if cell.shows_own_future(shelf, &own, batch) {
            cell.incarnation = fresh;
            shelf.note = Some((fresh, shelf.file));
        }
    }

    /// Whether all these are durable on an envoy, and with them what those that count need.
    pub(in crate::sim) fn holds(&self, envoy: usize, project: usize, sent: &[EnvelopeId]) -> bool {
        let replica = &self.replicas[envoy];
        let (cell, shelf) = (&replica.cells[project], &replica.disk.shelves[project]);
        let whole = |oid: &Oid| {
            let number = self.history.find(oid);
            number.is_some_and(|number| self.history.whole(&shelf.objects, number))
        };
        sent.iter().all(|id| {
            let counts = cell.void(id).is_none();
            let envelope = cell.fold.get(id).filter(|_| counts);
            shelf.logged.contains(id) && envelope.is_none_or(|one| new_oids(one).iter().all(whole))
        })
    }

    /// What an envoy says that lacks something of what it was sent.
    pub(in crate::sim) fn need(&self, envoy: usize, project: usize) -> Answer {
        let replica = &self.replicas[envoy];
        need(&replica.cells[project], &replica.disk.shelves[project])
    }

    /// A forwarded push is durable here: others get it from here, and its origin hears of it.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of one message"
    )]
    pub(in crate::sim) fn taken_in(
        &mut self,
        envoy: usize,
        project: usize,
        from: usize,
        sent: &[EnvelopeId],
        forward: &[EnvoyKey],
        origin: Option<EnvoyKey>,
        pack: Option<&Bits>,
        answer: &Answer,
    ) {
        if !matches!(answer, Answer::Durable) {
            return;
        }
        let id = self.project_id(project);
        let home = origin.and_then(|origin| self.keys.find(&origin));
        if let Some(home) = home.filter(|home| *home != from && *home != envoy) {
            let ids = sent.to_vec();
            self.call(
                envoy,
                home,
                Request::Held { project: id, ids },
                Purpose::Held,
            );
        }
        if !forward.is_empty() {
            self.hand_on(envoy, project, sent, pack, forward, origin);
        }
    }
}

/// Why a batch is not taken in as it is.
enum Stop {
    Refuse(Refused),
    Need,
}

fn need(cell: &Cell, shelf: &Shelf) -> Answer {
    Answer::Need {
        tips: cell.fold.tips(),
        haves: shelf.refs.values().copied().collect(),
    }
}

fn is_update(cell: &Cell, id: &EnvelopeId) -> bool {
    let envelope = cell.fold.get(id);
    envelope.is_some_and(|envelope| envelope.statement().update().is_some())
}

/// Whether an update may turn out to have no effect, by what is known before it folds.
fn is_doubtful(cell: &Cell, envelope: &Verified) -> bool {
    let (fold, statement) = (&cell.fold, envelope.statement());
    let Some(update) = statement.update() else {
        return false;
    };
    let may_write = fold.access(&statement.puddle) >= Some(Access::Member);
    let signer = EnvoyKey::new(statement.signer);
    let granted = statement.by_puddle() || fold.granted_envoy(&signer).is_some();
    let protected = fold.policy().protected;
    let takes_away = |change: &Change| {
        (change.new.is_zero() || !change.forced.is_empty()) && protected.contains(&change.name)
    };
    fold.ended() || !may_write || !granted || update.changes.iter().any(takes_away)
}

/// Whether some envelope is by nobody with a say, and is named by no other.
fn is_stranger(cell: &Cell, fresh: &[Verified]) -> bool {
    let fold = &cell.fold;
    let mut line: BTreeSet<PuddleKey> = fold.line().iter().map(|hop| hop.key).collect();
    let mut invited = BTreeSet::new();
    let mut granted = BTreeSet::new();
    let mut named: BTreeSet<EnvelopeId> = fold.missing().into_iter().collect();
    let mut strangers = Vec::new();
    for envelope in fresh {
        let statement = envelope.statement();
        let puddle = statement.puddle;
        match &statement.act {
            Act::Unknown { .. } => continue,
            Act::Init { .. } => drop(line.insert(puddle)),
            Act::Invite(invite) if line.contains(&puddle) => drop(invited.insert(invite.puddle)),
            _ => {}
        }
        let known = line.contains(&puddle) || invited.contains(&puddle) || fold.party(&puddle);
        if known && let Act::Grant(grant) = &statement.act {
            granted.insert((grant.envoy, puddle));
        }
        let signer = EnvoyKey::new(statement.signer);
        let may_sign = statement.by_puddle()
            || granted.contains(&(signer, puddle))
            || cell.ever_granted_by(&signer, &puddle);
        if known && may_sign {
            named.extend(names(envelope));
        } else {
            strangers.push(envelope);
        }
    }
    let mut alone = false;
    for stranger in strangers.into_iter().rev() {
        if named.contains(stranger.id()) {
            named.extend(names(stranger));
        } else {
            alone = true;
        }
    }
    alone
}

fn names(envelope: &Verified) -> impl Iterator<Item = EnvelopeId> {
    let statement = envelope.statement();
    let cut = statement.act.cut().unwrap_or_default().iter();
    let past = statement.prev.iter().chain(&statement.deps);
    past.chain(cut).copied()
}
