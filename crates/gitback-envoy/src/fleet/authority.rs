//! What only the envoy does that holds the authority's key: enrol, renew, remove, give out tickets.

use std::sync::Arc;

use gitback_fleet::{
    EnrolRequest, Enrolment, FleetReject, Place, Removal, Role, Roster, SECRET_LEN, Ticket,
};
use gitback_identity::EnvoyKey;

use super::files::FleetFault;
use super::tickets::{NewTicket, TicketFault, Tickets};
use super::{Fleet, Inner};
use crate::clock;
use crate::daemon::Envoy;
use crate::key;
use crate::whereabouts::own_addresses;

const DAY_MS: u64 = 24 * 3_600_000;

/// How long an enrolment is good, in milliseconds: so long that a fleet does not end with its authority's machine.
const VALID_MS: u64 = 400 * DAY_MS;

/// After how long it is renewed, in milliseconds.
const RENEW_MS: u64 = 30 * DAY_MS;

/// How much later than that an enrolment may end, in milliseconds: more was signed by a clock that was ahead.
const AHEAD_MS: u64 = DAY_MS;

/// How far the clock may be behind the newest enrolment, in milliseconds. Beyond that nothing is signed.
const BEHIND_MS: u64 = 7 * DAY_MS;

/// Most live envoys that come in through one other than the authority's.
const THROUGH_MAX: usize = 8;

/// On whose word an envoy is taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word<'a> {
    /// That of a user of this envoy.
    User,
    /// That of whoever gave it the ticket with this secret. The ticket is used up by that.
    Ticket(&'a [u8; SECRET_LEN]),
    /// That of another envoy of the fleet.
    Member(EnvoyKey),
}

/// Why an envoy is not enrolled, or not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolFault {
    /// The authority's key is not here.
    #[error("this envoy does not hold the key of the fleet's authority")]
    NotTheAuthority,
    /// The key of the new envoy was removed.
    #[error("its key was removed from this fleet, for good")]
    Removed,
    /// Another envoy of the fleet has its name.
    #[error("another envoy of the fleet is called {name}, with the key {key}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        key: EnvoyKey,
    },
    /// The envoy that asks has brought in enough.
    #[error("{THROUGH_MAX} envoys of the fleet have come in through {name} already")]
    Limit {
        /// Its name.
        name: String,
    },
    /// The ticket brings nobody in.
    #[error(transparent)]
    Ticket(TicketFault),
    /// It cannot be one of the fleet.
    #[error("the fleet cannot take it")]
    Reject(#[source] FleetReject),
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
    /// This machine's clock is wrong, or was when something was signed.
    #[error(
        "this machine's clock is {days} days behind the newest enrolment, so nothing is signed; if it is right now, \
         and was wrong then, make an empty file {trust}"
    )]
    Clock {
        /// By how much.
        days: u64,
        /// The file that says so.
        trust: String,
    },
    /// There are too many tickets.
    #[error("too many tickets have not ended yet")]
    TooManyTickets,
    /// It could not be stored.
    #[error(transparent)]
    Store(FleetFault),
}

impl Fleet {
    /// Founds a fleet, if there is none.
    pub(crate) fn found(&self, envoy: &Envoy) -> Result<(), EnrolFault> {
        let mut inner = self.inner();
        if inner.known.is_some() {
            return Ok(());
        }
        // A key that is here signs for a fleet whose roster is lost. Used once more, it would be that fleet without its
        // removals: whoever was removed would be back.
        if inner.authority.is_some() {
            let aside = self.put_key_aside(&mut inner);
            aside.map_err(EnrolFault::Store)?;
            tracing::warn!("an authority's key without a roster was put aside");
        }
        let dir = self.files.dir();
        let secret = key::make_authority_key(dir)
            .map_err(|error| EnrolFault::Store(FleetFault::Key(error)))?;
        let mut roster = Roster::new(secret.public());
        let now = clock::now_ms();
        let own = Enrolment::sign(
            &secret,
            *envoy.public(),
            envoy.name(),
            envoy.role(),
            now,
            now.saturating_add(VALID_MS),
            None,
        );
        let own = own.map_err(EnrolFault::Reject)?;
        roster.enrol(own).map_err(EnrolFault::Reject)?;
        inner.authority = Some(secret);
        self.keep(&mut inner, roster).map_err(EnrolFault::Store)?;
        tracing::info!("this envoy has founded a fleet");
        Ok(())
    }

