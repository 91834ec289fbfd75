//! The helper socket: its protocol, its client and server halves, and where state lives.
//!
//! A daemon owns every bare repository of an envoy. Ordinary users reach them through one unix
//! socket, the *helper*. This crate carries the conversation on that socket: frames of JSON first
//! ([`Request`], [`Reply`]), and after [`Reply::Ready`] the raw bytes of git's own protocol. It
//! also knows every path of an envoy ([`Layout`]), since both ends must agree on them.
//!
//! What it never does: judge a request, parse a key or an envelope (keys, ids and envelopes
//! travel as lowercase hex), read the environment, print, or trust a client's word on who it is:
//! the caller's uid comes from the kernel.
//!
//! Read [`Client`] and [`Listener`] first. The format is written down in
//! `docs/spec/helper-socket.md`.
//!
//! ```
//! use gitback_helper::{Client, Failure, Listener, Reply, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let socket = directory.path().join("gitback.sock");
//! let listener = Listener::bind(&socket, 0o600)?;
//!
//! let server = std::thread::spawn(move || {
//!     let mut connection = listener.accept().expect("a client connects");
//!     let request = connection.read_request().expect("the client asks something");
//!     assert_eq!(request, Request::Projects);
//!     connection.reply(&Reply::Projects(Vec::new())).expect("the client listens");
//! });
//!
//! let mut client = Client::connect(&socket)?;
//! let reply = client.call(&Request::Projects, &mut |_meanwhile| ())?;
//! assert_eq!(reply, Reply::Projects(Vec::new()));
//! # server.join().expect("the server ends well");
//! # Ok(())
//! # }
//! ```

mod address;
mod client;
mod copies;
mod failure;
mod fleet;
mod frame;
mod history;
mod layout;
mod message;
mod names;
mod server;
mod slots;
mod status;

pub use address::{AddressFault, SOCKET_PATH_MAX};
pub use client::{CallError, Client, ConnectError, Meanwhile, Patience};
pub use copies::{
    ContactStatus, LACKING_NAMED_MAX, Removal, Removing, Scrub, ScrubSource, SyncStatus,
};
pub use failure::{Failure, chain, exit_code};
pub use fleet::{
    AuthorityHolder, AuthoritySeal, AuthorityStatus, EnvoyCard, FleetEnvoy, FleetStatus, Secret,
};
pub use frame::{FRAME_MAX, FrameError, REQUEST_MAX};
pub use history::{RefEvent, Restored};
pub use layout::{Environment, Layout, LayoutError, Mode, SYSTEM_SOCKET};
pub use message::{
    Called, DRAFTS_MAX, Draft, GRANT_LIFE, LOG_PAGE_MAX, Renewal, Reply, Request, RequestReject,
    Role, SYNC_WAIT_MAX, Scope, Service, VERSION, Wish,
};
pub use names::{ClaimStatus, NamesStatus};
pub use server::{
    AcceptError, BindError, Connection, Limits, Listener, REQUESTS_MAX, ReadError, Stopper,
};
pub use slots::Slot;
pub use status::{
    AlarmStatus, ContestStatus, CopyStatus, EnvoyStatus, GrantStatus, HopStatus, LogEntry,
    MemberStatus, PeerStatus, ProjectStatus, RefStatus, RivalStatus, SuccessorStatus,
    VersionStatus,
};
