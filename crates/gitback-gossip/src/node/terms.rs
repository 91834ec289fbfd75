//! What goes into a node and what comes out.

use gitback_identity::{EnvoyKey, ProjectId};

use crate::address::AddressRecord;
use crate::millis::Millis;

/// What happened. Nothing is unheard of: an input about a peer or a project that the node does not know is ignored.
#[derive(Clone, Debug)]
pub enum Input {
    /// The moment of [`Node::next_wake`](crate::Node::next_wake) has come, or any other.
    Wake,
    /// Somebody of the fleet, by configuration. Said again, it replaces name and addresses.
    Peer {
        /// The peer's key.
        key: EnvoyKey,
        /// What people call it.
        name: String,
        /// `host:port`, in order of preference.
        addresses: Vec<String>,
    },
    /// No longer somebody of the fleet. What is owed to it is forgotten; commands that are open are still answered.
    Forget {
        /// The peer's key.
        key: EnvoyKey,
    },
    /// A known key was seen on the local network.
    Sighted {
        /// The peer's key.
        key: EnvoyKey,
        /// `host:port`.
        address: String,
    },
    /// A gossip message, over a connection that proved `from`.
    Message {
        /// Who sent it.
        from: EnvoyKey,
        /// The message as it came.
        bytes: Vec<u8>,
    },
    /// Answers [`Output::Message`].
    MessageSent {
        /// To whom it was to go.
        to: EnvoyKey,
        /// Whether it did.
        outcome: Result<(), Failure>,
    },
    /// What is held here of a project from now on.
    ///
    /// At start-up, say of every project what is held with `spread: false`: nobody needs to hear of it again.
    Holds {
        /// The project.
        project: ProjectId,
        /// The digest that a peer which holds the same shows.
        digest: [u8; 32],
        /// Whether to tell the fleet. Only for a project of which the whole fleet may know.
        spread: bool,
    },
    /// A project is no longer held here, and is not to be.
    Dropped {
        /// The project.
        project: ProjectId,
    },
    /// Answers [`Output::Compare`].
    Compared {
        /// With whom.
        with: EnvoyKey,
        /// On which projects the two differ: at most one entry a project.
        outcome: Result<Vec<Difference>, Failure>,
    },
    /// A peer began a comparison itself and showed what it holds: the same as [`Input::Compared`], and answers nothing.
    Shown {
        /// The peer.
        by: EnvoyKey,
        /// On which projects the two differ: at most one entry a project.
        differences: Vec<Difference>,
    },
    /// Answers [`Output::CatchUp`].
    CaughtUp {
        /// The project.
        project: ProjectId,
        /// From whom.
        from: EnvoyKey,
        /// What it brought. Say [`Input::Holds`] first if what is held has changed.
        outcome: Result<News, Failure>,
    },
    /// A push did not reach a peer that should have it.
    Owes {
        /// The peer.
        to: EnvoyKey,
        /// The project.
        project: ProjectId,
        /// Why it did not, for status.
        reason: String,
    },
    /// Answers [`Output::Deliver`].
    Delivered {
        /// The peer.
        to: EnvoyKey,
        /// The project.
        project: ProjectId,
        /// Whether the peer has durably now what is held here.
        outcome: Result<(), Failure>,
    },
    /// A sign of life: the peer asked for something, or answered something that no command of the node asked.
    Answered {
        /// The peer.
        peer: EnvoyKey,
    },
    /// The peer said what is not so, or broke the protocol, and no command of the node asked for it.
    Lied {
        /// The peer.
        peer: EnvoyKey,
        /// What it said, for people.
        reason: String,
    },
    /// What others shall know of where this envoy can be reached. The driver signs it, with a number above the last.
    OwnRecord(AddressRecord),
    /// What the clock on the wall shows now, by which addresses of others expire. Say so at start-up and when it was
    /// set; until then nothing expires.
    WallClock {
        /// Milliseconds since 1970.
        unix_ms: u64,
    },
    /// Compare with everybody now, away or not, as soon as slots allow. A penalty still holds.
    CompareAll,
    /// Compare with this one as soon as a slot allows: it turned out to hold something else. Many of these become one.
    CompareSoon {
        /// The peer.
        with: EnvoyKey,
    },
}

/// An order. Each of the first four is answered exactly once by the input of its name, however it ended; until then
/// its slot is taken.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a gossip message; answered by [`Input::MessageSent`].
    Message {
        /// To whom.
        to: EnvoyKey,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Compare digests; answered by [`Input::Compared`].
    Compare {
        /// With whom.
        with: EnvoyKey,
    },
    /// Bring in what is missing here; answered by [`Input::CaughtUp`].
    CatchUp {
        /// Of which project. It may not be held here at all yet.
        project: ProjectId,
        /// From whom.
        from: EnvoyKey,
    },
    /// Give a peer what it lacks; answered by [`Input::Delivered`].
    Deliver {
        /// Of which project.
        project: ProjectId,
        /// To whom.
        to: EnvoyKey,
    },
    /// Where a peer is best tried from now on.
    Moved {
        /// The peer.
        peer: EnvoyKey,
        /// `host:port`, in order of preference.
        addresses: Vec<String>,
    },
    /// A line worth a person's look.
    Log {
        /// About whom.
        peer: EnvoyKey,
        /// What happened: lower case, no full stop.
        what: String,
    },
}

