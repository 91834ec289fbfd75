//! Where a person's key and passphrase are, and the key of a fleet's authority, and that they are nowhere else: every file
//! of two machines, the memory of their daemons and of the session, command lines and environments.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gitback_identity::{SecretKey, hex};
use gitback_puddle::{Passphrase, recovery_words, unwrap};
use gitback_tests::{Fleet, Person, Straggler, stragglers};
use sha2::{Digest, Sha512};

use crate::fleet;
use crate::world::{SOON, clone, commit, done, notes, options, push_all, wait_for_copies};

const OLD: &str = "tern saffron 4711 quillwort-marrow";
const NEW: &str = "heron vermilion 1174 lungwort-pumpkin";
const FILES: &str = "home/.vigo-puddle";
/// How much of a process's memory is read at once, in bytes.
const CHUNK: usize = 1 << 20;

/// What must not be found, with a name for each form of it.
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn of(secret: &SecretKey) -> Self {
        let seed = secret.seed();
        let expanded = Sha512::digest(seed);
        let words = recovery_words(secret);
        let half: Vec<&str> = words.split(' ').take(12).collect();
        let mut scalar = expanded[..32].to_vec();
        scalar[0] &= 248;
        scalar[31] = scalar[31] & 127 | 64;
        Self(vec![
            ("the seed", seed.to_vec()),
            ("the seed in hex", hex::encode(seed).into_bytes()),
            (
                "the seed in HEX",
                hex::encode(seed).to_uppercase().into_bytes(),
            ),
            ("the seed in base64", base64(seed)),
            ("the recovery words", half.join(" ").into_bytes()),
            ("the hash of the seed", expanded[..32].to_vec()),
            ("the scalar", scalar),
            ("the prefix", expanded[32..].to_vec()),
            ("the old passphrase", OLD.as_bytes().to_vec()),
            ("the new passphrase", NEW.as_bytes().to_vec()),
        ])
    }

    /// The same of a key that has no words and no passphrase.
    fn of_authority(secret: &SecretKey) -> Self {
        let mut forms = Self::of(secret).0;
        forms.retain(|(name, _)| !name.contains("passphrase"));
        Self(forms)
    }

    fn longest(&self) -> usize {
        self.0.iter().map(|(_, form)| form.len()).max().unwrap_or(0)
    }

    /// What is in `bytes`, and where.
    fn found(&self, bytes: &[u8]) -> Vec<(&'static str, usize)> {
        let mut begins = [false; 256];
        for (_, form) in &self.0 {
            begins[usize::from(form[0])] = true;
        }
        let mut found = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            if begins[usize::from(*byte)] {
                let forms = self.0.iter();
                let here = forms.filter(|(_, form)| bytes[at..].starts_with(form));
                found.extend(here.map(|(name, _)| (*name, at)));
            }
        }
        found
    }

    fn names(&self, bytes: &[u8]) -> Vec<&'static str> {
        let mut names: Vec<_> = self
            .found(bytes)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.dedup();
        names
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]);
        }
    }
    text
}

/// Every regular file below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Each file of the fleet that has something in it, but for the passphrases that the tests type from.
fn found_in_files(fleet: &Fleet, secrets: &Secrets) -> BTreeMap<PathBuf, Vec<&'static str>> {
    let all = files(fleet.dir()).into_iter();
    let typed = [fleet.passphrase_file(), new_passphrase(fleet)];
    let scanned = all.filter(|path| !typed.contains(path));
    let found = scanned.map(|path| {
        // One that was removed meanwhile holds nothing.
        let names = secrets.names(&fs::read(&path).unwrap_or_default());
        (path, names)
    });
    found.filter(|(_, names)| !names.is_empty()).collect()
}

fn new_passphrase(fleet: &Fleet) -> PathBuf {
    fleet.dir().join("new-passphrase")
}

/// One mapping of a process.
#[derive(Debug, Clone)]
struct Mapping {
    from: u64,
    to: u64,
    /// As the kernel tells it.
    line: String,
    locked: bool,
}

/// The mappings of a process that can hold something of its own; nothing when we may not look.
fn mappings(pid: i32) -> Option<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let mut all: Vec<Mapping> = Vec::new();
    let mut own = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let range = words.next().and_then(|word| word.split_once('-'));
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        if let Some((from, to)) = range.and_then(|(from, to)| Some((hex(from)?, hex(to)?))) {
            let rights = words.next().unwrap_or_default();
            own = rights.starts_with("rw") || rights.starts_with('r') && words.nth(2) == Some("0");
            own &= !line.contains("[v");
            if own {
                all.push(Mapping {
                    from,
                    to,
                    line: line.to_owned(),
                    locked: false,
                });
            }
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| own) {
            let last = all.last_mut().expect("flags of a mapping");
            last.locked = flags.split_whitespace().any(|flag| flag == "lo");
        }
    }
    Some(all)
}

