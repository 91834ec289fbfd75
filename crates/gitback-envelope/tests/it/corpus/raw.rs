//! Envelopes put together byte by byte, so that they can be wrong in exactly one way.

use gitback_envelope::signing_bytes;
use gitback_identity::{Handle, ProjectId, PublicKey, PuddleKey, SecretKey};

pub(crate) fn uint(number: u64) -> Vec<u8> {
    item(0, number)
}

pub(crate) fn bytes(bytes: &[u8]) -> Vec<u8> {
    [item(2, bytes.len() as u64), bytes.to_vec()].concat()
}

pub(crate) fn text(text: &[u8]) -> Vec<u8> {
    [item(3, text.len() as u64), text.to_vec()].concat()
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [item(4, items.len() as u64), items.concat()].concat()
}

pub(crate) fn map(pairs: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut map = item(5, pairs.len() as u64);
    for (key, value) in pairs {
        map.extend(uint(*key));
        map.extend(value);
    }
    map
}

/// The head of an item in its shortest form.
pub(crate) fn item(major: u8, argument: u64) -> Vec<u8> {
    let major = major << 5;
    let wide = argument.to_be_bytes();
    match argument {
        0..24 => vec![major | wide[7]],
        24..0x100 => vec![major | 24, wide[7]],
        0x100..0x1_0000 => [&[major | 25], &wide[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major | 26], &wide[4..]].concat(),
        _ => [&[major | 27], &wide[..]].concat(),
    }
}

pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    secret(seed).public()
}

pub(crate) const FOUNDER: u8 = 1;
pub(crate) const ENVOY: u8 = 2;
pub(crate) const STRANGER: u8 = 3;
/// A puddle that is invited.
pub(crate) const MEMBER: u8 = 4;
/// The next key of the founder line, which also founds the project that takes the place of this one.
pub(crate) const HEIR: u8 = 5;

pub(crate) const ACCEPTANCE: &str = "application/vnd.gitback.delegate-accept.v1+cbor";

pub(crate) fn project() -> ProjectId {
    let handle = Handle::parse("notes").expect("a handle");
    ProjectId::derive(&PuddleKey::new(public(FOUNDER)), &handle)
}

/// A public key as a field.
pub(crate) fn key(seed: u8) -> Vec<u8> {
    bytes(public(seed).as_bytes())
}

/// The ids of these as a field, in ascending order.
pub(crate) fn ids(drafts: &[Draft]) -> Vec<u8> {
    let mut ids: Vec<_> = drafts.iter().map(Draft::id).collect();
    ids.sort_unstable();
    let ids: Vec<_> = ids.iter().map(|id| bytes(id)).collect();
    array(&ids)
}

pub(crate) fn id(byte: u8) -> Vec<u8> {
    bytes(&[byte; 32])
}

/// An envelope that is right until one of its parts is changed.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) type_name: String,
    pub(crate) fields: Vec<(u64, Vec<u8>)>,
    pub(crate) signer: u8,
}

impl Draft {
    fn new(kind: &str, signer: u8, fields: Vec<(u64, Vec<u8>)>) -> Self {
        Self {
            type_name: format!("application/vnd.gitback.{kind}+cbor"),
            fields,
            signer,
        }
    }

    pub(crate) fn init() -> Self {
        let founder = key(FOUNDER);
        let fields = vec![
            (0, bytes(project().as_bytes())),
            (1, founder.clone()),
            (2, founder),
            (3, id(0)),
            (4, bytes(&[0; 16])),
            (5, uint(0)),
            (16, text(b"notes")),
        ];
        Self::new("init.v1", FOUNDER, fields)
    }

    /// What every envelope but `init` begins with: the first of a chain, after `init`.
    fn header(signer: u8, puddle: u8) -> Vec<(u64, Vec<u8>)> {
        vec![
            (0, bytes(project().as_bytes())),
            (1, key(signer)),
            (2, key(puddle)),
            (3, key(ENVOY)),
            (4, bytes(&[0x11; 16])),
            (5, uint(0)),
            (7, ids(&[Self::init()])),
            (8, uint(1_700_000_000_000)),
        ]
    }

    /// Something that a puddle says for itself.
    fn said_by(puddle: u8, kind: &str, fields: &[(u64, Vec<u8>)]) -> Self {
        let fields = [Self::header(puddle, puddle), fields.to_vec()].concat();
        Self::new(kind, puddle, fields)
    }

    /// The same as what follows `last` on its chain, as its `seq`th.
    fn after(self, last: &Self, seq: u64) -> Self {
        let next = self.without(7).with(5, uint(seq));
        next.with(6, bytes(&last.id()))
    }

    pub(crate) fn policy() -> Self {
        Self::said_by(FOUNDER, "policy.v1", &[(16, uint(0))])
    }

    /// Written by the envoy.
    pub(crate) fn merge() -> Self {
        let heads = ids(&[Self::grant(), Self::invite()]);
        Self::new("merge.v1", ENVOY, Self::header(ENVOY, FOUNDER)).with(7, heads)
    }

    pub(crate) fn invite() -> Self {
        Self::said_by(FOUNDER, "invite.v1", &[(16, key(MEMBER)), (17, uint(0))])
    }

    /// The first of the member's chain.
    pub(crate) fn join() -> Self {
        let invite = (16, bytes(&Self::invite().id()));
        Self::said_by(MEMBER, "join.v1", &[invite]).with(7, ids(&[Self::invite()]))
    }

