//! Every byte of a repository read, and what is damaged set aside.
//!
//! A damaged pack is never deleted. What can be read in it is copied into a new pack, and it goes to the folder
//! `damaged/` as it is; what cannot be read is listed there until it has come from elsewhere. Pushes and fetches go on
//! meanwhile.
//!
//! Source: docs/spec/pack.md §9.

mod aside;
mod check;
mod lacking;
mod salvage;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gix::odb::loose;

use crate::objects::{Change, stems};
use crate::repack::RETIRED;
use crate::repository::sync_directory;
use crate::serving;
use crate::{Fault, Oid, Repository};
use check::Found;
pub(crate) use check::made_index;

/// What a long reading asks and tells.
pub struct Watch<'a> {
    /// Whether to stop; asked often.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Hears how far it is: one line for people.
    pub tell: &'a (dyn Fn(String) + Sync),
    /// Hears that something is damaged, before anything of it is moved; perhaps more than once.
    pub damage: &'a (dyn Fn() + Sync),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What reading everything has shown, and what was done about it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scrubbed {
    /// How many packs were read.
    pub packs: u64,
    /// How many objects were compared with their names, damaged packs not counted.
    pub objects: u64,
    /// Damaged packs and loose objects: where they are now, for a person to delete.
    pub set_aside: Vec<PathBuf>,
    /// Damaged packs that nothing can be saved of by what is known here: they stay where they are.
    pub left: Vec<PathBuf>,
    /// How many objects of damaged packs were copied into new ones.
    pub saved: u64,
    /// Damaged indexes that were made anew, and damaged files that follow from others, which were removed.
    pub renewed: Vec<PathBuf>,
    /// Objects that were lost, or that something here leads to, and that are not here.
    pub lacking: BTreeSet<Oid>,
}

impl Scrubbed {
    /// Whether nothing was damaged, and nothing is lacking.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Self {
            packs: _,
            objects: _,
            set_aside,
            left,
            saved: _,
            renewed,
            lacking,
        } = self;
        set_aside.is_empty() && left.is_empty() && renewed.is_empty() && lacking.is_empty()
    }
}

impl Repository {
    /// Reads everything, compares it with its checksums and names, and sets aside what is damaged. What can be read of
    /// that is durable in a new pack before. `None` when it was told to stop.
    ///
    /// Packs that come meanwhile are not read. Nothing is put together or taken away meanwhile by
    /// [`Repository::repack_small`] and the like.
    ///
    /// # Errors
    ///
    /// [`Fault`]; then nothing that could be read before cannot be read now, and the same call goes on from there.
    pub fn scrub(&self, watch: &Watch<'_>) -> Result<Option<Scrubbed>, Fault> {
        let _only_one = self.upkeep();
        let mut scrubbed = Scrubbed::default();
        // Of what is mapped the system forgets nothing.
        self.close_unused(Duration::ZERO);
        self.renew_derived(&mut scrubbed)?;
        let Some(damaged) = self.read_packs(watch, &mut scrubbed)? else {
            return Ok(None);
        };
        for stem in &damaged {
            (watch.damage)();
            (watch.tell)(format!("saving what can be read of {stem}.pack"));
            if !self.set_pack_aside(stem, watch, &mut scrubbed)? {
                return Ok(None);
            }
        }
        self.read_loose(watch, &mut scrubbed)?;
        (watch.tell)("looking whether everything is there".to_owned());
        let Some(mut lacking) = self.look_for_lacking(watch.stop)? else {
            return Ok(None);
        };
        if !lacking.is_empty() {
            (watch.damage)();
        }
        while !lacking.is_empty() && self.use_strays(&lacking, watch.stop, &mut scrubbed)? {
            let Some(left) = self.look_for_lacking(watch.stop)? else {
                return Ok(None);
            };
            lacking = left;
        }
        scrubbed.lacking = lacking;
        Ok(Some(scrubbed))
    }

    /// Reads all packs that are here now; which ones are damaged. Damaged indexes are made anew.
    fn read_packs(
        &self,
        watch: &Watch<'_>,
        scrubbed: &mut Scrubbed,
    ) -> Result<Option<Vec<String>>, Fault> {
        let directory = self.objects_path().join("pack");
        let stems = self.packs_in_use(&directory)?;
        let mut damaged = Vec::new();
        for (at, stem) in stems.iter().enumerate() {
            if (watch.stop)() {
                return Ok(None);
            }
            (watch.tell)(format!("reading pack {} of {}", at + 1, stems.len()));
            let Some(found) = check::pack(self, &directory, stem, watch.stop)? else {
                return Ok(None);
            };
            scrubbed.packs += 1;
            match found {
                Found::Sound { objects } => scrubbed.objects += objects,
                Found::Index { made, objects } => {
                    (watch.damage)();
                    scrubbed.objects += objects;
                    scrubbed
                        .renewed
                        .push(self.renew_index(&directory, stem, &made)?);
                }
                Found::Damaged => damaged.push(stem.clone()),
            }
        }
        Ok(Some(damaged))
    }

