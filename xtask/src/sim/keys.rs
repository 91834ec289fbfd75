//! Who is who: a fixed pool of keys, so that no seed waits for key generation.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use gitback_identity::{EnvoyKey, PublicKey, PuddleKey, SecretKey};

/// Most envoys of a world that is played for its seed.
pub(super) const ENVOYS_MAX: usize = 32;

/// Most people of a world.
pub(super) const PEOPLE_MAX: usize = 5;

/// The keys of a world.
pub(super) struct Keys {
    envoys: Vec<(SecretKey, EnvoyKey)>,
    people: Vec<(SecretKey, PuddleKey)>,
    by_key: BTreeMap<EnvoyKey, usize>,
}

impl Keys {
    /// The pool that all seeds share.
    pub(super) fn pool() -> Arc<Self> {
        static POOL: OnceLock<Arc<Keys>> = OnceLock::new();
        Arc::clone(POOL.get_or_init(|| Arc::new(Self::make(ENVOYS_MAX))))
    }

    /// Keys for so many envoys.
    pub(super) fn make(envoys: usize) -> Self {
        let secret = |number: usize, kind: u8| {
            let mut seed = [kind; 32];
            seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
            SecretKey::from_seed(&seed)
        };
        let envoys: Vec<_> = (0..envoys)
            .map(|number| secret(number, 1))
            .map(|secret| {
                let key = EnvoyKey::new(secret.public());
                (secret, key)
            })
            .collect();
        let people = (0..PEOPLE_MAX).map(|number| secret(number, 2));
        let people = people.map(|secret| {
            let key = PuddleKey::new(secret.public());
            (secret, key)
        });
        let by_key = envoys.iter().map(|(_, key)| *key).zip(0..).collect();
        Self {
            people: people.collect(),
            envoys,
            by_key,
        }
    }

    pub(super) fn envoy(&self, number: usize) -> EnvoyKey {
        self.envoys[number].1
    }

    pub(super) fn envoy_secret(&self, number: usize) -> &SecretKey {
        &self.envoys[number].0
    }

    pub(super) fn person(&self, number: usize) -> PuddleKey {
        self.people[number].1
    }

    pub(super) fn person_secret(&self, number: usize) -> &SecretKey {
        &self.people[number].0
    }

    /// Which envoy has this key.
    pub(super) fn find(&self, key: &EnvoyKey) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(super) fn find_signer(&self, key: &PublicKey) -> Option<usize> {
        self.find(&EnvoyKey::new(*key))
    }
}
