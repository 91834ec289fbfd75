//! What local users ask about the fleet.

use gitback_helper::{EnvoyCard, Failure, Reply, Request, exit_code};

use super::admission::administers;
use crate::daemon::Envoy;
use crate::whereabouts;

/// Answers the requests about the fleet.
pub(super) fn answer(envoy: &Envoy, uid: u32, request: Request) -> Result<Reply, Failure> {
    match request {
        Request::Card => Ok(Reply::Card(card(envoy, uid))),
        _ => Err(Failure::new(
            exit_code::FAILED,
            "this daemon cannot do that yet",
        )),
    }
}

fn card(envoy: &Envoy, uid: u32) -> EnvoyCard {
    EnvoyCard {
        name: envoy.name().to_owned(),
        key: envoy.public().to_string(),
        addresses: whereabouts::own_addresses(envoy),
        fleet: None,
        is_authority: false,
        envoys: 1,
        may_enrol: administers(envoy, uid),
        may_join: administers(envoy, uid),
    }
}
