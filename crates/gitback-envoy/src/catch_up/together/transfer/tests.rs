use gitback_pack::{BlockTree, Offer, Repository};
use gitback_peer::Refusal;

use super::*;

/// A transfer of three blocks and some bytes from mars and venus, and what it is to bring.
fn stage(dir: &std::path::Path) -> (Arc<Transfer>, Vec<u8>) {
    let mut bytes = vec![0; 3 * BLOCK_BYTES + 100];
    for (block, number) in bytes.chunks_mut(BLOCK_BYTES).zip(1..) {
        block.fill(number);
    }
    let length = bytes.len() as u64;
    let offer = Offer {
        name: Oid::from_bytes_or_panic(&[5; 20]),
        objects: 1,
        tree: BlockTree::read(bytes.as_slice(), length).expect("in memory"),
    };
    let repository = Repository::create(&dir.join("r.git")).expect("made");
    let (gathered, here) = repository.gather(&offer).expect("begun");
    let names = vec!["mars".to_owned(), "venus".to_owned()];
    (Transfer::new(gathered, &here, names), bytes)
}

fn sink(transfer: &Arc<Transfer>, place: usize, blocks: Range<u64>) -> Sink {
    Sink {
        transfer: Arc::clone(transfer),
        place,
        next: blocks.start,
        end: blocks.end,
        block: Vec::new(),
    }
}

/// The bytes of some blocks.
fn of(bytes: &[u8], blocks: Range<usize>) -> &[u8] {
    let end = bytes.len().min(blocks.end * BLOCK_BYTES);
    &bytes[blocks.start * BLOCK_BYTES..end]
}

fn lies(transfer: &Transfer) -> Vec<Option<String>> {
    let told = |why: &Option<Dropped>| match why {
        Some(Dropped::Lied(what)) => Some(what.clone()),
        Some(Dropped::Gone | Dropped::Other) | None => None,
    };
    transfer.dropped().iter().map(told).collect()
}

#[test]
fn what_comes_in_any_order_and_in_pieces_is_read_in_order() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, bytes) = stage(dir.path());
    let reader = {
        let transfer = Arc::clone(&transfer);
        std::thread::spawn(move || {
            let mut told = |_| {};
            let mut reader = InOrder::new(&transfer, &mut told);
            let end = transfer.gathered.tree().bytes();
            let mut places = vec![0];
            while let Some(at) = places.last().copied().filter(|at| *at < end) {
                places.push(reader.wait(at)?);
            }
            Ok::<_, Error>(places)
        })
    };
    let mut late = sink(&transfer, 1, 2..4);
    for piece in of(&bytes, 2..4).chunks(300_000) {
        late.write_all(piece).expect("good");
    }
    sink(&transfer, 0, 0..2)
        .write_all(of(&bytes, 0..2))
        .expect("good");
    let places = reader.join().expect("no panic").expect("all of it");
    assert_eq!(places.last(), Some(&(bytes.len() as u64)));
    let kept = std::fs::read_dir(dir.path().join("r.git/gitback-blocks"));
    let kept = kept.expect("a folder").next().expect("one file");
    assert!(std::fs::read(kept.expect("listed").path()).expect("readable") == bytes);
    assert!(transfer.is_whole());
    let (moved, from) = transfer.moved();
    assert_eq!(moved, bytes.len() as u64);
    assert_eq!(from, "2.0 MiB from mars, 1.0 MiB from venus");
    assert_eq!(lies(&transfer), [None, None]);
}

#[test]
fn a_flipped_bit_names_its_sender_and_is_not_kept() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, bytes) = stage(dir.path());
    let mut forged = of(&bytes, 1..3).to_vec();
    forged[BLOCK_BYTES + 7] ^= 1;
    sink(&transfer, 1, 1..3)
        .write_all(&forged)
        .expect_err("the second one is bad");
    let lie = "block 2 with other bytes than it had said".to_owned();
    assert_eq!(lies(&transfer), [None, Some(lie)]);
    let state = transfer.lock();
    assert!(state.board.is_here(1) && !state.board.is_here(2));
    assert!(state.is_asked(0) && !state.is_asked(1));
}

