//! Looking objects up in process.

mod raw;

use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gix::objs::Kind;
use gix::odb::loose;
use gix::odb::pack::data::decode;
use gix::odb::pack::{cache, data, index};
use gix::zlib::Inflate;

use crate::adopt::{is_fan_out, names};
use crate::quick::Quick;
use crate::{Fault, Oid, Reject, headers, walk};
pub(crate) use raw::{Raw, RawEntry};

/// Largest piece of data that is read at once where reading is bounded, in bytes.
pub(crate) const READ_MAX: usize = 8 * 1024 * 1024;
/// Longest chain of tags that point to tags.
const TAGS_MAX: usize = 64;
const SHA1: gix::hash::Kind = gix::hash::Kind::Sha1;

type Packs = Arc<Vec<Arc<Pack>>>;

/// The objects of a repository as they are now; taken for one operation, which sees one state.
pub(crate) struct Objects {
    packs: Packs,
    loose: Vec<PathBuf>,
    /// What needs more than `READ_MAX` bytes at once is not read.
    bounded: bool,
    inflate: RefCell<Inflate>,
}

/// A pack; its index is open, and it itself from the first time that something is read from it.
struct Pack {
    stem: String,
    path: PathBuf,
    index: index::File,
    data: OnceLock<data::File>,
}

impl Pack {
    /// `None` if it is no pack, or has just gone.
    fn open(directory: &Path, stem: &str) -> Result<Option<Arc<Self>>, Fault> {
        let path = directory.join(format!("{stem}.idx"));
        match index::File::at(&path, SHA1) {
            Ok(index) => Ok(Some(Arc::new(Self {
                stem: stem.to_owned(),
                path: directory.join(format!("{stem}.pack")),
                index,
                data: OnceLock::new(),
            }))),
            Err(error) => match system_error(&error).map(std::io::Error::kind) {
                // Too many files, no memory: to go on without its objects would be wrong.
                Some(kind) if kind != ErrorKind::NotFound => {
                    Err(Fault::io("open", path)(kind.into()))
                }
                _ => Ok(None),
            },
        }
    }

    fn data(&self) -> Result<&data::File, gix::Error> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        let data = data::File::at(&self.path, SHA1)?.with_alloc_limit_bytes(Some(READ_MAX));
        Ok(self.data.get_or_init(|| data))
    }

    fn offset(&self, oid: &Oid) -> Option<u64> {
        let at = self.index.lookup(oid)?;
        Some(self.index.pack_offset_at_index(at))
    }

    fn header(&self, offset: u64, inflate: &mut Inflate) -> Result<(Kind, u64), gix::Error> {
        let data = self.data()?;
        let base = |oid: &gix::oid| {
            let at = self.offset(&oid.to_owned());
            let entry = at.map(|offset| data.entry(offset)).transpose()?;
            Ok(entry.map(decode::header::ResolvedBase::InPack))
        };
        let header = data.decode_header(data.entry(offset)?, inflate, &base)?;
        Ok((header.kind, header.object_size))
    }

    fn read(
        &self,
        data: &data::File,
        offset: u64,
        inflate: &mut Inflate,
    ) -> Result<Vec<u8>, gix::Error> {
        let base = |oid: &gix::oid, _: &mut Vec<u8>| {
            let at = self.offset(&oid.to_owned());
            let entry = at.map(|offset| data.entry(offset)).transpose()?;
            Ok(entry.map(decode::entry::ResolvedBase::InPack))
        };
        let mut bytes = Vec::new();
        let entry = data.entry(offset)?;
        data.decode_entry(entry, &mut bytes, inflate, &base, &mut cache::Never)?;
        Ok(bytes)
    }
}

/// The packs of a quarantine.
pub(crate) struct Opened {
    packs: Vec<Arc<Pack>>,
}

impl Opened {
    pub(crate) fn at(directory: &Path) -> Result<Self, Fault> {
        let packs = open_all(directory)?;
        Ok(Self { packs })
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packs = self.packs.iter().map(|pack| pack.stem.as_str());
        f.debug_list().entries(packs).finish()
    }
}

/// What the system said, if this is its failure.
pub(crate) fn system_error(error: &gix::Error) -> Option<&std::io::Error> {
    let mut causes = error.iter_errors();
    causes.find_map(|cause| cause.downcast_ref())
}

