//! Pushes that cost more than an envoy allows.

use std::fs;
use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Person};

use crate::world::{
    SOON, clone, commit, done, fails, local, notes, options, push_all, says, served, snapshot,
    wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

/// Mars alone, with these settings and a small history that is pushed.
fn limited(settings: &str) -> (Fleet, PathBuf) {
    let fleet = Fleet::start(options(1).more_settings(settings));
    let mut fleet = fleet.expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    (fleet, work)
}

/// Gives an envoy settings of its own, and starts its daemon anew.
fn allow_less(fleet: &mut Fleet, index: usize, settings: &str) {
    let file = fleet.envoy(index).config_file();
    let config = fs::read_to_string(&file).expect("its configuration");
    fs::write(&file, format!("{settings}{config}")).expect("it is written");
    fleet.envoy_mut(index).end().expect("it ends");
    fleet.restart(index).expect("it starts");
}

/// Commits a file of zeroes, of so many mebibytes.
fn commit_zeroes(person: &Person, work: &Path, mebibytes: usize) {
    fs::write(work.join("zeroes"), vec![0; mebibytes << 20]).expect("a file");
    done(person.git(work, ["add", "zeroes"]));
    done(person.git(work, ["commit", "--quiet", "-m", "zeroes"]));
}

/// What a pack leaves behind while it comes in, below the envoy's directory.
pub(crate) fn left_behind(directory: &Path) -> Vec<String> {
    assert!(directory.is_dir(), "nothing at {}", directory.display());
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        // What goes meanwhile is not left behind.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_of_a_pack =
                name.starts_with("tmp_objdir") || directory.ends_with("gitback-spool");
            found.extend(is_of_a_pack.then(|| path.display().to_string()));
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

/// The most memory that a daemon has had, in mebibytes.
fn peak_mebibytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    kibibytes
        .and_then(|number| number.parse::<u64>().ok())
        .expect("a number")
        >> 10
}

#[test]
fn a_push_over_a_limit_is_refused_with_the_limit_and_the_next_one_is_taken() {
    let (fleet, work) =
        limited("pack_max_memory_bytes = 67108864\npack_max_unpacked_bytes = 33554432\n");
    let mars = fleet.person(0);
    let before = snapshot(mars);
    let daemon = fleet.envoy(0);
    for (mebibytes, why, field) in [
        (
            96,
            "the pack takes more than 67108864 bytes of memory",
            "pack_max_memory_bytes",
        ),
        (
            33,
            "more than 33554432 bytes when it is unpacked",
            "pack_max_unpacked_bytes",
        ),
    ] {
        commit_zeroes(mars, &work, mebibytes);
        let said = fails(mars.git(&work, ["push", "gitback", "main"]), 1);
        let way_out = format!("hint: who runs mars can raise {field} in its envoy.toml");
        says(&said, &[&format!("{why} ({field} = "), &way_out]);
        assert_eq!(snapshot(mars), before);
        assert_eq!(left_behind(daemon.root()), Vec::<String>::new());
        done(mars.git(&work, ["reset", "--quiet", "--hard", "HEAD^"]));
    }
    let peak = peak_mebibytes(daemon.pid().expect("it runs"));
    assert!(peak < 64, "{peak} MiB for what is 96 MiB unpacked");
    commit(mars, &work, "small again");
    done(mars.git(&work, ["push", "gitback", "main"]));
    assert_ne!(snapshot(mars), before);
}

#[test]
fn what_a_large_pack_takes_of_the_daemon_is_bounded_by_default() {
    let (fleet, work) = limited("pack_max_unpacked_bytes = 67108864\n");
    let mars = fleet.person(0);
    let before = snapshot(mars);
    let daemon = fleet.envoy(0);
    // With that, the pack is not small; and no thin one is indexed in the daemon.
    commit_noise(mars, &work, "noise", 2048);
    commit_zeroes(mars, &work, 96);
    let push = || mars.git(&work, ["push", "--no-thin", "gitback", "main"]);
    let said = fails(push(), 1);
    let why = "more than 67108864 bytes when it is unpacked (pack_max_unpacked_bytes = 67108864)";
    says(&said, &[why]);
    assert_eq!(snapshot(mars), before);
    assert_eq!(left_behind(daemon.root()), Vec::<String>::new());
    done(mars.git(&work, ["reset", "--quiet", "--hard", "HEAD^"]));
    commit_zeroes(mars, &work, 48);
    done(push());
    assert_ne!(snapshot(mars), before);
    let peak = peak_mebibytes(daemon.pid().expect("it runs"));
    assert!(peak < 48, "{peak} MiB for what is 48 MiB unpacked");
}

/// Commits a file of so many kibibytes that do not compress, others for each name.
pub(crate) fn commit_noise(person: &Person, work: &Path, name: &str, kibibytes: usize) {
    let mut noise = vec![0; kibibytes << 10];
    let seed = |state: u64, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte));
    let mut state = name.bytes().fold(1, seed);
    for (at, byte) in noise.iter_mut().enumerate() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(at as u64 | 1);
        *byte = state.to_be_bytes()[0];
    }
    fs::write(work.join(name), noise).expect("a file");
    done(person.git(work, ["add", name]));
    done(person.git(work, ["commit", "--quiet", "-m", name]));
}

