//! All projects that this envoy holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gitback_identity::ProjectId;
use gitback_pack::Limits;

use crate::cell::Cell;
use crate::fault::Fault;
use crate::given_up::{self, GivenUp};
use crate::{daemon::chain, disk};

/// How many folders there are from that of the projects up to the state folder: `projects`, `gitback`, `swarm` and that one.
const DEPTH: usize = 4;

/// What is put behind the name of a repository that is to be deleted. Start-up deletes what is left of such ones.
const GONE: &str = ".gone";

/// Why a project that was opened is not served.
const PANICKED: &str =
    "a fault of the envoy's own while it changed the project; a restart opens it again";

/// Most directories that are no project's which are listed.
const STRAYS_MAX: usize = 1000;

/// How often, and after what time each, it is looked whether an empty project is still in somebody's hands.
const LOOKS_MAX: u32 = 40;
const LOOK: std::time::Duration = std::time::Duration::from_millis(5);

/// Most projects that one envoy holds; as many fit into what it tells its peers.
const PROJECTS_MAX: usize = 20_000;

/// The projects by id, opened once and kept open.
#[derive(Debug)]
pub(crate) struct Store {
    repositories: PathBuf,
    envelopes: PathBuf,
    /// What a walk through a repository may cost.
    limits: Limits,
    cells: RwLock<BTreeMap<ProjectId, Arc<Cell>>>,
    /// Projects that are on the disk and could not be opened, or not be used any more, each with the reason.
    unopened: Mutex<BTreeMap<ProjectId, String>>,
    /// Projects whose copies were given up.
    given_up: Mutex<BTreeMap<ProjectId, GivenUp>>,
    /// Held while a project is made or thrown away.
    making: Mutex<()>,
}

impl Store {
    /// Opens every project below the two folders. One that cannot be opened is reported and left alone; the others
    /// are served.
    pub(crate) fn open(
        repositories: &Path,
        envelopes: &Path,
        limits: Limits,
    ) -> Result<Self, Fault> {
        for path in [repositories, envelopes] {
            // Whoever made them may have been killed before their names were durable.
            let made = disk::make_dirs(path).and_then(|()| {
                let mut new = path.ancestors().take(DEPTH);
                new.try_for_each(disk::sync_above)?;
                disk::sync_dir(path)
            });
            made.map_err(|source| Fault::File {
                doing: "create",
                path: path.to_owned(),
                source,
            })?;
        }
        let store = Self {
            repositories: repositories.to_owned(),
            envelopes: envelopes.to_owned(),
            limits,
            cells: RwLock::default(),
            unopened: Mutex::default(),
            given_up: Mutex::default(),
            making: Mutex::default(),
        };
        store.delete_gone()?;
        for id in store.ids_on_disk()? {
            if let Some(note) = given_up::read(&store.log_dir(&id))? {
                store.notes().insert(id, note);
                if let Some(gone) = store.put_repository_aside(&id)? {
                    delete(&gone);
                }
                continue;
            }
            match Cell::open(id, repositories, envelopes, &limits) {
                Ok(cell) => drop(store.write().insert(id, Arc::new(cell))),
                Err(error) => {
                    let reason = chain(&error);
                    tracing::error!(project = %id, error = %reason, "cannot open a project");
                    store.unopened().insert(id, reason);
                }
            }
        }
        Ok(store)
    }

