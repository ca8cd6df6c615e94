//! Callers that leave their flights.

use super::state::Fetches;
use crate::engine::env::{Cx, Env};
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::FlightId;
use crate::flow::get::Input;

impl Fetches {
    /// End a call whose caller has left.
    pub(crate) fn cancel(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let flights = self.flights_of(op);
        self.calls.remove(op);
        env.end_op(op);
        self.leave_all(env, cx, op, flights);
    }

    /// Remove a call that has ended from its flights.
    pub(crate) fn leave_all(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        flights: Vec<(FlightId, u32)>,
    ) {
        for (flight, slot) in flights {
            self.leave(env, cx, flight, Caller { op, slot });
        }
    }

    /// Remove a caller from its flight. The next follower succeeds a leader.
    fn leave(&mut self, env: &mut Env, cx: Cx, id: FlightId, caller: Caller) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        if mutant!(LeaderWithoutHandover) && flight.fetch.is_loading() {
            return;
        }
        let calls = &self.calls;
        if flight.leader() != Some(caller) {
            return flight.on_departed(|op| calls.contains(op));
        }
        flight.succeed(|op| calls.contains(op));
        let Some(leader) = flight.leader() else {
            return self.advance(env, cx, id, Input::Abandoned);
        };
        // The successor's load has the whole load timeout.
        flight.fetch.restart_load(cx.now);
        let (is_reading, is_loading) = (flight.fetch.is_reading(), flight.fetch.is_loading());
        if is_reading {
            self.count_reading(leader, 1);
        }
        if is_loading {
            self.start_load(env, cx, id);
            self.start_batch_if_ready(env, cx, leader.op);
        }
    }

    /// End every flight. Its callers have their outcomes already.
    pub(crate) fn close(&mut self, env: &mut Env, cx: Cx) {
        for id in self.flights.select(|_| true) {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.take_leader();
                flight.take_followers();
            }
            self.advance(env, cx, id, Input::Abandoned);
        }
    }
}
