//! What the audience sees: titles, commands with what came back, and the table at the end.

use std::time::{Duration, Instant};

use anyhow::Result;
use gitback_tests::{Invocation, Outcome, Person};

use crate::show;

/// The lines of one command's output that are shown; a push of a thousand refs should not bury the rest.
const LINES_MAX: usize = 16;

/// The demo's output so far.
#[derive(Debug, Default)]
pub(super) struct Stage {
    titles: usize,
    steps: Vec<(String, Duration, String)>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Begins a part.
    pub(super) fn title(&mut self, text: &str) -> Result<()> {
        self.titles += 1;
        show::line(&format!("\n{}. {text}\n", self.titles))
    }

    /// A remark.
    pub(super) fn note(&self, text: &str) -> Result<()> {
        show::line(&format!("   {text}"))
    }

    /// Something that was typed on `machine` and what came back.
    pub(super) fn say(&self, machine: &str, typed: &str, answer: &str) -> Result<()> {
        show::line(&format!("   {machine}$ {typed}"))?;
        self.answer(answer)
    }

    /// Types a command on a person's machine, shows what comes back, and expects it to succeed.
    pub(super) fn command(&self, person: &Person, command: &Invocation) -> Result<Outcome> {
        show::line(&format!("   {}$ {}", person.envoy(), command.line()))?;
        let outcome = command.run()?.success()?;
        self.answer(&outcome.stdout)?;
        self.answer(&outcome.stderr)?;
        Ok(outcome)
    }

    /// Does something and notes how long it took.
    pub(super) fn timed<T>(&mut self, step: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let done = work()?;
        self.record(step, started.elapsed(), "");
        Ok(done)
    }

    /// A row for the table.
    pub(super) fn record(&mut self, step: &str, took: Duration, result: &str) {
        self.steps.push((step.to_owned(), took, result.to_owned()));
    }

    /// Prints the table.
    pub(super) fn end(&self) -> Result<()> {
        let head = ["STEP", "TIME", "RESULT"].map(str::to_owned);
        let row = |(step, took, result): &(String, Duration, String)| {
            [step.clone(), show::time(*took), result.clone()]
        };
        let rows: Vec<[String; 3]> = std::iter::once(head)
            .chain(self.steps.iter().map(row))
            .collect();
        show::line(&format!("\n{}\n", show::table(&rows)))?;
        show::line(
            "The machine that took the pushes is gone; the clone from a survivor has every ref, and git fsck --full is clean.",
        )
    }

    fn answer(&self, text: &str) -> Result<()> {
        // Of a line that was rewritten with carriage returns, a terminal shows the last state.
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim_end().rsplit('\r').next())
            .collect();
        for line in lines.iter().take(LINES_MAX) {
            show::line(&format!("   {line}"))?;
        }
        if let Some(more) = lines.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
            show::line(&format!("   … and {more} more lines"))?;
        }
        Ok(())
    }
}