/// Keeps the packs of one repository open between operations: opening them costs more the more there are.
///
/// They are looked for anew when there are other ones. This process says so by [`Kept::change`]; what somebody else does
/// shows in the directory's time of change.
#[derive(Debug)]
pub(crate) struct Kept {
    objects: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    packs: Packs,
    /// When the directory of packs was changed last.
    changed: Option<SystemTime>,
    used: Instant,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packs: Vec<&str> = self.packs.iter().map(|pack| pack.stem.as_str()).collect();
        let mut debug = f.debug_struct("Open");
        debug.field("packs", &packs);
        debug.finish_non_exhaustive()
    }
}

/// Which packs came and which went, by name without suffix.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) come: Vec<String>,
    pub(crate) gone: Vec<String>,
}

impl Change {
    pub(crate) const fn come(come: Vec<String>) -> Self {
        let gone = Vec::new();
        Self { come, gone }
    }
}

impl Kept {
    pub(crate) const fn new(objects: PathBuf) -> Self {
        Self {
            objects,
            open: Mutex::new(None),
        }
    }

    /// Closes the packs if nobody has looked for anything for so long; what is being done with them goes on.
    pub(crate) fn close_unused(&self, idle: Duration) {
        let mut open = self.open();
        if open
            .as_ref()
            .is_some_and(|open| open.used.elapsed() >= idle)
        {
            *open = None;
        }
    }

    /// The objects as they are now.
    pub(crate) fn objects(&self, bounded: bool) -> Result<Objects, Fault> {
        Ok(Objects {
            packs: self.packs()?,
            loose: vec![self.objects.clone()],
            bounded,
            inflate: RefCell::default(),
        })
    }

    /// The objects of `quarantine`, whose packs are `opened`, and those here.
    pub(crate) fn with_quarantine(
        &self,
        quarantine: &Path,
        opened: &Opened,
    ) -> Result<Objects, Fault> {
        let mut packs = opened.packs.clone();
        packs.extend(self.packs()?.iter().cloned());
        Ok(Objects {
            packs: Arc::new(packs),
            loose: vec![quarantine.to_owned(), self.objects.clone()],
            bounded: false,
            inflate: RefCell::default(),
        })
    }

    /// Runs `act`, which brings in packs or takes indexes of packs away, while nobody opens one. Whoever has looked before
    /// has all indexes open; packs themselves are opened by name when they are needed.
    pub(crate) fn change(&self, act: impl FnOnce() -> Result<Change, Fault>) -> Result<(), Fault> {
        let mut open = self.open();
        // Forgotten in any case, if it is not known what has become of it.
        let before = open.take().filter(|open| open.changed == self.changed());
        let change = act()?;
        let Some(before) = before else {
            return Ok(());
        };
        let mut packs = Vec::with_capacity(before.packs.len() + change.come.len());
        let directory = self.objects.join("pack");
        for stem in &change.come {
            // If it cannot be opened now, the next operation says why.
            match Pack::open(&directory, stem) {
                Ok(Some(pack)) => packs.push(pack),
                Ok(None) | Err(_) => return Ok(()),
            }
        }
        let replaced = |pack: &&Arc<Pack>| {
            !change.gone.contains(&pack.stem) && !change.come.contains(&pack.stem)
        };
        packs.extend(before.packs.iter().filter(replaced).cloned());
        *open = Some(Open {
            packs: Arc::new(packs),
            changed: self.changed(),
            used: Instant::now(),
        });
        Ok(())
    }

    fn packs(&self) -> Result<Packs, Fault> {
        let mut kept = self.open();
        // Before the look at the packs: what changes meanwhile is seen the next time.
        let changed = self.changed();
        if let Some(open) = kept.as_mut()
            && open.changed == changed
        {
            open.used = Instant::now();
            return Ok(Arc::clone(&open.packs));
        }
        let before = kept.take().map(|open| open.packs).unwrap_or_default();
        let directory = self.objects.join("pack");
        let mut packs = Vec::new();
        for stem in stems(&directory)? {
            match before.iter().find(|pack| pack.stem == stem) {
                Some(pack) => packs.push(Arc::clone(pack)),
                None => packs.extend(Pack::open(&directory, &stem)?),
            }
        }
        let packs = Arc::new(packs);
        *kept = Some(Open {
            packs: Arc::clone(&packs),
            changed,
            used: Instant::now(),
        });
        Ok(packs)
    }

