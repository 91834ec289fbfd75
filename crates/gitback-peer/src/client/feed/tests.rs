use std::collections::VecDeque;
use std::sync::mpsc as std_mpsc;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::frame::Frames;
use crate::limits::ENVELOPES_MAX;
use crate::push::{Part, PushBody};
use crate::wire::PackInfo;

const HOUR: Duration = Duration::from_secs(3600);

/// One answer of a source.
#[derive(Debug, Clone)]
enum Say {
    Pack(Vec<u8>),
    Info(u64),
    Envelopes(Vec<Vec<u8>>),
    Wait,
    Fail,
}

/// Says one thing after another, then hangs until the test drops the gate, and fails.
struct Script {
    has_pack: bool,
    says: VecDeque<Say>,
    gate: Option<std_mpsc::Receiver<()>>,
}

impl Script {
    fn new(says: impl IntoIterator<Item = Say>) -> Self {
        let says: VecDeque<_> = says.into_iter().collect();
        Self {
            has_pack: says.iter().any(|say| matches!(say, Say::Info(_))),
            says,
            gate: None,
        }
    }

    fn next(&mut self) -> io::Result<Say> {
        match self.says.pop_front() {
            Some(Say::Wait) => Err(io::ErrorKind::WouldBlock.into()),
            Some(Say::Fail) => Err(io::ErrorKind::PermissionDenied.into()),
            Some(say) => Ok(say),
            None => {
                if let Some(gate) = &self.gate {
                    let _ = gate.recv();
                }
                Err(io::ErrorKind::NotFound.into())
            }
        }
    }
}

impl PushSource for Script {
    fn has_pack(&self) -> bool {
        self.has_pack
    }

    fn read_pack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.next()? {
            Say::Pack(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            say => panic!("{say:?} is no part of a pack"),
        }
    }

    fn pack_info(&mut self) -> io::Result<PackInfo> {
        match self.next()? {
            Say::Info(bytes) => Ok(PackInfo {
                bytes,
                blake3: [0; 32],
            }),
            say => panic!("{say:?} is not what a pack was"),
        }
    }

    fn envelopes(&mut self) -> io::Result<Vec<Vec<u8>>> {
        match self.next()? {
            Say::Envelopes(envelopes) => Ok(envelopes),
            say => panic!("{say:?} is no list of envelopes"),
        }
    }
}

/// Takes the body to its end; the chunks that came, and how it failed, if it did.
fn taken(script: Script, wait: Duration) -> (Vec<Vec<u8>>, Result<(), CallError>) {
    let failure = Failure::default();
    let mut body = feed(script, &failure, wait);
    let mut chunks = Vec::new();
    let whole = runtime().block_on(async {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => chunks.push(frame.into_data().expect("data").to_vec()),
                Err(_) => return false,
            }
        }
        true
    });
    assert_eq!(body.progress().state().sent, whole);
    assert_eq!(body.progress().state().broken, !whole);
    let outcome = match failure.take() {
        Some(error) => Err(error),
        None => {
            assert!(whole, "a failure is noted before it is seen");
            Ok(())
        }
    };
    (chunks, outcome)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

/// The kinds of frames in these bytes, and how long their payloads are.
fn frames(bytes: &[u8]) -> Vec<(Kind, usize)> {
    let mut frames = Frames::new(bytes);
    let mut kinds = Vec::new();
    while let Ok(head) = frames.head() {
        let payload = frames.payload(head, ENVELOPE_MAX, "a frame");
        kinds.push((head.kind, payload.expect("whole").len()));
    }
    kinds
}

fn info_len(bytes: u64) -> usize {
    let info = PackInfo {
        bytes,
        blake3: [0; 32],
    };
    info.encode().expect("small").len()
}

#[test]
fn a_source_is_not_asked_before_the_body_is() {
    let failure = Failure::default();
    let (gone, dropped) = std_mpsc::channel();
    let mut script = Script::new([]);
    script.gate = Some(dropped);
    let body = feed(script, &failure, HOUR);
    assert!(!body.progress().state().sent);
    drop(body);
    gone.send(()).expect_err("the source is dropped unasked");
}

