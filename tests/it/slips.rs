//! What becomes of the slips of somebody who types: nothing is lost by one, and what is shown says how to go on.

use gitback_tests::{Fleet, Terminal};

use crate::world::{done, options, says};

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn a_mistyped_recovery_word_is_asked_for_again() {
    let mut fleet = Fleet::start(options(2).strangers()).expect("the fleet starts");
    fleet.create_puddle(0, "dan").expect("dan's puddle");
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let flags = ["--stdout", "--passphrase-file", &file];
    let shown = done(mars.vigo([&["swarm", "puddle", "recovery"], &flags[..]].concat()));
    let right: Vec<&str> = shown.stdout.split_whitespace().collect();
    let key = |shown: &str| {
        let line = shown.lines().find(|line| line.contains("Fingerprint"));
        line.expect("a fingerprint").trim().to_owned()
    };

    let line = ["swarm", "puddle", "init", "--from-recovery", "--name", "dan"];
    let init = venus.vigo([&line[..], &["--no-up", "--no-unlock"]].concat());
    let mut init = Terminal::start(&init).expect("a terminal");
    init.sees("Words from 1: ").expect("asked");
    // The last of these would have to be "art".
    init.types(["abandon"; 24].join(" ").as_str())
        .expect("typed");
    let asked = init.sees("their checksum is wrong");
    asked.expect("told that they are nobody's");
    init.sees("Words from 1: ").expect("asked for all of them");
    let mut slipped = right.clone();
    slipped[4] = "zebrra";
    slipped[20] = "xqxqxqx";
    init.types(&slipped.join(" ")).expect("typed");
    init.sees("word 5, \"zebrra\", is not in the list")
        .expect("told which");
    init.sees("did you mean zebra?").expect("and what is near");
    init.sees("Word 5: ").expect("asked for that one");
    init.types(right[4]).expect("typed");
    init.sees("word 21, \"xqxqxqx\"").expect("told the next");
    init.sees("Word 21: ").expect("asked for that one");
    init.types(right[20]).expect("typed");
    init.sees("Passphrase: ").expect("goes on");
    init.types(PASSPHRASE).expect("typed");
    init.sees("Again: ").expect("asked again");
    init.types(PASSPHRASE).expect("typed");
    let back = init.ends(0).expect("brought back");
    says(&back, &["Brought back puddle dan"]);
    let status = done(mars.vigo(["swarm", "puddle", "status"]));
    assert_eq!(key(&back), key(&status.stdout));
}
