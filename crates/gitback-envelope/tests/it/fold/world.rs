//! People and machines that write envelopes into one project.

use gitback_envelope::{
    Act, Change, Envelope, EnvelopeId, Grant, Head, Incarnation, Inserted, Oid, Project, RefName,
    Statement, Update, Verified,
};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};

use crate::corpus::raw::Draft;

pub(crate) const UID: u32 = 1000;

pub(crate) fn name(text: &str) -> RefName {
    text.parse().expect("a ref name")
}

pub(crate) fn oid(byte: u8) -> Oid {
    Oid::from_bytes(&[byte; 20])
}

pub(crate) fn founder_key() -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[1; 32]).public())
}

pub(crate) fn handle() -> Handle {
    "notes".parse().expect("a handle")
}

pub(crate) fn project_id() -> ProjectId {
    ProjectId::derive(&founder_key(), &handle())
}

/// Somebody with a key, a chain, and a copy of the project.
pub(crate) struct Author {
    pub(crate) secret: SecretKey,
    pub(crate) puddle: PuddleKey,
    pub(crate) envoy: EnvoyKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) view: Project,
}

impl Author {
    /// The founder, with the session's key, on an envoy.
    pub(crate) fn founder() -> Self {
        Self::new(1, founder_key(), 10)
    }

    /// The daemon of an envoy, which signs with the envoy's key for the founder's puddle.
    pub(crate) fn envoy(seed: u8) -> Self {
        Self::new(seed, founder_key(), seed)
    }

    pub(crate) fn new(seed: u8, puddle: PuddleKey, envoy: u8) -> Self {
        let public = |seed| SecretKey::from_seed(&[seed; 32]).public();
        let mut author = Self {
            secret: SecretKey::from_seed(&[seed; 32]),
            puddle,
            envoy: EnvoyKey::new(public(envoy)),
            incarnation: Incarnation::from_bytes(&[seed; 16]),
            view: Project::new(project_id()),
        };
        author.take(&init());
        author
    }

    /// The next statement of this author, after everything it has seen.
    pub(crate) fn draft(&self, act: Act) -> Statement {
        let signer = self.secret.public();
        let (seq, prev) = self.view.next(&signer, &self.puddle, &self.incarnation);
        Statement {
            project: project_id(),
            signer,
            puddle: self.puddle,
            envoy: Some(self.envoy),
            incarnation: self.incarnation,
            seq,
            prev,
            deps: self.view.deps_after(prev.as_ref()),
            time_ms: None,
            act,
        }
    }

    pub(crate) fn seal(&self, statement: Statement) -> Verified {
        let signing_bytes = statement
            .signing_bytes()
            .expect("a statement within the rules");
        let signature = self.secret.sign(&signing_bytes);
        statement
            .seal(signature)
            .expect("the author's own signature")
    }

    pub(crate) fn say(&mut self, act: Act) -> EnvelopeId {
        let verified = self.seal(self.draft(act));
        self.take(&verified);
        *verified.id()
    }

    pub(crate) fn grant(&mut self, envoy: &Self, uid: u32, expires_ms: Option<u64>) -> EnvelopeId {
        self.say(Act::Grant(Grant {
            envoy: envoy.envoy,
            uid,
            expires_ms,
        }))
    }

    /// Moves one ref on from every head in sight.
    pub(crate) fn push(&mut self, ref_name: &str, new: u8) -> EnvelopeId {
        let contained = self.sight(ref_name);
        self.change(ref_name, new, contained, Vec::new())
    }

    /// Moves one ref away from every head in sight.
    pub(crate) fn force(&mut self, ref_name: &str, new: u8) -> EnvelopeId {
        let forced = self.sight(ref_name);
        self.change(ref_name, new, Vec::new(), forced)
    }

    pub(crate) fn delete(&mut self, ref_name: &str) -> EnvelopeId {
        self.force(ref_name, 0)
    }

