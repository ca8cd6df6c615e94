//! The end of a run: nothing may be left behind.

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant, Violation};
use crate::state::link::{Gate, Link};
use crate::state::world::World;

impl World {
    /// Check that each process is connected, and tracked where the server supports it.
    pub(crate) fn check_healed(&mut self) -> Checked {
        for (number, process) in self.processes.iter().enumerate() {
            self.tally.cover(Invariant::Liveness);
            Invariant::Liveness.holds(process.engine.is_connected(), || {
                format!("p{number} has no connection long after the last fault")
            })?;
            let untracked = [Fault::NoTracking, Fault::NoProto, Fault::HelloHangUp];
            let trackable = !untracked.into_iter().any(|fault| self.plan.faults.has(fault));
            let is_fit = process.engine.is_tracked() == trackable
                || trackable && self.has_lost_greetings(number);
            Invariant::FailClosed.holds(is_fit, || {
                format!("p{number} reports is_tracked() as {}", process.engine.is_tracked())
            })?;
        }
        Ok(())
    }

    /// Return whether a process takes the server for one that hangs up at `HELLO`: three of its
    /// links were lost before the answer, and its present one is untracked.
    fn has_lost_greetings(&self, number: usize) -> bool {
        let process = &self.processes[number];
        let is_lost = |link: &&Link| {
            let is_unanswered = match link.gate {
                Gate::Awaiting { last } | Gate::Answered { last, .. } => !last,
                Gate::Open | Gate::Passed => false,
            };
            (link.process, link.life) == (number, process.life) && !link.is_current && is_unanswered
        };
        let is_tracked = process.links.iter().any(|&link| self.links[link].tracked);
        !is_tracked && self.links.iter().filter(is_lost).count() >= 3
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
        let is_last = self.rest_checks() == 20;
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
