//! One transfer of objects: asked for, received into a quarantine, checked.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitback_pack::fetch::{FetchError, PackReader};
use gitback_pack::{Bound, Limits, Quarantine, Reject};
use gitback_peer::CallError;

use super::CatchUpError;
use super::budget::Budget;
use crate::cell::Cell;
use crate::config::over;
use crate::daemon::{Envoy, chain};
use crate::fault::{Fault, pack_fault};
use crate::peers::Neighbour;

/// How often a transfer says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// From whom, and for what.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) envoy: &'a Arc<Envoy>,
    pub(super) cell: &'a Arc<Cell>,
    pub(super) neighbour: &'a Neighbour,
}

/// Why a transfer came to nothing.
pub(super) enum Failed {
    /// It is larger than it may be.
    TooMuch(CatchUpError),
    /// The connection broke, after so many bytes.
    Cut { bytes: u64, error: CatchUpError },
    /// Any other reason.
    Other(CatchUpError),
}

impl From<Failed> for CatchUpError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::TooMuch(error) | Failed::Cut { error, .. } | Failed::Other(error) => error,
        }
    }
}

/// What a transfer reads from.
pub(super) type Incoming<'a> = Counted<'a, PackReader<std::io::PipeReader>>;

impl Route<'_> {
    /// Fetches what `wants` lead to and `haves` do not, at most `most` bytes; it is durable on return. How many objects
    /// came.
    pub(super) fn fetch(
        &self,
        wants: &[gitback_pack::Oid],
        haves: &[gitback_pack::Oid],
        most: u64,
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
    ) -> Result<u32, Failed> {
        let limits = Limits {
            input_bytes: most,
            ..self.envoy.pack_limits()
        };
        let request = gitback_pack::fetch::request(wants, haves);
        let (quarantine, ingested) =
            self.receive(request, budget, progress, |quarantine, pack| {
                quarantine.ingest(pack, &limits)
            })?;
        quarantine
            .check_connected(wants)
            .map_err(|reject| self.refused(reject))?;
        quarantine
            .migrate()
            .map_err(|fault| Failed::Other(self.ours(fault)))?;
        self.envoy.maintenance().note_pack(self.cell.id());
        budget.bring();
        Ok(ingested.objects)
    }

    /// Sends a request and has its answer read into a quarantine.
    pub(super) fn receive<T>(
        &self,
        request: Vec<u8>,
        budget: &mut Budget,
        progress: &mut dyn FnMut(String),
        ingest: impl FnOnce(&mut Quarantine, &mut Incoming<'_>) -> Result<T, Reject>,
    ) -> Result<(Quarantine, T), Failed> {
        let (reader, writer) = std::io::pipe().map_err(|source| {
            Failed::Other(CatchUpError::Ours(Fault::File {
                doing: "open a pipe beside",
                path: self.cell.log_dir().to_owned(),
                source,
            }))
        })?;
        let mut quarantine = self.cell.repo().quarantine();
        let (client, to) = (self.envoy.client().clone(), self.neighbour.address());
        let id = *self.cell.id();
        let call = self
            .envoy
            .handle()
            .spawn(async move { client.upload_pack(&to, &id, request, Sink(writer)).await });
        let name = self.neighbour.name();
        let mut counted = Counted {
            inner: PackReader::new(reader),
            bytes: 0,
            told: Instant::now(),
            tell: &mut |bytes| progress(format!("{} from {name}", mebibytes(bytes))),
        };
        let ingested = ingest(&mut quarantine, &mut counted);
        let bytes = counted.bytes;
        // What still comes has nowhere to go, and the call ends.
        drop(counted);
        budget.spend(bytes);
        let called = self.envoy.handle().block_on(call);
        let ingested = match ingested {
            Err(reject) if is_too_large(&reject) || is_too_many(&reject) => {
                return Err(Failed::TooMuch(self.rejected(reject)));
            }
            ingested => ingested,
        };
        match called {
            // The sink closes when the pack is refused; then the reason is the pack's.
            Ok(Err(CallError::Local { .. })) if ingested.is_err() => {}
            Ok(Err(source)) => return Err(self.cut(source, bytes)),
            Ok(Ok(_)) | Err(_) => {}
        }
        self.neighbour.note_answer();
        let ingested = ingested.map_err(|reject| self.refused(reject))?;
        Ok((quarantine, ingested))
    }

    fn cut(&self, source: CallError, bytes: u64) -> Failed {
        let cut = matches!(
            source,
            CallError::Lost { .. } | CallError::TimedOut { .. } | CallError::Protocol { .. }
        );
        let error = self.uncalled(source);
        if cut && bytes > 0 {
            Failed::Cut { bytes, error }
        } else {
            Failed::Other(error)
        }
    }

    pub(super) fn uncalled(&self, source: CallError) -> CatchUpError {
        CatchUpError::Call {
            peer: self.neighbour.name().to_owned(),
            source,
        }
    }

    /// What the peer is to blame for, and what this envoy's own disk and git are.
    pub(super) fn refused(&self, reject: Reject) -> Failed {
        Failed::Other(self.rejected(reject))
    }

    fn rejected(&self, reject: Reject) -> CatchUpError {
        match reject {
            Reject::Fault(fault) => self.ours(fault),
            reject @ Reject::Room { .. } => {
                CatchUpError::Room(format!("{}: {reject}", self.envoy.name()))
            }
            reject if reject.is_over_limit() && !is_too_large(&reject) => CatchUpError::OverLimit {
                peer: self.neighbour.name().to_owned(),
                what: over(&reject, &self.envoy.pack_limits()),
            },
            Reject::Broken(error) if FetchError::unknown(&error).is_some() => {
                let oid = FetchError::unknown(&error).map(|oid| oid.to_string());
                CatchUpError::Lacks {
                    peer: self.neighbour.name().to_owned(),
                    oid: oid.unwrap_or_default(),
                }
            }
            reject => CatchUpError::Sent {
                peer: self.neighbour.name().to_owned(),
                what: format!("a pack that is refused: {}", chain(&reject)),
            },
        }
    }

    pub(super) fn ours(&self, fault: gitback_pack::Fault) -> CatchUpError {
        CatchUpError::Ours(pack_fault(*self.cell.id(), "store objects in")(fault))
    }
}

/// Whether it is larger than it was to be, which need not be the sender's fault.
fn is_too_large(reject: &Reject) -> bool {
    matches!(
        reject,
        Reject::OverLimit {
            bound: Bound::Input,
            ..
        }
    )
}

/// Whether it has more objects than one pack may, which parts of it need not have.
fn is_too_many(reject: &Reject) -> bool {
    matches!(
        reject,
        Reject::OverLimit {
            bound: Bound::Objects,
            ..
        }
    )
}

/// Counts what is read, and says so from time to time.
pub(super) struct Counted<'a, R> {
    inner: R,
    bytes: u64,
    told: Instant,
    tell: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            (self.tell)(self.bytes);
        }
        Ok(count)
    }
}

pub(super) fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The writing half of a pipe, as what a peer's answer is written to.
struct Sink(std::io::PipeWriter);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
