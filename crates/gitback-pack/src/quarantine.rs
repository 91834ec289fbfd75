//! Where a pack stays until everything about it is known to be right.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gix::objs::Kind;
use tempfile::TempDir;

use crate::cost::{Spent, of_this_thread};
use crate::objects::{Change, Objects, Opened, stems};
use crate::outgoing::{connected, quarantined};
use crate::quick::Quick;
use crate::written::Written;
use crate::{Fault, Limits, Oid, Reject, Repository};

/// Suffixes of the files of a pack, in the order in which they enter the repository.
/// The index is last: git takes a pack for there only when it sees that.
const ORDER: [&str; 3] = ["pack", "rev", "idx"];

/// Objects that have arrived and are not yet part of the repository.
///
/// [`Quarantine::ingest`] fills it, [`Quarantine::settle`] makes it durable where it is, [`Quarantine::migrate`] moves its
/// packs into the repository; dropped before that, it vanishes with everything in it. A small pack is held in memory; as soon as git has to see what is in it, it is a directory
/// below the repository's objects, which nothing but this value knows of.
#[derive(Debug)]
pub struct Quarantine {
    repository: Repository,
    directory: OnceLock<TempDir>,
    /// The packs in it, as soon as something is looked for in them.
    pub(crate) opened: OnceLock<Opened>,
    /// It has commits whose trees are nowhere.
    pub(crate) bare_commits: bool,
    /// Everything that the objects of its one pack lead to is in the pack.
    pub(crate) contained: bool,
    /// Its one pack, where that was indexed in this process.
    pub(crate) quick: Option<Quick>,
    settled: Option<Settled>,
    /// What its last pack might cost, and what walks from its tips may.
    pub(crate) limits: Limits,
    /// What these walks have taken.
    walked: Spent,
}

/// Packs that are durable, but for their names.
#[derive(Debug)]
enum Settled {
    /// A small one.
    Small(Written, String),
    /// Those with these names in a directory.
    Files(PathBuf, Vec<String>),
    Nothing,
}

/// What entered the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The packs, by path; empty when nothing had to be stored.
    pub packs: Vec<PathBuf>,
}

impl Repository {
    /// Makes an empty quarantine.
    #[must_use]
    pub fn quarantine(&self) -> Quarantine {
        Quarantine {
            repository: self.clone(),
            directory: OnceLock::new(),
            opened: OnceLock::new(),
            bare_commits: false,
            contained: false,
            quick: None,
            settled: None,
            limits: self.limits(),
            walked: Spent::default(),
        }
    }
}

impl Quarantine {
    /// Checks that everything `tips` lead to is here or in the repository. All such walks together may take as much
    /// processor time as the pack, and each as much memory.
    ///
    /// # Errors
    ///
    /// [`Reject::MissingObject`]; [`Reject::OverLimit`]; [`Reject::Fault`] if git cannot tell.
    pub fn check_connected(&self, tips: &[Oid]) -> Result<(), Reject> {
        if let Some(quick) = &self.quick {
            // Whoever hands in many tips one by one has this done as often.
            self.walked.left_of(self.limits.cpu_seconds)?;
            let begun = of_this_thread();
            let connected = quick.is_connected(tips, &self.repository);
            self.walked.add(of_this_thread().saturating_sub(begun));
            if connected.is_some() {
                return Ok(());
            }
        }
        if self.contained && self.brings_all(tips)? {
            return Ok(());
        }
        let command = quarantined(self.repository.path(), self.path()?, "rev-list")?;
        connected(command, tips, &self.limits, &self.walked)
    }

    /// Whether all of these are among its own objects.
    fn brings_all(&self, oids: &[Oid]) -> Result<bool, Fault> {
        let directory = self.path()?.join("pack");
        let objects = Objects::of_packs(&directory)?;
        Ok(oids.iter().all(|oid| objects.has(oid)))
    }

