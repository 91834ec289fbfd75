//! That an envoy is of a fleet.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use gitback_envelope::cbor::{Keys, Reader, Writer};
use gitback_identity::{EnvoyKey, PublicKey, SecretKey};

use crate::reject::FleetReject;
use crate::signed::{check, envoy_key, open, public_key, seal};

/// The type under which an enrolment is signed. It does not begin as the types of envelopes do, so no envelope of a
/// project can be one.
pub const ENROLMENT_TYPE: &str = "application/vnd.gitback-enrolment.v1+cbor";
/// The most bytes of a whole enrolment.
pub const ENROLMENT_MAX: usize = 320;
/// The most bytes in the name of an envoy.
pub const ENVOY_NAME_MAX: usize = 63;
/// For how long after its end an enrolment is still taken, in milliseconds: clocks are wrong, and 7 days harm nobody.
pub const GRACE_MS: u64 = 7 * 24 * 3_600_000;

/// What an envoy is to its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// One of it.
    Member,
    /// It holds the authority's secret key, and enrols also those for whom another member of the fleet asks.
    Authority,
    /// It holds the authority's secret key, and enrols only for its own users, and by tickets.
    StrictAuthority,
}

/// The word of a fleet's authority that an envoy is of the fleet, for some time. The signature holds: nothing else makes
/// a value of this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    fields: Fields,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    authority: PublicKey,
    envoy: EnvoyKey,
    name: String,
    role: Role,
    number: u64,
    expires_ms: u64,
    through: Option<EnvoyKey>,
}

impl Enrolment {
    /// Signs that `envoy`, called `name`, is of the fleet whose authority this is.
    ///
    /// Of two for one envoy the one with the higher `number` holds: the moment of signing, or one more than the last.
    /// It and `expires_ms` are in milliseconds since 1970. `through` is the envoy that asked for it, if another one of
    /// the fleet did.
    ///
    /// # Errors
    ///
    /// [`FleetReject::Name`] if that is not a name.
    pub fn sign(
        authority: &SecretKey,
        envoy: EnvoyKey,
        name: &str,
        role: Role,
        number: u64,
        expires_ms: u64,
        through: Option<EnvoyKey>,
    ) -> Result<Self, FleetReject> {
        let fields = Fields {
            authority: authority.public(),
            envoy,
            name: name.to_owned(),
            role,
            number,
            expires_ms,
            through,
        };
        if !is_envoy_name(name) {
            return Err(FleetReject::Name);
        }
        let bytes = seal(authority, ENROLMENT_TYPE, &fields.encode());
        Ok(Self { fields, bytes })
    }

    /// Decodes one enrolment and checks its signature, which is by the authority that it names.
    ///
    /// Shape: CBOR array of body (bytes) and signature (64 bytes); at most [`ENROLMENT_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one enrolment.
    ///
    /// Source: docs/spec/fleet.md §1.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        let (body, signature) = open(bytes, ENROLMENT_MAX)?;
        let fields = Fields::decode(body)?;
        check(&fields.authority, ENROLMENT_TYPE, body, &signature)?;
        Ok(Self {
            fields,
            bytes: bytes.to_vec(),
        })
    }

    /// Whom these bytes say that they enrol. Nothing of it is checked.
    pub(crate) fn envoy_in(bytes: &[u8]) -> Result<&[u8], FleetReject> {
        let (body, _) = open(bytes, ENROLMENT_MAX)?;
        let mut reader = Reader::new(body);
        let fields = reader.map()?;
        let mut keys = Keys::default();
        for _ in 0..fields.min(2) {
            match keys.next(&mut reader)? {
                field::AUTHORITY => drop(reader.bytes()?),
                field::ENVOY => return Ok(reader.bytes()?),
                _ => return Err(FleetReject::MissingField),
            }
        }
        Err(FleetReject::MissingField)
    }

    /// The enrolment as it was signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Who signed it.
    #[must_use]
    pub const fn authority(&self) -> &PublicKey {
        &self.fields.authority
    }

    /// Who is enrolled.
    #[must_use]
    pub const fn envoy(&self) -> &EnvoyKey {
        &self.fields.envoy
    }

    /// What the envoy is called in its fleet.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// What it is to its fleet.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.fields.role
    }

    /// Which of this envoy's enrolments it is: usually when it was signed, in milliseconds since 1970.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.fields.number
    }

    /// When it ends, in milliseconds since 1970.
    #[must_use]
    pub const fn expires_ms(&self) -> u64 {
        self.fields.expires_ms
    }

    /// Which envoy of the fleet asked for it; none if a user of the authority's envoy did, or the envoy itself by a
    /// ticket.
    #[must_use]
    pub const fn through(&self) -> Option<&EnvoyKey> {
        self.fields.through.as_ref()
    }

    /// Whether it has not ended for whoever's clock shows `now_ms`, the grace included.
    #[must_use]
    pub const fn is_in_force(&self, now_ms: u64) -> bool {
        now_ms <= self.fields.expires_ms.saturating_add(GRACE_MS)
    }

    /// Whether this holds rather than `other`, of the same envoy. Of two with one number, as a restored authority could
    /// sign them, the same one holds everywhere.
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        (self.number(), self.bytes()) > (other.number(), other.bytes())
    }
}

