//! Worlds of the kinds that the executable model knows, folded by both.
//!
//! The model is no part of this repository. It is looked for where `GITBACK_MODEL` says, or in a folder `shared/model`
//! next to the repository; where it is not, the comparison is skipped, and the vectors in `tests/vectors/fold` stand for
//! it.
//!
//! Four things are kept out of these worlds, in which the specification goes further: an heir that is invited as well;
//! several leaves of a membership that is revoked; pins of what is no candidate; and changes that name fewer updates
//! than their authors have seen, for in the model every later update replaces all that it has seen.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: the machines are the ones made here"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gitback_envelope::{
    Act, Change, Delegate, EnvelopeId, Invite, MembershipState, Oid, Project, RefName, Revoke,
    Role, Tombstone, Update, Verdict, Verified,
};
use gitback_identity::{PuddleKey, Signature, hex};
use sha2::{Digest as _, Sha256};

use super::stage::{Die, Seen, Stage, Voice, puddle};
use super::world::{name, project_id};

const LINE: [u8; 7] = [1, 31, 32, 33, 34, 35, 36];
const MEMBERS: [u8; 3] = [20, 21, 22];
/// A thief, who is invited by stolen keys, and whom stolen keys make an heir.
const THIEF: u8 = 66;
const FALSE_HEIR: u8 = 67;
const NAMES: [&str; 2] = ["refs/heads/dev", "refs/heads/main"];

pub(crate) struct Modelled {
    pub(crate) all: Vec<Verified>,
    pub(crate) pins: BTreeMap<u64, EnvelopeId>,
}

/// Plays the world of one seed.
pub(crate) fn modelled(seed: u64, steps: usize) -> Modelled {
    let mut die = Die::new(seed);
    let mut play = Play {
        stage: Stage::new(),
        seen: vec![Seen::default(); MACHINES],
        hop: 0,
        commits: die.chance(50),
    };
    for seen in &mut play.seen {
        seen.add(0);
    }
    if die.chance(80) {
        for (place, seed) in MEMBERS.into_iter().enumerate() {
            play.invite(0, puddle(seed));
            play.hear(2 + 2 * place, 0);
            play.join(&mut die, 2 + 2 * place);
            play.hear(0, 2 + 2 * place);
        }
        for machine in 1..MACHINES {
            if die.chance(70) {
                play.hear(machine, 0);
            }
        }
    }
    for _ in 0..steps {
        play.step(&mut die);
    }
    let mut all = play.stage.into_all();
    if die.chance(30) {
        all.retain(|verified| {
            matches!(verified.statement().act, Act::Init { .. }) || die.chance(92)
        });
    }
    let pins = pins(&all, &mut die);
    Modelled { all, pins }
}

/// Two of the founder, two of each member, one of the thief's.
const MACHINES: usize = 2 + 2 * MEMBERS.len() + 1;

struct Play {
    stage: Stage,
    seen: Vec<Seen>,
    hop: usize,
    commits: bool,
}

impl Play {
    fn step(&mut self, die: &mut Die) {
        let machine = die.below(MACHINES);
        if die.chance(35) {
            self.hear(machine, die.below(MACHINES));
        } else if machine < 2 {
            self.founder_says(die, machine);
        } else if machine < MACHINES - 1 {
            self.member_says(die, machine);
        } else {
            self.thief_says(die, machine);
        }
    }

    fn founder_says(&mut self, die: &mut Die, machine: usize) {
        // Some speak with an old key, who have not heard or do not care.
        let mut key = LINE[self.hop.min(5)];
        if die.chance(20) {
            key = LINE[die.below(self.hop + 1).min(5)];
        }
        let voice = Voice::person(key, 1 + u8::try_from(machine).expect("two"));
        let cut = self.cut(die, machine);
        let act = match die.below(100) {
            0..30 => {
                let puddle = puddle(MEMBERS[die.below(MEMBERS.len())]);
                let role = Role::Member;
                Act::Invite(Invite { puddle, role })
            }
            30..45 => match die.pick(&self.invites(machine, None)) {
                Some(invite) => Act::Revoke(Revoke {
                    invite: *invite,
                    cut,
                }),
                None => return,
            },
            45..60 if self.hop < 6 => {
                self.hop += 1;
                let key = LINE[(self.hop - 1).min(5)];
                let voice = Voice::person(key, 1 + u8::try_from(machine).expect("two"));
                let act = self.delegate(self.hop, LINE[self.hop], cut, self.commits);
                self.say(die, machine, voice, act);
                return;
            }
            60..63 => tombstone(die, cut),
            63..68 => Act::Merge,
            _ => {
                self.update(die, machine, voice);
                return;
            }
        };
        self.say(die, machine, voice, act);
    }

