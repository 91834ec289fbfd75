//! The routes: from HTTP to the service and back.
//!
//! Source: docs/spec/peer.md §3.

mod blocks;
mod fleet;
mod heal;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gitback_identity::{EnvoyKey, ProjectId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::Visit;
use super::admission::Admission;
use super::stream::{BodyReader, OutputWriter, Until, collect, prefix};
use crate::crawl::Crawl;
use crate::frame::HEAD_LEN;
use crate::limits::{
    DIGESTS_MAX, Limits, PUSH_HEADER_MAX, SMALL_BODY_FACTOR, SYNC_REQUEST_MAX, UPLOAD_REQUEST_MAX,
};
use crate::push::PushBody;
use crate::refusal::{Refusal, RefusalKind};
use crate::reject::Reject;
use crate::service::{Caller, Service};
use crate::wire::{Compared, Comparison, Digests, SyncRequest};
use blocks::streamed;

/// What the routes share.
pub(super) struct App {
    service: Arc<dyn Service>,
    limits: Limits,
    jobs: Arc<Semaphore>,
    admission: Admission,
}

/// The media type of framed bodies.
const FRAMES: &str = "application/vnd.gitback.frames.v1";
const JSON: &str = "application/json";
const UPLOAD_PACK: &str = "application/x-git-upload-pack-result";

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/swarm/gitback/digests", post(digests))
        .route("/swarm/gitback/sync/{project}", post(sync))
        .route("/swarm/gitback/push/{project}", post(push))
        .route(
            "/swarm/gitback/{project}/git-upload-pack",
            post(upload_pack),
        )
        .route("/swarm/gossip", post(heal::gossip))
        .route("/swarm/gitback/fresh/{project}", post(heal::fresh))
        .route("/swarm/gitback/reconcile/{project}", post(heal::reconcile))
        .route("/swarm/gitback/envelopes/{project}", post(heal::envelopes))
        .route("/swarm/gitback/held/{project}", post(heal::held))
        .route("/swarm/gitback/packs/{project}", post(blocks::packs))
        .route("/swarm/gitback/blocks/{project}", post(blocks::blocks))
        .route("/swarm/fleet/roster", post(fleet::roster))
        .route("/swarm/fleet/enrol", post(fleet::enrol))
        .route("/swarm/puddle/names", post(heal::names))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .with_state(app)
}

impl App {
    pub(super) fn new(service: Arc<dyn Service>, mut limits: Limits) -> Arc<Self> {
        limits.jobs = limits.jobs.clamp(1, 1024);
        Arc::new(Self {
            service,
            jobs: Arc::new(Semaphore::new(limits.jobs)),
            admission: Admission::new(&limits),
            limits,
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the service knows the envoy that has connected.
    pub(super) fn knows(&self, key: &EnvoyKey) -> bool {
        self.service.knows(key)
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Waits until no method of the service runs, for as long as a drain may take.
    pub(super) async fn jobs_done(&self) {
        let all = u32::try_from(self.limits.jobs).unwrap_or(u32::MAX);
        let done = timeout(self.limits.drain, self.jobs.acquire_many(all)).await;
        if done.is_err() {
            warn!("a job of a caller did not end in time");
        }
    }

    /// Runs one method of the service on a blocking thread, when there is room.
    async fn run<T: Send + 'static>(
        &self,
        visit: &Visit,
        job: impl FnOnce(&dyn Service, &Caller) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = timeout(self.limits.queue, self.jobs.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Refusal::busy("busy", "too many jobs in progress"));
        };
        let service = self.service.clone();
        let caller = visit.caller;
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = job(&*service, &caller);
            let is_shunned = service.shuns(&caller.key);
            drop(permit);
            (outcome, is_shunned)
        });
        let (outcome, is_shunned) = outcome.await.unwrap_or_else(|error| {
            warn!(%error, "a job failed");
            let reason = "the request could not be carried out";
            (Err(Refusal::internal(reason)), false)
        });
        if is_shunned {
            visit.seat.shun();
        } else if outcome.is_ok() {
            visit.seat.welcome();
        }
        if let Err(refusal) = &outcome {
            debug!(caller = %caller.key, code = %refusal.code, "refused");
        }
        outcome
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, typed(JSON, Body::from(self.to_json()))).into_response()
    }
}

fn typed(media_type: &'static str, body: Body) -> Response {
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    ([content_type], body).into_response()
}

