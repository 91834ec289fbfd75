//! The dependencies that must never be, as data, checked against what cargo resolves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata};

/// A rule: nothing in `from` may depend on anything in `to`, directly or through others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Never {
    from: &'static [&'static str],
    to: &'static [&'static str],
    why: &'static str,
}

/// Crates that are a function of their arguments.
pub(super) const PURE: &[&str] = &["gitback-identity", "gitback-envelope", "gitback-fleet"];

/// Crates that are a function of their arguments too, but whose dependencies need the standard library: their source is
/// read for what would make them anything else.
pub(super) const SEALED: &[&str] = &["gitback-gossip"];

const IO: &[&str] = &[
    "gitback-log",
    "gitback-pack",
    "gitback-puddle",
    "gitback-helper",
    "gitback-peer",
    "gitback-envoy",
];

const OUTSIDE_WORLD: &[&str] = &[
    "rustix",
    "tokio",
    "gix",
    "rustls",
    "tempfile",
    "serde_json",
    "tracing",
];

const PRODUCTION: &[&str] = &[
    "gitback-identity",
    "gitback-envelope",
    "gitback-fleet",
    "gitback-gossip",
    "gitback-log",
    "gitback-pack",
    "gitback-puddle",
    "gitback-helper",
    "gitback-peer",
    "gitback-envoy",
    "gitback-pairing",
    "gitback-signer",
    "git-remote-gitback",
    "vigo",
];

/// Crates with a caller who decides what to do about an error.
pub(super) const LIBRARIES: &[&str] = &[
    "gitback-identity",
    "gitback-envelope",
    "gitback-fleet",
    "gitback-gossip",
    "gitback-log",
    "gitback-pack",
    "gitback-puddle",
    "gitback-helper",
    "gitback-peer",
    "gitback-envoy",
    "gitback-pairing",
    "gitback-signer",
];

/// What must never be. Only dependencies that end up in a program count, not those of tests.
pub(super) const NEVER: &[Never] = &[
    Never {
        from: PURE,
        to: IO,
        why: "a pure crate takes facts and gives back actions",
    },
    Never {
        from: PURE,
        to: OUTSIDE_WORLD,
        why: "a pure crate has no clock, file, socket or environment",
    },
    Never {
        from: SEALED,
        to: IO,
        why: "a pure crate takes facts and gives back actions",
    },
    Never {
        from: SEALED,
        to: &[
            "rustix",
            "gix",
            "rustls",
            "hyper",
            "axum",
            "tempfile",
            "serde_json",
        ],
        why: "a pure crate has no file and no socket; tokio comes with iroh-gossip, for the name of a moment",
    },
    Never {
        from: PURE,
        to: SEALED,
        why: "trust never rests on rumour",
    },
    Never {
        from: &["gitback-identity"],
        to: &["gitback-envelope", "gitback-fleet"],
        why: "keys know nothing of what they sign",
    },
    Never {
        from: &["gitback-log"],
        to: &[
            "gitback-identity",
            "gitback-envelope",
            "gitback-fleet",
            "gitback-pack",
            "gitback-gossip",
            "gitback-puddle",
            "gitback-helper",
            "gitback-peer",
        ],
        why: "a log keeps records; whether they are true is decided elsewhere",
    },
    Never {
        from: &["gitback-pack"],
        to: &[
            "gitback-identity",
            "gitback-envelope",
            "gitback-fleet",
            "gitback-gossip",
            "gitback-puddle",
            "gitback-helper",
            "gitback-peer",
        ],
        why: "siblings meet in the envoy: a pack is git's business alone",
    },
    Never {
        from: &["gitback-helper"],
        to: &[
            "gitback-identity",
            "gitback-envelope",
            "gitback-fleet",
            "gitback-gossip",
            "gitback-puddle",
            "gitback-peer",
        ],
        why: "siblings meet in the envoy: the socket carries plain values",
    },
    Never {
        from: &["gitback-puddle"],
        to: &[
            "gitback-fleet",
            "gitback-gossip",
            "gitback-pack",
            "gitback-helper",
            "gitback-peer",
            "gitback-log",
        ],
        why: "siblings meet in the envoy: a key at rest needs no daemon",
    },
    Never {
        from: &["gitback-peer"],
        to: &[
            "gitback-fleet",
            "gitback-gossip",
            "gitback-pack",
            "gitback-helper",
            "gitback-puddle",
            "gitback-log",
        ],
        why: "siblings meet in the envoy: the transport does not know what it carries",
    },
    Never {
        from: &["gitback-envoy"],
        to: &["gitback-puddle", "gitback-signer"],
        why: "the daemon holds no person's key and asks no session: the user's own process does",
    },
    Never {
        from: &["gitback-pairing"],
        to: &[
            "gitback-gossip",
            "gitback-pack",
            "gitback-helper",
            "gitback-log",
            "gitback-envoy",
            "gitback-signer",
        ],
        why: "two people's programs talk, not their daemons: what the fleet says travels as bytes",
    },
    Never {
        from: &["gitback-envoy"],
        to: &["gitback-pairing"],
        why: "the daemon holds no person's key, and passes none on",
    },
    Never {
        from: &["git-remote-gitback"],
        to: &[
            "gitback-envoy",
            "gitback-fleet",
            "gitback-gossip",
            "gitback-peer",
            "gitback-pack",
            "tokio",
            "axum",
            "rustls",
            "gix",
            "clap",
            "anstream",
        ],
        why: "git waits for the remote helper: no runtime, no TLS, no terminal code",
    },
    Never {
        from: LIBRARIES,
        to: &["clap", "anstream", "rpassword"],
        why: "a library neither prints nor asks",
    },
    Never {
        from: PRODUCTION,
        to: &["xtask", "gitback-tests", "gitback-benches"],
        why: "what ships does not depend on what checks it",
    },
    Never {
        from: PRODUCTION,
        to: &["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"],
        why: "ring is the one crypto provider of TLS",
    },
];

