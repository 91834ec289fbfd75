//! Packs that cost much, each under limits that stop it: those that are looked at as small ones or by git, and those that
//! are indexed in the process, as large ones are by default.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use gitback_pack::{Bound, Limits, Oid, Reject, Repository};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Clone, World, is_over};

const MIB: u64 = 1024 * 1024;

/// Less than the indexer gets by default, so that a bomb that is not stopped in time fails here and not the machine.
const SMALL: Limits = Limits {
    input_bytes: 64 * MIB,
    objects: 100_000,
    unpacked_bytes: 1024 * MIB,
    delta_depth: 4095,
    cpu_seconds: 60,
    memory_bytes: 256 * MIB,
    min_free_percent: 0,
};

/// The same with the memory that lets large packs be indexed in the process.
const LARGE: Limits = Limits {
    memory_bytes: 2048 * MIB,
    ..SMALL
};

/// How many small files make a pack a large one.
const MORE: u16 = 4100;

/// Where a process that takes a pack in by itself finds it, and says what became of it.
const ALONE: &str = "GITBACK_BOMB";
/// How much memory such a process may take, in bytes.
const ALONE_MEMORY: &str = "GITBACK_BOMB_MEMORY";
/// How many seconds of processor time the pack may take.
const ALONE_SECONDS: &str = "GITBACK_BOMB_SECONDS";

/// Takes a pack in, or says why not; in that case nothing of it may stay.
fn ingest(world: &World, pack: &[u8], limits: &Limits) -> Result<u32, Reject> {
    let before = (world.files("tmp_objdir"), world.files("pack-"));
    let ingested = world.repository.quarantine().ingest(pack, limits);
    // The pack as it came is kept no longer than somebody may read it.
    let objects = ingested.map(|ingested| ingested.objects);
    assert_eq!((world.files("tmp_objdir"), world.files("pack-")), before);
    objects
}

/// What became of a pack that was taken in by a process of its own.
struct Alone {
    /// How many objects it had, or why it was refused.
    outcome: String,
    /// The processor time of git, in hundredths of a second.
    git_ticks: u64,
}

/// Takes a pack in as users have it by default, in a process that ends when it takes more memory than `bytes`; git's own is
/// bounded by the limits.
#[track_caller]
fn ingest_alone(pack: &[u8], bytes: u64, cpu_seconds: u64) -> Alone {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("pack"), pack).expect("room");
    let output = Command::new(env::current_exe().expect("a program"))
        .args(["--exact", "bombs::takes_in_what_another_test_hands_over"])
        .env(ALONE, home.path())
        .env(ALONE_MEMORY, bytes.to_string())
        .env(ALONE_SECONDS, cpu_seconds.to_string())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let outcome = fs::read_to_string(home.path().join("outcome")).expect("an outcome");
    let (git_ticks, outcome) = outcome.split_once(' ').expect("two words");
    Alone {
        outcome: outcome.to_owned(),
        git_ticks: git_ticks.parse().expect("a number"),
    }
}

/// The other half of [`ingest_alone`]; by itself it does nothing.
#[test]
fn takes_in_what_another_test_hands_over() {
    let Some(home) = env::var_os(ALONE) else {
        return;
    };
    let home = Path::new(&home);
    let number = |name| -> u64 {
        let text = env::var(name).expect("it is set");
        text.parse().expect("a number")
    };
    let pack = fs::read(home.join("pack")).expect("a pack");
    let repository = Repository::create(&home.join("alone.git")).expect("a repository");
    let limits = Limits {
        cpu_seconds: number(ALONE_SECONDS),
        ..Limits::default()
    };
    // What git may take is set when it is started, and can be more.
    let most = Rlimit {
        current: Some(number(ALONE_MEMORY)),
        ..getrlimit(Resource::Data)
    };
    setrlimit(Resource::Data, most).expect("less than before");
    let outcome = match repository.quarantine().ingest(&pack[..], &limits) {
        Ok(ingested) => format!("{} objects", ingested.objects),
        Err(reject) => reject.to_string(),
    };
    let stat = fs::read_to_string("/proc/self/stat").expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let of_children = fields.split_ascii_whitespace().skip(13).take(2);
    let git_ticks: u64 = of_children
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    fs::write(home.join("outcome"), format!("{git_ticks} {outcome}")).expect("room");
}

