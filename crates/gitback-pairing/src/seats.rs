//! Who may sit at the door without having proven anything, and who has to go for a newcomer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Strangers at once.
const SEATS_MAX: usize = 32;
/// Strangers at once with one address.
const SEATS_OF_ONE_MAX: usize = 4;
/// For so long nobody has to go: a handshake takes less on any network that is of use.
const SETTLE: Duration = Duration::from_secs(3);

/// The seats, and what each holds. Decides, and does nothing.
///
/// Source: docs/spec/pairing.md §5.
#[derive(Debug)]
pub(crate) struct Seats<T> {
    /// The oldest first.
    seats: Vec<Seat<T>>,
    next: u64,
}

#[derive(Debug)]
struct Seat<T> {
    number: u64,
    from: IpAddr,
    since: Instant,
    has_greeted: bool,
    holds: T,
}

/// A seat that was given.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    pub(crate) number: u64,
    /// What the one held who has to go for it.
    pub(crate) evicted: Option<T>,
}

impl<T> Default for Seats<T> {
    fn default() -> Self {
        Self {
            seats: Vec::new(),
            next: 0,
        }
    }
}

impl<T> Seats<T> {
    /// Gives a seat. With none free, whoever has not finished the handshake has to go first, then the oldest, and none that has
    /// only just come: then there is no seat for the newcomer.
    pub(crate) fn take(&mut self, now: Instant, from: IpAddr, holds: T) -> Option<Taken<T>> {
        let of_one = self.seats.iter().filter(|seat| seat.from == from).count();
        let of_one_is_full = of_one >= SEATS_OF_ONE_MAX;
        let is_full = of_one_is_full || self.seats.len() >= SEATS_MAX;
        let evicted = match is_full {
            true => {
                let only = of_one_is_full.then_some(from);
                Some(self.evict(now, only)?)
            }
            false => None,
        };
        let number = self.next;
        self.next += 1;
        self.seats.push(Seat {
            number,
            from,
            since: now,
            has_greeted: false,
            holds,
        });
        Some(Taken { number, evicted })
    }

    fn evict(&mut self, now: Instant, only: Option<IpAddr>) -> Option<T> {
        let may_go = |seat: &&Seat<T>| {
            only.is_none_or(|from| seat.from == from)
                && now.saturating_duration_since(seat.since) >= SETTLE
        };
        let goes = self.seats.iter().filter(may_go);
        let goes = goes.min_by_key(|seat| (seat.has_greeted, seat.number))?;
        let number = goes.number;
        self.leave(number)
    }

    /// Whoever has this seat has finished the handshake.
    pub(crate) fn greeted(&mut self, number: u64) {
        let seat = self.seats.iter_mut().find(|seat| seat.number == number);
        if let Some(seat) = seat {
            seat.has_greeted = true;
        }
    }

    /// Frees a seat.
    pub(crate) fn leave(&mut self, number: u64) -> Option<T> {
        let index = self.seats.iter().position(|seat| seat.number == number)?;
        Some(self.seats.remove(index).holds)
    }

    /// What all seats hold.
    pub(crate) fn held(&self) -> impl Iterator<Item = &T> {
        self.seats.iter().map(|seat| &seat.holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// Takes a seat, and says whose it was: nothing if it was free.
    #[track_caller]
    fn take(seats: &mut Seats<u32>, now: Instant, from: u8, who: u32) -> Option<u32> {
        let taken = seats.take(now, ip(from), who);
        taken.expect("a seat").evicted
    }

    #[test]
    fn one_address_gets_four_and_keeps_out_only_itself() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        for who in 0..4 {
            assert_eq!(take(&mut seats, now, 1, who), None);
        }
        assert!(seats.take(now, ip(1), 4).is_none(), "all have just come");
        assert_eq!(take(&mut seats, now, 2, 5), None);
        let later = now + SETTLE;
        assert_eq!(take(&mut seats, later, 1, 6), Some(0), "the oldest");
    }

    #[test]
    fn who_has_finished_the_handshake_goes_last() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        for who in 0..4 {
            take(&mut seats, now, 1, who);
        }
        seats.greeted(0);
        seats.greeted(1);
        let later = now + SETTLE;
        let gone: Vec<_> = (4..8).map(|who| take(&mut seats, later, 1, who)).collect();
        assert_eq!(gone, [Some(2), Some(3), Some(0), Some(1)]);
        assert!(seats.take(later, ip(1), 8).is_none(), "all have just come");
    }

    #[test]
    fn many_addresses_get_thirty_two() {
        let (mut seats, now) = (Seats::default(), Instant::now());
        for who in 0..32 {
            let from = u8::try_from(who).expect("small");
            assert_eq!(take(&mut seats, now, from, who), None);
        }
        assert!(seats.take(now, ip(99), 99).is_none());
        seats.greeted(0);
        assert_eq!(take(&mut seats, now + SETTLE, 99, 99), Some(1));
        assert_eq!(seats.leave(0), Some(0));
        assert_eq!(seats.held().count(), 31);
        assert_eq!(take(&mut seats, now, 98, 98), None);
    }
}
