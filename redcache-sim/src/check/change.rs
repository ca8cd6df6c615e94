//! Changes: the locks around a commit, the values from before it, and the reported end.

use bytes::Bytes;
use redcache_core::ErrorKind;
use redcache_core::engine::CallError;

use crate::clock::Micros;
use crate::history::{Origin, decode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::State;
use crate::state::executed::Executed;
use crate::state::token::{Fence, Token};
use crate::state::world::World;

/// The server's next cycle of expiry.
const EXPIRY_CYCLE: Micros = 250_000;

impl World {
    /// Check that a commit takes effect while its locks are held, as far as none was lost.
    pub(crate) fn check_fence_up(&mut self, call: usize) -> Checked {
        self.tally.cover(Invariant::CommitFenced);
        let state = &self.calls[call];
        let process = &self.processes[state.process];
        let is_alive = state.state == State::Waiting && process.life == state.life;
        for (key, lock) in state.commit.iter().flat_map(|commit| &commit.locks) {
            let granted = self.tokens.get(lock).map_or(0, |token| token.granted);
            let is_lost = process.learned[*key].lock_lost >= granted;
            let is_held = self.keys[*key].raw.as_ref() == Some(lock);
            Invariant::CommitFenced.holds(is_held || is_lost || !is_alive, || {
                format!("call {call} commits, and has given the lock of key {key} up")
            })?;
        }
        Ok(())
    }

    /// Return whether a key holds a lock under which a commit has begun.
    pub(crate) fn is_fenced(&self, key: usize) -> bool {
        self.holder(key).is_some_and(|token| token.fence != Fence::Down)
    }

    /// Check that the lock around a commit is released in time, and no value restored.
    pub(crate) fn check_fence_released(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
    ) -> Checked {
        self.tally.cover(Invariant::FenceKept);
        Invariant::FenceKept.holds(raw.is_none(), || {
            format!("p{} restores {raw:?} of key {key} after a commit", executed.process)
        })?;
        self.check_fence_over(key, executed)
    }

    /// Check that a change removes its keys after its commit.
    pub(crate) fn check_fence_removed(&mut self, key: usize, executed: &Executed) -> Checked {
        let process = &self.processes[executed.process];
        let is_own = self.holder(key).is_some_and(|token| {
            (token.process, token.life) == (executed.process, executed.life)
                && process.life == executed.life
        });
        if !is_own || !self.is_fenced(key) {
            return Ok(());
        }
        self.tally.cover(Invariant::FenceKept);
        let writes = &process.removes[key];
        let is_asked = writes.asked > writes.carried_out()
            || self.may_repeat_removal(executed.process, key)
            || self.has_unreleased(executed, key)
            || self.is_ended_insert(key, executed);
        if is_asked { Ok(()) } else { self.check_fence_over(key, executed) }
    }

    fn check_fence_over(&self, key: usize, executed: &Executed) -> Checked {
        let process = &self.processes[executed.process];
        let lock = process.clock.stretch(self.plan.times.lock);
        let fence = self.holder(key).map_or(Fence::Down, |token| token.fence);
        let is_over = match fence {
            Fence::Down | Fence::Ended => true,
            Fence::Committing => false,
            Fence::CutOff(at) => self.now + 1_000 >= at + lock,
        };
        Invariant::FenceKept.holds(is_over, || {
            format!("p{} gives the lock of key {key} up: {fence:?}", executed.process)
        })
    }

    /// Return the lock that a key holds.
    fn holder(&self, key: usize) -> Option<&Token> {
        self.keys[key].raw.as_ref().and_then(|raw| self.tokens.get(raw))
    }

    /// Return how much longer a lock may stay because its commit was cut off.
    pub(crate) fn fenced_for(&self, token: &Token) -> Micros {
        let learned = &self.processes[token.process].learned[token.key];
        let is_cut_off = match token.fence {
            Fence::CutOff(_) => true,
            Fence::Down => token.write.is_some() && learned.has_cut_off,
            Fence::Committing | Fence::Ended => false,
        };
        let ttl = self.server_clock.stretch(self.lock_ttl_max());
        if is_cut_off { ttl + EXPIRY_CYCLE } else { 0 }
    }

    /// Return whether a lock may have been that of a commit which was cut off, and has been kept
    /// for as long as such a commit may still take effect.
    pub(crate) fn is_fence_over(&self, token: &Token) -> bool {
        let clock = &self.processes[token.process].clock;
        let kept_until = token.granted_at + clock.stretch(self.plan.times.lock);
        self.fenced_for(token) > 0 && self.now + 1_000 >= kept_until
    }

    /// Check that a read after a commit returns no value from before it.
    pub(crate) fn check_commit_seen(
        &mut self,
        call: usize,
        slot: usize,
        value: Option<&Bytes>,
    ) -> Checked {
        let state = &self.calls[call];
        let (key, floor) = (state.keys[slot], state.commit_floors[slot]);
        let version = value.and_then(|value| decode_value(value));
        let version = version.and_then(|(_, number)| self.versions.get(number));
        let Some(Origin::Load { begun, .. }) = version.map(|version| version.origin) else {
            return Ok(());
        };
        if floor == 0 || self.cluster.is_some() {
            return Ok(());
        }
        self.tally.cover(Invariant::CommitSeen);
        Invariant::CommitSeen.holds(begun >= floor, || {
            format!(
                "call {call} reads {value:?} of key {key}, loaded at {begun}; commit at {floor}"
            )
        })
    }

    /// Check the outcome reported to a change.
    pub(crate) fn check_changed(
        &mut self,
        call: usize,
        slot: usize,
        result: &Result<bool, CallError>,
    ) -> Checked {
        self.tally.cover(Invariant::CommitReported);
        let state = &self.calls[call];
        let (process, key) = (state.process, state.keys[slot]);
        let has_begun = state.commit.is_some();
        let has_ended = state.commit.as_ref().is_some_and(|commit| commit.has_ended);
        let has_failed = state.given.iter().any(|(of, _)| *of == key);
        let fits = match result {
            Ok(is_changed) => *is_changed && has_ended && !has_failed,
            Err(CallError::Load(_)) => has_ended && has_failed,
            // A cache that closes leaves the commit.
            Err(CallError::Cache(error)) => {
                !has_begun || !has_ended && error.kind() == ErrorKind::Closed
            }
        };
        Invariant::CommitReported.holds(fits, || {
            format!("call {call} ends with {result:?}; begun {has_begun}, ended {has_ended}")
        })?;
        let changed = state.commit.as_ref().and_then(|commit| commit.changed);
        if let Some(changed) = changed.filter(|_| has_ended) {
            let model = &mut self.keys[key];
            model.acknowledged = model.acknowledged.max(changed);
            if model.committed >= changed {
                let learned = &mut self.processes[process].learned[key];
                learned.own_write = learned.own_write.max(changed);
            }
        }
        self.stamp += 1;
        self.processes[process].learned[key].replaced = self.stamp;
        match result {
            Ok(_) => Ok(()),
            Err(CallError::Cache(error)) => self.check_error(call, slot, error),
            Err(CallError::Load(failure)) => self.check_failure(call, slot, &failure.to_string()),
        }
    }
}
