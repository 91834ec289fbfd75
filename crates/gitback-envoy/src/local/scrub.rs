//! Everything read that is kept here, and what is damaged repaired from other envoys.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gitback_envelope::EnvelopeId;
use gitback_helper::{Failure, LACKING_NAMED_MAX, Reply, Scrub, ScrubSource};
use gitback_identity::ProjectId;
use gitback_pack::{Oid, Scrubbed, Watch};
use gitback_peer::CallError;

use super::admission::{may_see, visible};
use super::failures::{failed, parse_id, usage};
use crate::catch_up::{CatchUpError, Mended, mend};
use crate::cell::{Cell, without_let_go};
use crate::daemon::{Envoy, chain};
use crate::fault::pack_fault;
use crate::peers::Neighbour;

/// Most projects that one question names.
const NAMED_MAX: usize = 1000;
/// How many envelopes are read from the log while the project's lock is held.
const AT_ONCE: usize = 256;
/// What takes less is not told how far it is.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// How often it is told then.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// After so long without news the last is told again: whoever asked gives up after two minutes without a word.
const SIGN_OF_LIFE: Duration = Duration::from_secs(8);

/// Reads all that is kept of these projects, or of all that the user may see, and repairs what is damaged.
pub(super) fn scrub(
    envoy: &Arc<Envoy>,
    uid: u32,
    projects: &[String],
    progress: &mut dyn FnMut(String),
) -> Result<Reply, Failure> {
    if projects.len() > NAMED_MAX {
        return Err(usage("at most 1000 projects are asked for at once"));
    }
    let ids: BTreeSet<ProjectId> = projects
        .iter()
        .map(|id| parse_id(id))
        .collect::<Result<_, _>>()?;
    let cells: Vec<Arc<Cell>> = match ids.is_empty() {
        true => {
            let all = envoy.store().all().into_iter();
            all.filter(|cell| may_see(envoy, uid, cell)).collect()
        }
        false => ids
            .iter()
            .map(|id| visible(envoy, uid, id))
            .collect::<Result<_, _>>()?,
    };
    let Some(_only_one) = envoy.maintenance().try_scrub() else {
        let what = format!("{} is being read already", envoy.name());
        return Err(failed(what).hint("wait until that has ended, and run it again"));
    };
    let items = attended(progress, |tell| {
        // Pushes and fetches come first, where the system lets this thread give way.
        let _ = rustix::process::setpriority_process(None, 10);
        let read = |cell: &Arc<Cell>| {
            (!envoy.maintenance().stops()).then(|| Reading { envoy, cell, tell }.scrub())
        };
        cells.iter().filter_map(read).collect::<Vec<_>>()
    });
    envoy.changes().note();
    if envoy.maintenance().stops() {
        return Err(failed(format!("{} is stopping", envoy.name())).hint("run it again later"));
    }
    Ok(Reply::Scrubbed { items })
}

