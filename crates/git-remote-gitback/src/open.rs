//! The conversation with the daemon, up to the stream.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use gitback_helper::{
    Client, ConnectError, Draft, Failure, Layout, Meanwhile, Patience, Reply, Request, Service,
    VERSION,
};

use crate::failures;
use crate::grant::{Approved, Expected, Signer, check, founding};
use crate::resolve::{Own, Target};
use crate::talk::Talk;

/// How long the daemon's queue of connections may be full before the user hears of it.
const CONNECT_FIRST_WORD: Duration = Duration::from_millis(800);

/// How long the daemon may be silent. Long, because it may be fetching a whole project from a
/// slow machine; the user hears every now and then that it is still at it.
const ANSWER: Duration = Duration::from_secs(10 * 60);

/// What git wants, apart from the project.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) service: Service,
    pub(crate) protocol: Option<String>,
    pub(crate) push_wait_ms: Option<u64>,
    pub(crate) progress: bool,
    pub(crate) uid: u32,
}

/// Opens a stream for `target`. Has one grant or one token signed on the way if the daemon
/// needs it.
pub(crate) fn open(
    layout: &Layout,
    target: &Target,
    wish: &Wish,
    talk: &mut Talk<'_>,
) -> Result<UnixStream, Failure> {
    let client = connect(layout, talk)?;
    Opening {
        layout,
        target,
        wish,
        talk,
        client,
    }
    .run()
}

struct Opening<'a, 't> {
    layout: &'a Layout,
    target: &'a Target,
    wish: &'a Wish,
    talk: &'a mut Talk<'t>,
    client: Client,
}

impl Opening<'_, '_> {
    fn run(mut self) -> Result<UnixStream, Failure> {
        let request = self.request();
        let reply = match self.ask(&request)? {
            Reply::NeedSignature { drafts, .. } => {
                self.grant(&drafts)?;
                self.ask(&request)?
            }
            Reply::NeedToken { drafts } => {
                self.bring_in(&drafts)?;
                self.ask(&request)?
            }
            reply => reply,
        };
        match reply {
            Reply::Ready => self
                .client
                .into_stream()
                .map_err(|error| failures::stream(&error)),
            Reply::NeedSignature { .. } | Reply::NeedToken { .. } => {
                Err(failures::asked_twice(&self.target.handle))
            }
            reply => Err(failures::unexpected(&reply)),
        }
    }

    fn request(&self) -> Request {
        Request::Open {
            version: VERSION,
            service: self.wish.service,
            project: self.target.project.to_string(),
            handle: self.target.handle.to_string(),
            puddle: self.target.own.as_ref().map(|own| own.key.to_string()),
            protocol: self.wish.protocol.clone(),
            push_wait_ms: self.wish.push_wait_ms,
            quiet: self.talk.is_quiet(),
            progress: self.wish.progress && !self.talk.is_quiet(),
        }
    }

    /// Signs that this envoy may serve this user, and hands it in.
    fn grant(&mut self, drafts: &[Draft]) -> Result<(), Failure> {
        let own = self
            .target
            .own
            .as_ref()
            .ok_or_else(|| failures::grant_needs_puddle(self.target))?;
        let approved = self.check(drafts, own)?;
        let signer = self.signer(own, "this machine needs a signature, once, to serve it")?;
        let sealed = approved.into_iter().map(|approved| signer.seal(approved));
        let envelopes = sealed.collect::<Result<_, _>>()?;
        let project = self.target.project.to_string();
        self.hand_in(&Request::Submit { project, envelopes })
    }

    /// Proves that the project is the user's own, so that the daemon may fetch it from others.
    fn bring_in(&mut self, drafts: &[Draft]) -> Result<(), Failure> {
        let own = self
            .target
            .founder()
            .ok_or_else(|| failures::not_here(self.target))?;
        let approved = self.check(drafts, own)?;
        let signer = self.signer(
            own,
            "bringing the project to this machine needs a signature",
        )?;
        let mut token = vec![signer.seal(founding(own, &self.target.handle)?)?];
        for approved in approved {
            token.push(signer.seal(approved)?);
        }
        let project = self.target.project.to_string();
        self.hand_in(&Request::Bootstrap { project, token })
    }

    fn check(&self, drafts: &[Draft], own: &Own) -> Result<Vec<Approved>, Failure> {
        let expected = Expected {
            project: &self.target.project,
            own,
            uid: self.wish.uid,
        };
        let checked = drafts.iter().map(|draft| check(draft, expected));
        let checked: Result<_, _> = checked.collect();
        checked.map_err(|reject| failures::draft(&reject))
    }

    fn signer<'o>(&self, own: &'o Own, what_for: &'o str) -> Result<Signer<'o>, Failure> {
        Signer::connect(&self.layout.session_socket, own, what_for)
    }

    fn hand_in(&mut self, request: &Request) -> Result<(), Failure> {
        match self.ask(request)? {
            Reply::Accepted { notes, .. } => {
                notes.iter().for_each(|note| self.talk.remark(note));
                Ok(())
            }
            reply => Err(failures::unexpected(&reply)),
        }
    }

    /// Asks one thing; passes on what the daemon says meanwhile, or that it says nothing.
    fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        let talk = &mut *self.talk;
        let mut meanwhile = |meanwhile: Meanwhile<'_>| match meanwhile {
            Meanwhile::Progress(text) => talk.remark(text),
            Meanwhile::Silence(waited) => talk.remark(&still_waiting(waited)),
        };
        match self.client.call(request, &mut meanwhile) {
            Ok(Reply::Failed(failure)) => Err(failure),
            Ok(reply) => Ok(reply),
            Err(error) => Err(failures::call(&error, &self.layout.helper_socket)),
        }
    }
}

/// Connects; says so when the daemon is too busy to take the connection at once.
fn connect(layout: &Layout, talk: &mut Talk<'_>) -> Result<Client, Failure> {
    let patience = Patience {
        answer: ANSWER,
        ..Patience::default()
    };
    let hasty = Patience {
        connect: CONNECT_FIRST_WORD,
        ..patience
    };
    let first = Client::connect_with(&layout.helper_socket, hasty);
    let connected = match first {
        Err(ConnectError::Busy { after, .. }) => {
            talk.remark(&still_waiting(after));
            Client::connect_with(&layout.helper_socket, patience)
        }
        other => other,
    };
    connected.map_err(|error| failures::connect(&error, layout))
}

fn still_waiting(waited: Duration) -> String {
    match waited.as_secs() {
        0 | 1 => "waiting for the gitback daemon of this machine".to_owned(),
        seconds => format!("still waiting for the gitback daemon of this machine ({seconds} s)"),
    }
}
