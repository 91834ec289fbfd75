//! Packs in blocks: what is asked for, what is given, and what breaks off.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use gitback_peer::limits::{BLOCKS_ASKED_MAX, MANIFEST_MAX};
use gitback_peer::{BlockRange, CallError, Refusal, RefusalKind};

use crate::stage::{Script, Stage, client, forbidden, project};

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

const RANGE: BlockRange = BlockRange {
    pack: [0xab; 20],
    first: 3,
    count: BLOCKS_ASKED_MAX,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_streamed_as_they_are_asked_for() {
    let script = Script {
        packs: Box::new(|_| Ok(vec![7; MANIFEST_MAX])),
        blocks: Box::new(|range, output| {
            assert_eq!(range, RANGE);
            for block in range.first..range.first + range.count {
                let byte = u8::try_from(block).expect("few");
                output.write_all(&vec![byte; 1 << 20]).expect("taken");
            }
            Ok(())
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let (client, address, project) = (client(), stage.address(), project());
    let listed = client.packs(&address, &project).await;
    assert_eq!(listed.expect("an answer"), vec![7; MANIFEST_MAX]);
    let sink = Sink::default();
    let asked = client.blocks(&address, &project, RANGE, sink.clone());
    assert_eq!(asked.await.expect("an answer"), 16 << 20);
    let bytes = sink.bytes();
    let blocks: Vec<u8> = bytes.chunks(1 << 20).map(|block| block[9]).collect();
    assert_eq!(blocks, (3..19).collect::<Vec<u8>>());
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_after_the_first_block_is_told_and_what_came_is_kept() {
    let script = Script {
        blocks: Box::new(|_, output| {
            output.write_all(&vec![1; 1 << 20]).expect("taken");
            Err(Refusal::new(RefusalKind::NotFound, "pack-gone", "it went"))
        }),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let (client, address, project) = (client(), stage.address(), project());
    let sink = Sink::default();
    let asked = client.blocks(&address, &project, RANGE, sink.clone());
    match asked.await {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal.code, "pack-gone"),
        other => panic!("{other:?}"),
    }
    assert_eq!(sink.bytes().len(), 1 << 20);
    stage.close().await;
}

#[tokio::test]
async fn a_refusal_and_a_manifest_that_is_too_long_are_told() {
    let script = Script {
        packs: Box::new(|_| Ok(vec![0; MANIFEST_MAX + 1])),
        blocks: Box::new(|_, _| Err(forbidden())),
        ..Script::default()
    };
    let stage = Stage::open(script).await;
    let (client, address, project) = (client(), stage.address(), project());
    let listed = client.packs(&address, &project).await;
    match listed {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal.status, RefusalKind::Internal),
        other => panic!("{other:?}"),
    }
    let asked = client.blocks(&address, &project, RANGE, io::sink());
    match asked.await {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal, forbidden()),
        other => panic!("{other:?}"),
    }
    let none = BlockRange { count: 0, ..RANGE };
    let asked = client.blocks(&address, &project, none, io::sink());
    assert!(matches!(asked.await, Err(CallError::Unsendable { .. })));
    assert_eq!(stage.script.calls(), 2, "nobody was asked for no blocks");
    stage.close().await;
}
