//! The daemon as a unit of systemd.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gitback_helper::{Failure, Mode, exit_code};

use super::background::last_lines;
use crate::context::Context;

/// What the unit is called.
const UNIT: &str = "vigo-gitback.service";
/// Where the machine's units are that an administrator has made.
const SYSTEM_UNITS: &str = "/etc/systemd/system";
/// By its first line a unit is known as one that this program wrote, and may write again.
const HEAD: &str =
    "# Written by `vigo up`; what you change goes into a drop-in: systemctl edit vigo-gitback\n";

/// systemd: the machine's, or the user's own.
#[derive(Debug)]
pub(super) struct Manager {
    unit: PathBuf,
    of_user: bool,
}

/// What the manager says of the unit.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Standing {
    is_failed: bool,
    /// How often it was started again by itself.
    restarts: u64,
}

impl Manager {
    /// The manager that would look after this context's daemon, if there is one.
    pub(super) fn find(context: &Context) -> Option<Self> {
        let facts = &context.facts;
        match context.layout.mode {
            Mode::Root if facts.systemd => Some(Self {
                unit: Path::new(SYSTEM_UNITS).join(UNIT),
                of_user: false,
            }),
            Mode::User if facts.systemd_of_user => Some(Self {
                // Beside the directory of vigo's own settings.
                unit: context
                    .layout
                    .config_file
                    .parent()?
                    .parent()?
                    .join("systemd/user")
                    .join(UNIT),
                of_user: true,
            }),
            // A directory of its own is for tests and demonstrations.
            Mode::Root | Mode::User | Mode::RootDir => None,
        }
    }

    /// Whether the unit is there.
    pub(super) fn has_unit(&self) -> bool {
        self.unit.is_file()
    }

    /// For people: which unit of which manager.
    pub(super) fn described(&self) -> String {
        match self.of_user {
            true => format!("{UNIT} of your user manager (systemctl --user status vigo-gitback)"),
            false => format!("{UNIT} (systemctl status vigo-gitback)"),
        }
    }

    /// Whether nothing of the user's runs while the user is not logged in.
    pub(super) fn ends_with_the_login(&self, context: &Context) -> bool {
        self.of_user && !context.facts.lingers
    }

