//! A peer behind a narrow link.

use gitback_tests::Net;

use crate::world::{Pusher, says, skip, world, write};

/// What a narrow link carries, in kilobits a second: a push of [`BIG`] takes minutes there.
const NARROW_KBIT: u32 = 1_000;

/// What it carries later, so that nobody has to wait for minutes.
const BETTER_KBIT: u32 = 200_000;

/// Bytes that no compression makes fewer.
const BIG: usize = 20 << 20;

#[test]
fn a_peer_behind_a_narrow_link_gets_a_big_push_and_holds_nobody_up() {
    let Some(world) = world(3) else { return };
    if let Err(why) = Net::can_narrow() {
        return skip(&why);
    }
    world.net().narrow(2, NARROW_KBIT).expect("narrow");
    let mars = world.at(0);
    write_noise(&mars, BIG);
    let tip = mars.commit_at("HEAD");
    let pushed = mars.pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    says(
        &pushed.stderr,
        &["replicated to 2 of 3 envoys (mars, venus)", "titan"],
    );
    // Others work on meanwhile.
    let venus = world.at(1);
    venus.git(crate::world::PULL);
    assert_eq!(tip, venus.commit_at("HEAD"));
    let next = venus.commit("after the big one");
    let pushed = venus.pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    says(
        &pushed.stderr,
        &["replicated to 2 of 3 envoys (venus, mars)"],
    );
    assert_ne!(world.served(2)["refs/heads/main"], tip);
    world.net().narrow(2, BETTER_KBIT).expect("wider");
    world.wait_for_ref(2, "refs/heads/main", &next);
    world.judge();
}

/// Commits a file of so many bytes that cannot be compressed.
pub(crate) fn write_noise(person: &Pusher<'_>, bytes: usize) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = Vec::with_capacity(bytes);
    while noise.len() < bytes {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    write(&person.work.join("noise.bin"), &noise);
    person.git(&["add", "noise.bin"]);
    person.git(&["commit", "--quiet", "-m", "much"]);
}
