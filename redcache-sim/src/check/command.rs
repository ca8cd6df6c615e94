//! The effect of each command on its keys, checked as the server executes it.

use bytes::Bytes;
use redcache_core::LOCK_PREFIX;
use redcache_core::protocol::Script;

use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Content, Origin, decode_value};
use crate::invariant::{Checked, Invariant};
use crate::request::words;
use crate::state::executed::{Cause, Executed, Part, Verb};
use crate::state::link::Gate;
use crate::state::token::{Fence, Replaced, Token};
use crate::state::world::World;

impl World {
    /// Check that `cause` may have changed `key` to `raw`.
    pub(crate) fn check_change(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        cause: &Cause<'_>,
    ) -> Checked {
        self.note_lost_lock(key, cause);
        match cause {
            Cause::Time => {
                Invariant::Lifetime
                    .holds(raw.is_none(), || "expiry gave a key a value".to_owned())?;
                self.tally.fault(Fault::Expiry);
                self.check_renewed(key)?;
                if *self.keys[key].content() == Content::Lock {
                    // A waiter notices at the server's next expiry cycle or by its own timer.
                    self.keys[key].unlocked_since = Some(self.now + 250_000);
                }
                Ok(())
            }
            Cause::Fault => Ok(()),
            Cause::Foreign(_) => {
                self.keys[key].overwritten = self.stamp;
                Ok(())
            }
            Cause::Command(executed) => {
                // Any command may expire a key lazily.
                if executed.verb == Verb::Read && raw.is_none() {
                    return Ok(());
                }
                let Some(part) = executed.part(key) else {
                    // The key was evicted, or its readers were dropped from a full tracking table.
                    return Ok(());
                };
                match executed.verb {
                    Verb::Lock => self.check_lock(key, raw, executed),
                    Verb::Insert => self.check_ttl(key, raw, executed),
                    Verb::Remove => self.check_fence_removed(key, executed),
                    Verb::Script(Script::Publish) => {
                        self.check_publish(key, raw, executed)?;
                        self.check_ttl(key, raw, executed)
                    }
                    Verb::Script(Script::WriteLock) => {
                        self.check_write_lock(key, raw, executed, part.expires_at)
                    }
                    Verb::Script(Script::Release) if *self.keys[key].content() != Content::Lock => {
                        self.check_discarded(key, executed)
                    }
                    Verb::Script(Script::Release | Script::Restore) => {
                        self.check_holder(key, executed)?;
                        if self.is_fenced(key) {
                            return self.check_fence_released(key, raw, executed);
                        }
                        self.check_put_back(key, raw, executed)
                    }
                    Verb::Script(Script::Replace) => {
                        self.check_replaced(key, raw, executed)?;
                        self.check_ttl(key, raw, executed)
                    }
                    Verb::Script(Script::Touch) => self.check_touched(key, raw, executed),
                    Verb::Script(Script::Renew)
                    | Verb::Read
                    | Verb::Queued
                    | Verb::Epoch
                    | Verb::Owners
                    | Verb::Other => {
                        let text = format!("{:?} changed key {key}", executed.verb);
                        Err(Invariant::ReleaseOwn.broken(text))
                    }
                }
            }
        }
    }

    fn check_lock(&mut self, key: usize, raw: Option<&Bytes>, executed: &Executed) -> Checked {
        let process = executed.process;
        self.tally.cover(Invariant::LockOverNothing);
        let held = &self.keys[key].raw;
        Invariant::LockOverNothing
            .holds(held.is_none(), || format!("p{process} locked key {key} over {held:?}"))?;
        self.record_token(key, raw, executed, None)
    }