/// What is in the memory of a process, with the mapping in which it is; nothing when we may not look.
fn found_in_memory(pid: i32, secrets: &Secrets) -> Option<Vec<(&'static str, Mapping)>> {
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = Vec::new();
    let mut read = 0;
    for mapping in mappings(pid)? {
        let (mut bytes, mut at) = (Vec::new(), mapping.from);
        while at < mapping.to {
            // What the last piece ended with may go on in this one.
            let kept = bytes.len().saturating_sub(secrets.longest());
            bytes.drain(..kept);
            let piece = (mapping.to - at).min(CHUNK as u64);
            memory.seek(SeekFrom::Start(at)).ok()?;
            let piece = (&mut memory).take(piece).read_to_end(&mut bytes);
            // A guard page, or a mapping that went away.
            let Ok(piece) = piece else { break };
            if piece == 0 {
                break;
            }
            read += piece;
            at += piece as u64;
            let here = secrets.names(&bytes).into_iter();
            found.extend(here.map(|name| (name, mapping.clone())));
        }
    }
    assert!(read > 0, "process {pid} has memory");
    Some(found)
}

/// Everything of this fleet that runs: `mine` are its sessions.
fn processes(fleet: &Fleet, mine: bool) -> Vec<Straggler> {
    let all = stragglers(fleet.dir()).into_iter();
    all.filter(|one| one.line.contains(" puddle session ") == mine)
        .collect()
}

/// The daemons, and whatever else of this fleet runs, know nothing; nor does any command line or environment.
fn nobody_knows(fleet: &Fleet, secrets: &Secrets) {
    let others = processes(fleet, false);
    assert!(others.len() >= fleet.len(), "the daemons run: {others:?}");
    for one in &others {
        if let Some(found) = found_in_memory(one.pid, secrets) {
            assert!(found.is_empty(), "{one:?}: {found:?}");
        } else {
            skip("the memory of this daemon may not be read");
        }
    }
    for one in others.iter().chain(&processes(fleet, true)) {
        for name in ["cmdline", "environ"] {
            // Only root may read the session's environment.
            let bytes = fs::read(format!("/proc/{}/{name}", one.pid)).unwrap_or_default();
            assert_eq!(secrets.names(&bytes), [""; 0], "{name} of {one:?}");
        }
    }
}

/// The sessions have the seed, in locked memory only, and nothing else.
fn sessions_keep_it_locked(fleet: &Fleet, secrets: &Secrets) {
    let sessions = processes(fleet, true);
    assert_eq!(sessions.len(), fleet.len(), "{sessions:?}");
    for session in &sessions {
        let Some(found) = found_in_memory(session.pid, secrets) else {
            assert!(!rustix::process::geteuid().is_root(), "root may look");
            skip("only root may read the memory of a session");
            continue;
        };
        let times = found.iter().filter(|(name, _)| *name == "the seed").count();
        assert!(times >= 1, "the session holds the key: {found:?}");
        for (name, mapping) in &found {
            let place = &mapping.line;
            assert!(mapping.locked, "{name} may be swapped out: {place}");
            assert!(!name.contains("passphrase"), "{name} in {place}");
        }
        let status = fs::read_to_string(format!("/proc/{}/status", session.pid));
        let status = status.expect("anybody may read this");
        assert!(!status.contains("VmLck:\t       0 kB"), "{status}");
        let limits = fs::read_to_string(format!("/proc/{}/limits", session.pid));
        let limits = limits.expect("root may read this");
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let core: Vec<&str> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "no core file");
    }
}

/// Waits until none of these processes is there any more.
fn gone(sessions: &[Straggler]) {
    let ended = |session: &Straggler| {
        let status = fs::read_to_string(format!("/proc/{}/status", session.pid));
        // Nobody may be there who collects it; it has no memory then.
        status.map_or(true, |status| status.contains("State:\tZ"))
    };
    gitback_tests::until(SOON, "the sessions end", || {
        Ok(match sessions.iter().find(|one| !ended(one)) {
            None => Ok(()),
            Some(one) => Err(format!("{one:?}")),
        })
    })
    .expect("a locked session is gone");
}

fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn types(person: &Person, line: &str, files: &[(&str, &Path)]) {
    let mut args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for (flag, path) in files {
        args.push((*flag).to_owned());
        args.push(path.to_string_lossy().into_owned());
    }
    done(person.vigo(args));
}

