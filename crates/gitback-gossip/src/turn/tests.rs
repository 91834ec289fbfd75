use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use gitback_identity::{Handle, PuddleKey, SecretKey};

use super::*;

fn key(number: u8) -> EnvoyKey {
    EnvoyKey::new(SecretKey::from_seed(&[number; 32]).public())
}

fn project() -> ProjectId {
    let founder = PuddleKey::new(SecretKey::from_seed(&[99; 32]).public());
    let handle: Handle = "notes".parse().expect("a handle");
    ProjectId::derive(&founder, &handle)
}

/// Keys in order, so that the place of an envoy is its rank.
fn ranked(count: u8) -> Vec<EnvoyKey> {
    let mut keys: Vec<EnvoyKey> = (0..count).map(key).collect();
    keys.sort_unstable();
    keys
}

const LIMIT: Millis = Millis(1_000);

/// Every order in which envoys can push and messages can arrive.
mod orders {
    use super::*;

    /// Some envoys, each with the refs that its pushes move.
    #[derive(Clone, Hash)]
    struct World {
        envoys: Vec<Envoy>,
        wire: BTreeSet<Message>,
        /// How many questions may still be lost.
        losses: usize,
        /// Nothing is ever lost, so that turns are taken.
        lossless: bool,
        fault: Fault,
    }

    /// What may be wrong with the rules, to see that it would be noticed.
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Fault {
        None,
        /// An envoy that lets another go first does not ask it again.
        NoYield,
        /// An envoy that has its turn lets others go.
        NoWait,
        /// An answer counts for a later question.
        OldAnswers,
        /// What the other holds is read before it is asked.
        OldDigest,
    }

    #[derive(Clone, Hash)]
    struct Envoy {
        turn: Turn,
        refs: Vec<Vec<u8>>,
        pushes_left: usize,
        doing: Doing,
        /// Which pushes it holds: who made it, and which it was.
        holds: BTreeSet<(usize, usize)>,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Doing {
        Nothing,
        Asking(Ticket),
        Committing(Ticket),
    }

    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Message {
        asker: usize,
        asked: usize,
        ticket: Ticket,
        attempt: u32,
        /// Nothing while it is a question.
        answer: Option<(bool, BTreeSet<(usize, usize)>)>,
    }

    impl World {
        fn new(refs: &[&[&str]], pushes: usize, losses: usize) -> Self {
            let keys = ranked(u8::try_from(refs.len()).expect("few"));
            let envoys = keys.iter().zip(refs).map(|(key, refs)| Envoy {
                turn: Turn::new(*key, Millis(0)),
                refs: refs.iter().map(|name| name.as_bytes().to_vec()).collect(),
                pushes_left: pushes,
                doing: Doing::Nothing,
                holds: BTreeSet::new(),
            });
            Self {
                envoys: envoys.collect(),
                wire: BTreeSet::new(),
                losses,
                lossless: losses == 0,
                fault: Fault::None,
            }
        }

        fn is_over(&self) -> bool {
            let done = |one: &Envoy| one.pushes_left == 0 && one.doing == Doing::Nothing;
            self.envoys.iter().all(done) && self.wire.is_empty()
        }

        fn overlap(&self, one: usize, other: usize) -> bool {
            let (one, other) = (&self.envoys[one].refs, &self.envoys[other].refs);
            one.iter().any(|name| other.contains(name))
        }

        fn question(&self, message: &Message) -> Question {
            Question {
                partner: self.envoys[message.asked].turn.me,
                attempt: message.attempt,
            }
        }