#[test]
fn a_member_brings_in_as_much_as_it_may() {
    let (mut fleet, work) = limited("member_max_bytes = 400000\n");
    let mars = fleet.person(0);
    commit_noise(mars, &work, "first", 200);
    done(mars.git(&work, ["push", "gitback", "main"]));
    let before = snapshot(mars);
    // It is the sum that counts.
    commit_noise(mars, &work, "second", 300);
    let said = fails(mars.git(&work, ["push", "gitback", "main"]), 1);
    says(
        &said,
        &[
            "of 400000 bytes that mars takes of one member",
            "member_max_bytes",
        ],
    );
    assert_eq!(snapshot(mars), before);
    assert_eq!(left_behind(fleet.envoy(0).root()), Vec::<String>::new());
    done(mars.git(&work, ["reset", "--quiet", "--hard", "HEAD^"]));
    commit(mars, &work, "small");
    done(mars.git(&work, ["push", "gitback", "main"]));
    // What takes nothing away stays possible when all is used up.
    commit_noise(mars, &work, "third", 140);
    done(mars.git(&work, ["push", "gitback", "main"]));
    commit_noise(mars, &work, "fourth", 60);
    fails(mars.git(&work, ["push", "gitback", "main"]), 1);
    done(mars.git(&work, ["push", "gitback", "HEAD^:refs/heads/other"]));
    done(mars.git(&work, ["push", "gitback", ":refs/heads/other"]));
    // The daemon counts from what is signed, also after a restart.
    fleet.envoy_mut(0).end().expect("mars ends");
    fleet.restart(0).expect("mars starts");
    let mars = fleet.person(0);
    fails(mars.git(&work, ["push", "gitback", "main"]), 1);
}

#[test]
fn an_envoy_that_allows_less_refuses_for_itself_alone() {
    let mut fleet = Fleet::start(options(3)).expect("the fleet starts");
    allow_less(&mut fleet, 1, "pack_max_unpacked_bytes = 33554432\n");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    wait_for_copies(&mars, 3);
    commit_zeroes(&mars, &work, 33);
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(
        &pushed.stderr,
        &[
            "replicated to 2 of 3 envoys (mars, titan)",
            "venus refused: venus: more than 33554432 bytes when it is unpacked (pack_max_unpacked_bytes = 33554432)",
        ],
    );
    assert_eq!(served(fleet.person(2), NOTES), served(&mars, NOTES));
    assert_ne!(served(fleet.person(1), NOTES), served(&mars, NOTES));
}

#[test]
fn a_project_of_more_objects_than_one_pack_may_have_comes_in_parts() {
    let mut fleet = Fleet::start(options(2)).expect("the fleet starts");
    allow_less(&mut fleet, 1, "pack_max_objects = 100\n");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let counted = done(mars.git(&work, ["rev-list", "--all", "--objects", "--count"]));
    let objects: u32 = counted.stdout.trim().parse().expect("a number");
    assert!(objects > 200, "{objects} objects");
    let pushed = push_all(mars, &work);
    says(&pushed.stderr, &["venus refused", "pack_max_objects = 100"]);
    wait_for_copies(mars, 2);
    assert_eq!(served(venus, NOTES), local(mars, &work));
    let log = fleet.envoy(1).log();
    says(&log, &["bringing a project in by parts"]);
    clone(venus, "clone");
    // One commit that has too many of them is left out, as the limit here says, and keeps nothing else back.
    for file in 0..120 {
        fs::write(work.join(format!("{file}.new")), file.to_string()).expect("a file");
    }
    done(mars.git(&work, ["checkout", "--quiet", "-b", "many"]));
    done(mars.git(&work, ["add", "."]));
    done(mars.git(&work, ["commit", "--quiet", "-m", "many"]));
    let many = done(mars.git(&work, ["rev-parse", "many"])).stdout;
    done(mars.git(&work, ["checkout", "--quiet", "main"]));
    commit(mars, &work, "few");
    done(mars.git(&work, ["push", "gitback", "many", "main"]));
    let why = format!(
        "mars sent a pack that is too much here: more than 100 objects (pack_max_objects = 100), for commit {} alone",
        many.trim()
    );
    let again = format!("{why} (seen before, and not asked for again yet)");
    let mut expected = local(mars, &work);
    expected.remove("refs/heads/many");
    let told = gitback_tests::until(
        SOON,
        "venus has the rest, and says what it leaves out",
        || {
            let log = fleet.envoy(1).log();
            let is_there = log.contains(&again) && served(venus, NOTES) == expected;
            Ok(if is_there { Ok(()) } else { Err(log) })
        },
    );
    told.expect("what may come has come");
}
