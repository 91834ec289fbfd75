//! Bringing in by parts what is too much for one transfer.
//!
//! Source: docs/spec/pack.md §8.

use std::collections::{BTreeSet, VecDeque};

use gitback_envelope::Oid;
use gitback_pack::{Commit, Commits, Limits};

use super::CatchUpError;
use super::budget::Budget;
use super::fetch::{Failed, Route, mebibytes};
use super::objects::{Moved, WANTS_MAX, haves};
use crate::cell::{PARTS_MAX, git, own};

/// Most bytes that a part is meant to take.
const TARGET_MAX: u64 = 64 << 20;

/// A part that takes so many times what it is meant to is given up.
const OVERRUN: u64 = 4;

/// Most bytes that one commit may take, or what a push may if that is more.
pub(super) const ONE_MAX: u64 = 2 << 30;

/// Commits of the first part, when nobody says how large they are.
const FIRST_COMMITS: usize = 256;

/// Most commits of one part.
const COMMITS_MAX: usize = 65_536;

/// Most commits that are brought in by parts in one round.
const HISTORY_MAX: u32 = 2_000_000;

/// Most bytes of the commits alone, where one round may move less.
const GRAPH_MAX: u64 = 64 << 20;

/// What a part is meant to take, where one round may move `most`.
pub(super) fn target(most: u64) -> u64 {
    (most / 8).clamp(1, TARGET_MAX)
}

/// One round of bringing in by parts.
pub(super) struct Slices<'a> {
    route: Route<'a>,
    /// What the parts that are here end with.
    ends: BTreeSet<Oid>,
    expected: Option<u64>,
}

impl<'a> Slices<'a> {
    /// Goes on from `ends`; `expected` is how many bytes all of it may take.
    pub(super) fn new(route: Route<'a>, ends: Vec<Oid>, expected: Option<u64>) -> Self {
        Self {
            route,
            ends: ends.into_iter().collect(),
            expected,
        }
    }

