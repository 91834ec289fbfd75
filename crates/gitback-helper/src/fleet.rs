//! The fleet that an envoy is in, as replies carry it.
//!
//! Source: docs/spec/helper-socket.md §4; docs/spec/json.md.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// What an envoy says of itself to whoever wants to bring it together with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvoyCard {
    /// Its display name.
    pub name: String,
    /// Its key, 64 hex digits.
    pub key: String,
    /// Where it can be reached, `host:port`, the best first.
    pub addresses: Vec<String>,
    /// The public key of the authority of its fleet, 64 hex digits; none while it is in no fleet.
    pub fleet: Option<String>,
    /// Whether it holds the secret key of that authority.
    pub is_authority: bool,
    /// How many live envoys the fleet has, this one included.
    pub envoys: u32,
    /// Whether the caller may have this envoy enrol others.
    pub may_enrol: bool,
    /// Whether the caller may take this envoy into another fleet.
    pub may_join: bool,
}

/// The fleet of an envoy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// The public key of the authority, 64 hex digits; none while this envoy is in no fleet.
    pub fleet: Option<String>,
    /// Whether this envoy holds the secret key of the authority.
    pub is_authority: bool,
    /// The daemon's clock, Unix milliseconds.
    pub now_ms: u64,
    /// This envoy first, then those that are enrolled, configured or removed, by name.
    pub envoys: Vec<FleetEnvoy>,
}

/// One envoy of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetEnvoy {
    /// Its display name.
    pub name: String,
    /// Its key, 64 hex digits.
    pub key: String,
    /// `enrolled`, `expired`, `removed` or `configured`: the last is only in the configuration of this envoy.
    pub standing: String,
    /// Whether it is this envoy.
    pub is_self: bool,
    /// Whether it holds the authority's secret key, as far as is known here.
    pub is_authority: bool,
    /// Where it is tried next; none while that is not known.
    pub address: Option<String>,
    /// When it was enrolled, or its enrolment renewed, Unix milliseconds.
    pub enrolled_ms: Option<u64>,
    /// When its enrolment ends, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// When it was removed, Unix milliseconds.
    pub removed_ms: Option<u64>,
    /// The key of the envoy that asked for its enrolment, 64 hex digits; none where nobody of the fleet did.
    pub through: Option<String>,
    /// `current` (it answers), `offline`, `refused` or `never`; none for this envoy itself, and for one that is no peer.
    #[serde(default)]
    pub state: Option<String>,
    /// When it last answered here, Unix milliseconds.
    pub last_seen_ms: Option<u64>,
    /// Why it does not answer.
    pub reason: Option<String>,
}

/// The authority of an envoy's fleet: who holds its secret key, and who could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityStatus {
    /// Its public key, 64 hex digits; none while this envoy is in no fleet.
    pub fleet: Option<String>,
    /// Whether this envoy holds the secret key.
    pub is_authority: bool,
    /// Whether the caller administers this envoy.
    pub may_administer: bool,
    /// The daemon's clock, Unix milliseconds.
    pub now_ms: u64,
    /// The envoys that hold the secret key, by what is known here.
    pub holders: Vec<AuthorityHolder>,
    /// The people who can open a copy of it, by key.
    pub seals: Vec<AuthoritySeal>,
}

/// An envoy that holds the secret key of its fleet's authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityHolder {
    /// Its display name.
    pub name: String,
    /// Its key, 64 hex digits.
    pub key: String,
    /// Whether it is this envoy.
    pub is_self: bool,
    /// When it last answered here, Unix milliseconds.
    pub last_seen_ms: Option<u64>,
    /// Why it does not answer.
    pub reason: Option<String>,
}

/// That the authority's secret key is sealed to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthoritySeal {
    /// The key of that person's puddle, 64 hex digits.
    pub puddle: String,
    /// When it was sealed, Unix milliseconds.
    pub sealed_ms: u64,
    /// The seal, docs/spec/fleet.md §11, in hex; only for whoever administers the envoy.
    #[serde(default)]
    pub record: Option<String>,
}

/// A secret on its way through the socket. It is never printed, and wiped in the end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret's text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text. Wipe every copy.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("5e".repeat(32));
        let request = Request::TakeOver { secret };
        assert!(!format!("{request:?}").contains("5e5e"), "{request:?}");
        let sent = serde_json::to_string(&request).expect("JSON");
        assert_eq!(
            sent,
            format!(
                "{{\"do\":\"take_over\",\"secret\":\"{}\"}}",
                "5e".repeat(32)
            )
        );
        assert_eq!(
            Request::decode(sent.as_bytes()).expect("read back"),
            request
        );
    }
}
