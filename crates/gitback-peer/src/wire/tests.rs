use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn tip(seed: u8) -> Tip {
    Tip {
        signer: [seed; 32],
        puddle: [seed ^ 1; 32],
        incarnation: [seed ^ 2; 16],
        seq: u64::from(seed) << 56,
        id: [seed ^ 3; 32],
    }
}

#[test]
fn sync_round_trips() {
    let request = SyncRequest {
        token: vec![b"init".to_vec(), b"grant".to_vec()],
        tips: vec![tip(1), tip(200)],
        skip: u64::MAX,
    };
    let body = request.encode().expect("small");
    assert_eq!(SyncRequest::decode(&body).expect("own bytes"), request);

    let answer = SyncAnswer {
        envelopes: vec![vec![9; 1000], Vec::new()],
        more: true,
        digest: [5; 32],
        tips: vec![tip(3)],
    };
    let body = answer.encode().expect("small");
    assert_eq!(SyncAnswer::decode(&body).expect("own bytes"), answer);
}

#[test]
fn the_most_tips_fit_everywhere() {
    let tips = vec![tip(255); TIPS_MAX];
    let request = SyncRequest {
        tips: tips.clone(),
        ..SyncRequest::default()
    };
    let body = request.encode().expect("fits");
    assert_eq!(SyncRequest::decode(&body).expect("own bytes"), request);
    let need = PushAnswer::Need {
        tips,
        haves: vec![[255; 20]; HAVES_MAX],
    };
    let json = need.encode().expect("fits");
    assert_eq!(PushAnswer::decode(&json).expect("own bytes"), need);
}

#[test]
fn a_full_page_fits_its_answer() {
    let answer = SyncAnswer {
        envelopes: vec![vec![1; SYNC_PAGE_MAX / 65_536]; 65_536],
        more: true,
        digest: [5; 32],
        tips: vec![tip(255); TIPS_MAX],
    };
    let body = answer.encode().expect("fits");
    assert!(body.len() <= crate::limits::SYNC_ANSWER_MAX);
    assert_eq!(SyncAnswer::decode(&body).expect("own bytes"), answer);
}

#[test]
fn refuses_pages_that_are_too_large() {
    let answer = |envelopes| SyncAnswer {
        envelopes,
        more: false,
        digest: [0; 32],
        tips: Vec::new(),
    };
    let large = answer(vec![vec![0; 1024 * 1024]; 9]);
    assert_eq!(large.encode().unwrap_err().code(), "too-long");
    let one = answer(vec![vec![0; ENVELOPE_MAX + 1]]);
    assert_eq!(one.encode().unwrap_err().code(), "too-long");
    let request = SyncRequest {
        tips: vec![tip(0); TIPS_MAX + 1],
        ..SyncRequest::default()
    };
    assert_eq!(request.encode().unwrap_err().code(), "too-many");
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let request = SyncRequest {
        token: vec![b"one".to_vec()],
        tips: vec![tip(1)],
        skip: 3,
    };
    let body = request.encode().expect("small");
    for cut in 0..body.len() {
        let reject = SyncRequest::decode(&body[..cut]).unwrap_err();
        assert_eq!(reject.code(), "truncated", "cut at {cut}");
    }
    let mut long = body;
    long.push(0);
    assert_eq!(SyncRequest::decode(&long).unwrap_err().code(), "malformed");
}

#[test]
fn push_messages_look_as_specified() {
    let json = PushAnswer::Durable { whole: true }.encode().expect("small");
    assert_eq!(json, br#"{"answer":"durable","whole":true}"#);
    let older = PushAnswer::decode(br#"{"answer":"durable"}"#).expect("well formed");
    assert_eq!(older, PushAnswer::Durable { whole: false });
    let need = PushAnswer::Need {
        tips: Vec::new(),
        haves: vec![[0x0f; 20]],
    };
    let expected = format!(
        r#"{{"answer":"need","tips":[],"haves":["{}"]}}"#,
        "0f".repeat(20)
    );
    assert_eq!(need.encode().expect("small"), expected.as_bytes());
    let header = PushHeader {
        pack: true,
        whole: false,
        handoff: Handoff::default(),
    };
    assert_eq!(header.encode().expect("small"), br#"{"pack":true}"#);
    let later = PushHeader::decode(br#"{"pack":false,"new":1}"#);
    let later = later.expect("a header");
    assert!(!later.pack);
    assert_eq!(later.handoff, Handoff::default());
    let info = PackInfo {
        bytes: 12,
        blake3: [0; 32],
    };
    let expected = format!(r#"{{"bytes":12,"blake3":"{}"}}"#, "00".repeat(32));
    let json = info.encode().expect("small");
    assert_eq!(json, expected.as_bytes());
    assert_eq!(PackInfo::decode(&json).expect("own bytes"), info);
}

#[test]
fn no_pack_is_empty() {
    let none = PackInfo {
        bytes: 0,
        blake3: [0; 32],
    };
    assert_eq!(none.encode().unwrap_err().code(), "malformed");
    let json = format!(r#"{{"bytes":0,"blake3":"{}"}}"#, "00".repeat(32));
    let reject = PackInfo::decode(json.as_bytes()).unwrap_err();
    assert_eq!(reject.code(), "malformed");
}

fn any_tip() -> impl Strategy<Value = Tip> {
    any::<([u8; 32], [u8; 32], [u8; 16], u64, [u8; 32])>().prop_map(
        |(signer, puddle, incarnation, seq, id)| Tip {
            signer,
            puddle,
            incarnation,
            seq,
            id,
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_give_a_value_or_a_reject(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Comparison::decode(&bytes);
        let _ = Compared::decode(&bytes);
        let _ = Fresh::decode(&bytes);
        let _ = FreshAnswer::decode(&bytes);
        let _ = decode_messages(&bytes);
        let _ = decode_ids(&bytes, 10);
        let _ = decode_page(&bytes);
        let _ = SyncRequest::decode(&bytes);
        let _ = SyncAnswer::decode(&bytes);
        let _ = PushHeader::decode(&bytes);
        let _ = PackInfo::decode(&bytes);
        let _ = PushAnswer::decode(&bytes);
        let mut framed = Vec::new();
        frame::put(&mut framed, Kind::Header, br#"{"tips":[],"envelopes":2}"#, 100).expect("short");
        framed.extend_from_slice(&bytes);
        let _ = SyncRequest::decode(&framed);
    }

    #[test]
    fn decode_inverts_encode(
        token in vec(vec(any::<u8>(), 0..50), 0..5),
        tips in vec(any_tip(), 0..5),
        skip: u64,
        digest: [u8; 32],
        more: bool,
        haves in vec(any::<[u8; 20]>(), 0..5),
    ) {
        let request = SyncRequest { token: token.clone(), tips: tips.clone(), skip };
        let body = request.encode().expect("small");
        prop_assert_eq!(SyncRequest::decode(&body).expect("own bytes"), request);
        let answer = SyncAnswer { envelopes: token, more, digest, tips: tips.clone() };
        let body = answer.encode().expect("small");
        prop_assert_eq!(SyncAnswer::decode(&body).expect("own bytes"), answer);
        let need = PushAnswer::Need { tips, haves };
        let json = need.encode().expect("small");
        prop_assert_eq!(PushAnswer::decode(&json).expect("own bytes"), need);
    }
}
