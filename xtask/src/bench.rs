//! `cargo xtask bench`: the figures, as a table.

use std::path::PathBuf;

use anyhow::Result;
use gitback_benches::{Bench, FleetPlan, FleetReport, Pairs, Plan, Report, fleet_report};
use gitback_tests::{Binaries, Profile, Stop};

use crate::{cargo, show};

/// What can be said to `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The repository whose history is used; a made-up one of 10,000 commits if none is named.
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
    let plan = Plan {
        repo: arguments.repo.clone(),
        runs: arguments.runs,
        whole_runs: arguments.whole_runs,
    };
    let binaries = Binaries::build(Profile::Release, &cargo::target_dir()?)?;
    let mut say = |part: &str| show::line(&format!("measuring: {part}"));
    say("starting three envoys and copying the history")?;
    let report = Bench::start(binaries, &plan, stop)?.run(&plan, &mut say)?;
    show::line(&format!("\n{}", text(&report)))
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

fn fleet_text(report: &FleetReport) -> String {
    let mut rows = vec![head()];
    for (missed, pairs) in &report.catch_ups {
        let what = format!("{missed} missed pushes, until caught up (git fetch of them)");
        rows.push(row(&what, pairs));
    }
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
    let rows = vec![
        head(),
        row(
            "one-commit push, two other envoys durable",
            &report.push_all,
        ),
        row("one-commit push, gitback.wait=0", &report.push_none),
        row(
            "  the same, plain git with core.fsync=all",
            &report.push_none_synced,
        ),
        row("first publish, until git returns", &report.publish),
        row("clone from a survivor", &report.clone),
    ];
    let held = show::time(gitback_benches::median(&report.publish_held));
    let mib = |kib: u64| format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024);
    let memory = [
        ["MEMORY OF A DAEMON", "RESIDENT"].map(str::to_owned),
        ["idle, no project".to_owned(), mib(report.idle.now_kib)],
        [
            "peak, taking the first publish".to_owned(),
            mib(report.publish_peak.peak_kib),
        ],
        [
            "peak, receiving it from a peer".to_owned(),
            mib(report.receive_peak.peak_kib),
        ],
        [
            "peak, serving a clone".to_owned(),
            mib(report.clone_peak.peak_kib),
        ],
        [
            "idle, afterwards".to_owned(),
            mib(report.idle_after.now_kib),
        ],
    ];
    format!(
        "{} commits, {} as a bare repository, three envoys on one machine\n\n{}\n\n\
         first publish, until two other envoys hold it: {held}\n\n{}\n\n\
         Times are medians of pairs measured in turn; a ratio is the median of the pairs' ratios. Clones have no work tree. \
         Memory is the daemon's alone, without the git processes that it starts.",
        report.commits,
        mib(report.size_kib),
        show::table(&rows),
        show::table(&memory),
    )
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
