//! Under which numbers this envoy signs: the incarnation of its chains.

use std::path::Path;

use gitback_envelope::Incarnation;
use gitback_identity::hex;

use super::{Cell, State};
use crate::disk;
use crate::fault::Fault;

impl Cell {
    /// Starts a new incarnation: the numbers of the old one are never used again.
    pub(crate) fn reincarnate(&self, state: &mut State) -> Result<(), Fault> {
        state.incarnation = fresh_incarnation(&self.log_dir)?;
        tracing::warn!(project = %self.id, "a peer showed envelopes of ours that this log lacks; new incarnation");
        Ok(())
    }
}

pub(super) fn incarnation(log_dir: &Path, log_is_new: bool) -> Result<Incarnation, Fault> {
    let path = log_dir.join("incarnation");
    if log_is_new {
        return fresh_incarnation(log_dir);
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => match hex::decode_exact::<16>(text.trim_end()) {
            Some(bytes) => Ok(Incarnation::from_bytes(&bytes)),
            None => fresh_incarnation(log_dir),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh_incarnation(log_dir),
        Err(source) => Err(Fault::File {
            doing: "read",
            path,
            source,
        }),
    }
}

fn fresh_incarnation(log_dir: &Path) -> Result<Incarnation, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Randomness)?;
    let path = log_dir.join("incarnation");
    disk::replace(&path, format!("{}\n", hex::encode(&bytes)).as_bytes()).map_err(|source| {
        Fault::File {
            doing: "write",
            path,
            source,
        }
    })?;
    Ok(Incarnation::from_bytes(&bytes))
}
