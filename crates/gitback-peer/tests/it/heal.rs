//! The small messages by which a fleet stays in step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gitback_identity::ProjectId;
use gitback_peer::limits::CLAIMS_MAX;
use gitback_peer::{
    CallError, Digests, Fresh, FreshAnswer, Handoff, HeldClaim, Limits, Names, NamesAnswer,
    PushAnswer, RefusalKind,
};

use crate::raw;
use crate::stage::{
    CLIENT_SEED, Script, Stage, client, digests, envoy, forbidden, project, read_all,
};

/// Lists so many projects.
fn many(name: &str, count: u8) -> Digests {
    Digests {
        name: name.to_owned(),
        projects: (0..count)
            .map(|number| (ProjectId::from_bytes(&[number; 32]), [number; 32]))
            .collect(),
        ..Digests::default()
    }
}

#[derive(Default)]
struct Counts {
    sent: AtomicUsize,
    listed: AtomicUsize,
}

/// A service that holds `ours`, and how often it was sent a list or asked for its own.
fn holder(ours: Digests) -> (Script, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let (sent, listed) = (counts.clone(), counts.clone());
    let same = ours.clone();
    let script = Script {
        digests: Box::new(move |_, theirs| {
            assert_eq!(theirs.name, "venus");
            sent.sent.fetch_add(theirs.projects.len(), Ordering::SeqCst);
            Ok(ours.clone())
        }),
        listed: Box::new(move |_| {
            listed.listed.fetch_add(1, Ordering::SeqCst);
            Ok(Some(same.clone()))
        }),
        ..Script::default()
    };
    (script, counts)
}

fn counted(counts: &Counts) -> (usize, usize) {
    let Counts { sent, listed } = counts;
    (sent.load(Ordering::SeqCst), listed.load(Ordering::SeqCst))
}

#[tokio::test]
async fn long_lists_that_are_the_same_are_not_sent() {
    let (script, counts) = holder(many("mars", 40));
    let stage = Stage::open(script).await;
    let theirs = client().digests(&stage.address(), &many("venus", 40)).await;
    assert_eq!(theirs.expect("an answer"), many("mars", 40));
    // The service learns it as if it had been sent, with one request.
    assert_eq!(counted(&counts), (40, 1));
    assert_eq!(stage.script.calls(), 1);
    stage.close().await;
}

#[tokio::test]
async fn long_lists_that_differ_are_sent_after_the_summary() {
    let (script, counts) = holder(many("mars", 41));
    let stage = Stage::open(script).await;
    let theirs = client().digests(&stage.address(), &many("venus", 40)).await;
    assert_eq!(theirs.expect("an answer"), many("mars", 41));
    assert_eq!(counted(&counts), (40, 1));
    stage.close().await;
}

#[tokio::test]
async fn a_short_list_is_sent_at_once() {
    let (script, counts) = holder(many("mars", 3));
    let stage = Stage::open(script).await;
    let theirs = client().digests(&stage.address(), &many("venus", 3)).await;
    assert_eq!(theirs.expect("an answer"), many("mars", 3));
    assert_eq!(counted(&counts), (3, 0));
    stage.close().await;
}

#[tokio::test]
async fn a_service_without_a_list_compares_in_full() {
    let stage = Stage::open(Script::default()).await;
    let theirs = client().digests(&stage.address(), &many("venus", 40)).await;
    assert_eq!(theirs.expect("an answer"), digests("mars"));
    stage.close().await;
}

#[tokio::test]
async fn what_is_known_of_names_goes_along_with_either_form() {
    for count in [3, 40] {
        let named = |digests: Digests, seed: u8| Digests {
            names: Some([seed; 32]),
            ..digests
        };
        let ours = named(many("mars", count), 7);
        let shown = ours.clone();
        let script = Script {
            listed: Box::new(move |_| Ok(Some(shown.clone()))),
            digests: Box::new(move |_, theirs| {
                assert_eq!(theirs.names, Some([5; 32]));
                Ok(ours.clone())
            }),
            ..Script::default()
        };
        let stage = Stage::open(script).await;
        let asked = named(many("venus", count), 5);
        let theirs = client().digests(&stage.address(), &asked).await;
        assert_eq!(theirs.expect("an answer").names, Some([7; 32]));
        stage.close().await;
    }
}

