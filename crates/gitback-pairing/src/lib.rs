//! Bringing a puddle to another machine by a code of six words.
//!
//! Decides what two machines that know nothing of each other say so that the wrapped keys of a puddle get from one to the other,
//! and to nobody else: the [`Host`] has a puddle and shows a [`Code`], the [`Guest`] wants it and was told the code. A passphrase or
//! an unwrapped key never comes near. Never prompts or prints, and never writes a file: what arrived is a checked
//! [`Carried`](gitback_puddle::Carried), for the caller to install.
//!
//! Read [`Code`], [`Host`] and [`Guest`] first. What is sent, why that is safe and what against is in `docs/spec/pairing.md`.
//!
//! ```no_run
//! use std::net::TcpListener;
//! use gitback_pairing::{Code, Guest, Host, HostIntroduction, Introduction, Terms};
//! use gitback_puddle::{export, install};
//! # use std::path::Path;
//! # fn example(mine: &Path, theirs: &Path) -> Result<(), Box<dyn std::error::Error>> {
//! # let (said_by_mars, address) = ("lunar basket cousin ribbon gather oven", "mars:1532");
//!
//! // On mars:
//! let carried = export(mine)?;
//! let code = Code::generate()?;
//! let about = HostIntroduction::new("mars", carried.public());
//! let mut host = Host::open(TcpListener::bind("[::]:1532")?, code, about, Terms::default())?;
//! let asking = host.wait(&mut |_news| ())?;
//! asking.allow(&carried, None)?.answer(None)?;
//!
//! // On venus:
//! let code: Code = said_by_mars.parse()?;
//! let guest = Guest::connect(address)?;
//! let waiting = guest.prove(&code, &Introduction::new("venus", "linux"))?;
//! let arrived = waiting.wait()?;
//! install(theirs, arrived.carried())?;
//! arrived.installed(None)?;
//! # Ok(())
//! # }
//! ```

mod channel;
mod code;
mod door;
mod frame;
mod gate;
mod guest;
mod host;
mod message;
mod nearby;
mod proof;
mod queue;
mod seats;
mod terms;
mod who;

pub use code::{CODE_TEXT_MAX, CODE_WORDS, Code, CodeReject, NoCode};
pub use frame::WireError;
pub use guest::{Arrived, CONNECT_WITHIN, Guest, GuestError, RefuseReason, Waiting};
pub use host::{
    AllowError, Asking, Ended, Host, HostFault, Installed, InstalledOutcome, News, PORT, listen,
};
pub use message::FLEET_MAX;
pub use nearby::{Announcement, Found, NearbyError, announce, find, own_addresses};
pub use proof::{Challenge, ProofFault};
pub use terms::{Clock, LIFE, LIFE_MAX, TRIES_IN_ALL_MAX, TRIES_MAX, Terms};
pub use who::{HostIntroduction, Introduction, NAME_MAX};
