//! A network of one's own for one fleet: a namespace for each envoy, joined by a bridge, on which links are cut,
//! narrowed and moved without touching the machine's network.
//!
//! A namespace is held by a process that ends when this one does, however that ends, and goes with it: it has no
//! name, so nothing can stay behind. Every network uses the same addresses, and as many as one likes work side by
//! side. It takes root, and `ip`, `tc`, `unshare` and `nsenter` (packages iproute2 and util-linux).

mod namespace;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::namespace::Namespace;
use crate::Invocation;

/// The most places in one network.
pub const PLACES_MAX: usize = 64;

/// Where every envoy of a network listens: nobody else lives in its namespace.
pub const PORT: u16 = 1531;

/// How long a probe may take before what was sent counts as lost. Only ever waited for in full when it is.
const PROBE_MAX: Duration = Duration::from_millis(200);

/// How long a new network may take until all of it carries.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// A network with numbered places. Dropping it ends it.
///
/// What is cut is lost without a word, as on a cable that was pulled somewhere on the way: no reset, no refusal, only
/// silence. Connections stay half open until somebody gives up.
#[derive(Debug)]
pub struct Net {
    hub: Namespace,
    places: Vec<Namespace>,
    addresses: Mutex<Vec<Ipv4Addr>>,
    cuts: Mutex<BTreeSet<(usize, usize)>>,
    slow: Mutex<BTreeSet<usize>>,
}