async fn healthz() -> Response {
    typed(JSON, Body::from(r#"{"status":"ok"}"#))
}

async fn no_route() -> Refusal {
    Refusal::new(RefusalKind::NotFound, "no-such-route", "no such route")
}

async fn digests(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
) -> Result<Response, Refusal> {
    let patience = app.limits.idle * SMALL_BODY_FACTOR;
    let body = collect(request.into_body(), DIGESTS_MAX, patience, "digests").await?;
    let comparison = Comparison::decode(&body)?;
    drop(body);
    let job = move |service: &dyn Service, caller: &Caller| {
        let answer = match comparison {
            Comparison::Full(theirs) => Compared::Full(service.digests(caller, theirs)?),
            Comparison::Summary {
                name,
                summary,
                roster,
                names,
            } => summed_up(service, caller, name, (roster, names), &summary)?,
        };
        answer.encode().map_err(own_fault)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(JSON, Body::from(answer)))
}

/// Whether the list that the caller would get has the summary of its own: then it is told to the
/// service as if it had been sent.
fn summed_up(
    service: &dyn Service,
    caller: &Caller,
    name: String,
    (roster, names): (Option<[u8; 32]>, Option<[u8; 32]>),
    summary: &[u8; 32],
) -> Result<Compared, Refusal> {
    let other = |ours: Digests| Compared::Summary {
        name: ours.name,
        same: false,
        roster: ours.roster,
        names: ours.names,
    };
    let Some(ours) = service.listed(caller)? else {
        return Ok(other(Digests::default()));
    };
    if ours.summary() != *summary {
        return Ok(other(ours));
    }
    let theirs = Digests {
        name,
        projects: ours.projects,
        roster,
        names,
    };
    let now = service.digests(caller, theirs)?;
    Ok(Compared::Summary {
        same: now.summary() == *summary,
        name: now.name,
        roster: now.roster,
        names: now.names,
    })
}

async fn sync(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    let patience = app.limits.idle * SMALL_BODY_FACTOR;
    let what = "the sync request";
    let body = collect(request.into_body(), SYNC_REQUEST_MAX, patience, what).await?;
    let request = SyncRequest::decode(&body)?;
    drop(body);
    let job = move |service: &dyn Service, caller: &Caller| {
        let answer = service.sync(caller, &project, request)?;
        answer.encode().map_err(own_fault)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(FRAMES, Body::from(answer)))
}

async fn push(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    let limits = &app.limits;
    let (push_bytes, wait) = (limits.push_bytes, limits.wait);
    let mut body = request.into_body();
    // The header comes before a job is taken, so that a silent caller holds none.
    let what = "the push header";
    let head = prefix(&mut body, limits.handshake, what, has_header).await?;
    let until = Until::Crawl(Crawl::new(wait * 2, Instant::now()));
    let reader = BodyReader::new(head, body, limits.idle, until);
    let job = move |service: &dyn Service, caller: &Caller| {
        let mut body = PushBody::open(reader, push_bytes, wait)?;
        let answer = service
            .push(caller, &project, &mut body)
            .map_err(|refusal| body.take_fault().unwrap_or(refusal))?;
        answer.encode().map_err(own_fault)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(JSON, Body::from(answer)))
}

async fn upload_pack(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    let mut body = request.into_body();
    let what = "the request";
    let head = prefix(&mut body, app.limits.handshake, what, |taken| {
        !taken.is_empty()
    })
    .await?;
    let patience = app.limits.idle * SMALL_BODY_FACTOR;
    let until = Until::Deadline(Instant::now() + patience);
    let reader = BodyReader::new(head, body, app.limits.idle, until);
    let job = move |service: &dyn Service, caller: &Caller, writer: &mut OutputWriter| {
        let mut input = Capped::new(reader, UPLOAD_REQUEST_MAX as u64);
        let outcome = service.upload_pack(caller, &project, &mut input, writer);
        match (outcome, input.exceeded()) {
            (Ok(()), _) => {
                std::io::Write::flush(writer).map_err(|_| Refusal::internal("the caller went away"))
            }
            (Err(_), true) => Err(Reject::TooLong {
                what,
                limit: UPLOAD_REQUEST_MAX as u64,
            }
            .into()),
            (Err(refusal), false) => Err(refusal),
        }
    };
    streamed(app, visit, UPLOAD_PACK, job).await
}

/// Stops a reader at a limit, with an error rather than an end.
struct Capped<R> {
    input: R,
    left: u64,
    exceeded: bool,
}

impl<R> Capped<R> {
    fn new(input: R, limit: u64) -> Self {
        Self {
            input,
            left: limit,
            exceeded: false,
        }
    }

    fn exceeded(&self) -> bool {
        self.exceeded
    }
}

impl<R: std::io::Read> std::io::Read for Capped<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(out)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => {
                self.exceeded = true;
                Err(std::io::ErrorKind::InvalidData.into())
            }
        }
    }
}

fn project_id(text: &str) -> Result<ProjectId, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            RefusalKind::Bad,
            "malformed-project",
            "a project id is 64 lowercase hex digits",
        )
    })
}

/// What the service answered breaks our own limits: our fault, not the caller's.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that `map_err` wants"
)]
fn own_fault(reject: Reject) -> Refusal {
    warn!(%reject, "the answer cannot be sent");
    Refusal::internal("the answer cannot be sent")
}

/// Whether `taken` holds a whole first frame, or enough to refuse it.
fn has_header(taken: &[u8]) -> bool {
    let Some(Ok([_, len @ ..])) = taken.get(..HEAD_LEN).map(<[u8; HEAD_LEN]>::try_from) else {
        return false;
    };
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    len > PUSH_HEADER_MAX || taken.len() >= HEAD_LEN + len
}
