//! Several envoys on one machine, as one thing that is started and, whatever happens, ended.

mod puddle;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::daemon::{Envoy, Place, config};
use crate::link::Link;
use crate::{Net, Options, Person};

/// The most envoys in one fleet; one machine would hold more, but nobody has asked yet.
pub const ENVOYS_MAX: usize = 64;

/// How often a start is tried again when a port was taken by somebody else meanwhile.
const STARTS_MAX: usize = 5;

/// Ports below the range from which the kernel takes those of outgoing connections.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Envoys on one machine. Dropping it locks their puddles, ends their daemons and removes all their files.
#[derive(Debug)]
pub struct Fleet {
    envoys: Vec<Envoy>,
    people: Vec<Person>,
    /// From and to which envoy.
    links: BTreeMap<(usize, usize), Link>,
    net: Option<Arc<Net>>,
    options: Options,
    kept: bool,
    dir: TempDir,
}

impl Fleet {
    /// Makes the roots and keys and starts all daemons.
    ///
    /// # Errors
    ///
    /// When a daemon does not get ready; with the end of its log.
    pub fn start(options: Options) -> Result<Self> {
        Self::prepare(options)?.started()
    }

    /// Starts all daemons of a fleet that was only prepared.
    ///
    /// # Errors
    ///
    /// When a daemon does not get ready; with the end of its log.
    pub fn started(mut self) -> Result<Self> {
        for _ in 1..STARTS_MAX {
            match self.start_all() {
                Err(error) if self.net.is_none() && taken(&error) => self.change_ports()?,
                other => return other.map(|()| self),
            }
        }
        self.start_all()?;
        Ok(self)
    }

    /// Makes the roots, keys and configurations and starts nothing.
    ///
    /// # Errors
    ///
    /// When a directory cannot be made or `vigo envoy key` fails.
    pub fn prepare(options: Options) -> Result<Self> {
        if options.envoys == 0 || options.envoys > ENVOYS_MAX {
            bail!(
                "a fleet has 1 to {ENVOYS_MAX} envoys, not {}",
                options.envoys
            );
        }
        let dir = short_dir()?;
        fs::create_dir(dir.path().join("tmp"))?;
        fs::write(dir.path().join("gitconfig"), GITCONFIG)?;
        fs::write(
            dir.path().join("passphrase"),
            "correct horse battery staple\n",
        )?;
        let people: Vec<Person> = (0..options.envoys)
            .map(|index| {
                let name = name_of(index);
                let root = dir.path().join(&name);
                Person::new(
                    &name,
                    &root,
                    dir.path(),
                    &options.binaries,
                    options.stop.clone(),
                )
            })
            .collect();
        let net = options.net.then(|| Net::new(options.envoys)).transpose()?;
        let net = net.map(Arc::new);
        let places = match &net {
            Some(net) => (0..options.envoys)
                .map(|index| Place::Net(Arc::clone(net), index))
                .collect(),
            None => loopback(options.envoys)?,
        };
        let made = people
            .iter()
            .zip(places)
            .map(|(person, place)| Envoy::new(person.clone(), place, options.keep));
        let envoys = made.collect::<Result<Vec<Envoy>>>()?;
        let mut fleet = Self {
            envoys,
            people,
            links: BTreeMap::new(),
            net,
            options,
            kept: false,
            dir,
        };
        fleet.lay_links()?;
        fleet.configure()?;
        Ok(fleet)
    }

    /// Lays the links anew, for the ports that the envoys have now.
    fn lay_links(&mut self) -> Result<()> {
        if !self.options.links {
            return Ok(());
        }
        self.links.clear();
        for (from, _) in self.envoys.iter().enumerate() {
            for (to, envoy) in self.envoys.iter().enumerate() {
                if let Place::Loopback { port } = envoy.place()
                    && from != to
                {
                    self.links.insert((from, to), Link::new(*port)?);
                }
            }
        }
        Ok(())
    }

    /// The network of this fleet, in which place N is that of envoy N.
    ///
    /// # Panics
    ///
    /// When its options did not ask for one; see [`Options::net`].
    #[must_use]
    pub fn net(&self) -> &Net {
        self.net
            .as_ref()
            .expect("a fleet whose options asked for a network")
    }

