//! The loads of flights: their start, and the loader's result.

use std::time::Duration;

use super::call::FetchCall;
use super::state::Fetches;
use crate::api::answer::Loaded;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::observer::{LoadEvent, NotStoredEvent};
use crate::engine::env::{Cx, Env};
use crate::event::Event;
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::{Flight, FlightId};
use crate::flow::get::Input;
use crate::flow::publication::{LoadedValue, Publication};

impl Fetches {
    /// Have the leader run its loader.
    pub(super) fn start_load(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let Some(Caller { op, slot }) = flight.leader() else {
            return self.advance(env, cx, id, Input::Abandoned);
        };
        flight.fetch.has_begun = false;
        match self.calls.get_mut(op) {
            Some(FetchCall::One { .. }) => {
                flight.on_load_started();
                flight.fetch.fresh_at = Some(cx.now);
                env.stats.loads += 1;
                env.push(Event::Load { op });
            }
            Some(FetchCall::Many(batch)) => batch.to_load.push(slot),
            None => debug_assert!(false, "a leader's call has not ended"),
        }
    }

    /// Handle the result of the loader of a `get_with`.
    pub(crate) fn on_loaded(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        loaded: Result<Loaded, LoadFailure>,
    ) {
        let Some(id) = self.loading_flight(Caller { op, slot: 0 }) else { return };
        let Some(flight) = self.flights.get(id) else { return };
        let Some(since) = flight.fetch.loading_since() else { return };
        let (took, is_ok) = (cx.now - since, loaded.is_ok());
        env.observe(|| LoadEvent::new(1, took, is_ok));
        match loaded {
            Ok(loaded) => self.take_loaded(env, cx, id, (loaded, took)),
            Err(failure) => self.take_failure(env, cx, id, failure),
        }
    }

    /// Pass a loader's result for one key to its flight.
    pub(super) fn take_loaded(
        &mut self,
        env: &mut Env,
        cx: Cx,
        id: FlightId,
        (loaded, compute_time): (Loaded, Duration),
    ) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        flight.fetch.loaded_by = flight.leader();
        let Flight { key, fetch, .. } = flight;
        let loaded = storable(env, key, loaded, (fetch.options.ttl, compute_time));
        self.advance(env, cx, id, Input::Loaded(loaded));
    }

    /// Pass a loader's error to a flight.
    pub(super) fn take_failure(
        &mut self,
        env: &mut Env,
        cx: Cx,
        id: FlightId,
        failure: LoadFailure,
    ) {
        env.stats.load_failures += 1;
        self.advance(env, cx, id, Input::LoadFailed(failure));
    }
}

/// Return a loader's result in the form that Redis stores. A value that Redis cannot store still
/// answers the callers.
fn storable(
    env: &mut Env,
    key: &Key,
    loaded: Loaded,
    (ttl, compute_time): (Duration, Duration),
) -> LoadedValue {
    let reason = env.unstorable_load(&loaded, ttl);
    let Loaded { value, ttl: own_ttl, mut store } = loaded;
    if let (true, Some(reason)) = (store, reason) {
        store = false;
        env.stats.not_stored += 1;
        env.observe(|| NotStoredEvent::new(key.clone(), reason));
    }
    let publication = store.then(|| Publication {
        payload: value.clone().unwrap_or_else(|| env.config.not_found_marker.clone()),
        compute_time: env.stamped(compute_time),
        ttl: own_ttl.unwrap_or(ttl),
    });
    LoadedValue { value, publication }
}