#[tokio::test]
async fn claims_to_names_go_there_and_back() {
    let script = Script {
        names: Box::new(|_, theirs| {
            Ok(NamesAnswer {
                to: theirs.to,
                claims: theirs.claims,
                wants: theirs.have.iter().map(|one| one.puddle).collect(),
            })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let have = HeldClaim {
        puddle: [1; 32],
        counter: u64::MAX,
        digest: [2; 32],
    };
    let ours = Names {
        from: None,
        to: Some([9; 32]),
        have: vec![have],
        claims: vec![vec![1, 2, 3]],
    };
    let answer = client().names(&stage.address(), &ours).await;
    let expected = NamesAnswer {
        to: Some([9; 32]),
        claims: vec![vec![1, 2, 3]],
        wants: vec![[1; 32]],
    };
    assert_eq!(answer.expect("an answer"), expected);
    stage.close().await;
}

#[tokio::test]
async fn more_claims_than_there_may_be_are_not_sent_and_refusals_are_told() {
    let stage = Stage::open(Script::default()).await;
    let many = Names {
        claims: vec![Vec::new(); CLAIMS_MAX + 1],
        ..Names::default()
    };
    let error = client().names(&stage.address(), &many).await;
    assert!(matches!(error, Err(CallError::Unsendable { .. })));
    let error = client().names(&stage.address(), &Names::default()).await;
    assert!(matches!(error, Err(CallError::Refused(refusal)) if refusal == forbidden()));
    stage.close().await;
}

#[tokio::test]
async fn a_refusal_of_the_list_is_told() {
    let script = Script {
        listed: Box::new(|_| Err(forbidden())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let error = client().digests(&stage.address(), &many("venus", 40)).await;
    assert!(matches!(error, Err(CallError::Refused(refusal)) if refusal == forbidden()));
    stage.close().await;
}

#[tokio::test]
async fn gossip_is_carried_in_order() {
    let messages = vec![b"one".to_vec(), Vec::new(), vec![7; 16 << 10]];
    let expected = messages.clone();
    let script = Script {
        gossip: Box::new(move |caller, messages| {
            assert_eq!(caller.key, envoy(CLIENT_SEED));
            assert_eq!(messages, expected);
            Ok(())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let sent = client().gossip(&stage.address(), messages).await;
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(stage.script.calls(), 1);
    let sent = client()
        .gossip(&stage.address(), vec![vec![0; (16 << 10) + 1]])
        .await;
    assert!(
        matches!(sent, Err(CallError::Unsendable { .. })),
        "{sent:?}"
    );
    stage.close().await;
}

#[tokio::test]
async fn a_fresh_question_gets_its_answer() {
    let question = Fresh {
        refs: vec![b"refs/heads/main".to_vec(), vec![0xff]],
        digest: [4; 32],
    };
    let expected = question.clone();
    let answer = FreshAnswer {
        digest: [5; 32],
        wait: true,
    };
    let script = Script {
        fresh: Box::new(move |_, question| {
            assert_eq!(question, expected);
            Ok(answer)
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let answered = client()
        .fresh(&stage.address(), &project(), &question)
        .await;
    assert_eq!(answered.expect("an answer"), answer);
    stage.close().await;
}

#[tokio::test]
async fn a_reconciliation_carries_bytes_both_ways_within_its_limit() {
    let script = Script {
        reconcile: Box::new(|_, message| {
            let more = usize::from(message.first() == Some(&9));
            Ok(vec![1; message.len() + more])
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let call = async |message: Vec<u8>| {
        let client = client();
        client
            .reconcile(&stage.address(), &project(), message)
            .await
    };
    let longest = 64 << 10;
    assert_eq!(
        call(vec![2; longest]).await.expect("an answer"),
        vec![1; longest]
    );
    let error = call(vec![2; longest + 1]).await;
    assert!(
        matches!(error, Err(CallError::Unsendable { .. })),
        "{error:?}"
    );
    // A service that says more than it may is at fault, not the caller.
    let error = call(vec![9; longest]).await;
    assert!(
        matches!(&error, Err(CallError::Refused(refusal)) if refusal.status == RefusalKind::Internal),
        "{error:?}"
    );
    stage.close().await;
}

#[tokio::test]
async fn envelopes_are_had_by_their_ids() {
    let script = Script {
        envelopes: Box::new(|_, ids| {
            let first = ids.first().map(|id| id.to_vec());
            Ok(first
                .into_iter()
                .chain(ids.iter().skip(2).map(|id| id.to_vec()))
                .collect())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let ids = [[1; 32], [2; 32], [3; 32]];
    let page = client().envelopes(&stage.address(), &project(), &ids).await;
    assert_eq!(page.expect("an answer"), [vec![1; 32], vec![3; 32]]);
    let many = vec![[1; 32]; 4097];
    let error = client()
        .envelopes(&stage.address(), &project(), &many)
        .await;
    assert!(
        matches!(error, Err(CallError::Unsendable { .. })),
        "{error:?}"
    );
    stage.close().await;
}

#[tokio::test]
async fn more_envelopes_than_were_asked_for_are_not_taken() {
    let script = Script {
        envelopes: Box::new(|_, _| Ok(vec![b"one".to_vec(), b"two".to_vec()])),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let page = client()
        .envelopes(&stage.address(), &project(), &[[1; 32]])
        .await;
    assert!(matches!(page, Err(CallError::Protocol { .. })), "{page:?}");
    stage.close().await;
}

#[tokio::test]
async fn a_receipt_is_carried() {
    let script = Script {
        held: Box::new(|caller, ids| {
            assert_eq!(caller.key, envoy(CLIENT_SEED));
            assert_eq!(ids, [[8; 32]]);
            Ok(())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let told = client()
        .held(&stage.address(), &project(), &[[8; 32]])
        .await;
    assert!(told.is_ok(), "{told:?}");
    stage.close().await;
}

#[tokio::test]
async fn a_push_says_to_whom_it_is_handed_on() {
    let handoff = Handoff {
        origin: Some(envoy(7)),
        forward: (10..200).map(envoy).collect(),
    };
    let expected = handoff.clone();
    let script = Script {
        push: Box::new(move |_, body| {
            assert_eq!(*body.handoff(), expected);
            assert_eq!(body.origin(), Some(&envoy(7)));
            assert!(body.sender_is_whole());
            assert_eq!(body.forward().len(), 190);
            read_all(body).map(|_| PushAnswer::Durable { whole: true })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let envelopes = vec![b"one".to_vec()];
    let answer = client()
        .push_handing_on(&stage.address(), &project(), envelopes, None, handoff, true)
        .await;
    assert_eq!(
        answer.expect("an answer"),
        PushAnswer::Durable { whole: true }
    );
    stage.close().await;
}

#[tokio::test]
async fn bodies_over_their_limits_are_refused_without_asking_the_service() {
    let stage = Stage::open(Script::default()).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let id = project();
    for (path, longest) in [
        ("/swarm/gossip".to_owned(), 64 * ((16 << 10) + 5) + 5),
        (format!("/swarm/gitback/fresh/{id}"), (2 << 20) + (64 << 10)),
        (format!("/swarm/gitback/reconcile/{id}"), 64 << 10),
        (format!("/swarm/gitback/envelopes/{id}"), 320 << 10),
        (format!("/swarm/gitback/held/{id}"), 320 << 10),
    ] {
        let body = raw::bytes(vec![b' '; longest + 1]);
        let response = http.send_request(raw::request("POST", &path, body));
        let (status, text) = raw::text(response.await.expect("an answer")).await;
        assert_eq!(status, 400, "{path}");
        assert!(text.contains(r#""code":"too-long""#), "{path}: {text}");
    }
    assert_eq!(stage.script.calls(), 0);
    drop(http);
    stage.close().await;
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_refused_and_others_are_not() {
    let limits = Limits {
        key_rate: 1,
        key_burst: 3,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut refused = 0;
    let hasty = client();
    // However slow this runs, a token a second does not do for all of them on one key.
    for _ in 0..3 {
        let answer = hasty.digests(&stage.address(), &digests("venus")).await;
        refused += usize::from(answer.is_err());
    }
    assert_eq!(refused, 0, "a burst is granted");
    let mut last = None;
    while refused == 0 {
        let answer = hasty.digests(&stage.address(), &digests("venus")).await;
        refused += usize::from(answer.is_err());
        last = Some(answer);
    }
    let Some(Err(CallError::Refused(refusal))) = last else {
        panic!("{last:?}");
    };
    assert_eq!(refusal.status, RefusalKind::Busy);
    assert_eq!(refusal.code, "too-fast");
    let other = gitback_peer::Client::new(&crate::stage::secret(9)).expect("a usable key");
    let answer = other.digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    stage.close().await;
}

#[tokio::test]
async fn strangers_that_hold_all_their_room_do_not_keep_a_known_envoy_out() {
    let script = Script {
        known: vec![envoy(CLIENT_SEED)],
        ..Script::default()
    };
    let limits = Limits {
        requests: 4,
        ..Limits::default()
    };
    let stage = Stage::open_with(script, limits).await;
    // Two strangers, whose requests never end, are half of what there is room for.
    let mut held = Vec::new();
    for seed in [20, 21] {
        let mut http = raw::http(stage.local, seed).await;
        let (feed, body) = raw::fed();
        feed.send(vec![b'{']).await.expect("taken");
        let request = raw::request("POST", "/swarm/gitback/digests", body);
        let response = tokio::spawn(http.send_request(request));
        held.push((http, feed, response));
    }
    // A third one shows when both are in: from then on there is no room for it.
    loop {
        let third = gitback_peer::Client::new(&crate::stage::secret(22)).expect("a usable key");
        let answer = third.digests(&stage.address(), &digests("x")).await;
        if matches!(&answer, Err(CallError::Refused(refusal)) if refusal.code == "busy") {
            break;
        }
    }
    let answer = client().digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    drop(held);
    stage.close().await;
}
