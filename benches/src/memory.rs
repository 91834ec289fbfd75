//! A process's memory, as the kernel counts it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts processor time for users in hundredths of a second.
const MS_PER_TICK: u64 = 10;

/// Resident memory of one process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub now_kib: u64,
    /// The most since the process began or [`Memory::forget_peak`] (`VmHWM`).
    pub peak_kib: u64,
    /// What of it is no page of a file, such as of the program itself, now (`RssAnon`).
    pub own_kib: u64,
}

impl Memory {
    /// Reads `/proc/PID/status`. Counts the daemon alone, not the git processes that it starts.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.with_context(|| format!("no process {pid}"))?;
        Self::parse(&status).with_context(|| format!("process {pid} has no memory"))
    }

    /// Lets the peak begin again from what is resident now.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; see `clear_refs` in proc(5).
    pub fn forget_peak(pid: u32) -> Result<()> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
            .with_context(|| format!("cannot reset the peak of {pid}"))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        };
        Some(Self {
            now_kib: field("VmRSS")?,
            peak_kib: field("VmHWM")?,
            own_kib: field("RssAnon")?,
        })
    }
}

/// The processor time of a process and of those of its children that have ended.
///
/// # Errors
///
/// When there is no such process.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.with_context(|| format!("no process {pid}"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * MS_PER_TICK))
        .with_context(|| format!("process {pid} has no times"))
}

/// `utime`, `stime`, `cutime` and `cstime` of proc(5).
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let times = fields.split(' ').skip(11).take(4);
    times.map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_own_words() {
        let status =
            "Name:\tvigo\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nRssAnon:\t    4096 kB\n";
        assert_eq!(
            Memory::parse(status),
            Some(Memory {
                now_kib: 10_240,
                peak_kib: 20_480,
                own_kib: 4096,
            })
        );
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn the_times_of_children_count() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0";
        assert_eq!(ticks(stat), Some(100));
        assert!(processor_time(std::process::id()).is_ok());
    }

    #[test]
    fn a_process_has_memory() {
        let own = Memory::of(std::process::id()).expect("our own");
        assert!(own.peak_kib >= own.now_kib && own.now_kib > own.own_kib);
    }
}
