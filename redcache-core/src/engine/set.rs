//! Writes under a lock: whose turn it is, what a call does with the locks of all its keys, how it ends.
//!
//! ```text
//!  Turn ──▶ Lock ──▶ Load ──▶ Publish ──▶ done
//!            │ ▲
//!            ▼ │
//!           Pause     nothing is held here
//! ```
//!
//! An attempt asks for the locks of all keys in one pipeline. If somebody else has one of them, what was granted goes
//! back at once, and the next attempt follows when all that were locked may be free. A key that fails by itself drops
//! out; the others go on.

use std::time::{Duration, Instant};

use super::news::Answered;
use super::ops::Op;
use super::{Closing, Engine, Sender};
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::Observed;
use crate::event::Event;
use crate::flow::flights::{Caller, OpId};
use crate::flow::get::Failure;
use crate::flow::set::{End, Input, Outbox, Scene, Step};
use crate::flow::timers::Timer;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;

mod call;
mod load;

pub(super) use call::SetMany;
use call::Stage;

/// Before its second attempt a batch waits for up to this long, then for up to twice as long, and so on. Otherwise two
/// that overlap could forever take from each other what both need.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_DOUBLINGS: u32 = 6;

impl Engine {
    pub(super) fn begin_set(
        &mut self,
        now: Instant,
        keys: Vec<Key>,
        ttl: Duration,
        is_many: bool,
    ) -> Result<OpId, Error> {
        self.check_batch(&keys)?;
        let give_up_at = now + self.config.load_timeout + self.config.lock_ttl;
        let set = SetMany::new(keys, ttl, is_many, give_up_at);
        let keys: Vec<_> = set.entries.iter().map(|entry| entry.key.clone()).collect();
        let op = self.ops.insert(Op::Set(Box::new(set)));
        let mut behind = 0;
        for (slot, key) in (0..).zip(&keys) {
            behind += usize::from(!self.writers.line_up(key, Caller { op, slot }));
        }
        if let Some(set) = self.set_mut(op) {
            set.behind = behind;
        }
        if keys.is_empty() {
            self.finish_set(now, op);
        } else if behind == 0 {
            self.attempt_set(now, op);
        } else {
            self.arm_set(op, Some(give_up_at));
        }
        self.drain(now);
        Ok(op)
    }

    fn set_mut(&mut self, op: OpId) -> Option<&mut SetMany> {
        match self.ops.get_mut(op) {
            Some(Op::Set(set)) => Some(set),
            _ => None,
        }
    }

    /// Asks for the locks of all keys that have no result yet.
    fn attempt_set(&mut self, now: Instant, op: OpId) {
        let Some(set) = self.set_mut(op) else { return };
        set.stage = Stage::Lock;
        set.attempts += 1;
        set.bound = Duration::ZERO;
        let order = set.order.clone();
        self.arm_set(op, None);
        for slot in order {
            self.advance_set(now, Caller { op, slot }, Input::Attempt);
        }
    }

    /// Tells the write of one key something and does what it asks for. One that has its result is told nothing more.
    fn advance_set(&mut self, now: Instant, caller: Caller, input: Input) {
        let Some(Op::Set(set)) = self.ops.get_mut(caller.op) else { return };
        let Some(entry) = set.entries.get_mut(caller.slot as usize) else { return };
        let Some(state) = entry.state.take() else { return };
        let flights = &self.flights;
        let flight = flights.find(entry.key.as_bytes()).and_then(|id| flights.get(id));
        let mut out = Outbox::default();
        let mut scene = Scene {
            now,
            key: &entry.key,
            locks: &mut self.locks,
            loading: flight.and_then(|flight| flight.course.state.lock()),
            overruled: &mut self.overruled,
        };
        let before = state.lock();
        *set.count.of(&state) -= 1;
        set.count.blocked -= usize::from(std::mem::take(&mut entry.is_blocked));
        let step = state.handle(input, &mut scene, &mut out);
        let after = match &step {
            Step::Next(next) => next.lock(),
            Step::Done(_) => None,
        };
        if before != after {
            before.into_iter().for_each(|lock| self.locks.retire(lock));
            after.into_iter().for_each(|lock| self.locks.keep(lock));
        }
        let mut lost = None;
        match step {
            Step::Next(next) => {
                *set.count.of(&next) += 1;
                entry.state = Some(next);
            }
            Step::Done(end) => {
                lost = matches!(end, End::Lost).then(|| entry.key.clone());
                entry.result = Some(result(&entry.key, end));
            }
        }
        if let Some(ttl) = out.blocked {
            entry.is_blocked = true;
            set.count.blocked += 1;
            let (lock_ttl, tracked) = (self.config.lock_ttl, self.is_reported);
            let bound = set.patience.bound(ttl, lock_ttl, tracked, &mut self.rng);
            set.bound = set.bound.max(bound);
        }
        if let Some(key) = lost {
            self.stats.locks_lost += 1;
            self.observed(|| Observed::LockLost(key));
        }
        if let Some(command) = out.send_aside {
            self.send(now, Sender::Nobody.token(), command);
        }
        if let Some(command) = out.send {
            self.send(now, Sender::Call(caller.op, caller.slot).token(), command);
        }
    }

