//! Calls of one command per key: `get`, `insert`, `remove`, `touch`, and their batches.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::env::{Cx, Env};
use super::exchange::mismatch;
use super::gather::Gather;
use super::ops::{Machine, OpMap};
use super::sender::Sender;
use crate::api::answer::{Answer, Source};
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::AnswerEvent;
use crate::event::{Outcome, RawValue};
use crate::flow::call::{Caller, OpId};
use crate::protocol::command::Command;
use crate::protocol::envelope::{Stored, View};
use crate::protocol::reply::{ReadReply, Replaced, Reply, Ttl};

#[derive(Debug)]
enum PlainCall {
    /// A read. It has the key if a stale entry may answer, and the instant at which the value must
    /// have been current, or later.
    Read(Option<Key>, Option<Instant>),
    /// A read of several keys. It has the keys if stale entries may answer, and the instant at
    /// which the values must have been current, or later.
    ReadMany(Gather<Answer, CallError>, Vec<Key>, Option<Instant>),
    ReadRaw(Gather<Option<RawValue>, Error>),
    Write(Option<Key>),
    WriteMany(Gather<bool, Error>, Vec<Key>),
}

/// The machine of plain calls.
#[derive(Debug, Default)]
pub(crate) struct PlainCalls {
    calls: OpMap<PlainCall>,
}

impl PlainCalls {
    pub(crate) fn read(
        &mut self,
        env: &mut Env,
        cx: Cx,
        key: Key,
        fresh_since: Option<Instant>,
    ) -> OpId {
        let stale_key = allows_stale(env).then(|| key.clone());
        self.start(env, cx, PlainCall::Read(stale_key, fresh_since), [read(key)])
    }

    pub(crate) fn read_many(
        &mut self,
        env: &mut Env,
        cx: Cx,
        keys: Vec<Key>,
        fresh_since: Option<Instant>,
    ) -> OpId {
        let stale_keys = if allows_stale(env) { keys.clone() } else { Vec::new() };
        let call = PlainCall::ReadMany(Gather::new(keys.len()), stale_keys, fresh_since);
        if keys.is_empty() {
            return end_at_once(env, Outcome::Answers(Vec::new()));
        }
        self.start(env, cx, call, keys.into_iter().map(read))
    }

    pub(crate) fn read_raw_many(&mut self, env: &mut Env, cx: Cx, keys: Vec<Key>) -> OpId {
        if keys.is_empty() {
            return end_at_once(env, Outcome::Raws(Vec::new()));
        }
        let call = PlainCall::ReadRaw(Gather::new(keys.len()));
        self.start(env, cx, call, keys.into_iter().map(|key| Command::ReadRaw { key }))
    }

    pub(crate) fn write(&mut self, env: &mut Env, cx: Cx, command: Command) -> OpId {
        drop_copy(env, &command);
        let key = command.replaces().then(|| command.key().clone());
        self.start(env, cx, PlainCall::Write(key), [command])
    }

    pub(crate) fn write_many(&mut self, env: &mut Env, cx: Cx, commands: Vec<Command>) -> OpId {
        if commands.is_empty() {
            return end_at_once(env, Outcome::WrittenMany(Vec::new()));
        }
        commands.iter().for_each(|command| drop_copy(env, command));
        let replacing = commands.iter().filter(|command| command.replaces());
        let keys = replacing.map(|command| command.key().clone()).collect();
        let call = PlainCall::WriteMany(Gather::new(commands.len()), keys);
        self.start(env, cx, call, commands)
    }

    fn start(
        &mut self,
        env: &mut Env,
        cx: Cx,
        call: PlainCall,
        commands: impl IntoIterator<Item = Command>,
    ) -> OpId {
        let op = env.start_op(Machine::Plain);
        self.calls.insert(op, call);
        for (slot, command) in (0..).zip(commands) {
            env.send(cx, Sender::Call(Caller { op, slot }), command);
        }
        op
    }

