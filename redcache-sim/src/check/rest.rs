//! What is left when everything is over: nothing.

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant, Violation};
use crate::state::world::World;

impl World {
    /// Checks that a process is connected again, and tracked where the server allows it.
    pub(crate) fn check_healed(&mut self) -> Checked {
        for (number, process) in self.processes.iter().enumerate() {
            self.tally.cover(Invariant::Liveness);
            Invariant::Liveness.holds(process.engine.is_connected(), || {
                format!("p{number} has no connection long after the last fault")
            })?;
            let trackable =
                !self.plan.faults.has(Fault::NoTracking) && !self.plan.faults.has(Fault::NoProto);
            Invariant::FailClosed.holds(process.engine.is_tracked() == trackable, || {
                format!("p{number} takes itself for tracked: {}", process.engine.is_tracked())
            })?;
        }
        Ok(())
    }

    /// Checks that nothing is left of all that happened. `false` while there is a process that
    /// was never seen without a heartbeat under way.
    pub(crate) fn check_rest(&mut self) -> Result<bool, Violation> {
        if let Some(&call) = self.waiting.first() {
            let state = &self.calls[call];
            return Err(Invariant::Liveness.broken(format!(
                "call {call}, {:?} of keys {:?} by p{}, made at {} µs, still waits",
                state.kind, state.keys, state.process, state.started_at
            )));
        }
        let is_last = self.rest_checks() == 20;
        let mut is_quiet = true;
        for (number, process) in self.processes.iter_mut().enumerate() {
            let stats = process.engine.stats();
            self.tally.cover(Invariant::Rest);
            let left = (stats.calls, stats.flights, stats.timers);
            Invariant::Rest.holds(left == (0, 0, 0), || {
                format!("p{number} is left with {left:?} calls, flights and timers")
            })?;
            process.was_quiet |= stats.commands == 0;
            is_quiet &= process.was_quiet;
            Invariant::Rest.holds(process.was_quiet || !is_last, || {
                format!("p{number} waits for {} answers", stats.commands)
            })?;
        }
        if !is_quiet {
            return Ok(false);
        }
        for (number, key) in self.keys.iter().enumerate() {
            let lock = key.raw.as_ref().filter(|raw| self.tokens.contains_key(*raw));
            Invariant::Rest
                .holds(lock.is_none(), || format!("key {number} is still locked: {lock:?}"))?;
        }
        Ok(true)
    }
}
