//! Claims to names: their own envelopes, outside any project.

#![expect(
    clippy::indexing_slicing,
    reason = "the inputs are fixed, and a test compares the outcome"
)]

use super::raw::{Draft, MEMBER, STRANGER, array, bytes, key, text, uint, wrap};
use super::{Case, File, file};

pub(super) fn files() -> Vec<File> {
    let mut files = vec![accepted()];
    files.extend(encoding());
    files.extend(fields());
    files.extend(names());
    files.push(signatures());
    files
}

fn accepted() -> File {
    let most = Draft::claim().with(16, text(b"a-name-of-thirty-two-characters-"));
    let cases = vec![
        Case::accepted("a claim", &Draft::claim()),
        Case::accepted(
            "the first claim, without a time",
            &Draft::claim().with(5, uint(0)).without(8),
        ),
        Case::accepted("the shortest name", &Draft::claim().with(16, text(b"al"))),
        Case::accepted("the longest name", &most),
        Case::accepted("a release", &Draft::claim().with(5, uint(4)).without(16)),
        Case::accepted(
            "a release without a time",
            &Draft::claim().without(8).without(16),
        ),
    ];
    File {
        expect: "accepted",
        about: "Claims that hold. The puddle signs DSSEv1 SP len(type) SP type SP len(body) SP body, of which `id` is the SHA-256.",
        cases,
    }
}

fn encoding() -> Vec<File> {
    let claim = Draft::claim();
    let whole = claim.seal();
    let counter = |raw: &[u8]| Draft::claim().with(5, raw.to_vec()).seal();
    let body = claim.body();
    let mut swapped = claim.clone();
    swapped.fields.swap(0, 1);
    vec![
        file(
            "truncated",
            "The bytes end inside an item.",
            vec![
                ("nothing", vec![]),
                (
                    "the last byte is missing",
                    whole[..whole.len() - 1].to_vec(),
                ),
                (
                    "the body ends inside the name",
                    claim.seal_body(&body[..body.len() - 1]),
                ),
            ],
        ),
        file(
            "trailing-bytes",
            "Bytes follow the last item.",
            vec![
                ("after the claim", [whole.clone(), vec![0]].concat()),
                ("after the body", claim.seal_body(&[body, vec![0]].concat())),
            ],
        ),
        file(
            "not-shortest",
            "A number or a length is not in its shortest form.",
            vec![("the counter", counter(&[0x18, 3]))],
        ),
        file(
            "wrong-item-type",
            "An item of another type stands where this one is expected.",
            vec![
                (
                    "a name in bytes",
                    Draft::claim().with(16, bytes(b"alice")).seal(),
                ),
                (
                    "an empty list as name",
                    Draft::claim().with(16, array(&[])).seal(),
                ),
                ("a counter in words", counter(&text(b"3"))),
                ("the body is an array", claim.seal_body(&array(&[]))),
            ],
        ),
        file(
            "unsupported-item",
            "An item of a type that claims do not have.",
            vec![
                (
                    "a release says null",
                    Draft::claim().with(16, vec![0xf6]).seal(),
                ),
                ("a counter below 0", counter(&[0x20])),
            ],
        ),
        file(
            "not-utf8",
            "A text is not UTF-8.",
            vec![("the name", Draft::claim().with(16, text(b"al\xff")).seal())],
        ),
        file(
            "key-order",
            "The keys of a map are not strictly ascending.",
            vec![("swapped", swapped.seal())],
        ),
        file(
            "item-count",
            "An array has the wrong number of items.",
            vec![(
                "without a signature",
                array(&[text(claim.type_name.as_bytes()), bytes(&claim.body())]),
            )],
        ),
        file(
            "too-large",
            "The body has more than 8 KiB.",
            vec![("8 KiB and one byte", claim.seal_body(&[0; 8 * 1024 + 1]))],
        ),
    ]
}

