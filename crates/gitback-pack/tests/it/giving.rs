//! Packs that are given in blocks, and what becomes of them elsewhere.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use gitback_pack::{BLOCK_BYTES, Given, Limits, Offer, Reject, Repository};

use crate::support::{Clone, World};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A repository with one pack of more than two blocks.
fn large() -> (World, Clone) {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let mut bytes = Vec::new();
    let mut state = 1_u64;
    while bytes.len() < 5 * BLOCK_BYTES / 2 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    fs::write(clone.path.join("large"), bytes).expect("written");
    clone.git(&["add", "large"]);
    clone.git(&["commit", "--quiet", "-m", "large"]);
    world.seed(&clone);
    (world, clone)
}

fn offers(repository: &Repository) -> Vec<Offer> {
    let offers = repository.offers().expect("readable");
    offers.expect("nobody else reads")
}

#[test]
fn a_pack_is_given_as_it_is_and_taken_elsewhere() {
    let (world, clone) = large();
    let listed = offers(&world.repository);
    let [offer] = listed.as_slice() else {
        panic!("one pack: {listed:?}");
    };
    let (name, tree) = (offer.name, &offer.tree);
    assert_eq!(tree.blocks(), 3);
    assert!(world.repository.has_pack(&name));
    let mut given = Vec::new();
    for blocks in [0..1, 1..3] {
        let gave = world.repository.give_blocks(&name, blocks, &mut given);
        assert_eq!(gave.expect("readable"), Given::All);
    }
    let file = fs::read(world.path().join(format!("objects/pack/pack-{name}.pack")));
    assert_eq!(given, file.expect("there"));

    let other = Repository::create(&world.home.path().join("other.git")).expect("made");
    let (gathered, here) = other.gather(offer).expect("begun");
    assert_eq!(here, [false; 3]);
    for (index, block) in (0..).zip(given.chunks(BLOCK_BYTES)) {
        assert!(tree.is_block(index, block));
        gathered.keep(index, block).expect("kept");
    }
    let mut quarantine = other.quarantine();
    let ends = |at: u64| Ok(tree.bytes().min((at / BLOCK + 1) * BLOCK));
    let ingested = quarantine.ingest_gathered(&gathered, ends, &Limits::default());
    assert_eq!(ingested.expect("a good pack").objects, offer.objects);
    let head = clone.oid("HEAD");
    let absent = clone.object("blob", b"never pushed");
    assert_eq!(
        quarantine.brought(&[absent, head]).expect("readable"),
        [head]
    );
    quarantine.check_connected(&[head]).expect("whole");
    quarantine.migrate().expect("stored");
    let stored = other.path().join(format!("objects/pack/pack-{name}.pack"));
    let gathering = other.path().join("gitback-blocks");
    let gathering = fs::read_dir(gathering).expect("a folder").next();
    let gathering = gathering.expect("one file").expect("listed").metadata();
    let stored = fs::metadata(stored).expect("there");
    assert_eq!(
        stored.ino(),
        gathering.expect("there").ino(),
        "it was not copied"
    );
    gathered.discard().expect("removed");
    assert!(other.has_pack(&name), "under the same name");
    assert_eq!(offers(&other), listed, "and given on");
}

#[test]
fn what_has_become_the_pack_is_not_written_any_more() {
    let (world, _) = large();
    let offer = offers(&world.repository).remove(0);
    let other = Repository::create(&world.home.path().join("other.git")).expect("made");
    let (gathered, _) = other.gather(&offer).expect("begun");
    let mut given = Vec::new();
    let gave = world
        .repository
        .give_blocks(&offer.name, 0..3, &mut given)
        .expect("readable");
    assert_eq!(gave, Given::All);
    for (index, block) in (0..).zip(given.chunks(BLOCK_BYTES)) {
        gathered.keep(index, block).expect("kept");
    }
    let mut quarantine = other.quarantine();
    let whole = |_| Ok(u64::MAX);
    let ingested = quarantine.ingest_gathered(&gathered, whole, &Limits::default());
    ingested.expect("a good pack");
    quarantine.migrate().expect("stored");
    // The envoy was killed before it removed the other name.
    drop(gathered);
    let (again, _) = other.gather(&offer).expect("begun again");
    again
        .keep(0, &[7; BLOCK_BYTES])
        .expect("nobody would: it is not the block");
    let stored = other
        .path()
        .join(format!("objects/pack/pack-{}.pack", offer.name));
    assert!(fs::read(stored).expect("there") == given);
}

