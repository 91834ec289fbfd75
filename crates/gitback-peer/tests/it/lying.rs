//! Holders that break the protocol: what the client makes of them, and what it costs.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gitback_peer::{CallError, Client, Dialer, Fresh, Link, Patience, PeerAddress, SyncRequest};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc::Sender;

use crate::raw::{self, Fed};
use crate::stage::{CLIENT_SEED, SERVER_SEED, Script, Stage, digests, envoy, project, secret};

const SOON: Duration = Duration::from_millis(100);

fn hasty() -> Patience {
    Patience {
        connect: SOON,
        answer: SOON,
        idle: SOON,
        crawl: SOON,
        push_answer: SOON,
        ..Patience::default()
    }
}

/// What a holder does with each request.
#[derive(Clone)]
enum Says {
    /// These bytes, and the end.
    This(Vec<u8>),
    /// These bytes, over and over.
    Endless(Vec<u8>),
    /// One byte now and then, for ever.
    Drip,
    /// The head of an answer, and no more.
    Stall,
    /// Nothing at all.
    Silence,
    /// It does not even take the connection.
    Deaf,
}

/// The route to a holder that lies, without TLS.
struct Liar {
    says: Says,
    /// How many bytes of answers were taken from it.
    taken: Arc<AtomicUsize>,
}

impl Dialer for Liar {
    fn dial<'a>(
        &'a self,
        _: &'a PeerAddress,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Link>, CallError>> + Send + 'a>> {
        Box::pin(async {
            let (near, far) = tokio::io::duplex(64 << 10);
            let (says, taken) = (self.says.clone(), self.taken.clone());
            tokio::spawn(async move {
                if matches!(says, Says::Deaf) {
                    std::future::pending::<()>().await;
                }
                let answer = service_fn(|_: Request<Incoming>| answer(says.clone(), taken.clone()));
                let serving = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(far), answer);
                // The client hangs up on it.
                let _ = serving.await;
            });
            Ok(Box::new(near) as Box<dyn Link>)
        })
    }
}

async fn answer(says: Says, taken: Arc<AtomicUsize>) -> Result<Response<Fed>, Infallible> {
    if matches!(says, Says::Silence) {
        std::future::pending::<()>().await;
    }
    let (feed, body) = raw::fed();
    tokio::spawn(say(says, feed, taken));
    Ok(Response::new(body))
}

async fn say(says: Says, feed: Sender<Vec<u8>>, taken: Arc<AtomicUsize>) {
    let feed = async |bytes: Vec<u8>| {
        taken.fetch_add(bytes.len(), Ordering::SeqCst);
        feed.send(bytes).await.is_ok()
    };
    match says {
        Says::This(bytes) => drop(feed(bytes).await),
        Says::Endless(bytes) => while feed(bytes.clone()).await {},
        Says::Drip => {
            let mut pace = tokio::time::interval(SOON / 10);
            while feed(vec![b' ']).await {
                pace.tick().await;
            }
        }
        Says::Stall | Says::Silence | Says::Deaf => std::future::pending().await,
    }
}

/// A client of a holder that lies, and how many bytes that has got rid of.
fn told(says: Says) -> (Client, Arc<AtomicUsize>) {
    let taken = Arc::<AtomicUsize>::default();
    let liar = Liar {
        says,
        taken: taken.clone(),
    };
    (Client::with_dialer(Arc::new(liar), hasty()), taken)
}

fn there() -> PeerAddress {
    PeerAddress {
        key: envoy(SERVER_SEED),
        address: "liar.invalid:1".to_owned(),
    }
}

/// What becomes of each question that is answered in one piece.
async fn ask_all(client: &Client) -> Vec<(&'static str, Result<(), CallError>)> {
    let (to, id) = (there(), project());
    let question = Fresh {
        refs: Vec::new(),
        digest: [0; 32],
    };
    let request = SyncRequest::default();
    vec![
        (
            "digests",
            client.digests(&to, &digests("x")).await.map(drop),
        ),
        ("sync", client.sync(&to, &id, &request).await.map(drop)),
        (
            "push",
            client.push(&to, &id, Vec::new(), None).await.map(drop),
        ),
        ("gossip", client.gossip(&to, Vec::new()).await),
        ("fresh", client.fresh(&to, &id, &question).await.map(drop)),
        (
            "reconcile",
            client.reconcile(&to, &id, vec![1]).await.map(drop),
        ),
        (
            "envelopes",
            client.envelopes(&to, &id, &[[1; 32]]).await.map(drop),
        ),
        ("held", client.held(&to, &id, &[[1; 32]]).await),
    ]
}

