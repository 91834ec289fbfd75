//! Decoding is total, and inverts encoding.

mod any;
mod damage;

use std::sync::LazyLock;

use gitback_envelope::{
    Act, Envelope, EnvelopeId, NameClaim, Reject, Statement, VerifiedClaim, signing_bytes,
};
use gitback_identity::{EnvoyKey, Handle, PuddleKey, SecretKey};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::corpus::raw::{ACCEPTANCE, Draft};

/// One of each kind that there is.
pub(crate) fn every_kind() -> [Draft; 13] {
    [
        Draft::init(),
        Draft::policy(),
        Draft::merge(),
        Draft::invite(),
        Draft::join(),
        Draft::leave(),
        Draft::revoke(),
        Draft::rejoin(),
        Draft::grant(),
        Draft::ungrant(),
        Draft::delegate(),
        Draft::tombstone(),
        Draft::update(),
    ]
}

/// One of each kind, and one of a kind that nobody knows.
static EVERY_TYPE: LazyLock<Vec<Draft>> = LazyLock::new(|| {
    let mut drafts = every_kind().to_vec();
    drafts.push(Draft::unknown("x.v1"));
    drafts
});

/// A few bytes of something that was right are changed, removed or added.
fn damaged(mut bytes: Vec<u8>, damage: &any::Damage) -> Vec<u8> {
    for (at, how, byte) in damage {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        let old = bytes.remove(at);
        match how % 4 {
            0 => bytes.insert(at, *byte),
            1 => bytes.insert(at, old.wrapping_add(1)),
            2 => {}
            _ => bytes.splice(at..at, [old, *byte]).for_each(drop),
        }
    }
    bytes
}

