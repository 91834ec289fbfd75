//! How long a push waits for other envoys, and what it says afterwards. Pure: counts in, lines out.

use std::time::Duration;

/// The longest that a push waits when it asks for `all`, `majority` or a number of envoys.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(600);

/// For whom a push waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// All, for the configured time.
    Default,
    /// Every envoy.
    All,
    /// More than half of all envoys, this one included.
    Majority,
    /// So many envoys, this one not counted.
    Peers(usize),
}

impl Wait {
    /// Parses the value of `git push -o gitback.wait=…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            "majority" => Some(Self::Majority),
            number => number.parse().ok().map(Self::Peers),
        }
    }

    /// How many of `peers` must confirm before git returns.
    pub(crate) fn needed(self, peers: usize) -> usize {
        match self {
            Self::Default | Self::All => peers,
            Self::Majority => peers.div_ceil(2),
            Self::Peers(number) => number.min(peers),
        }
    }

    /// The bound of the wait.
    pub(crate) fn limit(self, configured: Duration) -> Duration {
        match self {
            Self::Default => configured,
            Self::Peers(0) => Duration::ZERO,
            Self::All | Self::Majority | Self::Peers(_) => configured.max(WAIT_MAX),
        }
    }
}

/// Where a push stood when the wait was over.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// This envoy.
    pub(crate) own: String,
    /// Peers that hold the push durably.
    pub(crate) durable: Vec<String>,
    /// Peers that cannot have it now, each a ready line.
    pub(crate) away: Vec<String>,
    /// Peers that will not have it before somebody corrects a configuration, each a ready line.
    pub(crate) wrong_key: Vec<String>,
    /// Peers that gave their copies up on a person's word, each a ready line.
    pub(crate) gave_up: Vec<String>,
    /// Peers that have not answered yet.
    pub(crate) open: Vec<String>,
    /// Whether the policy or the lack of grants keeps some envoys of the fleet from holding the project.
    pub(crate) kept_to_members: bool,
    /// Whether nobody was waited for.
    pub(crate) did_not_wait: bool,
    /// Who said that it holds the push durably, and how long after it was stored here.
    pub(crate) answered: Vec<(String, Duration)>,
    /// How long was waited, in seconds.
    pub(crate) waited_s: u64,
    /// How many confirmations were asked for beyond what came, when a number was asked for.
    pub(crate) short_of: usize,
}

