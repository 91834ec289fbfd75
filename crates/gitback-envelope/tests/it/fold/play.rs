//! Random worlds with everybody in them: a founder on two machines, heirs, members, a reader, envoys, copied keys and
//! a stranger, who say anything at all, in sight of each other or not.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: the voices are the ones made here"
)]

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{
    Act, Change, Delegate, EnvelopeId, Grant, Incarnation, Invite, Policy, RefName, Revoke, Role,
    Scope, Tombstone, Ungrant, Update, Verified,
};
use gitback_identity::{PuddleKey, Signature};
use sha2::{Digest as _, Sha256};

use super::stage::{Die, Seen, Stage, Voice, envoy, puddle};
use super::world::{name, oid};

pub(crate) const NAMES: [&str; 4] = [
    "refs/heads/a",
    "refs/heads/a/b",
    "refs/heads/a/b/c",
    "refs/tags/t",
];
pub(crate) const FOUNDER: u8 = 1;
pub(crate) const STRANGER: u8 = 7;
pub(crate) const ENVOYS: [u8; 4] = [10, 11, 12, 13];
pub(crate) const MEMBERS: [u8; 3] = [20, 21, 22];
/// The heir of hop 1, and so on.
pub(crate) const HEIRS: [u8; 6] = [31, 32, 33, 34, 35, 36];
/// Whom a thief makes an heir.
pub(crate) const THIEF: u8 = 66;

/// Everybody's puddle.
pub(crate) fn puddles() -> Vec<PuddleKey> {
    let seeds = [FOUNDER, STRANGER, THIEF];
    let seeds = seeds.iter().chain(&MEMBERS).chain(&HEIRS);
    seeds.map(|seed| puddle(*seed)).collect()
}

/// A world: what was said in it, and what an envoy knows beside.
pub(crate) struct World {
    pub(crate) all: Vec<Verified>,
    pub(crate) voices: Vec<Voice>,
    pub(crate) pins: BTreeMap<u64, EnvelopeId>,
    /// Updates that lie about the git graph.
    /// Updates that say something false, and about which ref.
    pub(crate) lies: BTreeSet<(EnvelopeId, RefName)>,
}

/// Plays one world, in which each step follows from one number.
pub(crate) fn play(opening: u64, steps: &[u64]) -> World {
    let mut die = Die::new(opening);
    let mut play = Play {
        stage: Stage::new(),
        voices: voices(),
        hops: 0,
    };
    play.open(&mut die);
    for step in steps {
        play.step(&mut Die::new(*step));
    }
    let pins = play.pins(&mut die);
    let lies = play.lies(&mut die);
    World {
        all: play.stage.into_all(),
        voices: play.voices,
        pins,
        lies,
    }
}

fn voices() -> Vec<Voice> {
    let mut voices = vec![
        Voice::person(FOUNDER, 1),
        // Another machine, and a copy of the first one's key and log.
        Voice::person(FOUNDER, 2),
        Voice::person(FOUNDER, 1),
        Voice::person(MEMBERS[0], 20),
        Voice::person(MEMBERS[0], 25),
        Voice::person(MEMBERS[0], 20),
        Voice::person(MEMBERS[1], 21),
        Voice::person(MEMBERS[2], 22),
        Voice::person(STRANGER, 7),
        Voice::envoy(ENVOYS[0], FOUNDER),
        Voice::envoy(ENVOYS[0], FOUNDER),
        Voice::envoy(ENVOYS[1], MEMBERS[0]),
        Voice::envoy(ENVOYS[2], MEMBERS[1]),
        Voice::envoy(ENVOYS[1], FOUNDER),
        Voice::envoy(ENVOYS[3], HEIRS[0]),
    ];
    voices.extend(HEIRS.iter().map(|seed| Voice::person(*seed, *seed)));
    for voice in &mut voices {
        voice.seen.add(0);
    }
    voices
}

const FIRST_HEIR: usize = 15;

