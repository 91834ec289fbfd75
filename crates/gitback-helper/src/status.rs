//! How envoys and projects are, as replies carry it.
//!
//! Source: docs/spec/json.md, where each field is written down for whoever reads what `vigo` prints.

use serde::{Deserialize, Serialize};

/// One envelope of a project, and whether it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The envelope's id, 64 hex digits.
    pub id: String,
    /// What kind it is, such as `grant.v1`.
    pub kind: String,
    /// The puddle it speaks for, 64 hex digits.
    pub puddle: String,
    /// The key that signed it, 64 hex digits.
    pub signer: String,
    /// The envoy on which it was written, 64 hex digits; only `init` has none.
    pub envoy: Option<String>,
    /// The life of its author's log, 32 hex digits.
    pub incarnation: String,
    /// Its number on its chain.
    pub seq: u64,
    /// When its author's clock says that it was written, Unix milliseconds.
    pub time_ms: Option<u64>,
    /// `valid`, `void` or `waiting`.
    pub verdict: String,
    /// Why it is void, as a word.
    pub code: Option<String>,
    /// The rule of the fold by which it is void.
    pub rule: Option<u8>,
    /// Why it is void, for people.
    pub why: Option<String>,
    /// What it says, one line for people.
    pub says: String,
    /// The envelope before it on its chain.
    pub prev: Option<String>,
    /// The other envelopes that it names as its past.
    pub deps: Vec<String>,
    /// What a grant lets happen. Left out for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantStatus>,
    /// The envoy whose grants an `ungrant` ends, 64 hex digits. Left out for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ungrants: Option<String>,
}

/// Whom a grant lets sign, and whether it still does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStatus {
    /// The envoy that may sign, 64 hex digits.
    pub envoy: String,
    /// The user there for whom it may.
    pub uid: u32,
    /// When it stops, Unix milliseconds, if it does by itself.
    pub expires_ms: Option<u64>,
    /// Whether it counts, nobody has taken it back, and its puddle may still do something. Says nothing about
    /// `expires_ms`.
    pub live: bool,
}

/// How an envoy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvoyStatus {
    /// The envoy's display name.
    pub name: String,
    /// The envoy's key, 64 hex digits.
    pub key: String,
    /// The daemon's version.
    pub version: String,
    /// `root`, `user` or `root dir`; see [`Mode`](crate::Mode).
    pub mode: String,
    /// The address on which other envoys reach this one.
    pub listen: String,
    /// When the daemon started, Unix milliseconds.
    pub started_ms: u64,
    /// The daemon's clock, Unix milliseconds, so that ages need no clock of the reader's.
    pub now_ms: u64,
    /// Free space where repositories live, in percent.
    pub free_percent: u8,
    /// How many projects this envoy holds.
    pub projects: u32,
    /// The other envoys it knows.
    pub peers: Vec<PeerStatus>,
}

/// How another envoy looks from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its display name.
    pub name: String,
    /// Its key, 64 hex digits.
    pub key: String,
    /// Where it is reached.
    pub address: String,
    /// One word of the vocabulary of states.
    pub state: String,
    /// Why it is not `current`.
    pub reason: Option<String>,
    /// Since when, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// When it last answered, Unix milliseconds.
    pub last_seen_ms: Option<u64>,
}

