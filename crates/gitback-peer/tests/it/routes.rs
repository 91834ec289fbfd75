//! Every route once, and what a refusal looks like.

use gitback_peer::{CallError, Digests, PushAnswer, RefusalKind, SyncAnswer, SyncRequest, Tip};

use crate::raw;
use crate::stage::{
    CLIENT_SEED, Script, Stage, client, digests, envoy, forbidden, project, read_all,
};

fn tip() -> Tip {
    Tip {
        signer: [1; 32],
        puddle: [2; 32],
        incarnation: [3; 16],
        seq: 4,
        id: [5; 32],
    }
}

#[tokio::test]
async fn digests_go_both_ways() {
    let script = Script {
        digests: Box::new(|caller, theirs| {
            assert_eq!(caller.key, envoy(CLIENT_SEED));
            assert!(caller.address.ip().is_loopback());
            assert_eq!(theirs, digests("venus"));
            Ok(Digests {
                name: "mars".to_owned(),
                projects: vec![(project(), [9; 32])],
                roster: Some([4; 32]),
                ..Digests::default()
            })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let theirs = client().digests(&stage.address(), &digests("venus")).await;
    let theirs = theirs.expect("an answer");
    assert_eq!(theirs.name, "mars");
    assert_eq!(theirs.projects, [(project(), [9; 32])]);
    stage.close().await;
}

#[tokio::test]
async fn sync_carries_envelopes_and_tips() {
    let script = Script {
        sync: Box::new(|_, request| {
            Ok(SyncAnswer {
                envelopes: vec![vec![7; 1 << 20]; 5],
                more: request.skip == 2,
                digest: [6; 32],
                tips: request.tips,
            })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let request = SyncRequest {
        token: vec![b"init".to_vec()],
        tips: vec![tip()],
        skip: 2,
    };
    let answer = client().sync(&stage.address(), &project(), &request).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.envelopes, vec![vec![7; 1 << 20]; 5]);
    assert!(answer.more);
    assert_eq!(answer.digest, [6; 32]);
    assert_eq!(answer.tips, [tip()]);
    stage.close().await;
}

#[tokio::test]
async fn push_answers_need() {
    let need = PushAnswer::Need {
        tips: vec![tip()],
        haves: vec![[8; 20], [9; 20]],
    };
    let answer = need.clone();
    let script = Script {
        push: Box::new(move |_, body| {
            let (pack_bytes, envelopes) = read_all(body)?;
            assert_eq!(pack_bytes, 0);
            assert_eq!(envelopes, [b"one".to_vec(), b"two".to_vec()]);
            Ok(answer.clone())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let envelopes = vec![b"one".to_vec(), b"two".to_vec()];
    let answer = client()
        .push(&stage.address(), &project(), envelopes, None)
        .await;
    assert_eq!(answer.expect("an answer"), need);
    stage.close().await;
}

#[tokio::test]
async fn a_caller_the_service_does_not_know_is_refused_with_the_reason() {
    let script = Script {
        digests: Box::new(|_, _| Err(forbidden())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let error = client().digests(&stage.address(), &digests("x")).await;
    let error = error.expect_err("a refusal");
    assert_eq!(error.reason(), "refused: not a member here");
    let CallError::Refused(refusal) = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal, forbidden());
    stage.close().await;
}

#[tokio::test]
async fn a_refusal_is_json_with_its_status() {
    let script = Script {
        digests: Box::new(|_, _| Err(forbidden())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let body = raw::bytes(r#"{"name":"x","projects":[]}"#);
    let response = http.send_request(raw::request("POST", "/swarm/gitback/digests", body));
    let answer = raw::text(response.await.expect("an answer")).await;
    let expected = r#"{"code":"not-a-member","message":"not a member here"}"#;
    assert_eq!(answer, (403, expected.to_owned()));
    drop(http);
    stage.close().await;
}

#[tokio::test]
async fn health_needs_no_service() {
    let stage = Stage::open(Script::default()).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let response = http.send_request(raw::request("GET", "/healthz", raw::bytes("")));
    let answer = raw::text(response.await.expect("an answer")).await;
    assert_eq!(answer, (200, r#"{"status":"ok"}"#.to_owned()));
    assert_eq!(stage.script.calls(), 0);
    drop(http);
    stage.close().await;
}

#[tokio::test]
async fn unknown_routes_and_projects_are_refused() {
    let stage = Stage::open(Script::default()).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    for (method, path, status, code) in [
        ("GET", "/", 404, "no-such-route"),
        ("GET", "/swarm/gitback/digests", 404, "no-such-route"),
        ("POST", "/swarm/gitback/sync/xyz", 400, "malformed-project"),
        (
            "POST",
            "/swarm/gitback/push/..%2f..",
            400,
            "malformed-project",
        ),
        (
            "POST",
            "/swarm/gitback/AA/git-upload-pack",
            400,
            "malformed-project",
        ),
    ] {
        let response = http.send_request(raw::request(method, path, raw::bytes("")));
        let (found, text) = raw::text(response.await.expect("an answer")).await;
        assert_eq!(found, status, "{path}");
        assert!(
            text.contains(&format!(r#""code":"{code}""#)),
            "{path}: {text}"
        );
    }
    assert_eq!(stage.script.calls(), 0);
    drop(http);
    stage.close().await;
}

#[tokio::test]
async fn what_the_service_may_not_say_is_our_own_fault() {
    let script = Script {
        digests: Box::new(|_, _| Ok(digests(&"n".repeat(65)))),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let error = client().digests(&stage.address(), &digests("x")).await;
    let Err(CallError::Refused(refusal)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal.status, RefusalKind::Internal);
    stage.close().await;
}

#[tokio::test]
async fn what_we_may_not_say_is_not_sent() {
    let stage = Stage::open(Script::default()).await;
    let error = client()
        .digests(&stage.address(), &digests(&"n".repeat(65)))
        .await;
    assert!(
        matches!(error, Err(CallError::Unsendable { .. })),
        "{error:?}"
    );
    assert_eq!(stage.script.calls(), 0);
    stage.close().await;
}

#[tokio::test]
async fn a_panicking_service_is_an_internal_fault_and_the_server_lives() {
    let script = Script {
        sync: Box::new(|_, _| panic!("a bug, on purpose")),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let client = client();
    let error = client
        .sync(&stage.address(), &project(), &SyncRequest::default())
        .await;
    let Err(CallError::Refused(refusal)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal.code, "internal");
    let answer = client.digests(&stage.address(), &digests("x")).await;
    assert!(answer.is_ok(), "{answer:?}");
    stage.close().await;
}

#[test]
fn a_blocking_caller_can_use_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stage = runtime.block_on(Stage::open(Script::default()));
    let (handle, to) = (runtime.handle().clone(), stage.address());
    let caller = std::thread::spawn(move || {
        let client = client();
        let ours = digests("venus");
        handle.block_on(client.digests(&to, &ours))
    });
    let answer = caller.join().expect("no panic");
    assert_eq!(answer.expect("an answer").name, "mars");
    runtime.block_on(stage.close());
}