struct Play {
    stage: Stage,
    voices: Vec<Voice>,
    /// How far the opening has passed the line on.
    hops: usize,
}

impl Play {
    /// Most worlds begin with members, grants and perhaps heirs, so that there is something to take away.
    fn open(&mut self, die: &mut Die) {
        if die.chance(10) {
            return;
        }
        let reader = if die.chance(50) {
            Role::Reader
        } else {
            Role::Member
        };
        let apart = die.chance(40);
        for (voice, role) in [(3, Role::Member), (6, Role::Member), (7, reader)] {
            let invited = self.voices[voice].puddle;
            let invite = self.speak(
                0,
                Act::Invite(Invite {
                    puddle: invited,
                    role,
                }),
            );
            self.hear(voice, 0);
            let id = self.stage.id(invite);
            if voice == 3 && apart {
                // Her other machine learns of the invitation and not of her coming in.
                self.hear(4, 0);
            }
            if die.chance(85) {
                self.speak(voice, Act::Join { invite: id });
                self.hear(0, voice);
            }
        }
        if die.chance(30) {
            // Two machines of the founder invite one and the same.
            let puddle = self.voices[3].puddle;
            let role = Role::Member;
            let invite = self.speak(1, Act::Invite(Invite { puddle, role }));
            self.hear(3, 1);
            let id = self.stage.id(invite);
            self.speak(3, Act::Join { invite: id });
        }
        if die.chance(30) {
            let policy = self.policy(die);
            self.speak(0, policy);
        }
        for (by, to) in [(0, 0), (3, 1), (6, 2)] {
            self.hear(by, 0);
            let grant = Grant {
                envoy: envoy(ENVOYS[to]),
                uid: 1,
                expires_ms: None,
            };
            self.speak(by, Act::Grant(grant));
            self.hear(0, by);
        }
        let hops = if die.chance(55) {
            0
        } else {
            1 + die.below(HEIRS.len())
        };
        let mut last = 0;
        for (hop, heir) in HEIRS.into_iter().enumerate().take(hops) {
            let mut cut = self.cut(die, &self.voices[last].seen);
            if die.chance(70) {
                cut = self
                    .stage
                    .ids(&self.stage.heads(&self.voices[last].seen.clone()));
            }
            let act = self.delegate(hop, puddle(heir), die.chance(40), cut);
            self.speak(last, act);
            self.hear(FIRST_HEIR + hop, last);
            last = FIRST_HEIR + hop;
        }
        self.hops = hops;
        for voice in 0..self.voices.len() {
            if die.chance(80) && !(voice == 4 && apart) {
                self.hear(voice, last);
            }
        }
    }

    fn step(&mut self, die: &mut Die) {
        let who = self.somebody(die);
        match die.below(100) {
            0..25 => {
                let other = die.below(self.voices.len());
                self.hear(who, other);
            }
            25..32 => {
                let number = die.below(self.stage.len());
                let past = self.stage.past(number).clone();
                self.voices[who].seen.add_all(&past);
            }
            _ => {
                let act = self.act(die, who);
                self.say(die, who, act);
            }
        }
    }

    /// Mostly one whose word may count.
    fn somebody(&self, die: &mut Die) -> usize {
        match die.below(100) {
            0..18 => self.hops.checked_sub(1).map_or(0, |hop| FIRST_HEIR + hop),
            18..28 => 3,
            28..33 => 4,
            33..38 => 6,
            38..44 => 7,
            44..54 => 9,
            54..64 => 11,
            _ => die.below(self.voices.len()),
        }
    }

