//! Where users of this machine have their homes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The users that this machine knows by itself.
const FILE: &str = "/etc/passwd";

/// Asks whatever else the machine's administrator has set up.
const GETENT: &str = "/usr/bin/getent";

/// The home of a user; nothing when there is no such user, or no absolute path.
pub(crate) fn home(uid: u32) -> Option<PathBuf> {
    let local = std::fs::read(FILE).unwrap_or_default();
    find(&local, uid).or_else(|| find(&ask(uid), uid))
}

fn ask(uid: u32) -> Vec<u8> {
    let output = Command::new(GETENT)
        .args(["passwd", &uid.to_string()])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.map(|output| output.stdout).unwrap_or_default()
}

/// Finds the line of a user, in the form of passwd(5).
fn find(passwd: &[u8], uid: u32) -> Option<PathBuf> {
    let lines = passwd.split(|byte| *byte == b'\n');
    let mut entries = lines.map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>());
    let number = uid.to_string();
    let entry = entries.find(|entry| entry.get(2) == Some(&number.as_bytes()))?;
    let home = PathBuf::from(OsString::from_vec(entry.get(5)?.to_vec()));
    home.is_absolute().then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_home_of_a_user_by_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/srv/ann:/bin/sh\nno:x:7:7::rel:/bin/sh\n";
        assert_eq!(find(passwd, 1000), Some(PathBuf::from("/srv/ann")));
        assert_eq!(find(passwd, 100), None);
        assert_eq!(find(passwd, 7), None, "not an absolute path");
        assert_eq!(find(b"1000", 1000), None);
    }

    #[test]
    fn knows_the_user_as_whom_it_runs() {
        assert!(home(rustix::process::getuid().as_raw()).is_some());
    }
}
