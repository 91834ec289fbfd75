//! A world of honest people, and then somebody who holds every key that was retired or thrown out.
//!
//! The line, the memberships, the refs and whoever takes the project's place stay as they were, whatever is said with
//! those keys, from any past, on any chain; and no word of it counts.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: the voices are the ones made here"
)]

use std::collections::BTreeMap;

use gitback_envelope::{
    Act, Change, Delegate, EnvelopeId, Grant, Incarnation, Inserted, Invite, Membership, Oid,
    Policy, Project, RefName, Revoke, Role, Scope, Tombstone, Ungrant, Update, Verdict, Verified,
};
use gitback_identity::{PuddleKey, Signature};
use sha2::{Digest as _, Sha256};

use super::stage::{Die, Seen, Stage, Voice, envoy, puddle};
use super::world::{name, oid, project_id};

/// The founder, and the heirs after it. The last one only thieves speak of.
const LINE: [u8; 7] = [1, 31, 32, 33, 34, 35, 36];
const MEMBERS: [u8; 3] = [20, 21, 22];
/// Who is thrown out at the end, and whose keys are stolen.
const VICTIM: u8 = MEMBERS[0];
/// The envoys of the founder's machines and of each member.
const ENVOYS: [u8; 5] = [10, 11, 12, 13, 14];
const FRIENDS: [u8; 3] = [66, 67, 68];
const NAMES: [&str; 3] = ["refs/heads/dev", "refs/heads/main", "refs/tags/v1"];

/// What one world consisted of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) envelopes: usize,
    pub(crate) attacks: usize,
    pub(crate) hops: usize,
}

/// Plays one world and attacks it in so many ways, each from where the honest people had left it.
///
/// # Errors
///
/// What an attack has changed.
pub(crate) fn attack(seed: u64, ways: usize) -> Result<Tally, String> {
    let mut die = Die::new(seed);
    let mut world = Honest::play(&mut die);
    let before = world.fold();
    let honest = world.stage.clone();
    let mut tally = Tally {
        envelopes: honest.len(),
        attacks: 0,
        hops: before.line().len() - 1,
    };
    for _ in 0..ways {
        world.stage.clone_from(&honest);
        tally.attacks += attack_once(&mut world, &before, &mut die)?;
    }
    tally.envelopes += tally.attacks;
    Ok(tally)
}

/// Attacks a world, and says with how many envelopes.
fn attack_once(world: &mut Honest, before: &Project, die: &mut Die) -> Result<usize, String> {
    let honest = world.stage.len();
    let mut after = before_or_fresh(world, die, honest)?;
    world.steal(die);
    let mut late: Vec<_> = world.stage.all()[after.len()..].to_vec();
    die.shuffle(&mut late);
    for verified in &late {
        put(&mut after, verified)?;
        if die.chance(10) {
            let again = world.stage.get(die.below(honest)).clone();
            put(&mut after, &again)?;
        }
    }
    unchanged(before, &after, |_| true)?;
    for verified in &world.stage.all()[honest..] {
        let verdict = after.verdict(verified.id());
        if !matches!(verdict, Verdict::Void(_)) {
            let act = &verified.statement().act;
            return Err(format!("{verdict:?} is what {act:?} is, and that"));
        }
    }
    let attacks = world.stage.len() - honest;
    // And a member in good standing, who says whatever comes to mind, does so for nobody else.
    let insider = puddle(MEMBERS[1]);
    world.rebel(die);
    for verified in &world.stage.all()[honest + attacks..] {
        put(&mut after, verified)?;
    }
    unchanged(before, &after, |puddle| *puddle != insider)?;
    Ok(world.stage.len() - honest)
}

/// An envoy that was there all the time, or one that knows only whom to follow and hears everything anyhow.
fn before_or_fresh(world: &Honest, die: &mut Die, honest: usize) -> Result<Project, String> {
    let mut project = Project::with_pins(project_id(), world.pins());
    if die.chance(50) {
        for verified in &world.stage.all()[..honest] {
            put(&mut project, verified)?;
        }
    }
    Ok(project)
}

