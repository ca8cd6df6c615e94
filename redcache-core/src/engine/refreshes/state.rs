//! The state of the refreshes: loaders, due keys, workers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::job::Job;
use super::loaders::{Due, Loaders};
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::api::observer::{RefreshEvent, RefreshStage};
use crate::api::options::{LoaderId, RefreshOptions};
use crate::engine::env::{Cx, Env};
use crate::engine::ops::{Machine, OpMap};
use crate::engine::validate::check_ttl;
use crate::event::Event;
use crate::flow::call::OpId;
use crate::flow::refresh_policy::{RefreshPolicy, is_due};

/// The machine of the refreshes.
#[derive(Debug, Default)]
pub(crate) struct Refreshes {
    pub(super) loaders: Loaders,
    pub(super) jobs: OpMap<Box<Job>>,
    /// The loaders with due keys and without a worker, in order.
    waiting: VecDeque<LoaderId>,
    /// The number of due keys in all queues.
    queued: usize,
    /// The number of workers that were requested and have not ended.
    workers: usize,
}

impl Refreshes {
    /// Register a loader.
    pub(crate) fn register(
        &mut self,
        env: &mut Env,
        now: Instant,
        options: RefreshOptions,
    ) -> Result<RefreshPolicy, Error> {
        check_ttl(options.ttl)?;
        check(&options)?;
        let loader = self.loaders.insert(options);
        Ok(RefreshPolicy::new(now, loader, options, env.rng.next()))
    }

    /// Unregister a loader. A load that it has begun is still published.
    pub(crate) fn unregister(&mut self, loader: LoaderId) {
        if let Some(gone) = self.loaders.remove(loader) {
            self.queued -= gone.queue.len();
        }
    }

    /// Queue a due key, whose value expires at `expires_at`.
    pub(crate) fn trigger(
        &mut self,
        env: &mut Env,
        cx: Cx,
        loader: LoaderId,
        (key, expires_at): (Key, Instant),
    ) {
        let is_full = self.queued >= env.config.refresh_queue_max;
        let Some(registered) = self.loaders.get_mut(loader) else { return };
        if registered.is_early(&key, expires_at.saturating_duration_since(cx.now)) {
            return;
        }
        let rests = registered.rests_until.is_some_and(|until| cx.now < until);
        // A refresh needs its lock, and a script that replaces the value.
        if rests || !env.allows_refreshes(cx.now) || registered.pending.contains(&key) {
            env.stats.refreshes_skipped += 1;
            env.observe(|| RefreshEvent::new(key, RefreshStage::Skipped));
        } else if is_full {
            env.stats.refreshes_dropped += 1;
            env.observe(|| RefreshEvent::new(key, RefreshStage::Dropped));
        } else {
            registered.pending.insert(key.clone());
            registered.queue.push_back(Due { key: key.clone(), expires_at });
            self.queued += 1;
            env.stats.refreshes_triggered += 1;
            env.observe(|| RefreshEvent::new(key, RefreshStage::Triggered));
            self.call_workers(env, loader);
        }
    }

    /// Queue a key that was just read from Redis, if it is due.
    pub(crate) fn trigger_if_due(
        &mut self,
        env: &mut Env,
        cx: Cx,
        loader: LoaderId,
        (key, left, compute_time): (&Key, Duration, Duration),
    ) {
        let Some(registered) = self.loaders.get_mut(loader) else { return };
        let options = registered.options;
        let rng = &mut env.rng;
        if is_due(&options, left, options.ttl, compute_time, || 1.0 - rng.fraction())
            && let Some(expires_at) = cx.now.checked_add(left)
        {
            self.trigger(env, cx, loader, (key.clone(), expires_at));
        }
    }

    /// Request workers for the loader, within the limit of workers.
    fn call_workers(&mut self, env: &mut Env, loader: LoaderId) {
        let registered = self.loaders.get_mut(loader);
        let wants = registered.is_some_and(|it| !it.is_called && !it.queue.is_empty());
        if wants && !self.waiting.contains(&loader) {
            self.waiting.push_back(loader);
        }
        while self.workers < env.config.refresh_workers {
            let Some(loader) = self.waiting.pop_front() else { return };
            if let Some(registered) = self.loaders.get_mut(loader) {
                registered.is_called = true;
                self.workers += 1;
                env.push(Event::Refresh { loader });
            }
        }
    }

    /// Start a job with all due keys of the worker's loader.
    pub(crate) fn begin(&mut self, env: &mut Env, cx: Cx, loader: LoaderId) -> Result<OpId, Error> {
        let registered = self.loaders.get_mut(loader).ok_or_else(Error::closed)?;
        registered.is_called = false;
        let (queue, ttl) = (std::mem::take(&mut registered.queue), registered.options.ttl);
        self.queued -= queue.len();
        let prefix = env.config.refresh_lock_prefix.as_bytes();
        let job = Job::new(loader, ttl, queue.into_iter(), prefix);
        let op = env.start_op(Machine::Refreshes);
        self.jobs.insert(op, Box::new(job));
        self.start_job(env, cx, op);
        Ok(op)
    }

    /// Handle the end of a worker.
    pub(crate) fn on_worker_over(&mut self, env: &mut Env, loader: LoaderId) {
        if mutant!(RefreshCostsWorker) && env.stats.refreshes_panicked > 0 {
            return;
        }
        self.workers = self.workers.saturating_sub(1);
        if let Some(registered) = self.loaders.get_mut(loader) {
            registered.is_called = false;
        }
        self.call_workers(env, loader);
    }
}

fn check(options: &RefreshOptions) -> Result<(), Error> {
    let (after, beta) = (options.after, options.beta);
    let wrong = if !(0.0..1.0).contains(&after) {
        format!("`refresh_at_fraction` is {after}; it must be at least 0 and under 1")
    } else if !(beta >= 0.0 && beta.is_finite()) {
        format!("`refresh_beta` is {beta}; it must be 0 or more")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, wrong))
}
