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
    /// What of it are pages of the program's file, now (`smaps` of proc(5)).
    pub program_kib: u64,
}

impl Memory {
    /// Reads `/proc/PID/status` and `smaps`. Counts the daemon alone, not the git processes that it starts.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.with_context(|| format!("no process {pid}"))?;
        let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps"))
            .with_context(|| format!("cannot look into process {pid}"))?;
        let program = std::fs::read_link(format!("/proc/{pid}/exe"))
            .with_context(|| format!("no program of process {pid}"))?;
        Self::parse(&status, file_kib(&smaps, &program.to_string_lossy()))
            .with_context(|| format!("process {pid} has no memory"))
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

    fn parse(status: &str, program_kib: u64) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| kib(line, name));
        Some(Self {
            now_kib: field("VmRSS")?,
            peak_kib: field("VmHWM")?,
            own_kib: field("RssAnon")?,
            program_kib,
        })
    }
}

/// The number in a line such as `Rss:      128 kB`, if it is of that name.
fn kib(line: &str, name: &str) -> Option<u64> {
    let rest = line.strip_prefix(name)?.strip_prefix(':')?;
    rest.trim().strip_suffix(" kB")?.parse().ok()
}

/// How much of a file is resident in a process as it is in the file: what was changed since is the process's own.
fn file_kib(smaps: &str, path: &str) -> u64 {
    let (mut is_in_it, mut sum) = (false, 0_u64);
    for line in smaps.lines() {
        // A mapping begins with its addresses, in small hexadecimal digits; what is told of it with a capital.
        if line.starts_with(|first: char| first.is_ascii_hexdigit() && !first.is_ascii_uppercase())
        {
            is_in_it = line.ends_with(path);
        } else if is_in_it {
            sum += kib(line, "Rss").unwrap_or(0);
            sum = sum.saturating_sub(kib(line, "Anonymous").unwrap_or(0));
        }
    }
    sum
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
            Memory::parse(status, 5000),
            Some(Memory {
                now_kib: 10_240,
                peak_kib: 20_480,
                own_kib: 4096,
                program_kib: 5000,
            })
        );
        assert_eq!(Memory::parse("Name:\tkthreadd\n", 0), None);
    }

    #[test]
    fn pages_of_a_file_are_those_that_were_not_changed() {
        let smaps = "55d0c000-55d0d000 r-xp 00000000 fe:00 42   /usr/bin/vigo\nSize: 4000 kB\nRss: 3000 kB\nAnonymous: 0 kB\n\
            55d0e000-55d0f000 rw-p 00000000 fe:00 42   /usr/bin/vigo\nRss: 100 kB\nAnonymous: 60 kB\n\
            7f00c000-7f00d000 r-xp 00000000 fe:00 43   /lib/libc.so.6\nRss: 900 kB\nAnonymous: 0 kB\n";
        assert_eq!(file_kib(smaps, "/usr/bin/vigo"), 3040);
        assert_eq!(file_kib(smaps, "/lib/libc.so.6"), 900);
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
        assert!(own.program_kib > 0 && own.program_kib < own.now_kib);
    }
}
