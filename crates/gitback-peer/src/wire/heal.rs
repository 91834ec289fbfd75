//! The small messages by which a fleet stays in step.
//!
//! Source: docs/spec/peer.md §5.6 to §5.10.

use serde::{Deserialize, Serialize};

use super::{
    Hex, at_most, envelope_count, envelopes, framed, from_json, header, hex, to_json, within,
};
use crate::frame::{self, Frames, Head, Kind};
use crate::limits::{
    FRESH_MAX, FRESH_REFS_MAX, GOSSIP_MAX, GOSSIP_MESSAGE_MAX, GOSSIP_MESSAGES_MAX, IDS_BODY_MAX,
    REF_NAME_MAX, SYNC_HEADER_MAX, SYNC_PAGE_MAX,
};
use crate::reject::Reject;

/// Asks a peer whether a push that is about to commit would come too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The names of the refs that the push moves, at most [`FRESH_REFS_MAX`] of at most
    /// [`REF_NAME_MAX`] bytes.
    pub refs: Vec<Vec<u8>>,
    /// The digest of what the asking envoy holds of the project.
    pub digest: [u8; 32],
}

/// What a peer says to [`Fresh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreshAnswer {
    /// The digest of what the answering envoy holds.
    pub digest: [u8; 32],
    /// Whether a push of its own to one of the refs goes first.
    pub wait: bool,
}

#[derive(Serialize, Deserialize)]
struct FreshBody {
    refs: Vec<String>,
    digest: Hex<32>,
}

#[derive(Serialize, Deserialize)]
struct FreshAnswerBody {
    digest: Hex<32>,
    wait: bool,
}

#[derive(Serialize, Deserialize)]
struct IdsBody {
    envelopes: Vec<Hex<32>>,
}

#[derive(Serialize, Deserialize)]
struct PageHead {
    envelopes: u32,
}

impl Fresh {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        self.check()?;
        let body = FreshBody {
            refs: self.refs.iter().map(|name| hex::encode(name)).collect(),
            digest: Hex(self.digest),
        };
        to_json(&body, "the question", FRESH_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: FreshBody = from_json(json, "the question", FRESH_MAX)?;
        let name = |text: &String| {
            hex::decode(text, REF_NAME_MAX).ok_or(Reject::Malformed {
                what: "the name of a ref",
            })
        };
        let fresh = Self {
            refs: body.refs.iter().map(name).collect::<Result<_, _>>()?,
            digest: body.digest.0,
        };
        fresh.check()?;
        Ok(fresh)
    }

    fn check(&self) -> Result<(), Reject> {
        at_most(self.refs.len(), FRESH_REFS_MAX, "refs")?;
        let longest = self.refs.iter().map(Vec::len).max().unwrap_or(0);
        within(longest, REF_NAME_MAX, "the name of a ref")
    }
}

impl FreshAnswer {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        let body = FreshAnswerBody {
            digest: Hex(self.digest),
            wait: self.wait,
        };
        to_json(&body, "the answer", FRESH_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: FreshAnswerBody = from_json(json, "the answer", FRESH_MAX)?;
        Ok(Self {
            digest: body.digest.0,
            wait: body.wait,
        })
    }
}

pub(crate) fn encode_messages(messages: &[Vec<u8>]) -> Result<Vec<u8>, Reject> {
    at_most(messages.len(), GOSSIP_MESSAGES_MAX, "messages")?;
    let mut body = Vec::new();
    for message in messages {
        frame::put(&mut body, Kind::Message, message, GOSSIP_MESSAGE_MAX)?;
    }
    body.extend_from_slice(&Head::END.to_bytes());
    Ok(body)
}

pub(crate) fn decode_messages(body: &[u8]) -> Result<Vec<Vec<u8>>, Reject> {
    within(body.len(), GOSSIP_MAX, "the messages")?;
    let mut frames = Frames::new(body);
    let mut messages = Vec::new();
    loop {
        let head = frames.head()?;
        if head == Head::END && frames.is_at_end() {
            return Ok(messages);
        }
        let head = head.expect(Kind::Message, "a message or the end")?;
        at_most(messages.len() + 1, GOSSIP_MESSAGES_MAX, "messages")?;
        messages.push(frames.payload(head, GOSSIP_MESSAGE_MAX, "a message")?);
    }
}

/// Encodes at most `most` ids of envelopes.
pub(crate) fn encode_ids(ids: &[[u8; 32]], most: usize) -> Result<Vec<u8>, Reject> {
    at_most(ids.len(), most, "ids")?;
    let body = IdsBody {
        envelopes: ids.iter().copied().map(Hex).collect(),
    };
    to_json(&body, "the list of ids", IDS_BODY_MAX)
}

pub(crate) fn decode_ids(json: &[u8], most: usize) -> Result<Vec<[u8; 32]>, Reject> {
    let body: IdsBody = from_json(json, "the list of ids", IDS_BODY_MAX)?;
    at_most(body.envelopes.len(), most, "ids")?;
    Ok(body.envelopes.into_iter().map(|id| id.0).collect())
}

pub(crate) fn encode_page(page: &[Vec<u8>]) -> Result<Vec<u8>, Reject> {
    within(page.iter().map(Vec::len).sum(), SYNC_PAGE_MAX, "the page")?;
    let head = PageHead {
        envelopes: envelope_count(page)?,
    };
    framed(&head, page)
}

pub(crate) fn decode_page(body: &[u8]) -> Result<Vec<Vec<u8>>, Reject> {
    let mut frames = Frames::new(body);
    let head: PageHead = header(&mut frames, SYNC_HEADER_MAX)?;
    envelopes(frames, head.envelopes, SYNC_PAGE_MAX)
}

#[cfg(test)]
mod tests;