        /// Every world that one more event leads to.
        fn next(&self) -> Vec<Self> {
            let mut worlds = Vec::new();
            for at in 0..self.envoys.len() {
                let mut world = self.clone();
                if world.advance(at) {
                    worlds.push(world);
                }
            }
            for message in &self.wire {
                let mut world = self.clone();
                world.wire.remove(message);
                world.deliver(message);
                worlds.push(world);
                if self.losses > 0 {
                    let mut world = self.clone();
                    world.wire.remove(message);
                    world.losses -= 1;
                    let question = self.question(message);
                    let asker = &mut world.envoys[message.asker].turn;
                    asker.answered(Millis(0), message.ticket, &question, Reply::Gone);
                    worlds.push(world);
                }
            }
            for world in &mut worlds {
                // A question that is put later is one that arrives later: there is no need to try both.
                for at in 0..world.envoys.len() {
                    world.ask(at);
                }
                world.normalise();
            }
            worlds
        }

        /// The next thing that an envoy does by itself. `false` if it has to wait.
        fn advance(&mut self, at: usize) -> bool {
            let keys: Vec<EnvoyKey> = self.envoys.iter().map(|one| one.turn.me).collect();
            let me = &mut self.envoys[at];
            match me.doing {
                Doing::Nothing if me.pushes_left == 0 => return false,
                Doing::Nothing => {
                    me.pushes_left -= 1;
                    let ticket = me
                        .turn
                        .begin(Millis(0), project(), me.refs.clone(), &keys, LIMIT);
                    me.doing = Doing::Asking(ticket.expect("room"));
                }
                Doing::Asking(ticket) => {
                    if me.turn.may_pass(Millis(0), ticket) != Pass::Go {
                        return false;
                    }
                    me.doing = Doing::Committing(ticket);
                    self.check_alone(at);
                }
                Doing::Committing(ticket) => {
                    me.holds.insert((at, me.pushes_left));
                    me.turn.end(ticket);
                    me.doing = Doing::Nothing;
                }
            }
            true
        }

        /// Puts the questions that are to be put.
        fn ask(&mut self, at: usize) {
            let Doing::Asking(ticket) = self.envoys[at].doing else {
                return;
            };
            let keys: Vec<EnvoyKey> = self.envoys.iter().map(|one| one.turn.me).collect();
            for question in self.envoys[at].turn.due_questions(ticket) {
                let asked = keys.iter().position(|key| *key == question.partner);
                self.wire.insert(Message {
                    asker: at,
                    asked: asked.expect("a partner"),
                    ticket,
                    attempt: question.attempt,
                    answer: None,
                });
            }
        }

        /// Nobody else moves the same ref now, and whatever was committed before is held here.
        fn check_alone(&self, at: usize) {
            let others = 0..self.envoys.len();
            let overlapping: Vec<usize> = others
                .filter(|other| *other != at && self.overlap(at, *other))
                .collect();
            let lossless = self.lossless;
            for other in overlapping.iter().map(|other| &self.envoys[*other]) {
                let committing = matches!(other.doing, Doing::Committing(_));
                assert!(!committing || !lossless, "two have their turn");
            }
            for other in &overlapping {
                let made = self.envoys[*other]
                    .holds
                    .iter()
                    .filter(|(by, _)| by == other);
                let seen = made
                    .clone()
                    .all(|push| self.envoys[at].holds.contains(push));
                assert!(seen || !lossless, "it has not seen an earlier push");
            }
        }

        fn deliver(&mut self, message: &Message) {
            let question = self.question(message);
            match &message.answer {
                None => {
                    let refs = self.envoys[message.asker].refs.clone();
                    let by = self.envoys[message.asker].turn.me;
                    let asked = &mut self.envoys[message.asked];
                    let before = asked.turn.clone();
                    let mut wait = asked.turn.asked(Millis(0), &project(), &refs, by);
                    let mut holds = asked.holds.clone();
                    match self.fault {
                        Fault::NoYield => asked.turn = before,
                        Fault::NoWait if matches!(asked.doing, Doing::Committing(_)) => {
                            wait = false
                        }
                        Fault::OldDigest => holds.clear(),
                        Fault::None | Fault::NoWait | Fault::OldAnswers => {}
                    }
                    let answer = Some((wait, holds));
                    self.wire.insert(Message {
                        answer,
                        ..message.clone()
                    });
                }
                Some((wait, holds)) => {
                    let asker = &mut self.envoys[message.asker];
                    asker.holds.extend(holds);
                    let reply = if *wait { Reply::Wait } else { Reply::Free };
                    asker
                        .turn
                        .answered(Millis(0), message.ticket, &question, reply);
                }
            }
        }