fn put(project: &mut Project, verified: &Verified) -> Result<(), String> {
    let inserted: Result<Inserted, _> = project.insert(verified.clone());
    inserted.map(drop).map_err(|reject| reject.to_string())
}

/// Compares all that must not change, as far as it concerns those whom `concerned` lets through.
fn unchanged(
    before: &Project,
    after: &Project,
    concerned: impl Fn(&PuddleKey) -> bool,
) -> Result<(), String> {
    let same = |what: &str, is: bool| if is { Ok(()) } else { Err(what.to_owned()) };
    let memberships = |project: &Project| -> Vec<Membership> {
        let all = project.memberships().into_iter();
        all.filter(|one| concerned(&one.puddle)).collect()
    };
    same("the line", before.line() == after.line())?;
    same("a contest", after.contest().is_none())?;
    same("memberships", memberships(before) == memberships(after))?;
    same("successors", before.successors() == after.successors())?;
    same("the policy", before.policy() == after.policy())?;
    let people = LINE.iter().chain(&MEMBERS).chain(&FRIENDS);
    for key in people.map(|seed| puddle(*seed)).filter(&concerned) {
        same("access", before.access(&key) == after.access(&key))?;
        same("a party", before.party(&key) == after.party(&key))?;
    }
    for envoy in ENVOYS.iter().map(|seed| envoy(*seed)) {
        let grants = |project: &Project| -> Vec<EnvelopeId> {
            let grants = project.grants_for(&envoy, 0).into_iter();
            let grants = grants.filter(|grant| concerned(&grant.statement().puddle));
            grants.map(|grant| *grant.id()).collect()
        };
        same("grants", grants(before) == grants(after))?;
    }
    for verified in before.iter() {
        let (id, by) = (verified.id(), &verified.statement().puddle);
        let is = !concerned(by) || before.verdict(id) == after.verdict(id);
        same(&format!("the verdict of {id}"), is)?;
    }
    // One who may push may replace what is there.
    if concerned(&puddle(MEMBERS[1])) {
        same("refs", before.refs() == after.refs())?;
        same("HEAD", before.head_target() == after.head_target())?;
        same("what comes next", before.cut() == after.cut())?;
    }
    Ok(())
}

/// The founder's machines are 0 and 1, the members' come next, two each, then the envoys.
const FOUNDERS: usize = 2;
const PEOPLE: usize = FOUNDERS + 2 * MEMBERS.len();
const MACHINES: usize = PEOPLE + ENVOYS.len();

struct Honest {
    stage: Stage,
    /// What each machine has heard.
    machines: Vec<Seen>,
    /// Those who speak there, by machine and by how long the line was.
    voices: BTreeMap<(usize, usize), Voice>,
    delegates: Vec<EnvelopeId>,
    /// Whether each heir commits to the next one.
    commits: bool,
}

impl Honest {
    fn play(die: &mut Die) -> Self {
        let mut founded = Seen::default();
        founded.add(0);
        let mut honest = Self {
            stage: Stage::new(),
            machines: vec![founded; MACHINES],
            voices: BTreeMap::new(),
            delegates: Vec::new(),
            commits: die.chance(50),
        };
        if die.chance(85) {
            honest.open(die);
        }
        let steps = [10, 20, 40][die.below(3)];
        for _ in 0..steps {
            honest.step(die);
        }
        for machine in 1..MACHINES {
            honest.hear(0, machine);
        }
        // The end of it: the victim is out for good, and the founder has a new key.
        for invite in honest.invites_of(0, puddle(VICTIM)) {
            let cut = honest.cut(0);
            honest.say(0, Act::Revoke(Revoke { invite, cut }));
        }
        honest.pass_on(0);
        honest
    }

