//! One request, its deadlines, its answer.

use std::io;
use std::pin::pin;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::feed::{Failure, feed};
use super::outgoing::Outgoing;
use super::pool::Lent;
use super::source::PushSource;
use super::{CallError, Client, PeerAddress, protocol};
use crate::crawl::{Crawl, allowed};
use crate::limits::{CHUNKS_MAX, REFUSAL_MAX, SMALL_BODY_FACTOR};
use crate::refusal::{Refusal, RefusalKind};
use crate::reject::Reject;
use crate::trailer;

/// An attempt that gave no answer.
struct Failed {
    error: CallError,
    /// The request, when not one byte of it was taken.
    unsent: Option<Request<Outgoing>>,
    /// Whether the request broke off on this side, so that nothing is wrong with the connection.
    broke_off: bool,
}

impl Client {
    /// Sends a small request and collects the answer.
    pub(super) async fn query(
        &self,
        to: &PeerAddress,
        path: String,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<u8>, CallError> {
        let response = self.ask(to, &path, body).await?;
        self.answer(response, limit).await
    }

    /// Sends a push and collects the answer.
    pub(super) async fn feed(
        &self,
        to: &PeerAddress,
        path: String,
        source: impl PushSource,
        limit: usize,
    ) -> Result<Vec<u8>, CallError> {
        // Ends the feeding when dropped, whatever becomes of the request.
        let failure = Failure::default();
        let body = feed(source, &failure, self.patience.wait);
        let answer = async {
            let request = request(&path, body)?;
            let after_sent = self.patience.push_answer;
            let response = self.exchange(to, request, None, after_sent).await?;
            self.answer(response, limit).await
        };
        answer.await.map_err(|error| match (failure.take(), error) {
            (_, refused @ CallError::Refused(_)) => refused,
            (Some(failure), _) => failure,
            (None, error) => error,
        })
    }

    /// Sends a request and writes the answer to `sink` while it comes.
    pub(super) async fn download(
        &self,
        to: &PeerAddress,
        path: String,
        body: Vec<u8>,
        mut sink: impl io::Write + Send + 'static,
    ) -> Result<u64, CallError> {
        let response = self.ask(to, &path, body).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let (chunks, mut received) = mpsc::channel::<Bytes>(CHUNKS_MAX);
        let writer = tokio::task::spawn_blocking(move || {
            let mut written = 0;
            while let Some(chunk) = received.blocking_recv() {
                sink.write_all(&chunk)?;
                written += chunk.len() as u64;
            }
            sink.flush()?;
            Ok(written)
        });
        let outcome = self.pass_on(response.into_body(), &chunks).await;
        drop(chunks);
        let written = writer
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let written = written.map_err(|source| CallError::Local { source })?;
        outcome.map(|()| written)
    }

    /// Passes the body on until its trailer, or until nobody takes it any more.
    async fn pass_on(
        &self,
        mut body: Incoming,
        chunks: &mpsc::Sender<Bytes>,
    ) -> Result<(), CallError> {
        let after = self.patience.crawl;
        let mut crawl = Crawl::new(after, Instant::now());
        loop {
            let Some(frame) = self.next_frame(&mut body).await? else {
                return Err(protocol(Reject::Truncated { what: "the answer" }));
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Some(bytes) = crawl.note(data.len(), Instant::now()) {
                        return Err(CallError::TooSlow { bytes, after });
                    }
                    if chunks.send(data).await.is_err() {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    return match frame.trailers_ref().and_then(trailer::decode) {
                        Some(outcome) => outcome.map_err(CallError::Refused),
                        None => Err(protocol(Reject::Malformed {
                            what: "the trailer",
                        })),
                    };
                }
            }
        }
    }

    /// Sends a request whose body is in hand, so that it can be sent twice.
    async fn ask(
        &self,
        to: &PeerAddress,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, CallError> {
        let body = Bytes::from(body);
        let spare = request(path, Outgoing::whole(body.clone()))?;
        let request = request(path, Outgoing::whole(body))?;
        let after_sent = self.patience.answer;
        self.exchange(to, request, Some(spare), after_sent).await
    }

    /// Sends a request and waits for the head of its answer. When a connection that served before
    /// turns out to be dead, tries once more on a new one, with the same request if nothing of it
    /// was taken, else with `spare`.
    async fn exchange(
        &self,
        to: &PeerAddress,
        request: Request<Outgoing>,
        spare: Option<Request<Outgoing>>,
        after_sent: Duration,
    ) -> Result<Response<Incoming>, CallError> {
        let lent = self.pool.lend(to).await?;
        let (used, generation) = (lent.used, lent.generation);
        let failed = match self.attempt(lent, request, after_sent).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        if failed.broke_off {
            return Err(failed.error);
        }
        self.pool.retire(to, generation).await;
        let again = match (&failed.error, failed.unsent.or(spare)) {
            (CallError::Lost { .. }, Some(again)) if used => again,
            _ => return Err(failed.error),
        };
        let lent = self.pool.lend(to).await?;
        let generation = lent.generation;
        match self.attempt(lent, again, after_sent).await {
            Ok(response) => Ok(response),
            Err(failed) => {
                if !failed.broke_off {
                    self.pool.retire(to, generation).await;
                }
                Err(failed.error)
            }
        }
    }

    async fn attempt(
        &self,
        mut lent: Lent,
        request: Request<Outgoing>,
        after_sent: Duration,
    ) -> Result<Response<Incoming>, Failed> {
        let progress = request.body().progress();
        progress.begin();
        let mut answered = pin!(lent.sender.try_send_request(request));
        // The deadline changes while this waits, once the body is sent.
        let shorter = self.patience.idle.min(after_sent);
        loop {
            let state = progress.state();
            let after = if state.sent {
                after_sent
            } else {
                self.patience.idle
            };
            let deadline = state.moved + after;
            tokio::select! {
                outcome = &mut answered => return outcome.map_err(|mut error| Failed {
                    unsent: error.take_message(),
                    error: lost(error.into_error()),
                    broke_off: progress.state().broken,
                }),
                () = sleep_until(deadline.min(Instant::now() + shorter)) => {
                    if Instant::now() >= deadline && progress.state() == state {
                        let error = CallError::TimedOut { after };
                        return Err(Failed {
                            error,
                            unsent: None,
                            broke_off: false,
                        });
                    }
                }
            }
        }
    }

    async fn answer(
        &self,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Vec<u8>, CallError> {
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        self.collect(response.into_body(), limit).await
    }

    async fn refusal(&self, response: Response<Incoming>) -> CallError {
        let status = response.status().as_u16();
        let body = match self.collect(response.into_body(), REFUSAL_MAX).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let refusal =
            RefusalKind::from_http_status(status).and_then(|kind| Refusal::from_json(kind, &body));
        match refusal {
            Some(refusal) => CallError::Refused(refusal),
            None => protocol(Reject::Status { status }),
        }
    }

    async fn collect(&self, mut body: Incoming, limit: usize) -> Result<Vec<u8>, CallError> {
        let (began, mut bytes) = (Instant::now(), Vec::new());
        while let Some(frame) = self.next_frame(&mut body).await? {
            let after = allowed(self.patience.idle * SMALL_BODY_FACTOR, bytes.len());
            if began.elapsed() > after {
                let bytes = bytes.len() as u64;
                return Err(CallError::TooSlow { bytes, after });
            }
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                return Err(protocol(Reject::TooLong {
                    what: "the answer",
                    limit: limit as u64,
                }));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    async fn next_frame(&self, body: &mut Incoming) -> Result<Option<Frame<Bytes>>, CallError> {
        let after = self.patience.idle;
        match timeout(after, body.frame()).await {
            Ok(frame) => frame.transpose().map_err(lost),
            Err(_) => Err(CallError::TimedOut { after }),
        }
    }
}

fn request(path: &str, body: Outgoing) -> Result<Request<Outgoing>, CallError> {
    const AGENT: &str = concat!("gitback/", env!("CARGO_PKG_VERSION"));
    Request::builder()
        .method(Method::POST)
        // The authority means nothing: the key is the identity.
        .uri(format!("https://envoy.invalid{path}"))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .body(body)
        .map_err(|_| {
            protocol(Reject::Malformed {
                what: "the path of the request",
            })
        })
}

fn lost(error: hyper::Error) -> CallError {
    CallError::Lost {
        source: io::Error::other(error),
    }
}