proptest! {
    #[test]
    fn decode_inverts_encode((secret, statement) in any::statement()) {
        let body = statement.encode_body().expect("a statement within the rules");
        let decoded = Statement::decode(&statement.type_name(), &body);
        prop_assert_eq!(decoded.as_ref(), Ok(&statement));

        let signature = secret.sign(&statement.signing_bytes().expect("the same"));
        let sealed = statement.clone().seal(signature).expect("the signer's own signature");
        let copy = Envelope::decode(sealed.bytes()).and_then(Envelope::verify);
        let copy = copy.expect("what was sealed is accepted");
        prop_assert_eq!(copy.id(), sealed.id());
        prop_assert_eq!(*copy.id(), statement.id().expect("the same"));
        prop_assert_eq!(copy.bytes(), sealed.bytes());
        prop_assert_eq!(copy.statement(), &statement);
    }

    #[test]
    fn decoding_a_claim_inverts_encoding((secret, claim) in any::claim()) {
        let body = claim.encode_body();
        let decoded = NameClaim::decode_body(&body);
        prop_assert_eq!(decoded.as_ref(), Ok(&claim));

        let sealed = claim.seal(&secret.sign(&claim.signing_bytes()));
        let sealed = sealed.expect("the puddle's own signature");
        let copy = VerifiedClaim::decode(sealed.bytes()).expect("what was sealed is accepted");
        prop_assert_eq!(copy.bytes(), sealed.bytes());
        prop_assert_eq!(copy.claim(), &claim);
    }

    #[test]
    fn any_bytes_are_an_envelope_or_a_reason(bytes in vec(any::<u8>(), 0..600)) {
        if let Ok(envelope) = Envelope::decode(&bytes) {
            let _ = envelope.verify();
        }
        for draft in &*EVERY_TYPE {
            let _ = Statement::decode(&draft.type_name, &bytes);
        }
        let _ = VerifiedClaim::decode(&bytes);
        let _ = NameClaim::decode_body(&bytes);
    }

    #[test]
    fn any_text_is_a_type_or_a_reason(kind in "[a-zA-Z0-9.+-]{0,40}", plain in ".{0,40}") {
        let body = Draft::merge().body();
        let _ = Statement::decode(&format!("application/vnd.gitback.{kind}+cbor"), &body);
        let _ = Statement::decode(&plain, &body);
    }

    #[test]
    fn whatever_is_accepted_encodes_back_to_the_same_bytes(
        (_, statement) in any::statement(),
        damage in any::damage(),
    ) {
        let body = damaged(statement.encode_body().expect("within the rules"), &damage);
        if let Ok(decoded) = Statement::decode(&statement.type_name(), &body) {
            prop_assert_eq!(decoded.encode_body(), Ok(body));
        }
    }

    #[test]
    fn whatever_claim_is_accepted_encodes_back_to_the_same_bytes(
        (_, claim) in any::claim(),
        damage in any::damage(),
    ) {
        let body = damaged(claim.encode_body(), &damage);
        if let Ok(decoded) = NameClaim::decode_body(&body) {
            prop_assert_eq!(decoded.encode_body(), body);
        }
    }

    #[test]
    fn damage_never_verifies_as_something_else(
        which in any::<prop::sample::Index>(),
        damage in any::damage(),
    ) {
        let draft = which.get(&EVERY_TYPE);
        let whole = draft.seal();
        let bytes = damaged(whole.clone(), &damage);
        if let Ok(verified) = Envelope::decode(&bytes).and_then(Envelope::verify) {
            prop_assert_eq!(bytes, whole);
            prop_assert_eq!(verified.id().as_bytes(), &draft.id());
        }
    }

    #[test]
    fn init_follows_from_founder_and_handle(seed in any::<[u8; 32]>(), handle in "[a-z0-9]{1,20}") {
        let founder = SecretKey::from_seed(&seed);
        let handle: Handle = handle.parse().expect("a handle");
        let make = || {
            let init = Statement::init(&PuddleKey::new(founder.public()), &handle);
            let signature = founder.sign(&init.signing_bytes().expect("within the rules"));
            init.seal(signature).expect("the founder's own signature")
        };
        let (one, other) = (make(), make());
        prop_assert_eq!(one.bytes(), other.bytes());
    }

    #[test]
    fn the_heir_signs_the_body_without_its_last_field((_, _, statement) in any::delegation()) {
        let body = statement.encode_body().expect("within the rules");
        let mut unaccepted = body[..body.len() - 67].to_vec();
        unaccepted[0] -= 1;
        let signed = signing_bytes(ACCEPTANCE, &unaccepted);
        prop_assert_eq!(statement.acceptance_bytes(), Ok(Some(signed)));
    }

    #[test]
    fn an_acceptance_holds_for_one_delegation_only(
        (secret, heir, one) in any::delegation(),
        (_, _, other) in any::delegation(),
        what in 0_usize..11,
    ) {
        // The other one under the first one's acceptance, alike in all but one thing, and named for the same heir.
        let moved = one_thing_of(&one, &other, what);
        if moved == one {
            return Ok(());
        }
        let signature = secret.sign(&moved.signing_bytes().expect("within the rules"));
        prop_assert_eq!(moved.clone().seal(signature).map(|sealed| *sealed.id()), Err(Reject::HeirSignature));

        let accepted = any::accept(heir, moved);
        let signature = secret.sign(&accepted.signing_bytes().expect("within the rules"));
        prop_assert!(accepted.seal(signature).is_ok());
    }
}

#[test]
fn no_heir_signs_what_breaks_the_rules() {
    let draft = Draft::delegate();
    let mut statement = Statement::decode(&draft.type_name, &draft.body()).expect("it holds");
    if let Act::Delegate(delegate) = &mut statement.act {
        delegate.hop = 0;
    }
    let reject = statement.acceptance_bytes().expect_err("there is no hop 0");
    assert_eq!(reject.code(), "out-of-range");
}

/// `one`, but for one thing that is as in `other`.
fn one_thing_of(one: &Statement, other: &Statement, what: usize) -> Statement {
    let mut moved = one.clone();
    let (Act::Delegate(to), Act::Delegate(from)) = (&mut moved.act, &other.act) else {
        panic!("both are delegations");
    };
    match what {
        0 => to.hop = from.hop,
        1 => to.next = from.next,
        2 => to.cut.clone_from(&from.cut),
        3 => moved.project = other.project,
        4 => moved.incarnation = other.incarnation,
        5 => {
            (moved.seq, moved.prev) = (other.seq, other.prev);
            moved.deps.clone_from(&other.deps);
        }
        6 => moved.time_ms = other.time_ms,
        7 => moved.envoy = Some(EnvoyKey::new(moved.signer)),
        8 if moved.prev.is_some() => moved.prev = Some(EnvelopeId::from_bytes(&[8; 32])),
        9 => moved.deps = vec![EnvelopeId::from_bytes(&[9; 32])],
        _ => {
            let heir = to.to;
            *to = from.clone();
            to.to = heir;
        }
    }
    moved
}