    /// Writes the unit, unless it is a person's own.
    pub(super) fn install(&self, context: &Context) -> Result<(), Failure> {
        let fault = |why: String| {
            let what = format!("cannot write the unit {}", self.unit.display());
            Failure::new(exit_code::FAILED, what).because(why)
        };
        let program = context.facts.program.as_ref();
        let program =
            program.ok_or_else(|| fault("this program does not know its own file".to_owned()))?;
        let mut path = context.facts.path.clone().unwrap_or_default();
        if !self.of_user {
            if let Err(whose) = is_roots_alone(program) {
                return Err(foreign_program(program, &whose));
            }
            // What root runs is looked for where only root puts things; by where that really is, since whose a link is
            // does not show there.
            let mut dirs: Vec<PathBuf> = Vec::new();
            for dir in std::env::split_paths(&path).filter(|dir| dir.is_absolute()) {
                let dir = is_roots_alone(&dir).ok();
                // `/bin` is `/usr/bin` on most machines, and would stand there twice.
                dirs.extend(dir.filter(|dir| !dirs.contains(dir)));
            }
            path = std::env::join_paths(dirs).unwrap_or_default();
        }
        let text = self.text(program, &path).ok_or_else(|| {
            fault(format!(
                "the name of {} cannot stand in one",
                program.display()
            ))
        })?;
        match fs::read_to_string(&self.unit) {
            Ok(there) if there == text => return Ok(()),
            // Somebody else's unit of this name is taken as it is.
            Ok(there) if !there.starts_with(HEAD) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(error.to_string())),
        }
        self.place(&text)
            .map_err(|error| fault(error.to_string()))?;
        self.systemctl(context, &["daemon-reload"]).map(drop)
    }

    fn place(&self, text: &str) -> std::io::Result<()> {
        if let Some(dir) = self.unit.parent() {
            fs::create_dir_all(dir)?;
        }
        let fresh = self.unit.with_extension("service.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, &self.unit)
    }

    /// Starts the unit, now and whenever the manager starts. Gives how often it had been started again before.
    pub(super) fn enable(&self, context: &Context) -> Result<Standing, Failure> {
        self.systemctl(context, &["enable", UNIT])?;
        // What a unit that was given up has behind it does not count now.
        let _ = self.run(context, "systemctl", &["reset-failed", UNIT]);
        let before = self.standing(context);
        // Not waited for here: who waits shows how long it takes.
        self.systemctl(context, &["start", "--no-block", UNIT])?;
        Ok(before)
    }

    /// Ends the unit, now and for good.
    pub(super) fn disable(&self, context: &Context) -> Result<(), Failure> {
        self.systemctl(context, &["disable", "--now", UNIT])
            .map(drop)
    }

    /// Whether the unit has failed since it was as `before`: it was given up, or had to be started again.
    pub(super) fn failed(&self, context: &Context, before: Standing) -> bool {
        let now = self.standing(context);
        now.is_failed || now.restarts > before.restarts
    }

    fn standing(&self, context: &Context) -> Standing {
        let asked = ["show", "--property=ActiveState,NRestarts", UNIT];
        let mut standing = Standing::default();
        let Ok(output) = self.run(context, "systemctl", &asked) else {
            return standing;
        };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line.split_once('=') {
                Some(("ActiveState", state)) => standing.is_failed = state == "failed",
                Some(("NRestarts", restarts)) => {
                    standing.restarts = restarts.parse().unwrap_or_default();
                }
                _ => {}
            }
        }
        standing
    }

    /// The end of the unit's log.
    pub(super) fn last_words(&self, context: &Context) -> String {
        let arguments = [
            "--unit",
            UNIT,
            "--lines",
            "6",
            "--no-pager",
            "--output",
            "cat",
        ];
        let asked = self.run(context, "journalctl", &arguments);
        asked.map_or_else(
            |_| String::new(),
            |output| last_lines(&String::from_utf8_lossy(&output.stdout)),
        )
    }

    fn systemctl(&self, context: &Context, arguments: &[&str]) -> Result<Output, Failure> {
        let what = || format!("systemctl {} failed", arguments.join(" "));
        let output = self
            .run(context, "systemctl", arguments)
            .map_err(|error| Failure::new(exit_code::FAILED, what()).because(error.to_string()))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(exit_code::FAILED, what())
            .because(last_lines(said.trim_end()))
            .hint("start it without systemd: vigo up --no-service"))
    }

    fn run(&self, context: &Context, program: &str, arguments: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(program);
        if let Some(path) = &context.facts.path {
            command.env("PATH", path);
        }
        if self.of_user {
            command.arg("--user");
        }
        command.args(arguments).stdin(Stdio::null()).output()
    }

    /// The unit's text; none when the paths cannot be written there.
    fn text(&self, program: &Path, path: &OsStr) -> Option<String> {
        let program = plain(program.as_os_str())?;
        // git and its helper are looked for where they are now.
        let path = plain(path)?;
        let mut lines = String::from(HEAD);
        lines.push_str("[Unit]\n");
        lines.push_str("Description=gitback envoy: keeps and replicates git projects\n");
        lines.push_str("Documentation=man:vigo(1)\n");
        if !self.of_user {
            lines.push_str("Wants=network-online.target\nAfter=network-online.target\n");
        }
        lines.push_str("\n[Service]\nType=notify\n");
        lines.push_str(&format!("ExecStart=\"{program}\" envoy run\n"));
        lines.push_str(&format!("Environment=\"PATH={path}\"\n"));
        for (name, value) in crate::envoy::ALLOCATOR {
            lines.push_str(&format!("Environment={name}={value}\n"));
        }
        lines.push_str("Restart=on-failure\nRestartSec=2\nTimeoutStartSec=infinity\n");
        lines.push_str("LimitNOFILE=65536\nUMask=0077\n");
        lines.push_str("NoNewPrivileges=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\n");
        if self.of_user {
            lines.push_str("\n[Install]\nWantedBy=default.target\n");
        } else {
            // The directories of the layout. Sockets of users are made in their own.
            lines.push_str(
                "RuntimeDirectory=vigo\nRuntimeDirectoryMode=0755\nRuntimeDirectoryPreserve=yes\n",
            );
            lines.push_str("StateDirectory=vigo\nStateDirectoryMode=0700\n");
            lines.push_str(
                "ProtectSystem=full\nProtectKernelTunables=yes\nProtectControlGroups=yes\n",
            );
            lines.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        }
        Some(lines)
    }
}

/// A text that means itself in a unit.
///
/// Source: systemd.syntax(7) and systemd.unit(5), specifiers.
fn plain(text: &OsStr) -> Option<&str> {
    let special = |one: char| one.is_control() || matches!(one, '"' | '\\' | '%' | '$');
    text.to_str().filter(|text| !text.chars().any(special))
}

/// Where `path` really is, if nobody but root can change what lies there, or put something else there. If not, which
/// part of it others can change.
fn is_roots_alone(path: &Path) -> Result<PathBuf, PathBuf> {
    let real = fs::canonicalize(path).map_err(|_| path.to_owned())?;
    let roots_alone = |part: &&Path| {
        fs::metadata(part).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o022 == 0)
    };
    let others = real.ancestors().find(|part| !roots_alone(part));
    match others.map(Path::to_owned) {
        Some(others) => Err(others),
        None => Ok(real),
    }
}

fn foreign_program(program: &Path, whose: &Path) -> Failure {
    let what = format!(
        "root would run {}, which others can change",
        program.display()
    );
    let failure = Failure::new(exit_code::NOT_PERMITTED, what)
        .because(format!("not only root can write {}", whose.display()));
    // What is root's own and open to a group needs no other place; what is meant for all, as /tmp is, stays as it is.
    let can_be_closed =
        fs::metadata(whose).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o1000 == 0);
    let failure = match can_be_closed {
        true => failure.hint(format!("close it: sudo chmod go-w {}", whose.display())),
        false => failure
            .hint(format!(
                "put it where only root can: sudo install {} /usr/local/bin/",
                program.display()
            ))
            .hint("then: sudo /usr/local/bin/vigo up"),
    };
    failure.hint("or run an envoy of your own, without sudo: vigo up")
}

#[cfg(test)]
mod tests;
