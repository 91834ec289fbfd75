//! One envoy: its root directory, and the daemon process while there is one.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::process::{Signal, kill_process_group};

use crate::process::{End, end_group, ended, pid_of, timespec};
use crate::{Invocation, Net, PORT, Person, Stop};

/// The longest that a daemon may take from its start until it says that it is ready.
pub const READY_MAX: Duration = Duration::from_secs(60);

/// The longest that a daemon may take to end by itself.
const END_MAX: Duration = Duration::from_secs(30);

/// One envoy of a fleet.
#[derive(Debug)]
pub struct Envoy {
    person: Person,
    name: String,
    key: String,
    place: Place,
    outlives_us: bool,
    running: Option<Running>,
}

/// Where an envoy's daemon runs.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// On this machine's loopback.
    Loopback {
        /// Where it listens.
        port: u16,
    },
    /// At a numbered place of a network of our own.
    Net(Arc<Net>, usize),
}

impl Place {
    /// Where peers reach it.
    fn address(&self) -> String {
        match self {
            Self::Loopback { port } => format!("127.0.0.1:{port}"),
            Self::Net(net, index) => format!("{}:{PORT}", net.address(*index)),
        }
    }

    /// Where it listens itself: in a namespace everywhere, since its address may change.
    fn listen(&self) -> String {
        match self {
            Self::Loopback { .. } => self.address(),
            Self::Net(..) => format!("0.0.0.0:{PORT}"),
        }
    }
}

#[derive(Debug)]
struct Running {
    child: Child,
    watch: OwnedFd,
    began: Instant,
}

impl Envoy {
    pub(crate) fn new(person: Person, place: Place, outlives_us: bool) -> Result<Self> {
        let name = person.envoy().to_owned();
        let root = person.root().to_owned();
        // As on a machine: these are there and open to all before any daemon makes its own, private ones below.
        for dir in ["etc/vigo", "home", "var/lib", "var/run"] {
            std::fs::create_dir_all(root.join(dir))
                .with_context(|| format!("cannot make {name}'s root"))?;
        }
        let mut envoy = Self {
            person,
            name,
            key: String::new(),
            place,
            outlives_us,
            running: None,
        };
        envoy.key = envoy
            .vigo(["envoy", "key"])
            .run()?
            .success()?
            .stdout
            .trim()
            .to_owned();
        Ok(envoy)
    }

    /// Its name in everybody's configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public key, 64 hex digits.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where its peers reach it.
    #[must_use]
    pub fn address(&self) -> String {
        self.place.address()
    }

    pub(crate) fn listen(&self) -> String {
        self.place.listen()
    }

