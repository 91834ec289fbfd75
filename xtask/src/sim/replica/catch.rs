//! Catching a project up from one peer: envelopes first, then the objects that heads name.

use gitback_envelope::{EnvelopeId, Oid, Tip, Verified};
use gitback_gossip::reconcile::{Ids, Initiator, ReconcileReject, Step};
use gitback_gossip::{Failure, Input, News, Question};

use super::super::disk::Foothold;
use super::super::history::Bits;
use super::super::planted::Bug;
use super::super::wire::{Answer, Letter, Request};
use super::super::world::World;
use super::work::{Job, PageEnd, Then, Work};
use super::{Purpose, ours, refused};

/// Most pages of one catch-up.
const PAGES_MAX: usize = 64;

/// Most rounds of fetching in one catch-up.
const ROUNDS_MAX: usize = 8;

/// Most rounds of reconciling in one catch-up.
const FRAMES_MAX: usize = 32;

/// What a push has to bring in before it counts as fresh at a partner.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Newer {
    pub(in crate::sim) push: usize,
    pub(in crate::sim) question: Question,
    pub(in crate::sim) from: usize,
    /// What the partner showed.
    pub(in crate::sim) digest: [u8; 32],
}

/// A catch-up that is under way.
#[derive(Debug)]
pub(in crate::sim) struct Catch {
    number: u64,
    pub(in crate::sim) from: usize,
    /// The push that waits for it; nothing: the node asked for it.
    push: Option<Newer>,
    shown: [u8; 32],
    theirs: [u8; 32],
    pages: usize,
    rounds: usize,
    frames: usize,
    skip: usize,
    more: bool,
    /// What was held when reconciling began, and the answers since.
    reconcile: Option<(Ids, Vec<Vec<u8>>)>,
}

impl World {
    /// Catches up for a push that has to hold what a partner holds, after the catch-up that is under way.
    pub(in crate::sim) fn bring_in(&mut self, envoy: usize, project: usize, wanted: Newer) {
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        if cell.catch.is_some() {
            cell.catch_queue.push_back(wanted);
            return;
        }
        if cell.shown_digest(shelf) != wanted.digest {
            return self.begin_catch(envoy, project, wanted.from, Some(wanted));
        }
        // What was under way has brought it. Before the push goes on, who waits behind it begins.
        let next = cell.catch_queue.pop_front();
        if let Some(next) = next {
            self.bring_in(envoy, project, next);
        }
        self.push_caught_up(wanted.push, &wanted.question);
    }

    /// Catches up, or says at once why not.
    pub(in crate::sim) fn start_catch(&mut self, envoy: usize, project: usize, from: usize) {
        if self.replicas[envoy].cells[project].catch.is_some() {
            let outcome = Err(Failure::Busy("another catch-up is under way".to_owned()));
            return self.say_caught(envoy, project, from, outcome);
        }
        self.begin_catch(envoy, project, from, None);
    }

    fn begin_catch(&mut self, envoy: usize, project: usize, from: usize, push: Option<Newer>) {
        let number = self.number();
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        if cell.fold.founder().is_none() && shelf.foothold == Foothold::Known {
            shelf.foothold = Foothold::New;
        }
        cell.catch = Some(Catch {
            number,
            from,
            push,
            shown: cell.shown_digest(shelf),
            theirs: [0; 32],
            pages: 0,
            rounds: 0,
            frames: 0,
            skip: 0,
            more: false,
            reconcile: None,
        });
        self.ask_page(envoy, project);
    }

    fn ask_page(&mut self, envoy: usize, project: usize) {
        let id = self.project_id(project);
        let cell = self.cell_mut(envoy, project);
        let tips = cell.fold.tips();
        let catch = cell.catch.as_mut().expect("a catch-up is under way");
        catch.pages += 1;
        let (from, number, skip) = (catch.from, catch.number, catch.skip);
        let request = Request::Sync {
            project: id,
            tips,
            skip,
        };
        self.call(envoy, from, request, Purpose::Catch { project, number });
    }

