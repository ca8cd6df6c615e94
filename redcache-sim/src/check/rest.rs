//! The end of a run: nothing may be left behind.

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant, Violation};
use crate::plan::Plan;
use crate::state::process::Process;
use crate::state::world::World;

/// The number of checks by which a process must once have been idle.
const CHECKS_MAX: u32 = 20;

impl Plan {
    /// Return the number of checks by which a process must once have been idle.
    fn rest_checks_max(&self) -> u32 {
        // Each of the two links waits for logins half of the time, and so one of them often does.
        let awaits_logins = self.is_slow && self.provider.is_some() && self.large_value_bytes > 0;
        if awaits_logins { 10 * CHECKS_MAX } else { CHECKS_MAX }
    }
}

impl World {
    /// Check that each process is connected, and tracked where the server supports it.
    pub(crate) fn check_healed(&mut self) -> Checked {
        for (number, process) in self.processes.iter().enumerate() {
            self.tally.cover(Invariant::Liveness);
            Invariant::Liveness.holds(process.engine.is_connected(), || {
                format!("p{number} has no connection long after the last fault")
            })?;
            let is_fit = process.engine.is_tracked() == self.is_trackable();
            Invariant::FailClosed.holds(is_fit, || {
                format!("p{number} reports is_tracked() as {}", process.engine.is_tracked())
            })?;
        }
        Ok(())
    }

    /// Return whether the servers track keys.
    fn is_trackable(&self) -> bool {
        let untracked = [Fault::NoTracking, Fault::NoProto, Fault::HelloHangUp];
        !untracked.into_iter().any(|fault| self.plan.faults.has(fault))
    }

    /// Return whether a process has lost some connections at `HELLO` and is about to try it again.
    pub(crate) fn awaits_hello(&mut self) -> bool {
        let (has_hello, trackable) =
            (!self.plan.faults.has(Fault::HelloHangUp), self.is_trackable());
        let has_begun = self.hello_by.is_some();
        let awaits = |process: &Process| {
            let is_connected = process.engine.is_connected();
            let is_untracked = trackable && !process.engine.is_tracked();
            if has_hello { is_untracked && (is_connected || has_begun) } else { !is_connected }
        };
        if !self.processes.iter().any(awaits) {
            return false;
        }
        let times = &self.plan.times;
        // The pauses double, and the first came before the end of the faults.
        let pauses = 2 * times.reconnect + 2 * times.connect;
        let patience = self.slowest(pauses) + self.plan.disturbed + 20 * self.one_way();
        let now = self.now;
        *self.hello_by.get_or_insert(now + patience) > now
    }

    /// Check that nothing is left of the run. Return `false` while some process has always had a
    /// heartbeat pending.
    pub(crate) fn check_rest(&mut self) -> Result<bool, Violation> {
        if let Some(&call) = self.waiting.first() {
            let state = &self.calls[call];
            return Err(Invariant::Liveness.broken(format!(
                "call {call}, {:?} of keys {:?} by p{}, made at {} µs, still waits",
                state.kind, state.keys, state.process, state.started_at
            )));
        }
        let is_last = self.rest_checks() == self.plan.rest_checks_max();
        let mut is_idle = true;
        for (number, process) in self.processes.iter_mut().enumerate() {
            let stats = process.engine.stats();
            self.tally.cover(Invariant::Rest);
            let left = (stats.calls, stats.flights, stats.timers);
            Invariant::Rest.holds(left == (0, 0, 0), || {
                format!("p{number} is left with {left:?} calls, flights and timers")
            })?;
            process.was_idle |= stats.commands == 0;
            is_idle &= process.was_idle;
            Invariant::Rest.holds(process.was_idle || !is_last, || {
                format!("p{number} waits for {} answers", stats.commands)
            })?;
        }
        if !is_idle {
            return Ok(false);
        }
        self.check_removals_repeated()?;
        for (number, key) in self.keys.iter().enumerate() {
            let lock = key.raw.as_ref().filter(|raw| self.tokens.contains_key(*raw));
            Invariant::Rest
                .holds(lock.is_none(), || format!("key {number} is still locked: {lock:?}"))?;
        }
        Ok(true)
    }
}