    fn member_says(&mut self, die: &mut Die, machine: usize) {
        let seed = MEMBERS[(machine - 2) / 2];
        let voice = Voice::person(seed, 10 + u8::try_from(machine).expect("a few"));
        let invites = self.invites(machine, Some(puddle(seed)));
        let joined = self.seen[machine].numbers().any(|number| {
            let statement = self.stage.get(number).statement();
            statement.puddle == puddle(seed) && matches!(statement.act, Act::Join { .. })
        });
        let act = match die.below(100) {
            0..20 => {
                self.join(die, machine);
                return;
            }
            20..30 => match die.pick(&invites) {
                Some(invite) => Act::Leave { invite: *invite },
                None => return,
            },
            30..36 => match die.pick(&self.invites(machine, None)) {
                // Somebody else's, mostly: to leave for others, or to throw them out.
                Some(invite) if die.chance(50) => Act::Leave { invite: *invite },
                Some(invite) => Act::Revoke(Revoke {
                    invite: *invite,
                    cut: vec![],
                }),
                None => return,
            },
            _ if !joined && die.chance(80) => return,
            _ => {
                self.update(die, machine, voice);
                return;
            }
        };
        self.say(die, machine, voice, act);
    }

    /// Anything, with a stolen key, on any chain, from any past.
    fn thief_says(&mut self, die: &mut Die, machine: usize) {
        let mut keys = LINE[..self.hop.min(5)].to_vec();
        keys.extend([MEMBERS[0], THIEF]);
        let mut voice = Voice::person(keys[die.below(keys.len())], 90);
        voice.incarnation = gitback_envelope::Incarnation::from_bytes(
            &[90 + u8::try_from(die.below(5)).expect("few"); 16],
        );
        let any = self.invites(machine, None);
        let invite = die.pick(&any).copied().unwrap_or(self.stage.id(0));
        let act = match die.below(7) {
            0 => Act::Invite(Invite {
                puddle: puddle(THIEF),
                role: Role::Member,
            }),
            1 => Act::Revoke(Revoke {
                invite,
                cut: vec![],
            }),
            2 => {
                let cut = self.cut(die, machine);
                self.delegate(1 + die.below(6), FALSE_HEIR, cut, false)
            }
            3 => tombstone(die, vec![]),
            4 => Act::Leave { invite },
            5 => Act::Join { invite },
            _ => {
                self.update(die, machine, voice);
                return;
            }
        };
        self.say(die, machine, voice, act);
    }

    fn invite(&mut self, machine: usize, puddle: PuddleKey) {
        let voice = Voice::person(LINE[0], 1 + u8::try_from(machine).expect("two"));
        let role = Role::Member;
        let act = Act::Invite(Invite { puddle, role });
        self.say(&mut Die::new(0), machine, voice, act);
    }

    fn join(&mut self, die: &mut Die, machine: usize) {
        let seed = MEMBERS[(machine - 2) / 2];
        let voice = Voice::person(seed, 10 + u8::try_from(machine).expect("a few"));
        if let Some(invite) = die.pick(&self.invites(machine, Some(puddle(seed)))) {
            let invite = *invite;
            self.say(die, machine, voice, Act::Join { invite });
        }
    }

    fn delegate(&self, hop: usize, heir: u8, cut: Vec<EnvelopeId>, commits: bool) -> Act {
        let next = puddle(LINE[(hop + 1).min(6)]);
        Act::Delegate(Delegate {
            hop: u64::try_from(hop).expect("a few"),
            to: puddle(heir),
            next: commits.then(|| Sha256::digest(next.as_bytes()).into()),
            cut,
            accept: Signature::from_bytes(&[0; 64]),
        })
    }