        /// Attempts count up without end. All that matters of one is whether it is the last.
        fn normalise(&mut self) {
            let mut wire = std::mem::take(&mut self.wire);
            self.wire
                .extend(std::mem::take(&mut wire).into_iter().map(|mut message| {
                    let partner = self.envoys[message.asked].turn.me;
                    let asker = &self.envoys[message.asker].turn;
                    let push = asker.tickets.get(&message.ticket);
                    let live = push
                        .and_then(|push| push.partners.get(&partner))
                        .is_some_and(|one| {
                            one.attempt == message.attempt && one.state == State::Asked
                        });
                    message.attempt = u32::from(live || self.fault == Fault::OldAnswers);
                    message
                }));
            for envoy in &mut self.envoys {
                for push in envoy.turn.tickets.values_mut() {
                    for partner in push.partners.values_mut() {
                        partner.attempt = 1;
                    }
                }
            }
        }
    }

    impl Turn {
        /// The questions of [`Turn::may_pass`], without passing.
        fn due_questions(&mut self, ticket: Ticket) -> Vec<Question> {
            let push = self.tickets.get_mut(&ticket);
            push.map(|push| push.questions(Millis(0)))
                .unwrap_or_default()
        }
    }

    /// Goes through every world; gives back how many there are.
    fn explore(first: World) -> usize {
        let name = |world: &World| BuildHasherDefault::<DefaultHasher>::new().hash_one(world);
        let mut known = BTreeMap::from([(name(&first), 0_usize)]);
        let mut before: Vec<Vec<usize>> = vec![Vec::new()];
        let mut over = Vec::new();
        let mut queue = VecDeque::from([(first, 0)]);
        while let Some((world, at)) = queue.pop_front() {
            let next = world.next();
            assert!(!next.is_empty() || world.is_over(), "nobody can go on");
            if world.is_over() {
                over.push(at);
            }
            for world in next {
                let number = known.len();
                let to = *known.entry(name(&world)).or_insert(number);
                if to == number {
                    before.push(Vec::new());
                    queue.push_back((world, number));
                }
                before[to].push(at);
            }
        }
        // Asking again goes round in circles; but from everywhere there must be a way to the end.
        let mut ends = vec![false; known.len()];
        while let Some(at) = over.pop() {
            if !std::mem::replace(&mut ends[at], true) {
                over.extend(&before[at]);
            }
        }
        assert!(
            ends.iter().all(|ends| *ends),
            "a world without a way to the end"
        );
        known.len()
    }

    #[test]
    fn two_envoys_take_turns_in_every_order() {
        let worlds = explore(World::new(&[&["main"], &["main"]], 2, 0));
        assert!(worlds > 1_000, "only {worlds} worlds");
    }

    #[test]
    fn two_envoys_end_in_every_order_when_messages_are_lost() {
        explore(World::new(&[&["main"], &["main"]], 1, 3));
    }

    fn explore_with(fault: Fault) {
        let mut world = World::new(&[&["main"], &["main"]], 2, 0);
        world.fault = fault;
        explore(world);
    }

    #[test]
    #[should_panic(expected = "two have their turn")]
    fn it_is_noticed_when_nobody_yields() {
        explore_with(Fault::NoYield);
    }

    #[test]
    #[should_panic(expected = "two have their turn")]
    fn it_is_noticed_when_nobody_waits() {
        explore_with(Fault::NoWait);
    }

    #[test]
    #[should_panic(expected = "two have their turn")]
    fn it_is_noticed_when_old_answers_count() {
        explore_with(Fault::OldAnswers);
    }

