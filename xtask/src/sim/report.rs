//! The figures of large fleets: how long news takes, what it costs, and what nothing costs.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gitback_envelope::EnvelopeId;
use gitback_gossip::reconcile::{Ids, Initiator, Step, respond};

use super::keys::Keys;
use super::network::{Figures, Network};
use super::plan::Plan;
use super::prelude::{Prelude, Shape};
use super::rng::Rng;
use super::world::{Event, World};
use crate::show;

/// The fleets that are measured.
const FLEETS: [usize; 4] = [10, 100, 1_000, 10_000];

/// Fleets up to this size are configured with one another; of larger ones each with so many.
const WHOLE: usize = 64;
const PEERS: usize = 24;

/// Latency between any two, in microseconds.
const LATENCY: (u64, u64) = (5_000, 50_000);

const SECOND: u64 = 1_000_000;

/// When the fleet has come to rest after its start, in microseconds.
const SETTLED: u64 = 120 * SECOND;

/// For how long nothing happens then, in microseconds.
const IDLE: u64 = 60 * SECOND;

/// How long a push may take to reach all, in microseconds.
const PATIENCE: u64 = 600 * SECOND;

/// Ids on both sides of a reconciliation.
const IDS: usize = 100_000;

pub(super) fn run() -> Result<()> {
    let mut rows = vec![
        [
            "ENVOYS",
            "NOTICE P50",
            "NOTICE MAX",
            "PUSH AT ALL",
            "MESSAGES A PUSH",
            "BYTES A PUSH",
            "IDLE MESSAGES/MIN",
            "IDLE BYTES/MIN",
            "EVENTS/S",
        ]
        .map(str::to_owned),
    ];
    for envoys in FLEETS {
        show::line(&format!("simulating {envoys} envoys"))?;
        rows.push(measure(envoys)?);
    }
    show::line(&format!("\n{}", show::table(&rows)))?;
    show::line(
        "\nMessages and bytes are an envoy's share, requests and answers both counted; bytes of a push are those beyond what idling costs.\n",
    )?;
    let mut rows = vec![["DIFFERENT", "ROUND TRIPS", "BYTES"].map(str::to_owned)];
    for different in [1, 10, 1_000] {
        rows.push(reconcile(different)?);
    }
    show::line(&format!(
        "{}\n\nReconciling {IDS} envelopes with as many of which some are others.",
        show::table(&rows)
    ))
}

fn measure(envoys: usize) -> Result<[String; 9]> {
    let mut world = fleet(envoys);
    let begun = Instant::now();
    world.begin();
    until(&mut world, SETTLED, |_| false);
    let before = world.network.figures;
    until(&mut world, SETTLED + IDLE, |_| false);
    let idle = since(world.network.figures, before);
    let before = world.network.figures;
    let pushed = world.now;
    world.watch_push();
    world.after(0, Event::Visit { person: 0 });
    until(&mut world, pushed + PATIENCE, World::push_is_everywhere);
    if !world.push_is_everywhere() {
        bail!("a push did not reach all of {envoys} envoys");
    }
    let took = world.now - pushed;
    let all = since(world.network.figures, before);
    let share = |of: u64| of as f64 / envoys as f64;
    let idling = took as f64 / IDLE as f64;
    let messages = share(all.messages) - share(idle.messages) * idling;
    let bytes = share(all.bytes) - share(idle.bytes) * idling;
    let mut heard: Vec<u64> = world.heard_notice().collect();
    heard.sort_unstable();
    let ms = |us: Option<&u64>| {
        us.map_or_else(
            || "-".to_owned(),
            |us| format!("{} ms", us.saturating_sub(pushed) / 1000),
        )
    };
    let rate = world.figures.events as f64 / begun.elapsed().as_secs_f64();
    // Whoever pushed may hear of it from others too, and needs no notice.
    let missed = (envoys - 1).saturating_sub(heard.len());
    let last = if missed == 0 {
        ms(heard.last())
    } else {
        format!("{}, {missed} not", ms(heard.last()))
    };
    Ok([
        envoys.to_string(),
        ms(heard.get(heard.len() / 2)),
        last,
        format!("{} ms", took / 1000),
        format!("{messages:.1}"),
        format!("{bytes:.0}"),
        format!("{:.0}", share(idle.messages)),
        format!("{:.0}", share(idle.bytes)),
        format!("{rate:.0}"),
    ])
}

fn since(now: Figures, before: Figures) -> Figures {
    Figures {
        messages: now.messages - before.messages,
        bytes: now.bytes - before.bytes,
    }
}

fn until(world: &mut World, at: u64, done: impl Fn(&World) -> bool) {
    while world.next_at().is_some_and(|next| next <= at) && !done(world) && world.step() {}
    world.now = world
        .now
        .max(world.next_at().map_or(at, |next| next.min(at)));
}

/// A fleet without faults that shares one project, which all may hold.
fn fleet(envoys: usize) -> World {
    let mut rng = Rng::new(envoys as u64);
    let granted = envoys.min(8);
    let plan = Plan::quiet(envoys, granted, SETTLED + IDLE + PATIENCE + SECOND);
    let keys = Arc::new(Keys::make(envoys));
    let shape = Shape {
        granted,
        people: 1,
        swarm_wide: true,
        number: 0,
    };
    let prelude = Arc::new(Prelude::make(&keys, shape));
    let network = Network::with_latency(envoys, LATENCY.0, LATENCY.1, &mut rng);
    let mut peers = std::collections::BTreeMap::new();
    if envoys > WHOLE {
        let mut known = vec![std::collections::BTreeSet::new(); envoys];
        for envoy in 0..envoys {
            while known[envoy].len() < PEERS {
                let other = rng.index(envoys);
                if other != envoy {
                    known[envoy].insert(other);
                    known[other].insert(envoy);
                }
            }
        }
        let lists = known.into_iter().map(|known| known.into_iter().collect());
        peers = lists.enumerate().collect();
    }
    let mut world = World::with(plan, None, false, keys, vec![prelude], network, rng);
    world.peers = peers;
    world
}

/// What it costs to find out in what two sets differ.
fn reconcile(different: usize) -> Result<[String; 3]> {
    let mut rng = Rng::new(1);
    let mut all: Vec<EnvelopeId> = (0..IDS)
        .map(|_| EnvelopeId::from_bytes(&rng.bytes()))
        .collect();
    let theirs = Ids::new(all.iter().copied());
    for id in all.iter_mut().take(different) {
        *id = EnvelopeId::from_bytes(&rng.bytes());
    }
    let ours = Ids::new(all);
    let (mut initiator, mut message) = Initiator::new(&ours);
    let mut bytes = message.len();
    let mut trips = 0;
    loop {
        let answer = respond(&theirs, &message).context("an honest message")?;
        bytes += answer.len();
        trips += 1;
        match initiator.take(&answer).context("an honest answer")? {
            Step::Ask(next) => {
                bytes += next.len();
                message = next;
            }
            Step::Done => break,
        }
    }
    let found = initiator.finish();
    if found.need.len() != different || found.have.len() != different {
        bail!("reconciling found {} of {different}", found.need.len());
    }
    Ok([different, trips, bytes].map(|figure| figure.to_string()))
}
