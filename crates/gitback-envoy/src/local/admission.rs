//! Who is served, for whom, and what has to be signed first.

use std::sync::Arc;

use gitback_envelope::{Access, MembershipState};
use gitback_helper::{Failure, Reply, Service, exit_code};
use gitback_identity::{ProjectId, PuddleKey};

use super::drafts::{self, Author, Needed};
use super::failures::{denied, unknown_project};
use crate::access::{self, Denial, Standing};
use crate::catch_up::catch_up_wholly;
use crate::cell::{Cell, Foothold, State};
use crate::daemon::{Envoy, chain};
use crate::maintenance::follow_again;

/// Who asks for what.
pub(super) struct Asked {
    pub(super) uid: u32,
    pub(super) id: ProjectId,
    pub(super) handle: String,
    pub(super) puddle: Option<PuddleKey>,
    pub(super) service: Service,
}

pub(super) enum Admission {
    /// Served, for this puddle.
    Served(Arc<Cell>, Standing),
    /// Something else comes first.
    Reply(Box<Reply>),
}

/// Finds the project and the puddle for whom this user may act; or says what to sign first.
pub(super) fn admit(envoy: &Arc<Envoy>, asked: &Asked) -> Result<Admission, Failure> {
    let Some(cell) = envoy.store().founded(&asked.id) else {
        let drafts = drafts::for_founder(envoy, asked)?;
        return Ok(Admission::Reply(Box::new(Reply::NeedToken { drafts })));
    };
    let state = cell.lock();
    let standing = access::standing(envoy, &state, asked.uid);
    let of_project = standing.is_some()
        || asked
            .puddle
            .is_some_and(|puddle| state.fold().party(&puddle));
    if of_project {
        // Whoever may use the project may know what it is called.
        check_handle(&state, asked)?;
        if let Some(reply) = moved(&state)? {
            return Ok(Admission::Reply(Box::new(reply)));
        }
    }
    let enough = match asked.service {
        Service::UploadPack => Access::Reader,
        Service::ReceivePack => Access::Member,
    };
    if let Some(standing) = standing
        && standing.access >= enough
    {
        drop(state);
        return Ok(Admission::Served(cell, standing));
    }
    let author = |puddle| Author {
        envoy,
        state: &state,
        uid: asked.uid,
        puddle,
    };
    if let Some(puddle) = asked.puddle
        && let Some(Needed { drafts, why }) = author(puddle).needed(enough)?
    {
        let (founder, handle) = project_of(&state);
        return Ok(Admission::Reply(Box::new(Reply::NeedSignature {
            drafts,
            why,
            founder,
            handle,
        })));
    }
    let denial = match standing {
        Some(standing) => access::reader(state.fold(), &standing.puddle),
        None => access::why_not(envoy, &state, asked.uid, asked.puddle),
    };
    Err(turned_away(&state, asked, &denial))
}

fn turned_away(state: &State, asked: &Asked, denial: &Denial) -> Failure {
    let invited =
        state.fold().memberships().into_iter().any(|one| {
            Some(one.puddle) == asked.puddle && matches!(one.state, MembershipState::Open)
        });
    if invited {
        let hint = format!(
            "to accept the invitation: vigo swarm gitback project join {}",
            asked.id
        );
        return Failure::new(exit_code::NOT_PERMITTED, &denial.what)
            .because(denial.proof())
            .hint(hint);
    }
    denied(denial)
}

/// The key that founded the project, and what it is called.
pub(super) fn project_of(state: &State) -> (String, String) {
    let fold = state.fold();
    let founder = fold.founder().map(|key| key.to_string());
    let handle = fold.handle().map(ToString::to_string);
    (founder.unwrap_or_default(), handle.unwrap_or_default())
}

