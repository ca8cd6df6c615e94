//! Refresh-ahead: permission to load, what is replaced, and what remains at the end.

use bytes::Bytes;
use redcache_core::REFRESH_LOCK_PREFIX;
use redcache_core::engine::{Event, Outcome};
use redcache_core::protocol::Script;

use crate::check::near::drift;
use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Content, Origin, decode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Kind, State};
use crate::state::executed::{Executed, Verb};
use crate::state::world::World;

impl World {
    /// Return the key whose refresh lock has this name.
    pub(crate) fn key_refreshed_under(&self, name: &[u8]) -> Option<usize> {
        let rest = name.strip_prefix(REFRESH_LOCK_PREFIX.as_bytes())?;
        self.key_named(rest.strip_prefix(b"{")?.strip_suffix(b"}")?)
    }

    /// Record the remaining TTL of each key that is read.
    pub(crate) fn note_read(&mut self, executed: &Executed) {
        if self.plan.refresh.is_none() || executed.verb != Verb::Read {
            return;
        }
        let now = self.now;
        for part in &executed.parts {
            let learned = &mut self.processes[executed.process].learned[part.key];
            let left = part.expires_at.map(|at| at.saturating_sub(now));
            learned.least_left = match (learned.least_left, left) {
                (Some(least), Some(left)) => Some(least.min(left)),
                (least, left) => least.or(left),
            };
        }
    }

    /// Check the effect of a command on a refresh lock.
    pub(crate) fn check_refresh_lock(
        &mut self,
        key: usize,
        executed: &Executed,
        frame: &[u8],
    ) -> Checked {
        let name = [REFRESH_LOCK_PREFIX.as_bytes(), b"{", self.keys[key].name.as_bytes(), b"}"];
        let (name, limit) = (name.concat(), self.lock_ttl_max());
        let server = &self.nodes[self.home(key)].server;
        let (is_held, ttl) = (server.value(0, &name).is_some(), server.ttl(0, &name));
        self.tally.cover(Invariant::RefreshLock);
        Invariant::RefreshLock.holds(!is_held || ttl.is_some_and(|ttl| ttl <= limit), || {
            format!("the refresh lock of key {key} lives {ttl:?}, and the limit is {limit:?}")
        })?;
        let process = &mut self.processes[executed.process];
        match executed.verb {
            Verb::Lock if executed.grants_lock(frame) && process.life == executed.life => {
                process.learned[key].refresh_grants += 1;
                process.learned[key].least_left = None;
                Ok(())
            }
            Verb::Lock | Verb::Script(Script::Release | Script::Renew) => Ok(()),
            // Without a script, the lock is given back by a read and a removal.
            Verb::Read | Verb::Remove if self.has_unreleased(executed, key) => Ok(()),
            other => Err(Invariant::RefreshLock
                .broken(format!("{other:?} changes the refresh lock of key {key}"))),
        }
    }

    /// Check that a process may start loading a key for a refresh.
    pub(crate) fn check_refresh_load(&mut self, process: usize, key: usize) -> Checked {
        let learned = &mut self.processes[process].learned[key];
        learned.refresh_loads += 1;
        let (loads, grants) = (learned.refresh_loads, learned.refresh_grants);
        let left = learned.least_left;
        self.tally.cover(Invariant::RefreshOnce);
        Invariant::RefreshOnce.holds(loads <= grants, || {
            format!("p{process} starts refresh {loads} of key {key} with {grants} locks")
        })?;
        if self.plan.is_healthy && !self.plan.faults.has(Fault::FlushAll) {
            let others = self.waiting.iter().map(|&call| &self.calls[call]);
            let mut others = others.filter(|call| call.kind == Kind::Refresh);
            let other = others.find(|call| {
                call.process != process
                    && call.load.as_ref().is_some_and(|load| load.keys.contains(&key))
            });
            Invariant::RefreshOnce.holds(other.is_none(), || {
                format!("p{process} refreshes key {key}, and another process does too")
            })?;
        }
        let Some(refresh) = self.plan.refresh else { return Ok(()) };
        // Any value can be due by probability, and a loader may have chosen another TTL.
        if refresh.beta > 0.0 || self.plan.faults.has(Fault::LoaderOwnTtl) {
            return Ok(());
        }
        self.tally.cover(Invariant::RefreshDue);
        let part = 1.0 - refresh.after + 1.0 / 32.0;
        let limit = self.server_clock.stretch(self.plan.ttl.mul_f64(part));
        let limit = limit + drift(limit) + 3_000;
        Invariant::RefreshDue.holds(left.is_some_and(|left| left <= limit), || {
            format!("p{process} refreshes key {key}, which had {left:?} µs left; due from {limit}")
        })
    }

