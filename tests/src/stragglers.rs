//! Finding what was left running: processes that carry a fleet's directory in their environment or arguments.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process that belongs to a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Straggler {
    /// Its id.
    pub pid: i32,
    /// Its command line.
    pub line: String,
}

/// The processes, other than this one, that were started with `dir` in their environment or their arguments.
///
/// A fleet's directory has a random name, so nobody else's process can be meant.
#[must_use]
pub fn stragglers(dir: &Path) -> Vec<Straggler> {
    let mut needle = dir.as_os_str().as_encoded_bytes().to_vec();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    if needle.len() < NEEDLE_MIN {
        return Vec::new();
    }
    // "/tmp/gb-1/mars" must not match "/tmp/gb-1/mars2": a path ends or goes on with a slash.
    while needle.last() == Some(&b'/') {
        needle.pop();
    }
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own)
        .filter_map(|pid| named(pid, &needle))
        .collect()
}

/// Kills what [`stragglers`] finds and returns it.
pub fn end_stragglers(dir: &Path) -> Vec<Straggler> {
    let found = stragglers(dir);
    for straggler in &found {
        if let Some(pid) = Pid::from_raw(straggler.pid) {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    found
}

/// A shorter path could be part of anything.
const NEEDLE_MIN: usize = 8;

fn named(pid: i32, needle: &[u8]) -> Option<Straggler> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // A zombie has neither; it is its parent's to collect.
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    if !mentions(&line, needle) && !mentions(&environment, needle) {
        return None;
    }
    let words = line
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>();
    Some(Straggler {
        pid,
        line: words.join(" ").trim_end().to_owned(),
    })
}

fn mentions(text: &[u8], needle: &[u8]) -> bool {
    let ends = |at: usize| matches!(text.get(at), None | Some(b'/' | b'\0' | b':'));
    text.windows(needle.len())
        .enumerate()
        .any(|(at, part)| part == needle && ends(at + needle.len()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn finds_and_ends_a_process_by_its_environment() {
        let dir = tempfile::Builder::new()
            .prefix("gb-straggler-")
            .tempdir()
            .expect("a directory");
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo up; read line"])
            .env("VIGO_ROOT", dir.path().join("mars"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        // Until it speaks, it may still be on the way to being what it will be.
        let mut said = [0; 3];
        let output = child.stdout.as_mut().expect("a pipe");
        output.read_exact(&mut said).expect("it speaks");
        let found = end_stragglers(dir.path());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].line.starts_with("sh -c"), "{found:?}");
        assert!(!child.wait().expect("it ended").success());
        assert!(stragglers(dir.path()).is_empty());
    }

    #[test]
    fn a_longer_name_is_another_directory() {
        assert!(mentions(b"A=/tmp/gb-1/mars\0", b"/tmp/gb-1/mars"));
        assert!(mentions(b"A=/tmp/gb-1/mars/etc\0", b"/tmp/gb-1/mars"));
        assert!(!mentions(b"A=/tmp/gb-1/mars2\0", b"/tmp/gb-1/mars"));
    }
}
