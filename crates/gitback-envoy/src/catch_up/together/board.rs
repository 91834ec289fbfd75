//! Who is asked for which blocks of a pack.
//!
//! Each holder gets the next blocks whenever it has given those that it was asked for, so a slow one gives fewer. When none
//! are left to ask for, those that one holder does not come round to are asked of another one as well.

use std::ops::Range;
use std::time::{Duration, Instant};

/// Most blocks in one request.
const TOGETHER_MAX: usize = 8;

/// After so long somebody else is asked for a block as well, when nothing else is to be asked for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far one pack has come.
#[derive(Debug)]
pub(super) struct Board {
    blocks: Vec<Block>,
    /// How many requests there may be at a time.
    lanes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Missing,
    Asked {
        by: usize,
        since: Instant,
        /// Another one was asked for it too.
        twice: bool,
    },
    Here,
}

/// What a holder is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Give these blocks.
    Ask(Range<u64>),
    /// Wait: others are giving what is lacking.
    Wait,
    /// Everything is here.
    Done,
}

impl Board {
    pub(super) fn new(here: &[bool], lanes: usize) -> Self {
        let block = |is_here: &bool| {
            if *is_here {
                Block::Here
            } else {
                Block::Missing
            }
        };
        Self {
            blocks: here.iter().map(block).collect(),
            lanes: lanes.max(1),
        }
    }

    /// What the holder is asked for next.
    pub(super) fn turn(&mut self, holder: usize, now: Instant) -> Turn {
        let missing = self.count(|block| *block == Block::Missing);
        if missing == 0 {
            return self.second_turn(holder, now);
        }
        let most = (missing / (2 * self.lanes)).clamp(1, TOGETHER_MAX);
        let is_missing = |block: &Block| *block == Block::Missing;
        let first = self.blocks.iter().position(is_missing).unwrap_or(0);
        let row = self.blocks.iter_mut().skip(first).take(most);
        let mut count = 0;
        for block in row.take_while(|block| **block == Block::Missing) {
            *block = Block::Asked {
                by: holder,
                since: now,
                twice: false,
            };
            count += 1;
        }
        Turn::Ask(first as u64..(first + count) as u64)
    }

    /// Nothing is left that nobody was asked for.
    fn second_turn(&mut self, holder: usize, now: Instant) -> Turn {
        let late = |block: &Block| match block {
            Block::Asked {
                by,
                since,
                twice: false,
            } => *by != holder && now.saturating_duration_since(*since) >= PATIENCE,
            Block::Asked { .. } | Block::Missing | Block::Here => false,
        };
        if let Some(first) = self.blocks.iter().position(late) {
            if let Some(Block::Asked { twice, .. }) = self.blocks.get_mut(first) {
                *twice = true;
            }
            return Turn::Ask(first as u64..first as u64 + 1);
        }
        match self.is_done() {
            true => Turn::Done,
            false => Turn::Wait,
        }
    }

    /// Notes that a block is here. Whether that is news.
    pub(super) fn came(&mut self, index: u64) -> bool {
        let block = usize::try_from(index).ok();
        let Some(block) = block.and_then(|index| self.blocks.get_mut(index)) else {
            return false;
        };
        std::mem::replace(block, Block::Here) != Block::Here
    }

    /// Notes that a request to this holder has ended: what of it is not here may be asked of anybody.
    pub(super) fn ended(&mut self, holder: usize, asked: &Range<u64>) {
        let first = usize::try_from(asked.start).unwrap_or(usize::MAX);
        let count = usize::try_from(asked.end - asked.start).unwrap_or(0);
        for block in self.blocks.iter_mut().skip(first).take(count) {
            match block {
                Block::Asked { by, .. } if *by == holder => *block = Block::Missing,
                Block::Asked { twice, .. } => *twice = false,
                Block::Missing | Block::Here => {}
            }
        }
    }

    /// Whether the block is here; true behind the end.
    pub(super) fn is_here(&self, index: u64) -> bool {
        let block = usize::try_from(index).ok();
        let block = block.and_then(|index| self.blocks.get(index));
        block.is_none_or(|block| *block == Block::Here)
    }