#[tokio::test]
async fn an_endless_answer_is_left_at_its_limit() {
    for (what, limit) in [
        ("digests", 4 << 20),
        ("sync", (12 << 20) + (512 << 10)),
        ("push", 4 << 20),
        ("gossip", 64 << 10),
        ("fresh", (2 << 20) + (64 << 10)),
        ("reconcile", 64 << 10),
        ("envelopes", (12 << 20) + (512 << 10)),
        ("held", 64 << 10),
    ] {
        let (client, taken) = told(Says::Endless(vec![b' '; 16 << 10]));
        let outcome = ask_all(&client)
            .await
            .into_iter()
            .find(|(of, _)| *of == what);
        let error = outcome.expect("it was asked").1.expect_err("no end");
        assert!(
            matches!(error, CallError::Protocol { .. }),
            "{what}: {error:?}"
        );
        assert!(error.reason().contains("longer than"), "{what}: {error:?}");
        // All eight answers, each to its limit, and what is on the way in windows and buffers.
        let taken = taken.load(Ordering::SeqCst);
        assert!(
            taken < (40 << 20) + 8 * (2 << 20),
            "{what} {limit}: {taken}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_breach_of_the_protocol() {
    let (client, _) = told(Says::This(b"<html>".to_vec()));
    for (what, outcome) in ask_all(&client).await {
        match what {
            // Nothing is made of these but that they came.
            "gossip" | "held" | "reconcile" => assert!(outcome.is_ok(), "{what}: {outcome:?}"),
            _ => assert!(
                matches!(outcome, Err(CallError::Protocol { .. })),
                "{what}: {outcome:?}"
            ),
        }
    }
}

#[tokio::test]
async fn sizes_that_do_not_hold_are_a_breach_of_the_protocol() {
    let head = |envelopes: u32| {
        let digest = "00".repeat(32);
        let json =
            format!(r#"{{"more":false,"digest":"{digest}","tips":[],"envelopes":{envelopes}}}"#);
        raw::frame(1, json.as_bytes())
    };
    let mut short = raw::frame(3, b"envelope");
    short.truncate(short.len() - 2);
    let huge = vec![3, 0xff, 0xff, 0xff, 0xff];
    for (says, reason) in [
        (
            vec![head(2), raw::frame(3, b"one"), raw::frame(4, b"")],
            "frame of kind 4",
        ),
        (
            vec![head(1), raw::frame(3, b"one"), raw::frame(3, b"two")],
            "frame of kind 3",
        ),
        (vec![head(1), short], "ends early"),
        (vec![head(1), huge], "longer than"),
        (vec![head(70_000)], "more than 65536"),
        (
            vec![head(0), raw::frame(4, b""), vec![0]],
            "the end is malformed",
        ),
    ] {
        let (client, _) = told(Says::This(says.concat()));
        let (to, request) = (there(), SyncRequest::default());
        let answer = client.sync(&to, &project(), &request).await;
        let error = answer.expect_err("it does not add up");
        assert!(matches!(error, CallError::Protocol { .. }), "{error:?}");
        assert!(error.reason().contains(reason), "{}", error.reason());
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_byte_by_byte_is_given_up() {
    let (client, _) = told(Says::Drip);
    let error = client.digests(&there(), &digests("x")).await;
    assert!(matches!(error, Err(CallError::TooSlow { .. })), "{error:?}");
    let to = there();
    let pack = client
        .upload_pack(&to, &project(), vec![1], std::io::sink())
        .await;
    let error = pack.expect_err("a drip");
    assert!(matches!(error, CallError::TooSlow { .. }), "{error:?}");
    assert!(error.reason().contains("bytes in"), "{}", error.reason());
}

#[tokio::test]
async fn silence_is_noticed_wherever_it_falls() {
    for says in [Says::Stall, Says::Silence, Says::Deaf] {
        let (client, _) = told(says);
        for (what, outcome) in ask_all(&client).await {
            let error = outcome.expect_err("silence");
            assert!(
                matches!(
                    error,
                    CallError::TimedOut { .. } | CallError::Unreachable { .. }
                ),
                "{what}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_peer_beside_a_silent_one_is_served_meanwhile() {
    let stage = Stage::open(Script::default()).await;
    let (client, _) = told(Says::Silence);
    let waiting = tokio::spawn(async move { client.digests(&there(), &digests("x")).await });
    let honest = Client::new(&secret(CLIENT_SEED)).expect("a usable key");
    let answer = honest.digests(&stage.address(), &digests("x")).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert!(waiting.await.expect("no panic").is_err());
    stage.close().await;
}
