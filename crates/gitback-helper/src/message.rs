//! What the two ends say to each other.
//!
//! Source: docs/spec/helper-socket.md §3 and §4.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Failure;

/// The version of the conversation, sent in [`Request::Open`].
pub const VERSION: u32 = 2;

/// The most drafts in one reply: what is left over is drafted when the client asks again.
pub const DRAFTS_MAX: usize = 512;

/// How long a grant lets its envoy serve its user: 90 days. It is renewed when less than half of that is left.
pub const GRANT_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The most entries in one page of a log, so that a page fits into one frame.
pub const LOG_PAGE_MAX: usize = 500;

/// Which of git's two services a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// `git upload-pack`: clone and fetch.
    UploadPack,
    /// `git receive-pack`: push.
    ReceivePack,
}

/// What a client asks.
///
/// Keys, project ids and envelopes are lowercase hex. A field that the server does not know
/// refuses the request, so that a misspelled option is never silently ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Opens a stream of git's own protocol.
    Open {
        /// The version of the conversation the client speaks: [`VERSION`].
        version: u32,
        /// Which git service.
        service: Service,
        /// The project id, 64 hex digits.
        project: String,
        /// The handle as typed, for messages to people.
        handle: String,
        /// The key of the caller's own puddle, 64 hex digits, when there is one: a grant is drafted for it.
        puddle: Option<String>,
        /// What git would put in `GIT_PROTOCOL`, such as `version=2`.
        protocol: Option<String>,
        /// How long a push waits for other envoys, in milliseconds; the envoy's default if absent.
        push_wait_ms: Option<u64>,
        /// The user asked for silence: no replication lines.
        quiet: bool,
        /// The user wants to see progress.
        progress: bool,
    },
    /// Asks for the drafts of what would make a wish come true, each in its place on its chain.
    Draft {
        /// The project id, 64 hex digits.
        project: String,
        /// The project's handle.
        handle: String,
        /// The key of the puddle that will sign, 64 hex digits.
        puddle: String,
        /// What is wished.
        wish: Wish,
    },
    /// Founds a project here.
    Found {
        /// The sealed `init` envelope in hex.
        envelope: String,
    },
    /// Hands in sealed envelopes. They are taken if each of them would count, and refused together otherwise.
    Submit {
        /// The project id, 64 hex digits.
        project: String,
        /// The sealed envelopes in hex, in the order of their drafts.
        envelopes: Vec<String>,
    },
    /// Brings a project in from other envoys, proving by a token that the caller may.
    Bootstrap {
        /// The project id, 64 hex digits.
        project: String,
        /// The sealed envelopes in hex, each after its past: what proves a membership, then a grant for this envoy
        /// and the caller's uid.
        token: Vec<String>,
    },
    /// Asks for a page of a project's envelopes, oldest first.
    Log {
        /// The project id, 64 hex digits.
        project: String,
        /// How many entries to leave out at the beginning.
        skip: u64,
    },
    /// Asks what a puddle has to sign so that this envoy goes on serving the caller.
    Renewals {
        /// The key of the puddle that will sign, 64 hex digits.
        puddle: String,
    },
    /// Settles on this envoy which of two delegations of one hop is followed.
    PickLine {
        /// The project id, 64 hex digits.
        project: String,
        /// The id of the `delegate` envelope, 64 hex digits.
        delegate: String,
    },
    /// Gives a project the objects and the refs of another one, without copying objects.
    CarryOver {
        /// The project whose refs are carried over, 64 hex digits.
        from: String,
        /// The project that gets them, 64 hex digits.
        to: String,
    },
    /// Asks how this envoy and its peers are.
    Envoy,
    /// Asks for every project that the caller may see.
    Projects,
    /// Asks for one project in detail.
    Project {
        /// The project id, 64 hex digits.
        project: String,
    },
}

/// What a puddle wishes to sign about a project.
///
/// The kind of envelope that follows is named by the wish. `puddle` in [`Request::Draft`] is who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// This envoy may sign updates when the caller's uid asks, for [`GRANT_LIFE`].
    Grant,
    /// To accept an invitation, and a grant with it.
    Join {
        /// The id of the `invite` envelope, 64 hex digits; the puddle's newest open one if absent.
        invitation: Option<String>,
    },
    /// To end the puddle's own membership.
    Leave,
    /// To let a puddle come in.
    Invite {
        /// The key of that puddle, 64 hex digits.
        puddle: String,
        /// What it may do.
        role: Role,
    },
    /// To invite every live member again, with the same role. At most [`DRAFTS_MAX`] at once.
    ReinviteAll,
    /// To end the membership of a puddle.
    Revoke {
        /// The key of that puddle, 64 hex digits.
        puddle: String,
    },
    /// To ask back in after having left.
    Rejoin,
    /// To pass the founder line on. In the draft, `accept` is zeros: the heir's signature goes there first.
    Delegate {
        /// The heir's key, 64 hex digits.
        to: String,
        /// SHA-256 of the key that must come after the heir, 64 hex digits.
        next: Option<String>,
    },
    /// To end the project.
    Tombstone {
        /// The key of the successor's founder, 64 hex digits.
        founder: String,
        /// The successor's handle.
        handle: String,
    },
    /// That an envoy signs updates for the puddle no longer.
    Ungrant {
        /// The envoy's key, 64 hex digits; this envoy if absent.
        envoy: Option<String>,
    },
    /// To say how the project is kept, all of it at once.
    Policy {
        /// Which envoys hold it.
        scope: Scope,
        /// Full names of the refs that are neither forced nor deleted.
        protected: Vec<String>,
        /// How many copies there should be.
        replicas: Option<u32>,
    },
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Fetch.
    Reader,
    /// Fetch and push.
    Member,
}

