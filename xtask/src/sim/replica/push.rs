//! A push by a person on an envoy: freshness, the commit point, fan-out, and the acknowledgement. What `gitback-envoy`
//! does in `push`.

use std::collections::BTreeSet;

use gitback_envelope::{Access, Act, EnvelopeId, Oid, RefName, Update, Verified};
use gitback_gossip::{Failure, Millis, Pass, Presence, Question, Reply, Ticket};

use gitback_identity::EnvoyKey;

use super::super::history::Bits;
use super::super::planted::Bug;
use super::super::prelude::{Author, UID};
use super::super::wire::{Answer, Request};
use super::super::world::{Event, World};
use super::Purpose;
use super::catch::Newer;
use super::work::{Job, Then, Work};

/// How long a push checks with others before it goes on without them, in milliseconds.
const CHECK_MS: u64 = 5_000;

/// How long until a peer that said "wait" is asked again, in milliseconds.
pub(in crate::sim) const PAUSE_MS: u64 = 50;

/// How long an acknowledgement waits for other envoys, in microseconds.
const ACK_US: u64 = 10_000_000;

/// One ref that a push moves.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Want {
    pub(in crate::sim) name: RefName,
    /// Where the pusher saw it.
    pub(in crate::sim) old: Option<Oid>,
    /// Where it is to go; nothing: away.
    pub(in crate::sim) new: Option<u32>,
}

/// One push, from the first byte to its acknowledgement, and afterwards what was promised.
#[derive(Debug)]
pub(in crate::sim) struct Push {
    pub(in crate::sim) person: usize,
    pub(in crate::sim) envoy: usize,
    boot: u32,
    pub(in crate::sim) project: usize,
    pub(in crate::sim) wants: Vec<Want>,
    pub(in crate::sim) pack: Bits,
    stage: Stage,
    ticket: Option<Ticket>,
    pub(in crate::sim) stored: Vec<EnvelopeId>,
    /// Who should have it and has not said so.
    open: BTreeSet<usize>,
    pub(in crate::sim) durable: BTreeSet<usize>,
    /// Who had it on a disk that was put back to an older state since.
    pub(in crate::sim) lost_on: BTreeSet<usize>,
    pub(in crate::sim) acknowledged: bool,
    pub(in crate::sim) refused: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Checking,
    Committing,
    Spreading,
    Over,
}

/// What a push waits for by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Timer {
    Check,
    Acknowledge,
}

impl World {
    /// Begins a push.
    pub(in crate::sim) fn push(
        &mut self,
        person: usize,
        envoy: usize,
        project: usize,
        wants: Vec<Want>,
        pack: Bits,
    ) {
        let push = self.pushes.len();
        let boot = self.replicas[envoy].boot;
        self.say(|| format!("person {person} pushes {push} on {envoy}: {wants:?}"));
        self.pushes.push(Push {
            person,
            envoy,
            boot,
            project,
            wants,
            pack,
            stage: Stage::Checking,
            ticket: None,
            stored: Vec::new(),
            open: BTreeSet::new(),
            durable: BTreeSet::new(),
            lost_on: BTreeSet::new(),
            acknowledged: false,
            refused: None,
        });
        if self.replicas[envoy].disk.full
            && self.pushes[push]
                .wants
                .iter()
                .any(|want| want.new.is_some())
        {
            return self.refuse_push(push, "the disk is full");
        }
        let names = self.names_of(push);
        let (id, now) = (self.project_id(project), self.local(envoy));
        let live = self.live_partners(envoy, project);
        let turn = self.replicas[envoy].turn.as_mut().expect("it is up");
        self.pushes[push].ticket = turn.begin(now, id, names, &live, Millis(CHECK_MS));
        self.check(push);
    }

    fn names_of(&self, push: usize) -> Vec<Vec<u8>> {
        let wants = self.pushes[push].wants.iter();
        wants.map(|want| want.name.as_bytes().to_vec()).collect()
    }

    /// Partners that answer, as far as the node knows.
    fn live_partners(&self, envoy: usize, project: usize) -> Vec<EnvoyKey> {
        let partners = self.partners(envoy, project).into_iter();
        let keys = partners.map(|peer| self.keys.envoy(peer));
        let live = keys.filter(|key| {
            let node = self.replicas[envoy].node.as_ref();
            let standing = node.and_then(|node| node.standing(key));
            standing.is_some_and(|standing| !matches!(standing.presence, Presence::Away { .. }))
        });
        live.collect()
    }

    fn ask_fresh(&mut self, push: usize, question: Question) {
        let (envoy, project) = (self.pushes[push].envoy, self.pushes[push].project);
        let refs = self.names_of(push);
        let request = Request::Fresh {
            project: self.project_id(project),
            refs,
        };
        let peer = self.keys.find(&question.partner).expect("a partner");
        self.call(envoy, peer, request, Purpose::Fresh { push, question });
    }

