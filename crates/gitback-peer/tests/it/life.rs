//! Starting, stopping, breaking and waiting.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use gitback_peer::{CallError, Client, Dialer, Limits, Link, Patience, PeerAddress, PushAnswer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
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
        assert_eq!(
            answer.expect("an answer"),
            PushAnswer::Durable { whole: true }
        );
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
    let mut context = Context::from_waker(std::task::Waker::noop());
    match Pin::new(future).poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
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
    feed.send(raw::push_header(true)).await.expect("taken");
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

/// A link that breaks, when told to, at the next write; until then nobody can notice.
struct Brittle {
    link: Box<dyn Link>,
    breaks: Arc<AtomicBool>,
}

impl AsyncRead for Brittle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(context, buffer)
    }
}

impl AsyncWrite for Brittle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.breaks.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.link).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(context)
    }
}

/// The direct route, every link of which can be broken from outside.
struct BrittleDialer {
    direct: Arc<dyn Dialer>,
    links: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl Dialer for BrittleDialer {
    fn dial<'a>(
        &'a self,
        to: &'a PeerAddress,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Link>, CallError>> + Send + 'a>> {
        Box::pin(async {
            let link = self.direct.dial(to).await?;
            let breaks = Arc::new(AtomicBool::new(false));
            let mut links = self.links.lock().expect("no panic");
            links.push(breaks.clone());
            Ok(Box::new(Brittle { link, breaks }) as Box<dyn Link>)
        })
    }
}

/// A client, and the switches of the links it made.
pub(crate) fn brittle() -> (Client, Arc<Mutex<Vec<Arc<AtomicBool>>>>) {
    let links = Arc::new(Mutex::default());
    let dialer = BrittleDialer {
        direct: Client::direct(&secret(CLIENT_SEED)).expect("a usable key"),
        links: links.clone(),
    };
    let client = Client::with_dialer(Arc::new(dialer), Patience::default());
    (client, links)
}

fn break_last(links: &Mutex<Vec<Arc<AtomicBool>>>) {
    let links = links.lock().expect("no panic");
    let last = links.last().expect("a link was made");
    last.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn a_question_is_asked_again_when_the_connection_had_died_unnoticed() {
    let stage = Stage::open(Script::default()).await;
    let (client, links) = brittle();
    for round in 1..5 {
        let answer = client.digests(&stage.address(), &digests("venus")).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(links.lock().expect("no panic").len(), round);
        break_last(&links);
    }
    drop(client);
    stage.close().await;
}

#[tokio::test]
async fn a_push_that_was_begun_is_not_repeated_by_itself() {
    let stage = Stage::open(Script::default()).await;
    let (client, links) = brittle();
    let answer = client.digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    break_last(&links);
    let push = async || {
        client
            .push(&stage.address(), &project(), vec![vec![1; 100]], None)
            .await
    };
    let lost = push().await;
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{lost:?}");
    assert_eq!(links.lock().expect("no panic").len(), 1);
    let answer = push().await;
    assert_eq!(
        answer.expect("an answer"),
        PushAnswer::Durable { whole: true }
    );
    assert_eq!(links.lock().expect("no panic").len(), 2);
    drop(client);
    stage.close().await;
}

/// What a client says about a listener that answers every connection with `bytes` and hangs up.
async fn reason_at_listener_that_says(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = PeerAddress {
        key: envoy(SERVER_SEED),
        address: listener.local_addr().expect("bound").to_string(),
    };
    let answering = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a caller");
        tcp.write_all(bytes).await.expect("sent");
        tcp.shutdown().await.expect("ended");
        // Taken to the end, or the system would answer the rest with a reset.
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let error = client().digests(&to, &digests("venus")).await;
    answering.await.expect("no panic");
    error.expect_err("no envoy").reason()
}

#[tokio::test]
async fn says_what_is_wrong_with_the_other_side() {
    let other = reason_at_listener_that_says(b"SSH-2.0-OpenSSH_10.0\r\n").await;
    assert_eq!(other, "not an envoy");
    let closed = reason_at_listener_that_says(b"").await;
    assert_eq!(closed, "connection closed by the other side");
}
