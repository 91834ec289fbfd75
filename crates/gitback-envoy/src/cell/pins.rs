//! The first-seen pins of the founder line, beside the log.
//!
//! A pin says which of two delegations of one hop this envoy follows. Losing one could let another key take the line,
//! so a damaged file is never passed over.
//!
//! Source: docs/spec/log.md, "Beside the log"; docs/spec/fold.md on delegations of one hop.

use std::collections::BTreeMap;
use std::path::Path;

use gitback_envelope::EnvelopeId;
use gitback_identity::hex;

use crate::disk;
use crate::fault::Fault;

/// The file's name beside the log.
const FILE: &str = "pins";

/// First line of the file, up to the number of pins.
const HEADER: &str = "pins 1: ";

/// Reads the pins; a missing file means that there are none.
pub(super) fn read(log_dir: &Path) -> Result<BTreeMap<u64, EnvelopeId>, Fault> {
    let path = log_dir.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => {
            return Err(Fault::File {
                doing: "read",
                path,
                source,
            });
        }
    };
    parse(&text).ok_or(Fault::Pins { path })
}

/// Replaces the file, durably.
pub(super) fn write(log_dir: &Path, pins: &BTreeMap<u64, EnvelopeId>) -> Result<(), Fault> {
    let mut text = format!("{HEADER}{}\n", pins.len());
    for (hop, id) in pins {
        text.push_str(&format!("{hop} {id}\n"));
    }
    let path = log_dir.join(FILE);
    disk::replace(&path, text.as_bytes()).map_err(|source| Fault::File {
        doing: "write",
        path,
        source,
    })
}

fn parse(text: &str) -> Option<BTreeMap<u64, EnvelopeId>> {
    let mut lines = text.strip_prefix(HEADER)?.strip_suffix('\n')?.split('\n');
    let count: usize = lines.next()?.parse().ok()?;
    let mut pins = BTreeMap::new();
    for line in lines {
        let (hop, id) = line.split_once(' ')?;
        let id = EnvelopeId::from_bytes(&hex::decode_exact::<32>(id)?);
        if pins.insert(hop.parse().ok()?, id).is_some() {
            return None;
        }
    }
    (pins.len() == count).then_some(pins)
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Act, Delegate, Incarnation, Statement, Verified};
    use gitback_identity::{EnvoyKey, Handle, PuddleKey, SecretKey, Signature};

    use super::super::{Cell, Drafting};
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn seal(statement: Statement, by: &SecretKey) -> Verified {
        let signature = by.sign(&statement.signing_bytes().expect("encodes"));
        statement.seal(signature).expect("its own")
    }

    /// The founder's `init`, and a delegation to each of `heirs` that knows of nothing else.
    fn delegated(founder: &SecretKey, heirs: &[u8]) -> (Verified, Vec<Verified>) {
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle, &handle), founder);
        let envoy = EnvoyKey::new(key(5).public());
        let delegate = |seed: &u8| {
            let heir = key(*seed);
            let project = init.statement().project;
            let life = Incarnation::from_bytes(&[*seed; 16]);
            let mut drafting = Drafting::outside(project, puddle, envoy, life, *init.id());
            let act = Delegate {
                hop: 1,
                to: PuddleKey::new(heir.public()),
                next: None,
                cut: vec![*init.id()],
                accept: Signature::from_bytes(&[0; 64]),
            };
            drafting.add(Act::Delegate(act)).expect("encodes");
            let mut statement = drafting.into_statements().remove(0);
            let bytes = statement.acceptance_bytes().expect("encodes");
            if let Act::Delegate(act) = &mut statement.act {
                act.accept = heir.sign(&bytes.expect("a delegation"));
            }
            seal(statement, founder)
        };
        let delegations = heirs.iter().map(delegate).collect();
        (init, delegations)
    }

    #[test]
    fn what_is_stored_is_not_reported_as_failed_when_its_pin_cannot_be_kept_yet() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (init, mut delegations) = delegated(&key(3), &[6, 7]);
        let (second, first) = (delegations.remove(1), delegations.remove(0));
        let id = init.statement().project;
        let folder = |name| dir.path().join(name);
        let limits = gitback_pack::Limits::default();
        let open = || Cell::open(id, &folder("projects"), &folder("envelopes"), &limits);
        let cell = open().expect("opens");
        let mut state = cell.lock();
        state.admit(vec![init]).expect("the disk works");
        let path = cell.log_dir().join(FILE);
        std::fs::create_dir(&path).expect("in the way");
        let stored = state.admit(vec![first.clone()]).expect("it is stored");
        assert_eq!(stored.folded, [*first.id()]);
        assert!(state.fold().pins().is_empty());
        // What could take its place is not let in before.
        state.admit(vec![second.clone()]).expect_err("no pins yet");
        assert!(!state.holds(second.id()) && state.fold().get(second.id()).is_none());
        std::fs::remove_dir(&path).expect("out of the way");
        state.admit(vec![second]).expect("the disk works");
        let pins = BTreeMap::from([(1, *first.id())]);
        assert_eq!(*state.fold().pins(), pins);
        assert_eq!(read(cell.log_dir()).expect("whole"), pins);
        drop(state);
        drop(cell);
        let again = open().expect("opens");
        assert_eq!(*again.lock().fold().pins(), pins);
    }

    #[test]
    fn pins_read_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert!(read(dir.path()).expect("no file").is_empty());
        let pins = BTreeMap::from([
            (1, EnvelopeId::from_bytes(&[1; 32])),
            (2, EnvelopeId::from_bytes(&[2; 32])),
        ]);
        for pins in [BTreeMap::new(), pins] {
            write(dir.path(), &pins).expect("the disk works");
            assert_eq!(read(dir.path()).expect("whole"), pins);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_says_how_to_mend_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let id = "ab".repeat(32);
        let whole = format!("{HEADER}2\n1 {id}\n2 {id}\n");
        assert!(parse(&whole).is_some());
        let damaged = [
            String::new(),
            whole.replace("pins 1", "pins 2"),
            whole.replace(": 2", ": 3"),
            whole.replace("2 ab", "1 ab"),
            whole.trim_end().to_owned(),
            format!("{HEADER}1\n1 {id}0\n"),
        ];
        for text in damaged {
            std::fs::write(dir.path().join(FILE), &text).expect("written");
            let fault = read(dir.path()).expect_err("damaged");
            assert!(
                fault.to_string().contains("move it away"),
                "{fault} {text:?}"
            );
        }
    }
}
