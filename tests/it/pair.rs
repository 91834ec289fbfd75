//! A second machine for one person: a code on one, typed on the other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gitback_tests::{Fleet, Invocation, Person, Terminal};

use crate::world::{self, clone, done, fails, notes, push_all, says};

/// Two envoys that know nothing of each other, and dan on the first.
fn fleet() -> Fleet {
    let mut fleet = Fleet::start(world::options(2).strangers()).expect("the fleet starts");
    fleet.create_puddle(0, "dan").expect("dan's puddle");
    fleet
}

fn vigo(person: &Person, verb: &str, more: &[&str]) -> Invocation {
    person.vigo(["swarm", "puddle", verb].iter().chain(more))
}

/// Somebody at mars, who waits for another machine.
struct Host {
    terminal: Terminal,
    code: String,
    address: String,
}

impl Host {
    fn waits(person: &Person) -> Self {
        let command = vigo(person, "pair", &["--listen", "127.0.0.1:0"]);
        let mut terminal = Terminal::start(&command).expect("a terminal");
        let code = terminal.sees_line("and enter this code:").expect("a code");
        let line = "vigo swarm puddle join --from ";
        let address = terminal.sees_line(line).expect("an address");
        Self {
            terminal,
            code,
            address,
        }
    }

    fn answers(&mut self, answer: &str) {
        let question = " asks to join dan, and its envoy the fleet of mars. Allow? [y/N] ";
        let asked = self.terminal.sees(question);
        asked.expect("the question");
        self.terminal.types(answer).expect("typed");
    }
}

/// `join` in a script: the code is in a file.
fn join(fleet: &Fleet, person: &Person, host: &Host, code: &str) -> Invocation {
    let file = fleet.dir().join("code");
    fs::write(&file, code).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let flags = [
        "--from",
        &host.address,
        "--code-file",
        &file,
        "--no-up",
        "--no-unlock",
    ];
    vigo(person, "join", &flags)
}

fn puddle_of(person: &Person) -> std::path::PathBuf {
    person.root().join("home/.vigo-puddle")
}

#[test]
fn a_second_machine_gets_the_puddle_and_what_was_pushed_on_the_first() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let passphrase = fs::read_to_string(fleet.passphrase_file()).expect("a passphrase");
    let mut host = Host::waits(mars);
    let command = vigo(venus, "join", &["--from", &host.address, "--for", "1h"]);
    let mut guest = Terminal::start(&command).expect("a terminal");
    guest.sees("Code: ").expect("asked");
    // A slip costs nothing.
    let slip = "abandon ability able about above absnet";
    guest.types(slip).expect("typed");
    guest.sees("did you mean absent?").expect("told");
    guest.sees("Code: ").expect("asked again");
    guest.types(&host.code.to_uppercase()).expect("typed");
    guest.sees("waiting for mars to allow it").expect("waits");
    host.terminal
        .sees("venus (linux, 127.0.0.1)")
        .expect("who asks");
    host.answers("y");
    guest.sees("Joined dan as venus").expect("joined");
    let enrolled = guest.sees("Fleet        that of mars, which has 2 envoys");
    enrolled.expect("enrolled by the same code");
    guest.sees("Passphrase for dan: ").expect("asked");
    guest.types(passphrase.trim_end()).expect("typed");
    guest.sees("Unlocked dan until ").expect("unlocked");
    guest.ends(0).expect("ends well");
    host.terminal
        .sees("Joined venus. dan is on that machine too now")
        .expect("told");
    let enrolled = host
        .terminal
        .sees("Its envoy is in the fleet of this one, which has 2 envoys");
    enrolled.expect("told");
    let sealed = host
        .terminal
        .sees("dan can take the fleet over on any other");
    sealed.expect("told");
    host.terminal.ends(0).expect("ends well");

    let same = |name: &str| {
        let [left, right] = [mars, venus].map(|person| fs::read(puddle_of(person).join(name)));
        assert_eq!(left.expect("there"), right.expect("there"), "{name}");
    };
    same("identity.wrapped");
    same("identity.pub");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&puddle_of(venus)), 0o700);
    assert_eq!(mode(&puddle_of(venus).join("identity.wrapped")), 0o600);

    let work = notes(&fleet);
    push_all(mars, &work);
    clone(venus, "clone");
    fleet.lock(1).expect("locks");
}

