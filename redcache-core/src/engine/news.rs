//! What the server says, and what it means for the near cache and for those who wait.

use std::time::Instant;

use super::coherence::may_change_value;
use super::ops::Op;
use super::{Closing, Engine, Sender};
use crate::api::answer::{Answer, Source};
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::Observed;
use crate::event::{Event, Notice, Outcome};
use crate::flow::flights::{Caller, OpId};
use crate::flow::get::{Get, Input};
use crate::flow::held::Held;
use crate::protocol::command::{Command, Token};
use crate::protocol::envelope::Stored;
use crate::protocol::reply::{LockReply, ReadReply, Reply, Ttl, WriteLockReply};
use crate::protocol::slot::{Slot, SlotSet};
use crate::wire::router::RouterEvent;

/// A command and the server's answer to it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) command: Command,
    pub(super) reply: Reply,
    pub(super) sent_at: Instant,
    /// It may have been executed before, on a connection that was lost.
    pub(super) interrupted: bool,
}

impl Engine {
    pub(super) fn on_router_event(&mut self, now: Instant, event: RouterEvent) {
        match event {
            RouterEvent::Reply {
                token,
                command,
                slot,
                reply,
                sent_at,
                interrupted,
                is_tracked,
            } => {
                self.is_reported = is_tracked && self.closing == Closing::No;
                let answer = Answered { command, reply, sent_at, interrupted };
                self.on_answered(now, token, slot, answer);
            }
            RouterEvent::Failed { token, command, error } => {
                if may_change_value(&command) {
                    self.near.remove(command.key().as_bytes());
                }
                self.on_own_write(now, &command, false);
                self.fail(now, token, command.key(), &error);
            }
            RouterEvent::Overdue { token, key } => {
                if !self.only_reads(token) {
                    self.near.remove(key.as_bytes());
                }
                let error = Error::new(ErrorKind::Timeout, "the limit is `command_timeout`");
                self.fail(now, token, &key, &error);
            }
            RouterEvent::Invalidated(keys) => self.on_invalidated(now, keys),
            RouterEvent::Flushed { slots } => {
                self.stats.flushes += 1;
                self.observed(|| Observed::Flushed);
                if !mutant!(FlushIgnoredByNear) {
                    self.near.begin_epoch(&slots);
                }
                if !mutant!(FlushIgnoredByWaiters) {
                    self.wake_all(now, &slots);
                }
            }
            RouterEvent::Moved { slots } => {
                if !mutant!(MovedKeepsNear) {
                    self.near.begin_epoch(&slots);
                }
                self.wake_all(now, &slots);
                self.lost_at.take_if(|_| self.router.is_whole());
            }
            RouterEvent::Up { untracked, slots } => self.on_connected(untracked, &slots),
            RouterEvent::Down { reason, slots } => {
                self.is_reported = false;
                // With several missing, the first counts.
                self.lost_at.get_or_insert(now);
                self.observed(|| Observed::Disconnected);
                if !mutant!(EpochKeptOnReconnect) {
                    self.near.lose_epoch(&slots);
                }
                self.notice(Notice::Disconnected { reason });
                if !mutant!(LostNodeWakesNobody) {
                    self.wake_all(now, &slots);
                }
            }
            RouterEvent::NotUp { reason } => self.notice(Notice::ConnectFailed { reason }),
        }
    }

    fn on_connected(&mut self, untracked: Option<String>, slots: &SlotSet) {
        self.stats.connections += 1;
        self.observed(|| Observed::Connected);
        self.lost_at.take_if(|_| self.router.is_whole());
        if !mutant!(EpochKeptOnReconnect) {
            self.near.begin_epoch(slots);
        }
        self.notice(Notice::Connected);
        if let Some(reason) = untracked {
            self.notice(Notice::Untracked { reason });
        }
    }

    fn on_answered(&mut self, now: Instant, token: Option<Token>, slot: Slot, answer: Answered) {
        let Answered { command, reply, sent_at, .. } = &answer;
        let took = now.saturating_duration_since(*sent_at);
        self.observed(|| Observed::RoundTrip(command.name(), took));
        self.keep_coherent(now, slot, command, reply, *sent_at);
        // Unless it was carried out before its connection was lost.
        let is_void = matches!(reply, Reply::Effect(false)) && !answer.interrupted;
        self.on_own_write(now, command, is_void);
        self.on_reply(now, token, answer);
    }

    fn on_invalidated(&mut self, now: Instant, keys: Vec<Key>) {
        self.stats.invalidations += keys.len() as u64;
        self.observed(|| Observed::Invalidated(keys.len()));
        let is_late = mutant!(NearFilledByCaller)
            && self.events.iter().any(|event| matches!(event, Event::Done { .. }));
        for key in keys {
            if !is_late {
                self.on_reported(now, &key);
            }
            if !mutant!(PushIgnoredByWaiters) {
                self.wake(now, &key);
            }
        }
    }

