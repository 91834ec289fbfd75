//! What somebody types on a new machine to have it join a fleet.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use gitback_identity::EnvoyKey;
use gitback_identity::host_port::is_host_port;
use sha2::{Digest as _, Sha256};

/// The bytes of a ticket's secret: 128 bits, which nobody guesses over a network.
pub const SECRET_LEN: usize = 16;
/// The most addresses in one ticket.
pub const TICKET_ADDRESSES_MAX: usize = 4;
/// The longest ticket, in characters.
pub const TICKET_MAX: usize = 2048;

/// How a ticket begins, and its version.
const PREFIX: &str = "vigo1";
const CHECK_LEN: usize = 4;
/// RFC 4648 §6, in lower case: one word for whoever clicks twice.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Whom to ask, where, and with which secret. Whoever has it can bring one envoy into the fleet, once.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    envoy: EnvoyKey,
    secret: [u8; SECRET_LEN],
    addresses: Vec<String>,
}

/// Why a text is not a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketReject {
    /// It does not begin as tickets do.
    #[error("a ticket begins with {PREFIX}")]
    Prefix,
    /// A character is lacking, wrong or too many.
    #[error("it is not whole, or a character of it is wrong")]
    Damaged,
}

impl Ticket {
    /// Makes a ticket: the envoy that holds the authority's key, where it is reached, and a fresh random secret. Of the
    /// addresses the first [`TICKET_ADDRESSES_MAX`] that are `host:port` are taken.
    #[must_use]
    pub fn new(envoy: EnvoyKey, secret: [u8; SECRET_LEN], addresses: &[String]) -> Self {
        let addresses = addresses.iter().filter(|address| is_host_port(address));
        Self {
            envoy,
            secret,
            addresses: addresses.take(TICKET_ADDRESSES_MAX).cloned().collect(),
        }
    }

    /// Who has to answer.
    #[must_use]
    pub const fn envoy(&self) -> &EnvoyKey {
        &self.envoy
    }

    /// What proves that the ticket was given.
    #[must_use]
    pub const fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }

    /// Where that envoy is reached, `host:port`, the best first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The challenge that a request by this ticket answers: SHA-256 of `gitback ticket challenge` and the secret.
    #[must_use]
    pub fn challenge(secret: &[u8; SECRET_LEN]) -> [u8; 32] {
        labelled("gitback ticket challenge", secret)
    }

    /// What the authority keeps of a ticket: SHA-256 of `gitback ticket` and the secret.
    #[must_use]
    pub fn hash(secret: &[u8; SECRET_LEN]) -> [u8; 32] {
        labelled("gitback ticket", secret)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(self.envoy.as_bytes());
        bytes.extend_from_slice(&self.secret);
        for address in &self.addresses {
            // An address that is `host:port` has at most 255 bytes.
            bytes.push(u8::try_from(address.len()).unwrap_or(0));
            bytes.extend_from_slice(address.as_bytes());
        }
        bytes.extend_from_slice(&check_sum(&bytes));
        bytes
    }
}

/// The ticket in words of its spec: [docs/spec/fleet.md](../../../docs/spec/fleet.md) §7.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        f.write_str(&base32(&self.bytes()))
    }
}

/// Without the secret.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("envoy", &self.envoy)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = TicketReject;

    fn from_str(text: &str) -> Result<Self, TicketReject> {
        let digits = text.strip_prefix(PREFIX).ok_or(TicketReject::Prefix)?;
        if text.len() > TICKET_MAX {
            return Err(TicketReject::Damaged);
        }
        parse(&unbase32(digits).ok_or(TicketReject::Damaged)?).ok_or(TicketReject::Damaged)
    }
}

fn parse(bytes: &[u8]) -> Option<Ticket> {
    let (bytes, check) = bytes.split_last_chunk::<CHECK_LEN>()?;
    if check_sum(bytes) != *check {
        return None;
    }
    let (envoy, bytes) = bytes.split_first_chunk::<32>()?;
    let (secret, mut rest) = bytes.split_first_chunk::<SECRET_LEN>()?;
    let mut addresses = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (address, after) = after.split_at_checked(usize::from(*length))?;
        let address = str::from_utf8(address)
            .ok()
            .filter(|one| is_host_port(one))?;
        if addresses.len() >= TICKET_ADDRESSES_MAX {
            return None;
        }
        addresses.push(address.to_owned());
        rest = after;
    }
    Some(Ticket {
        envoy: EnvoyKey::from_bytes(envoy).ok()?,
        secret: *secret,
        addresses,
    })
}

fn labelled(label: &str, secret: &[u8; SECRET_LEN]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    hash.update(secret);
    hash.finalize().into()
}

/// The first bytes of a SHA-256: whoever copies half of a ticket hears of it on the spot.
fn check_sum(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let [first, second, third, fourth, ..] = hash;
    [first, second, third, fourth]
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    let mut put = |five: u32| {
        let digit = ALPHABET.get((five & 31) as usize).copied().unwrap_or(b'a');
        text.push(char::from(digit));
    };
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            put(held >> bits);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        put(held << (5 - bits));
    }
    text
}

/// The bytes of a text in base 32; nothing if it is none, or not the one that [`base32`] writes.
fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for digit in text.bytes() {
        let five = ALPHABET.iter().position(|one| *one == digit)?;
        held = (held << 5) | u32::try_from(five).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
        }
        held &= (1 << bits) - 1;
    }
    (bits < 5 && held == 0).then_some(bytes)
}
