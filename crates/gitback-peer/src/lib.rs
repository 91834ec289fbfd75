//! The HTTP surface between envoys, over mutual TLS with raw keys.
//!
//! Decides nothing about projects: a [`Server`] proves who calls, bounds what they send, and hands
//! each request to a blocking [`Service`]; a [`Client`] proves who answers and carries requests
//! there. It never looks into an envelope or a pack, and never writes to disk.
//!
//! Read [`Service`] and [`Client`] first.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use gitback_identity::{EnvoyKey, SecretKey};
//! # use gitback_peer::{Client, Digests, PeerAddress, Server, Service};
//! # async fn example(service: Arc<dyn Service>) -> Result<(), Box<dyn std::error::Error>> {
//! let mars = SecretKey::from_seed(&[1; 32]);
//! let server = Server::bind("127.0.0.1:0").await?;
//! let to = PeerAddress {
//!     key: EnvoyKey::new(mars.public()),
//!     address: server.local_addr().to_string(),
//! };
//! tokio::spawn(server.run(&mars, service, std::future::pending()));
//!
//! let venus = Client::new(&SecretKey::from_seed(&[2; 32]))?;
//! let ours = Digests { name: "venus".into(), ..Digests::default() };
//! let theirs = venus.digests(&to, &ours).await?;
//! assert_eq!(theirs.name, "mars");
//! # Ok(())
//! # }
//! ```

mod client;
mod crawl;
mod frame;
pub mod limits;
mod push;
mod refusal;
mod reject;
mod server;
mod service;
mod tls;
mod trailer;
mod wire;

pub use client::{CallError, Client, Dialer, Link, PackFile, PeerAddress, PushSource};
pub use limits::{Limits, Patience};
pub use push::{Part, PushBody};
pub use refusal::{Refusal, RefusalKind};
pub use reject::Reject;
pub use server::Server;
pub use service::{Caller, Service};
pub use tls::{TlsFault, strangers};
pub use wire::{
    BlockRange, Digests, Fresh, FreshAnswer, Handoff, HeldClaim, Names, NamesAnswer, PackInfo,
    PushAnswer, PushHeader, SyncAnswer, SyncRequest, Tip,
};
