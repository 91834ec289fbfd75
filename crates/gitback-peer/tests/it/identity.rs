//! Who may finish a handshake, and who must answer.

use gitback_peer::{CallError, PeerAddress};
use tokio::io::AsyncReadExt;

use crate::raw;
use crate::stage::{CLIENT_SEED, SERVER_SEED, Script, Stage, client, digests, envoy, secret};

#[tokio::test]
async fn the_wrong_server_key_is_noticed_before_anything_is_sent() {
    let stage = Stage::open(Script::default()).await;
    let to = PeerAddress {
        key: envoy(9),
        address: stage.address().address,
    };
    let error = client().digests(&to, &digests("venus")).await;
    let error = error.expect_err("the wrong envoy");
    assert_eq!(error.reason(), "wrong key");
    let CallError::WrongKey { expected, found } = error else {
        panic!("{error:?}");
    };
    assert_eq!(expected, envoy(9));
    assert_eq!(found, Some(envoy(SERVER_SEED)));
    let script = stage.script.clone();
    stage.close().await;
    assert_eq!(script.calls(), 0);
}

/// Expects that the server ends the handshake of a client that shows `shown`.
async fn refused(shown: Option<Vec<u8>>, seed: u8) {
    let stage = Stage::open(Script::default()).await;
    // In TLS 1.3 a client has finished before the server judges it: the alert comes with the first
    // read.
    let error = match raw::tls(stage.local, raw::config(shown, seed)).await {
        Ok(mut stream) => {
            let read = stream.read_to_end(&mut Vec::new()).await;
            read.expect_err("an alert")
        }
        Err(error) => error,
    };
    let error = error.to_string();
    assert!(error.contains("alert"), "{error}");
    let script = stage.script.clone();
    stage.close().await;
    assert_eq!(script.calls(), 0);
}

#[tokio::test]
async fn a_weak_client_key_is_refused_at_the_handshake() {
    let mut identity_point = [0; 32];
    identity_point[0] = 1;
    refused(Some(raw::spki(&identity_point)), CLIENT_SEED).await;
    refused(Some(raw::spki(&[0; 32])), CLIENT_SEED).await;
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    refused(None, CLIENT_SEED).await;
}

#[tokio::test]
async fn a_client_with_somebody_elses_key_is_refused() {
    let shown = raw::spki(secret(3).public().as_bytes());
    refused(Some(shown), CLIENT_SEED).await;
}

#[tokio::test]
async fn a_client_key_with_trailing_bytes_is_refused() {
    let mut shown = raw::spki(secret(CLIENT_SEED).public().as_bytes());
    shown.push(0);
    refused(Some(shown), CLIENT_SEED).await;
}

#[tokio::test]
async fn a_client_that_does_not_say_http2_is_refused() {
    let stage = Stage::open(Script::default()).await;
    let shown = raw::spki(secret(CLIENT_SEED).public().as_bytes());
    let mut config = raw::config(Some(shown), CLIENT_SEED);
    config.alpn_protocols.clear();
    let mut stream = raw::tls(stage.local, config).await.expect("a handshake");
    // The server hangs up without a word, with or without a clean end of TLS.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    stage.close().await;
}