    /// Takes an envoy into the fleet. Returns whether there was something to sign: one that is in it already and asks
    /// again has not heard the answer, and that alone is no news for anybody.
    pub(crate) fn enrol(
        &self,
        envoy: &Envoy,
        request: &EnrolRequest,
        word: Word<'_>,
    ) -> Result<bool, EnrolFault> {
        let mut inner = self.inner();
        let (key, now) = (*request.envoy(), clock::now_ms());
        let mut roster = inner.own_roster()?;
        if let Word::Ticket(secret) = word {
            let judged = inner.tickets.judge(secret, &key, now);
            judged.map_err(EnrolFault::Ticket)?;
        }
        if roster.removal(&key).is_some() {
            return Err(EnrolFault::Removed);
        }
        let is_me = key == *envoy.public();
        // Another one that holds the key says so itself, and nobody asks for that.
        let role = match roster.enrolment(&key) {
            _ if is_me => envoy.role(),
            Some(known) => known.role(),
            None => Role::Member,
        };
        // A request of before it was called otherwise does not take its name back.
        let name = if is_me { envoy.name() } else { request.name() };
        // One whose enrolment has ended comes back by a renewal, and would be a second one of its name.
        if let Some(other) = roster
            .enrolments()
            .find(|one| one.name() == name && *one.envoy() != key)
        {
            return Err(EnrolFault::NameTaken {
                name: name.to_owned(),
                key: *other.envoy(),
            });
        }
        let present = roster.enrolment(&key).filter(|one| one.is_in_force(now));
        if let Some(present) = present
            && present.name() == name
            && present.role() == role
            && !is_due(present.expires_ms(), now)
        {
            // A ticket brings nobody in by that, so it stays as good as it is.
            return Ok(false);
        }
        self.check_clock(&roster, now)?;
        let through = match (present, word) {
            (Some(present), _) => present.through().copied(),
            (None, Word::Member(member)) => {
                has_room_through(&roster, &member, now)?;
                Some(member)
            }
            (None, Word::User | Word::Ticket(_)) => None,
        };
        let terms = Terms {
            name: name.to_owned(),
            role,
            through,
        };
        inner.sign_into(&mut roster, key, &terms, now)?;
        // Before it is enrolled: a ticket that was used brings in nobody else, whatever happens next.
        self.use_up(&mut inner, word, &key)?;
        let place = Place {
            envoy: key,
            addresses: request.addresses().to_vec(),
        };
        inner.note_places(envoy.public(), &[place]);
        self.keep(&mut inner, roster).map_err(EnrolFault::Store)?;
        self.files.keep_places(&inner.places);
        envoy.know_fleet(&inner);
        let by = match word {
            Word::User => "a user here".to_owned(),
            Word::Ticket(_) => "a ticket".to_owned(),
            Word::Member(member) => envoy.name_of(&member),
        };
        tracing::info!(name, %key, by, "is enrolled");
        Ok(true)
    }

    /// Notes durably whom a ticket has brought in.
    fn use_up(&self, inner: &mut Inner, word: Word<'_>, key: &EnvoyKey) -> Result<(), EnrolFault> {
        let Word::Ticket(secret) = word else {
            return Ok(());
        };
        let mut tickets = inner.tickets.clone();
        if tickets.note_used(secret, key) {
            self.keep_tickets(inner, tickets)
                .map_err(EnrolFault::Store)?;
        }
        Ok(())
    }

    /// Makes tickets durable, then in force: what a full disk has kept from the file does not count here either.
    pub(super) fn keep_tickets(
        &self,
        inner: &mut Inner,
        tickets: Tickets,
    ) -> Result<(), FleetFault> {
        self.files.keep_tickets(&tickets)?;
        inner.tickets = tickets;
        Ok(())
    }

    /// Forgets the tickets that have ended.
    pub(super) fn forget_ended_tickets(&self) -> Result<(), FleetFault> {
        let mut inner = self.inner();
        let mut tickets = inner.tickets.clone();
        // A day later, so that whoever comes late hears that it has ended.
        if tickets.forget_ended(clock::now_ms().saturating_sub(DAY_MS)) {
            self.keep_tickets(&mut inner, tickets)?;
        }
        Ok(())
    }

