//! People and machines that write envelopes into one project.

use gitback_envelope::{
    Act, Change, Delegate, Envelope, EnvelopeId, Grant, Head, Incarnation, Inserted, Invite, Oid,
    Policy, Project, RefName, Revoke, Role, Scope, Statement, Tombstone, Ungrant, Update, Verdict,
    Verified, VoidReason,
};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey, Signature};
use sha2::{Digest as _, Sha256};

use crate::corpus::raw::Draft;

pub(crate) const UID: u32 = 1000;

pub(crate) fn name(text: &str) -> RefName {
    text.parse().expect("a ref name")
}

pub(crate) fn oid(byte: u8) -> Oid {
    Oid::from_bytes(&[byte; 20])
}

pub(crate) fn key(seed: u8) -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

pub(crate) fn founder_key() -> PuddleKey {
    key(1)
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

    /// A person's session, which signs with the person's own key.
    pub(crate) fn person(seed: u8) -> Self {
        Self::new(seed, key(seed), 10)
    }

    /// The daemon of an envoy, which signs with the envoy's key for somebody.
    pub(crate) fn daemon(seed: u8, of: &Self) -> Self {
        Self::new(seed, of.puddle, seed)
    }

    /// The same key and the same chain in other hands, which know `init` only.
    pub(crate) fn thief(&self) -> Self {
        let mut thief = Self {
            secret: SecretKey::from_seed(self.secret.seed()),
            puddle: self.puddle,
            envoy: self.envoy,
            incarnation: self.incarnation,
            view: Project::new(project_id()),
        };
        thief.take(&init());
        thief
    }

    /// The same key and the same chain in other hands, which know all that this author knows.
    pub(crate) fn copy(&self) -> Self {
        let mut copy = self.thief();
        copy.meet(self);
        copy
    }

    /// The same key on another chain.
    pub(crate) fn elsewhere(&self, incarnation: u8) -> Self {
        let mut elsewhere = self.copy();
        elsewhere.incarnation = Incarnation::from_bytes(&[incarnation; 16]);
        elsewhere
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

    /// Lets somebody in.
    pub(crate) fn invite(&mut self, puddle: PuddleKey, role: Role) -> EnvelopeId {
        self.say(Act::Invite(Invite { puddle, role }))
    }

    pub(crate) fn join(&mut self, invite: EnvelopeId) -> EnvelopeId {
        self.say(Act::Join { invite })
    }

    pub(crate) fn leave(&mut self, invite: EnvelopeId) -> EnvelopeId {
        self.say(Act::Leave { invite })
    }

    pub(crate) fn rejoin(&mut self, invite: EnvelopeId) -> EnvelopeId {
        self.say(Act::Rejoin { invite })
    }

    /// Ends a membership, at everything in sight.
    pub(crate) fn revoke(&mut self, invite: EnvelopeId) -> EnvelopeId {
        let cut = self.view.cut();
        self.revoke_at(invite, cut)
    }

    pub(crate) fn revoke_at(&mut self, invite: EnvelopeId, cut: Vec<EnvelopeId>) -> EnvelopeId {
        self.say(Act::Revoke(Revoke { invite, cut }))
    }

    /// Takes grants back, at everything in sight.
    pub(crate) fn ungrant(&mut self, envoy: &Self) -> EnvelopeId {
        let cut = self.view.cut();
        self.ungrant_at(envoy, cut)
    }

    pub(crate) fn ungrant_at(&mut self, envoy: &Self, cut: Vec<EnvelopeId>) -> EnvelopeId {
        let envoy = envoy.envoy;
        self.say(Act::Ungrant(Ungrant { envoy, cut }))
    }

    /// Ends the project, at everything in sight, in favour of another of the same key.
    pub(crate) fn tombstone(&mut self, handle: &str) -> EnvelopeId {
        let cut = self.view.cut();
        self.tombstone_at(handle, cut)
    }

    pub(crate) fn tombstone_at(&mut self, handle: &str, cut: Vec<EnvelopeId>) -> EnvelopeId {
        self.say(Act::Tombstone(Tombstone {
            founder: self.puddle,
            handle: handle.parse().expect("a handle"),
            cut,
        }))
    }

    pub(crate) fn policy(&mut self, scope: Scope, protected: &[&str]) -> EnvelopeId {
        self.say(Act::Policy(Policy {
            scope,
            protected: protected.iter().map(|text| name(text)).collect(),
            replicas: None,
        }))
    }

    /// Passes the founder line on, at everything in sight.
    pub(crate) fn delegate(&mut self, hop: u64, heir: &Self) -> EnvelopeId {
        let cut = self.view.cut();
        self.delegate_with(hop, heir, None, cut)
    }

    pub(crate) fn delegate_with(
        &mut self,
        hop: u64,
        heir: &Self,
        next: Option<&Self>,
        cut: Vec<EnvelopeId>,
    ) -> EnvelopeId {
        let statement = self.draft(Act::Delegate(Delegate {
            hop,
            to: heir.puddle,
            next: next.map(|next| Sha256::digest(next.puddle.as_bytes()).into()),
            cut,
            accept: Signature::from_bytes(&[0; 64]),
        }));
        let verified = self.seal(accepted(statement, &heir.secret));
        self.take(&verified);
        *verified.id()
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
        let statement = self.draft(Act::Merge);
        unknown(&statement, &self.secret, salt)
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

/// The statement with an act of a kind that nobody knows in place of its own.
pub(crate) fn unknown(statement: &Statement, secret: &SecretKey, salt: u64) -> Verified {
    use crate::corpus::raw::{array, bytes, uint, wrap};
    let deps = statement.deps.iter();
    let deps: Vec<_> = deps.map(|dep| bytes(dep.as_bytes())).collect();
    let envoy = statement.envoy.as_ref().map(|envoy| *envoy.as_bytes());
    let mut draft = Draft::unknown("news.v1")
        .with(1, bytes(statement.signer.as_bytes()))
        .with(2, bytes(statement.puddle.as_bytes()))
        .with(3, bytes(&envoy.unwrap_or_default()))
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
    let bytes = wrap(
        draft.type_name.as_bytes(),
        &draft.body(),
        secret.sign(&signed).as_bytes(),
    );
    let envelope = Envelope::decode(&bytes).and_then(Envelope::verify);
    envelope.expect("a well-formed envelope of an unknown kind")
}

/// A delegation with its heir's signature.
pub(crate) fn accepted(mut statement: Statement, heir: &SecretKey) -> Statement {
    let signed = statement.acceptance_bytes().expect("within the rules");
    let signed = signed.expect("a delegation has something to accept");
    if let Act::Delegate(delegate) = &mut statement.act {
        delegate.accept = heir.sign(&signed);
    }
    statement
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

/// Everything that any of the authors has, folded with pins.
pub(crate) fn pinned(authors: &[&Author], pins: &[(u64, EnvelopeId)]) -> Project {
    let mut all = Project::with_pins(project_id(), pins.iter().copied().collect());
    for author in authors {
        for verified in author.view.iter() {
            all.insert(verified.clone()).expect("within the rules");
        }
    }
    all
}

/// Why a folded envelope is void; `None`: it counts.
pub(crate) fn void(project: &Project, id: &EnvelopeId) -> Option<VoidReason> {
    match project.verdict(id) {
        Verdict::Valid => None,
        Verdict::Void(reason) => Some(reason),
        verdict @ (Verdict::Waiting | Verdict::Unknown) => panic!("{id} is {verdict:?}"),
    }
}

/// A founder and two members who have joined, each of whom has seen all.
pub(crate) struct Club {
    pub(crate) founder: Author,
    pub(crate) mia: Author,
    pub(crate) nico: Author,
    pub(crate) mias: EnvelopeId,
    pub(crate) nicos: EnvelopeId,
}

pub(crate) fn club() -> Club {
    let mut founder = Author::founder();
    let (mut mia, mut nico) = (Author::person(20), Author::person(21));
    let mias = founder.invite(mia.puddle, Role::Member);
    let nicos = founder.invite(nico.puddle, Role::Member);
    mia.meet(&founder);
    mia.join(mias);
    nico.meet(&mia);
    nico.join(nicos);
    founder.meet(&nico);
    mia.meet(&nico);
    Club {
        founder,
        mia,
        nico,
        mias,
        nicos,
    }
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

/// Says that an update that is here lies about every ref that it touches.
pub(crate) fn hold_out(project: &mut Project, id: &EnvelopeId) {
    let update = project.get(id).expect("it is here").statement().update();
    let changes = update.expect("an update").changes.clone();
    for change in changes {
        project.hold_out(id, &change.name);
    }
}
