//! Bytes that are not deterministic CBOR.

#![expect(
    clippy::indexing_slicing,
    reason = "the inputs are fixed, and a test compares the outcome"
)]

use super::raw::{Draft, array, bytes, map, text, uint, wrap};
use super::{File, file};

/// The grant with its body's bytes changed after they were written.
fn body_with(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let draft = Draft::grant();
    let mut body = draft.body();
    edit(&mut body);
    draft.seal_body(&body)
}

/// The grant with a raw value for `seq`.
fn seq(raw: &[u8]) -> Vec<u8> {
    Draft::grant().with(5, raw.to_vec()).seal()
}

pub(super) fn files() -> Vec<File> {
    let grant = Draft::grant();
    let whole = grant.seal();
    let cut = |end: usize| whole[..end].to_vec();
    let deep = (0..16).fold(uint(0), |inner, _| array(&[inner]));
    let name = grant.type_name.as_bytes();
    let mut swapped = grant.clone();
    swapped.fields.swap(0, 1);
    let mut twice = grant.clone();
    twice.fields.insert(1, twice.fields[0].clone());
    vec![
        file(
            "truncated",
            "The bytes end inside an item.",
            vec![
                ("nothing", cut(0)),
                ("only the outer head", cut(1)),
                ("the last byte is missing", cut(whole.len() - 1)),
                (
                    "the body ends inside a field",
                    body_with(|body| {
                        body.pop();
                    }),
                ),
                (
                    "the body says it has more fields",
                    body_with(|body| body[0] += 1),
                ),
                (
                    "a length of 2^64 - 1",
                    [&[0x83, 0x7b], &[0xff; 8][..]].concat(),
                ),
            ],
        ),
        file(
            "trailing-bytes",
            "Bytes follow the last item.",
            vec![
                ("after the envelope", [whole.clone(), vec![0]].concat()),
                ("after the body", body_with(|body| body.push(0))),
            ],
        ),
        file(
            "not-shortest",
            "A number or a length is not in its shortest form.",
            vec![
                ("0 in one more byte", seq(&[0x18, 0])),
                ("23 in one more byte", seq(&[0x18, 23])),
                ("255 in two bytes", seq(&[0x19, 0, 255])),
                ("65,535 in four bytes", seq(&[0x1a, 0, 0, 255, 255])),
                (
                    "2^32 - 1 in eight bytes",
                    seq(&[0x1b, 0, 0, 0, 0, 255, 255, 255, 255]),
                ),
                (
                    "the outer array's length",
                    [vec![0x98, 3], whole[1..].to_vec()].concat(),
                ),
            ],
        ),
        file(
            "wrong-item-type",
            "An item of another type stands where this one is expected.",
            vec![
                (
                    "the envelope is a map",
                    [vec![0xa3], whole[1..].to_vec()].concat(),
                ),
                ("seq is a byte string", seq(&bytes(&[0]))),
                ("seq is text", seq(&text(b"0"))),
                ("the body is an array", grant.seal_body(&array(&[]))),
                (
                    "a key of the body is text",
                    body_with(|body| body[1] = 0x60),
                ),
            ],
        ),
        file(
            "unsupported-item",
            "An item of a type that envelopes do not have.",
            vec![
                ("a negative number", seq(&[0x20])),
                ("a tag", seq(&[0xc1, 0])),
                ("null", seq(&[0xf6])),
                ("a float", seq(&[0xf9, 0, 0])),
                ("a reserved length", seq(&[0x1c])),
                (
                    "an array of indefinite length",
                    [vec![0x9f], whole[1..].to_vec(), vec![0xff]].concat(),
                ),
                (
                    "null in a kind that nobody knows",
                    Draft::unknown("x.v1").with(16, vec![0xf6]).seal(),
                ),
            ],
        ),
        file(
            "not-utf8",
            "A text is not UTF-8.",
            vec![
                (
                    "the type",
                    wrap(b"application/\xff", &grant.body(), &[0; 64]),
                ),
                (
                    "the handle",
                    Draft::init().with(16, text(b"\xc0\x80")).seal(),
                ),
            ],
        ),
        file(
            "key-order",
            "The keys of a map are not strictly ascending.",
            vec![
                ("swapped", swapped.seal()),
                ("one key twice", twice.seal()),
                (
                    "in a map inside a kind that nobody knows",
                    Draft::unknown("x.v1")
                        .with(16, map(&[(1, uint(0)), (0, uint(0))]))
                        .seal(),
                ),
            ],
        ),
        file(
            "too-deep",
            "Items are nested more than sixteen deep.",
            vec![("seventeen", Draft::unknown("x.v1").with(16, deep).seal())],
        ),
        file(
            "item-count",
            "An array has the wrong number of items.",
            vec![
                (
                    "an envelope of two",
                    array(&[text(name), bytes(&grant.body())]),
                ),
                (
                    "an envelope of four",
                    [vec![0x84], whole[1..].to_vec(), vec![0]].concat(),
                ),
                (
                    "a change of three",
                    Draft::update()
                        .with(
                            16,
                            array(&[array(&[
                                bytes(b"refs/heads/a"),
                                bytes(&[1; 20]),
                                array(&[]),
                            ])]),
                        )
                        .seal(),
                ),
                (
                    "a pack of one",
                    Draft::update().with(18, array(&[bytes(&[1; 32])])).seal(),
                ),
            ],
        ),
    ]
}
