//! Statements in their place: chain, number, predecessor and dependencies filled in.

use gitback_envelope::{
    Access, Act, DEPS_MAX, EnvelopeId, Incarnation, Reject, Statement, Update, Verified,
};
use gitback_identity::{EnvoyKey, ProjectId, PublicKey, PuddleKey, SecretKey};

use super::State;
use crate::clock;
use crate::fault::Fault;

/// Statements that follow one another on one chain. Ids do not depend on signatures, so all of them can be drafted
/// before the first is signed.
#[derive(Debug)]
pub(crate) struct Drafting {
    project: ProjectId,
    signer: PublicKey,
    puddle: PuddleKey,
    envoy: EnvoyKey,
    incarnation: Incarnation,
    seq: u64,
    prev: Option<EnvelopeId>,
    /// Heads that the next statement names.
    heads: Vec<EnvelopeId>,
    /// What a cut names so that everything valid here still counts.
    cut: Vec<EnvelopeId>,
    drafts: Vec<Statement>,
}

impl Drafting {
    /// Begins after the end of the chain as it is here, with `basis` in its past: the envelope without which the
    /// signer could not speak. Where there are more heads than one statement can name, a writer begins with as many
    /// `merge` as are needed, and anybody else leaves heads out.
    pub(crate) fn after(
        state: &State,
        signer: PublicKey,
        puddle: PuddleKey,
        envoy: EnvoyKey,
        basis: Option<EnvelopeId>,
    ) -> Result<Self, Reject> {
        let fold = state.fold();
        let incarnation = state.incarnation();
        let (seq, prev) = fold.next(&signer, &puddle, &incarnation);
        let cut = fold.cut();
        let seen = |head: &EnvelopeId| {
            prev.is_some_and(|prev| prev == *head || fold.is_ancestor(head, &prev))
        };
        let leads_to_basis = |head: &EnvelopeId| {
            basis.is_some_and(|basis| basis == *head || fold.is_ancestor(&basis, head))
        };
        let mut heads: Vec<EnvelopeId> = cut.iter().filter(|head| !seen(head)).copied().collect();
        heads.sort_by_key(|head| !leads_to_basis(head));
        let writes = fold.access(&puddle) >= Some(Access::Member);
        if !writes {
            heads.truncate(DEPS_MAX);
        }
        let mut drafting = Self {
            project: *fold.id(),
            signer,
            puddle,
            envoy,
            incarnation,
            seq,
            prev,
            heads,
            cut,
            drafts: Vec::new(),
        };
        while drafting.heads.len() > DEPS_MAX {
            let later = drafting.heads.split_off(DEPS_MAX);
            let merge = drafting.add(Act::Merge)?;
            drafting.heads = later;
            drafting.cut = drafting.heads.clone();
            drafting.cut.push(merge);
            drafting.cut.sort_unstable();
        }
        Ok(drafting)
    }

    /// Begins a chain of a project that is not here, right after `past`.
    pub(crate) fn outside(
        project: ProjectId,
        puddle: PuddleKey,
        envoy: EnvoyKey,
        incarnation: Incarnation,
        past: EnvelopeId,
    ) -> Self {
        Self {
            project,
            signer: *puddle.key(),
            puddle,
            envoy,
            incarnation,
            seq: 0,
            prev: None,
            heads: vec![past],
            cut: Vec::new(),
            drafts: Vec::new(),
        }
    }

    /// What a cut names here so that everything valid still counts.
    pub(crate) fn cut(&self) -> Vec<EnvelopeId> {
        self.cut.clone()
    }

    /// Adds the statement that comes next.
    pub(crate) fn add(&mut self, act: Act) -> Result<EnvelopeId, Reject> {
        let mut deps = std::mem::take(&mut self.heads);
        deps.sort_unstable();
        let statement = Statement {
            project: self.project,
            signer: self.signer,
            puddle: self.puddle,
            envoy: Some(self.envoy),
            incarnation: self.incarnation,
            seq: self.seq,
            prev: self.prev,
            deps,
            time_ms: Some(clock::now_ms()),
            act,
        };
        let id = statement.id()?;
        self.drafts.push(statement);
        self.prev = Some(id);
        self.seq += 1;
        Ok(id)
    }

    /// All of them, in order.
    pub(crate) fn into_statements(self) -> Vec<Statement> {
        self.drafts
    }
}