    /// Whether one of these is among its own objects.
    ///
    /// # Errors
    ///
    /// [`Fault`] if they cannot be read.
    pub fn brings_any(&self, oids: &[Oid]) -> Result<bool, Fault> {
        if self.quick.is_some() {
            return Ok(oids.iter().any(|oid| self.quick_kind(oid).is_some()));
        }
        let directory = self.path()?.join("pack");
        let objects = Objects::of_packs(&directory)?;
        Ok(oids.iter().any(|oid| objects.has(oid)))
    }

    /// Those of these that are among its own objects.
    ///
    /// # Errors
    ///
    /// [`Fault`] if they cannot be read.
    pub fn brought(&self, oids: &[Oid]) -> Result<Vec<Oid>, Fault> {
        let own = |is_own: &dyn Fn(&Oid) -> bool| {
            let own = oids.iter().filter(|oid| is_own(oid));
            own.copied().collect()
        };
        if self.quick.is_some() {
            return Ok(own(&|oid| self.quick_kind(oid).is_some()));
        }
        let objects = Objects::of_packs(&self.path()?.join("pack"))?;
        Ok(own(&|oid| objects.has(oid)))
    }

    /// Whether `new` contains `old`, as [`Repository::is_ancestor`].
    ///
    /// # Errors
    ///
    /// [`Fault::NoObject`] if an object is neither here nor in the repository.
    pub fn is_ancestor(&self, old: &Oid, new: &Oid) -> Result<bool, Fault> {
        self.objects()?.is_ancestor(old, new, self.quick.as_ref())
    }

    /// Whether the object is here or in the repository.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the object store cannot be opened.
    pub fn has(&self, oid: &Oid) -> Result<bool, Fault> {
        Ok(self.quick_kind(oid).is_some() || self.objects()?.has(oid))
    }

    /// What kind of object it is; `None` when it is neither here nor in the repository.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the object store cannot be read.
    pub fn kind(&self, oid: &Oid) -> Result<Option<Kind>, Fault> {
        match self.quick_kind(oid) {
            Some(kind) => Ok(Some(kind)),
            None => self.objects()?.kind(oid),
        }
    }

    fn quick_kind(&self, oid: &Oid) -> Option<Kind> {
        self.quick.as_ref()?.kind(oid)
    }

    /// Syncs the files of its packs, which then lack nothing but their names in the repository. Several quarantines of one
    /// repository may do this at the same time.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`]; then it has to be dropped, for a second sync would say nothing of the first. [`Fault::NotWhole`]
    /// after [`Quarantine::ingest_commits`].
    pub fn settle(&mut self) -> Result<(), Fault> {
        if self.settled.is_none() {
            self.settled = Some(self.sync()?);
        }
        Ok(())
    }

    fn sync(&self) -> Result<Settled, Fault> {
        if self.bare_commits {
            return Err(Fault::NotWhole);
        }
        match (&self.quick, self.directory.get()) {
            (Some(quick), _) => {
                let written = quick.write(&self.repository.spool_path())?;
                written.sync()?;
                Ok(Settled::Small(written, quick.stem()))
            }
            (None, Some(directory)) => {
                let from = directory.path().join("pack");
                let come = sync_files(&from)?;
                Ok(Settled::Files(from, come))
            }
            (None, None) => Ok(Settled::Nothing),
        }
    }

    /// Moves the packs into the repository; on return they are durable there.
    ///
    /// Files are synced before they move, unless [`Quarantine::settle`] has done that, directories after. A crash on the
    /// way leaves whole packs, or a pack without index, which git does not look at.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`]; then nothing may be said to be stored. [`Fault::Unsynced`] after a failed sync of
    /// [`Repository::sync_packs`], [`Fault::NotWhole`] after [`Quarantine::ingest_commits`].
    pub fn migrate(self) -> Result<Migrated, Fault> {
        let repository = self.repository.clone();
        let migrated = self.enter()?;
        repository.sync_packs()?;
        Ok(migrated)
    }

