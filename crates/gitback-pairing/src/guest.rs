//! The machine that wants the puddle.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use gitback_peer::{TlsFault, strangers};
use gitback_puddle::{Carried, CarryReject, Cost};
use rustls::ClientConnection;
use thiserror::Error;

use crate::channel::{ALPN, Bounded, Channel, GuestChannel, HandshakeError};
use crate::frame::{Kind, WireError};
use crate::message::{self, PuddleReject, Reason};
use crate::proof::{Challenge, PROOF_BYTES, Proof, ProofFault, ProofKey};
use crate::{Code, HostIntroduction, Introduction};

/// How long a host may take to take the connection, and again for the handshake.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a host may take to judge the proof: it may be busy with those of others.
const PROVE_WITHIN: Duration = Duration::from_secs(60);
/// How long the person at the host may take to say yes.
const ALLOW_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long a host may take to enrol.
const ENROL_WITHIN: Duration = Duration::from_secs(150);
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// A connection to a host that nobody has proven anything on.
#[derive(Debug)]
pub struct Guest {
    channel: GuestChannel,
    cost: Cost,
}

/// A host that has proven that it knows the code, and whose person is asked.
#[derive(Debug)]
pub struct Waiting {
    channel: GuestChannel,
    host: HostIntroduction,
}

/// A puddle that has arrived, and is installed nowhere yet.
#[derive(Debug)]
pub struct Arrived {
    channel: GuestChannel,
    carried: Carried,
    offer: Option<Vec<u8>>,
}

/// Why a puddle that arrived was not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefuseReason {
    /// There is a puddle already.
    Exists,
    /// The disk is full.
    DiskFull,
    /// It failed otherwise.
    Failed,
}