    /// Everything touched before, as the model would have it.
    fn update(&mut self, die: &mut Die, machine: usize, voice: Voice) {
        let (prev, deps) = self.place(die, machine, &voice);
        let mut past = Seen::default();
        for number in prev.iter().chain(&deps) {
            past.add_all(self.stage.past(*number));
        }
        let name = name(die.pick(&NAMES).expect("some"));
        let touches = |number: &usize| {
            let update = self.stage.get(*number).statement().update();
            update.is_some_and(|update| update.change(&name).is_some())
        };
        let contained: Vec<_> = past.numbers().filter(touches).collect();
        let mut new = [0; 20];
        new[..8].copy_from_slice(&(1 + die.number() / 2).to_be_bytes());
        let change = Change {
            contained: self.stage.ids(&contained),
            name,
            new: Oid::from_bytes(&new),
            forced: vec![],
        };
        let act = Act::Update(Update {
            changes: vec![change],
            head: None,
            pack: None,
        });
        self.say_at(machine, voice, prev, &deps, act);
    }

    /// After everything the machine has heard; a thief names less, and begins anywhere on a chain.
    fn place(&self, die: &mut Die, machine: usize, voice: &Voice) -> (Option<usize>, Vec<usize>) {
        let signer = *puddle(voice.seed).key();
        let honest = machine < MACHINES - 1;
        let mut own: Vec<_> = (0..self.stage.len())
            .filter(|number| {
                let statement = self.stage.get(*number).statement();
                let heard = self.seen[machine].has(*number) || !honest;
                heard && statement.signer == signer && statement.envoy.is_some()
            })
            .collect();
        if honest || die.chance(50) {
            own.retain(|number| {
                self.stage.get(*number).statement().incarnation == voice.incarnation
            });
        }
        if honest {
            let last = own
                .iter()
                .max_by_key(|number| self.stage.get(**number).statement().seq);
            return (last.copied(), self.stage.heads(&self.seen[machine]));
        }
        let known: Vec<_> = self.seen[machine].numbers().collect();
        (die.pick(&own).copied(), die.some(&known, 2))
    }

    fn say(&mut self, die: &mut Die, machine: usize, voice: Voice, act: Act) {
        let (prev, deps) = self.place(die, machine, &voice);
        self.say_at(machine, voice, prev, &deps, act);
    }

    fn say_at(
        &mut self,
        machine: usize,
        mut voice: Voice,
        prev: Option<usize>,
        deps: &[usize],
        act: Act,
    ) {
        if let Some(prev) = prev {
            voice.incarnation = self.stage.get(prev).statement().incarnation;
        }
        voice.seen.clone_from(&self.seen[machine]);
        let statement = self.stage.draft_after(&voice, prev, deps, act);
        self.stage.seal(&mut voice, statement);
        self.seen[machine] = voice.seen;
    }

    fn cut(&self, die: &mut Die, machine: usize) -> Vec<EnvelopeId> {
        let everything: Vec<_> = (0..self.stage.len()).collect();
        let numbers = match die.below(10) {
            0 => vec![],
            1 => die.some(&everything, 4),
            _ => self.stage.heads(&self.seen[machine]),
        };
        self.stage.ids(&numbers)
    }

    fn invites(&self, machine: usize, of: Option<PuddleKey>) -> Vec<EnvelopeId> {
        let fits = |number: &usize| match self.stage.act(*number) {
            Act::Invite(invite) => of.is_none_or(|of| invite.puddle == of),
            _ => false,
        };
        let numbers = self.seen[machine].numbers().filter(fits);
        numbers.map(|number| self.stage.id(number)).collect()
    }

    fn hear(&mut self, machine: usize, other: usize) {
        let seen = self.seen[other].clone();
        self.seen[machine].add_all(&seen);
    }
}

fn tombstone(die: &mut Die, cut: Vec<EnvelopeId>) -> Act {
    Act::Tombstone(Tombstone {
        founder: puddle(1),
        handle: ["new", "newer", "newest"][die.below(3)]
            .parse()
            .expect("a handle"),
        cut,
    })
}

