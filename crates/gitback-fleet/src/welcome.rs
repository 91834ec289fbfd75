//! What an authority is asked with, and what it answers.

use alloc::string::String;
use alloc::vec::Vec;

use gitback_envelope::Malformed;
use gitback_envelope::cbor::{Reader, Writer};
use gitback_identity::EnvoyKey;

use crate::reject::FleetReject;
use crate::request::{
    CHALLENGE_LEN, ENROL_REQUEST_MAX, EnrolRequest, read_addresses, write_addresses,
};
use crate::roster::{ROSTER_MAX, Roster};
use crate::signed::{envoy_key, exact};
use crate::ticket::SECRET_LEN;

/// The most bytes of a petition.
pub const PETITION_MAX: usize = ENROL_REQUEST_MAX + 128;
/// The most envoys whose places a welcome says.
pub const PLACES_MAX: usize = 16;
/// The most bytes of a welcome: a roster, and [`PLACES_MAX`] envoys with a few addresses each.
pub const WELCOME_MAX: usize = ROSTER_MAX + 40 * 1024;

/// What an authority is asked with: a request, the challenge that it has to answer, and the secret of a ticket, where
/// nobody of the fleet asks for the new envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Petition {
    /// The new envoy's request.
    pub request: EnrolRequest,
    /// What whoever asks for it chose.
    pub challenge: [u8; CHALLENGE_LEN],
    /// The secret of a ticket.
    pub secret: Option<[u8; SECRET_LEN]>,
}

/// Where an envoy may be reached. A rumour: whoever answers there has to prove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which envoy.
    pub envoy: EnvoyKey,
    /// `host:port`, the best first.
    pub addresses: Vec<String>,
}

/// What a new envoy gets: who is of its fleet, and where some of them are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The fleet, the new envoy in it.
    pub roster: Roster,
    /// Where its envoys are.
    pub places: Vec<Place>,
}

impl Petition {
    /// Writes the petition.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(3);
        writer.bytes(self.request.bytes());
        writer.bytes(&self.challenge);
        writer.bytes(self.secret.as_ref().map_or(&[][..], |secret| &secret[..]));
        writer.finish()
    }

    /// Decodes a petition and checks the signature of the request.
    ///
    /// Shape: CBOR array of request (bytes), challenge (32 bytes) and secret (16 bytes, or none); at most
    /// [`PETITION_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one petition.
    ///
    /// Source: docs/spec/fleet.md §6.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        if bytes.len() > PETITION_MAX {
            return Err(FleetReject::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        if reader.array()? != 3 {
            return Err(Malformed::ItemCount.into());
        }
        let request = EnrolRequest::decode(reader.bytes()?)?;
        let challenge = exact(&mut reader)?;
        let secret = match reader.bytes()? {
            [] => None,
            secret => Some(secret.try_into().map_err(|_| FleetReject::WrongLength)?),
        };
        reader.finish()?;
        Ok(Self {
            request,
            challenge,
            secret,
        })
    }
}

impl Welcome {
    /// Writes the welcome. Places that are too many are left out, the last first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(2);
        writer.bytes(&self.roster.encode());
        write_places(&mut writer, &self.places);
        writer.finish()
    }

    /// Decodes a welcome and checks each signature in its roster.
    ///
    /// Shape: CBOR array of roster (bytes) and places (array of arrays of envoy key, 32 bytes, and addresses, array of
    /// texts); at most [`WELCOME_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one welcome.
    ///
    /// Source: docs/spec/fleet.md §6.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        if bytes.len() > WELCOME_MAX {
            return Err(FleetReject::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        if reader.array()? != 2 {
            return Err(Malformed::ItemCount.into());
        }
        let roster = Roster::decode(reader.bytes()?)?;
        let places = read_places(&mut reader)?;
        reader.finish()?;
        Ok(Self { roster, places })
    }
}

fn write_places(writer: &mut Writer, places: &[Place]) {
    let count = places.len().min(PLACES_MAX);
    writer.array(count);
    for place in places.iter().take(count) {
        writer.array(2);
        writer.bytes(place.envoy.as_bytes());
        write_addresses(writer, &place.addresses);
    }
}

fn read_places(reader: &mut Reader<'_>) -> Result<Vec<Place>, FleetReject> {
    let count = usize::try_from(reader.array()?).unwrap_or(usize::MAX);
    if count > PLACES_MAX {
        return Err(FleetReject::TooMany);
    }
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        if reader.array()? != 2 {
            return Err(Malformed::ItemCount.into());
        }
        let (envoy, addresses) = (envoy_key(reader)?, read_addresses(reader)?);
        places.push(Place { envoy, addresses });
    }
    Ok(places)
}