    /// The peer has answered a catch-up, or has not.
    pub(in crate::sim) fn caught(
        &mut self,
        envoy: usize,
        project: usize,
        number: u64,
        outcome: Result<Answer, Failure>,
    ) {
        if !self.is_catch(envoy, project, number) {
            return;
        }
        match outcome {
            Ok(Answer::Page {
                envelopes,
                more,
                digest,
                tips,
            }) => {
                let end = PageEnd::Sync { more, digest, tips };
                let job = Job::Page {
                    number,
                    envelopes,
                    end,
                };
                self.lock(envoy, project, job);
            }
            Ok(Answer::Envelopes(envelopes)) => {
                let end = PageEnd::Named;
                let job = Job::Page {
                    number,
                    envelopes,
                    end,
                };
                self.lock(envoy, project, job);
            }
            Ok(Answer::Frame(frame)) => self.reconcile_on(envoy, project, number, &frame),
            Ok(Answer::Pack(objects)) => {
                self.lock(envoy, project, Job::Objects { number, objects });
            }
            Ok(Answer::Refused(why)) => {
                self.catch_failed(envoy, project, number, refused(why));
            }
            Ok(_) => {
                let lied = Failure::Lied("an answer to something else".to_owned());
                self.catch_failed(envoy, project, number, lied);
            }
            Err(failure) => self.catch_failed(envoy, project, number, failure),
        }
    }

    fn is_catch(&self, envoy: usize, project: usize, number: u64) -> bool {
        let cell = &self.replicas[envoy].cells[project];
        cell.catch
            .as_ref()
            .is_some_and(|catch| catch.number == number)
    }

    pub(in crate::sim) fn take_page(
        &mut self,
        envoy: usize,
        project: usize,
        number: u64,
        letters: &[Letter],
        end: PageEnd,
    ) {
        if !self.is_catch(envoy, project, number) {
            return;
        }
        let batch = match self.open_letters(project, letters) {
            Ok(batch) => batch,
            Err(what) => {
                let lied = Failure::Lied(what.to_owned());
                return self.catch_failed(envoy, project, number, lied);
            }
        };
        if let PageEnd::Sync { tips, .. } = &end {
            let from = self.replicas[envoy].cells[project].catch.as_ref();
            let from = from.expect("it is this catch-up").from;
            self.note_tips(envoy, from, project, tips);
        }
        self.reincarnate_if_shown(envoy, project, &batch);
        let before = self.replicas[envoy].cells[project].fold.clone();
        let admitted = self.cell_mut(envoy, project).admit(batch);
        let cell = &self.replicas[envoy].cells[project];
        let log: Vec<Verified> = admitted
            .folded
            .iter()
            .filter_map(|id| cell.fold.get(id).cloned())
            .collect();
        let news = !log.is_empty();
        let sent = letters.len();
        let then = Then::Page {
            number,
            news,
            sent,
            end,
        };
        let work = Work::new(Bits::default(), log, before, then);
        self.write(envoy, project, work);
    }

    pub(in crate::sim) fn page_taken(
        &mut self,
        envoy: usize,
        project: usize,
        number: u64,
        news: bool,
        sent: usize,
        end: &PageEnd,
    ) {
        if news {
            self.tell_holding(envoy, project, false);
        }
        if !self.is_catch(envoy, project, number) {
            return;
        }
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        let own = cell.fold.digest();
        let founded = cell.fold.founder().is_some();
        let catch = cell.catch.as_mut().expect("it is this catch-up");
        let PageEnd::Sync { more, digest, .. } = end else {
            return self.ask_objects(envoy, project, number);
        };
        let (more, digest) = (*more, *digest);
        catch.theirs = digest;
        if more && catch.pages < PAGES_MAX {
            catch.skip = if news { 0 } else { catch.skip + sent };
            return self.ask_page(envoy, project);
        }
        let told_all = digest != [0; 32];
        if told_all && founded && shelf.foothold != Foothold::Known {
            shelf.foothold = Foothold::Known;
            self.follow(envoy, project);
        }
        let inverted = own.map(|byte| !byte);
        // What both sides hold may be the same although one lacks objects.
        let differs = told_all && digest != own && digest != inverted;
        let tried = self.replicas[envoy].cells[project]
            .catch
            .as_ref()
            .is_some_and(|catch| catch.frames > 0);
        if differs && !tried && founded {
            self.reconcile(envoy, project, number);
        } else {
            self.ask_objects(envoy, project, number);
        }
    }