    /// How often the line has been passed on.
    const fn hops(&self) -> usize {
        self.delegates.len()
    }

    fn pins(&self) -> BTreeMap<u64, EnvelopeId> {
        let pinned = self.delegates.iter().copied();
        // Where each heir commits to the next one, the last hop needs no pin: nobody has stolen the last heir's key. The
        // others do, for whoever holds two keys of the line can have one pass it on to the other once more.
        let unpinned = usize::from(self.commits && self.delegates.len() > 1);
        let pinned = pinned.take(self.delegates.len() - unpinned);
        (1..).zip(pinned).collect()
    }

    fn fold(&self) -> Project {
        let mut project = Project::with_pins(project_id(), self.pins());
        for verified in self.stage.all() {
            put(&mut project, verified).expect("honest people stay within the rules");
        }
        project
    }

    /// Most projects begin with people who work in them.
    fn open(&mut self, die: &mut Die) {
        for seed in MEMBERS {
            let invite = Invite {
                puddle: puddle(seed),
                role: role(die),
            };
            self.say(0, Act::Invite(invite));
        }
        self.say(0, grant(ENVOYS[0]));
        for machine in 1..MACHINES {
            self.hear(machine, 0);
        }
        for (place, seed) in MEMBERS.iter().enumerate() {
            let machine = FOUNDERS + 2 * place;
            let invite = self.invites_of(machine, puddle(*seed))[0];
            self.say(machine, Act::Join { invite });
            if die.chance(70) {
                self.say(machine, grant(ENVOYS[FOUNDERS + place]));
                self.hear(PEOPLE + FOUNDERS + place, machine);
            }
            self.hear(0, machine);
        }
    }

    fn step(&mut self, die: &mut Die) {
        let mut machine = die.below(MACHINES);
        if die.chance(30) {
            let other = if die.chance(40) {
                0
            } else {
                die.below(MACHINES)
            };
            self.hear(machine, other);
            self.hear(other, machine);
            return;
        }
        if die.chance(25) {
            machine = 0;
        }
        let act = if machine < FOUNDERS {
            self.founders_act(die, machine)
        } else if machine < PEOPLE {
            self.members_act(die, machine)
        } else {
            self.envoys_act(die, machine)
        };
        if let Some(act) = act {
            self.say(machine, act);
        }
    }

    fn founders_act(&mut self, die: &mut Die, machine: usize) -> Option<Act> {
        // Nobody speaks with a new key before the word of it has come.
        let delegate = self.delegates.last();
        let seen = &self.machines[machine];
        let known = |id: &EnvelopeId| seen.numbers().any(|number| self.stage.id(number) == *id);
        if !delegate.is_none_or(known) {
            return None;
        }
        Some(match die.below(100) {
            0..30 => Act::Invite(Invite {
                puddle: puddle(*die.pick(&MEMBERS)?),
                role: role(die),
            }),
            30..42 => {
                let invites = self.invites(machine, |_| true);
                let invite = *die.pick(&invites)?;
                let cut = self.cut(machine);
                Act::Revoke(Revoke { invite, cut })
            }
            42..52 if self.hops() < 4 => {
                self.pass_on(machine);
                return None;
            }
            52..62 => grant(ENVOYS[die.below(FOUNDERS)]),
            62..66 => Act::Ungrant(Ungrant {
                envoy: envoy(ENVOYS[die.below(FOUNDERS)]),
                cut: self.cut(machine),
            }),
            66..74 => policy(die),
            _ => self.update(die, machine),
        })
    }

