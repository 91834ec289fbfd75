use proptest::prelude::*;

use super::*;
use crate::frame;

const LIMIT: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn header(pack: bool) -> Vec<u8> {
    let json = PushHeader {
        pack,
        whole: false,
        handoff: Handoff::default(),
    }
    .encode()
    .expect("plain values");
    framed(Kind::Header, &json)
}

fn pack_end(bytes: u64) -> Vec<u8> {
    let info = PackInfo {
        bytes,
        blake3: [7; 32],
    };
    let json = serde_json::to_vec(&info).expect("plain values");
    framed(Kind::PackEnd, &json)
}

fn end() -> Vec<u8> {
    framed(Kind::End, b"")
}

fn wait() -> Vec<u8> {
    framed(Kind::Wait, b"")
}

fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, payload, usize::MAX).expect("short");
    out
}

fn open(frames: &[Vec<u8>]) -> Result<PushBody, Reject> {
    PushBody::open(io::Cursor::new(frames.concat()), LIMIT, HOUR)
}

/// Reads a whole push; what came, as text.
fn read(frames: &[Vec<u8>]) -> Result<Vec<String>, Reject> {
    let mut body = open(frames)?;
    let mut parts = Vec::new();
    while let Some(part) = body.next()? {
        parts.push(match part {
            Part::Header(header) => format!("header {}", header.pack),
            Part::Pack(pack) => {
                let mut bytes = Vec::new();
                match pack.read_to_end(&mut bytes) {
                    Ok(_) => format!("pack {}", String::from_utf8_lossy(&bytes)),
                    Err(error) => format!("pack error {:?}", error.kind()),
                }
            }
            Part::PackEnd(info) => format!("pack end {} {:02x}", info.bytes, info.blake3[0]),
            Part::Envelope(bytes) => format!("envelope {}", String::from_utf8_lossy(&bytes)),
        });
    }
    Ok(parts)
}

/// The fault that the answer to such a push names.
fn fault(frames: &[Vec<u8>]) -> String {
    match open(frames) {
        Ok(body) => fault_of(body),
        Err(reject) => reject.code().to_owned(),
    }
}

fn fault_of(mut body: PushBody) -> String {
    while let Ok(Some(part)) = body.next() {
        if let Part::Pack(pack) = part {
            let _ = io::copy(pack, &mut io::sink());
        }
    }
    body.take_fault()
        .map(|fault| fault.code)
        .unwrap_or_default()
}

#[test]
fn reads_the_parts_in_order() {
    let parts = read(&[
        header(true),
        framed(Kind::Pack, b"PA"),
        framed(Kind::Pack, b"CK!"),
        pack_end(5),
        framed(Kind::Envelope, b"one"),
        framed(Kind::Envelope, b"two"),
        end(),
    ]);
    let expected = [
        "header true",
        "pack PACK!",
        "pack end 5 07",
        "envelope one",
        "envelope two",
    ];
    assert_eq!(parts.expect("a sound push"), expected);
}

#[test]
fn reads_envelopes_without_a_pack() {
    let parts = read(&[header(false), framed(Kind::Envelope, b"one"), end()]);
    let expected = ["header false", "envelope one"];
    assert_eq!(parts.expect("a sound push"), expected);
}

#[test]
fn wait_frames_are_no_part() {
    let parts = read(&[
        header(true),
        wait(),
        wait(),
        framed(Kind::Pack, b"PACK"),
        wait(),
        framed(Kind::Pack, b"!"),
        wait(),
        pack_end(5),
        wait(),
        framed(Kind::Envelope, b"one"),
        wait(),
        end(),
    ]);
    let expected = ["header true", "pack PACK!", "pack end 5 07", "envelope one"];
    assert_eq!(parts.expect("a sound push"), expected);
}

#[test]
fn refuses_wait_frames_out_of_place_or_form() {
    assert_eq!(fault(&[wait(), header(false), end()]), "unexpected-frame");
    let long = framed(Kind::Wait, b"x");
    assert_eq!(fault(&[header(false), long.clone(), end()]), "malformed");
    assert_eq!(fault(&[header(true), long]), "malformed");
}

#[test]
fn nothing_but_wait_frames_is_a_stall() {
    for pack in [false, true] {
        let mut frames = vec![header(pack)];
        frames.extend(std::iter::repeat_n(wait(), 100));
        // Within the time they are taken, however many.
        assert_eq!(fault(&frames), "truncated");
        let input = io::Cursor::new(frames.concat());
        let body = PushBody::open(input, LIMIT, Duration::ZERO).expect("a header");
        assert_eq!(fault_of(body), "stalled");
    }
}

