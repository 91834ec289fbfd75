//! Conversations with local users on the helper socket.

use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::{Act, Envelope, Grant, Statement, Verified};
use gitback_helper::{
    Connection, Draft, Failure, GRANT_LIFE, Reply, Request, Service, VERSION, Wish, exit_code,
};
use gitback_identity::similar::{SLIPS_MAX, slips};
use gitback_identity::{Handle, ProjectId, PuddleKey, hex};
use gitback_peer::CallError;

use crate::cell::{Cell, State};
use crate::contact::{CatchUpError, catch_up, is_token};
use crate::daemon::{Envoy, chain};
use crate::fanout::spread;
use crate::fault::Fault;
use crate::push::{Pusher, receive};
use crate::service::UNKNOWN_PROJECT;
use crate::{clock, status};

/// The longest that a user can ask a push to wait.
const PUSH_WAIT_MAX: Duration = Duration::from_secs(600);

/// How long founding a project waits for other envoys, so that what is said of its copies is true.
const FOUND_WAIT: Duration = Duration::from_secs(1);

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
                let failure = fail(
                    exit_code::FAILED,
                    chain(&error),
                    None,
                    &["use the same version of vigo and git-remote-gitback"],
                );
                let _ = connection.reply(&Reply::Failed(failure));
                return;
            }
        };
        let uid = connection.uid();
        let mut progress = |text: String| drop(connection.reply(&Reply::Progress { text }));
        match answer(envoy, uid, request, &mut progress) {
            Ok(Next::Answered(reply)) => {
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
        }
    }
}

fn answer(
    envoy: &Arc<Envoy>,
    uid: u32,
    request: Request,
    progress: &mut dyn FnMut(String),
) -> Result<Next, Failure> {
    let sees_all = uid == 0 || uid == envoy.uid();
    if let Request::Envoy = request {
        return Ok(Next::Answered(Box::new(Reply::Envoy(status::envoy(envoy)))));
    }
    if !envoy.config().allows(uid, envoy.uid()) && !sees_all {
        return Err(not_allowed(envoy, uid));
    }
    let reply = match request {
        Request::Open {
            version,
            service,
            project,
            handle,
            puddle,
            protocol,
            push_wait_ms,
            quiet,
            progress: _,
        } => {
            if version != VERSION {
                let why = format!(
                    "it speaks version {version} of the helper protocol, this daemon version {VERSION}"
                );
                return Err(fail(
                    exit_code::FAILED,
                    "git-remote-gitback is of another version".to_owned(),
                    Some(why),
                    &[],
                ));
            }
            let asked = Asked {
                uid,
                id: parse_id(&project)?,
                handle,
                puddle: parse_puddle(puddle.as_deref())?,
            };
            let (cell, member) = match admit(envoy, &asked)? {
                Admission::Member(cell, member) => (cell, member),
                Admission::Reply(reply) => return Ok(Next::Answered(reply)),
            };
            // A push is taken where it is made, whatever has not arrived.
            if service == Service::UploadPack {
                make_complete(envoy, &cell, progress)?;
            }
            let push_wait = push_wait_ms.map(|ms| Duration::from_millis(ms).min(PUSH_WAIT_MAX));
            let pusher = Pusher {
                puddle: member,
                push_wait,
                quiet,
            };
            return Ok(Next::Stream(Stream {
                cell,
                service,
                protocol,
                pusher,
            }));
        }
        Request::Draft {
            project,
            handle,
            puddle,
            wish,
        } => {
            if wish != Wish::Grant {
                return Err(failed("this daemon drafts grants only"));
            }
            let puddle = parse_puddle(Some(&puddle))?;
            let asked = Asked {
                uid,
                id: parse_id(&project)?,
                handle,
                puddle,
            };
            match admit(envoy, &asked)? {
                Admission::Reply(reply) => match *reply {
                    Reply::NeedSignature {
                        drafts,
                        founder,
                        handle,
                        ..
                    } => Reply::Drafts {
                        drafts,
                        founder,
                        handle,
                        notes: Vec::new(),
                    },
                    Reply::NeedToken { drafts } => Reply::Drafts {
                        drafts,
                        founder: puddle.map(|key| key.to_string()).unwrap_or_default(),
                        handle: asked.handle,
                        notes: Vec::new(),
                    },
                    other => other,
                },
                Admission::Member(cell, member) => Reply::Drafts {
                    drafts: vec![grant_draft(envoy, &cell.lock(), member, uid)?],
                    founder: member.to_string(),
                    handle: asked.handle,
                    notes: Vec::new(),
                },
            }
        }
        Request::Found { envelope } => found(envoy, &envelope)?,
        Request::Submit { project, envelopes } => {
            let [envelope] = envelopes.as_slice() else {
                return Err(failed("this daemon takes one envelope at a time"));
            };
            submit(envoy, uid, &parse_id(&project)?, envelope)?
        }
        Request::Bootstrap { project, token } => {
            let [init, grant] = token.as_slice() else {
                return Err(failed("a token is an init and a grant"));
            };
            bootstrap(envoy, uid, &parse_id(&project)?, [init, grant], progress)?
        }
        Request::Log { .. }
        | Request::Renewals { .. }
        | Request::PickLine { .. }
        | Request::CarryOver { .. } => return Err(failed("this daemon cannot do that")),
        Request::Envoy => Reply::Envoy(status::envoy(envoy)),
        Request::Projects => Reply::Projects(status::projects(envoy, uid, &|cell| {
            may_see(envoy, uid, cell)
        })),
        Request::Project { project } => {
            let id = parse_id(&project)?;
            let cell = envoy.store().founded(&id);
            let cell = cell.filter(|cell| may_see(envoy, uid, cell));
            let cell = cell.ok_or_else(|| unknown_project(envoy, uid, &id, None))?;
            Reply::Project(status::project(envoy, &cell, uid, true))
        }
    };
    Ok(Next::Answered(Box::new(reply)))
}

