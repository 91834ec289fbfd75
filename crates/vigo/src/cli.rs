//! The command line: what there is to type, and the help for it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod authority;
mod fleet;
mod gitback;
mod pairing;
mod project;
mod puddle;

pub(crate) use authority::{Authority, AuthoritySeal, EnvoyAuthority, TakeOver, Unseal};
pub(crate) use fleet::{EnvoyRemove, EnvoyTicket, FleetJoin};
pub(crate) use gitback::{GcOrphans, Log, Purge, Restore, Scrub, Sync};
pub(crate) use pairing::{PuddleJoin, PuddlePair};
pub(crate) use project::{
    Invite, Join, Leave, Named, PickLine, PolicyChange, Project, ProjectInit, ProjectStatus,
    Reanchor, Refound, Revoke, Role, Scope, Ungrant,
};
pub(crate) use puddle::{
    PuddleInit, PuddleLeave, PuddleRotate, Recovery, RotatePassphrase, Session, Unlock, Unlocked,
};

/// Your git projects on every machine you use.
///
/// Each machine runs an envoy, the daemon that keeps copies of your projects
/// and passes every push on to the other machines. You have one key, your
/// puddle, the same on all your machines and locked by a passphrase.
///
/// gitback is for availability, not secrecy: whoever is root on a machine can
/// read the projects on it.
#[derive(Debug, Parser)]
#[command(
    name = "vigo",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_long_help = EXIT_CODES
)]
pub(crate) struct Cli {
    /// Use the whole tree of files below DIR
    ///
    /// State, sockets, configuration and home directory are looked for below
    /// DIR, so that several envoys can run on one machine. The variable
    /// VIGO_ROOT says the same.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Shown below the long help and in the manual page.
const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed
   2  wrong command line
   3  done, with fewer copies than asked
  10  unknown name or project
  11  the puddle is locked
  12  not permitted
  13  two puddles claim the name
  14  not enough free disk space
  15  the daemon does not answer

Start here:
  vigo up                             (on each machine)
  vigo swarm puddle init              (on the first one)
  vigo swarm gitback project init     (in a git repository)
  git push gitback main";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start this machine's envoy, and have it start with the machine
    ///
    /// Writes envoy.toml where there is none. With systemd the envoy becomes a
    /// service: of the machine if you are root, your own otherwise. Without
    /// systemd it runs in the background and writes envoy.log beside its state.
    /// Where an envoy runs already, nothing is changed.
    Up(Up),
    /// End this machine's envoy, and let it not start again by itself
    ///
    /// What it keeps stays where it is.
    Down,
    /// The daemon of this machine
    #[command(subcommand)]
    Envoy(Envoy),
    /// Have this machine join a fleet, by a ticket
    ///
    /// A ticket is made on another machine, by `vigo envoy ticket`, and works
    /// once. The daemon of this machine must run.
    Join(FleetJoin),
    /// What the machines of a fleet share: puddles and projects
    #[command(subcommand)]
    Swarm(Swarm),
    /// Write the manual pages to a directory
    #[command(hide = true)]
    Man {
        /// Where to write them; made if it is missing
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Envoy {
    /// Print this envoy's public key, making the key if there is none
    ///
    /// Other envoys need the key to trust this one: it goes into their
    /// envoy.toml, in a [[peers]] table.
    Key,
    /// Run the daemon in the foreground
    ///
    /// Reads envoy.toml, says on stderr when it is ready, and ends cleanly on
    /// SIGTERM and SIGINT. The variable VIGO_LOG says what is logged, such as
    /// "debug" or "gitback_peer=trace,info".
    Run(EnvoyRun),
    /// Show how this envoy and its peers are
    Status(Json),
    /// Make a ticket by which another machine can join the fleet
    ///
    /// The first ticket founds the fleet: this machine then holds the key of
    /// its authority, which enrols the others and renews that by itself. A
    /// ticket works once, for one machine. Whoever has it can use it.
    Ticket(EnvoyTicket),
    /// List the envoys of the fleet
    List(Json),
    /// Take an envoy out of the fleet, for good
    ///
    /// Every other envoy refuses its key from then on, as soon as it hears of
    /// it. What the machine holds stays on it, and so does what members have
    /// granted to it: `vigo swarm gitback project ungrant` ends that.
    Remove(EnvoyRemove),
    /// Show who holds the key of the fleet's authority, and who could
    ///
    /// Whoever holds it enrols and removes machines. It lies where the fleet
    /// was founded, and sealed on every machine of the fleet: the people to
    /// whom it is sealed can take the fleet over on any of them.
    Authority(EnvoyAuthority),
}

#[derive(Debug, Default, Args)]
pub(crate) struct Up {
    /// What people call this machine; the host's name if it is left out
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where other envoys reach this one, such as 0.0.0.0:1531
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// A user of this machine who may use the envoy, by number
    ///
    /// Can be given several times. Whoever runs this by sudo may use it anyway.
    #[arg(long, value_name = "UID")]
    pub(crate) allow_uid: Vec<u32>,
    /// Run it in the background, also where systemd is
    #[arg(long)]
    pub(crate) no_service: bool,
}

impl Up {
    /// Whether it says how the envoy should be.
    pub(crate) const fn sets_something(&self) -> bool {
        self.name.is_some() || self.listen.is_some() || !self.allow_uid.is_empty()
    }
}

/// Whether to start an envoy where none runs.
#[derive(Debug, Default, Clone, Copy, Args)]
pub(crate) struct WithEnvoy {
    /// Start this machine's envoy if none runs, without asking
    #[arg(long)]
    pub(crate) up: bool,
    /// Do not start this machine's envoy, and do not ask
    #[arg(long, conflicts_with = "up")]
    pub(crate) no_up: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EnvoyRun {
    /// Leave the terminal; given by `vigo up`
    #[arg(long, hide = true)]
    pub(crate) background: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Swarm {
    /// Your key: make it, unlock it, lock it
    #[command(subcommand)]
    Puddle(Puddle),
    /// Your projects and their copies
    #[command(subcommand)]
    Gitback(Gitback),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Puddle {
    /// Make a puddle: a new key under a passphrase
    ///
    /// Done once, on one machine; the other machines get a copy of the file
    /// ~/.vigo-puddle/identity.wrapped. An existing puddle is never
    /// overwritten. Nobody can bring back a lost key or passphrase, unless its
    /// recovery words were written down: --from-recovery makes the same key
    /// of them again.
    Init(PuddleInit),
    /// Print 24 words from which the key can be made again
    ///
    /// To be written on paper. Whoever has them has your key, without any
    /// passphrase. They stand for the present key: what you founded under an
    /// earlier one and did not hand over is not brought back by them.
    Recovery(Recovery),
    /// Unlock the puddle for some time
    ///
    /// Starts a process of yours that holds the key in memory and signs for
    /// git and vigo until the time is over or the puddle is locked.
    Unlock(Unlock),
    /// Lock the puddle: forget the unlocked key
    Lock,
    /// Show the puddle's key and whether it is unlocked
    Status(Json),
    /// Bring the puddle to another machine: show a code of six words
    ///
    /// Waits for one machine on which `vigo swarm puddle join` is run and the
    /// code is typed, and asks you before it gets anything. It gets the key as
    /// it lies here, under your passphrase, which is never sent; and its envoy
    /// is taken into the fleet of this one.
    Pair(PuddlePair),
    /// Get your puddle from another machine, by the code that it shows
    ///
    /// Looks for a machine on this network on which `vigo swarm puddle pair`
    /// waits. A puddle that is here already is never replaced.
    Join(PuddleJoin),
    /// Give the puddle a new key, under the same name and passphrase
    ///
    /// For when somebody may have got hold of the old key. It is kept: your
    /// projects go by it until `vigo swarm gitback project reanchor --all` has
    /// handed them over. Your other machines need the new files.
    Rotate(PuddleRotate),
    /// Change the passphrase
    ///
    /// Wraps the present key, and the earlier ones that have the same
    /// passphrase, under another one. The keys stay what they are, and so does
    /// a puddle that is unlocked. Your other machines, and copies of the
    /// files that somebody has, keep the old passphrase.
    #[command(name = "rotate-passphrase")]
    RotatePassphrase(RotatePassphrase),
    /// Remove your puddle from this machine
    ///
    /// Takes back, in every project, that this machine's envoy signs for you;
    /// locks the puddle; and deletes your key and what is kept about your
    /// projects from your home. Copies of projects stay on the machine.
    Leave(PuddleLeave),
    /// What others may call you: your claim to a name
    #[command(subcommand)]
    Name(Name),
    /// Whom you mean by a name: other people's puddles
    #[command(subcommand)]
    Names(Names),
    /// Hold the unlocked key; started by unlock
    #[command(hide = true)]
    Session(Session),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Name {
    /// Claim a name, so that others find you by it
    ///
    /// The claim is signed by your key and spreads through the fleet. It
    /// proves that you want the name, not that nobody else does: where two
    /// claim it, it means neither for whoever has never used it.
    Claim(ClaimName),
    /// Give back the name that you have claimed
    ///
    /// Whoever has used it goes on meaning you by it.
    Release,
    /// Show what you have claimed, and who else claims it
    Show(Json),
}

#[derive(Debug, Args)]
pub(crate) struct ClaimName {
    /// The name; that of your puddle if it is left out
    ///
    /// A puddle claims one name: another one that it claims is given back.
    pub(crate) name: Option<String>,
    /// Do not ask whether the name that is claimed so far shall be given back
    #[arg(long)]
    pub(crate) yes: bool,
    /// Read the passphrase from FILE, without its last newline; - is stdin
    ///
    /// Only asked for where a key that you had before claims the name: what
    /// that claims is given back.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Names {
    /// List the names that mean somebody, and those that are claimed
    ///
    /// A name is own, picked, or used, which means that it was learned by its
    /// first use. Other names are claimed, by one key, or contested, by
    /// several. One that is the same as your own is hidden.
    List(Json),
    /// Say whose key a name means
    ///
    /// A name in an address, and in commands such as invite, means the key
    /// that you have picked for it, whoever else claims it. Ask its owner for
    /// the key: `vigo swarm puddle status` shows it. The four words of its
    /// fingerprint are enough where a key that has them claims the name.
    Pick {
        /// What you call the puddle; usually what its owner calls it
        name: String,
        /// The whole public key, 64 hex digits, or the four words of a key
        /// that claims the name
        key: String,
        /// The four words of the key's fingerprint, to be compared with the key
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// Forget a name
    Forget {
        /// The name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gitback {
    /// Show every project, how many copies it has, and what is wrong
    Status(Json),
    /// Show every envelope of a project, or what has happened to its refs
    ///
    /// Envelopes come oldest first. One that does not count is void; the rule
    /// by which it is void is named beside it. Nothing is ever deleted.
    ///
    /// With a ref, or --refs: every update that moved it, newest first, with
    /// the id by which `restore` brings its value back.
    Log(Log),
    /// Give a ref a value again that it had before
    ///
    /// Undoes a force push, a deletion, or the loss of one side where two
    /// people pushed apart. It is a push like any other: signed on this
    /// machine, sent to all envoys, and undone in the same way.
    Restore(Restore),
    /// Make contact with all envoys now, and show what changes
    ///
    /// Ends when each of them has been asked. With --wait or --copies it ends
    /// when enough copies are current, and with exit code 3 if they are not
    /// in time.
    Sync(Sync),
    /// Give up this machine's copy of a project, to free its space
    ///
    /// For root and whoever runs the daemon. The repository is deleted; what
    /// was signed stays, and the project stays away until somebody here clones
    /// it, pushes to it, joins it, or takes the purge back with --undo. The
    /// last copy that is known is kept unless --even-last is given.
    Purge(Purge),
    /// List repositories that no user of this machine holds, or delete them
    ///
    /// For root and whoever runs the daemon. Says of each how many other
    /// envoys hold all of it at this moment. The last copy that is known is
    /// kept unless --even-last is given. What was deleted stays away, as after
    /// `purge`.
    #[command(name = "gc-orphans")]
    GcOrphans(GcOrphans),
    /// Read everything that is kept here, and repair what is damaged
    ///
    /// Compares every byte on this machine with what it must be. What a disk
    /// has damaged is brought in again from another envoy, after what can
    /// still be read was saved. Damaged files are never deleted: they go to a
    /// folder whose path is told. Pushes and fetches go on meanwhile. Ends
    /// with exit code 1 if something stays damaged.
    Scrub(Scrub),
    /// Start, share, inspect and end projects
    #[command(subcommand)]
    Project(Project),
}

/// Every command for people whose last word is `word`, in full.
pub(crate) fn commands_called(word: &str) -> Vec<String> {
    fn look(within: &clap::Command, path: &str, word: &str, found: &mut Vec<String>) {
        for command in within.get_subcommands().filter(|one| !one.is_hide_set()) {
            let path = format!("{path} {}", command.get_name());
            if command.get_name() == word {
                found.push(path.clone());
            }
            look(command, &path, word, found);
        }
    }
    let mut found = Vec::new();
    look(
        &<Cli as clap::CommandFactory>::command(),
        "vigo",
        word,
        &mut found,
    );
    found
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Json {
    /// Print JSON, and errors as JSON on stderr
    #[arg(long)]
    pub(crate) json: bool,
}

impl Command {
    /// Whether errors are wanted as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Envoy(
                Envoy::Status(json)
                | Envoy::List(json)
                | Envoy::Ticket(EnvoyTicket { json, .. })
                | Envoy::Authority(EnvoyAuthority { json, .. }),
            )
            | Self::Swarm(
                Swarm::Puddle(
                    Puddle::Status(json)
                    | Puddle::Name(Name::Show(json))
                    | Puddle::Names(Names::List(json)),
                )
                | Swarm::Gitback(
                    Gitback::Status(json)
                    | Gitback::Log(Log { json, .. })
                    | Gitback::Restore(Restore { json, .. })
                    | Gitback::Sync(Sync { json, .. })
                    | Gitback::Purge(Purge { json, .. })
                    | Gitback::GcOrphans(GcOrphans { json, .. })
                    | Gitback::Scrub(Scrub { json, .. }),
                ),
            ) => json.json,
            Self::Swarm(Swarm::Gitback(Gitback::Project(verb))) => verb.wants_json(),
            Self::Up(_)
            | Self::Down
            | Self::Join(_)
            | Self::Envoy(Envoy::Key | Envoy::Run(_) | Envoy::Remove(_))
            | Self::Swarm(Swarm::Puddle(
                Puddle::Init(_)
                | Puddle::Pair(_)
                | Puddle::Join(_)
                | Puddle::Recovery(_)
                | Puddle::RotatePassphrase(_)
                | Puddle::Leave(_)
                | Puddle::Unlock(_)
                | Puddle::Lock
                | Puddle::Rotate(_)
                | Puddle::Name(Name::Claim(_) | Name::Release)
                | Puddle::Names(Names::Pick { .. } | Names::Forget { .. })
                | Puddle::Session(_),
            ))
            | Self::Man { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_is_a_bare_flag() {
        let line = [
            "vigo",
            "swarm",
            "gitback",
            "project",
            "status",
            "--json",
            "dan/notes",
        ];
        let cli = Cli::try_parse_from(line).expect("parsed");
        assert!(cli.command.wants_json());
        let Command::Swarm(Swarm::Gitback(Gitback::Project(Project::Status(status)))) = cli.command
        else {
            panic!("another verb");
        };
        assert_eq!(status.project.as_deref(), Some("dan/notes"));
    }

    #[test]
    fn root_goes_anywhere() {
        for line in [
            ["vigo", "--root", "/r", "envoy", "status"],
            ["vigo", "envoy", "--root", "/r", "status"],
            ["vigo", "envoy", "status", "--root", "/r"],
        ] {
            let cli = Cli::try_parse_from(line).expect("parsed");
            assert_eq!(cli.root, Some(PathBuf::from("/r")));
        }
    }
}
