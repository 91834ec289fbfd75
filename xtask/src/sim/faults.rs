//! What goes wrong with machines and networks.

use gitback_envelope::Incarnation;

use super::network::Network;
use super::planted::Bug;
use super::replica::cell::Cell;
use super::rng::Rng;
use super::world::{Event, World};

const SECOND: u64 = 1_000_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// A machine stops at once and starts again later.
    Crash {
        envoy: usize,
        down_us: u64,
        refuses: bool,
    },
    /// Machines on one side of a line do not reach the other; one way only, or both.
    Part {
        side: u64,
        both_ways: bool,
        for_us: u64,
    },
    Heal {
        side: u64,
    },
    SlowLink {
        envoy: usize,
        per_kib: u64,
    },
    SlowDisk {
        envoy: usize,
        factor: u64,
    },
    FullDisk {
        envoy: usize,
        for_us: u64,
    },
    Room {
        envoy: usize,
    },
    /// A machine's log is put back from an old backup while it is down.
    PutBack {
        envoy: usize,
        project: usize,
        /// Of a thousand records, how many the backup has.
        share: u64,
    },
    /// A machine is reached elsewhere from now on.
    Move {
        envoy: usize,
    },
    /// A machine with an empty disk joins.
    Arrive {
        envoy: usize,
    },
}

impl Fault {
    pub(super) fn draw(rng: &mut Rng, envoys: usize, projects: usize) -> Self {
        let envoy = rng.index(envoys);
        match rng.below(100) {
            0..35 => Self::Crash {
                envoy,
                down_us: rng.between(SECOND / 10, 30 * SECOND),
                refuses: rng.chance(500),
            },
            35..60 => Self::Part {
                side: rng.below(1 << envoys.min(32)),
                both_ways: rng.chance(600),
                for_us: rng.between(SECOND, 40 * SECOND),
            },
            60..68 => Self::SlowLink {
                envoy,
                per_kib: rng.between(1_000, 200_000),
            },
            68..76 => Self::SlowDisk {
                envoy,
                factor: rng.between(5, 100),
            },
            76..84 => Self::FullDisk {
                envoy,
                for_us: rng.between(SECOND, 40 * SECOND),
            },
            84..92 => Self::PutBack {
                envoy,
                project: rng.index(projects),
                share: *rng.pick(&[0, 0, 500, 800, 950]).unwrap_or(&0),
            },
            _ => Self::Move { envoy },
        }
    }
}

fn sides(
    network: &mut Network,
    envoys: usize,
    side: u64,
    mut each: impl FnMut(&mut Network, usize, usize),
) {
    let is_in = |envoy: usize| side >> envoy.min(63) & 1 == 1;
    for from in (0..envoys).filter(|one| is_in(*one)) {
        for to in (0..envoys).filter(|one| !is_in(*one)) {
            each(network, from, to);
        }
    }
}

impl World {
    /// Lets a fault happen.
    pub(super) fn strike(&mut self, fault: Fault) {
        self.say(|| format!("{fault:?}"));
        self.note(&[7]);
        let envoys = self.plan.envoys;
        match fault {
            Fault::Crash {
                envoy,
                down_us,
                refuses,
            } => {
                if self.replicas[envoy].up {
                    self.crash(envoy, refuses);
                    self.after(down_us, Event::Start { envoy });
                }
            }
            Fault::Part {
                side,
                both_ways,
                for_us,
            } => {
                sides(&mut self.network, envoys, side, |network, from, to| {
                    network.cut(from, to);
                    if both_ways {
                        network.cut(to, from);
                    }
                });
                self.after(for_us, Event::Fault(Fault::Heal { side }));
            }
            Fault::Heal { side } => {
                sides(&mut self.network, envoys, side, |network, from, to| {
                    network.heal(from, to);
                    network.heal(to, from);
                });
            }
            Fault::SlowLink { envoy, per_kib } => self.network.slow_down(envoy, per_kib),
            Fault::SlowDisk { envoy, factor } => self.replicas[envoy].disk.slowness = factor,
            Fault::FullDisk { envoy, for_us } => {
                self.replicas[envoy].disk.full = true;
                self.after(for_us, Event::Fault(Fault::Room { envoy }));
            }
            Fault::Room { envoy } => self.replicas[envoy].disk.full = false,
            Fault::PutBack {
                envoy,
                project,
                share,
            } => self.put_back(envoy, project, share),
            Fault::Move { envoy } => {
                let moves = self.number();
                self.places[envoy] = format!("10.9.{}.{envoy}:7711", moves % 250);
                if self.replicas[envoy].up {
                    self.tell_address(envoy);
                }
            }
            Fault::Arrive { envoy } => self.after(0, Event::Start { envoy }),
        }
    }

