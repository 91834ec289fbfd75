//! Every bound of this crate, in one place.
//!
//! Source: docs/spec/peer.md §6.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longest body of a `digests` request or answer, in bytes.
pub const DIGESTS_MAX: usize = 4 * MIB;
/// Most projects in one [`Digests`](crate::Digests); so many fit in [`DIGESTS_MAX`].
pub const PROJECTS_MAX: usize = 25_000;
/// Longest display name of an envoy, in bytes.
pub const NAME_MAX: usize = 64;

/// Longest body of a `sync` request, in bytes.
pub const SYNC_REQUEST_MAX: usize = 4 * MIB;
/// Most bytes of envelopes in one page of a `sync` answer.
pub const SYNC_PAGE_MAX: usize = 8 * MIB;
/// Longest body of a `sync` answer: the page, its header and a frame head for each envelope.
pub const SYNC_ANSWER_MAX: usize = SYNC_PAGE_MAX + SYNC_HEADER_MAX + 512 * KIB;
/// Longest JSON header of a `sync` request or answer, in bytes.
pub const SYNC_HEADER_MAX: usize = 4 * MIB;
/// Most tips in one message.
pub const TIPS_MAX: usize = 8_192;
/// Most object ids in a `need` answer.
pub const HAVES_MAX: usize = 8_192;

/// Longest single envelope, in bytes.
pub const ENVELOPE_MAX: usize = MIB + 4 * KIB;
/// Most envelopes in one push, one request or one page.
pub const ENVELOPES_MAX: u32 = 65_536;
/// Most bytes of envelopes in one push.
pub const PUSH_ENVELOPES_MAX: u64 = 64 * MIB as u64;
/// Longest JSON header of a push, in bytes; [`FORWARD_MAX`] keys fit.
pub const PUSH_HEADER_MAX: usize = 72 * KIB;
/// Most envoys that the receiver of a push forwards it to.
pub const FORWARD_MAX: usize = 1024;
/// Longest JSON at the end of a pack, in bytes.
pub const PACK_END_MAX: usize = 4 * KIB;
/// Longest payload of one pack frame, in bytes.
pub const PACK_FRAME_MAX: usize = 64 * KIB;
/// Longest answer to a push, in bytes.
pub const PUSH_ANSWER_MAX: usize = 4 * MIB;

/// Longest `git-upload-pack` request, in bytes.
pub const UPLOAD_REQUEST_MAX: usize = 4 * MIB;

/// Most gossip messages in one request.
pub const GOSSIP_MESSAGES_MAX: usize = 64;
/// Longest gossip message, in bytes.
pub const GOSSIP_MESSAGE_MAX: usize = 16 * KIB;
/// Longest body of a `gossip` request: the messages, and a head for each frame.
pub const GOSSIP_MAX: usize = GOSSIP_MESSAGES_MAX * (GOSSIP_MESSAGE_MAX + 5) + 5;
/// Most refs in one `fresh` request.
pub const FRESH_REFS_MAX: usize = 1000;
/// Longest name of a ref, in bytes.
pub const REF_NAME_MAX: usize = KIB;
/// Longest body of a `fresh` request or answer, in bytes; so many names fit in hex.
pub const FRESH_MAX: usize = 2 * MIB + 64 * KIB;
/// Longest message of a reconciliation, in either direction, in bytes.
pub const RECONCILE_MAX: usize = 64 * KIB;
/// Most ids of envelopes in one `envelopes` request.
pub const ASKED_IDS_MAX: usize = 4096;
/// Most ids of envelopes in one receipt, a `held` request.
pub const HELD_IDS_MAX: usize = 1024;
/// Longest JSON list of ids, in bytes; [`ASKED_IDS_MAX`] fit.
pub const IDS_BODY_MAX: usize = 320 * KIB;
/// Most claims to names, and most claims in short, in one `names` request or answer.
pub const CLAIMS_MAX: usize = 512;
/// Longest claim to a name, in bytes.
pub const CLAIM_MAX: usize = 512;
/// Longest body of a `names` request or answer, in bytes; so many claims fit in hex, with as many in short.
pub const NAMES_MAX: usize = 704 * KIB;
/// A list of at most so many projects is sent to `digests` at once; of a longer one its summary
/// first.
pub const SUMMARY_ABOVE: usize = 16;

/// Longest manifest of packs, in bytes: what `gitback-pack` makes and takes.
pub const MANIFEST_MAX: usize = 516 * KIB + 142;
/// Most blocks in one `blocks` request.
pub const BLOCKS_ASKED_MAX: u32 = 16;
/// Longest body of a `packs` or `blocks` request, in bytes.
pub const BLOCKS_BODY_MAX: usize = KIB;

/// Longest roster of a fleet, in either direction, in bytes.
pub const ROSTER_MAX: usize = 500 * KIB;
/// Longest petition for an envoy to be enrolled, in bytes.
pub const PETITION_MAX: usize = 4 * KIB;
/// Longest answer to it, in bytes.
pub const WELCOME_MAX: usize = 548 * KIB;

/// Longest body of a refusal that a client reads, in bytes.
pub const REFUSAL_MAX: usize = 64 * KIB;
/// Longest code of a refusal, in bytes.
pub const CODE_MAX: usize = 64;
/// Longest reason of a refusal, in bytes.
pub const REASON_MAX: usize = 2 * KIB;

