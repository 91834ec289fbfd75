//! What an envoy answers to other envoys. What `gitback-envoy` does in its `service`.

use gitback_envelope::{Envelope, Verified};
use gitback_gossip::Input;
use gitback_gossip::reconcile::{Ids, respond};
use gitback_identity::ProjectId;

use super::super::wire::{Answer, Letter, Refused, Request};
use super::super::world::World;
use super::partner::{Partner, partner};
use super::work::Job;

/// Most ids in one request for envelopes.
const IDS_MAX: usize = 4096;

impl World {
    /// A request has arrived.
    pub(in crate::sim) fn serve(&mut self, envoy: usize, from: usize, call: u64, request: Request) {
        let peer = self.keys.envoy(from);
        match request {
            Request::Gossip(bytes) => {
                self.answer(envoy, from, call, Answer::Done);
                let bytes = bytes.to_vec();
                self.feed(envoy, Input::Message { from: peer, bytes });
            }
            Request::Digests(theirs) => {
                self.feed(envoy, Input::Answered { peer });
                let list = self.digests(envoy, from);
                self.check_shown(envoy, &list);
                self.answer(envoy, from, call, Answer::Digests(list));
                self.hear_digests(envoy, from, &theirs);
            }
            Request::Held { project, ids } => {
                self.feed(envoy, Input::Answered { peer });
                self.answer(envoy, from, call, Answer::Done);
                if let Some(project) = self.find_project(&project) {
                    self.hear_held(envoy, from, project, &ids);
                }
            }
            Request::Sync { project, .. }
            | Request::Push { project, .. }
            | Request::Fetch { project, .. }
            | Request::Fresh { project, .. }
            | Request::Reconcile { project, .. }
            | Request::Envelopes { project, .. } => {
                self.feed(envoy, Input::Answered { peer });
                match self.find_project(&project) {
                    Some(at) => {
                        let job = Job::Request {
                            from,
                            call,
                            request,
                        };
                        self.lock(envoy, at, job);
                    }
                    None => {
                        let refused = Answer::Refused(Refused::UnknownProject);
                        self.answer(envoy, from, call, refused);
                    }
                }
            }
        }
    }

    /// What a peer showed when it compared is as good as an answer of it.
    fn hear_digests(&mut self, envoy: usize, from: usize, theirs: &[(ProjectId, [u8; 32])]) {
        let differences = self.differences(envoy, from, theirs);
        let by = self.keys.envoy(from);
        self.feed(envoy, Input::Shown { by, differences });
    }

    pub(in crate::sim) fn serve_locked(
        &mut self,
        envoy: usize,
        project: usize,
        from: usize,
        call: u64,
        request: Request,
    ) {
        let standing = partner(&self.replicas[envoy].cells[project], &self.keys.envoy(from));
        let founded = self.replicas[envoy].cells[project].fold.founder().is_some();
        if !founded && !matches!(request, Request::Push { .. }) {
            return self.answer(envoy, from, call, Answer::Refused(Refused::UnknownProject));
        }
        let refused = match (&request, standing) {
            (Request::Push { .. }, _) if !founded => None,
            (Request::Sync { .. } | Request::Envelopes { .. }, Partner::Former) => None,
            (_, Partner::Full) => None,
            (_, Partner::Former | Partner::Stranger) => Some(Refused::Forbidden),
        };
        if let Some(why) = refused {
            return self.answer(envoy, from, call, Answer::Refused(why));
        }
        let answer = match request {
            Request::Sync { tips, skip, .. } => {
                let lacking = self.replicas[envoy].cells[project].fold.lacking(&tips);
                let letters = self.letters(envoy, project, from, lacking);
                self.page(envoy, project, letters, skip, standing)
            }
            Request::Fetch { wants, haves, .. } => self.pack_for(envoy, project, &wants, &haves),
            Request::Fresh { refs, .. } => {
                let by = self.keys.envoy(from);
                let id = self.project_id(project);
                let now = self.local(envoy);
                let turn = self.replicas[envoy].turn.as_mut().expect("it is up");
                let wait = turn.asked(now, &id, &refs, by);
                let (cell, shelf, _) = self.cell_shelf(envoy, project);
                let digest = cell.shown_digest(shelf);
                Answer::Fresh { digest, wait }
            }
            Request::Reconcile { frame, .. } => {
                let fold = &self.replicas[envoy].cells[project].fold;
                let ids = Ids::new(fold.iter().map(|envelope| *envelope.id()));
                match respond(&ids, &frame) {
                    Ok(frame) => Answer::Frame(frame),
                    Err(_) => Answer::Refused(Refused::Bad("a frame that cannot be read")),
                }
            }
            Request::Envelopes { ids, .. } => {
                let fold = &self.replicas[envoy].cells[project].fold;
                let held = ids.iter().take(IDS_MAX).filter_map(|id| fold.get(id));
                let held: Vec<Verified> = held.cloned().collect();
                Answer::Envelopes(self.letters(envoy, project, from, held))
            }
            Request::Push {
                envelopes,
                pack,
                forward,
                origin,
                ..
            } => {
                return self.take_push(
                    envoy, project, from, call, &envelopes, pack, forward, origin,
                );
            }
            Request::Gossip(_) | Request::Digests(_) | Request::Held { .. } => Answer::Done,
        };
        self.answer(envoy, from, call, answer);
    }

    fn page(
        &self,
        envoy: usize,
        project: usize,
        letters: Vec<Letter>,
        skip: usize,
        standing: Partner,
    ) -> Answer {
        let replica = &self.replicas[envoy];
        let (cell, shelf) = (&replica.cells[project], &replica.disk.shelves[project]);
        let more = letters.len() > skip + self.plan.page;
        let page = letters.into_iter().skip(skip).take(self.plan.page);
        let (digest, tips) = match standing {
            Partner::Full => (cell.shown_digest(shelf), cell.fold.tips()),
            Partner::Former | Partner::Stranger => ([0; 32], Vec::new()),
        };
        Answer::Page {
            envelopes: page.collect(),
            more,
            digest,
            tips,
        }
    }

    /// Verifies what came over the wire. What this process has verified before, byte for byte, is not verified again.
    pub(in crate::sim) fn open_letters(
        &mut self,
        project: usize,
        letters: &[Letter],
    ) -> Result<Vec<Verified>, &'static str> {
        let id = self.project_id(project);
        let mut opened = Vec::with_capacity(letters.len());
        for letter in letters {
            let envelope = match letter {
                Letter::Sealed(envelope) => envelope.clone(),
                Letter::Raw(bytes) => {
                    let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
                    envelope.map_err(|_| "an envelope that does not verify")?
                }
            };
            if envelope.statement().project != id {
                return Err("an envelope of another project");
            }
            opened.push(envelope);
        }
        Ok(opened)
    }
}
