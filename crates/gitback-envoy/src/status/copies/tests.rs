//! One test for each word, from what a peer may have shown.

use std::path::Path;

use gitback_envelope::{Act, Change, EnvelopeId, Grant, Incarnation, Oid, RefName, Statement};
use gitback_envelope::{Update, Verified};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};

use super::*;
use crate::cell::Drafting;
use crate::peers::Away;

const STARTED: u64 = 7;
const DIFFERS: u64 = 40;

/// A project with `updates` updates, of which none has an object here, and what an envoy holds of it that has
/// `lacking` of them less.
struct Held {
    _dir: tempfile::TempDir,
    cell: Cell,
    envelopes: Vec<Verified>,
}

fn seal(statement: Statement, key: &SecretKey) -> Verified {
    let signature = key.sign(&statement.signing_bytes().expect("encodes"));
    statement.seal(signature).expect("its own")
}

fn open(dir: &Path, id: ProjectId, envelopes: &[Verified]) -> Cell {
    let (projects, logs) = (dir.join("projects"), dir.join("envelopes"));
    let limits = gitback_pack::Limits::default();
    let cell = Cell::open(id, &projects, &logs, &limits).expect("opens");
    cell.lock()
        .admit(envelopes.to_vec())
        .expect("the disk works");
    cell
}

impl Held {
    fn new(updates: u8) -> Self {
        let founder = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle, &handle), &founder);
        let id = init.statement().project;
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let life = Incarnation::from_bytes(&[1; 16]);
        let mut drafting = Drafting::outside(id, puddle, envoy, life, *init.id());
        let grant = Grant {
            envoy,
            uid: 0,
            expires_ms: None,
        };
        drafting.add(Act::Grant(grant)).expect("encodes");
        let mut before: Vec<EnvelopeId> = Vec::new();
        for number in 1..=updates {
            let change = Change {
                name: RefName::new(b"refs/heads/main").expect("valid"),
                new: Oid::from_bytes(&[number; 20]),
                contained: std::mem::take(&mut before),
                forced: Vec::new(),
            };
            let update = Update {
                changes: vec![change],
                head: None,
                pack: None,
            };
            before = vec![drafting.add(Act::Update(update)).expect("encodes")];
        }
        let mut envelopes = vec![init];
        let statements = drafting.into_statements().into_iter();
        envelopes.extend(statements.map(|statement| seal(statement, &founder)));
        Self::of(id, envelopes)
    }

    fn of(id: ProjectId, envelopes: Vec<Verified>) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        Self {
            cell: open(dir.path(), id, &envelopes),
            _dir: dir,
            envelopes,
        }
    }

    /// The same with the first so many envelopes.
    fn first(&self, envelopes: usize) -> Self {
        Self::of(*self.cell.id(), self.envelopes[..envelopes].to_vec())
    }

    /// What an envoy has told that holds the first so many envelopes.
    fn told(&self, envelopes: usize) -> Holding {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cell = open(dir.path(), *self.cell.id(), &self.envelopes[..envelopes]);
        let state = cell.lock();
        let digest = state.fold().digest();
        Holding {
            digest,
            tips: state.fold().tips(),
            tips_digest: digest,
            differs_since_ms: Some(DIFFERS),
            ..Holding::default()
        }
    }

    fn view(&self, seen: &Seen, holding: Option<&Holding>) -> View {
        judge(seen, holding, &self.cell.lock(), STARTED)
    }
}

fn answering() -> Seen {
    let mut seen = Seen::default();
    seen.last_seen_ms = Some(30);
    seen
}

fn away(refused: bool) -> Seen {
    let mut seen = answering();
    seen.away = Some(Away {
        since_ms: 20,
        reason: "connection refused".to_owned(),
        refused,
        wrong_key: false,
    });
    seen
}

/// Every word but `current` has a reason and an age.
#[track_caller]
fn check(view: &View, word: &str, updates: Option<u64>, why: &str, since_ms: u64) {
    assert_eq!(view.word, word, "{view:?}");
    assert_eq!(view.lacks.updates, updates, "{view:?}");
    let reason = view.reason.as_deref().expect("a reason");
    assert!(reason.contains(why), "{reason}");
    assert_eq!(view.since_ms, Some(since_ms), "{view:?}");
}

#[test]
fn current_is_who_answers_and_shows_the_same() {
    let held = Held::new(2);
    let all = held.told(4);
    let current = View {
        word: "current",
        ..View::default()
    };
    assert_eq!(held.view(&answering(), Some(&all)), current);
    // What it had when it was last heard of is no live copy.
    let view = held.view(&away(false), Some(&all));
    check(&view, "offline", None, "connection refused", 20);
}

