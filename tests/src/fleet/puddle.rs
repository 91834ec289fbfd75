//! The puddle of a fleet: made once, carried to every envoy, unlocked there, and locked at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::Fleet;

/// How long a puddle stays unlocked: longer than any test, and short enough that the process that holds the key does not
/// stay for long when this one is killed and cannot lock it.
const UNLOCKED: &str = "1h";

impl Fleet {
    /// The file with the passphrase of the puddle.
    #[must_use]
    pub fn passphrase_file(&self) -> PathBuf {
        self.dir.path().join("passphrase")
    }

    /// Makes a puddle on the first envoy, carries its wrapped key to the others, and unlocks it there.
    ///
    /// # Errors
    ///
    /// When one of the commands fails.
    pub fn make_puddle(&mut self, name: &str) -> Result<()> {
        self.create_puddle(0, name)?;
        for index in 1..self.len() {
            self.carry_puddle(0, index)?;
        }
        for index in 1..self.len() {
            self.unlock(index)?;
        }
        Ok(())
    }

    /// Makes a puddle on envoy `index`, unlocked there.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn create_puddle(&mut self, index: usize, name: &str) -> Result<()> {
        let file = self.passphrase_file().to_string_lossy().into_owned();
        let args = [
            "swarm",
            "puddle",
            "init",
            "--for",
            UNLOCKED,
            "--name",
            name,
            "--passphrase-file",
            &file,
        ];
        let command = self.person(index).vigo(args);
        command.run()?.success()?;
        self.puddle_made(name);
        Ok(())
    }

    /// Notes that a puddle was made by other means, so that dropping the fleet locks it.
    pub fn puddle_made(&mut self, name: &str) {
        self.options.puddle = Some(name.to_owned());
    }

    /// Copies the wrapped key of the puddle from one envoy to another, as a person with a USB stick would.
    ///
    /// # Errors
    ///
    /// When the file is not there or cannot be written.
    pub fn carry_puddle(&self, from: usize, to: usize) -> Result<()> {
        const WRAPPED: &str = "home/.vigo-puddle/identity.wrapped";
        let source = self.person(from).root().join(WRAPPED);
        let target = self.person(to).root().join(WRAPPED);
        let dir = target.parent().context("a file in a directory")?;
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// Unlocks the puddle on envoy `index`.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn unlock(&self, index: usize) -> Result<()> {
        let file = self.passphrase_file().to_string_lossy().into_owned();
        let args = [
            "swarm",
            "puddle",
            "unlock",
            "--for",
            UNLOCKED,
            "--passphrase-file",
            &file,
        ];
        let command = self.person(index).vigo(args);
        command.run()?.success()?;
        Ok(())
    }

    /// Locks the puddle on envoy `index`.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn lock(&self, index: usize) -> Result<()> {
        self.person(index)
            .vigo(["swarm", "puddle", "lock"])
            .run()?
            .success()?;
        Ok(())
    }

    /// Locks the puddles, so that no process stays that holds a key.
    pub(super) fn lock_all(&self) {
        if self.options.puddle.is_none() {
            return;
        }
        for person in self.people.iter().filter(|person| person.root().exists()) {
            // What does not lock in time is killed with the stragglers.
            let lock = person.vigo(["swarm", "puddle", "lock"]).stop(None);
            let _ = lock.deadline(std::time::Duration::from_secs(10)).run();
        }
    }
}
