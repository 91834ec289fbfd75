//! An envoy whose disk does not confirm what it was given: nothing of that is said to be stored, or believed later. Needs
//! strace, which stands in for such a disk.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gitback_tests::Fleet;

use crate::together::{brought, large, only, take_away, wait_until_whole};
use crate::world::{
    SOON, commit, done, fails, fleet, local, notes, push_all, says, served, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";
const STRACE: &str = "/usr/bin/strace";

/// Whether a disk can be stood in for here; says so if not.
fn may() -> bool {
    let may = fs::exists(STRACE).unwrap_or(false) && may_attach();
    if !may {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: strace is not installed, or may not attach to a process here"
        );
    }
    may
}

/// Whether strace may trace a process that it has not started.
fn may_attach() -> bool {
    let mut cat = Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat runs");
    let pid = cat.id().to_string();
    let mut strace = Command::new(STRACE)
        .args(["-qq", "-o", "/dev/null", "-p", &pid])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace runs");
    let attached = wait_until_held(&mut strace, &pid);
    // It ends with its input, and strace with it.
    drop(cat.stdin.take());
    cat.wait().expect("cat ends");
    strace.wait().expect("strace ends");
    attached.is_ok()
}

/// Waits until strace has attached to every thread of a process.
fn wait_until_held(strace: &mut Child, pid: &str) -> anyhow::Result<()> {
    let tasks = Path::new("/proc").join(pid).join("task");
    gitback_tests::until(SOON, "strace holds all threads", || {
        if let Some(status) = strace.try_wait()? {
            anyhow::bail!("strace ended: {status}");
        }
        let mut threads = fs::read_dir(&tasks)?.flatten();
        let is_held = threads.all(|thread| {
            let status = fs::read_to_string(thread.path().join("status"));
            status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
        });
        Ok(if is_held {
            Ok(())
        } else {
            Err("not yet".to_owned())
        })
    })
}

/// Faults in the disk of a daemon that runs, until it ends.
struct Faults {
    strace: Child,
    /// The calls that were looked at.
    calls: PathBuf,
}

impl Faults {
    /// Lets calls of a daemon fail as strace is told to, from now on.
    fn begin(fleet: &Fleet, index: usize, faults: &[&str]) -> Self {
        let calls = fleet.dir().join("calls");
        let pid = fleet.envoy(index).pid().expect("it runs").to_string();
        let strace = Command::new(STRACE)
            .args(["-f", "-qq", "-p", &pid, "-o"])
            .arg(&calls)
            .args(faults)
            .spawn()
            .expect("strace runs");
        let mut begun = Self { strace, calls };
        wait_until_held(&mut begun.strace, &pid).expect("strace may trace it");
        begun
    }

    fn calls(&self) -> String {
        fs::read_to_string(&self.calls).expect("strace has written it")
    }

    /// Those that failed.
    fn failed(&self) -> Vec<String> {
        let calls = self.calls();
        let failed = calls.lines().filter(|line| line.contains("INJECTED"));
        failed.map(str::to_owned).collect()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // It may have ended with the daemon.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

#[test]
fn blocks_of_a_pack_that_could_not_be_made_durable_come_again() {
    if !may() {
        return;
    }
    let mut fleet = fleet(2);
    let work = large(&fleet);
    wait_for_copies(fleet.person(0), 2);
    fleet.envoy_mut(0).end().expect("mars ends");
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    let bare = take_away(&fleet, 1);
    fleet.restart(1).expect("venus returns");
    let before = brought(&fleet, 1);
    // With a change of its mode it begins to make a pack durable.
    let looked_at = "trace=?chmod,?fchmodat,?mkdir,?mkdirat";
    let fault = "inject=?chmod,?fchmodat:error=EIO";
    let faults = Faults::begin(&fleet, 1, &["-e", looked_at, "-e", fault]);
    fleet.restart(0).expect("mars returns");
    let blocks = bare.join("gitback-blocks");
    let told = gitback_tests::until(SOON, "venus forgets the blocks", || {
        let log = fleet.envoy(1).log();
        let is_told = log.contains("cannot catch up") && log.contains("Input/output error");
        let is_forgotten = is_told && !blocks.exists();
        Ok(if is_forgotten { Ok(()) } else { Err(log) })
    });
    told.expect("it fails, and believes nothing of it");
    assert_eq!(brought(&fleet, 1), before, "nothing is brought in");
    says(&faults.calls(), &["gitback-blocks\""]);
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    fleet.restart(1).expect("venus returns");
    wait_until_whole(&fleet, 1, &work);
    let outside = fleet.outside();
    done(outside.git(&bare, ["fsck", "--full", "--no-progress"]));
}

#[test]
fn nothing_is_durable_after_a_failed_sync_until_the_daemon_starts_anew() {
    if !may() {
        return;
    }
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    wait_for_copies(fleet.person(0), 2);
    let projects = fleet
        .envoy(1)
        .root()
        .join("var/lib/vigo/swarm/gitback/projects");
    let packs = only(&projects).join("objects/pack");
    let packs = packs.to_string_lossy();
    let fault = "inject=fsync:error=EIO";
    let faults = Faults::begin(&fleet, 1, &["-P", &packs, "-e", "trace=fsync", "-e", fault]);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    let before = served(&venus, NOTES);
    commit(&venus, &work, "to a disk that fails");
    for _ in 0..2 {
        fails(venus.git(&work, ["push", "gitback", "main"]), 1);
        assert_eq!(served(&venus, NOTES), before);
    }
    // What is handed on is not stored either, and mars says so.
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(
        &pushed.stderr,
        &["venus refused: the envoy could not store it"],
    );
    // A disk tells of its failure once. Whoever asks again is told that all is well.
    let failed = faults.failed();
    assert_eq!(failed.len(), 1, "{failed:?}");
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    fleet.restart(1).expect("venus returns");
    wait_for_copies(&mars, 2);
    assert_eq!(served(&venus, NOTES), local(&mars, &work));
}
