//! The effects of the router's events on the near cache and the machines.
//!
//! This module connects the machines: a write of this process wakes fetches and writes, a hit
//! triggers a refresh, a write recognises the lock of a fetch, and an invalidation reaches all of
//! them.

use std::time::Instant;

use super::coherence::may_change_value;
use super::env::Cx;
use super::exchange::{Exchange, mismatch};
use super::ops::Machine;
use super::sender::Sender;
use super::state::Engine;
use crate::api::config::Address;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::observer::{
    ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FlushEvent, InvalidationEvent,
    NotStoredEvent, RoundTripEvent, UntrackedEvent,
};
use crate::event::Event;
use crate::flow::call::{Caller, OpId};
use crate::flow::flights::FlightId;
use crate::flow::get::Input;
use crate::protocol::command::{Command, Token};
use crate::protocol::envelope::Stored;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{LockReply, ReadReply, Reply, Ttl};
use crate::protocol::slot::SlotSet;
use crate::wire::router::RouterEvent;

impl Engine {
    pub(super) fn on_router_event(&mut self, now: Instant, event: RouterEvent) {
        let cx = Cx::at(now);
        match event {
            RouterEvent::Reply { issued, reply, is_tracked } => {
                let cx = Cx { now, tracked: is_tracked && self.env.is_open() };
                self.on_answered(cx, Exchange { issued, reply });
            }
            RouterEvent::Failed { token, command, error } => {
                if may_change_value(&command) {
                    self.env.near.remove(command.key().as_bytes());
                }
                self.on_own_write(cx, &command, false);
                self.keep_removal(cx, token, (&command, &error));
                self.report_reply(token, &command, Some(error.kind()));
                if command.releases_lock() && self.env.router.forbids_scripts(now) {
                    self.env.give_back(cx, command.key());
                }
                self.on_failed(cx, token, command.key(), error);
            }
            RouterEvent::Overdue { token, command, last_refusal } => {
                let key = command.key();
                if self.may_write(token) {
                    self.env.near.remove(key.as_bytes());
                }
                let no_reply = || Error::new(ErrorKind::Timeout, "the limit is `command_timeout`");
                let error = last_refusal.map_or_else(no_reply, Refusal::into_error);
                // The reply may hold the old value, so no other call may delete the lock before.
                if let Command::WriteLock { lock, .. } = &command {
                    self.env.locks.await_restore(now, *lock, now + self.env.lock_ttl());
                }
                self.keep_removal(cx, token, (&command, &error));
                self.report_reply(token, &command, Some(error.kind()));
                self.on_failed(cx, token, key, error);
            }
            RouterEvent::Unanswered { command } => {
                if let Command::WriteLock { key, lock } = &command {
                    self.env.locks.forget_restore(*lock);
                    self.wake(cx, key);
                }
            }
            RouterEvent::Invalidated(keys) => self.on_invalidated(cx, keys),
            RouterEvent::Flushed { slots } => self.on_flushed(cx, &slots),
            RouterEvent::Untracked { keys } => self.on_untracked(cx, &keys),
            RouterEvent::Moved { slots } => {
                if !mutant!(MovedKeepsNear) {
                    self.env.near.begin_epoch(&slots);
                }
                self.env.note_owners(&slots);
                self.wake_all(cx, &slots);
                self.note_if_whole();
            }
            RouterEvent::Up { address, untracked, slots } => {
                self.on_connected(address, untracked, &slots);
                self.removals.on_connected(&mut self.env, cx);
            }
            RouterEvent::HangsUpAtScripts { keys } => self.env.on_hang_ups(cx, keys),
            RouterEvent::LargeUp => self.env.stats.large_connections += 1,
            RouterEvent::Down { address, reason, slots } => {
                self.on_disconnected(cx, (address, reason), &slots);
            }
            RouterEvent::NotUp { address, reason } => self.on_connect_failed(address, reason),
        }
    }

