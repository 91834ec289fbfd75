//! The routes by which packs are given in blocks.
//!
//! Source: docs/spec/peer.md §5.14 and §5.15.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;

use super::heal::{OCTETS, whole};
use super::{App, own_fault, project_id, typed};
use crate::limits::{BLOCKS_BODY_MAX, MANIFEST_MAX};
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::server::Visit;
use crate::server::stream::{Chunk, OutputBody, OutputWriter, output};
use crate::service::{Caller, Service};
use crate::wire::BlockRange;

pub(super) async fn packs(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    whole(&app, request, BLOCKS_BODY_MAX, "the question").await?;
    let job = move |service: &dyn Service, caller: &Caller| {
        let answer = service.packs(caller, &project)?;
        if answer.len() > MANIFEST_MAX {
            return Err(own_fault(Reject::TooLong {
                what: "the manifest",
                limit: MANIFEST_MAX as u64,
            }));
        }
        Ok(answer)
    };
    let answer = app.run(&visit, job).await?;
    Ok(typed(OCTETS, Body::from(answer)))
}

pub(super) async fn blocks(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(project): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let project = project_id(&project)?;
    let body = whole(&app, request, BLOCKS_BODY_MAX, "the question").await?;
    let range = BlockRange::decode(&body)?;
    let job = move |service: &dyn Service, caller: &Caller, writer: &mut OutputWriter| {
        service.blocks(caller, &project, range, writer)?;
        std::io::Write::flush(writer).map_err(|_| Refusal::internal("the caller went away"))
    };
    streamed(app, visit, OCTETS, job).await
}

/// Answers with what `job` writes, while it writes.
pub(super) async fn streamed(
    app: Arc<App>,
    visit: Arc<Visit>,
    media_type: &'static str,
    job: impl FnOnce(&dyn Service, &Caller, &mut OutputWriter) -> Result<(), Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let (mut writer, end, mut chunks) = output();
    let job = move |service: &dyn Service, caller: &Caller| job(service, caller, &mut writer);
    // The job writes while the body is sent, so it has a task of its own.
    tokio::spawn(async move {
        let outcome = app.run(&visit, job).await;
        // Nobody waits for the end when the caller went away.
        let _ = end.send(Chunk::End(outcome)).await;
    });
    match chunks.recv().await {
        Some(Chunk::End(Err(refusal))) => Err(refusal),
        Some(first) => Ok(typed(media_type, Body::new(OutputBody::new(first, chunks)))),
        None => Err(Refusal::internal("the request could not be carried out")),
    }
}
