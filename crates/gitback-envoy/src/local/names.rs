//! What local users hand in and ask about names.
//!
//! Source: docs/spec/helper-socket.md, "Names".

use std::collections::BTreeSet;
use std::sync::Arc;

use gitback_envelope::VerifiedClaim;
use gitback_helper::{Called, ClaimStatus, Failure, NamesStatus, Reply};
use gitback_identity::{Handle, ProjectId, PuddleKey, PuddleName, hex};
use gitback_peer::limits::CLAIM_MAX;

use super::admission::may_see;
use super::failures::{failed, ours, parse_puddle, refused, usage};
use crate::clock;
use crate::daemon::Envoy;
use crate::names::book::{Book, Known, PUDDLES_MAX, PUDDLES_OF_USER_MAX, Source, Taken};

/// Most projects that are named as having passed to a puddle.
const PROJECTS_MAX: usize = 16;

/// What is asked of names.
pub(super) struct Asked<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) puddle: Option<&'a str>,
    pub(super) handle: Option<&'a str>,
}

/// Takes a claim in and has the fleet told. Anybody may bring anybody's: it proves itself.
pub(super) fn claim(envoy: &Arc<Envoy>, uid: u32, claim: &str) -> Result<Reply, Failure> {
    let bytes =
        hex::decode(claim, CLAIM_MAX).ok_or_else(|| usage("a claim is sent as lowercase hex"))?;
    let claim = VerifiedClaim::decode(&bytes).map_err(|reject| refused(&reject, None))?;
    let puddle = claim.claim().puddle;
    let taken = envoy
        .names()
        .take([claim], Source::User(uid), BTreeSet::new);
    match taken.map_err(|fault| ours(&fault))?.first() {
        Some(Taken::New) => envoy.heal().compare_all(),
        Some(Taken::Older) => return Err(older(envoy, &puddle)),
        Some(Taken::Full) => return Err(full(PUDDLES_MAX, "it knows the claims of")),
        Some(Taken::UserFull) => {
            return Err(full(PUDDLES_OF_USER_MAX, "you have brought it claims of"));
        }
        Some(Taken::Same) | None => {}
    }
    Ok(Reply::Accepted {
        notes: Vec::new(),
        token: None,
    })
}

fn older(envoy: &Envoy, puddle: &PuddleKey) -> Failure {
    let book = envoy.names().book();
    let counter = book
        .of(puddle)
        .map_or(0, |known| known.claim().claim().counter);
    failed("the claim is an old one")
        .because(format!(
            "{} knows a later one of the same puddle, number {counter}",
            envoy.name()
        ))
        .hint("run this again")
}

fn full(most: usize, whose: &str) -> Failure {
    failed("this envoy takes no more claims to names")
        .because(format!(
            "{whose} {most} puddles, which is the most there can be"
        ))
        .hint("use full addresses: gitback://<project id>/<handle>")
}

/// Says what is claimed.
pub(super) fn list(envoy: &Envoy, uid: u32, asked: &Asked<'_>) -> Result<Reply, Failure> {
    let name: Option<PuddleName> = asked.name.map(read_name).transpose()?;
    let puddle = asked.puddle.map(parse_puddle).transpose()?;
    let handle = asked.handle.map(read_handle).transpose()?;
    let book = envoy.names().book();
    let mut status = claims(&book, name.as_ref(), puddle.as_ref());
    if let Some(name) = name.as_ref().filter(|_| status.claims.is_empty()) {
        status.near = book.near(name).map(ToString::to_string);
    }
    if let (Some(puddle), Some(handle)) = (puddle, handle) {
        status.projects = passed_on(envoy, uid, &puddle, &handle);
    }
    Ok(Reply::Names(status))
}

fn claims(book: &Book, name: Option<&PuddleName>, puddle: Option<&PuddleKey>) -> NamesStatus {
    let (claims, all) = match (name, puddle) {
        (name, Some(puddle)) => {
            let known = book.of(puddle).filter(|known| {
                name.is_none_or(|name| known.claim().claim().name.as_ref() == Some(name))
            });
            let claims: Vec<ClaimStatus> = known.map(|known| shown(known)).into_iter().collect();
            let all = claims.len();
            (claims, all)
        }
        (Some(name), None) => {
            let (known, all) = book.claimants(name);
            (known.into_iter().map(|known| shown(known)).collect(), all)
        }
        (None, None) => {
            let claimed = book.names().map(|name| book.claimants(name));
            let (mut claims, mut number) = (Vec::new(), 0);
            for (known, all) in claimed {
                claims.extend(known.into_iter().map(|known| shown(known)));
                number += all;
            }
            (claims, number)
        }
    };
    NamesStatus {
        claims,
        all: all as u64,
        ..NamesStatus::default()
    }
}

fn shown(known: &Known) -> ClaimStatus {
    let claim = known.claim().claim();
    ClaimStatus {
        name: claim.name.as_ref().map(ToString::to_string),
        puddle: claim.puddle.to_string(),
        counter: claim.counter,
        since_ms: known.since_ms,
    }
}

/// The projects of that handle that the user may see and of which the puddle is the founder now without being the
/// one who founded them.
fn passed_on(envoy: &Envoy, uid: u32, puddle: &PuddleKey, handle: &Handle) -> Vec<String> {
    let own = ProjectId::derive(puddle, handle);
    let cells = envoy.store().all().into_iter();
    let passed = cells.filter(|cell| {
        let is_theirs = {
            let state = cell.lock();
            let fold = state.fold();
            fold.handle() == Some(handle) && fold.current_founder() == Some(*puddle)
        };
        is_theirs && *cell.id() != own && may_see(envoy, uid, cell)
    });
    passed
        .map(|cell| cell.id().to_string())
        .take(PROJECTS_MAX)
        .collect()
}

/// Says it when others claim the name by which the user means somebody. It goes on meaning them.
pub(super) fn warn_of_rivals(envoy: &Envoy, called: &Called, progress: &mut dyn FnMut(String)) {
    let parsed = (
        called.name.parse::<PuddleName>(),
        called.puddle.parse::<PuddleKey>(),
    );
    let (Ok(name), Ok(meant)) = parsed else {
        return;
    };
    let book = envoy.names().book();
    let (known, _) = book.claimants(&name);
    let rivals: Vec<String> = known
        .into_iter()
        .filter(|known| known.claim().claim().puddle != meant)
        .map(|known| {
            let age = clock::age(known.since_ms, clock::now_ms());
            let words = known.claim().claim().puddle.fingerprint();
            format!("{words} (known here for {age})")
        })
        .collect();
    if rivals.is_empty() {
        return;
    }
    progress(format!(
        "warning: {name} is claimed by another key too: {}; to you it stays {}",
        rivals.join(", "),
        meant.fingerprint()
    ));
}

fn read_name(text: &str) -> Result<PuddleName, Failure> {
    text.parse()
        .map_err(|_| usage("a puddle's name is 2 to 32 lowercase letters, digits and dashes"))
}

fn read_handle(text: &str) -> Result<Handle, Failure> {
    text.parse().map_err(|_| usage("that is no handle"))
}
