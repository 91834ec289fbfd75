//! Starting, stopping, breaking and waiting.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use gitback_peer::{CallError, Client, Dialer, Limits, Link, Patience, PeerAddress, PushAnswer};
use tokio::net::{TcpListener, TcpStream};

use crate::raw;
use crate::stage::{
    CLIENT_SEED, SERVER_SEED, Script, Stage, client, digests, envoy, project, secret,
};

/// A service whose digests wait until the sender is dropped.
fn gated() -> (mpsc::Sender<()>, Script) {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let script = Script {
        digests: Box::new(move |_, _| {
            let _ = gate.lock().expect("no panic").recv();
            Ok(digests("mars"))
        }),
        ..Script::default()
    };
    (go, script)
}

async fn called(script: &Script) {
    while script.calls() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_client_finds_a_restarted_server() {
    let stage = Stage::open(Script::default()).await;
    let (to, local) = (stage.address(), stage.local.to_string());
    let client = client();
    let answer = client.digests(&to, &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    stage.close().await;
    let error = client.digests(&to, &digests("venus")).await;
    let error = error.expect_err("nobody there");
    assert_eq!(error.reason(), "connection refused");
    for _ in 0..10 {
        let stage = Stage::open_at(&local, Script::default(), Limits::default()).await;
        let answer = client.digests(&to, &digests("venus")).await;
        assert!(answer.is_ok(), "{answer:?}");
        let answer = client.push(&to, &project(), Vec::new(), None).await;
        assert_eq!(answer.expect("an answer"), PushAnswer::Durable);
        stage.close().await;
    }
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_is_in_progress() {
    let (go, script) = gated();
    let stage = Stage::open(script).await;
    let (client, to) = (client(), stage.address());
    let waiting = tokio::spawn(async move { client.digests(&to, &digests("venus")).await });
    called(&stage.script).await;
    let local = stage.local;
    let mut running = stage.stop();
    // No newcomer is let in, and the one inside is waited for.
    while TcpStream::connect(local).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(
        poll_once(&mut running).is_none(),
        "a request is in progress"
    );
    drop(go);
    let answer = waiting.await.expect("no panic");
    assert_eq!(answer.expect("an answer").name, "mars");
    running.await.expect("no panic").expect("the server ran");
}

/// Polls once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_caller_that_never_ends_does_not_hold_up_the_end() {
    let limits = Limits {
        drain: Duration::from_millis(100),
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let mut http = raw::http(stage.local, CLIENT_SEED).await;
    let (feed, body) = raw::fed();
    feed.send(raw::push_header(1000, 0)).await.expect("taken");
    let request = raw::request("POST", &raw::push_path(), body);
    let response = tokio::spawn(http.send_request(request));
    called(&stage.script).await;
    stage.close().await;
    response.await.expect("no panic").expect_err("cut off");
    drop(feed);
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out() {
    let (go, script) = gated();
    let stage = Stage::open(script).await;
    let patience = Patience {
        answer: Duration::from_millis(100),
        ..Patience::default()
    };
    let client = Client::with_patience(&secret(CLIENT_SEED), patience).expect("a usable key");
    let error = client.digests(&stage.address(), &digests("venus")).await;
    let error = error.expect_err("no answer");
    assert!(matches!(error, CallError::TimedOut { .. }), "{error:?}");
    assert_eq!(error.reason(), "no answer in 0.1 s");
    drop(go);
    stage.close().await;
}

#[tokio::test]
async fn a_listener_that_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = PeerAddress {
        key: envoy(SERVER_SEED),
        address: listener.local_addr().expect("bound").to_string(),
    };
    let patience = Patience {
        connect: Duration::from_millis(100),
        ..Patience::default()
    };
    let client = Client::with_patience(&secret(CLIENT_SEED), patience).expect("a usable key");
    let error = client.digests(&to, &digests("venus")).await;
    assert!(
        matches!(error, Err(CallError::TimedOut { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_unreachable() {
    let to = PeerAddress {
        key: envoy(SERVER_SEED),
        address: "nonsense".to_owned(),
    };
    let error = client().digests(&to, &digests("venus")).await;
    let error = error.expect_err("no address");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.reason(), "bad address");
}

/// The direct route, counting connections.
struct CountingDialer {
    direct: Arc<dyn Dialer>,
    dialled: Arc<AtomicUsize>,
}

impl Dialer for CountingDialer {
    fn dial<'a>(
        &'a self,
        to: &'a PeerAddress,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Link>, CallError>> + Send + 'a>> {
        self.dialled.fetch_add(1, Ordering::SeqCst);
        self.direct.dial(to)
    }
}

#[tokio::test]
async fn calls_at_the_same_time_share_one_connection() {
    let stage = Stage::open(Script::default()).await;
    let dialled = Arc::new(AtomicUsize::new(0));
    let dialer = CountingDialer {
        direct: Client::direct(&secret(CLIENT_SEED)).expect("a usable key"),
        dialled: dialled.clone(),
    };
    let client = Client::with_dialer(Arc::new(dialer), Patience::default());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (client, to) = (client.clone(), stage.address());
        calls.spawn(async move { client.digests(&to, &digests("venus")).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert!(answer.expect("no panic").is_ok());
    }
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
    stage.close().await;
}
