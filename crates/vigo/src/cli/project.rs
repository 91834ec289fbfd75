//! `vigo swarm gitback project …` and `vigo swarm gitback log`: the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Json;

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Make a project of the git repository you are in
    ///
    /// Founds the project on this machine's envoy, adds the remote "gitback",
    /// and pushes all branches and tags to it. The puddle must be unlocked.
    /// Running it again goes on where it stopped.
    Init(ProjectInit),
    /// List the projects on this machine's envoy
    List(Json),
    /// Show one project: its copies, its members, its refs
    Status(ProjectStatus),
    /// Let other people in
    ///
    /// Prints for each of them what they type to accept, one line on stdout.
    /// Whoever was invited before and has not accepted yet keeps that
    /// invitation.
    Invite(Invite),
    /// Accept an invitation
    ///
    /// The project need not be on this machine yet: it is brought in from the
    /// other machines of the fleet.
    Join(Join),
    /// Give up your own membership
    ///
    /// What you pushed until then stays. It cannot be undone without a new
    /// invitation. Where the daemon does not run, it is signed and kept, and
    /// counts as soon as the daemon runs again.
    Leave(Leave),
    /// End somebody's membership
    ///
    /// What they pushed until now stays; what they pushed and nobody has seen
    /// yet is void.
    Revoke(Revoke),
    /// Ask to be let in again after having left
    Rejoin(Named),
    /// Show or change how the project is kept
    ///
    /// Without a flag, shows it.
    Policy(PolicyChange),
    /// Hand projects over to the puddle's new key
    ///
    /// For after `vigo swarm puddle rotate`. The old key signs for the last
    /// time, so the passphrase is needed. A project can be handed over five
    /// times.
    Reanchor(Reanchor),
    /// Invite every live member again, by the key that is the founder now
    ///
    /// Their machines accept by themselves when their puddles are unlocked.
    #[command(name = "re-invite-all")]
    ReinviteAll(Named),
    /// Begin a project anew under the present key, and close the old one
    ///
    /// The new project has a new id, the refs of the old one, and an
    /// invitation for each of its members. Objects are not copied twice.
    /// Running it again goes on where it stopped.
    #[command(name = "re-found")]
    Refound(Refound),
    /// Settle which of two heirs of the founder this machine follows
    ///
    /// Two keys claim to come after the founder's when a key was stolen, or
    /// used on two machines that did not see each other. Ask the founder which
    /// one is right before you pick.
    #[command(name = "pick-line")]
    PickLine(PickLine),
    /// Take back that a machine may sign pushes for you
    Ungrant(Ungrant),
}

#[derive(Debug, Args)]
pub(crate) struct ProjectInit {
    /// What to call it: the end of its address
    ///
    /// Lowercase letters, digits, dots, dashes and underscores, at most 64.
    /// The name of the repository's directory if it is left out.
    pub(crate) handle: Option<String>,
    /// Push nothing yet
    #[arg(long)]
    pub(crate) no_push: bool,
    /// Do not claim your puddle's name
    ///
    /// Otherwise the first project claims it, so that others find you by it.
    #[arg(long)]
    pub(crate) no_claim: bool,
    /// Which envoys keep a copy; all of the fleet if it is left out
    ///
    /// Only counts when the project is founded; `project policy` changes it
    /// later.
    #[arg(long, value_enum)]
    pub(crate) scope: Option<Scope>,
}

/// Which envoys keep a copy of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Those that a member uses
    Members,
    /// All envoys of the fleet
    Swarm,
}

/// What somebody who is invited may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Fetch and push
    Member,
    /// Fetch
    Reader,
}

#[derive(Debug, Args)]
pub(crate) struct ProjectStatus {
    /// Name, handle, id (or the beginning of it) or address
    ///
    /// In a git repository that is connected to a project it can be left out.
    pub(crate) project: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A verb that is about one project.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// Whom: a public key, a name, or a fingerprint
    ///
    /// Before somebody is invited by a name that you have never used, you are
    /// shown the fingerprint and asked.
    ///
    /// A fingerprint, or at least 12 digits of a key, is enough for somebody
    /// who is in a project on this machine.
    #[arg(required = true)]
    pub(crate) who: Vec<String>,
    /// What they may do
    #[arg(long, value_enum, default_value = "member")]
    pub(crate) role: Role,
    /// Into which project; the one that this folder is connected to if it is
    /// left out
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Do not ask whether it is them whom a new name means
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The project's address
    pub(crate) address: String,
    /// Which invitation; your newest one if it is left out
    ///
    /// Needed where the project is not on this machine yet.
    #[arg(long, value_name = "ID")]
    pub(crate) invitation: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    /// Whose: a public key, a name that you have picked, or a fingerprint
    #[arg(required = true)]
    pub(crate) who: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyChange {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    /// Which envoys keep a copy
    #[arg(long, value_enum)]
    pub(crate) scope: Option<Scope>,
    /// A ref that is neither forced nor deleted; a branch, or a full name
    #[arg(long, value_name = "REF")]
    pub(crate) protect: Vec<String>,
    /// A ref that is protected no longer
    #[arg(long, value_name = "REF")]
    pub(crate) unprotect: Vec<String>,
    /// How many copies there should be; 0 for no wish
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u32>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Reanchor {
    /// Name, handle, id (or the beginning of it) or address; the one that this
    /// folder is connected to if it is left out
    #[arg(conflicts_with = "all")]
    pub(crate) project: Option<String>,
    /// All projects whose founder is an earlier key of yours
    #[arg(long)]
    pub(crate) all: bool,
    /// Read the passphrase from FILE, without its last newline; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Refound {
    /// Name, handle, id (or the beginning of it) or address of the old one
    pub(crate) project: String,
    /// What to call the new one; as the old one if it is left out
    #[arg(long, value_name = "NEW")]
    pub(crate) handle: Option<String>,
    /// Read the passphrase from FILE, without its last newline; - is stdin
    ///
    /// Needed where the founder of the old one is an earlier key of yours.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct PickLine {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    /// The delegation to follow: its id, or the beginning of it
    pub(crate) delegate: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Ungrant {
    /// Name, handle, id (or the beginning of it) or address
    pub(crate) project: String,
    /// The machine: its name or its key; this one if it is left out
    pub(crate) envoy: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

impl Project {
    /// Whether errors are wanted as JSON.
    pub(super) fn wants_json(&self) -> bool {
        let json = match self {
            Self::Init(_) => return false,
            Self::List(json) => json,
            Self::Status(ProjectStatus { json, .. })
            | Self::Invite(Invite { json, .. })
            | Self::Join(Join { json, .. })
            | Self::Leave(Leave { json, .. })
            | Self::Revoke(Revoke { json, .. })
            | Self::Rejoin(Named { json, .. })
            | Self::ReinviteAll(Named { json, .. })
            | Self::Policy(PolicyChange { json, .. })
            | Self::Reanchor(Reanchor { json, .. })
            | Self::Refound(Refound { json, .. })
            | Self::PickLine(PickLine { json, .. })
            | Self::Ungrant(Ungrant { json, .. }) => json,
        };
        json.json
    }
}