/// Does `work` on a thread of its own, and passes on what it tells: not everything, and never nothing for long.
fn attended<T: Send>(
    progress: &mut dyn FnMut(String),
    work: impl FnOnce(&(dyn Fn(String) + Sync)) -> T + Send,
) -> T {
    let (sender, news) = channel();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || work(&|text| drop(sender.send(text))));
        let (mut last, mut told) = ("reading".to_owned(), Instant::now());
        let (mut patience, mut pause) = (FIRST_WORD, FIRST_WORD);
        loop {
            let is_due = match news.recv_timeout(patience) {
                Ok(text) => {
                    last = text;
                    told.elapsed() >= pause
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if is_due {
                progress(last.clone());
                told = Instant::now();
                (patience, pause) = (SIGN_OF_LIFE, TELL_EVERY);
            }
        }
        match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// One project that is being read.
struct Reading<'a> {
    envoy: &'a Arc<Envoy>,
    cell: &'a Arc<Cell>,
    tell: &'a (dyn Fn(String) + Sync),
}

impl Reading<'_> {
    fn scrub(&self) -> Scrub {
        let mut item = self.blank();
        if let Err(reason) = self.read_and_mend(&mut item) {
            item.outcome = "failed".to_owned();
            item.reason = Some(reason);
        }
        self.envoy.maintenance().note_pack(self.cell.id());
        if item.outcome != "sound" {
            let (project, outcome) = (self.cell.id(), &item.outcome);
            let (aside, lacking) = (&item.set_aside, item.lacking);
            tracing::error!(%project, outcome, ?aside, lacking, reason = item.reason, "the repository was damaged");
        }
        item
    }

    /// The error is why it cannot be told how things are.
    fn read_and_mend(&self, item: &mut Scrub) -> Result<(), String> {
        let is_log_sound = self.renew_log(item)?;
        // A ref that is damaged itself is put back before what refs lead to is looked for.
        self.cell.follow(&mut self.cell.lock(), &[]);
        let first = self.read(item)?;
        if first.is_sound() {
            if !is_log_sound {
                item.outcome = "repaired".to_owned();
            }
            return Ok(());
        }
        let denied = self.mend(item, first.lacking)?;
        self.cell.follow(&mut self.cell.lock(), &[]);
        // What came is on the same disk.
        let mut second = self.read(item)?;
        let nobodys: BTreeSet<Oid> = second.lacking.intersection(&denied).copied().collect();
        if self.give_up(&nobodys)? {
            second.lacking.retain(|oid| !nobodys.contains(oid));
            item.lost = nobodys.len() as u64;
        }
        let is_whole = second.is_sound();
        item.outcome = if is_whole { "repaired" } else { "damaged" }.to_owned();
        item.lacking = second.lacking.len() as u64;
        let named = second.lacking.iter().take(LACKING_NAMED_MAX);
        item.lacking_objects = named.map(ToString::to_string).collect();
        if let Some(left) = second.left.first() {
            let path = left.display();
            item.reason = Some(format!(
                "{path} is damaged, and nothing can be made of what can be read of it: it is still in use"
            ));
        } else if second.lacking.is_empty() && !is_whole {
            item.reason = Some("more was damaged while it was repaired".to_owned());
        }
        Ok(())
    }

    /// No longer counts what nobody has and nothing leads to; whether there was such.
    fn give_up(&self, oids: &BTreeSet<Oid>) -> Result<bool, String> {
        if oids.is_empty() {
            return Ok(false);
        }
        let named: BTreeSet<Oid> = {
            let state = self.cell.lock();
            if !state.is_whole() {
                return Ok(false);
            }
            let updates = state.fold().iter();
            let updates = updates.filter_map(|envelope| envelope.statement().update());
            let changes = updates.flat_map(|update| &update.changes);
            let new = changes.map(|change| change.new);
            let new = new.filter(|oid| !oid.is_zero()).collect();
            without_let_go(&state, new)
        };
        let stop = || self.envoy.maintenance().stops();
        let given_up = self.cell.repo().give_up(oids, &named, &stop);
        let given_up = given_up
            .map_err(pack_fault(*self.cell.id(), "write what is lost of"))
            .map_err(|fault| chain(&fault))?;
        self.note_damaged(self.cell.repo().is_known_to_lack());
        Ok(given_up == Some(true))
    }

    /// Reads the envelope log, and stores anew what it does not give back; whether it is sound.
    fn renew_log(&self, item: &mut Scrub) -> Result<bool, String> {
        let ids: Vec<EnvelopeId> = {
            let state = self.cell.lock();
            state.fold().iter().map(|envelope| *envelope.id()).collect()
        };
        if let Ok(log) = File::open(self.cell.log_dir().join("log")) {
            // What the disk has, not what memory has of it.
            let _ = rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed);
        }
        let mut is_sound = true;
        for some in ids.chunks(AT_ONCE) {
            let mut state = self.cell.lock();
            let rotten = state.rotten(some);
            if rotten.is_empty() {
                continue;
            }
            is_sound = false;
            state.store_anew(&rotten).map_err(|fault| chain(&fault))?;
        }
        if !is_sound {
            let log = self.cell.log_dir().join("log");
            item.renewed.push(log.display().to_string());
        }
        Ok(is_sound)
    }

    fn read(&self, item: &mut Scrub) -> Result<Scrubbed, String> {
        let name = self.name();
        let tell = |text: String| (self.tell)(format!("{name}: {text}"));
        let stop = || self.envoy.maintenance().stops();
        let was_seen = AtomicBool::new(false);
        // Before anything is moved: from then on nobody may count on this copy.
        let damage = || {
            was_seen.store(true, Ordering::Relaxed);
            self.note_damaged(true);
        };
        let watch = Watch {
            stop: &stop,
            tell: &tell,
            damage: &damage,
        };
        let scrubbed = self.cell.repo().scrub(&watch);
        let is_in_doubt = match &scrubbed {
            Ok(Some(scrubbed)) => !scrubbed.left.is_empty(),
            Ok(None) | Err(_) => was_seen.load(Ordering::Relaxed),
        };
        self.note_damaged(is_in_doubt || self.cell.repo().is_known_to_lack());
        let scrubbed = scrubbed
            .map_err(pack_fault(*self.cell.id(), "read all of"))
            .map_err(|fault| chain(&fault))?
            .ok_or_else(|| "the daemon is stopping".to_owned())?;
        item.packs = scrubbed.packs;
        item.objects = scrubbed.objects;
        item.saved += scrubbed.saved;
        let shown = |path: &std::path::PathBuf| path.display().to_string();
        item.set_aside.extend(scrubbed.set_aside.iter().map(shown));
        item.renewed.extend(scrubbed.renewed.iter().map(shown));
        Ok(scrubbed)
    }

    /// Asks one holder after the other for what is lacking; what each of them has said it does not have.
    fn mend(&self, item: &mut Scrub, mut lacking: BTreeSet<Oid>) -> Result<BTreeSet<Oid>, String> {
        if lacking.is_empty() {
            return Ok(lacking);
        }
        let mut denied: Option<BTreeSet<Oid>> = None;
        let _only_one = self.cell.wait_catch_up(&mut |_| {});
        let stop = || self.envoy.maintenance().stops();
        for neighbour in self.envoy.partners(self.cell) {
            if stop() {
                return Err("the daemon is stopping".to_owned());
            }
            let name = neighbour.name().to_owned();
            (self.tell)(format!("{}: asking {name} for what is lost", self.name()));
            let before = lacking.clone();
            let Mended {
                lacking: left,
                denied: unknown,
                failed,
            } = mend(self.envoy, self.cell, &neighbour, lacking, &stop, self.tell);
            lacking = left;
            denied = Some(match denied {
                Some(before) => before.intersection(&unknown).copied().collect(),
                None => unknown,
            });
            let objects = before.difference(&lacking).count() as u64;
            if objects > 0 {
                item.sources.push(ScrubSource {
                    name: name.clone(),
                    objects,
                });
            }
            if lacking.is_empty() {
                break;
            }
            item.asked.push(match failed {
                Some(error) => why(&neighbour, &error),
                None => format!("{name} does not have all of it"),
            });
        }
        Ok(denied.unwrap_or_default())
    }

    fn note_damaged(&self, damaged: bool) {
        let mut state = self.cell.lock();
        if state.is_damaged() == damaged {
            return;
        }
        state.set_damaged(damaged);
        drop(state);
        self.envoy.heal().changed(self.cell);
    }

    fn name(&self) -> String {
        let state = self.cell.lock();
        let handle = state.fold().handle().map(ToString::to_string);
        handle.unwrap_or_else(|| self.cell.id().short().to_string())
    }

    fn blank(&self) -> Scrub {
        let state = self.cell.lock();
        let fold = state.fold();
        Scrub {
            project_id: self.cell.id().to_string(),
            handle: fold.handle().map(ToString::to_string),
            founder: fold.founder().map(|key| key.to_string()),
            path: self.cell.repo().path().display().to_string(),
            outcome: "sound".to_owned(),
            packs: 0,
            objects: 0,
            set_aside: Vec::new(),
            renewed: Vec::new(),
            saved: 0,
            sources: Vec::new(),
            lacking: 0,
            lost: 0,
            lacking_objects: Vec::new(),
            asked: Vec::new(),
            reason: None,
        }
    }
}

/// Why a peer could not help.
fn why(neighbour: &Neighbour, error: &CatchUpError) -> String {
    let CatchUpError::Call { source, .. } = error else {
        return chain(error);
    };
    if let CallError::Refused(refusal) = source {
        let name = neighbour.name();
        return format!("{name}: {} ({})", refusal.reason, refusal.code);
    }
    neighbour.note_failure(source);
    neighbour.away_line(None)
}