    fn on_connected(&mut self, address: Address, untracked: Option<String>, slots: &SlotSet) {
        self.note_if_whole();
        let env = &mut self.env;
        env.scripts.on_connected();
        env.stats.connections += 1;
        if !mutant!(EpochKeptOnReconnect) {
            env.near.begin_epoch(slots);
        }
        env.note_freshness();
        env.set_readiness(Some(Ok(())));
        env.observe(|| ConnectedEvent::new(address.clone()));
        if let Some(reason) = untracked {
            env.observe(|| UntrackedEvent::new(address, reason));
        }
    }

    fn on_connect_failed(&mut self, address: Option<Address>, reason: Error) {
        let env = &mut self.env;
        env.last_error = Some(reason.clone());
        // In a cluster, other nodes may be connected.
        if !env.router.is_ready() {
            env.set_readiness(Some(Err(reason.clone())));
        }
        env.observe(|| ConnectFailedEvent::new(address, reason));
    }

    /// Forget the loss of a connection once none is missing.
    fn note_if_whole(&mut self) {
        if self.env.router.is_whole() {
            self.env.disconnected_at = None;
            self.env.last_error = None;
        }
    }

    fn on_disconnected(&mut self, cx: Cx, (address, reason): (Address, Error), slots: &SlotSet) {
        let env = &mut self.env;
        env.disconnected_at.get_or_insert(cx.now);
        env.last_error = Some(reason.clone());
        if !mutant!(EpochKeptOnReconnect) {
            env.near.lose_epoch(slots);
        }
        if !env.router.is_ready() {
            env.set_readiness(None);
        }
        env.observe(|| DisconnectedEvent::new(address, reason));
        if !mutant!(LostNodeWakesNobody) {
            self.wake_all(cx, slots);
        }
    }

    fn on_flushed(&mut self, cx: Cx, slots: &SlotSet) {
        self.env.stats.flushes += 1;
        self.env.observe(FlushEvent::default);
        if !mutant!(FlushIgnoredByNear) {
            self.env.near.begin_epoch(slots);
        }
        if !mutant!(FlushIgnoredByWaiters) {
            self.wake_all(cx, slots);
        }
    }

    fn on_invalidated(&mut self, cx: Cx, keys: Vec<Key>) {
        let env = &mut self.env;
        env.stats.invalidations += keys.len() as u64;
        env.observe(|| InvalidationEvent::new(keys.len()));
        let is_late = mutant!(NearFilledByCaller)
            && env.events.iter().any(|event| matches!(event, Event::Done { .. }));
        for key in keys {
            if !is_late {
                self.invalidate_near(cx, &key);
            }
            if !mutant!(PushIgnoredByWaiters) {
                self.wake(cx, &key);
            }
        }
    }

    /// Drop a key's near entry because the server has reported a change. If this process holds the
    /// lock of the key, the value has changed and not expired.
    fn invalidate_near(&self, cx: Cx, key: &Key) {
        if self.fetches.holds_lock(key) {
            self.env.near.remove(key.as_bytes());
        } else {
            self.env.near.on_invalidated(key.as_bytes(), cx.now);
        }
    }

    /// Wake the write and the fetch that wait for a lock on `key`.
    pub(super) fn wake(&mut self, cx: Cx, key: &Key) {
        self.writes.wake(&mut self.env, cx, key);
        self.fetches.wake(&mut self.env, cx, key);
    }

    /// Wake all writes and fetches that wait for a lock on a key of these slots.
    fn wake_all(&mut self, cx: Cx, slots: &SlotSet) {
        self.writes.wake_all(&mut self.env, cx, slots);
        self.fetches.wake_all(&mut self.env, cx, slots);
    }

