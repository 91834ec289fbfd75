//! What had happened before a world begins: a project founded, people invited, their envoys granted. Signed once for
//! each shape of fleet, and shared by all seeds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use gitback_envelope::{
    Act, EnvelopeId, Grant, Incarnation, Inserted, Invite, Policy, Project, Role, Scope, Statement,
    Verified,
};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PublicKey, PuddleKey, SecretKey};

use super::keys::Keys;

/// The user of each simulated machine.
pub(super) const UID: u32 = 1000;

/// The shape of a fleet and of what it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// Envoys that somebody has granted: envoy n by person n modulo `people`.
    pub(super) granted: usize,
    pub(super) people: usize,
    pub(super) swarm_wide: bool,
    /// Several projects of one shape differ by their number.
    pub(super) number: usize,
}

/// A project as every replica holds it when a world begins.
#[derive(Debug)]
pub(super) struct Prelude {
    pub(super) id: ProjectId,
    pub(super) fold: Project,
    pub(super) envelopes: Vec<Verified>,
    /// By envoy: who granted it, and by which envelope.
    pub(super) grants: BTreeMap<usize, (usize, EnvelopeId)>,
    /// By person: the membership. The founder has none.
    pub(super) invites: BTreeMap<usize, EnvelopeId>,
}

impl Prelude {
    /// The prelude of this shape, made once a process.
    pub(super) fn of(keys: &Keys, shape: Shape) -> Arc<Self> {
        type Made = Mutex<BTreeMap<Shape, Arc<Prelude>>>;
        static MADE: OnceLock<Made> = OnceLock::new();
        let mut made = MADE
            .get_or_init(Made::default)
            .lock()
            .expect("nobody panics while it makes a prelude");
        let prelude = made
            .entry(shape)
            .or_insert_with(|| Arc::new(Self::make(keys, shape)));
        Arc::clone(prelude)
    }

    /// A prelude that is not kept.
    pub(super) fn make(keys: &Keys, shape: Shape) -> Self {
        let founder = keys.person(0);
        let handle: Handle = format!("notes-{}", shape.number).parse().expect("a handle");
        let init = Statement::init(&founder, &handle);
        let id = init.project;
        let mut made = Self {
            id,
            fold: Project::new(id),
            envelopes: Vec::new(),
            grants: BTreeMap::new(),
            invites: BTreeMap::new(),
        };
        made.keep(seal(init, keys.person_secret(0)));
        if shape.swarm_wide {
            let policy = Act::Policy(Policy {
                scope: Scope::SwarmWide,
                protected: Vec::new(),
                replicas: None,
            });
            made.say(keys, 0, policy);
        }
        for person in 1..shape.people {
            let puddle = keys.person(person);
            let role = Role::Member;
            let invite = made.say(keys, 0, Act::Invite(Invite { puddle, role }));
            made.invites.insert(person, invite);
            made.say(keys, person, Act::Join { invite });
        }
        for envoy in 0..shape.granted {
            let person = envoy % shape.people;
            let grant = made.say(keys, person, grant(keys.envoy(envoy)));
            made.grants.insert(envoy, (person, grant));
        }
        made
    }

    fn say(&mut self, keys: &Keys, person: usize, act: Act) -> EnvelopeId {
        let author = Author {
            secret: keys.person_secret(person),
            puddle: keys.person(person),
            envoy: keys.envoy(person),
            incarnation: Incarnation::from_bytes(&[0x11; 16]),
            time_ms: None,
        };
        self.keep(author.say(&self.fold, act))
    }

    fn keep(&mut self, envelope: Verified) -> EnvelopeId {
        let id = *envelope.id();
        let inserted = self.fold.insert(envelope.clone());
        assert!(matches!(inserted, Ok(Inserted::Folded(_))), "{inserted:?}");
        self.envelopes.push(envelope);
        id
    }
}

pub(super) fn grant(envoy: EnvoyKey) -> Act {
    Act::Grant(Grant {
        envoy,
        uid: UID,
        expires_ms: None,
    })
}

/// Who signs, for whom, where and when.
pub(super) struct Author<'a> {
    pub(super) secret: &'a SecretKey,
    pub(super) puddle: PuddleKey,
    pub(super) envoy: EnvoyKey,
    pub(super) incarnation: Incarnation,
    pub(super) time_ms: Option<u64>,
}

impl Author<'_> {
    /// The key that signs.
    pub(super) fn signer(&self) -> PublicKey {
        self.secret.public()
    }

    /// The next statement of the author, after all that counts in `fold`.
    pub(super) fn draft(&self, fold: &Project, act: Act) -> Statement {
        let signer = self.signer();
        let (seq, prev) = fold.next(&signer, &self.puddle, &self.incarnation);
        Statement {
            project: *fold.id(),
            signer,
            puddle: self.puddle,
            envoy: Some(self.envoy),
            incarnation: self.incarnation,
            seq,
            prev,
            deps: fold.deps_after(prev.as_ref()),
            time_ms: self.time_ms,
            act,
        }
    }

    pub(super) fn say(&self, fold: &Project, act: Act) -> Verified {
        seal(self.draft(fold, act), self.secret)
    }
}

/// Signs a statement.
pub(super) fn seal(statement: Statement, secret: &SecretKey) -> Verified {
    let signed = statement.signing_bytes().expect("within the rules");
    let signature = secret.sign(&signed);
    statement.seal(signature).expect("its own signature")
}
