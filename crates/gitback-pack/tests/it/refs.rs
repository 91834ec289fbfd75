//! Moving refs.

use std::fs;

use gitback_pack::{Expect, Oid, RefChange, RefError};

use crate::support::{Clone, World, git, parse};

fn set(name: &str, oid: Oid) -> RefChange {
    RefChange {
        name: name.into(),
        old: Expect::Any,
        new: Some(oid),
    }
}

fn delete(name: &str) -> RefChange {
    RefChange {
        name: name.into(),
        old: Expect::Any,
        new: None,
    }
}

fn seeded() -> (World, Clone, Oid, Oid) {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = clone.oid("HEAD");
    let second = clone.commit("second", "2\n");
    world.seed(&clone);
    (world, clone, first, second)
}

fn names(world: &World) -> Vec<String> {
    let refs = world.repository.refs().expect("refs");
    refs.into_iter()
        .map(|r| String::from_utf8(r.name).expect("text"))
        .collect()
}

#[test]
fn moves_only_from_where_it_is_expected() {
    let (world, _, first, second) = seeded();
    let change = |old, new| {
        [RefChange {
            name: b"refs/heads/main".to_vec(),
            old,
            new,
        }]
    };
    let stale = world
        .repository
        .update_refs(&change(Expect::Is(first), Some(first)));
    assert!(matches!(stale, Err(RefError::Stale { found, .. }) if found == Some(second)));
    // Also when the ref is there with the very value that it should get.
    let there = world
        .repository
        .update_refs(&change(Expect::Missing, Some(second)));
    assert!(matches!(there, Err(RefError::Stale { expected: None, .. })));
    world
        .repository
        .update_refs(&change(Expect::Is(second), Some(first)))
        .expect("it moves");
    assert_eq!(world.get("refs/heads/main"), Some(first));
    world
        .repository
        .update_refs(&change(Expect::Is(first), None))
        .expect("it goes");
    let gone = world
        .repository
        .update_refs(&change(Expect::Is(first), None));
    assert!(matches!(gone, Err(RefError::Stale { found: None, .. })));
    world
        .repository
        .update_refs(&change(Expect::Missing, None))
        .expect("nothing to do");
}

#[test]
fn moves_all_or_none() {
    let (world, _, first, second) = seeded();
    let absent = parse(&"a".repeat(40));
    let missing = world
        .repository
        .update_refs(&[set("refs/heads/a", first), set("refs/heads/b", absent)]);
    assert!(matches!(missing, Err(RefError::MissingTarget { oid, .. }) if oid == absent));
    let twice = world
        .repository
        .update_refs(&[set("refs/heads/a", first), set("refs/heads/a", second)]);
    assert!(matches!(twice, Err(RefError::Duplicate { .. })));
    let bad = world
        .repository
        .update_refs(&[set("refs/heads/a", first), set("refs/heads/a..b", first)]);
    assert!(matches!(bad, Err(RefError::Name { .. })));
    assert_eq!(names(&world), ["refs/heads/main"]);
}

#[test]
fn keeps_files_and_directories_apart() {
    let (world, _, first, _) = seeded();
    world.set("refs/heads/a/b", first);
    for packed in [false, true] {
        if packed {
            git(world.path(), &["pack-refs", "--all", "--prune"]);
        }
        for name in ["refs/heads/a", "refs/heads/a/b/c", "refs/heads/main/x"] {
            let result = world.repository.update_refs(&[set(name, first)]);
            assert!(
                matches!(result, Err(RefError::Conflict { .. })),
                "{name}, packed {packed}"
            );
        }
        let both = world
            .repository
            .update_refs(&[set("refs/heads/n", first), set("refs/heads/n/m", first)]);
        assert!(matches!(both, Err(RefError::Conflict { .. })));
    }
    // "a-b" sorts between "a" and "a/b" and is in nobody's way.
    world.set("refs/heads/a-b", first);
    assert_eq!(
        names(&world),
        ["refs/heads/a-b", "refs/heads/a/b", "refs/heads/main"]
    );
}