/// The entries of `pack`, in a pack that says that it has so many more.
fn begin(pack: &[u8], more: u16) -> Vec<u8> {
    let (header, entries) = pack.split_at(12);
    let (_, count) = header.split_at(8);
    let count = u32::from_be_bytes(count.try_into().expect("four bytes")) + u32::from(more);
    let mut bomb = [b"PACK\0\0\0\x02", &count.to_be_bytes()[..], entries].concat();
    bomb.truncate(bomb.len() - 20);
    bomb
}

/// Puts the checksum at the end.
fn end(mut bomb: Vec<u8>) -> Vec<u8> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&bomb);
    bomb.extend(hasher.try_finalize().expect("no collision").as_slice());
    bomb
}

/// The same pack with so many small files at its end that it counts as a large one.
fn large(pack: &[u8]) -> Vec<u8> {
    let mut large = begin(pack, MORE);
    for n in 0..MORE {
        // Type 3, a file, of two bytes.
        large.push(0x32);
        large.extend(stored(&n.to_be_bytes()));
    }
    end(large)
}

/// Adds what makes something of `size` bytes of an entry: the instructions, and the new size. Where it begins.
fn push_delta(bomb: &mut Vec<u8>, base: usize, size: usize, made: (Vec<u8>, usize)) -> usize {
    let (instructions, made) = made;
    let delta = [varint(size), varint(made), instructions].concat();
    let at = bomb.len();
    // Type 6, delta to what is so many bytes before.
    let (low, high) = (delta.len() & 15, delta.len() >> 4);
    match high {
        0 => bomb.push(0x60 | u8::try_from(low).expect("four bits")),
        _ => {
            bomb.push(0xe0 | u8::try_from(low).expect("four bits"));
            bomb.extend(varint(high));
        }
    }
    bomb.extend(distance(at - base));
    bomb.extend(stored(&delta));
    at
}

/// A pack of one file of `size` bytes.
fn noise(clone: &Clone, size: usize) -> Vec<u8> {
    let noise: Vec<u8> = (0..size)
        .map(|n| u8::try_from(n % 251).expect("small"))
        .collect();
    let base = clone.object("blob", &noise);
    clone.pack_of(&[base])
}

/// A pack of a file of `size` bytes, and of a chain of deltas, each on the one before it. What each makes of
/// `size` bytes is in `delta`: the instructions, and the new size.
fn chain(
    clone: &Clone,
    size: usize,
    deltas: u16,
    delta: impl Fn(u16, usize) -> (Vec<u8>, usize),
) -> Vec<u8> {
    let mut bomb = begin(&noise(clone, size), deltas);
    let (mut last, mut size) = (12, size);
    for n in 0..deltas {
        let made = delta(n, size);
        let next = made.1;
        last = push_delta(&mut bomb, last, size, made);
        size = next;
    }
    end(bomb)
}

/// Copies what there is, and adds a number to it: no two are the same.
fn grow(n: u16, size: usize) -> (Vec<u8>, usize) {
    let count = u16::try_from(size).expect("below 64 KiB").to_le_bytes();
    let number = n.to_be_bytes();
    ([&[0xb0], &count[..], &[2], &number[..]].concat(), size + 2)
}

/// Copies what there is so many times, but no more than can be copied at once of it.
fn repeat(size: usize, times: usize) -> (Vec<u8>, usize) {
    let part = size.min((1 << 24) - 1);
    let bytes = u32::try_from(part).expect("small").to_le_bytes();
    let copy = [&[0xf0], bytes.get(..3).expect("three bytes")].concat();
    (copy.repeat(times), part * times)
}

