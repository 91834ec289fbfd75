//! `vigo envoy authority …`: what the verbs take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Json;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EnvoyAuthority {
    #[command(flatten)]
    pub(crate) json: Json,
    #[command(subcommand)]
    pub(crate) verb: Option<Authority>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Authority {
    /// Seal the authority's key to a person, who can take the fleet over then
    ///
    /// For root and whoever runs the daemon, on a machine that holds the key.
    /// Nothing has to be unlocked. Every envoy of the fleet gets the sealed
    /// key; only that person's passphrase, or recovery words, open it.
    Seal(AuthoritySeal),
    /// End the seals to a person
    ///
    /// What the person has opened, or kept a copy of, is not undone by that:
    /// only a new fleet has a new key.
    Unseal(Unseal),
    /// Open the sealed key with your passphrase, and hold it on this machine
    ///
    /// For root and whoever runs the daemon, on any machine of the fleet, when
    /// those that hold the key are lost. From then on this machine enrols,
    /// renews and removes. Several machines may hold the key at the same time.
    #[command(name = "take-over")]
    TakeOver(TakeOver),
}

#[derive(Debug, Args)]
pub(crate) struct AuthoritySeal {
    /// The whole public key of the person's puddle, 64 hex digits; your own if it is left out
    pub(crate) key: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Unseal {
    /// The public key of the person's puddle, or 8 digits of its beginning or more
    pub(crate) key: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TakeOver {
    /// Read the passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "from_recovery")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Open it with the recovery words, where the puddle is on no machine any more
    #[arg(long, conflicts_with = "puddle")]
    pub(crate) from_recovery: bool,
    /// Read the recovery words from FILE; - is stdin
    #[arg(long, value_name = "FILE", requires = "from_recovery")]
    pub(crate) words_file: Option<PathBuf>,
    /// The directory of the puddle, where it is not your own
    ///
    /// Such as /home/dan/.vigo-puddle, for root on a machine that dan uses.
    #[arg(long, value_name = "DIR")]
    pub(crate) puddle: Option<PathBuf>,
}
