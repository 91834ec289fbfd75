//! What envoys of a simulated world send each other: the calls of the real surface, without their bytes.

use std::sync::Arc;

use gitback_envelope::{EnvelopeId, Oid, Tip, Verified};
use gitback_identity::{EnvoyKey, ProjectId};

use super::history::Bits;

/// One envelope on its way.
#[derive(Debug, Clone)]
pub(super) enum Letter {
    /// Exactly the bytes that were verified in this process before: not verified again.
    Sealed(Verified),
    /// Bytes that somebody made or altered. Whoever gets them decodes and verifies them.
    Raw(Arc<[u8]>),
}

impl Letter {
    fn bytes(&self) -> usize {
        match self {
            Self::Sealed(envelope) => envelope.bytes().len(),
            Self::Raw(bytes) => bytes.len(),
        }
    }
}

/// What one envoy asks of another.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Gossip(Arc<[u8]>),
    Digests(Vec<(ProjectId, [u8; 32])>),
    Sync {
        project: ProjectId,
        tips: Vec<Tip>,
        skip: usize,
    },
    Push {
        project: ProjectId,
        envelopes: Vec<Letter>,
        pack: Option<Bits>,
        forward: Vec<EnvoyKey>,
        origin: Option<EnvoyKey>,
    },
    Fetch {
        project: ProjectId,
        wants: Vec<Oid>,
        haves: Vec<Oid>,
    },
    Fresh {
        project: ProjectId,
        refs: Vec<Vec<u8>>,
    },
    Reconcile {
        project: ProjectId,
        frame: Vec<u8>,
    },
    Envelopes {
        project: ProjectId,
        ids: Vec<EnvelopeId>,
    },
    Held {
        project: ProjectId,
        ids: Vec<EnvelopeId>,
    },
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Done,
    Digests(Vec<(ProjectId, [u8; 32])>),
    Page {
        envelopes: Vec<Letter>,
        more: bool,
        digest: [u8; 32],
        tips: Vec<Tip>,
    },
    Durable,
    Need {
        tips: Vec<Tip>,
        haves: Vec<Oid>,
    },
    Pack(Bits),
    Fresh {
        digest: [u8; 32],
        wait: bool,
    },
    Frame(Vec<u8>),
    Envelopes(Vec<Letter>),
    Refused(Refused),
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// What was sent breaks a rule.
    Bad(&'static str),
    /// The caller has no part in the project.
    Forbidden,
    UnknownProject,
    /// No room.
    Disk,
    /// The asked could not store it.
    Internal,
}

/// What a request or an answer costs beside its content: frame, headers, and what a record of TLS adds.
const OVERHEAD: usize = 120;

impl Request {
    /// About how many bytes cross the wire.
    pub(super) fn bytes(&self, packs: impl Fn(&Bits) -> u64) -> u64 {
        let content = match self {
            Self::Gossip(message) => message.len(),
            Self::Digests(list) => 32 + list.len() * 64,
            Self::Sync { tips, .. } => 64 + tips.len() * 130,
            Self::Push {
                envelopes,
                pack,
                forward,
                ..
            } => {
                let pack = pack.as_ref().map_or(0, packs);
                letters(envelopes) + forward.len() * 67 + usize::try_from(pack).unwrap_or(0)
            }
            Self::Fetch { wants, haves, .. } => (wants.len() + haves.len()) * 50,
            Self::Fresh { refs, .. } => 132 + refs.len() * 40,
            Self::Reconcile { frame, .. } => frame.len(),
            Self::Envelopes { ids, .. } | Self::Held { ids, .. } => ids.len() * 67,
        };
        (content + OVERHEAD) as u64
    }

    /// A number for its kind, for the trace.
    pub(super) fn kind(&self) -> u64 {
        match self {
            Self::Gossip(_) => 1,
            Self::Digests(_) => 2,
            Self::Sync { .. } => 3,
            Self::Push { .. } => 4,
            Self::Fetch { .. } => 5,
            Self::Fresh { .. } => 6,
            Self::Reconcile { .. } => 7,
            Self::Envelopes { .. } => 8,
            Self::Held { .. } => 9,
        }
    }
}

impl Answer {
    /// About how many bytes cross the wire.
    pub(super) fn bytes(&self, packs: impl Fn(&Bits) -> u64) -> u64 {
        let content = match self {
            Self::Done | Self::Durable => 0,
            Self::Digests(list) => 32 + list.len() * 64,
            Self::Page {
                envelopes, tips, ..
            } => letters(envelopes) + tips.len() * 130,
            Self::Need { tips, haves } => tips.len() * 130 + haves.len() * 20,
            Self::Pack(objects) => usize::try_from(packs(objects)).unwrap_or(0),
            Self::Fresh { .. } => 80,
            Self::Frame(frame) => frame.len(),
            Self::Envelopes(envelopes) => letters(envelopes),
            Self::Refused(_) => 80,
        };
        (content + OVERHEAD) as u64
    }

    /// A number for its kind, for the trace.
    pub(super) fn kind(&self) -> u64 {
        match self {
            Self::Done => 21,
            Self::Digests(_) => 22,
            Self::Page { .. } => 23,
            Self::Durable => 24,
            Self::Need { .. } => 25,
            Self::Pack(_) => 26,
            Self::Fresh { .. } => 27,
            Self::Frame(_) => 28,
            Self::Envelopes(_) => 29,
            Self::Refused(_) => 30,
        }
    }
}

fn letters(envelopes: &[Letter]) -> usize {
    envelopes.iter().map(|letter| letter.bytes() + 4).sum()
}