    /// Check that a refresh replaces the value it read with a value loaded since.
    pub(crate) fn check_replaced(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
    ) -> Checked {
        self.tally.cover(Invariant::RefreshOver);
        let held = self.keys[key].raw.clone();
        Invariant::RefreshOver
            .holds(executed.part_expecting(key, held.as_ref()).is_some(), || {
                format!("p{} replaced {held:?} of key {key} unread", executed.process)
            })?;
        // A stored "not found" does not identify its load.
        let Content::Value(payload) = Content::of(raw) else { return Ok(()) };
        let number = decode_value(&payload).filter(|(other, _)| *other == key).map(|(_, it)| it);
        let Some(version) = number.and_then(|number| self.versions.get_mut(number)) else {
            return Err(Invariant::BatchExact.broken(format!("key {key} got {payload:?}")));
        };
        version.executed = Some(self.stamp);
        let Origin::Load { call, process, life, begun, .. } = version.origin else {
            return Err(Invariant::RefreshOver.broken(format!("{payload:?} was never loaded")));
        };
        let is_own = (process, life) == (executed.process, executed.life)
            && self.calls[call].kind == Kind::Refresh;
        Invariant::RefreshOver
            .holds(is_own, || format!("{payload:?} of key {key} is of another load"))?;
        let old = Content::of(held.as_ref());
        let read = self.keys[key].periods.iter().find(|period| period.content == old);
        Invariant::RefreshOver.holds(read.is_some_and(|period| period.from <= begun), || {
            format!("p{process} replaced {held:?} of key {key}, which came after its load")
        })?;
        let overwritten = self.keys[key].overwritten;
        Invariant::DeleteBeatsLoad.holds(overwritten <= begun, || {
            format!("{payload:?} was loaded at {begun} and replaces the write at {overwritten}")
        })
    }

    /// Handle the end of a refresh worker.
    pub(crate) fn on_refreshed(
        &mut self,
        process: usize,
        call: usize,
        outcome: &Outcome,
    ) -> Checked {
        let is_fit = matches!(outcome, Outcome::Refreshed);
        Invariant::Pairing.holds(is_fit, || format!("a refresh ends with {outcome:?}"))?;
        let op = self.calls[call].op;
        self.processes[process].forget(op);
        self.end_call(call, State::Done);
        self.end_refresh_worker(process);
        Ok(())
    }

    /// Check at the very end that every process can still refresh every key: no worker is lost, no
    /// key is marked as running, no loader is paused.
    pub(crate) fn check_refreshable(&mut self) -> Checked {
        /// The longest pause after failures of a loader, or after a refused script.
        const REST_MAX: Micros = 61_000_000;
        for process in 0..self.processes.len() {
            let Some(loader_id) = self.processes[process].loader_id() else { continue };
            let clock = self.processes[process].clock;
            let now =
                clock.at(self.now + clock.stretch(std::time::Duration::from_micros(REST_MAX)));
            let names: Vec<_> = self.keys.iter().map(|key| key.name.clone()).collect();
            let engine = &mut self.processes[process].engine;
            let before = engine.stats().refreshes_triggered;
            for name in &names {
                engine.refresh(now, loader_id, name.clone(), now);
            }
            let triggered = engine.stats().refreshes_triggered - before;
            let mut called = 0;
            while let Some(event) = engine.poll_event() {
                called += usize::from(matches!(event, Event::Refresh { .. }));
            }
            self.tally.cover(Invariant::RefreshWorkers);
            let is_able = triggered == names.len() as u64 && called == 1;
            Invariant::RefreshWorkers.holds(is_able, || {
                format!("p{process} takes {triggered} keys and calls for {called} workers")
            })?;
        }
        Ok(())
    }
}
