//! The world: one queue of events, one source of chance, and everything that lives in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use gitback_gossip::{Failure, Input};
use gitback_identity::ProjectId;

use super::book::Book;
use super::disk::{Disk, Shelf};
use super::faults::Fault;
use super::history::History;
use super::invariants::Violation;
use super::keys::Keys;
use super::malice;
use super::network::Network;
use super::people::HandAct;
use super::plan::Plan;
use super::planted::Bug;
use super::prelude::{Prelude, Shape};
use super::replica::cell::Cell;
use super::replica::{Push, Replica, Timer};
use super::rng::Rng;
use super::watch::Watched;
use super::wire::{Answer, Request};

/// Something that happens at a moment.
#[derive(Debug)]
pub(super) enum Event {
    Request {
        from: usize,
        to: usize,
        call: u64,
        request: Request,
    },
    Answer {
        from: usize,
        to: usize,
        call: u64,
        answer: Result<Answer, ()>,
    },
    Timeout {
        envoy: usize,
        boot: u32,
        call: u64,
    },
    Wake {
        envoy: usize,
        boot: u32,
    },
    Written {
        envoy: usize,
        boot: u32,
        project: usize,
    },
    Push {
        push: usize,
        timer: Timer,
    },
    /// Somebody sits down and pushes.
    Visit {
        person: usize,
    },
    /// Somebody says something by hand.
    HandAct {
        number: usize,
    },
    Fault(Fault),
    Start {
        envoy: usize,
    },
    /// The faults are over.
    Calm,
    /// A look at whether the fleet has converged.
    Look,
}

struct Planned {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What is counted for reports.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) events: u64,
    pub(super) gossip_messages: u64,
    pub(super) gossip_bytes: u64,
}

/// How a world ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Follows from everything that happened, in order.
    pub(super) trace: u64,
    pub(super) events: u64,
    /// Microseconds from the end of the faults until all held the same.
    pub(super) converged_us: u64,
    pub(super) acknowledged: u64,
    pub(super) pushes: u64,
    pub(super) violation: Option<Violation>,
}

/// A simulated fleet, its network, its people and its faults.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) bug: Option<Bug>,
    pub(super) keys: Arc<Keys>,
    pub(super) preludes: Vec<Arc<Prelude>>,
    pub(super) now: u64,
    numbers: u64,
    queue: BinaryHeap<Reverse<Planned>>,
    pub(super) rng: Rng,
    pub(super) network: Network,
    pub(super) history: History,
    pub(super) replicas: Vec<Replica>,
    /// Where each envoy listens now, and where it was configured.
    pub(super) places: Vec<String>,
    pub(super) first_places: Vec<String>,
    /// Which peers an envoy is configured with; nothing: all.
    pub(super) peers: BTreeMap<usize, Vec<usize>>,
    pub(super) pushes: Vec<Push>,
    pub(super) acts: Vec<HandAct>,
    pub(super) book: Book,
    pub(super) figures: Figures,
    pub(super) calm_since: Option<u64>,
    pub(super) converged: Option<u64>,
    pub(super) violation: Option<Violation>,
    pub(super) over: bool,
    pub(super) watched: Option<Watched>,
    trace: u64,
    /// Print what happens.
    pub(super) talks: bool,
}

impl World {
    pub(super) fn new(plan: Plan, bug: Option<Bug>, talks: bool) -> Self {
        let keys = Keys::pool();
        let mut rng = Rng::new(plan.seed);
        let preludes = (0..plan.projects).map(|number| {
            let shape = Shape {
                granted: plan.granted,
                people: plan.people,
                swarm_wide: plan.swarm_wide,
                number,
            };
            Prelude::of(&keys, shape)
        });
        let preludes: Vec<Arc<Prelude>> = preludes.collect();
        let network = Network::new(plan.envoys, &mut rng);
        Self::with(plan, bug, talks, keys, preludes, network, rng)
    }

    pub(super) fn with(
        plan: Plan,
        bug: Option<Bug>,
        talks: bool,
        keys: Arc<Keys>,
        preludes: Vec<Arc<Prelude>>,
        network: Network,
        mut rng: Rng,
    ) -> Self {
        let places: Vec<String> = (0..plan.envoys)
            .map(|envoy| format!("10.0.{}.{}:7711", envoy / 250, envoy % 250 + 1))
            .collect();
        let mut world = Self {
            bug,
            keys,
            now: 0,
            numbers: 0,
            queue: BinaryHeap::new(),
            network,
            history: History::default(),
            replicas: Vec::with_capacity(plan.envoys),
            first_places: places.clone(),
            places,
            peers: BTreeMap::new(),
            pushes: Vec::new(),
            acts: plan.acts.clone(),
            book: Book::default(),
            figures: Figures::default(),
            calm_since: None,
            converged: None,
            violation: None,
            over: false,
            watched: None,
            trace: 0xcbf2_9ce4_8422_2325,
            talks,
            preludes,
            rng: Rng::new(rng.next()),
            plan,
        };
        for prelude in &world.preludes {
            for envelope in &prelude.envelopes {
                world.book.know(envelope);
            }
        }
        for envoy in 0..world.plan.envoys {
            let replica = world.new_replica(envoy, &mut rng);
            world.replicas.push(replica);
        }
        world
    }

