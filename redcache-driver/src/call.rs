//! A call in progress: its future waits for the call's events, and cancels the call when it is
//! dropped.

use std::convert::identity;
use std::future::{Future, Ready, poll_fn};
use std::mem;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use redcache_adapter::{CallEvent, CallTrace, LoadResult, Request, SharedHost};
use redcache_core::engine::OpId;
use redcache_core::{CallOptions, Error, Key};

use crate::call_slots::CallSlot;
use crate::shared::{Locked, Shared};

/// Run a call without a loader.
pub(crate) async fn run<Q: Request>(
    shared: &Shared,
    options: CallOptions,
    request: Q,
) -> Result<Q::Output, Q::Error> {
    run_with(shared, options, request, |_| None::<Ready<_>>, identity).await
}

/// Run a call whose loader runs at most once. `convert` converts the loader's result.
pub(crate) async fn run_once<Q: Request, F: Future>(
    shared: &Shared,
    options: CallOptions,
    request: Q,
    load: impl FnOnce(Vec<Key>) -> F,
    convert: impl Fn(F::Output) -> LoadResult,
) -> Result<Q::Output, Q::Error> {
    let mut load = Some(load);
    let load = move |keys| load.take().map(|load| load(keys));
    run_with(shared, options, request, load, convert).await
}

/// Run a call whose loader runs each time the engine requests it. `convert` converts the loader's
/// result.
pub(crate) fn run_with<Q: Request, F: Future>(
    shared: &Shared,
    options: CallOptions,
    mut request: Q,
    mut load: impl FnMut(Vec<Key>) -> Option<F>,
    convert: impl Fn(F::Output) -> LoadResult,
) -> impl Future<Output = Result<Q::Output, Q::Error>> {
    let trace = CallTrace::begin(shared.near.trace(), &request);
    trace.around(|trace| async move {
        let mut call = Call::begin(shared, (options, trace), &mut request).await?;
        loop {
            match call.next().await {
                CallEvent::Done(outcome) => {
                    call.trace.end(&outcome);
                    return Q::finish(outcome);
                }
                CallEvent::Load(keys) => {
                    let span = call.trace.load(keys.len());
                    let Some(load) = span.in_scope(|| load(keys)) else {
                        shared.hand_over(call.op, LoadResult::nothing());
                        continue;
                    };
                    if let Some(loaded) = call.load(span.within(load)).await {
                        let loaded = convert(loaded);
                        span.end(&loaded);
                        shared.hand_over(call.op, loaded);
                    }
                }
            }
        }
    })
}

/// A call in progress. Dropping it before its end cancels it; that happens if its future is dropped
/// or the loader panics.
struct Call<'a> {
    shared: &'a Shared,
    op: OpId,
    slot: usize,
    is_over: bool,
    /// The waker in the slot belongs to the current poll.
    is_new: bool,
    trace: CallTrace,
}

impl<'a> Call<'a> {
    async fn begin(
        shared: &'a Shared,
        (options, trace): (CallOptions, CallTrace),
        request: &mut impl Request,
    ) -> Result<Self, Error> {
        shared.process.check()?;
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let begun =
            shared.step(|state, now| match state.host.begin(now, request, (options, &trace)) {
                Ok(op) => {
                    let slot = state.host.calls.insert(op, waker);
                    Ok(Self { shared, op, slot, is_over: false, is_new: true, trace })
                }
                Err(error) => Err((error, trace)),
            });
        match begun {
            Ok(mut call) => {
                call.note_steps();
                Ok(call)
            }
            Err((error, trace)) => {
                trace.reject(&error);
                Err(error)
            }
        }
    }

    /// Take the steps of the call, and begin and end their spans.
    fn note_steps(&mut self) {
        if self.trace.is_on() {
            let steps = self.shared.lock().host.calls.take_steps(self.slot);
            self.trace.note(steps);
        }
    }

    /// Wait for the next event.
    async fn next(&mut self) -> CallEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Run the loader until it ends or the call has another event. Then the loader is dropped.
    async fn load<T>(&mut self, load: impl Future<Output = T>) -> Option<T> {
        let mut load = pin!(load);
        poll_fn(|cx| match load.as_mut().poll(cx) {
            Poll::Ready(loaded) => Poll::Ready(Some(loaded)),
            Poll::Pending => self.poll_ready(cx).map(|_| None),
        })
        .await
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<CallEvent> {
        loop {
            let mut state = ready!(self.poll_ready(cx));
            let host = &mut state.host;
            let Some(event) = host.calls.take_event(self.slot) else { return Poll::Pending };
            let is_accepted = host.accepts(self.op, &event);
            let steps = host.calls.take_steps(self.slot);
            if let CallEvent::Done(_) = event {
                host.calls.remove(self.slot);
                self.is_over = true;
            }
            drop(state);
            self.trace.note(steps);
            if is_accepted {
                return Poll::Ready(event);
            }
        }
    }

    /// Return the locked state once the call has an event.
    fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<Locked<'a>> {
        // Nothing has been awaited since the waker was stored, so the waker is current, and an
        // event since then has woken it.
        if mem::take(&mut self.is_new) {
            return Poll::Pending;
        }
        self.note_steps();
        let state = self.shared.lock();
        if state.host.calls.has_event(self.slot) {
            return Poll::Ready(state);
        }
        drop(state);
        // A waker may own a future of the application, so it is neither cloned nor dropped under
        // the lock.
        let waker = cx.waker().clone();
        let watching = self.shared.lock().host.calls.watch(self.slot, waker);
        match watching {
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(self.shared.lock()),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let slot = self.shared.step(|state, now| {
            let slot = state.host.calls.remove(self.slot);
            // The outcome is in the slot, so the call has ended and its id may name another call.
            if !slot.as_ref().is_some_and(CallSlot::is_over) {
                state.host.engine.cancel(now, self.op);
            }
            slot
        });
        // The event may own values of the application, so it is not dropped under the lock.
        drop(slot);
    }
}
