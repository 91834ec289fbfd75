//! Two homes, a code, and a host that listens.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gitback_identity::SecretKey;
use gitback_pairing::{
    Clock, Code, Guest, GuestError, Host, HostIntroduction, Introduction, Terms,
};
use gitback_puddle::{Carried, Cost, Passphrase, create, export, rotate};
use tempfile::TempDir;

pub(crate) const WORDS: &str = "lunar basket cousin ribbon gather oven";
pub(crate) const OTHER_WORDS: &str = "lunar basket cousin ribbon gather owner";
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) fn code() -> Code {
    WORDS.parse().expect("a code")
}

/// Cheap: nothing here guesses.
pub(crate) fn cheap() -> Cost {
    Cost::new(64, 1, 1).expect("a cost")
}

pub(crate) fn venus() -> Introduction {
    Introduction::new("venus", "linux")
}

/// A home, and where its puddle is or would be.
pub(crate) struct Home {
    _dir: TempDir,
    pub(crate) puddle: PathBuf,
}

impl Home {
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let puddle = dir.path().join(".vigo-puddle");
        Self { _dir: dir, puddle }
    }

    /// dan's, with one retired key.
    pub(crate) fn of_dan() -> Self {
        let home = Self::empty();
        let passphrase = Passphrase::new(PASSPHRASE.to_owned()).expect("a passphrase");
        let [old, new] = Self::seeds().map(|seed| SecretKey::from_seed(&seed));
        let name = "dan".parse().expect("a name");
        create(&home.puddle, &name, &passphrase, &old, cheap(), 1).expect("a puddle");
        rotate(&home.puddle, &passphrase, &new, cheap(), 2).expect("a new key");
        home
    }

    /// The secrets in dan's puddle.
    pub(crate) fn seeds() -> [[u8; 32]; 2] {
        [[7; 32], [8; 32]]
    }

    pub(crate) fn carried(&self) -> Carried {
        export(&self.puddle).expect("the files")
    }
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// mars, with dan's puddle and the code.
pub(crate) fn mars(carried: &Carried) -> (Host, SocketAddr) {
    mars_by(carried, Clock::system())
}

pub(crate) fn mars_by(carried: &Carried, clock: Clock) -> (Host, SocketAddr) {
    let (listener, address) = listener();
    let about = HostIntroduction::new("mars", carried.public());
    let terms = Terms::default().cost(cheap()).clock(clock);
    let host = Host::open(listener, code(), about, terms).expect("a host");
    (host, address)
}

/// A clock that goes when it is told to.
pub(crate) fn clock() -> (Clock, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(1_000_000));
    let told = Arc::clone(&seconds);
    let clock = Clock::from_fn(move || Duration::from_secs(told.load(Ordering::SeqCst)));
    (clock, seconds)
}

pub(crate) fn connect(address: SocketAddr) -> Guest {
    Guest::connect(&address.to_string())
        .expect("a connection")
        .cost(cheap())
}

/// What becomes of somebody who tries a code.
pub(crate) fn try_code(address: SocketAddr, code: &Code) -> Option<GuestError> {
    connect(address).prove(code, &venus()).err()
}

#[track_caller]
pub(crate) fn is_not_accepted(outcome: &Option<GuestError>) {
    assert!(
        matches!(outcome, Some(GuestError::NotAccepted)),
        "{outcome:?}"
    );
}

/// Collects what a host says while it waits.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<u32>>);

impl Heard {
    pub(crate) fn hear(&self) -> impl FnMut(gitback_pairing::News) + '_ {
        |news| match news {
            gitback_pairing::News::Wrong { left, .. } => {
                self.0.lock().expect("no panic").push(left)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn tries_left(&self) -> Vec<u32> {
        self.0.lock().expect("no panic").clone()
    }
}
