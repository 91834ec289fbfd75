//! What one node orders.

use std::collections::BTreeSet;

use super::super::wants::WANTS_PER_PEER_MAX;
use super::super::{Difference, Failure, Input, News, Output, Presence};
use super::driver::Driver;
use super::world::{digest, key, project};
use crate::millis::Millis;
use crate::owed::OWED_PER_PEER_MAX;

const NOTHING: News = News {
    changed: false,
    same: false,
    more: false,
};

fn lacking(number: u16) -> Difference {
    Difference {
        project: project(number),
        digest: digest(1),
        we_lack: true,
        they_lack: false,
    }
}

fn away() -> Failure {
    Failure::Away("no route".to_owned())
}

const SECOND: Millis = Millis::from_secs(1);

#[test]
fn a_peer_that_shows_thousands_of_projects_costs_bounded_memory_and_no_turn_of_others() {
    let mut driver = Driver::new(2);
    driver.pass(SECOND, |with| {
        Ok(if with == key(1) {
            (0..25_000).map(lacking).collect()
        } else {
            vec![]
        })
    });
    assert_eq!(driver.node.wants.waiting(&key(1)), WANTS_PER_PEER_MAX);
    let open = driver.catch_ups();
    assert_eq!(open.len(), 3, "one slot is left to others");
    let other = Difference {
        digest: digest(2),
        ..lacking(30_000)
    };
    driver.tell(Input::CompareAll);
    driver.pass(SECOND, |with| {
        Ok(if with == key(2) {
            vec![other.clone()]
        } else {
            vec![]
        })
    });
    assert_eq!(driver.catch_ups(), [(project(30_000), key(2))]);
}

#[test]
fn thousands_of_missing_projects_are_caught_up_without_waiting_for_ticks() {
    let mut driver = Driver::new(1);
    let mut missing: BTreeSet<u16> = (0..1_000).collect();
    let start = driver.now;
    while !missing.is_empty() {
        let shown = missing.clone();
        driver.pass(Millis(1), |_| {
            Ok(shown.iter().copied().map(lacking).collect())
        });
        for (project_of, from) in driver.catch_ups() {
            missing.retain(|number| project(*number) != project_of);
            driver.tell(Input::Holds {
                project: project_of,
                digest: digest(1),
                spread: false,
            });
            let outcome = Ok(News {
                changed: true,
                same: true,
                more: false,
            });
            driver.caught_up(project_of, from, outcome);
        }
        assert!(
            driver.now.since(start) < SECOND.times(60),
            "{} are missing",
            missing.len()
        );
    }
}

#[test]
fn peers_that_differ_for_good_are_asked_ever_more_seldom() {
    let mut driver = Driver::new(1);
    let (mut asked, mut in_last_hour) = (0, 0);
    for second in 0..7_200 {
        driver.pass(SECOND, |_| Ok((0..3).map(lacking).collect()));
        for (project, from) in driver.catch_ups() {
            asked += 1;
            in_last_hour += usize::from(second >= 3_600);
            driver.caught_up(project, from, Ok(NOTHING));
        }
    }
    assert!((9..150).contains(&asked), "asked {asked} times");
    assert!(
        in_last_hour <= 3 * 13,
        "asked {in_last_hour} times in the last hour"
    );
}

#[test]
fn a_new_digest_ends_the_wait_of_a_pair() {
    let mut driver = Driver::new(1);
    let mut asked = 0;
    while asked < 5 {
        driver.pass(SECOND, |_| Ok(vec![lacking(0)]));
        for (project, from) in driver.catch_ups() {
            asked += 1;
            driver.caught_up(project, from, Ok(NOTHING));
        }
    }
    driver.pass(SECOND.times(60), |_| Ok(vec![lacking(0)]));
    assert_eq!(driver.catch_ups(), []);
    let new = Difference {
        digest: digest(3),
        ..lacking(0)
    };
    driver.pass(SECOND.times(15), |_| Ok(vec![new.clone()]));
    assert_eq!(driver.catch_ups(), [(project(0), key(1))]);
}

