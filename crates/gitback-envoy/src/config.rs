//! `envoy.toml`: name, address, local users, peers.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitback_fleet::Role;
use gitback_identity::EnvoyKey;
use gitback_pack::Limits;
use serde::Deserialize;

mod kept;
mod packs;

pub(crate) use kept::KeepReplaced;
pub(crate) use packs::{field, over};

/// Most peers one envoy may have in its configuration.
pub const PEERS_MAX: usize = 1024;

/// Longest name of an envoy, in bytes.
pub const ENVOY_NAME_MAX: usize = 63;

/// Largest configuration file that is read, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where peers reach an envoy when the configuration does not say.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:1531";

/// How much one catch-up moves, in bytes, when the configuration does not say.
const DEFAULT_CATCH_UP_MAX: u64 = 2 << 30;

/// The least and the most that one catch-up can be told to move, in bytes.
const CATCH_UP_LEAST: u64 = 64 << 10;
const CATCH_UP_MOST: u64 = 1 << 40;

/// What one envoy is told about itself, its users and its peers.
#[derive(Debug, Clone)]
pub struct Config {
    name: String,
    listen: SocketAddr,
    allow_uids: BTreeSet<u32>,
    min_free_percent: u8,
    contact_interval: Duration,
    push_wait: Duration,
    push_check: Duration,
    lan_discovery: bool,
    advertise: Option<Vec<String>>,
    enrol_through: EnrolThrough,
    catch_up_max_bytes: u64,
    packs: Limits,
    member_max_bytes: Option<u64>,
    keep_replaced: Option<KeepReplaced>,
    peers: Vec<Peer>,
}

/// Through whom an envoy that holds the key of its fleet's authority takes in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EnrolThrough {
    /// Every envoy of the fleet, for its users.
    Members,
    /// Its own users, and tickets.
    Authority,
}

/// Another envoy of the fleet: what it is called, its key, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The name shown to people.
    pub name: String,
    /// Its TLS identity; a connection that cannot prove it is dropped.
    pub key: EnvoyKey,
    /// `host:port`; none when it is to be found by its address record or on the local network.
    pub address: Option<String>,
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than [`CONFIG_BYTES_MAX`].
    #[error("{path} has {bytes} bytes; at most {CONFIG_BYTES_MAX} are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The text is not TOML, or a field has the wrong name or type.
    #[error("{0}")]
    Syntax(String),
    /// A value is of the right type and still cannot be meant.
    #[error("{field}: {problem}")]
    Value {
        /// The field's name.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    listen: Option<String>,
    allow_uids: Option<Vec<u32>>,
    min_free_percent: Option<u8>,
    contact_interval_ms: Option<u64>,
    push_wait_ms: Option<u64>,
    push_check_ms: Option<u64>,
    lan_discovery: Option<bool>,
    advertise: Option<Vec<String>>,
    enrol_through: Option<EnrolThrough>,
    catch_up_max_bytes: Option<u64>,
    pack_max_bytes: Option<u64>,
    pack_max_objects: Option<u32>,
    pack_max_unpacked_bytes: Option<u64>,
    pack_max_delta_depth: Option<u32>,
    pack_max_cpu_seconds: Option<u64>,
    pack_max_memory_bytes: Option<u64>,
    member_max_bytes: Option<u64>,
    keep_replaced: Option<String>,
    #[serde(default)]
    peers: Vec<RawPeer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    name: String,
    key: String,
    address: Option<String>,
}