    fn changed(&self) -> Option<SystemTime> {
        let directory = fs::metadata(self.objects.join("pack"));
        directory.and_then(|metadata| metadata.modified()).ok()
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // What is behind it is whole at any time.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of the packs in `directory`, without suffix.
pub(crate) fn stems(directory: &Path) -> Result<Vec<String>, Fault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Fault::io("list", directory)(source)),
    };
    let mut stems = Vec::new();
    for entry in entries {
        let name = entry.map_err(Fault::io("list", directory))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".idx"));
        stems.extend(
            stem.filter(|stem| stem.starts_with("pack-"))
                .map(str::to_owned),
        );
    }
    stems.sort();
    Ok(stems)
}

fn open_all(directory: &Path) -> Result<Vec<Arc<Pack>>, Fault> {
    let mut packs = Vec::new();
    for stem in stems(directory)? {
        packs.extend(Pack::open(directory, &stem)?);
    }
    Ok(packs)
}

impl Objects {
    /// What is in the packs of a directory, and nothing else.
    pub(crate) fn of_packs(directory: &Path) -> Result<Self, Fault> {
        Ok(Self {
            packs: Arc::new(open_all(directory)?),
            loose: Vec::new(),
            bounded: false,
            inflate: RefCell::default(),
        })
    }

    /// What the packs come to, from the headers of their entries.
    pub(crate) fn look_at_headers(&self) -> Result<headers::Extent, Reject> {
        let mut extents = self
            .packs
            .iter()
            .map(|pack| headers::look(&pack.path, &pack.index));
        extents.try_fold(headers::Extent::default(), |all, one| Ok(all.and(one?)))
    }

    /// The packs, by name without suffix, and how many objects each has.
    pub(crate) fn sizes(&self) -> Vec<(String, u64)> {
        let size = |pack: &Arc<Pack>| (pack.stem.clone(), pack.index.num_objects().into());
        self.packs.iter().map(size).collect()
    }

