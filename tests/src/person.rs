//! A person at the keyboard of one envoy.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::{Binaries, Invocation, Stop};

/// A person at the keyboard of one envoy: what they type runs with that envoy's root and a clean environment.
#[derive(Debug, Clone)]
pub struct Person {
    envoy: String,
    root: PathBuf,
    env: Vec<(OsString, OsString)>,
    binaries: Binaries,
    stop: Option<Stop>,
}

impl Person {
    pub(crate) fn new(
        envoy: &str,
        root: &Path,
        shared: &Path,
        binaries: &Binaries,
        stop: Option<Stop>,
    ) -> Self {
        let inherited = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let mut path = binaries.dir().as_os_str().to_owned();
        path.push(":");
        path.push(inherited);
        let variable = |name: &str, value: &OsStr| (OsString::from(name), value.to_owned());
        let env = vec![
            variable("PATH", &path),
            variable("HOME", root.join("home").as_os_str()),
            variable("VIGO_ROOT", root.as_os_str()),
            variable("TMPDIR", shared.join("tmp").as_os_str()),
            variable("GIT_CONFIG_GLOBAL", shared.join("gitconfig").as_os_str()),
            variable("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            variable("GIT_TERMINAL_PROMPT", OsStr::new("0")),
            variable("LC_ALL", OsStr::new("C")),
        ];
        Self {
            envoy: envoy.to_owned(),
            root: root.to_owned(),
            env,
            binaries: binaries.clone(),
            stop,
        }
    }

    /// The envoy that the person sits at.
    #[must_use]
    pub fn envoy(&self) -> &str {
        &self.envoy
    }

    /// The envoy's root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `git …` in `dir`.
    pub fn git<S: AsRef<OsStr>>(
        &self,
        dir: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Invocation {
        self.any("git", args).cwd(dir)
    }

    /// `vigo …` in the root directory.
    pub fn vigo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation {
        self.any(self.binaries.vigo(), args).cwd(&self.root)
    }

    /// `git-remote-gitback REMOTE URL` in `dir`, as git would start it.
    #[must_use]
    pub fn remote_helper(&self, dir: &Path, url: &str) -> Invocation {
        self.any(
            self.binaries.dir().join("git-remote-gitback"),
            ["gitback", url],
        )
        .cwd(dir)
    }

    /// Any other program, with the same environment.
    pub fn any<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Invocation {
        let start = Invocation::new(program, args).stop(self.stop.clone());
        self.env
            .iter()
            .fold(start, |command, (name, value)| command.env(name, value))
    }

    /// The variables that make a shell this person's, as lines to type.
    #[must_use]
    pub fn exports(&self) -> String {
        let line = |(name, value): &(OsString, OsString)| match name.to_str() {
            Some("PATH") => Some(format!(
                "export PATH={}:$PATH",
                self.binaries.dir().display()
            )),
            Some("HOME" | "VIGO_ROOT") => Some(format!(
                "export {}={}",
                name.to_string_lossy(),
                value.to_string_lossy()
            )),
            _ => None,
        };
        self.env
            .iter()
            .filter_map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
