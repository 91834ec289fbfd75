//! The facts of the process, collected once by whoever starts it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use gitback_helper::{Environment, Service};

/// What a remote helper needs to know about the process it runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// What decides where things live.
    pub places: Environment,
    /// `GIT_PROTOCOL`.
    pub git_protocol: Option<OsString>,
    /// `GIT_CONFIG_PARAMETERS`, in which git passes on what `git -c` says.
    pub git_config_parameters: Option<OsString>,
    /// `GITBACK_TRACE`: whether to say where the time of a push or fetch goes.
    pub trace: bool,
}

impl Surroundings {
    /// Collects the facts through two questions: the value of a variable, and whether a path
    /// exists. `uid` is the effective user id, which is what the daemon's kernel will see.
    #[must_use]
    pub fn from_lookup(
        uid: u32,
        variable: &dyn Fn(&str) -> Option<OsString>,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Self {
        Self {
            places: Environment::from_lookup(None, uid, variable, exists),
            git_protocol: variable("GIT_PROTOCOL"),
            git_config_parameters: variable("GIT_CONFIG_PARAMETERS"),
            trace: variable("GITBACK_TRACE").is_some_and(|value| !value.is_empty() && value != "0"),
        }
    }

    /// What `GIT_PROTOCOL` the served git gets: version 2 for a fetch unless the user says
    /// otherwise, and nothing for a push, which has one version.
    pub(crate) fn protocol(&self, service: Service) -> Option<String> {
        if service == Service::ReceivePack {
            return None;
        }
        let asked = version_in_protocol(self.git_protocol.as_deref())
            .or_else(|| version_in_parameters(self.git_config_parameters.as_deref()));
        match asked {
            Some(0) => None,
            Some(1) => Some("version=1".to_owned()),
            _ => Some("version=2".to_owned()),
        }
    }
}

/// Source: git(1), `GIT_PROTOCOL`: a colon-separated list of keys with optional values.
fn version_in_protocol(value: Option<&OsStr>) -> Option<u8> {
    value?
        .to_str()?
        .split(':')
        .filter_map(|key| key.strip_prefix("version="))
        .find_map(known)
}

/// Finds the last `-c protocol.version=<n>`: `'protocol.version'='<n>'`, or all of it in one
/// pair of quotes as git before 2.31 wrote it.
fn version_in_parameters(value: Option<&OsStr>) -> Option<u8> {
    value?
        .to_str()?
        .split_ascii_whitespace()
        .rev()
        .map(|word| word.replace('\'', "").to_ascii_lowercase())
        .find_map(|word| known(word.strip_prefix("protocol.version=")?))
}

fn known(version: &str) -> Option<u8> {
    version.parse().ok().filter(|version| *version <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(git_protocol: &str, parameters: &str, expected: Option<&str>) {
        let some = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        let surroundings = Surroundings {
            git_protocol: some(git_protocol),
            git_config_parameters: some(parameters),
            ..Surroundings::from_lookup(1000, &|_| None, &|_| false)
        };
        let protocol = surroundings.protocol(Service::UploadPack);
        assert_eq!(protocol.as_deref(), expected, "{git_protocol} {parameters}");
        assert_eq!(surroundings.protocol(Service::ReceivePack), None);
    }

    #[test]
    fn a_fetch_uses_version_2_unless_told_otherwise() {
        check("", "", Some("version=2"));
        check("version=1", "", Some("version=1"));
        check("other:version=0", "", None);
        check("version=7", "", Some("version=2"));
        check("", "'protocol.version'='0'", None);
        check(
            "",
            "'core.pager'='less' 'Protocol.Version'='1' 'a.b'='c'",
            Some("version=1"),
        );
        check(
            "",
            "'protocol.version'='0' 'protocol.version'='2'",
            Some("version=2"),
        );
        check("", "'protocol.version=1'", Some("version=1"));
        check("", "'protocol.version'='new'", Some("version=2"));
        check("version=2", "'protocol.version'='0'", Some("version=2"));
    }
}
