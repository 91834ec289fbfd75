use super::*;
use crate::naming::tests::project;
use crate::people::tests::{key, known, member};

const NOW: u64 = 10_000_000;

fn copy(name: &str, state: &str, behind: Option<u64>) -> CopyStatus {
    CopyStatus {
        name: name.to_owned(),
        key: "00".repeat(32),
        state: state.to_owned(),
        behind,
        updates_behind: behind,
        reason: (state != "current").then(|| "connection refused".to_owned()),
        since_ms: (state == "offline").then_some(NOW - 7_200_000),
    }
}

fn notes(envoys: Vec<CopyStatus>) -> ProjectStatus {
    let current = envoys.iter().filter(|copy| copy.state == "current").count();
    ProjectStatus {
        copies: u32::try_from(current).expect("few"),
        envoys,
        ..project(Some("dan"), "notes", "7f3a91c2")
    }
}

#[test]
fn nothing_is_needed_when_all_is_well() {
    let all = notes(vec![
        copy("mars", "current", None),
        copy("venus", "current", None),
    ]);
    assert_eq!(needs_you(&all, NOW), "-");
    assert_eq!(copies(&all), "2/2");
}

#[test]
fn copies_that_lack_something_are_named_with_state_and_age() {
    let some = notes(vec![
        copy("mars", "current", None),
        copy("venus", "current", None),
        copy("titan", "behind", Some(3)),
        copy("pluto", "offline", Some(2)),
        copy("ceres", "offline", None),
    ]);
    assert_eq!(
        needs_you(&some, NOW),
        "titan behind 3, pluto offline 2 h, behind 2, ceres offline 2 h"
    );
}

#[test]
fn an_only_copy_is_shouted() {
    let alone = notes(vec![copy("mars", "current", None)]);
    assert_eq!(needs_you(&alone, NOW), "ONLY COPY: add a machine");
    let left = notes(vec![
        copy("mars", "current", None),
        copy("venus", "never", None),
    ]);
    assert_eq!(needs_you(&left, NOW), "ONLY COPY: venus never");
}

#[test]
fn divergence_comes_first() {
    let mut both = notes(vec![
        copy("mars", "current", None),
        copy("venus", "offline", None),
    ]);
    both.copies = 2;
    both.diverged = [
        "refs/heads/main",
        "refs/heads/a",
        "refs/tags/v1",
        "refs/heads/b",
    ]
    .map(str::to_owned)
    .to_vec();
    assert_eq!(
        needs_you(&both, NOW),
        "main, a, tags/v1 and 1 more diverged; venus offline 2 h"
    );
}

#[test]
fn last_push_says_when_and_where() {
    let mut pushed = notes(Vec::new());
    assert_eq!(last_push(&pushed, NOW), "-");
    pushed.last_push_ms = Some(NOW - 120_000);
    pushed.last_push_envoy = Some("mars".to_owned());
    assert_eq!(last_push(&pushed, NOW), "2 min ago, mars");
}

