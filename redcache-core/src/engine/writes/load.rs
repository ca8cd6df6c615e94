//! The load of a write: the run of its loader, the renewal of its locks meanwhile, and the loader's
//! result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call::{Phase, Purpose};
use super::state::Writes;
use crate::api::answer::Loaded;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::observer::LoadEvent;
use crate::engine::env::{Cx, Env};
use crate::event::Event;
use crate::flow::call::{Caller, OpId};
use crate::flow::publication::Publication;
use crate::flow::set::{End, Input};
use crate::protocol::command::Command;

impl Writes {
    /// Have the caller run its loader: the call holds all locks that it can get.
    pub(super) fn start_load(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.phase = Phase::Load { since: cx.now };
        let waiting_since = call.waiting_since.take();
        let held = call.keys.iter().filter(|write| write.state.is_some());
        let keys: Vec<_> = held.map(|write| write.key.clone()).collect();
        let purpose = call.purpose;
        if purpose != Purpose::Change {
            env.stats.loads += keys.len() as u64;
        }
        env.push(match purpose {
            Purpose::Insert { .. } => Event::Load { op },
            Purpose::InsertMany { .. } | Purpose::Change => Event::LoadMany { op, keys },
        });
        if purpose == Purpose::Change && mutant!(RemovedBeforeCommit) {
            for write in self.calls.get(op).into_iter().flat_map(|call| &call.keys) {
                env.send_detached(cx, Some(Command::Remove { key: write.key.clone() }));
            }
        }
        env.observe_lock_wait(cx, waiting_since);
        let at = env.load_times().due_at(cx.now, cx.now);
        self.set_timer(env, op, Some(at));
    }

    pub(super) fn on_load_due(&mut self, env: &mut Env, cx: Cx, op: OpId, since: Instant) {
        let times = env.load_times();
        // A commit would continue without its lock, so the lock is renewed until the commit ends.
        let is_committing = self.calls.get(op).is_some_and(|call| call.is_committing());
        if is_committing && !mutant!(CommitTimesOut) {
            self.advance_all(env, cx, op, || Input::Renew);
            return self.set_timer(env, op, Some(times.renewed_at(cx.now)));
        }
        if times.is_over(since, cx.now) {
            let text = format!("the limit is `load_timeout`, {:?}", times.load_timeout);
            let error = Error::new(ErrorKind::LoadTimeout, text);
            return self.end(env, cx, op, &End::Failed(error));
        }
        self.advance_all(env, cx, op, || Input::Renew);
        self.set_timer(env, op, Some(times.due_at(since, cx.now)));
    }

    /// Handle the result of the loader of an `insert_with`.
    pub(crate) fn on_loaded(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        loaded: Result<Loaded, LoadFailure>,
    ) {
        let Some(write) = self.calls.get(op).and_then(|call| call.keys.first()) else { return };
        let key = write.key.clone();
        self.on_loaded_many(env, cx, op, loaded.map(|loaded| vec![(key, loaded)]));
    }

    /// Handle the result of the loader of an `insert_many_with`.
    pub(crate) fn on_loaded_many(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let Some(call) = self.calls.get_mut(op) else { return };
        let Phase::Load { since } = call.phase else { return };
        let ttl = match call.purpose {
            Purpose::Insert { ttl } | Purpose::InsertMany { ttl } => ttl,
            Purpose::Change => return self.on_committed(env, cx, op, loaded.map(drop)),
        };
        let held = call.count.holding;
        let (took, is_ok) = (cx.now - since, loaded.is_ok());
        env.observe(|| LoadEvent::new(held, took, is_ok));
        let found = match loaded {
            Ok(found) => found,
            Err(failure) => {
                env.stats.load_failures += held as u64;
                return self.end(env, cx, op, &End::LoadFailed(failure));
            }
        };
        call.phase = Phase::Publish;
        let count = call.keys.len() as u32;
        self.set_timer(env, op, None);
        let compute_time = took / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        let mut found: BTreeMap<Key, Loaded> = found.into_iter().collect();
        for slot in 0..count {
            let Some(call) = self.calls.get(op) else { return };
            let Some(key) = call.held_key(slot) else { continue };
            let input = input(env, found.remove(key), (ttl, compute_time));
            self.advance(env, cx, Caller { op, slot }, input);
        }
        env.stats.extra_keys += found.len() as u64;
        // If nothing is published, no reply will continue the call.
        self.steer(env, cx, Caller { op, slot: 0 });
    }

    /// Handle the end of the commit of a `change`. It may have changed the data even if it has
    /// failed, so the keys are removed.
    fn on_committed(&mut self, env: &mut Env, cx: Cx, op: OpId, result: Result<(), LoadFailure>) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.phase = Phase::Publish;
        self.set_timer(env, op, None);
        let end = result.map_or_else(End::LoadFailed, |()| End::Changed);
        if matches!(end, End::LoadFailed(_)) && mutant!(FailedCommitPutsBack) {
            return self.end(env, cx, op, &end);
        }
        self.advance_all(env, cx, op, || Input::Committed(end.clone()));
    }
}

/// Return a loader's result for one key as an input of its write.
fn input(env: &mut Env, loaded: Option<Loaded>, (ttl, took): (Duration, Duration)) -> Input {
    let is_stored = |loaded: &Loaded| loaded.store || mutant!(KeptWriteIsPublished);
    let Some(loaded) = loaded.filter(is_stored) else {
        return Input::Over(End::Kept);
    };
    if let Some(why) = env.unstorable_load(&loaded, ttl) {
        return Input::Over(End::Failed(Error::new(ErrorKind::InvalidInput, why)));
    }
    let ttl = loaded.ttl.unwrap_or(ttl);
    let payload = loaded.value.unwrap_or_else(|| env.config.not_found_marker.clone());
    Input::Loaded(Publication { payload, compute_time: env.stamped(took), ttl })
}
