//! Opening repositories: what is refused, what is cleared away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use gitback_pack::{Fault, Limits, OpenError, Repository};

use crate::support::{World, git, parse};

/// Closes the repository, lets `damage` loose on its directory, and opens it again.
fn reopen(world: World, damage: impl FnOnce(&std::path::Path)) -> (World, gitback_pack::Recovered) {
    let World { home, repository } = world;
    let path = repository.path().to_owned();
    drop(repository);
    damage(&path);
    let (repository, recovered) = Repository::open(&path).expect("it opens");
    (World { home, repository }, recovered)
}

#[test]
fn makes_a_repository_that_git_takes() {
    let world = World::new();
    assert_eq!(
        git(world.path(), &["rev-parse", "--is-bare-repository"]),
        "true"
    );
    assert_eq!(
        world.path().metadata().expect("there").permissions().mode() & 0o777,
        0o700
    );
    assert!(world.repository.size_bytes().expect("a size") > 0);
    let again = Repository::create(world.path());
    assert!(matches!(again, Err(Fault::Exists { .. })));
}

#[test]
fn a_person_who_collects_garbage_loses_nothing_that_a_ref_may_go_back_to() {
    let world = World::new();
    let clone = world.clone_with_commit("work");
    let left = world.seed(&clone);
    clone.git(&["commit", "-q", "--amend", "-m", "instead of the first"]);
    let forced = world.seed(&clone);
    assert_ne!(left, forced);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30);
    for file in fs::read_dir(world.path().join("objects/pack")).expect("readable") {
        let path = file.expect("readable").path();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        let file = fs::File::options().write(true).open(&path).expect("ours");
        file.set_modified(long_ago).expect("ours");
    }
    git(world.path(), &["gc", "-q"]);
    let kind = git(world.path(), &["cat-file", "-t", &left.to_string()]);
    assert_eq!(kind, "commit");
}

#[test]
fn completes_a_repository_that_was_half_made() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("deep/er/half.git");
    fs::create_dir_all(path.join("objects")).expect("a directory");
    assert!(matches!(
        Repository::open(&path),
        Err(OpenError::NotRepository { .. })
    ));
    Repository::create(&path).expect("it is completed");
    Repository::open(&path).expect("it opens");
}

#[test]
fn belongs_to_one_handle_at_a_time() {
    let world = World::new();
    assert!(matches!(
        Repository::open(world.path()),
        Err(OpenError::InUse { .. })
    ));
    let path = world.path().to_owned();
    let quarantine = world.repository.quarantine();
    let World { home, repository } = world;
    drop(repository);
    assert!(
        matches!(Repository::open(&path), Err(OpenError::InUse { .. })),
        "the quarantine holds it"
    );
    drop(quarantine);
    let (_, recovered) = Repository::open(&path).expect("it is free");
    assert!(recovered.is_nothing());
    drop(home);
}

#[test]
fn clears_away_what_a_kill_leaves() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    let (world, recovered) = reopen(world, |path| {
        let quarantine = path.join("objects/tmp_objdir-incoming-x/pack");
        fs::create_dir_all(&quarantine).expect("a directory");
        for file in [
            "HEAD.lock",
            "packed-refs.lock",
            "refs/heads/main.lock",
            "objects/pack/tmp_pack_x",
            "objects/tmp_objdir-incoming-x/pack/tmp_pack_y",
            "gitback-spool/pack-z",
        ] {
            fs::write(path.join(file), b"").expect("a file");
        }
        let keep = path.join("objects/pack/pack-1.keep");
        fs::write(keep, "receive-pack 7 on mars\n").expect("a file");
    });
    assert_eq!(
        (
            recovered.locks,
            recovered.keeps,
            recovered.quarantines,
            recovered.spools
        ),
        (3, 1, 2, 1)
    );
    assert_eq!(world.get("refs/heads/main"), Some(head));
    world.set("refs/heads/other", head);
    world
        .repository
        .set_head(b"refs/heads/other")
        .expect("no lock is left");
    for part in [".lock", ".keep", "tmp_", "pack-z"] {
        assert!(world.files(part).is_empty(), "{part}");
    }
}

