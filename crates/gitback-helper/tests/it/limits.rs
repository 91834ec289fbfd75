use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use gitback_helper::{Failure, FrameError, Limits, Listener, ReadError, Reply, Request, exit_code};

use crate::place::{Place, SOON, ask, serve_one};

fn short() -> Limits {
    Limits {
        request: Duration::from_millis(80),
        reply: Duration::from_millis(80),
        ..Limits::default()
    }
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_does_not_hold_the_server() {
    let place = Place::new();
    let outcome = serve_one(place.listen(short()), |mut connection| {
        connection.read_request()
    });
    let mut stream = UnixStream::connect(place.socket()).expect("the listener is there");
    // A header that promises more than ever comes, and bytes for as long as they are taken:
    // each of them would start a deadline anew if it were one for each read.
    stream
        .write_all(&60_000_u32.to_be_bytes())
        .expect("the server is there");
    stream
        .set_read_timeout(Some(Duration::from_millis(5)))
        .expect("a timeout");
    let outcome = loop {
        let _ = stream.write_all(b" ");
        // Waits a little, or sees the server leave.
        let _ = stream.read(&mut [0]);
        if let Ok(outcome) = outcome.try_recv() {
            break outcome;
        }
    };

    let error = outcome.expect_err("the request never ends");
    assert!(
        matches!(error, ReadError::Frame(FrameError::TimedOut { .. })),
        "{error:?}"
    );
}

#[test]
fn a_client_that_says_nothing_does_not_hold_the_server() {
    let place = Place::new();
    let outcome = serve_one(place.listen(short()), |mut connection| {
        connection.read_request()
    });
    let _stalled = UnixStream::connect(place.socket()).expect("the listener is there");

    let error = outcome
        .recv_timeout(SOON)
        .expect("the server ends")
        .expect_err("no request");
    assert!(
        matches!(error, ReadError::Frame(FrameError::TimedOut { .. })),
        "{error:?}"
    );
}

#[test]
fn a_client_that_does_not_read_does_not_hold_the_server() {
    let place = Place::new();
    let outcome = serve_one(place.listen(short()), |mut connection| {
        let big = Reply::Progress {
            text: "x".repeat(2_000_000),
        };
        connection.reply(&big)
    });
    let _stalled = UnixStream::connect(place.socket()).expect("the listener is there");

    let error = outcome
        .recv_timeout(SOON)
        .expect("the server ends")
        .expect_err("nobody reads");
    assert!(matches!(error, FrameError::TimedOut { .. }), "{error:?}");
}

#[test]
fn a_silent_stream_ends_after_its_idle_time() {
    let place = Place::new();
    let limits = Limits {
        stream_idle: Duration::from_millis(60),
        ..Limits::default()
    };
    let outcome = serve_one(place.listen(limits), |connection| {
        let (mut stream, _slot) = connection.into_stream().expect("a stream");
        stream.read(&mut [0]).map_err(|error| error.kind())
    });
    let _stalled = UnixStream::connect(place.socket()).expect("the listener is there");

    assert_eq!(
        outcome.recv_timeout(SOON).expect("the server ends"),
        Err(std::io::ErrorKind::WouldBlock)
    );
}

#[test]
fn a_conversation_has_a_last_request() {
    let place = Place::new();
    let limits = Limits {
        requests_max: 2,
        ..Limits::default()
    };
    let outcome = serve_one(place.listen(limits), |mut connection| {
        loop {
            if let Err(error) = connection.read_request() {
                return error;
            }
            connection
                .reply(&Reply::Accepted {
                    notes: vec![],
                    token: None,
                })
                .expect("the client listens");
        }
    });
    let mut client = place.client();
    ask(&mut client, &Request::Envoy);
    ask(&mut client, &Request::Envoy);

    let error = outcome.recv_timeout(SOON).expect("the server ends");
    assert!(matches!(error, ReadError::TooMany { max: 2 }), "{error:?}");
}

/// Five hundred clients that connect and say nothing.
#[test]
fn stalled_clients_beyond_the_cap_are_told_and_closed() {
    let place = Place::new();
    let limits = Limits {
        connections_of_one_user_max: 4,
        ..Limits::default()
    };
    let listener = place.listen(limits);
    let stopper = listener.stopper();
    let server = std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok(connection) = listener.accept() {
            held.push(connection);
        }
        held.len()
    });
    let mut stalled: Vec<UnixStream> = Vec::new();
    let mut turned_away = 0;
    for number in 0..500 {
        if number < 4 {
            stalled.push(UnixStream::connect(place.socket()).expect("the listener is there"));
            continue;
        }
        let mut client = place.client();
        let reply = ask(&mut client, &Request::Envoy);
        assert!(
            matches!(
                reply,
                Reply::Failed(Failure {
                    code: exit_code::FAILED,
                    ..
                })
            ),
            "{reply:?}"
        );
        turned_away += 1;
    }
    stopper.stop();

    assert_eq!(turned_away, 496);
    assert_eq!(server.join().expect("the server ends"), 4);
}

#[test]
fn a_stream_counts_until_its_slot_is_given_up() {
    let place = Place::new();
    let limits = Limits {
        connections_of_one_user_max: 1,
        ..Limits::default()
    };
    let listener: Listener = place.listen(limits);
    let stopper = listener.stopper();
    let (accepted, connections) = channel();
    let server = std::thread::spawn(move || {
        while let Ok(connection) = listener.accept() {
            accepted.send(connection).expect("the test takes it");
        }
    });

    let _first = place.client();
    let first = connections.recv_timeout(SOON).expect("there is room");
    let (stream, slot) = first.into_stream().expect("a stream");
    drop(stream);
    let reply = ask(&mut place.client(), &Request::Envoy);
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");

    drop(slot);
    let _second = place.client();
    assert!(
        connections.recv_timeout(SOON).is_ok(),
        "there is room again"
    );
    stopper.stop();
    server.join().expect("the server ends");
}
