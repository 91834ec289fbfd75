//! What the start of a daemon takes, so that it can be told from what the daemon then does.

use std::time::Duration;

use anyhow::{Context, Result};
use gitback_tests::Fleet;

/// How long a daemon that has missed nothing takes from the beginning of its process until it is ready. It is killed
/// before.
///
/// # Errors
///
/// When it does not get ready.
pub(crate) fn bare_start(fleet: &mut Fleet, index: usize) -> Result<Duration> {
    fleet.envoy_mut(index).kill()?;
    fleet.restart(index)?;
    since_beginning(fleet, index)
}

/// How long ago the process of a daemon began.
///
/// # Errors
///
/// When it has ended.
pub(crate) fn since_beginning(fleet: &Fleet, index: usize) -> Result<Duration> {
    let began = fleet.envoy(index).began();
    Ok(began.context("a daemon has ended")?.elapsed())
}
