//! Bounds that take many or large envelopes to reach.

use gitback_envelope::{
    BODY_MAX, CUT_BODY_MAX, CUT_MAX, DEPS_MAX, ENVELOPE_MAX, Envelope, Inserted, PROTECTED_MAX,
    Project, Reject, UNKNOWN_BODY_MAX, UNKNOWN_MAX, UPDATE_BODY_MAX, Verified, VerifiedClaim,
    WAITING_BYTES_MAX, WAITING_MAX,
};

use crate::codec::every_kind;
use crate::corpus::raw::{Draft, HEIR, array, bytes, change, id, item, project, uint};

fn read(envelope: &[u8]) -> Result<Verified, Reject> {
    Envelope::decode(envelope)?.verify()
}

fn founded() -> Project {
    let mut founded = Project::new(project());
    let init = read(&Draft::init().seal()).expect("init holds");
    founded.insert(init).expect("init folds");
    founded
}

/// The most bytes in the body of each kind, as docs/spec/envelope.md §1 has them.
fn body_max(draft: &Draft) -> usize {
    match draft.kind() {
        "revoke.v1" | "ungrant.v1" | "delegate.v1" | "tombstone.v1" => CUT_BODY_MAX,
        "update.v1" => UPDATE_BODY_MAX,
        "x.v1" => UNKNOWN_BODY_MAX,
        _ => BODY_MAX,
    }
}

#[test]
fn rejects_bodies_past_the_limit_of_their_kind() {
    let mut drafts = every_kind().to_vec();
    drafts.push(Draft::unknown("x.v1"));
    for draft in drafts {
        let limit = body_max(&draft);
        let over = draft.seal_body(&vec![0; limit + 1]);
        let reject = Envelope::decode(&over).expect_err("one byte too many");
        assert_eq!(reject, Reject::TooLarge { limit }, "{}", draft.kind());
        let at = draft.seal_body(&vec![0; limit]);
        let reject = Envelope::decode(&at).expect_err("zeros are no body");
        assert_eq!(reject.code(), "wrong-item-type", "{}", draft.kind());
    }
}

#[test]
fn rejects_claims_past_their_limit() {
    let limit = BODY_MAX;
    let over = Draft::claim().seal_body(&vec![0; limit + 1]);
    let reject = VerifiedClaim::decode(&over).expect_err("one byte too many");
    assert_eq!(reject, Reject::TooLarge { limit });
    let at = Draft::claim().seal_body(&vec![0; limit]);
    let reject = VerifiedClaim::decode(&at).expect_err("zeros are no body");
    assert_eq!(reject.code(), "wrong-item-type");
}

#[test]
fn rejects_bytes_past_the_limit_of_all_kinds() {
    let reject = Envelope::decode(&vec![0; ENVELOPE_MAX + 1]).expect_err("too long");
    let limit = ENVELOPE_MAX;
    assert_eq!(reject, Reject::TooLarge { limit });
}

#[test]
fn accepts_an_update_of_the_most_refs() {
    let changes: Vec<_> = (0..8192)
        .map(|number| change(format!("refs/heads/{number:04}").as_bytes(), 1, &[], &[]))
        .collect();
    let update = Draft::update().with(16, array(&changes)).seal();
    assert!(update.len() < UPDATE_BODY_MAX);
    read(&update).expect("8,192 refs are allowed");
}

/// As many ids as asked for, ascending.
pub(crate) fn many_ids(count: usize) -> Vec<Vec<u8>> {
    let count = u16::try_from(count).expect("a small number");
    (0..count)
        .map(|number| bytes(&[&number.to_be_bytes(), &[0; 30][..]].concat()))
        .collect()
}