    pub(in crate::sim) fn fresh_answered(
        &mut self,
        push: usize,
        question: Question,
        outcome: &Result<Answer, Failure>,
    ) {
        if !self.is_checking(push) {
            return;
        }
        let (envoy, project) = (self.pushes[push].envoy, self.pushes[push].project);
        let Ok(Answer::Fresh { digest, wait }) = *outcome else {
            return self.turn_answered(push, &question, Reply::Gone);
        };
        if wait && self.bug != Some(Bug::NoTurns) {
            return self.turn_answered(push, &question, Reply::Wait);
        }
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        let shown = cell.shown_digest(shelf);
        let id = self.project_id(project);
        let node = self.replicas[envoy].node.as_ref();
        let had = node.is_some_and(|node| node.had(&id, &digest));
        if shown == digest || had || self.bug == Some(Bug::StalePush) {
            return self.turn_answered(push, &question, Reply::Free);
        }
        // What the partner holds must be held here before it counts as free.
        let from = self.keys.find(&question.partner).expect("a partner");
        let newer = Newer {
            push,
            question,
            from,
            digest,
        };
        self.bring_in(envoy, project, newer);
    }

    fn turn_answered(&mut self, push: usize, question: &Question, reply: Reply) {
        let (envoy, ticket) = (self.pushes[push].envoy, self.pushes[push].ticket);
        let now = self.local(envoy);
        if let (Some(turn), Some(ticket)) = (self.replicas[envoy].turn.as_mut(), ticket) {
            turn.answered(now, ticket, question, reply);
        }
        self.check(push);
    }

    /// A catch-up that the push waited for has ended.
    pub(in crate::sim) fn push_caught_up(&mut self, push: usize, question: &Question) {
        if !self.is_checking(push) {
            return;
        }
        self.turn_answered(push, question, Reply::Free);
    }

    /// Whether it still asks whether it is fresh.
    pub(in crate::sim) fn is_checking(&self, push: usize) -> bool {
        !self.is_over(push) && self.pushes[push].stage == Stage::Checking
    }

    fn is_over(&self, push: usize) -> bool {
        let push = &self.pushes[push];
        let replica = &self.replicas[push.envoy];
        push.stage == Stage::Over || !replica.up || replica.boot != push.boot
    }

    /// Goes on if it is its turn.
    fn check(&mut self, push: usize) {
        if !self.is_checking(push) {
            return;
        }
        let (envoy, ticket) = (self.pushes[push].envoy, self.pushes[push].ticket);
        let now = self.local(envoy);
        let turn = self.replicas[envoy].turn.as_mut().expect("it is up");
        match ticket.map_or(Pass::Late, |ticket| turn.may_pass(now, ticket)) {
            Pass::Go | Pass::Late => self.go_on(push),
            Pass::Ask(questions) => {
                for question in questions {
                    self.ask_fresh(push, question);
                }
                self.check(push);
            }
            Pass::Until(until) => {
                let at = self.world_time(envoy, until);
                let timer = Timer::Check;
                self.at(at, Event::Push { push, timer });
            }
        }
    }

    fn go_on(&mut self, push: usize) {
        self.pushes[push].stage = Stage::Committing;
        let (envoy, project) = (self.pushes[push].envoy, self.pushes[push].project);
        self.lock(envoy, project, Job::Commit { push });
    }

    pub(in crate::sim) fn push_timer(&mut self, push: usize, timer: Timer) {
        if self.is_over(push) {
            return;
        }
        let stage = self.pushes[push].stage;
        match (timer, stage) {
            (Timer::Check, Stage::Checking) => self.check(push),
            (Timer::Acknowledge, Stage::Spreading) => self.acknowledge(push),
            (Timer::Check | Timer::Acknowledge, _) => {}
        }
    }

