//! In which order proofs are looked at.

use std::net::IpAddr;

use crate::terms::TRIES_MAX;

/// Proofs that wait to be looked at.
const WAITING_MAX: usize = 32;
/// Proofs of one address: more wrong ones are never looked at.
const WAITING_OF_ONE_MAX: usize = TRIES_MAX as usize;

/// What has come and waits, each with its address. Decides, and does nothing.
///
/// Source: docs/spec/pairing.md §5.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Vec<(IpAddr, T)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Takes one more, and gives back what there is no room for: of the address that has most in the queue, what came last.
    pub(crate) fn push(&mut self, from: IpAddr, item: T) -> Option<T> {
        let of = |from: IpAddr| self.waiting.iter().filter(move |one| one.0 == from).count();
        if of(from) >= WAITING_OF_ONE_MAX {
            return Some(item);
        }
        let mut refused = None;
        if self.waiting.len() >= WAITING_MAX {
            let counted = self.waiting.iter().enumerate();
            let most = counted.max_by_key(|(_, (other, _))| of(*other));
            match most {
                Some((index, (other, _))) if of(*other) > of(from) + 1 => {
                    refused = Some(self.waiting.remove(index).1);
                }
                _ => return Some(item),
            }
        }
        self.waiting.push((from, item));
        refused
    }

    /// The next: of the addresses that were wrong least often, what came first.
    pub(crate) fn next(&mut self, wrong: impl Fn(IpAddr) -> u32) -> Option<T> {
        let counted = self.waiting.iter().enumerate();
        let (index, _) = counted.min_by_key(|(_, (from, _))| wrong(*from))?;
        Some(self.waiting.remove(index).1)
    }

    /// All of them.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let all = std::mem::take(&mut self.waiting);
        all.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn who_was_wrong_is_looked_at_after_who_was_not() {
        let mut queue = Queue::default();
        for item in [1, 2, 3] {
            assert_eq!(queue.push(ip(1), item), None);
        }
        assert_eq!(queue.push(ip(1), 4), Some(4), "three of one address");
        assert_eq!(queue.push(ip(2), 5), None);
        assert_eq!(queue.next(|_| 0), Some(1), "who came first");
        let wrong = |from| u32::from(from == ip(1));
        assert_eq!(queue.next(wrong), Some(5));
        assert_eq!(queue.next(wrong), Some(2));
        assert_eq!(queue.drain(), [3]);
        assert_eq!(queue.next(wrong), None);
    }

    #[test]
    fn a_full_queue_has_room_for_another_address() {
        let mut queue = Queue::default();
        for number in 0..WAITING_MAX {
            let from = u8::try_from(number / 3).expect("small");
            assert_eq!(queue.push(ip(from), number), None);
        }
        let refused = queue.push(ip(99), 99).expect("full");
        assert!(refused < WAITING_MAX, "not the newcomer");
        let mut queue = Queue::default();
        for number in 0..WAITING_MAX {
            let from = u8::try_from(number).expect("small");
            assert_eq!(queue.push(ip(from), number), None);
        }
        assert_eq!(queue.push(ip(99), 99), Some(99));
    }
}