    /// Tells all keys that have no result yet.
    fn advance_all(&mut self, now: Instant, op: OpId, input: impl Fn() -> Input) {
        let count = self.set_mut(op).map_or(0, |set| set.order.len());
        // As many as the call has keys, which `keys_max` bounds.
        for slot in 0..count as u32 {
            self.advance_set(now, Caller { op, slot }, input());
        }
    }

    pub(super) fn on_set_reply(&mut self, now: Instant, caller: Caller, answer: Answered) {
        let Answered { reply, sent_at, interrupted, .. } = answer;
        let input = match reply {
            Reply::WriteLock(reply) => Input::Locked { reply, asked_at: sent_at, interrupted },
            Reply::Effect(done) => Input::Published { done, interrupted },
            Reply::Refused(refusal) => Input::Refused(refusal),
            Reply::Read(_) | Reply::Raw(_) => unreachable!("writes do not read"),
        };
        self.advance_set(now, caller, input);
        self.steer_set(now, caller);
    }

    pub(super) fn on_set_failed(&mut self, now: Instant, caller: Caller, error: Error) {
        self.advance_set(now, caller, Input::Failed(error));
        self.steer_set(now, caller);
    }

    /// One key was answered; decides what the call does next.
    fn steer_set(&mut self, now: Instant, caller: Caller) {
        let op = caller.op;
        let Some(set) = self.set_mut(op) else { return };
        if set.stage == Stage::Lock && set.count.unlock > 0 && set.count.load > 0 {
            // Once one key is locked by somebody else, the others go back as they are granted.
            if set.is_held(caller.slot) {
                self.advance_set(now, caller, Input::GiveBack);
            } else {
                self.give_back_all(now, op);
            }
        }
        if self.set_mut(op).is_some_and(|set| set.is_abandoned) {
            self.advance_set(now, caller, Input::Over(End::Abandoned));
        }
        let Some(set) = self.set_mut(op) else { return };
        if set.count.asking > 0 {
            return;
        }
        match set.stage {
            Stage::Lock if set.is_abandoned => self.end_set(now, op, &End::Abandoned),
            Stage::Lock if set.count.unlock > 0 => self.pause_set(now, op),
            Stage::Lock if set.count.load > 0 => self.load_set(now, op),
            Stage::Lock | Stage::Publish => self.finish_set(now, op),
            Stage::Turn | Stage::Pause | Stage::Load { .. } => {}
        }
    }

    fn give_back_all(&mut self, now: Instant, op: OpId) {
        let Some(set) = self.set_mut(op) else { return };
        let held: Vec<_> = (0..set.order.len() as u32).filter(|&slot| set.is_held(slot)).collect();
        for slot in held {
            self.advance_set(now, Caller { op, slot }, Input::GiveBack);
        }
    }

    fn pause_set(&mut self, now: Instant, op: OpId) {
        let Some(set) = self.set_mut(op) else { return };
        set.stage = Stage::Pause;
        if set.count.blocked == 0 {
            return self.retry_set(now, op);
        }
        let at = (now + set.bound.min(set.give_up_at - now)).min(set.give_up_at);
        set.waiting_since.get_or_insert(now);
        self.stats.lock_waits += 1;
        self.arm_set(op, Some(at));
    }

    /// Nothing that is known of is in the way any more.
    fn retry_set(&mut self, now: Instant, op: OpId) {
        let Some(Op::Set(set)) = self.ops.get_mut(op) else { return };
        let mut pause = set.patience.on_woken().unwrap_or_default();
        if set.entries.len() > 1 {
            let doublings = set.attempts.min(RETRY_DOUBLINGS);
            pause += self.rng.below(RETRY_FIRST * (1 << doublings));
        }
        let at = (now + pause).min(set.give_up_at);
        if at > now {
            self.arm_set(op, Some(at));
        } else {
            self.on_set_due_in_pause(now, op);
        }
    }

    pub(super) fn on_set_due(&mut self, now: Instant, op: OpId) {
        let Some(set) = self.set_mut(op) else { return };
        set.timer = None;
        match set.stage {
            Stage::Turn => self.end_set(now, op, &self.lock_timeout()),
            Stage::Pause => self.on_set_due_in_pause(now, op),
            Stage::Load { since } => self.on_set_load_due(now, op, since),
            Stage::Lock | Stage::Publish => {}
        }
    }