impl Net {
    /// Why no network can be made here, if so: no root, a program or a part of the kernel that is missing.
    ///
    /// # Errors
    ///
    /// The reason, as a line for people.
    pub fn possible() -> Result<(), String> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        FOUND.get_or_init(|| tried(Self::try_cutting)).clone()
    }

    /// Why no link can be narrowed here, if so.
    ///
    /// # Errors
    ///
    /// The reason, as a line for people.
    pub fn can_narrow() -> Result<(), String> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        FOUND
            .get_or_init(|| tried(|| Self::new(1)?.narrow(0, 1000)))
            .clone()
    }

    /// A network with so many places, all of which reach each other.
    ///
    /// # Errors
    ///
    /// When there are more than [`PLACES_MAX`] or one of the programs fails; ask [`Self::possible`] first.
    pub fn new(places: usize) -> Result<Self> {
        if places > PLACES_MAX {
            bail!("a network has at most {PLACES_MAX} places, not {places}");
        }
        let hub = Namespace::new()?;
        let made = (0..places).map(|_| Namespace::new());
        let net = Self {
            hub,
            places: made.collect::<Result<_>>()?,
            addresses: Mutex::new((0..places).map(first_address).collect::<Result<_>>()?),
            cuts: Mutex::default(),
            slow: Mutex::default(),
        };
        net.wire()?;
        net.settle()?;
        Ok(net)
    }

    /// The address at which place `index` is reached.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn address(&self, index: usize) -> Ipv4Addr {
        *locked(&self.addresses)
            .get(index)
            .expect("an index below the number of places")
    }

    /// Cuts place `index` off from all others, both ways.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn cut(&self, index: usize) -> Result<()> {
        self.change(self.ways_of(index), true)
    }

    /// Mends every link of place `index`.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn mend(&self, index: usize) -> Result<()> {
        self.change(self.ways_of(index), false)
    }

    /// Cuts the link between two places, both ways.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn cut_between(&self, one: usize, other: usize) -> Result<()> {
        self.change(vec![(one, other), (other, one)], true)
    }

    /// Lets nothing from `from` arrive at `to` any more; the other way stays.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn cut_way(&self, from: usize, to: usize) -> Result<()> {
        self.change(vec![(from, to)], true)
    }

    /// Mends the link between two places, both ways.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn mend_between(&self, one: usize, other: usize) -> Result<()> {
        self.change(vec![(one, other), (other, one)], false)
    }

    /// Cuts every link between places of different groups, and mends those within one. A place that is in no group
    /// is alone.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn split(&self, groups: &[&[usize]]) -> Result<()> {
        let together = |from: usize, to: usize| {
            let both = |group: &&[usize]| group.contains(&from) && group.contains(&to);
            groups.iter().any(both)
        };
        let (whole, cut) = self
            .ways()
            .partition(|(from, to): &(usize, usize)| together(*from, *to));
        self.change(cut, true)?;
        self.change(whole, false)
    }

    /// Mends everything that is cut.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn mend_all(&self) -> Result<()> {
        self.change(self.ways().collect(), false)
    }

    /// Lets no more than so many kilobits a second into and out of place `index`.
    ///
    /// # Errors
    ///
    /// When `tc` fails; ask [`Self::can_narrow`] first.
    pub fn narrow(&self, index: usize, kbit: u32) -> Result<()> {
        let shape = |device: &str| {
            format!(
                "qdisc replace dev {device} root tbf rate {kbit}kbit burst 32kb latency 400ms\n"
            )
        };
        self.hub.tc(&shape(&port(index)))?;
        self.place(index).tc(&shape(DEVICE))?;
        locked(&self.slow).insert(index);
        Ok(())
    }

    /// Takes back what [`Self::narrow`] did.
    ///
    /// # Errors
    ///
    /// When `tc` fails.
    pub fn widen(&self, index: usize) -> Result<()> {
        if locked(&self.slow).remove(&index) {
            self.hub
                .tc(&format!("qdisc del dev {} root\n", port(index)))?;
            self.place(index)
                .tc(&format!("qdisc del dev {DEVICE} root\n"))?;
        }
        Ok(())
    }

    /// Takes the address of place `index` away and gives it another that nobody had.
    ///
    /// # Errors
    ///
    /// When `ip` fails.
    pub fn move_address(&self, index: usize) -> Result<Ipv4Addr> {
        let [a, b, _, d] = self.address(index).octets();
        let [.., c, _] = self.address(index).octets();
        let new = Ipv4Addr::new(a, b, c.wrapping_add(1), d);
        let old = self.address(index);
        self.place(index).ip(&format!(
            "addr del {old}/16 dev {DEVICE}\naddr add {new}/16 dev {DEVICE}\nroute replace default dev {DEVICE}\n"
        ))?;
        if let Some(address) = locked(&self.addresses).get_mut(index) {
            *address = new;
        }
        Ok(new)
    }

    /// Runs `work` on a thread that is in the namespace of place `index`: sockets that it opens are there.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    ///
    /// When `work` does.
    pub fn inside<T: Send>(&self, index: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.place(index).inside(work)
    }

    /// The command, run in the namespace of place `index`.
    #[must_use]
    pub fn command(&self, index: usize, command: Invocation) -> Invocation {
        self.place(index).command(command)
    }

    /// Whether something sent now by `from` arrives at `to`.
    ///
    /// # Errors
    ///
    /// When no socket can be had there.
    pub fn reaches(&self, from: usize, to: usize) -> Result<bool> {
        let at = self.address(to);
        let listening = self.inside(to, || UdpSocket::bind((at, 0)))??;
        listening.set_read_timeout(Some(PROBE_MAX))?;
        let target = listening.local_addr()?;
        let speaking = self.inside(from, || UdpSocket::bind(("0.0.0.0", 0)))??;
        speaking.send_to(b"?", target)?;
        Ok(listening.recv(&mut [0; 1]).is_ok())
    }

    fn try_cutting() -> Result<()> {
        let net = Self::new(2)?;
        if !net.reaches(0, 1)? {
            bail!("what one namespace sends does not arrive at the other");
        }
        net.cut_way(0, 1)?;
        if net.reaches(0, 1)? {
            bail!("a link that was cut still carries");
        }
        Ok(())
    }

    fn wire(&self) -> Result<()> {
        let mut plan = format!(
            "link set lo up\nlink add {BRIDGE} type bridge mcast_snooping 0\nlink set {BRIDGE} up\n"
        );
        plan.push_str(&format!("link add {SINK} type veth peer name {SINK}-end\n"));
        plan.push_str(&format!("link set {SINK} up\nlink set {SINK}-end up\n"));
        let mut queues = String::new();
        for (index, place) in self.places.iter().enumerate() {
            let (port, there) = (port(index), place.pid());
            plan.push_str(&format!(
                "link add {port} type veth peer name {DEVICE} netns {there}\n"
            ));
            plan.push_str(&format!("link set {port} master {BRIDGE} up\n"));
            queues.push_str(&format!("qdisc add dev {port} clsact\n"));
        }
        self.hub.ip(&plan)?;
        self.hub.tc(&queues)?;
        for (index, place) in self.places.iter().enumerate() {
            let (address, hardware_address) = (self.address(index), hardware(index));
            let mut plan = format!(
                "link set lo up\nlink set {DEVICE} address {hardware_address}\naddr add {address}/16 dev {DEVICE}\n\
                 link set {DEVICE} up\nroute add default dev {DEVICE}\n"
            );
            // Known for good, as behind a router: what is cut is silent, and what is mended works at once.
            for other in (0..self.places.len()).filter(|other| *other != index) {
                let (address, hardware_address) = (self.address(other), hardware(other));
                plan.push_str(&format!(
                    "neigh add {address} lladdr {hardware_address} dev {DEVICE} nud permanent\n"
                ));
            }
            place.ip(&plan)?;
        }
        Ok(())
    }

    /// Waits until the kernel has opened every port of the bridge, which it does in its own time.
    fn settle(&self) -> Result<()> {
        let count = self.places.len();
        for (from, to) in (0..count).map(|from| (from, (from + 1) % count)) {
            crate::until(SETTLE_MAX, "a new network", || {
                let open = from == to || self.reaches(from, to)?;
                Ok(open
                    .then_some(())
                    .ok_or_else(|| format!("{from} does not reach {to}")))
            })?;
        }
        Ok(())
    }

    /// All ways from one place to another.
    fn ways(&self) -> impl Iterator<Item = (usize, usize)> {
        let count = self.places.len();
        let from = move |from| (0..count).map(move |to| (from, to));
        (0..count).flat_map(from).filter(|(from, to)| from != to)
    }

    fn ways_of(&self, index: usize) -> Vec<(usize, usize)> {
        self.ways()
            .filter(|(from, to)| *from == index || *to == index)
            .collect()
    }

    /// Cuts or mends ways; those that are so already stay as they are.
    fn change(&self, ways: Vec<(usize, usize)>, cut: bool) -> Result<()> {
        let mut cuts = locked(&self.cuts);
        let mut plan = String::new();
        for way in ways {
            let news = if cut {
                cuts.insert(way)
            } else {
                cuts.remove(&way)
            };
            if news {
                plan.push_str(&filter(way, cut));
            }
        }
        self.hub.tc(&plan)
    }

    fn place(&self, index: usize) -> &Namespace {
        self.places
            .get(index)
            .expect("an index below the number of places")
    }
}

