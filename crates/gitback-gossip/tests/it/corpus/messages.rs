//! Messages, as one envoy sends them to another: postcard, written by hand.

use super::{Case, File, case, public};

const TOPIC: &[u8; 32] = b"gitback fleet gossip, version 1.";
const NEWS: &[u8] = b"news";
/// A key with data: none, none but said so, and some.
const NO_DATA: &[u8] = &[0];
const EMPTY_DATA: &[u8] = &[1, 0];
const SOME_DATA: &[u8] = &[1, 2, 0xaa, 0xbb];

pub(super) fn files() -> Vec<File> {
    vec![
        file("accepted", "One message of each kind.", accepted()),
        file(
            "too-large",
            "More than 4096 bytes.",
            vec![case("4097 bytes", vec![0; 4097])],
        ),
        file("malformed", "Not a message.", malformed()),
        file(
            "trailing-bytes",
            "Bytes follow the message.",
            vec![case("after a prune", [prune(), vec![0]].concat())],
        ),
        file(
            "wrong-topic",
            "About another topic.",
            vec![case("all zero", [vec![0; 32], vec![1, 1]].concat())],
        ),
        file(
            "data-with-key",
            "Data with a key, which no envoy sends.",
            vec![
                case("join", swarm(0, &[SOME_DATA])),
                case("forward-join", swarm(1, &[&public(2), SOME_DATA, &[6]])),
                case("shuffle-reply", swarm(3, &[&[1], &public(2), SOME_DATA])),
                case("neighbor", swarm(4, &[&[0], SOME_DATA])),
            ],
        ),
        file("too-many-hops", "More hops than any message makes.", hops()),
        file(
            "too-many-nodes",
            "More than 16 envoys in one message.",
            vec![case("a reply of 17", swarm(3, &[&[17], &nodes(17)]))],
        ),
        file(
            "content-too-large",
            "More than 1024 bytes of content.",
            vec![case("1025 bytes", content(&[7; 1025], &[0, 0]))],
        ),
        file(
            "neighbours-only",
            "Content that is not for the whole fleet.",
            vec![case("its scope is 1", content(NEWS, &[1]))],
        ),
        file(
            "wrong-content-id",
            "The id is not the BLAKE3 of the content.",
            vec![case("the id of nothing", {
                let id = *blake3::hash(b"").as_bytes();
                spread(0, &[&id, &varint(NEWS.len()), NEWS, &[0, 0]])
            })],
        ),
    ]
}

fn accepted() -> Vec<Case> {
    let id = *blake3::hash(NEWS).as_bytes();
    let mut news = case("content, from who began it", content(NEWS, &[0, 0]));
    news.facts = vec![("content", "\"6e657773\"".to_owned())];
    let mut far = case("content, after 300 hops", content(b"far", &[0, 0xac, 0x02]));
    far.facts = vec![("content", "\"666172\"".to_owned())];
    let mut most = case(
        "as much content as there may be",
        content(&[7; 1024], &[0, 0]),
    );
    most.facts = vec![("content", format!("\"{}\"", "07".repeat(1024)))];
    vec![
        case("join", swarm(0, &[EMPTY_DATA])),
        case("join without data", swarm(0, &[NO_DATA])),
        case("forward-join", swarm(1, &[&public(2), EMPTY_DATA, &[6]])),
        case(
            "shuffle of two",
            swarm(2, &[&public(2), &[2], &nodes(2), &[6]]),
        ),
        case("shuffle-reply of sixteen", swarm(3, &[&[16], &nodes(16)])),
        case("neighbor, high priority", swarm(4, &[&[0], EMPTY_DATA])),
        case("neighbor, low priority", swarm(4, &[&[1], NO_DATA])),
        case("disconnect, and alive", swarm(5, &[&[1, 0]])),
        news,
        far,
        most,
        case("prune", prune()),
        case("graft for a content", spread(2, &[&[1], &id, &[0]])),
        case("graft for none", spread(2, &[&[0], &[3]])),
        case(
            "ihave of two",
            spread(3, &[&[2], &id, &[0], &[9; 32], &[0x80, 0x08]]),
        ),
    ]
}

fn malformed() -> Vec<Case> {
    vec![
        case("nothing at all", Vec::new()),
        case("the topic alone", TOPIC.to_vec()),
        case("a layer that is none", [TOPIC.as_slice(), &[2]].concat()),
        case("a kind that is none", swarm(6, &[])),
        case("a truth that is neither", swarm(5, &[&[2, 0]])),
        case(
            "a list longer than the message",
            spread(3, &[&[0xff, 0x7f]]),
        ),
        case(
            "a number that does not fit",
            spread(2, &[&[0], &[0xff, 0xff, 0xff, 0x7f]]),
        ),
    ]
}

fn hops() -> Vec<Case> {
    let id = *blake3::hash(NEWS).as_bytes();
    let far: &[u8] = &[0x81, 0x08];
    vec![
        case("a walk of 7", swarm(1, &[&public(2), NO_DATA, &[7]])),
        case("a shuffle of 7", swarm(2, &[&public(2), &[0], &[7]])),
        case("content after 1025", content(NEWS, &[&[0], far].concat())),
        case("graft at 1025", spread(2, &[&[0], far])),
        case("ihave at 1025", spread(3, &[&[1], &id, far])),
    ]
}

fn file(expect: &'static str, about: &'static str, cases: Vec<Case>) -> File {
    File {
        what: "message",
        expect,
        about,
        cases,
    }
}

fn swarm(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [TOPIC.as_slice(), &[0, kind], &parts.concat()].concat()
}

fn spread(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [TOPIC.as_slice(), &[1, kind], &parts.concat()].concat()
}

fn prune() -> Vec<u8> {
    spread(1, &[])
}

fn content(content: &[u8], scope: &[u8]) -> Vec<u8> {
    let id = *blake3::hash(content).as_bytes();
    spread(0, &[&id, &varint(content.len()), content, scope])
}

fn nodes(count: u8) -> Vec<u8> {
    let nodes = (0..count).map(|index| [public(index + 2).as_slice(), NO_DATA].concat());
    nodes.collect::<Vec<_>>().concat()
}

fn varint(number: usize) -> Vec<u8> {
    let mut rest = number;
    let mut written = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        if rest == 0 {
            written.push(low);
            return written;
        }
        written.push(low | 0x80);
    }
}