    fn reconcile(&mut self, envoy: usize, project: usize, number: u64) {
        let id = self.project_id(project);
        let cell = self.cell_mut(envoy, project);
        let ids: Vec<EnvelopeId> = cell.fold.iter().map(|envelope| *envelope.id()).collect();
        let catch = cell.catch.as_mut().expect("it is this catch-up");
        catch.frames = 1;
        let ids = Ids::new(ids);
        let (_, frame) = Initiator::new(&ids);
        catch.reconcile = Some((ids, Vec::new()));
        let from = catch.from;
        let request = Request::Reconcile { project: id, frame };
        self.call(envoy, from, request, Purpose::Catch { project, number });
    }

    fn reconcile_on(&mut self, envoy: usize, project: usize, number: u64, frame: &[u8]) {
        let id = self.project_id(project);
        let cell = self.cell_mut(envoy, project);
        let catch = cell.catch.as_mut().expect("it is this catch-up");
        catch.frames += 1;
        let from = catch.from;
        let too_many = catch.frames > FRAMES_MAX;
        let found = catch.reconcile.as_mut().map(|(ids, answers)| {
            answers.push(frame.to_vec());
            replay(ids, answers)
        });
        let found = match found {
            Some(Ok(found)) if !too_many => found,
            _ => {
                let lied = Failure::Lied("reconciling came to no end".to_owned());
                return self.catch_failed(envoy, project, number, lied);
            }
        };
        let purpose = Purpose::Catch { project, number };
        match found {
            Next::Ask(frame) => {
                let request = Request::Reconcile { project: id, frame };
                self.call(envoy, from, request, purpose);
            }
            Next::Need(ids) => {
                if ids.is_empty() {
                    return self.ask_objects(envoy, project, number);
                }
                self.call(
                    envoy,
                    from,
                    Request::Envelopes { project: id, ids },
                    purpose,
                );
            }
        }
    }

    fn ask_objects(&mut self, envoy: usize, project: usize, number: u64) {
        let id = self.project_id(project);
        let room = !self.replicas[envoy].disk.full;
        let (cell, shelf, history) = self.cell_shelf(envoy, project);
        let wants = cell.wanted(shelf, history);
        let haves: Vec<Oid> = shelf.refs.values().copied().collect();
        let catch = cell.catch.as_mut().expect("it is this catch-up");
        if wants.is_empty() || catch.rounds >= ROUNDS_MAX || catch.more {
            return self.catch_done(envoy, project);
        }
        if !room {
            return self.catch_failed(envoy, project, number, ours("the disk is full"));
        }
        catch.rounds += 1;
        let from = catch.from;
        let request = Request::Fetch {
            project: id,
            wants,
            haves,
        };
        self.call(envoy, from, request, Purpose::Catch { project, number });
    }

    pub(in crate::sim) fn take_objects(
        &mut self,
        envoy: usize,
        project: usize,
        number: u64,
        objects: Bits,
    ) {
        if !self.is_catch(envoy, project, number) {
            return;
        }
        let bug = self.bug;
        let cap = self.plan.catch_up_bytes;
        let (cell, shelf, history) = self.cell_shelf(envoy, project);
        let mut union = shelf.objects.clone();
        union.add(&objects);
        let connected = objects.iter().all(|number| {
            let mut parents = history.parents(number).iter();
            parents.all(|parent| union.has(*parent))
        });
        if !connected && bug != Some(Bug::NoQuarantine) {
            let lied = Failure::Lied("a pack that is not connected".to_owned());
            return self.catch_failed(envoy, project, number, lied);
        }
        let (mut fresh, mut brought) = (Bits::default(), 0);
        let catch = cell.catch.as_mut().expect("it is this catch-up");
        // Ancestors come first, so that what is taken before the cap is connected.
        for number in objects.without(&shelf.objects).iter() {
            if brought >= cap {
                catch.more = true;
                break;
            }
            fresh.insert(number);
            brought += history.bytes_of(number);
        }
        let nothing = fresh.is_empty();
        if nothing {
            // The peer lacks objects too.
            let short = Failure::Busy("it does not have all of it either".to_owned());
            return self.catch_failed(envoy, project, number, short);
        }
        let before = cell.fold.clone();
        let work = Work::new(fresh, Vec::new(), before, Then::Objects { number });
        self.write(envoy, project, work);
    }

