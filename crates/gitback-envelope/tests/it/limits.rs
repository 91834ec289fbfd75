//! Bounds that take many or large envelopes to reach.

use gitback_envelope::{
    BODY_MAX, ENVELOPE_MAX, Envelope, Inserted, Project, Reject, UNKNOWN_BODY_MAX, UNKNOWN_MAX,
    UPDATE_BODY_MAX, Verified, WAITING_BYTES_MAX, WAITING_MAX,
};

use crate::corpus::raw::{Draft, array, bytes, change, id, item, project, uint};

fn read(envelope: &[u8]) -> Result<Verified, Reject> {
    Envelope::decode(envelope)?.verify()
}

fn founded() -> Project {
    let mut founded = Project::new(project());
    let init = read(&Draft::init().seal()).expect("init holds");
    founded.insert(init).expect("init folds");
    founded
}

#[test]
fn rejects_bodies_past_the_limit_of_their_kind() {
    let check = |draft: &Draft, limit: usize| {
        let over = draft.seal_body(&vec![0; limit + 1]);
        let reject = Envelope::decode(&over).expect_err("one byte too many");
        assert_eq!(reject, Reject::TooLarge { limit });
        let at = draft.seal_body(&vec![0; limit]);
        let reject = Envelope::decode(&at).expect_err("zeros are no body");
        assert_eq!(reject.code(), "wrong-item-type");
    };
    check(&Draft::init(), BODY_MAX);
    check(&Draft::grant(), BODY_MAX);
    check(&Draft::update(), UPDATE_BODY_MAX);
    check(&Draft::unknown("x.v1"), UNKNOWN_BODY_MAX);
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
    let named: Vec<_> = (0..1024_u16)
        .map(|number| bytes(&[&number.to_be_bytes(), &[0; 30][..]].concat()))
        .collect();
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