    /// A write of our own: whoever fetches or writes the key in this process learns of it with its reply, before its
    /// caller does. The server's own report is passed over.
    fn on_own_write(&mut self, now: Instant, command: &Command, is_void: bool) {
        let replaces = match command {
            Command::Insert { .. } | Command::Remove { .. } => true,
            // What a write has loaded is newer than what others load since before it.
            Command::Publish { lock, .. } => !is_void && self.locks.is_live(*lock, now),
            // A lock that is renewed has to be read again to be heard of again.
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
        self.wake_set(now, command.key());
        let Some(id) = self.flights.find(command.key().as_bytes()) else {
            return;
        };
        let Some(flight) = self.flights.get(id) else {
            return;
        };
        match flight.course.state {
            // What is being loaded may be older than the write; who asks from now on must not be given it.
            Get::Load { .. } | Get::Publish { .. } if replaces && !mutant!(OwnWriteJoinsLoad) => {
                self.overrule(now, id);
            }
            Get::Unlock => self.advance(now, id, Input::Woken),
            Get::Load { .. } | Get::Publish { .. } | Get::Read { .. } | Get::Lock { .. } => {}
        }
    }

    fn wake(&mut self, now: Instant, key: &Key) {
        self.wake_set(now, key);
        if let Some(id) = self.flights.find(key.as_bytes())
            && let Some(flight) = self.flights.get(id)
            && matches!(flight.course.state, Get::Unlock)
        {
            self.advance(now, id, Input::Woken);
        }
    }

    /// Wakes all who wait for a key of these slots.
    fn wake_all(&mut self, now: Instant, slots: &SlotSet) {
        self.wake_all_sets(now, slots);
        for id in self.flights.select(|course| matches!(course.state, Get::Unlock)) {
            let flight = self.flights.get(id);
            if flight.is_some_and(|flight| slots.contains_key(flight.key.as_bytes())) {
                self.advance(now, id, Input::Woken);
            }
        }
    }

    fn on_reply(&mut self, now: Instant, token: Option<Token>, answer: Answered) {
        match token.map_or(Sender::Nobody, Sender::of) {
            Sender::Flight(id) if self.flights.get(id).is_some() => {
                if let Reply::Read(read) = &answer.reply {
                    let missed = !matches!(read.stored, Stored::Value(_));
                    self.speculation.on_read(missed);
                }
                let answer = self.distrust_interrupted(now, answer);
                let input = match answer.reply {
                    Reply::Read(read) => Input::Read(read),
                    Reply::Effect(done) => Input::Effect(done),
                    Reply::Refused(refusal) => Input::Refused(refusal),
                    Reply::Raw(_) => unreachable!("flights read values"),
                    Reply::WriteLock(reply) => {
                        let (asked_at, interrupted) = (answer.sent_at, answer.interrupted);
                        Input::Locked { reply, asked_at, interrupted }
                    }
                };
                self.advance(now, id, input);
            }
            Sender::Flight(_) | Sender::Nobody => self.return_unwanted(now, answer),
            Sender::Call(op, slot) => match self.ops.get_mut(op) {
                Some(Op::Set(_)) => self.on_set_reply(now, Caller { op, slot }, answer),
                Some(Op::Refresh(_)) => self.on_refresh_reply(now, Caller { op, slot }, answer),
                _ => {
                    self.on_call_reply(now, Caller { op, slot }, answer.command.key(), answer.reply)
                }
            },
        }
    }

    /// An attempt that was cut short may yet be carried out once more, from what the lost connection has left, and bring
    /// its lock back to life after a deletion that was to void it. So the lock of one that was repeated goes back.
    fn distrust_interrupted(&mut self, now: Instant, mut answer: Answered) -> Answered {
        if !answer.interrupted || mutant!(RepeatedLockTrusted) {
            return answer;
        }
        let lock = match (&answer.command, &mut answer.reply) {
            (Command::ReadOrLock { lock, .. }, Reply::Read(read))
                if read.lock == LockReply::Granted =>
            {
                read.lock = LockReply::NotTried;
                *lock
            }
            (Command::Lock { lock, .. }, Reply::Effect(granted @ true)) => {
                *granted = false;
                *lock
            }
            _ => return answer,
        };
        let key = answer.command.key().clone();
        self.send(now, Sender::Nobody.token(), Command::Release { key, lock });
        answer
    }

    /// A lock that came too late for anybody to want it goes back at once.
    fn return_unwanted(&mut self, now: Instant, answer: Answered) {
        let Answered { command, reply, sent_at, .. } = answer;
        let key = command.key().clone();
        let undo = match (command, reply) {
            _ if mutant!(UnwantedLockKept) => return,
            (Command::ReadOrLock { lock, .. }, Reply::Read(read))
                if read.lock == LockReply::Granted =>
            {
                Command::Release { key, lock }
            }
            (Command::Lock { lock, .. }, Reply::Effect(true)) => Command::Release { key, lock },
            (
                Command::WriteLock { lock, .. },
                Reply::WriteLock(WriteLockReply::Granted(replaced)),
            ) => Held { lock, replaced, since: sent_at }.undo(key, now),
            // A server without room for the old value still has it for a deletion.
            (Command::Restore { lock, .. }, Reply::Refused(_)) => Command::Release { key, lock },
            _ => return,
        };
        self.send(now, Sender::Nobody.token(), undo);
    }

    fn on_call_reply(&mut self, now: Instant, caller: Caller, key: &Key, reply: Reply) {
        let Caller { op, slot } = caller;
        match reply {
            Reply::Read(read) => {
                let found = self.read_answer(read);
                self.answer(op, slot, Ok(found));
            }
            Reply::Effect(done) => self.written(op, slot, Ok(done)),
            Reply::WriteLock(_) | Reply::Raw(_) => {}
            Reply::Refused(refusal) => {
                let error = Error::new(ErrorKind::Server, String::from(refusal.0)).about(key);
                self.fail_call(now, caller, key, error);
            }
        }
    }

    fn read_answer(&mut self, read: ReadReply) -> Answer {
        let ttl = match read.ttl {
            Ttl::Left(left) => Some(left),
            Ttl::Absent | Ttl::Endless => None,
        };
        match read.stored {
            Stored::Value(value) => {
                self.stats.redis_hits += 1;
                Answer { value: self.unmark(value.payload), source: Source::Redis, ttl, age: None }
            }
            Stored::Missing | Stored::Lock(_) => {
                self.stats.misses += 1;
                Answer::none()
            }
        }
    }

    fn answer(&mut self, op: OpId, slot: u32, result: Result<Answer, CallError>) {
        if let Ok(answer) = &result {
            self.observed(|| Observed::Answer(answer.source));
        }
        let outcome = match self.ops.get_mut(op) {
            Some(Op::Read) => Outcome::Answer(result),
            Some(Op::ReadMany(gather)) => match gather.put(slot, result) {
                Some(all) => Outcome::Answers(all),
                None => return,
            },
            // The call is over, and another may have its place.
            Some(
                Op::Fetch { .. }
                | Op::FetchMany(_)
                | Op::Set(_)
                | Op::Refresh(_)
                | Op::Write
                | Op::WriteMany(_),
            )
            | None => return,
        };
        self.end_op(op);
        self.events.push_back(Event::Done { op, outcome });
    }

    fn written(&mut self, op: OpId, slot: u32, result: Result<bool, Error>) {
        let outcome = match self.ops.get_mut(op) {
            Some(Op::Write) => Outcome::Written(result),
            Some(Op::WriteMany(gather)) => match gather.put(slot, result) {
                Some(all) => Outcome::WrittenMany(all),
                None => return,
            },
            Some(
                Op::Fetch { .. }
                | Op::FetchMany(_)
                | Op::Set(_)
                | Op::Refresh(_)
                | Op::Read
                | Op::ReadMany(_),
            )
            | None => return,
        };
        self.end_op(op);
        self.events.push_back(Event::Done { op, outcome });
    }

    fn fail(&mut self, now: Instant, token: Token, key: &Key, error: &Error) {
        match Sender::of(token) {
            Sender::Flight(id) => self.advance(now, id, Input::Failed(error.clone())),
            Sender::Call(op, slot) => match self.ops.get_mut(op) {
                Some(Op::Set(_)) => self.on_set_failed(now, Caller { op, slot }, error.clone()),
                Some(Op::Refresh(_)) => self.on_refresh_failed(now, Caller { op, slot }),
                _ => self.fail_call(now, Caller { op, slot }, key, error.about(key)),
            },
            Sender::Nobody => {}
        }
    }

    fn fail_call(&mut self, now: Instant, caller: Caller, key: &Key, error: Error) {
        let Caller { op, slot } = caller;
        match self.ops.get_mut(op) {
            Some(Op::Write | Op::WriteMany(_)) => self.written(op, slot, Err(error)),
            Some(Op::Read | Op::ReadMany(_)) => {
                let result = self.or_stale(now, key, Err(error.into()));
                self.answer(op, slot, result);
            }
            Some(Op::Fetch { .. } | Op::FetchMany(_) | Op::Set(_) | Op::Refresh(_)) | None => {}
        }
    }
}
