//! One run of a registered loader: its keys, their refresh locks, the load, and what becomes of the result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::news::Answered;
use super::super::ops::Op;
use super::super::{Engine, Sender};
use super::{Due, lock_key};
use crate::api::answer::Loaded;
use crate::api::key::Key;
use crate::api::load_error::LoadFailure;
use crate::api::observer::{Observed, RefreshEvent};
use crate::api::options::LoaderId;
use crate::event::{Event, Notice, Outcome};
use crate::flow::flights::{Caller, OpId};
use crate::flow::refresh::{End, Input, Outbox, Refresh, Scene, Step};
use crate::flow::set::Load;
use crate::flow::timers::Timer;
use crate::protocol::command::Command;
use crate::protocol::reply::Reply;

/// After a failed load a family rests for this long, after the next for twice as long, and so on.
const REST_FIRST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(10);
/// Two looks at one ttl differ by no more than this part of it.
const SAME_TTL_PART: u32 = 32;

/// One run of a loader, as the table of calls has it.
#[derive(Debug)]
pub(in super::super) struct Job {
    family: LoaderId,
    ttl: Duration,
    entries: Vec<Entry>,
    stage: Stage,
    /// How many entries wait for an answer of Redis.
    asking: usize,
    timer: Option<Instant>,
    has_failed: bool,
    is_abandoned: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    due: Due,
    lock_key: Key,
    /// `None` once it is over.
    state: Option<Refresh>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ask,
    Load { since: Instant },
    Publish,
}

impl Job {
    pub(super) fn new(
        family: LoaderId,
        ttl: Duration,
        dues: impl Iterator<Item = Due>,
        lock_prefix: &[u8],
    ) -> Self {
        let entry = |due: Due| {
            let lock_key = lock_key(lock_prefix, &due.key);
            Entry { due, lock_key, state: None }
        };
        Self {
            family,
            ttl,
            entries: dues.map(entry).collect(),
            stage: Stage::Ask,
            asking: 0,
            timer: None,
            has_failed: false,
            is_abandoned: false,
        }
    }
}

impl Engine {
    pub(super) fn ask_refresh(&mut self, now: Instant, op: OpId) {
        for slot in 0..self.job(op).map_or(0, |job| job.entries.len()) {
            self.start_refresh(now, op, slot);
        }
        self.steer_refresh(now, op);
    }

    fn start_refresh(&mut self, now: Instant, op: OpId, slot: usize) {
        let lock = self.locks.issue();
        let prefix = self.config.lock_prefix.as_bytes();
        let Some(Op::Refresh(job)) = self.ops.get_mut(op) else { return };
        let Some(entry) = job.entries.get_mut(slot) else { return };
        let mut out = Outbox::default();
        let scene = scene(&entry.due, &entry.lock_key, prefix, job.ttl);
        entry.state = Some(Refresh::start(lock, &scene, &mut out));
        job.asking += 1;
        self.send_refresh(now, op, slot, out);
    }

    fn job(&mut self, op: OpId) -> Option<&mut Job> {
        match self.ops.get_mut(op) {
            Some(Op::Refresh(job)) => Some(job),
            _ => None,
        }
    }

    /// Tells the refresh of one key something and does what it asks for.
    fn advance_refresh(&mut self, now: Instant, op: OpId, slot: usize, input: Input) {
        let prefix = self.config.lock_prefix.as_bytes();
        let Some(Op::Refresh(job)) = self.ops.get_mut(op) else { return };
        let Some(entry) = job.entries.get_mut(slot) else { return };
        let Some(state) = entry.state.take() else { return };
        let mut out = Outbox::default();
        let scene = scene(&entry.due, &entry.lock_key, prefix, job.ttl);
        job.asking -= usize::from(state.is_asking());
        match state.handle(input, &scene, &mut out) {
            Step::Next(next) => {
                job.asking += usize::from(next.is_asking());
                entry.state = Some(next);
            }
            Step::Done(end) => {
                job.has_failed |= end == End::Failed;
                if let Some(family) = self.refreshes.family(job.family) {
                    family.pending.remove(&entry.due.key);
                }
                let key = entry.due.key.clone();
                self.count_refresh(key, end);
            }
        }
        self.send_refresh(now, op, slot, out);
    }

