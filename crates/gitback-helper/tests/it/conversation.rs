use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use gitback_helper::{
    CallError, Client, Draft, FRAME_MAX, FrameError, Limits, Listener, Meanwhile, Patience,
    REQUEST_MAX, ReadError, Reply, Request, Service, VERSION, Wish,
};

use crate::place::{Place, SOON, ask, serve_one};

fn open() -> Request {
    Request::Open {
        version: VERSION,
        service: Service::UploadPack,
        project: "ab".repeat(32),
        handle: "notes".to_owned(),
        puddle: None,
        protocol: Some("version=2".to_owned()),
        push_wait_ms: None,
        quiet: false,
        progress: true,
        trace: false,
        called: None,
        remote: None,
    }
}

/// A frame as the specification has it, by hand.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload");
    [&length.to_be_bytes(), payload].concat()
}

/// What the server makes of `bytes` followed by the end of the client's side.
fn server_reads(bytes: &[u8]) -> Result<Request, ReadError> {
    let place = Place::new();
    let answer = serve_one(place.listen(Limits::default()), |mut connection| {
        connection.read_request()
    });
    let mut stream = UnixStream::connect(place.socket()).expect("the listener is there");
    stream
        .write_all(bytes)
        .expect("the socket takes a few bytes");
    stream
        .shutdown(Shutdown::Write)
        .expect("the socket is open");
    answer.recv_timeout(SOON).expect("the server does not hang")
}

/// What the client makes of `bytes` followed by the end of the server's side.
fn client_reads(bytes: &'static [u8]) -> Result<Reply, CallError> {
    let place = Place::new();
    let socket = place.socket();
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("the path is free");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        stream.write_all(bytes).expect("the client is there");
        stream
            .shutdown(Shutdown::Write)
            .expect("the client is there");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut client = place.client();
    let reply = client.call(&Request::Envoy, &mut |_| ());
    drop(client);
    server.join().expect("the server ends");
    reply
}

#[test]
fn several_requests_share_one_conversation() {
    let place = Place::new();
    let seen = serve_one(place.listen(Limits::default()), |mut connection| {
        let mut seen = Vec::new();
        loop {
            match connection.read_request() {
                Ok(request) => seen.push(request),
                Err(error) => return (seen, error.is_closed()),
            }
            let reply = Reply::Accepted {
                notes: vec![format!("request {}", seen.len())],
                token: None,
            };
            connection.reply(&reply).expect("the client listens");
        }
    });
    let mut client = place.client();
    let draft = Request::Draft {
        project: "1".into(),
        handle: "notes".into(),
        puddle: "2".into(),
        wish: Wish::Grant,
    };
    assert_eq!(
        ask(&mut client, &draft),
        Reply::Accepted {
            notes: vec!["request 1".into()],
            token: None,
        }
    );
    assert_eq!(
        ask(&mut client, &open()),
        Reply::Accepted {
            notes: vec!["request 2".into()],
            token: None,
        }
    );
    drop(client);

    let (requests, closed) = seen.recv_timeout(SOON).expect("the server ends");
    assert_eq!(requests, [draft, open()]);
    assert!(closed, "leaving between two requests is the usual end");
}

#[test]
fn progress_comes_before_the_answer() {
    let place = Place::new();
    let _server = serve_one(place.listen(Limits::default()), |mut connection| {
        connection.read_request().expect("a request");
        for text in ["asking venus", "receiving 3 MiB"] {
            connection
                .reply(&Reply::Progress { text: text.into() })
                .expect("the client listens");
        }
        let draft = Draft {
            type_name: "t".into(),
            body: "00".into(),
        };
        connection
            .reply(&Reply::NeedToken {
                drafts: vec![draft],
            })
            .expect("the client listens");
    });
    let mut heard = Vec::new();
    let reply = place.client().call(&open(), &mut |meanwhile| {
        if let Meanwhile::Progress(text) = meanwhile {
            heard.push(text.to_owned());
        }
    });

    assert!(matches!(reply, Ok(Reply::NeedToken { .. })), "{reply:?}");
    assert_eq!(heard, ["asking venus", "receiving 3 MiB"]);
}

#[test]
fn nothing_behind_ready_is_swallowed() {
    let place = Place::new();
    let socket = place.socket();
    // The server sends git's first bytes in the same write as its answer, and so does the client.
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("the path is free");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let mut header = [0; 4];
        stream.read_exact(&mut header).expect("a request");
        let length = usize::try_from(u32::from_be_bytes(header)).expect("it fits");
        stream.read_exact(&mut vec![0; length]).expect("a request");
        let reply = [
            frame(br#"{"reply":"ready"}"#),
            b"0000 from the server".to_vec(),
        ]
        .concat();
        stream.write_all(&reply).expect("the client is there");
    });
    let mut client = place.client();
    assert_eq!(ask(&mut client, &open()), Reply::Ready);
    let mut rest = String::new();
    client
        .into_stream()
        .expect("a stream")
        .read_to_string(&mut rest)
        .expect("text");

    assert_eq!(rest, "0000 from the server");
    server.join().expect("the server ends");
}