/// Who asks for what.
struct Asked {
    uid: u32,
    id: ProjectId,
    handle: String,
    puddle: Option<PuddleKey>,
}

enum Admission {
    Member(Arc<Cell>, PuddleKey),
    Reply(Box<Reply>),
}

/// Finds the project and the member for whom this user may act; or says what to sign first.
fn admit(envoy: &Arc<Envoy>, asked: &Asked) -> Result<Admission, Failure> {
    let Some(cell) = envoy.store().founded(&asked.id) else {
        let draft = token_draft(envoy, asked)?;
        let drafts = vec![draft];
        return Ok(Admission::Reply(Box::new(Reply::NeedToken { drafts })));
    };
    let state = cell.lock();
    let founder = state
        .fold()
        .founder()
        .expect("a founded project has a founder");
    let handle = state
        .fold()
        .handle()
        .map(ToString::to_string)
        .unwrap_or_default();
    if let Some(member) = live_grant(envoy, &state, asked.uid) {
        check_handle(asked, &handle)?;
        drop(state);
        return Ok(Admission::Member(cell, member));
    }
    match asked.puddle {
        Some(puddle) if state.fold().access(&puddle).is_some() => {
            check_handle(asked, &handle)?;
            let draft = grant_draft(envoy, &state, puddle, asked.uid)?;
            let founder = founder.to_string();
            Ok(Admission::Reply(Box::new(Reply::NeedSignature {
                drafts: vec![draft],
                why: "this machine needs a signature, once, to serve it".to_owned(),
                founder,
                handle,
            })))
        }
        Some(puddle) => {
            let why = format!(
                "its founder is {} ({}); this user's puddle is {}",
                founder.fingerprint(),
                short(&founder),
                puddle.fingerprint()
            );
            Err(fail(
                exit_code::NOT_PERMITTED,
                format!("this user's puddle is not a member of {}", asked.handle),
                Some(why),
                &["only the founder's machines can use a project in this version"],
            ))
        }
        None => {
            let why = format!(
                "no member has granted user {} on {} the use of {}, and this user has no puddle",
                asked.uid,
                envoy.name(),
                asked.handle
            );
            Err(fail(
                exit_code::NOT_PERMITTED,
                format!("no grant for {}", asked.handle),
                Some(why),
                &[
                    "vigo swarm puddle init, or bring your puddle's identity.wrapped to this machine",
                ],
            ))
        }
    }
}

