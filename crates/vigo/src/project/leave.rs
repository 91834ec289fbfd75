//! `project leave`, also while no daemon runs.

use gitback_envelope::{Access, Act, EnvelopeId, Proof, Token};
use gitback_helper::{Failure, Wish, exit_code};
use gitback_identity::{ProjectId, hex};
use gitback_puddle::Public;
use gitback_signer::{Author, May, fresh_incarnation, home};
use serde::Serialize;

use super::{Subject, remembered};
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::desk::Desk;
use crate::errand::Errand;
use crate::people::{People, own_or_fail};
use crate::{ask, cli, failure, show};

/// Where a leave waits for the daemon, in the project's directory in the user's home.
pub(crate) const PENDING: &str = "leave.pending";
/// The longest such file, in bytes.
const PENDING_MAX: u64 = 8 * 1024;

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
    let (subject, pending) = match context.daemon() {
        Ok(daemon) => {
            let mut errand = Errand::with(context, daemon, console)?;
            (now(&mut errand, arguments)?, false)
        }
        Err(failure) if failure.code == exit_code::UNREACHABLE => {
            (later(context, arguments, failure, console)?, true)
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
        console
            .hint("if you pushed there lately, unlock the puddle then: vigo swarm puddle unlock");
        return Ok(());
    }
    console.line(format_args!("Left {}", subject.name))?;
    console.hint(format_args!(
        "to ask back in: vigo swarm gitback project rejoin gitback://{}/{}",
        subject.id, subject.handle
    ));
    Ok(())
}

fn now(errand: &mut Errand<'_, '_>, arguments: &cli::Leave) -> Result<Subject, Failure> {
    let subject = errand.reach(&arguments.project)?;
    let status = subject.status.as_ref();
    if status.is_some_and(|status| status.access.as_deref() == Some("founder")) {
        return Err(founder(&subject));
    }
    let desk = errand.desk(&subject, what_for(&subject))?;
    confirm(&subject, arguments, errand.console)?;
    desk.carry_out(errand, Wish::Leave, &[May::Leave])?;
    Ok(subject)
}

/// Signs it with what the token in the home knows, and leaves it where the daemon will look.
fn later(
    context: &Context,
    arguments: &cli::Leave,
    unreachable: Failure,
    console: &mut Console<'_>,
) -> Result<Subject, Failure> {
    let people = People::read(context, console)?;
    let own = own_or_fail(&people, context)?;
    let subject = remembered(context, &people, &arguments.project)?;
    let dir = &context.layout.projects_dir;
    let Some((token, proof)) = home::token(dir, &subject.id) else {
        return Err(unreachable.hint("nothing in your home says how to leave without the daemon"));
    };
    if proof.access == Access::Founder {
        return Err(founder(&subject));
    }
    if proof.puddle != own.key {
        return Err(failure::other_key(&own.name, &subject.name));
    }
    confirm(&subject, arguments, console)?;
    let desk = Desk::of(context, own, &subject, what_for(&subject));
    let said = said(own, &subject, &token, &proof)?;
    let lines: String = desk
        .seal(said)?
        .iter()
        .map(|envelope| hex::encode(envelope.bytes()) + "\n")
        .collect();
    home::write(dir, &subject.id, PENDING, lines.as_bytes())
        .map_err(|fault| failure::write_home(&fault))?;
    Ok(subject)
}

fn said(
    own: &Public,
    subject: &Subject,
    token: &Token,
    proof: &Proof,
) -> Result<Vec<gitback_signer::Approved>, Failure> {
    let invite = joined(token).ok_or_else(|| founder(subject))?;
    // What is in the past of a leave still counts, so it follows the newest of the user's own that is known.
    let newest = *token.grant().ok_or_else(|| founder(subject))?;
    let author = Author {
        project: subject.id,
        puddle: own.key,
        // The one that the user last used it on.
        envoy: proof.envoy,
        incarnation: fresh_incarnation().map_err(|error| failure::no_incarnation(&error))?,
        now_ms: show::now_ms(),
    };
    author
        .say(newest, [Act::Leave { invite }])
        .map_err(|reject| failure::envelope(&reject))
}

/// The membership that a token proves.
fn joined(token: &Token) -> Option<EnvelopeId> {
    let mut envelopes = token.envelopes().iter();
    envelopes.find_map(|envelope| match envelope.statement().act {
        Act::Join { invite } => Some(invite),
        _ => None,
    })
}