    /// Says it after what was said before, mostly; a copied key may go back and begin another branch.
    fn say(&mut self, die: &mut Die, who: usize, act: Option<Act>) {
        let mut voice = self.voices[who].clone();
        // A copy that has heard what the other one said goes on from there.
        let chain = self.chain(&voice);
        let prev = if die.chance(92) {
            chain.last().copied()
        } else {
            let back = die.below(chain.len() + 1);
            chain.get(back).copied()
        };
        let deps = match die.below(10) {
            0 => die.some(&voice.seen.numbers().collect::<Vec<_>>(), 3),
            1 => vec![],
            2 => self.stage.heads(&voice.seen),
            _ => self.stage.known_heads(&voice.seen),
        };
        if let Some(act) = act {
            let statement = self.stage.draft_after(&voice, prev, &deps, act);
            self.stage.seal(&mut voice, statement);
        } else {
            // On a chain of its own, or all that this voice says later would wait with it.
            let mut newer = voice.clone();
            newer.incarnation = Incarnation::from_bytes(&[100; 16]);
            self.say_unknown(&mut newer, &deps);
            voice.seen = newer.seen;
        }
        self.voices[who] = voice;
    }

    /// What this voice knows of its chain, in the order of numbers on it.
    fn chain(&self, voice: &Voice) -> Vec<usize> {
        let signer = *puddle(voice.seed).key();
        let mut chain: Vec<_> = voice
            .seen
            .numbers()
            .filter(|number| {
                let statement = self.stage.get(*number).statement();
                (statement.signer, statement.puddle, statement.incarnation)
                    == (signer, voice.puddle, voice.incarnation)
            })
            .collect();
        chain.sort_by_key(|number| {
            let verified = self.stage.get(*number);
            (verified.statement().seq, *verified.id())
        });
        chain
    }

    fn say_unknown(&mut self, voice: &mut Voice, deps: &[usize]) {
        let grant = Grant {
            envoy: voice.envoy,
            uid: 0,
            expires_ms: None,
        };
        let statement = self.stage.draft_after(voice, None, deps, Act::Grant(grant));
        let secret = gitback_identity::SecretKey::from_seed(&[voice.seed; 32]);
        let verified = super::world::unknown(&statement, &secret, 0);
        self.stage.hear(voice, verified);
    }

    /// Something to say; `None`: something of a kind that nobody knows.
    fn act(&self, die: &mut Die, who: usize) -> Option<Act> {
        let voice = &self.voices[who];
        if !voice.by_puddle() {
            return match die.below(100) {
                0..12 => Some(Act::Merge),
                12..17 => None,
                _ => Some(self.update(die, voice)),
            };
        }
        let speaks = voice.seed == FOUNDER || HEIRS.contains(&voice.seed);
        let kind = if speaks && die.chance(75) {
            die.below(60)
        } else {
            60 + die.below(60)
        };
        Some(match kind {
            0..14 => self.invite(die),
            14..29 => {
                let invite = self.an_invite(die, &voice.seen);
                let cut = self.cut(die, &voice.seen);
                Act::Revoke(Revoke { invite, cut })
            }
            29..43 => self.some_delegate(die, voice),
            43..46 => self.tombstone(die, voice),
            46..55 => self.policy(die),
            60..71 => Act::Join {
                invite: self.own_invite(die, voice),
            },
            71..77 => Act::Leave {
                invite: self.own_invite(die, voice),
            },
            77..83 => Act::Rejoin {
                invite: self.own_invite(die, voice),
            },
            83..93 => Act::Grant(Grant {
                envoy: envoy(*die.pick(&ENVOYS).expect("some")),
                uid: u32::try_from(die.below(3)).expect("small"),
                expires_ms: die.chance(50).then(|| die.number() % 5),
            }),
            93..99 => Act::Ungrant(Ungrant {
                envoy: envoy(*die.pick(&ENVOYS).expect("some")),
                cut: self.cut(die, &voice.seen),
            }),
            55..58 | 99..102 => Act::Merge,
            116..119 => return None,
            // Mostly, those who speak for the founder do what they alone may.
            119 => self.invite(die),
            _ => self.update(die, voice),
        })
    }

