//! Checking what updates claim about the git graph, and remembering how far that has come.

use std::collections::BTreeSet;
use std::path::Path;

use gitback_envelope::{Claim, EnvelopeId, REF_NAME_MAX, RefName};
use gitback_identity::hex;

use super::{Cell, State, git};
use crate::disk;
use crate::fault::{Fault, pack_fault};

/// First line of the file `judged`, up to the number.
const JUDGED_HEADER: &str = "judged records 2: ";

/// What became of the claims of one update.
struct Verdict {
    /// The refs about which it says something false.
    lies: Vec<RefName>,
    /// Whether objects are missing, so that more may be false.
    later: bool,
}

impl Cell {
    /// Checks the claims of updates that were not judged yet. Updates whose objects are not here stay unjudged.
    ///
    /// An update that says it contains a commit which its own history does not reach is held out of the fold: every
    /// envoy sees the same graph and comes to the same verdict.
    pub(crate) fn judge(&self, state: &mut State) -> Result<(), Fault> {
        let (mut later, caught) = (Vec::new(), state.held_out.len());
        for id in std::mem::take(&mut state.unjudged) {
            let verdict = self.judge_one(&state.fold.claims(&id))?;
            for name in verdict.lies {
                state.hold_out(id, name);
            }
            if verdict.later {
                later.push(id);
            }
        }
        state.unjudged = later;
        if state.held_out.len() > caught {
            self.tell_alarms(state);
        }
        if let Err(fault) = self.write_judged(state) {
            // Losing the note costs time only.
            tracing::warn!(project = %self.id, error = %crate::daemon::chain(&fault), "cannot note what was judged");
        }
        Ok(())
    }

    fn judge_one(&self, claims: &[Claim]) -> Result<Verdict, Fault> {
        let fault = pack_fault(self.id, "look into");
        let mut verdict = Verdict {
            lies: Vec::new(),
            later: false,
        };
        for claim in claims {
            let lives = !claim.new.is_zero();
            if lives && !self.repo.has(&git(claim.new)).map_err(&fault)? {
                verdict.later = true;
                continue;
            }
            for old in &claim.contains {
                // What `new` reaches is here whenever `new` is; what is not here, it does not reach.
                let reached = lives
                    && self.repo.has(&git(*old)).map_err(&fault)?
                    && self
                        .repo
                        .is_ancestor(&git(*old), &git(claim.new))
                        .map_err(&fault)?;
                if !reached {
                    verdict.lies.push(claim.name.clone());
                    break;
                }
            }
        }
        Ok(verdict)
    }

    /// Notes how far judging has come, so that the next start need not do it again. Losing the note costs time only.
    pub(super) fn write_judged(&self, state: &mut State) -> Result<(), Fault> {
        let records = state.log.len();
        if records == state.judged_records && state.unjudged.is_empty() {
            return Ok(());
        }
        let mut text = format!("{JUDGED_HEADER}{records}\n");
        for id in &state.unjudged {
            text.push_str(&format!("unjudged {id}\n"));
        }
        for (id, name) in &state.held_out {
            let name = hex::encode(name.as_bytes());
            text.push_str(&format!("held-out {id} {name}\n"));
        }
        state.judged_records = records;
        let path = self.log_dir.join("judged");
        disk::replace(&path, text.as_bytes()).map_err(|source| Fault::File {
            doing: "write",
            path,
            source,
        })
    }
}
/// How far judging had come when the daemon last wrote it down.
#[derive(Default)]
pub(super) struct Judged {
    /// Updates among the first so many records of the log were judged, those listed as unjudged excepted.
    pub(super) records: usize,
    pub(super) unjudged: BTreeSet<EnvelopeId>,
    pub(super) held_out: Vec<(EnvelopeId, RefName)>,
}

/// Reads the note; one that is missing or damaged means that everything is judged again.
pub(super) fn read_judged(log_dir: &Path) -> Judged {
    let text = std::fs::read_to_string(log_dir.join("judged")).unwrap_or_default();
    parse_judged(&text).unwrap_or_default()
}

fn parse_judged(text: &str) -> Option<Judged> {
    let mut lines = text.strip_prefix(JUDGED_HEADER)?.lines();
    let mut judged = Judged {
        records: lines.next()?.parse().ok()?,
        ..Judged::default()
    };
    for line in lines {
        let (verdict, about) = line.split_once(' ')?;
        let (id, name) = about.split_once(' ').unwrap_or((about, ""));
        let id = EnvelopeId::from_bytes(&hex::decode_exact::<32>(id)?);
        match verdict {
            "unjudged" if name.is_empty() => drop(judged.unjudged.insert(id)),
            "held-out" => {
                let name = hex::decode(name, REF_NAME_MAX)?;
                judged.held_out.push((id, RefName::new(&name).ok()?));
            }
            _ => return None,
        }
    }
    Some(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_what_was_judged_reads_back_and_a_damaged_one_is_ignored() {
        let id = "ab".repeat(32);
        let name = hex::encode(b"refs/heads/main");
        let text = format!("{JUDGED_HEADER}7\nunjudged {id}\nheld-out {id} {name}\n");
        let judged = parse_judged(&text).expect("as it is written");
        assert_eq!(
            (judged.records, judged.unjudged.len(), judged.held_out.len()),
            (7, 1, 1)
        );
        for damaged in [
            "",
            "judged records 2: x\n",
            &text.replace("judged records 2", "judged records 1"),
            &text.replace(&name, ""),
            &text.replace("held-out", "hold-out"),
            &text[..40],
        ] {
            assert!(parse_judged(damaged).is_none(), "{damaged:?}");
        }
    }
}
