//! The engine and the state that both faces keep beside it, under one lock of the face.
//!
//! A face gives the engine one input at a time: it takes the lock, reads [`Host::advance`], gives
//! the input, calls [`Host::drain`], releases the lock, and then acts on the [`Outputs`].

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use redcache_core::engine::{Engine, Event, LoaderId, LoginId, OpId, Seed};
use redcache_core::{CallOptions, Config, Error};

use crate::dials::{Dial, Dials};
use crate::loaders::Loaders;
use crate::logins::{Login, LoginAnswer, Logins};
use crate::outputs::{CallEvent, Calls, Outputs};
use crate::request::Request;
use crate::trace::CallTrace;

/// The engine of one cache, with its calls `C` and its registered loaders `L`.
#[derive(Debug)]
pub struct Host<C, L> {
    /// The engine.
    pub engine: Engine,
    /// The calls that wait for events.
    pub calls: C,
    /// The registered loaders.
    pub loaders: Loaders<L>,
    /// The attempts to connect.
    pub dials: Dials,
    /// The requests to the credentials provider.
    pub logins: Logins,
    refreshes: VecDeque<LoaderId>,
    is_closed: bool,
    /// The error of a closed cache.
    closed: Error,
    /// The latest time that the engine has seen.
    latest: Instant,
    /// The time at which the face's timer wakes up; `None` if it sleeps until it is woken.
    sleeps_until: Option<Instant>,
}

impl<C: Calls, L: Clone> Host<C, L> {
    /// Create an engine at the time `now`.
    pub fn new(now: Instant, seed: &Seed, config: Config, calls: C) -> Self {
        Self {
            engine: Engine::new(now, seed, config),
            calls,
            loaders: Loaders::default(),
            dials: Dials::default(),
            logins: Logins::default(),
            refreshes: VecDeque::new(),
            is_closed: false,
            closed: Error::closed(),
            latest: now,
            sleeps_until: None,
        }
    }

    /// Return the time of the next input. A face reads its clock before it takes the lock, to hold
    /// the lock for a shorter time. Another thread may take the lock in between with a later
    /// reading, so the later reading counts: the engine's time never goes back.
    pub fn advance(&mut self, clock: Instant) -> Instant {
        self.latest = self.latest.max(clock);
        self.latest
    }

    /// Begin a call, which reports its steps if its trace is on.
    ///
    /// # Errors
    ///
    /// Fails if the engine rejects the call.
    pub fn begin(
        &mut self,
        now: Instant,
        request: &mut impl Request,
        (options, trace): (CallOptions, &CallTrace),
    ) -> Result<OpId, Error> {
        if trace.is_on() {
            self.engine.report_steps(true);
        }
        let begun = request.start(&mut self.engine, now);
        if trace.is_on() {
            self.engine.report_steps(false);
        }
        let op = begun?;
        if let (Some(at), Some(after)) = (options.deadline(now), options.timeout_after()) {
            self.engine.set_deadline(op, at, after);
        }
        Ok(op)
    }

    /// Return `true` if a call that has taken this event has to handle it. A load may have passed
    /// to another caller before its call took the event.
    pub fn accepts(&mut self, op: OpId, event: &CallEvent) -> bool {
        match event {
            CallEvent::Load(_) => self.engine.begin_load(op),
            CallEvent::Done(_) => true,
        }
    }