    fn invite(&self, die: &mut Die) -> Act {
        let puddles = puddles();
        let seed = *die.pick(&MEMBERS).expect("some");
        let other = *die.pick(&puddles).expect("some");
        Act::Invite(Invite {
            puddle: if die.chance(75) { puddle(seed) } else { other },
            role: if die.chance(75) {
                Role::Member
            } else {
                Role::Reader
            },
        })
    }

    fn some_delegate(&self, die: &mut Die, voice: &Voice) -> Act {
        let place = HEIRS.iter().position(|seed| *seed == voice.seed);
        let mut hop = place.map_or(0, |place| place + 1);
        if die.chance(15) {
            hop = die.below(7);
        }
        let puddles = puddles();
        let heir = HEIRS.get(hop).copied().unwrap_or(THIEF);
        let heir = match die.below(10) {
            0 | 1 => *die.pick(&puddles).expect("some"),
            2 => puddle(THIEF),
            _ => puddle(heir),
        };
        let cut = self.cut(die, &voice.seen);
        self.delegate(hop, heir, die.chance(30), cut)
    }

    fn delegate(&self, hop: usize, to: PuddleKey, commits: bool, cut: Vec<EnvelopeId>) -> Act {
        let next = puddle(HEIRS.get(hop + 1).copied().unwrap_or(THIEF));
        Act::Delegate(Delegate {
            hop: u64::try_from(hop + 1).expect("small"),
            to,
            next: commits.then(|| Sha256::digest(next.as_bytes()).into()),
            cut,
            accept: Signature::from_bytes(&[0; 64]),
        })
    }

    fn tombstone(&self, die: &mut Die, voice: &Voice) -> Act {
        Act::Tombstone(Tombstone {
            founder: puddle(FOUNDER),
            handle: ["new", "newer", "newest"][die.below(3)]
                .parse()
                .expect("a handle"),
            cut: self.cut(die, &voice.seen),
        })
    }

    fn policy(&self, die: &mut Die) -> Act {
        let protected = die.some(&NAMES, 2);
        Act::Policy(Policy {
            scope: if die.chance(50) {
                Scope::MembersOnly
            } else {
                Scope::SwarmWide
            },
            protected: protected.into_iter().map(name).collect(),
            replicas: die
                .chance(50)
                .then(|| 1 + u32::try_from(die.below(4)).expect("small")),
        })
    }

    /// An invitation, mostly one that was seen; sometimes nothing of the kind.
    fn an_invite(&self, die: &mut Die, seen: &Seen) -> EnvelopeId {
        let invites = |number: &usize| matches!(self.stage.act(*number), Act::Invite(_));
        let anywhere: Vec<_> = (0..self.stage.len()).filter(invites).collect();
        let in_sight: Vec<_> = seen.numbers().filter(invites).collect();
        let from = if die.chance(85) { in_sight } else { anywhere };
        match die.pick(&from) {
            Some(number) if die.chance(95) => self.stage.id(*number),
            _ => self.an_envelope(die),
        }
    }

    /// An invitation of this voice's puddle, mostly.
    fn own_invite(&self, die: &mut Die, voice: &Voice) -> EnvelopeId {
        let own = |number: &usize| match self.stage.act(*number) {
            Act::Invite(invite) => invite.puddle == voice.puddle,
            _ => false,
        };
        let own: Vec<_> = voice.seen.numbers().filter(own).collect();
        match die.pick(&own) {
            Some(number) if die.chance(85) => self.stage.id(*number),
            _ => self.an_invite(die, &voice.seen),
        }
    }

    /// Anything, here or not.
    fn an_envelope(&self, die: &mut Die) -> EnvelopeId {
        if die.chance(70) {
            self.stage.id(die.below(self.stage.len()))
        } else {
            EnvelopeId::from_bytes(&[u8::try_from(die.below(5)).expect("small"); 32])
        }
    }