#[test]
fn forgetting_a_peer_loses_no_slot_and_no_later_job() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Ok((0..4).map(lacking).collect()));
    let open = driver.catch_ups();
    let owes = |driver: &mut Driver| {
        driver.tell(Input::Holds {
            project: project(9),
            digest: digest(1),
            spread: false,
        });
        driver.tell(Input::Owes {
            to: key(1),
            project: project(9),
            reason: "no answer".to_owned(),
        });
    };
    owes(&mut driver);
    assert!(driver.delivers(project(9), key(1)));
    driver.tell(Input::Forget { key: key(1) });
    assert_eq!(driver.node.standing(&key(1)), None);
    driver.tell(Input::Peer {
        key: key(1),
        name: "again".to_owned(),
        addresses: Vec::new(),
    });
    owes(&mut driver);
    assert!(
        !driver.delivers(project(9), key(1)),
        "the first is still open"
    );
    for (project, from) in open {
        driver.caught_up(project, from, Ok(NOTHING));
    }
    let done = |driver: &mut Driver| {
        driver.tell(Input::Delivered {
            to: key(1),
            project: project(9),
            outcome: Ok(()),
        });
    };
    done(&mut driver);
    assert_eq!(driver.node.owed(&project(9)).len(), 1, "the second is owed");
    assert!(driver.delivers(project(9), key(1)));
    done(&mut driver);
    assert_eq!(driver.node.owed(&project(9)), []);
    driver.pass(SECOND.times(30), |_| Ok(vec![]));
    assert_eq!(driver.node.open(), 0);
}

#[test]
fn a_lie_that_no_command_has_brought_counts_as_one() {
    let mut driver = Driver::new(2);
    driver.pass(SECOND, |_| Ok(vec![]));
    driver.tell(Input::Lied {
        peer: key(1),
        reason: "a block with other bytes".to_owned(),
    });
    let standing = driver.node.standing(&key(1)).expect("a peer");
    let (_, reason) = standing.penalty.expect("a penalty");
    assert_eq!(reason, "a block with other bytes");
    let other = driver.node.standing(&key(2)).expect("a peer");
    assert_eq!(other.penalty, None);
    // Of somebody who is no peer there is nothing to remember.
    driver.tell(Input::Lied {
        peer: key(77),
        reason: String::new(),
    });
    assert_eq!(driver.node.standing(&key(77)).map(|one| one.penalty), None);
}

#[test]
fn a_liar_is_left_alone_and_then_tried_again() {
    let mut driver = Driver::new(2);
    let lie = |with| {
        if with == key(1) {
            Err(Failure::Lied(
                "its digest is not of its envelopes".to_owned(),
            ))
        } else {
            Ok(vec![])
        }
    };
    driver.pass(SECOND, lie);
    assert!(
        driver
            .logs
            .iter()
            .any(|line| line.contains("its digest is not"))
    );
    let standing = driver.node.standing(&key(1)).expect("a peer");
    let (until, reason) = standing.penalty.expect("a penalty");
    assert_eq!(reason, "its digest is not of its envelopes");
    driver.tell(Input::Owes {
        to: key(1),
        project: project(1),
        reason: String::new(),
    });
    let honest = |_| Ok(vec![lacking(7)]);
    driver.pass(until.since(driver.now).since(SECOND), honest);
    let for_liar = |order: &Output| match order {
        Output::CatchUp { from, .. } => *from == key(1),
        Output::Deliver { to, .. } => *to == key(1),
        _ => false,
    };
    assert!(!driver.take().iter().any(for_liar));
    driver.pass(SECOND.times(2), honest);
    assert!(driver.take().iter().any(for_liar), "its penalty is over");
    driver.pass(SECOND.times(20), lie);
    let (longer, _) = driver
        .node
        .standing(&key(1))
        .and_then(|one| one.penalty)
        .expect("a penalty");
    assert!(longer.since(driver.now) > SECOND.times(60));
}