    fn new_replica(&self, envoy: usize, rng: &mut Rng) -> Replica {
        let latecomer = self.plan.latecomers.contains(&envoy);
        let shelves = self.preludes.iter().map(|prelude| {
            let log = if latecomer || !self.plan.begins_with(envoy) {
                Vec::new()
            } else {
                prelude.envelopes.clone()
            };
            Shelf::new(log, 0)
        });
        let far = i64::try_from(rng.below(20)).unwrap_or(0) - 10;
        Replica {
            up: false,
            boot: 0,
            booted: 0,
            disk: Disk {
                shelves: shelves.collect(),
                full: false,
                slowness: 1,
            },
            cells: Vec::new(),
            node: None,
            turn: None,
            wake_at: None,
            calls: BTreeMap::new(),
            known_tips: BTreeMap::new(),
            known_places: BTreeMap::new(),
            introduced: BTreeSet::new(),
            told: BTreeMap::new(),
            skew_ms: far * 365 * 24 * 3600 * 1000,
            drift: i64::try_from(rng.below(21)).unwrap_or(0) - 10,
            record: 0,
            compared: BTreeMap::new(),
            refuses: true,
            seed: rng.next(),
        }
    }

    /// Plays the world to its end.
    pub(super) fn play(mut self) -> Outcome {
        self.begin();
        while !self.over && self.violation.is_none() && self.step() {}
        if self.violation.is_none() {
            self.check_end();
        }
        self.outcome()
    }

    /// Plans everything that the plan says.
    pub(super) fn begin(&mut self) {
        self.say(|| format!("{:?}", self.plan));
        for envoy in 0..self.plan.envoys {
            if !self.plan.latecomers.contains(&envoy) {
                let at = self.rng.below(self.plan.start_us.max(1));
                self.at(at, Event::Start { envoy });
            }
        }
        for (at, fault) in self.plan.faults.clone() {
            self.at(at, Event::Fault(fault));
        }
        for (at, person) in self.plan.visits.clone() {
            self.at(at, Event::Visit { person });
        }
        for number in 0..self.acts.len() {
            self.at(self.acts[number].at, Event::HandAct { number });
        }
        self.network.loss = self.plan.loss;
        self.network.doubles = self.plan.doubles;
        self.at(self.plan.safety_us, Event::Calm);
    }

    fn outcome(self) -> Outcome {
        let acknowledged = self.pushes.iter().filter(|push| push.acknowledged).count();
        let since = self.calm_since.unwrap_or(self.now);
        Outcome {
            trace: self.trace,
            events: self.figures.events,
            converged_us: self.converged.unwrap_or(self.now).saturating_sub(since),
            acknowledged: acknowledged as u64,
            pushes: self.pushes.len() as u64,
            violation: self.violation,
        }
    }