    fn on_set_due_in_pause(&mut self, now: Instant, op: OpId) {
        let Some(set) = self.set_mut(op) else { return };
        if now >= set.give_up_at {
            self.end_set(now, op, &self.lock_timeout());
        } else {
            self.attempt_set(now, op);
        }
    }

    fn lock_timeout(&self) -> End {
        let limit = self.config.load_timeout + self.config.lock_ttl;
        let text = format!("the limit is `load_timeout` and `lock_ttl` together, {limit:?}");
        End::Failed(Error::new(ErrorKind::LockTimeout, text))
    }

    /// The key has changed.
    pub(super) fn wake_set(&mut self, now: Instant, key: &Key) {
        let Some(Caller { op, slot }) = self.writers.first(key) else { return };
        let Some(set) = self.set_mut(op) else { return };
        let Some(entry) = set.entries.get_mut(slot as usize) else { return };
        if !std::mem::take(&mut entry.is_blocked) {
            return;
        }
        set.count.blocked -= 1;
        if set.count.blocked == 0 && set.stage == Stage::Pause {
            self.retry_set(now, op);
        }
    }

    /// All keys of these slots may have changed.
    pub(super) fn wake_all_sets(&mut self, now: Instant, slots: &SlotSet) {
        for op in self.ops.sets() {
            let Some(set) = self.set_mut(op) else { continue };
            let before = set.count.blocked;
            let blocked = set.entries.iter_mut().filter(|entry| entry.is_blocked);
            for entry in blocked.filter(|entry| slots.contains_key(entry.key.as_bytes())) {
                entry.is_blocked = false;
                set.count.blocked -= 1;
            }
            let is_woken = set.count.blocked == 0 && before > 0;
            if is_woken && set.stage == Stage::Pause {
                self.retry_set(now, op);
            }
        }
    }

    /// The caller is gone. What is under way is answered first, then given back.
    pub(super) fn abandon_set(&mut self, now: Instant, op: OpId) {
        let Some(set) = self.set_mut(op) else { return };
        set.is_abandoned = true;
        self.end_set(now, op, &End::Abandoned);
    }

    /// The same for a caller that is still there to be told.
    pub(super) fn fail_set(&mut self, now: Instant, op: OpId, error: &Error) {
        let Some(set) = self.set_mut(op) else { return };
        if !set.is_abandoned {
            let failed = || Err(CallError::Cache(error.clone()));
            let outcome = set.outcome(|entry| entry.result.clone().unwrap_or_else(failed));
            self.events.push_back(Event::Done { op, outcome });
        }
        self.abandon_set(now, op);
    }

    /// Ends what is not answered yet in the same way for all keys.
    fn end_set(&mut self, now: Instant, op: OpId, end: &End) {
        self.advance_all(now, op, || Input::Over(end.clone()));
        if self.set_mut(op).is_some_and(|set| set.count.asking == 0) {
            self.finish_set(now, op);
        }
    }

    /// Tells the outcome and lets those behind have their turn.
    fn finish_set(&mut self, now: Instant, op: OpId) {
        self.arm_set(op, None);
        let Some(Op::Set(set)) = self.end_op(op) else { return };
        self.note_wait(now, set.waiting_since);
        if !set.is_abandoned {
            let abandoned = || Err(CallError::Cache(Error::closed()));
            let outcome = set.outcome(|entry| entry.result.clone().unwrap_or_else(abandoned));
            self.events.push_back(Event::Done { op, outcome });
        }
        for entry in &set.entries {
            if let Some(next) = self.writers.leave(&entry.key, op) {
                self.on_turn(now, next.op);
            }
        }
    }

    /// A write has come to the front for one more of its keys.
    fn on_turn(&mut self, now: Instant, op: OpId) {
        let is_open = self.closing == Closing::No;
        let Some(set) = self.set_mut(op) else { return };
        set.behind -= 1;
        if set.behind == 0 && is_open {
            self.attempt_set(now, op);
        }
    }

    fn arm_set(&mut self, op: OpId, at: Option<Instant>) {
        let Some(Op::Set(set)) = self.ops.get_mut(op) else { return };
        if let Some(at) = std::mem::replace(&mut set.timer, at) {
            self.timers.disarm(Timer::Set(op), at);
        }
        if let Some(at) = at {
            self.timers.arm(Timer::Set(op), at);
        }
    }
}

fn result(key: &Key, end: End) -> Result<bool, CallError> {
    match end {
        End::Stored => Ok(true),
        End::Kept => Ok(false),
        End::Lost => Err(Error::new(ErrorKind::LockLost, "").about(key).into()),
        End::LoadFailed(Failure(failure)) => Err(CallError::Load(failure)),
        End::Failed(error) => Err(error.about(key).into()),
        End::Abandoned => Err(Error::closed().into()),
    }
}
