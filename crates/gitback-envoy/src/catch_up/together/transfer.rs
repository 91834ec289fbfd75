//! One pack, from everybody who gives it: asked for, checked block by block, and read in order while it comes.

use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Write};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gitback_pack::{BLOCK_BYTES, Fault, Gathered, Oid, blocks_of};
use gitback_peer::{BlockRange, CallError, RefusalKind};
use tokio::task::AbortHandle;

use super::super::fetch::{Route, mebibytes};
use super::board::{Board, Turn};
use crate::daemon::Envoy;
use crate::peers::Neighbour;

/// The code of the answer for blocks of a pack that is not there any more.
pub(crate) const PACK_GONE: &str = "pack-gone";

/// Requests to one holder at a time: while one is answered, the next is on its way.
const LANES: usize = 2;

/// How often a holder that was too busy, or whose connection broke, is asked again.
const TRIES: usize = 3;

/// How long whoever waits for a block sleeps before it looks again, also at how long others have taken.
const LOOK: Duration = Duration::from_millis(250);

/// So many blocks have to come in such a time; 14 KiB in a second.
const PACE_BLOCKS: usize = 4;
const PACE_OVER: Duration = Duration::from_secs(300);

/// How often a transfer says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Why a holder gives nothing more of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dropped {
    /// What it sent is not what it said it had.
    Lied(String),
    /// It does not have the pack any more.
    Gone,
    /// It cannot be reached, or will not.
    Other,
}

/// What a transfer shares with those who ask for blocks.
pub(super) struct Transfer {
    gathered: Gathered,
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    board: Board,
    holders: Vec<Holder>,
    /// Nobody wants more blocks.
    ended: bool,
    fault: Option<Fault>,
    /// Why there is no room for more.
    full: Option<String>,
    /// So little came that it is not waited for any more.
    stalled: bool,
}

/// One who gives blocks.
struct Holder {
    name: String,
    dropped: Option<Dropped>,
    /// Bytes of blocks that came from it and were right.
    bytes: u64,
    calls: [Option<AbortHandle>; LANES],
}

impl Transfer {
    pub(super) fn new(gathered: Gathered, here: &[bool], names: Vec<String>) -> Arc<Self> {
        let holder = |name| Holder {
            name,
            dropped: None,
            bytes: 0,
            calls: [const { None }; LANES],
        };
        let lanes = LANES.saturating_mul(names.len());
        Arc::new(Self {
            gathered,
            state: Mutex::new(State {
                board: Board::new(here, lanes),
                holders: names.into_iter().map(holder).collect(),
                ended: false,
                fault: None,
                full: None,
                stalled: false,
            }),
            news: Condvar::new(),
        })
    }

    /// Has everybody give blocks while `read` reads the pack in its order.
    pub(super) fn run<T>(
        self: &Arc<Self>,
        route: Route<'_>,
        pack: &Oid,
        holders: &[Arc<Neighbour>],
        read: impl FnOnce() -> T,
    ) -> T {
        std::thread::scope(|scope| {
            for (place, neighbour) in holders.iter().enumerate() {
                let mut asks = false;
                for lane in 0..LANES {
                    let asking = Asking {
                        transfer: self,
                        route,
                        pack,
                        neighbour,
                        place,
                        lane,
                    };
                    // Without a thread for it, the others give what this one would.
                    let thread = std::thread::Builder::new().name("blocks".to_owned());
                    asks |= thread.spawn_scoped(scope, move || asking.ask()).is_ok();
                }
                if !asks {
                    self.drop_holder(place, Dropped::Other);
                }
            }
            let ending = Ending(self);
            let outcome = read();
            drop(ending);
            outcome
        })
    }