    pub(crate) fn on_reply(
        &mut self,
        env: &mut Env,
        cx: Cx,
        caller: Caller,
        (key, reply, sent_at): (&Key, Reply, Instant),
    ) {
        match (self.calls.get(caller.op), reply) {
            (None, _) => {}
            (_, Reply::Refused(refusal)) => {
                let error = refusal.into_error();
                self.on_failed(env, cx, caller, (key, error));
            }
            (Some(PlainCall::Read(..) | PlainCall::ReadMany(..)), Reply::Read(read)) => {
                let answer = read_answer(env, read, cx.now.saturating_duration_since(sent_at));
                self.answer(env, caller, Ok(answer));
            }
            (Some(PlainCall::ReadRaw(_)), Reply::Raw(found)) => {
                let value = found.and_then(|found| raw_value(env, found));
                self.found(env, caller, Ok(value));
            }
            (Some(PlainCall::Write(_) | PlainCall::WriteMany(..)), Reply::Effect(done)) => {
                self.written(env, caller, Ok(done));
            }
            (Some(_), _) => self.on_failed(env, cx, caller, (key, mismatch())),
        }
    }

    /// Handle the failure of a command, with or without a reply.
    pub(crate) fn on_failed(
        &mut self,
        env: &mut Env,
        cx: Cx,
        caller: Caller,
        (key, error): (&Key, Error),
    ) {
        let error = error.about(key);
        match self.calls.get(caller.op) {
            Some(PlainCall::Write(_) | PlainCall::WriteMany(..)) => {
                self.written(env, caller, Err(error));
            }
            Some(PlainCall::Read(_, fresh_since) | PlainCall::ReadMany(_, _, fresh_since)) => {
                let stale = env.stale_since(cx, key, *fresh_since);
                env.stats.stale += u64::from(stale.is_some());
                self.answer(env, caller, stale.ok_or_else(|| error.into()));
            }
            Some(PlainCall::ReadRaw(_)) => self.found(env, caller, Err(error)),
            None => {}
        }
    }

    fn answer(&mut self, env: &mut Env, caller: Caller, result: Result<Answer, CallError>) {
        if let Ok(answer) = &result {
            let source = answer.source;
            env.observe(|| AnswerEvent::new(source));
        }
        let outcome = match self.calls.get_mut(caller.op) {
            Some(PlainCall::Read(..)) => Outcome::Answer(result),
            Some(PlainCall::ReadMany(gather, ..)) => match gather.put(caller.slot, result) {
                Some(all) => Outcome::Answers(all),
                None => return,
            },
            Some(PlainCall::ReadRaw(_) | PlainCall::Write(_) | PlainCall::WriteMany(..)) | None => {
                return;
            }
        };
        self.calls.remove(caller.op);
        env.finish(caller.op, outcome);
    }

    fn found(&mut self, env: &mut Env, caller: Caller, result: Result<Option<RawValue>, Error>) {
        if let Some(PlainCall::ReadRaw(gather)) = self.calls.get_mut(caller.op)
            && let Some(all) = gather.put(caller.slot, result)
        {
            self.calls.remove(caller.op);
            env.finish(caller.op, Outcome::Raws(all));
        }
    }

    fn written(&mut self, env: &mut Env, caller: Caller, result: Result<bool, Error>) {
        let outcome = match self.calls.get_mut(caller.op) {
            Some(PlainCall::Write(_)) => Outcome::Written(result),
            Some(PlainCall::WriteMany(gather, _)) => match gather.put(caller.slot, result) {
                Some(all) => Outcome::WrittenMany(all),
                None => return,
            },
            Some(PlainCall::Read(..) | PlainCall::ReadMany(..) | PlainCall::ReadRaw(_)) | None => {
                return;
            }
        };
        self.calls.remove(caller.op);
        env.finish(caller.op, outcome);
    }

    /// Answer the keys of a call that has reached its timeout with their outdated entries.
    pub(crate) fn answer_overdue(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let (keys, fresh_since): (Vec<(u32, Key)>, _) = match self.calls.get(op) {
            Some(PlainCall::Read(key, fresh_since)) => {
                (key.iter().map(|key| (0, key.clone())).collect(), *fresh_since)
            }
            Some(PlainCall::ReadMany(gather, keys, fresh_since)) => {
                let key = |slot: u32| Some((slot, keys.get(slot as usize)?.clone()));
                (gather.open().into_iter().filter_map(key).collect(), *fresh_since)
            }
            Some(PlainCall::ReadRaw(_) | PlainCall::Write(_) | PlainCall::WriteMany(..)) | None => {
                return;
            }
        };
        for (slot, key) in keys {
            if let Some(answer) = env.stale_since(cx, &key, fresh_since) {
                env.stats.stale += 1;
                self.answer(env, Caller { op, slot }, Ok(answer));
            }
        }
    }