/// How a command failed, with a reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer cannot be reached, or fell silent.
    Away(String),
    /// The peer answered that it will not.
    Refused(String),
    /// The peer said what is not so, or broke the protocol.
    Lied(String),
    /// The peer cannot now, and may soon: too many requests, or it has not all of it yet itself.
    Busy(String),
    /// The fault is here: a disk, a full queue, git.
    Ours(String),
}

impl Failure {
    /// The reason, for people.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Away(reason)
            | Self::Refused(reason)
            | Self::Lied(reason)
            | Self::Busy(reason)
            | Self::Ours(reason) => reason,
        }
    }
}

/// A project on which a peer and this envoy differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The project.
    pub project: ProjectId,
    /// What the peer shows of it; the same mark each time if it shows nothing.
    pub digest: [u8; 32],
    /// Something may be missing here: the digests differ, or what is held here is not whole.
    pub we_lack: bool,
    /// Something that the peer should have may be missing there.
    pub they_lack: bool,
}

/// What a catch-up brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Something came in.
    pub changed: bool,
    /// Both sides show the same digest now, and what is held here is whole.
    pub same: bool,
    /// It stopped at its cap and is to go on.
    pub more: bool,
}

/// How eager a node is. All waits are drawn from the upper half of what is named here, or within a quarter of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often the node compares with others.
    pub tick: Millis,
    /// With how many present peers at the most all are compared with at every tick.
    pub compare_all: usize,
    /// With how many a tick beyond that.
    pub compare_width: usize,
    /// How many peers that are away are tried in a tick.
    pub probes: usize,
    /// How many comparisons may be open.
    pub compares: usize,
    /// How many catch-ups may be open.
    pub catch_ups: usize,
    /// How many of those with one peer.
    pub catch_ups_per_peer: usize,
    /// How many deliveries may be open.
    pub deliveries: usize,
    /// How many of those with one peer.
    pub deliveries_per_peer: usize,
    /// How long at first until what failed is tried again.
    pub retry: Millis,
    /// How long at the most.
    pub retry_cap: Millis,
    /// How long at first a peer that had no news of a project is not asked for it again, while it shows the same.
    pub quiet: Millis,
    /// How long at the most.
    pub quiet_cap: Millis,
    /// How long at first a peer that refused a project is not asked for it because of a notice.
    pub refused: Millis,
    /// How long at the most.
    pub refused_cap: Millis,
    /// How long a peer that lied is left alone at first.
    pub penalty: Millis,
    /// How long at the most.
    pub penalty_cap: Millis,
    /// How long a notice waits for the push itself to arrive.
    pub patience: Millis,
    /// How long at least between two notices about one project.
    pub notice_gap: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tick: Millis::from_secs(10),
            compare_all: 8,
            compare_width: 2,
            probes: 16,
            compares: 8,
            catch_ups: 4,
            catch_ups_per_peer: 3,
            deliveries: 16,
            deliveries_per_peer: 2,
            retry: Millis::from_secs(1),
            retry_cap: Millis::from_secs(60),
            quiet: Millis::from_secs(10),
            quiet_cap: Millis::from_secs(600),
            refused: Millis::from_secs(600),
            refused_cap: Millis::from_secs(3_600),
            penalty: Millis::from_secs(60),
            penalty_cap: Millis::from_secs(3_600),
            patience: Millis::from_secs(2),
            notice_gap: Millis::from_secs(1),
        }
    }
}

impl Settings {
    /// The default with another tick. With a shorter one all other times are shorter in proportion, at least one
    /// millisecond; with a longer one they stay.
    #[must_use]
    pub fn with_tick(tick: Millis) -> Self {
        let usual = Self::default();
        let scaled = |time: Millis| {
            let scaled = u128::from(time.0) * u128::from(tick.0.min(usual.tick.0))
                / u128::from(usual.tick.0);
            Millis(u64::try_from(scaled).unwrap_or(u64::MAX).max(1))
        };
        Self {
            retry: scaled(usual.retry),
            retry_cap: scaled(usual.retry_cap),
            quiet: scaled(usual.quiet),
            quiet_cap: scaled(usual.quiet_cap),
            refused: scaled(usual.refused),
            refused_cap: scaled(usual.refused_cap),
            penalty: scaled(usual.penalty),
            penalty_cap: scaled(usual.penalty_cap),
            patience: scaled(usual.patience),
            notice_gap: scaled(usual.notice_gap),
            tick,
            ..usual
        }
    }
}

/// What a node thinks of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it answers.
    pub presence: Presence,
    /// When it last gave a sign of life.
    pub last_answer: Option<Millis>,
    /// When digests were last compared with it.
    pub last_compared: Option<Millis>,
    /// Until when it is left alone, and for what lie.
    pub penalty: Option<(Millis, String)>,
    /// Where it is best tried, in order of preference.
    pub addresses: Vec<String>,
}

/// Whether a peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nobody has tried yet.
    Untried,
    /// It answered last time.
    Up,
    /// It did not.
    Away {
        /// Since when.
        since: Millis,
        /// Why the last attempt failed.
        reason: String,
        /// When it is tried again at the latest.
        next: Millis,
    },
}