    fn members_act(&self, die: &mut Die, machine: usize) -> Option<Act> {
        let own = self.voice(machine).puddle;
        let invites = self.invites_of(machine, own);
        let joined = self.seen(machine).any(|verified| {
            matches!(verified.statement().act, Act::Join { .. })
                && verified.statement().puddle == own
        });
        let invite = *die.pick(&invites)?;
        if !joined || die.chance(15) {
            return Some(Act::Join { invite });
        }
        let place = (machine - FOUNDERS) / 2;
        Some(match die.below(100) {
            0..9 => Act::Leave { invite },
            9..12 => Act::Rejoin { invite },
            12..26 => grant(ENVOYS[FOUNDERS + place]),
            26..30 => Act::Ungrant(Ungrant {
                envoy: envoy(ENVOYS[FOUNDERS + place]),
                cut: self.cut(machine),
            }),
            30..36 => Act::Merge,
            _ => self.update(die, machine),
        })
    }

    fn envoys_act(&self, die: &mut Die, machine: usize) -> Option<Act> {
        let voice = self.voice(machine);
        let granted = self.seen(machine).any(|verified| {
            let grant = verified.statement().grant();
            grant.is_some_and(|grant| grant.envoy == voice.envoy)
                && verified.statement().puddle == voice.puddle
        });
        granted.then(|| self.update(die, machine))
    }

    fn pass_on(&mut self, machine: usize) {
        let hop = self.hops();
        let next = puddle(LINE[(hop + 2).min(LINE.len() - 1)]);
        let act = Act::Delegate(Delegate {
            hop: u64::try_from(hop + 1).expect("a few"),
            to: puddle(LINE[hop + 1]),
            next: self.commits.then(|| Sha256::digest(next.as_bytes()).into()),
            cut: self.cut(machine),
            accept: Signature::from_bytes(&[0; 64]),
        });
        let said = self.say(machine, act);
        self.delegates.push(self.stage.id(said));
    }

    /// Moves one ref on from what is in sight of it.
    fn update(&self, die: &mut Die, machine: usize) -> Act {
        let name = name(die.pick(&NAMES).expect("some"));
        let touches = |number: &usize| {
            let update = self.stage.get(*number).statement().update();
            update.is_some_and(|update| update.change(&name).is_some())
        };
        let seen = self.machines[machine].numbers();
        let touching: Vec<_> = seen.filter(touches).collect();
        let last = |number: &usize| {
            let later = |other: &usize| other != number && self.stage.past(*other).has(*number);
            !touching.iter().any(later)
        };
        let heads: Vec<_> = touching.iter().copied().filter(last).collect();
        let heads = self.stage.ids(&heads);
        let (contained, forced) = if die.chance(90) {
            (heads, vec![])
        } else {
            (vec![], heads)
        };
        let head = die.chance(5).then(|| name.clone());
        let new = oid(u8::try_from(die.below(250)).expect("a byte"));
        update(name, new, contained, forced, head)
    }

    /// The one who speaks at a machine now, and what has been heard there.
    fn voice(&self, machine: usize) -> Voice {
        let mut voice = match self.voices.get(&(machine, self.hops())) {
            Some(voice) => voice.clone(),
            None => self.new_voice(machine),
        };
        voice.seen.clone_from(&self.machines[machine]);
        voice
    }

    fn new_voice(&self, machine: usize) -> Voice {
        let founder = LINE[self.hops()];
        let incarnation = 1 + u8::try_from(machine).expect("a few");
        match machine {
            0..FOUNDERS => Voice::person(founder, incarnation),
            FOUNDERS..PEOPLE => {
                let place = (machine - FOUNDERS) / 2;
                let before = (0..self.hops()).rev();
                let mut before = before.filter_map(|hop| self.voices.get(&(machine, hop)));
                let voice = before.next().cloned();
                voice.unwrap_or_else(|| Voice::person(MEMBERS[place], incarnation))
            }
            _ => {
                let at = machine - PEOPLE;
                let member = at.checked_sub(FOUNDERS).map(|place| MEMBERS[place]);
                let mut voice = Voice::envoy(ENVOYS[at], member.unwrap_or(founder));
                // A member's envoy goes on with its chain whatever becomes of the founder's key.
                if member.is_some() {
                    let before = (0..self.hops()).rev();
                    let mut before = before.filter_map(|hop| self.voices.get(&(machine, hop)));
                    voice = before.next().cloned().unwrap_or(voice);
                }
                voice
            }
        }
    }

