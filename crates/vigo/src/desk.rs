//! Where the user signs: drafts come in from the daemon, are looked at, signed and handed back.

use std::rc::Rc;

use gitback_envelope::{TOKEN_MAX, Verified};
use gitback_helper::{Draft, Failure, Reply, Request, Wish};
use gitback_identity::{ProjectId, PuddleKey, PuddleName, hex};
use gitback_puddle::Public;
use gitback_signer::{Approved, Expected, May, SignError, Signer, approve, home};

use crate::context::Context;
use crate::errand::Errand;
use crate::failure;
use crate::project::Subject;

/// One puddle that signs about one project.
pub(crate) struct Desk<'a> {
    context: &'a Context,
    name: PuddleName,
    key: PuddleKey,
    /// A key in hand; the user's session otherwise, which is only asked once the daemon has nothing against it.
    signer: Option<Rc<Signer>>,
    project: ProjectId,
    handle: String,
    /// Completes "puddle dan is locked: ".
    what_for: String,
}

impl<'a> Desk<'a> {
    /// By the unlocked session of the user's puddle.
    pub(crate) fn of(
        context: &'a Context,
        own: &Public,
        subject: &Subject,
        what_for: impl Into<String>,
    ) -> Self {
        Self {
            context,
            name: own.name.clone(),
            key: own.key,
            signer: None,
            project: subject.id,
            handle: subject.handle.clone(),
            what_for: what_for.into(),
        }
    }

    /// The same by a key in hand.
    pub(crate) fn with(self, signer: Rc<Signer>) -> Self {
        Self {
            key: *signer.key(),
            signer: Some(signer),
            ..self
        }
    }

    /// Has everything signed that a wish takes, and hands it in. What may be said is said by `may`, in words of
    /// the user's and not of the daemon's.
    pub(crate) fn carry_out(
        &self,
        errand: &mut Errand<'_, '_>,
        wish: Wish,
        may: &[May],
    ) -> Result<Vec<Verified>, Failure> {
        let drafts = self.ask(errand, wish)?;
        let sealed = self.seal(self.look_at(&drafts, may)?)?;
        self.submit(errand, &sealed)?;
        Ok(sealed)
    }

    /// Asks the daemon for the drafts of a wish.
    pub(crate) fn ask(
        &self,
        errand: &mut Errand<'_, '_>,
        wish: Wish,
    ) -> Result<Vec<Draft>, Failure> {
        match errand.call(&self.wish(wish))? {
            Reply::Drafts { drafts, notes, .. } => {
                notes.iter().for_each(|note| errand.console.warning(note));
                Ok(drafts)
            }
            other => Err(other.unexpected()),
        }
    }

    pub(crate) fn wish(&self, wish: Wish) -> Request {
        Request::Draft {
            project: self.project.to_string(),
            handle: self.handle.clone(),
            puddle: self.key.to_string(),
            wish,
        }
    }

    /// The daemon is not taken at its word.
    pub(crate) fn look_at(&self, drafts: &[Draft], may: &[May]) -> Result<Vec<Approved>, Failure> {
        let expected = Expected {
            project: &self.project,
            puddle: &self.key,
            may,
        };
        approve(drafts, expected).map_err(|reject| failure::draft(&reject))
    }

    /// Whoever signs. A failure says that the puddle is locked.
    pub(crate) fn signer(&self) -> Result<Rc<Signer>, Failure> {
        if let Some(signer) = &self.signer {
            return Ok(Rc::clone(signer));
        }
        let socket = &self.context.layout.session_socket;
        let signer = Signer::connect(socket, &self.key);
        signer.map(Rc::new).map_err(|error| self.unsigned(&error))
    }

    pub(crate) fn seal(&self, approved: Vec<Approved>) -> Result<Vec<Verified>, Failure> {
        let signer = self.signer()?;
        let sealed = approved.into_iter().map(|one| signer.seal(one));
        let sealed: Result<_, _> = sealed.collect();
        sealed.map_err(|error| self.unsigned(&error))
    }

    pub(crate) fn unsigned(&self, error: &SignError) -> Failure {
        failure::sign(error, &self.name, &self.what_for)
    }

    pub(crate) fn submit(
        &self,
        errand: &mut Errand<'_, '_>,
        sealed: &[Verified],
    ) -> Result<(), Failure> {
        let request = Request::Submit {
            project: self.project.to_string(),
            envelopes: in_hex(sealed),
        };
        self.hand_in(errand, &request)
    }

    /// Hands something in, and keeps the token that comes back.
    pub(crate) fn hand_in(
        &self,
        errand: &mut Errand<'_, '_>,
        request: &Request,
    ) -> Result<(), Failure> {
        let token = errand.have_done(request)?;
        let token = token.and_then(|token| hex::decode(&token, TOKEN_MAX));
        if let Some(token) = token {
            let projects_dir = &self.context.layout.projects_dir;
            if let Err(fault) = home::keep_token(projects_dir, &self.project, &token) {
                // Without it the project cannot be brought back to a machine that loses it, and all else works.
                errand.console.warning(failure::chain(&fault));
            }
        }
        Ok(())
    }
}

pub(crate) fn in_hex(envelopes: &[Verified]) -> Vec<String> {
    let envelopes = envelopes.iter();
    envelopes
        .map(|envelope| hex::encode(envelope.bytes()))
        .collect()
}
