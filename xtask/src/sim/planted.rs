//! Bugs that are planted to see each checker catch one.

use anyhow::{Result, bail};

use super::faults::Fault;
use super::malice::Vice;
use super::people::{HandAct, Saying};
use super::plan::Plan;
use super::world::World;

/// A bug in the simulated envoy, or in what it may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A push is acknowledged as held by envoys that were never sent it.
    ForgetsToSend,
    /// A peer answers "durable" before its disk has anything.
    AnswersBeforeDurable,
    /// Envelopes are written before the objects that they name.
    EnvelopesFirst,
    /// Packs are taken in without a look at whether they are connected.
    NoQuarantine,
    /// The digest of a whole copy is shown while objects are lacking.
    BoastsOfWhatItLacks,
    /// A push does not bring in first what others hold.
    StalePush,
    /// Two that move one ref at a time do not take turns.
    NoTurns,
    /// After a log was put back, its numbers are used again.
    KeepsIncarnation,
    /// A malicious peer has the keys of others.
    StolenKeys,
    /// A revocation is logged, and the fold in memory goes on without it.
    StaleFold,
    /// One peer is never asked what it holds.
    StarvedPeer,
    /// What waits for a project's lock is not bounded.
    EndlessQueue,
    /// Refs of one envoy do not follow what comes from others.
    RefsStay,
    /// Some updates are taken for lies about the git graph, on every envoy.
    JudgesWrong,
}

/// A bug, what people call it, and the checker that has to catch it.
pub(super) struct Planted {
    pub(super) name: &'static str,
    pub(super) bug: Bug,
    pub(super) checker: &'static str,
    /// How it bends the plan, so that there is something to catch.
    pub(super) bend: fn(&mut Plan),
    /// Within so many seeds.
    pub(super) seeds: u64,
}

const SECOND: u64 = 1_000_000;

fn as_it_is(_: &mut Plan) {}

/// Machines stop while others push.
fn with_crashes(plan: &mut Plan) {
    quiet(plan);
    let times = plan.visits.clone();
    for (at, _) in times {
        for (envoy, late) in (0..plan.envoys).zip([0, 4_000, 20_000, 60_000, 90_000, 200_000]) {
            let crash = Fault::Crash {
                envoy,
                down_us: SECOND,
                refuses: true,
            };
            plan.faults
                .push((at + late + plan.seed % 16 * 1_000, crash));
        }
    }
}

/// One peer forges.
fn with_forger(plan: &mut Plan) {
    quiet(plan);
    plan.malicious = Some((plan.envoys - 1, Vice::Forges));
    plan.loss = 150;
}

/// Catch-ups bring little at a time, and messages are lost.
fn in_small_steps(plan: &mut Plan) {
    quiet(plan);
    plan.catch_up_bytes = 1;
    plan.loss = 200;
}

/// Nothing goes wrong, and people push to one branch at a time.
fn calm_and_crowded(plan: &mut Plan) {
    quiet(plan);
    plan.calm = true;
    plan.start_us = 1_000;
    plan.people = plan.people.max(2);
    let mut visits = Vec::new();
    for round in 1..6 {
        let at = 6 * SECOND * round;
        visits.extend((0..plan.people).map(|person| (at, person)));
    }
    plan.visits = visits;
}

/// Logs are put back from backups.
fn with_backups(plan: &mut Plan) {
    quiet(plan);
    for (at, _) in plan.visits.clone() {
        for envoy in 0..plan.envoys {
            let back = Fault::PutBack {
                envoy,
                project: 0,
                share: 900,
            };
            plan.faults.push((at + SECOND, back));
        }
    }
}

/// A member is revoked early.
fn with_revocation(plan: &mut Plan) {
    quiet(plan);
    plan.people = plan.people.max(2);
    plan.swarm_wide = true;
    plan.acts = vec![HandAct {
        at: 6 * SECOND,
        project: 0,
        saying: Saying::Revoke { member: 1 },
    }];
}

/// A small fleet that is watched for a while.
fn watched(plan: &mut Plan) {
    quiet(plan);
    plan.envoys = plan.envoys.min(6);
    plan.granted = plan.granted.min(plan.envoys);
    plan.people = plan.people.min(plan.granted);
    plan.watch_us = 90 * SECOND;
    plan.visits.retain(|(_, person)| *person < plan.people);
}

