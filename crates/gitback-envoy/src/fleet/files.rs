//! What is kept of the fleet in the folder of the envoy's key.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use gitback_envelope::cbor::{Reader, Writer};
use gitback_fleet::{ADDRESSES_MAX, ENVOYS_MAX, FleetReject, ROSTER_MAX, Roster};
use gitback_identity::EnvoyKey;

use super::short_authority;
use super::tickets::Tickets;
use crate::daemon::chain;
use crate::{disk, key};

/// Where envoys were last, `host:port`, the best first.
pub(super) type Places = BTreeMap<EnvoyKey, Vec<String>>;

/// The most bytes of the files that are not a roster.
const FILE_MAX: u64 = 4 << 20;

/// The most rosters of one fleet that are kept aside; the last one gives way.
const ASIDE_MAX: u32 = 100;

/// Why what is known of the fleet cannot be loaded or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetFault {
    /// A file cannot be read, written or moved.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file of the roster is damaged.
    #[error(
        "{path} is damaged; put back a copy, of a backup or of the same file on another envoy of the fleet; where no \
         authority.key is beside it, it may also be moved away, and the fleet joined again by a ticket"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FleetReject,
    },
    /// The authority's key cannot be used.
    #[error("cannot use the key of the fleet's authority")]
    Key(#[source] key::KeyError),
}

/// The folder.
#[derive(Debug)]
pub(super) struct FleetFiles {
    dir: PathBuf,
}

impl FleetFiles {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn roster_file(&self) -> PathBuf {
        self.dir.join("fleet")
    }

    /// The roster, if there is one.
    pub(super) fn roster(&self) -> Result<Option<Roster>, FleetFault> {
        let path = self.roster_file();
        let most = u64::try_from(ROSTER_MAX).unwrap_or(u64::MAX);
        match read(&path, most) {
            Ok(bytes) => Roster::decode(&bytes)
                .map(Some)
                .map_err(|source| FleetFault::Damaged { path, source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FleetFault::Io {
                doing: "read",
                path,
                source,
            }),
        }
    }

    /// The file by which somebody says that the clock is right although enrolments are of a later time.
    pub(super) fn clock_is_right(&self) -> PathBuf {
        self.dir.join("clock-is-right")
    }

    /// Removes it: it has done its work.
    pub(super) fn forget_clock_is_right(&self) {
        let path = self.clock_is_right();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot be removed");
            }
            _ => {}
        }
    }

    /// Makes a roster durable.
    pub(super) fn keep_roster(&self, roster: &Roster) -> Result<(), FleetFault> {
        self.replace(&self.roster_file(), &roster.encode())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), FleetFault> {
        // The seals and the places of machines are for root and the daemon's user.
        disk::replace_private(path, bytes).map_err(|source| FleetFault::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Where envoys were last. What is damaged is as good as nothing: they say it again.
    pub(super) fn places(&self) -> Places {
        let path = self.dir.join("fleet-places");
        let places = lenient(&path, |bytes| read_places(bytes).ok());
        places.unwrap_or_default()
    }

    /// Keeps where envoys are, if that goes well: without it they are found more slowly.
    pub(super) fn keep_places(&self, places: &Places) {
        let path = self.dir.join("fleet-places");
        let mut writer = Writer::default();
        writer.array(places.len());
        for (envoy, addresses) in places {
            writer.array(2);
            writer.bytes(envoy.as_bytes());
            writer.array(addresses.len());
            for address in addresses {
                writer.text(address);
            }
        }
        if let Err(fault) = self.replace(&path, &writer.finish()) {
            tracing::warn!(error = %chain(&fault), "where the fleet's envoys are is not kept");
        }
    }

    /// The tickets that were given out. What is damaged is as good as none: none of them is taken any more.
    pub(super) fn tickets(&self) -> Tickets {
        lenient(&self.dir.join("tickets"), Tickets::decode).unwrap_or_default()
    }

    /// Makes the tickets durable.
    pub(super) fn keep_tickets(&self, tickets: &Tickets) -> Result<(), FleetFault> {
        self.replace(&self.dir.join("tickets"), &tickets.encode())
    }

    /// Keeps a copy of a roster that is about to give way to that of another fleet, beside the key of its authority.
    pub(super) fn put_roster_aside(&self, roster: &Roster) -> Result<(), FleetFault> {
        let short = short_authority(roster.authority());
        let bytes = roster.encode();
        let mut path = self.dir.join(format!("fleet-{short}"));
        // One that is there is of an earlier time in the same fleet, and stays as well.
        for number in 2..=ASIDE_MAX {
            match read(&path, FILE_MAX) {
                Ok(known) if known == bytes => return Ok(()),
                Ok(_) => path = self.dir.join(format!("fleet-{short}-{number}")),
                Err(_) => break,
            }
        }
        self.replace(&path, &bytes)
    }

    /// Puts the key of an authority aside that counts no longer. It is never deleted; its tickets are.
    pub(super) fn put_key_aside(&self) -> Result<(), FleetFault> {
        let path = self.dir.join(key::AUTHORITY_FILE);
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| FleetFault::Io {
                doing,
                path,
                source,
            }
        };
        if let Some(secret) = key::authority_key(&self.dir).map_err(FleetFault::Key)? {
            let short = short_authority(&secret.public());
            let aside = self.dir.join(format!("authority-{short}.key"));
            std::fs::rename(&path, &aside).map_err(io("move away", &path))?;
        }
        let tickets = self.dir.join("tickets");
        match std::fs::remove_file(&tickets) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io("remove", &tickets)(error));
            }
            _ => {}
        }
        disk::sync_dir(&self.dir).map_err(io("sync", &self.dir))
    }
}

fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    // One byte more than there can be, so that what is too long does not pass for whole.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file holds, or nothing, with a line in the log when it should have been something.
fn lenient<T>(path: &Path, decode: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    match read(path, FILE_MAX) {
        Ok(bytes) => {
            let decoded = decode(&bytes);
            if decoded.is_none() {
                tracing::warn!(path = %path.display(), "is damaged and not used");
            }
            decoded
        }
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot be read");
            }
            None
        }
    }
}

fn read_places(bytes: &[u8]) -> Result<Places, FleetReject> {
    let mut reader = Reader::new(bytes);
    let mut places = Places::new();
    let count = reader.array()?;
    if usize::try_from(count).unwrap_or(usize::MAX) > ENVOYS_MAX {
        return Err(FleetReject::TooMany);
    }
    for _ in 0..count {
        let _pair = reader.array()?;
        let key = reader.bytes()?.try_into();
        let key = EnvoyKey::from_bytes(key.map_err(|_| FleetReject::WrongLength)?)
            .map_err(FleetReject::Key)?;
        let mut addresses = Vec::new();
        for _ in 0..reader.array()? {
            addresses.push(reader.text()?.to_owned());
        }
        addresses.truncate(ADDRESSES_MAX);
        places.insert(key, addresses);
    }
    reader.finish()?;
    Ok(places)
}
