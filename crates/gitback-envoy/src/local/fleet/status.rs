//! Who is of the fleet, as local users see it.

use gitback_fleet::Enrolment;
use gitback_helper::{FleetEnvoy, FleetStatus};
use gitback_identity::EnvoyKey;

use crate::clock;
use crate::daemon::Envoy;
use crate::fleet::Part;
use crate::status::reach;
use crate::whereabouts::own_addresses;

pub(super) fn status(envoy: &Envoy) -> FleetStatus {
    let (me, now_ms) = (envoy.public(), clock::now_ms());
    let part = envoy.fleet().part(me);
    let roster = envoy.fleet().roster();
    let mut rows: Vec<FleetEnvoy> = Vec::new();
    if let Some(roster) = &roster {
        rows.extend(roster.enrolments().map(|one| enrolled(envoy, one, now_ms)));
        rows.extend(roster.removals().map(|one| FleetEnvoy {
            name: one.name().to_owned(),
            standing: "removed".to_owned(),
            removed_ms: Some(one.time_ms()),
            ..row(envoy, one.envoy())
        }));
    }
    let has = |rows: &[FleetEnvoy], key: &EnvoyKey| {
        let key = key.to_string();
        rows.iter().any(|row| row.key == key)
    };
    for peer in envoy.config().peers() {
        if !has(&rows, &peer.key) {
            rows.push(FleetEnvoy {
                name: peer.name.clone(),
                standing: "configured".to_owned(),
                ..row(envoy, &peer.key)
            });
        }
    }
    if !has(&rows, me) {
        rows.push(FleetEnvoy {
            standing: "configured".to_owned(),
            ..row(envoy, me)
        });
    }
    let is_removed = |row: &FleetEnvoy| row.removed_ms.is_some();
    rows.sort_by(|one, other| {
        let order = |row: &FleetEnvoy| {
            let (name, key) = (row.name.clone(), row.key.clone());
            (!row.is_self, is_removed(row), name, key)
        };
        order(one).cmp(&order(other))
    });
    FleetStatus {
        fleet: roster.map(|roster| roster.authority().to_string()),
        is_authority: part == Part::Authority,
        now_ms,
        envoys: rows,
    }
}

fn enrolled(envoy: &Envoy, one: &Enrolment, now_ms: u64) -> FleetEnvoy {
    let is_live = one.is_in_force(now_ms);
    FleetEnvoy {
        name: one.name().to_owned(),
        standing: if is_live { "enrolled" } else { "expired" }.to_owned(),
        is_authority: one.role().is_authority(),
        enrolled_ms: Some(one.number()),
        expires_ms: Some(one.expires_ms()),
        through: one.through().map(ToString::to_string),
        ..row(envoy, one.envoy())
    }
}

/// What is known of any envoy.
pub(super) fn row(envoy: &Envoy, key: &EnvoyKey) -> FleetEnvoy {
    let is_self = key == envoy.public();
    let neighbour = envoy.neighbour(key);
    let address = match &neighbour {
        Some(neighbour) => Some(neighbour.address().address).filter(|text| !text.is_empty()),
        None if is_self => own_addresses(envoy).into_iter().next(),
        None => None,
    };
    let (state, last_seen_ms, reason) = neighbour.map_or((None, None, None), |neighbour| {
        let seen = neighbour.seen();
        let reason = seen.away.as_ref().map(|away| away.reason.clone());
        let (state, _, _) = reach(&seen, envoy.started_ms());
        (Some(state.to_owned()), seen.last_seen_ms, reason)
    });
    FleetEnvoy {
        name: envoy.name_of(key),
        key: key.to_string(),
        standing: String::new(),
        is_self,
        is_authority: false,
        address,
        enrolled_ms: None,
        expires_ms: None,
        removed_ms: None,
        through: None,
        state,
        last_seen_ms,
        reason,
    }
}