    /// A machine stops: what is only in its memory is gone, and of what was being written some may be left.
    pub(super) fn crash(&mut self, envoy: usize, refuses: bool) {
        for project in 0..self.plan.projects {
            self.tear(envoy, project);
        }
        let replica = &mut self.replicas[envoy];
        replica.up = false;
        replica.refuses = refuses;
        replica.cells.clear();
        replica.node = None;
        replica.turn = None;
        replica.wake_at = None;
        replica.calls.clear();
        replica.known_tips.clear();
        replica.known_places.clear();
        replica.introduced.clear();
        replica.told.clear();
        replica.compared.clear();
    }

    /// A machine starts, with what its disk has.
    pub(super) fn start(&mut self, envoy: usize) {
        if self.replicas[envoy].up {
            return;
        }
        self.say(|| format!("{envoy} starts"));
        let now = self.now;
        let replica = &mut self.replicas[envoy];
        replica.up = true;
        replica.boot += 1;
        replica.booted = now;
        for project in 0..self.plan.projects {
            let fresh = Incarnation::from_bytes(&self.rng.bytes());
            let prelude = &self.preludes[project];
            let snapshot = (&prelude.fold, prelude.envelopes.as_slice());
            let replica = &mut self.replicas[envoy];
            let shelf = &mut replica.disk.shelves[project];
            if self.bug == Some(Bug::KeepsIncarnation)
                && let Some((_, file)) = &mut shelf.note
            {
                *file = shelf.file;
            }
            let cell = Cell::open(shelf, snapshot, fresh, &self.history);
            replica.cells.push(cell);
            if self.bug == Some(Bug::JudgesWrong) {
                self.follow(envoy, project);
            }
        }
        self.check_started(envoy);
        self.start_node(envoy);
    }

    fn put_back(&mut self, envoy: usize, project: usize, share: u64) {
        let was_up = self.replicas[envoy].up;
        if was_up {
            self.crash(envoy, true);
        }
        let file = self.number();
        let shelf = &mut self.replicas[envoy].disk.shelves[project];
        let records = shelf.log.len() as u64 * share / 1000;
        shelf.put_back(usize::try_from(records).unwrap_or(0), file);
        // What was promised of this disk is void: nobody can keep it.
        for push in self
            .pushes
            .iter_mut()
            .filter(|push| push.project == project)
        {
            let lost = !push.stored.iter().all(|id| shelf.logged.contains(id));
            if lost {
                push.lost_on.insert(envoy);
            }
        }
        if was_up {
            self.after(SECOND, Event::Start { envoy });
        }
    }

    /// The faults are over, and whoever is down comes back.
    pub(super) fn calm(&mut self) {
        self.say(|| "the faults are over".to_owned());
        self.calm_since = Some(self.now);
        self.network.calm();
        for envoy in 0..self.plan.envoys {
            self.replicas[envoy].disk.full = false;
            self.replicas[envoy].disk.slowness = 1;
            self.start(envoy);
        }
        self.after(SECOND, Event::Look);
    }
}
