//! The routes of the small messages by which a fleet stays in step.
//!
//! Source: docs/spec/peer.md §5.6 to §5.11.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use gitback_identity::ProjectId;

use super::{App, FRAMES, JSON, own_fault, project_id, typed};
use crate::limits::{
    ASKED_IDS_MAX, FRESH_MAX, GOSSIP_MAX, HELD_IDS_MAX, IDS_BODY_MAX, NAMES_MAX, RECONCILE_MAX,
    SMALL_BODY_FACTOR,
};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::server::Visit;
use crate::server::stream::collect;
use crate::service::{Caller, Service};
use crate::wire::{Fresh, Names, decode_ids, decode_messages, encode_page};

pub(super) const OCTETS: &str = "application/octet-stream";

pub(super) async fn gossip(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = whole(&app, request, GOSSIP_MAX, "the messages").await?;
    let messages = decode_messages(&body)?;
    drop(body);
    let job = move |service: &dyn Service, caller: &Caller| service.gossip(caller, messages);
    app.run(&visit, job).await?;
    Ok(done())
}

pub(super) async fn fresh(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    let question = Fresh::decode(&whole(&app, request, FRESH_MAX, "the question").await?)?;
    let job = move |service: &dyn Service, caller: &Caller| {
        let answer = service.fresh(caller, &project, question)?;
        answer.encode().map_err(own_fault)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(JSON, Body::from(answer)))
}

pub(super) async fn names(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
) -> Result<Response, Refusal> {
    let names = Names::decode(&whole(&app, request, NAMES_MAX, "the claims").await?)?;
    let job = move |service: &dyn Service, caller: &Caller| {
        let answer = service.names(caller, names)?;
        answer.encode().map_err(own_fault)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(JSON, Body::from(answer)))
}

pub(super) async fn reconcile(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    let message = whole(&app, request, RECONCILE_MAX, "the message").await?;
    let job = move |service: &dyn Service, caller: &Caller| {
        let answer = service.reconcile(caller, &project, message)?;
        if answer.len() > RECONCILE_MAX {
            return Err(own_fault(Reject::TooLong {
                what: "the answer",
                limit: RECONCILE_MAX as u64,
            }));
        }
        Ok(answer)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(OCTETS, Body::from(answer)))
}

pub(super) async fn envelopes(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (project, ids) = asked(&app, &project, request, ASKED_IDS_MAX).await?;
    let job = move |service: &dyn Service, caller: &Caller| {
        let page = service.envelopes(caller, &project, ids)?;
        encode_page(&page).map_err(own_fault)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(FRAMES, Body::from(answer)))
}

pub(super) async fn held(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (project, ids) = asked(&app, &project, request, HELD_IDS_MAX).await?;
    let job = move |service: &dyn Service, caller: &Caller| service.held(caller, &project, ids);
    app.run(&visit, job).await?;
    Ok(done())
}

/// The project of a path and the ids in a body, at most `most`.
async fn asked(
    app: &App,
    project: &str,
    request: Request,
    most: usize,
) -> Result<(ProjectId, Vec<[u8; 32]>), Refusal> {
    let project = project_id(project)?;
    let body = whole(app, request, IDS_BODY_MAX, "the list of ids").await?;
    Ok((project, decode_ids(&body, most)?))
}

pub(super) async fn whole(
    app: &App,
    request: Request,
    limit: usize,
    what: &'static str,
) -> Result<Vec<u8>, Refusal> {
    let patience = app.limits.idle * SMALL_BODY_FACTOR;
    Ok(collect(request.into_body(), limit, patience, what).await?)
}

fn done() -> Response {
    typed(JSON, Body::from("{}"))
}