#[test]
fn a_guest_may_keep_its_envoy_out_and_a_host_is_asked_about_what_a_yes_does() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let mut host = Host::waits(mars);
    host.terminal
        .sees("a yes also founds a fleet with the other machine: its envoy gets all that the fleet holds, and root there can read it; --no-enrol")
        .expect("told what a yes gives away");
    let file = fleet.dir().join("code");
    fs::write(&file, &host.code).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let from = ["--from", &host.address, "--code-file", &file];
    let flags = [&from[..], &["--no-enrol", "--no-unlock"]].concat();
    let guest = Terminal::start(&vigo(venus, "join", &flags)).expect("a terminal");
    host.answers("y");
    let shown = guest.ends(0).expect("joined");
    says(&shown, &["Fleet        not entered, as --no-enrol says"]);
    let shown = host.terminal.ends(0).expect("ends well");
    says(&shown, &["the envoy of venus was not taken into a fleet"]);
    let listed = done(venus.vigo(["envoy", "list"]));
    assert!(!listed.stdout.contains("mars"), "{}", listed.stdout);
}

#[test]
fn scripts_pair_without_a_terminal() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let code = fleet.dir().join("code");
    let flag = code.to_string_lossy().into_owned();
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--yes",
        "--code-to",
        &flag,
        "--for",
        "10m",
        "--no-enrol",
    ];
    let pair = vigo(mars, "pair", &flags);
    let mut host = pair.talk().expect("starts");
    let mut line = String::new();
    while !line.contains("--from ") {
        line.clear();
        let read = std::io::BufRead::read_line(host.output(), &mut line).expect("text");
        assert!(read > 0, "it ended");
        assert!(!line.contains("enter this code"), "{line}");
    }
    let address = line.trim().rsplit(' ').next().unwrap_or_default();
    let mode = fs::metadata(&code).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fails(pair, 1).contains("cannot write the code to "));

    let flags = ["--from", address, "--code-file", &flag, "--no-up"];
    let joined = done(vigo(venus, "join", &flags));
    says(
        &joined.stdout,
        &[
            "Joined dan as venus\n",
            "  Locked       `vigo swarm puddle unlock` opens it\n",
        ],
    );
    let alone = "this machine's envoy is not in the fleet of mars: the other machine enrols nobody";
    says(&joined.stderr, &[alone, "vigo join TICKET"]);
    fleet.unlock(1).expect("the same passphrase opens it");
    fleet.lock(1).expect("locks");
    let mut rest = String::new();
    std::io::Read::read_to_string(host.output(), &mut rest).expect("text");
    assert!(!code.exists(), "the code is dead, and so is its file");
    // Before any network, and whatever the code is.
    let again = fails(vigo(venus, "join", &flags), 1);
    says(
        &again,
        &[
            "error: this machine already has puddle dan",
            "hint:  status: ",
            "if it is the one that you want: only the fleet is lacking; on a machine of the fleet: vigo envoy ticket, then here: vigo join TICKET",
            "if you want another one: remove this one first: vigo swarm puddle leave",
        ],
    );
}

#[test]
fn a_wrong_code_is_told_and_three_shut_the_machine_out() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let mut host = Host::waits(mars);
    let wrong = "abandon ability able about above absent";
    for told in [
        "a wrong code from 127.0.0.1; 2 tries are left",
        "a wrong code from 127.0.0.1; 1 try is left",
        "a third wrong code from 127.0.0.1",
    ] {
        let refused = fails(join(&fleet, venus, &host, wrong), 12);
        says(
            &refused,
            &[
                "error: the code was not accepted",
                "hint:  make another code there",
            ],
        );
        host.terminal.sees(told).expect("told");
    }
    host.terminal.sees("make another code").expect("told");
    fails(join(&fleet, venus, &host, &host.code), 12);
    assert!(!puddle_of(venus).exists());
}

#[test]
fn a_guest_that_gives_up_takes_the_question_along_and_may_come_again() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let mut host = Host::waits(mars);
    let guest = join(&fleet, venus, &host, &host.code).talk();
    let guest = guest.expect("starts");
    host.terminal.sees("Allow? [y/N] ").expect("asked");
    // Killed, as by Ctrl-C.
    drop(guest);
    let told = "venus left before anything was sent; the code still works";
    host.terminal.sees(told).expect("told");
    let again = join(&fleet, venus, &host, &host.code).talk();
    let _again = again.expect("starts");
    host.terminal.sees("Allow? [y/N] ").expect("asked again");
    host.terminal.types("y").expect("typed");
    host.terminal.sees("Joined venus.").expect("joined");
}

#[test]
fn a_no_is_told_on_both_sides() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let mut host = Host::waits(mars);
    let file = fleet.dir().join("code");
    fs::write(&file, &host.code).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let flags = ["--from", &host.address, "--code-file", &file, "--no-up"];
    let mut guest = Terminal::start(&vigo(venus, "join", &flags)).expect("a terminal");
    host.answers("");
    let told = guest.sees("the person at the other machine said no");
    told.expect("told");
    guest.ends(12).expect("ends");
    let shown = host.terminal.ends(1).expect("ends");
    says(&shown, &["not confirmed; venus got nothing"]);
    assert!(!puddle_of(venus).exists());
}

