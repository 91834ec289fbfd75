//! Work that waits for its turn at the same moment is done together, by the first of those who wait.
//!
//! Each brings a job and gets it back when it is done. Who finds nobody at it goes in, takes what is waiting by then, from
//! the oldest on, and does it as one round. Jobs that meet are never of one round: the later one waits for the next. So
//! nobody waits for a job that was brought after its own, but within one round.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Most jobs in one round.
pub(crate) const ROUND_MAX: usize = 32;

/// Those who wait, each in a thread of its own.
#[derive(Debug)]
pub(crate) struct Rounds<J> {
    line: Mutex<Line<J>>,
    /// Fires when a round has ended.
    ended: Condvar,
}

/// The number by which somebody is known who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

#[derive(Debug)]
struct Line<J> {
    next: u64,
    waiting: VecDeque<(Ticket, J)>,
    /// Jobs of rounds that have ended; `None` of one that ended in a panic.
    done: BTreeMap<Ticket, Option<J>>,
    /// Somebody does a round.
    is_led: bool,
}

impl<J> Default for Rounds<J> {
    fn default() -> Self {
        let line = Line {
            next: 0,
            waiting: VecDeque::new(),
            done: BTreeMap::new(),
            is_led: false,
        };
        Self {
            line: Mutex::new(line),
            ended: Condvar::new(),
        }
    }
}

impl<J> Rounds<J> {
    /// Waits until `job` is done, and gives it back. Whoever's turn it is calls `enter`, which may wait as well, and then
    /// does with `work` what is waiting by then.
    ///
    /// # Panics
    ///
    /// When somebody else has panicked who had the job in hand: nobody knows how far it got.
    pub(crate) fn through<T>(
        &self,
        job: J,
        meets: impl Fn(&J, &J) -> bool,
        enter: impl Fn() -> T,
        work: impl Fn(&mut T, &mut [J]),
    ) -> J {
        let own = self.stand(job);
        loop {
            let is_busy = |line: &mut Line<J>| line.is_led && !line.done.contains_key(&own);
            let waited = self.ended.wait_while(self.line(), is_busy);
            let mut line = waited.expect("no thread panics with the line");
            if let Some(done) = line.done.remove(&own) {
                drop(line);
                return done.expect("a thread panicked while it changed this project");
            }
            line.is_led = true;
            drop(line);
            let mut round = Round {
                rounds: self,
                leader: own,
                taken: Vec::new(),
                has_ended: false,
            };
            let mut inside = enter();
            let mut jobs = round.take(&meets);
            work(&mut inside, &mut jobs);
            drop(inside);
            round.end(jobs);
        }
    }

    fn stand(&self, job: J) -> Ticket {
        let mut line = self.line();
        let ticket = Ticket(line.next);
        line.next += 1;
        line.waiting.push_back((ticket, job));
        ticket
    }

    fn line(&self) -> MutexGuard<'_, Line<J>> {
        self.line.lock().expect("no thread panics with the line")
    }
}

/// The right to do what is waiting. Whatever becomes of who has it, all that was taken comes to an end with it.
struct Round<'a, J> {
    rounds: &'a Rounds<J>,
    leader: Ticket,
    taken: Vec<Ticket>,
    has_ended: bool,
}

impl<J> Round<'_, J> {
    fn take(&mut self, meets: impl Fn(&J, &J) -> bool) -> Vec<J> {
        let mut line = self.rounds.line();
        let mut jobs: Vec<J> = Vec::new();
        let mut left: VecDeque<(Ticket, J)> = VecDeque::new();
        for (ticket, job) in std::mem::take(&mut line.waiting) {
            let mut before = jobs.iter().chain(left.iter().map(|(_, job)| job));
            if jobs.len() >= ROUND_MAX || before.any(|other| meets(other, &job)) {
                left.push_back((ticket, job));
            } else {
                self.taken.push(ticket);
                jobs.push(job);
            }
        }
        line.waiting = left;
        jobs
    }

    fn end(mut self, jobs: Vec<J>) {
        let taken = std::mem::take(&mut self.taken);
        let done = taken.into_iter().zip(jobs.into_iter().map(Some));
        self.rounds.line().done.extend(done);
        self.has_ended = true;
    }
}

