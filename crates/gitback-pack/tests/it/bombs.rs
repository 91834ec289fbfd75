//! Small packs that cost much, each under limits that stop it.

use gitback_pack::{Bound, Limits, Oid, Reject};

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

/// Takes a pack in, or says why not; in that case nothing of it may stay.
fn ingest(world: &World, pack: &[u8], limits: &Limits) -> Result<u32, Reject> {
    let before = (world.files("tmp_objdir"), world.files("pack-"));
    let ingested = world.repository.quarantine().ingest(pack, limits);
    // The pack as it came is kept no longer than somebody may read it.
    let objects = ingested.map(|ingested| ingested.objects);
    assert_eq!((world.files("tmp_objdir"), world.files("pack-")), before);
    objects
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

/// A pack of `base`, which has `size` bytes, and of a chain of deltas, each on the one before it. What each makes of
/// `size` bytes is in `delta`: the instructions, and the new size.
fn chain(
    clone: &Clone,
    size: usize,
    deltas: u16,
    delta: impl Fn(u16, usize) -> (Vec<u8>, usize),
) -> Vec<u8> {
    let noise: Vec<u8> = (0..size)
        .map(|n| u8::try_from(n % 251).expect("small"))
        .collect();
    let base = clone.object("blob", &noise);
    let mut bomb = begin(&clone.pack_of(&[base]), deltas);
    let (mut last, mut size) = (12, size);
    for n in 0..deltas {
        let (instructions, made) = delta(n, size);
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
        bomb.extend(distance(at - last));
        bomb.extend(stored(&delta));
        (last, size) = (at, made);
    }
    end(bomb)
}

/// Copies what there is, and adds a number to it: no two are the same.
fn grow(n: u16, size: usize) -> (Vec<u8>, usize) {
    let count = u16::try_from(size).expect("below 64 KiB").to_le_bytes();
    let number = n.to_be_bytes();
    ([&[0xb0], &count[..], &[2], &number[..]].concat(), size + 2)
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

/// A pack of the objects of `pack`, and of `deltas` that all build on `base`; each
/// copies the first 16 MiB of it and appends two bytes of its own.
fn delta_bomb(pack: &[u8], base: Oid, deltas: u16) -> Vec<u8> {
    const SIZE: usize = 16 * 1024 * 1024;
    let mut bomb = begin(pack, deltas);
    for n in 0..deltas {
        let mut delta = varint(SIZE);
        delta.extend(varint(SIZE - 1 + 2));
        delta.extend([0xf0, 0xff, 0xff, 0xff, 2]);
        delta.extend(n.to_be_bytes());
        // Type 7, reference delta; the sizes here need no more than four bits.
        assert!(delta.len() == 15);
        bomb.push(0x70 | 15);
        bomb.extend(base.as_slice());
        bomb.extend(stored(&delta));
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
    let limits = Limits {
        unpacked_bytes: 96 * MIB - 1,
        ..SMALL
    };
    let result = ingest(&world, &bomb, &limits);
    assert!(is_over(&result, Bound::Unpacked), "{result:?}");
    let limits = Limits {
        unpacked_bytes: 96 * MIB,
        ..SMALL
    };
    ingest(&world, &bomb, &limits).expect("exactly the limit");
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
    // Copies the first and the second half of at most 16 MiB, as long as it is that.
    let twice = |_, size: usize| {
        let part = size.min((1 << 24) - 1);
        let bytes = u32::try_from(part).expect("small").to_le_bytes();
        let copy = [&[0xf0], bytes.get(..3).expect("three bytes")].concat();
        (copy.repeat(2), part * 2)
    };
    let bomb = |deltas| chain(&clone, 60_000, deltas, twice);
    ingest(&world, &bomb(2), &SMALL).expect("420,000 bytes");
    let limits = Limits {
        unpacked_bytes: 32 * MIB,
        ..SMALL
    };
    let result = ingest(&world, &bomb(10), &limits);
    assert!(is_over(&result, Bound::Unpacked), "{result:?}");
    // What each of many makes is held at a time.
    let bomb = bomb(20);
    assert!(bomb.len() < 2_000);
    let result = ingest(&world, &bomb, &SMALL);
    assert!(is_over(&result, Bound::Memory), "{result:?}");
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
        let limits = Limits {
            delta_depth: depth,
            ..SMALL
        };
        let result = ingest(&world, &pack, &limits);
        assert_eq!(result.is_ok(), taken, "{deltas}: {result:?}");
        assert!(taken || is_over(&result, Bound::DeltaDepth), "{result:?}");
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
    let commit = crate::support::parse(&commit);
    objects.push(commit);
    let mut quarantine = world.repository.quarantine();
    let pack = clone.pack_of(&objects);
    let ingested = quarantine.ingest(&pack[..], &SMALL).expect("it is small");
    assert_eq!(ingested.objects, 42);
    quarantine.check_connected(&[commit]).expect("all is there");
}

#[test]
fn bounds_the_time_that_deltas_take() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let base = clone.object("blob", &vec![0; 16 * 1024 * 1024]);
    let pack = clone.pack_of(&[base]);
    assert_eq!(
        ingest(&world, &delta_bomb(&pack, base, 2), &SMALL).expect("slow, but sound"),
        3
    );
    let bomb = delta_bomb(&pack, base, 1000);
    assert!(bomb.len() < 100_000);
    let limits = Limits {
        cpu_seconds: 1,
        ..SMALL
    };
    let result = ingest(&world, &bomb, &limits);
    assert!(is_over(&result, Bound::ProcessorTime), "{result:?}");
}
