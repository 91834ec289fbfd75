//! What may be wrong with the kinds besides `init`, `grant` and `update`: further cases for the reasons that those
//! have, and reasons of their own.

use gitback_envelope::signing_bytes;

use super::raw::{
    ACCEPTANCE, Draft, ENVOY, FOUNDER, HEIR, MEMBER, STRANGER, array, bytes, id, item, key, secret,
    text, uint,
};
use super::{File, file};

type Cases = Vec<(&'static str, Vec<u8>)>;

pub(super) fn files() -> Vec<File> {
    let mut files = vec![
        file("bad-type", "", outside()),
        file("wrong-item-type", "", wrong_items()),
        file("wrong-signer", "", wrong_signers()),
    ];
    files.extend(fields());
    files.extend(lists());
    files.extend(names());
    files.extend(chains());
    files.extend(endings());
    files
}

/// Types that are known and have no place in a project's set.
fn outside() -> Cases {
    let acceptance = Draft::delegate().without(20).of_type(ACCEPTANCE);
    let claim = Draft::init().of_type("application/vnd.gitback.name-claim.v1+cbor");
    vec![
        ("a name claim", claim.seal()),
        (
            "the acceptance of an heir",
            acceptance.signed_by(HEIR).seal(),
        ),
    ]
}

fn wrong_items() -> Cases {
    vec![
        (
            "a scope in words",
            Draft::policy().with(16, text(b"members-only")).seal(),
        ),
        (
            "a protected ref as text",
            Draft::policy()
                .with(17, array(&[text(b"refs/heads/main")]))
                .seal(),
        ),
        (
            "one protected ref without a list",
            Draft::policy().with(17, bytes(b"refs/heads/main")).seal(),
        ),
        (
            "a role in words",
            Draft::invite().with(17, text(b"reader")).seal(),
        ),
        (
            "a cut of one without a list",
            Draft::revoke().with(17, id(1)).seal(),
        ),
        (
            "a hop in bytes",
            Draft::delegate().with(16, bytes(&[1])).seal(),
        ),
        (
            "a handle in bytes",
            Draft::tombstone().with(17, bytes(b"notes")).seal(),
        ),
    ]
}

/// Whoever may not sign for the puddle in field 2.
fn wrong_signers() -> Cases {
    let by = |draft: Draft, signer| draft.with(1, key(signer)).signed_by(signer).seal();
    let delegated_by = |signer| {
        let delegate = Draft::delegate().with(1, key(signer)).signed_by(signer);
        delegate.accepted_by(HEIR).seal()
    };
    vec![
        ("a policy signed by the envoy", by(Draft::policy(), ENVOY)),
        ("a merge signed by neither", by(Draft::merge(), STRANGER)),
        (
            "an invitation signed by the envoy",
            by(Draft::invite(), ENVOY),
        ),
        ("a join signed by the envoy", by(Draft::join(), ENVOY)),
        ("a join signed by who invites", by(Draft::join(), FOUNDER)),
        ("a leave signed by the envoy", by(Draft::leave(), ENVOY)),
        (
            "a revocation signed by the envoy",
            by(Draft::revoke(), ENVOY),
        ),
        (
            "a revocation signed by the member",
            by(Draft::revoke(), MEMBER),
        ),
        ("a rejoin signed by the envoy", by(Draft::rejoin(), ENVOY)),
        (
            "an ungrant signed by the envoy",
            by(Draft::ungrant(), ENVOY),
        ),
        ("a delegation signed by the envoy", delegated_by(ENVOY)),
        ("a delegation signed by the heir alone", delegated_by(HEIR)),
        (
            "a tombstone signed by the envoy",
            by(Draft::tombstone(), ENVOY),
        ),
    ]
}

fn fields() -> Vec<File> {
    let missing = vec![
        ("the scope of a policy", Draft::policy().without(16).seal()),
        (
            "the puddle of an invitation",
            Draft::invite().without(16).seal(),
        ),
        (
            "the role of an invitation",
            Draft::invite().without(17).seal(),
        ),
        ("the invitation of a join", Draft::join().without(16).seal()),
        (
            "the invitation of a leave",
            Draft::leave().without(16).seal(),
        ),
        (
            "the invitation of a rejoin",
            Draft::rejoin().without(16).seal(),
        ),
        (
            "the invitation of a revocation",
            Draft::revoke().without(16).seal(),
        ),
        (
            "the cut of a revocation",
            Draft::revoke().without(17).seal(),
        ),
        (
            "the envoy of an ungrant",
            Draft::ungrant().without(16).seal(),
        ),
        ("the cut of an ungrant", Draft::ungrant().without(17).seal()),
        (
            "the hop of a delegation",
            Draft::delegate().without(16).seal(),
        ),
        (
            "the heir of a delegation",
            Draft::delegate().without(17).seal(),
        ),
        (
            "the cut of a delegation",
            Draft::delegate().without(19).seal(),
        ),
        (
            "the acceptance of a delegation",
            Draft::delegate().without(20).seal(),
        ),
        (
            "the founder of a successor",
            Draft::tombstone().without(16).seal(),
        ),
        (
            "the handle of a successor",
            Draft::tombstone().without(17).seal(),
        ),
        (
            "the cut of a tombstone",
            Draft::tombstone().without(18).seal(),
        ),
    ];
    let unknown = vec![
        ("in a policy", Draft::policy().with(19, uint(0)).seal()),
        ("in a merge", Draft::merge().with(16, uint(0)).seal()),
        ("in an invitation", Draft::invite().with(18, uint(0)).seal()),
        (
            "a cut in a leave",
            Draft::leave().with(17, array(&[])).seal(),
        ),
        ("in a join", Draft::join().with(17, uint(0)).seal()),
        ("in a rejoin", Draft::rejoin().with(17, uint(0)).seal()),
        ("in a revocation", Draft::revoke().with(18, uint(0)).seal()),
        (
            "a user in an ungrant",
            Draft::ungrant().with(18, uint(1000)).seal(),
        ),
        (
            "in a delegation",
            Draft::delegate().with(21, uint(0)).accepted_by(HEIR).seal(),
        ),
        (
            "in a tombstone",
            Draft::tombstone().with(19, uint(0)).seal(),
        ),
        (
            "a key of 2^64 - 1",
            Draft::merge().with(u64::MAX, uint(0)).seal(),
        ),
    ];
    let length = vec![
        (
            "the invited puddle",
            Draft::invite().with(16, bytes(&[1; 31])).seal(),
        ),
        (
            "the invitation of a join",
            Draft::join().with(16, bytes(&[1; 20])).seal(),
        ),
        (
            "one of a cut",
            Draft::revoke()
                .with(17, array(&[id(1), bytes(&[2; 33])]))
                .seal(),
        ),
        (
            "the digest after the heir",
            Draft::delegate()
                .with(18, bytes(&[1; 20]))
                .accepted_by(HEIR)
                .seal(),
        ),
        (
            "the acceptance",
            Draft::delegate().with(20, bytes(&[1; 63])).seal(),
        ),
    ];
    let range = vec![
        ("a scope of 2", Draft::policy().with(16, uint(2)).seal()),
        ("no copy", Draft::policy().with(18, uint(0)).seal()),
        (
            "10,001 copies",
            Draft::policy().with(18, uint(10_001)).seal(),
        ),
        ("a role of 2", Draft::invite().with(17, uint(2)).seal()),
        (
            "a hop of 0",
            Draft::delegate().with(16, uint(0)).accepted_by(HEIR).seal(),
        ),
    ];
    vec![
        file("missing-field", "", missing),
        file("unknown-field", "", unknown),
        file("wrong-length", "", length),
        file("out-of-range", "", range),
    ]
}

fn lists() -> Vec<File> {
    let refs = |names: &[&[u8]]| {
        let names: Vec<_> = names.iter().map(|name| bytes(name)).collect();
        Draft::policy().with(17, array(&names)).seal()
    };
    let claim = |many: u64| item(4, many);
    let order = vec![
        (
            "protected refs descend",
            refs(&[b"refs/heads/b", b"refs/heads/a"]),
        ),
        (
            "a protected ref twice",
            refs(&[b"refs/heads/a", b"refs/heads/a"]),
        ),
        (
            "the cut of a revocation descends",
            Draft::revoke().with(17, array(&[id(2), id(1)])).seal(),
        ),
        (
            "one of the cut of a revocation twice",
            Draft::revoke().with(17, array(&[id(1), id(1)])).seal(),
        ),
        (
            "the cut of an ungrant descends",
            Draft::ungrant().with(17, array(&[id(2), id(1)])).seal(),
        ),
        (
            "the cut of a delegation descends",
            Draft::delegate()
                .with(19, array(&[id(2), id(1)]))
                .accepted_by(HEIR)
                .seal(),
        ),
        (
            "the cut of a tombstone descends",
            Draft::tombstone().with(18, array(&[id(2), id(1)])).seal(),
        ),
    ];
    let many = vec![
        (
            "65 protected refs",
            Draft::policy().with(17, claim(65)).seal(),
        ),
        (
            "1,025 in the cut of a revocation",
            Draft::revoke().with(17, claim(1025)).seal(),
        ),
        (
            "1,025 in the cut of an ungrant",
            Draft::ungrant().with(17, claim(1025)).seal(),
        ),
        (
            "1,025 in the cut of a delegation",
            Draft::delegate().with(19, claim(1025)).seal(),
        ),
        (
            "1,025 in the cut of a tombstone",
            Draft::tombstone().with(18, claim(1025)).seal(),
        ),
    ];
    let empty = vec![("protected refs", refs(&[]))];
    vec![
        file("list-order", "", order),
        file("too-many", "", many),
        file("empty-list", "", empty),
    ]
}

fn names() -> Vec<File> {
    let mut weak = [0; 32];
    weak[0] = 1;
    let weak = || bytes(&weak);
    let keys = vec![
        ("invited puddle", Draft::invite().with(16, weak()).seal()),
        ("ungranted envoy", Draft::ungrant().with(16, weak()).seal()),
        ("heir", Draft::delegate().with(17, weak()).seal()),
        (
            "founder of the successor",
            Draft::tombstone().with(16, weak()).seal(),
        ),
        ("zero as heir", Draft::delegate().with(17, id(0)).seal()),
    ];
    let handle = vec![(
        "of a successor",
        Draft::tombstone().with(17, text(b"notes.lock")).seal(),
    )];
    let protected = |name: &[u8]| Draft::policy().with(17, array(&[bytes(name)])).seal();
    vec![
        file("key-weak", "", keys),
        file("handle-ending", "", handle),
        file(
            "ref-not-under-refs",
            "",
            vec![("a protected HEAD", protected(b"HEAD"))],
        ),
        file(
            "ref-reserved",
            "",
            vec![("protected", protected(b"refs/envoys/a"))],
        ),
        file(
            "ref-character",
            "",
            vec![("a pattern is no protected ref", protected(b"refs/heads/*"))],
        ),
    ]
}

fn chains() -> Vec<File> {
    let empty = vec![
        ("a merge", Draft::merge().with(3, id(0)).seal()),
        (
            "a merge by the puddle",
            Draft::merge()
                .with(1, key(FOUNDER))
                .with(3, id(0))
                .signed_by(FOUNDER)
                .seal(),
        ),
        ("a join", Draft::join().with(3, id(0)).seal()),
        (
            "a delegation",
            Draft::delegate().with(3, id(0)).accepted_by(HEIR).seal(),
        ),
        ("a tombstone", Draft::tombstone().with(3, id(0)).seal()),
    ];
    let incarnation = vec![
        ("a merge", Draft::merge().with(4, bytes(&[0; 16])).seal()),
        ("a join", Draft::join().with(4, bytes(&[0; 16])).seal()),
        (
            "a kind that nobody knows",
            Draft::unknown("x.v1").with(4, bytes(&[0; 16])).seal(),
        ),
    ];
    let prev = vec![
        (
            "a merge with prev at 0",
            Draft::merge().with(6, id(1)).seal(),
        ),
        (
            "a leave without prev at 1",
            Draft::leave().without(6).with(7, array(&[id(1)])).seal(),
        ),
    ];
    let past = vec![
        ("a merge of nothing", Draft::merge().without(7).seal()),
        ("a join", Draft::join().without(7).seal()),
        (
            "a kind that nobody knows",
            Draft::unknown("x.v1").without(7).seal(),
        ),
    ];
    vec![
        file("no-envoy", "", empty),
        file("no-incarnation", "", incarnation),
        file("prev-mismatch", "", prev),
        file("no-past", "", past),
    ]
}

fn endings() -> Vec<File> {
    let itself = Draft::tombstone().with(16, key(FOUNDER));
    let no_cut = itself.clone().with(18, array(&[]));
    vec![
        file(
            "bad-heir-signature",
            "The heir of a delegation has not signed exactly this, under the type of an acceptance. Its signer has.",
            heirs(),
        ),
        file(
            "own-successor",
            "A tombstone names its own project as the one that takes its place.",
            vec![
                ("the same founder and handle", itself.seal()),
                ("with an empty cut", no_cut.seal()),
            ],
        ),
    ]
}

/// Each is signed by the retiring key as it should be.
fn heirs() -> Cases {
    let good = Draft::delegate;
    let committed = || good().with(18, id(7)).accepted_by(HEIR);
    let unaccepted = good().without(20);
    let accept = |heir: u8, signed: &[u8]| {
        let accept = secret(heir).sign(signed);
        good().with(20, bytes(accept.as_bytes())).seal()
    };
    let under = |type_name: &str| accept(HEIR, &signing_bytes(type_name, &unaccepted.body()));
    let own_type = good().type_name;
    let with_zeros = good().with(20, bytes(&[0; 64])).body();
    vec![
        (
            "not yet signed: all zero",
            good().with(20, bytes(&[0; 64])).seal(),
        ),
        ("by the retiring key", good().accepted_by(FOUNDER).seal()),
        ("by another key", good().accepted_by(STRANGER).seal()),
        ("for another heir", good().with(17, key(STRANGER)).seal()),
        ("for another hop", good().with(16, uint(2)).seal()),
        ("for another project", good().with(0, id(9)).seal()),
        ("for another cut", good().with(19, array(&[id(1)])).seal()),
        ("for an empty cut", good().with(19, array(&[])).seal()),
        (
            "for another incarnation",
            good().with(4, bytes(&[0x12; 16])).seal(),
        ),
        (
            "for another place on the chain",
            good().with(5, uint(1)).with(6, id(1)).seal(),
        ),
        ("for another past", good().with(7, array(&[id(1)])).seal()),
        ("for another envoy", good().with(3, key(STRANGER)).seal()),
        ("for another time", good().with(8, uint(1)).seal()),
        ("a digest added afterwards", good().with(18, id(7)).seal()),
        (
            "a digest removed afterwards",
            committed().without(18).seal(),
        ),
        ("under the type of the delegation", under(&own_type)),
        (
            "over the body with zeros in place of it",
            accept(HEIR, &signing_bytes(ACCEPTANCE, &with_zeros)),
        ),
        ("over the body alone", accept(HEIR, &unaccepted.body())),
    ]
}