    /// Check that a write's lock replaces a value, never another lock.
    fn check_write_lock(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
        expires_at: Option<Micros>,
    ) -> Checked {
        self.tally.cover(Invariant::LockOverNothing);
        let is_free = *self.keys[key].content() != Content::Lock;
        Invariant::LockOverNothing
            .holds(is_free, || format!("p{} replaced the lock of key {key}", executed.process))?;
        let raw_before = self.keys[key].raw.clone();
        let link = executed.link;
        let expires_at = expires_at.filter(|_| raw_before.is_some());
        self.record_token(key, raw, executed, Some(Replaced { raw: raw_before, expires_at, link }))
    }

    fn record_token(
        &mut self,
        key: usize,
        raw: Option<&Bytes>,
        executed: &Executed,
        write: Option<Replaced>,
    ) -> Checked {
        self.keys[key].grants += 1;
        let Executed { process, life, .. } = *executed;
        let Some(raw) = raw.filter(|raw| raw.starts_with(LOCK_PREFIX.as_bytes())) else {
            return Err(Invariant::LockOverNothing.broken("a lock that does not look like one"));
        };
        self.tally.cover(Invariant::UniqueTokens);
        let (granted, granted_at) = (self.stamp, self.now);
        let (was_changed, came_back, fence) = (false, false, Fence::Down);
        let token =
            Token { process, life, key, granted, granted_at, was_changed, came_back, write, fence };
        // A lock request whose reply was lost is repeated with the same token and starts over.
        let known = self.tokens.insert(raw.clone(), token.clone()).unwrap_or(token);
        Invariant::UniqueTokens
            .holds((known.process, known.life, known.key) == (process, life, key), || {
                format!("p{process} took a token that p{} used on key {}", known.process, known.key)
            })
    }

    fn check_holder(&mut self, key: usize, executed: &Executed) -> Checked {
        let held = self.keys[key].raw.as_ref();
        let token = held.and_then(|held| self.tokens.get(held));
        let is_own = token
            .is_some_and(|it| (it.process, it.life) == (executed.process, executed.life))
            && executed.part_expecting(key, held).is_some();
        self.tally.cover(Invariant::ReleaseOwn);
        self.tally.cover(Invariant::Orphans);
        Invariant::ReleaseOwn
            .holds(is_own, || format!("p{} released {held:?} of key {key}", executed.process))
    }

    fn check_publish(&mut self, key: usize, raw: Option<&Bytes>, executed: &Executed) -> Checked {
        let Executed { process, life, .. } = *executed;
        let held = self.keys[key].raw.as_ref();
        let token = held.and_then(|held| self.tokens.get(held)).cloned();
        self.tally.cover(Invariant::PublishOwn);
        let own = token.filter(|it| (it.process, it.life) == (process, life));
        let part = executed.part_expecting(key, held);
        let Some((token, _)) = own.zip(part.filter(|part| part.words.get(1) == raw)) else {
            return Err(Invariant::PublishOwn
                .broken(format!("p{process} published over {held:?} of key {key}")));
        };
        self.tally.cover(Invariant::DeleteBeatsLoad);
        let Content::Value(payload) = Content::of(raw) else {
            let overwritten = self.keys[key].overwritten;
            self.note_not_found_stored(key, &token, executed.sent_at);
            return Invariant::DeleteBeatsLoad.holds(overwritten < token.granted, || {
                format!("p{process} published \"not found\" of key {key} over a newer write")
            });
        };
        self.check_published(key, &payload, executed, &token)
    }

