//! `vigo swarm puddle …`: what the verbs take.

use std::path::PathBuf;

use clap::Args;

use super::WithEnvoy;

#[derive(Debug, Args)]
pub(crate) struct PuddleInit {
    /// The name that people type in addresses
    ///
    /// 2 to 32 lowercase letters, digits and dashes, beginning with a letter.
    /// Asked for on the terminal if it is left out.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Make no new key, but the one of your recovery words
    ///
    /// Asks for the words that `vigo swarm puddle recovery` has printed, then
    /// for the name and a new passphrase.
    #[arg(long)]
    pub(crate) from_recovery: bool,
    /// Read the recovery words from FILE; - is stdin
    #[arg(long, value_name = "FILE", requires = "from_recovery")]
    pub(crate) words_file: Option<PathBuf>,
    /// Read the passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) unlocked: Unlocked,
    /// Leave the new puddle locked
    #[arg(long, conflicts_with_all = ["duration", "idle"])]
    pub(crate) no_unlock: bool,
    /// Claim no name
    ///
    /// Otherwise the puddle's name is claimed where a daemon answers, so that
    /// others find you by it.
    #[arg(long)]
    pub(crate) no_claim: bool,
    #[command(flatten)]
    pub(crate) with_envoy: WithEnvoy,
}

#[derive(Debug, Args)]
pub(crate) struct Recovery {
    /// Read the passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Write the words to FILE, which must not exist, for your eyes only
    #[arg(long, value_name = "FILE", conflicts_with = "stdout")]
    pub(crate) to: Option<PathBuf>,
    /// Print the words on one line, and also where stdout is no terminal
    #[arg(long)]
    pub(crate) stdout: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PuddleRotate {
    /// Read the passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) unlocked: Unlocked,
    /// Leave the new key locked
    #[arg(long, conflicts_with_all = ["duration", "idle"])]
    pub(crate) no_unlock: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RotatePassphrase {
    /// Read the old passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Only one key that the puddle had before, which has a passphrase of its own
    ///
    /// The key, or how it begins; `vigo swarm puddle status --json` lists them.
    #[arg(long, value_name = "KEY")]
    pub(crate) retired: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PuddleLeave {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Also when nothing shows that each key is on another machine, or projects go by an earlier one
    #[arg(long)]
    pub(crate) even_last: bool,
    /// Also when the daemon does not answer, or refuses: its envoy keeps its grants until they end
    #[arg(long)]
    pub(crate) without_envoy: bool,
    /// Read the passphrase from FILE, without its last newline; - is stdin
    ///
    /// Needed only where there are grants to take back.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    pub(crate) unlocked: Unlocked,
    /// Read the passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// How long a session lasts.
#[derive(Debug, Args)]
pub(crate) struct Unlocked {
    /// How long the puddle stays unlocked, such as 90m or 8h
    #[arg(long = "for", value_name = "TIME", default_value = "8h")]
    pub(crate) duration: String,
    /// Lock it earlier, when nothing was signed for so long
    ///
    /// Without it, only the end of --for counts.
    #[arg(long, value_name = "TIME")]
    pub(crate) idle: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Session {
    /// Where to listen
    #[arg(long)]
    pub(crate) socket: PathBuf,
    /// The puddle's name
    #[arg(long)]
    pub(crate) name: String,
    /// For how long, in milliseconds
    #[arg(long)]
    pub(crate) for_ms: u64,
    /// For how long without signing, in milliseconds
    #[arg(long)]
    pub(crate) idle_ms: Option<u64>,
}
