use proptest::prelude::*;

use super::*;
use crate::dice::Dice;

fn random_id(dice: &mut Dice) -> EnvelopeId {
    let mut bytes = [0; 32];
    for chunk in bytes.as_chunks_mut::<8>().0 {
        *chunk = dice.roll().to_le_bytes();
    }
    EnvelopeId::from_bytes(&bytes)
}

fn random_ids(count: usize, dice: &mut Dice) -> Vec<EnvelopeId> {
    (0..count).map(|_| random_id(dice)).collect()
}

/// Reconciles `ours` with `theirs`; also how many bytes went each way.
fn reconcile(ours: &Ids, theirs: &Ids) -> (Found, usize, usize, usize) {
    let (mut initiator, mut message) = Initiator::new(ours);
    let (mut sent, mut received) = (0, 0);
    loop {
        sent += message.len();
        let answer = respond(theirs, &message).expect("our own message");
        assert!(message.len() <= FRAME_MAX && answer.len() <= FRAME_MAX);
        received += answer.len();
        match initiator.take(&answer).expect("our own answer") {
            Step::Ask(next) => message = next,
            Step::Done => break,
        }
    }
    let rounds = initiator.rounds();
    (initiator.finish(), sent, received, rounds)
}

fn check_difference(ours: &Ids, theirs: &Ids) {
    let (found, ..) = reconcile(ours, theirs);
    let lacks = |one: &Ids, other: &Ids| -> Vec<EnvelopeId> {
        let missing = one.sorted.iter().filter(|id| !other.contains(id));
        missing.copied().collect()
    };
    assert!(found.complete);
    assert_eq!(found.have, lacks(ours, theirs));
    assert_eq!(found.need, lacks(theirs, ours));
}

#[test]
fn finds_large_differences_within_the_frame() {
    let mut dice = Dice::new(&[3; 32]);
    let common = random_ids(20_000, &mut dice);
    for (ours, theirs) in [(0, 0), (1, 0), (0, 3_000), (3_000, 0), (2_000, 2_500)] {
        let mut with = |extra| Ids::new(common.iter().copied().chain(random_ids(extra, &mut dice)));
        check_difference(&with(ours), &with(theirs));
    }
    let all = Ids::new(common);
    check_difference(&Ids::default(), &all);
    check_difference(&all, &Ids::default());
    let other = Ids::new(random_ids(20_000, &mut dice));
    check_difference(&all, &other);
}

#[test]
fn the_cost_follows_the_difference() {
    let mut dice = Dice::new(&[4; 32]);
    let common = random_ids(100_000, &mut dice);
    let ours = Ids::new(common.iter().copied());
    let theirs = Ids::new(common.into_iter().chain(random_ids(10, &mut dice)));
    let (found, sent, received, rounds) = reconcile(&ours, &theirs);
    assert_eq!(found.need.len(), 10);
    assert!(sent + received < 32 * 1024, "{sent} + {received} bytes");
    assert!(rounds <= 4, "{rounds} rounds");
}

#[test]
fn rejects_what_is_not_a_message() {
    let ids = Ids::new(random_ids(100, &mut Dice::new(&[5; 32])));
    let check = |message: &[u8], expected| {
        assert_eq!(respond(&ids, message), Err(expected));
        let (mut initiator, _) = Initiator::new(&ids);
        assert_eq!(initiator.take(message), Err(expected));
    };
    check(&[], ReconcileReject::Malformed);
    check(&[0x60], ReconcileReject::Version);
    check(&[0x62, 0], ReconcileReject::Version);
    check(&vec![VERSION; FRAME_MAX + 1], ReconcileReject::TooLarge);
    // A list that says to hold more ids than the message does.
    check(
        &[VERSION, 0, 0, 2, 0xff, 0xff, 0x7f],
        ReconcileReject::Malformed,
    );
    // A mode that does not exist.
    check(&[VERSION, 0, 0, 9], ReconcileReject::Malformed);
    // A bound longer than an id.
    let mut long = vec![VERSION, 1, 33];
    long.extend([0; 40]);
    check(&long, ReconcileReject::Malformed);
}

#[test]
fn a_peer_that_never_agrees_costs_a_bounded_number_of_rounds() {
    let ids = Ids::new(random_ids(1_000, &mut Dice::new(&[6; 32])));
    let (mut initiator, _) = Initiator::new(&ids);
    // Always another fingerprint for all there is.
    let mut answer = vec![VERSION, 0, 0, 1];
    answer.extend([7; 16]);
    let mut asked = 0;
    while let Step::Ask(_) = initiator.take(&answer).expect("a message") {
        asked += 1;
        assert!(asked < ROUNDS_MAX);
    }
    let found = initiator.finish();
    assert!(!found.complete && found.need.is_empty());
}