    /// Return whether the call only reads.
    pub(crate) fn is_read(&self, op: OpId) -> bool {
        let call = self.calls.get(op);
        matches!(call, Some(PlainCall::Read(..) | PlainCall::ReadMany(..) | PlainCall::ReadRaw(_)))
    }

    /// Return the keys whose value a call in flight replaces.
    pub(crate) fn written_keys(&self) -> BTreeSet<&Key> {
        let mut keys = BTreeSet::new();
        for call in self.calls.iter() {
            match call {
                PlainCall::Write(key) => keys.extend(key),
                PlainCall::WriteMany(_, all) => keys.extend(all),
                PlainCall::Read(..) | PlainCall::ReadMany(..) | PlainCall::ReadRaw(_) => {}
            }
        }
        keys
    }

    /// End a call whose caller has left. Its replies are discarded.
    pub(crate) fn cancel(&mut self, env: &mut Env, op: OpId) {
        self.calls.remove(op);
        env.end_op(op);
    }

    /// End a call with an error.
    pub(crate) fn fail(&mut self, env: &mut Env, op: OpId, error: &Error) {
        let failed = || Err(CallError::Cache(error.clone()));
        let outcome = match self.calls.remove(op) {
            Some(PlainCall::Read(..)) => Outcome::Answer(failed()),
            Some(PlainCall::ReadMany(gather, ..)) => Outcome::Answers(gather.fill(failed)),
            Some(PlainCall::ReadRaw(gather)) => Outcome::Raws(gather.fill(|| Err(error.clone()))),
            Some(PlainCall::Write(_)) => Outcome::Written(Err(error.clone())),
            Some(PlainCall::WriteMany(gather, _)) => {
                Outcome::WrittenMany(gather.fill(|| Err(error.clone())))
            }
            None => return,
        };
        env.finish(op, outcome);
    }
}

/// Drop the near entry that a write replaces. The write may fail without a reply.
fn drop_copy(env: &Env, command: &Command) {
    if command.replaces() && !mutant!(OwnWriteKeepsNear) {
        env.near.remove(command.key().as_bytes());
    }
}

fn allows_stale(env: &Env) -> bool {
    !env.config.stale_if_error.is_zero()
}

fn end_at_once(env: &mut Env, outcome: Outcome) -> OpId {
    let op = env.start_op(Machine::Plain);
    env.finish(op, outcome);
    op
}

/// Return the read of a call without a loader. Only a TTL tells a missing key from one of another
/// type in a shared reply.
fn read(key: Key) -> Command {
    Command::Read { key, asks_ttl: true }
}

/// Return the content of a key that holds a value.
fn raw_value(env: &Env, found: Replaced) -> Option<RawValue> {
    let Replaced { raw, ttl } = found;
    let payload = match View::of(&raw, env.config.lock_prefix.as_bytes()) {
        View::Lock(_) => return None,
        View::Value { payload, .. } => raw.slice_ref(payload),
    };
    let ttl = match ttl {
        Ttl::Left(left) => Some(left),
        Ttl::Absent | Ttl::Endless | Ttl::Unknown => None,
    };
    Some(RawValue { raw, value: env.unmark(payload), ttl })
}

/// Return the answer for a reply to a read that was sent `fresh_as_of` ago.
fn read_answer(env: &mut Env, read: ReadReply, fresh_as_of: Duration) -> Answer {
    let fresh_as_of = Some(fresh_as_of);
    let ttl = match read.ttl {
        Ttl::Left(left) => Some(left),
        Ttl::Absent | Ttl::Endless | Ttl::Unknown => None,
    };
    match read.stored {
        Stored::Value(value) => {
            env.stats.redis_hits += 1;
            let value = env.unmark(value.payload);
            Answer { value, source: Source::Redis, ttl, age: None, fresh_as_of }
        }
        Stored::Missing | Stored::Lock(_) => {
            env.stats.misses += 1;
            Answer { fresh_as_of, ..Answer::none() }
        }
    }
}