    /// Sort the events of the engine.
    pub fn drain(&mut self) -> Outputs<C::Waker> {
        let mut outputs = Outputs::default();
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Done { op, outcome } => {
                    outputs.deliver(&mut self.calls, op, CallEvent::Done(outcome));
                }
                Event::Load { op } => {
                    outputs.deliver(&mut self.calls, op, CallEvent::Load(Vec::new()));
                }
                Event::LoadMany { op, keys } => {
                    outputs.deliver(&mut self.calls, op, CallEvent::Load(keys));
                }
                Event::Step { op, step } => outputs.wakers.extend(self.calls.note(op, step)),
                Event::Dial { conn, address } => {
                    self.dials.push(Dial { conn, address });
                }
                Event::Login { login, request } => {
                    self.logins.push(Login { id: login, request });
                }
                Event::Refresh { loader } => {
                    self.refreshes.push_back(loader);
                }
                Event::HangUp { conn } => {
                    self.logins.cancel(conn);
                    let was_queued = self.dials.cancel(conn);
                    outputs.hang_ups.extend((!was_queued).then_some(conn));
                }
                Event::Observed(observation) => outputs.observations.push(observation),
                Event::ConnectionChanged => outputs.has_news = true,
                Event::Closed => {
                    self.is_closed = true;
                    outputs.has_work = true;
                    outputs.has_news = true;
                }
                _ => {}
            }
        }
        outputs.has_work |= self.has_work();
        // A face starts the rest of a batch without its timer.
        let due = self.engine.poll_timeout().filter(|_| !self.engine.is_starting());
        if due.is_some_and(|due| self.sleeps_until.is_none_or(|until| due < until)) {
            self.sleeps_until = due;
            outputs.has_work = true;
        }
        outputs
    }

    /// Take the registered loaders that the engine wants to run.
    pub fn take_refreshes(&mut self) -> Vec<(LoaderId, L)> {
        let refreshes = mem::take(&mut self.refreshes);
        let loader = |id| self.loaders.get(id).map(|loader| (id, loader));
        refreshes.into_iter().filter_map(loader).collect()
    }

    /// Return `true` if there is an attempt to connect, a credentials request or a refresh to
    /// start.
    pub fn has_work(&self) -> bool {
        self.dials.can_start() || self.logins.can_start() || !self.refreshes.is_empty()
    }

    /// Handle the timeouts that are due.
    pub fn handle_timeouts(&mut self, now: Instant) {
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        }
    }

    /// Record that the face's timer sleeps from now on, and return its wake-up time. An earlier
    /// timeout then sets [`Outputs::has_work`].
    pub fn begin_sleep(&mut self) -> Option<Instant> {
        self.sleeps_until = self.engine.poll_timeout();
        self.sleeps_until
    }

    /// Return the result of the last attempt to connect; `None` while an attempt is in progress and
    /// no connection accepts commands.
    pub fn readiness(&self) -> Option<Result<(), Error>> {
        if self.is_closed { Some(Err(self.closed.clone())) } else { self.engine.readiness() }
    }

    /// Return `true` once every call has ended, every lock is released and every connection is
    /// closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// End a credentials request. The engine gets the answer if there is one.
    pub fn end_login(&mut self, now: Instant, id: LoginId, answer: Option<LoginAnswer>) {
        self.logins.end(id);
        if let Some(answer) = answer {
            self.engine.handle_credentials(now, id, answer);
        }
    }

    /// Close the cache at once for this reason, for a face that can no longer keep the engine's
    /// timeouts.
    pub fn abort(&mut self, now: Instant, reason: &'static str) {
        if !self.is_closed {
            self.closed = Error::closed_because(reason);
            self.engine.close_with(now, self.closed.clone());
            self.is_closed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redcache_core::engine::{CallStep, OpId};

    use super::*;
    use crate::outputs::CallEvent;
    use crate::request::write::Remove;
    use crate::trace::CacheTrace;

    /// Calls whose events are discarded.
    #[derive(Debug)]
    struct NoCalls;

    impl Calls for NoCalls {
        type Waker = ();

        fn deliver(&mut self, _: OpId, event: CallEvent) -> (Option<()>, Option<CallEvent>) {
            (None, Some(event))
        }

        fn note(&mut self, _: OpId, _: CallStep) -> Option<()> {
            None
        }
    }

    fn host(now: Instant) -> Host<NoCalls, ()> {
        let config = Config::from_url("redis://localhost").unwrap();
        Host::new(now, &Seed::new([7; 32], 0), config, NoCalls)
    }

    #[test]
    fn the_time_of_the_engine_never_goes_back() {
        let (start, tick) = (Instant::now(), Duration::from_millis(1));
        let mut host = host(start);
        assert_eq!(host.advance(start + 2 * tick), start + 2 * tick);
        assert_eq!(host.advance(start + tick), start + 2 * tick);
        assert_eq!(host.advance(start + 3 * tick), start + 3 * tick);
    }

    #[test]
    fn the_steps_of_a_call_share_its_timeout() {
        let (start, step) = (Instant::now(), Duration::from_millis(30));
        let mut host = host(start);
        let options = CallOptions::new().timeout(2 * step).begun_at(start);
        assert_eq!(options.deadline(start + 3 * step), Some(start + 2 * step));
        let mut request = Remove::new(b"k");
        let trace = CallTrace::begin(&CacheTrace::new(host.engine.config().observer()), &request);
        host.begin(start + step, &mut request, (options, &trace)).unwrap();
        host.engine.handle_timeout(start + step);
        assert_eq!(host.engine.poll_timeout(), Some(start + 2 * step));
    }

    #[test]
    fn a_timer_that_sleeps_is_woken_only_for_an_earlier_timeout() {
        let start = Instant::now();
        let mut host = host(start);
        assert!(host.drain().has_work, "the first attempt to connect");
        while host.dials.start().is_some() {}
        let until = host.begin_sleep().unwrap();
        assert!(!host.drain().has_work);
        let timeout = (until - start) / 2;
        let options = CallOptions::new().timeout(timeout);
        let cache = CacheTrace::new(host.engine.config().observer());
        let mut request = Remove::new(b"k");
        let trace = CallTrace::begin(&cache, &request);
        host.begin(start, &mut request, (options, &trace)).unwrap();
        assert!(host.drain().has_work, "the call ends before the timer wakes up");
        assert!(!host.drain().has_work, "the timer is woken once");
    }
}
