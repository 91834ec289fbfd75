//! Which connections there are, and which must go when there are too many.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::admission::Standing;

/// A bounded set of connections. When it is full, a newcomer takes the place of the oldest one that
/// never had a request answered with success; so strangers cannot keep peers out by staying.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// In the order of arrival.
    seats: BTreeMap<u64, Arc<Place>>,
}

#[derive(Debug, Default)]
struct Place {
    asked: AtomicBool,
    welcome: AtomicBool,
    evicted: Notify,
}

/// The place of one connection, free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    place: Arc<Place>,
    shared: Arc<Shared>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                max,
                taken: Mutex::default(),
            }),
        }
    }

    /// Takes a seat; `None` when all are held by connections that are welcome.
    pub(super) fn take(&self) -> Option<Seat> {
        let mut taken = self.shared.lock();
        if taken.seats.len() >= self.shared.max {
            let (&oldest, place) = taken.seats.iter().find(|(_, place)| !place.is_welcome())?;
            place.evicted.notify_one();
            taken.seats.remove(&oldest);
        }
        let number = taken.next;
        taken.next += 1;
        let place = Arc::new(Place::default());
        taken.seats.insert(number, place.clone());
        Some(Seat {
            number,
            place,
            shared: self.shared.clone(),
        })
    }
}

impl Seat {
    /// Completes when this seat was given to somebody else.
    pub(super) fn evicted(&self) -> impl Future<Output = ()> + Send + use<> {
        let place = self.place.clone();
        async move { place.evicted.notified().await }
    }

    /// Notes that a request came.
    pub(super) fn asked(&self) {
        self.place.asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.place.asked.load(Ordering::Relaxed)
    }

    /// Notes that the service granted a request.
    pub(super) fn welcome(&self) {
        self.place.welcome.store(true, Ordering::Relaxed);
    }

    /// Notes that the service shuns the caller.
    pub(super) fn shun(&self) {
        self.place.welcome.store(false, Ordering::Relaxed);
    }

    pub(super) fn standing(&self) -> Standing {
        if self.place.is_welcome() {
            Standing::Welcome
        } else {
            Standing::Stranger
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.lock().seats.remove(&self.number);
    }
}

impl Place {
    fn is_welcome(&self) -> bool {
        self.welcome.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while the lock is held, and the map is sound after each statement.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_unwelcome_one_makes_room() {
        let seats = Seats::new(2);
        let peer = seats.take().expect("the first seat");
        peer.welcome();
        let stranger = seats.take().expect("the second seat");
        let newcomer = seats.take().expect("the stranger's seat");
        stranger.evicted().await;
        drop(stranger);
        newcomer.welcome();
        assert!(seats.take().is_none(), "both are welcome");
        drop(peer);
        assert!(seats.take().is_some());
    }

    #[tokio::test]
    async fn who_is_shunned_keeps_no_seat() {
        let seats = Seats::new(1);
        let peer = seats.take().expect("the only seat");
        peer.welcome();
        assert!(seats.take().is_none());
        peer.shun();
        assert!(seats.take().is_some());
        peer.evicted().await;
    }
}
