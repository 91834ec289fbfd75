use super::*;

use std::io::Write;

/// A network, or nothing and a printed reason.
fn net(places: usize) -> Option<Net> {
    if let Err(why) = Net::possible() {
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
        return None;
    }
    Some(Net::new(places).expect("a network"))
}

#[test]
fn cuts_and_mends_each_way_by_itself() {
    let Some(net) = net(3) else { return };
    let reaches = |from, to| net.reaches(from, to).expect("a probe");
    assert!(reaches(0, 1) && reaches(1, 0) && reaches(2, 0));

    net.cut_way(0, 1).expect("cut");
    assert!(!reaches(0, 1), "cut");
    assert!(reaches(1, 0), "the other way stays");
    net.mend_between(0, 1).expect("mended");
    assert!(reaches(0, 1));

    net.cut(2).expect("cut");
    net.cut(2).expect("cutting twice is cutting once");
    assert!(!reaches(2, 0) && !reaches(1, 2));
    assert!(reaches(0, 1), "the others still have each other");
    net.mend_all().expect("mended");
    assert!(reaches(2, 0) && reaches(1, 2));
}

#[test]
fn a_split_cuts_between_groups_only() {
    let Some(net) = net(4) else { return };
    let reaches = |from, to| net.reaches(from, to).expect("a probe");
    net.split(&[&[0, 1], &[2, 3]]).expect("split");
    assert!(reaches(0, 1) && reaches(3, 2));
    assert!(!reaches(0, 2) && !reaches(3, 1));
    net.split(&[&[1, 2]]).expect("split anew");
    assert!(reaches(1, 2) && !reaches(0, 1) && !reaches(3, 2));
}

#[test]
fn a_moved_address_is_still_behind_the_same_cut() {
    let Some(net) = net(2) else { return };
    let old = net.address(1);
    net.cut_way(0, 1).expect("cut");
    let new = net.move_address(1).expect("moved");
    assert_ne!(old, new);
    assert!(!net.reaches(0, 1).expect("a probe"));
    net.mend_all().expect("mended");
    // Where it is now has to be asked for, again and again at first.
    let found = crate::until(Duration::from_secs(30), "the new address", || {
        Ok(net.reaches(0, 1)?.then_some(()).ok_or_else(String::new))
    });
    found.expect("it is reached");
    assert!(net.reaches(1, 0).expect("a probe"));
}

#[test]
fn two_networks_do_not_see_each_other_and_leave_nothing() {
    let (Some(one), Some(other)) = (net(2), net(2)) else {
        return;
    };
    one.cut(0).expect("cut");
    assert!(!one.reaches(0, 1).expect("a probe"));
    assert!(other.reaches(0, 1).expect("a probe"));
    let holders: Vec<u32> = one.places.iter().map(Namespace::pid).collect();
    drop(one);
    for pid in holders {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_narrow_link_is_narrow_until_it_is_widened() {
    let Some(net) = net(2) else { return };
    if let Err(why) = Net::can_narrow() {
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
        return;
    }
    net.narrow(1, 16).expect("narrow");
    // More than the burst, so the queue fills and the rest is lost; how fast does not matter here.
    let (arrived, sent) = flood(&net);
    assert!(arrived < sent, "{arrived} of {sent}");
    net.widen(1).expect("wide");
    let (arrived, sent) = flood(&net);
    assert_eq!(arrived, sent);
}

/// Sends 64 KiB from 0 to 1 at once and counts the packets that came before it went quiet.
fn flood(net: &Net) -> (usize, usize) {
    const PACKETS: usize = 64;
    let at = net.address(1);
    let listening = net.inside(1, || UdpSocket::bind((at, 0))).expect("inside");
    let listening = listening.expect("a socket");
    let target = listening.local_addr().expect("an address");
    listening.set_read_timeout(Some(PROBE_MAX)).expect("set");
    let speaking = net.inside(0, || UdpSocket::bind(("0.0.0.0", 0)));
    let speaking = speaking.expect("inside").expect("a socket");
    for _ in 0..PACKETS {
        // A full queue on the way is what is looked for.
        let _ = speaking.send_to(&[0; 1024], target);
    }
    let mut arrived = 0;
    while listening.recv(&mut [0; 2048]).is_ok() {
        arrived += 1;
    }
    (arrived, PACKETS)
}