    pub(super) fn is_done(&self) -> bool {
        self.blocks.iter().all(|block| *block == Block::Here)
    }

    /// How many blocks are here.
    pub(super) fn here(&self) -> usize {
        self.count(|block| *block == Block::Here)
    }

    /// How many are not.
    pub(super) fn missing(&self) -> usize {
        self.blocks.len() - self.here()
    }

    fn count(&self, is: impl Fn(&Block) -> bool) -> usize {
        self.blocks.iter().filter(|block| is(block)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(board: &mut Board, asked: &Range<u64>) {
        for index in asked.clone() {
            assert!(board.came(index), "block {index} came twice");
        }
    }

    #[track_caller]
    fn asked(board: &mut Board, holder: usize, now: Instant) -> Range<u64> {
        match board.turn(holder, now) {
            Turn::Ask(range) => range,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blocks_are_asked_for_in_order_and_only_once() {
        let now = Instant::now();
        let mut board = Board::new(&[false; 40], 2);
        assert_eq!(asked(&mut board, 0, now), 0..8);
        assert_eq!(asked(&mut board, 1, now), 8..16);
        assert_eq!(asked(&mut board, 1, now), 16..22);
        // Smaller and smaller ones, so that all end at about the same time.
        assert_eq!(asked(&mut board, 0, now), 22..26);
        let mut next = 26;
        while let Turn::Ask(range) = board.turn(0, now) {
            assert_eq!(range.start, next);
            next = range.end;
        }
        assert_eq!(next, 40);
        assert_eq!(board.turn(0, now), Turn::Wait);
    }

    #[test]
    fn what_is_here_already_is_not_asked_for() {
        let now = Instant::now();
        let here = [true, false, true, true, false, false];
        let mut board = Board::new(&here, 1);
        assert_eq!(board.here(), 3);
        assert_eq!(asked(&mut board, 0, now), 1..2);
        assert_eq!(asked(&mut board, 0, now), 4..5);
        assert_eq!(asked(&mut board, 0, now), 5..6);
        for index in [1, 4, 5] {
            assert!(board.came(index));
        }
        assert_eq!(board.turn(0, now), Turn::Done);
        assert!(board.is_done());
        assert_eq!(Board::new(&[true; 3], 1).turn(0, now), Turn::Done);
    }

    #[test]
    fn what_a_lost_holder_was_asked_for_goes_to_another_one() {
        let now = Instant::now();
        let mut board = Board::new(&[false; 16], 1);
        let lost = asked(&mut board, 0, now);
        assert_eq!(lost, 0..8);
        assert!(board.came(0));
        let other = asked(&mut board, 1, now);
        assert_eq!(other.start, 8);
        board.ended(0, &lost);
        assert_eq!(asked(&mut board, 1, now).start, 1, "the oldest first");
        assert!(board.is_here(0) && !board.is_here(1));
        assert!(board.is_here(16), "behind the end");
    }

    #[test]
    fn a_slow_holder_gives_fewer_and_does_not_keep_the_last_ones_back() {
        let begun = Instant::now();
        let mut board = Board::new(&[false; 64], 2);
        let slow = asked(&mut board, 0, begun);
        let mut by_fast = 0;
        while let Turn::Ask(range) = board.turn(1, begun) {
            by_fast += range.end - range.start;
            all_of(&mut board, &range);
            board.ended(1, &range);
        }
        assert_eq!(by_fast, 64 - (slow.end - slow.start));
        assert_eq!(board.turn(1, begun), Turn::Wait, "it may still come");
        let late = begun + PATIENCE;
        assert_eq!(board.turn(0, late), Turn::Wait, "not of itself");
        for index in slow.clone() {
            assert_eq!(asked(&mut board, 1, late), index..index + 1);
        }
        assert_eq!(board.turn(2, late), Turn::Wait, "two are enough");
        // The second one fails as well: a third may be asked.
        board.ended(1, &(slow.start..slow.start + 1));
        assert_eq!(asked(&mut board, 2, late), slow.start..slow.start + 1);
        all_of(&mut board, &slow);
        assert!(!board.came(slow.start), "it came from the slow one too");
        assert_eq!(board.turn(0, late), Turn::Done);
    }
}
