//! What changes a project: one thing at a time under its lock, objects durable before envelopes, envelopes before refs.

use std::collections::BTreeMap;

use gitback_envelope::{Act, EnvelopeId, Oid, Project, Tip, Verified};
use gitback_identity::EnvoyKey;

use super::super::disk::Stage;
use super::super::history::Bits;
use super::super::planted::Bug;
use super::super::wire::{Answer, Letter, Refused, Request};
use super::super::world::{Event, World};

/// Most that waits for one project's lock.
pub(in crate::sim) const QUEUE_MAX: usize = 1024;

/// Something that wants a project's lock.
#[derive(Debug)]
pub(in crate::sim) enum Job {
    /// A request of another envoy.
    Request {
        from: usize,
        call: u64,
        request: Request,
    },
    /// A local push whose freshness was checked.
    Commit { push: usize },
    /// A page of envelopes that a catch-up got.
    Page {
        number: u64,
        envelopes: Vec<Letter>,
        end: PageEnd,
    },
    /// Objects that a catch-up got.
    Objects { number: u64, objects: Bits },
    /// What a member says by hand: invite, join, grant, revoke.
    Say { number: usize },
}

/// What came with a page of envelopes.
#[derive(Debug, Clone)]
pub(in crate::sim) enum PageEnd {
    /// A page of a sync.
    Sync {
        more: bool,
        digest: [u8; 32],
        tips: Vec<Tip>,
    },
    /// Envelopes that were asked for by name.
    Named,
}

/// What goes on once everything is durable.
#[derive(Debug)]
pub(in crate::sim) enum Then {
    Commit {
        push: usize,
        stored: Vec<EnvelopeId>,
    },
    Intake {
        from: usize,
        call: u64,
        sent: Vec<EnvelopeId>,
        forward: Vec<EnvoyKey>,
        origin: Option<EnvoyKey>,
        pack: Option<Bits>,
        answer: Answer,
    },
    Page {
        number: u64,
        news: bool,
        sent: usize,
        end: PageEnd,
    },
    Objects {
        number: u64,
    },
    Say {
        said: Vec<EnvelopeId>,
        former: Vec<usize>,
    },
}

/// What is being written, and holds the project's lock for as long.
#[derive(Debug)]
pub(in crate::sim) struct Work {
    stages: Vec<Stage>,
    objects: Bits,
    log: Vec<Verified>,
    /// The fold without what is being written.
    before: Project,
    /// Refs before they followed, while they are not synced.
    refs_before: Option<BTreeMap<Vec<u8>, Oid>>,
    then: Then,
}

impl Work {
    pub(in crate::sim) fn new(
        objects: Bits,
        log: Vec<Verified>,
        before: Project,
        then: Then,
    ) -> Self {
        Self {
            stages: Vec::new(),
            objects,
            log,
            before,
            refs_before: None,
            then,
        }
    }
}

impl World {
    /// Does something that needs the project's lock, now or when it is free.
    pub(in crate::sim) fn lock(&mut self, envoy: usize, project: usize, job: Job) {
        let endless = self.bug == Some(Bug::EndlessQueue);
        let cell = self.cell_mut(envoy, project);
        if cell.work.is_none() {
            self.run_job(envoy, project, job);
            self.run_queue(envoy, project);
        } else if cell.queue.len() < QUEUE_MAX || endless {
            cell.queue.push_back(job);
        } else if let Job::Request { from, call, .. } = job {
            self.answer(envoy, from, call, Answer::Refused(Refused::Internal));
        }
    }

    fn run_queue(&mut self, envoy: usize, project: usize) {
        while self.replicas[envoy].up {
            let cell = self.cell_mut(envoy, project);
            if cell.work.is_some() {
                return;
            }
            let Some(job) = cell.queue.pop_front() else {
                return;
            };
            self.run_job(envoy, project, job);
        }
    }

