//! Loads that keep callers waiting: another caller takes over.
//!
//! A leader loads in its own future or thread. A future that is neither polled nor dropped does not
//! begin to load, or does not end. A batch that leads runs one loader at a time, which may take
//! long.

use super::call::FetchCall;
use super::state::Fetches;
use crate::engine::env::{Cx, Env};
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::{Flight, FlightId, Member};

impl Fetches {
    /// Record that a face runs the loader of a call. Return `false` if the call leads no flight
    /// that loads.
    pub(crate) fn begin_load(&mut self, op: OpId) -> bool {
        let slots = match self.calls.get(op) {
            Some(FetchCall::One { .. }) => vec![0],
            Some(FetchCall::Many(batch)) => batch.loading.iter().map(|(_, slot)| *slot).collect(),
            None => return true,
        };
        let mut leads = false;
        for slot in slots {
            if let Some(id) = self.loading_flight(Caller { op, slot })
                && let Some(flight) = self.flights.get_mut(id)
            {
                flight.fetch.has_begun = true;
                leads = true;
            }
        }
        if !leads && let Some(FetchCall::Many(batch)) = self.calls.get_mut(op) {
            batch.loading.clear();
            batch.load_started = None;
        }
        leads
    }

    /// Have another caller load if the leader has not begun to by the time at which a lock needs
    /// its renewal, or if its load has reached the load timeout.
    ///
    /// At the timeout, only the callers that have waited for the whole load fail with it. So a call
    /// waits for at most one load besides its own.
    pub(super) fn pass_load_on(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        let Some(flight) = self.flights.get(id) else { return };
        let Some(since) = flight.fetch.loading_since() else { return };
        let times = env.load_times();
        let is_over = times.is_over(since, cx.now);
        let is_unbegun = !flight.fetch.has_begun && times.renewed_at(since) <= cx.now;
        if !(is_over || is_unbegun) || mutant!(LoadNotPassedOn) {
            return;
        }
        let answers_stale =
            is_over && env.stale_if_error(cx, &flight.key, flight.fetch.absence).is_some();
        let is_late = |member: &Member| !is_over || !flight.is_early(*member);
        let next = flight.successor(|member| is_late(member) && self.may_begin(member.caller));
        let Some(next) = next.filter(|_| !answers_stale) else { return };
        let Some(flight) = self.flights.get_mut(id) else { return };
        let early = if is_over { flight.take_early_followers() } else { Vec::new() };
        let Some(leader) = flight.pass_to(next) else { return };
        let error = times.timed_out().about(&flight.key);
        if is_over {
            env.stats.joined += early.len() as u64;
            for member in std::iter::once(leader).chain(early) {
                self.answer_caller(env, member.caller, Err(error.clone().into()));
            }
        } else {
            flight.demote(leader);
            self.withdraw(leader.caller);
        }
        let Some(Flight { fetch, .. }) = self.flights.get_mut(id) else { return };
        fetch.restart_load(cx.now);
        self.start_load(env, cx, id);
        self.start_batch_if_ready(env, cx, next.op);
    }

    /// Return whether a caller has not left and could begin to load now.
    fn may_begin(&self, caller: Caller) -> bool {
        match self.calls.get(caller.op) {
            Some(FetchCall::One { .. }) => true,
            Some(FetchCall::Many(batch)) => batch.loading.is_empty(),
            None => false,
        }
    }

    /// Remove a key from the keys that its batch has to load.
    fn withdraw(&mut self, caller: Caller) {
        if let Some(FetchCall::Many(batch)) = self.calls.get_mut(caller.op) {
            batch.to_load.retain(|slot| *slot != caller.slot);
        }
    }
}
