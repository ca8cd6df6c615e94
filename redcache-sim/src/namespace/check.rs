//! The checks: no answer is older than the commits and clears that had ended one push before.

use bytes::Bytes;
use redcache_core::engine::Generation;

use super::call::{Kind, State};
use super::world::{Event, Floor, Phase, Process, World};
use crate::clock::Micros;
use crate::invariant::{Checked, Invariant};

impl World {
    /// Record the versions that answers must reach after the failed commits whose removals have
    /// been repeated.
    pub(super) fn note_repeated_removals(&mut self) {
        for process in 0..self.processes.len() {
            let Process { port, failed, .. } = &mut self.processes[process];
            if failed.is_empty() || port.engine.stats().removals_waiting > 0 {
                continue;
            }
            for (call, failed_at) in std::mem::take(failed) {
                self.note_floor_since(call, failed_at);
            }
        }
    }

    /// Record the versions that answers must reach after a write.
    pub(super) fn note_floor(&mut self, call: usize) {
        if self.calls[call].kind != Kind::Read {
            self.note_floor_since(call, self.calls[call].started_at);
        }
    }

    /// Record the versions that answers must reach after a write whose commands were sent at
    /// `since` or later.
    fn note_floor_since(&mut self, call: usize, since: Micros) {
        let state = &self.calls[call];
        // A failover may have lost the write.
        if self.lost_at.is_some_and(|at| since <= at) {
            return;
        }
        let (at, is_clear) = (self.timeline.now, state.kind == Kind::Clear);
        for &(key, version) in &state.raises {
            for of in [None, Some(state.process)] {
                let floors = self.floors.entry((key, of)).or_default();
                let highest = floors.last().copied().filter(|last| last.version >= version);
                let floor = Floor { at, version, is_clear };
                floors.push(highest.map_or(floor, |last| Floor { at, ..last }));
            }
        }
    }

    /// Check the value that a read returns.
    pub(super) fn check_answer(
        &mut self,
        call: usize,
        generation: Generation,
        value: Option<&Bytes>,
    ) -> Checked {
        let state = &self.calls[call];
        let parsed = value.and_then(Self::parse).filter(|(key, ..)| *key == state.key);
        let Some((key, version, began)) = parsed else {
            return Err(Invariant::Pairing
                .broken(format!("call {call} gets {value:?} for key {}", state.key)));
        };
        self.timeline.tally.cover(Invariant::LoadBeforeClear);
        let cleared = self.cleared.get(&generation).copied().unwrap_or(0);
        Invariant::LoadBeforeClear.holds(cleared < began, || {
            format!("call {call} gets {value:?}, whose load began before stamp {cleared}")
        })?;
        let since = state.started_at;
        let push = if state.is_fresh { 0 } else { self.plan.push() };
        let floors = [
            self.floor(key, None, since.checked_sub(push)),
            self.floor(key, Some(state.process), Some(since)),
        ];
        for Floor { at, version: at_least, is_clear } in floors.into_iter().flatten() {
            let invariant =
                if is_clear { Invariant::Cleared } else { Invariant::CommitAcrossClear };
            self.timeline.tally.cover(invariant);
            invariant.holds(version >= at_least, || {
                format!(
                    "call {call} of {since} µs gets {value:?}, and a write that ended by {at} µs \
                     had raised it to {at_least}"
                )
            })?;
        }
        Ok(())
    }

    /// Return the highest floor of a key before `at`, of all processes or of one. A write that ends
    /// at `at` may end after a call that begins then.
    fn floor(&self, key: usize, of: Option<usize>, at: Option<Micros>) -> Option<Floor> {
        let floors = self.floors.get(&(key, of))?;
        let count = at.map_or(0, |at| floors.partition_point(|floor| floor.at < at));
        count.checked_sub(1).map(|last| floors[last])
    }

    pub(super) fn check_deadline(&self, call: usize) -> Checked {
        let state = self.calls[call].state;
        Invariant::Completion
            .holds(state == State::Over, || format!("call {call} is {state:?} after its time"))
    }

    /// Make the last calls: all read, one process clears, and all read again.
    pub(super) fn probe(&mut self) -> Checked {
        self.phase = Phase::Probing;
        self.probes_left = 2 * self.processes.len() + 1;
        for process in 0..self.processes.len() {
            self.call(process, Kind::Read, true)?;
        }
        self.call(0, Kind::Clear, true)?;
        for process in 0..self.processes.len() {
            self.timeline.tally.cover(Invariant::Liveness);
            self.call(process, Kind::Read, true)?;
        }
        self.timeline.schedule(self.timeline.now + self.plan.call_lasts() + 1, Event::Rest);
        Ok(())
    }

    /// Check that nothing is left.
    pub(super) fn rest(&mut self) -> Checked {
        for (number, process) in self.processes.iter().enumerate() {
            self.timeline.tally.cover(Invariant::Rest);
            let stats = process.port.engine.stats();
            let left = (process.calls.len(), stats.calls, self.probes_left);
            Invariant::Rest
                .holds(left == (0, 0, 0), || format!("p{number} is left with {left:?} calls"))?;
        }
        self.phase = Phase::Over;
        Ok(())
    }
}