/// The member for whom this user may act here, by a grant that has not expired.
fn live_grant(envoy: &Envoy, state: &State, uid: u32) -> Option<PuddleKey> {
    let grant = state.fold().grant(envoy.public(), uid)?;
    let expires_ms = grant.statement().grant().and_then(|grant| grant.expires_ms);
    let lives = expires_ms.is_none_or(|at| at > clock::now_ms());
    lives.then_some(grant.statement().puddle)
}

/// Whoever may use the project may know what it is called.
fn check_handle(asked: &Asked, handle: &str) -> Result<(), Failure> {
    if handle == asked.handle {
        return Ok(());
    }
    let what = format!(
        "the address says {}, which is not this project's handle",
        asked.handle
    );
    let why = format!("project {} is called {handle}", asked.id.short());
    let hint = format!("use gitback://{}/{handle}", asked.id);
    Err(fail(exit_code::UNKNOWN, what, Some(why), &[&hint]))
}

/// Root and the daemon's own user see every project, others those that they may use.
fn may_see(envoy: &Envoy, uid: u32, cell: &Cell) -> bool {
    let granted = || cell.lock().fold().grant(envoy.public(), uid).is_some();
    uid == 0 || uid == envoy.uid() || granted()
}

/// Brings the objects of a half-finished foothold in before it is served.
fn make_complete(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    progress: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    if cell.lock().has_all() {
        return Ok(());
    }
    progress("this envoy is still catching up".to_owned());
    let serves_older = || cell.repo().refs().is_ok_and(|refs| !refs.is_empty());
    let only_one = match cell.try_catch_up() {
        Some(only_one) => only_one,
        None if serves_older() => return Ok(()),
        None => cell.wait_catch_up(),
    };
    let mut reasons = Vec::new();
    for neighbour in envoy.neighbours() {
        if cell.lock().has_all() {
            return Ok(());
        }
        if let Err(error) = catch_up(envoy, cell, neighbour, &[], progress) {
            reasons.push(format!("{}: {}", neighbour.name(), chain(&error)));
        }
    }
    if cell.lock().has_all() {
        return Ok(());
    }
    drop(only_one);
    // What is whole is served as it was; only a foothold that never was whole has nothing to serve.
    if serves_older() {
        progress("warning: serving an older state; the newest has not arrived here yet".to_owned());
        return Ok(());
    }
    let what = format!("the project has not arrived on {} yet", envoy.name());
    Err(fail(
        exit_code::FAILED,
        what,
        Some(reasons.join("; ")),
        &["turn one of these envoys on and try again: vigo envoy status"],
    ))
}

/// When a grant that is drafted now ends.
fn grant_end_ms() -> u64 {
    clock::now_ms().saturating_add(u64::try_from(GRANT_LIFE.as_millis()).unwrap_or(u64::MAX))
}

/// A grant of the project's member for this envoy and user, unsigned.
fn grant_draft(
    envoy: &Envoy,
    state: &State,
    puddle: PuddleKey,
    uid: u32,
) -> Result<Draft, Failure> {
    let act = Act::Grant(Grant {
        envoy: *envoy.public(),
        uid,
        expires_ms: Some(grant_end_ms()),
    });
    encode(&state.draft(*puddle.key(), puddle, *envoy.public(), act))
}

/// The same for a project that is not here: it follows the `init` alone, in an incarnation of its own.
fn token_draft(envoy: &Envoy, asked: &Asked) -> Result<Draft, Failure> {
    let unknown = || unknown_project(envoy, asked.uid, &asked.id, Some(&asked.handle));
    let puddle = asked.puddle.ok_or_else(unknown)?;
    let handle: Handle = asked.handle.parse().map_err(|_| unknown())?;
    if ProjectId::derive(&puddle, &handle) != asked.id || envoy.neighbours().is_empty() {
        return Err(unknown());
    }
    let init = Statement::init(&puddle, &handle)
        .id()
        .map_err(|reject| failed(&reject.to_string()))?;
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|_| failed("the system gave no randomness"))?;
    let statement = Statement {
        project: asked.id,
        signer: *puddle.key(),
        puddle,
        envoy: Some(*envoy.public()),
        incarnation: gitback_envelope::Incarnation::from_bytes(&incarnation),
        seq: 0,
        prev: None,
        deps: vec![init],
        time_ms: Some(clock::now_ms()),
        act: Act::Grant(Grant {
            envoy: *envoy.public(),
            uid: asked.uid,
            expires_ms: Some(grant_end_ms()),
        }),
    };
    encode(&statement)
}