/// How a project is, as its envoy sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectStatus {
    /// The project id, 64 hex digits.
    pub project_id: String,
    /// The project's handle.
    pub handle: String,
    /// The founder's key, 64 hex digits.
    pub founder: String,
    /// The founder's puddle name, where it is known.
    pub founder_name: Option<String>,
    /// The asker's role.
    pub role: Option<String>,
    /// How many puddles are members.
    pub members: u32,
    /// Size of the repository in bytes.
    pub bytes: u64,
    /// How many refs are served.
    pub refs: u32,
    /// How many envelopes the project has.
    pub envelopes: u64,
    /// What `HEAD` points at.
    pub head: Option<String>,
    /// When the newest push was made, Unix milliseconds.
    pub last_push_ms: Option<u64>,
    /// The envoy on which it was made.
    pub last_push_envoy: Option<String>,
    /// One word of the vocabulary of states.
    pub state: String,
    /// Why it is not `current`.
    pub reason: Option<String>,
    /// Refs with two or more heads.
    pub diverged: Vec<String>,
    /// The versions of those that are not shown under the ref's own name. At most 64.
    #[serde(default)]
    pub versions: Vec<VersionStatus>,
    /// How many envoys hold everything.
    pub copies: u32,
    /// Each envoy's copy.
    pub envoys: Vec<CopyStatus>,
    /// The refs served.
    pub ref_list: Vec<RefStatus>,
    /// What the asker's puddle may do: `founder`, `member` or `reader`.
    pub access: Option<String>,
    /// The line of founders, the genesis key first. Empty in lists.
    pub line: Vec<HopStatus>,
    /// Every membership there was, oldest first. Empty in lists.
    pub member_list: Vec<MemberStatus>,
    /// What people should look at.
    pub alarms: Vec<AlarmStatus>,
    /// How many envelopes are void.
    pub void: u64,
    /// The projects that take the place of this one; empty while it lives.
    pub successors: Vec<SuccessorStatus>,
    /// `members` or `swarm`.
    pub scope: String,
    /// Full names of the refs that are neither forced nor deleted.
    pub protected: Vec<String>,
    /// How many copies there should be.
    pub replicas: Option<u32>,
    /// Two delegations of one hop, where this envoy has not settled which of them is followed.
    pub contest: Option<ContestStatus>,
}

/// A version of a diverged ref, beside the one that is shown under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// The ref's full name.
    pub name: String,
    /// The object.
    pub oid: String,
    /// The full name under which it can be fetched.
    pub served_as: String,
    /// The display name of the envoy that took it.
    pub envoy: String,
    /// The key of the puddle for which it was taken, 64 hex digits.
    pub puddle: String,
}

/// One key of the line of founders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopStatus {
    /// 0 for the genesis key.
    pub hop: u64,
    /// The key, 64 hex digits.
    pub key: String,
    /// The key in four words.
    pub fingerprint: String,
    /// The id of the `delegate` envelope that made it founder; none for the genesis key.
    pub delegate: Option<String>,
}

/// One membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The puddle's key, 64 hex digits.
    pub puddle: String,
    /// The key in four words.
    pub fingerprint: String,
    /// `member` or `reader`.
    pub role: String,
    /// `open` (invited), `live`, `left` or `revoked`.
    pub state: String,
    /// The id of the `invite` envelope, 64 hex digits.
    pub invite: String,
    /// The key that invited it, 64 hex digits.
    pub by: String,
    /// When it came into this state by its author's clock, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Whether the puddle left and asks to be invited again.
    pub asks_back: bool,
}

/// Something that people should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmStatus {
    /// A stable word.
    pub code: String,
    /// One line for people.
    pub text: String,
}

/// A project that takes the place of one that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessorStatus {
    /// Its id, 64 hex digits.
    pub project: String,
    /// The key that founded it, 64 hex digits.
    pub founder: String,
    /// Its handle.
    pub handle: String,
}

/// Two or more delegations of one hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContestStatus {
    /// Which hop.
    pub hop: u64,
    /// Who is to be the founder from there.
    pub rivals: Vec<RivalStatus>,
}

/// One of several delegations of one hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RivalStatus {
    /// The id of the `delegate` envelope, 64 hex digits.
    pub delegate: String,
    /// The heir's key, 64 hex digits.
    pub key: String,
    /// The key in four words.
    pub fingerprint: String,
}

/// How one envoy's copy of a project is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// The envoy's display name.
    pub name: String,
    /// The envoy's key, 64 hex digits.
    pub key: String,
    /// One word of the vocabulary of states.
    pub state: String,
    /// How many envelopes it lacks.
    pub behind: Option<u64>,
    /// How many of these are updates: pushes that it lacks.
    #[serde(default)]
    pub updates_behind: Option<u64>,
    /// Why it is not `current`.
    pub reason: Option<String>,
    /// Since when, Unix milliseconds.
    pub since_ms: Option<u64>,
}

/// One ref and what it points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefStatus {
    /// The full name.
    pub name: String,
    /// The object id, 40 hex digits.
    pub oid: String,
}
