//! Callers that stall, flood or talk nonsense.

use std::sync::mpsc;
use std::time::Duration;

use gitback_peer::{CallError, Limits, RefusalKind};
use http_body_util::Empty;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw;
use crate::stage::{CLIENT_SEED, Script, Stage, client, digests};

const SOON: Duration = Duration::from_millis(100);

#[tokio::test]
async fn garbage_and_silence_do_not_harm_others() {
    let stage = Stage::open(Script::default()).await;
    let mut garbage = TcpStream::connect(stage.local).await.expect("a listener");
    garbage.write_all(&[b'x'; 4096]).await.expect("sent");
    let silent = TcpStream::connect(stage.local).await.expect("a listener");
    let answer = client().digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    // The server hangs up on garbage at once.
    let _ = garbage.read_to_end(&mut Vec::new()).await;
    stage.close().await;
    drop(silent);
}

#[tokio::test]
async fn a_stalled_handshake_is_ended() {
    let limits = Limits {
        handshake: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut silent = TcpStream::connect(stage.local).await.expect("a listener");
    let _ = silent.read_to_end(&mut Vec::new()).await;
    // Also one that falls silent after the handshake.
    let mut silent = raw::stream(stage.local, CLIENT_SEED).await;
    let _ = silent.read_to_end(&mut Vec::new()).await;
    stage.close().await;
}

#[tokio::test]
async fn strangers_that_hold_every_seat_make_room() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(stage.local).await.expect("a listener"));
    }
    let client = client();
    let answer = client.digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    // The welcome one keeps its seat while more strangers come.
    for _ in 0..20 {
        silent.push(TcpStream::connect(stage.local).await.expect("a listener"));
    }
    let answer = client.digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    stage.close().await;
}

#[tokio::test]
async fn oversize_digests_are_refused() {
    let stage = Stage::open(Script::default()).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let body = raw::bytes(vec![b' '; (4 << 20) + 1]);
    let response = http.send_request(raw::request("POST", "/swarm/gitback/digests", body));
    let (status, text) = raw::text(response.await.expect("an answer")).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"too-long""#), "{text}");
    assert_eq!(stage.script.calls(), 0);
    drop(http);
    stage.close().await;
}