#[test]
fn a_small_push_goes_out_in_one_piece() {
    let says = [
        Say::Pack(vec![1; 300]),
        Say::Pack(vec![2; 700]),
        Say::Pack(Vec::new()),
        Say::Info(1000),
        Say::Envelopes(vec![vec![3; 10], vec![4; 20]]),
    ];
    // The thread may be held up, and the rest is then sent after what is there.
    let one_piece = (0..20).any(|_| {
        let (chunks, outcome) = taken(Script::new(says.clone()), HOUR);
        outcome.expect("all is sent");
        let expected = [
            (Kind::Header, br#"{"pack":true}"#.len()),
            (Kind::Pack, 300),
            (Kind::Pack, 700),
            (Kind::PackEnd, info_len(1000)),
            (Kind::Envelope, 10),
            (Kind::Envelope, 20),
            (Kind::End, 0),
        ];
        assert_eq!(frames(&chunks.concat()), expected);
        chunks.len() == 1
    });
    assert!(one_piece);
}

#[test]
fn a_large_push_is_cut_into_pieces() {
    let says = [
        Say::Pack(vec![1; PACK_FRAME_MAX]),
        Say::Pack(vec![2; PACK_FRAME_MAX]),
        Say::Pack(Vec::new()),
        Say::Info(2 * PACK_FRAME_MAX as u64),
        Say::Envelopes(vec![vec![3; 1 << 20], Vec::new()]),
    ];
    let (chunks, outcome) = taken(Script::new(says), HOUR);
    outcome.expect("all is sent");
    assert!(chunks.iter().all(|chunk| chunk.len() <= PIECE_MAX));
    let expected = [
        (Kind::Header, 13),
        (Kind::Pack, PACK_FRAME_MAX),
        (Kind::Pack, PACK_FRAME_MAX),
        (Kind::PackEnd, info_len(2 * PACK_FRAME_MAX as u64)),
        (Kind::Envelope, 1 << 20),
        (Kind::Envelope, 0),
        (Kind::End, 0),
    ];
    assert_eq!(frames(&chunks.concat()), expected);
}

#[test]
fn what_is_there_goes_out_while_the_source_takes_its_time() {
    for says in [
        vec![Say::Pack(vec![1; 10]), Say::Pack(vec![2; 5])],
        vec![Say::Pack(vec![1; 10]), Say::Wait, Say::Pack(vec![2; 5])],
    ] {
        let (gate, gated) = std_mpsc::channel();
        let mut script = Script::new(says);
        script.has_pack = true;
        script.gate = Some(gated);
        let failure = Failure::default();
        let mut body = feed(script, &failure, HOUR);
        let runtime = runtime();
        let mut bytes = Vec::new();
        // All of it comes although the source is still asked for more.
        while bytes.len() < 18 + (HEAD_LEN + 10) + (HEAD_LEN + 5) {
            let frame = runtime.block_on(body.frame());
            let frame = frame.expect("more").expect("not failed");
            bytes.extend(frame.into_data().expect("data"));
        }
        let expected = [(Kind::Header, 13), (Kind::Pack, 10), (Kind::Pack, 5)];
        assert_eq!(frames(&bytes), expected);
        drop(gate);
    }
}

#[test]
fn a_source_that_waits_is_told_to_the_peer() {
    let says = [
        Say::Wait,
        Say::Pack(vec![1; 10]),
        Say::Wait,
        Say::Wait,
        Say::Pack(Vec::new()),
        Say::Wait,
        Say::Info(10),
        Say::Wait,
        Say::Envelopes(Vec::new()),
    ];
    let kinds = |wait| {
        let (chunks, outcome) = taken(Script::new(says.clone()), wait);
        outcome.expect("all is sent");
        let kinds: Vec<_> = frames(&chunks.concat()).iter().map(|f| f.0).collect();
        kinds
    };
    let quiet = [Kind::Header, Kind::Pack, Kind::PackEnd, Kind::End];
    assert_eq!(kinds(HOUR), quiet);
    let told = [
        Kind::Header,
        Kind::Wait,
        Kind::Pack,
        Kind::Wait,
        Kind::Wait,
        Kind::Wait,
        Kind::PackEnd,
        Kind::Wait,
        Kind::End,
    ];
    assert_eq!(kinds(Duration::ZERO), told);
}

#[test]
fn a_source_that_fails_breaks_the_body_off() {
    let whole = [
        Say::Pack(vec![1; 10]),
        Say::Pack(Vec::new()),
        Say::Info(10),
        Say::Envelopes(Vec::new()),
    ];
    for at in 0..whole.len() {
        let mut script = Script::new(whole.clone());
        script.says[at] = Say::Fail;
        let (_, outcome) = taken(script, HOUR);
        let Err(CallError::Local { source }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
    }
}

#[test]
fn what_a_peer_would_refuse_is_not_sent_to_its_end() {
    let pack = |told| {
        let (_, outcome) = taken(
            Script::new([
                Say::Pack(vec![1; 9]),
                Say::Pack(Vec::new()),
                Say::Info(told),
            ]),
            HOUR,
        );
        outcome.expect_err("not sent")
    };
    let CallError::Local { source } = pack(10) else {
        panic!("a source that does not know what it read");
    };
    assert_eq!(source.kind(), io::ErrorKind::InvalidData);
    assert!(matches!(pack(0), CallError::Unsendable { .. }));
    let most = usize::try_from(ENVELOPES_MAX).expect("small");
    for envelopes in [
        vec![Vec::new(); most + 1],
        vec![vec![0; ENVELOPE_MAX + 1]],
        vec![vec![0; 1 << 20]; 65],
    ] {
        let (_, outcome) = taken(Script::new([Say::Envelopes(envelopes)]), HOUR);
        assert!(matches!(outcome, Err(CallError::Unsendable { .. })));
    }
}

#[test]
fn the_feeding_ends_with_the_call() {
    let (gone, dropped) = std_mpsc::channel();
    let mut script = Script::new(std::iter::repeat_n(Say::Wait, 1_000));
    script.gate = Some(dropped);
    let failure = Failure::default();
    let mut body = feed(script, &failure, HOUR);
    let runtime = runtime();
    let header = runtime.block_on(body.frame()).expect("more");
    assert!(header.is_ok());
    drop(failure);
    // The body breaks off by itself once nobody waits for the answer, rather than look complete.
    while let Some(Ok(_)) = runtime.block_on(body.frame()) {}
    assert!(body.progress().state().broken);
    // The source is dropped before its thread ends, which this waits for.
    drop(runtime);
    gone.send(()).expect_err("the source is dropped");
}

proptest! {
    #[test]
    fn any_push_arrives_as_it_was_fed(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..2000), 1..8),
        envelopes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..8),
        waits in proptest::collection::vec(any::<bool>(), 16),
        has_pack in any::<bool>(),
    ) {
        let pack = if has_pack { chunks.concat() } else { Vec::new() };
        let mut says = Vec::new();
        if has_pack {
            says.extend(chunks.into_iter().map(Say::Pack));
            says.extend([Say::Pack(Vec::new()), Say::Info(pack.len() as u64)]);
        }
        says.push(Say::Envelopes(envelopes.clone()));
        for (at, _) in waits.iter().enumerate().filter(|(_, wait)| **wait) {
            says.insert(at.min(says.len() - 1), Say::Wait);
        }
        let (bytes, outcome) = taken(Script::new(says), Duration::ZERO);
        prop_assert!(outcome.is_ok());
        let input = io::Cursor::new(bytes.concat());
        let mut body = PushBody::open(input, 1 << 20, HOUR).expect("a header");
        let (mut read, mut seen) = (Vec::new(), Vec::new());
        while let Some(part) = body.next().expect("sound") {
            match part {
                Part::Header(header) => prop_assert_eq!(header.pack, has_pack),
                Part::Pack(input) => drop(input.read_to_end(&mut read).expect("sound")),
                Part::PackEnd(info) => prop_assert_eq!(info.bytes, pack.len() as u64),
                Part::Envelope(envelope) => seen.push(envelope),
            }
        }
        prop_assert_eq!(read, pack);
        prop_assert_eq!(seen, envelopes);
    }
}
