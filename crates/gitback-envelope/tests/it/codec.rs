//! Decoding is total, and inverts encoding.

use gitback_envelope::{
    Act, Change, Envelope, EnvelopeId, Grant, Incarnation, Oid, PackHint, RefName, Statement,
    Update,
};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::corpus::raw::Draft;

fn ids(max: usize) -> impl Strategy<Value = Vec<EnvelopeId>> {
    btree_set(any::<[u8; 32]>(), 0..max)
        .prop_map(|ids| ids.iter().map(EnvelopeId::from_bytes).collect())
}

fn ref_name() -> impl Strategy<Value = RefName> {
    "refs/[a-z]{1,5}(/[a-zA-Z0-9@#é-]{1,9}){1,3}".prop_map(|name| name.parse().expect("a ref name"))
}

fn act() -> impl Strategy<Value = (bool, Act)> {
    let grant = (any::<u8>(), any::<u32>(), option::of(any::<u64>())).prop_map(
        |(envoy, uid, expires_ms)| {
            let envoy = EnvoyKey::new(SecretKey::from_seed(&[envoy; 32]).public());
            let act = Act::Grant(Grant {
                envoy,
                uid,
                expires_ms,
            });
            (true, act)
        },
    );
    let values = (any::<[u8; 20]>(), ids(4), ids(4));
    let changes = btree_map(ref_name(), values, 1..6);
    let pack = (any::<[u8; 32]>(), any::<u64>());
    let update = (
        any::<bool>(),
        changes,
        option::of(ref_name()),
        option::of(pack),
    );
    let update = update.prop_map(|(by_puddle, changes, head, pack)| {
        let change = |(name, (new, contained, forced)): (RefName, ([u8; 20], _, _))| Change {
            name,
            new: Oid::from_bytes(&new),
            contained,
            forced,
        };
        let act = Act::Update(Update {
            changes: changes.into_iter().map(change).collect(),
            head,
            pack: pack.map(|(blake3, bytes)| PackHint { blake3, bytes }),
        });
        (by_puddle, act)
    });
    prop_oneof![grant, update]
}

prop_compose! {
    fn statement()(
        (by_puddle, act) in act(),
        project in any::<[u8; 32]>(),
        incarnation in any::<[u8; 16]>(),
        seq in any::<u64>(),
        prev in any::<[u8; 32]>(),
        deps in ids(8),
        first_dep in any::<[u8; 32]>(),
        time_ms in option::of(any::<u64>()),
    ) -> (SecretKey, Statement) {
        let puddle = SecretKey::from_seed(&[1; 32]);
        let envoy = SecretKey::from_seed(&[2; 32]);
        let mut statement = Statement {
            project: ProjectId::from_bytes(&project),
            signer: if by_puddle { puddle.public() } else { envoy.public() },
            puddle: PuddleKey::new(puddle.public()),
            envoy: Some(EnvoyKey::new(envoy.public())),
            incarnation: Incarnation::from_bytes(&incarnation),
            seq,
            prev: (seq > 0).then(|| EnvelopeId::from_bytes(&prev)),
            deps,
            time_ms,
            act,
        };
        if seq == 0 && statement.deps.is_empty() {
            statement.deps.push(EnvelopeId::from_bytes(&first_dep));
        }
        (if by_puddle { puddle } else { envoy }, statement)
    }
}

/// A few bytes of something that was right are changed, removed or added.
fn damaged(mut bytes: Vec<u8>, damage: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
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
    fn decode_inverts_encode((secret, statement) in statement()) {
        let body = statement.encode_body().expect("a statement within the rules");
        let decoded = Statement::decode(&statement.type_name(), &body);
        prop_assert_eq!(decoded.as_ref(), Ok(&statement));

        let signature = secret.sign(&statement.signing_bytes().expect("the same"));
        let sealed = statement.clone().seal(signature).expect("the signer's own signature");
        let copy = Envelope::decode(sealed.bytes()).and_then(Envelope::verify);
        let copy = copy.expect("what was sealed is accepted");
        prop_assert_eq!(copy.id(), sealed.id());
        prop_assert_eq!(copy.bytes(), sealed.bytes());
        prop_assert_eq!(copy.statement(), &statement);
    }

    #[test]
    fn any_bytes_are_an_envelope_or_a_reason(bytes in vec(any::<u8>(), 0..600)) {
        if let Ok(envelope) = Envelope::decode(&bytes) {
            let _ = envelope.verify();
        }
        for draft in [Draft::init(), Draft::grant(), Draft::update(), Draft::unknown("x.v1")] {
            let _ = Statement::decode(&draft.type_name, &bytes);
        }
    }

    #[test]
    fn whatever_is_accepted_encodes_back_to_the_same_bytes(
        (_, statement) in statement(),
        damage in vec(any::<(prop::sample::Index, u8, u8)>(), 1..4),
    ) {
        let body = damaged(statement.encode_body().expect("within the rules"), &damage);
        if let Ok(decoded) = Statement::decode(&statement.type_name(), &body) {
            prop_assert_eq!(decoded.encode_body(), Ok(body));
        }
    }

    #[test]
    fn damage_never_verifies_as_something_else(
        which in 0_usize..4,
        damage in vec(any::<(prop::sample::Index, u8, u8)>(), 1..4),
    ) {
        let drafts = [Draft::init(), Draft::grant(), Draft::update(), Draft::unknown("x.v1")];
        let whole = drafts[which].seal();
        let bytes = damaged(whole.clone(), &damage);
        if let Ok(verified) = Envelope::decode(&bytes).and_then(Envelope::verify) {
            prop_assert_eq!(bytes, whole);
            prop_assert_eq!(verified.id().as_bytes(), &drafts[which].id());
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
}