mod field {
    pub(super) const AUTHORITY: u64 = 0;
    pub(super) const ENVOY: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const ROLE: u64 = 3;
    pub(super) const NUMBER: u64 = 4;
    pub(super) const EXPIRES: u64 = 5;
    pub(super) const THROUGH: u64 = 6;
}

impl Fields {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.map(6 + usize::from(self.through.is_some()));
        writer.uint(field::AUTHORITY);
        writer.bytes(self.authority.as_bytes());
        writer.uint(field::ENVOY);
        writer.bytes(self.envoy.as_bytes());
        writer.uint(field::NAME);
        writer.text(&self.name);
        writer.uint(field::ROLE);
        writer.uint(self.role.code());
        writer.uint(field::NUMBER);
        writer.uint(self.number);
        writer.uint(field::EXPIRES);
        writer.uint(self.expires_ms);
        if let Some(through) = &self.through {
            writer.uint(field::THROUGH);
            writer.bytes(through.as_bytes());
        }
        writer.finish()
    }

    fn decode(body: &[u8]) -> Result<Self, FleetReject> {
        let mut reader = Reader::new(body);
        let mut keys = Keys::default();
        let (mut authority, mut envoy, mut name) = (None, None, None);
        let (mut role, mut number, mut expires_ms) = (None, None, None);
        let mut through = None;
        for _ in 0..reader.map()? {
            match keys.next(&mut reader)? {
                field::AUTHORITY => authority = Some(public_key(&mut reader)?),
                field::ENVOY => envoy = Some(envoy_key(&mut reader)?),
                field::NAME => name = Some(envoy_name(reader.text()?)?),
                field::ROLE => role = Some(Role::of(reader.uint()?)?),
                field::NUMBER => number = Some(reader.uint()?),
                field::EXPIRES => expires_ms = Some(reader.uint()?),
                field::THROUGH => through = Some(envoy_key(&mut reader)?),
                _ => return Err(FleetReject::UnknownField),
            }
        }
        reader.finish()?;
        Ok(Self {
            authority: authority.ok_or(FleetReject::MissingField)?,
            envoy: envoy.ok_or(FleetReject::MissingField)?,
            name: name.ok_or(FleetReject::MissingField)?,
            role: role.ok_or(FleetReject::MissingField)?,
            number: number.ok_or(FleetReject::MissingField)?,
            expires_ms: expires_ms.ok_or(FleetReject::MissingField)?,
            through,
        })
    }
}

impl Role {
    const fn code(self) -> u64 {
        match self {
            Self::Member => 0,
            Self::Authority => 1,
            Self::StrictAuthority => 2,
        }
    }

    const fn of(code: u64) -> Result<Self, FleetReject> {
        match code {
            0 => Ok(Self::Member),
            1 => Ok(Self::Authority),
            2 => Ok(Self::StrictAuthority),
            _ => Err(FleetReject::WrongLength),
        }
    }

    /// Whether the envoy holds the authority's secret key.
    #[must_use]
    pub const fn is_authority(self) -> bool {
        matches!(self, Self::Authority | Self::StrictAuthority)
    }
}

/// Whether an envoy can be called that: 1 to [`ENVOY_NAME_MAX`] letters, digits, dots, dashes and underscores.
#[must_use]
pub fn is_envoy_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !name.is_empty() && name.len() <= ENVOY_NAME_MAX && name.bytes().all(plain)
}

pub(crate) fn envoy_name(text: &str) -> Result<String, FleetReject> {
    if is_envoy_name(text) {
        Ok(text.to_owned())
    } else {
        Err(FleetReject::Name)
    }
}
