//! The load of a write: its loader, the life of its locks meanwhile, and what becomes of the result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call::Stage;
use super::{Engine, Op};
use crate::api::answer::Loaded;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::observer::Observed;
use crate::event::Event;
use crate::flow::flights::{Caller, OpId};
use crate::flow::get::Failure;
use crate::flow::pace::LoadTimes;
use crate::flow::set::{End, Input, Load};

impl Engine {
    /// All locks that can be had are held.
    pub(super) fn load_set(&mut self, now: Instant, op: OpId) {
        let Some(Op::Set(set)) = self.ops.get_mut(op) else { return };
        set.stage = Stage::Load { since: now };
        let waiting_since = set.waiting_since.take();
        let held = set.entries.iter().filter(|entry| entry.state.is_some());
        let keys: Vec<_> = held.map(|entry| entry.key.clone()).collect();
        self.stats.loads += keys.len() as u64;
        let is_many = set.is_many;
        self.events.push_back(if is_many {
            Event::LoadMany { op, keys }
        } else {
            Event::Load { op }
        });
        self.note_wait(now, waiting_since);
        let at = self.load_times().due_at(now, now, true);
        self.arm_set(op, Some(at));
    }

    pub(super) fn on_set_load_due(&mut self, now: Instant, op: OpId, since: Instant) {
        let times = self.load_times();
        if times.is_over(since, now) {
            let text = format!("the limit is `load_timeout`, {:?}", times.load_timeout);
            let error = Error::new(ErrorKind::LoadTimeout, text);
            return self.end_set(now, op, &End::Failed(error));
        }
        self.advance_all(now, op, || Input::Renew);
        self.arm_set(op, Some(times.due_at(since, now, true)));
    }

    pub(in super::super) fn load_times(&self) -> LoadTimes {
        let (lock_ttl, load_timeout) = (self.config.lock_ttl, self.config.load_timeout);
        LoadTimes { lock_ttl, load_timeout }
    }

    pub(in super::super) fn on_set_loaded(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Loaded, LoadFailure>,
    ) {
        let Some(set) = self.set_mut(op) else { return };
        let Some(entry) = set.entries.first() else { return };
        let key = entry.key.clone();
        self.on_set_loaded_many(now, op, loaded.map(|loaded| vec![(key, loaded)]));
    }

    pub(in super::super) fn on_set_loaded_many(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let Some(set) = self.set_mut(op) else { return };
        let Stage::Load { since } = set.stage else { return };
        let (ttl, held) = (set.ttl, set.count.load);
        let (took, is_ok) = (now - since, loaded.is_ok());
        self.observed(|| Observed::Load { keys: held, took, is_ok });
        let found = match loaded {
            Ok(found) => found,
            Err(failure) => {
                self.stats.load_failures += held as u64;
                return self.end_set(now, op, &End::LoadFailed(Failure(failure)));
            }
        };
        let Some(set) = self.set_mut(op) else { return };
        set.stage = Stage::Publish;
        self.arm_set(op, None);
        let shared = u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        let compute_time = (now - since) / shared;
        let mut found: BTreeMap<Key, Loaded> = found.into_iter().collect();
        let entries = self.set_mut(op).map_or(0, |set| set.order.len());
        for slot in 0..entries as u32 {
            let Some(key) = self.set_mut(op).and_then(|set| set.held_key(slot)) else { continue };
            let input = self.set_input(found.remove(&key), ttl, compute_time);
            self.advance_set(now, Caller { op, slot }, input);
        }
        self.stats.extra_keys += found.len() as u64;
        // Without anything to publish there is no answer to wait for.
        self.steer_set(now, Caller { op, slot: 0 });
    }

    /// What the loader gave for a key, as the key's write is told.
    fn set_input(&self, loaded: Option<Loaded>, ttl: Duration, compute_time: Duration) -> Input {
        let kept = |loaded: &Loaded| loaded.store || mutant!(KeptWriteIsPublished);
        let Some(loaded) = loaded.filter(kept) else {
            return Input::Over(End::Kept);
        };
        if let Some(why) = self.unstorable_load(&loaded, ttl) {
            return Input::Over(End::Failed(Error::new(ErrorKind::InvalidInput, why)));
        }
        let ttl = loaded.ttl.unwrap_or(ttl);
        let payload = loaded.value.unwrap_or_else(|| self.config.not_found_marker.clone());
        Input::Loaded(Load { payload, compute_time, ttl })
    }
}