    /// Takes envoys out of the fleet, for good. Returns how many tickets have ended by that.
    pub(crate) fn remove(&self, envoy: &Envoy, keys: &[EnvoyKey]) -> Result<usize, EnrolFault> {
        let mut inner = self.inner();
        let tickets = inner.tickets.open(clock::now_ms());
        let mut roster = inner.own_roster()?;
        let secret = inner.authority_of_fleet();
        let secret = secret.ok_or(EnrolFault::NotTheAuthority)?;
        let now = clock::now_ms();
        for key in keys {
            let name = roster.enrolment(key).map_or("unknown", Enrolment::name);
            let removal = Removal::sign(secret, *key, name, now);
            let removal = removal.map_err(EnrolFault::Reject)?;
            roster.remove(removal).map_err(EnrolFault::Reject)?;
        }
        self.keep(&mut inner, roster).map_err(EnrolFault::Store)?;
        envoy.know_fleet(&inner);
        for key in keys {
            tracing::info!(%key, "was removed from the fleet");
        }
        Ok(tickets)
    }

    /// Gives out a ticket.
    pub(crate) fn ticket(&self, envoy: &Envoy, valid_ms: u64) -> Result<NewTicket, EnrolFault> {
        let mut inner = self.inner();
        if !inner.holds_authority() {
            return Err(EnrolFault::NotTheAuthority);
        }
        let mut secret = [0; SECRET_LEN];
        getrandom::fill(&mut secret).map_err(|_| EnrolFault::Randomness)?;
        let now = clock::now_ms();
        let expires_ms = now.saturating_add(valid_ms);
        let mut tickets = inner.tickets.clone();
        if !tickets.give(&secret, expires_ms, now) {
            return Err(EnrolFault::TooManyTickets);
        }
        self.keep_tickets(&mut inner, tickets)
            .map_err(EnrolFault::Store)?;
        Ok(NewTicket {
            ticket: Ticket::new(*envoy.public(), secret, &own_addresses(envoy)),
            expires_ms,
        })
    }

