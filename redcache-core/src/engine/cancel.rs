//! Calls that end early: cancelled, past their timeout, or because the cache closes.

use std::time::{Duration, Instant};

use super::env::{Cx, Env};
use super::ops::{Machine, Timeout};
use super::state::Engine;
use crate::api::error::{Error, ErrorKind};
use crate::flow::call::OpId;
use crate::flow::timers::Timer;

impl Engine {
    /// Limit the time of a call that has just begun. It fails with [`ErrorKind::DeadlineExceeded`]
    /// unless it ends within `after`.
    pub fn set_timeout(&mut self, now: Instant, op: OpId, after: Duration) {
        // A limit after the latest representable instant is no limit.
        if let Some(at) = now.checked_add(after) {
            self.set_deadline(op, at, after);
        }
    }

    /// Set the end of the timeout of a call, whose length its error names.
    pub fn set_deadline(&mut self, op: OpId, at: Instant, after: Duration) {
        let Env { ops, timers, .. } = &mut self.env;
        if ops.set_timeout(op, Timeout { at, after }) {
            timers.arm(Timer::Timeout(op), at);
        }
    }

    /// End a call whose caller has left. Its locks pass to the next caller or are undone.
    pub fn cancel(&mut self, now: Instant, op: OpId) {
        let (cx, env) = (Cx::at(now), &mut self.env);
        #[cfg(redcache_mutants)]
        if mutant!(ReplySlotDroppedOnCancel) {
            use super::sender::Sender;
            use crate::flow::call::Caller;
            env.router.drop_slot(Sender::Call(Caller { op, slot: 0 }).token());
        }
        match env.ops.machine(op) {
            Some(Machine::Plain) => self.plain.cancel(env, op),
            Some(Machine::Fetches) => self.fetches.cancel(env, cx, op),
            // Commands in flight are answered first, so that their effects can be undone.
            Some(Machine::Writes) => self.writes.abandon(env, cx, op),
            Some(Machine::Refreshes) => self.refreshes.abandon(env, cx, op),
            Some(Machine::Removals | Machine::Audits) | None => {}
        }
        self.drain(now);
    }

    pub(super) fn on_call_timeout(&mut self, cx: Cx, op: OpId) {
        if mutant!(DeadlineIgnored) {
            return;
        }
        let Some(timeout) = self.env.ops.take_timeout(op) else { return };
        let text = format!("it is {:?}", timeout.after);
        let error = Error::new(ErrorKind::DeadlineExceeded, text);
        let flights = self.fetches.flights_of(op);
        self.fetches.answer_overdue(&mut self.env, cx, op);
        self.plain.answer_overdue(&mut self.env, cx, op);
        if self.env.ops.machine(op) == Some(Machine::Writes) {
            self.writes.on_timeout(&mut self.env, cx, op, &error);
        } else {
            self.fail(cx, op, &error);
        }
        self.fetches.leave_all(&mut self.env, cx, op, flights);
    }

    /// End every call with an error, and every flight.
    pub(super) fn end_all(&mut self, cx: Cx, error: &Error) {
        for op in self.env.ops.ids() {
            self.fail(cx, op, error);
        }
        self.fetches.close(&mut self.env, cx);
    }

    /// End a call with an error. A fetch still has to leave its flights.
    fn fail(&mut self, cx: Cx, op: OpId, error: &Error) {
        let env = &mut self.env;
        match env.ops.machine(op) {
            Some(Machine::Plain) => self.plain.fail(env, op, error),
            Some(Machine::Fetches) => self.fetches.fail(env, op, error),
            Some(Machine::Writes) => self.writes.fail(env, cx, op, error),
            Some(Machine::Refreshes) => self.refreshes.close(env, cx, op),
            Some(Machine::Audits) => env.end_audit(op),
            Some(Machine::Removals) | None => {}
        }
    }
}
