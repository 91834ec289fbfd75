//! The machine that has the puddle.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use gitback_identity::SecretKey;
use gitback_peer::{TlsFault, strangers};
use gitback_puddle::Carried;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::channel::{ALPN, HostChannel};
use crate::door::{Arrival, Door};
use crate::frame::{Kind, WireError};
use crate::gate::{Gate, Standing};
use crate::message::{self, Reason};
use crate::proof::{Challenge, ProofFault, ProofKey};
use crate::{Code, HostIntroduction, Introduction, Terms};

/// Where hosts listen, unless that is taken.
pub const PORT: u16 = 1532;
/// Connections that the system holds until they are taken.
const BACKLOG: i32 = 128;
/// How long a guest may take to take what it is sent.
const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// How long a guest may take to install a puddle.
const INSTALL_WITHIN: Duration = Duration::from_secs(120);
/// How long the end of the code may go unnoticed after the machine has slept.
const WAKE_EVERY: Duration = Duration::from_secs(15);

/// A machine that has a puddle and waits for another one that knows the code.
///
/// Source: docs/spec/pairing.md.
pub struct Host {
    door: Door,
    code: Code,
    about: HostIntroduction,
    terms: Terms,
    gate: Gate,
}

/// What happens while a host waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// Somebody did not know the code.
    Wrong {
        /// From where.
        from: IpAddr,
        /// How often it may still be wrong from there.
        left: u32,
    },
}

/// Why a host cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostFault {
    /// There is no key for the channel.
    #[error("the operating system gave no random bytes")]
    NoRandomness(#[source] getrandom::Error),
    /// TLS cannot be set up.
    #[error("cannot set up tls")]
    Tls(#[source] TlsFault),
    /// It cannot listen.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
}

/// Why a host waits no longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Ended {
    /// The time of the code is up.
    #[error("the code has expired")]
    Expired,
    /// The code was wrong too often.
    #[error("the code was wrong too often")]
    TooManyTries,
    /// The code was used, or the machine that knew it was declined.
    #[error("the code was used")]
    Used,
    /// A proof could not be checked.
    #[error("cannot check a proof")]
    Fault(#[source] ProofFault),
}

/// Why a guest that was allowed did not say that it has the puddle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AllowError {
    /// It was gone before anything was sent; the code can be used again.
    #[error("it left before anything was sent")]
    Left,
    /// The puddle was sent, or a part of it, and nothing was heard after that. The code is used up.
    #[error("it was sent the puddle and did not say that it is installed")]
    Unsure(#[source] WireError),
}

/// A machine that has proven that it knows the code, and waits to be allowed. Dropping it leaves it without an answer.
pub struct Asking<'a> {
    host: &'a mut Host,
    channel: HostChannel,
    introduction: Introduction,
    from: IpAddr,
}

/// A machine that has been sent the puddle and has answered.
#[derive(Debug)]
pub struct Installed {
    channel: HostChannel,
    outcome: InstalledOutcome,
    request: Option<Vec<u8>>,
}

/// What the guest did with the puddle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstalledOutcome {
    /// It is installed, and durable.
    Done,
    /// It has a puddle already.
    Exists,
    /// It takes what it was sent for unsound.
    Unsound,
    /// Its disk is full.
    DiskFull,
    /// It could not, for another reason.
    Failed,
}

