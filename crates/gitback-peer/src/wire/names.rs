//! How two envoys bring the claims to names together that they know.
//!
//! Source: docs/spec/peer.md §5.11.

use serde::{Deserialize, Serialize};

use super::{Hex, at_most, from_json, hex, to_json, within};
use crate::limits::{CLAIM_MAX, CLAIMS_MAX, NAMES_MAX};
use crate::reject::Reject;

/// What an envoy knows of one puddle's claim, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldClaim {
    /// The key of the puddle.
    pub puddle: [u8; 32],
    /// The counter of its claim.
    pub counter: u64,
    /// SHA-256 of the claim as it was signed.
    pub digest: [u8; 32],
}

/// Says what the caller knows in one range of keys, and brings claims that the holder lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Where the range begins; at the first key if absent.
    pub from: Option<[u8; 32]>,
    /// The first key behind it; the range has no end if absent.
    pub to: Option<[u8; 32]>,
    /// All that the caller knows in the range, at most [`CLAIMS_MAX`].
    pub have: Vec<HeldClaim>,
    /// Claims as they were signed, from any range: at most [`CLAIMS_MAX`] of at most [`CLAIM_MAX`] bytes.
    pub claims: Vec<Vec<u8>>,
}

/// What the holder knows better in that range, and what it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesAnswer {
    /// The first key behind what this answers, where that is not all that was asked for.
    pub to: Option<[u8; 32]>,
    /// Claims that the caller lacks, as they were signed: at most [`CLAIMS_MAX`].
    pub claims: Vec<Vec<u8>>,
    /// Puddles whose claims the holder lacks, or has older ones of: at most [`CLAIMS_MAX`].
    pub wants: Vec<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct NamesBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Hex<32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Hex<32>>,
    #[serde(default)]
    have: Vec<(Hex<32>, u64, Hex<32>)>,
    #[serde(default)]
    claims: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct NamesAnswerBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Hex<32>>,
    #[serde(default)]
    claims: Vec<String>,
    #[serde(default)]
    wants: Vec<Hex<32>>,
}

impl Names {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        at_most(self.have.len(), CLAIMS_MAX, "claims in short")?;
        let have = self.have.iter();
        let body = NamesBody {
            from: self.from.map(Hex),
            to: self.to.map(Hex),
            have: have
                .map(|one| (Hex(one.puddle), one.counter, Hex(one.digest)))
                .collect(),
            claims: in_hex(&self.claims)?,
        };
        to_json(&body, "the claims", NAMES_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: NamesBody = from_json(json, "the claims", NAMES_MAX)?;
        at_most(body.have.len(), CLAIMS_MAX, "claims in short")?;
        let have = body.have.into_iter();
        Ok(Self {
            from: body.from.map(|key| key.0),
            to: body.to.map(|key| key.0),
            have: have
                .map(|(puddle, counter, digest)| HeldClaim {
                    puddle: puddle.0,
                    counter,
                    digest: digest.0,
                })
                .collect(),
            claims: out_of_hex(&body.claims)?,
        })
    }
}

impl NamesAnswer {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Reject> {
        at_most(self.wants.len(), CLAIMS_MAX, "wanted claims")?;
        let body = NamesAnswerBody {
            to: self.to.map(Hex),
            claims: in_hex(&self.claims)?,
            wants: self.wants.iter().copied().map(Hex).collect(),
        };
        to_json(&body, "the claims", NAMES_MAX)
    }

    pub(crate) fn decode(json: &[u8]) -> Result<Self, Reject> {
        let body: NamesAnswerBody = from_json(json, "the claims", NAMES_MAX)?;
        at_most(body.wants.len(), CLAIMS_MAX, "wanted claims")?;
        Ok(Self {
            to: body.to.map(|key| key.0),
            claims: out_of_hex(&body.claims)?,
            wants: body.wants.into_iter().map(|key| key.0).collect(),
        })
    }
}

