//! Signing by the way what would be asked for later: grants that end soon, invitations of one's own projects, a leave
//! that waits.

use gitback_helper::{Failure, Renewal, Reply, Request};
use gitback_identity::ProjectId;
use gitback_puddle::Public;
use gitback_signer::{May, home};

use crate::console::Console;
use crate::context::{Context, Daemon};
use crate::desk::Desk;
use crate::{project, show};

/// Asks the daemon what there is to sign, while the puddle is unlocked anyway. Says what was signed; what was not is
/// a remark and no failure, and a daemon that does not run has nothing to ask.
pub(crate) fn run(context: &Context, console: &mut Console<'_>) {
    let Ok(Some(own)) = context.puddle_if_any() else {
        return;
    };
    let Ok(mut daemon) = context.hasty_daemon() else {
        return;
    };
    project::go_on_leaving(context, &mut daemon, &own, console);
    let request = Request::Renewals {
        puddle: own.key.to_string(),
    };
    let items = match daemon.call(&request, console) {
        Ok(Reply::Renewals { items }) => items,
        Ok(other) => return remark(&other.unexpected(), console),
        Err(failure) => return remark(&failure, console),
    };
    for item in items {
        match sign(context, &mut daemon, &own, &item, console) {
            Ok(()) => console.progress(format_args!("{}: {}; signed", item.handle, item.why)),
            Err(failure) => {
                console.warning(format_args!(
                    "{} was not renewed: {}",
                    item.handle, failure.what
                ));
            }
        }
    }
}

fn remark(failure: &Failure, console: &mut Console<'_>) {
    console.warning(format_args!(
        "the daemon was not asked what to renew: {}",
        failure.what
    ));
}

fn sign(
    context: &Context,
    daemon: &mut Daemon<'_>,
    own: &Public,
    item: &Renewal,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let project: ProjectId = match item.project.parse() {
        Ok(project) => project,
        Err(_) => return Err(Reply::Renewals { items: Vec::new() }.unexpected()),
    };
    let desk = Desk::of(context, own, project, &item.handle, item.why.clone());
    let approved = desk.look_at(&item.drafts, &may(context, &project))?;
    let sealed = desk.seal(approved)?;
    desk.submit(daemon, &sealed, console)
}

/// A grant in any project; a join only in one that the user has had to do with, so that nobody becomes a member of
/// something by unlocking a puddle.
fn may(context: &Context, project: &ProjectId) -> Vec<May> {
    let mut may = vec![May::grant(context.uid(), show::now_ms())];
    if home::knows(&context.layout.projects_dir, project) {
        may.push(May::Join { invite: None });
    }
    may
}