    fn cut(&self, die: &mut Die, seen: &Seen) -> Vec<EnvelopeId> {
        let seen_numbers: Vec<_> = seen.numbers().collect();
        let everything: Vec<_> = (0..self.stage.len()).collect();
        let numbers = match die.below(100) {
            0..45 => self.stage.heads(seen),
            45..55 => vec![],
            55..75 => die.some(&seen_numbers, 4),
            // What was said elsewhere and has not come here.
            _ => die.some(&everything, 5),
        };
        let mut cut = self.stage.ids(&numbers);
        if die.chance(5) {
            cut.push(self.an_envelope(die));
            cut.sort();
            cut.dedup();
        }
        cut
    }

    /// Names some updates: heads or not, valid or not, in sight or not.
    fn update(&self, die: &mut Die, voice: &Voice) -> Act {
        // Most of the time the same one, so that updates meet.
        let mut names: BTreeSet<_> = BTreeSet::from([NAMES[0]]);
        if die.chance(50) {
            names = BTreeSet::from([*die.pick(&NAMES).expect("some")]);
        } else if die.chance(10) {
            names.insert(die.pick(&NAMES).expect("some"));
        }
        let changes = names.into_iter().map(|text| self.change(die, voice, text));
        Act::Update(Update {
            changes: changes.collect(),
            head: die
                .chance(15)
                .then(|| name(die.pick(&NAMES).expect("some"))),
            pack: None,
        })
    }

    fn change(&self, die: &mut Die, voice: &Voice, text: &str) -> Change {
        let name = name(text);
        let touches = |number: &usize| match self.stage.act(*number) {
            Act::Update(update) => update.change(&name).is_some(),
            _ => false,
        };
        let mut in_sight: Vec<_> = voice.seen.numbers().filter(touches).collect();
        if die.chance(10) {
            in_sight = (0..self.stage.len()).filter(touches).collect();
        }
        let last: Vec<_> = in_sight.iter().rev().take(1).copied().collect();
        let (contained, forced) = match die.below(10) {
            0..4 => (last, vec![]),
            4 => (vec![], last),
            5 => (in_sight, vec![]),
            6 => (vec![], die.some(&in_sight, 2)),
            7 => (die.some(&in_sight, 3), die.some(&in_sight, 2)),
            8 => (die.some(&in_sight, 2), vec![]),
            _ => (vec![], vec![]),
        };
        Change {
            name,
            new: oid(u8::try_from(die.below(6)).expect("small")),
            contained: self.stage.ids(&contained),
            forced: self.stage.ids(&forced),
        }
    }

    /// Pins, of delegations at their hops or of anything else.
    fn pins(&self, die: &mut Die) -> BTreeMap<u64, EnvelopeId> {
        let mut pins = BTreeMap::new();
        if die.chance(40) {
            return pins;
        }
        let careless = die.chance(15);
        for number in 0..self.stage.len() {
            if let Act::Delegate(delegate) = self.stage.act(number)
                && die.chance(60)
            {
                let id = self.stage.id(number);
                if careless {
                    pins.insert(delegate.hop, id);
                } else {
                    pins.entry(delegate.hop).or_insert(id);
                }
            }
        }
        if die.chance(5) {
            pins.insert(die.number() % 7, self.an_envelope(die));
        }
        pins
    }

    fn lies(&self, die: &mut Die) -> BTreeSet<(EnvelopeId, RefName)> {
        let percent = if die.chance(50) { 0 } else { 12 };
        let mut lies = BTreeSet::new();
        for number in 0..self.stage.len() {
            let Act::Update(update) = self.stage.act(number) else {
                continue;
            };
            for change in &update.changes {
                if die.chance(percent) {
                    lies.insert((self.stage.id(number), change.name.clone()));
                }
            }
        }
        lies
    }

    fn speak(&mut self, who: usize, act: Act) -> usize {
        let said = self.stage.say(&mut self.voices[who], act);
        said.expect("nobody has said this before")
    }

    fn hear(&mut self, who: usize, other: usize) {
        let seen = self.voices[other].seen.clone();
        self.voices[who].seen.add_all(&seen);
    }
}