/// Where a project went that has ended.
fn moved(state: &State) -> Result<Option<Reply>, Failure> {
    let Some(denial) = access::ended(state.fold()) else {
        return Ok(None);
    };
    match state.fold().successors().as_slice() {
        [one] => Ok(Some(Reply::Moved {
            founder: one.founder.to_string(),
            handle: one.handle.to_string(),
            project: ProjectId::derive(&one.founder, &one.handle).to_string(),
        })),
        _ => Err(denied(&denial).hint("use the address of the one that you trust")),
    }
}

fn check_handle(state: &State, asked: &Asked) -> Result<(), Failure> {
    let (_, handle) = project_of(state);
    if handle == asked.handle {
        return Ok(());
    }
    let what = format!(
        "the address says {}, which is not this project's handle",
        asked.handle
    );
    let why = format!("project {} is called {handle}", asked.id.short());
    Err(Failure::new(exit_code::UNKNOWN, what)
        .because(why)
        .hint(format!("use gitback://{}/{handle}", asked.id)))
}

/// Root and the daemon's own user see every project, others those that they may use.
pub(super) fn may_see(envoy: &Envoy, uid: u32, cell: &Cell) -> bool {
    let granted = || access::standing(envoy, &cell.lock(), uid).is_some();
    administers(envoy, uid) || granted()
}

/// Root, and the user as whom the daemon runs.
pub(super) fn administers(envoy: &Envoy, uid: u32) -> bool {
    uid == 0 || uid == envoy.uid()
}

/// The project, if this user may see it.
pub(super) fn visible(envoy: &Envoy, uid: u32, id: &ProjectId) -> Result<Arc<Cell>, Failure> {
    let cell = envoy.store().founded(id);
    let cell = cell.filter(|cell| may_see(envoy, uid, cell));
    cell.ok_or_else(|| unknown_project(envoy, uid, id, None))
}

/// Whether everything is here, and something keeps refs from following it, also when that is tried now.
fn is_hindered(envoy: &Envoy, cell: &Cell) -> bool {
    let mut state = cell.lock();
    if state.hindrance().is_none() || state.foothold() != Foothold::Known {
        return false;
    }
    follow_again(envoy, cell, &mut state);
    state.hindrance().is_some() && state.lacking().is_empty()
}

/// Brings the objects of a half-finished foothold in before it is served.
pub(super) fn make_complete(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    progress: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let is_hindered = is_hindered(envoy, cell);
    if cell.lock().has_all() {
        return Ok(());
    }
    if is_hindered {
        progress("warning: serving an older state; what is stored cannot be shown yet, and the daemon's log says why".to_owned());
        return Ok(());
    }
    progress("this envoy is still catching up".to_owned());
    // What is whole is served as it was, unless this envoy has never heard how it was.
    let serves_older = || {
        cell.lock().foothold() == Foothold::Known
            && cell.shown_refs().is_ok_and(|refs| !refs.is_empty())
    };
    let only_one = match cell.try_catch_up() {
        Some(only_one) => only_one,
        None if serves_older() => return Ok(()),
        None => cell.wait_catch_up(progress),
    };
    let mut reasons = Vec::new();
    for neighbour in envoy.partners(cell) {
        if cell.lock().has_all() {
            return Ok(());
        }
        if let Err(error) = catch_up_wholly(envoy, cell, &neighbour, &[], progress) {
            reasons.push(format!("{}: {}", neighbour.name(), chain(&error)));
        }
    }
    if cell.lock().has_all() {
        return Ok(());
    }
    drop(only_one);
    if serves_older() {
        progress("warning: serving an older state; the newest has not arrived here yet".to_owned());
        return Ok(());
    }
    let name = envoy.name();
    let what = match cell.lock().foothold() {
        Foothold::Lost => format!(
            "{name} has lost its record of the project and serves nothing before another envoy has answered"
        ),
        Foothold::Known | Foothold::New => format!("the project has not arrived on {name} yet"),
    };
    if reasons.is_empty() {
        reasons.push("no other envoy is known to hold it".to_owned());
    }
    Err(Failure::new(exit_code::FAILED, what)
        .because(reasons.join("; "))
        .hint("turn one of these envoys on and try again: vigo envoy status"))
}
