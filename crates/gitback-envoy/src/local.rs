//! Conversations with local users on the helper socket.

mod admission;
mod bootstrap;
mod carry;
mod drafts;
mod failures;
mod fleet;
mod history;
mod line;
mod names;
mod ref_log;
mod removal;
mod restore;
mod scrub;
mod submit;
mod sync;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

use gitback_helper::{
    Connection, Failure, ProjectStatus, Reply, Request, Service, VERSION, Wish, exit_code,
};
use gitback_identity::{ProjectId, PuddleKey};

use crate::cell::{Cell, Foothold};
use crate::daemon::{Envoy, chain};
use crate::given_up::GivenUp;
use crate::push::{Pusher, receive};
use crate::status::{self, Detail};
use admission::{Admission, Asked, administers, admit, make_complete, may_see, visible};
use drafts::Author;
use failures::{not_allowed, parse_id, parse_puddle, unknown_project};

/// The longest that a user can ask a push to wait.
const PUSH_WAIT_MAX: Duration = Duration::from_secs(600);

/// What becomes of a conversation after one answer.
enum Next {
    /// The client may ask again.
    Answered(Box<Reply>),
    /// The connection becomes a stream of git's protocol.
    Stream(Stream),
}

struct Stream {
    cell: Arc<Cell>,
    service: Service,
    protocol: Option<String>,
    pusher: Pusher,
}

/// Serves one connection to its end.
pub(crate) fn converse(envoy: &Arc<Envoy>, mut connection: Connection) {
    loop {
        let request = match connection.read_request() {
            Ok(request) => request,
            Err(error) if error.is_closed() => return,
            Err(error) => {
                let failure = Failure::new(exit_code::FAILED, chain(&error))
                    .hint("use the same version of vigo and git-remote-gitback");
                let _ = connection.reply(&Reply::Failed(failure));
                return;
            }
        };
        let uid = connection.uid();
        let mut progress = |text: String| drop(connection.reply(&Reply::Progress { text }));
        match answer(envoy, uid, request, &mut progress) {
            Ok(Next::Answered(reply)) => {
                if let Reply::Accepted { .. } | Reply::Restored(_) = *reply {
                    envoy.changes().note();
                }
                if connection.reply(&reply).is_err() {
                    return;
                }
            }
            Ok(Next::Stream(stream)) => return serve(envoy, connection, &stream),
            Err(failure) => {
                if connection.reply(&Reply::Failed(failure)).is_err() {
                    return;
                }
            }
        }
    }
}

fn serve(envoy: &Arc<Envoy>, mut connection: Connection, stream: &Stream) {
    if connection.reply(&Reply::Ready).is_err() {
        return;
    }
    let Ok((socket, _slot)) = connection.into_stream() else {
        return;
    };
    let Ok(mut reader) = socket.try_clone() else {
        return;
    };
    let mut writer = socket;
    let project = stream.cell.id();
    match stream.service {
        Service::UploadPack => {
            let output = gitback_pack::HangUp::new(writer);
            let served = stream
                .cell
                .repo()
                .upload_pack(reader, output, stream.protocol.as_deref());
            if let Err(fault) = served {
                tracing::debug!(project = %project, error = %chain(&fault), "a fetch ended early");
            }
        }
        Service::ReceivePack => {
            if let Err(error) = receive(
                envoy,
                &stream.cell,
                &stream.pusher,
                &mut reader,
                &mut writer,
            ) {
                tracing::info!(project = %project, error = %chain(&error), "a push ended early");
            }
            envoy.changes().note();
        }
    }
}

fn answer(
    envoy: &Arc<Envoy>,
    uid: u32,
    request: Request,
    progress: &mut dyn FnMut(String),
) -> Result<Next, Failure> {
    if let Request::Envoy = request {
        return Ok(Next::Answered(Box::new(Reply::Envoy(status::envoy(envoy)))));
    }
    if !envoy.config().allows(uid, envoy.uid()) && !administers(envoy, uid) {
        return Err(not_allowed(envoy, uid));
    }
    let reply = match request {
        Request::Open { .. } => return open(envoy, uid, request, progress),
        Request::Draft {
            project,
            handle,
            puddle,
            wish,
        } => {
            let puddle = parse_puddle(&puddle)?;
            let asked = Asked {
                uid,
                id: parse_id(&project)?,
                handle,
                puddle: Some(puddle),
                service: Service::UploadPack,
            };
            draft(envoy, &asked, puddle, wish)?
        }
        Request::Found { envelope } => submit::found(envoy, uid, &envelope)?,
        Request::Submit { project, envelopes } => {
            submit::submit(envoy, uid, &parse_id(&project)?, &envelopes)?
        }
        Request::Bootstrap { project, token } => {
            bootstrap::bootstrap(envoy, uid, &parse_id(&project)?, &token, progress)?
        }
        Request::Log { project, skip } => {
            let cell = visible(envoy, uid, &parse_id(&project)?)?;
            let state = cell.lock();
            history::page(envoy, &state, skip)
        }
        Request::Renewals { puddle } => drafts::renewals(envoy, uid, parse_puddle(&puddle)?)?,
        Request::ClaimName { claim } => names::claim(envoy, uid, &claim)?,
        Request::Names {
            name,
            puddle,
            handle,
        } => {
            let asked = names::Asked {
                name: name.as_deref(),
                puddle: puddle.as_deref(),
                handle: handle.as_deref(),
            };
            names::list(envoy, uid, &asked)?
        }
        Request::PickLine { project, delegate } => {
            line::pick(envoy, uid, &parse_id(&project)?, &delegate)?
        }
        Request::CarryOver { from, to } => {
            carry::carry_over(envoy, uid, &parse_id(&from)?, &parse_id(&to)?)?
        }
        Request::Envoy => Reply::Envoy(status::envoy(envoy)),
        Request::Card
        | Request::EnrolRequest { .. }
        | Request::Enrol { .. }
        | Request::JoinFleet { .. }
        | Request::Ticket { .. }
        | Request::JoinByTicket { .. }
        | Request::Fleet
        | Request::RemoveEnvoy { .. }
        | Request::Authority
        | Request::SealAuthority { .. }
        | Request::UnsealAuthority { .. }
        | Request::TakeOver { .. } => fleet::answer(envoy, uid, request, progress)?,
        Request::Projects => Reply::Projects(projects(envoy, uid)),
        Request::Project { project } => {
            let id = parse_id(&project)?;
            Reply::Project(match given_up(envoy, uid, &id) {
                Some(note) => status::given_up(envoy, &id, &note),
                None => status::project(envoy, &*visible(envoy, uid, &id)?, uid, Detail::Full),
            })
        }
        Request::RefLog {
            project,
            name,
            skip,
        } => {
            let cell = visible(envoy, uid, &parse_id(&project)?)?;
            ref_log::page(envoy, &cell, name.as_deref(), skip)?
        }
        Request::Restore {
            project,
            name,
            to,
            dry_run,
            push_wait_ms,
        } => {
            let wish = restore::Wish {
                project: &parse_id(&project)?,
                name: &name,
                to: to.as_deref(),
                dry_run,
                push_wait_ms,
            };
            restore::restore(envoy, uid, &wish)?
        }
        Request::Sync {
            projects,
            contact,
            after,
            wait_ms,
        } => {
            let asked = sync::Asked {
                projects: &projects,
                contact,
                after,
                wait_ms,
            };
            sync::sync(envoy, uid, &asked)?
        }
        Request::Purge { project, how } => removal::purge(envoy, uid, project.as_deref(), how)?,
        Request::BringBack { project } => removal::bring_back(envoy, uid, &project)?,
        Request::Orphans { how } => removal::orphans(envoy, uid, how)?,
        Request::Scrub { projects } => scrub::scrub(envoy, uid, &projects, progress)?,
    };
    Ok(Next::Answered(Box::new(reply)))
}

