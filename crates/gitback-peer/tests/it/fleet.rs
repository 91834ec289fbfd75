//! The two routes by which envoys come to be one fleet.

use gitback_peer::CallError;
use gitback_peer::limits::{PETITION_MAX, ROSTER_MAX, WELCOME_MAX};

use crate::stage::{CLIENT_SEED, Script, Stage, client, envoy, forbidden};

#[tokio::test]
async fn rosters_and_petitions_are_carried_as_they_are() {
    let script = Script {
        roster: Box::new(|caller, theirs| {
            assert_eq!(caller.key, envoy(CLIENT_SEED));
            assert_eq!(theirs.len(), ROSTER_MAX);
            Ok(vec![7; ROSTER_MAX])
        }),
        enrol: Box::new(|caller, petition| {
            assert_eq!(caller.key, envoy(CLIENT_SEED));
            assert_eq!(petition, [1; PETITION_MAX]);
            Ok(vec![8; WELCOME_MAX])
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let (client, to) = (client(), stage.address());
    let roster = client.roster(&to, vec![1; ROSTER_MAX]).await;
    assert_eq!(roster.expect("an answer"), [7; ROSTER_MAX]);
    let welcome = client.enrol(&to, vec![1; PETITION_MAX]).await;
    assert_eq!(welcome.expect("an answer"), [8; WELCOME_MAX]);
    assert_eq!(stage.script.calls(), 2);
    stage.close().await;
}

#[tokio::test]
async fn what_is_too_long_is_not_sent_and_not_answered() {
    let script = Script {
        roster: Box::new(|_, _| Ok(vec![7; ROSTER_MAX + 1])),
        enrol: Box::new(|_, _| Err(forbidden())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let (client, to) = (client(), stage.address());
    let unsent = client.roster(&to, vec![1; ROSTER_MAX + 1]).await;
    assert!(matches!(unsent, Err(CallError::Unsendable { .. })));
    let unsent = client.enrol(&to, vec![1; PETITION_MAX + 1]).await;
    assert!(matches!(unsent, Err(CallError::Unsendable { .. })));
    assert_eq!(stage.script.calls(), 0);
    let answer = client.roster(&to, Vec::new()).await;
    assert!(matches!(answer, Err(CallError::Refused(refusal)) if refusal.code == "internal"));
    let answer = client.enrol(&to, Vec::new()).await;
    assert!(matches!(answer, Err(CallError::Refused(refusal)) if refusal == forbidden()));
    stage.close().await;
}
