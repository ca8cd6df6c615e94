//! The end of a locked write, and the start of the next one in its queues.

use super::state::Writes;
use crate::api::error::Error;
use crate::api::load_error::CallError;
use crate::engine::env::{Cx, Env};
use crate::event::Event;
use crate::flow::call::OpId;
use crate::flow::set::{End, Input};

impl Writes {
    /// End a call whose caller has left. Commands in flight are answered first, then undone.
    pub(crate) fn abandon(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.is_abandoned = true;
        if call.is_committing() && !mutant!(CutOffPutsBack) {
            return self.cut_off(env, cx, op);
        }
        self.end(env, cx, op, &End::Abandoned);
    }

    /// Leave a change whose commit was cut off. The commit may still take effect, so its locks stay
    /// until they expire.
    fn cut_off(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get(op) else { return };
        let locks: Vec<_> =
            call.keys.iter().filter_map(|write| write.state.as_ref()?.lock()).collect();
        self.advance_all(env, cx, op, || Input::CutOff(End::Abandoned));
        for lock in locks {
            if mutant!(CutOffLockUnused) {
                break;
            }
            env.locks.await_restore(cx.now, lock, cx.now + env.lock_ttl());
        }
        self.finish(env, cx, op);
    }

    /// End a call at its timeout, unless its commit is running.
    pub(crate) fn on_timeout(&mut self, env: &mut Env, cx: Cx, op: OpId, error: &Error) {
        if self.calls.get(op).is_some_and(|call| !call.is_committing()) {
            self.fail(env, cx, op, error);
        }
    }

    /// End a call with an error for its caller.
    pub(crate) fn fail(&mut self, env: &mut Env, cx: Cx, op: OpId, error: &Error) {
        let Some(call) = self.calls.get(op) else { return };
        if !call.is_abandoned {
            let outcome = call.outcome(&Err(CallError::Cache(error.clone())));
            env.push(Event::Done { op, outcome });
        }
        self.abandon(env, cx, op);
    }

    /// End all keys without a command in flight in the same way.
    pub(super) fn end(&mut self, env: &mut Env, cx: Cx, op: OpId, end: &End) {
        self.advance_all(env, cx, op, || Input::Over(end.clone()));
        if self.calls.get(op).is_some_and(|call| call.count.asking == 0) {
            self.finish(env, cx, op);
        }
    }

    /// Report the outcome, and start the next writes of the keys.
    pub(super) fn finish(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        self.set_timer(env, op, None);
        let Some(call) = self.calls.remove(op) else { return };
        env.end_op(op);
        env.observe_lock_wait(cx, call.waiting_since);
        if !call.is_abandoned {
            let outcome = call.outcome(&Err(CallError::Cache(Error::closed())));
            env.push(Event::Done { op, outcome });
        }
        for write in &call.keys {
            if let Some(next) = self.queue.leave(&write.key, op) {
                self.on_turn(env, cx, next.op);
            }
        }
    }

    /// Handle a write that has become the head of one more queue.
    fn on_turn(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.keys_ahead -= 1;
        if call.keys_ahead == 0 && env.is_open() {
            self.attempt(env, cx, op);
        }
    }
}