fn encode(statement: &Statement) -> Result<Draft, Failure> {
    let body = statement
        .encode_body()
        .map_err(|reject| failed(&reject.to_string()))?;
    Ok(Draft {
        type_name: statement.type_name(),
        body: hex::encode(&body),
    })
}

/// `project init`: takes the founder's `init`. Doing it again changes nothing.
fn found(envoy: &Arc<Envoy>, envelope: &str) -> Result<Reply, Failure> {
    let init = verified(envelope)?;
    let Act::Init { handle } = &init.statement().act else {
        return Err(failed(
            "a project is founded with an init envelope, and this is none",
        ));
    };
    let handle = handle.to_string();
    let id = init.statement().project;
    room(envoy)?;
    let cell = envoy
        .store()
        .find_or_make(&id)
        .map_err(|fault| ours(&fault))?;
    let admitted = cell
        .lock()
        .admit(vec![init])
        .map_err(|fault| ours(&fault))?;
    let notes = match admitted.folded.as_slice() {
        [] => vec![format!("{handle} was here already")],
        new => {
            spread(envoy, &cell, new, FOUND_WAIT);
            Vec::new()
        }
    };
    Ok(Reply::Accepted { notes, token: None })
}

/// Takes a sealed grant for this envoy and this user.
fn submit(envoy: &Arc<Envoy>, uid: u32, id: &ProjectId, envelope: &str) -> Result<Reply, Failure> {
    let cell = envoy
        .store()
        .founded(id)
        .ok_or_else(|| unknown_project(envoy, uid, id, None))?;
    let grant = verified(envelope)?;
    check_grant(envoy, uid, &grant)?;
    let new = {
        let mut state = cell.lock();
        let statement = grant.statement();
        if !state.fold().access(&statement.puddle).is_some() {
            return Err(fail(
                exit_code::NOT_PERMITTED,
                "the signer of this grant is not a member of the project".to_owned(),
                None,
                &[],
            ));
        }
        if live_grant(envoy, &state, uid).is_some() {
            // Two first uses at once each had a grant signed; one is enough.
            return Ok(Reply::Accepted {
                notes: Vec::new(),
                token: None,
            });
        }
        let place = state
            .fold()
            .next(&statement.signer, &statement.puddle, &state.incarnation());
        if (statement.seq, statement.prev) != place || statement.incarnation != state.incarnation()
        {
            return Err(fail(
                exit_code::FAILED,
                "another grant was signed meanwhile".to_owned(),
                None,
                &["try again"],
            ));
        }
        state
            .admit(vec![grant])
            .map_err(|fault| ours(&fault))?
            .folded
    };
    spread(envoy, &cell, &new, Duration::ZERO);
    Ok(Reply::Accepted {
        notes: Vec::new(),
        token: None,
    })
}

fn check_grant(envoy: &Envoy, uid: u32, envelope: &Verified) -> Result<(), Failure> {
    match envelope.statement().grant() {
        Some(grant) if grant.envoy == *envoy.public() && grant.uid == uid => Ok(()),
        Some(_) => Err(failed("this grant is for another envoy or another user")),
        None => Err(failed("this envelope is not a grant")),
    }
}