    /// Every project that has either a log or a repository, by the decoded name of its folder.
    fn ids_on_disk(&self) -> Result<Vec<ProjectId>, Fault> {
        let mut ids = Vec::new();
        for (folder, suffix) in [(&self.repositories, ".git"), (&self.envelopes, "")] {
            let read = |source| Fault::File {
                doing: "read",
                path: folder.clone(),
                source,
            };
            for entry in std::fs::read_dir(folder).map_err(read)? {
                let name = entry.map_err(read)?.file_name();
                let id: Option<ProjectId> = name
                    .to_str()
                    .and_then(|name| name.strip_suffix(suffix))
                    .and_then(|name| name.parse().ok());
                ids.extend(id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Why a project that is on the disk cannot be served, if so.
    pub(crate) fn why_unopened(&self, id: &ProjectId) -> Option<String> {
        self.unopened().get(id).cloned()
    }

    fn unopened(&self) -> std::sync::MutexGuard<'_, BTreeMap<ProjectId, String>> {
        self.unopened
            .lock()
            .expect("no thread panics with the list")
    }

    /// The project, when there is a foothold here.
    pub(crate) fn find(&self, id: &ProjectId) -> Option<Arc<Cell>> {
        self.cells
            .read()
            .expect("no thread panics with the map")
            .get(id)
            .cloned()
    }

    /// The project if its existence is proven here: its `init` folds.
    pub(crate) fn founded(&self, id: &ProjectId) -> Option<Arc<Cell>> {
        self.find(id)
            .filter(|cell| self.is_founded(cell) == Some(true))
    }

    /// Whether its `init` folds; nothing for a project that a thread panicked with, which keeps none of the others from
    /// being served.
    fn is_founded(&self, cell: &Cell) -> Option<bool> {
        if let Some(state) = cell.lock_if_sound() {
            return Some(state.fold().founder().is_some());
        }
        let told = self.unopened().insert(*cell.id(), PANICKED.to_owned());
        if told.is_none() {
            tracing::error!(project = %cell.id(), "not served any more: {PANICKED}");
        }
        None
    }

    /// The project, made empty when it is not here.
    ///
    /// # Errors
    ///
    /// [`Fault::GivenUp`] for one whose copy was given up: only [`Self::bring_back`] has it here again.
    pub(crate) fn find_or_make(&self, id: &ProjectId) -> Result<Arc<Cell>, Fault> {
        if let Some(cell) = self.find(id) {
            return Ok(cell);
        }
        let _making = self.making();
        self.find_or_open(id)
    }

    fn find_or_open(&self, id: &ProjectId) -> Result<Arc<Cell>, Fault> {
        if let Some(cell) = self.find(id) {
            return Ok(cell);
        }
        if self.given_up(id).is_some() {
            let project = id.to_string();
            return Err(Fault::GivenUp { project });
        }
        let held = self
            .cells
            .read()
            .expect("no thread panics with the map")
            .len();
        if held >= PROJECTS_MAX {
            return Err(Fault::TooManyProjects);
        }
        let cell = Arc::new(Cell::open(
            *id,
            &self.repositories,
            &self.envelopes,
            &self.limits,
        )?);
        self.unopened().remove(id);
        self.write().insert(*id, Arc::clone(&cell));
        Ok(cell)
    }

    /// Throws a project away that was made for a request and got no `init`. The caller hands in its own handle.
    ///
    /// Waits for no project's lock: whoever has it uses the project, so that it stays.
    pub(crate) fn discard_if_unfounded(&self, cell: Arc<Cell>) {
        let is_empty = || cell.try_lock().is_some_and(|state| state.fold().is_empty());
        // Refs come only after envelopes, and what was lost is found when a project is opened.
        let has_no_refs = || cell.repo().refs().is_ok_and(|refs| refs.is_empty());
        if !is_empty() || !has_no_refs() || holds_remains(cell.log_dir()) {
            return;
        }
        // Whoever goes through all projects has this one in hand for a moment.
        for _ in 0..LOOKS_MAX {
            if Arc::strong_count(&cell) <= 2 {
                break;
            }
            std::thread::sleep(LOOK);
        }
        let _making = self.making();
        let id = *cell.id();
        let mut cells = self.write();
        let is_held = cells.get(&id).is_some_and(|held| Arc::ptr_eq(held, &cell));
        let unused = is_held && Arc::strong_count(&cell) == 2;
        if !unused || !is_empty() {
            return;
        }
        cells.remove(&id);
        drop(cells);
        let folders = [cell.repo().path().to_owned(), cell.log_dir().to_owned()];
        drop(cell);
        for folder in folders {
            // It was just made, and next to nothing is in it.
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(path = %folder.display(), %error, "cannot remove an empty project");
            }
        }
    }

    /// All projects whose `init` is here, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        let cells: Vec<_> = self
            .cells
            .read()
            .expect("no thread panics with the map")
            .values()
            .cloned()
            .collect();
        cells
            .into_iter()
            .filter(|cell| self.is_founded(cell) == Some(true))
            .collect()
    }

    /// What is noted of a project whose copy was given up.
    pub(crate) fn given_up(&self, id: &ProjectId) -> Option<GivenUp> {
        self.notes().get(id).cloned()
    }

    /// All projects whose copies were given up, by id.
    pub(crate) fn all_given_up(&self) -> Vec<(ProjectId, GivenUp)> {
        let notes = self.notes();
        notes.iter().map(|(id, note)| (*id, note.clone())).collect()
    }

    /// Deletes a copy that the caller has made ready by [`set_leaving`](crate::cell::State::set_leaving), and notes it
    /// first. Killed at any point after the note, start-up goes on; before it, nothing has happened.
    pub(crate) fn give_up(&self, cell: Arc<Cell>, note: GivenUp) -> Result<(), Fault> {
        let making = self.making();
        let id = *cell.id();
        if let Err(fault) = given_up::write(cell.log_dir(), &note) {
            // Perhaps it is there, and then the next start would delete what is kept now.
            if let Err(again) = given_up::remove(cell.log_dir()) {
                tracing::error!(project = %id, error = %chain(&again), "cannot take back that a copy is given up");
            }
            return Err(fault);
        }
        self.write().remove(&id);
        self.notes().insert(id, note);
        drop(cell);
        let gone = self.put_repository_aside(&id)?;
        // A large one takes a while, in which others are made.
        drop(making);
        if let Some(gone) = gone {
            delete(&gone);
        }
        Ok(())
    }

    /// Has a project here again whose copy was given up: its log, and a repository without objects yet.
    pub(crate) fn bring_back(&self, id: &ProjectId) -> Result<Arc<Cell>, Fault> {
        let _making = self.making();
        let Some(note) = self.notes().remove(id) else {
            return self.find_or_open(id);
        };
        let removed = given_up::remove(&self.log_dir(id));
        let opened = removed.and_then(|()| self.find_or_open(id));
        if let Err(fault) = &opened {
            tracing::error!(project = %id, error = %chain(fault), "cannot hold a project again");
            // As it was, so that it can be tried again.
            if given_up::write(&self.log_dir(id), &note).is_ok() {
                self.notes().insert(*id, note);
            }
        }
        opened
    }

    /// Projects of which nothing is known but that there is a repository: their logs were lost.
    pub(crate) fn all_unfounded(&self) -> Vec<Arc<Cell>> {
        let cells: Vec<_> = self
            .cells
            .read()
            .expect("no thread panics with the map")
            .values()
            .cloned()
            .collect();
        cells
            .into_iter()
            .filter(|cell| self.is_founded(cell) == Some(false))
            .collect()
    }

    /// Directories beside the repositories that are no project's.
    pub(crate) fn strays(&self) -> Result<Vec<PathBuf>, Fault> {
        let mut strays = Vec::new();
        for (path, name) in self.directories()? {
            let stem = name.strip_suffix(".git");
            let is_project = stem.is_some_and(|stem| stem.parse::<ProjectId>().is_ok());
            if !is_project && !name.ends_with(GONE) && strays.len() < STRAYS_MAX {
                strays.push(path);
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// Deletes a directory beside the repositories.
    pub(crate) fn delete_stray(&self, path: &Path) -> Result<(), Fault> {
        let making = self.making();
        let gone = self.put_aside(path)?;
        drop(making);
        delete(&gone);
        Ok(())
    }

    fn put_repository_aside(&self, id: &ProjectId) -> Result<Option<PathBuf>, Fault> {
        let path = self.repositories.join(format!("{id}.git"));
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        self.put_aside(&path).map(Some)
    }

    /// Moves a directory out of the way, durably, for it to be deleted then. The caller has [`Self::making`].
    fn put_aside(&self, path: &Path) -> Result<PathBuf, Fault> {
        let mut gone = path.as_os_str().to_owned();
        gone.push(GONE);
        let mut gone = PathBuf::from(gone);
        let mut number = 0;
        while gone.symlink_metadata().is_ok() {
            number += 1;
            gone.set_extension(format!("{number}{GONE}"));
        }
        std::fs::rename(path, &gone)
            .and_then(|()| disk::sync_dir(&self.repositories))
            .map_err(|source| Fault::File {
                doing: "move",
                path: path.to_owned(),
                source,
            })?;
        Ok(gone)
    }

    /// Deletes what an earlier run had moved out of the way.
    fn delete_gone(&self) -> Result<(), Fault> {
        for (path, name) in self.directories()? {
            if name.ends_with(GONE)
                && let Err(error) = std::fs::remove_dir_all(&path)
            {
                tracing::warn!(path = %path.display(), %error, "cannot delete what was given up");
            }
        }
        Ok(())
    }

    /// The directories beside each other in which repositories are, with their names; links are left out.
    fn directories(&self) -> Result<Vec<(PathBuf, String)>, Fault> {
        let read = |source| Fault::File {
            doing: "read",
            path: self.repositories.clone(),
            source,
        };
        let mut directories = Vec::new();
        for entry in std::fs::read_dir(&self.repositories).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().map_err(read)?.is_dir() {
                directories.push((entry.path(), name));
            }
        }
        Ok(directories)
    }

    fn log_dir(&self, id: &ProjectId) -> PathBuf {
        self.envelopes.join(id.to_string())
    }

    /// A project that a thread panicked with keeps nobody from another one.
    fn making(&self) -> std::sync::MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, BTreeMap<ProjectId, GivenUp>> {
        self.given_up
            .lock()
            .expect("no thread panics with the notes")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ProjectId, Arc<Cell>>> {
        self.cells.write().expect("no thread panics with the map")
    }
}

/// Whether a log was here once: of a damaged one what was set aside, or the pins that belong to a lost one. Neither can
/// be had again.
///
/// Source: docs/spec/log.md.
fn holds_remains(log_dir: &Path) -> bool {
    let is_remains = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(b"dropped-") || name == b"pins"
    };
    std::fs::read_dir(log_dir).map_or(true, |mut entries| {
        entries.any(|entry| entry.map_or(true, is_remains))
    })
}

/// Deletes what was put aside. What cannot be deleted now, start-up deletes.
fn delete(gone: &Path) {
    if let Err(error) = std::fs::remove_dir_all(gone) {
        tracing::warn!(path = %gone.display(), %error, "cannot delete all of it yet; the next start goes on");
    }
}

#[cfg(test)]
mod tests;
