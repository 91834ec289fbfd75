//! Who has said that a handed-on push is durable there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use gitback_envelope::EnvelopeId;
use gitback_identity::{EnvoyKey, ProjectId};
use tokio::sync::watch;

/// Receipts that are waited for. One that nobody waits for is not kept.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    awaited: Mutex<BTreeMap<(ProjectId, EnvoyKey), Vec<Weak>>>,
}

type Held = watch::Sender<Vec<EnvelopeId>>;
type Weak = std::sync::Weak<Held>;

/// One that waits for the receipts of one envoy about one project.
#[derive(Debug)]
pub(crate) struct Awaited {
    held: Arc<Held>,
}

/// Most ids that one waiting push remembers of what an envoy says it holds.
const HELD_MAX: usize = 4096;

impl Receipts {
    /// Begins to wait, before the push can have arrived there.
    pub(crate) fn await_from(&self, project: ProjectId, envoy: EnvoyKey) -> Awaited {
        let held = Arc::new(watch::Sender::new(Vec::new()));
        let mut awaited = self.awaited();
        let waiting = awaited.entry((project, envoy)).or_default();
        waiting.retain(|other| other.strong_count() > 0);
        waiting.push(Arc::downgrade(&held));
        Awaited { held }
    }

    /// Notes what `envoy` says it holds of `project`.
    pub(crate) fn note(&self, project: &ProjectId, envoy: &EnvoyKey, ids: &[EnvelopeId]) {
        let mut awaited = self.awaited();
        let key = (*project, *envoy);
        let Some(waiting) = awaited.get_mut(&key) else {
            return;
        };
        waiting.retain(|other| other.strong_count() > 0);
        for held in waiting.iter().filter_map(std::sync::Weak::upgrade) {
            held.send_modify(|held| {
                let room = HELD_MAX.saturating_sub(held.len());
                held.extend(ids.iter().take(room));
            });
        }
        if waiting.is_empty() {
            awaited.remove(&key);
        }
    }

    fn awaited(&self) -> MutexGuard<'_, BTreeMap<(ProjectId, EnvoyKey), Vec<Weak>>> {
        self.awaited
            .lock()
            .expect("no thread panics with the receipts")
    }
}

impl Awaited {
    /// Waits until the envoy has said that it holds all of `ids`.
    pub(crate) async fn all(&self, ids: &[EnvelopeId]) {
        let mut held = self.held.subscribe();
        let has_all = |held: &Vec<EnvelopeId>| ids.iter().all(|id| held.contains(id));
        // The sender is ours, so it does not close.
        let _ = held.wait_for(has_all).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitback_identity::SecretKey;

    fn id(byte: u8) -> EnvelopeId {
        EnvelopeId::from_bytes(&[byte; 32])
    }

    #[tokio::test]
    async fn waits_for_the_right_envoy_and_for_all_ids() {
        let receipts = Receipts::default();
        let key = |byte| EnvoyKey::new(SecretKey::from_seed(&[byte; 32]).public());
        let project = ProjectId::from_bytes(&[7; 32]);
        let awaited = receipts.await_from(project, key(1));
        receipts.note(&project, &key(2), &[id(1), id(2)]);
        receipts.note(&project, &key(1), &[id(1)]);
        assert_eq!(*awaited.held.borrow(), [id(1)]);
        receipts.note(&project, &key(1), &[id(2)]);
        awaited.all(&[id(1), id(2)]).await;
        drop(awaited);
        receipts.note(&project, &key(1), &[id(3)]);
        assert!(receipts.awaited().is_empty(), "nothing is kept for nobody");
    }
}
