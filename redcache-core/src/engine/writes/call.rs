//! A call that writes keys under their locks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::event::Outcome;
use crate::flow::pace::Patience;
use crate::flow::set::{End, Set};

/// The purpose of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Store the value of one key.
    Insert { ttl: Duration },
    /// Store the values of a batch, which may have a single key.
    InsertMany { ttl: Duration },
    /// Commit a change elsewhere, and remove the keys.
    Change,
}

/// A call that writes keys under their locks.
#[derive(Debug)]
pub(super) struct WriteCall {
    /// The distinct keys, in the order of the call.
    pub(super) keys: Vec<KeyWrite>,
    /// The index into `keys` for each key of the call.
    pub(super) slots: Vec<u32>,
    /// The indices into `keys` in the order of the keys. Writers that lock in the same order block
    /// each other the least.
    pub(super) order: Vec<u32>,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    pub(super) give_up_at: Instant,
    pub(super) patience: Patience,
    /// The start of the call's wait for the locks of others.
    pub(super) waiting_since: Option<Instant>,
    pub(super) attempts: u32,
    /// The number of keys whose queue has another write at its head.
    pub(super) keys_ahead: usize,
    pub(super) count: Count,
    /// The longest wait for the locks that block the call.
    pub(super) bound: Duration,
    pub(super) timer: Option<Instant>,
    /// The caller has left or has its outcome.
    pub(super) is_abandoned: bool,
}

/// One key of a locked write.
#[derive(Debug)]
pub(super) struct KeyWrite {
    pub(super) key: Key,
    /// The state of the write; `None` once there is a result.
    pub(super) state: Option<Set>,
    /// The latest attempt found another's lock, and the key has not changed since.
    pub(super) is_blocked: bool,
    pub(super) result: Option<Result<bool, CallError>>,
}

/// The number of keys in each state.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) waiting: usize,
    pub(super) asking: usize,
    pub(super) holding: usize,
    pub(super) blocked: usize,
}

impl Count {
    pub(super) fn of(&mut self, state: &Set) -> &mut usize {
        match state {
            Set::AwaitUnlock => &mut self.waiting,
            Set::AwaitLock { .. } | Set::Publishing { .. } | Set::Removing { .. } => {
                &mut self.asking
            }
            Set::Loading { .. } => &mut self.holding,
        }
    }
}

/// The awaited event of the call as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The end of this process's earlier writes.
    Turn,
    /// The replies to an attempt.
    Lock,
    /// The next attempt.
    Pause,
    /// The loader's result.
    Load { since: Instant },
    /// The replies to the publications.
    Publish,
}

impl WriteCall {
    pub(super) fn new(keys: Vec<Key>, purpose: Purpose, give_up_at: Instant) -> Self {
        let mut index_of: BTreeMap<Key, u32> = BTreeMap::new();
        let mut writes: Vec<KeyWrite> = Vec::with_capacity(keys.len());
        let mut slots = Vec::with_capacity(keys.len());
        for key in keys {
            let slot = *index_of.entry(key).or_insert_with_key(|key| {
                let (key, state) = (key.clone(), Some(Set::AwaitUnlock));
                writes.push(KeyWrite { key, state, is_blocked: false, result: None });
                // `keys_max` limits the number of keys.
                (writes.len() - 1) as u32
            });
            slots.push(slot);
        }
        let mut order: Vec<u32> = (0..writes.len() as u32).collect();
        order.sort_unstable_by_key(|&slot| &writes[slot as usize].key);
        let count = Count { waiting: writes.len(), ..Count::default() };
        Self {
            keys: writes,
            slots,
            order,
            purpose,
            phase: Phase::Turn,
            give_up_at,
            patience: Patience::default(),
            waiting_since: None,
            attempts: 0,
            keys_ahead: 0,
            count,
            bound: Duration::ZERO,
            timer: None,
            is_abandoned: false,
        }
    }

    /// Return whether the commit of a change is running.
    pub(super) fn is_committing(&self) -> bool {
        self.purpose == Purpose::Change && matches!(self.phase, Phase::Load { .. })
    }

    /// Return the error of a key of a change that cannot be locked. The commit needs all locks.
    pub(super) fn lock_failure(&self) -> Option<End> {
        if mutant!(CommitsUnlocked) {
            return None;
        }
        let mut results = self.keys.iter().map(|write| write.result.as_ref());
        match (self.purpose, results.find_map(|result| result?.as_ref().err())) {
            (Purpose::Change, Some(CallError::Cache(error))) => Some(End::Failed(error.clone())),
            (Purpose::Change, Some(CallError::Load(failure))) => {
                Some(End::LoadFailed(failure.clone()))
            }
            (Purpose::Change, None) | (Purpose::Insert { .. } | Purpose::InsertMany { .. }, _) => {
                None
            }
        }
    }

    /// Return the key of a slot if the call holds its lock.
    pub(super) fn held_key(&self, slot: u32) -> Option<&Key> {
        let write = self.keys.get(slot as usize)?;
        matches!(write.state, Some(Set::Loading { .. })).then_some(&write.key)
    }

    /// Return the slots whose locks the call holds.
    pub(super) fn held_slots(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).filter(|&slot| self.held_key(slot).is_some()).collect()
    }

    /// Return the outcome in the order of the call's keys, with `missing` for keys without result.
    /// A change that still removes its keys has the result of its commit.
    pub(super) fn outcome(&self, missing: &Result<bool, CallError>) -> Outcome {
        let result = |&slot: &u32| {
            let write = &self.keys[slot as usize];
            let committed = || {
                let end = write.state.as_ref()?.committed().filter(|_| !mutant!(CommitDisowned));
                end.map(|end| result(&write.key, end.clone()))
            };
            write.result.clone().or_else(committed).unwrap_or_else(|| missing.clone())
        };
        let mut all = self.slots.iter().map(result);
        let is_many = !matches!(self.purpose, Purpose::Insert { .. });
        match (is_many, all.next()) {
            (false, Some(only)) => Outcome::Stored(only),
            (_, first) => Outcome::StoredMany(first.into_iter().chain(all).collect()),
        }
    }
}

/// Return the result of a write that ends in this way.
pub(super) fn result(key: &Key, end: End) -> Result<bool, CallError> {
    match end {
        End::Stored | End::Changed => Ok(true),
        End::Kept => Ok(false),
        End::Lost => Err(Error::new(ErrorKind::LockLost, "").about(key).into()),
        End::LoadFailed(failure) => Err(CallError::Load(failure)),
        // Another key of the call may be the cause.
        End::Failed(error) if error.key().is_some() => Err(error.into()),
        End::Failed(error) => Err(error.about(key).into()),
        End::Abandoned => Err(Error::closed().into()),
    }
}