fn in_hex(claims: &[Vec<u8>]) -> Result<Vec<String>, Reject> {
    at_most(claims.len(), CLAIMS_MAX, "claims")?;
    let longest = claims.iter().map(Vec::len).max().unwrap_or(0);
    within(longest, CLAIM_MAX, "a claim")?;
    Ok(claims.iter().map(|claim| hex::encode(claim)).collect())
}

fn out_of_hex(claims: &[String]) -> Result<Vec<Vec<u8>>, Reject> {
    at_most(claims.len(), CLAIMS_MAX, "claims")?;
    let claim = |text: &String| {
        hex::decode(text, CLAIM_MAX).ok_or(Reject::Malformed {
            what: "a claim in hex",
        })
    };
    claims.iter().map(claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Names {
        Names {
            from: Some([0xff; 32]),
            to: Some([0xff; 32]),
            have: vec![
                HeldClaim {
                    puddle: [0xff; 32],
                    counter: u64::MAX,
                    digest: [0xff; 32],
                };
                CLAIMS_MAX
            ],
            claims: vec![vec![0xff; CLAIM_MAX]; CLAIMS_MAX],
        }
    }

    #[test]
    fn claims_round_trip_and_look_as_specified() {
        let names = Names {
            from: None,
            to: Some([2; 32]),
            have: vec![HeldClaim {
                puddle: [1; 32],
                counter: 7,
                digest: [3; 32],
            }],
            claims: vec![vec![0xab]],
        };
        let json = names.encode().expect("small");
        let (one, two, three) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
        let expected =
            format!(r#"{{"to":"{two}","have":[["{one}",7,"{three}"]],"claims":["ab"]}}"#);
        assert_eq!(String::from_utf8_lossy(&json), expected);
        assert_eq!(Names::decode(&json).expect("own bytes"), names);

        let answer = NamesAnswer {
            to: None,
            claims: vec![vec![0xcd]],
            wants: vec![[1; 32]],
        };
        let json = answer.encode().expect("small");
        let expected = format!(r#"{{"claims":["cd"],"wants":["{one}"]}}"#);
        assert_eq!(String::from_utf8_lossy(&json), expected);
        assert_eq!(NamesAnswer::decode(&json).expect("own bytes"), answer);
    }

    #[test]
    fn the_most_that_is_allowed_fits() {
        let names = full();
        let json = names.encode().expect("fits");
        assert_eq!(Names::decode(&json).expect("own bytes"), names);
        let answer = NamesAnswer {
            to: Some([0xff; 32]),
            claims: names.claims,
            wants: vec![[0xff; 32]; CLAIMS_MAX],
        };
        let json = answer.encode().expect("fits");
        assert_eq!(NamesAnswer::decode(&json).expect("own bytes"), answer);
    }

    #[test]
    fn refuses_more_and_longer_claims_than_there_may_be() {
        let check = |change: fn(&mut Names), code: &str| {
            let mut names = full();
            change(&mut names);
            assert_eq!(names.encode().expect_err("too much").code(), code);
        };
        check(|names| names.have.push(names.have[0]), "too-many");
        check(|names| names.claims.push(Vec::new()), "too-many");
        check(|names| names.claims[0].push(0), "too-long");

        let code = |json: &str| Names::decode(json.as_bytes()).unwrap_err().code();
        assert_eq!(code("{"), "malformed");
        assert_eq!(code(r#"{"claims":["AB"]}"#), "malformed");
        assert_eq!(code(r#"{"have":[["00",1,"00"]]}"#), "malformed");
        let long = format!(r#"{{"claims":["{}"]}}"#, "00".repeat(CLAIM_MAX + 1));
        assert_eq!(code(&long), "malformed");
        let many = vec![r#""00""#; CLAIMS_MAX + 1].join(",");
        assert_eq!(code(&format!(r#"{{"claims":[{many}]}}"#)), "too-many");
        let nothing = Names::decode(b"{}").expect("everything may be left out");
        assert_eq!(nothing, Names::default());
    }
}
