//! Single fields that are wrong.

use super::raw::{Draft, array, bytes, change, id, item, uint};
use super::{File, file};

pub(super) fn files() -> Vec<File> {
    let grant = Draft::grant;
    let update = Draft::update;
    let claim = |many: u64| item(4, many);
    let name = b"refs/heads/main";
    vec![
        file(
            "bad-type",
            "The type is not application/vnd.gitback.<kind>.v<number>+cbor.",
            vec![
                ("empty", grant().of_type("").seal()),
                (
                    "another family",
                    grant()
                        .of_type("application/vnd.example.grant.v1+cbor")
                        .seal(),
                ),
                (
                    "another suffix",
                    grant()
                        .of_type("application/vnd.gitback.grant.v1+json")
                        .seal(),
                ),
                (
                    "no version",
                    grant().of_type("application/vnd.gitback.grant+cbor").seal(),
                ),
                (
                    "version 0",
                    grant()
                        .of_type("application/vnd.gitback.grant.v0+cbor")
                        .seal(),
                ),
                (
                    "a version of five digits",
                    grant()
                        .of_type("application/vnd.gitback.grant.v10000+cbor")
                        .seal(),
                ),
                (
                    "a capital letter",
                    grant()
                        .of_type("application/vnd.gitback.Grant.v1+cbor")
                        .seal(),
                ),
                (
                    "a kind of 33 letters",
                    grant()
                        .of_type(
                            "application/vnd.gitback.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.v1+cbor",
                        )
                        .seal(),
                ),
            ],
        ),
        file(
            "too-large",
            "The body has more bytes than its kind may have.",
            vec![
                (
                    "a grant of 9 KiB",
                    grant().with(99, bytes(&[0; 9 * 1024])).seal(),
                ),
                (
                    "a grant of 8 KiB and one byte",
                    grant().seal_body(&[0; 8 * 1024 + 1]),
                ),
            ],
        ),
        file(
            "missing-field",
            "A field that the kind needs is absent.",
            vec![
                ("project", grant().without(0).seal()),
                ("signer", grant().without(1).seal()),
                ("puddle", grant().without(2).seal()),
                ("envoy", grant().without(3).seal()),
                ("incarnation", grant().without(4).seal()),
                ("seq", grant().without(5).seal()),
                ("the handle of init", Draft::init().without(16).seal()),
                ("the granted envoy", grant().without(16).seal()),
                ("the user of a grant", grant().without(17).seal()),
                ("the changes of an update", update().without(16).seal()),
                ("every field", grant().seal_body(&[0xa0])),
            ],
        ),
        file(
            "unknown-field",
            "A field that the kind does not have.",
            vec![
                ("in the header's range", grant().with(9, uint(0)).seal()),
                ("in a grant", grant().with(19, uint(0)).seal()),
                ("in an update", update().with(19, uint(0)).seal()),
                ("in init", Draft::init().with(17, uint(0)).seal()),
            ],
        ),
        file(
            "wrong-length",
            "A byte string of fixed length has another length.",
            vec![
                ("project", grant().with(0, bytes(&[1; 31])).seal()),
                ("signer", grant().with(1, bytes(&[1; 33])).seal()),
                ("incarnation", grant().with(4, bytes(&[1; 15])).seal()),
                ("prev", grant().with(6, bytes(&[])).seal()),
                ("a dep", grant().with(7, array(&[bytes(&[1; 20])])).seal()),
                (
                    "a SHA-256 object",
                    update()
                        .with(
                            16,
                            array(&[array(&[
                                bytes(name),
                                bytes(&[1; 32]),
                                array(&[]),
                                array(&[]),
                            ])]),
                        )
                        .seal(),
                ),
                (
                    "the pack's hash",
                    update().with(18, array(&[bytes(&[1; 20]), uint(1)])).seal(),
                ),
            ],
        ),
        file(
            "out-of-range",
            "A number is outside its range.",
            vec![("a user of 2^32", grant().with(17, uint(1 << 32)).seal())],
        ),
        file(
            "list-order",
            "A list is not strictly ascending.",
            vec![
                (
                    "deps descend",
                    grant().with(7, array(&[id(2), id(1)])).seal(),
                ),
                (
                    "a dep twice",
                    grant().with(7, array(&[id(1), id(1)])).seal(),
                ),
                (
                    "changes descend",
                    update()
                        .with(
                            16,
                            array(&[
                                change(b"refs/heads/b", 1, &[], &[]),
                                change(b"refs/heads/a", 1, &[], &[]),
                            ]),
                        )
                        .seal(),
                ),
                (
                    "a ref twice",
                    update()
                        .with(
                            16,
                            array(&[change(name, 1, &[], &[]), change(name, 2, &[], &[])]),
                        )
                        .seal(),
                ),
                (
                    "contained twice",
                    update()
                        .with(16, array(&[change(name, 1, &[id(1), id(1)], &[])]))
                        .seal(),
                ),
                (
                    "forced descend",
                    update()
                        .with(16, array(&[change(name, 1, &[], &[id(2), id(1)])]))
                        .seal(),
                ),
            ],
        ),
        file(
            "too-many",
            "A list says that it has more items than allowed, which is seen before any is read.",
            vec![
                ("65 deps", grant().with(7, claim(65)).seal()),
                ("8,193 changes", update().with(16, claim(8193)).seal()),
                ("2^63 changes", update().with(16, claim(1 << 63)).seal()),
                (
                    "1,025 contained",
                    update()
                        .with(
                            16,
                            [
                                claim(1),
                                claim(4),
                                bytes(name),
                                bytes(&[1; 20]),
                                claim(1025),
                            ]
                            .concat(),
                        )
                        .seal(),
                ),
            ],
        ),
        file(
            "empty-list",
            "A list that must be absent or filled is empty.",
            vec![
                ("deps", grant().with(7, array(&[])).seal()),
                ("changes", update().with(16, array(&[])).seal()),
            ],
        ),
    ]
}
