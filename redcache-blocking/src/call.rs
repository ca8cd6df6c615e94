//! A call in progress: its thread waits for the call's events, and cancels the call if the loader
//! panics.

use std::mem;
use std::sync::Arc;

use redcache_adapter::{CallEvent, CallTrace, LoadResult, Request, SharedHost};
use redcache_core::engine::OpId;
use redcache_core::{CallOptions, Error, Key};

use crate::call_slots::CallSlot;
use crate::shared::Shared;
use crate::waiting::Waiting;

/// Run a call without a loader.
pub(crate) fn run<Q: Request>(
    shared: &Shared,
    options: CallOptions,
    request: Q,
) -> Result<Q::Output, Q::Error> {
    run_with(shared, options, request, |_| LoadResult::nothing())
}

/// Run a call whose loader runs at most once.
pub(crate) fn run_once<Q: Request>(
    shared: &Shared,
    options: CallOptions,
    request: Q,
    load: impl FnOnce(Vec<Key>) -> LoadResult,
) -> Result<Q::Output, Q::Error> {
    let mut load = Some(load);
    run_with(shared, options, request, |keys| match load.take() {
        Some(load) => load(keys),
        None => LoadResult::nothing(),
    })
}

/// Run a call whose loader runs each time the engine requests it.
pub(crate) fn run_with<Q: Request>(
    shared: &Shared,
    options: CallOptions,
    mut request: Q,
    mut load: impl FnMut(Vec<Key>) -> LoadResult,
) -> Result<Q::Output, Q::Error> {
    let trace = CallTrace::begin(shared.near.trace(), &request);
    let _entered = trace.enter();
    let mut call = Call::begin(shared, (options, trace), &mut request)?;
    loop {
        match call.next() {
            CallEvent::Done(outcome) => {
                call.trace.end(&outcome);
                return Q::finish(outcome);
            }
            CallEvent::Load(keys) => {
                let span = call.trace.load(keys.len());
                let loaded = span.in_scope(|| load(keys));
                span.end(&loaded);
                shared.hand_over(call.op, loaded);
                call.waiting = Waiting::choose(&shared.lock());
            }
        }
    }
}

/// A call in progress. Dropping it before its end cancels it; that happens if the loader panics.
struct Call<'a> {
    shared: &'a Shared,
    op: OpId,
    slot: Arc<CallSlot>,
    is_over: bool,
    trace: CallTrace,
    waiting: Waiting,
}

impl<'a> Call<'a> {
    fn begin(
        shared: &'a Shared,
        (options, trace): (CallOptions, CallTrace),
        request: &mut impl Request,
    ) -> Result<Self, Error> {
        shared.check_thread()?;
        let slot = Arc::new(CallSlot::new());
        let begun = shared.step(|state, now| {
            let op = state.host.begin(now, request, (options, &trace))?;
            state.host.calls.insert(op, &slot);
            Ok::<_, Error>((op, Waiting::choose(state)))
        });
        let (op, waiting) = begun.inspect_err(|error| trace.reject(error))?;
        let mut call = Self { shared, op, slot, is_over: false, trace, waiting };
        if call.trace.is_on() {
            call.trace.note(call.slot.take_steps());
        }
        Ok(call)
    }

    /// Wait for the next event. The engine ends every call in time, so no timeout is needed.
    fn next(&mut self) -> CallEvent {
        loop {
            let waiting = mem::replace(&mut self.waiting, Waiting::Sleep);
            waiting.wait(self.shared, || self.slot.has_event());
            let event = self.slot.wait(|steps| self.trace.note(steps));
            self.is_over = matches!(event, CallEvent::Done(_));
            if self.is_over || self.shared.lock().host.accepts(self.op, &event) {
                return event;
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let slot = self.shared.step(|state, now| {
            state.host.engine.cancel(now, self.op);
            state.host.calls.remove(self.op)
        });
        drop(slot);
    }
}

#[cfg(test)]
mod tests {

    use redcache_adapter::Remove;
    use redcache_core::Config;
    use redcache_core::engine::{Outcome, Seed};
    use redcache_sim::listen::EmbeddedServer;

    use super::*;

    fn begin<'a>(shared: &'a Shared, key: &str) -> Result<Call<'a>, Error> {
        let mut request = Remove::new(key.as_bytes());
        let trace = CallTrace::begin(shared.near.trace(), &request);
        Call::begin(shared, (CallOptions::new(), trace), &mut request)
    }

    fn shared(url: &str) -> Shared {
        Shared::new(Config::from_url(url).unwrap(), &Seed::new([7; 32], 0)).unwrap()
    }

    #[test]
    fn without_a_timer_thread_every_call_ends_at_once() {
        let server = EmbeddedServer::start().unwrap();
        let shared = Arc::new(shared(&server.url()));
        crate::timer::start(&shared).unwrap();
        shared.wait_ready().unwrap();
        let mut call = server.with(|_| {
            let call = begin(&shared, "k").unwrap();
            shared.abort();
            call
        });
        assert!(matches!(call.next(), CallEvent::Done(Outcome::Written(Err(_)))));
        shared.wait_closed();
        assert!(begin(&shared, "k").is_err());
    }

    #[test]
    fn a_call_that_is_dropped_late_leaves_its_slot_to_the_next_call() {
        let shared = shared("redis://localhost");
        let early = begin(&shared, "early").unwrap();
        // The engine has ended the call, and reuses its index.
        shared.step(|state, now| state.host.engine.cancel(now, early.op));
        let late = begin(&shared, "late").unwrap();
        assert_eq!(early.op.index(), late.op.index());
        drop(early);
        assert!(!late.slot.has_event());
        shared.step(|state, now| state.host.engine.close(now));
        assert!(late.slot.has_event(), "the call has no outcome");
    }
}
