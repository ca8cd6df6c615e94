//! Failed removals: kept, and repeated once Redis replies.
//!
//! A removal follows a change of the application's data. If Redis cannot be reached, the old value
//! would be served until its TTL ends, so the engine keeps the key and repeats the removal. A
//! failed `insert` also leaves an old value behind. Its key is removed too: the inserted value may
//! be outdated by the time Redis replies, and a removal never stores an outdated value.
//!
//! The name of a key may contain the generation of its namespace. The namespace may have been
//! cleared while Redis could not be reached, and the old value may have been loaded under the next
//! generation. So the generation is read, and the key is removed under its current name, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::env::{Cx, Env};
use super::ops::Machine;
use super::sender::Sender;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::observer::{RemovalEvent, RemovalStage};
use crate::flow::call::{Caller, OpId};
use crate::flow::generation::Generation;
use crate::flow::generation_name::GenerationName;
use crate::flow::timers::Timer;
use crate::protocol::command::Command;
use crate::protocol::envelope::Stored;
use crate::protocol::reply::{ReadReply, Reply};
use crate::wire::backoff::Backoff;

/// The number of removals that are repeated at the same time.
const RUN_KEYS_MAX: usize = 256;

/// The machine of the failed removals.
#[derive(Debug)]
pub(crate) struct Removals {
    kept: BTreeMap<Key, Kept>,
    /// The kept keys by the number of their failure.
    by_age: BTreeMap<u64, Key>,
    failures: u64,
    run: Option<Run>,
    timer: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Kept {
    /// The number of the failure.
    failure: u64,
    /// The call that failed.
    failed: OpId,
}

/// Removals that are being repeated.
#[derive(Debug)]
struct Run {
    op: OpId,
    removals: Vec<Removal>,
    /// The number of removals that have not ended.
    open: usize,
    has_failed: bool,
}

/// The slots of the commands of one removal follow each other.
const SLOTS: usize = 2;

/// One removal that is being repeated: a `DEL` in its first slot, and in its second one the read of
/// the generation, which the `DEL` of the current name may follow.
#[derive(Debug)]
struct Removal {
    key: Key,
    /// The number of the failure.
    failure: u64,
    /// The number of commands without a reply.
    open: usize,
    has_failed: bool,
    is_refused: bool,
}

impl Removals {
    pub(crate) fn new(pause_max: Duration) -> Self {
        Self {
            kept: BTreeMap::new(),
            by_age: BTreeMap::new(),
            failures: 0,
            run: None,
            timer: None,
            backoff: Backoff::new(pause_max),
        }
    }

    /// Return the number of keys that are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Keep the key of a write that has failed because Redis cannot be reached.
    pub(crate) fn keep(&mut self, env: &mut Env, cx: Cx, failed: OpId, key: &Key) {
        let limit = env.config.kept_removals_max;
        if limit == 0 || !env.is_open() || mutant!(KeptRemovalDropped) {
            return;
        }
        self.forget(key);
        if self.kept.len() == limit
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.kept.remove(&oldest);
            note(env, oldest, RemovalStage::Dropped);
        }
        self.failures += 1;
        self.kept.insert(key.clone(), Kept { failure: self.failures, failed });
        self.by_age.insert(self.failures, key.clone());
        note(env, key.clone(), RemovalStage::Kept);
        self.plan(env, cx);
    }

