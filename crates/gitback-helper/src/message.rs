//! What the two ends say to each other.
//!
//! Source: docs/spec/helper-socket.md §3 and §4.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    AuthorityStatus, EnvoyCard, EnvoyStatus, Failure, FleetStatus, LogEntry, NamesStatus,
    ProjectStatus, RefEvent, Removal, Removing, Restored, Scrub, Secret, SyncStatus,
};

/// The version of the conversation, sent in [`Request::Open`].
pub const VERSION: u32 = 2;

/// The most drafts in one reply: what is left over is drafted when the client asks again.
pub const DRAFTS_MAX: usize = 512;

/// How long a grant lets its envoy serve its user: 90 days. It is renewed when less than half of that is left.
pub const GRANT_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The most entries in one page of a log, so that a page fits into one frame.
pub const LOG_PAGE_MAX: usize = 500;

/// The longest that one [`Request::Sync`] waits for a change.
pub const SYNC_WAIT_MAX: Duration = Duration::from_secs(25);

/// Which of git's two services a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// `git upload-pack`: clone and fetch.
    UploadPack,
    /// `git receive-pack`: push.
    ReceivePack,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands in a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
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
        /// The user wants to see where the time goes. Left out when it is false.
        #[serde(default, skip_serializing_if = "is_false")]
        trace: bool,
        /// By what name the user means the project's founder, where that is another puddle than the user's own: the
        /// daemon says if others claim that name. Left out otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        called: Option<Called>,
        /// What the user's git calls the project, for the commands that a push tells of. Left out for a fetch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote: Option<String>,
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
    /// Hands in a puddle's claim to a name, or its release. It spreads through the fleet.
    ClaimName {
        /// The sealed claim in hex.
        claim: String,
    },
    /// Asks which claims to names are known.
    Names {
        /// Only those to this name; all if absent.
        name: Option<String>,
        /// Only that of the puddle with this key, 64 hex digits, also if it was released; all that are live if absent.
        puddle: Option<String>,
        /// With `puddle`: which projects of this handle have passed to that puddle.
        handle: Option<String>,
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
    /// Asks for a page of what has happened to refs, newest first.
    RefLog {
        /// The project id, 64 hex digits.
        project: String,
        /// One ref, by its full name or the end of it; all of them if absent.
        name: Option<String>,
        /// How many events to leave out at the beginning.
        skip: u64,
    },
    /// Gives a ref a value again that it had.
    Restore {
        /// The project id, 64 hex digits.
        project: String,
        /// The ref, by its full name or the end of it.
        name: String,
        /// The update whose value is meant, or an object: the id or the beginning of it. The value before the last
        /// force push, deletion or loss if absent.
        to: Option<String>,
        /// Say what would be done, and do nothing.
        dry_run: bool,
        /// How long to wait for other envoys, in milliseconds; the envoy's default if absent.
        push_wait_ms: Option<u64>,
    },
    /// Asks how copies are, after more than a number of changes, and for contact with every peer if it is wanted.
    Sync {
        /// Project ids, 64 hex digits each; all that the caller may see if empty.
        projects: Vec<String>,
        /// Make contact with every peer now.
        contact: bool,
        /// Answer when there is more than this many changes, or the wait is over; at once if absent.
        after: Option<u64>,
        /// How long to wait at the most, in milliseconds; [`SYNC_WAIT_MAX`] is the limit.
        wait_ms: u64,
    },
    /// Has this envoy give up its copy of a project, or lists what could be given up.
    Purge {
        /// The project id, 64 hex digits; to look at all projects, none.
        project: Option<String>,
        /// What is to be done.
        how: Removing,
    },
    /// Has this envoy hold a project again whose copy it gave up.
    BringBack {
        /// The project id, 64 hex digits.
        project: String,
    },
    /// Lists or deletes repositories that no local user holds.
    Orphans {
        /// What is to be done.
        how: Removing,
    },
    /// Has this envoy read everything that it keeps of projects, and repair what is damaged.
    Scrub {
        /// Project ids, 64 hex digits each; all that the caller may see if empty.
        projects: Vec<String>,
    },
    /// Asks how this envoy and its peers are.
    Envoy,
    /// Asks who this envoy is and of which fleet, to bring it together with others.
    Card,
    /// Asks for a request to be enrolled, signed by this envoy.
    EnrolRequest {
        /// What the enroller chose to know the request again: 32 bytes, 64 hex digits.
        challenge: String,
    },
    /// Has the fleet of this envoy take in another one.
    Enrol {
        /// That envoy's signed request in hex.
        request: String,
        /// The challenge that the request has to answer, 64 hex digits.
        challenge: String,
    },
    /// Has this envoy join the fleet that enrolled it.
    JoinFleet {
        /// What the enroller answered, in hex.
        enrolment: String,
    },
    /// Asks for a ticket by which one machine can join the fleet.
    Ticket {
        /// For how long, in milliseconds.
        valid_ms: u64,
    },
    /// Has this envoy join the fleet that gave out a ticket.
    JoinByTicket {
        /// The ticket as it was printed.
        ticket: String,
    },
    /// Asks who is of the fleet.
    Fleet,
    /// Takes an envoy out of the fleet, for good.
    RemoveEnvoy {
        /// Its name, or its key or the beginning of it, 64 hex digits at the most.
        envoy: String,
        /// Whoever came in through it goes as well. Left out when it is false.
        #[serde(default, skip_serializing_if = "is_false")]
        with_brought_in: bool,
    },
    /// Asks who holds the secret key of the fleet's authority, and to whom it is sealed.
    Authority,
    /// Has the authority's key sealed to a person.
    SealAuthority {
        /// The key of that person's puddle, 64 hex digits.
        puddle: String,
        /// Nobody has asked for just this: where the seals to that person were ended, they stay so. Left out when it is
        /// false.
        #[serde(default, skip_serializing_if = "is_false")]
        by_the_way: bool,
    },
    /// Ends the seals to a person.
    UnsealAuthority {
        /// The key of that person's puddle, 64 hex digits, or the beginning of it.
        puddle: String,
    },
    /// Gives this envoy the secret key of its fleet's authority.
    TakeOver {
        /// The seed, 64 hex digits.
        secret: Secret,
    },
    /// Asks for every project that the caller may see.
    Projects,
    /// Asks for one project in detail.
    Project {
        /// The project id, 64 hex digits.
        project: String,
    },
}

