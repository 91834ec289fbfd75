//! Recovery words, another passphrase, and what wrong ones lead to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::{Machine, Said, VIGO};

const FILES: &str = "home/.vigo-puddle";

fn status(machine: &Machine) -> Value {
    machine.vigo("swarm puddle status --json").expect(0).json()
}

fn file(machine: &Machine, name: &str, text: &str) -> PathBuf {
    let path = machine.dir.path().join(name);
    fs::write(&path, text).expect("written");
    path
}

fn words(machine: &Machine) -> String {
    let said = machine.with_passphrase("swarm puddle recovery --stdout");
    said.expect(0).answer
}

fn restore(machine: &Machine, words: &Path) -> Said {
    let line = format!(
        "swarm puddle init --name dan --from-recovery --words-file {}",
        words.display()
    );
    machine.with_passphrase(&line)
}

#[test]
fn a_key_comes_back_from_its_words_alone() {
    let (mars, venus) = (Machine::new(), Machine::new());
    mars.make_puddle();
    let said = mars
        .with_passphrase("swarm puddle recovery --stdout")
        .expect(0);
    assert_eq!(said.answer.split_whitespace().count(), 24);
    assert_eq!(said.answer.lines().count(), 1);
    let said = said
        .says("whoever has these words has your key")
        .says("vigo swarm puddle init --from-recovery");
    assert!(!said.talk.contains("reanchor"), "{said:#?}");

    let shouted = file(&venus, "words", &words(&mars).to_uppercase());
    venus.passphrase("open barley\n");
    restore(&venus, &shouted)
        .expect(0)
        .answers("Brought back puddle dan\n")
        .says("keys that the puddle had before");
    let (before, after) = (status(&mars), status(&venus));
    assert_eq!(before["key"], after["key"]);
    assert_eq!(after["unlocked"], true);
    restore(&venus, &shouted)
        .expect(1)
        .says("error: this machine already has puddle dan");
}

#[test]
fn words_are_not_shown_where_they_could_stay() {
    let machine = Machine::new();
    machine.make_puddle();
    let said = machine
        .with_passphrase("swarm puddle recovery")
        .expect(2)
        .says("on a terminal only")
        .says("--to FILE");
    assert_eq!(said.answer, "");
    let path = machine.dir.path().join("words");
    let line = format!("swarm puddle recovery --to {}", path.display());
    let said = machine.with_passphrase(&line).expect(0);
    let text = fs::read_to_string(&path).expect("the words");
    assert_eq!(text, words(&machine));
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for word in text.split_whitespace().filter(|word| word.len() > 5) {
        assert!(!said.answer.contains(word), "{said:#?}");
    }
    machine
        .with_passphrase(&line)
        .expect(1)
        .says("is there already");
    assert_eq!(fs::read_to_string(&path).expect("the words"), text);
    machine.passphrase("open barley\n");
    machine
        .with_passphrase("swarm puddle recovery --stdout")
        .expect(11)
        .says("wrong passphrase for dan (2 tries left before a 30 s pause)");
}

#[test]
fn words_of_a_puddle_with_retired_keys_say_what_they_lack() {
    let machine = Machine::new();
    machine.make_puddle();
    machine.with_passphrase("swarm puddle rotate").expect(0);
    machine
        .with_passphrase("swarm puddle recovery --stdout")
        .expect(0)
        .says("for the present key alone, not for 1 key that it had before")
        .says("vigo swarm gitback project reanchor --all");
}

#[test]
fn what_is_brought_back_is_to_be_compared() {
    let machine = Machine::new();
    machine.make_puddle();
    let path = file(&machine, "words", &words(&machine));
    machine.with_passphrase("swarm puddle rotate").expect(0);
    machine.vigo("swarm puddle lock").expect(0);
    let dir = machine.root().join(FILES);
    for name in ["identity.wrapped", "identity.pub"] {
        fs::remove_file(dir.join(name)).expect("removed");
    }
    machine
        .with_passphrase("swarm puddle init --name dan --no-unlock")
        .expect(1)
        .says("there are keys of an earlier puddle")
        .says("move them to a safe place");
    assert!(!dir.join("identity.wrapped").exists());
    // The key itself is its own copy there; another one with it would be named.
    restore(&machine, &path)
        .expect(0)
        .says("compare the fingerprint")
        .says("scroll-back");
}

