//! The fleet that an envoy is in, as replies carry it.
//!
//! Source: docs/spec/helper-socket.md §4; docs/spec/json.md.

use serde::{Deserialize, Serialize};

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