/// Listens at `wanted`; without, on all addresses at [`PORT`], or at a port of the system's choice where that is taken.
///
/// # Errors
///
/// What the system says.
pub fn listen(wanted: Option<SocketAddr>) -> io::Result<TcpListener> {
    if let Some(wanted) = wanted {
        return listen_at(wanted);
    }
    let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let places = [PORT, 0]
        .into_iter()
        .flat_map(|port| all.map(|ip| SocketAddr::new(ip, port)));
    // The port may be taken for one family only; what is tried last says why nothing works.
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for place in places {
        match listen_at(place) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// All addresses of IPv6 are those of IPv4 too, whatever the system's default is.
fn listen_at(place: SocketAddr) -> io::Result<TcpListener> {
    if place.is_ipv4() || !place.ip().is_unspecified() {
        return TcpListener::bind(place);
    }
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &place)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

impl Host {
    /// Begins to take connections at `listener`. The life of the code begins now.
    ///
    /// # Errors
    ///
    /// [`HostFault`] if that cannot begin.
    pub fn open(
        listener: TcpListener,
        code: Code,
        about: HostIntroduction,
        terms: Terms,
    ) -> Result<Self, HostFault> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(HostFault::NoRandomness)?;
        let secret = SecretKey::from_seed(&seed);
        let config = strangers::host_config(&secret, ALPN).map_err(HostFault::Tls)?;
        let door = Door::open(listener, config).map_err(HostFault::Listen)?;
        let gate = Gate::new(terms.clock.now(), terms.life);
        Ok(Self {
            door,
            code,
            about,
            terms,
            gate,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Whether the code may still be tried.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self.gate.standing(self.terms.clock.now()),
            Standing::Open(_)
        )
    }

    /// Waits for a machine that knows the code. While one is asking, all others are refused; calling this again goes on waiting.
    ///
    /// # Errors
    ///
    /// [`Ended`] when nobody can use the code any more.
    pub fn wait(&mut self, news: &mut dyn FnMut(News)) -> Result<Asking<'_>, Ended> {
        self.door.admit();
        let known = self.wait_for_proof(news);
        self.door.turn_away();
        let (mut channel, introduction, from) = known?;
        channel.trust();
        Ok(Asking {
            host: self,
            channel,
            introduction,
            from,
        })
    }

    fn wait_for_proof(
        &mut self,
        news: &mut dyn FnMut(News),
    ) -> Result<(HostChannel, Introduction, IpAddr), Ended> {
        loop {
            let left = match self.gate.standing(self.terms.clock.now()) {
                Standing::Open(left) => left,
                Standing::Expired => return Err(Ended::Expired),
                Standing::Dead => return Err(Ended::TooManyTries),
                Standing::Spent => return Err(Ended::Used),
            };
            let wrong = |from| self.gate.wrong_from(from);
            let Some(arrival) = self.door.next(left.min(WAKE_EVERY), wrong) else {
                continue;
            };
            let from = arrival.from;
            if !self.is_open() || !self.gate.is_open_to(from) {
                arrival.channel.refuse(Reason::NotAccepted);
                continue;
            }
            match self.judge(arrival)? {
                Judged::Knows(channel, introduction) => return Ok((*channel, introduction, from)),
                Judged::Left => {}
                Judged::Wrong(left) => news(News::Wrong { from, left }),
            }
        }
    }

    /// Looks at one proof. It is counted before the answer leaves.
    fn judge(&mut self, arrival: Arrival) -> Result<Judged, Ended> {
        let Arrival {
            mut channel,
            proof,
            said,
            from,
        } = arrival;
        let key = ProofKey::derive(&self.code, channel.exporter(), self.terms.cost)
            .map_err(Ended::Fault)?;
        channel.within(TAKE_WITHIN);
        let is_right = key.guest(&said) == proof;
        // Nothing of what a stranger says is parsed.
        let introduction = is_right.then(|| Introduction::decode(&said)).flatten();
        let Some(introduction) = introduction else {
            let left = self.gate.wrong(from);
            channel.refuse(Reason::NotAccepted);
            return Ok(Judged::Wrong(left));
        };
        let about = self.about.encode();
        let answer = key.host(&proof, &said, &about);
        let payload = [answer.as_bytes().as_slice(), &about].concat();
        match channel.write(Kind::Proven, &payload) {
            Ok(()) => Ok(Judged::Knows(Box::new(channel), introduction)),
            Err(_) => Ok(Judged::Left),
        }
    }
}

enum Judged {
    Knows(Box<HostChannel>, Introduction),
    Wrong(u32),
    Left,
}

impl Asking<'_> {
    /// What it says of itself.
    #[must_use]
    pub fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// From where it asks.
    #[must_use]
    pub fn from(&self) -> IpAddr {
        self.from
    }

    /// What its request to be enrolled has to answer.
    #[must_use]
    pub fn challenge(&self) -> Challenge {
        self.channel.exporter().challenge()
    }

    /// Whether it has left, or spoken out of turn: then it gets nothing, and whoever is being asked need not answer.
    /// [`as_fd`](AsFd::as_fd) is readable when it is worth asking this again.
    pub fn is_gone(&mut self) -> bool {
        self.channel.is_gone()
    }

    /// Tells it that it may not. That ends the code: somebody knows it who should not.
    pub fn decline(mut self) {
        self.host.gate.spend();
        self.channel.within(TAKE_WITHIN);
        self.channel.refuse(Reason::Declined);
    }

    /// Sends it the puddle, and what this machine's fleet offers, and waits until it has installed it. That ends the code, unless the guest was gone.
    ///
    /// # Errors
    ///
    /// [`AllowError`], which says whether anything was sent.
    pub fn allow(
        mut self,
        carried: &Carried,
        offer: Option<&[u8]>,
    ) -> Result<Installed, AllowError> {
        if self.channel.is_gone() {
            return Err(AllowError::Left);
        }
        self.host.gate.spend();
        let payload = message::encode_puddle(carried, offer);
        self.channel
            .within(INSTALL_WITHIN)
            .write(Kind::Puddle, &payload)
            .map_err(AllowError::Unsure)?;
        let frame = self
            .channel
            .read(Kind::Installed)
            .map_err(AllowError::Unsure)?;
        let (outcome, request) = match frame.kind {
            Kind::Refused => (outcome(Reason::decode(&frame.payload)), None),
            _ => {
                let request = message::decode_fleet(&frame.payload);
                let request = request.ok_or(AllowError::Unsure(WireError::Unexpected))?;
                (InstalledOutcome::Done, request)
            }
        };
        Ok(Installed {
            channel: self.channel,
            outcome,
            request,
        })
    }
}