#[test]
fn leaves_alone_what_a_person_wants_to_keep() {
    let (world, recovered) = reopen(World::new(), |path| {
        let packs = path.join("objects/pack");
        for (name, text) in [
            ("empty", ""),
            ("words", "the release of May, do not repack\n"),
            ("fetched", "fetch-pack 7 on mars\n"),
        ] {
            fs::write(packs.join(format!("pack-{name}.keep")), text).expect("a file");
        }
    });
    assert_eq!(recovered.keeps, 1);
    assert_eq!(world.files("pack-fetched"), Vec::<PathBuf>::new());
    assert_eq!(world.files(".keep").len(), 2);
}

#[test]
fn drops_refs_that_a_power_cut_has_torn() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    let (world, recovered) = reopen(world, |path| {
        fs::write(path.join("refs/heads/empty"), b"").expect("a file");
        fs::write(path.join("refs/heads/zero"), [0; 41]).expect("a file");
        fs::write(path.join("refs/heads/short"), b"abcdef").expect("a file");
        fs::write(
            path.join("packed-refs"),
            b"# pack-refs with: peeled fully-peeled sorted \n123",
        )
        .expect("a file");
        fs::write(path.join("config"), b"").expect("a file");
    });
    assert_eq!(recovered.damaged_refs, 4);
    assert_eq!(world.get("refs/heads/main"), Some(head));
    assert_eq!(world.repository.refs().expect("refs").len(), 1);
    assert_eq!(git(world.path(), &["config", "core.bare"]), "true");
}

#[test]
fn refuses_repositories_of_other_kinds() {
    let home = tempfile::tempdir().expect("a directory");
    let open = |name: &str| Repository::open(&home.path().join(name));
    git(
        home.path(),
        &["init", "-q", "--bare", "--object-format=sha256", "sha256"],
    );
    assert!(matches!(open("sha256"), Err(OpenError::Unsupported { .. })));
    // As `git init --ref-format=reftable` says it, which older gits cannot.
    git(home.path(), &["init", "-q", "--bare", "reftable"]);
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.refStorage", "reftable"),
    ] {
        git(
            home.path(),
            &["config", "-f", "reftable/config", key, value],
        );
    }
    assert!(matches!(
        open("reftable"),
        Err(OpenError::Unsupported { .. })
    ));
    git(home.path(), &["init", "-q", "work"]);
    assert!(matches!(
        open("work/.git"),
        Err(OpenError::Unsupported { .. })
    ));
    assert!(matches!(open("work"), Err(OpenError::NotRepository { .. })));
    assert!(matches!(
        open("absent"),
        Err(OpenError::NotRepository { .. })
    ));
    git(home.path(), &["init", "-q", "--bare", "plain"]);
    open("plain").expect("git's own bare repositories are fine");
}

#[test]
fn refuses_files_that_point_elsewhere() {
    for planted in ["objects/info/alternates", "commondir", "shallow"] {
        let world = World::new();
        let path = world.path().to_owned();
        let World { home, repository } = world;
        drop(repository);
        fs::write(path.join(planted), "/etc\n").expect("a file");
        let opened = Repository::open(&path);
        assert!(
            matches!(opened, Err(OpenError::Planted { .. })),
            "{planted}"
        );
        drop(home);
    }
}

#[test]
fn puts_its_configuration_back() {
    let world = World::new();
    let (world, _) = reopen(world, |path| {
        let config =
            "[core]\n\tbare = true\n\tsshCommand = evil\n[include]\n\tpath = /etc/passwd\n";
        fs::write(path.join("config"), config).expect("a file");
    });
    let config = fs::read_to_string(world.path().join("config")).expect("readable");
    assert!(
        !config.contains("evil") && !config.contains("include"),
        "{config}"
    );
}

#[test]
fn removes_a_quarantine_that_is_dropped() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let mut quarantine = world.repository.quarantine();
    let ingested = quarantine
        .ingest(&clone.pack(&["HEAD"], &[])[..], &Limits::default())
        .expect("a good pack");
    let head = clone.oid("HEAD");
    assert!(quarantine.has(&head).expect("readable"));
    assert!(!world.repository.has(&head).expect("readable"));
    // That no commit of it is here is for git to tell.
    let unknown = parse(&"a".repeat(40));
    assert!(quarantine.check_connected(&[unknown]).is_err());
    assert_eq!(world.files("tmp_objdir").len(), 1);
    drop((quarantine, ingested));
    assert!(world.files("tmp_objdir").is_empty() && world.files("pack-").is_empty());
}
