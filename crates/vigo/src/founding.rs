//! The steps that make a project: its `init`, a grant, a policy. `project init` and `project re-found` take them.

use gitback_envelope::{Policy, RefName, Scope, Statement};
use gitback_helper::{Failure, ProjectStatus, Request, Wish, exit_code};
use gitback_identity::Handle;
use gitback_puddle::Public;
use gitback_signer::{Approved, May};

use crate::console::Console;
use crate::context::{Context, Daemon};
use crate::desk::{Desk, in_hex};
use crate::people::People;
use crate::{failure, project, show};

/// The project as the daemon shows it; nothing where there is none.
pub(crate) fn look_up(
    daemon: &mut Daemon<'_>,
    id: &str,
    people: &People,
    console: &mut Console<'_>,
) -> Result<Option<ProjectStatus>, Failure> {
    match project::ask_one(daemon, id, people, console) {
        Ok(project) => Ok(Some(project)),
        Err(failure) if failure.code == exit_code::UNKNOWN => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Founds the project. It needs no draft: all of it follows from the founder and the handle.
pub(crate) fn found(
    daemon: &mut Daemon<'_>,
    desk: &Desk<'_>,
    own: &Public,
    handle: &Handle,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let init = Approved::made(Statement::init(&own.key, handle));
    let init = init.map_err(|reject| failure::envelope(&reject))?;
    let sealed = desk.seal(vec![init])?;
    for envelope in in_hex(&sealed) {
        desk.hand_in(daemon, &Request::Found { envelope }, console)?;
    }
    Ok(())
}

/// Lets this machine's envoy sign updates for the user.
pub(crate) fn grant(
    context: &Context,
    daemon: &mut Daemon<'_>,
    desk: &Desk<'_>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let may = [May::grant(context.uid(), show::now_ms())];
    desk.carry_out(daemon, Wish::Grant, &may, console)?;
    Ok(())
}

/// Says how the project is kept.
pub(crate) fn set_policy(
    daemon: &mut Daemon<'_>,
    desk: &Desk<'_>,
    policy: &Policy,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let protected = policy.protected.iter();
    let wish = Wish::Policy {
        scope: match policy.scope {
            Scope::MembersOnly => gitback_helper::Scope::Members,
            Scope::SwarmWide => gitback_helper::Scope::Swarm,
        },
        protected: protected.map(text_of).collect(),
        replicas: policy.replicas,
    };
    desk.carry_out(daemon, wish, &[May::Policy(policy.clone())], console)?;
    Ok(())
}

/// The policy that is in force, as the daemon shows it.
pub(crate) fn policy_of(project: &ProjectStatus) -> Policy {
    let names = project.protected.iter();
    // A name that this version cannot read is one that it cannot have signed.
    let mut protected: Vec<RefName> = names
        .filter_map(|name| RefName::new(name.as_bytes()).ok())
        .collect();
    protected.sort_unstable();
    protected.dedup();
    Policy {
        scope: match project.scope.as_str() {
            "swarm" => Scope::SwarmWide,
            _ => Scope::MembersOnly,
        },
        protected,
        replicas: project.replicas,
    }
}

pub(crate) fn text_of(name: &RefName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
