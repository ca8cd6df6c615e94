//! Outcomes reported to writers against the executed writes.

use redcache_core::Error;

use crate::invariant::{Checked, Invariant};
use crate::state::call::Kind;
use crate::state::world::World;

impl World {
    pub(crate) fn check_written(
        &mut self,
        call: usize,
        slot: usize,
        result: &Result<bool, Error>,
    ) -> Checked {
        self.note_replacing(call, slot, result.as_ref().err().map(Error::kind));
        let effective = match result {
            Ok(effective) => *effective,
            Err(error) => {
                let state = &self.calls[call];
                self.stamp += 1;
                self.processes[state.process].learned[state.keys[slot]].replaced = self.stamp;
                return self.check_error(call, slot, error);
            }
        };
        self.tally.cover(Invariant::Pairing);
        let state = &self.calls[call];
        let (key, started, kind) = (state.keys[slot], state.started, state.kind);
        if !matches!(kind, Kind::Touch | Kind::TouchMany) {
            let acknowledged = &mut self.keys[key].acknowledged;
            *acknowledged = started.max(*acknowledged);
        }
        let is_insert = matches!(kind, Kind::Insert | Kind::InsertMany);
        if is_insert && !self.was_ended_insert(self.calls[call].versions[slot]) {
            let state = &self.calls[call];
            let executed = self.versions[state.versions[slot]].executed;
            let stamp = executed.filter(|_| effective);
            let stamp = stamp.ok_or_else(|| {
                Invariant::Pairing
                    .broken(format!("call {call} reports a write that was not executed"))
            })?;
            let learned = &mut self.processes[state.process].learned[key];
            learned.own_write = learned.own_write.max(stamp);
            return Ok(());
        }
        let process = &mut self.processes[self.calls[call].process];
        let is_touch = matches!(kind, Kind::Touch | Kind::TouchMany);
        let writes = if is_touch { &mut process.touches[key] } else { &mut process.removes[key] };
        let (told, done) = if effective {
            writes.told_effective += 1;
            (writes.told_effective, writes.effective)
        } else {
            writes.told_void += 1;
            (writes.told_void, writes.void)
        };
        Invariant::Pairing.holds(told <= done, || {
            format!("call {call}, {kind:?} of key {key}, reports {effective}; {told} of {done} did")
        })?;
        if !is_touch {
            // It is unknown which deletion belongs to this call; it is none before the call.
            let claimed = writes.unclaimed.iter().position(|&stamp| stamp >= started);
            if let Some(claimed) = claimed {
                let stamp = writes.unclaimed.remove(claimed);
                let learned = &mut process.learned[key];
                learned.own_write = learned.own_write.max(stamp);
            }
        }
        Ok(())
    }
}
