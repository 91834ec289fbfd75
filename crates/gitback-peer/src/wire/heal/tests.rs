use super::*;
use crate::limits::{ASKED_IDS_MAX, ENVELOPE_MAX};

#[test]
fn the_most_refs_fit() {
    let fresh = Fresh {
        refs: vec![vec![0xff; REF_NAME_MAX]; FRESH_REFS_MAX],
        digest: [7; 32],
    };
    let json = fresh.encode().expect("fits");
    assert_eq!(Fresh::decode(&json).expect("own bytes"), fresh);
}

#[test]
fn fresh_looks_as_specified() {
    let fresh = Fresh {
        refs: vec![b"refs/heads/a".to_vec()],
        digest: [0xab; 32],
    };
    let digest = "ab".repeat(32);
    let expected = format!(r#"{{"refs":["726566732f68656164732f61"],"digest":"{digest}"}}"#);
    let json = fresh.encode().expect("small");
    assert_eq!(String::from_utf8_lossy(&json), expected);
    let answer = FreshAnswer {
        digest: [0xab; 32],
        wait: true,
    };
    let json = answer.encode().expect("small");
    let expected = format!(r#"{{"digest":"{digest}","wait":true}}"#);
    assert_eq!(String::from_utf8_lossy(&json), expected);
    assert_eq!(FreshAnswer::decode(&json).expect("own bytes"), answer);
}

#[test]
fn refuses_bad_questions() {
    let code = |refs: &str| {
        let json = format!(r#"{{"refs":[{refs}],"digest":"{}"}}"#, "ab".repeat(32));
        Fresh::decode(json.as_bytes()).unwrap_err().code()
    };
    assert_eq!(code(r#""AB""#), "malformed");
    let long = format!(r#""{}""#, "61".repeat(REF_NAME_MAX + 1));
    assert_eq!(code(&long), "malformed");
    assert_eq!(
        code(&vec![r#""61""#; FRESH_REFS_MAX + 1].join(",")),
        "too-many"
    );
    let long = vec![b' '; FRESH_MAX + 1];
    assert_eq!(Fresh::decode(&long).unwrap_err().code(), "too-long");
}

#[test]
fn messages_round_trip_up_to_the_limits() {
    for messages in [
        Vec::new(),
        vec![Vec::new(), b"one".to_vec()],
        vec![vec![7; GOSSIP_MESSAGE_MAX]; GOSSIP_MESSAGES_MAX],
    ] {
        let body = encode_messages(&messages).expect("fits");
        assert!(body.len() <= GOSSIP_MAX);
        assert_eq!(decode_messages(&body).expect("own bytes"), messages);
    }
}

#[test]
fn refuses_bad_messages() {
    let frame = |kind: u8, payload: &[u8]| {
        let len = u32::try_from(payload.len()).expect("short");
        [&[kind][..], &len.to_be_bytes(), payload].concat()
    };
    let code = |frames: &[Vec<u8>]| decode_messages(&frames.concat()).unwrap_err().code();
    let end = frame(4, b"");
    assert_eq!(code(&[frame(7, b"x")]), "truncated");
    assert_eq!(code(&[frame(3, b"x"), end.clone()]), "unexpected-frame");
    assert_eq!(code(&[end.clone(), end.clone()]), "unexpected-frame");
    assert_eq!(code(&[vec![7, 0xff, 0xff, 0xff, 0xff]]), "too-long");
    let long = frame(7, &vec![0; GOSSIP_MESSAGE_MAX + 1]);
    assert_eq!(code(&[long, end.clone()]), "too-long");
    let mut many = vec![frame(7, b""); GOSSIP_MESSAGES_MAX + 1];
    many.push(end);
    assert_eq!(code(&many), "too-many");
    assert!(encode_messages(&vec![Vec::new(); GOSSIP_MESSAGES_MAX + 1]).is_err());
    assert!(encode_messages(&[vec![0; GOSSIP_MESSAGE_MAX + 1]]).is_err());
}

#[test]
fn ids_round_trip_up_to_the_limit() {
    let ids = vec![[0xab; 32]; ASKED_IDS_MAX];
    let json = encode_ids(&ids, ASKED_IDS_MAX).expect("fits");
    assert_eq!(decode_ids(&json, ASKED_IDS_MAX).expect("own bytes"), ids);
    let reject = decode_ids(&json, ASKED_IDS_MAX - 1).unwrap_err();
    assert_eq!(reject.code(), "too-many");
    assert!(encode_ids(&ids, ASKED_IDS_MAX - 1).is_err());
    assert_eq!(decode_ids(b"[]", 1).unwrap_err().code(), "malformed");
}

#[test]
fn a_page_round_trips_and_is_bounded() {
    let page = vec![vec![3; ENVELOPE_MAX], b"two".to_vec()];
    let body = encode_page(&page).expect("fits");
    assert_eq!(decode_page(&body).expect("own bytes"), page);
    let large = vec![vec![3; 1 << 20]; 9];
    assert!(encode_page(&large).is_err());
    let mut long = body.clone();
    long.push(0);
    assert_eq!(decode_page(&long).unwrap_err().code(), "malformed");
    assert_eq!(
        decode_page(&body[..body.len() - 5]).unwrap_err().code(),
        "truncated"
    );
}
