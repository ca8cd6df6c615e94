//! Locks that replace values: the value put back, and the outcome reported to the writer.

use bytes::Bytes;
use redcache_core::ErrorKind;
use redcache_core::engine::CallError;
use redcache_core::protocol::Script;

use crate::check::near::drift;
use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Content, Origin, Version};
use crate::invariant::{Checked, Invariant};
use crate::state::call::Kind;
use crate::state::executed::{Cause, Executed, Verb};
use crate::state::token::Token;
use crate::state::world::{Phase, World};

impl World {
    /// Record that a process lost a lock through no action of its own.
    pub(crate) fn note_lost_lock(&mut self, key: usize, cause: &Cause<'_>) {
        let held = self.keys[key].raw.as_ref();
        let Some(token) = held.and_then(|held| self.tokens.get(held)) else { return };
        let is_own = matches!(cause, Cause::Command(executed)
        if (executed.process, executed.life) == (token.process, token.life)
            && matches!(
                executed.verb,
                Verb::Script(Script::Publish | Script::Release | Script::Restore)
            ));
        let process = &mut self.processes[token.process];
        if !is_own && process.life == token.life {
            process.learned[key].lock_lost = self.stamp;
        }
    }

    /// Check that an expired lock does not belong to a running load.
    pub(crate) fn check_renewed(&self, key: usize) -> Checked {
        // The first locks on a slow line expire before the round trip is known.
        if !self.plan.is_healthy || self.plan.is_slow || self.phase > Phase::Quiesced {
            return Ok(());
        }
        let held = self.keys[key].raw.as_ref();
        let Some(token) = held.and_then(|held| self.tokens.get(held)) else { return Ok(()) };
        let process = &self.processes[token.process];
        // The lock of a commit that was cut off is left to expire.
        let is_left = self.fenced_for(token) > 0;
        if process.life != token.life || !process.is_open || token.was_changed || is_left {
            return Ok(());
        }
        Invariant::Renewed.holds(process.learned[key].loads == 0, || {
            format!("p{} still loads key {key} after its lock expired", token.process)
        })
    }

    /// Check that a write that gives up its lock puts back the value it replaced.
    pub(crate) fn check_put_back(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
    ) -> Checked {
        let held = self.keys[key].raw.as_ref().and_then(|held| self.tokens.get(held)).cloned();
        let has_ended = raw.is_none()
            && held.as_ref().is_some_and(|it| self.is_ended_load(key, it, executed.sent_at));
        let held = held.as_ref();
        let is_outdated = held.is_some_and(|token| self.is_fence_over(token));
        let Some(Token { write: Some(replaced), granted_at, .. }) = held else {
            let came_back = held.is_some_and(|token| token.came_back);
            return Invariant::PutBack.holds(raw.is_none() || came_back, || {
                format!("the lock of key {key} had replaced nothing")
            });
        };
        self.tally.cover(Invariant::PutBack);
        let mut slack = self.one_way() + drift(self.now - granted_at) + 3_000;
        if !self.plan.is_healthy {
            slack += 2 * self.longest_hold();
        }
        let was_cut = replaced.link != executed.link && !self.links[replaced.link].is_current;
        let is_lost = !self.plan.is_healthy && (was_cut || self.refuses_values());
        let is_unread = replaced.raw.as_ref().is_some_and(|raw| self.is_too_long(raw));
        let Some(raw) = raw else {
            let is_over = replaced.expires_at.is_some_and(|at| at <= self.now + slack);
            // The reply with the old value was lost or the value too long to be read, the server
            // lacked memory to store it, or a commit that was cut off or a value that has ended by
            // now has outdated it.
            let is_outdated = is_outdated || has_ended;
            let fits = replaced.raw.is_none() || is_over || is_lost || is_unread || is_outdated;
            return Invariant::PutBack.holds(fits, || {
                format!("p{} deletes {:?} of key {key}", executed.process, replaced.raw)
            });
        };
        if was_cut && !self.plan.is_healthy {
            // The lock was requested twice, and the request on the lost connection was executed
            // last.
            return Ok(());
        }
        Invariant::PutBack.holds(replaced.raw.as_ref() == Some(raw), || {
            format!("key {key} gets {raw:?} back, and had {:?}", replaced.raw)
        })?;
        self.check_restored_ttl(key, executed, (replaced.expires_at, *granted_at))?;
        let ttl = self.ttl_of(key);
        let expires_at = ttl.map(|ttl| self.now + self.server_clock.stretch(ttl));
        let fits = match (replaced.expires_at, expires_at) {
            (None, None) => true,
            (Some(before), Some(after)) => before.abs_diff(after) <= slack,
            (Some(_), None) | (None, Some(_)) => false,
        };
        Invariant::PutBack.holds(fits, || {
            let before = replaced.expires_at;
            format!("key {key} was to expire at {before:?} µs, and now at {expires_at:?} µs")
        })
    }

    /// Return whether the key holds a lock of a client outside the simulation.
    pub(crate) fn is_locked_by_strangers(&self, key: usize) -> bool {
        let held = self.keys[key].raw.as_ref();
        *self.keys[key].content() == Content::Lock
            && held.is_some_and(|held| !self.tokens.contains_key(held))
    }

