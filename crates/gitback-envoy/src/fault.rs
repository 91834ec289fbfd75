//! What goes wrong on this envoy's own side.

use std::path::PathBuf;
use std::sync::Arc;

use gitback_envelope::Reject;
use gitback_identity::ProjectId;
use gitback_pack::RefError;

/// Why this envoy could not do its own part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The envelope log failed.
    #[error("cannot {doing} the envelope log of project {project}")]
    Log {
        /// What was tried.
        doing: &'static str,
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: gitback_log::Fault,
    },
    /// The repository could not be opened.
    #[error("cannot open the repository of project {project}")]
    Open {
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: gitback_pack::OpenError,
    },
    /// The repository failed.
    #[error("cannot {doing} the repository of project {project}")]
    Pack {
        /// What was tried.
        doing: &'static str,
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: gitback_pack::Fault,
    },
    /// Refs could not be moved.
    #[error("cannot move refs of project {project}")]
    Refs {
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: RefError,
    },
    /// A file beside the log failed.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What went wrong below.
        #[source]
        source: std::io::Error,
    },
    /// The file that says which heir of the founder line is followed is damaged.
    #[error(
        "{path} is damaged; restore it from a backup, or move it away, and start the daemon again: a contested founder \
         line is then open until `vigo swarm gitback project pick-line` settles it"
    )]
    Pins {
        /// The file.
        path: PathBuf,
    },
    /// The envelope this envoy made for itself does not encode.
    #[error("cannot make an envelope for project {project}")]
    Make {
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: Reject,
    },
    /// The envoy holds as many projects as it can tell its peers of.
    #[error("this envoy holds too many projects to take another")]
    TooManyProjects,
    /// The copy of the project was given up on a person's word.
    #[error("the copy of project {project} was given up on this envoy")]
    GivenUp {
        /// Which project, 64 hex digits.
        project: String,
    },
    /// The copy of the project is being given up.
    #[error("the copy of project {project} is being given up on this envoy")]
    Leaving {
        /// Which project, 64 hex digits.
        project: String,
    },
    /// What several were about at the same time failed for all of them.
    #[error(transparent)]
    Common(Arc<Self>),
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

pub(crate) fn pack_fault(
    id: ProjectId,
    doing: &'static str,
) -> impl Fn(gitback_pack::Fault) -> Fault {
    move |source| Fault::Pack {
        doing,
        project: id.to_string(),
        source,
    }
}
