//! A call that writes keys under their locks, as the table of calls has it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::event::Outcome;
use crate::flow::pace::Patience;
use crate::flow::set::Set;

/// A call that writes keys under their locks.
#[derive(Debug)]
pub(in super::super) struct SetMany {
    /// One for each different key, in the order of the call.
    pub(super) entries: Vec<Entry>,
    /// For each key of the call, its entry.
    pub(super) slots: Vec<u32>,
    /// The entries by their keys. All who lock in the same order get in each other's way the least.
    pub(super) order: Vec<u32>,
    /// It was called with a batch, even if of one key.
    pub(super) is_many: bool,
    pub(super) ttl: Duration,
    pub(super) stage: Stage,
    pub(super) give_up_at: Instant,
    pub(super) patience: Patience,
    /// Since when it waits for the locks of others.
    pub(super) waiting_since: Option<Instant>,
    pub(super) attempts: u32,
    /// For how many keys it is somebody else's turn.
    pub(super) behind: usize,
    pub(super) count: Count,
    /// How long to wait for the locks that are in the way, at most.
    pub(super) bound: Duration,
    pub(super) timer: Option<Instant>,
    /// Nobody waits for the outcome any more.
    pub(super) is_abandoned: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// `None` once there is a result.
    pub(super) state: Option<Set>,
    /// Another's lock was there when it was last asked for, and nothing has been heard of that since.
    pub(super) is_blocked: bool,
    pub(super) result: Option<Result<bool, CallError>>,
}

/// How many entries are in which state.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) unlock: usize,
    pub(super) asking: usize,
    pub(super) load: usize,
    pub(super) blocked: usize,
}

impl Count {
    pub(super) fn of(&mut self, state: &Set) -> &mut usize {
        match state {
            Set::Unlock => &mut self.unlock,
            Set::Lock { .. } | Set::Publish { .. } => &mut self.asking,
            Set::Load { .. } => &mut self.load,
        }
    }
}

/// What the call as a whole waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Writes of this process that came before.
    Turn,
    /// The answers to an attempt.
    Lock,
    /// Another attempt.
    Pause,
    /// The loader.
    Load { since: Instant },
    /// The answers to what was published.
    Publish,
}

impl SetMany {
    pub(super) fn new(keys: Vec<Key>, ttl: Duration, is_many: bool, give_up_at: Instant) -> Self {
        let mut entry_of: BTreeMap<Key, u32> = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::with_capacity(keys.len());
        let mut slots = Vec::with_capacity(keys.len());
        for key in keys {
            let slot = *entry_of.entry(key).or_insert_with_key(|key| {
                let state = Some(Set::Unlock);
                let key = key.clone();
                entries.push(Entry { key, state, is_blocked: false, result: None });
                // As many as the call has keys, which `keys_max` bounds.
                (entries.len() - 1) as u32
            });
            slots.push(slot);
        }
        let mut order: Vec<u32> = (0..entries.len() as u32).collect();
        order.sort_unstable_by_key(|&slot| &entries[slot as usize].key);
        let count = Count { unlock: entries.len(), ..Count::default() };
        Self {
            entries,
            slots,
            order,
            is_many,
            ttl,
            stage: Stage::Turn,
            give_up_at,
            patience: Patience::default(),
            waiting_since: None,
            attempts: 0,
            behind: 0,
            count,
            bound: Duration::ZERO,
            timer: None,
            is_abandoned: false,
        }
    }

    pub(super) fn is_held(&self, slot: u32) -> bool {
        self.held_key(slot).is_some()
    }

    pub(super) fn held_key(&self, slot: u32) -> Option<Key> {
        let entry = self.entries.get(slot as usize)?;
        matches!(entry.state, Some(Set::Load { .. })).then(|| entry.key.clone())
    }

    /// The results in the order of the call's keys.
    pub(super) fn outcome(&self, result: impl Fn(&Entry) -> Result<bool, CallError>) -> Outcome {
        let mut all = self.slots.iter().map(|&slot| result(&self.entries[slot as usize]));
        match (self.is_many, all.next()) {
            (false, Some(only)) => Outcome::Stored(only),
            (_, first) => Outcome::StoredMany(first.into_iter().chain(all).collect()),
        }
    }
}