    /// Brings in what `wants` lead to, until that is all or the budget is used up.
    pub(super) fn bring(
        mut self,
        wants: &[gitback_pack::Oid],
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<Moved, CatchUpError> {
        let mut commits = self.list(wants, budget, progress)?;
        let (all, mut here) = (commits.count(), 0);
        let mut pace = Pace::new(target(budget.most()), all, self.expected);
        let mut ahead = VecDeque::new();
        loop {
            self.look_ahead(&mut commits, &mut ahead, pace.commits)?;
            if ahead.is_empty() {
                break;
            }
            if budget.is_used_up() {
                return Ok(Moved::Part);
            }
            self.route.envoy.room().map_err(CatchUpError::Room)?;
            let part: Vec<Commit> = ahead.iter().take(pace.commits).cloned().collect();
            let before = budget.moved();
            let single = match part.as_slice() {
                [commit] => Some(own(&commit.oid)),
                _ => None,
            };
            let known = single.and_then(|commit| self.route.neighbour.too_much(&commit));
            if let Some(why) = known {
                return Err(self.over(format!("{why} (seen before, and not asked for again yet)")));
            }
            let most = single.map_or_else(|| pace.most(), |_| self.one_max());
            match (self.part(&part, most, budget, progress), single) {
                (Ok(()), _) => {}
                (Err(Failed::TooMuch(why)), Some(commit)) => {
                    let why = format!("{}, for commit {commit} alone", self.limit(why));
                    self.route.neighbour.note_too_much(commit, why.clone());
                    return Err(self.over(why));
                }
                (Err(Failed::TooMuch(_)), None) => {
                    pace.overrun(part.len());
                    continue;
                }
                (Err(failed), _) => return Err(failed.into()),
            }
            pace.took(part.len(), budget.moved() - before);
            ahead.drain(..part.len());
            here += part.len() as u64;
            let name = self.route.neighbour.name();
            let moved = mebibytes(budget.moved());
            progress(format!(
                "received {here} of {all} commits from {name}, {moved}"
            ));
        }
        // Tags and trees are no commits.
        match self.transfer(wants, self.one_max(), budget, progress) {
            Ok(()) => Ok(Moved::All),
            Err(Failed::TooMuch(why)) => Err(self.over(self.limit(why))),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Learns which commits there are.
    fn list(
        &self,
        wants: &[gitback_pack::Oid],
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<Commits, CatchUpError> {
        let limits = Limits {
            input_bytes: budget.most().clamp(GRAPH_MAX, ONE_MAX),
            objects: HISTORY_MAX,
            ..self.route.envoy.pack_limits()
        };
        let request = gitback_pack::fetch::request_commits(wants, &self.haves()?);
        let received = self
            .route
            .receive(request, budget, progress, |quarantine, pack| {
                quarantine.ingest_commits(pack, &limits)
            });
        let (quarantine, _) = received.map_err(CatchUpError::from)?;
        let listed = quarantine.commits(wants, &limits);
        listed.map_err(|reject| self.route.refused(reject).into())
    }

    fn look_ahead(
        &self,
        commits: &mut Commits,
        ahead: &mut VecDeque<Commit>,
        count: usize,
    ) -> Result<(), CatchUpError> {
        while ahead.len() < count {
            let next = commits.next_commit();
            match next.map_err(|fault| self.route.ours(fault))? {
                Some(commit) => ahead.push_back(commit),
                None => break,
            }
        }
        Ok(())
    }

    /// Brings one part in.
    fn part(
        &mut self,
        part: &[Commit],
        most: u64,
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<(), Failed> {
        let followed: BTreeSet<Oid> = part.iter().flat_map(parents).collect();
        let ends = part.iter().map(|commit| own(&commit.oid));
        let ends: Vec<Oid> = ends.filter(|oid| !followed.contains(oid)).collect();
        if ends.len() > WANTS_MAX {
            let why = self.over(format!("more than {WANTS_MAX} ends of a part"));
            return Err(Failed::TooMuch(why));
        }
        let wants: Vec<_> = ends.iter().map(|oid| git(*oid)).collect();
        self.transfer(&wants, most, budget, progress)?;
        let behind: Vec<Oid> = self.ends.intersection(&followed).copied().collect();
        for oid in &behind {
            self.ends.remove(oid);
        }
        let room = PARTS_MAX.saturating_sub(self.ends.len());
        let ends = ends.get(..room.min(ends.len())).unwrap_or_default();
        self.ends.extend(ends);
        let cell = self.route.cell;
        let kept = cell.keep_part(ends, &behind);
        kept.map_err(|fault| Failed::Other(CatchUpError::Ours(fault)))
    }

    fn transfer(
        &self,
        wants: &[gitback_pack::Oid],
        most: u64,
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<(), Failed> {
        let haves = self.haves().map_err(Failed::Other)?;
        let fetched = self.route.fetch(wants, &haves, most, budget, progress);
        fetched.map(drop)
    }

    fn haves(&self) -> Result<Vec<gitback_pack::Oid>, CatchUpError> {
        let mut all: Vec<_> = self.ends.iter().map(|oid| git(*oid)).collect();
        all.extend(haves(self.route.cell)?);
        Ok(all)
    }

    fn one_max(&self) -> u64 {
        self.route.envoy.pack_limits().input_bytes.max(ONE_MAX)
    }

    /// Which limit keeps out what cannot be parted any further: one that is set here, and need not be where it comes from.
    fn limit(&self, why: CatchUpError) -> String {
        match why {
            CatchUpError::OverLimit { what, .. } => what,
            _ => {
                let most = self.one_max();
                format!("more than {most} bytes (pack_max_bytes, or {ONE_MAX} if that is more)")
            }
        }
    }

    fn over(&self, what: String) -> CatchUpError {
        CatchUpError::OverLimit {
            peer: self.route.neighbour.name().to_owned(),
            what,
        }
    }
}

fn parents(commit: &Commit) -> impl Iterator<Item = Oid> {
    commit.parents.iter().map(own)
}

/// How many commits make a part.
struct Pace {
    commits: usize,
    target: u64,
}

impl Pace {
    /// Of `all` commits that take as many bytes as `expected` says.
    fn new(target: u64, all: u64, expected: Option<u64>) -> Self {
        let first = expected.map_or(FIRST_COMMITS, |bytes| share(all, target, bytes));
        Self {
            commits: first.clamp(1, COMMITS_MAX),
            target,
        }
    }

    /// The most that a part of several commits may take.
    fn most(&self) -> u64 {
        self.target.saturating_mul(OVERRUN)
    }

    /// Learns from a part, carefully: histories are uneven.
    fn took(&mut self, commits: usize, bytes: u64) {
        let next = share(commits as u64, self.target, bytes);
        let (least, most) = (commits / 4, commits.saturating_mul(4));
        self.commits = next.clamp(least, most).clamp(1, COMMITS_MAX);
    }

    fn overrun(&mut self, commits: usize) {
        self.commits = (commits / 2).max(1);
    }
}

/// How many of `all` things that take `bytes` fit in `target`.
fn share(all: u64, target: u64, bytes: u64) -> usize {
    let share = u128::from(all) * u128::from(target) / u128::from(bytes.max(1));
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_what_was_expected_and_then_what_came() {
        let mut pace = Pace::new(100, 1000, Some(10_000));
        assert_eq!(pace.commits, 10);
        pace.took(10, 50);
        assert_eq!(pace.commits, 20);
        pace.took(20, 1);
        assert_eq!(pace.commits, 80, "no more than four times as many");
        pace.took(80, 1_000_000);
        assert_eq!(pace.commits, 20, "no less than a quarter");
        pace.overrun(20);
        pace.overrun(10);
        pace.overrun(1);
        assert_eq!(pace.commits, 1);
        pace.took(1, u64::MAX);
        assert_eq!(pace.commits, 1);
        assert_eq!(Pace::new(100, 7, None).commits, FIRST_COMMITS);
        assert_eq!(Pace::new(100, u64::MAX, Some(0)).commits, COMMITS_MAX);
    }

    #[test]
    fn one_round_has_room_for_several_parts() {
        assert_eq!(target(256 << 10), 32 << 10);
        assert_eq!(target(2 << 30), TARGET_MAX);
    }
}
