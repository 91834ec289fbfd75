//! One network namespace and the process that holds it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Invocation;

/// A namespace without a name. It lasts as long as a process is in it or a file of it is open.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Ends when its input does, which is when we do.
    holder: Child,
    file: File,
}

impl Namespace {
    pub(super) fn new() -> Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo up && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let mut said = [0; 3];
        let up = holder.stdout.as_mut().map(|out| out.read_exact(&mut said));
        if !matches!(up, Some(Ok(()))) {
            let output = holder.wait_with_output()?;
            let why = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("{}", why.trim());
        }
        let file = File::open(path(holder.id())).context("a namespace that is not there")?;
        Ok(Self { holder, file })
    }

    /// The process that holds it.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Runs `ip` here with one line for each order.
    pub(super) fn ip(&self, orders: &str) -> Result<()> {
        self.batch("ip", orders)
    }

    /// Runs `tc` here with one line for each order.
    pub(super) fn tc(&self, orders: &str) -> Result<()> {
        self.batch("tc", orders)
    }

    /// The command, run here.
    pub(super) fn command(&self, command: Invocation) -> Invocation {
        let net = format!("--net={}", path(self.pid()));
        command.under("nsenter", [net.as_str(), "--"])
    }

    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let enter = || {
            let only = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.file.as_fd(), only)
                .context("cannot enter a namespace")
                .map(|()| work())
        };
        // The thread stays there for good, so it is one that ends.
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn batch(&self, program: &str, orders: &str) -> Result<()> {
        if orders.is_empty() {
            return Ok(());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let run = Invocation::new(program, ["-batch", "-"]).input(orders);
        // Where an ordinary PATH does not lead: programs of root.
        let mut places = path;
        places.push(":/usr/sbin:/sbin");
        let run = self.command(run).env("PATH", places);
        run.run()?
            .success()
            .with_context(|| format!("{program} refused:\n{orders}"))?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It ends as soon as it sees that nobody will say more; killed, it ends as well.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn path(pid: u32) -> String {
    format!("/proc/{pid}/ns/net")
}
