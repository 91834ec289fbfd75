//! Sending what is new to other envoys: fan-out, handing on, and what is owed. What `gitback-envoy` does in `fanout`.

use gitback_envelope::{EnvelopeId, Oid, Tip, Verified};
use gitback_gossip::{Failure, Input, handoff};
use gitback_identity::EnvoyKey;

use super::super::disk::Foothold;
use super::super::history::Bits;
use super::super::wire::{Answer, Letter, Request};
use super::super::world::World;
use super::cell::new_oids;
use super::partner::{Partner, partner};
use super::{Purpose, refused};

/// Most envelopes sent to a peer of which nothing is known; it asks for the rest.
const UNASKED_MAX: usize = 64;

/// To how many at a time an envoy sends a push itself.
pub(in crate::sim) const WIDTH: usize = 8;

/// A push on its way to one peer.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Parcel {
    project: usize,
    stored: Vec<EnvelopeId>,
    pack: Option<Bits>,
    forward: Vec<EnvoyKey>,
    origin: Option<EnvoyKey>,
    /// Whether it was asked what it lacks already.
    asked: bool,
    why: Why,
}

#[derive(Debug, Clone, Copy)]
enum Why {
    /// It was pushed here.
    Push(usize),
    /// It was pushed elsewhere, or said by hand.
    Spread,
    /// The node ordered it.
    Deliver,
}

impl World {
    /// Sends a local push to these, some of them by others' hands.
    pub(in crate::sim) fn fan_out(
        &mut self,
        envoy: usize,
        project: usize,
        push: usize,
        stored: &[EnvelopeId],
        pack: Option<&Bits>,
        to: &[usize],
    ) {
        let targets: Vec<EnvoyKey> = to.iter().map(|to| self.keys.envoy(*to)).collect();
        for (first, rest) in handoff::plan(&targets, WIDTH) {
            let to = self.keys.find(&first).expect("one of the targets");
            let parcel = Parcel {
                project,
                stored: stored.to_vec(),
                pack: pack.cloned(),
                origin: (!rest.is_empty()).then(|| self.keys.envoy(envoy)),
                forward: rest,
                asked: false,
                why: Why::Push(push),
            };
            self.post(envoy, to, parcel);
        }
    }

    /// Hands a push on that came from elsewhere, or spreads what was said here.
    pub(in crate::sim) fn hand_on(
        &mut self,
        envoy: usize,
        project: usize,
        stored: &[EnvelopeId],
        pack: Option<&Bits>,
        to: &[EnvoyKey],
        origin: Option<EnvoyKey>,
    ) {
        let own = self.keys.envoy(envoy);
        let to: Vec<EnvoyKey> = to.iter().filter(|to| **to != own).copied().collect();
        for (first, rest) in handoff::plan(&to, WIDTH) {
            let Some(to) = self.keys.find(&first) else {
                continue;
            };
            let parcel = Parcel {
                project,
                stored: stored.to_vec(),
                pack: pack.cloned(),
                forward: rest,
                origin,
                asked: false,
                why: Why::Spread,
            };
            self.post(envoy, to, parcel);
        }
    }

    /// Gives a peer what it lacks, because the node says so.
    pub(in crate::sim) fn deliver(&mut self, envoy: usize, project: usize, to: usize) {
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        let unknown = cell.fold.founder().is_none() || shelf.foothold != Foothold::Known;
        let stored = cell.fold.heads();
        let key = self.keys.envoy(to);
        let cell = &self.replicas[envoy].cells[project];
        if !unknown && partner(cell, &key) != Partner::Full {
            // Nothing is owed to who is no partner any more.
            let input = Input::Delivered {
                to: key,
                project: self.project_id(project),
                outcome: Ok(()),
            };
            return self.feed(envoy, input);
        }
        let parcel = Parcel {
            project,
            stored,
            pack: None,
            forward: Vec::new(),
            origin: None,
            asked: false,
            why: Why::Deliver,
        };
        self.post(envoy, to, parcel);
    }

    fn post(&mut self, envoy: usize, to: usize, parcel: Parcel) {
        let replica = &self.replicas[envoy];
        let fold = &replica.cells[parcel.project].fold;
        let known = replica.known_tips.get(&(to, parcel.project));
        let mut lacking: Vec<Verified> = match known {
            Some(tips) => fold.lacking(tips),
            None => fold.lacking(&[]),
        };
        let named = |envelope: &Verified| parcel.stored.contains(envelope.id());
        if known.is_none() && lacking.len() > UNASKED_MAX {
            lacking.retain(named);
        }
        // What the push is about comes last, also when the peer is known to hold it.
        lacking.retain(|envelope| !named(envelope));
        lacking.extend(parcel.stored.iter().filter_map(|id| fold.get(id).cloned()));
        let letters = self.letters(envoy, parcel.project, to, lacking);
        self.post_letters(envoy, to, letters, parcel.pack.clone(), parcel);
    }

    fn say_posted(&self, envoy: usize, to: usize, envelopes: &[Letter], parcel: &Parcel) {
        let (sent, why) = (envelopes.len(), parcel.why);
        self.say(|| format!("{envoy} sends {to} {sent} envelopes: {why:?}"));
    }