    /// The commit point: objects, then the signed update, then refs, each durable before the next.
    pub(in crate::sim) fn commit(&mut self, envoy: usize, project: usize, push: usize) {
        if self.is_over(push) {
            return;
        }
        let person = self.pushes[push].person;
        let (key, puddle) = (self.keys.envoy(envoy), self.keys.person(person));
        let time_ms = Some(self.wall_ms(envoy));
        let keys = std::sync::Arc::clone(&self.keys);
        let wants = self.pushes[push].wants.clone();
        let pack = self.pushes[push].pack.clone();
        let (cell, shelf, history) = self.cell_shelf(envoy, project);
        let grants = cell.fold.grants_for(&key, UID);
        let granted = grants.iter().any(|one| one.statement().puddle == puddle);
        if !granted || cell.fold.access(&puddle) < Some(Access::Member) {
            return self.refuse_push(push, "no grant");
        }
        let current = |want: &Want| shelf.refs.get(want.name.as_bytes()).copied() == want.old;
        if !wants.iter().all(current) {
            return self.refuse_push(push, "fetch first");
        }
        let mut held = shelf.objects.clone();
        held.add(&pack);
        let mut news = wants.iter().filter_map(|want| want.new);
        if !news.all(|new| history.whole(&held, new)) {
            return self.refuse_push(push, "objects are missing");
        }
        let mut changes: Vec<_> = wants
            .iter()
            .map(|want| cell.change(&held, shelf, history, want.name.clone(), want.new))
            .collect();
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        let fresh = held.without(&shelf.objects);
        let author = Author {
            secret: keys.envoy_secret(envoy),
            puddle,
            envoy: key,
            incarnation: cell.incarnation,
            time_ms,
        };
        let update = Act::Update(Update {
            changes,
            head: None,
            pack: None,
        });
        let draft = author.draft(&cell.fold, update);
        let envelope = super::super::prelude::seal(draft, keys.envoy_secret(envoy));
        let before = cell.fold.clone();
        let id = *envelope.id();
        let admitted = cell.admit(vec![envelope.clone()]);
        let void = cell.void(&id).is_some();
        if void || admitted.refused.is_some() || admitted.waiting {
            cell.retreat(before);
            return self.refuse_push(push, "it would not count");
        }
        let log: Vec<Verified> = vec![envelope];
        let then = Then::Commit {
            push,
            stored: vec![id],
        };
        self.write(envoy, project, Work::new(fresh, log, before, then));
    }

    /// It is stored, and what is stored is never reported as failed.
    pub(in crate::sim) fn committed(
        &mut self,
        envoy: usize,
        project: usize,
        push: usize,
        stored: &[EnvelopeId],
    ) {
        self.end_turn(push);
        let to = self.partners(envoy, project);
        let one = &mut self.pushes[push];
        one.stage = Stage::Spreading;
        one.stored = stored.to_vec();
        one.open = to.iter().copied().collect();
        let pack = (!one.pack.is_empty()).then(|| one.pack.clone());
        self.tell_holding(envoy, project, true);
        if self.bug == Some(Bug::ForgetsToSend) {
            self.pushes[push].durable = self.pushes[push].open.clone();
            return self.acknowledge(push);
        }
        self.fan_out(envoy, project, push, stored, pack.as_ref(), &to);
        let timer = Timer::Acknowledge;
        self.after(ACK_US, Event::Push { push, timer });
        if self.pushes[push].open.is_empty() {
            self.acknowledge(push);
        }
    }

    fn end_turn(&mut self, push: usize) {
        let (envoy, ticket) = (self.pushes[push].envoy, self.pushes[push].ticket.take());
        if let (Some(turn), Some(ticket)) = (self.replicas[envoy].turn.as_mut(), ticket) {
            turn.end(ticket);
        }
    }

    pub(in crate::sim) fn push_durable_on(&mut self, push: usize, peer: usize) {
        let one = &mut self.pushes[push];
        if one.stage != Stage::Spreading {
            return;
        }
        one.open.remove(&peer);
        one.durable.insert(peer);
        if one.open.is_empty() {
            self.acknowledge(push);
        }
    }

    pub(in crate::sim) fn push_failed_at(&mut self, push: usize, peer: usize) {
        let one = &mut self.pushes[push];
        if one.stage != Stage::Spreading {
            return;
        }
        one.open.remove(&peer);
        if one.open.is_empty() {
            self.acknowledge(push);
        }
    }

    /// A receipt: a peer that got it from another one has it durably.
    pub(in crate::sim) fn hear_held(
        &mut self,
        envoy: usize,
        from: usize,
        project: usize,
        ids: &[EnvelopeId],
    ) {
        let waiting = self.pushes.iter().position(|push| {
            push.envoy == envoy
                && push.project == project
                && push.stage == Stage::Spreading
                && push.stored.iter().all(|id| ids.contains(id))
        });
        if let Some(push) = waiting {
            self.push_durable_on(push, from);
        }
    }

    fn acknowledge(&mut self, push: usize) {
        let one = &mut self.pushes[push];
        one.stage = Stage::Over;
        one.acknowledged = true;
        let (envoy, project) = (one.envoy, one.project);
        // Who has not said that it has it gets it later.
        let open: Vec<usize> = std::mem::take(&mut one.open).into_iter().collect();
        let durable = one.durable.len();
        self.say(|| format!("push {push} is acknowledged: durable on {durable} others"));
        self.note(&[41, push as u64, durable as u64]);
        let id = self.project_id(project);
        for peer in open {
            let input = gitback_gossip::Input::Owes {
                to: self.keys.envoy(peer),
                project: id,
                reason: "it has not answered".to_owned(),
            };
            self.feed(envoy, input);
        }
        self.check_acknowledged(push);
        self.told_person(push);
    }

    pub(in crate::sim) fn refuse_push(&mut self, push: usize, why: &'static str) {
        self.end_turn(push);
        self.pushes[push].stage = Stage::Over;
        self.pushes[push].refused = Some(why);
        self.say(|| format!("push {push} is refused: {why}"));
        self.note(&[42, push as u64]);
        self.told_person(push);
    }
}