/// Signs again, with the daemon, what was signed without it and has not been taken: the daemon leaves alone what would
/// void something that its author did not know of. Says what came of it.
pub(crate) fn go_on(errand: &mut Errand<'_, '_>) {
    let dir = &errand.context.layout.projects_dir;
    for id in home::projects(dir) {
        if home::read(dir, &id, PENDING, PENDING_MAX).is_none() {
            continue;
        }
        let handle = home::token(dir, &id).map(|(_, proof)| proof.handle.to_string());
        let handle = handle.unwrap_or_else(|| id.short());
        match leave_again(errand, &id, &handle) {
            Ok(()) => {
                home::remove(dir, &id, PENDING);
                let text = format!("left {handle}, as you said while the daemon did not run");
                errand.console.progress(text);
            }
            Err(failure) => {
                let text = format!("{handle} is not left yet: {}", failure.what);
                errand.console.warning(text);
            }
        }
    }
}

fn leave_again(errand: &mut Errand<'_, '_>, id: &ProjectId, handle: &str) -> Result<(), Failure> {
    let subject = Subject::named(&id.to_string(), handle)?;
    let desk = errand.desk(&subject, what_for(&subject))?;
    desk.carry_out(errand, Wish::Leave, &[May::Leave])?;
    Ok(())
}

fn confirm(
    subject: &Subject,
    arguments: &cli::Leave,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if arguments.yes {
        return Ok(());
    }
    let warning = "this signs a LEAVE, which cannot be undone without a new invitation";
    match ask::typed(&subject.handle, warning, console)? {
        true => Ok(()),
        false => Err(failure::not_confirmed("you are still a member")),
    }
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

#[cfg(test)]
mod tests {
    use gitback_envelope::{Invite, Project, Role, Statement, Verdict, Verified};
    use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};
    use gitback_signer::{Approved, Signer, grant};

    use super::*;

    /// alice is a member of dan's notes; what the token in her home holds.
    fn token(alice: &Signer) -> Token {
        let dan = Signer::holding(SecretKey::from_seed(&[7; 32]));
        let handle = "notes".parse().expect("a handle");
        let init = Statement::init(dan.key(), &handle);
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public());
        let author = |puddle: &PuddleKey| Author {
            project: init.project,
            puddle: *puddle,
            envoy,
            incarnation: fresh_incarnation().expect("randomness"),
            now_ms: 1,
        };
        let seal = |signer: &Signer, said: Vec<Approved>| -> Vec<Verified> {
            let sealed = said.into_iter().map(|one| signer.seal(one));
            sealed.collect::<Result<_, _>>().expect("signed")
        };
        let (dans, hers) = (author(dan.key()), author(alice.key()));
        let init = seal(&dan, vec![Approved::made(init).expect("a statement")]);
        let invite = Act::Invite(Invite {
            puddle: *alice.key(),
            role: Role::Member,
        });
        let invite = seal(&dan, dans.say(*init[0].id(), [invite]).expect("said"));
        let id = *invite[0].id();
        let acts = [Act::Join { invite: id }, grant(envoy, 1000, 1)];
        let joined = seal(alice, hers.say(id, acts).expect("said"));
        Token::new([init, invite, joined].concat())
    }

    #[test]
    fn a_leave_that_was_signed_alone_counts_and_voids_nothing() {
        let alice = Signer::holding(SecretKey::from_seed(&[8; 32]));
        let token = token(&alice);
        let project = token.envelopes()[0].statement().project;
        let proof = token.verify(&project).expect("a proof");
        let own = Public {
            name: "alice".parse().expect("a name"),
            key: *alice.key(),
            created_ms: 0,
        };
        let subject = Subject {
            id: project,
            handle: "notes".to_owned(),
            name: "dan/notes".to_owned(),
            status: None,
        };
        let said = said(&own, &subject, &token, &proof).expect("said");
        let mut fold = Project::new(project);
        for envelope in token.envelopes() {
            fold.insert(envelope.clone()).expect("well formed");
        }
        assert_eq!(fold.access(alice.key()), Some(Access::Member));
        for one in said {
            let leave = alice.seal(one).expect("signed");
            fold.insert(leave.clone()).expect("well formed");
            assert_eq!(fold.verdict(leave.id()), Verdict::Valid);
        }
        assert_eq!(fold.access(alice.key()), None);
        assert_eq!(fold.void_len(), 0);
    }
}
