//! `vigo swarm gitback …` about copies and history: the command line.

use clap::Args;

use super::Json;

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Name, handle, id (or the beginning of it) or address
    ///
    /// In a git repository that is connected to a project it can be left out,
    /// unless a ref is named.
    pub(crate) project: Option<String>,
    /// A branch, a tag, or a ref's full name: what has moved it, newest first
    ///
    /// Each line names the update, who made it where, the value before and
    /// after, and whether its objects are on this machine.
    #[arg(value_name = "REF", conflicts_with = "refs")]
    pub(crate) reference: Option<String>,
    /// The same for all refs
    #[arg(long)]
    pub(crate) refs: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    /// A branch, a tag, or a ref's full name; a deleted one too
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// The update or the object that is wanted: its id, or the beginning of it
    ///
    /// `vigo swarm gitback log PROJECT REF` lists them. Without it, the value
    /// before the last force push or deletion, or the one that stands beside
    /// the visible one.
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Names, handles, ids (or their beginnings) or addresses; all projects
    /// if they are left out
    pub(crate) projects: Vec<String>,
    /// Wait until every envoy that answers is current
    #[arg(long, conflicts_with = "watch")]
    pub(crate) wait: bool,
    /// Wait until so many copies of each project are current
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "watch",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) copies: Option<u32>,
    /// Print changes until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    /// How long at the most, such as 30s or 5m; 60s if it is left out, and
    /// without end with --watch
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Name, handle, id (or the beginning of it) or address
    #[arg(required_unless_present = "dry_run")]
    pub(crate) project: Option<String>,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// List what could be freed, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete it also where no other envoy is known to hold all of it
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) even_last: bool,
    /// Hold the project here again
    #[arg(long, conflicts_with_all = ["dry_run", "even_last"], requires = "project")]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct GcOrphans {
    /// Delete them; without it they are listed
    #[arg(long)]
    pub(crate) yes: bool,
    /// Delete also what no other envoy is known to hold all of
    #[arg(long, requires = "yes")]
    pub(crate) even_last: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Names, handles, ids (or their beginnings) or addresses; all projects
    /// if they are left out
    pub(crate) projects: Vec<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}