#[test]
fn the_server_swallows_nothing_either_and_passes_a_half_close_on() {
    let place = Place::new();
    let received = serve_one(place.listen(Limits::default()), |mut connection| {
        connection.read_request().expect("a request");
        connection.reply(&Reply::Ready).expect("the client listens");
        let (mut stream, _slot) = connection.into_stream().expect("a stream");
        let mut received = String::new();
        stream
            .read_to_string(&mut received)
            .expect("the client ends its side");
        stream
            .write_all(b"and the server still answers")
            .expect("the client listens");
        received
    });
    let payload = serde_json::to_vec(&open()).expect("JSON");
    let mut stream = UnixStream::connect(place.socket()).expect("the listener is there");
    let bytes = [frame(&payload), b"git's own bytes".to_vec()].concat();
    stream.write_all(&bytes).expect("the server is there");
    stream
        .shutdown(Shutdown::Write)
        .expect("the server is there");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server ends its side");

    assert_eq!(
        received.recv_timeout(SOON).expect("the server ends"),
        "git's own bytes"
    );
    assert_eq!(
        answer,
        [
            frame(br#"{"reply":"ready"}"#),
            b"and the server still answers".to_vec()
        ]
        .concat()
    );
}

#[test]
fn a_request_that_is_too_long_is_refused_by_its_header_alone() {
    for declared in [REQUEST_MAX + 1, usize::try_from(u32::MAX).expect("64 bits")] {
        let header = u32::try_from(declared).expect("it fits").to_be_bytes();
        let error = server_reads(&header).expect_err("too long");
        assert!(
            matches!(
                error,
                ReadError::Frame(FrameError::TooLong {
                    max: REQUEST_MAX,
                    ..
                })
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_request_that_is_cut_short_is_told_from_the_usual_end() {
    let whole = frame(br#"{"do":"envoy"}"#);
    assert_eq!(server_reads(&whole).expect("a request"), Request::Envoy);
    assert!(server_reads(b"").expect_err("nothing").is_closed());
    for length in 1..whole.len() {
        let error = server_reads(&whole[..length]).expect_err("cut short");
        assert!(
            matches!(error, ReadError::Frame(FrameError::Truncated)),
            "{length} bytes: {error:?}"
        );
    }
}

#[test]
fn a_reply_that_is_too_long_is_refused_by_its_header_alone() {
    let error = client_reads(b"\xff\xff\xff\xff").expect_err("too long");
    assert!(
        matches!(
            error,
            CallError::Receive(FrameError::TooLong { max: FRAME_MAX, .. })
        ),
        "{error:?}"
    );
}

#[test]
fn a_server_that_goes_away_is_an_error_of_its_own() {
    let check = |bytes, expected: fn(&CallError) -> bool| {
        let error = client_reads(bytes).expect_err("no answer");
        assert!(expected(&error), "{error:?}");
    };
    check(b"", |error| {
        matches!(error, CallError::Receive(FrameError::Closed))
    });
    check(b"\0\0", |error| {
        matches!(error, CallError::Receive(FrameError::Truncated))
    });
    check(b"\0\0\0\x05{", |error| {
        matches!(error, CallError::Receive(FrameError::Truncated))
    });
    check(b"\0\0\0\x02{}", |error| {
        matches!(error, CallError::Malformed { .. })
    });
}

#[test]
fn a_request_longer_than_the_server_takes_is_not_sent() {
    let place = Place::new();
    let server = serve_one(place.listen(Limits::default()), |mut connection| {
        connection.read_request().map_err(|error| error.is_closed())
    });
    let mut client = place.client();
    let request = Request::Found {
        envelope: "00".repeat(REQUEST_MAX),
    };
    let error = client.call(&request, &mut |_| ()).expect_err("too long");
    drop(client);

    assert!(
        matches!(error, CallError::Send(FrameError::TooLong { .. })),
        "{error:?}"
    );
    assert_eq!(
        server.recv_timeout(SOON).expect("the server ends"),
        Err(true)
    );
}

#[test]
fn a_silent_server_is_noticed_and_given_up() {
    let place = Place::new();
    let listener: Listener = place.listen(Limits::default());
    let patience = Patience {
        answer: Duration::from_millis(120),
        first_word: Duration::from_millis(10),
        next_word: Duration::from_millis(10),
        ..Patience::default()
    };
    let mut client =
        Client::connect_with(&place.socket(), patience).expect("the kernel takes the connection");
    let mut words = 0;
    let error = client
        .call(&open(), &mut |meanwhile| {
            words += u32::from(matches!(meanwhile, Meanwhile::Silence(_)))
        })
        .expect_err("nobody answers");

    assert!(matches!(error, CallError::Silent { .. }), "{error:?}");
    assert!(words >= 2, "heard {words} times that it takes longer");
    drop(listener);
}

/// A daemon that turns a client away closes with the request unread, which the kernel reports as
/// a reset.
#[test]
fn what_was_said_before_a_reset_is_heard() {
    let place = Place::new();
    let listener =
        std::os::unix::net::UnixListener::bind(place.socket()).expect("the path is free");
    let mut client = place.client();
    let (mut stream, _) = listener.accept().expect("a client comes");
    stream
        .write_all(&frame(
            br#"{"reply":"accepted","notes":["goodbye"],"token":null}"#,
        ))
        .expect("the client is there");
    drop(stream);
    let expected = Reply::Accepted {
        notes: vec!["goodbye".to_owned()],
        token: None,
    };
    assert_eq!(ask(&mut client, &open()), expected);

    let error = client
        .call(&open(), &mut |_| ())
        .expect_err("nobody is there");
    assert!(
        matches!(error, CallError::Receive(FrameError::Closed)),
        "{error:?}"
    );
}
