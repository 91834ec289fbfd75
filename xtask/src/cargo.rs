//! Calling cargo, and what it knows of this workspace.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

/// Where the workspace is.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The resolved workspace with all dependencies.
pub(crate) fn metadata() -> Result<Metadata> {
    let manifest = workspace().join("Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .exec()
        .context("cargo metadata failed")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let manifest = workspace().join("Cargo.toml");
    let found = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec();
    Ok(found
        .context("cargo metadata failed")?
        .target_directory
        .into_std_path_buf())
}

/// Runs cargo in the workspace.
pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>, env: &[(&str, &str)]) -> Result<()> {
    let args: Vec<&str> = args.into_iter().collect();
    let status = command(&args, env).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}

/// Whether cargo has this subcommand.
pub(crate) fn has(subcommand: &str) -> bool {
    let mut asked = command(&[subcommand, "--version"], &[]);
    asked
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace())
        .args(args)
        .envs(env.iter().copied());
    command
}
