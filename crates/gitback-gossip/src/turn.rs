//! Taking turns: of envoys that reach one another, one at a time moves a ref.
//!
//! A push that is ready to commit asks every live partner whether it is fresh there, by the rule of Ricart and Agrawala
//! with a fixed order: of two that ask each other at the same time the one with the smaller key goes first. Nobody keeps
//! an answer back, as in their rule; who has to wait asks again. Whoever cannot be reached is not waited for, and nobody
//! waits longer than its limit: then both pushes are accepted, as they would be across a partition, and the fold shows
//! both.
//!
//! Source: docs/spec/fresh.md; G. Ricart and A. K. Agrawala, CACM 24(1), 1981.

use std::collections::{BTreeMap, BTreeSet};

use gitback_identity::{EnvoyKey, ProjectId};

use crate::millis::Millis;

/// Most tickets at a time. A push beyond that goes on without.
pub const TICKETS_MAX: usize = 1_024;
/// Most partners that a ticket asks.
pub const PARTNERS_MAX: usize = 1_024;
/// How long a ticket that has passed counts at the most, if nobody ends it.
pub const HELD_MAX: Millis = Millis::from_secs(60);

/// The turns of one envoy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Turn {
    me: EnvoyKey,
    pause: Millis,
    tickets: BTreeMap<Ticket, Push>,
    issued: u64,
}

/// One push that waits for its turn, or has it. Hand it to [`Turn::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Push {
    project: ProjectId,
    refs: BTreeSet<Vec<u8>>,
    partners: BTreeMap<EnvoyKey, Partner>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// It asks until this moment.
    Asking(Millis),
    /// It has its turn, until this moment at the latest.
    Passed(Millis),
}

/// What a partner said to the question of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Partner {
    attempt: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// To be asked, first or again.
    Unasked,
    /// Has not answered yet.
    Asked,
    /// Is not in the way.
    Free,
    /// Goes first; to be asked again then.
    Waiting(Millis),
}

/// A question to put to a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Whom to ask.
    pub partner: EnvoyKey,
    /// Which question this is; hand it in with the answer.
    pub attempt: u32,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// The partner is not in the way. Hand this in only when what the partner holds is held here as well.
    Free,
    /// The partner goes first.
    Wait,
    /// The partner did not answer, or is no longer one. It is not waited for.
    Gone,
}

/// What a ticket may do now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pass {
    /// It is its turn: check the push against what is held now, commit, and end the ticket.
    Go,
    /// It has waited as long as it may: go on as if it were its turn.
    Late,
    /// Put these questions; there may be others without an answer.
    Ask(Vec<Question>),
    /// Nothing to do until an answer comes, or this moment: then ask [`Turn::may_pass`] again.
    Until(Millis),
}

impl Turn {
    /// No tickets. Who has to wait asks again after `pause`.
    #[must_use]
    pub const fn new(me: EnvoyKey, pause: Millis) -> Self {
        Self {
            me,
            pause,
            tickets: BTreeMap::new(),
            issued: 0,
        }
    }

    /// Begins to ask `partners` about `refs` of `project`, for at most `limit`. Nothing if there are too many tickets:
    /// then the push goes on without.
    pub fn begin(
        &mut self,
        now: Millis,
        project: ProjectId,
        refs: impl IntoIterator<Item = Vec<u8>>,
        partners: &[EnvoyKey],
        limit: Millis,
    ) -> Option<Ticket> {
        self.expire(now);
        if self.tickets.len() >= TICKETS_MAX {
            return None;
        }
        let others = partners.iter().filter(|partner| **partner != self.me);
        let unasked = Partner {
            attempt: 0,
            state: State::Unasked,
        };
        let push = Push {
            project,
            refs: refs.into_iter().collect(),
            partners: others
                .take(PARTNERS_MAX)
                .map(|one| (*one, unasked))
                .collect(),
            phase: Phase::Asking(now.plus(limit)),
        };
        let ticket = Ticket(self.issued);
        self.issued += 1;
        self.tickets.insert(ticket, push);
        Some(ticket)
    }

