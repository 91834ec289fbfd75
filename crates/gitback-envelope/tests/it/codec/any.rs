//! Statements and claims of every kind, as they come.

use gitback_envelope::{
    Act, Change, Delegate, EnvelopeId, Grant, Incarnation, Invite, NameClaim, Oid, PackHint,
    Policy, RefName, Revoke, Role, Scope, Statement, Tombstone, Ungrant, Update,
};
use gitback_identity::{
    EnvoyKey, Handle, ProjectId, PublicKey, PuddleKey, PuddleName, SecretKey, Signature,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn key() -> impl Strategy<Value = PublicKey> {
    any::<u8>().prop_map(|seed| secret(seed).public())
}

fn id() -> impl Strategy<Value = EnvelopeId> {
    any::<[u8; 32]>().prop_map(|bytes| EnvelopeId::from_bytes(&bytes))
}

fn ids(max: usize) -> impl Strategy<Value = Vec<EnvelopeId>> {
    btree_set(any::<[u8; 32]>(), 0..max)
        .prop_map(|ids| ids.iter().map(EnvelopeId::from_bytes).collect())
}

fn ref_name() -> impl Strategy<Value = RefName> {
    "refs/[a-z]{1,5}(/[a-zA-Z0-9@#é-]{1,9}){1,3}".prop_map(|name| name.parse().expect("a ref name"))
}

fn handle() -> impl Strategy<Value = Handle> {
    "[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?".prop_map(|handle| handle.parse().expect("a handle"))
}

fn policy() -> impl Strategy<Value = Act> {
    let parts = (
        any::<bool>(),
        btree_set(ref_name(), 0..6),
        option::of(1..=10_000_u32),
    );
    parts.prop_map(|(wide, protected, replicas)| {
        let scope = if wide {
            Scope::SwarmWide
        } else {
            Scope::MembersOnly
        };
        Act::Policy(Policy {
            scope,
            protected: protected.into_iter().collect(),
            replicas,
        })
    })
}

fn membership() -> impl Strategy<Value = Act> {
    let invite = (key(), any::<bool>()).prop_map(|(puddle, reader)| {
        let role = if reader { Role::Reader } else { Role::Member };
        Act::Invite(Invite {
            puddle: PuddleKey::new(puddle),
            role,
        })
    });
    prop_oneof![
        invite,
        id().prop_map(|invite| Act::Join { invite }),
        id().prop_map(|invite| Act::Leave { invite }),
        id().prop_map(|invite| Act::Rejoin { invite }),
        (id(), ids(8)).prop_map(|(invite, cut)| Act::Revoke(Revoke { invite, cut })),
    ]
}

fn grant() -> impl Strategy<Value = Act> {
    let grant = (key(), any::<u32>(), option::of(any::<u64>()));
    let grant = grant.prop_map(|(envoy, uid, expires_ms)| {
        Act::Grant(Grant {
            envoy: EnvoyKey::new(envoy),
            uid,
            expires_ms,
        })
    });
    let ungrant = (key(), ids(8)).prop_map(|(envoy, cut)| {
        Act::Ungrant(Ungrant {
            envoy: EnvoyKey::new(envoy),
            cut,
        })
    });
    prop_oneof![grant, ungrant]
}

/// The seed of the heir is its own field's, so that [`accept`] can sign for it.
fn delegate() -> impl Strategy<Value = (u8, Delegate)> {
    let parts = (
        1..=u64::MAX,
        any::<u8>(),
        option::of(any::<[u8; 32]>()),
        ids(8),
    );
    parts.prop_map(|(hop, heir, next, cut)| {
        let delegate = Delegate {
            hop,
            to: PuddleKey::new(secret(heir).public()),
            next,
            cut,
            accept: Signature::from_bytes(&[0; 64]),
        };
        (heir, delegate)
    })
}

fn tombstone() -> impl Strategy<Value = Act> {
    (key(), handle(), ids(8)).prop_map(|(founder, handle, cut)| {
        Act::Tombstone(Tombstone {
            founder: PuddleKey::new(founder),
            handle,
            cut,
        })
    })
}

fn update() -> impl Strategy<Value = Act> {
    let values = (any::<[u8; 20]>(), ids(4), ids(4));
    let changes = btree_map(ref_name(), values, 1..6);
    let pack = (any::<[u8; 32]>(), any::<u64>());
    let parts = (changes, option::of(ref_name()), option::of(pack));
    parts.prop_map(|(changes, head, pack)| {
        let change = |(name, (new, contained, forced)): (RefName, ([u8; 20], _, _))| Change {
            name,
            new: Oid::from_bytes(&new),
            contained,
            forced,
        };
        Act::Update(Update {
            changes: changes.into_iter().map(change).collect(),
            head,
            pack: pack.map(|(blake3, bytes)| PackHint { blake3, bytes }),
        })
    })
}

/// What is said, and whether the puddle signs it itself.
fn act() -> impl Strategy<Value = (bool, Act)> {
    let by_either = prop_oneof![update(), Just(Act::Merge)];
    let by_puddle = prop_oneof![policy(), membership(), grant(), tombstone()];
    prop_oneof![
        (any::<bool>(), by_either),
        by_puddle.prop_map(|act| (true, act)),
    ]
}

prop_compose! {
    /// Everything but what is said, for one of two signers.
    fn header()(
        project in any::<[u8; 32]>(),
        incarnation in any::<[u8; 15]>(),
        seq in prop_oneof![Just(0), any::<u64>()],
        prev in any::<[u8; 32]>(),
        deps in ids(8),
        first_dep in any::<[u8; 32]>(),
        time_ms in option::of(any::<u64>()),
    ) -> Statement {
        let puddle = secret(1).public();
        let mut bytes = [1; 16];
        bytes[1..].copy_from_slice(&incarnation);
        let mut statement = Statement {
            project: ProjectId::from_bytes(&project),
            signer: puddle,
            puddle: PuddleKey::new(puddle),
            envoy: Some(EnvoyKey::new(secret(2).public())),
            incarnation: Incarnation::from_bytes(&bytes),
            seq,
            prev: (seq > 0).then(|| EnvelopeId::from_bytes(&prev)),
            deps,
            time_ms,
            act: Act::Merge,
        };
        if seq == 0 && statement.deps.is_empty() {
            statement.deps.push(EnvelopeId::from_bytes(&first_dep));
        }
        statement
    }
}

/// Any delegation that its heir accepts, with the seed of the heir and the secret of its signer.
pub(super) fn delegation() -> impl Strategy<Value = (SecretKey, u8, Statement)> {
    (header(), delegate()).prop_map(|(header, (heir, delegate))| {
        let statement = Statement {
            act: Act::Delegate(delegate),
            ..header
        };
        (secret(1), heir, accept(heir, statement))
    })
}

/// `statement` with the acceptance of this heir, whoever it names.
pub(super) fn accept(heir: u8, mut statement: Statement) -> Statement {
    let bytes = statement.acceptance_bytes().expect("it can be written");
    let bytes = bytes.expect("it is a delegation");
    if let Act::Delegate(delegate) = &mut statement.act {
        delegate.accept = secret(heir).sign(&bytes);
    }
    statement
}

fn init() -> impl Strategy<Value = (SecretKey, Statement)> {
    (any::<[u8; 32]>(), handle()).prop_map(|(seed, handle)| {
        let founder = SecretKey::from_seed(&seed);
        let init = Statement::init(&PuddleKey::new(founder.public()), &handle);
        (founder, init)
    })
}

/// Any statement within the rules, with the secret of its signer.
pub(super) fn statement() -> impl Strategy<Value = (SecretKey, Statement)> {
    let plain = (header(), act()).prop_map(|(header, (by_puddle, act))| {
        let signer = secret(if by_puddle { 1 } else { 2 });
        let statement = Statement {
            signer: signer.public(),
            act,
            ..header
        };
        (signer, statement)
    });
    let delegation = delegation().prop_map(|(secret, _, statement)| (secret, statement));
    prop_oneof![1 => init(), 12 => plain, 2 => delegation]
}

/// Any claim, with the secret of its puddle.
pub(super) fn claim() -> impl Strategy<Value = (SecretKey, NameClaim)> {
    let name = "[a-z][a-z0-9-]{1,31}".prop_map(|name| PuddleName::parse(&name).expect("a name"));
    let parts = (
        any::<u8>(),
        any::<u64>(),
        option::of(any::<u64>()),
        option::of(name),
    );
    parts.prop_map(|(seed, counter, time_ms, name)| {
        let secret = secret(seed);
        let claim = NameClaim {
            puddle: PuddleKey::new(secret.public()),
            counter,
            time_ms,
            name,
        };
        (secret, claim)
    })
}

/// Where, how and with which byte something is damaged, a few times.
pub(super) type Damage = Vec<(prop::sample::Index, u8, u8)>;

pub(super) fn damage() -> impl Strategy<Value = Damage> {
    vec(any::<(prop::sample::Index, u8, u8)>(), 1..4)
}
