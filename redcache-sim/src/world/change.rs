//! Changes: calls that commit a change of the application's data while their keys are locked.
//!
//! The commit takes time. The data changes at some moment of it, even if the process is paused or
//! has left the commit by then, and sometimes if the commit fails.

use bytes::Bytes;

use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Call, Commit, Kind, Load, LoadEnd};
use crate::state::queue::Event;
use crate::state::token::Fence;
use crate::state::world::{Phase, World};

impl World {
    /// Return the keys of the next call if it is a change.
    pub(super) fn next_change(&mut self) -> Option<Vec<usize>> {
        if self.plan.changes == 0 || !self.change_rng.chance(self.plan.changes) {
            return None;
        }
        let count = self.change_rng.weighted(&[(5, 1), (3, 2), (2, 4)]);
        Some((0..count).map(|_| self.change_rng.index(self.keys.len())).collect())
    }

    /// Start the commit of a change.
    pub(super) fn start_commit(&mut self, call: usize, keys: Vec<usize>) -> Checked {
        let process = self.calls[call].process;
        self.stamp += 1;
        let locks = self.check_commit_fenced(call, &keys)?;
        for &key in &keys {
            self.check_accounting(process, key)?;
            self.check_turn(process, key)?;
            self.keys[key].loads += 1;
            let learned = &mut self.processes[process].learned[key];
            learned.loads += 1;
            learned.load_until = Micros::MAX;
        }
        let end = self.commit_end(call);
        let takes = self.commit_time();
        let has_effect = matches!(end, LoadEnd::Committed) || self.change_rng.chance(500);
        self.trace.line(self.now, || format!("call {call} commits: {end:?}, {takes} µs"));
        self.trace.mix(&[call as u64, takes]);
        if has_effect {
            let at = self.now + self.change_rng.below(takes + 1);
            self.queue.plan(at, Event::Commit(call));
        }
        self.set_fence(&locks, Fence::Committing);
        let (begun, begun_at, turn) = (self.stamp, self.now, 1);
        let state = &mut self.calls[call];
        state.loads = turn;
        state.load = Some(Load { turn, keys, begun, begun_at, end });
        state.commit = Some(Commit { locks, changed: None, has_ended: false });
        self.queue.plan(self.now + takes, Event::Loaded(call, turn));
        Ok(())
    }

    fn commit_end(&mut self, call: usize) -> LoadEnd {
        if self.does(Fault::LoaderFails) {
            self.failures.push((call, Micros::MAX));
            return LoadEnd::Failure(self.failures.len() as u64 - 1);
        }
        if self.does(Fault::LoaderPanics) { LoadEnd::Panic } else { LoadEnd::Committed }
    }

    /// Return how long a commit takes. No time limit ends it.
    fn commit_time(&mut self) -> Micros {
        let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(0);
        let (lock, load) = (micros(self.plan.times.lock), micros(self.plan.times.load));
        if self.does(Fault::LoaderNeverEnds) {
            return self.change_rng.between(load, load + 2 * lock);
        }
        if self.does(Fault::LoaderSlowerThanLock) {
            return self.change_rng.between(lock + 1_000, 2 * lock + 50_000);
        }
        if self.does(Fault::LoaderSlow) {
            return self.change_rng.between(5_000, lock / 2 + 5_000);
        }
        self.change_rng.below(8_000)
    }

    /// Return whether a commit has a planned fault of loaders.
    fn does(&mut self, fault: Fault) -> bool {
        let is_planned = self.plan.faults.has(fault) && self.phase == Phase::Disturbed;
        let does = is_planned && self.change_rng.chance(250);
        if does {
            self.tally.fault(fault);
        }
        does
    }

    /// Change the data: everything that was loaded before is outdated.
    pub(crate) fn on_commit(&mut self, call: usize) -> Checked {
        self.stamp += 1;
        let stamp = self.stamp;
        self.trace.line(self.now, || format!("the commit of call {call} takes effect"));
        self.check_fence_up(call)?;
        let Some(commit) = &mut self.calls[call].commit else { return Ok(()) };
        commit.changed = Some(stamp);
        for (key, lock) in &commit.locks {
            let model = &mut self.keys[*key];
            if model.raw.as_ref() == Some(lock) {
                model.committed = stamp;
            }
        }
        Ok(())
    }

