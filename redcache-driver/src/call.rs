//! A call in flight: what its future holds on to, and gives back when it is dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use redcache_core::{CacheError, CallOptions, Engine, OpId};

use crate::runtime::Runtime;
use crate::shared::{Shared, Turn};

/// Cancels its call when it is dropped before the call is over, be it that the future was dropped or that a loader
/// panicked.
pub(crate) struct Call<'a, R: Runtime> {
    shared: &'a Shared<R>,
    op: OpId,
    seat: usize,
    over: bool,
    /// The waker that began the call is still seated.
    fresh: bool,
}

impl<'a, R: Runtime> Call<'a, R> {
    /// Hands the call to the engine.
    pub(crate) async fn begin(
        shared: &'a Shared<R>,
        options: CallOptions,
        begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, CacheError>,
    ) -> Result<Self, CacheError> {
        let mut begin = Some(begin);
        poll_fn(|cx| {
            // Ready at its first poll, so it is polled just once.
            let Some(begin) = begin.take() else {
                return Poll::Pending;
            };
            Poll::Ready(shared.step(|state, now| {
                let op = begin(&mut state.engine, now)?;
                if let Some(after) = options.deadline_after() {
                    state.engine.set_deadline(now, op, after);
                }
                let seat = state.seat(op, cx.waker());
                Ok(Self { shared, op, seat, over: false, fresh: true })
            }))
        })
        .await
    }

    /// Waits for what comes next.
    pub(crate) async fn turn(&mut self) -> Turn {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    /// Runs a load, unless the call ends before it does: then the load is dropped and the end returned.
    pub(crate) async fn run<T>(&mut self, load: impl Future<Output = T>) -> Result<T, Turn> {
        let mut load = pin!(load);
        poll_fn(|cx| match load.as_mut().poll(cx) {
            Poll::Ready(loaded) => Poll::Ready(Ok(loaded)),
            Poll::Pending => self.poll_turn(cx).map(Err),
        })
        .await
    }

    fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<Turn> {
        // Nothing was awaited since the waker was seated, so there is no newer one, and a turn that came meanwhile
        // has woken it.
        if std::mem::take(&mut self.fresh) {
            return Poll::Pending;
        }
        let mut state = self.shared.lock();
        let Some(seat) = state.seats.get_mut(self.seat) else { return Poll::Pending };
        let Some(turn) = seat.turn.take() else {
            seat.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Turn::Done(_) = turn {
            state.seats.remove(self.seat);
            drop(state);
            self.over = true;
        }
        Poll::Ready(turn)
    }

    /// Gives the engine news of this call.
    pub(crate) fn tell(&self, tell: impl FnOnce(&mut Engine, Instant, OpId)) {
        self.shared.step(|state, now| tell(&mut state.engine, now, self.op));
    }
}

impl<R: Runtime> Drop for Call<'_, R> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.shared.step(|state, now| {
            let seat = state.seats.try_remove(self.seat);
            // With its outcome in the seat the call is over, and its id may name another.
            if !matches!(seat.and_then(|seat| seat.turn), Some(Turn::Done(_))) {
                state.engine.cancel(now, self.op);
            }
        });
    }
}
