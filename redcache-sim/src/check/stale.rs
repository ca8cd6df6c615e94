//! Answers of calls with options: reloads, deadlines and stale values.

use redcache_core::{Answer, Source};

use crate::history::Origin;
use crate::invariant::{Checked, Invariant};
use crate::state::link::Gate;
use crate::state::near_history::{Copy, Ended};
use crate::state::world::World;

impl World {
    /// Record the entries of a near cache, and the invalidated ones.
    pub(crate) fn note_near_entries(&mut self, process: usize) {
        if !self.plan.allows_stale() {
            return;
        }
        let (now, at) = (self.now, self.time_of(process));
        let link = self.processes[process].links.first().copied();
        let is_open = link.is_some_and(|link| self.links[link].gate == Gate::Passed);
        for key in 0..self.keys.len() {
            let state = &mut self.processes[process];
            let hit = state.engine.near().peek(self.keys[key].name.as_bytes(), at);
            let near_history = &mut state.near_history[key];
            near_history.lose_reads(now, link, is_open);
            if let (Some(hit), Some(link)) = (hit, link) {
                let until = now + state.clock.stretch(hit.ttl);
                near_history.see(now, Copy { value: hit.into_value(), until, link, lost_at: None });
                continue;
            }
            let Some(copy) = &mut near_history.latest else { continue };
            if link != Some(copy.link) {
                copy.lost_at.get_or_insert(now);
            }
            let copy = copy.clone();
            let is_early = near_history.has_ended_early(now, &copy);
            let is_over = if copy.lost_at.is_some() { is_open } else { is_early };
            if is_over {
                near_history.end(now);
            }
        }
    }

    /// Check a stale answer.
    pub(crate) fn check_stale(&mut self, call: usize, slot: usize, answer: &Answer) -> Checked {
        let state = &self.calls[call];
        let (key, process) = (state.keys[slot], &self.processes[state.process]);
        let (for_error, for_wait) = (self.plan.stale_if_error, self.plan.stale_while_revalidate);
        let invariant =
            if for_wait.is_zero() { Invariant::StaleForError } else { Invariant::StaleForWait };
        let is_certain = for_wait.is_zero() || for_error.is_zero();
        let is_reload = state.style.reload && state.kind.loads();
        let is_allowed = self.plan.allows_stale() && !is_reload;
        invariant.holds(is_allowed, || format!("call {call} must not get {answer:?}"))?;
        let near_history = &process.near_history[key];
        let true_until = self.keys[key].last_true_at(answer.value.as_ref(), self.now);
        // A batch reports all answers together with the last.
        let since = if state.kind.is_batch() { state.started_at } else { self.now };
        let ended = near_history.ended.iter().filter(|ended| ended.value == answer.value);
        // What ends in the bytes that the process is reading may end after the answer.
        let has_ended = |ended: &Ended| ended.at < since && true_until <= Some(ended.at);
        invariant.holds(!ended.clone().any(has_ended), || {
            format!("call {call} gets {answer:?} for key {key}, which was invalidated")
        })?;
        let seen = near_history.latest.as_ref().filter(|copy| copy.value == answer.value);
        let seen_until = seen.map(|copy| copy.lost_at.map_or(copy.until, |at| at.min(copy.until)));
        // A value that was stale on arrival was never visible as a hit.
        let mut read = near_history.read.iter();
        let read = read.find(|read| read.value == answer.value);
        let until = seen_until.max(read.map(|read| read.fresh_until));
        // An answer of a batch may be older than the end of its entry.
        let until = until.max(ended.map(|ended| ended.fresh_until).max()).unwrap_or(0);
        let until = until + process.clock.stretch(for_error.max(for_wait)) + 2_000;
        invariant.holds(since <= until, || {
            format!("call {call} gets {answer:?} for key {key}, allowed until {until} µs")
        })?;
        if is_certain {
            self.tally.cover(invariant);
        }
        match &answer.value {
            Some(value) => self.check_spelling(key, value),
            None => Ok(()),
        }
    }

    /// Check that a reload is answered with a value loaded after the call.
    pub(crate) fn check_reloaded(&mut self, call: usize, slot: usize, answer: &Answer) -> Checked {
        let state = &self.calls[call];
        if !state.style.reload || !state.kind.loads() {
            return Ok(());
        }
        let key = state.keys[slot];
        let since = state.started;
        let is_since = self.versions.iter().rev().any(|version| {
            let is_load = matches!(version.origin, Origin::Load { process, life, begun, .. }
                if (process, life) == (state.process, state.life) && begun > since);
            version.key == key && version.payload == answer.value && is_load
        });
        self.tally.cover(Invariant::Reloaded);
        let is_loaded = matches!(answer.source, Source::Loaded | Source::Joined);
        Invariant::Reloaded.holds(is_loaded && is_since, || {
            format!("call {call} reloads key {key} and gets {answer:?}")
        })
    }

    /// Record that a call ended after its deadline; its load goes to the next waiter.
    pub(crate) fn note_deadline(&mut self, call: usize) {
        let state = &self.calls[call];
        let bound = self.bound(state.process, state.style);
        if bound.is_some_and(|bound| self.now + 2 >= state.started_at + bound) {
            self.tally.cover(Invariant::Deadline);
            self.is_handing_over = true;
        }
    }
}