impl Standing {
    /// The lines for git's sideband; each starts with a word that git colours.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lacking = [&self.away, &self.wrong_key, &self.gave_up, &self.open];
        let total = 1 + self.durable.len() + lacking.map(Vec::len).iter().sum::<usize>();
        let mut lines = Vec::new();
        if self.durable.is_empty() {
            lines.push(format!("success: stored on {}", self.own));
        } else {
            let mut names = vec![self.own.clone()];
            names.extend(self.durable.iter().cloned());
            lines.push(format!(
                "success: replicated to {} of {total} envoys ({})",
                names.len(),
                names.join(", ")
            ));
        }
        lines.extend(
            self.away
                .iter()
                .map(|line| format!("warning: {line}; will catch up")),
        );
        lines.extend(self.wrong_key.iter().map(|line| format!("warning: {line}")));
        if !self.wrong_key.is_empty() {
            lines.push(format!(
                "hint: `vigo envoy key` there shows the right one: put it into envoy.toml of {}, then: vigo down, vigo up",
                self.own
            ));
        }
        lines.extend(self.gave_up.iter().map(|line| format!("warning: {line}")));
        if !self.open.is_empty() {
            let names = self.open.join(", ");
            lines.push(match self.did_not_wait {
                true => format!("hint: {names}: replicating in the background"),
                false => format!("hint: {names} still receiving; no need to wait"),
            });
        }
        if self.durable.is_empty() && !self.did_not_wait {
            lines.push(self.only_copy(total));
            lines.push(match total {
                1 if !self.kept_to_members => {
                    "hint: add a machine: vigo swarm puddle pair".to_owned()
                }
                _ => "hint: see why: vigo envoy status".to_owned(),
            });
        }
        if self.short_of > 0 {
            lines.push(format!(
                "warning: {} fewer envoys than asked for have confirmed",
                self.short_of
            ));
        }
        lines
    }

    fn only_copy(&self, total: usize) -> String {
        match (total, self.open.is_empty()) {
            (1, _) if self.kept_to_members => format!(
                "warning: THE ONLY COPY: the project is for its members' envoys, and {} is the only one",
                self.own
            ),
            (1, _) => format!("warning: THE ONLY COPY: {} knows no other envoy", self.own),
            (_, true) => "warning: THE ONLY COPY: no other envoy could be reached".to_owned(),
            (_, false) => format!(
                "warning: THE ONLY COPY so far: no other envoy answered in {} s",
                self.waited_s
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_counts_this_envoy() {
        assert_eq!(Wait::Majority.needed(2), 1);
        assert_eq!(Wait::Majority.needed(3), 2);
        assert_eq!(Wait::Majority.needed(4), 2);
        assert_eq!(Wait::Majority.needed(0), 0);
        assert_eq!(Wait::Peers(9).needed(2), 2);
    }

    #[test]
    fn only_the_documented_words_are_taken() {
        assert_eq!(Wait::parse("all"), Some(Wait::All));
        assert_eq!(Wait::parse("0"), Some(Wait::Peers(0)));
        assert_eq!(Wait::parse("-1"), None);
        assert_eq!(Wait::parse("ALL"), None);
    }

    #[test]
    fn every_wait_is_bounded() {
        for wait in [Wait::Default, Wait::All, Wait::Majority, Wait::Peers(3)] {
            assert!(wait.limit(Duration::from_secs(3)) <= WAIT_MAX);
        }
        assert_eq!(Wait::Peers(0).limit(Duration::from_secs(3)), Duration::ZERO);
    }

    #[test]
    fn a_push_that_nobody_confirmed_is_called_the_only_copy() {
        let standing = Standing {
            own: "mars".to_owned(),
            away: vec!["venus offline (never seen): connection refused".to_owned()],
            ..Standing::default()
        };
        let lines = standing.lines().join("\n");
        assert!(
            lines.starts_with("success: stored on mars\nwarning: venus offline"),
            "{lines}"
        );
        assert!(lines.contains("THE ONLY COPY"), "{lines}");
    }

    #[test]
    fn one_that_is_alone_is_told_how_to_get_company() {
        let alone = Standing {
            own: "mars".to_owned(),
            ..Standing::default()
        };
        assert_eq!(
            alone.lines(),
            [
                "success: stored on mars",
                "warning: THE ONLY COPY: mars knows no other envoy",
                "hint: add a machine: vigo swarm puddle pair",
            ]
        );
    }

    #[test]
    fn a_wrong_key_is_nothing_that_catches_up() {
        let standing = Standing {
            own: "mars".to_owned(),
            durable: vec!["venus".to_owned()],
            wrong_key: vec!["pluto offline (never seen): wrong key".to_owned()],
            ..Standing::default()
        };
        let lines = standing.lines();
        assert_eq!(
            lines[..2],
            [
                "success: replicated to 2 of 3 envoys (mars, venus)",
                "warning: pluto offline (never seen): wrong key",
            ]
        );
        assert!(lines[2].contains("envoy.toml of mars"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn names_who_holds_it_and_who_is_away() {
        let standing = Standing {
            own: "mars".to_owned(),
            durable: vec!["venus".to_owned()],
            away: vec!["pluto offline (last seen 2 h ago): connection refused".to_owned()],
            ..Standing::default()
        };
        assert_eq!(
            standing.lines(),
            [
                "success: replicated to 2 of 3 envoys (mars, venus)",
                "warning: pluto offline (last seen 2 h ago): connection refused; will catch up",
            ]
        );
    }
}