/// The projects that the user may see, those included whose copies were given up here.
fn projects(envoy: &Envoy, uid: u32) -> Vec<ProjectStatus> {
    let mut projects = status::projects(envoy, uid, &|cell| may_see(envoy, uid, cell));
    for (id, _) in envoy.store().all_given_up() {
        let note = given_up(envoy, uid, &id);
        projects.extend(note.map(|note| status::given_up(envoy, &id, &note)));
    }
    projects
}

/// What is noted of a project whose copy was given up here, if the user may know of it.
fn given_up(envoy: &Envoy, uid: u32, id: &ProjectId) -> Option<GivenUp> {
    let note = envoy.store().given_up(id)?;
    (administers(envoy, uid) || note.uids.contains(&uid)).then_some(note)
}

/// Opens a stream of git's protocol, or says what comes first.
fn open(
    envoy: &Arc<Envoy>,
    uid: u32,
    request: Request,
    progress: &mut dyn FnMut(String),
) -> Result<Next, Failure> {
    let Request::Open {
        version,
        service,
        project,
        handle,
        puddle,
        protocol,
        push_wait_ms,
        quiet,
        progress: _,
        trace,
        called,
        remote,
    } = request
    else {
        return Err(failures::failed("no stream was asked for"));
    };
    if version != VERSION {
        let why = format!(
            "it speaks version {version} of the helper protocol, this daemon version {VERSION}"
        );
        let what = "git-remote-gitback is of another version";
        return Err(Failure::new(exit_code::FAILED, what).because(why));
    }
    let asked = Asked {
        uid,
        id: parse_id(&project)?,
        handle,
        puddle: puddle.as_deref().map(parse_puddle).transpose()?,
        service,
    };
    if let Some(called) = called {
        names::warn_of_rivals(envoy, &called, progress);
    }
    // Whoever uses a project that was purged here has it here again.
    let revived = removal::revive(envoy, uid, &asked.id)?;
    let (cell, standing) = match admit(envoy, &asked)? {
        Admission::Served(cell, standing) => (cell, standing),
        Admission::Reply(reply) => return Ok(Next::Answered(reply)),
    };
    // A push is taken where it is made, whatever has not arrived; only where nobody has ever told how things stand is
    // there nothing to push to.
    if revived || service == Service::UploadPack || cell.lock().foothold() != Foothold::Known {
        make_complete(envoy, &cell, progress)?;
    }
    let push_wait = push_wait_ms.map(|ms| Duration::from_millis(ms).min(PUSH_WAIT_MAX));
    let pusher = Pusher {
        uid,
        puddle: standing.puddle,
        push_wait,
        quiet,
        trace,
        remote,
    };
    Ok(Next::Stream(Stream {
        cell,
        service,
        protocol,
        pusher,
    }))
}

fn draft(
    envoy: &Arc<Envoy>,
    asked: &Asked,
    puddle: PuddleKey,
    wish: Wish,
) -> Result<Reply, Failure> {
    let Some(cell) = envoy.store().founded(&asked.id) else {
        let drafts = match wish {
            Wish::Grant => drafts::for_founder(envoy, asked)?,
            Wish::Join { invitation } => {
                drafts::for_invited(envoy, asked, puddle, invitation.as_deref())?
            }
            _ => {
                return Err(unknown_project(
                    envoy,
                    asked.uid,
                    &asked.id,
                    Some(&asked.handle),
                ));
            }
        };
        return Ok(Reply::NeedToken { drafts });
    };
    let state = cell.lock();
    let author = Author {
        envoy,
        state: &state,
        uid: asked.uid,
        puddle,
    };
    wishes::wished(&author, wish)
}