fn fold(all: &[Verified], pins: &BTreeMap<u64, EnvelopeId>) -> Project {
    let mut project = Project::with_pins(project_id(), pins.clone());
    for verified in all {
        project.insert(verified.clone()).expect("within the rules");
    }
    project
}

/// Pins of some hops, each of one that could be followed there.
fn pins(all: &[Verified], die: &mut Die) -> BTreeMap<u64, EnvelopeId> {
    let mut pins = BTreeMap::new();
    for hop in 1..=5 {
        let project = fold(all, &pins);
        let contested = project.contests().iter().find(|one| one.hop == hop);
        let fresh = project.fresh_pins();
        let mut followed = fresh.iter().filter(|(at, _)| *at == hop);
        let pin = match (contested, followed.next()) {
            (Some(contest), _) if die.chance(75) => die.pick(&contest.delegates).copied(),
            (None, Some((_, id))) if die.chance(30) => Some(*id),
            _ => None,
        };
        pins.extend(pin.map(|id| (hop, id)));
    }
    pins
}

impl Modelled {
    /// Whether the model gives the answer of the specification here.
    pub(crate) fn is_comparable(&self) -> bool {
        let mut about: BTreeMap<EnvelopeId, (usize, usize)> = BTreeMap::new();
        for verified in &self.all {
            match &verified.statement().act {
                Act::Revoke(revoke) => about.entry(revoke.invite).or_default().0 += 1,
                Act::Leave { invite } => about.entry(*invite).or_default().1 += 1,
                _ => {}
            }
        }
        !about
            .values()
            .any(|(revokes, leaves)| *revokes > 0 && *leaves > 1)
    }

    /// What the model is asked.
    fn json(&self) -> String {
        let pins: Vec<_> = self
            .pins
            .iter()
            .map(|(hop, id)| format!("\"{hop}\": \"{id}\""))
            .collect();
        let envelopes: Vec<_> = self.all.iter().map(envelope_json).collect();
        format!(
            "{{\"founder\": \"{}\", \"pins\": {{{}}}, \"envelopes\": [\n{}\n]}}",
            puddle(1),
            pins.join(", "),
            envelopes.join(",\n")
        )
    }

    /// What the model should answer.
    fn answer(&self) -> String {
        let project = fold(&self.all, &self.pins);
        let mut text = String::from("line");
        for hop in project.line() {
            let _ = write!(text, " {}", hop.key);
        }
        if let Some(contest) = project.contests().last() {
            let _ = write!(text, "\ncontest {}", contest.hop);
            contest.delegates.iter().for_each(|id| {
                let _ = write!(text, " {id}");
            });
        }
        for successor in project.successors() {
            let _ = write!(text, "\nsuccessor {}", successor.handle);
        }
        let mut members: BTreeMap<PuddleKey, EnvelopeId> = BTreeMap::new();
        for one in project.memberships() {
            if let MembershipState::Live { .. } = one.state {
                let first = members.entry(one.puddle).or_insert(one.invite);
                *first = one.invite.min(*first);
            }
        }
        for (puddle, invite) in members {
            let _ = write!(text, "\nmember {puddle} {invite}");
        }
        let is_update = |verified: &&Verified| verified.statement().update().is_some();
        let mut void: Vec<_> = self
            .all
            .iter()
            .filter(is_update)
            .map(Verified::id)
            .collect();
        void.retain(|id| matches!(project.verdict(id), Verdict::Void(_)));
        void.sort();
        for id in void {
            let _ = write!(text, "\nvoid {id}");
        }
        for text_name in NAMES {
            let ref_name: RefName = name(text_name);
            let heads = project.heads_of(&ref_name);
            if !heads.is_empty() {
                let _ = write!(text, "\nref {text_name}");
            }
            for head in heads {
                let _ = write!(text, " {}", head.oid);
            }
        }
        text
    }
}