    /// Whether there are none, as a look at the names of files tells.
    pub(crate) fn is_empty(&self) -> Result<bool, Fault> {
        if !self.packs.is_empty() {
            return Ok(false);
        }
        for path in &self.loose {
            for name in names(path)? {
                if is_fan_out(&name) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(crate) fn has(&self, oid: &Oid) -> bool {
        self.packs
            .iter()
            .any(|pack| pack.index.lookup(oid).is_some())
            || self.loose().any(|loose| loose.contains(oid))
    }

    pub(crate) fn kind(&self, oid: &Oid) -> Result<Option<Kind>, Fault> {
        Ok(self.try_header(oid)?.map(|(kind, _)| kind))
    }

    /// Kind and size in bytes; `None` when it is not here or cannot be read.
    pub(crate) fn header(&self, oid: &Oid) -> Option<(Kind, u64)> {
        self.try_header(oid).ok()?
    }

    fn try_header(&self, oid: &Oid) -> Result<Option<(Kind, u64)>, Fault> {
        let packed = |pack: &Pack, offset| pack.header(offset, &mut self.inflate.borrow_mut());
        let loose = |loose: &loose::Store| {
            let header = loose.try_header(oid)?;
            Ok(header.map(|(size, kind)| (kind, size)))
        };
        self.first(oid, packed, loose)
    }

    /// The bytes of an object if it is of this kind and not larger than `limit`.
    pub(crate) fn read_within(&self, oid: &Oid, kind: Kind, limit: u64) -> Option<Vec<u8>> {
        let (found, size) = self.header(oid)?;
        if found != kind || size > limit {
            return None;
        }
        self.read(oid).ok()
    }

    /// What `oid` is in the end, tags followed.
    pub(crate) fn peel(&self, oid: &Oid) -> Result<(Oid, Kind), Fault> {
        let mut at = *oid;
        for _ in 0..TAGS_MAX {
            let kind = self.kind(&at)?.ok_or(Fault::NoObject { oid: at })?;
            if kind != Kind::Tag {
                return Ok((at, kind));
            }
            let tag = self.read(&at)?;
            at = walk::tag_target(&tag).ok_or(Fault::NoObject { oid: at })?;
        }
        Err(Fault::NoObject { oid: at })
    }

    /// The bytes of an object.
    pub(crate) fn read(&self, oid: &Oid) -> Result<Vec<u8>, Fault> {
        let packed = |pack: &Pack, offset| {
            let inflate = &mut self.inflate.borrow_mut();
            let read = pack
                .data()
                .and_then(|data| pack.read(data, offset, inflate));
            match read {
                // It, or what it builds on, may be too large for that.
                Err(_) if !self.bounded => {
                    pack.read(&data::File::at(&pack.path, SHA1)?, offset, inflate)
                }
                read => read,
            }
        };
        let loose = |loose: &loose::Store| {
            let mut bytes = Vec::new();
            let found = loose.try_find(oid, &mut bytes)?.is_some();
            Ok(found.then_some(bytes))
        };
        let found = self.first(oid, packed, loose)?;
        found.ok_or(Fault::NoObject { oid: *oid })
    }

    /// The first copy that can be had. What cannot be read in one place may be sound in another.
    fn first<T>(
        &self,
        oid: &Oid,
        packed: impl Fn(&Pack, u64) -> Result<T, gix::Error>,
        loose: impl Fn(&loose::Store) -> Result<Option<T>, gix::Error>,
    ) -> Result<Option<T>, Fault> {
        let mut failure = None;
        for pack in self.packs.iter() {
            let found = pack.offset(oid).map(|offset| packed(pack, offset));
            match found {
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(source)) => failure = Some(source),
                None => {}
            }
        }
        for store in self.loose() {
            match loose(&store) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(source) => failure = Some(source),
            }
        }
        match failure {
            Some(source) => Err(Fault::ReadObject { oid: *oid, source }),
            None => Ok(None),
        }
    }

    fn loose(&self) -> impl Iterator<Item = loose::Store> {
        self.loose.iter().map(|path| {
            let options = loose::Options {
                alloc_limit_bytes: self.bounded.then_some(READ_MAX),
                ..loose::Options::default()
            };
            loose::Store::at_opts(path, SHA1, options)
        })
    }

    /// Whether `new` contains `old`, with the objects of `beside` as if they were here. Tags stand for what they point to;
    /// anything but a commit contains only itself.
    pub(crate) fn is_ancestor(
        &self,
        old: &Oid,
        new: &Oid,
        beside: Option<&Quick>,
    ) -> Result<bool, Fault> {
        if old == new {
            return Ok(true);
        }
        let peel = |oid: &Oid| match beside.and_then(|quick| quick.kind(oid)) {
            // There are no tags among them.
            Some(kind) => Ok((*oid, kind)),
            None => self.peel(oid),
        };
        let (old, old_kind) = peel(old)?;
        let (new, new_kind) = peel(new)?;
        if old_kind != Kind::Commit || new_kind != Kind::Commit {
            return Ok(old == new);
        }
        let read = |oid: &Oid| match beside.and_then(|quick| quick.commit(oid)) {
            Some(commit) => Ok(commit),
            None => Ok(walk::Commit::parse(&self.read(oid)?)),
        };
        walk::is_ancestor(old, new, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repack::tests::{bring, repository};

    #[test]
    fn a_pack_that_comes_is_added_to_those_that_are_open() {
        let home = tempfile::tempdir().expect("a directory");
        let (repository, _) = repository(home.path(), 3);
        let kept = repository.kept_objects();
        let before = kept.packs().expect("no fault");
        assert_eq!(before.len(), 3);
        let blob = bring(&repository, 77);
        let open = kept.open();
        let added = open.as_ref().expect("they stay open");
        assert_eq!(added.changed, kept.changed());
        assert_eq!(added.packs.len(), 4);
        for pack in before.iter() {
            assert!(added.packs.iter().any(|other| Arc::ptr_eq(pack, other)));
        }
        drop(open);
        assert!(repository.has(&blob).expect("no fault"));
        // The same again.
        bring(&repository, 77);
        assert_eq!(kept.packs().expect("no fault").len(), 4);
    }

    #[test]
    fn what_is_damaged_in_one_place_is_read_in_another() {
        let home = tempfile::tempdir().expect("a directory");
        let (repository, blobs) = repository(home.path(), 2);
        let directory = repository.objects_path().join("pack");
        // A second copy of the first pack, under another name.
        let stem = stems(&directory).expect("no fault").remove(0);
        for suffix in ["pack", "idx"] {
            let from = directory.join(format!("{stem}.{suffix}"));
            fs::copy(from, directory.join(format!("pack-0.{suffix}"))).expect("room");
        }
        let damaged = directory.join("pack-0.pack");
        fs::remove_file(&damaged).expect("ours");
        fs::write(&damaged, "PACK").expect("ours");
        let objects = repository.objects().expect("no fault");
        for blob in &blobs {
            assert_eq!(objects.read(blob).expect("there").len(), 100);
            assert_eq!(objects.kind(blob).expect("there"), Some(Kind::Blob));
        }
        // What is no index is none.
        fs::write(directory.join("pack-1.idx"), "nothing").expect("ours");
        assert!(repository.has(&blobs[0]).expect("no fault"));
    }
}
