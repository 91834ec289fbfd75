//! A partner who knows the code and means no good, or breaks off.

use std::thread;

use gitback_identity::hex;
use gitback_pairing::{AllowError, Ended, GuestError, WireError};

use crate::second::{self, Line};
use crate::world::{Home, WORDS, code, connect, listener, mars, venus};

/// What a guest makes of a host that knows the code and sends `puddle`.
fn sent(puddle: Option<&[u8]>, says: &[u8]) -> (GuestError, Option<(u8, Vec<u8>)>) {
    let (listener, address) = listener();
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            let mut line = Line::answer(&listener, second::ALPN).expect("a channel");
            line.prove(WORDS, says);
            line.send(second::PUDDLE, puddle?);
            line.receive()
        });
        let waiting = connect(address).prove(&code(), &venus());
        let outcome = waiting.and_then(|waiting| waiting.wait().map(drop));
        (
            outcome.expect_err("refused"),
            host.join().expect("no panic"),
        )
    })
}

fn form(current: &[u8], retired: &[&[u8]]) -> Vec<u8> {
    let retired: Vec<String> = retired
        .iter()
        .map(|bytes| format!("\"{}\"", hex::encode(bytes)))
        .collect();
    let current = hex::encode(current);
    format!(
        r#"{{"current":"{current}","retired":[{}],"fleet":null}}"#,
        retired.join(",")
    )
    .into_bytes()
}

#[test]
fn a_puddle_that_is_not_sound_is_refused_before_a_byte_is_written() {
    let carried = Home::of_dan().carried();
    let says = second::of_mars(&carried.public().key.to_string());
    let current = carried.current();
    let many = vec![current; 65];
    for payload in [
        b"{}".to_vec(),
        b"".to_vec(),
        form(b"{}", &[]),
        form(current, &[b"{}"]),
        form(current, &[current]),
        form(current, &many),
        form(&[b' '; 5000], &[]),
        [form(current, &[]), b"x".to_vec()].concat(),
    ] {
        let (outcome, told) = sent(Some(&payload), &says);
        assert!(matches!(outcome, GuestError::Unsound(_)), "{outcome:?}");
        assert_eq!(told, Some((second::REFUSED, vec![4])));
    }
}

#[test]
fn another_puddle_than_was_said_is_refused() {
    let carried = Home::of_dan().carried();
    let payload = form(carried.current(), &[]);
    let other = carried.retired().next().expect("a retired key").to_vec();
    let says = second::of_mars(&carried.public().key.to_string());
    let (outcome, told) = sent(Some(&form(&other, &[])), &says);
    assert!(matches!(outcome, GuestError::OtherPuddle), "{outcome:?}");
    assert_eq!(told, Some((second::REFUSED, vec![4])));

    let says = String::from_utf8(says)
        .expect("UTF-8")
        .replace("dan", "eve");
    let (outcome, _) = sent(Some(&payload), says.as_bytes());
    assert!(matches!(outcome, GuestError::OtherPuddle), "{outcome:?}");
}

#[test]
fn a_host_that_says_nonsense_of_itself_is_left() {
    for says in [&b""[..], b"{}", &second::of_mars("00")] {
        let (outcome, _) = sent(None, says);
        assert!(
            matches!(outcome, GuestError::Wire(WireError::Unexpected)),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_host_that_breaks_off_before_the_puddle_leaves_nothing() {
    let carried = Home::of_dan().carried();
    let says = second::of_mars(&carried.public().key.to_string());
    let (outcome, _) = sent(None, &says);
    assert!(
        matches!(outcome, GuestError::Wire(WireError::Cut)),
        "{outcome:?}"
    );
}

#[test]
fn a_host_that_breaks_off_within_the_puddle_leaves_nothing() {
    let carried = Home::of_dan().carried();
    let says = second::of_mars(&carried.public().key.to_string());
    let (listener, address) = listener();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut line = Line::answer(&listener, second::ALPN).expect("a channel");
            line.prove(WORDS, &says);
            line.send_raw(&[second::PUDDLE, 0, 0, 4, 0, b'{', b'"']);
        });
        let waiting = connect(address).prove(&code(), &venus()).expect("proven");
        let outcome = waiting.wait().expect_err("cut");
        assert!(
            matches!(outcome, GuestError::Wire(WireError::Cut)),
            "{outcome:?}"
        );
    });
}

#[test]
fn a_puddle_of_more_than_a_mebibyte_takes_no_memory() {
    let carried = Home::of_dan().carried();
    let says = second::of_mars(&carried.public().key.to_string());
    let (listener, address) = listener();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut line = Line::answer(&listener, second::ALPN).expect("a channel");
            line.prove(WORDS, &says);
            line.send_raw(&[second::PUDDLE, 0x7f, 0xff, 0xff, 0xff]);
            line.receive();
        });
        let waiting = connect(address).prove(&code(), &venus()).expect("proven");
        let outcome = waiting.wait().expect_err("too much");
        assert!(
            matches!(outcome, GuestError::Wire(WireError::TooMuch)),
            "{outcome:?}"
        );
    });
}

/// It would be told "installed" before anything was sent.
#[test]
fn a_guest_that_answers_before_it_is_asked_is_taken_for_gone() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        let hasty = scope.spawn(|| {
            let mut line = Line::dial(address);
            line.hello(WORDS);
            line.send(second::INSTALLED, b"{\"fleet\":null}");
            line.expect(second::PROVEN);
            line
        });
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        let mut line = hasty.join().expect("no panic");
        let left = asking.allow(&carried, None).expect_err("out of turn");
        assert!(matches!(left, AllowError::Left), "{left:?}");
        assert_eq!(line.receive(), None, "nothing was sent");
    });
}

#[test]
fn a_guest_that_answers_nonsense_has_used_up_the_code() {
    let carried = Home::of_dan().carried();
    for nonsense in [&b""[..], b"{\"fleet\":\"zz\"}", b"{\"more\":1}"] {
        let (mut host, address) = mars(&carried);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut line = Line::dial(address);
                line.hello(WORDS);
                line.expect(second::PROVEN);
                line.expect(second::PUDDLE);
                line.send(second::INSTALLED, nonsense);
                line.receive();
            });
            let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
            let unsure = asking.allow(&carried, None).expect_err("nonsense");
            assert!(matches!(unsure, AllowError::Unsure(_)), "{unsure:?}");
        });
        let ended = host.wait(&mut |_| ()).map(drop).expect_err("used");
        assert!(matches!(ended, Ended::Used), "{ended:?}");
    }
}