    /// Nobody is asked for more.
    fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        for call in state
            .holders
            .iter_mut()
            .flat_map(|holder| &mut holder.calls)
        {
            if let Some(call) = call.take() {
                call.abort();
            }
        }
        drop(state);
        self.news.notify_all();
    }

    /// How many bytes came from holders, and from whom: "9.0 MiB from mars, 7.0 MiB from venus".
    pub(super) fn moved(&self) -> (u64, String) {
        let state = self.lock();
        let mut text = String::new();
        for holder in state.holders.iter().filter(|holder| holder.bytes > 0) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(
                text,
                "{comma}{} from {}",
                mebibytes(holder.bytes),
                holder.name
            );
        }
        (state.holders.iter().map(|holder| holder.bytes).sum(), text)
    }

    /// Why each of the holders gave nothing more, if so.
    pub(super) fn dropped(&self) -> Vec<Option<Dropped>> {
        let state = self.lock();
        let dropped = state.holders.iter().map(|holder| holder.dropped.clone());
        dropped.collect()
    }

    /// Whether every block is here.
    pub(super) fn is_whole(&self) -> bool {
        self.lock().board.is_done()
    }

    /// What of this envoy's own disk failed, if anything did.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.lock().fault.take()
    }

    /// Why there was no room for all of it, if so.
    pub(super) fn take_full(&self) -> Option<String> {
        self.lock().full.take()
    }

    /// Whether so little came that nobody waited for more.
    pub(super) fn has_stalled(&self) -> bool {
        self.lock().stalled
    }

    /// The file with the blocks.
    pub(super) const fn gathered(&self) -> &Gathered {
        &self.gathered
    }

    /// The file with the blocks, once nobody else uses it.
    pub(super) fn into_gathered(self: Arc<Self>) -> Option<Gathered> {
        Arc::into_inner(self).map(|transfer| transfer.gathered)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock();
        state.expect("no thread panics with a transfer")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.news.wait_timeout(state, LOOK);
        waited.expect("no thread panics with a transfer").0
    }

    /// Takes one block of what a holder sends; an error ends its answer.
    fn take(&self, place: usize, index: u64, block: &[u8]) -> std::io::Result<()> {
        if !self.gathered.tree().is_block(index, block) {
            let what = format!("block {index} with other bytes than it had said");
            self.drop_holder(place, Dropped::Lied(what));
            return Err(ErrorKind::InvalidData.into());
        }
        if self.lock().ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        // Two that bring the same block write the same bytes.
        if let Err(fault) = self.gathered.keep(index, block) {
            self.lock().fault.get_or_insert(fault);
            self.news.notify_all();
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut state = self.lock();
        if state.board.came(index)
            && let Some(holder) = state.holders.get_mut(place)
        {
            holder.bytes += block.len() as u64;
        }
        drop(state);
        self.news.notify_all();
        Ok(())
    }

    fn drop_holder(&self, place: usize, why: Dropped) {
        let mut state = self.lock();
        if let Some(holder) = state.holders.get_mut(place) {
            holder.dropped.get_or_insert(why);
        }
        drop(state);
        self.news.notify_all();
    }
}

impl State {
    /// Whether blocks that are lacking may still come.
    fn goes_on(&self) -> bool {
        self.fault.is_none()
            && self.full.is_none()
            && self.holders.iter().any(|holder| holder.dropped.is_none())
    }

    fn is_asked(&self, place: usize) -> bool {
        let holder = self.holders.get(place);
        !self.ended
            && self.fault.is_none()
            && self.full.is_none()
            && holder.is_some_and(|holder| holder.dropped.is_none())
    }
}

/// Ends a transfer, whatever becomes of who reads.
struct Ending<'a>(&'a Transfer);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// One of the requests that are made of one holder at a time.
#[derive(Clone, Copy)]
struct Asking<'a> {
    transfer: &'a Arc<Transfer>,
    route: Route<'a>,
    pack: &'a Oid,
    neighbour: &'a Arc<Neighbour>,
    place: usize,
    lane: usize,
}

