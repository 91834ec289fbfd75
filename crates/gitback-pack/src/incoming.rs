//! Following a pack while it still arrives.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempPath;

/// A pack that is arriving, so that it can be sent on before it is all there.
///
/// One writer, [`Quarantine::ingest_shared`](crate::Quarantine::ingest_shared); any number of
/// [`Follower`]s, started before or after it.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    arrived: Mutex<Arrived>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Arrived {
    /// All that has arrived, until it is in a file.
    memory: Vec<u8>,
    file: Option<Arc<TempPath>>,
    bytes: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole([u8; 32]),
    Broken,
}

/// Reads an [`Incoming`] pack from its beginning, as far as it has come.
#[derive(Debug)]
pub struct Follower {
    incoming: Incoming,
    file: Option<File>,
    read: u64,
}

impl Incoming {
    /// A pack of which nothing has arrived.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader of its own place.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower {
            incoming: self.clone(),
            file: None,
            read: 0,
        }
    }

    /// Waits until something of it has arrived, or it has ended; false if that has not happened after `patience`.
    #[must_use]
    pub fn wait_begun(&self, patience: Duration) -> bool {
        let nothing_yet = |arrived: &mut Arrived| arrived.end.is_none() && arrived.bytes == 0;
        let waited = self
            .shared
            .news
            .wait_timeout_while(self.lock(), patience, nothing_yet);
        let (_arrived, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Ends it for the followers, unless it has ended: nothing more will come.
    pub fn break_off(&self) {
        self.change(|arrived| {
            arrived.end.get_or_insert(End::Broken);
        });
    }

    /// Adds what has arrived, as long as there is no file.
    pub(crate) fn hold(&self, bytes: &[u8]) {
        self.change(|arrived| {
            arrived.memory.extend_from_slice(bytes);
            arrived.bytes = arrived.memory.len().try_into().unwrap_or(u64::MAX);
        });
    }

    /// What is held in memory.
    pub(crate) fn held(&self) -> Vec<u8> {
        self.lock().memory.clone()
    }

    /// From here on everything that has arrived is in this file.
    pub(crate) fn begin(&self, file: Arc<TempPath>) {
        self.change(|arrived| {
            arrived.file = Some(file);
            arrived.memory = Vec::new();
        });
    }

    pub(crate) fn grow(&self, bytes: u64) {
        self.change(|arrived| arrived.bytes = bytes);
    }

    pub(crate) fn complete(&self, blake3: [u8; 32]) {
        self.change(|arrived| {
            arrived.end.get_or_insert(End::Whole(blake3));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Arrived)) {
        change(&mut self.lock());
        self.shared.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        // Every change is one assignment, so that a panic elsewhere has broken nothing.
        self.shared
            .arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Reads what has arrived; 0 once the whole pack was read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] if nothing new has come for `patience`: ask again.
    /// [`ErrorKind::BrokenPipe`] if the rest will never come. Those of the file.
    pub fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        let nothing_new =
            |arrived: &mut Arrived| arrived.end.is_none() && arrived.bytes <= self.read;
        let shared = &self.incoming.shared;
        let arrived = self.incoming.lock();
        let (arrived, _) = shared
            .news
            .wait_timeout_while(arrived, patience, nothing_new)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(End::Broken) = arrived.end {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let left = arrived.bytes.saturating_sub(self.read);
        if left == 0 {
            return match arrived.end {
                Some(_) => Ok(0),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(path) = arrived.file.clone() else {
            let from = usize::try_from(self.read).unwrap_or(usize::MAX);
            let held = arrived.memory.get(from..).unwrap_or_default();
            for (place, byte) in buffer.iter_mut().zip(held.iter().take(room)) {
                *place = *byte;
            }
            self.read += left.min(u64::try_from(room).unwrap_or(0));
            return Ok(room);
        };
        drop(arrived);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = File::open(&*path)?;
                file.seek(SeekFrom::Start(self.read))?;
                none.insert(file)
            }
        };
        let count = file.read(buffer.get_mut(..room).unwrap_or_default())?;
        if count == 0 && room > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.read += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    /// Size in bytes and BLAKE3 hash of the pack, once it has arrived as a whole.
    #[must_use]
    pub fn whole(&self) -> Option<(u64, [u8; 32])> {
        let arrived = self.incoming.lock();
        match arrived.end {
            Some(End::Whole(blake3)) => Some((arrived.bytes, blake3)),
            Some(End::Broken) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn file() -> (File, Arc<TempPath>) {
        let (file, path) = tempfile::NamedTempFile::new().expect("made").into_parts();
        (file, Arc::new(path))
    }

    #[test]
    fn a_follower_reads_what_comes_and_then_the_end() {
        let incoming = Incoming::new();
        let mut follower = incoming.follow();
        let reader = std::thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 2]);
            while let Ok(count @ 1..) = follower.read(&mut buffer, LONG) {
                all.extend_from_slice(&buffer[..count]);
            }
            (all, follower.whole())
        });
        let (mut file, path) = file();
        incoming.begin(path);
        for (at, byte) in b"abcde".iter().enumerate() {
            file.write_all(&[*byte]).expect("written");
            incoming.grow(u64::try_from(at).expect("small") + 1);
        }
        incoming.complete([7; 32]);
        let (all, whole) = reader.join().expect("reads to the end");
        assert_eq!((all.as_slice(), whole), (&b"abcde"[..], Some((5, [7; 32]))));
    }

    #[test]
    fn what_is_held_goes_on_in_a_file() {
        let incoming = Incoming::new();
        let (mut early, mut late) = (incoming.follow(), incoming.follow());
        let mut buffer = [0; 2];
        incoming.hold(b"abc");
        assert_eq!(early.read(&mut buffer, LONG).expect("there"), 2);
        assert_eq!(&buffer, b"ab");
        assert_eq!(incoming.held(), b"abc");
        let (mut file, path) = file();
        file.write_all(b"abcde").expect("written");
        incoming.begin(path);
        incoming.grow(5);
        incoming.complete([7; 32]);
        assert_eq!(early.read(&mut buffer, LONG).expect("there"), 2);
        assert_eq!(&buffer, b"cd");
        assert_eq!(early.read(&mut buffer, LONG).expect("there"), 1);
        assert_eq!(early.read(&mut buffer, LONG).expect("the end"), 0);
        let mut all = [0; 8];
        assert_eq!(late.read(&mut all, LONG).expect("there"), 5);
        assert_eq!(late.whole(), Some((5, [7; 32])));
        assert_eq!(incoming.held(), b"");
    }

    #[test]
    fn who_waits_for_the_first_byte_hears_of_it_or_of_the_end() {
        let incoming = Incoming::new();
        assert!(!incoming.wait_begun(Duration::ZERO));
        let waiting = incoming.clone();
        let waiter = std::thread::spawn(move || waiting.wait_begun(LONG));
        incoming.hold(b"a");
        assert!(waiter.join().expect("no panic"));
        assert!(incoming.wait_begun(Duration::ZERO));
        let broken = Incoming::new();
        broken.break_off();
        assert!(broken.wait_begun(Duration::ZERO));
    }

    #[test]
    fn a_follower_that_comes_late_still_has_the_file() {
        let incoming = Incoming::new();
        let (mut file, path) = file();
        file.write_all(b"abc").expect("written");
        incoming.begin(Arc::clone(&path));
        incoming.grow(3);
        incoming.complete([0; 32]);
        drop(path);
        let mut buffer = [0; 8];
        let mut follower = incoming.follow();
        assert_eq!(follower.read(&mut buffer, LONG).expect("there"), 3);
        assert_eq!(follower.read(&mut buffer, LONG).expect("the end"), 0);
    }

    #[test]
    fn a_follower_learns_that_the_rest_will_not_come() {
        let incoming = Incoming::new();
        let mut follower = incoming.follow();
        let mut buffer = [0; 8];
        let waited = follower.read(&mut buffer, Duration::ZERO);
        assert_eq!(
            waited.expect_err("nothing yet").kind(),
            ErrorKind::WouldBlock
        );
        incoming.break_off();
        incoming.complete([0; 32]);
        let broken = follower.read(&mut buffer, LONG);
        assert_eq!(broken.expect_err("over").kind(), ErrorKind::BrokenPipe);
        assert_eq!(follower.whole(), None);
    }
}