#[test]
fn a_peer_that_lists_without_end_costs_bounded_memory() {
    let ids = Ids::default();
    let (mut initiator, _) = Initiator::new(&ids);
    let mut dice = Dice::new(&[7; 32]);
    let mut step = Step::Ask(Vec::new());
    while step != Step::Done {
        // A list below a bound, and a fingerprint for the rest that nobody can have.
        let count: u16 = 1_800;
        let mut answer = vec![VERSION, 1, 1, 0xff, 2];
        answer.extend([
            0x80 | u8::try_from(count >> 7).expect("small"),
            (count & 0x7f) as u8,
        ]);
        for id in random_ids(usize::from(count), &mut dice) {
            answer.extend(id.as_bytes());
        }
        answer.extend([0, 0, 1]);
        answer.extend([9; 16]);
        step = initiator.take(&answer).expect("a message");
    }
    let found = initiator.finish();
    assert_eq!(found.need.len(), FOUND_MAX);
    assert!(!found.complete);
}

/// Why both compare a digest afterwards.
#[test]
fn ranges_of_equal_sums_are_taken_for_equal() {
    let ids = |bytes: [u8; 2]| {
        Ids::new(
            (2..40)
                .chain(bytes)
                .map(|byte| EnvelopeId::from_bytes(&[byte; 32])),
        )
    };
    let (found, ..) = reconcile(&ids([0x50, 0x53]), &ids([0x51, 0x52]));
    assert_eq!((found.need, found.complete), (Vec::new(), true));
}

#[test]
fn an_id_that_is_here_is_never_needed() {
    let ids = Ids::new(random_ids(40, &mut Dice::new(&[8; 32])));
    let (mut initiator, _) = Initiator::new(&ids);
    // It lists one of ours in a range where it does not belong.
    let first = ids.sorted[39];
    let mut answer = vec![VERSION, 1, 1, 0x01, 2, 1];
    answer.extend(first.as_bytes());
    let _ = initiator.take(&answer).expect("a message");
    assert_eq!(initiator.finish().need, []);
}

proptest! {
    #[test]
    fn finds_every_difference(
        seed: [u8; 32],
        common in 0_usize..600,
        ours in 0_usize..80,
        theirs in 0_usize..80,
    ) {
        let mut dice = Dice::new(&seed);
        let common = random_ids(common, &mut dice);
        let mut with = |extra| Ids::new(common.iter().copied().chain(random_ids(extra, &mut dice)));
        let (ours, theirs) = (with(ours), with(theirs));
        check_difference(&ours, &theirs);
    }

    #[test]
    fn finds_every_difference_of_close_ids(
        ours in proptest::collection::btree_set(0_u8..64, 0..64),
        theirs in proptest::collection::btree_set(0_u8..64, 0..64),
    ) {
        // They share a long prefix and end at random: sums of ids that are no hashes may be equal by chance.
        let close = |number: &u8| {
            let mut bytes = [0xff; 32];
            let end = Dice::new(&[*number; 32]).roll().to_be_bytes();
            bytes[24..].copy_from_slice(&end);
            EnvelopeId::from_bytes(&bytes)
        };
        check_difference(&Ids::new(ours.iter().map(close)), &Ids::new(theirs.iter().map(close)));
    }

    #[test]
    fn any_bytes_give_an_answer_or_a_refusal(
        seed: [u8; 32],
        size in 0_usize..300,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        versioned: bool,
    ) {
        if versioned && let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let ids = Ids::new(random_ids(size, &mut Dice::new(&seed)));
        let _ = respond(&ids, &bytes);
        let (mut initiator, _) = Initiator::new(&ids);
        let _ = initiator.take(&bytes);
    }

    #[test]
    fn a_mutated_message_stays_within_the_frame(
        seed: [u8; 32],
        at: proptest::sample::Index,
        to: u8,
        size in 0_usize..4_000,
    ) {
        let mut dice = Dice::new(&seed);
        let ids = Ids::new(random_ids(size, &mut dice));
        let (mut initiator, mut message) = Initiator::new(&ids);
        let other = Ids::new(random_ids(size, &mut dice));
        let place = at.index(message.len());
        message[place] = to;
        if let Ok(mut answer) = respond(&other, &message) {
            prop_assert!(answer.len() <= FRAME_MAX);
            let place = at.index(answer.len());
            answer[place] = to;
            if let Ok(Step::Ask(next)) = initiator.take(&answer) {
                prop_assert!(next.len() <= FRAME_MAX);
            }
        }
    }
}
