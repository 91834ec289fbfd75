//! What is signed on the way to a stream: only what lets this user use this project on this
//! machine, and only after a look at it.

use std::time::{SystemTime, UNIX_EPOCH};

use gitback_envelope::{Act, EnvelopeId, Proof, Statement, Token, Verified};
use gitback_helper::{Draft, Failure, GRANT_LIFE, Reply, Request};
use gitback_identity::{EnvoyKey, ProjectId, hex};
use gitback_signer::{
    Approved, Author, Expected, May, Signer, approve, fresh_incarnation, grant, home,
};

use crate::failures;
use crate::open::{Opening, Place};
use crate::resolve::Own;

const TO_BRING_IN: &str = "bringing the project to this machine needs a signature";

impl Opening<'_, '_> {
    /// Signs what lets this envoy serve this user: a grant, before it a join where the puddle was
    /// invited again, and whatever gathers heads. `why` completes "puddle dan is locked; ".
    pub(crate) fn sign(
        &mut self,
        place: &Place,
        drafts: &[Draft],
        why: &str,
    ) -> Result<(), Failure> {
        let own = self
            .target
            .own
            .as_ref()
            .ok_or_else(|| failures::grant_needs_puddle(&place.handle))?;
        let approved = self.look_at(place, drafts, own)?;
        let envelopes = seal(&self.signer(own, why)?, approved, own, why)?;
        let request = Request::Submit {
            project: place.project.to_string(),
            envelopes: in_hex(&envelopes),
        };
        self.hand_in(place, &request)
    }

    /// Proves that the user may have the project here, so that the daemon fetches it from others:
    /// as its founder, or as a member by the token in the user's home.
    pub(crate) fn bring_in(&mut self, place: &Place, drafts: &[Draft]) -> Result<(), Failure> {
        let token = match home::token(&self.layout.projects_dir, &place.project) {
            Some((token, proof)) => self.by_token(place, &token, &proof)?,
            None => self.as_founder(place, drafts)?,
        };
        let request = Request::Bootstrap {
            project: place.project.to_string(),
            token: in_hex(&token),
        };
        self.hand_in(place, &request)
    }

    /// Renews the grant when less than half of it is left and the puddle is unlocked anyway. A
    /// push or fetch never fails for it.
    pub(crate) fn renew(&mut self, place: &Place) {
        let kept = home::token(&self.layout.projects_dir, &place.project);
        let Some(end_ms) = kept.and_then(|(_, proof)| proof.expires_ms) else {
            return;
        };
        let half_ms = u64::try_from(GRANT_LIFE.as_millis() / 2).unwrap_or(u64::MAX);
        if end_ms.saturating_sub(now_ms()) >= half_ms {
            return;
        }
        if let Err(failure) = self.try_renew(place) {
            self.talk
                .remark(&format!("the grant was not renewed: {}", failure.what));
        }
    }

    fn try_renew(&mut self, place: &Place) -> Result<(), Failure> {
        let Some(own) = &self.target.own else {
            return Ok(());
        };
        let socket = &self.layout.session_socket;
        // A locked puddle is no failure: the grant still has some weeks.
        let Ok(signer) = Signer::connect(socket, &own.key) else {
            return Ok(());
        };
        let request = Request::Renewals {
            puddle: own.key.to_string(),
        };
        let items = match self.ask(&request)? {
            Reply::Renewals { items } => items,
            other => return Err(other.unexpected()),
        };
        let project = place.project.to_string();
        for item in items.iter().filter(|item| item.project == project) {
            let approved = self.look_at(place, &item.drafts, own)?;
            let envelopes = seal(&signer, approved, own, &item.why)?;
            let request = Request::Submit {
                project: project.clone(),
                envelopes: in_hex(&envelopes),
            };
            self.hand_in(place, &request)?;
        }
        Ok(())
    }