#[test]
fn a_block_at_the_place_of_another_is_a_lie() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, bytes) = stage(dir.path());
    sink(&transfer, 0, 0..1)
        .write_all(of(&bytes, 1..2))
        .expect_err("another block");
    assert!(lies(&transfer)[0].is_some());
}

#[test]
fn more_than_was_asked_for_is_a_lie_and_what_was_good_stays() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, bytes) = stage(dir.path());
    sink(&transfer, 0, 3..4)
        .write_all(&[of(&bytes, 3..4), b"x"].concat())
        .expect_err("too much");
    assert!(lies(&transfer)[0].is_some());
    assert!(transfer.lock().board.is_here(3));
}

#[test]
fn the_reader_hears_of_it_when_nobody_gives_the_rest() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, bytes) = stage(dir.path());
    sink(&transfer, 0, 0..1)
        .write_all(of(&bytes, 0..1))
        .expect("good");
    transfer.drop_holder(0, Dropped::Other);
    transfer.drop_holder(1, Dropped::Gone);
    let mut told = |_| {};
    let mut reader = InOrder::new(&transfer, &mut told);
    let until = reader.wait(0).expect("the first block is here");
    assert_eq!(until, BLOCK_BYTES as u64);
    let cut = reader.wait(until).expect_err("nobody gives it");
    assert_eq!(cut.kind(), ErrorKind::Other);
    assert!(!transfer.is_whole());
}

#[test]
fn once_it_has_ended_nothing_is_kept_or_asked_for() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, bytes) = stage(dir.path());
    transfer.end();
    sink(&transfer, 0, 0..1)
        .write_all(of(&bytes, 0..1))
        .expect_err("nobody wants it");
    assert_eq!(lies(&transfer), [None, None]);
    let state = transfer.lock();
    assert!(!state.board.is_here(0) && !state.is_asked(0));
}

#[test]
fn whoever_gives_next_to_nothing_is_not_waited_for() {
    let begun = Instant::now();
    let at = |times: u32| begun + PACE_OVER * times;
    let mut pace = Pace {
        since: begun,
        here: 10,
    };
    let early = at(1).checked_sub(Duration::from_secs(1)).expect("later");
    assert!(!pace.is_too_slow(10, 90, early), "not yet");
    assert!(!pace.is_too_slow(14, 86, at(1)), "just enough");
    assert!(pace.is_too_slow(17, 83, at(2)), "three blocks");
    assert!(!pace.is_too_slow(30, 70, at(3)));
    assert!(pace.is_too_slow(30, 2, at(4)), "nothing at all");
    let mut last = Pace {
        since: begun,
        here: 98,
    };
    assert!(last.is_too_slow(99, 1, at(1)), "one of two");
}

#[test]
fn where_there_is_no_room_nobody_is_asked_for_more() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (transfer, _) = stage(dir.path());
    transfer.lock().full = Some("mars: 3% disk free".to_owned());
    let mut told = |_| {};
    let cut = InOrder::new(&transfer, &mut told).wait(0);
    cut.expect_err("nobody gives it");
    assert!(!transfer.lock().is_asked(0) && !transfer.lock().is_asked(1));
    assert_eq!(transfer.take_full().as_deref(), Some("mars: 3% disk free"));
}

#[test]
fn who_is_not_asked_again() {
    let refused = |kind, code| CallError::Refused(Refusal::new(kind, code, "why"));
    let lost = || CallError::Lost {
        source: ErrorKind::BrokenPipe.into(),
    };
    let busy = || refused(RefusalKind::Busy, "busy");
    assert_eq!(why_dropped(&lost(), 1), None);
    assert_eq!(why_dropped(&lost(), TRIES), Some(Dropped::Other));
    assert_eq!(why_dropped(&busy(), 1), None);
    assert_eq!(why_dropped(&busy(), TRIES), Some(Dropped::Other));
    let gone = refused(RefusalKind::NotFound, PACK_GONE);
    assert_eq!(why_dropped(&gone, 1), Some(Dropped::Gone));
    let forbidden = refused(RefusalKind::Forbidden, "members-only");
    assert_eq!(why_dropped(&forbidden, 1), Some(Dropped::Other));
}
