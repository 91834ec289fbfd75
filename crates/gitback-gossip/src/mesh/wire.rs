//! The messages of iroh-gossip's core as they travel, read by our own types so that they can be judged.
//!
//! The core's own types hide their fields, and take any hop count, list and key that a peer writes. What comes in is
//! decoded here, bounded, freed of keys that are nobody's, and only then given to the core.
//!
//! Source: docs/spec/gossip.md §3; iroh-gossip 0.101 `proto`, encoded with postcard 1.

use serde::{Deserialize, Serialize};

use super::MessageReject;

/// The one topic of a fleet.
pub(super) const TOPIC: [u8; 32] = *b"gitback fleet gossip, version 1.";

/// The most bytes in a message.
pub const MESSAGE_MAX: usize = 4096;

/// The most bytes in what one message spreads.
pub const CONTENT_MAX: usize = 1024;

/// How far the core lets a walk go; nobody may ask for more.
pub(super) const WALK_MAX: u16 = 6;

/// The most keys in one exchange of acquaintances: our own are at most eight.
const NODES_MAX: usize = 16;

/// The most hops that content may have made. In a tree over 4096 envoys it makes about a dozen.
const HOPS_MAX: u16 = 1024;

/// A key as it travels: its 32 bytes, not yet known to be anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Peer(pub(super) [u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    pub(super) topic: [u8; 32],
    pub(super) message: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    Swarm(Swarm),
    Spread(Spread),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Swarm {
    Join(Option<Data>),
    ForwardJoin {
        peer: Node,
        ttl: u16,
    },
    Shuffle {
        origin: Peer,
        nodes: Vec<Node>,
        ttl: u16,
    },
    ShuffleReply {
        nodes: Vec<Node>,
    },
    Neighbor {
        priority: Priority,
        data: Option<Data>,
    },
    Disconnect {
        alive: bool,
        respond: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Spread {
    Content {
        id: [u8; 32],
        content: Vec<u8>,
        scope: Scope,
    },
    Prune,
    Graft {
        id: Option<[u8; 32]>,
        round: u16,
    },
    IHave(Vec<Announced>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) id: Peer,
    pub(super) data: Option<Data>,
}

/// What the core would carry for its user with a key. We give it nothing, and take nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Data(pub(super) Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Priority {
    High,
    Low,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scope {
    Swarm(u16),
    Neighbors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announced {
    pub(super) id: [u8; 32],
    pub(super) round: u16,
}

impl Frame {
    pub(super) const fn swarm(swarm: Swarm) -> Self {
        Self {
            topic: TOPIC,
            message: Body::Swarm(swarm),
        }
    }

    /// Decodes one message and judges all that can be judged without knowing who is who.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MessageReject> {
        if bytes.len() > MESSAGE_MAX {
            return Err(MessageReject::TooLarge);
        }
        let (frame, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(|_| MessageReject::Malformed)?;
        if !rest.is_empty() {
            return Err(MessageReject::Trailing);
        }
        if frame.topic != TOPIC {
            return Err(MessageReject::Topic);
        }
        match &frame.message {
            Body::Swarm(swarm) => swarm.judge()?,
            Body::Spread(spread) => spread.judge()?,
        }
        Ok(frame)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a message is only numbers, bytes and lists")
    }
}

impl Swarm {
    fn judge(&self) -> Result<(), MessageReject> {
        match self {
            Self::Join(data) | Self::Neighbor { data, .. } => bare(data.as_ref()),
            Self::ForwardJoin { peer, ttl } => {
                bare(peer.data.as_ref())?;
                walk(*ttl)
            }
            Self::Shuffle { nodes, ttl, .. } => {
                acquaintances(nodes)?;
                walk(*ttl)
            }
            Self::ShuffleReply { nodes } => acquaintances(nodes),
            Self::Disconnect { .. } => Ok(()),
        }
    }
}

impl Spread {
    fn judge(&self) -> Result<(), MessageReject> {
        match self {
            Self::Content { id, content, scope } => {
                if content.len() > CONTENT_MAX {
                    return Err(MessageReject::ContentTooLarge);
                }
                match scope {
                    Scope::Neighbors => return Err(MessageReject::Scope),
                    Scope::Swarm(round) => hops(*round)?,
                }
                if blake3::hash(content).as_bytes() != id {
                    return Err(MessageReject::WrongId);
                }
                Ok(())
            }
            Self::Prune => Ok(()),
            Self::Graft { round, .. } => hops(*round),
            // Their number is bounded by the bytes of a message.
            Self::IHave(announced) => announced.iter().try_for_each(|one| hops(one.round)),
        }
    }
}

fn bare(data: Option<&Data>) -> Result<(), MessageReject> {
    if data.is_none_or(|data| data.0.is_empty()) {
        Ok(())
    } else {
        Err(MessageReject::Data)
    }
}

const fn walk(ttl: u16) -> Result<(), MessageReject> {
    if ttl <= WALK_MAX {
        Ok(())
    } else {
        Err(MessageReject::TooFar)
    }
}

const fn hops(round: u16) -> Result<(), MessageReject> {
    if round <= HOPS_MAX {
        Ok(())
    } else {
        Err(MessageReject::TooFar)
    }
}

fn acquaintances(nodes: &[Node]) -> Result<(), MessageReject> {
    if nodes.len() > NODES_MAX {
        return Err(MessageReject::TooManyNodes);
    }
    nodes.iter().try_for_each(|node| bare(node.data.as_ref()))
}

/// What a message that we are about to send asks of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// To become a neighbour.
    Neighbour,
    /// Nothing that we wait for.
    Nothing,
}

impl Asks {
    /// Looks at the two tags after the topic, each one byte, without decoding the rest.
    pub(super) fn of(encoded: &[u8]) -> Self {
        match encoded.get(TOPIC.len()..TOPIC.len() + 2) {
            // `Swarm::Join` and `Swarm::Neighbor`.
            Some([0, 0 | 4]) => Self::Neighbour,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The core must read what we write, and we what it writes: else they are not the same types.
    #[test]
    fn our_types_are_those_of_the_core() {
        let node = Node {
            id: Peer([1; 32]),
            data: Some(Data::default()),
        };
        let content = b"news".to_vec();
        let bodies = [
            Body::Swarm(Swarm::Join(None)),
            Body::Swarm(Swarm::ForwardJoin {
                peer: node.clone(),
                ttl: 6,
            }),
            Body::Swarm(Swarm::Shuffle {
                origin: Peer([2; 32]),
                nodes: vec![node.clone()],
                ttl: 3,
            }),
            Body::Swarm(Swarm::ShuffleReply { nodes: vec![node] }),
            Body::Swarm(Swarm::Neighbor {
                priority: Priority::Low,
                data: Some(Data::default()),
            }),
            Body::Swarm(Swarm::Disconnect {
                alive: true,
                respond: false,
            }),
            Body::Spread(Spread::Content {
                id: *blake3::hash(&content).as_bytes(),
                content,
                scope: Scope::Swarm(300),
            }),
            Body::Spread(Spread::Prune),
            Body::Spread(Spread::Graft {
                id: Some([3; 32]),
                round: 2,
            }),
            Body::Spread(Spread::IHave(vec![Announced {
                id: [4; 32],
                round: 1,
            }])),
        ];
        for message in bodies {
            let frame = Frame {
                topic: TOPIC,
                message,
            };
            let bytes = frame.encode();
            let core: iroh_gossip::proto::Message<Peer> =
                postcard::from_bytes(&bytes).expect("the core reads it");
            let again = postcard::to_stdvec(&core).expect("encodes");
            assert_eq!(again, bytes, "{frame:?}");
            assert_eq!(Frame::decode(&again), Ok(frame));
        }
    }

    #[test]
    fn tells_what_a_message_asks() {
        let join = Frame::swarm(Swarm::Join(None)).encode();
        let neighbour = Frame::swarm(Swarm::Neighbor {
            priority: Priority::High,
            data: None,
        });
        let bye = Frame::swarm(Swarm::Disconnect {
            alive: true,
            respond: false,
        });
        assert_eq!(Asks::of(&join), Asks::Neighbour);
        assert_eq!(Asks::of(&neighbour.encode()), Asks::Neighbour);
        assert_eq!(Asks::of(&bye.encode()), Asks::Nothing);
        assert_eq!(Asks::of(&[]), Asks::Nothing);
    }
}
