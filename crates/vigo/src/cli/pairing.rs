//! `vigo swarm puddle pair` and `join`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Unlock, WithEnvoy};

#[derive(Debug, Args)]
pub(crate) struct PuddlePair {
    /// Where to wait for the other machine, such as 192.168.1.4:1532
    ///
    /// Without it, on all addresses of this machine, at port 1532 if that is
    /// free.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How long the code holds, 10m at the most
    #[arg(long = "for", value_name = "TIME", default_value = "5m")]
    pub(crate) duration: String,
    /// Allow the machine that knows the code without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write the code to FILE, which must not exist, in place of showing it
    ///
    /// Nobody else can read it, and it is removed at the end.
    #[arg(long, value_name = "FILE")]
    pub(crate) code_to: Option<PathBuf>,
    /// Do not take the other machine's envoy into the fleet of this one
    #[arg(long)]
    pub(crate) no_enrol: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PuddleJoin {
    /// The machine that shows the code, if it is not found by itself
    ///
    /// A name or an address; the port is 1532 if none is given.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) from: Option<String>,
    /// Read the code from FILE; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) unlock: Unlock,
    /// Leave the puddle locked
    #[arg(long, conflicts_with_all = ["duration", "passphrase_file"])]
    pub(crate) no_unlock: bool,
    /// Do not have this machine's envoy taken into the fleet of the other
    #[arg(long)]
    pub(crate) no_enrol: bool,
    #[command(flatten)]
    pub(crate) with_envoy: WithEnvoy,
}
