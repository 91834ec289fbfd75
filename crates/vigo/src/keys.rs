//! The keys of the user's own puddle, present and earlier, for what a session cannot sign.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use gitback_helper::Failure;
use gitback_identity::{PuddleKey, SecretKey};
use gitback_puddle::{Passphrase, Public, UnwrapError, unwrap, unwrap_retired};
use gitback_signer::Signer;

use crate::context::Context;
use crate::{failure, gate};

/// Unwraps each key once, with a passphrase that is read once, and only where one is needed.
pub(crate) struct Keys<'a> {
    context: &'a Context,
    own: Public,
    file: Option<&'a Path>,
    passphrase: Option<Passphrase>,
    /// Whether an unlocked session may sign for the present key.
    by_session: bool,
    signers: BTreeMap<PuddleKey, Rc<Signer>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(context: &'a Context, own: Public, file: Option<&'a Path>) -> Self {
        Self {
            context,
            own,
            file,
            passphrase: None,
            by_session: true,
            signers: BTreeMap::new(),
        }
    }

    /// The same without the session, which is to end before they sign.
    pub(crate) fn without_session(self) -> Self {
        Self {
            by_session: false,
            ..self
        }
    }

    /// Whoever signs for `key`, which is the user's own, now or earlier: the session for the present key where it is
    /// unlocked.
    pub(crate) fn signer(&mut self, key: &PuddleKey) -> Result<Rc<Signer>, Failure> {
        if let Some(signer) = self.signers.get(key) {
            return Ok(Rc::clone(signer));
        }
        let signer = Rc::new(self.open(key)?);
        self.signers.insert(*key, Rc::clone(&signer));
        Ok(signer)
    }

    fn open(&mut self, key: &PuddleKey) -> Result<Signer, Failure> {
        let dir = &self.context.layout.puddle_dir;
        if *key != self.own.key {
            return self.unwrap(|passphrase| unwrap_retired(dir, key, passphrase));
        }
        let session = &self.context.layout.session_socket;
        match self.by_session.then(|| Signer::connect(session, key)) {
            Some(Ok(signer)) => Ok(signer),
            Some(Err(_)) | None => self.unwrap(|passphrase| unwrap(dir, passphrase)),
        }
    }

    fn unwrap(
        &mut self,
        open: impl FnOnce(&Passphrase) -> Result<SecretKey, UnwrapError>,
    ) -> Result<Signer, Failure> {
        let passphrase = match self.passphrase.take() {
            Some(passphrase) => passphrase,
            None => gate::read(self.context, &self.own.name, self.file)?,
        };
        let opened = gate::try_once(self.context, &self.own.name, || open(&passphrase));
        self.passphrase = Some(passphrase);
        let secret = opened?.map_err(|error| failure::unwrap_puddle(&error))?;
        Ok(Signer::holding(secret))
    }
}