    pub(in crate::sim) fn objects_taken(&mut self, envoy: usize, project: usize, number: u64) {
        self.follow(envoy, project);
        self.tell_holding(envoy, project, false);
        if self.is_catch(envoy, project, number) {
            self.ask_objects(envoy, project, number);
        }
    }

    fn catch_done(&mut self, envoy: usize, project: usize) {
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        let shown = cell.shown_digest(shelf);
        let catch = cell.catch.take().expect("a catch-up is under way");
        let news = News {
            changed: shown != catch.shown,
            same: shown == catch.theirs,
            more: catch.more,
        };
        self.catch_over(envoy, project, &catch, Ok(news));
    }

    pub(in crate::sim) fn catch_failed(
        &mut self,
        envoy: usize,
        project: usize,
        number: u64,
        failure: Failure,
    ) {
        if !self.is_catch(envoy, project, number) {
            return;
        }
        let catch = self.cell_mut(envoy, project).catch.take();
        let catch = catch.expect("it is this catch-up");
        self.catch_over(envoy, project, &catch, Err(failure));
    }

    fn catch_over(
        &mut self,
        envoy: usize,
        project: usize,
        catch: &Catch,
        outcome: Result<News, Failure>,
    ) {
        self.say(|| format!("{envoy} caught up from {}: {outcome:?}", catch.from));
        let changed = outcome.as_ref().is_ok_and(|news| news.changed);
        if changed {
            self.tell_holding(envoy, project, false);
        }
        match catch.push {
            // A part of it does not say yet what the peer holds.
            Some(newer)
                if outcome.as_ref().is_ok_and(|news| news.more) && self.is_checking(newer.push) =>
            {
                return self.begin_catch(envoy, project, catch.from, catch.push);
            }
            Some(newer) => self.push_caught_up(newer.push, &newer.question),
            None => self.say_caught(envoy, project, catch.from, outcome),
        }
        let cell = self.cell_mut(envoy, project);
        if cell.catch.is_none()
            && let Some(queued) = cell.catch_queue.pop_front()
        {
            self.bring_in(envoy, project, queued);
        }
    }

    fn say_caught(
        &mut self,
        envoy: usize,
        project: usize,
        from: usize,
        outcome: Result<News, Failure>,
    ) {
        let input = Input::CaughtUp {
            project: self.project_id(project),
            from: self.keys.envoy(from),
            outcome,
        };
        self.feed(envoy, input);
    }

    /// What a peer said that it holds.
    pub(in crate::sim) fn note_tips(
        &mut self,
        envoy: usize,
        peer: usize,
        project: usize,
        tips: &[Tip],
    ) {
        let known = &mut self.replicas[envoy].known_tips;
        known.insert((peer, project), tips.to_vec());
    }
}

enum Next {
    Ask(Vec<u8>),
    Need(Vec<EnvelopeId>),
}

/// An initiator borrows its set, which a simulated envoy cannot keep beside it: so it takes all answers again.
fn replay(ids: &Ids, answers: &[Vec<u8>]) -> Result<Next, ReconcileReject> {
    let (mut initiator, _) = Initiator::new(ids);
    let mut step = Step::Done;
    for answer in answers {
        step = initiator.take(answer)?;
    }
    Ok(match step {
        Step::Ask(frame) => Next::Ask(frame),
        Step::Done => Next::Need(initiator.finish().need),
    })
}