    fn say(&mut self, machine: usize, act: Act) -> usize {
        let mut voice = self.voice(machine);
        let said = self.stage.say(&mut voice, act);
        self.machines[machine].clone_from(&voice.seen);
        self.voices.insert((machine, self.hops()), voice);
        said.expect("after all that was seen, it is new")
    }

    fn hear(&mut self, machine: usize, other: usize) {
        let seen = self.machines[other].clone();
        self.machines[machine].add_all(&seen);
    }

    fn seen(&self, machine: usize) -> impl Iterator<Item = &Verified> {
        let numbers = self.machines[machine].numbers();
        numbers.map(|number| self.stage.get(number))
    }

    fn invites(&self, machine: usize, which: impl Fn(&Invite) -> bool) -> Vec<EnvelopeId> {
        let invites = self
            .seen(machine)
            .filter(|verified| match &verified.statement().act {
                Act::Invite(invite) => which(invite),
                _ => false,
            });
        invites.map(|verified| *verified.id()).collect()
    }

    fn invites_of(&self, machine: usize, puddle: PuddleKey) -> Vec<EnvelopeId> {
        self.invites(machine, |invite| invite.puddle == puddle)
    }

    fn cut(&self, machine: usize) -> Vec<EnvelopeId> {
        let heads = self.stage.heads(&self.machines[machine]);
        self.stage.ids(&heads)
    }

    /// Whoever has the old keys and those of the victim, of people and of envoys, says anything from any past.
    fn steal(&mut self, die: &mut Die) {
        let retired = &LINE[..self.hops()];
        let mut thieves: Vec<Voice> = Vec::new();
        for seed in retired.iter().chain([&VICTIM]).chain(&FRIENDS) {
            thieves.push(Voice::person(*seed, 100));
        }
        for of in retired {
            thieves.extend(
                ENVOYS[..FOUNDERS]
                    .iter()
                    .map(|seed| Voice::envoy(*seed, *of)),
            );
        }
        thieves.push(Voice::envoy(ENVOYS[FOUNDERS], VICTIM));
        thieves.push(Voice::envoy(FRIENDS[0], VICTIM));
        let own: Vec<u8> = retired
            .iter()
            .chain([&VICTIM])
            .chain(&FRIENDS)
            .copied()
            .collect();
        for number in 0..10 {
            // Mostly the keys that once meant something.
            let among = if die.chance(60) {
                self.hops() + 1
            } else {
                thieves.len()
            };
            let thief = die.below(among);
            self.say_anything(die, &thieves[thief], number, &own);
        }
    }

    fn rebel(&mut self, die: &mut Die) {
        let seed = MEMBERS[1];
        let voices = [
            Voice::person(seed, 100),
            Voice::envoy(ENVOYS[FOUNDERS + 1], seed),
        ];
        for number in 0..4 {
            let voice = &voices[usize::from(die.chance(25))];
            self.say_anything(die, voice, number, &FRIENDS);
        }
    }

    /// Something from any past: after a word that was really said with this key, or on a chain of its own.
    fn say_anything(&mut self, die: &mut Die, voice: &Voice, number: u8, heirs: &[u8]) {
        let mut voice = voice.clone();
        voice.incarnation = Incarnation::from_bytes(&[100 + number; 16]);
        let real = |at: &usize| {
            let statement = self.stage.get(*at).statement();
            let signer = *puddle(voice.seed).key();
            (statement.signer, statement.puddle) == (signer, voice.puddle)
                && statement.envoy.is_some()
        };
        let real: Vec<_> = (0..self.stage.len()).filter(real).collect();
        let prev = die.pick(&real).copied().filter(|_| die.chance(50));
        if let Some(prev) = prev {
            voice.incarnation = self.stage.get(prev).statement().incarnation;
        }
        let everything: Vec<_> = (0..self.stage.len()).collect();
        let deps = die.some(&everything, 3);
        let act = if voice.by_puddle() {
            self.anything(die, heirs)
        } else if die.chance(90) {
            self.any_update(die)
        } else {
            Act::Merge
        };
        let statement = self.stage.draft_after(&voice, prev, &deps, act);
        self.stage.seal(&mut voice, statement);
    }

