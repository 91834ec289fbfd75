//! What fleet is wanted.

use crate::{Binaries, Stop};

/// A peer in every envoy's configuration that is not started: whoever holds its key may speak for it.
#[derive(Debug, Clone)]
pub struct ExtraPeer {
    /// Its name.
    pub name: String,
    /// Its public key, 64 hex digits.
    pub key: String,
    /// `host:port`.
    pub address: String,
}

/// The usual settings: peers talk often, and a push asks and waits for as long as a slow machine may take.
const USUAL: &str = "contact_interval_ms = 200\nmin_free_percent = 0\npush_wait_ms = 60000\npush_check_ms = 60000\n";

/// What fleet is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) binaries: Binaries,
    pub(crate) envoys: usize,
    pub(crate) settings: String,
    pub(crate) extra_peers: Vec<ExtraPeer>,
    pub(crate) stop: Option<Stop>,
    pub(crate) keep: bool,
    pub(crate) puddle: Option<String>,
    pub(crate) links: bool,
    pub(crate) net: bool,
    pub(crate) addresses: bool,
    pub(crate) peers: bool,
}

impl Options {
    /// One envoy that runs these programs and talks to its peers often.
    #[must_use]
    pub fn new(binaries: Binaries) -> Self {
        Self {
            binaries,
            envoys: 1,
            settings: USUAL.to_owned(),
            extra_peers: Vec::new(),
            stop: None,
            keep: false,
            puddle: None,
            links: false,
            net: false,
            addresses: true,
            peers: true,
        }
    }

    /// So many envoys: mars, venus, titan, pluto, envoy5, …
    #[must_use]
    pub fn envoys(mut self, envoys: usize) -> Self {
        self.envoys = envoys;
        self
    }

    /// These lines in every `envoy.toml`, in place of the usual ones.
    #[must_use]
    pub fn settings(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.settings);
        self
    }

    /// These lines in every `envoy.toml`, beside the others.
    #[must_use]
    pub fn more_settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self
    }

    /// One more peer for all of them, that is not started.
    #[must_use]
    pub fn extra_peer(mut self, peer: ExtraPeer) -> Self {
        self.extra_peers.push(peer);
        self
    }

    /// Lets the envoys reach each other over links that [`Fleet::cut`](crate::Fleet::cut) cuts.
    #[must_use]
    pub fn links(mut self) -> Self {
        self.links = true;
        self
    }

    /// Puts each envoy into a network namespace of its own; see [`Net`](crate::Net), and ask
    /// [`Net::possible`](crate::Net::possible) first.
    #[must_use]
    pub fn net(mut self) -> Self {
        self.net = true;
        self
    }

    /// Tells no envoy where the others are: they have to find each other.
    #[must_use]
    pub fn without_addresses(mut self) -> Self {
        self.addresses = false;
        self
    }

    /// Tells no envoy of the others: they have to come together by enrolment.
    #[must_use]
    pub fn strangers(mut self) -> Self {
        self.peers = false;
        self
    }

    /// A wish to stop that ends every wait of this fleet.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Lets [`Fleet::keep`](crate::Fleet::keep) leave the fleet running: its daemons then do not end with this process.
    #[must_use]
    pub fn keepable(mut self) -> Self {
        self.keep = true;
        self
    }
}
