//! What an envelope says, in words: its fields by name, read from its bytes without the crate that is tested.

use std::fmt::Write as _;

use gitback_identity::hex;
use sha2::{Digest as _, Sha256};

use super::raw::Draft;

/// How a field is written down.
#[derive(Clone, Copy)]
enum Shape {
    Number,
    Bytes,
    Text,
    /// A number that stands for one of these words.
    Word(&'static [&'static str]),
    /// The name of a ref.
    Ref,
    /// A list of byte strings.
    List,
    /// A list of names of refs.
    Refs,
    Changes,
    Pack,
}

/// The name and the shape of a field, docs/spec/envelope.md §4, §5 and §7; none in a kind that nobody knows.
fn field(kind: &str, number: u64) -> Option<(&'static str, Shape)> {
    use Shape::{Bytes, Changes, List, Number, Pack, Ref, Refs, Text, Word};
    Some(match (kind, number) {
        ("name-claim.v1", 5) => ("counter", Number),
        ("name-claim.v1", 16) => ("name", Text),
        (_, 0) => ("project", Bytes),
        (_, 1) => ("signer", Bytes),
        (_, 2) => ("puddle", Bytes),
        (_, 3) => ("envoy", Bytes),
        (_, 4) => ("incarnation", Bytes),
        (_, 5) => ("seq", Number),
        (_, 6) => ("prev", Bytes),
        (_, 7) => ("deps", List),
        (_, 8) => ("time_ms", Number),
        ("init.v1", 16) => ("handle", Text),
        ("policy.v1", 16) => ("scope", Word(&["members-only", "swarm-wide"])),
        ("policy.v1", 17) => ("protected", Refs),
        ("policy.v1", 18) => ("replicas", Number),
        ("invite.v1", 16) => ("invited", Bytes),
        ("invite.v1", 17) => ("role", Word(&["member", "reader"])),
        ("join.v1" | "leave.v1" | "rejoin.v1" | "revoke.v1", 16) => ("invite", Bytes),
        ("grant.v1" | "ungrant.v1", 16) => ("granted_envoy", Bytes),
        ("grant.v1", 17) => ("uid", Number),
        ("grant.v1", 18) => ("expires_ms", Number),
        ("delegate.v1", 16) => ("hop", Number),
        ("delegate.v1", 17) => ("heir", Bytes),
        ("delegate.v1", 18) => ("next", Bytes),
        ("delegate.v1", 20) => ("accept", Bytes),
        ("tombstone.v1", 16) => ("successor_founder", Bytes),
        ("tombstone.v1", 17) => ("successor_handle", Text),
        ("revoke.v1" | "ungrant.v1", 17) | ("delegate.v1", 19) | ("tombstone.v1", 18) => {
            ("cut", List)
        }
        ("update.v1", 16) => ("changes", Changes),
        ("update.v1", 17) => ("head", Ref),
        ("update.v1", 18) => ("pack", Pack),
        _ => return None,
    })
}

/// The fields of `draft`, as the lines of a TOML table.
pub(super) fn lines(draft: &Draft) -> String {
    let mut lines = String::new();
    for (number, value) in &draft.fields {
        let Some((name, shape)) = field(draft.kind(), *number) else {
            continue;
        };
        let (item, rest) = Item::read(value);
        assert!(rest.is_empty(), "{name} is one item");
        let _ = writeln!(lines, "{name} = {}", item.in_words(shape));
    }
    if draft.kind() == "tombstone.v1" {
        let _ = writeln!(lines, "successor = \"{}\"", successor(draft));
    }
    lines
}

/// The id of the project that takes the place.
fn successor(tombstone: &Draft) -> String {
    let field = |number: u64| {
        let found = tombstone.fields.iter().find(|(other, _)| *other == number);
        Item::read(&found.expect("a tombstone has it").1).0.bytes()
    };
    hex::encode(&Sha256::digest([field(16), field(17)].concat()))
}

/// One item of CBOR, of those that have a shape.
enum Item {
    Number(u64),
    /// A byte string or a text.
    Bytes(Vec<u8>),
    Array(Vec<Self>),
}

impl Item {
    /// The first item, and what follows it.
    fn read(bytes: &[u8]) -> (Self, &[u8]) {
        let (first, rest) = bytes.split_first().expect("an item");
        let wide = match first & 0x1f {
            0..24 => 0,
            wide => 1 << (wide - 24),
        };
        let (argument, mut rest) = rest.split_at(wide);
        let argument = argument
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let argument = if wide == 0 {
            u64::from(first & 0x1f)
        } else {
            argument
        };
        let item = match first >> 5 {
            0 => Self::Number(argument),
            2 | 3 => {
                let length = usize::try_from(argument).expect("a short string");
                let (taken, left) = rest.split_at(length);
                rest = left;
                Self::Bytes(taken.to_vec())
            }
            4 => Self::Array(
                (0..argument)
                    .map(|_| {
                        let (item, left) = Self::read(rest);
                        rest = left;
                        item
                    })
                    .collect(),
            ),
            _ => panic!("no field has such an item"),
        };
        (item, rest)
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) | Self::Array(_) => panic!("a string is wanted"),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) | Self::Array(_) => panic!("a number is wanted"),
        }
    }

    fn array(self) -> Vec<Self> {
        match self {
            Self::Array(items) => items,
            Self::Bytes(_) | Self::Number(_) => panic!("an array is wanted"),
        }
    }

    /// The value in TOML.
    fn in_words(self, shape: Shape) -> String {
        match shape {
            Shape::Number => self.number().to_string(),
            Shape::Bytes => format!("\"{}\"", hex::encode(&self.bytes())),
            Shape::Text | Shape::Ref => {
                format!("\"{}\"", String::from_utf8(self.bytes()).expect("UTF-8"))
            }
            Shape::Word(words) => {
                let at = usize::try_from(self.number()).expect("a small number");
                format!("\"{}\"", words.get(at).expect("a known word"))
            }
            Shape::List => self.list(Shape::Bytes),
            Shape::Refs => self.list(Shape::Ref),
            Shape::Changes => {
                let changes = self.array().into_iter();
                let lines: Vec<_> = changes
                    .map(|change| format!("  {},\n", change.change()))
                    .collect();
                format!("[\n{}]", lines.concat())
            }
            Shape::Pack => {
                let [blake3, bytes] = self.items();
                let (blake3, bytes) = (blake3.in_words(Shape::Bytes), bytes.number());
                format!("{{ blake3 = {blake3}, bytes = {bytes} }}")
            }
        }
    }

    fn list(self, shape: Shape) -> String {
        let items = self.array().into_iter();
        let words: Vec<_> = items.map(|item| item.in_words(shape)).collect();
        format!("[{}]", words.join(", "))
    }

    /// What an update does to one ref. A name that is not UTF-8 is in hex.
    fn change(self) -> String {
        let [name, new, contained, forced] = self.items();
        let name = name.bytes();
        let name = match str::from_utf8(&name) {
            Ok(text) => format!("ref = \"{text}\""),
            Err(_) => format!("ref_hex = \"{}\"", hex::encode(&name)),
        };
        let new = new.in_words(Shape::Bytes);
        let contained = contained.in_words(Shape::List);
        let forced = forced.in_words(Shape::List);
        format!("{{ {name}, new = {new}, contained = {contained}, forced = {forced} }}")
    }

    fn items<const N: usize>(self) -> [Self; N] {
        let items = self.array().try_into();
        items.unwrap_or_else(|_| panic!("an array of {N} is wanted"))
    }
}