    fn anything(&self, die: &mut Die, heirs: &[u8]) -> Act {
        let friend = puddle(FRIENDS[die.below(FRIENDS.len())]);
        let numbers: Vec<_> = (0..self.stage.len()).collect();
        let invites: Vec<_> = numbers
            .iter()
            .filter(|number| matches!(self.stage.act(**number), Act::Invite(_)))
            .copied()
            .collect();
        let invite = die
            .pick(&invites)
            .map_or(self.stage.id(0), |at| self.stage.id(*at));
        let some = die.some(&numbers, 3);
        let cut = self.stage.ids(if die.chance(50) { &[] } else { &some });
        match die.below(13) {
            0 => Act::Invite(Invite {
                puddle: friend,
                role: role(die),
            }),
            1 => Act::Revoke(Revoke { invite, cut }),
            2 | 3 => Act::Delegate(Delegate {
                hop: 1 + die.number() % 6,
                to: puddle(heirs[die.below(heirs.len())]),
                next: None,
                cut,
                accept: Signature::from_bytes(&[0; 64]),
            }),
            4 => Act::Tombstone(Tombstone {
                founder: friend,
                handle: "evil".parse().expect("a handle"),
                cut,
            }),
            5 => Act::Leave { invite },
            6 => Act::Join { invite },
            7 => Act::Rejoin { invite },
            8 => grant(if die.chance(50) {
                FRIENDS[0]
            } else {
                ENVOYS[die.below(ENVOYS.len())]
            }),
            9 => Act::Ungrant(Ungrant {
                envoy: envoy(ENVOYS[die.below(ENVOYS.len())]),
                cut,
            }),
            10 => policy(die),
            11 => Act::Merge,
            _ => self.any_update(die),
        }
    }

    fn any_update(&self, die: &mut Die) -> Act {
        let updates: Vec<_> = (0..self.stage.len())
            .filter(|number| matches!(self.stage.act(*number), Act::Update(_)))
            .collect();
        let (contained, forced) = (die.some(&updates, 3), die.some(&updates, 3));
        let name = name(NAMES[die.below(NAMES.len())]);
        let new = oid(if die.chance(20) { 0 } else { 255 });
        let head = die.chance(20).then(|| name.clone());
        let (contained, forced) = (self.stage.ids(&contained), self.stage.ids(&forced));
        update(name, new, contained, forced, head)
    }
}

fn role(die: &mut Die) -> Role {
    if die.chance(80) {
        Role::Member
    } else {
        Role::Reader
    }
}

fn grant(seed: u8) -> Act {
    Act::Grant(Grant {
        envoy: envoy(seed),
        uid: 0,
        expires_ms: None,
    })
}

fn policy(die: &mut Die) -> Act {
    let protected = die.some(&NAMES, 2);
    Act::Policy(Policy {
        scope: if die.chance(50) {
            Scope::MembersOnly
        } else {
            Scope::SwarmWide
        },
        protected: protected.into_iter().map(name).collect(),
        replicas: None,
    })
}

fn update(
    name: RefName,
    new: Oid,
    contained: Vec<EnvelopeId>,
    forced: Vec<EnvelopeId>,
    head: Option<RefName>,
) -> Act {
    Act::Update(Update {
        changes: vec![Change {
            name,
            new,
            contained,
            forced,
        }],
        head,
        pack: None,
    })
}