/// Which package depends on which, by name.
#[derive(Debug, Default)]
pub(super) struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// What cargo resolved, without what only tests need.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let name = |id: &cargo_metadata::PackageId| {
            metadata.packages.iter().find(|package| &package.id == id)
        };
        let mut graph = Self::default();
        for package in metadata.workspace_packages() {
            graph.members.insert(package.name.to_string());
        }
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        for node in nodes {
            let Some(from) = name(&node.id) else { continue };
            for dependency in &node.deps {
                let shipped = dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind != DependencyKind::Development);
                if let Some(to) = name(&dependency.pkg).filter(|_| shipped) {
                    graph.edge(&from.name, &to.name);
                }
            }
        }
        graph
    }

    fn edge(&mut self, from: &str, to: &str) {
        self.edges
            .entry(from.to_owned())
            .or_default()
            .insert(to.to_owned());
    }

    /// The shortest way from one package to another.
    fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut open = VecDeque::from([vec![from.to_owned()]]);
        while let Some(path) = open.pop_front() {
            let last = path.last()?;
            if last == to && path.len() > 1 {
                return Some(path);
            }
            for next in self.edges.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    let mut longer = path.clone();
                    longer.push(next.clone());
                    open.push_back(longer);
                }
            }
        }
        None
    }
}

/// One line for each forbidden way that exists, and for each rule about a crate that does not.
pub(super) fn check(graph: &Graph, rules: &[Never]) -> Vec<String> {
    let mut faults = Vec::new();
    for rule in rules {
        let unknown = rule
            .from
            .iter()
            .filter(|from| !graph.members.contains(**from));
        faults.extend(unknown.map(|from| {
            format!("arrows: a rule names {from}, which is no crate of this workspace")
        }));
        for from in rule.from {
            let paths = rule.to.iter().filter_map(|to| graph.path(from, to));
            faults.extend(paths.map(|path| format!("arrows: {}: {}", path.join(" → "), rule.why)));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.members.insert((*from).to_owned());
            graph.members.insert((*to).to_owned());
            graph.edge(from, to);
        }
        graph
    }

    const RULE: &[Never] = &[Never {
        from: &["pure"],
        to: &["io"],
        why: "pure is pure",
    }];

    #[test]
    fn finds_a_direct_arrow() {
        assert_eq!(
            check(&graph(&[("pure", "io")]), RULE),
            ["arrows: pure → io: pure is pure"]
        );
    }

    #[test]
    fn finds_an_arrow_through_others_and_shows_the_way() {
        let faults = check(
            &graph(&[("pure", "a"), ("a", "b"), ("b", "a"), ("b", "io")]),
            RULE,
        );
        assert_eq!(faults, ["arrows: pure → a → b → io: pure is pure"]);
    }

    #[test]
    fn the_other_way_round_is_fine() {
        assert!(check(&graph(&[("io", "pure")]), RULE).is_empty());
    }

    #[test]
    fn a_rule_about_a_crate_that_is_gone_is_a_fault() {
        let faults = check(&graph(&[("other", "io")]), RULE);
        assert!(faults[0].contains("pure, which is no crate"), "{faults:?}");
    }

    #[test]
    fn every_shipped_crate_of_the_workspace_is_in_the_table() {
        let metadata = crate::cargo::metadata().expect("cargo metadata");
        let graph = Graph::of(&metadata);
        let tools = ["xtask", "gitback-tests", "gitback-benches"];
        let shipped: Vec<&str> = graph
            .members
            .iter()
            .map(String::as_str)
            .filter(|name| !tools.contains(name))
            .collect();
        let mut listed = PRODUCTION.to_vec();
        listed.sort_unstable();
        assert_eq!(shipped, listed);
    }
}
