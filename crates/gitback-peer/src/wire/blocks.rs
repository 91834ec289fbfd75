//! Which blocks of which pack are wanted.
//!
//! Source: docs/spec/peer.md §5.15.

use serde::{Deserialize, Serialize};

use super::{Hex, from_json, to_json};
use crate::limits::{BLOCKS_ASKED_MAX, BLOCKS_BODY_MAX};
use crate::reject::Reject;

/// Blocks of one pack that are asked for, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    /// The checksum of the pack.
    pub pack: [u8; 20],
    /// The number of the first block; they begin with 0.
    pub first: u32,
    /// How many: 1 to [`BLOCKS_ASKED_MAX`].
    pub count: u32,
}

#[derive(Serialize, Deserialize)]
struct Body {
    pack: Hex<20>,
    first: u32,
    count: u32,
}

impl BlockRange {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        self.check()?;
        let body = Body {
            pack: Hex(self.pack),
            first: self.first,
            count: self.count,
        };
        to_json(&body, "the question", BLOCKS_BODY_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: Body = from_json(json, "the question", BLOCKS_BODY_MAX)?;
        let range = Self {
            pack: body.pack.0,
            first: body.first,
            count: body.count,
        };
        range.check()?;
        Ok(range)
    }

    fn check(&self) -> Result<(), Reject> {
        if self.count > BLOCKS_ASKED_MAX {
            return Err(Reject::TooMany {
                what: "blocks",
                limit: BLOCKS_ASKED_MAX.into(),
            });
        }
        if self.count == 0 || self.first.checked_add(self.count).is_none() {
            return Err(Reject::Malformed {
                what: "a range of blocks",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> BlockRange {
        BlockRange {
            pack: [0xab; 20],
            first,
            count,
        }
    }

    #[test]
    fn decoding_inverts_encoding() {
        for asked in [range(0, 1), range(7, BLOCKS_ASKED_MAX)] {
            let json = asked.encode().expect("few blocks");
            assert_eq!(BlockRange::decode(&json).expect("its own form"), asked);
        }
    }

    #[test]
    fn no_blocks_too_many_and_numbers_that_run_over_are_refused() {
        for asked in [
            range(0, 0),
            range(u32::MAX, 1),
            range(0, BLOCKS_ASKED_MAX + 1),
        ] {
            asked.encode().expect_err("nobody may ask that");
            let pack = "ab".repeat(20);
            let (first, count) = (asked.first, asked.count);
            let json = format!(r#"{{"pack":"{pack}","first":{first},"count":{count}}}"#);
            BlockRange::decode(json.as_bytes()).expect_err("nobody may ask that");
        }
        BlockRange::decode(br#"{"pack":"abcd","first":0,"count":1}"#).expect_err("a short name");
    }
}
