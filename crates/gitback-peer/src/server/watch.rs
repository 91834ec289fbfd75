//! Noticing callers that do not take their answers.
//!
//! A body cannot time out by itself: while the flow-control window is closed nobody polls it. So
//! each body notes when its last chunk was handed over, and the connection looks now and then.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::admission::Ticket;

/// The bodies of one connection that wait for their caller, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Stalls {
    shared: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    since: HashMap<u64, Instant>,
}

impl Stalls {
    pub(super) fn longer_than(&self, limit: Duration) -> bool {
        let waiting = self.lock();
        waiting.since.values().any(|since| since.elapsed() > limit)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while the lock is held.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer. Holds the request's ticket until it is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    number: u64,
    stalls: Stalls,
    _ticket: Ticket,
}

impl Watched {
    pub(super) fn new(body: Body, ticket: Ticket, stalls: &Stalls) -> Self {
        let number = {
            let mut waiting = stalls.lock();
            waiting.next += 1;
            waiting.next
        };
        Self {
            body,
            number,
            stalls: stalls.clone(),
            _ticket: ticket,
        }
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Asked for more: the caller took the last chunk.
        self.stalls.lock().since.remove(&self.number);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(_)) = frame {
            self.stalls.lock().since.insert(self.number, Instant::now());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stalls.lock().since.remove(&self.number);
    }
}