impl AsFd for Asking<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.socket()
    }
}

impl Installed {
    /// What the guest did.
    #[must_use]
    pub fn outcome(&self) -> InstalledOutcome {
        self.outcome
    }

    /// Its request to be enrolled, if it wants to be.
    #[must_use]
    pub fn request(&self) -> Option<&[u8]> {
        self.request.as_deref()
    }

    /// Gives it what came of the request, and ends the conversation.
    ///
    /// # Errors
    ///
    /// [`WireError`] if it cannot be told; it has the puddle all the same.
    pub fn answer(mut self, enrolment: Option<&[u8]>) -> Result<(), WireError> {
        if self.outcome != InstalledOutcome::Done {
            return Ok(());
        }
        let payload = message::encode_fleet(enrolment);
        self.channel
            .within(TAKE_WITHIN)
            .write(Kind::Fleet, &payload)?;
        self.channel.close();
        Ok(())
    }
}

fn outcome(reason: Reason) -> InstalledOutcome {
    match reason {
        Reason::Exists => InstalledOutcome::Exists,
        Reason::Unsound => InstalledOutcome::Unsound,
        Reason::DiskFull => InstalledOutcome::DiskFull,
        Reason::NotAccepted | Reason::Declined | Reason::Failed => InstalledOutcome::Failed,
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("address", &self.address())
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking")
            .field("introduction", &self.introduction)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for HostChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostChannel(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_those_of_both_families() {
        for wanted in [None, Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))] {
            let Ok(listener) = listen(wanted) else {
                // A machine may have no IPv6.
                continue;
            };
            let port = listener.local_addr().expect("an address").port();
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("by IPv4");
        }
    }
}
