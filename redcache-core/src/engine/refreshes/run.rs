//! The steps of a job: its refresh locks, the load, the replacements, the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::job::Phase;
use super::state::Refreshes;
use crate::api::answer::Loaded;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::observer::{LoadEvent, NotStoredEvent, RefreshEvent, RefreshStage};
use crate::engine::env::{Cx, Env};
use crate::engine::exchange::Exchange;
use crate::engine::sender::Sender;
use crate::event::{Event, Outcome};
use crate::flow::call::{Caller, OpId};
use crate::flow::publication::Publication;
use crate::flow::refresh::{Effects, End, Input, Refresh, Step};
use crate::flow::timers::Timer;
use crate::protocol::command::Command;
use crate::protocol::reply::Reply;

impl Refreshes {
    pub(super) fn start_job(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        for slot in 0..self.jobs.get(op).map_or(0, |job| job.keys.len()) {
            self.start_key(env, cx, op, slot);
        }
        self.steer(env, cx, op);
    }

    fn start_key(&mut self, env: &mut Env, cx: Cx, op: OpId, slot: usize) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Some(refresh) = job.keys.get_mut(slot) else { return };
        if !env.allows_refreshes(cx.now) {
            let key = &refresh.due.key;
            if let Some(loader) = self.loaders.get_mut(job.loader) {
                loader.pending.remove(key);
            }
            return count(env, key, End::Skipped);
        }
        let lock = env.locks.issue();
        let mut effects = Effects::default();
        let context = refresh.context(env.config.lock_prefix.as_bytes(), job.ttl);
        refresh.state = Some(Refresh::start(lock, &context, &mut effects));
        job.asking += 1;
        send(env, cx, (op, slot), effects);
    }

    /// Pass an input to the refresh of one key and carry out the effects.
    fn advance(&mut self, env: &mut Env, cx: Cx, (op, slot): (OpId, usize), input: Input) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Some(refresh) = job.keys.get_mut(slot) else { return };
        let Some(state) = refresh.state.take() else { return };
        let mut effects = Effects::default();
        let context = refresh.context(env.config.lock_prefix.as_bytes(), job.ttl);
        job.asking -= usize::from(state.is_asking());
        match state.handle(input, &context, &mut effects) {
            Step::Next(next) => {
                job.asking += usize::from(next.is_asking());
                refresh.state = Some(next);
            }
            Step::Done(end) => {
                job.has_failed |= end == End::Failed;
                let key = &refresh.due.key;
                if let Some(loader) = self.loaders.get_mut(job.loader) {
                    loader.pending.remove(key);
                }
                count(env, key, end);
            }
        }
        send(env, cx, (op, slot), effects);
    }

    fn advance_all(&mut self, env: &mut Env, cx: Cx, op: OpId, input: impl Fn() -> Input) {
        for slot in 0..self.jobs.get(op).map_or(0, |job| job.keys.len()) {
            self.advance(env, cx, (op, slot), input());
        }
    }

    pub(crate) fn on_reply(&mut self, env: &mut Env, cx: Cx, caller: Caller, exchange: Exchange) {
        let Exchange { issued, reply } = exchange;
        let (asked_at, is_lock) = (issued.sent_at, matches!(issued.command, Command::Lock { .. }));
        let input = match reply {
            Reply::Effect(done) if is_lock => Input::Locked(done),
            Reply::Effect(done) => Input::Published(done),
            Reply::Raw(found) => Input::Read { found, asked_at },
            // No command of a refresh has a reply of the last two types.
            Reply::Refused(_) | Reply::Read(_) | Reply::WriteLock(_) => Input::Failed,
        };
        self.advance(env, cx, (caller.op, caller.slot as usize), input);
        self.steer(env, cx, caller.op);
    }

    pub(crate) fn on_failed(&mut self, env: &mut Env, cx: Cx, caller: Caller) {
        self.advance(env, cx, (caller.op, caller.slot as usize), Input::Failed);
        self.steer(env, cx, caller.op);
    }

    /// Take the next step once no key awaits a reply.
    fn steer(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(job) = self.jobs.get(op) else { return };
        if job.asking > 0 {
            return;
        }
        match job.phase {
            Phase::Ask if job.is_abandoned => self.end(env, cx, op, End::Kept),
            Phase::Ask if job.open().next().is_some() => self.start_load(env, cx, op),
            Phase::Ask | Phase::Publish => self.finish(env, cx, op),
            Phase::Load { .. } => {}
        }
    }

    fn start_load(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        job.phase = Phase::Load { since: cx.now };
        let keys: Vec<_> = job.open().cloned().collect();
        env.stats.loads += keys.len() as u64;
        env.push(Event::LoadMany { op, keys });
        let at = env.load_times().due_at(cx.now, cx.now);
        self.set_timer(env, op, Some(at));
    }

    /// Handle a timer of the job's load, which needs its locks renewed or has reached its timeout.
    pub(crate) fn on_timer(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let times = env.load_times();
        let Some(job) = self.jobs.get_mut(op) else { return };
        job.timer = None;
        let Phase::Load { since } = job.phase else { return };
        if times.is_over(since, cx.now) {
            return self.end(env, cx, op, End::Failed);
        }
        self.advance_all(env, cx, op, || Input::Renew);
        self.set_timer(env, op, Some(times.due_at(since, cx.now)));
    }

    /// Handle the result of the loader.
    pub(crate) fn on_loaded(
        &mut self,
        env: &mut Env,
        cx: Cx,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let Phase::Load { since } = job.phase else { return };
        let (keys, took, is_ok) = (job.open().count(), cx.now - since, loaded.is_ok());
        env.observe(|| LoadEvent::new(keys, took, is_ok));
        let Ok(found) = loaded else {
            env.stats.load_failures += keys as u64;
            return self.end(env, cx, op, End::Failed);
        };
        job.phase = Phase::Publish;
        let (ttl, count, loader) = (job.ttl, job.keys.len(), job.loader);
        self.set_timer(env, op, None);
        let compute_time = took / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        let mut found: BTreeMap<Key, Loaded> = found.into_iter().collect();
        for slot in 0..count {
            let refresh = self.jobs.get(op).and_then(|job| job.keys.get(slot));
            let Some(refresh) = refresh.filter(|it| it.state.is_some()) else { continue };
            let key = &refresh.due.key;
            let one = found.remove(key).unwrap_or_else(Loaded::not_found);
            if let Some(registered) = self.loaders.get_mut(loader) {
                registered.choose(key, one.ttl);
            }
            let input = input(env, key, one, (ttl, compute_time));
            self.advance(env, cx, (op, slot), input);
        }
        env.stats.extra_keys += found.len() as u64;
        self.steer(env, cx, op);
    }

    /// End all keys without a command in flight; the others are answered first.
    fn end(&mut self, env: &mut Env, cx: Cx, op: OpId, end: End) {
        self.advance_all(env, cx, op, || Input::Over(end));
        if self.jobs.get(op).is_some_and(|job| job.asking == 0) {
            self.finish(env, cx, op);
        }
    }

    /// End a job whose worker has ended. If its loader was running, the loader has panicked.
    pub(crate) fn abandon(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        job.is_abandoned = true;
        let end = match job.phase {
            Phase::Load { .. } => {
                job.has_failed = true;
                End::Panicked
            }
            Phase::Ask | Phase::Publish => End::Kept,
        };
        self.end(env, cx, op, end);
    }

    /// End a job because the cache is closed.
    pub(crate) fn close(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        if !std::mem::replace(&mut job.is_abandoned, true) {
            env.push(Event::Done { op, outcome: Outcome::Refreshed });
        }
        self.end(env, cx, op, End::Kept);
    }

    fn finish(&mut self, env: &mut Env, cx: Cx, op: OpId) {
        self.set_timer(env, op, None);
        let Some(job) = self.jobs.remove(op) else { return };
        env.end_op(op);
        if !job.is_abandoned {
            env.push(Event::Done { op, outcome: Outcome::Refreshed });
        }
        if let Some(loader) = self.loaders.get_mut(job.loader) {
            loader.on_load_ended(cx.now, job.has_failed, &mut env.rng);
        }
    }

    fn set_timer(&mut self, env: &mut Env, op: OpId, at: Option<Instant>) {
        let Some(job) = self.jobs.get_mut(op) else { return };
        let before = std::mem::replace(&mut job.timer, at);
        env.rearm(Timer::Refresh(op), before, at);
    }
}