    fn check_published(
        &mut self,
        key: usize,
        payload: &Bytes,
        executed: &Executed,
        token: &Token,
    ) -> Checked {
        let version = decode_value(payload).filter(|(other, _)| *other == key);
        let Some(version) = version.and_then(|(_, number)| self.versions.get_mut(number)) else {
            return Err(Invariant::BatchExact.broken(format!("key {key} got {payload:?}")));
        };
        version.executed = Some(self.stamp);
        Invariant::Opaque.holds(version.payload.as_ref() == Some(payload), || {
            format!("key {key} got {payload:?} for {:?}", version.payload)
        })?;
        let Origin::Load { process, life, begun, .. } = version.origin else {
            return Err(
                Invariant::PublishOwn.broken(format!("{payload:?} was published and never loaded"))
            );
        };
        Invariant::PublishOwn
            .holds((process, life) == (executed.process, executed.life), || {
                format!("p{} published a load of p{process}", executed.process)
            })?;
        Invariant::PublishOwn.holds(begun >= token.granted, || {
            format!("{payload:?} of key {key} was loaded before its lock was taken")
        })?;
        let committed = self.keys[key].committed;
        if committed > 0 {
            self.tally.cover(Invariant::CommitSeen);
        }
        Invariant::CommitSeen.holds(committed <= begun, || {
            format!("{payload:?} was loaded at {begun} and stored after the commit at {committed}")
        })?;
        let overwritten = self.keys[key].overwritten;
        Invariant::DeleteBeatsLoad.holds(overwritten <= begun, || {
            format!(
                "{payload:?} was loaded at {begun} and published over the write at {overwritten}"
            )
        })
    }

    /// Check and record the effect of a command, whether or not a key changed.
    pub(crate) fn check_effect(&mut self, cause: &Cause<'_>) -> Checked {
        let executed = match cause {
            Cause::Command(executed) => executed,
            Cause::Foreign([_, name, ..]) => {
                let held = self.key_named(name).and_then(|key| self.keys[key].raw.as_ref());
                if let Some(token) = held.and_then(|held| self.tokens.get_mut(held)) {
                    token.was_changed = true;
                }
                return Ok(());
            }
            Cause::Time | Cause::Fault | Cause::Foreign(_) => return Ok(()),
        };
        if executed.verb == Verb::Script(Script::Renew) {
            self.tally.cover(Invariant::Renewed);
        }
        if executed.wrote {
            for part in &executed.parts {
                self.check_lock_ttl(part.key)?;
                self.check_slow_line(executed, part)?;
            }
        }
        Ok(())
    }

    fn check_lock_ttl(&mut self, key: usize) -> Checked {
        let Some(raw) = self.keys[key].raw.as_ref() else { return Ok(()) };
        if self.tokens.get(raw).is_none_or(|token| token.was_changed) {
            return Ok(());
        }
        self.tally.cover(Invariant::LockTtl);
        let ttl = self.ttl_of(key);
        let limit = self.lock_ttl_max();
        Invariant::LockTtl.holds(ttl.is_some_and(|ttl| ttl <= limit), || {
            format!("the lock of key {key} lives {ttl:?}, and the limit is {limit:?}")
        })
    }

    /// Record the reply to a write. `frame` is the reply.
    pub(crate) fn count_answer(&mut self, executed: &Executed, frame: &[u8]) -> Checked {
        self.note_unreleased(executed, frame);
        self.note_forbidden_removal(executed, frame);
        if let Some(key) = executed.refresh {
            return self.check_refresh_lock(key, executed, frame);
        }
        self.note_read(executed);
        let Some(part) = executed.parts.first().filter(|_| frame[0] != b'-') else { return Ok(()) };
        let key = part.key;
        let stamp = self.stamp;
        if matches!(executed.verb, Verb::Insert | Verb::Remove) {
            self.keys[key].overwritten = stamp;
        }
        if executed.verb == Verb::Insert {
            return self.count_insert(part);
        }
        let process = &mut self.processes[executed.process];
        if process.life != executed.life {
            return Ok(());
        }
        let (writes, given_back) = match executed.verb {
            // A removal also gives back a lock whose release was forbidden.
            Verb::Remove => (&mut process.removes[key], process.learned[key].unreleased),
            Verb::Script(Script::Touch) => (&mut process.touches[key], 0),
            Verb::Read
            | Verb::Lock
            | Verb::Insert
            | Verb::Script(_)
            | Verb::Queued
            | Verb::Epoch
            | Verb::Owners
            | Verb::Other => return Ok(()),
        };
        if frame == b":0\r\n" {
            writes.void += 1;
        } else {
            writes.effective += 1;
        }
        writes.unclaimed.push(stamp);
        self.tally.cover(Invariant::SafeRetry);
        let (done, asked) = (writes.carried_out(), writes.asked + u64::from(given_back));
        let is_removal = executed.verb == Verb::Remove;
        let may_be = |world: &mut Self| {
            world.may_repeat_removal(executed.process, key) || world.is_ended_insert(key, executed)
        };
        let is_asked = done <= asked
            || is_removal && (self.plan.faults.has(Fault::ScriptsLost) || may_be(self));
        Invariant::SafeRetry.holds(is_asked, || {
            let verb = executed.verb;
            format!(
                "p{} requested {verb:?} of key {key} {asked} times, executed {done} times",
                executed.process
            )
        })
    }

