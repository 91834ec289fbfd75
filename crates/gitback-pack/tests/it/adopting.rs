//! Objects of one repository in another, without copies.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use gitback_pack::Repository;

use crate::support::{World, git};

#[test]
fn objects_of_another_repository_are_linked_and_outlive_it() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    // A loose object beside the pack, as another program may have left it.
    let blob = clone.object("blob", b"loose\n");
    let loose = format!("{}/{}", &blob.to_string()[..2], &blob.to_string()[2..]);
    let target = world.path().join("objects").join(&loose);
    fs::create_dir_all(target.parent().expect("a parent")).expect("made");
    fs::copy(clone.path.join(".git/objects").join(&loose), &target).expect("copied");

    let path = world.home.path().join("other.git");
    let other = Repository::create(&path).expect("a repository");
    for _ in 0..2 {
        other
            .adopt_objects(&world.repository)
            .expect("the disk works");
    }
    assert!(other.has(&head).expect("readable"));
    assert!(other.has(&blob).expect("readable"));
    assert!(other.complete(&[head]).expect("readable"));
    let pack = |root: &std::path::Path| {
        let entries = fs::read_dir(root.join("objects/pack")).expect("readable");
        let mut packs = entries.flatten().map(|entry| entry.path());
        packs
            .find(|path| path.extension().is_some_and(|end| end == "pack"))
            .expect("a pack")
    };
    let inode = |path: std::path::PathBuf| fs::metadata(path).expect("there").ino();
    assert_eq!(inode(pack(world.path())), inode(pack(&path)));

    let World { home, repository } = world;
    let old = repository.path().to_owned();
    drop(repository);
    fs::remove_dir_all(old).expect("removed");
    git(&path, &["fsck", "--full"]);
    assert!(other.complete(&[head]).expect("readable"));
    drop(home);
}
