//! `project leave`, also while no daemon runs.

use gitback_envelope::{Access, Act, EnvelopeId, Proof, Token};
use gitback_helper::{Failure, Wish, exit_code};
use gitback_identity::hex;
use gitback_puddle::Public;
use gitback_signer::{Author, May, fresh_incarnation, home};
use serde::Serialize;

use super::{Subject, reach, remembered};
use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::desk::Desk;
use crate::people::{People, own_or_fail};
use crate::{ask, cli, failure, show};

/// Where a leave waits for the daemon, in the project's directory in the user's home.
pub(crate) const PENDING: &str = "leave.pending";

/// The answer of `project leave --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Left {
    project_id: String,
    handle: String,
    /// Whether it waits for the daemon to run.
    pending: bool,
}

/// Ends the user's own membership.
pub(crate) fn leave(
    context: &Context,
    arguments: &cli::Leave,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let people = People::read(context, console)?;
    let own = own_or_fail(&people, context)?;
    let (subject, pending) = match context.daemon() {
        Ok(mut daemon) => {
            let text = &arguments.project;
            let subject = reach(context, &mut daemon, &people, text, console)?;
            now(context, &mut daemon, own, &subject, arguments, console)?;
            (subject, false)
        }
        Err(failure) if failure.code == exit_code::UNREACHABLE => {
            let subject = remembered(context, &people, &arguments.project)?;
            later(context, own, &subject, arguments, failure, console)?;
            (subject, true)
        }
        Err(failure) => return Err(failure.into()),
    };
    if arguments.json.json {
        return console.json(&Left {
            project_id: subject.id.to_string(),
            handle: subject.handle,
            pending,
        });
    }
    if pending {
        console.line(format_args!("Signed that you leave {}", subject.name))?;
        console.warning("the daemon is not answering; it counts when the daemon next runs");
        return Ok(());
    }
    console.line(format_args!("Left {}", subject.name))?;
    console.hint(format_args!(
        "to ask back in: vigo swarm gitback project rejoin gitback://{}/{}",
        subject.id, subject.handle
    ));
    Ok(())
}

fn now(
    context: &Context,
    daemon: &mut Daemon<'_>,
    own: &Public,
    subject: &Subject,
    arguments: &cli::Leave,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let status = subject.status.as_ref();
    if status.is_some_and(|status| status.access.as_deref() == Some("founder")) {
        return Err(founder(subject));
    }
    confirm(subject, arguments, console)?;
    let desk = Desk::of(context, own, subject.id, &subject.handle, what_for(subject));
    desk.carry_out(daemon, Wish::Leave, &[May::Leave], console)?;
    Ok(())
}

/// Signs it with what the token in the home knows, and leaves it where the daemon will look.
fn later(
    context: &Context,
    own: &Public,
    subject: &Subject,
    arguments: &cli::Leave,
    unreachable: Failure,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let dir = &context.layout.projects_dir;
    let Some((token, proof)) = home::token(dir, &subject.id) else {
        return Err(unreachable.hint("nothing in your home says how to leave without the daemon"));
    };
    if proof.access == Access::Founder {
        return Err(founder(subject));
    }
    if proof.puddle != own.key {
        return Err(failure::other_key(&own.name, &subject.name));
    }
    confirm(subject, arguments, console)?;
    let desk = Desk::of(context, own, subject.id, &subject.handle, what_for(subject));
    let said = said(own, subject, &token, &proof)?;
    let sealed = desk.seal(said)?;
    let lines: String = sealed
        .iter()
        .map(|envelope| hex::encode(envelope.bytes()) + "\n")
        .collect();
    home::write(dir, &subject.id, PENDING, lines.as_bytes())
        .map_err(|fault| failure::write_home(&fault))
}

fn said(
    own: &Public,
    subject: &Subject,
    token: &Token,
    proof: &Proof,
) -> Result<Vec<gitback_signer::Approved>, Failure> {
    let (join, invite) = joined(token).ok_or_else(|| founder(subject))?;
    let author = Author {
        project: subject.id,
        puddle: own.key,
        // The one that the user last used it on.
        envoy: proof.envoy,
        incarnation: fresh_incarnation().map_err(|error| failure::no_incarnation(&error))?,
        now_ms: show::now_ms(),
    };
    author
        .say(join, [Act::Leave { invite }])
        .map_err(|reject| failure::envelope(&reject))
}

/// The join of a token, and the membership that it accepted.
fn joined(token: &Token) -> Option<(EnvelopeId, EnvelopeId)> {
    let mut envelopes = token.envelopes().iter();
    envelopes.find_map(|envelope| match envelope.statement().act {
        Act::Join { invite } => Some((*envelope.id(), invite)),
        _ => None,
    })
}

fn confirm(
    subject: &Subject,
    arguments: &cli::Leave,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if arguments.yes {
        return Ok(());
    }
    console.warning("this signs a LEAVE, which cannot be undone without a new invitation");
    if ask::typed(&subject.handle, console)? {
        return Ok(());
    }
    Err(failure::not_confirmed("you are still a member"))
}

fn what_for(subject: &Subject) -> String {
    format!("leaving {} needs a signature", subject.name)
}

fn founder(subject: &Subject) -> Failure {
    let what = format!("the founder cannot leave {}", subject.name);
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("without a founder nobody could invite or revoke")
        .hint("to hand it to a new key of yours: vigo swarm gitback project reanchor")
        .hint("to close it and begin anew:       vigo swarm gitback project re-found")
}