#[test]
fn swaps_a_directory_for_a_file_in_one_call() {
    for packed in [false, true] {
        let (world, _, first, second) = seeded();
        world.set("refs/heads/a/b/c", first);
        if packed {
            git(world.path(), &["pack-refs", "--all", "--prune"]);
        }
        let up = [set("refs/heads/a", second), delete("refs/heads/a/b/c")];
        world.repository.update_refs(&up).expect("room is made");
        assert_eq!(names(&world), ["refs/heads/a", "refs/heads/main"]);
        let down = [set("refs/heads/a/b/c", first), delete("refs/heads/a")];
        world.repository.update_refs(&down).expect("room is made");
        assert_eq!(names(&world), ["refs/heads/a/b/c", "refs/heads/main"]);
        assert_eq!(
            git(world.path(), &["for-each-ref", "--format=%(refname)"])
                .lines()
                .count(),
            2
        );
    }
}

#[test]
fn a_value_has_its_new_name_before_it_loses_the_old_one() {
    let (world, _, first, second) = seeded();
    world.set("refs/envoys/a/heads/main", first);
    // While the old name cannot go, everything else has happened.
    let lock = world.path().join("refs/envoys/a/heads/main.lock");
    fs::write(&lock, b"").expect("a lock");
    let changes = [
        delete("refs/envoys/a/heads/main"),
        set("refs/heads/main", first),
        set("refs/envoys/b/heads/main", second),
    ];
    std::thread::scope(|scope| {
        let update = scope.spawn(|| world.repository.update_refs(&changes));
        let both = |world: &World| {
            world.get("refs/heads/main") == Some(first)
                && world.get("refs/envoys/b/heads/main") == Some(second)
        };
        while !both(&world) && !update.is_finished() {
            std::thread::yield_now();
        }
        assert!(both(&world), "they do not wait for the deletion");
        assert_eq!(world.get("refs/envoys/a/heads/main"), Some(first));
        fs::remove_file(&lock).expect("it is there");
        let updated = update.join().expect("no panic");
        updated.expect("the lock is gone");
    });
    assert_eq!(
        names(&world),
        ["refs/envoys/b/heads/main", "refs/heads/main"]
    );
}

#[test]
fn deletes_refs_that_are_packed_and_loose() {
    let (world, _, first, second) = seeded();
    world.set("refs/heads/b", first);
    git(world.path(), &["pack-refs", "--all"]);
    world.set("refs/heads/b", second);
    world
        .repository
        .update_refs(&[delete("refs/heads/b")])
        .expect("it goes");
    assert_eq!(names(&world), ["refs/heads/main"]);
    assert_eq!(
        git(world.path(), &["for-each-ref", "--format=%(refname)"]),
        "refs/heads/main"
    );
}

#[test]
fn moves_many_refs_from_many_threads() {
    let (world, _, first, second) = seeded();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for n in 0..8 {
                    world.set(
                        &format!("refs/heads/t{thread}/n{n}"),
                        if n % 2 == 0 { first } else { second },
                    );
                }
            });
        }
    });
    assert_eq!(names(&world).len(), 33);
}

#[test]
fn a_ref_whose_object_cannot_be_read_hides_no_other() {
    let (world, _, _, second) = seeded();
    let torn = "ab".repeat(20);
    let folder = world.path().join("objects/ab");
    fs::create_dir_all(&folder).expect("room");
    fs::write(folder.join("ab".repeat(19)), b"damaged").expect("room");
    fs::write(world.path().join("refs/heads/torn"), format!("{torn}\n")).expect("room");
    let refs = world.repository.refs().expect("the others can be read");
    let oids: Vec<String> = refs.iter().map(|one| one.oid.to_string()).collect();
    assert_eq!(oids, [second.to_string(), torn]);
}

#[test]
fn points_head_and_peels_tags() {
    let (world, clone, first, second) = seeded();
    world
        .repository
        .set_head(b"refs/heads/trunk")
        .expect("a good name");
    assert_eq!(
        world.repository.head_target().expect("HEAD").as_deref(),
        Some(&b"refs/heads/trunk"[..])
    );
    assert!(world.repository.set_head(b"../../etc/passwd").is_err());
    assert_eq!(
        git(world.path(), &["symbolic-ref", "HEAD"]),
        "refs/heads/trunk"
    );

    clone.git(&["tag", "-a", "-m", "one", "v1", &first.to_string()]);
    clone.git(&["tag", "-a", "-m", "of a tag", "v2", "v1"]);
    let tag = clone.oid("v2");
    world
        .store(&clone.pack(&["v2"], &[]), &[tag])
        .expect("a good pack");
    world.set("refs/tags/v2", tag);
    let refs = world.repository.refs().expect("refs");
    assert_eq!(refs[1].peeled, Some(first));
    assert_eq!(refs[0].peeled, None);
    assert!(
        world
            .repository
            .is_ancestor(&tag, &second)
            .expect("both are here")
    );
    assert!(
        !world
            .repository
            .is_ancestor(&second, &tag)
            .expect("both are here")
    );
}

