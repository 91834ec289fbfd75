//! A machine's disk: what is durable on it, and what a crash takes.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{EnvelopeId, Incarnation, Oid, Verified};

use super::history::Bits;
use super::rng::Rng;

/// What an envoy knows of a project, as the note beside its log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foothold {
    Known,
    New,
    Lost,
}

/// What is durable of one project.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    /// The envelope log.
    pub(super) log: Vec<Verified>,
    pub(super) logged: BTreeSet<EnvelopeId>,
    /// Which file the log is: another one after it was put back from a backup.
    pub(super) file: u64,
    /// The note of the incarnation, and which file the log was then.
    pub(super) note: Option<(Incarnation, u64)>,
    pub(super) objects: Bits,
    pub(super) refs: BTreeMap<Vec<u8>, Oid>,
    pub(super) foothold: Foothold,
}

impl Shelf {
    pub(super) fn new(log: Vec<Verified>, file: u64) -> Self {
        Self {
            logged: log.iter().map(|envelope| *envelope.id()).collect(),
            log,
            file,
            note: None,
            objects: Bits::default(),
            refs: BTreeMap::new(),
            foothold: Foothold::Known,
        }
    }

    pub(super) fn append(&mut self, records: &[Verified]) {
        for record in records {
            if self.logged.insert(*record.id()) {
                self.log.push(record.clone());
            }
        }
    }

    /// The log becomes another file that ends after so many records.
    pub(super) fn put_back(&mut self, records: usize, file: u64) {
        self.log.truncate(records);
        self.logged = self.log.iter().map(|envelope| *envelope.id()).collect();
        self.file = file;
    }
}

/// One machine's disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) shelves: Vec<Shelf>,
    /// Nothing more fits.
    pub(super) full: bool,
    /// By how much writes take longer than on a good disk.
    pub(super) slowness: u64,
}

/// What is being written, in the order in which one must be durable before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Objects,
    Log,
    Refs,
}

impl Disk {
    /// How long a write of this kind takes, in microseconds.
    pub(super) fn takes(&self, stage: Stage, rng: &mut Rng) -> u64 {
        let (least, most) = match stage {
            Stage::Objects => (1_000, 9_000),
            Stage::Log => (500, 4_000),
            Stage::Refs => (300, 2_000),
        };
        rng.between(least, most) * self.slowness
    }
}