    /// Handle a successful write of the key, which replaces an older removal.
    pub(crate) fn on_written(&mut self, key: &Key, op: OpId) {
        let is_newer = self.kept.get(key).is_some_and(|kept| op.is_newer_than(kept.failed));
        if is_newer && !mutant!(KeptRemovalOutlived) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.by_age.remove(&kept.failure);
        }
    }

    /// Repeat the kept removals at once, because a connection is ready.
    pub(crate) fn on_connected(&mut self, env: &mut Env, cx: Cx) {
        self.backoff.reset();
        if self.timer.is_some() {
            self.set_timer(env, Some(cx.now));
        }
    }

    /// Repeat the kept removals, the oldest first. Keys that a call `is_writing` wait for its end,
    /// because the newer write prevails.
    pub(crate) fn on_timer(&mut self, env: &mut Env, cx: Cx, is_writing: impl Fn(&Key) -> bool) {
        self.timer = None;
        let due = self.by_age.iter().filter(|(_, key)| !is_writing(key));
        let keys: Vec<(Key, u64)> =
            due.take(RUN_KEYS_MAX).map(|(failure, key)| (key.clone(), *failure)).collect();
        if keys.is_empty() || !env.router.is_ready() {
            return self.plan(env, cx);
        }
        let op = env.start_op(Machine::Removals);
        let mut removals = Vec::with_capacity(keys.len());
        for (slot, (key, failure)) in (0..).step_by(SLOTS).zip(keys) {
            let sender = |slot| Sender::Call(Caller { op, slot });
            env.send(cx, sender(slot), Command::Remove { key: key.clone() });
            let mut open = 1;
            if let Some(name) = generation_name(&key) {
                let read = Command::Read { key: name.generation_key(), asks_ttl: true };
                env.send(cx, sender(slot + 1), read);
                open += 1;
            }
            removals.push(Removal { key, failure, open, has_failed: false, is_refused: false });
        }
        self.run = Some(Run { op, open: removals.len(), removals, has_failed: false });
    }

    /// Handle the reply to a command of a repeated removal.
    pub(crate) fn on_reply(&mut self, env: &mut Env, cx: Cx, caller: Caller, reply: Reply) {
        match reply {
            Reply::Refused(refusal) => {
                let error = Error::new(ErrorKind::Server, String::from(refusal.0));
                return self.on_failed(env, cx, caller, &error);
            }
            Reply::Read(read) => {
                if let Some(key) = self.renamed(env, caller, read) {
                    // Its reply stands for that of the read.
                    return env.send(cx, Sender::Call(caller), Command::Remove { key });
                }
            }
            Reply::Effect(_) | Reply::Raw(_) | Reply::WriteLock(_) => {}
        }
        self.end(env, caller, |_| {});
        self.end_run(env, cx);
    }

    /// Return the name of a removal's key in the current generation, if that is another one. A
    /// namespace without a generation has no values.
    fn renamed(&self, env: &Env, caller: Caller, read: ReadReply) -> Option<Key> {
        let run = self.run.as_ref().filter(|run| run.op == caller.op)?;
        let removal = run.removals.get(caller.slot as usize / SLOTS)?;
        let Stored::Value(value) = read.stored else { return None };
        let generation = Generation::of_stored(Some(&env.unmark(value.payload)?));
        generation_name(&removal.key)?.renamed(generation)
    }

    /// Handle the failure of a command. The removal is abandoned if Redis refuses it permanently.
    pub(crate) fn on_failed(&mut self, env: &mut Env, cx: Cx, caller: Caller, error: &Error) {
        let is_final = !error.is_for_want_of_redis();
        self.end(env, caller, |removal| {
            removal.is_refused |= is_final;
            removal.has_failed |= !is_final;
        });
        self.end_run(env, cx);
    }

    /// End one command of a removal. Forget its key after the last one, unless it has failed again
    /// since.
    fn end(&mut self, env: &mut Env, caller: Caller, note_end: impl FnOnce(&mut Removal)) {
        let Some(run) = self.run.as_mut().filter(|run| run.op == caller.op) else { return };
        let Some(removal) = run.removals.get_mut(caller.slot as usize / SLOTS) else { return };
        note_end(removal);
        removal.open -= 1;
        if removal.open > 0 {
            return;
        }
        run.open -= 1;
        if removal.has_failed {
            run.has_failed = true;
            return;
        }
        let is_refused = removal.is_refused;
        let stage = if is_refused { RemovalStage::Dropped } else { RemovalStage::Repeated };
        let (key, failure) = (removal.key.clone(), removal.failure);
        if self.kept.get(&key).is_some_and(|kept| kept.failure == failure) {
            self.forget(&key);
            note(env, key, stage);
        }
    }

    fn end_run(&mut self, env: &mut Env, cx: Cx) {
        let Some(Run { op, has_failed, .. }) = self.run.take_if(|run| run.open == 0) else {
            return;
        };
        env.end_op(op);
        if has_failed {
            self.plan(env, cx);
        } else {
            self.backoff.reset();
            let next = (!self.kept.is_empty()).then_some(cx.now);
            self.set_timer(env, next);
        }
    }

    /// Plan the next run.
    fn plan(&mut self, env: &mut Env, cx: Cx) {
        if !self.kept.is_empty() && self.run.is_none() && self.timer.is_none() {
            let pause = self.backoff.pause(&mut env.rng);
            self.set_timer(env, Some(cx.now + pause));
        }
    }

    fn set_timer(&mut self, env: &mut Env, at: Option<Instant>) {
        let before = std::mem::replace(&mut self.timer, at);
        env.rearm(Timer::Removals, before, at);
    }

    /// Forget everything, because the cache closes.
    pub(crate) fn close(&mut self, env: &mut Env) {
        self.set_timer(env, None);
        self.kept.clear();
        self.by_age.clear();
        if let Some(run) = self.run.take() {
            env.end_op(run.op);
        }
    }
}

/// Return the name of a key that contains a generation.
fn generation_name(key: &Key) -> Option<GenerationName<'_>> {
    GenerationName::of(key.as_bytes()).filter(|_| !mutant!(KeptRemovalOfOldGeneration))
}

fn note(env: &mut Env, key: Key, stage: RemovalStage) {
    let count = match stage {
        RemovalStage::Kept => &mut env.stats.removals_kept,
        RemovalStage::Repeated => &mut env.stats.removals_repeated,
        RemovalStage::Dropped => &mut env.stats.removals_dropped,
    };
    *count += 1;
    env.observe(|| RemovalEvent::new(key, stage));
}
