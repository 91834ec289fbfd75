//! Which commit contains which, also where one of them has come and is not in the repository yet.

use gitback_envelope::Oid;
use gitback_pack::{Fault, Quarantine, Repository};

use super::{Cell, git};

/// The commits that are here, and those in a quarantine beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Graph<'a> {
    repo: &'a Repository,
    come: Option<&'a Quarantine>,
}

impl Cell {
    pub(crate) fn graph<'a>(&'a self, come: Option<&'a Quarantine>) -> Graph<'a> {
        Graph {
            repo: &self.repo,
            come,
        }
    }
}

impl Graph<'_> {
    /// Whether a ref at `new` takes nothing away of one at `old`; each may be no object at all. What is not here is
    /// contained in nothing.
    pub(crate) fn contains(self, old: Oid, new: Oid) -> Result<bool, Fault> {
        if old.is_zero() || new.is_zero() {
            return Ok(old.is_zero());
        }
        let (old, new) = (git(old), git(new));
        match self.come {
            Some(come) => Ok(come.has(&old)? && come.is_ancestor(&old, &new)?),
            None => Ok(self.repo.has(&old)? && self.repo.is_ancestor(&old, &new)?),
        }
    }
}