    fn post_letters(
        &mut self,
        envoy: usize,
        to: usize,
        envelopes: Vec<Letter>,
        pack: Option<Bits>,
        parcel: Parcel,
    ) {
        let is_sent = |id| {
            let mut sent = envelopes.iter();
            sent.any(|one| matches!(one, Letter::Sealed(one) if one.id() == id))
        };
        if envelopes.is_empty() || !parcel.stored.iter().all(is_sent) {
            return self.untold(envoy, to, &parcel);
        }
        self.say_posted(envoy, to, &envelopes, &parcel);
        let request = Request::Push {
            project: self.project_id(parcel.project),
            envelopes,
            pack,
            forward: parcel.forward.clone(),
            origin: parcel.origin,
        };
        self.call(envoy, to, request, Purpose::Parcel(Box::new(parcel)));
    }

    /// The peer may not be told any more what the parcel is about. Whatever it would answer to the rest is no word on that.
    fn untold(&mut self, envoy: usize, to: usize, parcel: &Parcel) {
        self.say(|| format!("{envoy} may not tell {to}: {:?}", parcel.why));
        match parcel.why {
            Why::Deliver => {
                let failure = Failure::Busy("it is catching up".to_owned());
                self.delivered(envoy, to, parcel, Err(failure));
            }
            Why::Push(_) | Why::Spread => {
                self.forward_elsewhere(envoy, parcel);
                if let Why::Push(push) = parcel.why {
                    self.push_failed_at(push, to);
                }
            }
        }
    }

    pub(in crate::sim) fn parcel_answered(
        &mut self,
        envoy: usize,
        to: usize,
        mut parcel: Parcel,
        outcome: Result<Answer, Failure>,
    ) {
        let peer = self.keys.envoy(to);
        if outcome.is_ok() && !matches!(parcel.why, Why::Deliver) {
            self.feed(envoy, Input::Answered { peer });
        }
        match outcome {
            Ok(Answer::Durable) => self.delivered(envoy, to, &parcel, Ok(())),
            Ok(Answer::Need { tips, haves }) if !parcel.asked => {
                parcel.asked = true;
                self.note_tips(envoy, to, parcel.project, &tips);
                self.send_whole(envoy, to, &tips, &haves, parcel);
            }
            Ok(Answer::Need { .. }) => {
                let failure = Failure::Busy("it is still catching up".to_owned());
                self.delivered(envoy, to, &parcel, Err(failure));
            }
            Ok(Answer::Refused(why)) => self.delivered(envoy, to, &parcel, Err(refused(why))),
            Ok(_) => {
                let failure = Failure::Lied("an answer to something else".to_owned());
                self.delivered(envoy, to, &parcel, Err(failure));
            }
            Err(failure) => self.delivered(envoy, to, &parcel, Err(failure)),
        }
    }

    fn send_whole(&mut self, envoy: usize, to: usize, tips: &[Tip], haves: &[Oid], parcel: Parcel) {
        let project = parcel.project;
        let lacking = self.replicas[envoy].cells[project].fold.lacking(tips);
        // What was forced away since is in no ref, and is needed all the same.
        let fold = &self.replicas[envoy].cells[project].fold;
        let stored = parcel.stored.iter().filter_map(|id| fold.get(id));
        let moved: Vec<Oid> = lacking.iter().chain(stored).flat_map(new_oids).collect();
        let mut lacking = lacking;
        let fold = &self.replicas[envoy].cells[project].fold;
        let named = |envelope: &Verified| parcel.stored.contains(envelope.id());
        lacking.retain(|envelope| !named(envelope));
        lacking.extend(parcel.stored.iter().filter_map(|id| fold.get(id).cloned()));
        let letters = self.letters(envoy, project, to, lacking);
        let pack = self.whole_pack(envoy, project, moved, haves);
        let pack = (!pack.is_empty()).then_some(pack);
        self.post_letters(envoy, to, letters, pack, parcel);
    }

    fn delivered(
        &mut self,
        envoy: usize,
        to: usize,
        parcel: &Parcel,
        outcome: Result<(), Failure>,
    ) {
        let project = parcel.project;
        if let Err(failure) = &outcome {
            self.say(|| format!("{envoy} could not give {to} what it sent: {failure:?}"));
        }
        let key = self.keys.envoy(to);
        let id = self.project_id(project);
        if let Why::Push(push) = parcel.why
            && outcome.is_ok()
        {
            self.push_durable_on(push, to);
        }
        match (parcel.why, &outcome) {
            (Why::Deliver, _) => {
                let input = Input::Delivered {
                    to: key,
                    project: id,
                    outcome,
                };
                self.feed(envoy, input);
            }
            (Why::Push(_) | Why::Spread, Ok(())) => {}
            (Why::Push(_) | Why::Spread, Err(failure)) => {
                let reason = failure.reason().to_owned();
                let input = Input::Owes {
                    to: key,
                    project: id,
                    reason,
                };
                self.feed(envoy, input);
                // Whoever was to get it from there gets it from here.
                self.forward_elsewhere(envoy, parcel);
                if let Why::Push(push) = parcel.why {
                    self.push_failed_at(push, to);
                }
            }
        }
    }

    fn forward_elsewhere(&mut self, envoy: usize, parcel: &Parcel) {
        if parcel.forward.is_empty() || !self.replicas[envoy].up {
            return;
        }
        let (project, stored) = (parcel.project, parcel.stored.clone());
        if let Why::Push(push) = parcel.why {
            let rest = parcel.forward.iter();
            let to: Vec<usize> = rest.filter_map(|key| self.keys.find(key)).collect();
            self.fan_out(envoy, project, push, &stored, parcel.pack.as_ref(), &to);
        } else {
            let (forward, origin) = (parcel.forward.clone(), parcel.origin);
            self.hand_on(
                envoy,
                project,
                &stored,
                parcel.pack.as_ref(),
                &forward,
                origin,
            );
        }
    }
}
