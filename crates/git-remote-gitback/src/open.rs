//! The conversation with the daemon, up to the stream.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use gitback_helper::{
    Called, Client, ConnectError, Draft, Failure, Layout, Meanwhile, Patience, Reply, Request,
    Service, VERSION, exit_code,
};
use gitback_identity::{Address, Handle, Host, ProjectId, PuddleKey};
use gitback_puddle::By;
use gitback_puddle::names::learn;
use gitback_signer::names::{called, passed_to, who_claims};

use crate::failures;
use crate::resolve::{Meaning, Other, Target};
use crate::sign::now_ms;
use crate::talk::Talk;

/// How long the daemon's queue of connections may be full before the user hears of it.
const CONNECT_FIRST_WORD: Duration = Duration::from_millis(800);

/// How long the daemon may be silent. Long, because it may be fetching a whole project from a
/// slow machine; the user hears every now and then that it is still at it.
const ANSWER: Duration = Duration::from_secs(10 * 60);

/// How many times a project that has moved is followed.
const MOVES_MAX: u32 = 5;

/// What git wants, apart from the project.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) service: Service,
    pub(crate) protocol: Option<String>,
    pub(crate) push_wait_ms: Option<u64>,
    pub(crate) progress: bool,
    pub(crate) trace: bool,
    pub(crate) uid: u32,
    /// What git calls the project, for a push.
    pub(crate) remote: Option<String>,
}

/// Opens a stream for what an address means. Has signed on the way what the daemon needs for it.
pub(crate) fn open(
    layout: &Layout,
    meaning: Meaning,
    wish: &Wish,
    talk: &mut Talk<'_>,
) -> Result<UnixStream, Failure> {
    let connected = connect(layout, talk);
    let (client, target) = match (connected, meaning) {
        (Ok(client), Meaning::Known(target)) => (client, Ok(target)),
        (Ok(mut client), Meaning::Unresolved(name)) => {
            let status = match ask(&mut client, layout, talk, &who_claims(&name.name))? {
                Reply::Names(status) => status,
                other => return Err(other.unexpected()),
            };
            (client, name.with(&status))
        }
        (Err(failure), Meaning::Known(_)) => return Err(failure),
        (Err(failure), Meaning::Unresolved(name)) => {
            return Err(failures::name_without_daemon(name.failure(), &failure));
        }
    };
    let target = target?;
    let other = target.other.as_ref();
    let called = other.and_then(|other| called(&other.name, &other.meant));
    let opening = Opening {
        layout,
        target: &target,
        wish,
        talk,
        client,
        called,
    };
    opening.run()
}

/// Asks one thing; passes on what the daemon says meanwhile, or that it says nothing.
fn ask(
    client: &mut Client,
    layout: &Layout,
    talk: &mut Talk<'_>,
    request: &Request,
) -> Result<Reply, Failure> {
    let mut meanwhile = |meanwhile: Meanwhile<'_>| match meanwhile {
        Meanwhile::Progress(text) => talk.remark(text),
        Meanwhile::Silence(waited) => talk.remark(&still_waiting(waited)),
    };
    match client.call(request, &mut meanwhile) {
        Ok(Reply::Failed(failure)) => Err(failure),
        Ok(reply) => Ok(reply),
        Err(error) => Err(error.failure(layout)),
    }
}

/// One project that the address may mean.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) project: ProjectId,
    pub(crate) handle: Handle,
}

pub(crate) struct Opening<'a, 't> {
    pub(crate) layout: &'a Layout,
    pub(crate) target: &'a Target,
    pub(crate) wish: &'a Wish,
    pub(crate) talk: &'a mut Talk<'t>,
    client: Client,
    /// Told to the daemon once.
    called: Option<Called>,
}

/// What came of asking for one project.
enum Asked {
    Open,
    /// The daemon does not hold it, and has drafted what would bring it in.
    NotHere(Place, Vec<Draft>),
    /// The daemon knows nothing of it.
    Unknown(Failure),
}

impl Opening<'_, '_> {
    /// What is here goes before what would have to be brought in.
    fn run(mut self) -> Result<UnixStream, Failure> {
        let reached = self.reach();
        let Some(other) = &self.target.other else {
            reached?;
            return self.into_stream();
        };
        reached.map_err(|failure| match failure.code {
            exit_code::UNKNOWN => failures::by_another_key(failure, other, &self.target.handle),
            _ => failure,
        })?;
        self.remember(other);
        self.into_stream()
    }

    /// Pins a name that only one key claims, now that it was of use.
    fn remember(&mut self, other: &Other) {
        let (name, key) = (&other.name, other.meant.key());
        if other.meant.by() != By::Claim {
            return;
        }
        match learn(&self.layout.puddle_dir, name, key, now_ms()) {
            Ok(true) => self.talk.remark(&format!(
                "{name} is {} to you from now on; other claims will not change that",
                key.fingerprint()
            )),
            Ok(false) => {}
            Err(error) => self.talk.remark(&failures::not_remembered(name, &error)),
        }
    }

