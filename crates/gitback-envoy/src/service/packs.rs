//! Giving packs in blocks to other envoys.
//!
//! Source: docs/spec/peer.md §5.14 and §5.15; docs/spec/pack.md §11.

use std::io::Write;

use gitback_identity::ProjectId;
use gitback_pack::{Given, Oid};
use gitback_peer::{BlockRange, Caller, Refusal, RefusalKind};

use super::{Surface, refusal};
use crate::catch_up::{PACK_GONE, signed_manifest};
use crate::daemon::chain;

impl Surface {
    /// Says to a partner which packs of a project are given.
    pub(super) fn answer_packs(
        &self,
        caller: &Caller,
        project: &ProjectId,
    ) -> Result<Vec<u8>, Refusal> {
        let cell = self.shared(project, &caller.key)?;
        let offers = cell.repo().offers().map_err(|fault| {
            tracing::warn!(%project, error = %chain(&fault), "cannot say which packs are given");
            self.unreadable()
        })?;
        let offers = offers.ok_or_else(|| self.reading())?;
        signed_manifest(&self.0, project, offers).map_err(|error| {
            tracing::warn!(%project, error = %chain(&error), "cannot say which packs are given");
            self.unreadable()
        })
    }

    /// Gives a partner blocks of a pack.
    pub(super) fn answer_blocks(
        &self,
        caller: &Caller,
        project: &ProjectId,
        range: BlockRange,
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        let cell = self.shared(project, &caller.key)?;
        let name = Oid::from_bytes_or_panic(&range.pack);
        let first = u64::from(range.first);
        let blocks = first..first + u64::from(range.count);
        match cell.repo().give_blocks(&name, blocks, output) {
            Ok(Given::All) => Ok(()),
            Ok(Given::Later) => Err(self.reading()),
            Ok(Given::Gone) => {
                let reason = format!(
                    "{} does not have these blocks of pack {name}",
                    self.0.name()
                );
                Err(refusal(RefusalKind::NotFound, PACK_GONE, reason))
            }
            Err(fault) => {
                tracing::warn!(%project, error = %chain(&fault), "cannot give blocks of a pack");
                Err(self.unreadable())
            }
        }
    }

    fn reading(&self) -> Refusal {
        let reason = format!("{} is reading packs for others", self.0.name());
        refusal(RefusalKind::Busy, "busy", reason)
    }

    fn unreadable(&self) -> Refusal {
        let reason = format!("{} could not read it", self.0.name());
        refusal(RefusalKind::Internal, "fault", reason)
    }
}
