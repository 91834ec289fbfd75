//! The part of pairing that is the fleet's: what two daemons have to say to each other, passed on by their users' programs.
//!
//! All of it is optional. Whatever fails here, the puddle is paired.
//!
//! Source: docs/spec/pairing.md §6; docs/spec/helper-socket.md §3.

use gitback_envoy::Config;
use gitback_helper::{EnvoyCard, Failure, Reply, Request};
use gitback_pairing::Challenge;
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::context::Context;
use crate::show;

/// Why a machine's envoy is not taken into the fleet.
#[derive(Debug)]
pub(super) struct NotEnrolled {
    pub(super) why: String,
    /// Whether it is this machine that has no envoy.
    pub(super) no_envoy_here: bool,
    /// Whether there is nothing to do: it is in that fleet.
    pub(super) is_in: bool,
}

/// What the host answers to a request.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// What the guest's daemon is to be given, in hex.
    enrolment: Option<String>,
    /// Why there is none.
    why: Option<String>,
}

/// What this machine's daemon says of itself, if one serves us.
pub(super) fn card(context: &Context) -> Result<EnvoyCard, Failure> {
    let mut daemon = context.hasty_daemon()?;
    match daemon.quiet_call(&Request::Card)? {
        Reply::Card(card) => Ok(card),
        other => Err(other.unexpected()),
    }
}

/// The names of the envoys of this machine's fleet, this one first.
pub(super) fn fleet(context: &Context) -> Result<Vec<String>, Failure> {
    let mut daemon = context.hasty_daemon()?;
    match daemon.quiet_call(&Request::Fleet)? {
        Reply::Fleet(fleet) => {
            let of_it = fleet
                .envoys
                .into_iter()
                .filter(|one| one.removed_ms.is_none());
            Ok(of_it.map(|one| one.name).collect())
        }
        other => Err(other.unexpected()),
    }
}

/// What this machine is called: as its envoy is, or would be.
pub(super) fn machine(card: Option<&EnvoyCard>) -> String {
    card.map_or_else(
        || {
            let default = Config::parse("").expect("no settings are valid settings");
            default.name().to_owned()
        },
        |card| card.name.clone(),
    )
}

/// What the host says with the puddle: its card, if it enrols.
pub(super) fn offer(card: &EnvoyCard) -> Vec<u8> {
    serde_json::to_vec(card).expect("strings and numbers always have a JSON form")
}

/// What the guest asks of the host.
pub(super) fn request(
    context: &Context,
    offer: Option<&[u8]>,
    challenge: &Challenge,
) -> Result<Vec<u8>, NotEnrolled> {
    let Some(offer) = offer else {
        return Err(not_enrolled("the other machine enrols nobody"));
    };
    let offer: EnvoyCard = serde_json::from_slice(offer)
        .map_err(|_| not_enrolled("the other machine's vigo is of another version"))?;
    let mut daemon = context.hasty_daemon().map_err(|failure| NotEnrolled {
        why: failure.what,
        no_envoy_here: true,
        is_in: false,
    })?;
    let card = match daemon.quiet_call(&Request::Card) {
        Ok(Reply::Card(card)) => card,
        Ok(other) => return Err(failed(other.unexpected())),
        Err(failure) => return Err(failed(failure)),
    };
    if card.fleet.is_some() && card.fleet == offer.fleet {
        return Err(NotEnrolled {
            is_in: true,
            ..not_enrolled("it is in that fleet already")
        });
    }
    if !card.may_join {
        let why = "you may not take this machine's envoy into another fleet";
        return Err(not_enrolled(why));
    }
    let wish = Request::EnrolRequest {
        challenge: challenge.as_hex().to_owned(),
    };
    match daemon.quiet_call(&wish) {
        Ok(Reply::EnrolRequest { request }) => Ok(request.into_bytes()),
        Ok(other) => Err(failed(other.unexpected())),
        Err(failure) => Err(failed(failure)),
    }
}

/// What the host's fleet makes of a request. Gives what is to be told, and why there is no enrolment.
pub(super) fn answer(
    context: &Context,
    request: &[u8],
    challenge: &Challenge,
    console: &mut Console<'_>,
) -> (Vec<u8>, Result<(), NotEnrolled>) {
    let enrolled = enrol(context, request, challenge, console);
    let (answer, outcome) = match enrolled {
        Ok(enrolment) => (
            Answer {
                enrolment: Some(enrolment),
                why: None,
            },
            Ok(()),
        ),
        Err(not) => (
            Answer {
                enrolment: None,
                why: Some(not.why.clone()),
            },
            Err(not),
        ),
    };
    let bytes = serde_json::to_vec(&answer).expect("strings always have a JSON form");
    (bytes, outcome)
}

fn enrol(
    context: &Context,
    request: &[u8],
    challenge: &Challenge,
    console: &mut Console<'_>,
) -> Result<String, NotEnrolled> {
    let request = std::str::from_utf8(request)
        .map_err(|_| not_enrolled("its request is malformed"))?
        .to_owned();
    let wish = Request::Enrol {
        request,
        challenge: challenge.as_hex().to_owned(),
    };
    let mut daemon = context.daemon().map_err(failed)?;
    match daemon.call(&wish, console) {
        Ok(Reply::Enrolled { enrolment, notes }) => {
            for note in notes {
                console.progress(note);
            }
            Ok(enrolment)
        }
        Ok(other) => Err(failed(other.unexpected())),
        Err(failure) => Err(failed(failure)),
    }
}

/// Gives the guest's daemon what the host answered.
pub(super) fn join(
    context: &Context,
    answer: Option<Vec<u8>>,
    console: &mut Console<'_>,
) -> Result<(), NotEnrolled> {
    let silent = || not_enrolled("the other machine did not say what came of it");
    let answer = answer.ok_or_else(silent)?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| silent())?;
    let Some(enrolment) = answer.enrolment else {
        let why = answer.why.ok_or_else(silent)?;
        let why: String = show::plain(&why).chars().take(WHY_MAX).collect();
        return Err(not_enrolled(&why));
    };
    let mut daemon = context.daemon().map_err(failed)?;
    match daemon.call(&Request::JoinFleet { enrolment }, console) {
        Ok(Reply::Accepted { notes, .. }) => {
            for note in notes {
                console.progress(note);
            }
            Ok(())
        }
        Ok(other) => Err(failed(other.unexpected())),
        Err(failure) => Err(failed(failure)),
    }
}

/// The longest reason of another machine that is shown, in characters.
const WHY_MAX: usize = 200;

fn not_enrolled(why: &str) -> NotEnrolled {
    NotEnrolled {
        why: why.to_owned(),
        no_envoy_here: false,
        is_in: false,
    }
}

fn failed(failure: Failure) -> NotEnrolled {
    let why = match failure.why {
        Some(why) => format!("{}: {why}", failure.what),
        None => failure.what,
    };
    not_enrolled(&why)
}