#[test]
fn skips_a_pack_that_nobody_reads() {
    let frames = [
        header(true),
        framed(Kind::Pack, b"abc"),
        pack_end(3),
        framed(Kind::Envelope, b"one"),
        end(),
    ];
    let mut body = open(&frames).expect("a header");
    let mut seen = (0, 0);
    while let Some(part) = body.next().expect("sound") {
        match part {
            Part::Header(_) | Part::Pack(_) => {}
            Part::PackEnd(info) => seen.0 = info.bytes,
            Part::Envelope(_) => seen.1 += 1,
        }
    }
    assert_eq!(seen, (3, 1));
    assert_eq!(body.take_fault(), None);
}

#[test]
fn refuses_a_pack_of_another_length_than_its_end_says() {
    let pack = [
        header(true),
        framed(Kind::Pack, b"abc"),
        framed(Kind::Pack, b"d"),
    ];
    let with = |told: u64| [&pack[..], &[pack_end(told), end()]].concat();
    assert_eq!(fault(&with(4)), "");
    assert_eq!(fault(&with(3)), "excess");
    assert_eq!(fault(&with(5)), "truncated");
    assert_eq!(fault(&with(u64::MAX)), "truncated");
    assert_eq!(fault(&[header(true), pack_end(0), end()]), "malformed");
    assert_eq!(fault(&[header(true), pack_end(1), end()]), "truncated");
}

#[test]
fn refuses_a_pack_over_the_limit_while_it_comes() {
    let chunk = framed(Kind::Pack, &vec![0; PACK_FRAME_MAX]);
    let mut frames = vec![header(true)];
    frames.extend(std::iter::repeat_n(chunk, 16));
    let fits = [&frames[..], &[pack_end(LIMIT), end()]].concat();
    assert_eq!(fault(&fits), "");
    // Refused at the head of the frame, before its payload.
    frames.push(framed(Kind::Pack, b"x")[..5].to_vec());
    assert_eq!(fault(&frames), "too-long");
}

#[test]
fn refuses_parts_out_of_order() {
    let pack = framed(Kind::Pack, b"a");
    let envelope = framed(Kind::Envelope, b"one");
    for frames in [
        vec![header(false), pack.clone()],
        vec![header(false), pack_end(1)],
        vec![header(false), header(false)],
        vec![header(true), envelope.clone()],
        vec![header(true), end()],
        vec![header(true), pack.clone(), end()],
        vec![header(true), pack.clone(), envelope.clone()],
        vec![header(true), pack.clone(), pack_end(1), pack_end(1)],
        vec![header(true), pack.clone(), pack_end(1), pack.clone()],
        vec![header(false), envelope, pack],
    ] {
        assert_eq!(fault(&frames), "unexpected-frame", "{frames:?}");
    }
}

#[test]
fn the_pack_reader_fails_rather_than_end_early() {
    let cut = [header(true), framed(Kind::Pack, b"abc")[..6].to_vec()];
    assert_eq!(fault(&cut), "truncated");
    for (told, kind) in [
        (1, io::ErrorKind::InvalidData),
        (3, io::ErrorKind::UnexpectedEof),
    ] {
        let frames = [header(true), framed(Kind::Pack, b"ab"), pack_end(told)];
        let mut body = open(&frames).expect("a header");
        body.next().expect("the header");
        let Some(Part::Pack(pack)) = body.next().expect("the pack") else {
            panic!("a pack was declared");
        };
        assert_eq!(pack.read(&mut [0; 8]).expect("the bytes"), 2);
        let error = pack.read(&mut [0; 8]).expect_err("the end is wrong");
        assert_eq!(error.kind(), kind);
        pack.read(&mut [0; 8]).expect_err("still failing");
        body.next().expect_err("nothing more comes of it");
    }
}

#[test]
fn refuses_too_many_envelopes() {
    let most = usize::try_from(ENVELOPES_MAX).expect("small");
    let mut frames = vec![header(false)];
    frames.extend(std::iter::repeat_n(framed(Kind::Envelope, b""), most));
    let fits = [&frames[..], &[end()]].concat();
    assert_eq!(fault(&fits), "");
    frames.push(framed(Kind::Envelope, b""));
    assert_eq!(fault(&frames), "too-many");
}

#[test]
fn refuses_too_many_bytes_of_envelopes() {
    let mut frames = vec![header(false)];
    let envelope = framed(Kind::Envelope, &vec![0; 1 << 20]);
    frames.extend(std::iter::repeat_n(envelope, 64));
    // Refused at the head of the frame, before its payload.
    frames.push(framed(Kind::Envelope, b"x")[..5].to_vec());
    assert_eq!(fault(&frames), "too-long");
}

