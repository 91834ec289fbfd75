//! The two programs under test, and making sure that they are built from this source.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Set by `cargo xtask test`, which has built the programs just before.
const BUILT: &str = "GITBACK_TESTS_BUILT";

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Fast to build; for tests.
    Dev,
    /// As shipped; for the demo and figures.
    Release,
}

/// A directory that holds `vigo` and `git-remote-gitback`.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// The programs beside the running test, built when they are missing or older than their source.
    ///
    /// Cargo builds no programs of other packages for a test. `cargo xtask test` builds them first and says so; a
    /// plain `cargo test` or `cargo nextest run` gets here without, and then cargo itself, asked under a lock,
    /// decides whether anything is stale.
    ///
    /// # Errors
    ///
    /// When the test does not run from cargo's target directory, or the build fails.
    pub fn of_tests() -> Result<Self> {
        let own = std::env::current_exe().context("where this test runs from is unknown")?;
        let deps = own.parent().context("the test is in no directory")?;
        let dir = if deps.ends_with("deps") {
            deps.parent().unwrap_or(deps)
        } else {
            deps
        };
        if std::env::var_os(BUILT).is_none() {
            let lock = File::create(dir.join(".gitback-tests.lock"))
                .context("cannot make the build lock")?;
            lock.lock().context("cannot take the build lock")?;
            let profile = if dir.ends_with("release") {
                Profile::Release
            } else {
                Profile::Dev
            };
            let target = dir.parent().context("no target directory")?;
            build(profile, Some(target))?;
        }
        Self::in_dir(dir)
    }

    /// Builds the programs with `profile` and returns them.
    ///
    /// # Errors
    ///
    /// When the build fails; cargo has said why on standard error.
    pub fn build(profile: Profile, target: &Path) -> Result<Self> {
        build(profile, Some(target))?;
        Self::in_dir(&target.join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }))
    }

    /// The programs in `dir`.
    ///
    /// # Errors
    ///
    /// When one of them is not there.
    pub fn in_dir(dir: &Path) -> Result<Self> {
        for name in ["vigo", "git-remote-gitback"] {
            if !dir.join(name).is_file() {
                bail!(
                    "{} is not built: cargo build -p vigo -p git-remote-gitback",
                    dir.join(name).display()
                );
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The directory of the programs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of `vigo`.
    #[must_use]
    pub fn vigo(&self) -> PathBuf {
        self.dir.join("vigo")
    }

    /// Copies the programs to `dir`, where a user who may not enter the target directory can run them.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn copied_to(&self, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        for name in ["vigo", "git-remote-gitback"] {
            std::fs::copy(self.dir.join(name), dir.join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        Self::in_dir(dir)
    }
}

fn build(profile: Profile, target: Option<&Path>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args([
        "build",
        "--quiet",
        "--package",
        "vigo",
        "--package",
        "git-remote-gitback",
    ]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo could not build vigo and git-remote-gitback");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_build_when_a_program_is_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = Binaries::in_dir(dir.path()).expect_err("nothing is there");
        assert!(error.to_string().contains("cargo build -p vigo"), "{error}");
    }
}
