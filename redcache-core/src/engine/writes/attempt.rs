//! The locks of a write: attempts, pauses, and the replies of Redis.

use std::time::Duration;

use super::call::{Phase, result};
use super::state::Writes;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::observer::LockLostEvent;
use crate::engine::env::{Cx, Env};
use crate::engine::exchange::{Exchange, mismatch};
use crate::engine::sender::Sender;
use crate::flow::call::{Caller, OpId};
use crate::flow::set::{Context, Effects, End, Input, Step};
use crate::protocol::lock::LockId;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;

/// The upper bound of a batch's first pause, which doubles with each attempt. Without pauses, two
/// overlapping batches could block each other for ever.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_DOUBLINGS: u32 = 6;

impl Writes {
    /// Request the locks of all keys without a result.
    pub(super) fn attempt(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.phase = Phase::Lock;
        call.attempts += 1;
        call.bound = Duration::ZERO;
        let order = call.order.clone();
        self.set_timer(env, op, None);
        for slot in order {
            self.advance(env, cx, Caller { op, slot }, Input::Attempt);
        }
    }

    /// Pass an input to the write of one key and carry out the effects. A key with a result ignores
    /// inputs.
    pub(super) fn advance(&mut self, env: &mut Env, cx: Cx, caller: Caller, input: Input) {
        let Some(call) = self.calls.get_mut(caller.op) else { return };
        let Some(write) = call.keys.get_mut(caller.slot as usize) else { return };
        let Some(state) = write.state.take() else { return };
        let mut effects = Effects::default();
        let (locks, superseded) = (&mut env.locks, &mut env.superseded);
        let mut context = Context { now: cx.now, key: &write.key, locks, superseded };
        let before = state.lock();
        *call.count.of(&state) -= 1;
        call.count.blocked -= usize::from(std::mem::take(&mut write.is_blocked));
        let step = state.handle(input, &mut context, &mut effects);
        let after = match &step {
            Step::Next(next) => next.lock(),
            Step::Done(_) => None,
        };
        if before != after {
            before.into_iter().for_each(|lock| env.locks.retire(lock));
            after.into_iter().for_each(|lock| env.locks.keep(lock));
        }
        let mut is_lost = false;
        match step {
            Step::Next(next) => {
                *call.count.of(&next) += 1;
                write.state = Some(next);
            }
            Step::Done(end) => {
                is_lost = matches!(end, End::Lost);
                write.result = Some(result(&write.key, end));
            }
        }
        if let Some(ttl) = effects.blocked {
            write.is_blocked = true;
            call.count.blocked += 1;
            let bound = call.patience.bound(ttl, env.lock_ttl(), cx.tracked, &mut env.rng);
            call.bound = call.bound.max(bound);
        }
        if is_lost {
            env.stats.locks_lost += 1;
            env.observe(|| LockLostEvent::new(write.key.clone()));
        }
        env.send_detached(cx, effects.send_detached);
        if let Some(command) = effects.send {
            env.send(cx, Sender::Call(caller), command);
        }
    }

    /// Pass an input to all keys without a result.
    pub(super) fn advance_all(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        input: impl Fn() -> Input,
    ) {
        let count = self.calls.get(op).map_or(0, |call| call.keys.len());
        // `keys_max` limits the number of keys.
        for slot in 0..count as u32 {
            self.advance(env, cx, Caller { op, slot }, input());
        }
    }

    /// Handle a reply. `fetching` is the lock under which a flight of this process fetches the key.
    pub(crate) fn on_reply(
        &mut self,
        env: &mut Env,
        cx: Cx,
        caller: Caller,
        (exchange, fetching): (Exchange, Option<LockId>),
    ) {
        let Exchange { issued, reply } = exchange;
        let (asked_at, interrupted) = (issued.sent_at, issued.interrupted);
        let input = match reply {
            Reply::WriteLock(reply) => Input::Locked { reply, asked_at, interrupted, fetching },
            Reply::Effect(done) => Input::Published { done, interrupted },
            Reply::Refused(refusal) => Input::Refused(refusal),
            Reply::Read(_) | Reply::Raw(_) => Input::Failed(mismatch()),
        };
        self.advance(env, cx, caller, input);
        self.steer(env, cx, caller);
    }

    /// Handle the failure of a command without a reply.
    pub(crate) fn on_failed(&mut self, env: &mut Env, cx: Cx, caller: Caller, error: Error) {
        self.advance(env, cx, caller, Input::Failed(error));
        self.steer(env, cx, caller);
    }