    /// Lets the next thing happen; whether there was one.
    pub(super) fn step(&mut self) -> bool {
        let Some(Reverse(planned)) = self.queue.pop() else {
            return false;
        };
        self.now = planned.at;
        self.figures.events += 1;
        self.happen(planned.event);
        true
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(planned)| planned.at)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request {
                from,
                to,
                call,
                request,
            } => self.arrive(from, to, call, request),
            Event::Answer {
                from,
                to,
                call,
                answer,
            } => {
                if self.replicas[to].up {
                    self.note(&[2, from as u64, to as u64]);
                    let away = || Failure::Away("connection refused".to_owned());
                    self.called(to, call, answer.map_err(|()| away()));
                }
            }
            Event::Timeout { envoy, boot, call } => {
                let replica = &self.replicas[envoy];
                if replica.up && replica.boot == boot && replica.calls.contains_key(&call) {
                    self.note(&[3, envoy as u64]);
                    let away = Failure::Away("no answer in time".to_owned());
                    self.called(envoy, call, Err(away));
                }
            }
            Event::Wake { envoy, boot } => {
                let replica = &mut self.replicas[envoy];
                if replica.up && replica.boot == boot && replica.wake_at == Some(self.now) {
                    replica.wake_at = None;
                    self.note(&[4, envoy as u64]);
                    self.feed(envoy, Input::Wake);
                }
            }
            Event::Written {
                envoy,
                boot,
                project,
            } => {
                let replica = &self.replicas[envoy];
                if replica.up && replica.boot == boot {
                    self.note(&[5, envoy as u64]);
                    self.stage_done(envoy, project);
                }
            }
            Event::Push { push, timer } => self.push_timer(push, timer),
            Event::Visit { person } => self.visit(person),
            Event::HandAct { number } => self.act(number),
            Event::Fault(fault) => self.strike(fault),
            Event::Start { envoy } => self.start(envoy),
            Event::Calm => self.calm(),
            Event::Look => self.look(),
        }
    }

    fn arrive(&mut self, from: usize, to: usize, call: u64, request: Request) {
        self.note(&[1, from as u64, to as u64, request.kind()]);
        if self.replicas[to].up {
            self.watch_gossip(to, &request);
            self.see_caller(to, from);
            if self.bug == Some(Bug::EndlessQueue) && matches!(request, Request::Push { .. }) {
                for _ in 0..700 {
                    self.serve(to, from, call, request.clone());
                }
            }
            if malice::hears(self, to, &request) {
                self.serve(to, from, call, request);
            }
        } else if self.replicas[to].refuses {
            self.transmit(to, from, 60, |from, to| Event::Answer {
                from,
                to,
                call,
                answer: Err(()),
            });
        }
    }

    /// Sends a request on its way.
    pub(super) fn send_request(&mut self, from: usize, to: usize, call: u64, request: Request) {
        let request = malice::twist_request(self, from, request);
        let bytes = request.bytes(|pack| self.history.bytes(pack));
        self.transmit(from, to, bytes, |from, to| Event::Request {
            from,
            to,
            call,
            request: request.clone(),
        });
    }

    /// Sends an answer on its way.
    pub(super) fn answer(&mut self, from: usize, to: usize, call: u64, answer: Answer) {
        let Some(answer) = malice::twist_answer(self, from, answer) else {
            return;
        };
        self.note(&[6, from as u64, to as u64, answer.kind()]);
        let bytes = answer.bytes(|pack| self.history.bytes(pack));
        self.transmit(from, to, bytes, |from, to| Event::Answer {
            from,
            to,
            call,
            answer: Ok(answer.clone()),
        });
    }

    fn transmit(
        &mut self,
        from: usize,
        to: usize,
        bytes: u64,
        event: impl Fn(usize, usize) -> Event,
    ) {
        let fate = self.network.send(from, to, bytes, &mut self.rng);
        for after in [fate.after, fate.again].into_iter().flatten() {
            self.after(after, event(from, to));
        }
    }

    /// Plans something for so many microseconds from now.
    pub(super) fn after(&mut self, us: u64, event: Event) {
        self.at(self.now.saturating_add(us), event);
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        let number = self.number();
        self.queue.push(Reverse(Planned { at, number, event }));
    }

    /// A number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Mixes what happened into the trace.
    pub(super) fn note(&mut self, what: &[u64]) {
        let mut trace = self.trace ^ self.now;
        for word in what {
            trace = (trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            trace ^= trace >> 29;
        }
        self.trace = trace;
    }

    /// Prints a line if asked to.
    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        if self.talks {
            let at = self.now;
            let line = format!("{:>5}.{:06} {}", at / 1_000_000, at % 1_000_000, line());
            // If nobody reads it, nobody misses it.
            let _ = crate::show::line(&line);
        }
    }

    /// Which of the world's projects it is.
    pub(super) fn find_project(&self, id: &ProjectId) -> Option<usize> {
        self.preludes.iter().position(|prelude| prelude.id == *id)
    }

    pub(super) fn project_id(&self, project: usize) -> ProjectId {
        self.preludes[project].id
    }

    pub(super) fn cell_mut(&mut self, envoy: usize, project: usize) -> &mut Cell {
        &mut self.replicas[envoy].cells[project]
    }

    pub(super) fn shelf(&mut self, envoy: usize, project: usize) -> (&mut Shelf, &History) {
        (
            &mut self.replicas[envoy].disk.shelves[project],
            &self.history,
        )
    }

    /// A project in memory and on disk, and the graph.
    pub(super) fn cell_shelf(
        &mut self,
        envoy: usize,
        project: usize,
    ) -> (&mut Cell, &mut Shelf, &History) {
        let replica = &mut self.replicas[envoy];
        (
            &mut replica.cells[project],
            &mut replica.disk.shelves[project],
            &self.history,
        )
    }

    /// The other envoys that an envoy is configured with.
    pub(super) fn known_peers(&self, envoy: usize) -> Vec<usize> {
        match self.peers.get(&envoy) {
            Some(peers) => peers.clone(),
            None => (0..self.plan.envoys).filter(|one| *one != envoy).collect(),
        }
    }

    /// Envoys that keep to the rules.
    pub(super) fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.plan.envoys).filter(|envoy| !self.is_malicious(*envoy))
    }

    pub(super) fn is_malicious(&self, envoy: usize) -> bool {
        self.plan.malicious.is_some_and(|(who, _)| who == envoy)
    }

    /// Notes that an invariant does not hold.
    pub(super) fn fail(&mut self, checker: &'static str, what: String) {
        if self.violation.is_none() {
            self.say(|| format!("{checker}: {what}"));
            self.violation = Some(Violation { checker, what });
        }
    }
}
