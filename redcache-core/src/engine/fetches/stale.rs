//! Outdated entries as answers to callers that would wait.

use super::call::FetchCall;
use super::state::Fetches;
use crate::api::answer::Answer;
use crate::engine::env::{Cx, Env};
use crate::engine::stale::is_recent;
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::{FlightId, Member};
use crate::flow::get::Input;

impl Fetches {
    /// Answer the callers that would wait for the load of another caller with the outdated entry,
    /// if there is one. A flight that waits for another process ends with its last caller.
    pub(super) fn answer_stale_waiters(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        let Some(answer) = self.stale_for_waiters(env, cx, id) else { return };
        let Some(flight) = self.flights.get_mut(id) else { return };
        let calls = &self.calls;
        let is_enough = |member: &Member| {
            let call = calls.get(member.caller.op);
            is_recent(cx, &answer, call.and_then(FetchCall::fresh_since))
        };
        let mut answered = flight.take_followers_if(is_enough);
        // A flight that waits for another process continues for the remaining callers.
        if flight.fetch.is_waiting()
            && let Some(leader) = flight.take_leader()
        {
            if is_enough(&leader) {
                answered.push(leader);
                flight.succeed(|op| calls.contains(op));
            } else {
                flight.restore_leader(leader);
            }
        }
        let is_over = flight.fetch.is_waiting() && flight.leader().is_none();
        for member in answered {
            self.answer_stale(env, member.caller, answer.clone());
        }
        if is_over {
            self.advance(env, cx, id, Input::Abandoned);
        }
    }

    fn stale_for_waiters(&self, env: &Env, cx: Cx, id: FlightId) -> Option<Answer> {
        let flight = self.flights.get(id)?;
        let fetch = &flight.fetch;
        let waits = fetch.is_loading() || fetch.is_waiting();
        if !waits || fetch.options.reload {
            return None;
        }
        // A value that has been published meanwhile is not outdated. The next read finds it.
        let is_current = || env.near.peek(flight.key.as_bytes(), cx.now).is_some();
        let answer = env.stale_while_revalidate(cx, &flight.key, fetch.absence);
        answer.filter(|_| !is_current())
    }

    /// Answer the keys of a call that has reached its timeout with their outdated entries.
    pub(crate) fn answer_overdue(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        for (id, slot) in self.flights_of(op) {
            if let Some(flight) = self.flights.get(id)
                && !flight.fetch.options.reload
                && let Some(answer) = env.stale_if_error(cx, &flight.key, flight.fetch.absence)
                && let since = self.calls.get(op).and_then(FetchCall::fresh_since)
                && is_recent(cx, &answer, since)
            {
                self.answer_stale(env, Caller { op, slot }, answer);
            }
        }
    }

    pub(super) fn answer_stale(&mut self, env: &mut Env, caller: Caller, answer: Answer) {
        if self.is_here(caller) {
            env.stats.stale += 1;
            self.answer_caller(env, caller, Ok(answer));
        }
    }
}
