//! The routes by which envoys come to be one fleet.
//!
//! Source: docs/spec/peer.md §5.11.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;

use super::heal::{OCTETS, whole};
use super::{App, own_fault, typed};
use crate::limits::{PETITION_MAX, ROSTER_MAX, WELCOME_MAX};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::server::Visit;
use crate::service::{Caller, Service};

pub(super) async fn roster(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
) -> Result<Response, Refusal> {
    let theirs = whole(&app, request, ROSTER_MAX, "the roster").await?;
    let job = move |service: &dyn Service, caller: &Caller| {
        within(service.roster(caller, theirs)?, ROSTER_MAX)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(OCTETS, Body::from(answer)))
}

pub(super) async fn enrol(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
) -> Result<Response, Refusal> {
    let petition = whole(&app, request, PETITION_MAX, "the petition").await?;
    let job = move |service: &dyn Service, caller: &Caller| {
        within(service.enrol(caller, petition)?, WELCOME_MAX)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(OCTETS, Body::from(answer)))
}

fn within(answer: Vec<u8>, limit: usize) -> Result<Vec<u8>, Refusal> {
    if answer.len() <= limit {
        return Ok(answer);
    }
    Err(own_fault(Reject::TooLong {
        what: "the answer",
        limit: limit as u64,
    }))
}