fn envelope_json(verified: &Verified) -> String {
    let statement = verified.statement();
    let list = |ids: &[EnvelopeId]| {
        let ids: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
        format!("[{}]", ids.join(", "))
    };
    let (kind, body) = match &statement.act {
        Act::Init { .. } => ("init", String::new()),
        Act::Invite(invite) => ("invite", format!("\"who\": \"{}\"", invite.puddle)),
        Act::Join { invite } => ("join", format!("\"inv\": \"{invite}\"")),
        Act::Leave { invite } => ("leave", format!("\"inv\": \"{invite}\"")),
        Act::Revoke(revoke) => (
            "revoke",
            format!(
                "\"inv\": \"{}\", \"cut\": {}",
                revoke.invite,
                list(&revoke.cut)
            ),
        ),
        Act::Delegate(delegate) => ("delegate", delegate_json(delegate, &list(&delegate.cut))),
        Act::Tombstone(tombstone) => (
            "tombstone",
            format!(
                "\"succ\": \"{}\", \"cut\": {}",
                tombstone.handle,
                list(&tombstone.cut)
            ),
        ),
        Act::Update(update) => {
            let change = update.changes.first().expect("one at least");
            (
                "ref",
                format!("\"ref\": \"{}\", \"new\": \"{}\"", change.name, change.new),
            )
        }
        _ => ("other", String::new()),
    };
    let prev = statement
        .prev
        .map_or("null".to_owned(), |prev| format!("\"{prev}\""));
    format!(
        "{{\"id\": \"{}\", \"kind\": \"{kind}\", \"signer\": \"{}\", \"chain\": \"{}\", \"seq\": {}, \"prev\": {prev}, \
         \"deps\": {}, \"body\": {{{body}}}}}",
        verified.id(),
        statement.puddle,
        hex::encode(statement.incarnation.as_bytes()),
        statement.seq,
        list(&statement.deps),
    )
}

/// The model makes its own digest of the key that is committed to.
fn delegate_json(delegate: &Delegate, cut: &str) -> String {
    let committed = delegate.next.map(|next| {
        let keys = LINE.iter().map(|seed| puddle(*seed));
        let mut keys = keys.filter(|key| next == <[u8; 32]>::from(Sha256::digest(key.as_bytes())));
        format!("\"{}\"", keys.next().expect("one of the line"))
    });
    format!(
        "\"hop\": {}, \"to\": \"{}\", \"next\": {}, \"cut\": {cut}",
        delegate.hop,
        delegate.to,
        committed.unwrap_or("null".to_owned()),
    )
}

/// The model's directory, if it is there.
fn model() -> Option<PathBuf> {
    let named = std::env::var_os("GITBACK_MODEL").map(PathBuf::from);
    let next_to_it = || {
        let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        Some(above.nth(3)?.join("shared").join("model"))
    };
    let directory = named.or_else(next_to_it)?;
    directory.join("fold.py").is_file().then_some(directory)
}

/// What the model answers about each of the worlds; why not, if it cannot be asked.
fn ask(worlds: &[Modelled]) -> Result<Vec<String>, String> {
    let directory = model().ok_or("the model is not here; GITBACK_MODEL says where it is")?;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/oracle/fold_model.py"
    );
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("python3 does not start: {error}"))?;
    let json: Vec<_> = worlds.iter().map(Modelled::json).collect();
    let json = format!("[{}]", json.join(","));
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, json.as_bytes()).expect("the model reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the model ends");
    assert!(output.status.success(), "the model fails");
    let text = String::from_utf8(output.stdout).expect("text");
    let answers = text.split_terminator("\n\n");
    Ok(answers.map(str::to_owned).collect())
}

#[test]
fn the_model_gives_the_same() {
    let count = std::env::var("GITBACK_MODEL_WORLDS").ok();
    let count = count.map_or(40, |count| count.parse().expect("a number"));
    let mut compared = 0;
    for first in (0..count).step_by(100) {
        let seeds = first..count.min(first + 100);
        let worlds = seeds.map(|seed| {
            modelled(
                seed,
                [20, 40, 80][usize::try_from(seed % 3).expect("small")],
            )
        });
        let worlds: Vec<_> = worlds.collect();
        let answers = match ask(&worlds) {
            Ok(answers) => answers,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        };
        assert_eq!(answers.len(), worlds.len());
        for ((seed, world), answer) in (first..).zip(&worlds).zip(answers) {
            if world.is_comparable() {
                compared += 1;
                assert_eq!(world.answer(), answer, "world {seed}");
            }
        }
    }
    eprintln!("compared {compared} of {count} worlds");
    assert!(compared * 2 > count, "{compared} of {count}");
}