#[test]
fn accepts_the_longest_cut_and_the_most_deps() {
    let cut = array(&many_ids(CUT_MAX));
    let deps = array(&many_ids(DEPS_MAX));
    let drafts = [
        Draft::revoke().with(17, cut.clone()),
        Draft::ungrant().with(17, cut.clone()),
        Draft::delegate().with(19, cut.clone()),
        Draft::tombstone().with(18, cut),
    ];
    for draft in drafts {
        let full = draft.with(7, deps.clone()).with(5, uint(u64::MAX));
        let full = full.with(6, id(1)).with(8, uint(u64::MAX));
        let full = if full.kind() == "delegate.v1" {
            full.with(16, uint(u64::MAX))
                .with(18, id(1))
                .accepted_by(HEIR)
        } else {
            full
        };
        assert!(full.body().len() < CUT_BODY_MAX, "{}", full.kind());
        let verified = read(&full.seal()).expect("as much as is allowed");
        let named = verified.statement().act.cut().map(<[_]>::len);
        assert_eq!(named, Some(CUT_MAX), "{}", full.kind());
    }
}

#[test]
fn accepts_a_policy_of_the_most_refs_that_fit() {
    let names = |length: usize| -> Vec<_> {
        let name = |number| format!("refs/heads/{number:02}{}", "a".repeat(length));
        (0..PROTECTED_MAX)
            .map(|number| bytes(name(number).as_bytes()))
            .collect()
    };
    let policy = |length| Draft::policy().with(17, array(&names(length)));
    read(&policy(90).seal()).expect("64 refs are allowed");
    let reject = read(&policy(200).seal()).expect_err("not of any length");
    assert_eq!(reject, Reject::TooLarge { limit: BODY_MAX });
}

/// An update that waits for something that never comes.
fn orphan(number: u64) -> Draft {
    Draft::update()
        .with(5, uint(1))
        .with(6, id(0xee))
        .with(8, uint(number))
}

#[test]
fn rejects_more_waiting_envelopes_than_allowed() {
    let mut project = founded();
    let most = u64::try_from(WAITING_MAX).expect("a small number");
    for number in 0..most {
        let envelope = read(&orphan(number).seal()).expect("well formed");
        assert_eq!(project.insert(envelope), Ok(Inserted::Waiting));
    }
    let envelope = read(&orphan(most).seal()).expect("well formed");
    assert_eq!(project.insert(envelope.clone()), Err(Reject::WaitingFull));
    assert!(!project.contains(envelope.id()));
    assert_eq!(project.waiting_len(), WAITING_MAX);
}

#[test]
fn rejects_more_waiting_bytes_than_allowed() {
    let mut project = founded();
    let named = many_ids(1024);
    let changes: Vec<_> = (0..14)
        .map(|number| {
            let name = format!("refs/heads/{number:02}");
            change(name.as_bytes(), 1, &named, &named)
        })
        .collect();
    let changes = array(&changes);
    let mut kept = 0;
    for number in 0.. {
        let envelope = orphan(number).with(16, changes.clone()).seal();
        let verified = read(&envelope).expect("well formed");
        kept += envelope.len();
        if kept > WAITING_BYTES_MAX {
            assert_eq!(project.insert(verified), Err(Reject::WaitingFull));
            return;
        }
        assert_eq!(project.insert(verified), Ok(Inserted::Waiting));
    }
}

#[test]
fn rejects_more_unknown_kinds_than_allowed() {
    let mut project = founded();
    let unknown = |number: usize| {
        let number = u64::try_from(number).expect("a small number");
        read(&Draft::unknown("x.v1").with(8, uint(number)).seal()).expect("well formed")
    };
    for number in 0..UNKNOWN_MAX {
        let folded = project.insert(unknown(number));
        assert!(matches!(folded, Ok(Inserted::Folded(_))), "{folded:?}");
    }
    assert_eq!(
        project.insert(unknown(UNKNOWN_MAX)),
        Err(Reject::UnknownFull)
    );
    assert_eq!(project.unknown_len(), UNKNOWN_MAX);
}

#[test]
fn a_false_count_costs_nothing() {
    // Each says that 2^40 items follow; reading them ends with the bytes, not with the memory.
    let many = item(4, 1 << 40);
    let unknown = Draft::unknown("x.v1").with(16, many);
    assert_eq!(
        read(&unknown.seal()).expect_err("cut short").code(),
        "truncated"
    );
    let fields = Draft::unknown("x.v1").seal_body(&item(5, 1 << 40));
    assert_eq!(read(&fields).expect_err("cut short").code(), "truncated");
}