    /// Refuses to sign by a clock that is clearly behind, unless somebody has said that it is right.
    fn check_clock(&self, roster: &Roster, now_ms: u64) -> Result<(), EnrolFault> {
        let trust = self.files.clock_is_right();
        match days_behind(roster, now_ms) {
            Some(days) if !trust.exists() => Err(EnrolFault::Clock {
                days,
                trust: trust.display().to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Signs anew what ends before it should, or much later, and this envoy's own enrolment when what it is has changed. Whether
    /// there was any.
    pub(super) fn renew(&self, envoy: &Arc<Envoy>) -> Result<bool, EnrolFault> {
        let mut inner = self.inner();
        if !inner.holds_authority() {
            return Ok(false);
        }
        let mut roster = inner.own_roster()?;
        let (me, now) = (*envoy.public(), clock::now_ms());
        let role = |one: &Enrolment| match (*one.envoy() == me, one.role()) {
            (true, _) => envoy.role(),
            (false, role) => role,
        };
        let is_to_be_signed = |one: &Enrolment| {
            let is_news = *one.envoy() == me && one.name() != envoy.name();
            is_due(one.expires_ms(), now) || is_news || role(one) != one.role()
        };
        let due: Vec<(EnvoyKey, Terms)> = roster
            .enrolments()
            .filter(|one| is_to_be_signed(one))
            .map(|one| {
                let is_me = *one.envoy() == me;
                let name = if is_me { envoy.name() } else { one.name() };
                let terms = Terms {
                    name: name.to_owned(),
                    role: role(one),
                    through: one.through().copied(),
                };
                (*one.envoy(), terms)
            })
            .collect();
        if !due.is_empty() {
            self.check_clock(&roster, now)?;
        }
        for (key, terms) in &due {
            inner.sign_into(&mut roster, *key, terms, now)?;
        }
        if !due.is_empty() {
            self.keep(&mut inner, roster).map_err(EnrolFault::Store)?;
            tracing::info!(count = due.len(), "enrolments were renewed");
            self.files.forget_clock_is_right();
        }
        Ok(!due.is_empty())
    }
}

/// What an enrolment says of an envoy.
struct Terms {
    name: String,
    role: Role,
    through: Option<EnvoyKey>,
}

/// Whether one more may come in through a member of the fleet.
fn has_room_through(roster: &Roster, member: &EnvoyKey, now_ms: u64) -> Result<(), EnrolFault> {
    let brought_in = roster
        .live(now_ms)
        .filter(|one| one.through() == Some(member));
    if brought_in.count() < THROUGH_MAX {
        return Ok(());
    }
    let name = roster.enrolment(member).map_or("unknown", Enrolment::name);
    Err(EnrolFault::Limit {
        name: name.to_owned(),
    })
}

/// Whether an enrolment that ends then is to be renewed.
const fn is_due(expires_ms: u64, now_ms: u64) -> bool {
    let ends = now_ms.saturating_add(VALID_MS);
    expires_ms < ends.saturating_sub(RENEW_MS) || expires_ms > ends.saturating_add(AHEAD_MS)
}

/// When an enrolment ends that is signed now, where the one before it ends at `present_ms`. That is never earlier,
/// unless a clock was ahead.
fn end(present_ms: Option<u64>, now_ms: u64) -> u64 {
    let ends = now_ms.saturating_add(VALID_MS);
    let kept = present_ms.filter(|present| *present <= ends.saturating_add(AHEAD_MS));
    kept.map_or(ends, |present| present.max(ends))
}

/// By how many days a clock is behind, if that is clear from when the newest enrolment was signed. Its number alone does
/// not say: after a clock that was ahead, numbers go on from there.
fn days_behind(roster: &Roster, now_ms: u64) -> Option<u64> {
    let signed = |one: &Enrolment| one.number().min(one.expires_ms().saturating_sub(VALID_MS));
    let newest = roster.enrolments().map(signed).max()?;
    let behind = newest.saturating_sub(now_ms);
    (behind > BEHIND_MS).then_some(behind / DAY_MS)
}

impl Inner {
    /// The roster of the fleet whose authority is here, to be changed.
    fn own_roster(&self) -> Result<Roster, EnrolFault> {
        let known = self.known.as_ref().filter(|_| self.holds_authority());
        let (roster, _) = known.ok_or(EnrolFault::NotTheAuthority)?;
        Ok(Roster::clone(roster))
    }

    /// Signs an enrolment that holds rather than the one that is there.
    fn sign_into(
        &self,
        roster: &mut Roster,
        key: EnvoyKey,
        terms: &Terms,
        now_ms: u64,
    ) -> Result<(), EnrolFault> {
        let secret = self.authority_of_fleet();
        let secret = secret.ok_or(EnrolFault::NotTheAuthority)?;
        let last = roster.enrolment(&key);
        let number = last.map_or(now_ms, |last| now_ms.max(last.number().saturating_add(1)));
        let expires_ms = end(last.map(Enrolment::expires_ms), now_ms);
        let Terms {
            name,
            role,
            through,
        } = terms;
        let enrolment = Enrolment::sign(secret, key, name, *role, number, expires_ms, *through);
        let enrolment = enrolment.map_err(EnrolFault::Reject)?;
        roster
            .enrol(enrolment)
            .map(drop)
            .map_err(EnrolFault::Reject)
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    const NOW: u64 = 20_000 * DAY_MS;

    #[test]
    fn what_ends_too_early_or_too_late_is_renewed() {
        let ends = NOW + VALID_MS;
        assert!(!is_due(ends, NOW));
        assert!(!is_due(ends - RENEW_MS, NOW));
        assert!(is_due(ends - RENEW_MS - 1, NOW));
        assert!(!is_due(ends + AHEAD_MS, NOW));
        assert!(is_due(ends + AHEAD_MS + 1, NOW));
        assert!(is_due(0, NOW));
    }

    #[test]
    fn a_renewal_ends_no_earlier_unless_a_clock_was_ahead() {
        let ends = NOW + VALID_MS;
        assert_eq!(end(None, NOW), ends);
        assert_eq!(end(Some(ends - RENEW_MS), NOW), ends);
        assert_eq!(end(Some(ends + AHEAD_MS), NOW), ends + AHEAD_MS);
        assert_eq!(end(Some(ends + AHEAD_MS + 1), NOW), ends);
        assert_eq!(end(Some(u64::MAX), NOW), ends);
    }

    #[test]
    fn a_clock_is_behind_what_was_signed_last() {
        let behind = |number: u64, expires_ms: u64| {
            let secret = SecretKey::from_seed(&[1; 32]);
            let key = EnvoyKey::new(secret.public());
            let one = Enrolment::sign(&secret, key, "a", Role::Member, number, expires_ms, None);
            let mut roster = Roster::new(secret.public());
            roster.enrol(one.expect("a name")).expect("room");
            days_behind(&roster, NOW)
        };
        assert_eq!(behind(NOW, NOW + VALID_MS), None);
        let later = NOW + BEHIND_MS;
        assert_eq!(behind(later, later + VALID_MS), None);
        let later = later + DAY_MS;
        assert_eq!(behind(later, later + VALID_MS), Some(8));
        assert_eq!(behind(u64::MAX, NOW), None, "only the number is ahead");
    }
}
