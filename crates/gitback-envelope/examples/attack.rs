//! Plays and attacks any number of worlds: `cargo xtask attack --worlds 1000000`.
//!
//! A world follows from its seed. Each is checked in every way that the tests know: an honest world that is attacked ten
//! times over, each time anew, with every key that was retired or thrown out, and, each hundredth time, a world in which anybody says anything,
//! which is folded in several orders and by the oracle.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../tests/it/fold/attack.rs"]
mod attack;
#[path = "../tests/it/fold/compare.rs"]
mod compare;
#[path = "../tests/it/corpus/mod.rs"]
#[expect(dead_code, reason = "the vectors are written elsewhere")]
mod corpus;
#[path = "../tests/it/fold/oracle/mod.rs"]
mod oracle;
#[path = "../tests/it/fold/play.rs"]
mod play;
#[path = "../tests/it/fold/stage.rs"]
mod stage;
#[path = "../tests/it/fold/world.rs"]
#[expect(dead_code, reason = "the named cases need more of it")]
mod world;

use attack::{Tally, attack};
use stage::Die;

/// In so many ways each world is attacked.
const WAYS: usize = 10;
/// Of so many worlds one is of the kind in which anybody says anything.
const FREE_EVERY: u64 = 100;
/// How often the run says how far it has come.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Failures after which the run ends.
const FAILURES_MAX: u64 = 20;

struct Run {
    worlds: u64,
    attacked: u64,
    envelopes: usize,
    attacks: usize,
    free: u64,
    failures: u64,
    started: Instant,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(first), Some(worlds), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        say("usage: attack FIRST_SEED WORLDS");
        return ExitCode::from(2);
    };
    let (Ok(first), Ok(worlds)) = (first.parse::<u64>(), worlds.parse::<u64>()) else {
        say("a seed and a number of worlds are numbers");
        return ExitCode::from(2);
    };
    let mut run = Run {
        worlds: 0,
        attacked: 0,
        envelopes: 0,
        attacks: 0,
        free: 0,
        failures: 0,
        started: Instant::now(),
    };
    let mut said = Instant::now();
    for seed in first..first.saturating_add(worlds) {
        if let Err(what) = run.play(seed) {
            run.failures += 1;
            say(&format!("FAILED seed {seed}: {what}"));
            say(&format!(
                "REPRODUCE: cargo xtask attack --seed {seed} --worlds 1"
            ));
        }
        if run.failures >= FAILURES_MAX {
            break;
        }
        if said.elapsed() >= SAID_EVERY {
            said = Instant::now();
            run.report();
        }
    }
    run.report();
    if run.failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Run {
    fn play(&mut self, seed: u64) -> Result<(), String> {
        self.worlds += 1;
        let Tally {
            envelopes, attacks, ..
        } = attack(seed, WAYS).map_err(|what| format!("{what} changed"))?;
        self.attacked += u64::try_from(WAYS).unwrap_or(u64::MAX);
        self.envelopes += envelopes;
        self.attacks += attacks;
        if seed.is_multiple_of(FREE_EVERY) {
            self.free += 1;
            let world = compare::seeded(seed);
            self.envelopes += world.all.len();
            let mut die = Die::new(seed);
            compare::check_specification(&world, &mut die)?;
            compare::check_orders(&world, &mut die, 3)?;
            compare::check_exchange(&world, &mut die)?;
        }
        Ok(())
    }

    fn report(&self) {
        say(&format!(
            "worlds {} attacked-worlds {} envelopes {} attacks {} of-anything {} failures {} seconds {}",
            self.worlds,
            self.attacked,
            self.envelopes,
            self.attacks,
            self.free,
            self.failures,
            self.started.elapsed().as_secs()
        ));
    }
}

fn say(line: &str) {
    // If standard output is closed there is nobody left to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}
