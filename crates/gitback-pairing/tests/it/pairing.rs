//! What is meant to work.

use std::sync::atomic::Ordering;
use std::thread;

use gitback_identity::hex;
use gitback_pairing::{AllowError, Ended, GuestError, InstalledOutcome, RefuseReason};
use gitback_puddle::{Passphrase, install, read_retired, unwrap};

use rustix::event::{PollFd, PollFlags, poll};

use crate::second::{self, Line};
use crate::world::{
    Home, PASSPHRASE, clock, code, connect, is_not_accepted, listener, mars, mars_by, try_code,
    venus,
};

#[test]
fn the_puddle_arrives_and_opens_under_its_passphrase() {
    let (dan, there) = (Home::of_dan(), Home::empty());
    let carried = dan.carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            let waiting = connect(address).prove(&code(), &venus()).expect("proven");
            assert_eq!(waiting.host().name(), "mars");
            assert_eq!(waiting.host().puddle().as_str(), "dan");
            let arrived = waiting.wait().expect("allowed");
            assert_eq!(arrived.offer(), Some(&b"an offer"[..]));
            let challenge = arrived.challenge();
            install(&there.puddle, arrived.carried()).expect("installed");
            let answer = arrived.installed(Some(b"a request")).expect("answered");
            (challenge, answer)
        });
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        assert_eq!(asking.introduction().to_string(), "venus (linux)");
        assert!(asking.from().is_loopback());
        let challenge = asking.challenge();
        let installed = asking.allow(&carried, Some(b"an offer")).expect("sent");
        assert_eq!(installed.outcome(), InstalledOutcome::Done);
        assert_eq!(installed.request(), Some(&b"a request"[..]));
        installed.answer(Some(b"an enrolment")).expect("told");
        let (of_guest, answer) = guest.join().expect("no panic");
        assert_eq!(of_guest, challenge);
        assert_eq!(answer.as_deref(), Some(&b"an enrolment"[..]));
    });
    let passphrase = Passphrase::new(PASSPHRASE.to_owned()).expect("a passphrase");
    let secret = unwrap(&there.puddle, &passphrase).expect("opens");
    assert_eq!(secret.seed(), &Home::seeds()[1]);
    assert_eq!(read_retired(&there.puddle).expect("read").len(), 1);
}

/// Everything that a host sends and everything that a guest sends, as the spec has it and by an implementation of its own.
#[test]
fn passphrase_and_secrets_are_in_no_byte_that_is_sent() {
    let (dan, there) = (Home::of_dan(), Home::empty());
    let carried = dan.carried();
    let (mut host, address) = mars(&carried);
    let of_host = thread::scope(|scope| {
        let guest = scope.spawn(|| {
            let mut line = Line::dial(address);
            line.hello(crate::world::WORDS);
            let proven = line.expect(second::PROVEN);
            let public = carried.public().key.to_string();
            assert_eq!(&proven[32..], second::of_mars(&public));
            let puddle = line.expect(second::PUDDLE);
            assert!(puddle.starts_with(b"{\"current\":\""));
            line.send(second::INSTALLED, b"{\"fleet\":null}");
            assert_eq!(line.expect(second::FLEET), b"{\"fleet\":null}");
            line.seen
        });
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        let installed = asking.allow(&carried, None).expect("sent");
        installed.answer(None).expect("told");
        guest.join().expect("no panic")
    });
    let (listener, address) = listener();
    let of_guest = thread::scope(|scope| {
        let host = scope.spawn(|| {
            let mut line = Line::answer(&listener, second::ALPN).expect("a channel");
            let public = carried.public().key.to_string();
            line.prove(crate::world::WORDS, &second::of_mars(&public));
            let retired: Vec<String> = carried.retired().map(hex::encode).collect();
            let current = hex::encode(carried.current());
            let puddle = format!(
                r#"{{"current":"{current}","retired":["{}"],"fleet":null}}"#,
                retired.join("\",\"")
            );
            line.send(second::PUDDLE, puddle.as_bytes());
            line.expect(second::INSTALLED);
            line.send(second::FLEET, b"{\"fleet\":null}");
            line.seen
        });
        let waiting = connect(address).prove(&code(), &venus()).expect("proven");
        let arrived = waiting.wait().expect("allowed");
        install(&there.puddle, arrived.carried()).expect("installed");
        assert_eq!(arrived.installed(None).expect("told"), None);
        host.join().expect("no panic")
    });
    for (who, sent) in [("host", of_host), ("guest", of_guest)] {
        assert!(!sent.is_empty());
        let has = |bytes: &[u8]| sent.windows(bytes.len()).any(|window| window == bytes);
        assert!(!has(PASSPHRASE.as_bytes()), "the {who} sent the passphrase");
        assert!(!has(hex::encode(PASSPHRASE.as_bytes()).as_bytes()), "{who}");
        for seed in Home::seeds() {
            assert!(!has(&seed), "the {who} sent a seed");
            assert!(
                !has(hex::encode(&seed).as_bytes()),
                "the {who} sent a seed in hex"
            );
        }
        for word in crate::world::WORDS.split(' ') {
            assert!(!has(word.as_bytes()), "the {who} sent the word {word}");
        }
    }
}