/// Service methods that run at the same time, unless configured otherwise.
pub const BLOCKING_MAX: usize = 32;
/// Connections a server holds, unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 256;
/// Requests in progress for all callers together, unless configured otherwise.
pub const REQUESTS_MAX: usize = 128;
/// Requests in progress for one envoy key, unless configured otherwise.
pub const KEY_REQUESTS_MAX: usize = 16;
/// Requests of one envoy key that may come at once, after it was quiet; unless configured otherwise.
pub const BURST_MAX: u32 = 2000;
/// Requests of one envoy key in a second, in the long run; unless configured otherwise.
pub const RATE_MAX: u32 = 500;
/// Envoy keys whose rate is remembered.
pub(crate) const RATES_MAX: usize = 4096;
/// A body that is collected whole must arrive within so many times [`Limits::idle`].
pub const SMALL_BODY_FACTOR: u32 = 4;
/// HTTP/2 streams a peer may have open on one connection.
pub(crate) const STREAMS_MAX: u32 = 32;
/// Connections a client keeps.
pub const POOL_MAX: usize = 256;

/// Flow-control window of one stream: what a slow reader makes this side hold.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
/// Flow-control window of one connection.
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// Bytes HTTP/2 buffers for each stream that sends.
pub(crate) const SEND_BUFFER: usize = 128 * KIB;
/// Longest header list of a request or an answer, in bytes.
pub(crate) const HEADER_LIST_MAX: u32 = 16 * 1024;
/// Chunks of at most [`PACK_FRAME_MAX`] bytes between a blocking thread and a socket.
pub(crate) const CHUNKS_MAX: usize = 4;

/// Fewest bytes of a stream in each stretch of time that its reader allows for it.
pub(crate) const CRAWL_LEAST: u64 = 64 * 1024;
/// Bytes of a small body that earn it another second.
pub(crate) const SMALL_RATE_LEAST: u64 = 8 * 1024;

/// How long a push that is not in full flow waits for more before it sends what it has.
pub(crate) const LINGER: Duration = Duration::from_millis(1);

/// How often a connection without traffic is pinged.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
/// How long the answer to a ping may take.
pub(crate) const PING_ANSWER: Duration = Duration::from_secs(10);
/// How long to wait before accepting again after the system refused to (too many open files).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server allows its callers. `Default` gives the documented values.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest pack of a push, in bytes (4 GiB).
    pub push_bytes: u64,
    /// Connections held at the same time ([`CONNECTIONS_MAX`]).
    pub connections: usize,
    /// Requests in progress at the same time ([`REQUESTS_MAX`]). Connections that never had a
    /// request granted share one half of it.
    pub requests: usize,
    /// Requests in progress at the same time for one envoy key ([`KEY_REQUESTS_MAX`]).
    pub key_requests: usize,
    /// Requests of one envoy key in a second, in the long run ([`RATE_MAX`]).
    pub key_rate: u32,
    /// Requests of one envoy key at once, after it was quiet ([`BURST_MAX`]).
    pub key_burst: u32,
    /// Service methods running at the same time ([`BLOCKING_MAX`]), at most 1024.
    pub jobs: usize,
    /// Time from the accepted connection to the end of the TLS handshake (10 s); also how long a
    /// new connection may take to send its first request, and a push to send its header.
    pub handshake: Duration,
    /// Time without a byte moving before a body is given up (30 s). A body that is collected before
    /// it is looked at, or is a request of `git-upload-pack`, has [`SMALL_BODY_FACTOR`] times as long to arrive.
    pub idle: Duration,
    /// Time in which a push may bring nothing but wait frames (1 h); twice that for less than 64 KiB of anything.
    pub wait: Duration,
    /// Time a request may wait for a free job before it is refused as busy (10 s).
    pub queue: Duration,
    /// Time the requests in progress get to finish once the server was told to stop (10 s).
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            push_bytes: 4 << 30,
            connections: CONNECTIONS_MAX,
            requests: REQUESTS_MAX,
            key_requests: KEY_REQUESTS_MAX,
            key_rate: RATE_MAX,
            key_burst: BURST_MAX,
            jobs: BLOCKING_MAX,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            wait: Duration::from_secs(60 * 60),
            queue: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

/// How long a client waits. `Default` gives the documented values.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For the TCP connection and the TLS handshake together (5 s).
    pub connect: Duration,
    /// For the head of an answer to a small request (30 s).
    pub answer: Duration,
    /// For the next byte of a body, in either direction (30 s).
    pub idle: Duration,
    /// For a stream that always moves and hardly comes further: 64 KiB must come in so much time (10 min).
    pub crawl: Duration,
    /// For a push whose source has nothing yet, before the peer is told to wait (5 s). Together with
    /// the time a source may take for one answer, it must stay below the peer's [`Limits::idle`].
    pub wait: Duration,
    /// For the answer to a push once all of it is sent: the peer indexes and syncs the pack then
    /// (10 min). A peer that dies meanwhile is noticed by pings within half a minute.
    pub push_answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            crawl: Duration::from_secs(600),
            wait: Duration::from_secs(5),
            push_answer: Duration::from_secs(600),
        }
    }
}