    /// Decide the call's next step after the reply for one key.
    pub(super) fn steer(&mut self, env: &mut Env, cx: Cx, caller: Caller) {
        let op = caller.op;
        let Some(call) = self.calls.get(op) else { return };
        if call.phase == Phase::Lock && call.count.waiting > 0 && call.count.holding > 0 {
            // A key of the call is blocked, so the granted locks are released as they arrive.
            let is_held = call.held_key(caller.slot).is_some();
            let slots = if is_held { vec![caller.slot] } else { call.held_slots() };
            for slot in slots {
                self.advance(env, cx, Caller { op, slot }, Input::GiveBack);
            }
        }
        if self.calls.get(op).is_some_and(|call| call.is_abandoned) {
            self.advance(env, cx, caller, Input::Over(End::Abandoned));
        }
        let Some(call) = self.calls.get(op) else { return };
        if call.count.asking > 0 {
            return;
        }
        match call.phase {
            Phase::Lock if call.is_abandoned => self.end(env, cx, op, &End::Abandoned),
            Phase::Lock if call.count.waiting > 0 => self.pause(env, cx, op),
            Phase::Lock if call.count.holding > 0 => match call.lock_failure() {
                Some(end) => self.end(env, cx, op, &end),
                None => self.start_load(env, cx, op),
            },
            Phase::Lock | Phase::Publish => self.finish(env, cx, op),
            Phase::Turn | Phase::Pause | Phase::Load { .. } => {}
        }
    }

    /// Wait until all blocked keys may be free.
    fn pause(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.phase = Phase::Pause;
        if call.count.blocked == 0 {
            return self.retry(env, cx, op);
        }
        let now = cx.now;
        let at = (now + call.bound.min(call.give_up_at - now)).min(call.give_up_at);
        call.waiting_since.get_or_insert(now);
        env.stats.lock_waits += 1;
        env.report_waiting(op);
        self.set_timer(env, op, Some(at));
    }

    /// Attempt again, after a short pause if there have been many attempts.
    fn retry(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        let mut pause = call.patience.on_woken().unwrap_or_default();
        if call.keys.len() > 1 {
            let doublings = call.attempts.min(RETRY_DOUBLINGS);
            pause += env.rng.below(RETRY_FIRST * (1 << doublings));
        }
        let at = (cx.now + pause).min(call.give_up_at);
        if at > cx.now {
            self.set_timer(env, op, Some(at));
        } else {
            self.end_pause(env, cx, op);
        }
    }

    /// Handle a deadline of the call.
    pub(crate) fn on_timer(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get_mut(op) else { return };
        call.timer = None;
        match call.phase {
            Phase::Turn => {
                let end = lock_timeout(env);
                self.end(env, cx, op, &end);
            }
            Phase::Pause => self.end_pause(env, cx, op),
            Phase::Load { since } => self.on_load_due(env, cx, op, since),
            Phase::Lock | Phase::Publish => {}
        }
    }

    fn end_pause(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(call) = self.calls.get(op) else { return };
        if cx.now >= call.give_up_at {
            let end = lock_timeout(env);
            self.end(env, cx, op, &end);
        } else {
            self.attempt(env, cx, op);
        }
    }

    /// Wake the call that waits for the key, because the key has changed and its lock may be free.
    pub(crate) fn wake(&mut self, env: &mut Env, cx: Cx, key: &Key) {
        let Some(Caller { op, slot }) = self.queue.head(key) else { return };
        let Some(call) = self.calls.get_mut(op) else { return };
        let Some(write) = call.keys.get_mut(slot as usize) else { return };
        if !std::mem::take(&mut write.is_blocked) {
            return;
        }
        call.count.blocked -= 1;
        if call.count.blocked == 0 && call.phase == Phase::Pause {
            self.retry(env, cx, op);
        }
    }

    /// Wake the calls that wait for keys of these slots, because all of them may have changed.
    pub(crate) fn wake_all(&mut self, env: &mut Env, cx: Cx, slots: &SlotSet) {
        for op in self.calls.ids() {
            let Some(call) = self.calls.get_mut(op) else { continue };
            let before = call.count.blocked;
            let blocked = call.keys.iter_mut().filter(|write| write.is_blocked);
            for write in blocked.filter(|write| slots.contains_key(write.key.as_bytes())) {
                write.is_blocked = false;
                call.count.blocked -= 1;
            }
            let is_woken = call.count.blocked == 0 && before > 0;
            if is_woken && call.phase == Phase::Pause {
                self.retry(env, cx, op);
            }
        }
    }
}

fn lock_timeout(env: &Env) -> End {
    let limit = env.config.load_timeout + env.config.lock_ttl;
    let text = format!("the limit is `load_timeout` and `lock_ttl` together, {limit:?}");
    End::Failed(Error::new(ErrorKind::LockTimeout, text))
}
