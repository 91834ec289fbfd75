//! Memory for a secret: closed to other processes, and kept out of the swap.
//!
//! Source: docs/spec/puddle.md §7.

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::io::{self, Read};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use gitback_identity::SecretKey;
use region::LockGuard;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use zeroize::Zeroize as _;

/// How much of the stack below its caller [`harden`] locks, in bytes: signing takes a fraction of it.
const STACK: usize = 40 * 1024;
/// The smallest page there is.
const PAGE: usize = 4096;
/// How much of the stack of its callers. With the vault's page that is less than the 64 KiB that any user may lock.
const STACK_ABOVE: usize = 8 * 1024;

/// Set where [`harden`] could not lock the stack.
static STACK_SWAPPABLE: AtomicBool = AtomicBool::new(false);

/// What was achieved against other processes of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// No other process of the user can open this one's memory, and it leaves no core file.
    pub not_dumpable: bool,
    /// A process that traced this one before it was closed, and still does.
    pub tracer: Option<i32>,
}

/// What [`harden`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardened {
    /// Against other processes.
    pub closed: Closed,
    /// The stack on which signatures are made is never swapped out.
    pub stack_locked: bool,
}

/// Closes this process to debuggers of the same user, as far as the system allows. Call it before a secret enters.
pub fn close() -> Closed {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let no_core = rustix::process::setrlimit(Resource::Core, no_core);
    let closed = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    Closed {
        not_dumpable: no_core.is_ok() && closed.is_ok(),
        // Nobody new can come from here on, so whoever is not there now will not be.
        tracer: tracer(),
    }
}

/// [`close`], and locks the stack below and just above the caller into memory, as far as the system allows. Call it
/// where the secret will be used, before the secret enters the process.
///
/// All of the process cannot be locked: a user may lock less than the program's size, and then nothing would be.
#[inline(never)]
pub fn harden() -> Hardened {
    let hardened = Hardened {
        closed: close(),
        stack_locked: lock_stack(),
    };
    STACK_SWAPPABLE.store(!hardened.stack_locked, Ordering::Relaxed);
    hardened
}

/// A secret key on a page of its own, which is locked into memory as far as the system allows, and wiped at the end.
pub struct Vault {
    /// Released before the page is.
    lock: Option<LockGuard>,
    page: Box<Page>,
}

/// A page, so that nothing else lies on it.
#[repr(C, align(4096))]
struct Page {
    /// Where a seed arrives.
    seed: [u8; 32],
    secret: Option<SecretKey>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Vault")
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Locks a secret up. What is left of it on the stack is overwritten.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        let mut vault = Self::empty();
        vault.page.secret = Some(secret);
        wipe_stack();
        vault
    }

    /// Reads the 32 bytes of a seed, straight to where it stays. Give it a reader that keeps nothing.
    ///
    /// # Errors
    ///
    /// That of the reader, also where it ends early.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut vault = Self::empty();
        let page = &mut *vault.page;
        from.read_exact(&mut page.seed)?;
        page.secret = Some(SecretKey::from_seed(&page.seed));
        page.seed.zeroize();
        wipe_stack();
        Ok(vault)
    }

    /// Whether the secret is never swapped out: its page, and the stack of a process that was to be hardened.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_some() && !STACK_SWAPPABLE.load(Ordering::Relaxed)
    }

    /// The secret.
    ///
    /// # Panics
    ///
    /// Never: a vault without one is handed to nobody.
    #[must_use]
    pub fn secret(&self) -> &SecretKey {
        let secret = self.page.secret.as_ref();
        secret.expect("a vault is filled where it is made")
    }

    fn empty() -> Self {
        let page = Box::new(Page {
            seed: [0; 32],
            secret: None,
        });
        let lock = region::lock::<Page>(&raw const *page, size_of::<Page>()).ok();
        Self { lock, page }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // Wiped in place, while the page is still locked; then what signing has left.
        self.page.secret = None;
        self.page.seed.zeroize();
        wipe_stack();
    }
}

/// Uses as much stack as signing may, so that it is there to be locked, and locks it for good; also what the callers
/// use, as far up as there is any stack.
#[inline(never)]
fn lock_stack() -> bool {
    let mut area = [0_u8; STACK];
    black_box(&mut area);
    let Ok(below) = region::lock(area.as_ptr(), STACK) else {
        return false;
    };
    mem::forget(below);
    let end = area.as_ptr().wrapping_add(STACK);
    for offset in (0..STACK_ABOVE).step_by(PAGE) {
        match region::lock(end.wrapping_add(offset), PAGE) {
            Ok(above) => mem::forget(above),
            Err(_) => break,
        }
    }
    true
}