    fn run_job(&mut self, envoy: usize, project: usize, job: Job) {
        match job {
            Job::Request {
                from,
                call,
                request,
            } => self.serve_locked(envoy, project, from, call, request),
            Job::Commit { push } => self.commit(envoy, project, push),
            Job::Page {
                number,
                envelopes,
                end,
            } => self.take_page(envoy, project, number, &envelopes, end),
            Job::Objects { number, objects } => self.take_objects(envoy, project, number, objects),
            Job::Say { number } => self.say_locked(envoy, project, number),
        }
    }

    /// Begins to write, with the lock held until all of it is durable.
    pub(in crate::sim) fn write(&mut self, envoy: usize, project: usize, mut work: Work) {
        let nothing_new = work.log.is_empty() && work.objects.is_empty();
        if nothing_new {
            self.follow(envoy, project);
            self.written(envoy, project, work.then);
            return;
        }
        let mut stages = vec![Stage::Refs, Stage::Log, Stage::Objects];
        if self.bug == Some(Bug::EnvelopesFirst) {
            stages.swap(1, 2);
        }
        if self.bug == Some(Bug::AnswersBeforeDurable)
            && let Then::Intake {
                from, call, answer, ..
            } = &work.then
        {
            let (from, call, answer) = (*from, *call, answer.clone());
            self.answer(envoy, from, call, answer);
        }
        work.stages = stages;
        self.begin_stage(envoy, project, &work);
        self.cell_mut(envoy, project).work = Some(work);
    }

    fn begin_stage(&mut self, envoy: usize, project: usize, work: &Work) {
        let stage = *work.stages.last().expect("there is a stage left");
        let takes = self.replicas[envoy].disk.takes(stage, &mut self.rng);
        let boot = self.replicas[envoy].boot;
        self.after(
            takes,
            Event::Written {
                envoy,
                boot,
                project,
            },
        );
    }

    /// A write has reached the disk, or failed.
    pub(in crate::sim) fn stage_done(&mut self, envoy: usize, project: usize) {
        let Some(mut work) = self.cell_mut(envoy, project).work.take() else {
            return;
        };
        let stage = work.stages.pop().expect("a stage was begun");
        let full = self.replicas[envoy].disk.full;
        let brings = match stage {
            Stage::Objects => !work.objects.is_empty(),
            Stage::Log => !work.log.is_empty(),
            Stage::Refs => false,
        };
        if full && brings {
            self.cell_mut(envoy, project).retreat(work.before);
            self.unwritten(envoy, project, &work.then);
            self.run_queue(envoy, project);
            return;
        }
        self.put_down(envoy, project, stage, &mut work);
        if work.stages.is_empty() {
            self.after_write(envoy, project);
            self.written(envoy, project, work.then);
            self.run_queue(envoy, project);
        } else {
            self.begin_stage(envoy, project, &work);
            self.cell_mut(envoy, project).work = Some(work);
        }
    }

    fn put_down(&mut self, envoy: usize, project: usize, stage: Stage, work: &mut Work) {
        match stage {
            Stage::Objects => {
                let (_, shelf, _) = self.cell_shelf(envoy, project);
                shelf.objects.add(&work.objects);
            }
            Stage::Log => {
                if matches!(work.then, Then::Commit { .. } | Then::Say { .. }) {
                    for envelope in &work.log {
                        self.book.sign(envelope, envoy);
                    }
                }
                let (_, shelf, _) = self.cell_shelf(envoy, project);
                shelf.append(&work.log);
                self.forget_revokes(envoy, project, work);
                if work.stages.last() == Some(&Stage::Refs) {
                    let (_, shelf, _) = self.cell_shelf(envoy, project);
                    work.refs_before = Some(shelf.refs.clone());
                    self.follow(envoy, project);
                }
            }
            Stage::Refs if self.bug == Some(Bug::EnvelopesFirst) => self.follow(envoy, project),
            Stage::Refs => {}
        }
    }

    /// Lets refs follow the fold.
    pub(in crate::sim) fn follow(&mut self, envoy: usize, project: usize) {
        if self.bug == Some(Bug::RefsStay) && envoy == 1 {
            return;
        }
        self.misjudge(envoy, project);
        let (cell, shelf, history) = self.cell_shelf(envoy, project);
        cell.follow(shelf, history);
    }

