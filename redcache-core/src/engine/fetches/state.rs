//! The state of the fetches, and the calls that start them.

use std::collections::VecDeque;
use std::time::Instant;

use super::call::{Batch, FetchCall};
use super::fetch::{Fetch, Wanted};
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::options::{LoadOptions, LoaderId};
use crate::engine::env::{Cx, Env};
use crate::engine::ops::{Machine, OpMap};
use crate::event::Outcome;
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::{FlightId, Flights};
use crate::flow::rereads::Rereads;
use crate::flow::speculation::{LIGHT_TRAFFIC_MAX, Speculation};
use crate::protocol::lock::LockId;

/// The machine of the calls with a loader.
#[derive(Debug)]
pub(crate) struct Fetches {
    pub(super) flights: Flights<Fetch>,
    pub(super) calls: OpMap<FetchCall>,
    pub(super) speculation: Speculation,
    /// The keys that were read lately; `None` without a near cache.
    pub(super) rereads: Option<Rereads>,
    /// The number of commands in flight up to which a first read asks for all that it may need.
    pub(super) light_traffic_max: usize,
    /// The number of keys of the call that is starting for which nothing was sent yet.
    pub(super) coming: usize,
    /// The number of flights that load without a lock in Redis.
    pub(super) direct_loads: usize,
    /// The batches with keys that are not started, each with the start of its latest part.
    pub(super) starting: VecDeque<(Instant, OpId)>,
    /// The smallest number of keys that are a part of a batch.
    pub(super) part_min: usize,
}

/// The smallest number of keys that are a part of a batch. Each part costs system calls on both
/// sides.
const PART_MIN: usize = 48;

impl Fetches {
    /// Create the machine beside a near cache of this size.
    pub(crate) fn new(seed: u64, near_bytes: u64) -> Self {
        Self {
            flights: Flights::new(seed),
            calls: OpMap::default(),
            speculation: Speculation::new(),
            rereads: Rereads::beside(near_bytes),
            light_traffic_max: LIGHT_TRAFFIC_MAX,
            coming: 0,
            direct_loads: 0,
            starting: VecDeque::new(),
            part_min: PART_MIN,
        }
    }

    /// Expect hits, treat more than `light_traffic_max` commands in flight as load, remember at
    /// most `keys` keys that were read, and start as few keys of a batch at the same time.
    pub(crate) fn expect_load(&mut self, light_traffic_max: usize, keys: usize) {
        self.light_traffic_max = light_traffic_max;
        self.speculation.expect_hits();
        self.part_min = keys;
        if let Some(rereads) = &mut self.rereads {
            rereads.limit(keys);
        }
    }

    /// Start a `get_with`.
    pub(crate) fn get(&mut self, env: &mut Env, cx: Cx, key: Key, options: LoadOptions) -> OpId {
        let op = env.start_op(Machine::Fetches);
        let fresh_since = options.fresh_since(cx.now);
        self.calls.insert(op, FetchCall::One { flight: None, fresh_since });
        let caller = Caller { op, slot: 0 };
        let wanted = Wanted { key, options, waits_since: None };
        let flight = self.join_or_start(env, cx, wanted, caller);
        if let Some(call) = self.calls.get_mut(op) {
            call.set_flight(caller, flight);
        }
        op
    }

    /// Start a `get_many_with`.
    pub(crate) fn get_many(
        &mut self,
        env: &mut Env,
        cx: Cx,
        keys: Vec<Key>,
        options: LoadOptions,
    ) -> OpId {
        let op = env.start_op(Machine::Fetches);
        if keys.is_empty() {
            env.finish(op, Outcome::Answers(Vec::new()));
            return op;
        }
        let fresh_since = options.fresh_since(cx.now);
        let batch = Batch::new(keys, options, fresh_since, self.part_min);
        self.calls.insert(op, FetchCall::Many(Box::new(batch)));
        self.start_part(env, cx, op);
        op
    }

    /// Return the number of flights.
    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    /// Return the key of a flight that has not ended.
    pub(crate) fn key_of(&self, id: FlightId) -> Option<&Key> {
        Some(&self.flights.get(id)?.key)
    }

    /// Return the key of a flight, and the registered loader that refreshes it.
    pub(crate) fn refreshed_by(&self, id: FlightId) -> Option<(&Key, LoaderId)> {
        let flight = self.flights.get(id)?;
        Some((&flight.key, flight.fetch.options.refreshed_by?))
    }

    /// Return the lock that the flight of `key` holds or has asked for.
    pub(crate) fn lock_of(&self, key: &Key) -> Option<LockId> {
        self.find(key)?.state.as_ref()?.lock()
    }

    /// Return whether the flight of `key` holds the key's lock.
    pub(crate) fn holds_lock(&self, key: &Key) -> bool {
        self.find(key).and_then(|fetch| fetch.state.as_ref()?.held()).is_some()
    }

    fn find(&self, key: &Key) -> Option<&Fetch> {
        let id = self.flights.find(key.as_bytes())?;
        Some(&self.flights.get(id)?.fetch)
    }

    /// Return whether the call has not ended.
    pub(super) fn is_here(&self, caller: Caller) -> bool {
        self.calls.contains(caller.op)
    }

    /// Note whether a read has missed.
    pub(crate) fn on_read(&mut self, missed: bool) {
        self.speculation.on_read(missed);
    }

    /// End a call with an error. It still has to leave its flights.
    pub(crate) fn fail(&mut self, env: &mut Env, op: OpId, error: &Error) {
        if let Some(call) = self.calls.remove(op) {
            env.finish(op, call.failed(error));
        }
    }

    /// Return the flights that the call is waiting for, with the slots of their keys.
    pub(crate) fn flights_of(&self, op: OpId) -> Vec<(FlightId, u32)> {
        self.calls.get(op).map(FetchCall::open_flights).unwrap_or_default()
    }
}
