//! What becomes of the slips of somebody who types: nothing is lost by one, and what is shown says how to go on.

use gitback_tests::{Fleet, Terminal};

use crate::world::{
    SOON, clone, commit, done, fails, fleet, local, notes, options, push_all, says, served,
    wait_for, wait_for_copies,
};

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

    let line = [
        "swarm",
        "puddle",
        "init",
        "--from-recovery",
        "--name",
        "dan",
    ];
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
    assert!(!back.contains("fewer than"), "{back}");
    assert!(!back.contains(PASSPHRASE), "{back}");
    says(&back, &["Brought back puddle dan"]);
    let status = done(mars.vigo(["swarm", "puddle", "status"]));
    assert_eq!(key(&back), key(&status.stdout));
}

/// The commands among the hints, as they are to be typed.
fn hinted<'a>(said: &'a str, start: &str) -> Vec<Vec<&'a str>> {
    let lines = said.lines().filter_map(|line| line.split_once("hint: "));
    let lines = lines.filter_map(|(_, hint)| hint.trim().strip_prefix(start));
    let words = |line: &'a str| {
        let line = line.split_once("    (").map_or(line, |(line, _)| line);
        line.split_whitespace().collect()
    };
    lines.map(words).collect()
}

#[test]
fn a_divergence_is_ended_by_the_commands_that_are_shown() {
    let mut fleet = Fleet::start(options(2).links()).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    wait_for_copies(fleet.person(0), 2);
    let there = clone(fleet.person(1), "clone");
    let here = (work.as_path(), "gitback");
    let places = [here, (there.as_path(), "origin")];
    for what in ["status", "push"] {
        fleet.cut(1);
        for (index, (work, remote)) in places.iter().enumerate() {
            let person = fleet.person(index);
            let file = format!("{what}-{index}.txt");
            std::fs::write(work.join(&file), "alone\n").expect("a file");
            done(person.git(work, ["add", &file]));
            done(person.git(work, ["commit", "--quiet", "-m", &file]));
            done(person.git(work, ["push", "-o", "gitback.wait=0", remote, "main"]));
        }
        fleet.mend(1);
        for index in [0, 1] {
            wait_for(fleet.person(index), "main has diverged", |status| {
                status["versions"][0]["name"] == "refs/heads/main"
            });
        }
        // Until both have settled, one of them may still show its own version, and the other one a moment later.
        let main = |index: usize| {
            served(fleet.person(index), "gitback://dan/notes").remove("refs/heads/main")
        };
        let settled = gitback_tests::until(SOON, "both show the same", || {
            let (here, there) = (main(0), main(1));
            Ok(match here == there {
                true => Ok(()),
                false => Err(format!("{here:?} and {there:?}")),
            })
        });
        settled.expect("the fleet gets there");
        // The one whose version is shown can go on pushing.
        let tip = |index: usize| {
            let asked = fleet
                .person(index)
                .git(places[index].0, ["rev-parse", "main"]);
            done(asked).stdout.trim().to_owned()
        };
        let shown = &served(fleet.person(0), "gitback://dan/notes")["refs/heads/main"];
        let index = usize::from(*shown != tip(0));
        let ((work, remote), person) = (places[index], fleet.person(index));
        let said = match what {
            "push" => {
                commit(person, work, "one more");
                let pushed = done(person.git(work, ["push", remote, "main"])).stderr;
                says(&pushed, &["warning: main has diverged: "]);
                pushed
            }
            _ => {
                let asked = person.vigo(["swarm", "gitback", "status"]).cwd(work);
                done(asked).stderr
            }
        };
        says(&said, &["nothing is lost"]);
        let commands = hinted(&said, "git ");
        assert_eq!(commands.len(), 3, "{said}");
        for command in commands {
            done(person.git(work, command));
        }
        for index in [0, 1] {
            wait_for(fleet.person(index), "one version", |status| {
                status["diverged"] == serde_json::json!([]) && status["copies"] == 2
            });
        }
        for (index, (work, remote)) in places.iter().enumerate() {
            let pull = [
                "pull",
                "--quiet",
                "--no-rebase",
                "--no-edit",
                remote,
                "main",
            ];
            done(fleet.person(index).git(work, pull));
        }
    }
}

