//! Batches: their start in parts, and one load for all keys that are free at the same time.
//!
//! The server works on the first keys of a large batch while the commands of the others are made.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call::FetchCall;
use super::fetch::Wanted;
use super::state::Fetches;
use crate::api::answer::Loaded;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::observer::LoadEvent;
use crate::engine::env::{Cx, Env};
use crate::event::Event;
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::{Flight, FlightId};
use crate::protocol::command::Command;

impl Fetches {
    /// Return the start of a batch, or of its latest part, that has keys which are not started.
    pub(crate) fn starting_since(&self) -> Option<Instant> {
        self.starting.front().map(|(since, _)| *since)
    }

    /// Start the next keys of a batch.
    pub(crate) fn start_more(&mut self, env: &mut Env, cx: Cx) {
        if let Some((_, op)) = self.starting.pop_front() {
            self.start_part(env, cx, op);
        }
    }

    /// Start the next keys of this batch.
    pub(super) fn start_part(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(FetchCall::Many(batch)) = self.calls.get(op) else { return };
        let keys = batch.rest.as_slice();
        let part = batch.part.min(keys.len());
        if let Some(rereads) = &self.rereads {
            let keys = keys[..part].iter();
            rereads.prefetch(keys.map(|key| self.flights.hash(key.as_bytes())));
        }
        for _ in 0..part {
            let Some(FetchCall::Many(batch)) = self.calls.get_mut(op) else { break };
            let Some(key) = batch.rest.next() else { break };
            self.coming = batch.rest.len();
            // `keys_max` limits the number of slots.
            let caller = Caller { op, slot: batch.flights.len() as u32 };
            let wanted = Wanted { key, options: batch.options, waits_since: None };
            let flight = self.join_or_start(env, cx, wanted, caller);
            if let Some(FetchCall::Many(batch)) = self.calls.get_mut(op) {
                batch.flights.push(flight);
            }
        }
        self.coming = 0;
        if let Some(FetchCall::Many(batch)) = self.calls.get(op)
            && !batch.is_started()
        {
            return self.starting.push_back((cx.now, op));
        }
        self.start_batch_if_ready(env, cx, op);
    }

    /// Count a flight that a batch leads and that has begun or ended to await a reply.
    pub(super) fn count_reading(&mut self, leader: Caller, change: isize) {
        if let Some(FetchCall::Many(batch)) = self.calls.get_mut(leader.op) {
            batch.reading = batch.reading.saturating_add_signed(change);
        }
    }

    /// Start a batch's load if all its keys are started, all its reads have their replies and none
    /// of its loads runs.
    pub(super) fn start_batch_if_ready(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        if let Some(FetchCall::Many(batch)) = self.calls.get(op)
            && batch.is_started()
            && batch.reading == 0
        {
            self.start_batch(env, cx, op);
        }
    }

    /// Start the load of the batch that has to load the flight's key, even if the batch still
    /// reads other keys: the key's lock blocks other processes.
    pub(super) fn start_due_batch(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        if let Some(Caller { op, .. }) = self.flights.get(id).and_then(Flight::leader)
            && self.is_load_pending(id)
        {
            self.start_batch(env, cx, op);
        }
    }

    /// Return whether the flight's load waits for other keys of its batch.
    pub(super) fn is_load_pending(&self, id: FlightId) -> bool {
        let leader = self.flights.get(id).and_then(Flight::leader);
        leader.is_some_and(|Caller { op, slot }| match self.calls.get(op) {
            Some(FetchCall::Many(batch)) => batch.to_load.contains(&slot),
            Some(FetchCall::One { .. }) | None => false,
        })
    }

    /// Start a batch's load for all keys that wait for it, if none of its loads runs.
    fn start_batch(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(FetchCall::Many(batch)) = self.calls.get_mut(op) else { return };
        if batch.to_load.is_empty() || !batch.loading.is_empty() {
            return;
        }
        let slots = std::mem::take(&mut batch.to_load);
        let mut loading = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(id) = self.loading_flight(Caller { op, slot }) else { continue };
            let Some(flight) = self.flights.get_mut(id) else { continue };
            // Until now the batch was reading other keys.
            flight.fetch.restart_load(cx.now);
            flight.on_load_started();
            flight.fetch.fresh_at = Some(cx.now);
            loading.push((flight.key.clone(), slot));
        }
        if loading.is_empty() {
            return;
        }
        let Some(FetchCall::Many(batch)) = self.calls.get_mut(op) else { return };
        batch.loading = loading;
        batch.load_started = Some(cx.now);
        let keys: Vec<_> = batch.loading.iter().map(|(key, _)| key.clone()).collect();
        env.stats.loads += keys.len() as u64;
        env.push(Event::LoadMany { op, keys });
    }

    /// Handle the result of the loader of a `get_many_with`.
    pub(crate) fn on_loaded_many(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let Some(FetchCall::Many(batch)) = self.calls.get_mut(op) else { return };
        let loading = std::mem::take(&mut batch.loading);
        let took = batch.load_started.take().map_or(Duration::ZERO, |since| cx.now - since);
        let (keys, is_ok) = (loading.len(), loaded.is_ok());
        env.observe(|| LoadEvent::new(keys, took, is_ok));
        match loaded {
            Err(failure) => {
                for (_, slot) in loading {
                    let Some(id) = self.loading_flight(Caller { op, slot }) else { continue };
                    self.take_failure(env, cx, id, failure.clone());
                }
            }
            Ok(found) => self.take_loaded_many(env, cx, (op, loading), (found, took)),
        }
        self.start_batch_if_ready(env, cx, op);
    }

    fn take_loaded_many(
        &mut self,
        env: &mut Env,
        cx: Cx,
        (op, loading): (OpId, Vec<(Key, u32)>),
        (found, took): (Vec<(Key, Loaded)>, Duration),
    ) {
        let compute_time = took / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        // The result, with a mark for the requested keys.
        let found = found.into_iter().map(|(key, loaded)| (key, (loaded, false)));
        let mut found: BTreeMap<Key, (Loaded, bool)> = found.collect();
        for (key, slot) in loading {
            if mutant!(MissingKeyForgotten) && !found.contains_key(&key) {
                continue;
            }
            // Two flights of the key may need the value.
            let one = found.get_mut(&key).map(|(loaded, is_requested)| {
                *is_requested = true;
                loaded.clone()
            });
            let one = one.unwrap_or_else(Loaded::not_found);
            let Some(id) = self.loading_flight(Caller { op, slot }) else { continue };
            self.take_loaded(env, cx, id, (one, compute_time));
        }
        if mutant!(ExtraKeyStored) {
            for (key, (extra, _)) in found.iter().filter(|(_, (_, is_requested))| !is_requested) {
                let payload = extra.value.clone().unwrap_or_default();
                let ttl = Duration::from_secs(9);
                let stamp = env.stamped(Duration::ZERO);
                let insert = Command::Insert { key: key.clone(), payload, stamp, ttl };
                env.send_detached(cx, Some(insert));
            }
        }
        env.stats.extra_keys +=
            found.values().filter(|(_, is_requested)| !is_requested).count() as u64;
    }

    /// Return the flight that a caller loads for. The flight may have ended before the load, and
    /// another may have its id.
    pub(super) fn loading_flight(&self, caller: Caller) -> Option<FlightId> {
        let id = match self.calls.get(caller.op)? {
            FetchCall::One { flight, .. } => (*flight)?,
            FetchCall::Many(batch) => *batch.flights.get(caller.slot as usize)?,
        };
        let flight = self.flights.get(id)?;
        (flight.leader() == Some(caller) && flight.fetch.is_loading()).then_some(id)
    }
}