#[tokio::test]
async fn a_push_header_that_never_comes_takes_no_job() {
    let limits = Limits {
        handshake: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let (feed, body) = raw::fed();
    let response = http.send_request(raw::request("POST", &raw::push_path(), body));
    let (status, text) = raw::text(response.await.expect("an answer")).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"stalled""#), "{text}");
    assert_eq!(stage.script.calls(), 0);
    drop((feed, http));
    stage.close().await;
}

#[tokio::test]
async fn a_push_that_stalls_is_ended() {
    let limits = Limits {
        idle: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let (feed, body) = raw::fed();
    feed.send(raw::push_header(true)).await.expect("taken");
    feed.send(raw::frame(2, &[0; 500])).await.expect("taken");
    let response = http.send_request(raw::request("POST", &raw::push_path(), body));
    let (status, text) = raw::text(response.await.expect("an answer")).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"stalled""#), "{text}");
    drop((feed, http));
    stage.close().await;
}

/// The status and text of the answer to a push of these frames.
async fn answer_to(frames: &[Vec<u8>]) -> (u16, String) {
    let stage = Stage::open(Script::default()).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let body = raw::bytes(frames.concat());
    let response = http.send_request(raw::request("POST", &raw::push_path(), body));
    let answer = raw::text(response.await.expect("an answer")).await;
    drop(http);
    stage.close().await;
    answer
}

#[tokio::test]
async fn a_wrong_length_of_the_pack_is_refused_with_the_reason() {
    for (told, expected) in [
        (
            1000,
            r#"{"code":"excess","message":"the pack holds more than the 1000 declared"}"#,
        ),
        (
            1002,
            r#"{"code":"truncated","message":"the pack ends early"}"#,
        ),
    ] {
        let answer = answer_to(&[
            raw::push_header(true),
            raw::frame(2, &[0; 1000]),
            raw::frame(2, &[0; 1]),
            raw::pack_end(told),
            raw::frame(4, &[]),
        ])
        .await;
        assert_eq!(answer, (400, expected.to_owned()));
    }
}

#[tokio::test]
async fn too_many_envelopes_are_refused_while_they_come() {
    let mut frames = vec![raw::push_header(false)];
    frames.extend(std::iter::repeat_n(raw::frame(3, b""), 65_537));
    let (status, text) = answer_to(&frames).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"too-many""#), "{text}");
}

#[tokio::test]
async fn too_many_bytes_of_envelopes_are_refused_while_they_come() {
    let mut frames = vec![raw::push_header(false)];
    frames.extend(std::iter::repeat_n(raw::frame(3, &[0; 1 << 20]), 65));
    let (status, text) = answer_to(&frames).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"too-long""#), "{text}");
}

#[tokio::test]
async fn a_push_that_only_says_wait_is_ended() {
    let limits = Limits {
        wait: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let (feed, body) = raw::fed();
    feed.send(raw::push_header(true)).await.expect("taken");
    let response = http.send_request(raw::request("POST", &raw::push_path(), body));
    let mut response = tokio::spawn(response);
    let response = loop {
        tokio::select! {
            response = &mut response => break response,
            // Fails when the body was dropped, just before the answer is here.
            Ok(()) = feed.send(raw::frame(6, &[])) => {}
        }
    };
    let response = response.expect("no panic").expect("an answer");
    let (status, text) = raw::text(response).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"stalled""#), "{text}");
    assert!(text.contains("nothing but wait frames"), "{text}");
    drop((feed, http));
    stage.close().await;
}

#[tokio::test]
async fn a_caller_that_vanishes_mid_push_is_told_to_the_service() {
    let (told, telling) = mpsc::channel();
    let script = Script {
        push: Box::new(move |_, body| {
            let outcome = crate::stage::read_all(body);
            told.send(outcome.clone().map_err(|refusal| refusal.code))
                .expect("the test listens");
            outcome.map(|_| gitback_peer::PushAnswer::Durable { whole: true })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let (feed, body) = raw::fed();
    feed.send(raw::push_header(true)).await.expect("taken");
    feed.send(raw::frame(2, &[0; 500])).await.expect("taken");
    let response = http.send_request(raw::request("POST", &raw::push_path(), body));
    let running = tokio::spawn(response);
    while stage.script.calls() == 0 {
        tokio::task::yield_now().await;
    }
    running.abort();
    let outcome = tokio::task::spawn_blocking(move || telling.recv());
    let outcome = outcome.await.expect("no panic").expect("told");
    assert_eq!(outcome.map(|_| ()), Err("pack-failed".to_owned()));
    drop((feed, http));
    stage.close().await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_its_answer_loses_its_connection() {
    let (told, telling) = mpsc::channel();
    let script = Script {
        upload_pack: Box::new(move |_, output| {
            let failed = loop {
                if let Err(error) = output.write_all(&[0; 8192]) {
                    break error.kind();
                }
            };
            told.send(failed).expect("the test listens");
            Ok(())
        }),
        ..Script::default()
    };
    let limits = Limits {
        idle: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(script, limits).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let path = format!("/swarm/gitback/{}/git-upload-pack", crate::stage::project());
    let response = http.send_request(raw::request("POST", &path, raw::bytes("0000")));
    let unread = response.await.expect("a head");
    let failed = tokio::task::spawn_blocking(move || telling.recv());
    let failed = failed.await.expect("no panic").expect("told");
    assert_eq!(failed, std::io::ErrorKind::BrokenPipe);
    drop((unread, http));
    stage.close().await;
}

#[tokio::test]
async fn one_envoy_cannot_take_every_request() {
    let (go, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let script = Script {
        digests: Box::new(move |_, _| {
            // Ends when the test drops its side.
            let _ = gate.lock().expect("no panic").recv();
            Ok(digests("mars"))
        }),
        ..Script::default()
    };
    let limits = Limits {
        key_requests: 1,
        ..Limits::default()
    };
    let stage = Stage::open_with(script, limits).await;
    let (first, to) = (client(), stage.address());
    let waiting = tokio::spawn(async move { first.digests(&to, &digests("venus")).await });
    while stage.script.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let error = client().digests(&stage.address(), &digests("venus")).await;
    let Err(CallError::Refused(refusal)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal.status, RefusalKind::Busy);
    assert_eq!(refusal.code, "too-many-requests");
    drop(go);
    assert!(waiting.await.expect("no panic").is_ok());
    stage.close().await;
}

#[tokio::test]
async fn five_hundred_stalled_clients_do_not_harm_others() {
    let stage = Stage::open(Script::default()).await;
    let mut stalled = Vec::new();
    for index in 0..500 {
        if index % 10 == 0 {
            stalled.push(Stalled::Http(raw::http(stage.local, CLIENT_SEED).await));
        } else {
            let tcp = TcpStream::connect(stage.local).await;
            stalled.push(Stalled::Tcp(tcp.expect("a listener")));
        }
    }
    let answer = client().digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    stage.close().await;
    drop(stalled);
}

#[tokio::test]
async fn a_small_body_that_comes_byte_by_byte_is_given_up() {
    let limits = Limits {
        idle: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let project = crate::stage::project();
    for path in [
        "/swarm/gitback/digests".to_owned(),
        "/swarm/gossip".to_owned(),
        format!("/swarm/gitback/reconcile/{project}"),
        format!("/swarm/gitback/{project}/git-upload-pack"),
    ] {
        let mut http = raw::http(stage.local, CLIENT_SEED).await;
        let (feed, body) = raw::fed();
        let response = http.send_request(raw::request("POST", &path, body));
        let mut response = tokio::spawn(response);
        let mut pace = tokio::time::interval(SOON / 10);
        let response = loop {
            tokio::select! {
                response = &mut response => break response,
                Ok(()) = feed.send(vec![b' ']) => {}
            }
            // Never so long that nothing comes.
            pace.tick().await;
        };
        let response = response.expect("no panic").expect("an answer");
        let (status, text) = raw::text(response).await;
        assert_ne!(status, 200, "{path}: {text}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_push_that_comes_byte_by_byte_is_ended() {
    let limits = Limits {
        wait: SOON,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let (feed, body) = raw::fed();
    feed.send(raw::push_header(true)).await.expect("taken");
    let response = http.send_request(raw::request("POST", &raw::push_path(), body));
    let mut response = tokio::spawn(response);
    let mut pace = tokio::time::interval(SOON / 10);
    let response = loop {
        tokio::select! {
            response = &mut response => break response,
            Ok(()) = feed.send(raw::frame(2, b"x")) => {}
        }
        pace.tick().await;
    };
    let response = response.expect("no panic").expect("an answer");
    let (status, text) = raw::text(response).await;
    assert_eq!(status, 400);
    assert!(text.contains(r#""code":"stalled""#), "{text}");
    drop((feed, http));
    stage.close().await;
}

#[expect(dead_code, reason = "held open, never used")]
enum Stalled {
    Tcp(TcpStream),
    Http(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}
