//! Somebody in between, somebody who listened, and somebody who guesses. The order is that of docs/spec/pairing.md §8.

use std::sync::atomic::Ordering;
use std::thread;

use gitback_pairing::{AllowError, Ended, GuestError};

use crate::second::{self, Line, guest_proof, key};
use crate::world::{
    Heard, Home, OTHER_WORDS, WORDS, clock, code, connect, is_not_accepted, listener, mars,
    mars_by, try_code, venus,
};

/// Ends TLS on both sides with keys of its own, and passes every message on.
#[test]
fn a_man_in_the_middle_who_passes_everything_on_gets_proofs_for_the_wrong_channel() {
    let carried = Home::of_dan().carried();
    let (mut host, host_address) = mars(&carried);
    let (listener, address) = listener();
    let heard = Heard::default();
    thread::scope(|scope| {
        let middle = scope.spawn(|| {
            let mut to_guest = Line::answer(&listener, second::ALPN).expect("a channel");
            let mut to_host = Line::dial(host_address);
            assert_ne!(to_guest.exporter, to_host.exporter);
            let hello = to_guest.expect(second::HELLO);
            to_host.send(second::HELLO, &hello);
            let (kind, answer) = to_host.receive().expect("an answer");
            to_guest.send(kind, &answer);
            assert!(to_host.receive().is_none() && to_guest.receive().is_none());
            (hello, kind, answer)
        });
        let guest = scope.spawn(|| try_code(address, &code()));
        let deciding = scope.spawn(|| host.wait(&mut heard.hear()).map(drop));
        is_not_accepted(&guest.join().expect("no panic"));
        let (hello, kind, answer) = middle.join().expect("no panic");
        assert_eq!((kind, answer.as_slice()), (second::REFUSED, &[1][..]));
        assert_eq!(&hello[32..], second::INTRODUCTION);
        // One try is gone, and the right guest still gets in.
        let right = connect(host_address)
            .prove(&code(), &venus())
            .expect("proven");
        deciding.join().expect("no panic").expect("a guest");
        drop(right);
    });
    assert_eq!(heard.tries_left(), [2]);
}

/// What a host answers to a hello that it cannot answer.
type Way = fn(&[u8], &Line) -> Vec<u8>;

/// Sends the guest's own proof back, or makes one up: it is told nothing, and sends nothing more.
#[test]
fn a_host_that_does_not_know_the_code_is_not_believed() {
    let reflect = |hello: &[u8], _: &Line| hello[..32].to_vec();
    let invent = |_: &[u8], _: &Line| vec![7; 32];
    let guess = |hello: &[u8], line: &Line| {
        let key = key(OTHER_WORDS, &line.exporter);
        second::host_proof(
            &key,
            &hello[..32],
            &hello[32..],
            &second::of_mars(&"00".repeat(32)),
        )
        .to_vec()
    };
    let nothing = |_: &[u8], _: &Line| Vec::new();
    let ways: [Way; 4] = [reflect, invent, guess, nothing];
    for way in ways {
        let (listener, address) = listener();
        thread::scope(|scope| {
            let host = scope.spawn(|| {
                let mut line = Line::answer(&listener, second::ALPN).expect("a channel");
                let hello = line.expect(second::HELLO);
                let mut answer = way(&hello, &line);
                if !answer.is_empty() {
                    answer.extend_from_slice(&second::of_mars(&"00".repeat(32)));
                }
                line.send(second::PROVEN, &answer);
                line.send(second::PUDDLE, b"{}");
                line.receive()
            });
            let outcome = try_code(address, &code());
            assert!(matches!(outcome, Some(GuestError::Unproven)), "{outcome:?}");
            assert_eq!(
                host.join().expect("no panic"),
                None,
                "the guest says no more"
            );
        });
    }
}

/// Who has proven nothing does not make a person believe that somebody has said no.
#[test]
fn before_the_host_has_proven_anything_all_its_reasons_are_one() {
    for reason in [1, 2, 3, 4, 5, 6, 99] {
        let (listener, address) = listener();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut line = Line::answer(&listener, second::ALPN).expect("a channel");
                line.expect(second::HELLO);
                line.send(second::REFUSED, &[reason]);
            });
            is_not_accepted(&try_code(address, &code()));
        });
    }
}

#[test]
fn what_a_guest_sent_is_of_no_use_on_another_connection() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    let heard = Heard::default();
    thread::scope(|scope| {
        let recorded = scope.spawn(|| {
            let mut line = Line::dial(address);
            let hello = line.hello(WORDS);
            line.expect(second::PROVEN);
            hello
        });
        drop(host.wait(&mut heard.hear()).expect("a guest"));
        let recorded = recorded.join().expect("no panic");
        let replay = scope.spawn(move || {
            let mut line = Line::dial(address);
            line.send(second::HELLO, &recorded);
            assert_eq!(line.expect(second::REFUSED), [1]);
            // Also the same connection takes no second one.
            line.hello(WORDS);
            assert_eq!(line.receive(), None);
            drop(connect(address).prove(&code(), &venus()).expect("proven"));
        });
        drop(host.wait(&mut heard.hear()).expect("the right guest"));
        replay.join().expect("no panic");
    });
    assert_eq!(heard.tries_left(), [2]);
}

