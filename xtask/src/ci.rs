//! `cargo xtask ci`: everything that must pass before a change lands, in the order in which it is cheapest to fail.

use std::time::Instant;

use anyhow::{Context, Result};
use gitback_tests::{Binaries, Fleet, Options, Profile, Shape, Stop};

use crate::{cargo, crash, demo, show, sim, test, tidy};

/// One check: what it is called and what does it.
type Check<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);

/// Runs all checks and stops at the first that fails.
pub(crate) fn run(stop: &Stop) -> Result<()> {
    let mut rows = vec![["CHECK", "TIME"].map(str::to_owned)];
    for (name, check) in checks(stop) {
        show::line(&format!("\n== {name}"))?;
        let started = Instant::now();
        check().with_context(|| format!("{name} failed"))?;
        rows.push([name.to_owned(), show::time(started.elapsed())]);
    }
    show::line(&format!("\n{}\n\nAll checks passed.", show::table(&rows)))
}

fn checks(stop: &Stop) -> Vec<Check<'_>> {
    vec![
        (
            "fmt",
            Box::new(|| cargo::run(["fmt", "--all", "--check"], &[])),
        ),
        ("tidy", Box::new(tidy::run)),
        ("clippy", Box::new(clippy)),
        ("doc", Box::new(doc)),
        ("test", Box::new(|| test::run(&test::Arguments::default()))),
        ("deny", Box::new(deny)),
        (
            "sim",
            Box::new(|| sim::run(&sim::Arguments::as_check(), stop)),
        ),
        ("crash", Box::new(|| crashes(stop))),
        ("demo", Box::new(|| small_demo(stop))),
    ]
}

fn clippy() -> Result<()> {
    cargo::run(
        [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ],
        &[],
    )
}

fn doc() -> Result<()> {
    cargo::run(
        ["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "--deny warnings")],
    )
}

/// Licences, banned crates and sources. The advisory database needs the network and is not part of this.
fn deny() -> Result<()> {
    if !cargo::has("deny") {
        return show::line(
            "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)",
        );
    }
    cargo::run(["deny", "check", "bans", "licenses", "sources"], &[])
}

/// Some of the crashes of a daemon, with the programs that the tests have built.
fn crashes(stop: &Stop) -> Result<()> {
    if !crash::can_trace() {
        return show::line("skipped: strace is not installed, or may not trace here");
    }
    crash::run(&crash::Arguments::as_check(), stop)?;
    crash::run(&crash::Arguments::as_receiver_check(), stop)
}

/// The demo from end to end on a repository made for it, with the programs that the tests have built.
fn small_demo(stop: &Stop) -> Result<()> {
    let dir = tempfile::tempdir().context("no temporary directory")?;
    let repo = dir.path().join("small");
    let binaries = Binaries::build(Profile::Dev, &cargo::target_dir()?)?;
    // Only for its person with a clean git; nothing of it is started.
    let fleet = Fleet::prepare(Options::new(binaries).stop(stop.clone()))?;
    Shape::SMALL.write(&fleet.outside(), &repo)?;
    demo::run(&demo::Arguments::as_check(&repo), stop)
}