#[test]
fn tells_ancestors_through_merges() {
    let (world, clone, first, second) = seeded();
    clone.git(&["checkout", "-q", "-b", "side", &first.to_string()]);
    let side = clone.commit("side", "s\n");
    clone.git(&["merge", "-q", "-m", "merge", "main"]);
    let merge = clone.oid("HEAD");
    let blob = clone.oid("HEAD:side");
    world
        .store(&clone.pack(&["HEAD"], &["main"]), &[merge])
        .expect("a good pack");
    let is = |old: Oid, new: Oid| {
        world
            .repository
            .is_ancestor(&old, &new)
            .expect("both are here")
    };
    assert!(is(first, merge) && is(second, merge) && is(side, merge) && is(merge, merge));
    assert!(!is(merge, side) && !is(second, side) && !is(side, second));
    assert!(is(blob, blob) && !is(blob, merge) && !is(first, blob));
    let absent = parse(&"a".repeat(40));
    assert!(world.repository.is_ancestor(&absent, &merge).is_err());
}

#[test]
fn what_somebody_else_writes_is_seen() {
    let (world, _, first, second) = seeded();
    let main = "refs/heads/main";
    assert_eq!(world.get(main), Some(second));
    // What happens in one tick of the file system's clock cannot be told apart.
    let ticks = world.home.path().join("ticks");
    let now = || {
        fs::write(&ticks, "").expect("ours");
        let metadata = ticks.metadata().expect("there");
        metadata.modified().expect("a time")
    };
    let theirs = |arguments: &[&str]| {
        let before = now();
        while now() == before {}
        git(world.path(), arguments);
    };
    let first_hex = first.to_string();
    theirs(&["update-ref", main, &first_hex]);
    assert_eq!(world.get(main), Some(first));
    git(
        world.path(),
        &["update-ref", "refs/heads/deep/er", &first_hex],
    );
    assert_eq!(world.get("refs/heads/deep/er"), Some(first));
    theirs(&["pack-refs", "--all", "--prune"]);
    assert_eq!(world.get(main), Some(first));
    theirs(&["update-ref", "-d", main]);
    assert_eq!(world.get(main), None);
}

#[test]
fn what_was_moved_is_what_git_finds() {
    let (world, clone, first, second) = seeded();
    clone.git(&["tag", "-a", "-m", "one", "v1", &first.to_string()]);
    let tag = clone.oid("v1");
    world.store(&clone.pack_of(&[tag]), &[tag]).expect("a tag");
    let all = |world: &World| {
        let refs = world.repository.refs().expect("refs");
        let lines = refs.into_iter().map(|one| {
            let name = String::from_utf8(one.name).expect("text");
            let peeled = one
                .peeled
                .map_or_else(String::new, |peeled| peeled.to_string());
            format!("{name} {} {peeled}", one.oid)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let format = "--format=%(refname) %(objectname) %(*objectname)";
    let theirs = |world: &World| git(world.path(), &["for-each-ref", format]);
    let steps: [&[RefChange]; 5] = [
        &[set("refs/heads/a/b", first), set("refs/tags/v1", tag)],
        &[delete("refs/heads/a/b"), set("refs/heads/a", second)],
        &[delete("refs/heads/a"), set("refs/heads/a/b/c", first)],
        &[set("refs/heads/main", first), delete("refs/heads/a/b/c")],
        &[set("refs/tags/v1", first)],
    ];
    for step in steps {
        world.repository.update_refs(step).expect("they move");
        assert_eq!(all(&world).trim_end(), theirs(&world));
    }
    let refused = world.repository.update_refs(&[
        set("refs/heads/new", second),
        set("refs/heads/none", parse(&"a".repeat(40))),
    ]);
    assert!(refused.is_err());
    assert_eq!(all(&world).trim_end(), theirs(&world));
}
