//! The links between machines: how long they take, what they lose, double and cut.

use super::rng::Rng;

/// One direction between two machines.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// Microseconds to the other side at the least.
    latency: u64,
    /// Microseconds more, at the most.
    jitter: u64,
    /// Microseconds for each 1024 bytes.
    per_kib: u64,
    cut: bool,
}

/// All links of a world.
#[derive(Debug)]
pub(super) struct Network {
    machines: usize,
    links: Vec<Link>,
    /// Of a thousand messages, how many are lost.
    pub(super) loss: u64,
    /// Of a thousand messages, how many come twice.
    pub(super) doubles: u64,
    pub(super) figures: Figures,
}

/// What has crossed the network.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// When a message arrives, and perhaps when it arrives again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) after: Option<u64>,
    pub(super) again: Option<u64>,
}

/// A fleet is on one network or on several: microseconds of latency, least and most.
const LATENCIES: [(u64, u64); 4] = [
    (100, 1_000),
    (1_000, 10_000),
    (5_000, 50_000),
    (20_000, 150_000),
];

impl Network {
    pub(super) fn new(machines: usize, rng: &mut Rng) -> Self {
        let (least, most) = *rng.pick(&LATENCIES).expect("a list");
        Self::with_latency(machines, least, most, rng)
    }

    pub(super) fn with_latency(machines: usize, least: u64, most: u64, rng: &mut Rng) -> Self {
        let few = machines <= 64;
        let links = if few { machines * machines } else { 1 };
        let links = (0..links).map(|_| Link {
            latency: if few { rng.between(least, most) } else { least },
            jitter: if few { least } else { most - least },
            per_kib: 10,
            cut: false,
        });
        Self {
            machines,
            links: links.collect(),
            loss: 0,
            doubles: 0,
            figures: Figures::default(),
        }
    }

    fn at(&self, from: usize, to: usize) -> usize {
        if self.links.len() == 1 {
            0
        } else {
            from * self.machines + to
        }
    }

    /// What becomes of a message of so many bytes.
    pub(super) fn send(&mut self, from: usize, to: usize, bytes: u64, rng: &mut Rng) -> Fate {
        self.figures.messages += 1;
        self.figures.bytes += bytes;
        let link = self.links[self.at(from, to)];
        if link.cut || rng.chance(self.loss) {
            return Fate {
                after: None,
                again: None,
            };
        }
        let mut takes = || link.latency + rng.below(link.jitter + 1) + bytes * link.per_kib / 1024;
        let after = Some(takes());
        let second = takes();
        let again = rng.chance(self.doubles).then_some(second);
        Fate { after, again }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        let at = self.at(from, to);
        self.links[at].cut = true;
    }

    pub(super) fn heal(&mut self, from: usize, to: usize) {
        let at = self.at(from, to);
        self.links[at].cut = false;
    }

    /// Makes all that a machine sends and gets slow: microseconds for each 1024 bytes.
    pub(super) fn slow_down(&mut self, machine: usize, per_kib: u64) {
        for other in 0..self.machines {
            for at in [self.at(machine, other), self.at(other, machine)] {
                self.links[at].per_kib = per_kib;
            }
        }
    }

    /// Everything gets through again.
    pub(super) fn calm(&mut self) {
        self.loss = 0;
        self.doubles = 0;
        for link in &mut self.links {
            link.cut = false;
            link.per_kib = 10;
        }
    }
}
