//! Calls that are not polled when they have to load: they begin late, or never.

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Call, Kind, State};
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

impl World {
    /// Begin the load of a call, unless the call is not polled for a while.
    pub(super) fn take_load(&mut self, call: usize) -> Checked {
        let Call { kind, style, is_superseded, .. } = &self.calls[call];
        let is_planned = self.plan.faults.has(Fault::LoaderNotPolled)
            && self.phase == Phase::Disturbed
            && (*kind, style.reload, *is_superseded) == (Kind::GetWith, false, false);
        if !is_planned || !self.stall_rng.chance(400) {
            return self.begin_load(call);
        }
        self.tally.fault(Fault::LoaderNotPolled);
        self.calls[call].is_stalled = true;
        self.trace.line(self.now, || format!("call {call} is not polled"));
        if self.stall_rng.chance(500) {
            let lock = u64::try_from(self.plan.times.lock.as_micros()).unwrap_or(0);
            let at = self.now + self.stall_rng.below(2 * lock);
            self.queue.plan(at, Event::Polled(call));
        }
        Ok(())
    }

    /// Return whether a call of the process that has to load the key may not be polled.
    pub(crate) fn is_stalled(&self, process: usize, key: usize) -> bool {
        self.waiting.iter().any(|&call| {
            let call = &self.calls[call];
            (call.process, call.is_stalled) == (process, true) && call.keys.contains(&key)
        })
    }

    /// Poll a call that has to load, unless another has taken its load over.
    pub(super) fn begin_load(&mut self, call: usize) -> Checked {
        let Call { state, load, process, op, keys, is_stalled, .. } = &self.calls[call];
        if *state != State::Waiting || load.is_some() {
            return Ok(());
        }
        let (process, op, keys, is_stalled) = (*process, *op, keys.clone(), *is_stalled);
        if self.processes[process].engine.begin_load(op) {
            return self.start_load(call, keys, false);
        }
        self.trace.line(self.now, || format!("call {call} has passed its load on"));
        Invariant::Completion
            .holds(is_stalled, || format!("the load of call {call} is not its own"))
    }
}