#[test]
fn the_key_and_the_passphrase_are_where_they_belong_and_nowhere_else() {
    let settings = "contact_interval_ms = 200\nmin_free_percent = 0\n";
    let mut fleet = Fleet::start(options(2).settings(settings)).expect("the fleet starts");
    fs::write(fleet.passphrase_file(), format!("{OLD}\n")).expect("a passphrase");
    fs::write(new_passphrase(&fleet), format!("{NEW}\n")).expect("a passphrase");
    fleet.make_puddle("dan").expect("dan's puddle");
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let passphrase = Passphrase::new(OLD.to_owned()).expect("a passphrase");
    let secret = unwrap(&mars.root().join(FILES), &passphrase).expect("it opens");
    let secrets = Secrets::of(&secret);

    // The key is used for all that it is used for.
    let work = notes(&fleet);
    push_all(mars, &work);
    wait_for_copies(mars, 2);
    let copy = clone(venus, "clone");
    commit(venus, &copy, "from venus");
    done(venus.git(&copy, ["push", "origin", "main"]));
    nobody_knows(&fleet, &secrets);
    sessions_keep_it_locked(&fleet, &secrets);
    assert_eq!(found_in_files(&fleet, &secrets), BTreeMap::new());

    let (old, new) = (fleet.passphrase_file(), new_passphrase(&fleet));
    let change = [
        ("--passphrase-file", &*old),
        ("--new-passphrase-file", &*new),
    ];
    types(mars, "swarm puddle rotate-passphrase", &change);
    let words = mars.root().join("home/words");
    let recovery = [("--passphrase-file", &*new), ("--to", &*words)];
    types(mars, "swarm puddle recovery", &recovery);
    let before = processes(&fleet, true);
    for person in [mars, venus] {
        types(person, "swarm puddle lock", &[]);
    }
    gone(&before);
    nobody_knows(&fleet, &secrets);

    types(mars, "swarm puddle unlock", &[("--passphrase-file", &*new)]);
    types(
        venus,
        "swarm puddle unlock --idle 30m",
        &[("--passphrase-file", &*old)],
    );
    commit(mars, &work, "signed again");
    done(mars.git(&work, ["fetch", "--quiet", "gitback"]));
    nobody_knows(&fleet, &secrets);
    sessions_keep_it_locked(&fleet, &secrets);
    // It is found where it was asked for, so it would be found elsewhere.
    let expected = BTreeMap::from([(words, vec!["the recovery words"])]);
    assert_eq!(found_in_files(&fleet, &secrets), expected);
}

/// Of the daemons, only those of `holders` know the key, and as a key: no text that was read or sent is left of it.
fn only_these_know(fleet: &Fleet, holders: &[usize], secrets: &Secrets) {
    for index in 0..fleet.len() {
        let pid = fleet.envoy(index).pid().expect("the daemon runs");
        let Some(found) = found_in_memory(i32::try_from(pid).expect("an id"), secrets) else {
            skip("the memory of this daemon may not be read");
            continue;
        };
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let holds = holders.contains(&index);
        assert_eq!(
            names.contains(&"the seed"),
            holds,
            "daemon {index}: {names:?}"
        );
        let text = ["hex", "HEX", "base64", "words"];
        let is_text = |name: &str| text.iter().any(|form| name.ends_with(form));
        assert!(
            !names.iter().any(|name| is_text(name)),
            "daemon {index}: {found:?}"
        );
    }
    for session in processes(fleet, true) {
        if let Some(found) = found_in_memory(session.pid, secrets) {
            assert!(found.is_empty(), "{session:?}: {found:?}");
        }
    }
    for one in processes(fleet, false) {
        for name in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{}/{name}", one.pid)).unwrap_or_default();
            assert_eq!(secrets.names(&bytes), [""; 0], "{name} of {one:?}");
        }
    }
}

#[test]
fn the_key_of_the_authority_is_in_its_file_and_nowhere_else() {
    let settings = "contact_interval_ms = 200\nmin_free_percent = 0\n";
    let options = options(2).settings(settings).strangers();
    let mut fleet = Fleet::start(options).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    fleet::join(&fleet, 1);
    for index in [0, 1] {
        fleet::wait_for_fleet(fleet.person(index), &["mars", "venus"]);
    }
    let secret = fleet::secret_in(&fleet, 0, "authority.key");
    let secrets = Secrets::of_authority(&secret);
    let kept = |index: usize| {
        let file = fleet::identity(&fleet, index).join("authority.key");
        (file, vec!["the seed in hex"])
    };
    // The roster with the seal is on both.
    assert_eq!(found_in_files(&fleet, &secrets), BTreeMap::from([kept(0)]));
    only_these_know(&fleet, &[0], &secrets);

    let file = fleet.passphrase_file();
    let taking = [("--passphrase-file", &*file)];
    types(fleet.person(1), "envoy authority take-over", &taking);
    fleet::wait_for_fleet(fleet.person(0), &["mars", "venus"]);
    let both = BTreeMap::from([kept(0), kept(1)]);
    assert_eq!(found_in_files(&fleet, &secrets), both);
    only_these_know(&fleet, &[0, 1], &secrets);
}

#[test]
fn what_is_looked_for_would_be_found() {
    let secret = SecretKey::from_seed(&[0x5e; 32]);
    let secrets = Secrets::of(&secret);
    for (name, form) in &secrets.0 {
        let text = [b"before", form.as_slice(), b"after"].concat();
        assert!(secrets.names(&text).contains(name), "{name}");
    }
    assert_eq!(base64(b"any carnal pleas"), b"YW55IGNhcm5hbCBwbGVhcw");
    // Our own memory holds the seed, and nobody has locked it.
    let own = i32::try_from(std::process::id()).expect("an id");
    let found = found_in_memory(own, &secrets).expect("our own memory");
    assert!(
        found
            .iter()
            .any(|(name, mapping)| *name == "the seed" && !mapping.locked)
    );
}
