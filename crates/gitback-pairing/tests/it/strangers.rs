//! Who comes without a proof: costs nothing, keeps nobody out, and ends nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use gitback_pairing::GuestError;
use gitback_peer::strangers;

use crate::second::{self, Line};
use crate::world::{Heard, Home, code, connect, listener, mars, venus};

/// Does `mischief`, and then expects the right guest to get in with no try lost.
#[track_caller]
fn harmless<T>(mischief: impl FnOnce(SocketAddr) -> T + Send) {
    let carried = Home::of_dan().carried();
    let (mut host, address) = mars(&carried);
    let heard = Heard::default();
    thread::scope(|scope| {
        let guest = scope.spawn(move || {
            let _kept = mischief(address);
            connect(address).prove(&code(), &venus()).expect("proven")
        });
        drop(host.wait(&mut heard.hear()).expect("the right guest"));
        drop(guest.join().expect("no panic"));
    });
    assert!(heard.tries_left().is_empty(), "no try was lost");
}

#[test]
fn what_is_no_tls_is_ended() {
    harmless(|address| {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0; 64],
            &[0x16, 3, 1, 0xff, 0xff],
        ] {
            let mut socket = TcpStream::connect(address).expect("a connection");
            socket.write_all(bytes).expect("sent");
            socket.shutdown(Shutdown::Write).expect("ended");
            // An alert or nothing, and then the end.
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
}

#[test]
fn messages_that_are_too_long_cut_short_or_out_of_turn_are_ended() {
    harmless(|address| {
        let frames: [&[u8]; 7] = [
            &[second::HELLO, 0xff, 0xff, 0xff, 0xff],
            &[second::HELLO, 0, 0, 4, 1],
            &[second::HELLO, 0, 0, 0, 31, 1, 2, 3],
            &[second::INSTALLED, 0, 0, 0, 0],
            &[second::REFUSED, 0, 0, 0, 1, 1],
            &[99, 0, 0, 0, 0],
            &[second::HELLO, 0, 0],
        ];
        for frame in frames {
            let mut line = Line::dial(address);
            line.send_raw(frame);
            drop(line);
        }
        // Too short for a proof.
        let mut line = Line::dial(address);
        line.send(second::HELLO, &[0; 31]);
        assert_eq!(line.receive(), None);
    });
}

#[test]
fn who_says_nothing_keeps_nobody_out() {
    harmless(|address| {
        let silent: Vec<TcpStream> = (0..80)
            .map(|_| second::connect_from([127, 0, 0, 2].into(), address))
            .collect();
        let from = [127, 0, 0, 3].into();
        let silent_after_tls = [(); 4].map(|()| Line::dial_from(from, address));
        // They stay until the right guest is in.
        (silent, silent_after_tls)
    });
}

#[test]
fn all_addresses_together_keep_nobody_out_for_long() {
    harmless(|address| {
        let silent: Vec<TcpStream> = (0..80)
            .map(|number| second::connect_from([127, 0, 2, 1 + number / 4].into(), address))
            .collect();
        // Nobody who has just come has to go for another.
        while gitback_pairing::Guest::connect(&address.to_string()).is_err() {}
        silent
    });
}

#[test]
fn another_version_or_none_is_no_channel() {
    harmless(|address| {
        let other = strangers::guest_config(b"gitback-pair/2").expect("tls");
        assert!(Line::dial_with(address, other).is_none());
        let mut none = (*strangers::guest_config(second::ALPN).expect("tls")).clone();
        none.alpn_protocols.clear();
        // The handshake ends well for whoever names no protocol, and the connection with it.
        if let Some(mut line) = Line::dial_with(address, Arc::new(none)) {
            line.hello(crate::world::WORDS);
            assert_eq!(line.receive(), None);
        }
    });
    let (listener, address) = listener();
    thread::scope(|scope| {
        scope.spawn(|| assert!(Line::answer(&listener, b"gitback-pair/2").is_none()));
        let refused = gitback_pairing::Guest::connect(&address.to_string()).expect_err("other");
        assert!(
            matches!(refused, GuestError::OtherProtocol { .. }),
            "{refused:?}"
        );
    });
}

/// The address of a host on its own network may be that of another machine here.
#[test]
fn a_guest_goes_on_to_the_next_address_where_somebody_else_answers() {
    let carried = Home::of_dan().carried();
    let (_host, address) = mars(&carried);
    let (other, other_address) = listener();
    thread::scope(|scope| {
        scope.spawn(|| drop(other.accept().expect("a connection")));
        let addresses = [other_address, address];
        let guest = gitback_pairing::Guest::connect_any("mars", &addresses);
        guest.expect("the second is a host");
    });
}

#[test]
fn the_end_of_a_host_ends_all_who_wait() {
    let carried = Home::of_dan().carried();
    let (host, address) = mars(&carried);
    let waiting = connect(address);
    drop(host);
    let outcome = waiting.prove(&code(), &venus()).expect_err("gone");
    assert!(
        matches!(outcome, GuestError::NotAccepted | GuestError::Wire(_)),
        "{outcome:?}"
    );
    let outcome = gitback_pairing::Guest::connect(&address.to_string()).expect_err("gone");
    assert!(matches!(outcome, GuestError::Connect { .. }), "{outcome:?}");
    let nowhere = gitback_pairing::Guest::connect("host.invalid:1").expect_err("no address");
    assert!(matches!(nowhere, GuestError::Resolve { .. }), "{nowhere:?}");
}