/// How far back something is, as in the header of a delta.
fn distance(mut back: usize) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(back & 0x7f).expect("seven bits")];
    back >>= 7;
    while back > 0 {
        back -= 1;
        bytes.insert(0, u8::try_from(back & 0x7f).expect("seven bits") | 0x80);
        back >>= 7;
    }
    bytes
}

/// A pack of a file of `size` bytes and of `deltas` that all build on it; each copies it and appends two bytes of its own.
fn fan(clone: &Clone, size: usize, deltas: u16) -> Vec<u8> {
    let mut bomb = begin(&noise(clone, size), deltas);
    for n in 0..deltas {
        let (mut instructions, made) = repeat(size, 1);
        instructions.push(2);
        instructions.extend(n.to_be_bytes());
        push_delta(&mut bomb, 12, size, (instructions, made + 2));
    }
    end(bomb)
}

/// A pack of a file of `size` bytes and of a chain of deltas, on each of which another one builds as well: all of the
/// chain is needed until its end was made.
fn comb(clone: &Clone, size: usize, deltas: u16) -> Vec<u8> {
    let mut bomb = begin(&noise(clone, size), 2 * deltas);
    let (mut last, mut size) = (12, size);
    for n in 0..deltas {
        let (mut copy, made) = repeat(size, 1);
        copy.push(2);
        let tooth = [&copy[..], &[0xff], &n.to_be_bytes()[1..]].concat();
        push_delta(&mut bomb, last, size, (tooth, made + 2));
        let spine = [&copy[..], &[0], &n.to_be_bytes()[1..]].concat();
        last = push_delta(&mut bomb, last, size, (spine, made + 2));
        size = made + 2;
    }
    end(bomb)
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}

/// A zlib stream that stores `bytes` as they are.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("small");
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(bytes);
    stream.extend(((b << 16) | a).to_be_bytes());
    stream
}

#[test]
fn zeroes_that_take_much_memory() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let zeroes = clone.object("blob", &vec![0; 96 * 1024 * 1024]);
    let bomb = clone.pack_of(&[zeroes]);
    assert!(bomb.len() < 200_000);
    let limits = Limits {
        memory_bytes: 64 * MIB,
        ..SMALL
    };
    let result = ingest(&world, &bomb, &limits);
    assert!(is_over(&result, Bound::Memory), "{result:?}");
    for (limits, bomb) in [(SMALL, &bomb), (LARGE, &large(&bomb))] {
        let limits = Limits {
            unpacked_bytes: 96 * MIB - 1,
            ..limits
        };
        let result = ingest(&world, bomb, &limits);
        assert!(is_over(&result, Bound::Unpacked), "{result:?}");
    }
    let limits = Limits {
        unpacked_bytes: 96 * MIB,
        ..SMALL
    };
    ingest(&world, &bomb, &limits).expect("exactly the limit");
    // By default it is taken in pieces.
    let alone = ingest_alone(&large(&bomb), 64 * MIB, 60);
    assert_eq!(alone.outcome, "4101 objects");
}

#[test]
fn what_is_small_is_bounded_unpacked_too() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let zeroes = clone.object("blob", &[0; 100_000]);
    let pack = clone.pack_of(&[zeroes]);
    for (unpacked_bytes, taken) in [(99_999, false), (100_000, true)] {
        let limits = Limits {
            unpacked_bytes,
            ..SMALL
        };
        let result = ingest(&world, &pack, &limits);
        assert_eq!(result.is_ok(), taken, "{result:?}");
        assert!(taken || is_over(&result, Bound::Unpacked), "{result:?}");
    }
}

#[test]
fn a_chain_that_doubles_with_every_delta() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let bomb = |deltas| chain(&clone, 60_000, deltas, |_, size| repeat(size, 2));
    ingest(&world, &bomb(2), &SMALL).expect("420,000 bytes");
    for (limits, bomb) in [(SMALL, bomb(10)), (LARGE, large(&bomb(10)))] {
        let limits = Limits {
            unpacked_bytes: 32 * MIB,
            ..limits
        };
        let result = ingest(&world, &bomb, &limits);
        assert!(is_over(&result, Bound::Unpacked), "{result:?}");
    }
    // What each of many makes is held at a time.
    let bomb = bomb(20);
    assert!(bomb.len() < 2_000);
    let result = ingest(&world, &bomb, &SMALL);
    assert!(is_over(&result, Bound::Memory), "{result:?}");
}