/// Brings a project in that is not here, from the first peer that holds it and takes the proof.
fn bootstrap(
    envoy: &Arc<Envoy>,
    uid: u32,
    id: &ProjectId,
    token: [&str; 2],
    progress: &mut dyn FnMut(String),
) -> Result<Reply, Failure> {
    let token = token
        .into_iter()
        .map(verified)
        .collect::<Result<Vec<_>, _>>()?;
    let [init, grant] = token.as_slice() else {
        return Err(failed("a token is an init and a grant"));
    };
    if !is_token(id, &token) || grant.statement().puddle != init.statement().puddle {
        return Err(failed(
            "this token does not prove a membership of this project",
        ));
    }
    check_grant(envoy, uid, grant)?;
    let handle = match &init.statement().act {
        Act::Init { handle } => handle.to_string(),
        _ => return Err(failed("a token begins with its init")),
    };
    room(envoy)?;
    let cell = envoy
        .store()
        .find_or_make(id)
        .map_err(|fault| ours(&fault))?;
    let brought = bring(envoy, &cell, &token, progress);
    let complete = { cell.lock().fold().founder().is_some() };
    if !complete {
        envoy.store().discard_if_unfounded(cell);
        return Err(nobody_has_it(envoy, uid, &handle, &brought));
    }
    let admitted = cell.lock().admit(token).map_err(|fault| ours(&fault))?;
    spread(envoy, &cell, &admitted.folded, Duration::ZERO);
    if !cell.lock().has_all() {
        return Err(fail(
            exit_code::FAILED,
            format!("{handle} could not be brought in whole"),
            Some(reasons(&brought)),
            &["it goes on in the background; try again later"],
        ));
    }
    Ok(Reply::Accepted {
        notes: Vec::new(),
        token: None,
    })
}

fn room(envoy: &Envoy) -> Result<(), Failure> {
    envoy.room().map_err(|reason| {
        let what = format!("{} takes nothing more", envoy.name());
        fail(
            exit_code::DISK,
            what,
            Some(reason),
            &["free some space there"],
        )
    })
}

/// Tries every peer until the project is here and whole. Returns what each one that failed said.
fn bring(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    token: &[Verified],
    progress: &mut dyn FnMut(String),
) -> Vec<Failed> {
    let _only_one = cell.wait_catch_up();
    let mut failures = Vec::new();
    for neighbour in envoy.neighbours() {
        let error = match catch_up(envoy, cell, neighbour, token, progress) {
            Ok(()) => return failures,
            Err(error) => error,
        };
        let reason = match &error {
            CatchUpError::Call {
                source: CallError::Refused(refusal),
                ..
            } if refusal.code == UNKNOWN_PROJECT => None,
            CatchUpError::Call {
                source: CallError::Refused(refusal),
                ..
            } => Some(refusal.reason.clone()),
            CatchUpError::Call { source, .. } => {
                neighbour.note_failure(source);
                Some(neighbour.away_line(None))
            }
            CatchUpError::Sent { .. }
            | CatchUpError::Ours(_)
            | CatchUpError::Room(_)
            | CatchUpError::Short { .. } => Some(chain(&error)),
        };
        failures.push(Failed {
            peer: neighbour.name().to_owned(),
            reason,
        });
    }
    failures
}

/// A peer from which a project could not be had.
struct Failed {
    peer: String,
    /// Nothing: it does not have the project.
    reason: Option<String>,
}

/// "venus, titan do not have it; pluto offline (last seen 2 h ago): connection refused".
fn reasons(failures: &[Failed]) -> String {
    let without: Vec<&str> = failures
        .iter()
        .filter(|failed| failed.reason.is_none())
        .map(|failed| failed.peer.as_str())
        .collect();
    let mut parts: Vec<String> = failures
        .iter()
        .filter_map(|failed| failed.reason.clone())
        .collect();
    match without.as_slice() {
        [] => {}
        [one] => parts.insert(0, format!("{one} does not have it")),
        several => parts.insert(0, format!("{} do not have it", several.join(", "))),
    }
    parts.join("; ")
}

fn nobody_has_it(envoy: &Envoy, uid: u32, handle: &str, failures: &[Failed]) -> Failure {
    let near = nearest(envoy, uid, handle).map(|near| format!("did you mean {near}?"));
    let mut hints: Vec<String> = near.into_iter().collect();
    if failures.iter().any(|failed| failed.reason.is_some()) {
        hints.push("see which envoys answer: vigo envoy status".to_owned());
    }
    if failures.iter().any(|failed| failed.reason.is_none()) {
        hints.push("to start it: vigo swarm gitback project init".to_owned());
    }
    Failure {
        code: exit_code::UNKNOWN,
        what: format!("nobody reachable has {handle}"),
        why: Some(reasons(failures)),
        hints,
    }
}