    /// Cuts envoy `index` off from all others, both ways. Needs [`Options::links`].
    pub fn cut(&self, index: usize) {
        self.links_of(index).for_each(Link::cut);
    }

    /// Cuts what envoy `from` sends to envoy `to`; the other way stays. Needs [`Options::links`].
    pub fn cut_way(&self, from: usize, to: usize) {
        if let Some(link) = self.links.get(&(from, to)) {
            link.cut();
        }
    }

    /// Mends what [`Self::cut`] and [`Self::cut_way`] cut.
    pub fn mend(&self, index: usize) {
        self.links_of(index).for_each(Link::mend);
    }

    /// The settings of an `envoy.toml`. On a machine of many fleets nobody is looked for by multicast, and who is
    /// reached over links that are cut must not say that there is another way.
    fn settings(&self) -> String {
        let mut settings = self.options.settings.clone();
        if self.net.is_none() && !settings.contains("lan_discovery") {
            settings.push_str("lan_discovery = false\n");
        }
        if self.options.links && !settings.contains("advertise") {
            settings.push_str("advertise = []\n");
        }
        settings
    }

    fn links_of(&self, index: usize) -> impl Iterator<Item = &Link> {
        let ends_there = move |(from, to): &(usize, usize)| *from == index || *to == index;
        let links = self.links.iter();
        links.filter_map(move |(ends, link)| ends_there(ends).then_some(link))
    }

    /// The directory that holds everything of this fleet; tests may put their own files there.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How many envoys it was started with.
    #[must_use]
    pub fn len(&self) -> usize {
        self.envoys.len()
    }

    /// Whether it has no envoys, which cannot be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envoys.is_empty()
    }

    /// The envoy `index`; 0 is mars.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn envoy(&self, index: usize) -> &Envoy {
        self.envoys
            .get(index)
            .expect("an index below the number of envoys")
    }

    /// The envoy `index`, to be started, ended or killed.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn envoy_mut(&mut self, index: usize) -> &mut Envoy {
        self.envoys
            .get_mut(index)
            .expect("an index below the number of envoys")
    }

    /// All envoys.
    pub fn envoys(&self) -> impl Iterator<Item = &Envoy> {
        self.envoys.iter()
    }

    /// The person at envoy `index`.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn person(&self, index: usize) -> &Person {
        self.people
            .get(index)
            .expect("an index below the number of envoys")
    }

    /// Somebody on this machine who has nothing to do with any envoy.
    #[must_use]
    pub fn outside(&self) -> Person {
        let nowhere = self.dir.path().join("outside");
        Person::new(
            "outside",
            &nowhere,
            self.dir.path(),
            &self.options.binaries,
            self.options.stop.clone(),
        )
    }

    /// Starts the daemon of envoy `index` again.
    ///
    /// # Errors
    ///
    /// When it does not get ready.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        let stop = self.options.stop.clone();
        self.envoy_mut(index).start(stop.as_ref())
    }

    /// Writes every envoy's configuration again, for the ports that they have now.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn configure(&self) -> Result<()> {
        for envoy in &self.envoys {
            if envoy.root().exists() {
                fs::write(envoy.config_file(), self.config_of(envoy)?)?;
            }
        }
        Ok(())
    }

    /// The configuration of one envoy: itself, and everybody else as a peer.
    ///
    /// # Errors
    ///
    /// Never in practice; writing text cannot fail.
    pub fn config_of(&self, envoy: &Envoy) -> Result<String> {
        let others = self.envoys.iter().enumerate();
        let own = self
            .envoys
            .iter()
            .position(|one| one.name() == envoy.name());
        let knows = self.options.peers;
        let others = others.filter(|(_, other)| knows && other.name() != envoy.name());
        let peers = others.map(|(to, other)| {
            let link = own.and_then(|own| self.links.get(&(own, to)));
            let address = link.map_or_else(|| other.address(), Link::address);
            let address = Some(address).filter(|_| self.options.addresses);
            (other.name().to_owned(), other.key().to_owned(), address)
        });
        let extra = self
            .options
            .extra_peers
            .iter()
            .cloned()
            .map(|peer| (peer.name, peer.key, Some(peer.address)));
        let peers: Vec<_> = peers.chain(extra).collect();
        config((envoy.name(), &envoy.listen()), &self.settings(), &peers)
    }

    /// Leaves everything running and on disk, and returns the directory.
    ///
    /// Only a fleet whose options said [`Options::keepable`] survives the end of this process.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.dir.disable_cleanup(true);
        for envoy in &mut self.envoys {
            envoy.leave_running();
        }
        self.dir.path().to_owned()
    }

    fn start_all(&mut self) -> Result<()> {
        let stop = self.options.stop.clone();
        for envoy in &mut self.envoys {
            if envoy.pid().is_none() {
                envoy.start(stop.as_ref())?;
            }
        }
        Ok(())
    }

    fn change_ports(&mut self) -> Result<()> {
        let places = loopback(self.envoys.len())?;
        for (envoy, place) in self.envoys.iter_mut().zip(places) {
            envoy.kill()?;
            envoy.move_to(place);
        }
        self.lay_links()?;
        self.configure()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.lock_all();
        for envoy in &mut self.envoys {
            let _ = envoy.kill();
        }
        crate::end_stragglers(self.dir.path());
        // A straggler may have been writing while its directory was removed; the second try finds nobody there.
        if fs::remove_dir_all(self.dir.path()).is_err() {
            let _ = fs::remove_dir_all(self.dir.path());
        }
    }
}

