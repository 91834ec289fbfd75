//! Pushes whose sender does not have everything yet.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use gitback_peer::{
    CallError, Client, Limits, PackInfo, Part, Patience, PushAnswer, PushSource, Refusal,
    RefusalKind,
};
use tokio::sync::{mpsc, oneshot};

use crate::life::brittle;
use crate::stage::{CLIENT_SEED, Script, Stage, client, digests, project, secret};

/// What the sender has next.
enum Step {
    Pack(&'static [u8]),
    PackEnd,
    Envelopes(Vec<Vec<u8>>),
    Fail(io::ErrorKind),
}

/// Has what the test gives, when the test gives it.
struct Steps {
    steps: Receiver<Step>,
    has_pack: bool,
    read: u64,
    _alive: oneshot::Sender<()>,
}

/// A source, the way to give it steps, and what resolves once it is dropped.
fn steps(has_pack: bool) -> (Sender<Step>, Steps, oneshot::Receiver<()>) {
    let (give, steps) = channel();
    let (alive, dropped) = oneshot::channel();
    let source = Steps {
        steps,
        has_pack,
        read: 0,
        _alive: alive,
    };
    (give, source, dropped)
}

impl Steps {
    fn next(&mut self) -> io::Result<Step> {
        match self.steps.recv_timeout(Duration::from_millis(5)) {
            Ok(Step::Fail(kind)) => Err(kind.into()),
            Ok(step) => Ok(step),
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::WouldBlock.into()),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl PushSource for Steps {
    fn has_pack(&self) -> bool {
        self.has_pack
    }

    fn read_pack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.next()? {
            Step::Pack(bytes) => {
                let out = buffer.get_mut(..bytes.len()).expect("room enough");
                out.copy_from_slice(bytes);
                self.read += bytes.len() as u64;
                Ok(bytes.len())
            }
            Step::PackEnd => Ok(0),
            Step::Envelopes(_) | Step::Fail(_) => panic!("the pack was not ended"),
        }
    }

    fn pack_info(&mut self) -> io::Result<PackInfo> {
        Ok(PackInfo {
            bytes: self.read,
            blake3: [4; 32],
        })
    }

    fn envelopes(&mut self) -> io::Result<Vec<Vec<u8>>> {
        match self.next()? {
            Step::Envelopes(envelopes) => Ok(envelopes),
            Step::Pack(_) | Step::PackEnd | Step::Fail(_) => panic!("envelopes were due"),
        }
    }
}

/// A service that tells each thing as it comes, and how it ended.
fn telling() -> (mpsc::UnboundedReceiver<String>, Script) {
    let (tell, told) = mpsc::unbounded_channel();
    let script = Script {
        push: Box::new(move |_, body| {
            let say = |text: String| tell.send(text).expect("the test listens");
            loop {
                match body.next() {
                    Ok(Some(Part::Header(header))) => say(format!("header {}", header.pack)),
                    Ok(Some(Part::Pack(pack))) => {
                        let mut byte = [0];
                        loop {
                            match pack.read(&mut byte) {
                                Ok(0) => break,
                                Ok(_) => say(format!("byte {}", char::from(byte[0]))),
                                Err(_) => {
                                    say("the pack failed".to_owned());
                                    break;
                                }
                            }
                        }
                    }
                    Ok(Some(Part::PackEnd(info))) => say(format!("pack end {}", info.bytes)),
                    Ok(Some(Part::Envelope(bytes))) => say(format!("envelope {}", bytes.len())),
                    Ok(None) => {
                        say("end".to_owned());
                        return Ok(PushAnswer::Durable { whole: true });
                    }
                    Err(reject) => {
                        say("failed".to_owned());
                        return Err(reject.into());
                    }
                }
            }
        }),
        ..Script::default()
    };
    (told, script)
}

async fn hear(told: &mut mpsc::UnboundedReceiver<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(told.recv().await.as_deref(), Some(*expected));
    }
}

/// A client that lets the peer know each time its source has nothing.
fn restless() -> Client {
    let patience = Patience {
        wait: Duration::ZERO,
        ..Patience::default()
    };
    Client::with_patience(&secret(CLIENT_SEED), patience).expect("a usable key")
}

#[tokio::test]
async fn a_push_is_sent_while_its_source_is_still_getting_it() {
    for client in [client(), restless()] {
        let (mut told, script) = telling();
        let stage = Stage::open(script).await;
        let (give, source, _) = steps(true);
        let to = stage.address();
        let push = tokio::spawn(async move { client.push_from(&to, &project(), source).await });
        let give = |step| give.send(step).expect("the source lives");
        hear(&mut told, &["header true"]).await;
        give(Step::Pack(b"PA"));
        hear(&mut told, &["byte P", "byte A"]).await;
        give(Step::Pack(b"CK"));
        hear(&mut told, &["byte C", "byte K"]).await;
        give(Step::PackEnd);
        hear(&mut told, &["pack end 4"]).await;
        give(Step::Envelopes(vec![vec![1; 10], vec![2; 100_000]]));
        hear(&mut told, &["envelope 10", "envelope 100000", "end"]).await;
        let answer = push.await.expect("no panic");
        assert_eq!(
            answer.expect("an answer"),
            PushAnswer::Durable { whole: true }
        );
        stage.close().await;
    }
}

#[tokio::test]
async fn a_push_without_a_pack_waits_for_its_envelopes() {
    let (mut told, script) = telling();
    let stage = Stage::open(script).await;
    let (give, source, _) = steps(false);
    let to = stage.address();
    let push = tokio::spawn(async move { restless().push_from(&to, &project(), source).await });
    hear(&mut told, &["header false"]).await;
    let envelopes = Step::Envelopes(vec![vec![1; 10]]);
    give.send(envelopes).expect("the source lives");
    hear(&mut told, &["envelope 10", "end"]).await;
    let answer = push.await.expect("no panic");
    assert_eq!(
        answer.expect("an answer"),
        PushAnswer::Durable { whole: true }
    );
    stage.close().await;
}

/// Cancels a push after these steps, of which the service hears that. The connection outlives it.
async fn cancelled(before: Vec<Step>, heard: &[&str]) {
    let (mut told, script) = telling();
    let stage = Stage::open(script).await;
    let (client, links) = brittle();
    let (give, source, dropped) = steps(true);
    let (caller, to) = (client.clone(), stage.address());
    let push = tokio::spawn(async move { caller.push_from(&to, &project(), source).await });
    for step in before {
        give.send(step).expect("the source lives");
    }
    hear(&mut told, heard).await;
    let cancel = Step::Fail(io::ErrorKind::PermissionDenied);
    give.send(cancel).expect("the source lives");
    let error = push.await.expect("no panic");
    let Err(CallError::Local { source }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
    dropped.await.expect_err("the source is dropped");
    if heard.last().is_some_and(|last| last.starts_with("byte")) {
        hear(&mut told, &["the pack failed"]).await;
    }
    hear(&mut told, &["failed"]).await;
    let answer = client.digests(&stage.address(), &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(links.lock().expect("no panic").len(), 1);
    drop(client);
    stage.close().await;
    assert_eq!(told.recv().await, None);
}

#[tokio::test]
async fn a_push_can_be_cancelled_in_its_pack() {
    cancelled(vec![Step::Pack(b"P")], &["header true", "byte P"]).await;
}

#[tokio::test]
async fn a_push_can_be_cancelled_before_its_envelopes() {
    let steps = vec![Step::Pack(b"P"), Step::PackEnd];
    cancelled(steps, &["header true", "byte P", "pack end 1"]).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_cancels_its_push() {
    let (mut told, script) = telling();
    let stage = Stage::open(script).await;
    let (give, source, dropped) = steps(true);
    let (client, to) = (client(), stage.address());
    let push = tokio::spawn(async move { client.push_from(&to, &project(), source).await });
    give.send(Step::Pack(b"P")).expect("the source lives");
    hear(&mut told, &["header true", "byte P"]).await;
    push.abort();
    push.await.expect_err("aborted");
    hear(&mut told, &["the pack failed", "failed"]).await;
    dropped.await.expect_err("the source is dropped");
    stage.close().await;
}

/// Answers when that many parts came.
fn answering(parts: usize, answer: Result<PushAnswer, Refusal>) -> Script {
    Script {
        push: Box::new(move |_, body| {
            for _ in 0..parts {
                assert!(body.next()?.is_some(), "it came to an end");
            }
            answer.clone()
        }),
        ..Script::default()
    }
}

/// A push that is answered while its source has only given these steps.
async fn answered_early(parts: usize, given: fn() -> Vec<Step>) {
    let full = Refusal::new(RefusalKind::Disk, "disk-full", "9 % free, 10 % wanted");
    let need = PushAnswer::Need {
        tips: Vec::new(),
        haves: vec![[1; 20]],
    };
    for answer in [Err(full), Ok(need)] {
        for client in [client(), restless()] {
            let stage = Stage::open(answering(parts, answer.clone())).await;
            let (give, source, dropped) = steps(true);
            for step in given() {
                give.send(step).expect("the source lives");
            }
            let found = client.push_from(&stage.address(), &project(), source).await;
            match (&found, &answer) {
                (Ok(found), Ok(answer)) => assert_eq!(found, answer),
                (Err(CallError::Refused(found)), Err(answer)) => assert_eq!(found, answer),
                _ => panic!("{found:?}"),
            }
            dropped.await.expect_err("the source is dropped");
            drop(give);
            stage.close().await;
        }
    }
}

#[tokio::test]
async fn an_early_answer_comes_back_while_the_source_waits_for_its_pack() {
    answered_early(1, Vec::new).await;
    answered_early(2, || vec![Step::Pack(b"PA")]).await;
}

#[tokio::test]
async fn an_early_answer_comes_back_while_the_source_waits_for_its_envelopes() {
    answered_early(3, || vec![Step::Pack(b"PACK"), Step::PackEnd]).await;
}

#[tokio::test]
async fn a_source_is_not_asked_when_there_is_no_connection() {
    let stage = Stage::open(Script::default()).await;
    let to = stage.address();
    stage.close().await;
    let (give, source, dropped) = steps(true);
    let fail = Step::Fail(io::ErrorKind::PermissionDenied);
    give.send(fail).expect("the source lives");
    let error = client().push_from(&to, &project(), source).await;
    let error = error.expect_err("nobody there");
    assert_eq!(error.reason(), "connection refused");
    dropped.await.expect_err("the source is dropped");
}

#[tokio::test]
async fn a_source_is_not_lost_with_a_connection_that_died_while_idle() {
    let stage = Stage::open(Script::default()).await;
    let (to, local) = (stage.address(), stage.local.to_string());
    let client = client();
    let answer = client.digests(&to, &digests("venus")).await;
    assert!(answer.is_ok(), "{answer:?}");
    stage.close().await;
    for _ in 0..10 {
        let stage = Stage::open_at(&local, Script::default(), Limits::default()).await;
        let (give, source, dropped) = steps(true);
        for step in [
            Step::Pack(b"PACK"),
            Step::PackEnd,
            Step::Envelopes(vec![vec![1; 10]]),
        ] {
            give.send(step).expect("the source lives");
        }
        let answer = client.push_from(&to, &project(), source).await;
        assert_eq!(
            answer.expect("an answer"),
            PushAnswer::Durable { whole: true }
        );
        assert_eq!(stage.script.calls(), 1);
        dropped.await.expect_err("the source is dropped");
        stage.close().await;
    }
}