/// The device of each place.
const DEVICE: &str = "eth0";
/// The bridge in the hub.
const BRIDGE: &str = "bridge";
/// A cable that ends nowhere, into which what is cut goes: every kernel with `tc` filters can redirect, not all can
/// drop.
const SINK: &str = "sink";

/// The hub's end of the cable to a place.
fn port(index: usize) -> String {
    format!("port{index}")
}

/// A place's hardware address, by which cuts know it whatever its address is.
fn hardware(index: usize) -> String {
    format!("02:00:00:00:00:{:02x}", index + 1)
}

fn first_address(index: usize) -> Result<Ipv4Addr> {
    let last = u8::try_from(index + 1).context("a place beyond the last address")?;
    Ok(Ipv4Addr::new(10, 77, 0, last))
}

/// The line for `tc` that cuts or mends one way, where the hub hands over to the one who would hear it.
fn filter((from, to): (usize, usize), cut: bool) -> String {
    let (port, number, address) = (port(to), from + 1, hardware(from));
    if cut {
        format!(
            "filter add dev {port} egress pref {number} protocol all u32 match ether src {address} \
             action mirred egress redirect dev {SINK}\n"
        )
    } else {
        format!("filter del dev {port} egress pref {number}\n")
    }
}

fn tried(what: impl FnOnce() -> Result<()>) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can make network namespaces".to_owned());
    }
    what().map_err(|error| format!("no network namespaces here: {error:#}").replace('\n', " "))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