impl Config {
    /// Reads the configuration at `path`; a missing file gives the defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the field and, for syntax, the line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let text = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > CONFIG_BYTES_MAX => {
                return Err(ConfigError::TooLarge {
                    path: path.to_owned(),
                    bytes: meta.len(),
                });
            }
            Ok(_) => std::fs::read_to_string(path).map_err(read)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(read(error)),
        };
        Self::parse(&text)
    }

    /// Parses the text of an `envoy.toml`.
    ///
    /// Shape: `name`, `listen` ("ip:port"), `allow_uids` (numbers), `min_free_percent` (0 to 99, default 10),
    /// `contact_interval_ms` (default 10000), `push_wait_ms` (default 3000), `push_check_ms` (default 1000),
    /// `lan_discovery` (default true), `advertise` (a list of "host:port"), `catch_up_max_bytes` (default 2 GiB), what
    /// one pack may cost (`pack_max_bytes`, `pack_max_objects`, `pack_max_unpacked_bytes`, `pack_max_delta_depth`,
    /// `pack_max_cpu_seconds`, `pack_max_memory_bytes`; defaults: [`Limits::default`]), `member_max_bytes` (default 0: any number), `keep_replaced`
    /// (such as "90d", default "forever"), and a `[[peers]]` table each with `name`, `key` (64 hex digits) and, optionally, `address` ("host:port").
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`] and [`ConfigError::Value`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: Raw =
            toml::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))?;
        let min_free_percent = raw.min_free_percent.unwrap_or(10);
        if min_free_percent > 99 {
            return Err(value(
                "min_free_percent",
                format!("{min_free_percent} is over 99"),
            ));
        }
        let packs = packs::limits(&raw, min_free_percent)?;
        let name = raw.name.unwrap_or_else(host_name);
        check_name("name", &name)?;
        let listen = raw.listen.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let listen = listen.parse().map_err(|_| {
            value(
                "listen",
                format!("{listen:?} is not an address such as \"0.0.0.0:1531\""),
            )
        })?;
        Ok(Self {
            name,
            listen,
            allow_uids: raw.allow_uids.unwrap_or_default().into_iter().collect(),
            min_free_percent,
            contact_interval: bounded("contact_interval_ms", raw.contact_interval_ms, 10_000, 50)?,
            push_wait: bounded("push_wait_ms", raw.push_wait_ms, 3_000, 0)?,
            push_check: bounded("push_check_ms", raw.push_check_ms, 1_000, 0)?,
            lan_discovery: raw.lan_discovery.unwrap_or(true),
            advertise: raw.advertise.map(advertised).transpose()?,
            enrol_through: raw.enrol_through.unwrap_or(EnrolThrough::Members),
            catch_up_max_bytes: catch_up_max(raw.catch_up_max_bytes)?,
            packs,
            member_max_bytes: packs::of_one_member(raw.member_max_bytes)?,
            keep_replaced: kept::keep_replaced(raw.keep_replaced)?,
            peers: peers(raw.peers)?,
        })
    }

    /// What this envoy is called among people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens for peers.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The other envoys of the fleet.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Whether the local user `uid` may use this envoy. The daemon's own user always may.
    #[must_use]
    pub fn allows(&self, uid: u32, own: u32) -> bool {
        uid == own || self.allow_uids.contains(&uid)
    }

    pub(crate) fn min_free_percent(&self) -> u8 {
        self.min_free_percent
    }

    /// What this envoy is to its fleet where it holds the authority's key.
    pub(crate) const fn role(&self) -> Role {
        match self.enrol_through {
            EnrolThrough::Members => Role::Authority,
            EnrolThrough::Authority => Role::StrictAuthority,
        }
    }

    pub(crate) fn contact_interval(&self) -> Duration {
        self.contact_interval
    }

    pub(crate) fn push_wait(&self) -> Duration {
        self.push_wait
    }

    /// How long a push may ask the other envoys whether they know of something newer.
    pub(crate) fn push_check(&self) -> Duration {
        self.push_check
    }

    /// Whether other envoys are looked for on the local network, and told there where this one is.
    pub(crate) fn lan_discovery(&self) -> bool {
        self.lan_discovery
    }

    /// How many bytes of objects one catch-up brings in before other projects have their turn.
    pub(crate) fn catch_up_max_bytes(&self) -> u64 {
        self.catch_up_max_bytes
    }

    /// What one pack may cost.
    pub(crate) fn packs(&self) -> Limits {
        self.packs
    }

    /// How many bytes of packs one member may bring into one project by pushes to this envoy; `None`: any number.
    pub(crate) fn member_max_bytes(&self) -> Option<u64> {
        self.member_max_bytes
    }

    /// How long values are kept that were replaced; `None`: for ever.
    pub(crate) fn keep_replaced(&self) -> Option<&KeepReplaced> {
        self.keep_replaced.as_ref()
    }

    /// What the fleet is told of where this envoy is; nothing: what its interfaces say.
    pub(crate) fn advertise(&self) -> Option<&[String]> {
        self.advertise.as_deref()
    }
}

fn peers(raw: Vec<RawPeer>) -> Result<Vec<Peer>, ConfigError> {
    if raw.len() > PEERS_MAX {
        return Err(value(
            "peers",
            format!("{} of them; at most {PEERS_MAX}", raw.len()),
        ));
    }
    let mut found: Vec<Peer> = Vec::with_capacity(raw.len());
    for peer in raw {
        check_name("peers.name", &peer.name)?;
        let key: EnvoyKey = peer.key.parse().map_err(|_| {
            value("peers.key", format!("the key of {} is not an envoy key of 64 hex digits; `vigo envoy key` on {} prints it", peer.name, peer.name))
        })?;
        if let Some(address) = &peer.address {
            check_address("peers.address", address)?;
        }
        if let Some(other) = found
            .iter()
            .find(|other| other.key == key || other.name == peer.name)
        {
            return Err(value(
                "peers",
                format!("{} and {} share a name or a key", other.name, peer.name),
            ));
        }
        found.push(Peer {
            name: peer.name,
            key,
            address: peer.address,
        });
    }
    Ok(found)
}

/// Most addresses an envoy tells of itself.
const ADVERTISED_MAX: usize = 8;

/// Longest of them, in bytes.
const ADDRESS_MAX: usize = 255;

fn advertised(addresses: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if addresses.len() > ADVERTISED_MAX {
        let problem = format!("{} of them; at most {ADVERTISED_MAX}", addresses.len());
        return Err(value("advertise", problem));
    }
    for address in &addresses {
        check_address("advertise", address)?;
    }
    Ok(addresses)
}

fn check_address(field: &str, address: &str) -> Result<(), ConfigError> {
    let parts = address.rsplit_once(':');
    let parts = parts.map(|(host, port)| (host.is_empty(), port.parse::<u16>()));
    if matches!(parts, Some((false, Ok(1..)))) && address.len() <= ADDRESS_MAX {
        return Ok(());
    }
    Err(value(field, format!("{address:?} is not host:port")))
}

fn bounded(
    field: &str,
    given: Option<u64>,
    default: u64,
    least: u64,
) -> Result<Duration, ConfigError> {
    const DAY_MS: u64 = 86_400_000;
    let ms = given.unwrap_or(default);
    if (least..=DAY_MS).contains(&ms) {
        return Ok(Duration::from_millis(ms));
    }
    Err(value(
        field,
        format!("{ms} is not between {least} and {DAY_MS} milliseconds"),
    ))
}

fn catch_up_max(given: Option<u64>) -> Result<u64, ConfigError> {
    let range = CATCH_UP_LEAST..=CATCH_UP_MOST;
    within("catch_up_max_bytes", given, DEFAULT_CATCH_UP_MAX, range)
}

fn within<T: PartialOrd + Display>(
    field: &str,
    given: Option<T>,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, ConfigError> {
    let number = given.unwrap_or(default);
    if range.contains(&number) {
        return Ok(number);
    }
    let problem = format!(
        "{number} is not between {} and {}",
        range.start(),
        range.end()
    );
    Err(value(field, problem))
}

fn check_name(field: &str, name: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !name.is_empty() && name.len() <= ENVOY_NAME_MAX && name.bytes().all(plain) {
        return Ok(());
    }
    Err(value(
        field,
        format!(
            "{name:?} is not 1 to {ENVOY_NAME_MAX} letters, digits, dots, dashes or underscores"
        ),
    ))
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    if check_name("name", &name).is_ok() {
        name
    } else {
        "envoy".to_owned()
    }
}

fn value(field: &str, problem: String) -> ConfigError {
    ConfigError::Value {
        field: field.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Config::parse(text)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = Config::parse("").expect("defaults");
        assert_eq!(config.listen().port(), 1531);
        assert_eq!(config.min_free_percent(), 10);
        assert_eq!(config.catch_up_max_bytes(), 2 << 30);
        let default = Limits::default();
        let packs = Limits {
            min_free_percent: 10,
            ..default
        };
        assert_eq!(config.packs(), packs);
        assert_eq!(config.member_max_bytes(), None);
        let no_limit = Config::parse("member_max_bytes = 0").expect("it says the default");
        assert_eq!(no_limit.member_max_bytes(), None);
        assert!(problem("member_max_bytes = 1").contains("member_max_bytes"));
        assert!(config.allows(7, 7), "the daemon's own user");
        assert!(!config.allows(8, 7), "nobody else unless named");
    }

    #[test]
    fn refuses_what_cannot_be_meant_and_names_the_field() {
        assert!(problem("listen = \"mars\"").contains("listen"));
        assert!(problem("nmae = \"mars\"").contains("nmae"));
        assert!(problem("name = \"a b\"").contains("name"));
        assert!(problem("contact_interval_ms = 0").contains("contact_interval_ms"));
        assert!(problem("catch_up_max_bytes = 1").contains("catch_up_max_bytes"));
        assert!(problem("advertise = [\"mars\"]").contains("advertise"));
        for field in [
            "pack_max_bytes",
            "pack_max_objects",
            "pack_max_unpacked_bytes",
            "pack_max_delta_depth",
            "pack_max_cpu_seconds",
            "pack_max_memory_bytes",
        ] {
            assert!(problem(&format!("{field} = 0")).contains(&format!("{field}: 0 is not")));
        }
        assert!(
            problem("[[peers]]\nname=\"venus\"\nkey=\"00\"\naddress=\"a:1\"")
                .contains("vigo envoy key")
        );
    }

    #[test]
    fn an_authority_takes_in_whoever_members_ask_for_unless_told_otherwise() {
        let role = |text: &str| Config::parse(text).expect("valid").role();
        assert_eq!(role(""), Role::Authority);
        assert_eq!(role("enrol_through = \"members\""), Role::Authority);
        assert_eq!(role("enrol_through = \"authority\""), Role::StrictAuthority);
        assert!(problem("enrol_through = \"nobody\"").contains("authority"));
    }

    #[test]
    fn refuses_two_peers_with_one_key() {
        let seed = gitback_identity::SecretKey::from_seed(&[7; 32]);
        let peer = |name| {
            format!(
                "[[peers]]\nname=\"{name}\"\nkey=\"{}\"\naddress=\"a:1\"\n",
                seed.public()
            )
        };
        assert!(
            problem(&format!("{}{}", peer("venus"), peer("titan"))).contains("venus and titan")
        );
        assert_eq!(
            Config::parse(&peer("venus"))
                .expect("one is fine")
                .peers()
                .len(),
            1
        );
    }
}