fn send(env: &mut Env, cx: Cx, (op, slot): (OpId, usize), effects: Effects) {
    env.send_detached(cx, effects.send_detached);
    if let Some(command) = effects.send {
        // `refresh_queue_max` limits the number of keys.
        let caller = Caller { op, slot: slot as u32 };
        env.send(cx, Sender::Call(caller), command);
    }
}

fn count(env: &mut Env, key: &Key, end: End) {
    let (count, stage) = match end {
        End::Refreshed => (&mut env.stats.refreshes, RefreshStage::Refreshed),
        End::Skipped => (&mut env.stats.refreshes_skipped, RefreshStage::Skipped),
        End::Failed => (&mut env.stats.refreshes_failed, RefreshStage::Failed),
        End::Panicked => (&mut env.stats.refreshes_panicked, RefreshStage::Panicked),
        End::Kept => return,
    };
    *count += 1;
    env.observe(|| RefreshEvent::new(key.clone(), stage));
}

/// Return a loader's result for one key as an input of its refresh.
fn input(env: &mut Env, key: &Key, loaded: Loaded, (ttl, took): (Duration, Duration)) -> Input {
    if !loaded.store {
        return Input::Over(End::Kept);
    }
    if let Some(reason) = env.unstorable_load(&loaded, ttl) {
        env.stats.not_stored += 1;
        env.observe(|| NotStoredEvent::new(key.clone(), reason));
        return Input::Over(End::Failed);
    }
    let ttl = loaded.ttl.unwrap_or(ttl);
    let payload = loaded.value.unwrap_or_else(|| env.config.not_found_marker.clone());
    Input::Loaded(Publication { payload, compute_time: env.stamped(took), ttl })
}
