//! Envelopes that hold.

use super::raw::{Draft, array, bytes, change, id, map, text, uint};
use super::{Case, File};
use gitback_envelope::signing_bytes;
use gitback_identity::hex;

/// The founder's signature of `init` made with another `R`: a second valid signature of the same bytes.
const OTHER_SIGNATURE: &str = "fa2a35a12c116b960f5c48a86f6c4e2e9468d6593e49e2d388aca6e05393947e81b67817da065c08e403dd95e600a5555dce6e2e6f50485e5e3cc2b6f23e2401";

pub(super) fn file() -> File {
    let cases = vec![
        case("init", &Draft::init()),
        other_signature(),
        case("a grant", &Draft::grant()),
        case(
            "a grant that expires",
            &Draft::grant().with(18, uint(1_800_000_000_000)),
        ),
        case("a grant without a time", &Draft::grant().without(8)),
        case("an update by a granted envoy", &Draft::update()),
        case(
            "an update signed by the puddle itself",
            &puddle_signed_update(),
        ),
        case("an update with everything in it", &full_update()),
        case(
            "a ref name that is not UTF-8",
            &Draft::update().with(16, array(&[change(b"refs/heads/\xff", 0xaa, &[], &[])])),
        ),
        case(
            "a kind that nobody knows, with any fields",
            &Draft::unknown("tombstone.v1")
                .with(16, array(&[uint(0), map(&[(24, text(b"x"))])]))
                .with(1000, bytes(&[])),
        ),
        case(
            "a known kind in a version that nobody knows",
            &Draft::unknown("grant.v2"),
        ),
    ];
    File {
        expect: "accepted",
        about: "Envelopes that hold. `id` is the SHA-256 of DSSEv1 SP len(type) SP type SP len(body) SP body.",
        cases,
    }
}

fn case(note: &'static str, draft: &Draft) -> Case {
    let body = draft.body();
    let mut case = Case::new(note, draft.seal());
    case.facts = vec![
        ("type", draft.type_name.clone()),
        ("body", hex::encode(&body)),
        ("id", hex::encode(&draft.id())),
    ];
    case
}

fn other_signature() -> Case {
    let draft = Draft::init();
    let mut case = case("init with another valid signature has the same id", &draft);
    let signature = hex::decode(OTHER_SIGNATURE, 64).expect("hex");
    case.envelope = super::raw::wrap(draft.type_name.as_bytes(), &draft.body(), &signature);
    let signed = signing_bytes(&draft.type_name, &draft.body());
    case.facts.push(("signed", hex::encode(&signed)));
    case
}

fn puddle_signed_update() -> Draft {
    use super::raw::{FOUNDER, public};
    Draft::update()
        .with(1, bytes(public(FOUNDER).as_bytes()))
        .signed_by(FOUNDER)
}

fn full_update() -> Draft {
    let changes = array(&[
        change(b"refs/heads/gone", 0, &[], &[id(0x21)]),
        change(b"refs/heads/main", 0xbb, &[id(0x21), id(0x22)], &[id(0x23)]),
        change(b"refs/tags/v1", 0xcc, &[], &[]),
    ]);
    Draft::update()
        .with(5, uint(7))
        .with(6, id(0x20))
        .with(7, array(&[id(0x21), id(0x22), id(0x23)]))
        .with(16, changes)
        .with(17, bytes(b"refs/heads/main"))
        .with(18, array(&[bytes(&[0x33; 32]), uint(123_456)]))
}