    /// Record that a process leaves a commit that runs, whose statement may still take effect.
    pub(super) fn note_commit_cut_off(&mut self, call: usize) {
        let Call { process, commit, keys, .. } = &self.calls[call];
        let Some(commit) = commit else { return };
        let (process, locks) = (*process, commit.locks.clone());
        let is_unclear = |key: &&usize| !locks.iter().any(|(of, _)| of == *key);
        for &key in keys.iter().filter(is_unclear) {
            self.processes[process].learned[key].has_cut_off = true;
        }
        self.set_fence(&locks, Fence::CutOff(self.now));
    }

    /// Record that a process learns of the end of its commit. A panic tells it nothing.
    pub(super) fn note_commit_ended(&mut self, call: usize, load: &Load) {
        let can_fail = self.refuses_values();
        let state = &mut self.calls[call];
        if state.kind != Kind::Change || matches!(load.end, LoadEnd::Panic) {
            return;
        }
        let Some(commit) = &mut state.commit else { return };
        commit.has_ended = true;
        let (locks, changed, process) = (commit.locks.clone(), commit.changed, state.process);
        self.set_fence(&locks, Fence::Ended);
        for &key in &load.keys {
            let process = &mut self.processes[process];
            process.removes[key].asked += 1;
            let learned = &mut process.learned[key];
            learned.has_changed = true;
            if !can_fail {
                learned.failed_removal = learned.failed_removal.max(changed);
            }
        }
    }

    fn set_fence(&mut self, locks: &[(usize, Bytes)], fence: Fence) {
        for (_, lock) in locks {
            if let Some(token) = self.tokens.get_mut(lock) {
                token.fence = fence;
            }
        }
    }

    /// Check that the keys of a change are locked when its commit begins, and return the locks.
    fn check_commit_fenced(
        &mut self,
        call: usize,
        keys: &[usize],
    ) -> Result<Vec<(usize, Bytes)>, crate::invariant::Violation> {
        self.tally.cover(Invariant::CommitFenced);
        let state = &self.calls[call];
        let is_whole = state.keys.iter().all(|key| keys.contains(key));
        Invariant::CommitFenced.holds(is_whole && state.load.is_none(), || {
            format!("call {call} commits with {keys:?} locked of {:?}", state.keys)
        })?;
        let lock_of = |&key: &usize| {
            let of_key = self.tokens.iter().filter(|(_, token)| {
                (token.process, token.life, token.key) == (state.process, state.life, key)
                    && token.write.is_some()
                    && token.granted >= state.started
            });
            // The locks of a process are numbered. An older one may be granted later, to a copy of
            // its command that was delayed on a lost connection.
            let (lock, token) = of_key.max_by_key(|(lock, _)| (lock.len(), *lock))?;
            let lost = self.processes[state.process].learned[key].lock_lost;
            let is_held = self.keys[key].raw.as_ref() == Some(lock) || lost >= token.granted;
            is_held.then(|| (key, lock.clone()))
        };
        // The locks of a reload look like those of a change.
        let is_clear = |key: &&usize| !self.may_reload(call, **key);
        let locks: Option<Vec<_>> = keys.iter().filter(is_clear).map(lock_of).collect();
        locks.ok_or_else(|| {
            Invariant::CommitFenced.broken(format!("call {call} commits without a lock: {keys:?}"))
        })
    }

    /// Return whether a reload of a key may have run since a call began.
    fn may_reload(&self, call: usize, key: usize) -> bool {
        let state = &self.calls[call];
        let reloads = |other: &usize| {
            let other = &self.calls[*other];
            other.process == state.process
                && (other.style.reload || other.is_superseded)
                && other.keys.contains(&key)
        };
        self.processes[state.process].learned[key].reloaded_at >= state.started_at
            || self.waiting.iter().any(reloads)
    }
}
