//! Removals that have failed: repeated once Redis replies, or replaced by a newer write.

use redcache_core::ErrorKind;

use crate::fault::Fault;
use crate::history::{Content, Origin, Stamp, decode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::Kind;
use crate::state::executed::{Executed, Verb};
use crate::state::process::Learned;
use crate::state::world::World;

impl World {
    /// Record the result of an insert or a remove.
    pub(crate) fn note_replacing(&mut self, call: usize, slot: usize, failed: Option<ErrorKind>) {
        let state = &self.calls[call];
        if !replaces(state.kind) {
            return;
        }
        let (key, started) = (state.keys[slot], state.started);
        let process = &mut self.processes[state.process];
        let learned = &mut process.learned[key];
        let Some(kind) = failed else {
            process.has_replaced = true;
            if learned.failed_write.is_none_or(|failed| started > failed) {
                (learned.failed_write, learned.failed_removal) = (None, None);
            }
            return;
        };
        learned.has_failed_write = true;
        learned.failed_write = learned.failed_write.max(Some(started));
        let for_want_of_redis = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::OutcomeUnknown => true,
            // The command may have been refused for good after the deadline.
            ErrorKind::DeadlineExceeded => !self.plan.faults.has(Fault::Forbidden),
            _ => false,
        };
        if for_want_of_redis {
            learned.failed_removal = learned.failed_removal.max(Some(started));
        }
    }

    /// Record that the caller of an insert or a remove has left. Its commands may still fail.
    pub(crate) fn note_dropped_write(&mut self, call: usize) {
        let state = &self.calls[call];
        if replaces(state.kind) {
            for &key in &state.keys {
                let learned = &mut self.processes[state.process].learned[key];
                learned.has_dropped_write = true;
            }
        }
    }

    /// Record that a repeated removal is refused for good, so that the process gives it up.
    pub(crate) fn note_forbidden_removal(&mut self, executed: &Executed, frame: &[u8]) {
        let Executed { process, life, verb: Verb::Remove, sent_at, .. } = *executed else { return };
        if !frame.starts_with(b"-NOPERM") || self.processes[process].life != life {
            return;
        }
        for part in &executed.parts {
            let is_of_a_call = self.waiting.iter().any(|&call| {
                let call = &self.calls[call];
                let may_be_its = call.started_at <= sent_at;
                call.process == process
                    && replaces(call.kind)
                    && call.keys.contains(&part.key)
                    && may_be_its
            });
            if !is_of_a_call {
                self.processes[process].learned[part.key].failed_removal = None;
            }
        }
    }

    /// Return whether a process may execute a removal of a key more often than it was requested.
    pub(crate) fn may_repeat_removal(&self, process: usize, key: usize) -> bool {
        let Learned { has_failed_write, has_dropped_write, has_changed, .. } =
            self.processes[process].learned[key];
        has_failed_write || has_dropped_write || has_changed || self.is_replacing(process, key)
    }

    /// Return whether an insert or a remove of a key has no outcome yet.
    fn is_replacing(&self, process: usize, key: usize) -> bool {
        self.waiting.iter().any(|&call| {
            let call = &self.calls[call];
            call.process == process && replaces(call.kind) && call.keys.contains(&key)
        })
    }

    /// Check that no removal is kept after a newer write of its process has succeeded.
    pub(crate) fn check_kept_removals(&mut self, process: usize) -> Checked {
        if !std::mem::take(&mut self.processes[process].has_replaced) {
            return Ok(());
        }
        self.tally.cover(Invariant::RemovalReplaced);
        let state = &self.processes[process];
        let kept = state.engine.stats().removals_waiting;
        let may_keep = |key: &usize| {
            let Learned { failed_write, has_dropped_write, has_changed, .. } = state.learned[*key];
            let may_fail = failed_write.is_some() || has_dropped_write || has_changed;
            may_fail || self.is_replacing(process, *key)
        };
        let most = (0..self.keys.len()).filter(may_keep).count() as u64;
        Invariant::RemovalReplaced.holds(kept <= most, || {
            format!("p{process} keeps {kept} removals, of which newer writes leave {most}")
        })
    }

    /// Check that no value is left that is older than a failed removal.
    pub(crate) fn check_removals_repeated(&mut self) -> Checked {
        if self.cluster.is_some() {
            return Ok(());
        }
        for (number, process) in self.processes.iter().enumerate() {
            for (key, learned) in process.learned.iter().enumerate() {
                let Some(failed) = learned.failed_removal else { continue };
                self.tally.cover(Invariant::RemovalRepeated);
                Invariant::RemovalRepeated.holds(self.is_since(key, failed), || {
                    format!("key {key} has the value from before the failed removal by p{number}")
                })?;
            }
        }
        Ok(())
    }

    /// Return whether a key holds nothing from before a stamp.
    fn is_since(&self, key: usize, stamp: Stamp) -> bool {
        let model = &self.keys[key];
        let payload = match model.content() {
            Content::Absent | Content::Lock => return true,
            Content::NotFound => None,
            Content::Value(payload) => decode_value(payload),
        };
        let version = payload.and_then(|(_, number)| self.versions.get(number));
        let began = match version.map(|version| version.origin) {
            Some(Origin::Load { begun, .. }) => begun,
            Some(Origin::Insert { .. } | Origin::Foreign) | None => Stamp::MAX,
        };
        let written = model.periods.last().map_or(0, |period| period.from);
        began.min(written) >= stamp
    }
}

fn replaces(kind: Kind) -> bool {
    matches!(kind, Kind::Insert | Kind::InsertMany | Kind::Remove | Kind::RemoveMany)
}
