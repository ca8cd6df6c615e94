//! The environment that the machines share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::exchange::Exchange;
use super::ops::{Machine, Ops, Timeout};
use super::round_trip::{RoundTrip, lock_ttl_min};
use super::script_support::ScriptSupport;
use super::sender::Sender;
use crate::api::config::Config;
use crate::api::error::{Error, ErrorKind};
use crate::api::observer::{LockExtendedEvent, LockWaitEvent, Observation};
use crate::api::stats::Stats;
use crate::event::{Event, Outcome};
use crate::flow::call::{Caller, OpId};
use crate::flow::pace::LoadTimes;
use crate::flow::superseded::SupersededLocks;
use crate::flow::timers::{Timer, Timers};
use crate::near::Near;
use crate::protocol::command::Command;
use crate::protocol::envelope;
use crate::protocol::lock::{LockSettings, Locks};
use crate::rng::Rng;
use crate::wire::router::{Context, Router};

/// The circumstances of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cx {
    pub(crate) now: Instant,
    /// The step handles a reply, and the server tracks the key of the reply.
    pub(crate) tracked: bool,
}

impl Cx {
    /// Return the circumstances of a step that handles no reply.
    pub(crate) fn at(now: Instant) -> Self {
        Self { now, tracked: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    /// Locks are being released. The connections end at this instant at the latest.
    Until(Instant),
    Done,
}

/// Everything that a machine may touch besides its own state.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) config: Config,
    pub(crate) lock_settings: LockSettings,
    pub(crate) near: Arc<Near>,
    pub(crate) router: Router,
    /// Replies of a disabled cache, in the order of their commands.
    pub(super) disabled_replies: VecDeque<Exchange>,
    pub(crate) ops: Ops,
    pub(crate) timers: Timers,
    pub(crate) locks: Locks,
    pub(crate) superseded: SupersededLocks,
    pub(crate) scripts: ScriptSupport,
    pub(crate) round_trip: RoundTrip,
    pub(crate) rng: Rng,
    pub(crate) stats: Stats,
    /// The number of audits in progress.
    pub(crate) audits: usize,
    /// The earliest loss among the connections that are missing.
    pub(crate) disconnected_at: Option<Instant>,
    pub(crate) closing: Closing,
    /// The error of a call on the closed cache.
    pub(crate) closed: Error,
    pub(crate) events: VecDeque<Event>,
    /// The result of the last attempt to connect; `None` until it has ended.
    pub(crate) readiness: Option<Result<(), Error>>,
    /// Reason why the latest connection ended or the latest attempt to connect failed; `None` once
    /// no server is missing.
    pub(crate) last_error: Option<Error>,
}

impl Env {
    /// Return the router and the context of one of its steps.
    pub(crate) fn router(&mut self, now: Instant) -> (&mut Router, Context<'_>) {
        let Self { config, lock_settings, router, .. } = self;
        (router, Context { now, config, lock_settings })
    }

    pub(crate) fn send(&mut self, cx: Cx, sender: Sender, command: Command) {
        let now = cx.now;
        if self.config.servers.is_none() {
            return self.reply_disabled(now, sender, command);
        }
        if let Sender::Call(Caller { op, .. }) = sender {
            self.report_sent(op, &command);
        }
        if let Command::Restore { lock, .. } = &command {
            self.locks.await_restore(now, *lock, now + self.lock_ttl());
        }
        let (router, context) = self.router(now);
        router.send(context, sender.token(), command);
    }

    /// Fail a command as if Redis could not be reached. Nothing is sent.
    pub(crate) fn fail_unsent(&mut self, sender: Sender, command: Command) {
        let no_redis = || Error::new(ErrorKind::Unavailable, "there is no connection");
        let error = self.last_error.clone().unwrap_or_else(no_redis);
        self.router.fail_unsent(sender.token(), command, error);
    }