fn fields() -> Vec<File> {
    let other = |kind: &str| {
        let type_name = format!("application/vnd.gitback.{kind}+cbor");
        Draft::claim().of_type(&type_name).seal()
    };
    vec![
        file(
            "bad-type",
            "The type is not application/vnd.gitback.name-claim.v1+cbor.",
            vec![
                ("another version", other("name-claim.v2")),
                ("a kind of a project's set", other("merge.v1")),
                ("a whole envelope of a project's set", Draft::init().seal()),
            ],
        ),
        file(
            "missing-field",
            "A field that a claim needs is absent.",
            vec![
                ("puddle", Draft::claim().without(2).seal()),
                ("counter", Draft::claim().without(5).seal()),
                ("every field", Draft::claim().seal_body(&[0xa0])),
            ],
        ),
        file(
            "unknown-field",
            "A field that a claim does not have.",
            vec![
                ("a project", Draft::claim().with(0, bytes(&[1; 32])).seal()),
                ("a signer", Draft::claim().with(1, key(MEMBER)).seal()),
                (
                    "a second name",
                    Draft::claim().with(17, text(b"bob")).seal(),
                ),
            ],
        ),
        file(
            "wrong-length",
            "A byte string of fixed length has another length.",
            vec![("puddle", Draft::claim().with(2, bytes(&[1; 31])).seal())],
        ),
    ]
}

fn names() -> Vec<File> {
    let named = |name: &[u8]| Draft::claim().with(16, text(name)).seal();
    let puddle = |key: [u8; 32]| vec![("puddle", Draft::claim().with(2, bytes(&key)).seal())];
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut not_canonical = [0xff; 32];
    not_canonical[0] = 0xf0;
    not_canonical[31] = 0x7f;
    let mut not_a_point = [0; 32];
    not_a_point[0] = 2;
    vec![
        file(
            "key-weak",
            "A key of small order, under which one signature verifies for many messages.",
            puddle(identity),
        ),
        file(
            "key-not-canonical",
            "A key that is not the canonical encoding of its point.",
            puddle(not_canonical),
        ),
        file(
            "key-not-a-point",
            "Bytes that are no point.",
            puddle(not_a_point),
        ),
        file(
            "name-too-short",
            "Fewer than two characters.",
            vec![("no release: empty", named(b"")), ("one", named(b"a"))],
        ),
        file(
            "name-too-long",
            "More than 32 characters.",
            vec![
                ("33", named(b"a-name-of-thirty-three-characters")),
                ("64 hex digits", named(&[b'a'; 64])),
            ],
        ),
        file(
            "name-first-character",
            "Anything but a lowercase letter in front.",
            vec![
                ("a hyphen", named(b"-alice")),
                ("a digit", named(b"4lice")),
                ("a capital", named(b"Alice")),
            ],
        ),
        file(
            "name-character",
            "Anything but lowercase letters, digits and hyphens.",
            vec![
                ("a dot", named(b"al.ice")),
                ("a newline", named(b"alice\n")),
                (
                    "a letter that looks like another",
                    named("\u{61}l\u{456}ce".as_bytes()),
                ),
            ],
        ),
    ]
}

fn signatures() -> File {
    let claim = Draft::claim;
    let type_name = claim().type_name;
    let zero = |length: usize| wrap(type_name.as_bytes(), &claim().body(), &vec![0; length]);
    let signed = claim().seal();
    let signature = &signed[signed.len() - 64..];
    let moved = |draft: Draft| wrap(type_name.as_bytes(), &draft.body(), signature);
    file(
        "bad-signature",
        "The signature is not the puddle's over these bytes.",
        vec![
            ("by another key", claim().signed_by(STRANGER).seal()),
            ("all zero", zero(64)),
            ("63 bytes", zero(63)),
            ("of another counter", moved(claim().with(5, uint(4)))),
            ("of another name", moved(claim().with(16, text(b"bob")))),
            ("of a claim, on a release", moved(claim().without(16))),
            ("for another puddle", moved(claim().with(2, key(STRANGER)))),
        ],
    )
}
