//! Envelopes that hold.

use super::raw::{
    ACCEPTANCE, Draft, FOUNDER, HEIR, array, bytes, change, id, ids, key, map, public, text, uint,
    wrap,
};
use super::{Case, File};
use gitback_envelope::signing_bytes;
use gitback_identity::hex;

/// The founder's signature of `init` made with another `R`: a second valid signature of the same bytes.
const OTHER_SIGNATURE: &str = "fa2a35a12c116b960f5c48a86f6c4e2e9468d6593e49e2d388aca6e05393947e81b67817da065c08e403dd95e600a5555dce6e2e6f50485e5e3cc2b6f23e2401";

pub(super) fn file() -> File {
    let mut cases = vec![Case::accepted("init", &Draft::init()), other_signature()];
    cases.extend(kept());
    cases.extend(memberships());
    cases.extend(grants());
    cases.extend(endings());
    cases.extend(updates());
    cases.extend(unknown());
    File {
        expect: "accepted",
        about: "Envelopes that hold. `id` is the SHA-256 of DSSEv1 SP len(type) SP type SP len(body) SP body.",
        cases,
    }
}

fn other_signature() -> Case {
    let draft = Draft::init();
    let mut case = Case::accepted("init with another valid signature has the same id", &draft);
    let signature = hex::decode(OTHER_SIGNATURE, 64).expect("hex");
    case.envelope = wrap(draft.type_name.as_bytes(), &draft.body(), &signature);
    let signed = signing_bytes(&draft.type_name, &draft.body());
    case.facts.push(("signed", hex::encode(&signed)));
    case
}

fn kept() -> Vec<Case> {
    let protected = array(&[bytes(b"refs/heads/main"), bytes(b"refs/tags/v1")]);
    let full = Draft::policy()
        .with(16, uint(1))
        .with(17, protected)
        .with(18, uint(10_000));
    let by_puddle = Draft::merge().with(1, key(FOUNDER)).signed_by(FOUNDER);
    let later = Draft::merge().with(5, uint(1)).with(6, id(0x20));
    vec![
        Case::accepted("a policy that says only the scope", &Draft::policy()),
        Case::accepted("a policy with everything in it", &full),
        Case::accepted("a merge by an envoy", &Draft::merge()),
        Case::accepted("a merge by the puddle itself", &by_puddle),
        Case::accepted(
            "a merge of nothing but the one before it",
            &later.without(7),
        ),
    ]
}

fn memberships() -> Vec<Case> {
    let reader = Draft::invite().with(17, uint(1));
    let cut = Draft::revoke().with(17, ids(&[Draft::join(), Draft::leave()]));
    vec![
        Case::accepted("an invitation of a member", &Draft::invite()),
        Case::accepted("an invitation of a reader", &reader),
        Case::accepted("a join", &Draft::join()),
        Case::accepted("a leave", &Draft::leave()),
        Case::accepted("a rejoin", &Draft::rejoin()),
        Case::accepted("a revocation after which nothing counts", &Draft::revoke()),
        Case::accepted("a revocation with a cut", &cut),
    ]
}

fn grants() -> Vec<Case> {
    let expires = Draft::grant().with(18, uint(1_800_000_000_000));
    let empty = Draft::ungrant().with(17, array(&[]));
    vec![
        Case::accepted("a grant", &Draft::grant()),
        Case::accepted("a grant that expires", &expires),
        Case::accepted("a grant without a time", &Draft::grant().without(8)),
        Case::accepted("an ungrant", &Draft::ungrant()),
        Case::accepted("an ungrant after which nothing counts", &empty),
    ]
}

fn endings() -> Vec<Case> {
    use sha2::{Digest as _, Sha256};
    let next = Sha256::digest(public(6).as_bytes());
    let committed = Draft::delegate().with(18, bytes(&next)).accepted_by(HEIR);
    let empty = Draft::delegate().with(19, array(&[])).accepted_by(HEIR);
    let other = Draft::tombstone()
        .with(16, key(FOUNDER))
        .with(17, text(b"notes-2"))
        .with(18, array(&[]));
    vec![
        delegate("a delegation", &Draft::delegate()),
        delegate("a delegation whose heir names the next digest", &committed),
        delegate("a delegation after which nothing counts", &empty),
        Case::accepted("a tombstone", &Draft::tombstone()),
        Case::accepted("a tombstone of the same founder", &other),
    ]
}

/// With what its heir signs.
fn delegate(note: &'static str, draft: &Draft) -> Case {
    let mut case = Case::accepted(note, draft);
    let signed = signing_bytes(ACCEPTANCE, &draft.clone().without(20).body());
    case.facts.push(("heir_signs", hex::encode(&signed)));
    case
}

fn updates() -> Vec<Case> {
    let by_puddle = Draft::update().with(1, key(FOUNDER)).signed_by(FOUNDER);
    let not_utf8 = array(&[change(b"refs/heads/\xff", 0xaa, &[], &[])]);
    vec![
        Case::accepted("an update by a granted envoy", &Draft::update()),
        Case::accepted("an update signed by the puddle itself", &by_puddle),
        Case::accepted("an update with everything in it", &full_update()),
        Case::accepted(
            "a ref name that is not UTF-8",
            &Draft::update().with(16, not_utf8),
        ),
    ]
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

fn unknown() -> Vec<Case> {
    let any_fields = Draft::unknown("lantern.v1")
        .with(16, array(&[uint(0), map(&[(24, text(b"x"))])]))
        .with(1000, bytes(&[]));
    let no_envoy = Draft::unknown("lantern.v1").with(3, id(0));
    let sixteen = (0..15).fold(uint(0), |inner, _| array(&[inner]));
    vec![
        Case::accepted("a kind that nobody knows, with any fields", &any_fields),
        Case::accepted("a kind that nobody knows, without an envoy", &no_envoy),
        Case::accepted(
            "a kind that nobody knows, with items nested sixteen deep",
            &Draft::unknown("lantern.v1").with(16, sixteen),
        ),
        Case::accepted(
            "a known kind in a version that nobody knows",
            &Draft::unknown("grant.v2"),
        ),
    ]
}
