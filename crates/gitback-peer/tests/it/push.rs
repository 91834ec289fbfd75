//! Packs on their way.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use gitback_peer::{
    CallError, Client, Dialer, Limits, Link, PackFile, Part, Patience, PeerAddress, PushAnswer,
    Refusal, RefusalKind,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stage::{Script, Stage, client, project, read_all};

const MIB: u64 = 1 << 20;

/// A pack of that many bytes: a sparse file, since nobody here looks into it.
fn pack(dir: &TempDir, bytes: u64) -> PackFile {
    let path = dir.path().join("pack");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(b"PACK").expect("written");
    file.set_len(bytes).expect("grown");
    PackFile {
        path,
        bytes,
        blake3: [4; 32],
    }
}

fn temp() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

#[tokio::test]
async fn a_pack_arrives_as_it_is() {
    let script = Script {
        push: Box::new(|_, body| {
            let mut seen = Vec::new();
            while let Some(part) = body.next()? {
                match part {
                    Part::Header(header) => assert!(header.pack),
                    Part::PackEnd(info) => {
                        assert_eq!((info.bytes, info.blake3), (200_000, [4; 32]));
                    }
                    Part::Pack(pack) => {
                        pack.read_to_end(&mut seen).expect("a whole pack");
                    }
                    Part::Envelope(envelope) => assert_eq!(envelope, vec![5; 100_000]),
                }
            }
            assert_eq!(seen.len(), 200_000);
            assert!(seen.starts_with(b"PACK\0"));
            Ok(PushAnswer::Durable { whole: true })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let dir = temp();
    let pack = Some(pack(&dir, 200_000));
    let answer = client()
        .push(&stage.address(), &project(), vec![vec![5; 100_000]], pack)
        .await;
    assert_eq!(
        answer.expect("an answer"),
        PushAnswer::Durable { whole: true }
    );
    stage.close().await;
}

/// Counts the bytes written to the wire.
struct Counting {
    link: Box<dyn Link>,
    sent: Arc<AtomicU64>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.link).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.sent.fetch_add(count as u64, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(context)
    }
}

/// The direct route, counted.
struct CountingDialer {
    direct: Arc<dyn Dialer>,
    sent: Arc<AtomicU64>,
}

impl Dialer for CountingDialer {
    fn dial<'a>(
        &'a self,
        to: &'a PeerAddress,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Link>, CallError>> + Send + 'a>> {
        Box::pin(async {
            let link = self.direct.dial(to).await?;
            let sent = self.sent.clone();
            Ok(Box::new(Counting { link, sent }) as Box<dyn Link>)
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_push_streams_in_bounded_memory() {
    let sent = Arc::new(AtomicU64::new(0));
    let lag = Arc::new(AtomicU64::new(0));
    let script = Script {
        push: {
            let (sent, lag) = (sent.clone(), lag.clone());
            Box::new(move |_, body| {
                let mut read = 0;
                while let Some(part) = body.next()? {
                    let Part::Pack(pack) = part else { continue };
                    let mut chunk = [0; 64 * 1024];
                    loop {
                        let count = pack.read(&mut chunk).expect("a whole pack");
                        if count == 0 {
                            break;
                        }
                        read += count as u64;
                        // What left the sender and was not read is held somewhere in between.
                        let held = sent.load(Ordering::SeqCst).saturating_sub(read);
                        lag.fetch_max(held, Ordering::SeqCst);
                    }
                }
                assert_eq!(read, 64 * MIB);
                Ok(PushAnswer::Durable { whole: true })
            })
        },
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let dialer = CountingDialer {
        direct: Client::direct(&crate::stage::secret(2)).expect("a usable key"),
        sent: sent.clone(),
    };
    let client = Client::with_dialer(Arc::new(dialer), Patience::default());
    let dir = temp();
    let pack = Some(pack(&dir, 64 * MIB));
    let answer = client
        .push(&stage.address(), &project(), Vec::new(), pack)
        .await;
    assert_eq!(
        answer.expect("an answer"),
        PushAnswer::Durable { whole: true }
    );
    assert!(sent.load(Ordering::SeqCst) > 64 * MIB, "it was counted");
    let lag = lag.load(Ordering::SeqCst);
    assert!(lag < 2 * MIB, "{lag} bytes were held between the two");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_while_the_pack_is_sent_is_reported_as_such() {
    let full = || Refusal::new(RefusalKind::Disk, "disk-full", "9 % free, 10 % wanted");
    let script = Script {
        push: Box::new(move |_, body| {
            while let Some(part) = body.next()? {
                if let Part::Pack(pack) = part {
                    pack.read_exact(&mut [0; 100_000]).expect("some bytes");
                    return Err(full());
                }
            }
            Ok(PushAnswer::Durable { whole: true })
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let dir = temp();
    let client = client();
    for _ in 0..20 {
        let pack = Some(pack(&dir, 32 * MIB));
        let answer = client
            .push(&stage.address(), &project(), Vec::new(), pack)
            .await;
        match answer {
            Err(CallError::Refused(refusal)) => assert_eq!(refusal, full()),
            other => panic!("{other:?}"),
        }
    }
    stage.close().await;
}

#[tokio::test]
async fn an_early_need_ends_the_sending() {
    let need = PushAnswer::Need {
        tips: Vec::new(),
        haves: vec![[1; 20]],
    };
    let answer = need.clone();
    let script = Script {
        push: Box::new(move |_, _| Ok(answer.clone())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let dir = temp();
    let pack = Some(pack(&dir, 32 * MIB));
    let answer = client()
        .push(&stage.address(), &project(), Vec::new(), pack)
        .await;
    assert_eq!(answer.expect("an answer"), need);
    stage.close().await;
}

#[tokio::test]
async fn a_pack_larger_than_the_servers_limit_is_refused_while_it_comes() {
    let limits = Limits {
        push_bytes: MIB,
        ..Limits::default()
    };
    let stage = Stage::open_with(Script::default(), limits).await;
    let dir = temp();
    let pack = Some(pack(&dir, MIB + 1));
    let answer = client()
        .push(&stage.address(), &project(), Vec::new(), pack)
        .await;
    let Err(CallError::Refused(refusal)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(refusal.code, "too-long");
    stage.close().await;
}

#[tokio::test]
async fn a_pack_that_cannot_be_read_is_our_own_fault() {
    let script = Script {
        push: Box::new(|_, body| read_all(body).map(|_| PushAnswer::Durable { whole: true })),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let client = client();
    let dir = temp();
    let mut short = pack(&dir, MIB);
    short.bytes = 2 * MIB;
    let missing = PackFile {
        path: PathBuf::from("/nonexistent/pack"),
        ..short.clone()
    };
    for (file, kind) in [
        (short, io::ErrorKind::UnexpectedEof),
        (missing, io::ErrorKind::NotFound),
    ] {
        let answer = client
            .push(&stage.address(), &project(), Vec::new(), Some(file))
            .await;
        let Err(CallError::Local { source }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(source.kind(), kind);
    }
    stage.close().await;
}

#[tokio::test]
async fn too_many_envelopes_are_not_sent() {
    let stage = Stage::open(Script::default()).await;
    let client = client();
    let large = vec![vec![0; 1 << 20]; 65];
    let answer = client.push(&stage.address(), &project(), large, None).await;
    assert!(
        matches!(answer, Err(CallError::Unsendable { .. })),
        "{answer:?}"
    );
    assert_eq!(stage.script.calls(), 0);
    stage.close().await;
}