#[test]
fn a_forced_push_says_how_what_it_replaced_comes_back() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    let first = push_all(mars, &work).stderr;
    assert!(!first.contains("restore"), "{first}");
    let before = local(mars, &work)["refs/heads/main"].clone();
    let quiet = ["push", "--quiet", "--force", "gitback", "main~1:main"];
    let said = done(mars.git(&work, quiet)).stderr;
    assert!(!said.contains("restore"), "{said}");
    done(mars.git(&work, ["push", "--quiet", "gitback", "main"]));
    let said = done(mars.git(&work, ["push", "--force", "gitback", "main~1:main"])).stderr;
    let commands = hinted(&said, "what was there before is kept: vigo ");
    done(mars.vigo(&commands[0]));
    assert_eq!(
        served(mars, "gitback://dan/notes")["refs/heads/main"],
        before
    );
    // A branch that was deleted comes back in the same way.
    let said = done(mars.git(&work, ["push", "gitback", ":topic/1"])).stderr;
    let commands = hinted(&said, "what was there before is kept: vigo ");
    done(mars.vigo(&commands[0]));
    assert_eq!(served(mars, "gitback://dan/notes"), local(mars, &work));
}

#[test]
fn another_passphrase_names_the_machines_that_keep_the_old_one() {
    let fleet = fleet(3);
    let new = fleet.dir().join("new");
    std::fs::write(&new, "another one, and long enough").expect("a file");
    let [old, new] = [fleet.passphrase_file(), new].map(|file| file.to_string_lossy().into_owned());
    let flags = ["--passphrase-file", &old, "--new-passphrase-file", &new];
    let line = [&["swarm", "puddle", "rotate-passphrase"], &flags[..]].concat();
    says(
        &done(fleet.person(0).vigo(&line)).stderr,
        &["(titan, venus): vigo swarm puddle rotate-passphrase, with the same two"],
    );
    // And there that does it.
    done(fleet.person(1).vigo(&line));
}

#[test]
fn a_short_passphrase_is_warned_of_before_it_is_typed_again() {
    let fleet = Fleet::start(options(1)).expect("the fleet starts");
    let mars = fleet.person(0);
    let line = ["swarm", "puddle", "init", "--name", "dan", "--no-unlock"];
    let mut init = Terminal::start(&mars.vigo(line)).expect("a terminal");
    init.sees("Passphrase: ").expect("asked");
    init.types("sesame").expect("typed");
    init.sees("warning: the passphrase has fewer than 12 characters")
        .expect("warned");
    init.sees("Again: ").expect("asked again");
    init.types("sesame").expect("typed");
    says(&init.ends(0).expect("made"), &["Created puddle dan"]);
    // A script is told the same on stderr, and nothing else changes.
    let (old, new) = (fleet.dir().join("old"), fleet.dir().join("new"));
    std::fs::write(&old, "sesame\n").expect("a file");
    for (text, is_short) in [("barley", true), (PASSPHRASE, false)] {
        std::fs::write(&new, text).expect("a file");
        let [from, to] = [&old, &new].map(|file| file.to_string_lossy().into_owned());
        let flags = ["--passphrase-file", &from, "--new-passphrase-file", &to];
        let line = [&["swarm", "puddle", "rotate-passphrase"], &flags[..]].concat();
        let changed = done(mars.vigo(line));
        assert_eq!(changed.stderr.contains("fewer than 12"), is_short);
        std::fs::rename(&new, &old).expect("renamed");
    }
}

#[test]
fn a_ticket_that_brings_in_nobody_is_still_good() {
    let fleet = Fleet::start(options(3).strangers()).expect("the fleet starts");
    let (mars, venus, titan) = (fleet.person(0), fleet.person(1), fleet.person(2));
    let ticket = || {
        done(mars.vigo(["envoy", "ticket"]))
            .stdout
            .trim()
            .to_owned()
    };
    done(venus.vigo(["join", &ticket()]));
    let second = ticket();
    // Venus is of the fleet already.
    done(venus.vigo(["join", &second]));
    done(titan.vigo(["join", &second]));
    let said = fails(venus.vigo(["join", &second]), 12);
    says(&said, &["the ticket was not accepted"]);
    // Who answers is shown as such.
    let listed = done(mars.vigo(["envoy", "list"])).stdout;
    says(&listed, &["SEEN", "online"]);
}

#[test]
fn a_project_without_a_commit_says_what_comes_first() {
    let fleet = fleet(1);
    let mars = fleet.person(0);
    let work = fleet.dir().join("empty");
    std::fs::create_dir(&work).expect("a folder");
    done(mars.git(&work, ["init", "--quiet"]));
    let founded = done(
        mars.vigo(["swarm", "gitback", "project", "init"])
            .cwd(&work),
    );
    says(
        &founded.stderr,
        &["hint: after the first commit: git push gitback HEAD"],
    );
    commit(mars, &work, "the first");
    done(mars.git(&work, ["push", "gitback", "HEAD"]));
}
