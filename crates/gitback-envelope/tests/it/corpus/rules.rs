//! Fields that may not stand together, and signatures.

#![expect(
    clippy::indexing_slicing,
    reason = "the inputs are fixed, and a test compares the outcome"
)]

use super::raw::{Draft, ENVOY, STRANGER, array, bytes, id, public, text, uint, wrap};
use super::{File, file};

pub(super) fn files() -> Vec<File> {
    let init = Draft::init;
    let grant = Draft::grant;
    let update = Draft::update;
    let stranger = || bytes(public(STRANGER).as_bytes());
    vec![
        file(
            "init-not-bare",
            "init carries something besides its founder and handle.",
            vec![
                (
                    "an envoy",
                    init().with(3, bytes(public(ENVOY).as_bytes())).seal(),
                ),
                ("an incarnation", init().with(4, bytes(&[1; 16])).seal()),
                ("a number", init().with(5, uint(1)).seal()),
                ("a prev", init().with(6, id(1)).seal()),
                ("deps", init().with(7, array(&[id(1)])).seal()),
                ("a time", init().with(8, uint(0)).seal()),
            ],
        ),
        file(
            "project-mismatch",
            "The project of init does not follow from its founder and handle.",
            vec![
                ("another handle", init().with(16, text(b"other")).seal()),
                ("another project", init().with(0, id(9)).seal()),
                (
                    "another founder",
                    init()
                        .with(1, stranger())
                        .with(2, stranger())
                        .signed_by(STRANGER)
                        .seal(),
                ),
            ],
        ),
        file(
            "wrong-signer",
            "The signer may not sign this kind.",
            vec![
                (
                    "init for somebody else",
                    init().with(1, stranger()).signed_by(STRANGER).seal(),
                ),
                (
                    "a grant signed by the envoy",
                    grant()
                        .with(1, bytes(public(ENVOY).as_bytes()))
                        .signed_by(ENVOY)
                        .seal(),
                ),
                (
                    "an update signed by neither",
                    update().with(1, stranger()).signed_by(STRANGER).seal(),
                ),
            ],
        ),
        file(
            "no-envoy",
            "The envoy is zero outside init.",
            vec![
                ("a grant", grant().with(3, id(0)).seal()),
                ("an update", update().with(3, id(0)).seal()),
            ],
        ),
        file(
            "no-incarnation",
            "The incarnation is zero outside init.",
            vec![("a grant", grant().with(4, bytes(&[0; 16])).seal())],
        ),
        file(
            "prev-mismatch",
            "prev must be there exactly when seq is not 0.",
            vec![
                ("prev at 0", grant().with(6, id(1)).seal()),
                ("no prev at 1", grant().with(5, uint(1)).seal()),
                (
                    "no prev at 1 in a kind that nobody knows",
                    Draft::unknown("x.v1").with(5, uint(1)).seal(),
                ),
            ],
        ),
        file(
            "no-past",
            "A chain begins without naming its past, and so not init.",
            vec![
                ("a grant", grant().without(7).seal()),
                ("an update", update().without(7).seal()),
            ],
        ),
        file(
            "bad-signature",
            "The signature is not the signer's over these bytes.",
            vec![
                ("by another key", grant().signed_by(STRANGER).seal()),
                (
                    "all zero",
                    wrap(grant().type_name.as_bytes(), &grant().body(), &[0; 64]),
                ),
                (
                    "63 bytes",
                    wrap(grant().type_name.as_bytes(), &grant().body(), &[0; 63]),
                ),
                ("over another type", other_type()),
                ("over another body", other_body()),
            ],
        ),
    ]
}

/// A body that is well formed under two types, and the signature for the other one.
fn other_type() -> Vec<u8> {
    let signed = Draft::unknown("x.v1").seal();
    let signature = &signed[signed.len() - 64..];
    let draft = Draft::unknown("y.v1");
    wrap(draft.type_name.as_bytes(), &draft.body(), signature)
}

fn other_body() -> Vec<u8> {
    let signed = Draft::grant().seal();
    let signature = &signed[signed.len() - 64..];
    let draft = Draft::grant().with(17, uint(0));
    wrap(draft.type_name.as_bytes(), &draft.body(), signature)
}