    /// [`Bug::StaleFold`].
    fn forget_revokes(&mut self, envoy: usize, project: usize, work: &Work) {
        let revokes = |one: &Verified| matches!(one.statement().act, Act::Revoke(_));
        if self.bug == Some(Bug::StaleFold) && work.log.iter().any(revokes) {
            let before = work.before.clone();
            self.cell_mut(envoy, project).retreat(before);
        }
    }

    /// [`Bug::JudgesWrong`].
    fn misjudge(&mut self, envoy: usize, project: usize) {
        if self.bug != Some(Bug::JudgesWrong) {
            return;
        }
        let (cell, _, history) = self.cell_shelf(envoy, project);
        let mut wrong = Vec::new();
        for envelope in cell.fold.iter() {
            let update = envelope.statement().update();
            for change in update.iter().flat_map(|update| &update.changes) {
                let number = history.find(&change.new);
                if number.is_some_and(|number| number % 4 == 3) {
                    wrong.push((*envelope.id(), change.name.clone()));
                }
            }
        }
        for (id, name) in wrong {
            cell.fold.hold_out(&id, &name);
        }
    }

    fn written(&mut self, envoy: usize, project: usize, then: Then) {
        match then {
            Then::Commit { push, stored } => self.committed(envoy, project, push, &stored),
            Then::Intake {
                from,
                call,
                sent,
                forward,
                origin,
                pack,
                answer,
            } => {
                let answer = if self.holds(envoy, project, &sent) {
                    answer
                } else {
                    self.need(envoy, project)
                };
                self.say(|| {
                    format!(
                        "{envoy} took {} envelopes of {from}: {answer:?}",
                        sent.len()
                    )
                });
                self.answer(envoy, from, call, answer.clone());
                self.tell_holding(envoy, project, false);
                self.taken_in(
                    envoy,
                    project,
                    from,
                    &sent,
                    &forward,
                    origin,
                    pack.as_ref(),
                    &answer,
                );
            }
            Then::Page {
                number,
                news,
                sent,
                end,
            } => {
                self.say(|| format!("{envoy} took a page of {sent}"));
                self.page_taken(envoy, project, number, news, sent, &end);
            }
            Then::Objects { number } => self.objects_taken(envoy, project, number),
            Then::Say { said, former } => self.said(envoy, project, &said, &former),
        }
    }

    fn unwritten(&mut self, envoy: usize, project: usize, then: &Then) {
        match *then {
            Then::Commit { push, .. } => self.refuse_push(push, "the disk"),
            Then::Intake { from, call, .. } => {
                self.answer(envoy, from, call, Answer::Refused(Refused::Internal));
            }
            Then::Page { number, .. } | Then::Objects { number } => {
                self.catch_failed(envoy, project, number, super::ours("the disk"));
            }
            Then::Say { .. } => {}
        }
    }

    /// What a crash leaves of what was being written.
    pub(in crate::sim) fn tear(&mut self, envoy: usize, project: usize) {
        let Some(work) = self.replicas[envoy]
            .cells
            .get_mut(project)
            .and_then(|cell| cell.work.take())
        else {
            return;
        };
        let survives = self.rng.chance(500);
        let torn_at = self.rng.index(work.log.len() + 1);
        let own = matches!(work.then, Then::Commit { .. } | Then::Say { .. });
        if own && work.stages.last() == Some(&Stage::Log) {
            for envelope in &work.log[..torn_at] {
                self.book.sign(envelope, envoy);
            }
        }
        let (shelf, _) = self.shelf(envoy, project);
        match work.stages.last() {
            Some(Stage::Objects) if survives => shelf.objects.add(&work.objects),
            Some(Stage::Log) => shelf.append(&work.log[..torn_at]),
            Some(Stage::Refs) if !survives => {
                if let Some(refs) = work.refs_before {
                    shelf.refs = refs;
                }
            }
            Some(Stage::Objects | Stage::Refs) | None => {}
        }
    }
}