#[test]
fn what_cannot_be_begun_says_why() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let refused = fails(vigo(mars, "pair", &[]), 2);
    says(
        &refused,
        &["there is no terminal to ask for a yes on", "--yes"],
    );
    let refused = fails(vigo(mars, "pair", &["--yes", "--for", "11m"]), 2);
    says(&refused, &["a code holds for up to 10 minutes"]);
    let refused = fails(vigo(venus, "pair", &["--yes"]), 10);
    says(
        &refused,
        &[
            "there is no puddle on this machine",
            "vigo swarm puddle join",
        ],
    );
    let refused = fails(vigo(venus, "join", &[]), 2);
    says(
        &refused,
        &["there is no terminal to ask for the code on", "--code-file"],
    );

    let with = |code: &str, from: &str| {
        let flags = ["--code-file", "-", "--no-up", "--from", from];
        vigo(venus, "join", &flags).input(code)
    };
    let nowhere = "127.0.0.1:1";
    let refused = fails(
        with("abandon ability able about above absnet\n", nowhere),
        2,
    );
    says(
        &refused,
        &[
            "word 6, \"absnet\", is not in the list",
            "did you mean absent?",
        ],
    );
    let refused = fails(with("abandon ability able\n", nowhere), 2);
    says(&refused, &["a code has 6 words, and these are 3"]);
    let right = "abandon ability able about above absent\n";
    let refused = fails(with(right, nowhere), 1);
    says(
        &refused,
        &["cannot reach 127.0.0.1:1", "does it still wait?"],
    );
    let refused = fails(with(right, "mars.invalid"), 1);
    says(&refused, &["cannot find the address of mars.invalid:1532"]);
    // Nobody is asked anything, and nobody is called, for what could not be unlocked afterwards.
    let unlocking = |flag: &str, value: &str| {
        let flags = ["--code-file", "-", "--no-up", "--from", nowhere];
        let more = [&flags[..], &[flag, value]].concat();
        vigo(venus, "join", &more).input(right)
    };
    let refused = fails(unlocking("--for", "soon"), 2);
    says(&refused, &["soon"]);
    let refused = fails(unlocking("--passphrase-file", "/nonexistent"), 1);
    says(&refused, &["passphrase", "/nonexistent"]);
    let left = puddle_of(venus).join("retired");
    fs::create_dir_all(&left).expect("a directory");
    fs::write(left.join("0011223344556677.wrapped"), "?").expect("a file");
    let refused = fails(with("no code", nowhere), 1);
    says(
        &refused,
        &["no puddle can be installed on this machine", "move what"],
    );
    fs::remove_dir_all(puddle_of(venus)).expect("removed");
    let both = ["--code-file", "-", "--passphrase-file", "-"];
    let refused = fails(vigo(venus, "join", &both).input(right), 2);
    says(&refused, &["only one file can be -"]);
    assert!(!puddle_of(venus).exists());
}

/// The code lives for minutes: nothing that takes long or fails stands between it and the connection.
#[test]
fn an_envoy_that_does_not_start_is_told_before_the_code_is_asked_for() {
    let fleet = fleet();
    let root = fleet.dir().join("broken");
    fs::create_dir_all(root.join("etc/vigo")).expect("a directory");
    fs::write(root.join("etc/vigo/envoy.toml"), "nonsense = [").expect("settings");
    let flags = ["--from", "127.0.0.1:1", "--no-unlock"];
    let command = vigo(fleet.person(1), "join", &flags).env("VIGO_ROOT", &root);
    let mut guest = Terminal::start(&command).expect("a terminal");
    guest.sees("Start one? [Y/n] ").expect("asked");
    guest.types("").expect("typed");
    let told = guest.sees("warning: this machine's envoy was not started: ");
    told.expect("told");
    guest.sees("vigo up").expect("told");
    guest.sees("Code: ").expect("asked");
    let code = "abandon ability able about above absent";
    guest.types(code).expect("typed");
    let shown = guest.ends(1).expect("ends");
    says(&shown, &["cannot reach 127.0.0.1:1"]);
}

#[test]
fn a_machine_that_is_in_the_fleet_already_stays_in_it() {
    let fleet = fleet();
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let pairs = || {
        let mut host = Host::waits(mars);
        let joining = join(&fleet, venus, &host, &host.code);
        let guest = Terminal::start(&joining).expect("a terminal");
        host.answers("y");
        let joined = guest.ends(0).expect("joined");
        (host.terminal.ends(0).expect("paired"), joined)
    };
    let (host, guest) = pairs();
    says(
        &host,
        &["Its envoy is in the fleet of this one, which has 2"],
    );
    says(&guest, &["Fleet        that of mars, which has 2"]);
    done(vigo(venus, "leave", &["--yes", "--even-last"]));
    let (host, guest) = pairs();
    says(&host, &["Its envoy is in the fleet of this one, as before"]);
    says(&guest, &["Fleet        that of mars, as before"]);
    assert!(!guest.contains("warning"), "{guest}");
}