    /// The projects that have passed to the puddle that is meant, and were founded by others: by its earlier keys, above
    /// all. Nothing where the daemon does not say.
    fn passed_on(&mut self) -> Vec<ProjectId> {
        let Some(other) = &self.target.other else {
            return Vec::new();
        };
        match self.ask(&passed_to(other.meant.key(), &self.target.handle)) {
            Ok(Reply::Names(status)) => {
                let ids = status.projects.iter();
                ids.filter_map(|id| id.parse().ok()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Opens one of the projects that are meant.
    fn reach(&mut self) -> Result<(), Failure> {
        let mut elsewhere = Vec::new();
        for project in self.target.candidates() {
            let place = Place {
                project,
                handle: self.target.handle.clone(),
            };
            self.renew(&place);
            match self.ask_for(place)? {
                Asked::Open => return Ok(()),
                other => elsewhere.push(other),
            }
        }
        for project in self.passed_on() {
            let place = Place {
                project,
                handle: self.target.handle.clone(),
            };
            self.renew(&place);
            if let Asked::Open = self.ask_for(place)? {
                return Ok(());
            }
        }
        let mut refused = None;
        for asked in elsewhere {
            match self.bring(asked) {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code == exit_code::UNKNOWN => {
                    refused.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(refused.expect("an address means at least one project"))
    }

    /// Brings the project in and opens it.
    fn bring(&mut self, asked: Asked) -> Result<(), Failure> {
        let (place, drafts) = match asked {
            Asked::Open => return Ok(()),
            Asked::Unknown(failure) => return Err(failure),
            Asked::NotHere(place, drafts) => (place, drafts),
        };
        self.bring_in(&place, &drafts)?;
        match self.ask_for(place)? {
            Asked::Open => Ok(()),
            Asked::NotHere(place, _) => Err(failures::asked_twice(&place.handle)),
            Asked::Unknown(failure) => Err(failure),
        }
    }

    /// Asks for one project, or for the one that has taken its place. Has signed, once, what the
    /// daemon needs to serve it.
    fn ask_for(&mut self, mut place: Place) -> Result<Asked, Failure> {
        let mut signed = false;
        let mut moves = 0;
        loop {
            let request = self.request(&place);
            let reply = match self.ask(&request) {
                Ok(reply) => reply,
                Err(failure) if failure.code == exit_code::UNKNOWN => {
                    return Ok(Asked::Unknown(failure));
                }
                Err(failure) => return Err(failure),
            };
            match reply {
                Reply::Ready => return Ok(Asked::Open),
                Reply::NeedToken { drafts } => return Ok(Asked::NotHere(place, drafts)),
                Reply::NeedSignature { .. } if signed => {
                    return Err(failures::asked_twice(&place.handle));
                }
                Reply::NeedSignature { drafts, why, .. } => {
                    signed = true;
                    self.sign(&place, &drafts, &why)?;
                }
                Reply::Moved {
                    founder,
                    handle,
                    project,
                } => {
                    let next = successor(&founder, &handle, &project)
                        .ok_or_else(|| failures::moved_nowhere(&place.handle))?;
                    let address = address(&next);
                    moves += 1;
                    if !self.target.by_name || moves > MOVES_MAX {
                        return Err(failures::moved(&place.handle, &address));
                    }
                    self.talk
                        .remark(&format!("{} has moved to {address}", place.handle));
                    (place, signed) = (next, false);
                }
                reply => return Err(reply.unexpected()),
            }
        }
    }

    fn into_stream(self) -> Result<UnixStream, Failure> {
        let stream = self.client.into_stream();
        stream.map_err(|error| failures::stream(&error))
    }

    fn request(&mut self, place: &Place) -> Request {
        Request::Open {
            version: VERSION,
            service: self.wish.service,
            project: place.project.to_string(),
            handle: place.handle.to_string(),
            puddle: self.target.own.as_ref().map(|own| own.key.to_string()),
            protocol: self.wish.protocol.clone(),
            push_wait_ms: self.wish.push_wait_ms,
            quiet: self.talk.is_quiet(),
            progress: self.wish.progress && !self.talk.is_quiet(),
            trace: self.wish.trace,
            called: self.called.take(),
            remote: self.wish.remote.clone(),
        }
    }

    /// Asks one thing; passes on what the daemon says meanwhile, or that it says nothing.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        ask(&mut self.client, self.layout, self.talk, request)
    }
}

/// The project that has taken another one's place. The daemon's word is believed only as far as
/// the id follows from the founder and the handle.
fn successor(founder: &str, handle: &str, project: &str) -> Option<Place> {
    let founder: PuddleKey = founder.parse().ok()?;
    let handle: Handle = handle.parse().ok()?;
    let derived = ProjectId::derive(&founder, &handle);
    (derived.to_string() == project).then_some(Place {
        project: derived,
        handle,
    })
}

fn address(place: &Place) -> Address {
    Address::new(Host::Project(place.project), place.handle.clone())
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
    connected.map_err(|error| error.failure(layout))
}

fn still_waiting(waited: Duration) -> String {
    match waited.as_secs() {
        0 | 1 => "waiting for the gitback daemon of this machine".to_owned(),
        seconds => format!("still waiting for the gitback daemon of this machine ({seconds} s)"),
    }
}
