//! One node, and a driver that answers as each test wants.

use gitback_identity::{EnvoyKey, ProjectId};

use super::super::{Difference, Failure, Input, News, Node, Output, Settings};
use super::world::{digest, key};
use crate::millis::Millis;
use crate::notice::Notice;
use crate::places::Places;

pub(super) struct Driver {
    pub(super) node: Node,
    pub(super) now: Millis,
    pub(super) orders: Vec<Output>,
    pub(super) logs: Vec<String>,
    /// What was sent of who is where.
    pub(super) places: Vec<(EnvoyKey, Places)>,
}

impl Driver {
    pub(super) fn new(peers: usize) -> Self {
        let node = Node::new(key(0), [5; 32], Settings::default(), Millis(0));
        let mut driver = Self {
            node,
            now: Millis(0),
            orders: Vec::new(),
            logs: Vec::new(),
            places: Vec::new(),
        };
        for peer in 1..=peers {
            driver.tell(Input::Peer {
                key: key(peer),
                name: format!("node{peer}"),
                addresses: vec![format!("node{peer}:1")],
            });
        }
        driver
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll() {
            match output {
                Output::Log { what, .. } => self.logs.push(what),
                Output::Message { to, bytes } => {
                    if Places::is_one(&bytes) {
                        let places = Places::decode(&bytes).expect("what is sent is read");
                        self.places.push((to, places));
                    }
                    self.tell(Input::MessageSent {
                        to,
                        outcome: Ok(()),
                    });
                }
                other => self.orders.push(other),
            }
        }
    }

    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.orders)
    }

    /// Lets time pass, and answers every comparison with `differences` of whom it is with.
    pub(super) fn pass(
        &mut self,
        span: Millis,
        differences: impl Fn(EnvoyKey) -> Result<Vec<Difference>, Failure>,
    ) {
        let until = self.now.plus(span);
        loop {
            while let Some(at) = self
                .orders
                .iter()
                .position(|one| matches!(one, Output::Compare { .. }))
            {
                let Output::Compare { with } = self.orders.remove(at) else {
                    continue;
                };
                let outcome = differences(with);
                self.tell(Input::Compared { with, outcome });
            }
            let wake = self.node.next_wake().expect("a tick").max(self.now);
            if wake > until {
                self.now = until;
                return;
            }
            self.now = wake;
            self.tell(Input::Wake);
        }
    }

    pub(super) fn catch_ups(&mut self) -> Vec<(ProjectId, EnvoyKey)> {
        let mut catch_ups = Vec::new();
        self.orders.retain(|one| match one {
            Output::CatchUp { project, from } => {
                catch_ups.push((*project, *from));
                false
            }
            _ => true,
        });
        catch_ups
    }

    /// Whether it was ordered to deliver `project` to `to`.
    pub(super) fn delivers(&mut self, project: ProjectId, to: EnvoyKey) -> bool {
        let order = Output::Deliver { project, to };
        let place = self.orders.iter().position(|one| *one == order);
        place.map(|at| self.orders.remove(at)).is_some()
    }

    pub(super) fn caught_up(
        &mut self,
        project: ProjectId,
        from: EnvoyKey,
        outcome: Result<News, Failure>,
    ) {
        self.tell(Input::CaughtUp {
            project,
            from,
            outcome,
        });
    }

    pub(super) fn heard(&mut self, from: EnvoyKey, project: ProjectId, set: u64, holder: EnvoyKey) {
        let notice = Notice::Project {
            project,
            digest: digest(set),
            holder,
        };
        self.node.heard(&from, &notice.encode());
        self.tell(Input::Wake);
    }
}