/// Which envoys hold a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those that members have granted.
    Members,
    /// Every envoy of the fleet.
    Swarm,
}

/// What the server answers: any number of [`Reply::Progress`], then one of the others.
#[expect(
    clippy::large_enum_variant,
    reason = "one reply at a time is made, sent and dropped"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The connection carries raw bytes from here on, both ways.
    Ready,
    /// Done.
    Accepted {
        /// Remarks for the user, one line each.
        notes: Vec<String>,
        /// In hex, the token that proves the newest live grant of the caller on this envoy, where there is one. The
        /// client keeps it: it brings the project in again where it is lost.
        token: Option<String>,
    },
    /// What was wished for, unsigned and in order. The client signs each and hands all of them in.
    Drafts {
        /// At least one draft.
        drafts: Vec<Draft>,
        /// The key that founded the project, 64 hex digits.
        founder: String,
        /// The project's handle.
        handle: String,
        /// Remarks for the user, one line each.
        notes: Vec<String>,
    },
    /// This envoy holds the project, but something has to be signed before it serves the caller.
    NeedSignature {
        /// Unsigned and in order: `merge`, `join` and `grant` as needed.
        drafts: Vec<Draft>,
        /// What is missing, in words that go on after "puddle dan is locked; ".
        why: String,
        /// The key that founded the project, 64 hex digits.
        founder: String,
        /// The project's handle.
        handle: String,
    },
    /// This envoy does not hold the project: a token would bring it in.
    NeedToken {
        /// The grant that follows the `init`, unsigned, where the caller's puddle is the founder. Empty otherwise: who
        /// keeps a token makes the grant that follows it.
        drafts: Vec<Draft>,
    },
    /// The project ended and one other takes its place.
    Moved {
        /// The key that founded the successor, 64 hex digits.
        founder: String,
        /// The successor's handle.
        handle: String,
        /// The successor's id, 64 hex digits.
        project: String,
    },
    /// A line to show while the answer is being worked on.
    Progress {
        /// One line for people.
        text: String,
    },
    /// How this envoy is.
    Envoy(EnvoyStatus),
    /// The projects that the caller may see.
    Projects(#[serde(with = "listed")] Vec<ProjectStatus>),
    /// One project.
    Project(ProjectStatus),
    /// A page of a project's envelopes.
    Log {
        /// At most [`LOG_PAGE_MAX`].
        entries: Vec<LogEntry>,
        /// Whether there are more behind them.
        more: bool,
    },
    /// What a puddle has to sign so that this envoy goes on serving the caller.
    Renewals {
        /// One for each project.
        items: Vec<Renewal>,
    },
    /// The request was refused or went wrong.
    Failed(Failure),
}

/// An envelope to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The envelope's type.
    pub type_name: String,
    /// The envelope's body in hex.
    pub body: String,
}

/// What a puddle has to sign about one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// The project id, 64 hex digits.
    pub project: String,
    /// The project's handle.
    pub handle: String,
    /// Unsigned and in order: `merge`, `join` and `grant` as needed.
    pub drafts: Vec<Draft>,
    /// What for, one line for people.
    pub why: String,
}

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

/// A frame that is not a request.
#[derive(Debug, Error)]
#[error("the request is not understood")]
#[non_exhaustive]
pub struct RequestReject {
    #[source]
    source: serde_json::Error,
}

impl Request {
    /// Decodes the payload of one request frame.
    ///
    /// # Errors
    ///
    /// [`RequestReject`] if it is not JSON, names no known request, lacks a field or has one
    /// too many.
    pub fn decode(payload: &[u8]) -> Result<Self, RequestReject> {
        let request = serde_json::from_slice(payload).map_err(|source| RequestReject { source })?;
        // serde lets anything pass beside the tag of a message that has no fields.
        let bare = match &request {
            Self::Envoy | Self::Projects => serde_json::from_slice::<Bare>(payload).map(drop),
            Self::Draft {
                wish: Wish::Grant | Wish::Leave | Wish::ReinviteAll | Wish::Rejoin,
                ..
            } => serde_json::from_slice::<Wishing>(payload).map(drop),
            _ => Ok(()),
        };
        bare.map_err(|source| RequestReject { source })?;
        Ok(request)
    }
}

/// A request without fields: the tag and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare {
    #[serde(rename = "do")]
    _verb: serde::de::IgnoredAny,
}

/// A request with a wish that has no fields.
#[derive(Deserialize)]
struct Wishing {
    #[serde(rename = "wish")]
    _wish: BareWish,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BareWish {
    #[serde(rename = "wish")]
    _wish: serde::de::IgnoredAny,
}

/// A list inside a tagged message, which must be an object: `{"projects": […]}`.
mod listed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ProjectStatus;

    #[derive(Deserialize)]
    struct Read {
        projects: Vec<ProjectStatus>,
    }

    #[derive(Serialize)]
    struct Write<'a> {
        projects: &'a [ProjectStatus],
    }

    pub(super) fn serialize<S: Serializer>(
        projects: &[ProjectStatus],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Write { projects }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ProjectStatus>, D::Error> {
        Ok(Read::deserialize(deserializer)?.projects)
    }
}
