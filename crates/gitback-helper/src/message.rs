//! What the two ends say to each other.
//!
//! Source: docs/spec/helper-socket.md §3 and §4.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Failure;

/// The version of the conversation, sent in [`Request::Open`].
pub const VERSION: u32 = 1;

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
    /// Asks for the draft of a grant for this envoy and the caller's uid.
    Draft {
        /// The project id, 64 hex digits.
        project: String,
        /// The project's handle.
        handle: String,
        /// The key of the puddle that will sign, 64 hex digits.
        puddle: String,
    },
    /// Founds a project here.
    Found {
        /// The sealed `init` envelope in hex.
        envelope: String,
    },
    /// Hands in a sealed grant.
    Submit {
        /// The project id, 64 hex digits.
        project: String,
        /// The sealed envelope in hex.
        envelope: String,
    },
    /// Brings a project in from other envoys, proving by a token that the caller may.
    Bootstrap {
        /// The project id, 64 hex digits.
        project: String,
        /// The sealed `init` envelope in hex.
        init: String,
        /// The sealed `grant` envelope in hex.
        grant: String,
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

/// What the server answers: any number of [`Reply::Progress`], then one of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The connection carries raw bytes from here on, both ways.
    Ready,
    /// Done.
    Accepted {
        /// Remarks for the user, one line each.
        notes: Vec<String>,
    },
    /// The grant that was asked for, unsigned.
    Draft(Draft),
    /// This envoy holds the project, but no grant lets it serve the caller: sign this one.
    NeedGrant {
        /// The grant, unsigned.
        draft: Draft,
        /// The founder's key, 64 hex digits.
        founder: String,
        /// The project's handle.
        handle: String,
    },
    /// This envoy does not hold the project: a token (`init` and this grant) would bring it in.
    NeedToken {
        /// The grant, unsigned.
        draft: Draft,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        // serde lets anything pass beside the tag of a request that has no fields.
        if matches!(request, Self::Envoy | Self::Projects) {
            serde_json::from_slice::<Bare>(payload).map_err(|source| RequestReject { source })?;
        }
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