impl Asking<'_> {
    /// Asks for blocks until there is nothing to ask for.
    fn ask(&self) {
        let mut failed = 0;
        while let Some(asked) = self.next() {
            if let Err(why) = self.route.envoy.room() {
                self.transfer.lock().full.get_or_insert(why);
                self.transfer.news.notify_all();
                return;
            }
            let outcome = self.call(&asked);
            let mut state = self.transfer.lock();
            state.board.ended(self.place, &asked);
            drop(state);
            self.transfer.news.notify_all();
            let Some(Err(error)) = outcome else {
                failed = 0;
                continue;
            };
            failed += 1;
            if let Some(why) = why_dropped(&error, failed) {
                if why == Dropped::Other {
                    tracing::info!(peer = self.neighbour.name(), project = %self.route.cell.id(), pack = %self.pack, reason = error.reason(), "gives no more blocks");
                }
                self.transfer.drop_holder(self.place, why);
            } else {
                self.pause();
            }
        }
    }

    /// Leaves a holder in peace for a moment, whatever others bring meanwhile.
    fn pause(&self) {
        let until = Instant::now() + LOOK;
        let mut state = self.transfer.lock();
        while !state.ended && Instant::now() < until {
            state = self.transfer.wait(state);
        }
    }

    fn next(&self) -> Option<Range<u64>> {
        let mut state = self.transfer.lock();
        loop {
            if !state.is_asked(self.place) {
                return None;
            }
            match state.board.turn(self.place, Instant::now()) {
                Turn::Ask(asked) => return Some(asked),
                Turn::Wait => state = self.transfer.wait(state),
                Turn::Done => return None,
            }
        }
    }

    /// Makes one request; `None` if it was broken off because nobody wants it any more.
    fn call(&self, asked: &Range<u64>) -> Option<Result<(), CallError>> {
        let envoy: &Arc<Envoy> = self.route.envoy;
        let range = BlockRange {
            pack: self.pack.as_slice().try_into().ok()?,
            first: u32::try_from(asked.start).ok()?,
            count: u32::try_from(asked.end - asked.start).ok()?,
        };
        let sink = Sink {
            transfer: Arc::clone(self.transfer),
            place: self.place,
            next: asked.start,
            end: asked.end,
            block: Vec::new(),
        };
        let (client, to) = (envoy.client().clone(), self.neighbour.address());
        let id = *self.route.cell.id();
        let call = envoy
            .handle()
            .spawn(async move { client.blocks(&to, &id, range, sink).await });
        {
            let mut state = self.transfer.lock();
            let ended = state.ended;
            let slot = state
                .holders
                .get_mut(self.place)
                .and_then(|holder| holder.calls.get_mut(self.lane));
            match slot {
                Some(slot) if !ended => *slot = Some(call.abort_handle()),
                Some(_) | None => call.abort(),
            }
        }
        let outcome = envoy.handle().block_on(call).ok()?;
        match outcome {
            Ok(bytes) if bytes == self.bytes_of(asked) => {
                self.neighbour.note_answer();
                Some(Ok(()))
            }
            Ok(bytes) => {
                let what = format!("{bytes} bytes for {} blocks", asked.end - asked.start);
                self.transfer.drop_holder(self.place, Dropped::Lied(what));
                None
            }
            // Where the blocks go to has refused them: that was said already.
            Err(CallError::Local { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn bytes_of(&self, asked: &Range<u64>) -> u64 {
        let tree = self.transfer.gathered.tree();
        let end = tree.bytes().min(asked.end * BLOCK_BYTES as u64);
        end.saturating_sub(asked.start * BLOCK_BYTES as u64)
    }
}

/// Whether a holder whose call has failed so many times in a row is not to be asked again, and why.
fn why_dropped(error: &CallError, failed: usize) -> Option<Dropped> {
    match error {
        CallError::Refused(refusal) if refusal.code == PACK_GONE => Some(Dropped::Gone),
        CallError::Refused(refusal) if refusal.status == RefusalKind::Busy => {
            (failed >= TRIES).then_some(Dropped::Other)
        }
        CallError::Lost { .. } => (failed >= TRIES).then_some(Dropped::Other),
        // An answer that is none, or is cut off, may be what a dying envoy has sent.
        _ => Some(Dropped::Other),
    }
}

/// Where the blocks of one request go, each as soon as it is whole.
struct Sink {
    transfer: Arc<Transfer>,
    place: usize,
    next: u64,
    end: u64,
    block: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.next == self.end {
            let what = "more bytes than the blocks have that it was asked for".to_owned();
            self.transfer.drop_holder(self.place, Dropped::Lied(what));
            return Err(ErrorKind::InvalidData.into());
        }
        let whole = self.transfer.gathered.tree().block_bytes(self.next);
        let room = whole.saturating_sub(self.block.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.block.extend_from_slice(taken);
        if self.block.len() == whole {
            self.transfer.take(self.place, self.next, &self.block)?;
            self.block.clear();
            self.next += 1;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits, for who reads the pack in its order, and says how far it has come.
pub(super) struct InOrder<'a> {
    transfer: &'a Transfer,
    told: Instant,
    pace: Pace,
    tell: &'a mut dyn FnMut(String),
}

impl<'a> InOrder<'a> {
    pub(super) fn new(transfer: &'a Transfer, tell: &'a mut dyn FnMut(String)) -> Self {
        Self {
            transfer,
            told: Instant::now(),
            pace: Pace::begin(transfer.lock().board.here()),
            tell,
        }
    }

    /// Waits for the byte at this place; the place up to which all others are here as well.
    pub(super) fn wait(&mut self, at: u64) -> std::io::Result<u64> {
        let block = BLOCK_BYTES as u64;
        let bytes = self.transfer.gathered.tree().bytes();
        let mut state = self.transfer.lock();
        let index = at / block;
        loop {
            if self.told.elapsed() >= TELL_EVERY {
                self.told = Instant::now();
                let text = progress(&state, bytes);
                drop(state);
                (self.tell)(text);
                state = self.transfer.lock();
            }
            if state.board.is_here(index) {
                break;
            }
            if !state.goes_on() {
                return Err(Error::other("nobody gives the rest of it"));
            }
            let missing = state.board.missing();
            if self
                .pace
                .is_too_slow(state.board.here(), missing, Instant::now())
            {
                state.stalled = true;
                return Err(Error::other("next to nothing comes"));
            }
            state = self.transfer.wait(state);
        }
        let mut until = index + 1;
        while until < blocks_of(bytes) && state.board.is_here(until) {
            until += 1;
        }
        Ok(bytes.min(until * block))
    }
}

/// How fast blocks come, from all holders together: who gives next to nothing must not keep others from giving it all.
struct Pace {
    since: Instant,
    here: usize,
}

impl Pace {
    fn begin(here: usize) -> Self {
        Self {
            since: Instant::now(),
            here,
        }
    }

    fn is_too_slow(&mut self, here: usize, missing: usize, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) < PACE_OVER {
            return false;
        }
        let came = here.saturating_sub(self.here);
        let asked = PACE_BLOCKS.min(came.saturating_add(missing));
        *self = Self { since: now, here };
        came < asked
    }
}

/// "12.0 of 120.0 MiB from mars, venus".
fn progress(state: &State, bytes: u64) -> String {
    let here = (state.board.here() as u64).saturating_mul(BLOCK_BYTES as u64);
    let giving = state.holders.iter().filter(|one| one.dropped.is_none());
    let names: Vec<&str> = giving.map(|one| one.name.as_str()).collect();
    let (here, all) = (mebibytes(here.min(bytes)), mebibytes(bytes));
    format!("{here} of {all} from {}", names.join(", "))
}

#[cfg(test)]
mod tests;
