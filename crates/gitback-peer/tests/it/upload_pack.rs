//! Git's own conversation, streamed.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use gitback_peer::{CallError, Refusal, RefusalKind};

use crate::stage::{Script, Stage, client, forbidden, project};

const REQUEST: usize = 3 << 20;
const TIMES: usize = 8;

/// What was written, to be looked at afterwards.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_both_ways() {
    let script = Script {
        upload_pack: Box::new(|input, output| {
            let mut chunk = [0; 10_000];
            loop {
                let count = input.read(&mut chunk).expect("a request");
                if count == 0 {
                    return Ok(());
                }
                for _ in 0..TIMES {
                    output.write_all(&chunk[..count]).expect("taken");
                }
            }
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let sink = Sink::default();
    let request = vec![b'w'; REQUEST];
    let count = client()
        .upload_pack(&stage.address(), &project(), request, sink.clone())
        .await;
    assert_eq!(count.expect("an answer"), (REQUEST * TIMES) as u64);
    assert!(sink.bytes() == vec![b'w'; REQUEST * TIMES]);
    stage.close().await;
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    let script = Script {
        upload_pack: Box::new(|_, _| Ok(())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let count = client()
        .upload_pack(&stage.address(), &project(), Vec::new(), io::sink())
        .await;
    assert_eq!(count.expect("an answer"), 0);
    stage.close().await;
}

#[tokio::test]
async fn a_refusal_before_the_first_byte_is_the_answer() {
    let script = Script {
        upload_pack: Box::new(|input, _| {
            io::copy(input, &mut io::sink()).expect("a request");
            Err(forbidden())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let answer = client()
        .upload_pack(&stage.address(), &project(), b"0000".to_vec(), io::sink())
        .await;
    let Err(CallError::Refused(refusal)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(refusal, forbidden());
    stage.close().await;
}

#[tokio::test]
async fn a_failure_after_the_first_byte_is_reported_too() {
    let failed = || Refusal::new(RefusalKind::Internal, "git-failed", "“git” ended early");
    let script = Script {
        upload_pack: Box::new(move |_, output| {
            output.write_all(&[1; 200_000]).expect("taken");
            Err(failed())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let sink = Sink::default();
    let answer = client()
        .upload_pack(&stage.address(), &project(), b"0000".to_vec(), sink.clone())
        .await;
    let Err(CallError::Refused(refusal)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(refusal, failed());
    assert!(sink.bytes().len() <= 200_000);
    stage.close().await;
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let script = Script {
        upload_pack: Box::new(|input, _| match io::copy(input, &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(_) => Err(forbidden()),
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let request = vec![0; (4 << 20) + 1];
    let answer = client()
        .upload_pack(&stage.address(), &project(), request, io::sink())
        .await;
    let Err(CallError::Refused(refusal)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(refusal.code, "too-long");
    stage.close().await;
}

/// Fails at the first byte.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_call() {
    let script = Script {
        upload_pack: Box::new(|_, output| {
            while output.write_all(&[0; 8192]).is_ok() {}
            Ok(())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let answer = client()
        .upload_pack(&stage.address(), &project(), b"0000".to_vec(), Broken)
        .await;
    let Err(CallError::Local { source }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    stage.close().await;
}