/// Why a guest has no puddle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The host's name means no address.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot reach {host}")]
    Connect {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Who answers there does not pair, or does it in another version.
    #[error("{host} does not speak this version of pairing")]
    OtherProtocol {
        /// The host.
        host: String,
    },
    /// Who answers there does not speak TLS as it should.
    #[error("{host} does not speak the protocol of pairing")]
    Handshake {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be set up here.
    #[error("cannot set up tls")]
    Tls(#[source] TlsFault),
    /// The proof cannot be made.
    #[error("cannot make a proof")]
    Proof(#[source] ProofFault),
    /// The code is wrong, expired or used up.
    #[error("the code was not accepted")]
    NotAccepted,
    /// The host did not prove that it knows the code. Nothing that it says is believed.
    #[error("the other machine did not prove that it knows the code")]
    Unproven,
    /// The person at the host said no.
    #[error("the person at the other machine declined")]
    Declined,
    /// What the host sent is no sound puddle.
    #[error("what the other machine sent is no sound puddle")]
    Unsound(#[source] Option<CarryReject>),
    /// The puddle is another one than the host had said.
    #[error("the other machine sent another puddle than it had said")]
    OtherPuddle,
    /// The host ended the pairing for another reason.
    #[error("the other machine ended the pairing")]
    Failed,
    /// The conversation broke off.
    #[error("the conversation broke off")]
    Wire(#[source] WireError),
}

impl Guest {
    /// Connects to `host`, given as `HOST:PORT`.
    ///
    /// # Errors
    ///
    /// [`GuestError`] if nobody is there who pairs in this version.
    pub fn connect(host: &str) -> Result<Self, GuestError> {
        let addresses = host.to_socket_addrs().map_err(|source| {
            let host = host.to_owned();
            GuestError::Resolve { host, source }
        })?;
        let addresses: Vec<SocketAddr> = addresses.take(ADDRESSES_MAX).collect();
        Self::connect_any(host, &addresses)
    }

    /// Connects to the first of `addresses` at which a host answers, and not just anybody; `host` is what it is called in errors.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn connect_any(host: &str, addresses: &[SocketAddr]) -> Result<Self, GuestError> {
        let mut refused = io::ErrorKind::AddrNotAvailable.into();
        let mut stranger = None;
        for address in addresses.iter().take(ADDRESSES_MAX) {
            match TcpStream::connect_timeout(address, CONNECT_WITHIN) {
                Ok(socket) => match Self::greet(host, socket) {
                    Ok(guest) => return Ok(guest),
                    // An address may mean another machine here than there.
                    Err(error) => stranger = stranger.or(Some(error)),
                },
                Err(error) => refused = error,
            }
        }
        // Who answers with something else says more than who does not answer.
        Err(stranger.unwrap_or_else(|| GuestError::Connect {
            host: host.to_owned(),
            source: refused,
        }))
    }

    fn greet(host: &str, socket: TcpStream) -> Result<Self, GuestError> {
        // Only speed is lost without it.
        let _ = socket.set_nodelay(true);
        let host = host.to_owned();
        let config = strangers::guest_config(ALPN).map_err(GuestError::Tls)?;
        let connection = match ClientConnection::new(Arc::clone(&config), strangers::host_name()) {
            Ok(connection) => connection,
            Err(source) => return Err(GuestError::Handshake { host, source }),
        };
        let channel = Channel::begin(connection, Bounded::new(socket, CONNECT_WITHIN));
        let channel = channel.map_err(|error| match error {
            HandshakeError::OtherProtocol => GuestError::OtherProtocol { host },
            HandshakeError::Tls(source) => GuestError::Handshake { host, source },
            HandshakeError::Wire(error) => GuestError::Wire(error),
        })?;
        Ok(Self {
            channel,
            cost: Cost::STANDARD,
        })
    }

    /// The same at another cost of a guess; see [`Terms`](crate::Terms).
    #[must_use]
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    /// Proves to the host that this machine knows `code`, and has the host prove it.
    ///
    /// # Errors
    ///
    /// [`GuestError::NotAccepted`] if the host does not take the proof, [`GuestError::Unproven`] if it has none itself.
    pub fn prove(self, code: &Code, about: &Introduction) -> Result<Waiting, GuestError> {
        let Self { mut channel, cost } = self;
        let said = about.encode();
        let key = ProofKey::derive(code, channel.exporter(), cost).map_err(GuestError::Proof)?;
        let proof = key.guest(&said);
        let payload = [proof.as_bytes().as_slice(), &said].concat();
        channel.within(PROVE_WITHIN);
        // Who refuses before it is asked may have ended the connection: what it said is there to be read.
        let sent = channel.write(Kind::Hello, &payload);
        let frame = match (channel.read(Kind::Proven), sent) {
            (Ok(frame), _) => frame,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(GuestError::Wire(error)),
        };
        if frame.kind == Kind::Refused {
            // Whoever says so has proven nothing: no reason is believed but that the code does not work there.
            return Err(GuestError::NotAccepted);
        }
        let answer = frame.payload.split_first_chunk::<PROOF_BYTES>();
        let (answer, host) = answer.ok_or(GuestError::Unproven)?;
        if key.host(&proof, &said, host) != Proof::from_bytes(*answer) {
            return Err(GuestError::Unproven);
        }
        let host = HostIntroduction::decode(host);
        let host = host.ok_or(GuestError::Wire(WireError::Unexpected))?;
        channel.trust();
        Ok(Waiting { channel, host })
    }
}

impl Waiting {
    /// Who was asked.
    #[must_use]
    pub fn host(&self) -> &HostIntroduction {
        &self.host
    }

    /// Waits until the person at the host has said yes, and for the puddle.
    ///
    /// # Errors
    ///
    /// [`GuestError::Declined`] if they said no; otherwise [`GuestError`] for what is wrong with what came.
    pub fn wait(mut self) -> Result<Arrived, GuestError> {
        let frame = self.channel.within(ALLOW_WITHIN).read(Kind::Puddle);
        let frame = frame.map_err(GuestError::Wire)?;
        if frame.kind == Kind::Refused {
            return Err(refused(&frame.payload));
        }
        let (carried, offer) = match message::decode_puddle(&frame.payload) {
            Ok(decoded) => decoded,
            Err(reject) => {
                self.refuse(Reason::Unsound);
                return Err(GuestError::Unsound(match reject {
                    PuddleReject::Form => None,
                    PuddleReject::Carry(reject) => Some(reject),
                }));
            }
        };
        let public = carried.public();
        if public.key != *self.host.key() || public.name != *self.host.puddle() {
            self.refuse(Reason::Unsound);
            return Err(GuestError::OtherPuddle);
        }
        Ok(Arrived {
            channel: self.channel,
            carried,
            offer,
        })
    }

    fn refuse(mut self, reason: Reason) {
        self.channel.within(CONNECT_WITHIN);
        self.channel.refuse(reason);
    }
}

impl Arrived {
    /// What has arrived.
    #[must_use]
    pub fn carried(&self) -> &Carried {
        &self.carried
    }

    /// What the fleet of the host offers.
    #[must_use]
    pub fn offer(&self) -> Option<&[u8]> {
        self.offer.as_deref()
    }

    /// What a request to be enrolled has to answer.
    #[must_use]
    pub fn challenge(&self) -> Challenge {
        self.channel.exporter().challenge()
    }

    /// Says that the puddle is installed and durable, asks to be enrolled if there is a request, and waits for what comes of it.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the host does not answer; the puddle is there all the same.
    pub fn installed(mut self, request: Option<&[u8]>) -> Result<Option<Vec<u8>>, WireError> {
        let payload = message::encode_fleet(request);
        self.channel
            .within(ENROL_WITHIN)
            .write(Kind::Installed, &payload)?;
        let frame = self.channel.read(Kind::Fleet)?;
        let answer = match frame.kind {
            Kind::Refused => None,
            _ => message::decode_fleet(&frame.payload).ok_or(WireError::Unexpected)?,
        };
        self.channel.close();
        Ok(answer)
    }

    /// Says that the puddle was not installed.
    pub fn refuse(mut self, reason: RefuseReason) {
        self.channel.within(CONNECT_WITHIN);
        self.channel.refuse(match reason {
            RefuseReason::Exists => Reason::Exists,
            RefuseReason::DiskFull => Reason::DiskFull,
            RefuseReason::Failed => Reason::Failed,
        });
    }
}

/// The host is believed when it refuses: nothing comes of it.
fn refused(payload: &[u8]) -> GuestError {
    match Reason::decode(payload) {
        Reason::NotAccepted => GuestError::NotAccepted,
        Reason::Declined => GuestError::Declined,
        Reason::Exists | Reason::Unsound | Reason::DiskFull | Reason::Failed => GuestError::Failed,
    }
}

impl fmt::Debug for GuestChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestChannel(..)")
    }
}
