//! The daemon of one envoy: composes the layers below it and owns the only clock.
//!
//! It decides who may push and fetch here, in which order a push becomes durable, whom to send it to, and when to
//! ask a peer for what is missing. It never decides what an envelope means (that is the fold's, in
//! `gitback-envelope`) and never touches a git object (that is `gitback-pack`'s).
//!
//! Read [`Config`] first, then [`run`]. The commit point of a push is in the module `push`, the path of a forwarded
//! push in `service`, catch-up in `contact`.
//!
//! ```
//! let config = gitback_envoy::Config::parse("name = \"mars\"\nlisten = \"127.0.0.1:0\"\n").expect("valid");
//! assert_eq!(config.name(), "mars");
//! ```

mod access;
mod aftermath;
mod catch_up;
mod cell;
mod changes;
mod clock;
mod config;
mod contact;
mod daemon;
mod disk;
mod fanout;
mod fault;
mod fleet;
mod fresh;
mod given_up;
mod heal;
mod key;
mod lan;
mod leave;
mod local;
mod maintenance;
mod names;
mod passwd;
mod peers;
mod push;
mod quota;
mod receipts;
mod service;
mod status;
mod store;
mod trace;
mod wait;
mod whereabouts;

pub use config::{
    CONFIG_BYTES_MAX, Config, ConfigError, DEFAULT_LISTEN, ENVOY_NAME_MAX, PEERS_MAX, Peer,
};
pub use daemon::{Options, RunError, run};
pub use fault::Fault;
pub use fleet::FleetFault;
pub use key::{KeyError, envoy_key};