    fn on_answered(&mut self, cx: Cx, exchange: Exchange) {
        let Exchange { issued, reply } = &exchange;
        let (command, sent_at) = (&issued.command, issued.sent_at);
        self.env.observe(|| {
            RoundTripEvent::new(command.name(), cx.now.saturating_duration_since(sent_at))
        });
        if let Reply::Refused(refusal) = reply
            && self.env.scripts.on_refused(cx.now, command, refusal)
        {
            let reason = format!(
                "the server refuses scripts ({}), so loaded values are not stored and no locks are \
                 taken: allow `EVAL` and `EVALSHA`, and the commands that SECURITY.md lists",
                refusal.0
            );
            self.env.observe(|| NotStoredEvent::new(command.key().clone(), reason));
        }
        self.env.note_unstored(&exchange);
        self.env.give_back_without_script(cx, &exchange);
        if self.env.audits > 0 && self.is_audit(issued.token) {
            self.env.compare_audit(cx, &exchange);
        }
        self.env.keep_coherent(cx, &exchange);
        // An earlier copy of the command, sent on a connection that was lost, may have had the
        // effect.
        let is_void = matches!(reply, Reply::Effect(false)) && !issued.interrupted;
        self.on_own_write(cx, command, is_void);
        if let Some(token) = issued.token {
            self.replace_removal(cx, token, &exchange);
            let is_refused = matches!(reply, Reply::Refused(_));
            let error = is_refused.then_some(ErrorKind::Server);
            self.report_reply(token, command, error);
        }
        self.on_reply(cx, exchange);
    }

    /// Handle the end of a write of this process: notify the write and the fetch of the same key
    /// before the caller. The server's invalidation of this write is ignored.
    pub(super) fn on_own_write(&mut self, cx: Cx, command: &Command, is_void: bool) {
        let replaces = match command {
            Command::Insert { .. } | Command::Remove { .. } => true,
            // A locked write's value is newer than a load that began before it.
            Command::Publish { lock, .. } => !is_void && self.env.locks.is_live(*lock, cx.now),
            // A renewed lock is no longer tracked, so the callers that wait for it read it again.
            Command::Release { .. }
            | Command::Renew { .. }
            | Command::Replace { .. }
            | Command::Restore { .. }
            | Command::Touch { .. } => false,
            Command::Read { .. }
            | Command::ReadRaw { .. }
            | Command::ReadOrLock { .. }
            | Command::Lock { .. }
            | Command::WriteLock { .. } => return,
        };
        self.writes.wake(&mut self.env, cx, command.key());
        self.fetches.on_own_write(&mut self.env, cx, command.key(), replaces);
    }

    /// Keep the key of an `insert` or a `remove` that failed because Redis could not be reached.
    fn keep_removal(&mut self, cx: Cx, token: Token, (command, error): (&Command, &Error)) {
        if command.replaces()
            && error.is_for_want_of_redis()
            && let Some(op) = self.writer(token)
        {
            self.removals.keep(&mut self.env, cx, op, command.key());
        }
    }

    /// Replace an older removal with a write that has succeeded.
    fn replace_removal(&mut self, cx: Cx, token: Token, exchange: &Exchange) {
        let Exchange { issued, reply } = exchange;
        let command = &issued.command;
        let is_publish = matches!(command, Command::Publish { .. });
        match reply {
            Reply::Refused(refusal) => {
                let error = Error::new(ErrorKind::Server, String::from(refusal.0.clone()));
                self.keep_removal(cx, token, (command, &error));
            }
            Reply::Effect(done) if command.replaces() || is_publish && *done => {
                if let Some(op) = self.writer(token) {
                    self.removals.on_written(command.key(), op);
                }
            }
            Reply::Effect(_) | Reply::Read(_) | Reply::Raw(_) | Reply::WriteLock(_) => {}
        }
    }

    /// Return whether a command checks a near hit.
    fn is_audit(&self, token: Option<Token>) -> bool {
        match token.map(Sender::of) {
            Some(Sender::Call(Caller { op, .. })) => {
                self.env.ops.machine(op) == Some(Machine::Audits)
            }
            Some(Sender::Flight(_) | Sender::Nobody) | None => false,
        }
    }

    /// Return the call that has sent a command, unless it repeats removals.
    fn writer(&self, token: Token) -> Option<OpId> {
        let Sender::Call(Caller { op, .. }) = Sender::of(token) else { return None };
        (self.env.ops.machine(op) != Some(Machine::Removals)).then_some(op)
    }

