//! `cargo xtask bench`: the figures, as a table.

use std::path::PathBuf;

use anyhow::Result;
use gitback_benches::{
    Bench, FleetPlan, FleetReport, MISSED, Pairs, Plan, Report, Room, catch_up_pairs, fleet_report,
    idle,
};
use gitback_tests::{Binaries, Profile, Stop};

use crate::{cargo, show};

/// What can be said to `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The repository whose history is used; a made-up one of 10,000 commits (60,000 with --large) if none is named.
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
    /// How many pairs of one-commit pushes.
    #[arg(long, default_value_t = 15)]
    runs: u32,
    /// How many pairs of first publishes and of clones.
    #[arg(long, default_value_t = 3)]
    whole_runs: u32,
    /// Measure instead what it costs to verify and fold envelopes.
    #[arg(long)]
    fold: bool,
    /// Measure instead what several envoys do together: catching up, healing, one push to many.
    #[arg(long, conflicts_with = "fold")]
    fleet: bool,
    /// Measure instead of that only catching up.
    #[arg(long, conflicts_with_all = ["fold", "fleet"])]
    catch_up: bool,
    /// Measure instead what takes long: a long history, a gibibyte, a hundred projects on eleven envoys. Needs 12 GiB of disk.
    #[arg(long, conflicts_with_all = ["fold", "fleet", "catch_up"])]
    large: bool,
    /// Measure instead of that only the hundred projects on eleven envoys that do nothing.
    #[arg(long, conflicts_with_all = ["fold", "fleet", "catch_up", "large"])]
    idle: bool,
    /// Measure the usual and what takes long: two tables, the second always of a made-up history.
    #[arg(long, conflicts_with_all = ["fold", "fleet", "catch_up", "large", "idle"])]
    all: bool,
}

/// Builds the release programs and measures.
pub(crate) fn run(arguments: &Arguments, stop: &Stop) -> Result<()> {
    if arguments.fold {
        return cargo::run(
            [
                "run",
                "--release",
                "--quiet",
                "--package",
                "gitback-benches",
                "--example",
                "fold",
            ],
            &[],
        );
    }
    if arguments.fleet {
        return fleet(arguments, stop);
    }
    if arguments.catch_up {
        return catch_up(arguments, stop);
    }
    let binaries = Binaries::build(Profile::Release, &cargo::target_dir()?)?;
    if arguments.idle {
        return show::line(&memory(&idle(binaries, stop)?));
    }
    if !arguments.large {
        table(arguments, &binaries, false, stop)?;
    }
    if arguments.large || arguments.all {
        table(arguments, &binaries, true, stop)?;
    }
    Ok(())
}

/// Measures and prints the usual table, or that of what takes long.
fn table(arguments: &Arguments, binaries: &Binaries, is_large: bool, stop: &Stop) -> Result<()> {
    // Few have a history of 60,000 commits at hand for the second of two tables.
    let is_second = is_large && arguments.all;
    let plan = Plan {
        repo: arguments.repo.clone().filter(|_| !is_second),
        commits: if is_large { 60_000 } else { 10_000 },
        runs: arguments.runs,
        whole_runs: arguments.whole_runs,
    };
    let mut say = |part: &str| show::line(&format!("measuring: {part}"));
    say("starting three envoys and copying the history")?;
    let bench = Bench::start(binaries.clone(), &plan, stop)?;
    let report = if is_large {
        bench.run_large(binaries.clone(), &plan, stop, &mut say)?
    } else {
        bench.run(&plan, &mut say)?
    };
    show::line(&format!("\n{}\n", text(&report)))
}

fn fleet(arguments: &Arguments, stop: &Stop) -> Result<()> {
    let plan = FleetPlan {
        rounds: arguments.whole_runs,
        pushes: arguments.runs,
    };
    let binaries = Binaries::build(Profile::Release, &cargo::target_dir()?)?;
    let mut say = |part: &str| show::line(&format!("measuring: {part}"));
    let report = fleet_report(&binaries, &plan, stop, &mut say)?;
    show::line(&format!("\n{}", fleet_text(&report)))
}

