//! Signing by the way what would be asked for later: grants that end soon, invitations of one's own projects, a leave
//! that waits.

use gitback_helper::{Failure, Renewal, Reply, Request};
use gitback_identity::ProjectId;
use gitback_signer::{May, home};

use crate::console::Console;
use crate::context::Context;
use crate::errand::Errand;
use crate::project::{Subject, go_on_leaving};
use crate::show;

/// Does so once the puddle is unlocked. A daemon that does not run, or is busy, has nothing to ask.
pub(crate) fn run(context: &Context, console: &mut Console<'_>) {
    if let Ok(mut errand) = Errand::in_haste(context, console) {
        go_on_leaving(&mut errand);
        sign_all(&mut errand);
    }
}

/// Asks the daemon what there is to sign. Says what was signed; what was not is a remark and no failure.
pub(crate) fn sign_all(errand: &mut Errand<'_, '_>) {
    let items = match ask(errand) {
        Ok(items) => items,
        Err(failure) => {
            let what = failure.what;
            let console = &mut *errand.console;
            return console.warning(format_args!(
                "the daemon does not say what to renew: {what}"
            ));
        }
    };
    for item in items {
        let signed = sign(errand, &item);
        let console = &mut *errand.console;
        let (handle, why) = (&item.handle, &item.why);
        match signed {
            Ok(()) => console.progress(format_args!("{handle}: {why}; signed")),
            Err(Failure { what, .. }) => {
                console.warning(format_args!("{handle} was not renewed: {what}"));
            }
        }
    }
}

fn ask(errand: &mut Errand<'_, '_>) -> Result<Vec<Renewal>, Failure> {
    let puddle = errand.own()?.key.to_string();
    match errand.call(&Request::Renewals { puddle })? {
        Reply::Renewals { items } => Ok(items),
        other => Err(other.unexpected()),
    }
}

fn sign(errand: &mut Errand<'_, '_>, item: &Renewal) -> Result<(), Failure> {
    let subject = Subject::named(&item.project, &item.handle)?;
    let desk = errand.desk(&subject, item.why.clone())?;
    let approved = desk.look_at(&item.drafts, &may(errand.context, &subject.id))?;
    let sealed = desk.seal(approved)?;
    desk.submit(errand, &sealed)
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