    fn count_refresh(&mut self, key: Key, end: End) {
        let (count, event) = match end {
            End::Refreshed => (&mut self.stats.refreshes, RefreshEvent::Refreshed),
            End::Skipped => (&mut self.stats.refreshes_skipped, RefreshEvent::Skipped),
            End::Failed => (&mut self.stats.refreshes_failed, RefreshEvent::Failed),
            End::Panicked => (&mut self.stats.refreshes_panicked, RefreshEvent::Panicked),
            End::Kept => return,
        };
        *count += 1;
        self.observed(|| Observed::Refresh(key, event));
    }

    fn send_refresh(&mut self, now: Instant, op: OpId, slot: usize, out: Outbox) {
        if let Some(command) = out.send_aside {
            self.send(now, Sender::Nobody.token(), command);
        }
        if let Some(command) = out.send {
            // As many as the queue holds.
            self.send(now, Sender::Call(op, slot as u32).token(), command);
        }
    }

    fn advance_job(&mut self, now: Instant, op: OpId, input: impl Fn() -> Input) {
        for slot in 0..self.job(op).map_or(0, |job| job.entries.len()) {
            self.advance_refresh(now, op, slot, input());
        }
    }

    pub(in super::super) fn on_refresh_reply(
        &mut self,
        now: Instant,
        caller: Caller,
        answer: Answered,
    ) {
        let Caller { op, slot } = caller;
        let Answered { command, reply, sent_at, .. } = answer;
        let is_lock = matches!(command, Command::Lock { .. });
        let input = match reply {
            Reply::Effect(done) if is_lock => Input::Locked(done),
            Reply::Effect(done) => Input::Published(done),
            Reply::Raw(found) => Input::Read { found, asked_at: sent_at },
            Reply::Refused(_) => Input::Failed,
            Reply::Read(_) | Reply::WriteLock(_) => unreachable!("refreshes do not ask for that"),
        };
        self.advance_refresh(now, op, slot as usize, input);
        self.steer_refresh(now, op);
    }

    pub(in super::super) fn on_refresh_failed(&mut self, now: Instant, caller: Caller) {
        self.advance_refresh(now, caller.op, caller.slot as usize, Input::Failed);
        self.steer_refresh(now, caller.op);
    }

    /// Goes on once nothing is asked of Redis any more.
    fn steer_refresh(&mut self, now: Instant, op: OpId) {
        let Some(job) = self.job(op) else { return };
        if job.asking > 0 {
            return;
        }
        match job.stage {
            Stage::Ask if job.is_abandoned => self.end_refresh(now, op, End::Kept),
            Stage::Ask if job.entries.iter().any(|entry| entry.state.is_some()) => {
                self.load_refresh(now, op);
            }
            Stage::Ask | Stage::Publish => self.finish_refresh(now, op),
            Stage::Load { .. } => {}
        }
    }

    fn load_refresh(&mut self, now: Instant, op: OpId) {
        let Some(job) = self.job(op) else { return };
        job.stage = Stage::Load { since: now };
        let entries = job.entries.iter().filter(|entry| entry.state.is_some());
        let keys: Vec<_> = entries.map(|entry| entry.due.key.clone()).collect();
        self.stats.loads += keys.len() as u64;
        self.events.push_back(Event::LoadMany { op, keys });
        let at = self.load_times().due_at(now, now, true);
        self.arm_refresh(op, Some(at));
    }

    pub(in super::super) fn on_refresh_due(&mut self, now: Instant, op: OpId) {
        let times = self.load_times();
        let Some(job) = self.job(op) else { return };
        job.timer = None;
        let Stage::Load { since } = job.stage else { return };
        if times.is_over(since, now) {
            return self.end_refresh(now, op, End::Failed);
        }
        self.advance_job(now, op, || Input::Renew);
        self.arm_refresh(op, Some(times.due_at(since, now, true)));
    }