    pub(crate) fn leave() -> Self {
        let invite = (16, bytes(&Self::invite().id()));
        Self::said_by(MEMBER, "leave.v1", &[invite]).after(&Self::join(), 1)
    }

    pub(crate) fn rejoin() -> Self {
        let invite = (16, bytes(&Self::invite().id()));
        Self::said_by(MEMBER, "rejoin.v1", &[invite]).after(&Self::leave(), 2)
    }

    /// Nothing of the member counts any longer.
    pub(crate) fn revoke() -> Self {
        let invite = (16, bytes(&Self::invite().id()));
        let fields = [invite, (17, array(&[]))];
        Self::said_by(FOUNDER, "revoke.v1", &fields).with(7, ids(&[Self::join()]))
    }

    pub(crate) fn grant() -> Self {
        Self::said_by(FOUNDER, "grant.v1", &[(16, key(ENVOY)), (17, uint(1000))])
    }

    pub(crate) fn ungrant() -> Self {
        let fields = [(16, key(ENVOY)), (17, ids(&[Self::grant()]))];
        Self::said_by(FOUNDER, "ungrant.v1", &fields).with(7, ids(&[Self::grant()]))
    }

    /// The first hop, to [`HEIR`], who accepts.
    pub(crate) fn delegate() -> Self {
        let heads = ids(&[Self::grant(), Self::join()]);
        let fields = [(16, uint(1)), (17, key(HEIR)), (19, heads.clone())];
        let delegate = Self::said_by(FOUNDER, "delegate.v1", &fields);
        delegate.with(7, heads).accepted_by(HEIR)
    }

    /// A project of the same handle under another key takes the place.
    pub(crate) fn tombstone() -> Self {
        let heads = ids(&[Self::grant(), Self::join()]);
        let fields = [(16, key(HEIR)), (17, text(b"notes")), (18, heads.clone())];
        Self::said_by(FOUNDER, "tombstone.v1", &fields).with(7, heads)
    }

    /// Points `refs/heads/main` at an object.
    pub(crate) fn update() -> Self {
        let mut fields = Self::header(ENVOY, FOUNDER);
        fields.push((16, array(&[change(b"refs/heads/main", 0xaa, &[], &[])])));
        Self::new("update.v1", ENVOY, fields).with(7, ids(&[Self::grant()]))
    }

    /// A claim to a name, outside any project.
    pub(crate) fn claim() -> Self {
        let fields = vec![
            (2, key(MEMBER)),
            (5, uint(3)),
            (8, uint(1_700_000_000_000)),
            (16, text(b"alice")),
        ];
        Self::new("name-claim.v1", MEMBER, fields)
    }

    pub(crate) fn unknown(kind: &str) -> Self {
        let mut fields = Self::header(STRANGER, FOUNDER);
        fields.push((16, uint(1)));
        Self::new(kind, STRANGER, fields)
    }

    /// The same with one field set.
    pub(crate) fn with(mut self, key: u64, value: Vec<u8>) -> Self {
        self.fields.retain(|(other, _)| *other != key);
        self.fields.push((key, value));
        self.fields.sort_by_key(|(key, _)| *key);
        self
    }

    /// The same without one field.
    pub(crate) fn without(mut self, key: u64) -> Self {
        self.fields.retain(|(other, _)| *other != key);
        self
    }

    /// The same under another type.
    pub(crate) fn of_type(mut self, type_name: &str) -> Self {
        self.type_name = type_name.to_owned();
        self
    }

    /// The same, signed by and for the right fields, by another key.
    pub(crate) fn signed_by(mut self, signer: u8) -> Self {
        self.signer = signer;
        self
    }

    /// The same with the acceptance of an heir, over everything that is in it by now.
    pub(crate) fn accepted_by(self, heir: u8) -> Self {
        let unaccepted = self.clone().without(20).body();
        let accept = secret(heir).sign(&signing_bytes(ACCEPTANCE, &unaccepted));
        self.with(20, bytes(accept.as_bytes()))
    }

    /// `<kind>.v<number>`, as in the type.
    pub(crate) fn kind(&self) -> &str {
        let name = self.type_name.strip_prefix("application/vnd.gitback.");
        name.and_then(|name| name.strip_suffix("+cbor"))
            .unwrap_or_default()
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        map(&self.fields)
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        use sha2::Digest as _;
        sha2::Sha256::digest(signing_bytes(&self.type_name, &self.body())).into()
    }

    /// The envelope, correctly signed.
    pub(crate) fn seal(&self) -> Vec<u8> {
        self.seal_body(&self.body())
    }

    /// The envelope around another body, correctly signed.
    pub(crate) fn seal_body(&self, body: &[u8]) -> Vec<u8> {
        let signature = secret(self.signer).sign(&signing_bytes(&self.type_name, body));
        wrap(self.type_name.as_bytes(), body, signature.as_bytes())
    }
}

pub(crate) fn wrap(type_name: &[u8], body: &[u8], signature: &[u8]) -> Vec<u8> {
    array(&[text(type_name), bytes(body), bytes(signature)])
}

pub(crate) fn change(name: &[u8], new: u8, contained: &[Vec<u8>], forced: &[Vec<u8>]) -> Vec<u8> {
    array(&[
        bytes(name),
        bytes(&[new; 20]),
        array(contained),
        array(forced),
    ])
}
