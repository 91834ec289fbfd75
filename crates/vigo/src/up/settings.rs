//! The first `envoy.toml` of a machine.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use gitback_envoy::{Config, DEFAULT_LISTEN};
use gitback_helper::{Failure, Mode, exit_code};

use crate::context::Context;
use crate::{cli, failure};

/// Writes the settings where there are none. Returns whether it did.
///
/// What is there is a person's, and is not touched: what the flags say must then be in it.
pub(super) fn write_if_missing(context: &Context, arguments: &cli::Up) -> Result<bool, Failure> {
    let path = &context.layout.config_file;
    if path.symlink_metadata().is_ok() {
        return agree(path, arguments).map(|()| false);
    }
    let text = text(context, arguments);
    Config::parse(&text).map_err(|error| failure::envoy_config(&error, path))?;
    place(path, &text).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Failure::new(exit_code::FAILED, what).because(error.to_string())
    })?;
    Ok(true)
}

/// Refuses flags that settings which are there do not agree with.
fn agree(path: &Path, arguments: &cli::Up) -> Result<(), Failure> {
    let config = Config::load(path).map_err(|error| failure::envoy_config(&error, path))?;
    let differs = |field: &str, there: String| {
        let what = format!("{} is there, with another {field}: {there}", path.display());
        Failure::new(exit_code::FAILED, what)
            .because("it is yours, and is not changed by this command")
            .hint(format!("change {field} there, then: vigo up"))
    };
    if arguments
        .name
        .as_ref()
        .is_some_and(|name| name != config.name())
    {
        return Err(differs("name", config.name().to_owned()));
    }
    let listen = config.listen().to_string();
    if arguments
        .listen
        .as_ref()
        .is_some_and(|wanted| *wanted != listen)
    {
        return Err(differs("listen", listen));
    }
    if let Some(uid) = arguments
        .allow_uid
        .iter()
        .find(|uid| !config.allows(**uid, 0))
    {
        return Err(differs("allow_uids", format!("without {uid}")));
    }
    Ok(())
}

fn text(context: &Context, arguments: &cli::Up) -> String {
    let default = Config::parse("").expect("no settings are valid settings");
    let name = arguments.name.as_deref().unwrap_or(default.name());
    let listen = arguments.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let mut uids = arguments.allow_uid.clone();
    if context.layout.mode != Mode::User {
        // Whoever became root to type this wants to use what they start.
        uids.extend(context.facts.sudo_uid.filter(|uid| *uid != 0));
        uids.sort_unstable();
        uids.dedup();
    }
    let mut text = format!(
        "# What this machine's envoy is told; read when it starts.\n\
         name = {}\n\
         listen = {}\n",
        quoted(name),
        quoted(listen)
    );
    if !uids.is_empty() {
        let uids: Vec<String> = uids.iter().map(u32::to_string).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# Users of this machine who may use it, beside root.\nallow_uids = [{}]",
            uids.join(", ")
        );
    }
    text
}

/// As a TOML string. What is not printable is refused by the settings themselves.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn place(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file of settings would be taken for a person's.
        let _ = std::fs::remove_file(path);
    }
    written
}
