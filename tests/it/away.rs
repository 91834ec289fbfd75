//! Peers that are away, and that come back.

use serde_json::Value;

use crate::world::{
    commit, done, fleet, local, notes, push_all, says, served, status, wait_for, wait_for_copies,
};

#[test]
fn a_peer_that_is_away_is_named_and_catches_up_when_it_returns() {
    let mut fleet = fleet(3);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    wait_for_copies(&mars, 3);

    fleet.envoy_mut(2).kill().expect("titan is switched off");
    commit(&mars, &work, "while titan is away");
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(
        &pushed.stderr,
        &[
            "replicated to 2 of 3 envoys (mars, venus)",
            "warning: titan",
            "will catch up",
        ],
    );
    wait_for(&mars, "titan is known to be away", |status| {
        let titan = copy_of(status, "titan");
        titan["state"] == "offline" && titan["reason"].is_string() && titan["since_ms"].is_u64()
    });

    fleet.restart(2).expect("titan returns");
    wait_for_copies(&mars, 3);
    assert_eq!(
        served(fleet.person(2), "gitback://dan/notes"),
        local(&mars, &work)
    );
}

#[test]
fn an_envoy_catches_up_from_any_holder() {
    let mut fleet = fleet(3);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    wait_for_copies(&mars, 3);
    fleet.envoy_mut(2).kill().expect("titan is switched off");
    commit(&mars, &work, "while titan is away");
    done(mars.git(&work, ["push", "-o", "gitback.wait=1", "gitback", "main"]));
    fleet.envoy_mut(0).lose().expect("mars is lost");

    fleet.restart(2).expect("titan returns");
    wait_for_copies(fleet.person(2), 2);
    assert_eq!(
        served(fleet.person(2), "gitback://dan/notes"),
        local(&fleet.outside(), &work)
    );
}

#[test]
fn what_was_missed_comes_once_and_without_git() {
    const MISSED: usize = 50;
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    wait_for_copies(&mars, 2);
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    fleet.envoy_mut(0).end().expect("mars ends");
    let telling = ["/usr/bin/env", "VIGO_LOG=gitback_envoy=debug"].map(Into::into);
    let started = fleet.envoy_mut(0).start_under(&telling, None);
    started.expect("mars tells what it does");
    for number in 0..MISSED {
        commit(&mars, &work, &format!("{number} while venus is away"));
        let args = ["push", "-o", "gitback.wait=0", "gitback", "main"];
        done(mars.git(&work, args));
    }
    assert_eq!(fleet.envoy(0).log().matches(SENT).count(), 0);
    let started = fleet.envoy_mut(1).start_under(&telling, None);
    started.expect("venus returns");
    wait_for_copies(&mars, 2);
    wait_for_copies(fleet.person(1), 2);
    assert_eq!(
        served(fleet.person(1), "gitback://dan/notes"),
        local(&mars, &work)
    );
    let (ours, theirs) = (fleet.envoy(0).log(), fleet.envoy(1).log());
    let fetched = |line: &&str| line.contains("served a fetch");
    let fetches: Vec<&str> = ours.lines().filter(fetched).collect();
    let sent = ours.matches(SENT).count();
    assert_eq!(fetches.len() + sent, 1, "{ours}\n{theirs}");
    // Three objects a commit, from an envoy that started no process for it.
    let served = |line: &&str| line.contains(&format!("objects: {}", 3 * MISSED));
    assert!(fetches.iter().all(served), "{fetches:?}");
}

/// What the log says of a pack that is made for a peer.
const SENT: &str = "sends what is lacking";

#[test]
fn alone_a_push_is_stored_and_called_the_only_copy() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    let pushed = push_all(fleet.person(0), &work);
    says(
        &pushed.stderr,
        &["success: stored on mars", "THE ONLY COPY"],
    );
    assert_eq!(status(fleet.person(0))["copies"], 1);
}

/// One envoy's copy in the status of a project.
fn copy_of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let copies = status["envoys"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    copies
        .iter()
        .find(|copy| copy["name"] == name)
        .unwrap_or(&Value::Null)
}
