//! What it costs to verify and fold envelopes, by the size of the project: `cargo xtask bench --fold`.
//!
//! One history is made and signed: a founder, three members, and the four envoys that sign for them, each push after all
//! others, each hundredth envelope a renewed grant. Then it is folded from the beginning, and the last thousand envelopes before
//! each size are timed, so that all sizes are measured in one run and on one machine.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use gitback_envelope::{
    Act, Change, Delegate, Envelope, EnvelopeId, Grant, Incarnation, Inserted, Invite, Oid,
    Project, Revoke, Role, Statement, Update, Verdict, Verified,
};
use gitback_identity::{EnvoyKey, Handle, PuddleKey, SecretKey, Signature};

/// Envelopes that are timed before each size.
const TIMED: usize = 1_000;
/// Envelopes that are decoded and verified.
const VERIFIED: usize = 20_000;
/// The sizes, in envelopes, when none are named.
const SIZES: [usize; 4] = [100, 10_000, 100_000, 1_000_000];
/// One envelope of so many is a grant.
const GRANT_EVERY: usize = 100;

fn main() -> Result<()> {
    let named: Result<Vec<usize>, _> = std::env::args().skip(1).map(|size| size.parse()).collect();
    let mut sizes = named.context("sizes are numbers of envelopes")?;
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    sizes.sort_unstable();
    let most = sizes.last().copied().context("a size")?;
    let mut out = std::io::stdout().lock();
    let history = History::make(most)?;

    let some: Vec<&Verified> = history.all.iter().rev().take(VERIFIED).collect();
    let begun = Instant::now();
    for envelope in &some {
        Envelope::decode(envelope.bytes())?.verify()?;
    }
    let rate = some.len() as f64 / begun.elapsed().as_secs_f64();
    writeln!(out, "decode and verify: {rate:.0} envelopes a second")?;

    let mut project = Project::new(history.all.first().context("init")?.statement().project);
    let (mut spent, mut first) = (Duration::ZERO, None);
    let mut window = Duration::ZERO;
    for (at, envelope) in history.all.iter().enumerate() {
        let copy = envelope.clone();
        let begun = Instant::now();
        let inserted = project.insert(copy)?;
        let took = begun.elapsed();
        if !matches!(inserted, Inserted::Folded(_)) {
            bail!("envelope {at} did not fold");
        }
        spent += took;
        let next = sizes.iter().find(|size| **size > at).copied();
        if next.is_some_and(|size| at + TIMED.min(size) >= size) {
            window += took;
        }
        if sizes.contains(&(at + 1)) {
            let timed = TIMED.min(at + 1);
            let each = window.as_secs_f64() * 1e6 / timed as f64;
            let of_first = each / *first.get_or_insert(each);
            writeln!(
                out,
                "fold at {}: {each:.2} µs an envelope, {of_first:.2} of the first size (mean of {timed})",
                at + 1
            )?;
            window = Duration::ZERO;
        }
    }
    writeln!(out, "fold of all {most}: {:.2} s", spent.as_secs_f64())?;
    for verified in history.all.iter().step_by(most.div_ceil(1_000)) {
        if project.verdict(verified.id()) != Verdict::Valid {
            bail!("an honest envelope is void");
        }
    }
    for (what, envelope) in history.endings()? {
        let begun = Instant::now();
        project.insert(envelope.clone())?;
        let took = begun.elapsed();
        if project.verdict(envelope.id()) != Verdict::Valid {
            bail!("the {what} is void");
        }
        writeln!(out, "{what} at {most}: {:.1} ms", took.as_secs_f64() * 1e3)?;
    }
    Ok(())
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn puddle(seed: u8) -> PuddleKey {
    PuddleKey::new(secret(seed).public())
}

const FOUNDER: u8 = 1;
const HEIR: u8 = 2;
/// The founder and the members, each with the envoy that signs for them.
const PEOPLE: [(u8, u8); 4] = [(FOUNDER, 11), (3, 13), (4, 14), (5, 15)];

/// The end of one chain.
struct End {
    secret: SecretKey,
    puddle: PuddleKey,
    envoy: EnvoyKey,
    last: Option<(u64, EnvelopeId)>,
}

struct History {
    all: Vec<Verified>,
    people: Vec<End>,
    invites: Vec<EnvelopeId>,
}

impl History {
    fn make(size: usize) -> Result<Self> {
        let handle: Handle = "notes".parse()?;
        let init = Statement::init(&puddle(FOUNDER), &handle);
        let signature = secret(FOUNDER).sign(&init.signing_bytes()?);
        let mut history = Self {
            all: vec![init.seal(signature)?],
            people: PEOPLE
                .map(|(person, envoy)| end(person, person, envoy))
                .into(),
            invites: Vec::new(),
        };
        let mut envoys: Vec<End> = PEOPLE
            .map(|(person, envoy)| end(envoy, person, envoy))
            .into();
        history.gather(&envoys)?;
        let mut head: Option<EnvelopeId> = None;
        while history.all.len() < size {
            let turn = history.all.len() % PEOPLE.len();
            if history.all.len().is_multiple_of(GRANT_EVERY) {
                history.grant(turn)?;
                continue;
            }
            let act = Act::Update(Update {
                changes: vec![Change {
                    name: "refs/heads/main".parse()?,
                    new: Oid::from_bytes(&[7; 20]),
                    contained: head.into_iter().collect(),
                    forced: Vec::new(),
                }],
                head: None,
                pack: None,
            });
            let envoy = envoys.get_mut(turn).context("an envoy for each")?;
            head = Some(history.say_as(envoy, act)?);
        }
        Ok(history)
    }

    /// Invites everybody, lets them join, and grants their envoys.
    fn gather(&mut self, envoys: &[End]) -> Result<()> {
        for (turn, (person, _)) in PEOPLE.iter().enumerate() {
            if turn > 0 {
                let invite = Invite {
                    puddle: puddle(*person),
                    role: Role::Member,
                };
                let invite = self.say(0, Act::Invite(invite))?;
                self.invites.push(invite);
                self.say(turn, Act::Join { invite })?;
            }
            self.grant(turn)?;
        }
        if envoys.len() == PEOPLE.len() {
            Ok(())
        } else {
            bail!("an envoy for each")
        }
    }

    fn grant(&mut self, turn: usize) -> Result<()> {
        let person = self.people.get(turn).context("somebody")?;
        let act = Act::Grant(Grant {
            envoy: person.envoy,
            uid: 1000,
            expires_ms: None,
        });
        self.say(turn, act).map(drop)
    }

    fn say(&mut self, turn: usize, act: Act) -> Result<EnvelopeId> {
        let statement = self.draft(self.people.get(turn).context("somebody")?, act)?;
        let person = self.people.get_mut(turn).context("somebody")?;
        let sealed = seal(person, statement)?;
        let id = *sealed.id();
        self.all.push(sealed);
        Ok(id)
    }

    fn say_as(&mut self, who: &mut End, act: Act) -> Result<EnvelopeId> {
        let sealed = seal(who, self.draft(who, act)?)?;
        let id = *sealed.id();
        self.all.push(sealed);
        Ok(id)
    }

    /// The next statement on a chain, after the last that anybody said.
    fn draft(&self, who: &End, act: Act) -> Result<Statement> {
        let last = self.all.last().context("init")?;
        let prev = who.last.map(|(_, id)| id);
        let deps = Some(*last.id()).filter(|id| prev != Some(*id));
        Ok(Statement {
            project: last.statement().project,
            signer: who.secret.public(),
            puddle: who.puddle,
            envoy: Some(who.envoy),
            incarnation: Incarnation::from_bytes(&[9; 16]),
            seq: who.last.map_or(0, |(seq, _)| seq + 1),
            prev,
            deps: deps.into_iter().collect(),
            time_ms: Some(1_800_000_000_000),
            act,
        })
    }

    /// What ends something: a member's membership, and the founder's key.
    fn endings(mut self) -> Result<[(&'static str, Verified); 2]> {
        let last = *self.all.last().context("init")?.id();
        let revoke = Act::Revoke(Revoke {
            invite: *self.invites.first().context("a member")?,
            cut: vec![last],
        });
        self.say(0, revoke)?;
        let revoke = self.all.last().context("it was said")?.clone();
        let founder = self.people.first().context("the founder")?;
        let act = Act::Delegate(Delegate {
            hop: 1,
            to: puddle(HEIR),
            next: None,
            cut: vec![*revoke.id()],
            accept: Signature::from_bytes(&[0; 64]),
        });
        let mut statement = self.draft(founder, act)?;
        let accepts = statement.acceptance_bytes()?.context("a delegation")?;
        if let Act::Delegate(delegate) = &mut statement.act {
            delegate.accept = secret(HEIR).sign(&accepts);
        }
        let founder = self.people.first_mut().context("the founder")?;
        let delegate = seal(founder, statement)?;
        Ok([("revoke", revoke), ("delegate", delegate)])
    }
}

fn end(signer: u8, person: u8, envoy: u8) -> End {
    End {
        secret: secret(signer),
        puddle: puddle(person),
        envoy: EnvoyKey::new(secret(envoy).public()),
        last: None,
    }
}

fn seal(who: &mut End, statement: Statement) -> Result<Verified> {
    let seq = statement.seq;
    let signature = who.secret.sign(&statement.signing_bytes()?);
    let sealed = statement.seal(signature)?;
    who.last = Some((seq, *sealed.id()));
    Ok(sealed)
}