    /// A partner asks whether it has to wait for a push here.
    ///
    /// Read the digest that goes with the answer after this: a push that has just ended is in it then.
    pub fn asked(
        &mut self,
        now: Millis,
        project: &ProjectId,
        refs: &[Vec<u8>],
        by: EnvoyKey,
    ) -> bool {
        self.expire(now);
        let mut wait = false;
        for push in self.tickets.values_mut() {
            if push.project != *project || !refs.iter().any(|name| push.refs.contains(name)) {
                continue;
            }
            match push.phase {
                Phase::Passed(_) => wait = true,
                Phase::Asking(_) if self.me < by => wait = true,
                Phase::Asking(_) => push.yield_to(by),
            }
        }
        wait
    }

    /// A question was answered, or will not be. An answer to an earlier question than the last is ignored.
    pub fn answered(&mut self, now: Millis, ticket: Ticket, question: &Question, reply: Reply) {
        let again = now.plus(self.pause);
        let push = self.tickets.get_mut(&ticket);
        let Some(partner) = push.and_then(|push| push.partners.get_mut(&question.partner)) else {
            return;
        };
        if partner.attempt != question.attempt || partner.state != State::Asked {
            return;
        }
        partner.state = match reply {
            Reply::Free | Reply::Gone => State::Free,
            Reply::Wait => State::Waiting(again),
        };
    }

    /// What `ticket` may do now. A ticket that was ended or forgotten is late.
    pub fn may_pass(&mut self, now: Millis, ticket: Ticket) -> Pass {
        self.expire(now);
        let Some(push) = self.tickets.get_mut(&ticket) else {
            return Pass::Late;
        };
        let limit = match push.phase {
            Phase::Passed(_) => return Pass::Go,
            Phase::Asking(limit) => limit,
        };
        if limit <= now {
            push.phase = Phase::Passed(now.plus(HELD_MAX));
            return Pass::Late;
        }
        let questions = push.questions(now);
        if !questions.is_empty() {
            return Pass::Ask(questions);
        }
        let open = push
            .partners
            .values()
            .filter(|one| one.state != State::Free);
        let next = open.map(|one| match one.state {
            State::Waiting(again) => again.min(limit),
            State::Unasked | State::Asked | State::Free => limit,
        });
        match next.min() {
            Some(next) => Pass::Until(next),
            None => {
                push.phase = Phase::Passed(now.plus(HELD_MAX));
                Pass::Go
            }
        }
    }

    /// The push is committed, and what is held here says so, or it was given up.
    pub fn end(&mut self, ticket: Ticket) {
        self.tickets.remove(&ticket);
    }

    /// How many tickets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Forgets tickets that nobody ended. One whose limit has passed while it asked has yet to hear that it is late.
    fn expire(&mut self, now: Millis) {
        self.tickets.retain(|_, push| match push.phase {
            Phase::Asking(limit) => limit.plus(HELD_MAX) > now,
            Phase::Passed(until) => until > now,
        });
    }
}

impl Push {
    /// `by` goes first, whatever it answered before: it is asked again, once it was told so.
    fn yield_to(&mut self, by: EnvoyKey) {
        if !self.partners.contains_key(&by) && self.partners.len() >= PARTNERS_MAX {
            return;
        }
        let partner = self.partners.entry(by).or_insert(Partner {
            attempt: 0,
            state: State::Unasked,
        });
        partner.state = State::Unasked;
    }

    fn questions(&mut self, now: Millis) -> Vec<Question> {
        let mut questions = Vec::new();
        for (key, partner) in &mut self.partners {
            let due = match partner.state {
                State::Unasked => true,
                State::Waiting(again) => again <= now,
                State::Asked | State::Free => false,
            };
            if due {
                partner.attempt = partner.attempt.saturating_add(1);
                partner.state = State::Asked;
                questions.push(Question {
                    partner: *key,
                    attempt: partner.attempt,
                });
            }
        }
        questions
    }
}

#[cfg(test)]
mod tests;