    /// Return whether a planned fault makes the server refuse to store values.
    pub(crate) fn refuses_values(&self) -> bool {
        let refusing = [
            Fault::OutOfMemory,
            Fault::Forbidden,
            Fault::TryAgain,
            Fault::ReadOnly,
            Fault::Loading,
            Fault::Busy,
            Fault::TryAgain,
            Fault::ClusterDown,
            Fault::SlotsUnserved,
            Fault::EmptyMap,
            Fault::MovedLoop,
            Fault::MovedToSelf,
            Fault::MovedToUnknown,
        ];
        refusing.into_iter().any(|fault| self.plan.faults.has(fault))
    }

    /// Record that a "not found" of a load is stored.
    ///
    /// The stored bytes do not identify the load, but a value is sent as soon as its load has
    /// ended. If the value had to wait for a connection, the kind of its lock identifies the load.
    pub(crate) fn note_not_found_stored(&mut self, key: usize, token: &Token, sent_at: Micros) {
        let calls = &self.calls;
        let sent_late = |call: usize, ended_at: Micros| {
            ended_at < sent_at && calls[call].kind.is_set() == token.write.is_some()
        };
        let is_it = |version: &Version, is_sent: &dyn Fn(usize, Micros) -> bool| {
            matches!(version.origin, Origin::Load { call, process, life, begun, ended_at }
                if (process, life) == (token.process, token.life)
                    && begun >= token.granted
                    && is_sent(call, ended_at))
                && version.key == key
                && version.payload.is_none()
        };
        let find = |is_sent: &dyn Fn(usize, Micros) -> bool| {
            self.versions.iter().rposition(|version| is_it(version, is_sent))
        };
        let version = find(&|_, ended_at| ended_at == sent_at).or_else(|| find(&sent_late));
        if let Some(version) = version {
            self.versions[version].executed = Some(self.stamp);
        }
    }

    /// Check the outcome reported to a writer that loads its value.
    pub(crate) fn check_stored(
        &mut self,
        call: usize,
        slot: usize,
        result: &Result<bool, CallError>,
    ) -> Checked {
        if self.calls[call].kind == Kind::Change {
            return self.check_changed(call, slot, result);
        }
        self.tally.cover(Invariant::StoredIsReported);
        let state = &self.calls[call];
        let (process, key) = (state.process, state.keys[slot]);
        let loaded = state.versions.iter().map(|&number| &self.versions[number]);
        let stored =
            loaded.filter(|version| version.key == key).find_map(|version| version.executed);
        match result {
            Ok(true) => {
                let stamp = stored.filter(|_| !state.unstored.contains(&key));
                let stamp = stamp.ok_or_else(|| {
                    Invariant::StoredIsReported.broken(format!(
                        "call {call} reports that it stored key {key}, and it did not"
                    ))
                })?;
                let learned = &mut self.processes[process].learned[key];
                learned.own_write = learned.own_write.max(stamp);
                return Ok(());
            }
            Ok(false) => {
                let is_kept = stored.is_none() && state.unstored.contains(&key);
                return Invariant::StoredIsReported.holds(is_kept, || {
                    format!("call {call} reports that it had nothing to store for key {key}")
                });
            }
            Err(CallError::Cache(error)) => {
                let is_certain = matches!(
                    error.kind(),
                    ErrorKind::LockLost
                        | ErrorKind::LockTimeout
                        | ErrorKind::LoadTimeout
                        | ErrorKind::InvalidInput
                );
                Invariant::StoredIsReported.holds(!is_certain || stored.is_none(), || {
                    format!("call {call} has stored key {key} and fails: {error}")
                })?;
                self.check_error(call, slot, error)?;
            }
            Err(CallError::Load(failure)) => {
                Invariant::StoredIsReported.holds(stored.is_none(), || {
                    format!("call {call} has stored key {key} and fails: {failure}")
                })?;
                self.check_failure(call, slot, &failure.to_string())?;
            }
        }
        self.stamp += 1;
        self.processes[process].learned[key].replaced = self.stamp;
        Ok(())
    }

    /// Check that a write waiting for one lock does not keep another.
    pub(crate) fn check_idle_locks(&mut self, limit: Micros) -> Checked {
        for (number, key) in self.keys.iter().enumerate() {
            let Some(token) = key.raw.as_ref().and_then(|raw| self.tokens.get(raw)) else {
                continue;
            };
            let process = &self.processes[token.process];
            let learned = &process.learned[number];
            let is_of_interest =
                token.write.is_some() && process.life == token.life && process.is_open;
            let may_wait = self.reloads_in_batch(token.process, number)
                || self.is_stalled(token.process, number);
            if !is_of_interest || learned.loads > 0 || may_wait {
                continue;
            }
            self.tally.cover(Invariant::IdleLock);
            let since = token.granted_at.max(learned.load_until).max(process.disrupted_at);
            let since = since.max(process.paused_until).max(learned.reloaded_at);
            let limit = limit + self.fenced_for(token);
            Invariant::IdleLock.holds(self.now <= since + limit, || {
                format!("p{} keeps key {number} locked and does not load it", token.process)
            })?;
        }
        Ok(())
    }
}
