//! TTLs, which count from the call or the end of the load, a wait of the command included.
//!
//! A command whose TTL has ended before it is sent deletes what it would have replaced.

use bytes::Bytes;

use crate::check::near::drift;
use crate::clock::Micros;
use crate::history::{Content, Origin, Stamp, Version, decode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Call, Kind};
use crate::state::executed::Executed;
use crate::state::token::Token;
use crate::state::world::World;

/// The TTL that is too short for Redis, and the deviation of a clock within it.
const TTL_MIN: Micros = 1_020;

impl World {
    /// Check that the value that a key gets ends no later than its TTL after its call or its load.
    pub(super) fn check_ttl(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
    ) -> Checked {
        // A stored "not found" does not identify its load.
        let Content::Value(payload) = Content::of(raw) else { return Ok(()) };
        let version = decode_value(&payload).and_then(|(_, number)| self.versions.get(number));
        let Some(ends_at) = version.and_then(|version| self.ends_at(version)) else {
            return Ok(());
        };
        self.check_end(key, executed, ends_at)
    }

    /// Check that a value that is restored ends no later than before its replacement.
    pub(super) fn check_restored_ttl(
        &mut self,
        key: usize,
        executed: &Executed,
        (ends_at, since): (Option<Micros>, Micros),
    ) -> Checked {
        let Some(ends_at) = ends_at else { return Ok(()) };
        let slack = drift(ends_at.saturating_sub(since)) + TTL_MIN;
        self.check_end(key, executed, ends_at.saturating_add(slack))
    }

    fn check_end(&mut self, key: usize, executed: &Executed, ends_at: Micros) -> Checked {
        let clock = &self.processes[executed.process].clock;
        // The way of the command to the server is not counted.
        let left = self.ttl_of(key).map_or(Micros::MAX, |ttl| clock.stretch(ttl));
        let until = executed.sent_at.saturating_add(left);
        self.tally.cover(Invariant::WaitWithinTtl);
        Invariant::WaitWithinTtl.holds(until <= ends_at + 10, || {
            let sent_at = executed.sent_at;
            format!("key {key} expires {left} µs after {sent_at} µs, and was to end at {ends_at}")
        })
    }

    /// Return the time at which a version ends.
    fn ends_at(&self, version: &Version) -> Option<Micros> {
        let (process, since) = match version.origin {
            Origin::Load { process, ended_at, .. } => (process, ended_at),
            Origin::Insert { call } => (self.calls[call].process, self.calls[call].started_at),
            Origin::Foreign => return None,
        };
        since.checked_add(self.processes[process].clock.stretch(version.ttl))
    }

    fn has_ended(&self, version: &Version, sent_at: Micros) -> bool {
        self.ends_at(version).is_some_and(|at| at <= sent_at + TTL_MIN)
    }

    /// Return whether a process deletes a lock instead of replacing it with a loaded value that has
    /// ended. A call that stores what it loads takes the lock of a write.
    pub(super) fn is_ended_load(&mut self, key: usize, token: &Token, sent_at: Micros) -> bool {
        let is_it = |version: &Version| {
            let is_own = matches!(version.origin, Origin::Load { call, process, life, begun, .. }
                if (process, life) == (token.process, token.life)
                    && begun >= token.granted
                    && (token.write.is_some() || !self.calls[call].kind.is_set()));
            is_own && version.key == key && self.has_ended(version, sent_at)
        };
        let found = self.versions.iter().rposition(is_it);
        if let Some(number) = found {
            self.versions[number].executed = Some(self.stamp);
        }
        found.is_some()
    }

    /// Check that a process deletes a value that its refresh would have replaced, and that the
    /// loaded value has ended.
    pub(super) fn check_discarded(&mut self, key: usize, executed: &Executed) -> Checked {
        let held = self.keys[key].raw.clone();
        let old = Content::of(held.as_ref());
        let periods = &self.keys[key].periods;
        let read_from = periods.iter().find(|period| period.content == old).map(|it| it.from);
        let least = read_from.unwrap_or(Stamp::MAX).max(self.keys[key].overwritten);
        let is_it = |version: &Version| {
            let is_own = matches!(version.origin, Origin::Load { call, process, life, begun, .. }
                if (process, life) == (executed.process, executed.life)
                    && self.calls[call].kind == Kind::Refresh
                    && begun >= least);
            is_own && version.key == key && self.has_ended(version, executed.sent_at)
        };
        let is_expected = executed.part_expecting(key, held.as_ref()).is_some();
        let has_loaded = self.versions.iter().any(is_it);
        self.tally.cover(Invariant::RefreshOver);
        Invariant::RefreshOver.holds(is_expected && has_loaded, || {
            format!("p{} deletes {held:?} of key {key}", executed.process)
        })
    }

    /// Check that a touch that deletes a value has waited until its TTL had ended.
    pub(super) fn check_touched(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
    ) -> Checked {
        let clock = &self.processes[executed.process].clock;
        let ended_before = executed.sent_at + TTL_MIN;
        let has_ended = |call: &Call| {
            (call.process, call.life) == (executed.process, executed.life)
                && matches!(call.kind, Kind::Touch | Kind::TouchMany)
                && call.keys.contains(&key)
                && call.started_at.saturating_add(clock.stretch(self.plan.ttl)) <= ended_before
        };
        let is_ended = raw.is_none() && self.calls.iter().any(has_ended);
        self.tally.cover(Invariant::WaitWithinTtl);
        Invariant::WaitWithinTtl
            .holds(is_ended, || format!("a touch changed key {key} to {raw:?} before its end"))
    }

    /// Return whether a process deletes a key instead of inserting a value that has ended. Such a
    /// deletion counts as a requested removal.
    pub(super) fn is_ended_insert(&mut self, key: usize, executed: &Executed) -> bool {
        let is_it = |version: &Version| {
            let is_own = matches!(version.origin, Origin::Insert { call }
                if self.calls[call].process == executed.process
                    && self.calls[call].life == executed.life);
            is_own
                && version.key == key
                && version.executed.is_none()
                && self.has_ended(version, executed.sent_at)
        };
        let Some(number) = self.versions.iter().position(is_it) else { return false };
        self.end_insert(number);
        true
    }

    /// Return whether a call has deleted a key instead of inserting a value that had ended.
    pub(super) fn was_ended_insert(&mut self, number: usize) -> bool {
        let version = &self.versions[number];
        if version.executed.is_none() && self.has_ended(version, self.now) {
            self.end_insert(number);
        }
        self.versions[number].was_deleted
    }

    fn end_insert(&mut self, number: usize) {
        let version = &mut self.versions[number];
        version.executed = Some(self.stamp);
        version.was_deleted = true;
        if let Origin::Insert { call } = version.origin {
            let process = self.calls[call].process;
            self.processes[process].removes[version.key].asked += 1;
        }
    }
}