#[test]
fn an_object_that_three_deltas_make_is_too_large_for_the_process() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let bomb = large(&chain(&clone, 60_000, 3, |_, size| repeat(size, 16)));
    // 60,000 bytes times 4,096 come to 234 MiB, for which git has room.
    let alone = ingest_alone(&bomb, 128 * MIB, 60);
    assert_eq!(alone.outcome, "4104 objects");
}

#[test]
fn what_deltas_still_build_on_is_bounded_together() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let bomb = large(&comb(&clone, 12 << 20, 16));
    // The process holds no more than 64 MiB of it, and git makes it anew where it has to.
    let alone = ingest_alone(&bomb, 144 * MIB, 60);
    assert_eq!(alone.outcome, "4133 objects");
}

#[test]
fn chains_of_any_length_are_bounded() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    // The first two are looked at in the process, as long as nothing is wrong with them.
    for (deltas, depth, taken) in [
        (60, 60, true),
        (60, 59, false),
        (5000, 5000, true),
        (5000, 4095, false),
    ] {
        let pack = chain(&clone, 1000, deltas, grow);
        for (limits, pack) in [(SMALL, &pack), (LARGE, &large(&pack))] {
            let limits = Limits {
                delta_depth: depth,
                ..limits
            };
            let result = ingest(&world, pack, &limits);
            assert_eq!(result.is_ok(), taken, "{deltas}: {result:?}");
            assert!(taken || is_over(&result, Bound::DeltaDepth), "{result:?}");
        }
    }
}

#[test]
fn trees_that_name_each_other_many_times_are_looked_at_once() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let blob = clone.object("blob", b"boom");
    let (mut objects, mut last, mut mode) = (vec![blob], blob, "100644");
    // Ten to the power of forty files.
    for _ in 0..40 {
        let entries =
            (0..10).flat_map(|n| [format!("{mode} {n}\0").as_bytes(), last.as_slice()].concat());
        last = clone.object("tree", &entries.collect::<Vec<u8>>());
        objects.push(last);
        mode = "40000";
    }
    let commit = clone.git(&["commit-tree", "-m", "boom", &last.to_string()]);
    let commit: Oid = crate::support::parse(&commit);
    objects.push(commit);
    let pack = clone.pack_of(&objects);
    for (limits, pack, count) in [(SMALL, &pack, 42), (LARGE, &large(&pack), 42 + 4100)] {
        let mut quarantine = world.repository.quarantine();
        let ingested = quarantine.ingest(&pack[..], &limits).expect("it is small");
        assert_eq!(ingested.objects, count);
        quarantine.check_connected(&[commit]).expect("all is there");
    }
}

#[test]
fn bounds_the_time_that_deltas_take() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let size = 8 << 20;
    let few = ingest(&world, &fan(&clone, size, 2), &SMALL);
    assert_eq!(few.expect("slow, but sound"), 3);
    let bomb = fan(&clone, size, 2000);
    assert!(bomb.len() < 200_000);
    let limits = Limits {
        cpu_seconds: 1,
        ..SMALL
    };
    let result = ingest(&world, &bomb, &limits);
    assert!(is_over(&result, Bound::ProcessorTime), "{result:?}");
}

#[test]
fn who_goes_on_with_a_pack_gets_what_is_left_of_its_time() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let bomb = large(&fan(&clone, 8 << 20, 2000));
    let alone = ingest_alone(&bomb, 128 * MIB, 2);
    assert_eq!(
        alone.outcome,
        "the pack takes more than 2 seconds of processor time"
    );
    // This process has taken all of it, and nothing is left for git.
    let ticks = alone.git_ticks;
    assert!(ticks < 100, "git took {ticks} hundredths of a second");
}