    /// The same for several at a time: they are durable once [`Repository::sync_packs`] has returned.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::migrate`].
    pub fn enter(mut self) -> Result<Migrated, Fault> {
        self.repository.check_synced()?;
        self.settle()?;
        let to = self.repository.packs_path();
        let packs = match self.settled.take() {
            Some(Settled::Small(written, stem)) => {
                let pack = to.join(format!("{stem}.pack"));
                let repository = &self.repository;
                repository.change_packs(|| {
                    // One of that name has the same content, unless it is damaged. Who has it open keeps it.
                    written.install(&to, &stem)?;
                    repository.forget_damaged(&stem);
                    Ok(Change::come(vec![stem]))
                })?;
                vec![pack]
            }
            Some(Settled::Files(from, come)) => self.move_files(&from, come, &to)?,
            Some(Settled::Nothing) | None => Vec::new(),
        };
        Ok(Migrated { packs })
    }

    fn move_files(&self, from: &Path, come: Vec<String>, to: &Path) -> Result<Vec<PathBuf>, Fault> {
        let pack = |stem: &String| to.join(format!("{stem}.pack"));
        let packs = come.iter().map(pack).collect();
        self.repository.change_packs(|| {
            for stem in &come {
                // As above.
                for file in files(from, stem) {
                    let target = to.join(file.file_name().unwrap_or_default());
                    fs::rename(&file, &target).map_err(Fault::io("move", &file))?;
                }
                self.repository.forget_damaged(stem);
            }
            Ok(Change::come(come))
        })?;
        Ok(packs)
    }

    /// Its directory, in the form of an object store, made when it is first asked for.
    pub(crate) fn path(&self) -> Result<&Path, Fault> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory.path());
        }
        let made = self.make_directory()?;
        Ok(self.directory.get_or_init(|| made).path())
    }

    /// Keeps a small pack; in the directory as well, if there is one already.
    pub(crate) fn hold(&mut self, quick: Quick) -> Result<(), Fault> {
        if let Some(directory) = self.directory.get() {
            let packs = directory.path().join("pack");
            quick.write(&packs)?.install(&packs, &quick.stem())?;
        }
        self.quick = Some(quick);
        Ok(())
    }

    fn make_directory(&self) -> Result<TempDir, Fault> {
        let objects = self.repository.objects_path();
        let directory = tempfile::Builder::new()
            .prefix("tmp_objdir-gitback-")
            .tempdir_in(&objects)
            .map_err(Fault::io("create a directory in", &objects))?;
        for name in ["pack", "info"] {
            let path = directory.path().join(name);
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(Fault::io("create", &path))?;
        }
        let alternates = directory.path().join("info/alternates");
        // Relative, so that no character of the repository's path needs quoting.
        fs::write(&alternates, b"..\n").map_err(Fault::io("write", &alternates))?;
        if let Some(quick) = &self.quick {
            let packs = directory.path().join("pack");
            quick.write(&packs)?.install(&packs, &quick.stem())?;
        }
        Ok(directory)
    }

    pub(crate) const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The objects that are not looked up in memory.
    fn objects(&self) -> Result<Objects, Fault> {
        match (&self.quick, self.directory.get()) {
            (Some(_), _) | (None, None) => self.repository.objects(),
            (None, Some(directory)) => {
                let (path, opened) = (directory.path(), self.opened(directory.path())?);
                self.repository.quarantined_objects(path, opened)
            }
        }
    }

    fn opened(&self, directory: &Path) -> Result<&Opened, Fault> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = Opened::at(&directory.join("pack"))?;
        Ok(self.opened.get_or_init(|| opened))
    }
}

/// Makes the packs in a directory durable, and nobody's to write. Their names, without suffix.
fn sync_files(directory: &Path) -> Result<Vec<String>, Fault> {
    let stems = stems(directory)?;
    for stem in &stems {
        for file in files(directory, stem) {
            fs::set_permissions(&file, Permissions::from_mode(0o444))
                .map_err(Fault::io("protect", &file))?;
            File::open(&file)
                .and_then(|file| file.sync_all())
                .map_err(Fault::io("sync", &file))?;
        }
    }
    Ok(stems)
}

/// The files of a pack that exist, in the order in which they enter the repository.
fn files(directory: &Path, stem: &str) -> impl Iterator<Item = PathBuf> {
    ORDER
        .iter()
        .map(move |suffix| directory.join(format!("{stem}.{suffix}")))
        .filter(|path| path.exists())
}