    pub(in super::super) fn on_refresh_loaded(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let Some(job) = self.job(op) else { return };
        let Stage::Load { since } = job.stage else { return };
        let keys = job.entries.iter().filter(|entry| entry.state.is_some()).count();
        let (took, is_ok) = (now - since, loaded.is_ok());
        self.observed(|| Observed::Load { keys, took, is_ok });
        let Ok(found) = loaded else {
            self.stats.load_failures += keys as u64;
            return self.end_refresh(now, op, End::Failed);
        };
        let Some(job) = self.job(op) else { return };
        job.stage = Stage::Publish;
        let (ttl, count, family) = (job.ttl, job.entries.len(), job.family);
        self.arm_refresh(op, None);
        let shared = u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        let compute_time = (now - since) / shared;
        let mut found: BTreeMap<Key, Loaded> = found.into_iter().collect();
        for slot in 0..count {
            let Some(entry) = self.job(op).and_then(|job| job.entries.get(slot)) else { return };
            if entry.state.is_some() {
                let key = entry.due.key.clone();
                let one = found.remove(&key).unwrap_or_else(Loaded::not_found);
                if let Some(family) = self.refreshes.family(family) {
                    family.choose(&key, one.ttl);
                }
                let input = self.refresh_input(key, one, ttl, compute_time);
                self.advance_refresh(now, op, slot, input);
            }
        }
        self.stats.extra_keys += found.len() as u64;
        self.steer_refresh(now, op);
    }

    fn refresh_input(
        &mut self,
        key: Key,
        loaded: Loaded,
        ttl: Duration,
        compute_time: Duration,
    ) -> Input {
        if !loaded.store {
            return Input::Over(End::Kept);
        }
        if let Some(reason) = self.unstorable_load(&loaded, ttl) {
            self.notice(Notice::NotStored { key, reason });
            return Input::Over(End::Failed);
        }
        let ttl = loaded.ttl.unwrap_or(ttl);
        let payload = loaded.value.unwrap_or_else(|| self.config.not_found_marker.clone());
        Input::Loaded(Load { payload, compute_time, ttl })
    }

    /// Ends all that is not asked of Redis; what is, is answered first.
    fn end_refresh(&mut self, now: Instant, op: OpId, end: End) {
        self.advance_job(now, op, || Input::Over(end));
        if self.job(op).is_some_and(|job| job.asking == 0) {
            self.finish_refresh(now, op);
        }
    }

    /// The worker is gone, in the middle of its load if that has panicked.
    pub(in super::super) fn abandon_refresh(&mut self, now: Instant, op: OpId) {
        let Some(job) = self.job(op) else { return };
        job.is_abandoned = true;
        if let Stage::Load { .. } = job.stage {
            job.has_failed = true;
            return self.end_refresh(now, op, End::Panicked);
        }
        self.end_refresh(now, op, End::Kept);
    }

    /// The cache is closed.
    pub(in super::super) fn close_refresh(&mut self, now: Instant, op: OpId) {
        let Some(job) = self.job(op) else { return };
        if !std::mem::replace(&mut job.is_abandoned, true) {
            self.events.push_back(Event::Done { op, outcome: Outcome::Refreshed });
        }
        self.end_refresh(now, op, End::Kept);
    }

    fn finish_refresh(&mut self, now: Instant, op: OpId) {
        self.arm_refresh(op, None);
        let Some(Op::Refresh(job)) = self.end_op(op) else { return };
        if !job.is_abandoned {
            self.events.push_back(Event::Done { op, outcome: Outcome::Refreshed });
        }
        let rng = &mut self.rng;
        let Some(family) = self.refreshes.family(job.family) else { return };
        if job.has_failed {
            let nominal = (REST_FIRST * (1 << family.failures.min(10))).min(REST_MAX);
            family.failures += 1;
            family.rests_until = Some(now + nominal / 2 + rng.below(nominal / 2));
        } else {
            (family.failures, family.rests_until) = (0, None);
        }
    }

    fn arm_refresh(&mut self, op: OpId, at: Option<Instant>) {
        let Some(Op::Refresh(job)) = self.ops.get_mut(op) else { return };
        if let Some(at) = std::mem::replace(&mut job.timer, at) {
            self.timers.disarm(Timer::Refresh(op), at);
        }
        if let Some(at) = at {
            self.timers.arm(Timer::Refresh(op), at);
        }
    }
}

fn scene<'a>(due: &'a Due, lock_key: &'a Key, lock_prefix: &'a [u8], ttl: Duration) -> Scene<'a> {
    let newer_after = due.expires_at + ttl / SAME_TTL_PART;
    Scene { key: &due.key, lock_key, lock_prefix, newer_after }
}