fn catch_up(arguments: &Arguments, stop: &Stop) -> Result<()> {
    let binaries = Binaries::build(Profile::Release, &cargo::target_dir()?)?;
    let mut say = |part: &str| show::line(&format!("measuring: {part}"));
    let pairs = catch_up_pairs(&binaries, &MISSED, arguments.whole_runs, stop, &mut say)?;
    let mut rows = vec![head()];
    rows.extend(catch_up_rows(&pairs));
    show::line(&format!("\n{}", show::table(&rows)))
}

fn catch_up_rows(catch_ups: &[(u32, Pairs)]) -> Vec<[String; 6]> {
    let text =
        |missed| format!("{missed} missed pushes, beyond the daemon's start (git fetch of them)");
    let rows = catch_ups.iter();
    rows.map(|(missed, pairs)| row(&text(missed), pairs))
        .collect()
}

fn fleet_text(report: &FleetReport) -> String {
    let mut rows = vec![head()];
    rows.extend(catch_up_rows(&report.catch_ups));
    for (envoys, pairs) in &report.pushes {
        let what = format!("one-commit push, durable on all of {envoys} envoys");
        rows.push(row(&what, pairs));
    }
    let heal = show::time(gitback_benches::median(&report.heals));
    let all: Vec<String> = report.heals.iter().map(|one| show::time(*one)).collect();
    format!(
        "{}\n\nfrom the end of a cut until all show what was pushed on both sides: {heal} ({})\n\n\
         Times are medians; all envoys are on this one machine, with the usual settings.",
        show::table(&rows),
        all.join(", "),
    )
}

fn text(report: &Report) -> String {
    let head = [
        "WHAT",
        "REFERENCE",
        "ITS TIME",
        "GITBACK",
        "RATIO",
        "TARGET",
        "CPU AN ENVOY",
        "PAIRS",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for row in &report.rows {
        rows.push([
            row.what.to_owned(),
            row.reference.to_owned(),
            show::time(row.pairs.plain()),
            show::time(row.pairs.ours()),
            format!("{:.2}", row.pairs.ratio()),
            row.target.map_or_else(String::new, |target| {
                let is_met = row.pairs.ratio() <= target;
                format!("{target:.1} {}", if is_met { "met" } else { "MISSED" })
            }),
            row.cpu.map_or_else(String::new, show::time),
            row.pairs.count().to_string(),
        ]);
    }
    format!(
        "{} commits, {} as a bare repository, three envoys on one machine\n\n{}\n\n{}\n\n\
         Times are medians of pairs measured in turn; a ratio is the median of the pairs' ratios. Clones have no work tree. \
         Processor time is that of one daemon with the git processes that it starts, on average, and for one clone of the one that \
         serves it; memory is the daemon's alone, \
         its own is what is no page of a file, and the program's are pages of that file; what is left are pages of others.",
        report.commits,
        mib(report.size_kib),
        show::table(&rows),
        memory(&report.rooms),
    )
}

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

fn memory(rooms: &[Room]) -> String {
    let head = [
        "MEMORY OF A DAEMON",
        "RESIDENT",
        "TARGET",
        "ITS OWN",
        "PROGRAM",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for room in rooms {
        let target = room.target_mib.map_or_else(String::new, |target| {
            let is_met = room.kib <= target * 1024;
            format!("{target} MiB {}", if is_met { "met" } else { "MISSED" })
        });
        let [own, program] =
            [room.own_kib, room.program_kib].map(|kib| kib.map_or_else(String::new, mib));
        rows.push([room.what.to_owned(), mib(room.kib), target, own, program]);
    }
    show::table(&rows)
}

fn head() -> [String; 6] {
    [
        "WHAT",
        "PLAIN GIT",
        "GITBACK",
        "RATIO",
        "LEAST TO MOST",
        "PAIRS",
    ]
    .map(str::to_owned)
}

fn row(what: &str, pairs: &Pairs) -> [String; 6] {
    let (least, most) = pairs.spread();
    [
        what.to_owned(),
        show::time(pairs.plain()),
        show::time(pairs.ours()),
        format!("{:.2}", pairs.ratio()),
        format!("{} to {}", show::time(least), show::time(most)),
        pairs.count().to_string(),
    ]
}