#[test]
fn words_that_are_wrong_are_told_apart() {
    let machine = Machine::new();
    machine.make_puddle();
    let good = words(&machine);
    let other = Machine::new();
    let check = |text: &str, parts: &[&str]| {
        let path = file(&other, "words", text);
        let said = restore(&other, &path).expect(2);
        for part in parts {
            assert!(said.talk.contains(part), "no {part:?} in {said:#?}");
        }
        assert!(!other.root().join(FILES).exists());
    };
    let mut list: Vec<&str> = good.split_whitespace().collect();
    let kept = std::mem::replace(&mut list[4], "zebrra");
    check(
        &list.join(" "),
        &["word 5, \"zebrra\"", "did you mean zebra?"],
    );
    list[4] = kept;
    check(&list[..23].join(" "), &["there are 23 words, not 24"]);
    // Of 256 words at the last place, one is right.
    let wrong = ["abandon", "ability", "able", "about", "above", "absent"];
    // Chance may have it that one of them is right, and there is a puddle after it.
    let _ = wrong.iter().position(|wrong| {
        list[23] = wrong;
        let path = file(&other, "words", &list.join(" "));
        let said = restore(&other, &path);
        let is_wrong = said.code == Some(2) && said.talk.contains("checksum is wrong");
        assert!(is_wrong || said.code == Some(0), "{said:#?}");
        !is_wrong
    });
}

#[test]
fn asks_nobody_for_words_without_a_terminal() {
    let machine = Machine::new();
    machine
        .with_passphrase("swarm puddle init --name dan --from-recovery")
        .expect(2)
        .says("--words-file FILE");
    let mut command = machine.command(VIGO);
    let line = "swarm puddle init --name dan --from-recovery --words-file - --passphrase-file -";
    Said::of(command.args(line.split(' ')))
        .expect(2)
        .says("only one file can be -");
    machine
        .with_passphrase("swarm puddle init --name dan --words-file x")
        .expect(2);
}

#[test]
fn a_passphrase_is_changed_and_the_session_goes_on() {
    let machine = Machine::new();
    machine.make_puddle();
    machine.with_passphrase("swarm puddle rotate").expect(0);
    let before = status(&machine);
    let new = file(&machine, "new", "open barley\n");
    let line = format!(
        "swarm puddle rotate-passphrase --new-passphrase-file {}",
        new.display()
    );
    machine
        .with_passphrase(&line)
        .expect(0)
        .answers("Changed the passphrase of puddle dan\n")
        .answers("  Retired      1 key that it had before too\n")
        .answers("  Unlocked     as before")
        .says("your other machines keep the old passphrase")
        .says("on each of them: vigo swarm puddle rotate-passphrase, with the same two\n")
        .says("copy identity.wrapped and retired/ from ");
    assert_eq!(status(&machine), before);
    machine
        .with_passphrase("swarm puddle unlock")
        .expect(11)
        .says("2 tries left");
    // Again: the old one is wrong by now, which is said before a new one is asked for.
    let without_new = line.replace(&new.display().to_string(), "/nowhere");
    for line in [&line, &without_new] {
        let said = machine.with_passphrase(line).expect(11);
        assert!(!said.talk.contains("Changed"), "{said:#?}");
        machine.passphrase("open barley\n");
        machine.with_passphrase("swarm puddle unlock").expect(0);
        machine.passphrase("open sesame\n");
    }
    machine.passphrase("open barley\n");
    machine.with_passphrase("swarm puddle unlock").expect(0);
    machine
        .with_passphrase(&line)
        .expect(2)
        .says("the new one is the old one");
}

#[test]
fn a_retired_key_with_its_own_passphrase_is_named() {
    let machine = Machine::new();
    machine.make_puddle();
    machine.with_passphrase("swarm puddle rotate").expect(0);
    let old_key = status(&machine)["retired"][0]["key"].clone();
    let old_key = &old_key.as_str().expect("a key")[..8];
    let new = file(&machine, "new", "open barley\n");
    let line = format!(
        "swarm puddle rotate-passphrase --new-passphrase-file {}",
        new.display()
    );
    let one = format!("{line} --retired {old_key}");
    let rye = file(&machine, "rye", "open rye\n");
    let to_rye = one.replace(&new.display().to_string(), &rye.display().to_string());
    machine
        .with_passphrase(&to_rye)
        .expect(0)
        .answers("Changed the passphrase of the earlier key ");
    machine
        .with_passphrase(&line)
        .expect(0)
        .says("has another passphrase, and keeps it")
        .says(&format!("rotate-passphrase --retired {old_key}"));
    machine.passphrase("open rye\n");
    machine.with_passphrase(&one).expect(0);
    machine
        .with_passphrase(&format!("{line} --retired 00"))
        .expect(10);
}

