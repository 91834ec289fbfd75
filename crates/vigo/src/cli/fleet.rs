//! `vigo join`, `vigo envoy ticket`, `vigo envoy remove`: what the verbs take.

use clap::Args;

use super::Json;

#[derive(Debug, Args)]
pub(crate) struct FleetJoin {
    /// The ticket: one word that begins with vigo1
    pub(crate) ticket: String,
}

#[derive(Debug, Args)]
pub(crate) struct EnvoyTicket {
    /// How long the ticket can be used, such as 30m or 1h; up to 30 days
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    pub(crate) duration: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct EnvoyRemove {
    /// Its name, or the beginning of its key
    pub(crate) envoy: String,
    /// Also remove whoever came in through it
    ///
    /// And whoever came in through these, and so on; `vigo envoy list` says through which envoy each one came.
    #[arg(long)]
    pub(crate) with_brought_in: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}