#[test]
fn a_pack_of_which_nobody_gives_the_rest_is_not_taken() {
    let (world, _) = large();
    let offer = offers(&world.repository).remove(0);
    let other = Repository::create(&world.home.path().join("other.git")).expect("made");
    let (gathered, _) = other.gather(&offer).expect("begun");
    let mut given = Vec::new();
    let gave = world.repository.give_blocks(&offer.name, 0..2, &mut given);
    assert_eq!(gave.expect("readable"), Given::All);
    for (index, block) in (0..).zip(given.chunks(BLOCK_BYTES)) {
        gathered.keep(index, block).expect("kept");
    }
    let cut = |at: u64| match at < 2 * BLOCK {
        true => Ok(2 * BLOCK),
        false => Err(std::io::ErrorKind::TimedOut.into()),
    };
    let mut quarantine = other.quarantine();
    let ingested = quarantine.ingest_gathered(&gathered, cut, &Limits::default());
    assert!(matches!(ingested, Err(Reject::Broken(_))), "{ingested:?}");
    drop(quarantine);
    drop(gathered);
    let (_, here) = other.gather(&offer).expect("goes on");
    assert_eq!(here, [true, true, false]);
}

#[test]
fn blocks_that_are_not_there_are_not_given() {
    let (world, _) = large();
    let name = offers(&world.repository)[0].name;
    let mut given = Vec::new();
    let mut gives = |name: &gitback_pack::Oid, blocks: std::ops::Range<u64>| {
        let gave = world.repository.give_blocks(name, blocks, &mut given);
        gave.expect("readable") == Given::All
    };
    assert!(!gives(&name, 0..4), "behind the end");
    assert!(!gives(&name, 3..3), "none");
    assert!(!gives(&name, u64::MAX - 1..u64::MAX));
    let other = gitback_pack::Oid::from_bytes_or_panic(&[1; 20]);
    assert!(!gives(&other, 0..1));
    fs::remove_file(world.path().join(format!("objects/pack/pack-{name}.pack"))).expect("gone");
    assert!(!gives(&name, 0..1), "put together with others meanwhile");
    assert_eq!(given, b"");
}

#[test]
fn what_the_disk_has_changed_is_not_given() {
    let (world, _) = large();
    let offer = offers(&world.repository).remove(0);
    let path = world
        .path()
        .join(format!("objects/pack/pack-{}.pack", offer.name));
    let mut bytes = fs::read(&path).expect("there");
    bytes[BLOCK_BYTES + 5] ^= 1;
    fs::remove_file(&path).expect("removed");
    fs::write(&path, bytes).expect("written");
    let mut given = Vec::new();
    let gave = world
        .repository
        .give_blocks(&offer.name, 0..3, &mut given)
        .expect("readable");
    assert_eq!((gave, given.len()), (Given::Gone, BLOCK_BYTES));
    // Whoever asks again hears what is there now, under another root: that nobody takes for a lie.
    assert_ne!(offers(&world.repository)[0].tree, offer.tree);
}

#[test]
fn what_was_taken_over_from_another_project_is_not_given() {
    let (world, _) = large();
    let name = offers(&world.repository)[0].name;
    let path = world.home.path().join("other.git");
    let other = Repository::create(&path).expect("made");
    assert!(other.gives_packs());
    other.adopt_objects(&world.repository).expect("taken over");
    let check = |other: &Repository| {
        assert_eq!(offers(other), []);
        let gave = other.give_blocks(&name, 0..1, std::io::sink());
        assert_eq!(gave.expect("readable"), Given::Gone);
    };
    check(&other);
    drop(other);
    let (other, _) = Repository::open(&path).expect("opens");
    check(&other);
    assert_eq!(offers(&world.repository).len(), 1);
}

#[test]
fn what_was_not_taken_once_is_remembered() {
    let (world, _) = large();
    let tree = &offers(&world.repository)[0].tree;
    assert!(!world.repository.is_unfit(tree));
    world.repository.note_unfit(tree);
    assert!(world.repository.is_unfit(tree));
}
