use proptest::prelude::*;

use super::*;
use crate::frame;
use crate::wire::PackInfo;

const LIMIT: u64 = 1 << 20;

fn header(pack: Option<u64>, envelopes: u32) -> Vec<u8> {
    let header = PushHeader {
        pack: pack.map(|bytes| PackInfo {
            bytes,
            blake3: [7; 32],
        }),
        envelopes,
    };
    let json = serde_json::to_vec(&header).expect("plain values");
    framed(Kind::Header, &json)
}

fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, payload, usize::MAX).expect("short");
    out
}

/// Reads a whole push; what came, as text.
fn read(frames: &[Vec<u8>]) -> Result<Vec<String>, Reject> {
    let mut body = PushBody::open(io::Cursor::new(frames.concat()), LIMIT)?;
    let mut parts = Vec::new();
    while let Some(part) = body.next()? {
        parts.push(match part {
            Part::Header(header) => format!("header {}", header.envelopes),
            Part::Pack(pack) => {
                let mut bytes = Vec::new();
                match pack.read_to_end(&mut bytes) {
                    Ok(_) => format!("pack {}", String::from_utf8_lossy(&bytes)),
                    Err(error) => format!("pack error {:?}", error.kind()),
                }
            }
            Part::Envelope(bytes) => format!("envelope {}", String::from_utf8_lossy(&bytes)),
        });
    }
    Ok(parts)
}

/// The fault that the answer to such a push names.
fn fault(frames: &[Vec<u8>]) -> String {
    let mut body = match PushBody::open(io::Cursor::new(frames.concat()), LIMIT) {
        Ok(body) => body,
        Err(reject) => return reject.code().to_owned(),
    };
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
        header(Some(5), 2),
        framed(Kind::Pack, b"PA"),
        framed(Kind::Pack, b"CK!"),
        framed(Kind::Envelope, b"one"),
        framed(Kind::Envelope, b"two"),
        framed(Kind::End, b""),
    ]);
    let expected = ["header 2", "pack PACK!", "envelope one", "envelope two"];
    assert_eq!(parts.expect("a sound push"), expected);
}

#[test]
fn reads_envelopes_without_a_pack() {
    let parts = read(&[
        header(None, 1),
        framed(Kind::Envelope, b"one"),
        framed(Kind::End, b""),
    ]);
    assert_eq!(parts.expect("a sound push"), ["header 1", "envelope one"]);
}

#[test]
fn skips_a_pack_that_nobody_reads() {
    let frames = [
        header(Some(3), 1),
        framed(Kind::Pack, b"abc"),
        framed(Kind::Envelope, b"one"),
        framed(Kind::End, b""),
    ];
    let mut body = PushBody::open(io::Cursor::new(frames.concat()), LIMIT).expect("a header");
    let mut envelopes = 0;
    while let Some(part) = body.next().expect("sound") {
        envelopes += usize::from(matches!(part, Part::Envelope(_)));
    }
    assert_eq!(envelopes, 1);
    assert_eq!(body.take_fault(), None);
}

#[test]
fn refuses_a_pack_longer_than_declared() {
    let more = [
        header(Some(3), 0),
        framed(Kind::Pack, b"abc"),
        framed(Kind::Pack, b"d"),
        framed(Kind::End, b""),
    ];
    assert_eq!(fault(&more), "excess");
    let at_once = [header(Some(3), 0), framed(Kind::Pack, b"abcd")];
    assert_eq!(fault(&at_once), "excess");
    let none = [header(None, 0), framed(Kind::Pack, b"a")];
    assert_eq!(fault(&none), "excess");
}

#[test]
fn the_pack_reader_fails_rather_than_end_early() {
    let short = [
        header(Some(3), 0),
        framed(Kind::Pack, b"ab"),
        framed(Kind::End, b""),
    ];
    assert_eq!(fault(&short), "truncated");
    let cut = [header(Some(3), 0), framed(Kind::Pack, b"abc")[..6].to_vec()];
    assert_eq!(fault(&cut), "truncated");
    let excess = [header(Some(1), 0), framed(Kind::Pack, b"ab")].concat();
    let mut body = PushBody::open(io::Cursor::new(excess), LIMIT).expect("a header");
    body.next().expect("the header");
    let Some(Part::Pack(pack)) = body.next().expect("the pack") else {
        panic!("a pack was declared");
    };
    let error = pack.read(&mut [0; 8]).expect_err("more than declared");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    pack.read(&mut [0; 8]).expect_err("still failing");
    body.next().expect_err("nothing more comes of it");
}

#[test]
fn refuses_a_wrong_number_of_envelopes() {
    let fewer = [
        header(None, 2),
        framed(Kind::Envelope, b"one"),
        framed(Kind::End, b""),
    ];
    assert_eq!(fault(&fewer), "truncated");
    let more = [
        header(None, 0),
        framed(Kind::Envelope, b"one"),
        framed(Kind::End, b""),
    ];
    assert_eq!(fault(&more), "excess");
    let no_end = [header(None, 1), framed(Kind::Envelope, b"one")];
    assert_eq!(fault(&no_end), "truncated");
}

#[test]
fn refuses_what_the_header_may_not_say() {
    assert_eq!(fault(&[header(Some(LIMIT + 1), 0)]), "too-long");
    assert_eq!(fault(&[header(Some(0), 0)]), "malformed");
    assert_eq!(fault(&[header(None, u32::MAX)]), "too-many");
    assert_eq!(fault(&[framed(Kind::Header, b"{}")]), "malformed");
    assert_eq!(fault(&[framed(Kind::Header, &[b' '; 5000])]), "too-long");
    assert_eq!(fault(&[framed(Kind::Pack, b"a")]), "unexpected-frame");
    assert_eq!(fault(&[]), "truncated");
}

#[test]
fn refuses_frames_of_bad_lengths() {
    let long = vec![0; PACK_FRAME_MAX + 1];
    let frames = [header(Some(LIMIT), 0), framed(Kind::Pack, &long)];
    assert_eq!(fault(&frames), "malformed");
    let frames = [header(Some(LIMIT), 0), framed(Kind::Pack, b"")];
    assert_eq!(fault(&frames), "malformed");
    let long = vec![0; ENVELOPE_MAX + 1];
    assert_eq!(
        fault(&[header(None, 1), framed(Kind::Envelope, &long)]),
        "too-long"
    );
    assert_eq!(
        fault(&[header(None, 0), framed(Kind::End, b"x")]),
        "unexpected-frame"
    );
}

#[test]
fn every_cut_of_a_push_is_a_fault() {
    let whole = [
        header(Some(3), 1),
        framed(Kind::Pack, b"abc"),
        framed(Kind::Envelope, b"one"),
        framed(Kind::End, b""),
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
        let _ = fault(&[header(Some(100), 2), bytes]);
    }

    #[test]
    fn any_frames_give_parts_or_a_fault(
        frames in proptest::collection::vec((1u8..=4, proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
        pack in proptest::option::of(1u64..30),
        envelopes in 0u32..4,
    ) {
        let mut push = vec![header(pack, envelopes)];
        for (kind, payload) in frames {
            let mut frame = framed(Kind::Envelope, &payload);
            frame[0] = kind;
            push.push(frame);
        }
        // Read in full and read with the pack skipped: the same verdict.
        let skipped = {
            let mut body = PushBody::open(io::Cursor::new(push.concat()), LIMIT).expect("a header");
            while let Ok(Some(_)) = body.next() {}
            body.take_fault().map(|fault| fault.code).unwrap_or_default()
        };
        prop_assert_eq!(fault(&push), skipped);
    }
}
