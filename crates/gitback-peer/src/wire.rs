//! The messages between envoys, and their encoding.
//!
//! Decoders bound everything; encoders refuse what a peer would refuse, so that the fault shows
//! where it is. Unknown JSON fields are ignored: a later version may add some.
//!
//! Source: docs/spec/peer.md §5.

mod blocks;
mod digests;
mod heal;
mod names;
mod push;

use gitback_identity::hex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::frame::{self, Frames, Head, Kind};
use crate::limits::{
    ENVELOPE_MAX, ENVELOPES_MAX, HAVES_MAX, PUSH_ANSWER_MAX, SYNC_HEADER_MAX, SYNC_PAGE_MAX,
    SYNC_REQUEST_MAX, TIPS_MAX,
};
use crate::reject::Reject;
pub use blocks::BlockRange;
pub use digests::Digests;
pub(crate) use digests::{Compared, Comparison};
pub use heal::{Fresh, FreshAnswer};
pub(crate) use heal::{
    decode_ids, decode_messages, decode_page, encode_ids, encode_messages, encode_page,
};
pub use names::{HeldClaim, Names, NamesAnswer};
pub use push::{Handoff, PackInfo, PushHeader};

/// The last envelope of one branch of one chain, as a holder knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The key that signs the chain.
    #[serde(with = "hexed")]
    pub signer: [u8; 32],
    /// The puddle acted for.
    #[serde(with = "hexed")]
    pub puddle: [u8; 32],
    /// The chain's incarnation.
    #[serde(with = "hexed")]
    pub incarnation: [u8; 16],
    /// The number of the last envelope.
    pub seq: u64,
    /// The id of the last envelope.
    #[serde(with = "hexed")]
    pub id: [u8; 32],
}

/// Asks for the envelopes that a holder of `tips` lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncRequest {
    /// Envelopes that prove the right to ask, for an envoy the peer does not know yet.
    pub token: Vec<Vec<u8>>,
    /// What the asker holds; empty: nothing.
    pub tips: Vec<Tip>,
    /// How many envelopes of the answer the asker already got (paging).
    pub skip: u64,
}

/// One page of envelopes, ancestors first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// At most [`SYNC_PAGE_MAX`] bytes together.
    pub envelopes: Vec<Vec<u8>>,
    /// Whether another page follows: ask again with a larger `skip`.
    pub more: bool,
    /// The digest of the answering side.
    pub digest: [u8; 32],
    /// The tips of the answering side.
    pub tips: Vec<Tip>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// Everything that the updates reach, and the envelopes, are synced to disk there. Refs follow from the envelopes.
    Durable {
        /// Nothing else of the project is lacking there either.
        whole: bool,
    },
    /// The peer lacks ancestors or bases. Push again with what it says it has in mind.
    Need {
        /// The envelopes it holds.
        tips: Vec<Tip>,
        /// Objects it has, to build a pack on.
        haves: Vec<[u8; 20]>,
    },
}

#[derive(Serialize, Deserialize)]
struct SyncRequestHead {
    #[serde(default)]
    tips: Vec<Tip>,
    #[serde(default)]
    skip: u64,
    envelopes: u32,
}