fn unknown_project(envoy: &Envoy, uid: u32, id: &ProjectId, handle: Option<&str>) -> Failure {
    let name = handle.map_or_else(|| id.to_string(), ToOwned::to_owned);
    if let Some(reason) = envoy.store().why_unopened(id) {
        let what = format!("project {name} is on {} and cannot be opened", envoy.name());
        return fail(
            exit_code::FAILED,
            what,
            Some(reason),
            &["mend that and start the daemon again"],
        );
    }
    let what = format!("no project {name} is known on {}", envoy.name());
    let mut hints: Vec<String> = handle
        .and_then(|handle| nearest(envoy, uid, handle))
        .map(|near| format!("did you mean {near}?"))
        .into_iter()
        .collect();
    hints.push("what is here: vigo swarm gitback project list".to_owned());
    hints.push("to start it:  vigo swarm gitback project init".to_owned());
    Failure {
        code: exit_code::UNKNOWN,
        what,
        why: None,
        hints,
    }
}

/// The handle of a project here that is one or two slips away.
fn nearest(envoy: &Envoy, uid: u32, handle: &str) -> Option<String> {
    let handles = envoy
        .store()
        .all()
        .into_iter()
        .filter(|cell| may_see(envoy, uid, cell))
        .filter_map(|cell| cell.lock().fold().handle().map(ToString::to_string));
    let near = handles
        .filter_map(|known| Some((slips(handle, &known)?, known)))
        .filter(|(slips, _)| (1..=SLIPS_MAX).contains(slips));
    near.min().map(|(_, known)| known)
}

fn verified(envelope: &str) -> Result<Verified, Failure> {
    let bytes = hex::decode(envelope, gitback_envelope::ENVELOPE_MAX)
        .ok_or_else(|| failed("an envelope is sent as lowercase hex"))?;
    Envelope::decode(&bytes)
        .and_then(Envelope::verify)
        .map_err(|reject| {
            fail(
                exit_code::FAILED,
                "the envelope was refused".to_owned(),
                Some(format!("{}: {reject}", reject.code())),
                &[],
            )
        })
}

fn parse_id(text: &str) -> Result<ProjectId, Failure> {
    text.parse().map_err(|_| {
        fail(
            exit_code::USAGE,
            "a project id is 64 lowercase hex digits".to_owned(),
            None,
            &[],
        )
    })
}

fn parse_puddle(text: Option<&str>) -> Result<Option<PuddleKey>, Failure> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| {
        fail(
            exit_code::USAGE,
            "a puddle key is 64 lowercase hex digits".to_owned(),
            None,
            &[],
        )
    })
}

fn not_allowed(envoy: &Envoy, uid: u32) -> Failure {
    let why = format!(
        "allow_uids in {} does not list {uid}",
        envoy.layout().config_file.display()
    );
    let hint = format!(
        "who administers {} can add it and start the daemon again",
        envoy.name()
    );
    fail(
        exit_code::NOT_PERMITTED,
        format!("user {uid} may not use gitback on {}", envoy.name()),
        Some(why),
        &[&hint],
    )
}

fn ours(fault: &Fault) -> Failure {
    tracing::error!(error = %chain(fault), "a local request failed");
    fail(
        exit_code::FAILED,
        "this envoy could not store it".to_owned(),
        Some(chain(fault)),
        &["see the daemon's log"],
    )
}

fn failed(what: &str) -> Failure {
    fail(exit_code::FAILED, what.to_owned(), None, &[])
}

fn fail(code: u8, what: String, why: Option<String>, hints: &[&str]) -> Failure {
    Failure {
        code,
        what,
        why,
        hints: hints.iter().map(ToString::to_string).collect(),
    }
}

fn short(key: &PuddleKey) -> String {
    key.to_string().chars().take(12).collect()
}