#[test]
fn refuses_what_the_header_may_not_say() {
    assert_eq!(fault(&[framed(Kind::Header, b"{}")]), "malformed");
    let old = br#"{"pack":{"bytes":1},"envelopes":0}"#;
    assert_eq!(fault(&[framed(Kind::Header, old)]), "malformed");
    assert_eq!(
        fault(&[framed(Kind::Header, &[b' '; PUSH_HEADER_MAX + 1])]),
        "too-long"
    );
    assert_eq!(fault(&[framed(Kind::Pack, b"a")]), "unexpected-frame");
    assert_eq!(fault(&[]), "truncated");
}

#[test]
fn refuses_frames_of_bad_lengths() {
    let long = vec![0; PACK_FRAME_MAX + 1];
    let frames = [header(true), framed(Kind::Pack, &long)];
    assert_eq!(fault(&frames), "malformed");
    let frames = [header(true), framed(Kind::Pack, b"")];
    assert_eq!(fault(&frames), "malformed");
    let frames = [header(true), framed(Kind::PackEnd, &[b' '; 5000])];
    assert_eq!(fault(&frames), "too-long");
    let long = vec![0; ENVELOPE_MAX + 1];
    assert_eq!(
        fault(&[header(false), framed(Kind::Envelope, &long)]),
        "too-long"
    );
    assert_eq!(
        fault(&[header(false), framed(Kind::End, b"x")]),
        "malformed"
    );
}

#[test]
fn every_cut_of_a_push_is_a_fault() {
    let whole = [
        header(true),
        framed(Kind::Pack, b"abc"),
        wait(),
        pack_end(3),
        framed(Kind::Envelope, b"one"),
        end(),
    ]
    .concat();
    assert_eq!(fault(std::slice::from_ref(&whole)), "");
    for cut in 0..whole.len() {
        assert_eq!(fault(&[whole[..cut].to_vec()]), "truncated", "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_parts_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = fault(std::slice::from_ref(&bytes));
        let _ = fault(&[header(true), bytes.clone()]);
        let _ = fault(&[header(false), bytes]);
    }

    #[test]
    fn any_frames_give_parts_or_a_fault(
        frames in proptest::collection::vec((1u8..=6, proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
        pack in any::<bool>(),
        told in 1u64..30,
    ) {
        let mut push = vec![header(pack)];
        for (kind, payload) in frames {
            let mut frame = match kind {
                4 => end(),
                5 => pack_end(told),
                6 => wait(),
                _ => framed(Kind::Envelope, &payload),
            };
            frame[0] = kind;
            push.push(frame);
        }
        // Read in full and read with the pack skipped: the same verdict.
        let skipped = {
            let mut body = open(&push).expect("a header");
            while let Ok(Some(_)) = body.next() {}
            body.take_fault().map(|fault| fault.code).unwrap_or_default()
        };
        prop_assert_eq!(fault(&push), skipped);
    }

    #[test]
    fn any_sound_push_is_read_as_sent(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..6),
        envelopes in proptest::collection::vec("[a-z]{0,9}", 0..6),
        waits in proptest::collection::vec(0usize..3, 16),
    ) {
        let pack = chunks.concat();
        let mut push = vec![header(!pack.is_empty())];
        push.extend(chunks.iter().map(|chunk| framed(Kind::Pack, chunk)));
        if !pack.is_empty() {
            push.push(pack_end(pack.len() as u64));
        }
        push.extend(envelopes.iter().map(|text| framed(Kind::Envelope, text.as_bytes())));
        push.push(end());
        let mut waits = waits.into_iter().cycle();
        for frame in push.iter_mut().rev().skip(1) {
            frame.extend(wait().repeat(waits.next().expect("a cycle")));
        }
        let mut body = open(&push).expect("a header");
        let (mut seen, mut read) = (Vec::new(), Vec::new());
        while let Some(part) = body.next().expect("sound") {
            match part {
                Part::Header(_) => {}
                Part::Pack(input) => drop(input.read_to_end(&mut read).expect("sound")),
                Part::PackEnd(info) => prop_assert_eq!(info.bytes, pack.len() as u64),
                Part::Envelope(bytes) => seen.push(String::from_utf8(bytes).expect("text")),
            }
        }
        prop_assert_eq!(read, pack);
        prop_assert_eq!(seen, envelopes);
    }
}