/// Whether a daemon did not start because somebody else had its port.
fn taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").to_lowercase().contains("in use")
}

/// What a person's git would say about itself, and nothing that depends on this machine.
const GITCONFIG: &str = "[user]\n\tname = Dan\n\temail = dan@example.org\n\
    [init]\n\tdefaultBranch = main\n\
    [safe]\n\tdirectory = *\n\
    [advice]\n\tdetachedHead = false\n\
    [gc]\n\tauto = 0\n\
    [maintenance]\n\tauto = false\n\
    [protocol]\n\tversion = 2\n";

fn name_of(index: usize) -> String {
    match ["mars", "venus", "titan", "pluto"].get(index) {
        Some(name) => (*name).to_owned(),
        None => format!("envoy{}", index + 1),
    }
}

/// A directory whose path leaves room for a socket's: those have at most 108 bytes.
fn short_dir() -> Result<TempDir> {
    const PATH_MAX: usize = 50;
    let usual = std::env::temp_dir();
    let parent = if usual.as_os_str().len() > PATH_MAX {
        PathBuf::from("/tmp")
    } else {
        usual
    };
    let dir = tempfile::Builder::new().prefix("gb-").tempdir_in(&parent);
    let dir = dir.with_context(|| format!("cannot make a directory in {}", parent.display()))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

fn loopback(count: usize) -> Result<Vec<Place>> {
    let ports = free_ports(count)?.into_iter();
    Ok(ports.map(|port| Place::Loopback { port }).collect())
}

/// Ports that nobody listens on, held until all are found so that none comes twice.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    const TRIES_MAX: usize = 10_000;
    let width = u64::from(PORTS.end - PORTS.start);
    let mut held = Vec::with_capacity(count);
    for _ in 0..TRIES_MAX {
        if held.len() == count {
            break;
        }
        let offset = RandomState::new().build_hasher().finish() % width;
        let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        bail!("no {count} free ports on 127.0.0.1");
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_fit_below_the_directory() {
        let dir = short_dir().expect("a directory");
        let longest = dir
            .path()
            .join(name_of(ENVOYS_MAX))
            .join("var/run/vigo/gitback.sock");
        assert!(longest.as_os_str().len() < 108, "{}", longest.display());
    }

    #[test]
    fn ports_are_different() {
        let mut ports = free_ports(8).expect("ports");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
    }

    #[test]
    fn every_envoy_has_a_name_of_its_own() {
        let names: Vec<String> = (0..6).map(name_of).collect();
        assert_eq!(
            names,
            ["mars", "venus", "titan", "pluto", "envoy5", "envoy6"]
        );
    }
}