#[test]
fn wrong_passphrases_lead_to_a_pause_for_every_verb() {
    let machine = Machine::new();
    machine.make_puddle();
    machine.vigo("swarm puddle lock").expect(0);
    machine.passphrase("open barley\n");
    let new = file(&machine, "new", "open rye\n");
    let change = format!(
        "swarm puddle rotate-passphrase --new-passphrase-file {}",
        new.display()
    );
    machine
        .with_passphrase("swarm puddle unlock")
        .expect(11)
        .says("error: wrong passphrase for dan (2 tries left before a 30 s pause)");
    machine
        .with_passphrase("swarm puddle rotate")
        .expect(11)
        .says("error: wrong passphrase for dan (1 try left before a 30 s pause)");
    machine
        .with_passphrase(&change)
        .expect(11)
        .says("why:   the next one can be tried in 30 s");

    // Also the right one has to wait.
    machine.passphrase("open sesame\n");
    for verb in [
        "swarm puddle unlock",
        "swarm puddle rotate",
        "swarm puddle recovery --stdout",
        &change,
    ] {
        machine
            .with_passphrase(verb)
            .expect(11)
            .says("error: no passphrase for dan can be tried just now")
            .says("hint:  try again in ");
    }
    let tries = machine.root().join(FILES).join("tries");
    let counted: Value =
        serde_json::from_slice(&fs::read(&tries).expect("the file")).expect("JSON");
    assert_eq!(counted["wrong"], 3);

    // Half a minute later, by the clock.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let then = u64::try_from(now.as_millis()).expect("a time") - 30_000;
    let text = format!("{{\"version\":1,\"wrong\":3,\"last_ms\":{then}}}");
    fs::write(&tries, text).expect("written");
    machine.with_passphrase("swarm puddle unlock").expect(0);
    assert_eq!(
        fs::read(&tries).expect("the file"),
        b"",
        "a right one ends it"
    );
}

#[test]
fn a_limit_without_signatures_is_shown() {
    let machine = Machine::new();
    machine.make_puddle();
    assert_eq!(status(&machine)["idle_ms"], Value::Null);
    machine
        .with_passphrase("swarm puddle unlock --for 2h --idle 30m")
        .expect(0)
        .answers("(2 h), or 30 min after the last signature\n");
    assert_eq!(status(&machine)["idle_ms"], 1_800_000);
    assert_eq!(status(&machine)["memory_locked"], true);
    machine
        .vigo("swarm puddle status")
        .expect(0)
        .answers(" left), or 30 min after the last signature\n");
    machine
        .with_passphrase("swarm puddle unlock --idle never")
        .expect(2);
    machine
        .with_passphrase("swarm puddle rotate --no-unlock --idle 30m")
        .expect(2);
}

#[test]
fn leaving_without_a_daemon_has_to_be_meant() {
    let machine = Machine::new();
    machine.make_puddle();
    let dir = machine.root().join(FILES);
    machine
        .vigo("swarm puddle leave --yes --even-last")
        .expect(15)
        .says("--without-envoy");
    machine
        .vigo("swarm puddle leave --yes --without-envoy")
        .expect(1)
        .says("this may be the last machine that has the key of dan")
        .says("--even-last");
    machine
        .vigo("swarm puddle leave --even-last --without-envoy")
        .expect(2)
        .says("--yes");
    assert!(dir.join("identity.wrapped").exists() && machine.socket().exists());
    fs::write(dir.join("mine"), "mine").expect("written");
    machine
        .vigo("swarm puddle leave --yes --even-last --without-envoy")
        .expect(0)
        .answers("Removed puddle dan from this machine\n")
        .says("it is lost for good")
        .says(".vigo-puddle/mine");
    assert!(!machine.socket().exists());
    assert_eq!(fs::read_dir(&dir).expect("it stays").count(), 1);
    machine.vigo("swarm puddle status").expect(10);
}