#[test]
fn behind_counts_the_pushes_that_are_lacking() {
    let held = Held::new(3);
    let two_less = held.told(3);
    let view = held.view(&answering(), Some(&two_less));
    check(&view, "behind", Some(2), "has not confirmed", DIFFERS);
    assert_eq!(view.lacks.envelopes, Some(2));
    let view = held.view(&away(false), Some(&two_less));
    check(&view, "offline", Some(2), "connection refused", 20);
    let without_grant = held.told(1);
    let view = held.view(&answering(), Some(&without_grant));
    assert_eq!(view.lacks.envelopes, Some(4), "the grant is none of them");
    check(&view, "behind", Some(3), "has not confirmed", DIFFERS);
    // It has changed since it told what it has.
    let unknown = Holding {
        digest: [9; 32],
        ..two_less
    };
    let view = held.view(&answering(), Some(&unknown));
    check(&view, "behind", None, "was not asked yet", DIFFERS);
}

#[test]
fn catching_up_is_who_lacks_objects_or_has_said_what_it_needs() {
    let held = Held::new(2);
    let all = held.told(4);
    let without_objects = Holding {
        digest: all.digest.map(|byte| !byte),
        ..all
    };
    let view = held.view(&answering(), Some(&without_objects));
    check(&view, "catching up", Some(0), "objects", DIFFERS);
    let needing = Holding {
        reason: Some(CATCHING_UP.to_owned()),
        ..held.told(3)
    };
    let view = held.view(&answering(), Some(&needing));
    check(&view, "catching up", Some(1), CATCHING_UP, DIFFERS);
}

#[test]
fn diverged_is_who_has_what_is_not_here() {
    let more = Held::new(9);
    let (held, ahead) = (more.first(4), more.told(11));
    let view = held.view(&answering(), Some(&ahead));
    check(&view, "diverged", Some(0), "not arrived here", DIFFERS);
    let stranger = Tip {
        id: EnvelopeId::from_bytes(&[8; 32]),
        incarnation: Incarnation::from_bytes(&[8; 16]),
        ..ahead.tips[0]
    };
    let mut both = Holding {
        digest: [9; 32],
        tips_digest: [9; 32],
        ..held.told(3)
    };
    both.tips.push(stranger);
    let view = held.view(&answering(), Some(&both));
    check(&view, "diverged", Some(1), "each has", DIFFERS);
    // The same statements under another digest: it follows another line.
    let other = Holding {
        digest: [9; 32],
        tips_digest: [9; 32],
        ..held.told(4)
    };
    let view = held.view(&answering(), Some(&other));
    check(&view, "diverged", Some(0), "follows another line", DIFFERS);
}

#[test]
fn refused_is_who_answered_and_said_no() {
    let held = Held::new(2);
    let full = Holding {
        refused: true,
        reason: Some("8% disk free".to_owned()),
        ..held.told(3)
    };
    let view = held.view(&answering(), Some(&full));
    check(&view, "refused", Some(1), "8% disk free", DIFFERS);
    let purged = Holding {
        refused: true,
        absent: true,
        reason: Some("gave its copy up".to_owned()),
        differs_since_ms: Some(DIFFERS),
        ..Holding::default()
    };
    let view = held.view(&answering(), Some(&purged));
    check(&view, "refused", None, "gave its copy up", DIFFERS);
    let shut_out = Holding {
        differs_since_ms: Some(DIFFERS),
        ..Holding::default()
    };
    let view = held.view(&answering(), Some(&shut_out));
    check(&view, "refused", None, "no part", DIFFERS);
    let view = held.view(&away(true), None);
    check(&view, "refused", None, "connection refused", 20);
}

#[test]
fn never_is_who_has_not_held_it_or_never_answered() {
    let held = Held::new(2);
    let view = held.view(&Seen::default(), None);
    check(&view, "never", None, "no contact yet", STARTED);
    let view = held.view(&answering(), None);
    check(&view, "never", None, "has not said yet", STARTED);
    let absent = Holding {
        absent: true,
        differs_since_ms: Some(DIFFERS),
        ..Holding::default()
    };
    let view = held.view(&answering(), Some(&absent));
    check(&view, "never", None, "has not taken it in yet", DIFFERS);
    let unsent = Holding {
        reason: Some("connection reset".to_owned()),
        differs_since_ms: Some(DIFFERS),
        ..Holding::default()
    };
    let view = held.view(&answering(), Some(&unsent));
    check(&view, "never", None, "connection reset", DIFFERS);
}