#[test]
fn what_is_owed_goes_out_when_the_peer_is_back() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Err(away()));
    for number in 0..3 {
        driver.tell(Input::Owes {
            to: key(1),
            project: project(number),
            reason: "no answer".to_owned(),
        });
    }
    assert_eq!(driver.take(), [], "nothing is sent to who is away");
    driver.pass(SECOND.times(600), |_| Err(away()));
    let since = driver.node.standing(&key(1)).expect("a peer").presence;
    assert!(matches!(since, Presence::Away { .. }));
    driver.tell(Input::Answered { peer: key(1) });
    assert_eq!(driver.take(), [Output::Compare { with: key(1) }], "at once");
    driver.tell(Input::Compared {
        with: key(1),
        outcome: Ok(vec![]),
    });
    let open = driver.take();
    assert_eq!(open.len(), 2, "two at a time");
    for number in 0..2 {
        driver.tell(Input::Delivered {
            to: key(1),
            project: project(number),
            outcome: Ok(()),
        });
    }
    assert_eq!(driver.take().len(), 1);
    assert_eq!(
        driver.logs.last().map(String::as_str),
        Some("answers again")
    );
}

#[test]
fn what_was_refused_is_offered_again_when_the_peer_was_away() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Ok(vec![]));
    driver.tell(Input::Owes {
        to: key(1),
        project: project(0),
        reason: "no answer".to_owned(),
    });
    assert!(driver.delivers(project(0), key(1)));
    driver.tell(Input::Delivered {
        to: key(1),
        project: project(0),
        outcome: Err(Failure::Refused("no room".to_owned())),
    });
    driver.pass(SECOND.times(240), |_| Ok(vec![]));
    assert!(
        !driver.delivers(project(0), key(1)),
        "it would refuse again"
    );
    driver.pass(SECOND.times(15), |_| Err(away()));
    driver.pass(SECOND.times(60), |_| Ok(vec![]));
    assert!(driver.delivers(project(0), key(1)));
}

#[test]
fn a_peer_that_reaches_us_and_is_not_reached_is_tried_once_a_tick() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Err(away()));
    let tried = std::cell::Cell::new(0);
    for _ in 0..600 {
        driver.tell(Input::Answered { peer: key(1) });
        driver.pass(SECOND, |_| {
            tried.set(tried.get() + 1);
            Err(away())
        });
    }
    let tried = tried.get();
    assert!(tried <= 70, "tried {tried} times");
    assert_eq!(driver.logs.len(), 1, "said once: {:?}", driver.logs);
}

#[test]
fn a_refusal_is_no_reason_to_ask_again_because_of_a_notice() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Ok(vec![]));
    let mut asked = 0;
    for set in 1..60 {
        driver.heard(key(1), project(1), set, key(1));
        driver.pass(SECOND.times(10), |_| Ok(vec![]));
        for (project, from) in driver.catch_ups() {
            asked += 1;
            driver.caught_up(
                project,
                from,
                Err(Failure::Refused("not a member".to_owned())),
            );
        }
    }
    assert!((1..=2).contains(&asked), "asked {asked} times");
}

#[test]
fn a_notice_waits_for_the_push_itself_and_asks_its_holder_then() {
    let mut driver = Driver::new(2);
    driver.pass(SECOND, |_| Ok(vec![]));
    driver.take();
    driver.heard(key(1), project(1), 3, key(2));
    driver.heard(key(1), project(2), 3, key(2));
    assert_eq!(driver.catch_ups(), []);
    driver.tell(Input::Holds {
        project: project(1),
        digest: digest(3),
        spread: true,
    });
    driver.pass(SECOND.times(4), |_| Ok(vec![]));
    assert_eq!(driver.catch_ups(), [(project(2), key(2))]);
    driver.caught_up(project(2), key(2), Err(away()));
    driver.heard(key(1), project(2), 4, key(2));
    driver.pass(SECOND.times(4), |_| Err(away()));
    assert_eq!(driver.catch_ups(), [], "who passed it on is away as well");
}

#[test]
fn a_flood_of_notices_is_believed_in_part() {
    let mut driver = Driver::new(2);
    driver.pass(SECOND, |_| Ok(vec![]));
    for number in 0..10_000 {
        driver.heard(key(1), project(number), 3, key(2));
    }
    let waiting = driver.node.wants.waiting(&key(1)) + driver.node.wants.waiting(&key(2));
    assert!(waiting <= 64, "{waiting} wait");
}

