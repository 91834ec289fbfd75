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