impl State {
    /// Signs an update with the envoy's own key, by `grant`, and whatever has to come before it.
    pub(crate) fn sign_update(
        &self,
        key: &SecretKey,
        puddle: PuddleKey,
        grant: EnvelopeId,
        update: Update,
    ) -> Result<Vec<Verified>, Fault> {
        let public = key.public();
        let sign = || {
            let envoy = EnvoyKey::new(public);
            let mut drafting = Drafting::after(self, public, puddle, envoy, Some(grant))?;
            drafting.add(Act::Update(update))?;
            let statements = drafting.into_statements().into_iter();
            let sealed = statements.map(|statement| {
                let signature = key.sign(&statement.signing_bytes()?);
                statement.seal(signature)
            });
            sealed.collect::<Result<Vec<_>, Reject>>()
        };
        sign().map_err(|source| Fault::Make {
            project: self.fold().id().to_string(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Change, Grant, Oid, RefName, Verdict};
    use gitback_identity::Handle;

    use super::super::Cell;
    use super::*;

    /// More heads than one statement can name.
    const MANY: u8 = 150;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn seal(statements: Vec<Statement>, key: &SecretKey) -> Vec<Verified> {
        let sealed = statements.into_iter().map(|statement| {
            let signature = key.sign(&statement.signing_bytes().expect("encodes"));
            statement.seal(signature).expect("its own")
        });
        sealed.collect()
    }

    /// A project with one update by each of many envoys, none of which knows of another.
    fn torn(dir: &std::path::Path) -> Cell {
        let founder = key(255);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(vec![Statement::init(&puddle, &handle)], &founder);
        let id = ProjectId::derive(&puddle, &handle);
        let (projects, envelopes) = (dir.join("projects"), dir.join("envelopes"));
        let limits = gitback_pack::Limits::default();
        let cell = Cell::open(id, &projects, &envelopes, &limits).expect("opens");
        let mut state = cell.lock();
        let own = EnvoyKey::new(key(254).public());
        let mut batch = init.clone();
        for seed in 0..MANY {
            let envoy = key(seed);
            let envoy_key = EnvoyKey::new(envoy.public());
            let life = Incarnation::from_bytes(&[seed.wrapping_add(1).max(1); 16]);
            let past = *init.first().expect("one").id();
            let mut granting = Drafting::outside(id, puddle, own, life, past);
            let grant = granting.add(Act::Grant(Grant {
                envoy: envoy_key,
                uid: 0,
                expires_ms: None,
            }));
            batch.extend(seal(granting.into_statements(), &founder));
            let mut updating =
                Drafting::outside(id, puddle, envoy_key, life, grant.expect("encodes"));
            updating.signer = envoy.public();
            let change = Change {
                name: RefName::new(format!("refs/heads/{seed}").as_bytes()).expect("valid"),
                new: Oid::zero(),
                contained: Vec::new(),
                forced: Vec::new(),
            };
            let update = Update {
                changes: vec![change],
                head: None,
                pack: None,
            };
            updating.add(Act::Update(update)).expect("encodes");
            batch.extend(seal(updating.into_statements(), &envoy));
        }
        let admitted = state.admit(batch).expect("the disk works");
        assert!(admitted.refused.is_empty(), "{admitted:?}");
        assert_eq!(state.fold().cut().len(), usize::from(MANY));
        drop(state);
        cell
    }

    #[test]
    fn a_writer_gathers_more_heads_than_one_statement_names() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cell = torn(dir.path());
        let mut state = cell.lock();
        let (founder, own) = (key(255), EnvoyKey::new(key(254).public()));
        let puddle = PuddleKey::new(founder.public());
        let drafting = Drafting::after(&state, founder.public(), puddle, own, None);
        let mut drafting = drafting.expect("encodes");
        let cut = drafting.cut();
        let last = drafting.add(Act::Merge).expect("encodes");
        let statements = drafting.into_statements();
        assert_eq!(
            statements.len(),
            3,
            "two gather, then comes what was wanted"
        );
        assert!(cut.len() <= DEPS_MAX);
        let heads = state.fold().cut();
        let admitted = state
            .admit(seal(statements, &founder))
            .expect("the disk works");
        assert!(admitted.first_void(&state).is_none());
        assert_eq!(state.fold().cut(), [last]);
        let kept = |head: &EnvelopeId| {
            let mut cut = cut.iter();
            cut.any(|id| id == head || state.fold().is_ancestor(head, id))
        };
        assert!(heads.iter().all(kept), "the cut keeps everything");
    }

    #[test]
    fn who_may_not_gather_heads_names_those_that_let_it_speak() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cell = torn(dir.path());
        let state = cell.lock();
        let stranger = key(253);
        let puddle = PuddleKey::new(stranger.public());
        let own = EnvoyKey::new(key(254).public());
        let basis = *state.fold().cut().last().expect("many");
        assert_eq!(state.fold().verdict(&basis), Verdict::Valid);
        let drafting = Drafting::after(&state, stranger.public(), puddle, own, Some(basis));
        let mut drafting = drafting.expect("encodes");
        drafting.add(Act::Merge).expect("encodes");
        let statements = drafting.into_statements();
        let [one] = statements.as_slice() else {
            panic!("nothing comes before it: {statements:?}");
        };
        assert_eq!(one.deps.len(), DEPS_MAX);
        assert!(one.deps.contains(&basis));
    }
}
