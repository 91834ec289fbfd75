//! The steps that make a project: its `init`, a grant, a policy. `project init` and `project re-found` take them.

use gitback_envelope::{Policy, RefName, Scope, Statement};
use gitback_helper::{Failure, ProjectStatus, Request, Wish};
use gitback_identity::Handle;
use gitback_signer::{Approved, May};

use crate::desk::{Desk, in_hex};
use crate::errand::Errand;
use crate::{failure, show};

/// Founds the project. It needs no draft: all of it follows from the founder and the handle.
pub(crate) fn found(
    errand: &mut Errand<'_, '_>,
    desk: &Desk<'_>,
    handle: &Handle,
) -> Result<(), Failure> {
    let init = Approved::made(Statement::init(&errand.own()?.key, handle));
    let init = init.map_err(|reject| failure::envelope(&reject))?;
    let sealed = desk.seal(vec![init])?;
    for envelope in in_hex(&sealed) {
        desk.hand_in(errand, &Request::Found { envelope })?;
    }
    Ok(())
}

/// Lets this machine's envoy sign updates for the user.
pub(crate) fn grant(errand: &mut Errand<'_, '_>, desk: &Desk<'_>) -> Result<(), Failure> {
    let may = [May::grant(errand.context.uid(), show::now_ms())];
    desk.carry_out(errand, Wish::Grant, &may)?;
    Ok(())
}

/// Says how the project is kept.
pub(crate) fn set_policy(
    errand: &mut Errand<'_, '_>,
    desk: &Desk<'_>,
    policy: &Policy,
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
    desk.carry_out(errand, wish, &[May::Policy(policy.clone())])?;
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