/// Nothing goes wrong but what is added.
fn quiet(plan: &mut Plan) {
    plan.calm = false;
    plan.loss = 0;
    plan.doubles = 0;
    plan.faults.clear();
    plan.latecomers.clear();
    plan.acts.clear();
    plan.malicious = None;
}

/// All of them.
pub(super) const PLANTED: &[Planted] = &[
    Planted {
        name: "forgets-to-send",
        bug: Bug::ForgetsToSend,
        checker: "replicated",
        bend: as_it_is,
        seeds: 50,
    },
    Planted {
        name: "answers-before-durable",
        bug: Bug::AnswersBeforeDurable,
        checker: "replicated",
        bend: with_crashes,
        seeds: 300,
    },
    Planted {
        name: "envelopes-first",
        bug: Bug::EnvelopesFirst,
        checker: "objects",
        bend: with_crashes,
        seeds: 300,
    },
    Planted {
        name: "no-quarantine",
        bug: Bug::NoQuarantine,
        checker: "objects",
        bend: with_forger,
        seeds: 300,
    },
    Planted {
        name: "boasts-of-what-it-lacks",
        bug: Bug::BoastsOfWhatItLacks,
        checker: "shown",
        bend: in_small_steps,
        seeds: 100,
    },
    Planted {
        name: "stale-push",
        bug: Bug::StalePush,
        checker: "turns",
        bend: calm_and_crowded,
        seeds: 100,
    },
    Planted {
        name: "no-turns",
        bug: Bug::NoTurns,
        checker: "turns",
        bend: calm_and_crowded,
        seeds: 100,
    },
    Planted {
        name: "keeps-incarnation",
        bug: Bug::KeepsIncarnation,
        checker: "numbers",
        bend: with_backups,
        seeds: 200,
    },
    Planted {
        name: "stolen-keys",
        bug: Bug::StolenKeys,
        checker: "forged",
        bend: with_forger,
        seeds: 200,
    },
    Planted {
        name: "stale-fold",
        bug: Bug::StaleFold,
        checker: "revoked",
        bend: with_revocation,
        seeds: 100,
    },
    Planted {
        name: "starved-peer",
        bug: Bug::StarvedPeer,
        checker: "starved",
        bend: watched,
        seeds: 50,
    },
    Planted {
        name: "endless-queue",
        bug: Bug::EndlessQueue,
        checker: "bounds",
        bend: as_it_is,
        seeds: 50,
    },
    Planted {
        name: "refs-stay",
        bug: Bug::RefsStay,
        checker: "convergence",
        bend: as_it_is,
        seeds: 50,
    },
    Planted {
        name: "judges-wrong",
        bug: Bug::JudgesWrong,
        checker: "acknowledged",
        bend: as_it_is,
        seeds: 50,
    },
];

/// Plays worlds with one planted bug until its checker has caught it.
pub(super) fn hunt(name: &str) -> Result<String> {
    let Some(planted) = PLANTED.iter().find(|planted| planted.name == name) else {
        let names: Vec<&str> = PLANTED.iter().map(|planted| planted.name).collect();
        bail!("no bug {name:?} is known; known: {}", names.join(", "));
    };
    for seed in 0..planted.seeds {
        let mut plan = Plan::of(seed);
        (planted.bend)(&mut plan);
        let outcome = World::new(plan, Some(planted.bug), false).play();
        let Some(violation) = outcome.violation else {
            continue;
        };
        if violation.checker != planted.checker {
            bail!(
                "seed {seed}: {} caught it, not {}: {}",
                violation.checker,
                planted.checker,
                violation.what
            );
        }
        return Ok(format!(
            "{name}: {} caught it with seed {seed}: {}",
            violation.checker, violation.what
        ));
    }
    bail!(
        "{name}: {} did not catch it in {} seeds",
        planted.checker,
        planted.seeds
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_checker_has_caught_a_planted_bug() {
        for planted in PLANTED {
            if let Err(error) = hunt(planted.name) {
                panic!("{}: {error:#}", planted.name);
            }
        }
        for checker in super::super::invariants::NAMES {
            assert!(
                PLANTED.iter().any(|planted| planted.checker == *checker),
                "no bug is planted for {checker}"
            );
        }
    }
}
