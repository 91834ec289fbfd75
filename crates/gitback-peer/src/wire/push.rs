//! What a push says beside its pack and its envelopes.
//!
//! Source: docs/spec/peer.md §4.2.

use gitback_identity::EnvoyKey;
use serde::{Deserialize, Serialize};

use super::{Hex, at_most, from_json, hexed, to_json};
use crate::limits::{FORWARD_MAX, PACK_END_MAX, PUSH_HEADER_MAX};
use crate::reject::Reject;

/// The pack that a push carried, told when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    /// Its exact length.
    pub bytes: u64,
    /// Its BLAKE3 digest. The receiver of the bytes checks it, not this crate.
    #[serde(with = "hexed")]
    pub blake3: [u8; 32],
}

/// What a push declares before anything else: little, since the sender may not know more yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushHeader {
    /// Whether a pack follows.
    pub pack: bool,
    /// Whether the sender lacks nothing of the project, what is being pushed aside.
    pub whole: bool,
    /// To whom the receiver hands the push on.
    pub handoff: Handoff,
}

/// What the receiver of a push is asked to do beside taking it. `Default`: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handoff {
    /// Who made the push, and is told where it is durable.
    pub origin: Option<EnvoyKey>,
    /// To whom the receiver forwards it, at most [`FORWARD_MAX`] envoys.
    pub forward: Vec<EnvoyKey>,
}

#[derive(Serialize, Deserialize)]
struct PushHeaderBody {
    pack: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Hex<32>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forward: Vec<Hex<32>>,
}

impl PushHeader {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        let Handoff { origin, forward } = &self.handoff;
        at_most(forward.len(), FORWARD_MAX, "envoys to forward to")?;
        let body = PushHeaderBody {
            pack: self.pack,
            whole: self.whole,
            origin: origin.as_ref().map(|key| Hex(*key.as_bytes())),
            forward: forward.iter().map(|key| Hex(*key.as_bytes())).collect(),
        };
        to_json(&body, "the push header", PUSH_HEADER_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: PushHeaderBody = from_json(json, "the push header", PUSH_HEADER_MAX)?;
        at_most(body.forward.len(), FORWARD_MAX, "envoys to forward to")?;
        let forward = body.forward.iter().map(envoy);
        Ok(Self {
            pack: body.pack,
            whole: body.whole,
            handoff: Handoff {
                origin: body.origin.as_ref().map(envoy).transpose()?,
                forward: forward.collect::<Result<_, _>>()?,
            },
        })
    }
}

impl PackInfo {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        self.check()?;
        to_json(self, "the end of the pack", PACK_END_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let info: Self = from_json(json, "the end of the pack", PACK_END_MAX)?;
        info.check()?;
        Ok(info)
    }

    /// No pack is empty: it has a header and a checksum at least.
    fn check(&self) -> Result<(), Reject> {
        if self.bytes == 0 {
            return Err(Reject::Malformed {
                what: "the length of the pack",
            });
        }
        Ok(())
    }
}

fn envoy(key: &Hex<32>) -> Result<EnvoyKey, Reject> {
    EnvoyKey::from_bytes(&key.0).map_err(|_| Reject::Malformed {
        what: "an envoy's key",
    })
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    fn key(seed: u8) -> EnvoyKey {
        EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    #[test]
    fn a_header_with_a_handoff_round_trips() {
        let header = PushHeader {
            pack: true,
            whole: true,
            handoff: Handoff {
                origin: Some(key(1)),
                forward: vec![key(2); FORWARD_MAX],
            },
        };
        let json = header.encode().expect("fits");
        assert_eq!(PushHeader::decode(&json).expect("own bytes"), header);
    }

    #[test]
    fn a_header_without_looks_as_it_always_did() {
        let header = PushHeader {
            pack: false,
            whole: false,
            handoff: Handoff::default(),
        };
        assert_eq!(header.encode().expect("fits"), br#"{"pack":false}"#);
    }

    #[test]
    fn refuses_bad_handoffs() {
        let code = |json: &str| PushHeader::decode(json.as_bytes()).unwrap_err().code();
        assert_eq!(code(r#"{"pack":true,"origin":"00"}"#), "malformed");
        // Of small order.
        let bad = "00".repeat(32);
        let json = format!(r#"{{"pack":true,"forward":["{bad}"]}}"#);
        assert_eq!(code(&json), "malformed");
        let one = format!(r#""{}""#, gitback_identity::hex::encode(key(1).as_bytes()));
        let many = vec![one; FORWARD_MAX + 1].join(",");
        assert_eq!(
            code(&format!(r#"{{"pack":true,"forward":[{many}]}}"#)),
            "too-many"
        );
        assert_eq!(code(&" ".repeat(PUSH_HEADER_MAX + 1)), "too-long");
    }
}
