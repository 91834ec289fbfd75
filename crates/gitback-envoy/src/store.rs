//! All projects that this envoy holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use gitback_identity::ProjectId;

use crate::cell::Cell;
use crate::fault::Fault;

/// How many folders above the projects' may be new: `gitback`, `swarm` and the state folder itself.
const DEPTH: usize = 3;

/// Most projects that one envoy holds; as many fit into what it tells its peers.
const PROJECTS_MAX: usize = 20_000;

/// The projects by id, opened once and kept open.
#[derive(Debug)]
pub(crate) struct Store {
    repositories: PathBuf,
    envelopes: PathBuf,
    cells: RwLock<BTreeMap<ProjectId, Arc<Cell>>>,
    /// Projects that are on the disk and could not be opened, each with the reason.
    unopened: Mutex<BTreeMap<ProjectId, String>>,
    /// Held while a project is made or thrown away.
    making: Mutex<()>,
}

impl Store {
    /// Opens every project below the two folders. One that cannot be opened is reported and left alone; the others
    /// are served.
    pub(crate) fn open(repositories: &Path, envelopes: &Path) -> Result<Self, Fault> {
        use std::os::unix::fs::DirBuilderExt as _;
        for path in [repositories, envelopes] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .and_then(|()| {
                    let above = path.ancestors().skip(1).take(DEPTH);
                    above.into_iter().try_for_each(crate::disk::sync_dir)
                })
                .map_err(|source| Fault::File {
                    doing: "create",
                    path: path.to_owned(),
                    source,
                })?;
        }
        let store = Self {
            repositories: repositories.to_owned(),
            envelopes: envelopes.to_owned(),
            cells: RwLock::default(),
            unopened: Mutex::default(),
            making: Mutex::default(),
        };
        for id in store.ids_on_disk()? {
            match Cell::open(id, repositories, envelopes) {
                Ok(cell) => drop(store.write().insert(id, Arc::new(cell))),
                Err(error) => {
                    let reason = crate::daemon::chain(&error);
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

    /// Why a project that is on the disk could not be opened, if so.
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
            .filter(|cell| cell.lock().fold().founder().is_some())
    }

    /// The project, made empty when it is not here.
    pub(crate) fn find_or_make(&self, id: &ProjectId) -> Result<Arc<Cell>, Fault> {
        let _making = self
            .making
            .lock()
            .expect("no thread panics while it makes a project");
        if let Some(cell) = self.find(id) {
            return Ok(cell);
        }
        let held = self
            .cells
            .read()
            .expect("no thread panics with the map")
            .len();
        if held >= PROJECTS_MAX {
            return Err(Fault::TooManyProjects);
        }
        let cell = Arc::new(Cell::open(*id, &self.repositories, &self.envelopes)?);
        self.unopened().remove(id);
        self.write().insert(*id, Arc::clone(&cell));
        Ok(cell)
    }

    /// Throws a project away that was made for a request and got no `init`. The caller hands in its own handle.
    pub(crate) fn discard_if_unfounded(&self, cell: Arc<Cell>) {
        let _making = self
            .making
            .lock()
            .expect("no thread panics while it makes a project");
        let id = *cell.id();
        let mut cells = self.write();
        let unused = Arc::strong_count(&cell) == 2;
        let barren =
            cell.lock().fold().is_empty() && cell.repo().refs().is_ok_and(|refs| refs.is_empty());
        if !unused || !barren {
            return;
        }
        cells.remove(&id);
        let folders = [cell.repo().path().to_owned(), cell.log_dir().to_owned()];
        drop(cell);
        for folder in folders {
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
            .filter(|cell| cell.lock().fold().founder().is_some())
            .collect()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ProjectId, Arc<Cell>>> {
        self.cells.write().expect("no thread panics with the map")
    }
}