#[derive(Serialize, Deserialize)]
struct SyncAnswerHead {
    more: bool,
    digest: Hex<32>,
    tips: Vec<Tip>,
    envelopes: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
enum PushAnswerBody {
    Durable {
        #[serde(default)]
        whole: bool,
    },
    Need {
        tips: Vec<Tip>,
        haves: Vec<Hex<20>>,
    },
}

impl SyncRequest {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        at_most(self.tips.len(), TIPS_MAX, "tips")?;
        let head = SyncRequestHead {
            tips: self.tips.clone(),
            skip: self.skip,
            envelopes: envelope_count(&self.token)?,
        };
        let body = framed(&head, &self.token)?;
        within(body.len(), SYNC_REQUEST_MAX, "the sync request")?;
        Ok(body)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Reject> {
        within(body.len(), SYNC_REQUEST_MAX, "the sync request")?;
        let mut frames = Frames::new(body);
        let head: SyncRequestHead = header(&mut frames, SYNC_HEADER_MAX)?;
        at_most(head.tips.len(), TIPS_MAX, "tips")?;
        Ok(Self {
            token: envelopes(frames, head.envelopes, SYNC_REQUEST_MAX)?,
            tips: head.tips,
            skip: head.skip,
        })
    }
}

impl SyncAnswer {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        at_most(self.tips.len(), TIPS_MAX, "tips")?;
        let page = self.envelopes.iter().map(Vec::len).sum();
        within(page, SYNC_PAGE_MAX, "the page")?;
        let head = SyncAnswerHead {
            more: self.more,
            digest: Hex(self.digest),
            tips: self.tips.clone(),
            envelopes: envelope_count(&self.envelopes)?,
        };
        framed(&head, &self.envelopes)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Reject> {
        let mut frames = Frames::new(body);
        let head: SyncAnswerHead = header(&mut frames, SYNC_HEADER_MAX)?;
        at_most(head.tips.len(), TIPS_MAX, "tips")?;
        Ok(Self {
            envelopes: envelopes(frames, head.envelopes, SYNC_PAGE_MAX)?,
            more: head.more,
            digest: head.digest.0,
            tips: head.tips,
        })
    }
}

impl PushAnswer {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        let body = match self {
            Self::Durable { whole } => PushAnswerBody::Durable { whole: *whole },
            Self::Need { tips, haves } => {
                at_most(tips.len(), TIPS_MAX, "tips")?;
                at_most(haves.len(), HAVES_MAX, "haves")?;
                PushAnswerBody::Need {
                    tips: tips.clone(),
                    haves: haves.iter().copied().map(Hex).collect(),
                }
            }
        };
        to_json(&body, "the push answer", PUSH_ANSWER_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        Ok(match from_json(json, "the push answer", PUSH_ANSWER_MAX)? {
            PushAnswerBody::Durable { whole } => Self::Durable { whole },
            PushAnswerBody::Need { tips, haves } => {
                at_most(tips.len(), TIPS_MAX, "tips")?;
                at_most(haves.len(), HAVES_MAX, "haves")?;
                Self::Need {
                    tips,
                    haves: haves.into_iter().map(|have| have.0).collect(),
                }
            }
        })
    }
}

pub(crate) fn envelope_count(envelopes: &[Vec<u8>]) -> Result<u32, Reject> {
    match u32::try_from(envelopes.len()) {
        Ok(count) if count <= ENVELOPES_MAX => Ok(count),
        _ => Err(Reject::TooMany {
            what: "envelopes",
            limit: u64::from(ENVELOPES_MAX),
        }),
    }
}

fn framed(head: &impl Serialize, envelopes: &[Vec<u8>]) -> Result<Vec<u8>, Reject> {
    let mut body = Vec::new();
    let json = to_json(head, "the header", SYNC_HEADER_MAX)?;
    frame::put(&mut body, Kind::Header, &json, SYNC_HEADER_MAX)?;
    for envelope in envelopes {
        frame::put(&mut body, Kind::Envelope, envelope, ENVELOPE_MAX)?;
    }
    body.extend_from_slice(&Head::END.to_bytes());
    Ok(body)
}

fn header<T: DeserializeOwned>(frames: &mut Frames<&[u8]>, limit: usize) -> Result<T, Reject> {
    let head = frames.head()?.expect(Kind::Header, "the header")?;
    from_json(
        &frames.payload(head, limit, "the header")?,
        "the header",
        limit,
    )
}

/// Reads exactly `count` envelopes of at most `limit` bytes together, the end frame, and nothing more.
fn envelopes(mut frames: Frames<&[u8]>, count: u32, limit: usize) -> Result<Vec<Vec<u8>>, Reject> {
    if count > ENVELOPES_MAX {
        return Err(Reject::TooMany {
            what: "envelopes",
            limit: u64::from(ENVELOPES_MAX),
        });
    }
    let mut envelopes = Vec::new();
    let mut total = 0;
    for _ in 0..count {
        let head = frames.head()?.expect(Kind::Envelope, "an envelope")?;
        let envelope = frames.payload(head, ENVELOPE_MAX, "an envelope")?;
        total += envelope.len();
        within(total, limit, "the page")?;
        envelopes.push(envelope);
    }
    let end = frames.head()?.expect(Kind::End, "the end")?;
    if end != Head::END || !frames.into_input().is_empty() {
        return Err(Reject::Malformed { what: "the end" });
    }
    Ok(envelopes)
}

fn to_json(body: &impl Serialize, what: &'static str, limit: usize) -> Result<Vec<u8>, Reject> {
    let json = serde_json::to_vec(body).map_err(|source| Reject::Json { what, source })?;
    within(json.len(), limit, what)?;
    Ok(json)
}

fn from_json<T: DeserializeOwned>(
    json: &[u8],
    what: &'static str,
    limit: usize,
) -> Result<T, Reject> {
    within(json.len(), limit, what)?;
    serde_json::from_slice(json).map_err(|source| Reject::Json { what, source })
}

fn within(len: usize, limit: usize, what: &'static str) -> Result<(), Reject> {
    if len <= limit {
        return Ok(());
    }
    Err(Reject::TooLong {
        what,
        limit: limit as u64,
    })
}

fn at_most(count: usize, limit: usize, what: &'static str) -> Result<(), Reject> {
    if count <= limit {
        return Ok(());
    }
    Err(Reject::TooMany {
        what,
        limit: limit as u64,
    })
}

/// Bytes as lowercase hex text.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hexed::serialize(&self.0, serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hexed::deserialize(deserializer).map(Self)
    }
}

mod hexed {
    use super::{Deserialize, Deserializer, Serializer, hex};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode_exact(&text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("not {N} bytes of lowercase hex")))
    }
}

#[cfg(test)]
mod tests;
