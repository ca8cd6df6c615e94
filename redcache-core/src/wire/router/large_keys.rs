//! The keys whose values were large lately.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::api::key::Key;

/// The number of groups that a key may belong to, a power of two.
const GROUPS: usize = 512;
/// The number of keys in a group.
const GROUP_KEYS: usize = 4;

/// A key and its group. The key is hashed once for all its look-ups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouped<'k> {
    pub(super) key: &'k Key,
    group: usize,
}

impl<'k> Grouped<'k> {
    pub(super) fn new(key: &'k Key) -> Self {
        let hasher = SeedableRandomState::with_seed(0, SharedSeed::global_fixed());
        Self { key, group: hasher.hash_one(key.as_bytes()) as usize & (GROUPS - 1) }
    }
}

/// A bounded set of keys. A key that finds no place replaces the one that was used least lately
/// among those of its group.
#[derive(Debug)]
pub(super) struct LargeKeys {
    places: Box<[Option<LargeKey>]>,
    /// The number of keys that are assigned to the large link.
    assigned: usize,
    uses: u64,
}

#[derive(Debug)]
struct LargeKey {
    key: Key,
    state: KeyState,
    used: u64,
}

/// The state of a key in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyState {
    /// The length of the last value that was read or written, if it was large.
    pub(super) large: Option<usize>,
    /// Whether the key's commands go to the large link.
    pub(super) is_assigned: bool,
}

impl LargeKeys {
    pub(super) fn new() -> Self {
        let places = (0..GROUPS * GROUP_KEYS).map(|_| None).collect();
        Self { places, assigned: 0, uses: 0 }
    }

    fn group(&mut self, key: Grouped<'_>) -> &mut [Option<LargeKey>] {
        let first = key.group * GROUP_KEYS;
        &mut self.places[first..first + GROUP_KEYS]
    }

    fn find(&mut self, key: Grouped<'_>) -> Option<&mut LargeKey> {
        self.group(key).iter_mut().flatten().find(|known| known.key == *key.key)
    }

    /// Return the state of a key that is in the set.
    pub(super) fn get(&mut self, key: Grouped<'_>) -> Option<KeyState> {
        self.uses += 1;
        let uses = self.uses;
        let known = self.find(key)?;
        known.used = uses;
        Some(known.state)
    }

    /// Insert a key with a large value of this length. Return the key that it replaces if the
    /// replaced key was assigned to the large link. A key that `is_busy` is not replaced.
    pub(super) fn insert(
        &mut self,
        key: Grouped<'_>,
        length: usize,
        is_busy: impl Fn(&Key) -> bool,
    ) -> Option<Key> {
        if let Some(known) = self.find(key) {
            known.state.large = Some(length);
            return None;
        }
        self.uses += 1;
        let used = self.uses;
        let age = |place: &&mut Option<LargeKey>| place.as_ref().map_or(0, |known| known.used);
        let is_free = |place: &&mut Option<LargeKey>| {
            let is_kept = |known: &LargeKey| known.state.is_assigned && is_busy(&known.key);
            !place.as_ref().is_some_and(is_kept)
        };
        let place = self.group(key).iter_mut().filter(is_free).min_by_key(age)?;
        let state = KeyState { large: Some(length), is_assigned: false };
        let replaced = place.replace(LargeKey { key: key.key.clone(), state, used })?;
        self.assigned -= usize::from(replaced.state.is_assigned);
        replaced.state.is_assigned.then_some(replaced.key)
    }

    /// Record that a value of the key is small.
    pub(super) fn on_small(&mut self, key: Grouped<'_>) {
        if let Some(known) = self.find(key) {
            known.state.large = None;
        }
    }

    /// Assign a key of the set to the large link.
    pub(super) fn assign(&mut self, key: Grouped<'_>) {
        if let Some(known) = self.find(key).filter(|known| !known.state.is_assigned) {
            known.state.is_assigned = true;
            self.assigned += 1;
        }
    }

    pub(super) fn remove(&mut self, key: Grouped<'_>) {
        for place in self.group(key) {
            if let Some(known) = place.take_if(|known| known.key == *key.key) {
                self.assigned -= usize::from(known.state.is_assigned);
                return;
            }
        }
    }

    /// Return whether any key is assigned to the large link.
    pub(super) fn has_assigned(&self) -> bool {
        self.assigned > 0
    }

    /// Return the keys that are assigned to the large link.
    pub(super) fn assigned(&self) -> impl Iterator<Item = &Key> {
        let known = self.places.iter().flatten();
        known.filter(|known| known.state.is_assigned).map(|known| &known.key)
    }

    /// Assign every key to the ordinary link. Return the keys that were assigned to the large one.
    pub(super) fn unassign_all(&mut self) -> Vec<Key> {
        let assigned = self.assigned().cloned().collect();
        self.places.iter_mut().flatten().for_each(|known| known.state.is_assigned = false);
        self.assigned = 0;
        assigned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_bounded_and_returns_each_assigned_key_that_it_replaces() {
        let mut keys = LargeKeys::new();
        let mut replaced = 0;
        let count = 3 * GROUPS * GROUP_KEYS;
        for number in 0..count {
            let key = Key::from(number.to_string());
            let key = Grouped::new(&key);
            replaced += usize::from(keys.insert(key, 1, |_| false).is_some());
            assert!(keys.insert(key, 1, |_| true).is_none(), "it is there already");
            keys.assign(key);
        }
        assert_eq!(keys.assigned().count() + replaced, count);
        assert!(keys.unassign_all().len() <= GROUPS * GROUP_KEYS);
        assert!(!keys.has_assigned());
    }

    #[test]
    fn a_busy_key_keeps_its_place() {
        let mut keys = LargeKeys::new();
        for number in 0..3 * GROUPS * GROUP_KEYS {
            let key = Key::from(number.to_string());
            let key = Grouped::new(&key);
            assert!(keys.insert(key, 1, |_| true).is_none());
            keys.assign(key);
        }
        assert!(keys.get(Grouped::new(&Key::from("0"))).is_some());
    }
}