#[test]
fn a_project_is_described_whole() {
    let mut described = notes(vec![copy("mars", "current", None)]);
    described.ref_list = vec![gitback_helper::RefStatus {
        name: "refs/heads/main".to_owned(),
        oid: "4a1c9d2".to_owned() + &"0".repeat(33),
    }];
    described.refs = 3;
    let (mut answer, mut talk) = (Vec::new(), Vec::new());
    let mut console = Console::new(&mut answer, &mut talk);
    describe(&described, &known(), &mut console).expect("written");
    let text = String::from_utf8(answer).expect("UTF-8");
    let id = &described.project_id;
    let expected = format!(
        "dan/notes  id 7f3a91c2\n\
         \u{20} State      current\n\
         \u{20} Copies     1/1\n\
         \u{20} Last push  -\n\
         \u{20} Contents   0 B, 3 refs, 1 envelope\n\
         \u{20} HEAD       -\n\
         \u{20} Policy     on the members' envoys\n\
         \u{20} Address    gitback://{id}/notes\n\
         \n\
         ENVOY  STATE    REASON\n\
         mars   current  -\n\
         \n\
         REF   OBJECT\n\
         main  4a1c9d2000\n\
         and 2 more; --json lists them\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn people_alarms_and_what_to_do_are_shown() {
    use gitback_helper::{AlarmStatus, ContestStatus, HopStatus, RivalStatus, SuccessorStatus};

    let (alice, bob) = (key(8), key(9));
    let hop = |hop, seed, delegate: Option<&str>| HopStatus {
        hop,
        key: key(seed).to_string(),
        fingerprint: key(seed).fingerprint().to_string(),
        delegate: delegate.map(str::to_owned),
    };
    let mut left = member(&bob, "reader", "left", &"cd".repeat(32));
    left.asks_back = true;
    let described = ProjectStatus {
        line: vec![hop(0, 6, None), hop(1, 7, Some("efefefefef"))],
        member_list: vec![member(&alice, "member", "open", &"ab".repeat(32)), left],
        void: 2,
        scope: "swarm".to_owned(),
        protected: vec!["refs/heads/main".to_owned(), "refs/tags/v1".to_owned()],
        replicas: Some(3),
        alarms: vec![AlarmStatus {
            code: "equivocation".to_owned(),
            text: "two envelopes have\u{1b}one number".to_owned(),
        }],
        contest: Some(ContestStatus {
            hop: 2,
            rivals: [&alice, &bob]
                .map(|key| RivalStatus {
                    delegate: "12".repeat(32),
                    key: key.to_string(),
                    fingerprint: key.fingerprint().to_string(),
                })
                .to_vec(),
        }),
        successors: vec![SuccessorStatus {
            project: "34".repeat(32),
            founder: alice.to_string(),
            handle: "notes-2".to_owned(),
        }],
        ..notes(vec![copy("mars", "current", None)])
    };
    let (mut answer, mut talk) = (Vec::new(), Vec::new());
    let mut console = Console::new(&mut answer, &mut talk);
    describe(&described, &known(), &mut console).expect("written");
    let text = String::from_utf8(answer).expect("UTF-8");
    let has = |part: &str| assert!(text.contains(part), "no {part:?} in {text}");
    has("1 envelope (2 void)\n");
    has("  Policy     on all envoys of the fleet; main, tags/v1 protected; 3 copies wanted\n");
    has(&format!(
        "  Ended for  gitback://{}/notes-2\n",
        "34".repeat(32)
    ));
    has(&format!("0    dan      {}", key(6).fingerprint()));
    has(&format!("1    dan      {}", key(7).fingerprint()));
    has("efefefef\n");
    has(&format!("-       {}", alice.fingerprint()));
    has("invited");
    has("left, asks back");

    let plain = anstream::adapter::strip_bytes(&talk).into_vec();
    let talk = String::from_utf8(plain).expect("UTF-8");
    let says = |part: &str| assert!(talk.contains(part), "no {part:?} in {talk}");
    says("warning: 2 keys claim to come after the founder's at hop 2");
    says("pick-line 7f3a91c2 12121212\n");
    says("warning: two envelopes have\u{fffd}one number\n");
    says(&format!("project invite {bob} --project 7f3a91c2\n"));
}

#[test]
fn what_needs_somebody_is_said_at_a_glance() {
    let mut all = notes(vec![
        copy("mars", "current", None),
        copy("venus", "current", None),
    ]);
    all.alarms = vec![gitback_helper::AlarmStatus {
        code: "equivocation".to_owned(),
        text: String::new(),
    }];
    assert_eq!(needs_you(&all, NOW), "1 alarm");
    all.contest = Some(gitback_helper::ContestStatus {
        hop: 1,
        rivals: Vec::new(),
    });
    assert_eq!(needs_you(&all, NOW), "FOUNDER CONTESTED");
    all.successors = vec![gitback_helper::SuccessorStatus {
        project: String::new(),
        founder: String::new(),
        handle: String::new(),
    }];
    assert_eq!(needs_you(&all, NOW), "ended");
}