/// A name, and whom the user means by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Called {
    /// The name.
    pub name: String,
    /// The key of the puddle, 64 hex digits.
    pub puddle: String,
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
    /// Who this envoy is and of which fleet.
    Card(EnvoyCard),
    /// A request to be enrolled, signed by this envoy.
    EnrolRequest {
        /// The request in hex.
        request: String,
    },
    /// Another envoy was taken into the fleet.
    Enrolled {
        /// What that envoy hands to its daemon by [`Request::JoinFleet`], in hex.
        enrolment: String,
        /// Remarks for the user, one line each.
        notes: Vec<String>,
    },
    /// A ticket by which one machine can join the fleet, once.
    Ticket {
        /// The ticket: one word of letters and digits.
        ticket: String,
        /// When it ends, Unix milliseconds.
        expires_ms: u64,
    },
    /// Who is of the fleet.
    Fleet(FleetStatus),
    /// Who holds the secret key of the fleet's authority, and to whom it is sealed.
    Authority(AuthorityStatus),
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
    /// A page of what has happened to refs.
    RefLog {
        /// At most [`LOG_PAGE_MAX`], newest first.
        events: Vec<RefEvent>,
        /// Whether there are more behind them.
        more: bool,
    },
    /// A ref has a value again, or would have.
    Restored(Restored),
    /// How copies are.
    Sync(SyncStatus),
    /// Copies that may go, or have gone.
    Removals {
        /// The largest first.
        items: Vec<Removal>,
    },
    /// What reading everything has shown.
    Scrubbed {
        /// One for each project.
        items: Vec<Scrub>,
    },
    /// What a puddle has to sign so that this envoy goes on serving the caller.
    Renewals {
        /// One for each project.
        items: Vec<Renewal>,
    },
    /// What is known of names.
    Names(NamesStatus),
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
            Self::Envoy | Self::Projects | Self::Card | Self::Fleet | Self::Authority => {
                serde_json::from_slice::<Bare>(payload).map(drop)
            }
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