    pub(super) fn on_reply(&mut self, cx: Cx, exchange: Exchange) {
        match exchange.issued.token.map_or(Sender::Nobody, Sender::of) {
            // Another key's reply must never reach a flight, even after a fault in a lower layer.
            Sender::Flight(id)
                if self.fetches.key_of(id) == Some(exchange.issued.command.key()) =>
            {
                self.on_fetch_reply(cx, id, exchange);
            }
            Sender::Flight(_) | Sender::Nobody => self.env.return_unwanted(cx, exchange),
            Sender::Call(caller) => self.on_call_reply(cx, caller, exchange),
        }
    }

    fn on_fetch_reply(&mut self, cx: Cx, id: FlightId, mut exchange: Exchange) {
        if let Reply::Read(read) = &exchange.reply {
            self.fetches.on_read(!matches!(read.stored, Stored::Value(_)));
        }
        self.env.distrust_interrupted(cx, &mut exchange);
        self.fetches.note_freshness(id, &exchange);
        let input = match exchange.reply {
            Reply::Read(read) => {
                self.refresh_if_hit(cx, id, &read);
                Input::Read(read)
            }
            Reply::Effect(done) => Input::Effect(done),
            Reply::Refused(refusal) => Input::Refused(refusal),
            Reply::WriteLock(reply) => {
                let (asked_at, interrupted) =
                    (exchange.issued.sent_at, exchange.issued.interrupted);
                Input::WriteLocked { reply, asked_at, interrupted }
            }
            Reply::Raw(_) => Input::Failed(mismatch()),
        };
        self.fetches.advance(&mut self.env, cx, id, input);
    }

    /// Trigger the refresh of a value that a fetch has found in Redis, if it is due.
    fn refresh_if_hit(&mut self, cx: Cx, id: FlightId, read: &ReadReply) {
        let (Stored::Value(value), Ttl::Left(left)) = (&read.stored, read.ttl) else { return };
        if read.lock != LockReply::Granted
            && let Some((key, loader)) = self.fetches.refreshed_by(id)
        {
            let due = (key, left, value.compute_time);
            self.refreshes.trigger_if_due(&mut self.env, cx, loader, due);
        }
    }

    fn on_call_reply(&mut self, cx: Cx, caller: Caller, exchange: Exchange) {
        let env = &mut self.env;
        match env.ops.machine(caller.op) {
            Some(Machine::Plain) => {
                let Exchange { issued, reply } = exchange;
                let reply = (issued.command.key(), reply, issued.sent_at);
                self.plain.on_reply(env, cx, caller, reply);
            }
            Some(Machine::Writes) => {
                let fetching = self.fetches.lock_of(exchange.issued.command.key());
                self.writes.on_reply(env, cx, caller, (exchange, fetching));
            }
            Some(Machine::Refreshes) => self.refreshes.on_reply(env, cx, caller, exchange),
            Some(Machine::Removals) => self.removals.on_reply(env, cx, caller, exchange.reply),
            Some(Machine::Audits) => env.end_audit(caller.op),
            // The call has ended.
            Some(Machine::Fetches) | None => {}
        }
    }

    /// Handle a command that failed without a reply.
    fn on_failed(&mut self, cx: Cx, token: Token, key: &Key, error: Error) {
        let env = &mut self.env;
        match Sender::of(token) {
            Sender::Flight(id) => self.fetches.advance(env, cx, id, Input::Failed(error)),
            Sender::Call(caller) => match env.ops.machine(caller.op) {
                Some(Machine::Plain) => self.plain.on_failed(env, cx, caller, (key, error)),
                Some(Machine::Writes) => self.writes.on_failed(env, cx, caller, error),
                Some(Machine::Refreshes) => self.refreshes.on_failed(env, cx, caller),
                Some(Machine::Removals) => self.removals.on_failed(env, cx, caller, &error),
                Some(Machine::Audits) => env.end_audit(caller.op),
                Some(Machine::Fetches) | None => {}
            },
            Sender::Nobody => {}
        }
    }

    /// Return whether a token's command may have changed a value permanently, and not only a lock
    /// or the value that replaces the lock.
    fn may_write(&self, token: Token) -> bool {
        match Sender::of(token) {
            Sender::Flight(_) => false,
            Sender::Call(caller) => !self.plain.is_read(caller.op),
            Sender::Nobody => true,
        }
    }
}