    /// The token as it is, where it is for this user on this envoy: that takes no signature.
    /// Otherwise its membership, and a new grant.
    fn by_token(
        &mut self,
        place: &Place,
        token: &Token,
        proof: &Proof,
    ) -> Result<Vec<Verified>, Failure> {
        let envoy = self.envoy()?;
        let lives = proof.expires_ms.is_none_or(|end| end > now_ms());
        if proof.envoy == envoy && proof.uid == self.wish.uid && lives {
            return Ok(token.envelopes().to_vec());
        }
        let own = self.target.own.as_ref();
        let own = own
            .filter(|own| own.key == proof.puddle)
            .ok_or_else(|| failures::not_here(place, self.target.own.as_ref()))?;
        let membership = home::membership(token);
        let last = membership.last().map(|envelope| *envelope.id());
        let last = last.ok_or_else(|| failures::not_here(place, Some(own)))?;
        let approved = self.new_grant(place, own, envoy, last)?;
        let sealed = seal(&self.signer(own, TO_BRING_IN)?, approved, own, TO_BRING_IN)?;
        Ok(membership.iter().cloned().chain(sealed).collect())
    }

    /// The project's `init`, made again, and the grant that follows it.
    fn as_founder(&mut self, place: &Place, drafts: &[Draft]) -> Result<Vec<Verified>, Failure> {
        let own = self.target.own.as_ref();
        let own = own
            .filter(|own| ProjectId::derive(&own.key, &place.handle) == place.project)
            .ok_or_else(|| failures::not_here(place, self.target.own.as_ref()))?;
        let init = Statement::init(&own.key, &place.handle);
        let mut approved =
            vec![Approved::made(init).map_err(|reject| failures::not_written(&reject))?];
        approved.extend(self.look_at(place, drafts, own)?);
        seal(&self.signer(own, TO_BRING_IN)?, approved, own, TO_BRING_IN)
    }

    fn new_grant(
        &self,
        place: &Place,
        own: &Own,
        envoy: EnvoyKey,
        past: EnvelopeId,
    ) -> Result<Vec<Approved>, Failure> {
        let author = Author {
            project: place.project,
            puddle: own.key,
            envoy,
            incarnation: fresh_incarnation().map_err(|error| failures::no_randomness(&error))?,
            now_ms: now_ms(),
        };
        let act: Act = grant(envoy, self.wish.uid, author.now_ms);
        author
            .say(past, [act])
            .map_err(|reject| failures::not_written(&reject))
    }

    fn envoy(&mut self) -> Result<EnvoyKey, Failure> {
        match self.ask(&Request::Envoy)? {
            Reply::Envoy(status) => match status.key.parse() {
                Ok(key) => Ok(key),
                Err(_) => Err(Reply::Envoy(status).unexpected()),
            },
            other => Err(other.unexpected()),
        }
    }

    /// The daemon is not taken at its word.
    fn look_at(
        &self,
        place: &Place,
        drafts: &[Draft],
        own: &Own,
    ) -> Result<Vec<Approved>, Failure> {
        let may = [
            May::grant(self.wish.uid, now_ms()),
            May::Join { invite: None },
        ];
        let expected = Expected {
            project: &place.project,
            puddle: &own.key,
            may: &may,
        };
        approve(drafts, expected).map_err(|reject| failures::draft(&reject))
    }

    fn signer(&self, own: &Own, what_for: &str) -> Result<Signer, Failure> {
        Signer::connect(&self.layout.session_socket, &own.key)
            .map_err(|error| failures::sign(&error, &own.name, what_for))
    }

    fn hand_in(&mut self, place: &Place, request: &Request) -> Result<(), Failure> {
        let (notes, token) = match self.ask(request)? {
            Reply::Accepted { notes, token } => (notes, token),
            other => return Err(other.unexpected()),
        };
        notes.iter().for_each(|note| self.talk.remark(note));
        let token = token.and_then(|token| hex::decode(&token, gitback_envelope::TOKEN_MAX));
        if let Some(token) = token {
            let kept = home::keep_token(&self.layout.projects_dir, &place.project, &token);
            if let Err(fault) = kept {
                self.talk.remark(&gitback_helper::chain(&fault));
            }
        }
        Ok(())
    }
}

fn seal(
    signer: &Signer,
    approved: Vec<Approved>,
    own: &Own,
    what_for: &str,
) -> Result<Vec<Verified>, Failure> {
    let sealed = approved.into_iter().map(|one| signer.seal(one));
    let sealed: Result<_, _> = sealed.collect();
    sealed.map_err(|error| failures::sign(&error, &own.name, what_for))
}

fn in_hex(envelopes: &[Verified]) -> Vec<String> {
    let envelopes = envelopes.iter();
    envelopes
        .map(|envelope| hex::encode(envelope.bytes()))
        .collect()
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