impl<J> Drop for Round<'_, J> {
    fn drop(&mut self) {
        let mut line = self.rounds.line();
        let lost = self.taken.drain(..).map(|ticket| (ticket, None));
        line.done.extend(lost);
        if !self.has_ended {
            // Nobody comes for it any more.
            line.waiting.retain(|(ticket, _)| *ticket != self.leader);
            line.done.remove(&self.leader);
        }
        line.is_led = false;
        drop(line);
        self.rounds.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A job at a place, which meets those at the same and beside it, and where it was done: in which round, and as which
    /// of it.
    struct Job(u8, Option<(usize, usize)>);

    /// Rounds of which the first one begins only when it is let.
    struct Held {
        rounds: Rounds<Job>,
        count: AtomicUsize,
        begin: Mutex<Receiver<()>>,
    }

    impl Held {
        fn bring(&self, place: u8) -> Option<(usize, usize)> {
            let enter = || {
                let round = self.count.fetch_add(1, Ordering::SeqCst);
                if round == 0 {
                    let begin = self.begin.lock().expect("one leader");
                    begin.recv().expect("it is let");
                }
                round
            };
            let meets = |one: &Job, other: &Job| one.0.abs_diff(other.0) <= 1;
            let work = |round: &mut usize, jobs: &mut [Job]| {
                for (index, job) in jobs.iter_mut().enumerate() {
                    assert!(job.0 != PANICS, "as it should");
                    job.1 = Some((*round, index));
                }
            };
            self.rounds.through(Job(place, None), meets, enter, work).1
        }

        fn waiting(&self) -> usize {
            self.rounds.line().waiting.len()
        }
    }

    /// The place at which whoever does a job panics.
    const PANICS: u8 = 255;

    /// What becomes of jobs that are brought in this order while nobody does any, those that were lost left out.
    fn brought(places: &[u8]) -> Vec<Option<(usize, usize)>> {
        let (let_it, begin) = channel();
        let held = Held {
            rounds: Rounds::default(),
            count: AtomicUsize::new(0),
            begin: Mutex::new(begin),
        };
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for (index, place) in places.iter().enumerate() {
                let held = &held;
                running.push(scope.spawn(move || {
                    catch_unwind(AssertUnwindSafe(|| held.bring(*place))).unwrap_or(None)
                }));
                while held.waiting() <= index {
                    std::thread::yield_now();
                }
            }
            let_it.send(()).expect("the first one waits");
            let ended = running.into_iter().map(|one| one.join().expect("caught"));
            ended.collect()
        })
    }

    #[test]
    fn those_who_wait_at_the_same_moment_are_done_together() {
        let done = brought(&[0, 2, 4, 6]);
        assert_eq!(done, [0, 1, 2, 3].map(|index| Some((0, index))));
    }

    #[test]
    fn those_who_meet_are_done_one_after_the_other() {
        let done = brought(&[0, 2, 0, 4, 0, 2]);
        let expected = [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1)];
        assert_eq!(done, expected.map(Some));
    }

    #[test]
    fn nobody_overtakes_one_whom_it_meets() {
        let done = brought(&[0, 1, 2]);
        assert_eq!(done, [(0, 0), (1, 0), (2, 0)].map(Some));
    }

    #[test]
    fn a_round_has_a_bound_and_the_oldest_come_first() {
        let places: Vec<u8> = (0..40).map(|number| 2 * number).collect();
        let done = brought(&places);
        let expected = (0..40).map(|index| Some((index / ROUND_MAX, index % ROUND_MAX)));
        assert_eq!(done, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_ends_the_wait_of_its_round_and_of_no_other() {
        // The second of the first round panics; who met somebody of it is done all the same.
        let done = brought(&[0, PANICS, 2, 0]);
        assert_eq!(done[..3], [None, None, None]);
        assert_eq!(done[3], Some((1, 0)));
    }
}