    /// Its root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.person.root()
    }

    /// The file with everything that its daemons wrote.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.root().with_extension("log")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.root().join("etc/vigo/envoy.toml")
    }

    /// The process id of its daemon, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// When the process of its daemon began, while it runs.
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.began)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn move_to(&mut self, place: Place) {
        self.place = place;
    }

    /// The command that runs its daemon.
    #[must_use]
    pub fn command(&self) -> Invocation {
        self.vigo(["envoy", "run"])
    }

    /// Starts the daemon and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it runs already, ends, or is not ready within [`READY_MAX`]; with the end of its log.
    pub fn start(&mut self, stop: Option<&Stop>) -> Result<()> {
        self.start_under(&[], stop)
    }

    /// The same, as the last arguments of another program, such as one that watches it.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_under(&mut self, tool: &[OsString], stop: Option<&Stop>) -> Result<()> {
        if self.running.is_some() {
            bail!("{} runs already", self.name);
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let from = log.metadata()?.len();
        let news = News::of(&self.log_file())?;
        let mut command = self.command();
        if let [program, arguments @ ..] = tool {
            command = command.under(program, arguments);
        }
        if let Place::Net(net, index) = &self.place {
            command = net.command(*index, command);
        }
        if !self.outlives_us && Path::new("/usr/bin/setpriv").exists() {
            // If this process is killed, nobody drops the fleet: let the kernel end the daemon then.
            command = command.under("/usr/bin/setpriv", ["--pdeathsig", "KILL", "--"]);
        }
        let began = Instant::now();
        let (child, watch) = command.spawn(Stdio::null(), log.try_clone()?.into(), log.into())?;
        let running = Running {
            child,
            watch,
            began,
        };
        let ready = self.wait_until_ready(&running, &news, from, stop);
        self.running = Some(running);
        if ready.is_err() {
            self.kill()?;
        }
        ready
    }

    /// Ends the daemon and everything that it started, with no warning, as a power cut would.
    ///
    /// # Errors
    ///
    /// When the system does not let us wait for it.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            end_group(&running.child);
            running
                .child
                .wait()
                .with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(())
    }

    /// Asks the daemon to end and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end in time (it is killed then), or ends with another code than 0.
    pub fn end(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        kill_process_group(pid_of(&running.child)?, Signal::TERM)
            .context("cannot signal a daemon")?;
        let end = ended(&running.watch, None, Instant::now() + END_MAX)?;
        if end != End::Exited {
            end_group(&running.child);
        }
        let status = running.child.wait()?;
        if end != End::Exited || !status.success() {
            bail!(
                "{} did not end cleanly ({status})\n{}",
                self.name,
                self.log_tail()
            );
        }
        Ok(())
    }

    /// Stops the daemon in its tracks: it holds its sockets and answers nothing.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen daemon go on.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends what still runs with this envoy's root and deletes the root: the machine is lost.
    ///
    /// # Errors
    ///
    /// When the directory cannot be deleted.
    pub fn lose(&mut self) -> Result<()> {
        self.kill()?;
        crate::end_stragglers(self.root());
        std::fs::remove_dir_all(self.root())
            .with_context(|| format!("cannot delete {}", self.root().display()))
    }

    /// The daemon's log from its first start on.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of the log, for messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(LINES)..)
            .unwrap_or_default();
        format!("--- end of {}'s log\n{}\n---", self.name, last.join("\n"))
    }

    pub(crate) fn leave_running(&mut self) {
        // Dropping a child neither waits for it nor ends it.
        self.running = None;
    }

    fn vigo<const N: usize>(&self, args: [&str; N]) -> Invocation {
        let root = self.root().as_os_str();
        let mut all = vec!["--root".as_ref(), root];
        all.extend(args.iter().map(std::ffi::OsStr::new));
        self.person.vigo(all)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let running = self
            .running
            .as_ref()
            .with_context(|| format!("{} does not run", self.name))?;
        kill_process_group(pid_of(&running.child)?, signal).context("cannot signal a daemon")
    }

    fn wait_until_ready(
        &self,
        running: &Running,
        news: &News,
        from: u64,
        stop: Option<&Stop>,
    ) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        let expected = format!("envoy {} ready on ", self.name);
        loop {
            if self
                .log_from(from)?
                .lines()
                .any(|line| line.contains(&expected))
            {
                return Ok(());
            }
            match news.wait(&running.watch, stop, deadline)? {
                Heard::More => {}
                Heard::Exited => bail!(
                    "{} ended before it was ready\n{}",
                    self.name,
                    self.log_tail()
                ),
                Heard::Stopped => bail!("interrupted while {} was starting", self.name),
                Heard::Nothing => bail!(
                    "{} was not ready in {READY_MAX:?}\n{}",
                    self.name,
                    self.log_tail()
                ),
            }
        }
    }

    fn log_from(&self, offset: u64) -> Result<String> {
        let mut file = File::open(self.log_file())?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // The fleet has said what went wrong, if anything; here the process just must not stay.
        let _ = self.kill();
    }
}

/// The text of an `envoy.toml`.
pub(crate) fn config(
    own: (&str, &str),
    settings: &str,
    peers: &[(String, String, Option<String>)],
) -> Result<String> {
    let (name, listen) = own;
    let mut text = format!("name = \"{name}\"\nlisten = \"{listen}\"\n{settings}");
    for (name, key, address) in peers {
        write!(text, "\n[[peers]]\nname = \"{name}\"\nkey = \"{key}\"\n")?;
        if let Some(address) = address {
            writeln!(text, "address = \"{address}\"")?;
        }
    }
    Ok(text)
}

/// Word from the kernel that a file has grown.
struct News(OwnedFd);

enum Heard {
    More,
    Exited,
    Stopped,
    Nothing,
}

impl News {
    fn of(file: &Path) -> Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .context("cannot watch files")?;
        inotify::add_watch(&watch, file, inotify::WatchFlags::MODIFY)
            .context("cannot watch a log")?;
        Ok(Self(watch))
    }

    fn wait(&self, process: &OwnedFd, stop: Option<&Stop>, deadline: Instant) -> Result<Heard> {
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = stop.map(Stop::watched);
        let mut watched = vec![
            PollFd::new(&self.0, PollFlags::IN),
            PollFd::new(process, PollFlags::IN),
        ];
        if let Some(asked) = &asked {
            watched.push(PollFd::from_borrowed_fd(asked.as_fd(), PollFlags::IN));
        }
        match poll(&mut watched, Some(&timespec(left))) {
            Ok(0) => return Ok(Heard::Nothing),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        let ready = |index: usize| {
            watched
                .get(index)
                .is_some_and(|fd| !fd.revents().is_empty())
        };
        let (more, exited, stopped) = (ready(0), ready(1), ready(2));
        if more {
            let mut events = [0; 4096];
            // Only that there was news counts; the events themselves say nothing else.
            let _ = rustix::io::read(&self.0, &mut events);
            return Ok(Heard::More);
        }
        Ok(match (stopped, exited) {
            (true, _) => Heard::Stopped,
            (false, true) => Heard::Exited,
            (false, false) => Heard::More,
        })
    }
}