#[test]
fn a_no_is_told_and_ends_the_code() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            let waiting = connect(address).prove(&code(), &venus()).expect("proven");
            waiting.wait().expect_err("declined")
        });
        host.wait(&mut |news| panic!("{news:?}"))
            .expect("a guest")
            .decline();
        let told = guest.join().expect("no panic");
        assert!(matches!(told, GuestError::Declined), "{told:?}");
    });
    is_not_accepted(&try_code(address, &code()));
    let ended = host.wait(&mut |_| ()).expect_err("ended");
    assert!(matches!(ended, Ended::Used), "{ended:?}");
}

#[test]
fn a_guest_that_cannot_install_says_why() {
    for (reason, expected) in [
        (RefuseReason::Exists, InstalledOutcome::Exists),
        (RefuseReason::DiskFull, InstalledOutcome::DiskFull),
        (RefuseReason::Failed, InstalledOutcome::Failed),
    ] {
        let carried = Home::of_dan().carried();
        let (mut host, address) = mars(&carried);
        thread::scope(|scope| {
            scope.spawn(|| {
                let waiting = connect(address).prove(&code(), &venus()).expect("proven");
                waiting.wait().expect("allowed").refuse(reason);
            });
            let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
            let installed = asking.allow(&carried, None).expect("sent");
            assert_eq!(installed.outcome(), expected);
            installed.answer(None).expect("nothing to tell");
        });
    }
}

#[test]
fn a_guest_that_leaves_before_it_is_allowed_leaves_the_code_alive() {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    thread::scope(|scope| {
        let leaving = scope.spawn(|| drop(connect(address).prove(&code(), &venus())));
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        leaving.join().expect("no panic");
        let left = asking.allow(&carried, None).expect_err("it left");
        assert!(matches!(left, AllowError::Left), "{left:?}");
        let guest = scope.spawn(|| {
            let waiting = connect(address).prove(&code(), &venus()).expect("proven");
            waiting
                .wait()
                .expect("allowed")
                .installed(None)
                .expect("told")
        });
        let asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        asking
            .allow(&carried, None)
            .expect("sent")
            .answer(None)
            .expect("told");
        guest.join().expect("no panic");
    });
}

/// Who is asked about it can be told, and a new try of the same guest is not refused for the old one.
#[test]
fn a_guest_that_gives_up_is_noticed_while_a_person_is_asked() {
    let carried = Home::of_dan().carried();
    let (clock, seconds) = clock();
    let (mut host, address) = mars_by(&carried, clock);
    thread::scope(|scope| {
        let guest = scope.spawn(|| connect(address).prove(&code(), &venus()).expect("proven"));
        let mut asking = host.wait(&mut |news| panic!("{news:?}")).expect("a guest");
        let waiting = guest.join().expect("no panic");
        assert!(!asking.is_gone());
        drop(waiting);
        let mut watched = [PollFd::new(&asking, PollFlags::IN)];
        assert_eq!(poll(&mut watched, None), Ok(1));
        assert!(asking.is_gone());
        drop(asking);
        assert!(host.is_open());
        let again = scope.spawn(|| connect(address).prove(&code(), &venus()).map(drop));
        drop(host.wait(&mut |news| panic!("{news:?}")).expect("a guest"));
        again.join().expect("no panic").expect("proven");
        seconds.fetch_add(300, Ordering::SeqCst);
        assert!(!host.is_open(), "its time is over");
    });
}