/// A proof is for one introduction: who changes the name that the person will see needs the code.
#[test]
fn another_introduction_needs_another_proof() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    let heard = Heard::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut line = Line::dial(address);
            let proof = guest_proof(&key(WORDS, &line.exporter), second::INTRODUCTION);
            let other = br#"{"name":"titan","system":"linux"}"#;
            line.send(second::HELLO, &[&proof[..], other].concat());
            assert_eq!(line.expect(second::REFUSED), [1]);
            drop(connect(address).prove(&code(), &venus()).expect("proven"));
        });
        drop(host.wait(&mut heard.hear()).expect("the right guest"));
    });
    assert_eq!(heard.tries_left(), [2]);
}

/// One neighbour cannot end the pairing of others, and does not get a fourth try.
#[test]
fn three_wrong_codes_shut_one_machine_out_and_no_other() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    let heard = Heard::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let guess = |words| {
                let mut line = Line::dial_from([127, 0, 0, 2].into(), address);
                line.hello(words);
                assert_eq!(line.expect(second::REFUSED), [1]);
            };
            for _ in 0..3 {
                guess(OTHER_WORDS);
            }
            // Not even the right one.
            guess(WORDS);
            drop(connect(address).prove(&code(), &venus()).expect("proven"));
        });
        drop(host.wait(&mut heard.hear()).expect("the right guest"));
    });
    assert_eq!(heard.tries_left(), [2, 1, 0]);
}

#[test]
fn sixty_four_wrong_codes_kill_the_right_one() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    let heard = Heard::default();
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..64_u8 {
                let from = [127, 0, 1, 1 + number / 3].into();
                let mut line = Line::dial_from(from, address);
                line.hello(OTHER_WORDS);
                assert_eq!(line.expect(second::REFUSED), [1]);
            }
        });
        host.wait(&mut heard.hear()).map(drop).expect_err("dead")
    });
    assert!(matches!(ended, Ended::TooManyTries), "{ended:?}");
    assert_eq!(heard.tries_left().len(), 64);
    is_not_accepted(&try_code(address, &code()));
    let again = host.wait(&mut heard.hear()).map(drop).expect_err("dead");
    assert!(matches!(again, Ended::TooManyTries), "{again:?}");
}

#[test]
fn a_code_works_once() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            let waiting = connect(address).prove(&code(), &venus()).expect("proven");
            waiting
                .wait()
                .expect("allowed")
                .installed(None)
                .expect("told")
        });
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        let installed = asking.allow(&carried, None).expect("sent");
        // Also while the first is still there.
        is_not_accepted(&try_code(address, &code()));
        installed.answer(None).expect("told");
        guest.join().expect("no panic");
    });
    is_not_accepted(&try_code(address, &code()));
    let ended = host.wait(&mut |_| ()).map(drop).expect_err("used");
    assert!(matches!(ended, Ended::Used), "{ended:?}");
}

#[test]
fn a_code_that_was_sent_its_puddle_is_used_also_if_nothing_came_back() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut line = Line::dial(address);
            line.hello(WORDS);
            line.expect(second::PROVEN);
            line.expect(second::PUDDLE);
        });
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        let unsure = asking.allow(&carried, None).expect_err("cut");
        assert!(matches!(unsure, AllowError::Unsure(_)), "{unsure:?}");
    });
    is_not_accepted(&try_code(address, &code()));
    let ended = host.wait(&mut |_| ()).map(drop).expect_err("used");
    assert!(matches!(ended, Ended::Used), "{ended:?}");
}

#[test]
fn an_expired_code_is_refused_like_a_wrong_one() {
    let carried = Home::of_dan().carried();
    let (clock, seconds) = clock();
    let (mut host, address) = mars_by(&carried, clock);
    let heard = Heard::default();
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            // There in time, and too late with the proof.
            let guest = connect(address);
            seconds.fetch_add(300, Ordering::SeqCst);
            is_not_accepted(&guest.prove(&code(), &venus()).err());
        });
        host.wait(&mut heard.hear()).map(drop).expect_err("expired")
    });
    assert!(matches!(ended, Ended::Expired), "{ended:?}");
    assert!(heard.tries_left().is_empty());
    is_not_accepted(&try_code(address, &code()));
}

#[test]
fn a_code_holds_until_its_last_second() {
    let carried = Home::of_dan().carried();
    let (clock, seconds) = clock();
    let (mut host, address) = mars_by(&carried, clock);
    thread::scope(|scope| {
        scope.spawn(|| {
            let guest = connect(address);
            seconds.fetch_add(299, Ordering::SeqCst);
            drop(guest.prove(&code(), &venus()).expect("proven"));
        });
        drop(host.wait(&mut |news| panic!("{news:?}")).expect("a guest"));
    });
}

#[test]
fn of_two_guests_who_know_the_code_only_one_is_asked_about() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        let first = scope.spawn(|| connect(address).prove(&code(), &venus()).expect("proven"));
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        let first = first.join().expect("no panic");
        is_not_accepted(&try_code(address, &code()));
        drop((asking, first));
        // The first left without an answer: whoever comes now is asked about.
        let next = scope.spawn(|| connect(address).prove(&code(), &venus()).expect("proven"));
        drop(host.wait(&mut |news| panic!("{news:?}")).expect("a guest"));
        drop(next.join().expect("no panic"));
    });
}