#[test]
fn what_was_held_before_is_no_reason_to_ask() {
    let mut driver = Driver::new(1);
    for set in 1..5 {
        driver.tell(Input::Holds {
            project: project(0),
            digest: digest(set),
            spread: false,
        });
    }
    driver.heard(key(1), project(0), 2, key(1));
    driver.pass(SECOND.times(5), |_| Ok(vec![lacking(0)]));
    assert_eq!(driver.catch_ups(), []);
}

#[test]
fn a_failure_here_blocks_a_project_and_not_its_peers() {
    let mut driver = Driver::new(2);
    driver.pass(SECOND, |_| Ok(vec![lacking(0)]));
    let first = driver.catch_ups();
    assert_eq!(first.len(), 1);
    driver.caught_up(
        project(0),
        first[0].1,
        Err(Failure::Ours("the disk is full".to_owned())),
    );
    assert_eq!(driver.catch_ups(), []);
    driver.pass(SECOND.times(2), |_| Ok(vec![]));
    assert_eq!(driver.catch_ups().len(), 1, "after a wait");
    let presence = |peer| driver.node.standing(&key(peer)).expect("a peer").presence;
    assert_eq!((presence(1), presence(2)), (Presence::Up, Presence::Up));
}

#[test]
fn a_catch_up_that_stopped_at_its_cap_goes_on_after_others() {
    let mut driver = Driver::new(2);
    driver.node.settings.catch_ups = 1;
    driver.pass(Millis(0), |with| {
        Ok(vec![lacking(if with == key(1) { 0 } else { 1 })])
    });
    let mut order = Vec::new();
    for _ in 0..6 {
        for (project, from) in driver.catch_ups() {
            order.push(project);
            let outcome = Ok(News {
                changed: true,
                same: false,
                more: true,
            });
            driver.caught_up(project, from, outcome);
        }
    }
    assert_eq!(order.len(), 6);
    assert!(
        order.windows(2).all(|pair| pair[0] != pair[1]),
        "they take turns: {order:?}"
    );
}

#[test]
fn a_project_that_was_dropped_meanwhile_is_not_caught_up_further() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Ok(vec![lacking(0)]));
    assert_eq!(driver.catch_ups().len(), 1);
    driver.tell(Input::Dropped {
        project: project(0),
    });
    let outcome = Ok(News {
        changed: true,
        same: false,
        more: true,
    });
    driver.caught_up(project(0), key(1), outcome);
    driver.pass(SECOND.times(60), |_| Ok(vec![]));
    assert_eq!(driver.catch_ups(), []);
    assert_eq!(driver.node.open(), 0);
}

#[test]
fn jobs_are_collapsed_and_bounded() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Err(away()));
    for number in 0..3_000 {
        for _ in 0..2 {
            driver.tell(Input::Owes {
                to: key(1),
                project: project(number),
                reason: "x".repeat(1_000),
            });
        }
    }
    let owed = driver.node.owed_to(&key(1));
    assert_eq!(owed.len(), OWED_PER_PEER_MAX);
    assert!(owed.iter().all(|debt| debt.reason.len() <= 256));
    driver.tell(Input::Dropped {
        project: project(0),
    });
    assert_eq!(driver.node.owed_to(&key(1)).len(), OWED_PER_PEER_MAX - 1);
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut driver = Driver::new(1);
    driver.pass(SECOND, |_| Ok(vec![]));
    driver.take();
    let open = driver.node.open();
    let lied = || Failure::Lied("?".to_owned());
    driver.tell(Input::Compared {
        with: key(1),
        outcome: Err(lied()),
    });
    driver.caught_up(project(0), key(1), Err(lied()));
    driver.tell(Input::Delivered {
        to: key(1),
        project: project(0),
        outcome: Err(lied()),
    });
    driver.tell(Input::Answered { peer: key(77) });
    assert_eq!(driver.node.open(), open);
    assert_eq!(
        driver.node.standing(&key(1)).and_then(|one| one.penalty),
        None
    );
    assert_eq!(driver.take(), []);
}
