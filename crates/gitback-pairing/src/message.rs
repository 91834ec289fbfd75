//! What the messages hold.

use gitback_identity::hex;
use gitback_puddle::{CARRIED_FILE_MAX, Carried};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest part of the fleet in one message, in bytes: that of the largest fleet, in hex.
pub const FLEET_MAX: usize = 1088 << 10;

/// Why one machine ends the pairing, as one byte.
///
/// Source: docs/spec/pairing.md §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The code is wrong, expired, dead or used: which of these is not said.
    NotAccepted,
    /// The person said no.
    Declined,
    /// The guest has a puddle already.
    Exists,
    /// What arrived is no sound puddle.
    Unsound,
    /// The guest's disk is full.
    DiskFull,
    /// It went wrong otherwise.
    Failed,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::NotAccepted,
        Self::Declined,
        Self::Exists,
        Self::Unsound,
        Self::DiskFull,
        Self::Failed,
    ];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::NotAccepted => 1,
            Self::Declined => 2,
            Self::Exists => 3,
            Self::Unsound => 4,
            Self::DiskFull => 5,
            Self::Failed => 6,
        }
    }

    /// An unknown reason is still a refusal.
    pub(crate) fn decode(payload: &[u8]) -> Self {
        let known = |reason: &Self| payload == [reason.code()];
        Self::ALL.into_iter().find(known).unwrap_or(Self::Failed)
    }
}

/// The payload of `puddle`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PuddleForm {
    current: String,
    retired: Vec<String>,
    fleet: Option<String>,
}

/// The payload of `installed` and `fleet`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetForm {
    fleet: Option<String>,
}

/// Why the payload of `puddle` is refused.
#[derive(Debug, Error)]
pub(crate) enum PuddleReject {
    #[error("the message is malformed")]
    Form,
    #[error("the files are no sound puddle")]
    Carry(#[source] gitback_puddle::CarryReject),
}

pub(crate) fn encode_puddle(carried: &Carried, fleet: Option<&[u8]>) -> Vec<u8> {
    encode(&PuddleForm {
        current: hex::encode(carried.current()),
        retired: carried.retired().map(hex::encode).collect(),
        fleet: fleet.map(hex::encode),
    })
}

pub(crate) fn decode_puddle(payload: &[u8]) -> Result<(Carried, Option<Vec<u8>>), PuddleReject> {
    let form: PuddleForm = serde_json::from_slice(payload).map_err(|_| PuddleReject::Form)?;
    let bytes = |text: &String| hex::decode(text, CARRIED_FILE_MAX).ok_or(PuddleReject::Form);
    let retired: Result<Vec<Vec<u8>>, _> = form.retired.iter().map(bytes).collect();
    let carried = Carried::new(bytes(&form.current)?, retired?).map_err(PuddleReject::Carry)?;
    let fleet = decode_part(form.fleet.as_ref()).ok_or(PuddleReject::Form)?;
    Ok((carried, fleet))
}

pub(crate) fn encode_fleet(fleet: Option<&[u8]>) -> Vec<u8> {
    encode(&FleetForm {
        fleet: fleet.map(hex::encode),
    })
}

pub(crate) fn decode_fleet(payload: &[u8]) -> Option<Option<Vec<u8>>> {
    let form: FleetForm = serde_json::from_slice(payload).ok()?;
    decode_part(form.fleet.as_ref())
}

fn decode_part(part: Option<&String>) -> Option<Option<Vec<u8>>> {
    let Some(text) = part else { return Some(None) };
    hex::decode(text, FLEET_MAX).map(Some)
}

fn encode(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("strings always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_the_fleet_is_optional_and_bounded() {
        let back = |part: Option<&[u8]>| decode_fleet(&encode_fleet(part));
        assert_eq!(back(None), Some(None));
        assert_eq!(back(Some(&[1, 2])), Some(Some(vec![1, 2])));
        assert_eq!(
            back(Some(&vec![0; FLEET_MAX])),
            Some(Some(vec![0; FLEET_MAX]))
        );
        assert_eq!(back(Some(&vec![0; FLEET_MAX + 1])), None);
        for bytes in [
            &b""[..],
            b"{}x",
            b"{\"fleet\":\"0g\"}",
            b"{\"fleet\":\"0\"}",
            b"{\"more\":1}",
        ] {
            assert_eq!(decode_fleet(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn reasons_read_back_and_an_unknown_one_is_a_failure() {
        for reason in Reason::ALL {
            assert_eq!(Reason::decode(&[reason.code()]), reason);
        }
        for payload in [&[][..], &[0], &[99]] {
            assert_eq!(Reason::decode(payload), Reason::Failed);
        }
    }
}
