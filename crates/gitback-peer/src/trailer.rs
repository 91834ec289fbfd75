//! The trailer that says how a streamed answer ended.
//!
//! HTTP/2 alone cannot: an answer that is cut off by a dying server may look complete, and a
//! status once sent cannot be taken back.
//!
//! Source: docs/spec/peer.md §5.4.

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use crate::refusal::{Refusal, RefusalKind};

const STATUS: &str = "gitback-status";
const REFUSAL: &str = "gitback-refusal";

pub(crate) fn encode(outcome: Result<&(), &Refusal>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    match outcome {
        Ok(()) => {
            trailers.insert(STATUS, HeaderValue::from_static("200"));
        }
        Err(refusal) => {
            trailers.insert(STATUS, refusal.status.http_status().into());
            if let Ok(value) = HeaderValue::from_str(&refusal.to_ascii_json()) {
                trailers.insert(REFUSAL, value);
            }
        }
    }
    trailers
}

/// Reads how the answer ended; `None` when the trailer is missing or malformed.
pub(crate) fn decode(trailers: &HeaderMap) -> Option<Result<(), Refusal>> {
    let status: u16 = trailers.get(STATUS)?.to_str().ok()?.parse().ok()?;
    if status == 200 {
        return Some(Ok(()));
    }
    let kind = RefusalKind::from_http_status(status)?;
    let refusal = Refusal::from_json(kind, trailers.get(REFUSAL)?.as_bytes())?;
    Some(Err(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        assert_eq!(decode(&encode(Ok(&()))), Some(Ok(())));
        let refusal = Refusal::new(RefusalKind::Internal, "git-failed", "naïve");
        assert_eq!(decode(&encode(Err(&refusal))), Some(Err(refusal)));
        assert_eq!(decode(&HeaderMap::new()), None);
    }
}
