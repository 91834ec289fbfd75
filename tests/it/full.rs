//! An envoy whose disk is fuller than its configuration allows: what it has stays, nothing more comes, and as soon as there
//! is room everything does. Needs root, for a file system in memory that only the daemon sees.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use gitback_tests::Fleet;

use crate::limits::{commit_noise, left_behind};
use crate::world::{
    SOON, commit, done, fails, fleet, local, notes, push_all, says, served, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";
/// How large venus's disk is.
const DISK_MIB: usize = 96;
/// How much of it has to be free: more than half.
const FREE_PERCENT: usize = 50;
/// So much can be put there before too little is free.
const USABLE_MIB: usize = DISK_MIB * FREE_PERCENT / 100;

/// Moves what a daemon keeps to a file system in memory and becomes the daemon. Both end together.
const MOVE_IN: &str = r#"set -e; at=$1; size=$2; shift 2
mkdir "$at.small"
mount -t tmpfs -o "size=${size}m,mode=0755" gitback-test "$at.small"
cp -a "$at/." "$at.small"
: > "$at.small/ballast"
mount --move "$at.small" "$at"
exec "$@""#;

/// Whether this user may give a daemon a disk of its own; says so if not.
fn may() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: only root can give a daemon a small disk"
        );
    }
    is_root
}

/// The disk of a daemon, as it sees it.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Starts a daemon that does not run on a disk of its own. What it writes there ends with it.
    fn of(fleet: &mut Fleet, index: usize) -> Self {
        let envoy = fleet.envoy(index);
        let kept = envoy.root().join("var/lib/vigo");
        let config = fs::read_to_string(envoy.config_file()).expect("a configuration");
        let (before, after) = ("min_free_percent = 0", "min_free_percent = 50");
        assert!(config.contains(before), "{config}");
        fs::write(envoy.config_file(), config.replace(before, after)).expect("written");
        let size = DISK_MIB.to_string();
        let path = kept.to_string_lossy();
        let tool = ["unshare", "--mount", "/bin/sh", "-c", MOVE_IN, "sh"];
        let tool: Vec<_> = tool.into_iter().chain([&*path, &size]).collect();
        let tool: Vec<_> = tool.into_iter().map(Into::into).collect();
        let started = fleet.envoy_mut(index).start_under(&tool, None);
        started.expect("it starts on its own disk");
        let pid = fleet.envoy(index).pid().expect("it runs");
        let seen = kept.strip_prefix("/").expect("an absolute path");
        Self {
            at: Path::new("/proc")
                .join(pid.to_string())
                .join("root")
                .join(seen),
        }
    }

    /// Takes so many mebibytes, instead of what it took before.
    fn take(&self, mebibytes: usize) {
        let zeroes = vec![0; mebibytes << 20];
        fs::write(self.at.join("ballast"), zeroes).expect("there is room for it");
    }

    /// Waits until nothing is left of packs that came: peers may read along for a moment longer.
    fn is_tidy(&self) {
        let tidy = gitback_tests::until(SOON, "nothing is left", || {
            let left = left_behind(&self.at);
            Ok(if left.is_empty() {
                Ok(())
            } else {
                Err(left.join(", "))
            })
        });
        tidy.expect("what was refused is gone");
    }
}

/// Venus on a small disk, with what mars has pushed.
fn crowded() -> (Fleet, PathBuf, Disk) {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    wait_for_copies(fleet.person(0), 2);
    fleet.envoy_mut(1).end().expect("venus ends");
    let disk = Disk::of(&mut fleet, 1);
    wait_for_copies(fleet.person(0), 2);
    (fleet, work, disk)
}

/// Waits until venus has refused what mars hands on, or has given up fetching it, because of its disk.
fn wait_until_refused(fleet: &Fleet) {
    let asked = ["swarm", "gitback", "project", "status", "notes", "--json"];
    let asked = fleet.person(0).vigo(asked);
    let refused = gitback_tests::until(SOON, "venus has no room", || {
        let (status, log) = (asked.run()?.stdout, fleet.envoy(1).log());
        let is_refused = status.contains("disk free") || log.contains("not brought in: venus: ");
        Ok(if is_refused {
            Ok(())
        } else {
            Err(status + &log)
        })
    });
    refused.expect("it stops before its disk is full");
}

#[test]
fn a_disk_that_is_too_full_takes_nothing_more_until_there_is_room() {
    if !may() {
        return;
    }
    let (fleet, work, disk) = crowded();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    disk.take(USABLE_MIB + 1);
    let before = served(venus, NOTES);
    commit(venus, &work, "to a full disk");
    let said = fails(venus.git(&work, ["push", "gitback", "main"]), 1);
    says(&said, &["disk free, more than 50% needed"]);
    // Mars has room, and takes it. What it hands on is refused, and what venus could fetch is left.
    done(mars.git(&work, ["push", "gitback", "main"]));
    wait_until_refused(&fleet);
    assert_eq!(served(venus, NOTES), before);
    disk.is_tidy();
    // A branch that goes needs no room.
    done(mars.git(&work, ["push", "gitback", "main:refs/heads/gone"]));
    done(mars.git(&work, ["push", "gitback", ":refs/heads/gone"]));
    disk.take(0);
    wait_for_copies(mars, 2);
    assert_eq!(served(venus, NOTES), local(mars, &work));
}

#[test]
fn a_push_that_would_fill_the_disk_is_refused_while_it_comes() {
    if !may() {
        return;
    }
    let (fleet, work, disk) = crowded();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    disk.take(USABLE_MIB - 4);
    let before = served(venus, NOTES);
    commit_noise(venus, &work, "large", 20 << 10);
    let said = fails(venus.git(&work, ["push", "gitback", "main"]), 1);
    says(&said, &["disk free, more than 50% needed"]);
    disk.is_tidy();
    done(mars.git(&work, ["push", "gitback", "main"]));
    wait_until_refused(&fleet);
    assert_eq!(served(venus, NOTES), before);
    // What did come stands in nobody's way.
    disk.take(0);
    wait_for_copies(mars, 2);
    assert_eq!(served(venus, NOTES), local(mars, &work));
}

#[test]
fn a_project_that_would_fill_the_disk_is_brought_in_when_there_is_room() {
    if !may() {
        return;
    }
    let mut fleet = fleet(2);
    fleet.envoy_mut(1).end().expect("venus ends");
    let work = notes(&fleet);
    for part in 0..4 {
        commit_noise(fleet.person(0), &work, &format!("part-{part}"), 6 << 10);
    }
    push_all(fleet.person(0), &work);
    let disk = Disk::of(&mut fleet, 1);
    disk.take(USABLE_MIB - 8);
    let stopped = gitback_tests::until(SOON, "venus has no room", || {
        let log = fleet.envoy(1).log();
        Ok(if log.contains("not brought in: venus: ") {
            Ok(())
        } else {
            Err(log)
        })
    });
    stopped.expect("it stops before its disk is full");
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    disk.take(0);
    wait_for_copies(mars, 2);
    assert_eq!(served(venus, NOTES), local(mars, &work));
}