    #[test]
    #[should_panic(expected = "it has not seen an earlier push")]
    fn it_is_noticed_when_a_digest_is_old() {
        explore_with(Fault::OldDigest);
    }

    #[test]
    fn three_envoys_take_turns_in_every_order() {
        let worlds = explore(World::new(&[&["main"], &["main"], &["main"]], 1, 0));
        assert!(worlds > 1_000, "only {worlds} worlds");
    }

    #[test]
    fn three_envoys_that_overlap_in_a_ring_do_not_wait_for_one_another() {
        let refs: [&[&str]; 3] = [&["a", "b"], &["b", "c"], &["c", "a"]];
        explore(World::new(&refs, 1, 0));
    }
}

#[test]
fn an_envoy_that_is_alone_goes_at_once() {
    let keys = ranked(2);
    let mut turn = Turn::new(keys[0], Millis(10));
    let ticket = turn.begin(Millis(0), project(), [b"main".to_vec()], &keys[..1], LIMIT);
    assert_eq!(turn.may_pass(Millis(0), ticket.expect("room")), Pass::Go);
}

#[test]
fn who_is_told_to_wait_asks_again_after_a_pause_and_gives_up_at_its_limit() {
    let keys = ranked(2);
    let mut turn = Turn::new(keys[1], Millis(10));
    let ticket = turn
        .begin(Millis(0), project(), [b"main".to_vec()], &keys, LIMIT)
        .expect("room");
    let ask = |turn: &mut Turn, now, attempt| {
        let question = Question {
            partner: keys[0],
            attempt,
        };
        assert_eq!(turn.may_pass(now, ticket), Pass::Ask(vec![question]));
        question
    };
    let first = ask(&mut turn, Millis(0), 1);
    assert_eq!(turn.may_pass(Millis(5), ticket), Pass::Until(LIMIT));
    turn.answered(Millis(5), ticket, &first, Reply::Wait);
    assert_eq!(turn.may_pass(Millis(5), ticket), Pass::Until(Millis(15)));
    let second = ask(&mut turn, Millis(15), 2);
    turn.answered(Millis(16), ticket, &first, Reply::Free);
    assert_eq!(turn.may_pass(Millis(16), ticket), Pass::Until(LIMIT));
    turn.answered(Millis(16), ticket, &second, Reply::Wait);
    assert_eq!(turn.may_pass(LIMIT, ticket), Pass::Late);
    // From now on others wait for it, unless nobody ever ends it.
    let refs = [b"main".to_vec()];
    assert!(turn.asked(LIMIT, &project(), &refs, keys[0]));
    assert!(!turn.asked(LIMIT.plus(HELD_MAX), &project(), &refs, keys[0]));
    assert!(turn.is_empty());
}

#[test]
fn pushes_to_other_refs_or_projects_are_not_in_the_way() {
    let keys = ranked(2);
    let mut turn = Turn::new(keys[0], Millis(10));
    let _ = turn.begin(Millis(0), project(), [b"main".to_vec()], &keys, LIMIT);
    let asked = |turn: &mut Turn, project: &ProjectId, name: &[u8]| {
        turn.asked(Millis(0), project, &[name.to_vec()], keys[1])
    };
    assert!(asked(&mut turn, &project(), b"main"));
    assert!(!asked(&mut turn, &project(), b"other"));
    assert!(!asked(&mut turn, &ProjectId::from_bytes(&[0; 32]), b"main"));
}

#[test]
fn tickets_and_partners_are_bounded() {
    let keys = ranked(2);
    let mut turn = Turn::new(keys[0], Millis(10));
    let mut begin = |now| turn.begin(now, project(), [b"main".to_vec()], &keys, LIMIT);
    for _ in 0..TICKETS_MAX {
        assert!(begin(Millis(0)).is_some());
    }
    assert_eq!(begin(Millis(0)), None);
    assert!(begin(LIMIT.plus(HELD_MAX)).is_some());
}
