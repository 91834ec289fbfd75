//! The tickets that were given out here: their hashes, never their secrets.

use gitback_envelope::Malformed;
use gitback_envelope::cbor::{Reader, Writer};
use gitback_fleet::{SECRET_LEN, Ticket};
use gitback_identity::EnvoyKey;

/// Most tickets that are remembered at one time.
pub(crate) const TICKETS_MAX: usize = 256;

/// What was given out and may still come back.
#[derive(Debug, Default, Clone)]
pub(super) struct Tickets(Vec<Given>);

#[derive(Debug, Clone)]
struct Given {
    hash: [u8; 32],
    expires_ms: u64,
    used_by: Option<EnvoyKey>,
}

impl Given {
    fn is_open(&self, now_ms: u64) -> bool {
        self.used_by.is_none() && self.expires_ms > now_ms
    }
}

/// A ticket as it goes to whoever asked for it.
#[derive(Debug)]
pub(crate) struct NewTicket {
    pub(crate) ticket: Ticket,
    pub(crate) expires_ms: u64,
}

/// Why a ticket brings nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketFault {
    /// It was never given out here, or so long ago that it is forgotten.
    #[error("the ticket is not known here: it was never given out, or it has ended")]
    Unknown,
    /// Its time is over.
    #[error("the ticket has ended")]
    Ended,
    /// Another envoy came with it.
    #[error("the ticket has brought in another envoy already")]
    Used,
}

impl TicketFault {
    /// The code of the refusal.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "ticket-unknown",
            Self::Ended => "ticket-ended",
            Self::Used => "ticket-used",
        }
    }
}

impl Tickets {
    /// Remembers a ticket. `false` if there are too many.
    pub(super) fn give(&mut self, secret: &[u8; SECRET_LEN], expires_ms: u64, now_ms: u64) -> bool {
        self.forget_ended(now_ms);
        if self.0.len() >= TICKETS_MAX {
            return false;
        }
        self.0.push(Given {
            hash: Ticket::hash(secret),
            expires_ms,
            used_by: None,
        });
        true
    }

    /// Forgets those that have ended. Whether there were any.
    pub(super) fn forget_ended(&mut self, now_ms: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|given| given.expires_ms > now_ms);
        self.0.len() != before
    }

    /// How many of them may still bring somebody in.
    pub(super) fn open(&self, now_ms: u64) -> usize {
        let open = self.0.iter().filter(|given| given.is_open(now_ms));
        open.count()
    }

    /// Ends those that may still bring somebody in. Whether there were any.
    pub(super) fn end_open(&mut self, now_ms: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|given| !given.is_open(now_ms));
        self.0.len() != before
    }

    /// Whether a ticket would bring in this envoy. The one that it has brought in may come again: it has not heard the
    /// answer.
    pub(super) fn judge(
        &self,
        secret: &[u8; SECRET_LEN],
        envoy: &EnvoyKey,
        now_ms: u64,
    ) -> Result<(), TicketFault> {
        let hash = Ticket::hash(secret);
        let given = self.0.iter().find(|given| given.hash == hash);
        let given = given.ok_or(TicketFault::Unknown)?;
        if given.used_by.is_some_and(|by| by != *envoy) {
            return Err(TicketFault::Used);
        }
        if given.expires_ms <= now_ms {
            return Err(TicketFault::Ended);
        }
        Ok(())
    }

    /// Notes whom a ticket has brought in. Whether that is news.
    pub(super) fn note_used(&mut self, secret: &[u8; SECRET_LEN], envoy: &EnvoyKey) -> bool {
        let hash = Ticket::hash(secret);
        let given = self.0.iter_mut().find(|given| given.hash == hash);
        given.is_some_and(|given| given.used_by.replace(*envoy).is_none())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(self.0.len());
        for given in &self.0 {
            writer.array(3);
            writer.bytes(&given.hash);
            writer.uint(given.expires_ms);
            writer.bytes(
                given
                    .used_by
                    .as_ref()
                    .map_or(&[][..], |by| &by.as_bytes()[..]),
            );
        }
        writer.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let read = |reader: &mut Reader<'_>| -> Result<Option<Given>, Malformed> {
            let _three = reader.array()?;
            let hash = reader.bytes()?.try_into().ok();
            let expires_ms = reader.uint()?;
            let used_by = match reader.bytes()? {
                [] => Some(None),
                key => key
                    .try_into()
                    .ok()
                    .and_then(|key| EnvoyKey::from_bytes(key).ok())
                    .map(Some),
            };
            Ok(hash.zip(used_by).map(|(hash, used_by)| Given {
                hash,
                expires_ms,
                used_by,
            }))
        };
        let count = usize::try_from(reader.array().ok()?).ok()?;
        if count > TICKETS_MAX {
            return None;
        }
        let mut tickets = Vec::new();
        for _ in 0..count {
            tickets.push(read(&mut reader).ok()??);
        }
        reader.finish().ok()?;
        Some(Self(tickets))
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    fn envoy(seed: u8) -> EnvoyKey {
        EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    #[test]
    fn a_ticket_brings_in_one_envoy_until_it_ends() {
        let (secret, other) = ([1; SECRET_LEN], [2; SECRET_LEN]);
        let mut tickets = Tickets::default();
        assert!(tickets.give(&secret, 100, 0));
        assert_eq!(
            tickets.judge(&other, &envoy(1), 1),
            Err(TicketFault::Unknown)
        );
        assert_eq!(tickets.judge(&secret, &envoy(1), 99), Ok(()));
        assert_eq!(
            tickets.judge(&secret, &envoy(1), 100),
            Err(TicketFault::Ended)
        );
        assert!(tickets.note_used(&secret, &envoy(1)));
        let tickets = Tickets::decode(&tickets.encode()).expect("own bytes");
        assert_eq!(tickets.judge(&secret, &envoy(1), 99), Ok(()), "again");
        assert_eq!(
            tickets.judge(&secret, &envoy(2), 99),
            Err(TicketFault::Used)
        );
    }

    #[test]
    fn those_that_brought_in_nobody_are_ended_and_the_others_stay() {
        let (used, open) = ([1; SECRET_LEN], [2; SECRET_LEN]);
        let mut tickets = Tickets::default();
        assert!(tickets.give(&used, 100, 0) && tickets.give(&open, 100, 0));
        assert!(tickets.note_used(&used, &envoy(1)));
        assert_eq!(tickets.open(99), 1);
        assert_eq!(tickets.open(100), 0, "it has ended by itself");
        assert!(tickets.end_open(99) && !tickets.end_open(99));
        assert_eq!(tickets.judge(&used, &envoy(1), 99), Ok(()));
        let gone = tickets.judge(&open, &envoy(2), 99);
        assert_eq!(gone, Err(TicketFault::Unknown));
    }

    #[test]
    fn tickets_that_have_ended_make_room() {
        let mut tickets = Tickets::default();
        for number in 0..TICKETS_MAX {
            let number = u8::try_from(number).expect("256 of them");
            assert!(tickets.give(&[number; SECRET_LEN], 100, 0));
        }
        assert!(!tickets.give(&[0; SECRET_LEN], 300, 99));
        assert!(tickets.give(&[0; SECRET_LEN], 300, 100));
    }

    #[test]
    fn damaged_tickets_are_none() {
        let mut tickets = Tickets::default();
        assert!(tickets.give(&[1; SECRET_LEN], 100, 0));
        let bytes = tickets.encode();
        for end in 0..bytes.len() {
            assert!(Tickets::decode(&bytes[..end]).is_none(), "{end}");
        }
    }
}