    /// Return whether a lock may be taken: it needs a script that ends it.
    pub(crate) fn allows_locks(&self, now: Instant) -> bool {
        self.scripts.allows_locks(now) && !self.router.forbids_scripts(now)
    }

    /// Return whether a refresh may begin: it needs a script that replaces a value.
    pub(crate) fn allows_refreshes(&self, now: Instant) -> bool {
        self.scripts.allows_refreshes(now) && !self.router.forbids_scripts(now)
    }

    /// Send a command whose reply is discarded.
    pub(crate) fn send_detached(&mut self, cx: Cx, command: Option<Command>) {
        if let Some(command) = command {
            self.send(cx, Sender::Nobody, command);
        }
    }

    /// Return a loader's run time with the stamp of a new write.
    pub(crate) fn stamped(&mut self, compute_time: Duration) -> Duration {
        envelope::stamped(compute_time, self.rng.next())
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn observe<E: Into<Observation>>(&mut self, event: impl FnOnce() -> E) {
        if self.config.observer.is_some() {
            self.push(Event::Observed(event().into()));
        }
    }

    pub(crate) fn set_readiness(&mut self, readiness: Option<Result<(), Error>>) {
        self.readiness = readiness;
        self.push(Event::ConnectionChanged);
    }

    /// Report a wait for the locks of others that has ended, if there was one.
    pub(crate) fn observe_lock_wait(&mut self, cx: Cx, since: Option<Instant>) {
        if let Some(since) = since {
            self.observe(|| LockWaitEvent::new(cx.now - since));
        }
    }

    pub(crate) fn start_op(&mut self, machine: Machine) -> OpId {
        self.ops.insert(machine)
    }

    /// End a call without an outcome.
    pub(crate) fn end_op(&mut self, op: OpId) {
        if let Some(Timeout { at, .. }) = self.ops.remove(op) {
            self.timers.disarm(Timer::Timeout(op), at);
        }
    }

    /// End a call with an outcome.
    pub(crate) fn finish(&mut self, op: OpId, outcome: Outcome) {
        self.end_op(op);
        if self.config.observer.is_some() {
            let failures = outcome.failures().into_iter();
            self.events.extend(failures.map(|failure| Event::Observed(failure.into())));
        }
        self.push(Event::Done { op, outcome });
    }

    /// Move a timer from its old deadline to a new one.
    pub(crate) fn rearm(&mut self, timer: Timer, from: Option<Instant>, to: Option<Instant>) {
        if let Some(at) = from {
            self.timers.disarm(timer, at);
        }
        if let Some(at) = to {
            self.timers.arm(timer, at);
        }
    }

    /// Return the TTL of the locks that are taken now.
    pub(crate) fn lock_ttl(&self) -> Duration {
        self.lock_settings.lock_ttl
    }

    /// Adapt the TTL of later locks to the round trip of a request that was just answered.
    pub(crate) fn adapt_lock_ttl(&mut self, now: Instant) {
        let Some(sent_at) = self.router.take_trip() else { return };
        let Some(round_trip) = self.round_trip.on_reply(sent_at, now) else { return };
        if mutant!(RoundTripIgnored) {
            return;
        }
        let lock_ttl = self.config.lock_ttl.max(lock_ttl_min(round_trip));
        self.lock_settings.lock_ttl = lock_ttl;
        if lock_ttl > self.config.lock_ttl && self.round_trip.announce() {
            self.observe(|| LockExtendedEvent::new(lock_ttl, round_trip));
        }
    }

    pub(crate) fn load_times(&self) -> LoadTimes {
        let (lock_ttl, load_timeout) = (self.lock_ttl(), self.config.load_timeout);
        LoadTimes { lock_ttl, load_timeout }
    }

    /// Return the application's view of a payload: the marker is no value.
    pub(crate) fn unmark(&self, payload: Bytes) -> Option<Bytes> {
        (payload != self.config.not_found_marker).then_some(payload)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closing == Closing::No
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_open() { Ok(()) } else { Err(self.closed.clone()) }
    }
}