    pub(crate) fn change(
        &mut self,
        ref_name: &str,
        new: u8,
        contained: Vec<EnvelopeId>,
        forced: Vec<EnvelopeId>,
    ) -> EnvelopeId {
        self.say(update(vec![Change {
            name: name(ref_name),
            new: oid(new),
            contained,
            forced,
        }]))
    }

    fn sight(&self, ref_name: &str) -> Vec<EnvelopeId> {
        let heads = self.view.heads_of(&name(ref_name));
        let mut ids: Vec<_> = heads.iter().map(|head| head.update).collect();
        ids.sort();
        ids
    }

    /// Says something of a kind that nobody knows.
    pub(crate) fn say_unknown(&mut self) -> EnvelopeId {
        let verified = self.seal_unknown(0);
        self.take(&verified);
        *verified.id()
    }

    pub(crate) fn seal_unknown(&self, salt: u64) -> Verified {
        use crate::corpus::raw::{array, bytes, uint, wrap};
        let statement = self.draft(Act::Grant(Grant {
            envoy: self.envoy,
            uid: 0,
            expires_ms: None,
        }));
        let deps: Vec<_> = statement
            .deps
            .iter()
            .map(|dep| bytes(dep.as_bytes()))
            .collect();
        let mut draft = Draft::unknown("news.v1")
            .with(1, bytes(statement.signer.as_bytes()))
            .with(2, bytes(statement.puddle.as_bytes()))
            .with(4, bytes(statement.incarnation.as_bytes()))
            .with(5, uint(statement.seq))
            .with(8, uint(salt))
            .without(7);
        if let Some(prev) = statement.prev {
            draft = draft.with(6, bytes(prev.as_bytes()));
        }
        if !deps.is_empty() {
            draft = draft.with(7, array(&deps));
        }
        let signed = gitback_envelope::signing_bytes(&draft.type_name, &draft.body());
        let signature = self.secret.sign(&signed);
        let bytes = wrap(
            draft.type_name.as_bytes(),
            &draft.body(),
            signature.as_bytes(),
        );
        let envelope = Envelope::decode(&bytes).and_then(Envelope::verify);
        envelope.expect("a well-formed envelope of an unknown kind")
    }

    pub(crate) fn take(&mut self, verified: &Verified) {
        let inserted = self.view.insert(verified.clone());
        assert_ne!(inserted, Ok(Inserted::Waiting), "authors see whole pasts");
        inserted.expect("an envelope within the rules");
    }

    /// Takes in everything another author has.
    pub(crate) fn meet(&mut self, other: &Self) {
        for verified in other.view.iter() {
            self.take(verified);
        }
    }
}

pub(crate) fn update(changes: Vec<Change>) -> Act {
    Act::Update(Update {
        changes,
        head: None,
        pack: None,
    })
}

pub(crate) fn init() -> Verified {
    let secret = SecretKey::from_seed(&[1; 32]);
    let statement = Statement::init(&founder_key(), &handle());
    let signature = secret.sign(&statement.signing_bytes().expect("within the rules"));
    statement
        .seal(signature)
        .expect("the founder's own signature")
}

/// Everything that any of the authors has, folded.
pub(crate) fn union(authors: &[&Author]) -> Project {
    let mut all = Project::new(project_id());
    for author in authors {
        for verified in author.view.iter() {
            all.insert(verified.clone()).expect("within the rules");
        }
    }
    all
}

/// The first bytes of the objects that a ref has, the visible one first.
pub(crate) fn values(project: &Project, ref_name: &str) -> Vec<u8> {
    let heads = project.heads_of(&name(ref_name));
    heads
        .iter()
        .map(|head: &Head| head.oid.as_bytes()[0])
        .collect()
}

/// A founder, and two envoys that may sign for it and have seen their grants.
pub(crate) fn founder_and_envoys() -> (Author, Author, Author) {
    let mut founder = Author::founder();
    let mut mars = Author::envoy(10);
    let mut venus = Author::envoy(11);
    founder.grant(&mars, UID, None);
    founder.grant(&venus, UID, None);
    mars.meet(&founder);
    venus.meet(&founder);
    (founder, mars, venus)
}
