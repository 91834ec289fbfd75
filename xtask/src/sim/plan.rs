//! What a seed decides: the fleet, its people, and what goes wrong when.

use super::faults::Fault;
use super::malice::Vice;
use super::people::{HandAct, Saying};
use super::rng::Rng;

const SECOND: u64 = 1_000_000;

/// Everything about a world that is decided before it begins.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) envoys: usize,
    /// The first so many are granted by people.
    pub(super) granted: usize,
    pub(super) people: usize,
    pub(super) swarm_wide: bool,
    pub(super) projects: usize,
    /// Nothing goes wrong: then nothing may diverge either.
    pub(super) calm: bool,
    /// Envelopes on a page of a sync.
    pub(super) page: usize,
    /// Bytes that one catch-up fetches at the most.
    pub(super) catch_up_bytes: u64,
    /// Of a thousand messages, lost and doubled.
    pub(super) loss: u64,
    pub(super) doubles: u64,
    /// Envoys start within so long.
    pub(super) start_us: u64,
    /// When faults end.
    pub(super) safety_us: u64,
    /// How long the fleet is watched after it has converged.
    pub(super) watch_us: u64,
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) visits: Vec<(u64, usize)>,
    pub(super) acts: Vec<HandAct>,
    pub(super) malicious: Option<(usize, Vice)>,
    /// Envoys that start later, with an empty disk.
    pub(super) latecomers: Vec<usize>,
    /// Also envoys that nobody granted hold the projects when the world begins.
    pub(super) all_begin: bool,
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let large = rng.chance(12);
        let envoys = match large {
            true => usize::try_from(rng.between(12, 30)).unwrap_or(12),
            false => usize::try_from(rng.between(3, 6)).unwrap_or(3),
        };
        let people = usize::try_from(rng.between(1, 4)).unwrap_or(1).min(envoys);
        let swarm_wide = rng.chance(600);
        let spare = envoys > people && rng.chance(250);
        let calm = rng.chance(150);
        let mut plan = Self {
            seed,
            envoys,
            granted: envoys - usize::from(spare),
            people,
            swarm_wide,
            projects: if rng.chance(200) { 2 } else { 1 },
            calm,
            page: *rng.pick(&[3, 10, 100, 1000]).unwrap_or(&100),
            catch_up_bytes: if rng.chance(200) { 20_000 } else { 2 << 30 },
            loss: 0,
            doubles: 0,
            start_us: if calm { 1_000 } else { 5 * SECOND },
            safety_us: rng.between(20, 70) * SECOND,
            watch_us: if rng.chance(60) { 90 * SECOND } else { 0 },
            faults: Vec::new(),
            visits: Vec::new(),
            acts: Vec::new(),
            malicious: None,
            latecomers: Vec::new(),
            all_begin: false,
        };
        plan.draw_visits(&mut rng);
        if !calm {
            plan.draw_faults(&mut rng);
        }
        plan
    }

    /// A fleet that shares one project, in which nothing goes wrong and nobody pushes by plan.
    pub(super) fn quiet(envoys: usize, granted: usize, safety_us: u64) -> Self {
        Self {
            seed: 0,
            envoys,
            granted,
            people: 1,
            swarm_wide: true,
            projects: 1,
            calm: true,
            page: 1000,
            catch_up_bytes: 2 << 30,
            loss: 0,
            doubles: 0,
            start_us: 20 * SECOND,
            safety_us,
            watch_us: 0,
            faults: Vec::new(),
            visits: Vec::new(),
            acts: Vec::new(),
            malicious: None,
            latecomers: Vec::new(),
            all_begin: true,
        }
    }

    fn draw_visits(&mut self, rng: &mut Rng) {
        let earliest = if self.calm { 5 * SECOND } else { SECOND };
        let pushes = rng.between(4, 10);
        let mut at = rng.between(earliest, earliest + 10 * SECOND);
        for _ in 0..pushes {
            self.visits.push((at, rng.index(self.people)));
            let pause = match rng.below(3) {
                0 => 5_000,
                1 => SECOND,
                _ => 15 * SECOND,
            };
            at += rng.below(pause);
            at = at.min(self.safety_us);
        }
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        if rng.chance(400) {
            self.loss = rng.between(5, 150);
        }
        if rng.chance(300) {
            self.doubles = rng.between(5, 150);
        }
        if rng.chance(150) {
            let who = rng.index(self.envoys - 1) + 1;
            self.malicious = Some((who, *rng.pick(&Vice::ALL).unwrap_or(&Vice::Silent)));
        }
        if rng.chance(150) {
            let who = rng.index(self.envoys - 1) + 1;
            self.latecomers.push(who);
            let at = rng.between(SECOND, self.safety_us);
            self.faults.push((at, Fault::Arrive { envoy: who }));
        }
        let mut moves = None;
        for _ in 0..rng.below(6) {
            let at = rng.between(SECOND, self.safety_us);
            let fault = Fault::draw(rng, self.envoys, self.projects);
            // Where all have moved nobody finds anybody without discovery, which is not modelled.
            if let Fault::Move { envoy } = fault
                && *moves.get_or_insert(envoy) != envoy
            {
                continue;
            }
            self.faults.push((at, fault));
        }
        if rng.chance(200) && self.people > 1 {
            let member = rng.index(self.people - 1) + 1;
            let saying = match rng.below(3) {
                0 => Saying::Revoke { member },
                1 => Saying::Ungrant {
                    envoy: rng.index(self.granted),
                },
                _ => Saying::Grant {
                    envoy: self.envoys - 1,
                },
            };
            self.acts.push(HandAct {
                at: rng.between(SECOND, self.safety_us),
                project: rng.index(self.projects),
                saying,
            });
        }
    }

    /// Whether an envoy holds the projects when the world begins.
    pub(super) fn begins_with(&self, envoy: usize) -> bool {
        envoy < self.granted || self.all_begin
    }
}
