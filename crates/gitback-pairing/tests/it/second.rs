//! A second implementation, from docs/spec/pairing.md: what an attacker would write, and a check that the page says enough.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use gitback_identity::SecretKey;
use gitback_peer::strangers;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::{ClientConfig, ClientConnection, ServerConnection, StreamOwned};

pub(crate) const HELLO: u8 = 1;
pub(crate) const PROVEN: u8 = 2;
pub(crate) const PUDDLE: u8 = 3;
pub(crate) const INSTALLED: u8 = 4;
pub(crate) const FLEET: u8 = 5;
pub(crate) const REFUSED: u8 = 6;

pub(crate) const ALPN: &[u8] = b"gitback-pair/1";
pub(crate) const INTRODUCTION: &[u8] = br#"{"name":"venus","system":"linux"}"#;

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

/// One end of a channel, and all that came over it.
pub(crate) struct Line {
    stream: Box<dyn Both>,
    pub(crate) exporter: [u8; 32],
    pub(crate) seen: Vec<u8>,
}

impl Line {
    /// Dials as a guest does.
    pub(crate) fn dial(address: SocketAddr) -> Self {
        let config = strangers::guest_config(ALPN).expect("tls");
        Self::dial_with(address, config).expect("a handshake")
    }

    /// Dials from another address of this machine.
    pub(crate) fn dial_from(from: IpAddr, address: SocketAddr) -> Self {
        let config = strangers::guest_config(ALPN).expect("tls");
        Self::dial_over(connect_from(from, address), config).expect("a handshake")
    }

    /// Dials with other settings; nothing if there is no handshake.
    pub(crate) fn dial_with(address: SocketAddr, config: Arc<ClientConfig>) -> Option<Self> {
        let socket = TcpStream::connect(address).expect("a connection");
        Self::dial_over(socket, config)
    }

    fn dial_over(socket: TcpStream, config: Arc<ClientConfig>) -> Option<Self> {
        let connection = ClientConnection::new(config, strangers::host_name()).expect("tls");
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        let exporter = stream
            .conn
            .export_keying_material([0; 32], b"EXPORTER-gitback-pair/1", None)
            .expect("keying material");
        Some(Self::over(stream, exporter))
    }

    /// Takes the next connection as a host does.
    pub(crate) fn answer(listener: &TcpListener, protocol: &[u8]) -> Option<Self> {
        let (socket, _) = listener.accept().expect("a connection");
        let secret = SecretKey::from_seed(&[66; 32]);
        let config = strangers::host_config(&secret, protocol).expect("tls");
        let mut stream = StreamOwned::new(ServerConnection::new(config).expect("tls"), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        let exporter = stream
            .conn
            .export_keying_material([0; 32], b"EXPORTER-gitback-pair/1", None)
            .expect("keying material");
        Some(Self::over(stream, exporter))
    }

    fn over(stream: impl Both + 'static, exporter: [u8; 32]) -> Self {
        Self {
            stream: Box::new(stream),
            exporter,
            seen: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short");
        let frame = [&[kind][..], &length.to_be_bytes(), payload].concat();
        self.send_raw(&frame);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // Whoever has heard enough may be gone.
        let _ = self
            .stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush());
    }

    /// The next message; nothing at the end.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut payload).ok()?;
        self.seen.extend_from_slice(&header);
        self.seen.extend_from_slice(&payload);
        Some((header[0], payload))
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, kind: u8) -> Vec<u8> {
        let (found, payload) = self.receive().expect("a message");
        assert_eq!(found, kind, "{payload:?}");
        payload
    }

    /// Says hello as a guest who knows `words`.
    pub(crate) fn hello(&mut self, words: &str) -> Vec<u8> {
        let proof = guest_proof(&key(words, &self.exporter), INTRODUCTION);
        let payload = [&proof[..], INTRODUCTION].concat();
        self.send(HELLO, &payload);
        payload
    }

    /// Answers a hello as a host that knows `words`.
    pub(crate) fn prove(&mut self, words: &str, introduction: &[u8]) {
        let hello = self.expect(HELLO);
        let (proof, said) = hello.split_at(32);
        let key = key(words, &self.exporter);
        assert_eq!(proof, guest_proof(&key, said), "the guest knows the code");
        let answer = host_proof(&key, proof, said, introduction);
        self.send(PROVEN, &[&answer[..], introduction].concat());
    }
}

/// Connects from another address of this machine: all of 127.0.0.0/8 are.
pub(crate) fn connect_from(from: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::new(from, 0)).expect("an address");
    connect(&socket, &address).expect("a connection");
    TcpStream::from(socket)
}

/// What mars says of itself.
pub(crate) fn of_mars(public_key: &str) -> Vec<u8> {
    format!(r#"{{"name":"mars","puddle":"dan","key":"{public_key}"}}"#).into_bytes()
}

pub(crate) fn key(words: &str, exporter: &[u8; 32]) -> [u8; 32] {
    let params = Params::new(64, 1, 1, Some(32)).expect("parameters");
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(words.as_bytes(), exporter, &mut key)
        .expect("a key");
    key
}

pub(crate) fn guest_proof(key: &[u8; 32], said: &[u8]) -> [u8; 32] {
    let bytes = [b"gitback-pair/1 guest\0", said].concat();
    blake3::keyed_hash(key, &bytes).into()
}

pub(crate) fn host_proof(key: &[u8; 32], guest: &[u8], said: &[u8], says: &[u8]) -> [u8; 32] {
    let length = u32::try_from(said.len()).expect("short").to_be_bytes();
    let bytes = [b"gitback-pair/1 host\0", guest, &length[..], said, says].concat();
    blake3::keyed_hash(key, &bytes).into()
}