    /// The packs that have an index.
    fn packs_in_use(&self, directory: &Path) -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        // No pack is half-way to its place then.
        self.change_packs(|| {
            found = stems(directory)?;
            Ok(Change::default())
        })?;
        Ok(found)
    }

    /// Packs that have no index and were not put together with others. A crash on the way to their place leaves them, and
    /// a disk that loses an index.
    fn strays(&self, directory: &Path) -> Result<Vec<String>, Fault> {
        let mut strays = Vec::new();
        self.change_packs(|| {
            for name in names(directory)? {
                let stem = name.strip_suffix(".pack");
                let Some(stem) = stem.filter(|stem| stem.starts_with("pack-")) else {
                    continue;
                };
                let index = directory.join(format!("{stem}.idx"));
                let retired = directory.join(format!("{RETIRED}{stem}.idx"));
                if !check::exists(&index)? && !check::exists(&retired)? {
                    strays.push(stem.to_owned());
                }
            }
            Ok(Change::default())
        })?;
        Ok(strays)
    }

    /// Makes indexes for packs without one that have some of what is lacking; whether there were such.
    fn use_strays(
        &self,
        lacking: &BTreeSet<Oid>,
        stop: &dyn Fn() -> bool,
        scrubbed: &mut Scrubbed,
    ) -> Result<bool, Fault> {
        let directory = self.objects_path().join("pack");
        let mut used = false;
        for stem in self.strays(&directory)? {
            let found = check::pack(self, &directory, &stem, stop)?;
            // A damaged one is in nobody's way.
            let Some(Found::Index { made, objects }) = found else {
                continue;
            };
            let rows = crate::index::rows(&made);
            if rows.iter().any(|row| lacking.contains(&row.oid)) {
                let path = self.renew_index(&directory, &stem, &made)?;
                scrubbed.renewed.push(path);
                scrubbed.packs += 1;
                scrubbed.objects += objects;
                used = true;
            }
        }
        Ok(used)
    }

    fn renew_index(&self, directory: &Path, stem: &str, made: &[u8]) -> Result<PathBuf, Fault> {
        let path = directory.join(format!("{stem}.idx"));
        let written = crate::written::Written::new(&self.spool_path())?;
        written.write_index(made)?;
        written.sync()?;
        self.change_packs(|| {
            // They may have been made of the damaged one.
            self.remove_followers()?;
            let moved = written.index.persist(&path);
            moved.map_err(|error| Fault::io("move", &path)(error.error))?;
            Ok(Change::come(vec![stem.to_owned()]))
        })?;
        self.sync_packs()?;
        self.forget_damaged(stem);
        Ok(path)
    }

    /// Removes what follows from packs and is damaged. Without it git is slower, and it is made anew.
    fn renew_derived(&self, scrubbed: &mut Scrubbed) -> Result<(), Fault> {
        let objects = self.objects_path();
        let (packs, info) = (objects.join("pack"), objects.join("info"));
        let mut all = Vec::new();
        let derived = |name: &str| {
            name.starts_with(serving::FILE)
                || (name.starts_with("pack-")
                    && (name.ends_with(".rev") || name.ends_with(".bitmap")))
        };
        for name in names(&packs)?.iter().filter(|name| derived(name)) {
            all.push(packs.join(name));
        }
        all.push(info.join("commit-graph"));
        let mut torn = Vec::new();
        for path in all {
            if check::exists(&path)? && !check::ends_with_its_sum(&path)? {
                torn.push(path);
            }
        }
        if torn.is_empty() {
            return Ok(());
        }
        let of_many = |path: &PathBuf| name(path).starts_with(serving::FILE);
        let all_of_many = torn.iter().any(of_many);
        self.change_packs(|| {
            for path in torn.iter().filter(|path| !of_many(path)) {
                remove(path)?;
            }
            if all_of_many {
                remove_index_over_packs(&packs)?;
            }
            Ok(Change::default())
        })?;
        self.sync_packs()?;
        sync_directory(&info)?;
        scrubbed.renewed.extend(torn);
        Ok(())
    }

    /// Removes what speaks of more than one pack, durably: git believes it, also of what is damaged or gone. The caller
    /// keeps others from opening packs.
    pub(crate) fn remove_followers(&self) -> Result<(), Fault> {
        let objects = self.objects_path();
        let (packs, info) = (objects.join("pack"), objects.join("info"));
        remove_index_over_packs(&packs)?;
        remove(&info.join("commit-graph"))?;
        self.sync_packs()?;
        sync_directory(&info)
    }

    /// Compares each loose object with its name.
    fn read_loose(&self, watch: &Watch<'_>, scrubbed: &mut Scrubbed) -> Result<(), Fault> {
        let objects = self.objects_path();
        let store = loose::Store::at_opts(&objects, gix::hash::Kind::Sha1, Default::default());
        for fan in names(&objects)?.iter().filter(|name| is_hex(name, 2)) {
            for rest in names(&objects.join(fan))?
                .iter()
                .filter(|name| is_hex(name, 38))
            {
                if (watch.stop)() {
                    return Ok(());
                }
                let Ok(oid) = Oid::from_hex(format!("{fan}{rest}").as_bytes()) else {
                    continue;
                };
                let path = objects.join(fan).join(rest);
                if check::loose(&store, &oid, &path)? {
                    scrubbed.objects += 1;
                } else {
                    (watch.damage)();
                    self.set_loose_aside(&path, oid, scrubbed)?;
                }
            }
        }
        Ok(())
    }
}

/// Removes the index over many packs, and what goes with it.
fn remove_index_over_packs(packs: &Path) -> Result<(), Fault> {
    for name in names(packs)?
        .iter()
        .filter(|name| name.starts_with(serving::FILE))
    {
        remove(&packs.join(name))?;
    }
    Ok(())
}

/// The names of what is in a folder; none if there is no such folder.
fn names(directory: &Path) -> Result<Vec<String>, Fault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Fault::io("list", directory)(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Fault::io("list", directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn is_hex(name: &str, length: usize) -> bool {
    name.len() == length && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