    /// Record that the lock of a release stays, because the script is forbidden, or refused in
    /// unknown words.
    fn note_unreleased(&mut self, executed: &Executed, frame: &[u8]) {
        let is_refused = frame.starts_with(b"-NOPERM") || frame.starts_with(b"-ERR");
        if executed.verb != Verb::Script(Script::Release) || !is_refused {
            return;
        }
        let process = &mut self.processes[executed.process];
        for key in executed.parts.iter().map(|part| part.key).chain(executed.refresh) {
            process.learned[key].unreleased += 1;
        }
    }

    /// Return whether a process may remove a lock without a script.
    pub(crate) fn has_unreleased(&self, executed: &Executed, key: usize) -> bool {
        // A hang-up at the script of a release is not seen here.
        self.plan.faults.has(Fault::ScriptsLost)
            || self.processes[executed.process].learned[key].unreleased > 0
    }

    fn count_insert(&mut self, part: &Part) -> Checked {
        let key = part.key;
        let Content::Value(payload) = Content::of(part.words.first()) else { return Ok(()) };
        let number = decode_value(&payload).filter(|(other, _)| *other == key).map(|(_, it)| it);
        let Some(version) = number.and_then(|number| self.versions.get_mut(number)) else {
            return Err(Invariant::Opaque.broken(format!("key {key} was set to {payload:?}")));
        };
        Invariant::RefreshOver.holds(!matches!(version.origin, Origin::Load { .. }), || {
            format!("{payload:?} was loaded and stored without a lock")
        })?;
        self.tally.cover(Invariant::SafeRetry);
        let before = version.executed.replace(self.stamp);
        Invariant::SafeRetry.holds(before.is_none(), || format!("{payload:?} was inserted twice"))
    }

    /// Check that the handshake allows sending `frame` now.
    pub(crate) fn check_gate(&mut self, link: usize, frame: &[u8]) -> Checked {
        let state = &mut self.links[link];
        if state.gate == Gate::Passed {
            return Ok(());
        }
        let words = words(frame);
        let last = match words[..] {
            [b"HELLO", ..] | [b"AUTH", ..] | [b"SELECT", ..] => Some(false),
            [b"CLIENT", b"TRACKING", ..] | [b"ROLE"] => Some(false),
            [b"PING"] => Some(true),
            _ => None,
        };
        self.tally.cover(Invariant::GatedHandshake);
        match (state.gate, last) {
            // The probe shares the round trip of the command before it.
            (Gate::Awaiting { last: false }, Some(true)) if state.sets_tracking => {
                state.probes = true;
                Ok(())
            }
            (Gate::Open, Some(last)) => {
                state.sets_tracking = matches!(words[..], [b"CLIENT", ..]);
                state.gate = Gate::Awaiting { last };
                Ok(())
            }
            (gate, _) => Err(Invariant::GatedHandshake.broken(format!(
                "link {link}: {} was sent while the handshake was {gate:?}",
                frame.escape_ascii()
            ))),
        }
    }
}
