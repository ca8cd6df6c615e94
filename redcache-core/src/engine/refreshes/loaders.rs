//! The registered loaders, and the due keys that wait for each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::api::key::Key;
use crate::api::options::{LoaderId, RefreshOptions};
use crate::flow::refresh_policy::is_due;
use crate::rng::Rng;

/// A registered loader and its queue.
#[derive(Debug)]
pub(super) struct RegisteredLoader {
    generation: u32,
    pub(super) options: RefreshOptions,
    pub(super) queue: VecDeque<Due>,
    /// The keys that are queued or being refreshed.
    pub(super) pending: BTreeSet<Key>,
    /// A worker was requested and has not begun.
    pub(super) is_called: bool,
    failures: u32,
    pub(super) rests_until: Option<Instant>,
    /// The TTLs that the loader has chosen for keys.
    chosen: BTreeMap<Key, Duration>,
}

/// A key whose value is due for a refresh.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) key: Key,
    pub(super) expires_at: Instant,
}

/// The number of keys of a loader whose chosen TTL is remembered.
const CHOSEN_MAX: usize = 1024;
/// A loader pauses after a failed load. The pause doubles with each further failure.
const REST_FIRST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(10);

impl RegisteredLoader {
    /// Remember the TTL that the loader has chosen for a key.
    pub(super) fn choose(&mut self, key: &Key, ttl: Option<Duration>) {
        match ttl {
            None => drop(self.chosen.remove(key)),
            Some(ttl) => {
                self.chosen.insert(key.clone(), ttl);
                if self.chosen.len() > CHOSEN_MAX {
                    self.chosen.pop_first();
                }
            }
        }
    }

    /// Return whether a key's value is too young to be due.
    ///
    /// A value that another process has stored has the TTL that its loader chose. Without the
    /// chosen TTL, every process would consider the value old at its first read.
    pub(super) fn is_early(&self, key: &Key, left: Duration) -> bool {
        let life = self.chosen.get(key).filter(|_| self.options.after > 0.0);
        life.is_some_and(|life| !is_due(&self.options, left, *life, Duration::ZERO, || 1.0))
    }

    /// Record the end of a load, and pause after a failure.
    pub(super) fn on_load_ended(&mut self, now: Instant, has_failed: bool, rng: &mut Rng) {
        if has_failed {
            let nominal = (REST_FIRST * (1 << self.failures.min(10))).min(REST_MAX);
            self.failures += 1;
            self.rests_until = Some(now + nominal / 2 + rng.below(nominal / 2));
        } else {
            (self.failures, self.rests_until) = (0, None);
        }
    }
}

/// All registered loaders of the cache.
#[derive(Debug, Default)]
pub(super) struct Loaders {
    loaders: Slab<RegisteredLoader>,
    generation: u32,
}

impl Loaders {
    pub(super) fn insert(&mut self, options: RefreshOptions) -> LoaderId {
        let generation = self.generation.wrapping_add(1);
        self.generation = generation;
        let index = self.loaders.insert(RegisteredLoader {
            generation,
            options,
            queue: VecDeque::new(),
            pending: BTreeSet::new(),
            is_called: false,
            failures: 0,
            rests_until: None,
            chosen: BTreeMap::new(),
        });
        // The application holds a handle of each loader, so there are far fewer than 2^32.
        LoaderId { index: index as u32, generation }
    }

    pub(super) fn get_mut(&mut self, id: LoaderId) -> Option<&mut RegisteredLoader> {
        let loader = self.loaders.get_mut(id.index as usize)?;
        (loader.generation == id.generation).then_some(loader)
    }

    pub(super) fn remove(&mut self, id: LoaderId) -> Option<RegisteredLoader> {
        self.get_mut(id)?;
        Some(self.loaders.remove(id.index as usize))
    }
}
