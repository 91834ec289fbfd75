//! How much one catch-up may move.

/// What one catch-up has moved, against what it may.
#[derive(Debug)]
pub(super) struct Budget {
    most: u64,
    moved: u64,
    /// Whether some of that is durable here.
    brought: bool,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            moved: 0,
            brought: false,
        }
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    pub(super) fn left(&self) -> u64 {
        self.most.saturating_sub(self.moved)
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Notes that so many bytes came, whatever became of them.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// Notes that some of what came is durable.
    pub(super) fn bring(&mut self) {
        self.brought = true;
    }

    pub(super) fn has_brought(&self) -> bool {
        self.brought
    }

    /// Whether others have their turn now: never before there is something to go on from.
    pub(super) fn is_used_up(&self) -> bool {
        self.brought && self.left() == 0
    }
}
