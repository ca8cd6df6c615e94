//! Errors of calls, and their causes.

use redcache_core::{Error, ErrorKind, Key};

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Kind, State};
use crate::state::world::{Phase, World};

impl World {
    pub(crate) fn check_failure(&mut self, call: usize, slot: usize, text: &str) -> Checked {
        let state = &self.calls[call];
        let key = state.keys[slot];
        let number = text.strip_prefix("failure ").and_then(|number| number.parse().ok());
        let failed = number.and_then(|number: usize| self.failures.get(number));
        self.tally.cover(Invariant::FailureIsShared);
        let is_shared = failed.is_some_and(|&(of, at)| {
            let other = &self.calls[of];
            // A write runs its own load.
            (of == call
                || !state.kind.is_set() && !other.kind.is_set() && other.kind != Kind::Refresh)
                && (other.process, other.life) == (state.process, state.life)
                && other.keys.contains(&key)
                && at >= state.started_at
        });
        Invariant::FailureIsShared
            .holds(is_shared, || format!("call {call} fails with {text} of another load"))
    }

    pub(crate) fn check_error(&self, call: usize, slot: usize, error: &Error) -> Checked {
        let state = &self.calls[call];
        let process = &self.processes[state.process];
        let kind = error.kind();
        // A change fails as a whole.
        let may_concern = |name: &Key| match state.kind {
            Kind::Change => state.keys.iter().any(|&key| *name == self.keys[key].name),
            _ => *name == self.keys[state.keys[slot]].name,
        };
        let wrong_key = error.key().is_some_and(|name| !may_concern(name));
        Invariant::Pairing.holds(!wrong_key, || {
            format!("call {call} fails with the error of another key: {error}")
        })?;
        let has_cause = match kind {
            ErrorKind::Closed => process.closing_since.is_some() || !process.is_open,
            // A batch starts loading once all its reads are answered, which shortens its load time.
            ErrorKind::LoadTimeout => {
                let is_held_up = state.kind.is_batch() && !self.plan.is_healthy;
                let is_late = state.is_stalled || is_held_up;
                self.plan.has_long_loads() || self.plan.pauses_processes || is_late
            }
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::OutcomeUnknown => {
                !self.plan.is_healthy
            }
            ErrorKind::Server => !self.plan.is_healthy,
            ErrorKind::Overloaded => !self.plan.is_healthy && self.plan.unanswered_max.is_some(),
            ErrorKind::Protocol => self.was_oversized(call, slot),
            // The server has refused an old token twice.
            ErrorKind::Authentication => {
                self.provider.as_ref().is_some_and(|it| it.has_given_old(state.process))
            }
            ErrorKind::LockLost => {
                state.kind.is_set() && process.learned[state.keys[slot]].lock_lost >= state.started
            }
            ErrorKind::LockTimeout => {
                let patience = self.plan.times.load + self.plan.times.lock;
                let waited = self.now - state.started_at;
                state.kind.is_set() && waited + 1_000 >= process.clock.stretch(patience)
            }
            ErrorKind::DeadlineExceeded => {
                let bound = self.bound(state.process, state.style);
                bound.is_some_and(|bound| self.now + 2 >= state.started_at + bound)
            }
            ErrorKind::InvalidInput => state.unstorable.contains(&state.keys[slot]),
            _ => false,
        };
        Invariant::NoErrorWithoutCause
            .holds(has_cause, || format!("call {call} fails with {error:?}"))?;
        self.check_hang_up(call, slot, error)?;
        self.check_waits_for_room(call, error)?;
        self.check_load_timeout(call, error)?;
        let key = state.keys[slot];
        let is_repeated = state.keys.iter().filter(|&&other| other == key).count() > 1;
        let has_loaded = state.given.iter().any(|(of, _)| *of == key) && !is_repeated;
        let has_loaded = has_loaded && !state.kind.is_set();
        // A batch loader that takes too long is not stopped, and its result is discarded.
        let is_late = kind == ErrorKind::LoadTimeout && state.kind.is_batch();
        let is_cut_short = matches!(kind, ErrorKind::Closed | ErrorKind::DeadlineExceeded);
        Invariant::LoadedIsReturned.holds(!has_loaded || is_late || is_cut_short, || {
            format!("call {call} has loaded and fails with {error:?}")
        })?;
        // The commands wait while the process tries `HELLO` again.
        let verifies_hello = self.plan.faults.has(Fault::HelloHangUp)
            && self.was_cut_off(state.process, state.started_at);
        let is_last = state.style.is_probe && self.phase >= Phase::Probing;
        Invariant::Liveness.holds(!is_last || verifies_hello, || {
            format!("call {call}, made after the faults, fails with {error:?}")
        })
    }

    /// Count a read that may have had to take a load over.
    pub(crate) fn cover_load_timeout(&mut self, call: usize) {
        if self.plan.has_long_loads() && self.calls[call].kind == Kind::GetWith {
            self.tally.cover(Invariant::WholeLoadTime);
        }
    }

    /// Check that a call fails because of a load only if it has waited for all of it.
    fn check_load_timeout(&self, call: usize, error: &Error) -> Checked {
        let state = &self.calls[call];
        let load = self.processes[state.process].clock.stretch(self.plan.times.load);
        let has_waited = self.now + 1_000 >= state.started_at + load;
        // A stale answer for some callers ends the load for all. A call that was not polled, or
        // whose loader runs for other keys, takes no load over.
        let is_exempt = self.plan.allows_stale() || state.is_stalled || state.kind != Kind::GetWith;
        let is_timeout = error.kind() == ErrorKind::LoadTimeout;
        Invariant::WholeLoadTime.holds(has_waited || is_exempt || !is_timeout, || {
            format!("call {call} was made at {} µs and fails with {error:?}", state.started_at)
        })
    }

    /// Check that a call has ended by its deadline.
    pub(crate) fn check_deadline(&self, call: usize) -> Checked {
        let state = &self.calls[call];
        Invariant::Completion.holds(state.state != State::Waiting, || {
            format!("call {call}, {:?} made at {} µs, still waits", state.kind, state.started_at)
        })
    }
}
