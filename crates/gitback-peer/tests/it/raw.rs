//! A client without manners: TLS with any key, HTTP/2 with any body.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stage::secret;

/// Trusts everybody.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Encodes a public key as RFC 8410 says.
pub(crate) fn spki(key: &[u8; 32]) -> Vec<u8> {
    let mut spki = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    spki.extend_from_slice(key);
    spki
}

/// A TLS configuration that shows `shown` and signs with the key of `seed`.
pub(crate) fn config(shown: Option<Vec<u8>>, seed: u8) -> ClientConfig {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend_from_slice(&[seed; 32]);
    let signer = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der))
        .expect("a sound key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match shown {
        Some(shown) => {
            let key = CertifiedKey::new(vec![CertificateDer::from(shown)], signer);
            let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::new(key));
            builder.with_client_cert_resolver(Arc::new(resolver))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

pub(crate) async fn tls(
    server: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(server).await.expect("a listener");
    let name = ServerName::try_from("envoy.invalid").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// Connects as the envoy of `seed`.
pub(crate) async fn stream(server: SocketAddr, seed: u8) -> TlsStream<TcpStream> {
    let shown = spki(secret(seed).public().as_bytes());
    let stream = tls(server, config(Some(shown), seed)).await;
    stream.expect("a handshake")
}

/// Connects as the envoy of `seed` and speaks HTTP/2.
pub(crate) async fn http<B>(server: SocketAddr, seed: u8) -> SendRequest<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(stream(server, seed).await);
    let (sender, connection) = handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2 starts");
    tokio::spawn(async move {
        // Tests break connections on purpose.
        let _ = connection.await;
    });
    sender
}

pub(crate) fn request<B>(method: &str, path: &str, body: B) -> Request<B> {
    Request::builder()
        .method(method)
        .uri(format!("https://envoy.invalid{path}"))
        .body(body)
        .expect("a sound request")
}

pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(bytes.into())
}

/// Collects an answer: its status and its text.
pub(crate) async fn text<B>(response: Response<B>) -> (u16, String)
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    (status, text)
}

/// Encodes one frame.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short");
    let mut frame = vec![kind];
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The header frame of a push.
pub(crate) fn push_header(pack: bool) -> Vec<u8> {
    frame(1, format!(r#"{{"pack":{pack}}}"#).as_bytes())
}

/// The frame that ends a pack.
pub(crate) fn pack_end(bytes: u64) -> Vec<u8> {
    let json = format!(r#"{{"bytes":{bytes},"blake3":"{}"}}"#, "00".repeat(32));
    frame(5, json.as_bytes())
}

pub(crate) fn push_path() -> String {
    format!("/swarm/gitback/push/{}", crate::stage::project())
}

/// A body fed by the test; ends when the sender is dropped.
pub(crate) fn fed() -> (mpsc::Sender<Vec<u8>>, Fed) {
    let (feed, receiver) = mpsc::channel(8);
    (feed, Fed(receiver))
}

pub(crate) struct Fed(mpsc::Receiver<Vec<u8>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let fed = self.0.poll_recv(context);
        fed.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes.into()))))
    }
}