/// Overwrites what those who were called before have left on the stack.
#[inline(never)]
pub(super) fn wipe_stack() {
    let mut area = [0_u8; STACK];
    area.zeroize();
    black_box(&mut area);
}

/// The process that traces this one.
fn tracer() -> Option<i32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// 64 KiB are every user's; where even that is not allowed, it is said.
    fn may_lock() -> bool {
        let limit = rustix::process::getrlimit(Resource::Memlock).current;
        limit.is_none_or(|limit| limit >= 64 * 1024)
    }

    /// Whether `address` is in a mapping that is locked, as the kernel says.
    fn locked(address: usize) -> bool {
        let maps = fs::read_to_string("/proc/self/smaps").expect("our own mappings");
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|word| word.split_once('-'));
            let hex = |text: &str| usize::from_str_radix(text, 16).ok();
            if let Some((from, to)) = range.and_then(|(from, to)| Some((hex(from)?, hex(to)?))) {
                inside = (from..to).contains(&address);
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return flags.split(' ').any(|flag| flag == "lo");
            }
        }
        false
    }

    #[test]
    fn the_secret_is_on_locked_memory_and_nowhere_beside_it() {
        let vault = Vault::read(&mut &[7; 32][..]).expect("a seed");
        let address = (&raw const *vault.secret()).addr();
        assert_eq!(vault.secret().seed(), &[7; 32]);
        assert_eq!(vault.page.seed, [0; 32], "the place of arrival is wiped");
        assert_eq!((&raw const *vault.page).addr() % 4096, 0);
        assert_eq!(locked(address), vault.is_locked());
        assert!(vault.is_locked() || !may_lock());
        drop(vault);
        assert!(!locked(address), "and it is released");
    }

    #[test]
    fn a_seed_that_ends_early_is_none() {
        let error = Vault::read(&mut &[7; 31][..]).expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn hardening_locks_the_stack_of_whoever_signs() {
        std::thread::spawn(|| {
            let hardened = harden();
            assert!(hardened.closed.not_dumpable);
            let here = 0_u8;
            assert_eq!(locked((&raw const here).addr()), hardened.stack_locked);
            assert!(hardened.stack_locked || !may_lock());
        })
        .join()
        .expect("no failure");
    }

    /// Leaves `mark` all over the stack below the caller.
    #[inline(never)]
    fn leave_behind(mark: &[u8]) {
        let mut area = [0_u8; STACK / 2];
        for place in area.chunks_exact_mut(mark.len()) {
            place.copy_from_slice(mark);
        }
        black_box(&mut area);
    }

    /// How often `mark` is on this thread's stack; nothing where a test beside this one has closed the process.
    fn left_behind(mark: &[u8]) -> Option<usize> {
        let here = 0_u8;
        let address = (&raw const here).addr();
        let maps = fs::read_to_string("/proc/self/maps").expect("our own mappings");
        let ranges = maps.lines().filter_map(|line| {
            let (from, to) = line.split(' ').next()?.split_once('-')?;
            let hex = |text| usize::from_str_radix(text, 16).ok();
            Some(hex(from)?..hex(to)?)
        });
        let mut stack = ranges.filter(|range| range.contains(&address));
        let stack = stack.next().expect("we have a stack");
        let memory = fs::File::open("/proc/self/mem").ok()?;
        let mut bytes = vec![0; stack.len()];
        memory
            .read_exact_at(&mut bytes, stack.start as u64)
            .expect("our own stack");
        let found = bytes.windows(mark.len()).filter(|part| *part == mark);
        Some(found.count())
    }

    #[test]
    fn what_is_left_on_the_stack_is_overwritten() {
        // On the heap, and of no other program's making.
        let mark: Vec<u8> = (0..16).map(|place| 0xa5 ^ (place * 11)).collect();
        leave_behind(&mark);
        let Some(before) = left_behind(&mark) else {
            return;
        };
        assert!(before > STACK / 64, "{before}");
        wipe_stack();
        assert_eq!(left_behind(&mark), Some(0));
    }

    #[test]
    fn a_vault_says_nothing() {
        let text = format!("{:?}", Vault::new(SecretKey::from_seed(&[7; 32])));
        assert!(!text.contains("7, 7"), "{text}");
    }
}
