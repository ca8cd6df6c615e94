//! A call in flight: how one with a loader goes, what its future holds on to, and gives back when it is dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use redcache_core::{
    BoxError, CallOptions, Engine, Error, Key, LoadFailure, Loaded, OpId, Outcome,
};

use crate::runtime::Runtime;
use crate::shared::{Shared, Turn};

/// Carries a call that loads one key to its end.
pub(crate) async fn load<R: Runtime, L, F, T, E>(
    shared: &Shared<R>,
    options: CallOptions,
    begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    loader: L,
) -> Result<Outcome, Error>
where
    L: FnOnce() -> F,
    F: Future<Output = Result<T, E>>,
    T: Into<Loaded>,
    E: Into<BoxError> + 'static,
{
    let mut loader = Some(loader);
    let mut call = Call::begin(shared, options, begin).await?;
    let mut turn = call.turn().await;
    loop {
        turn = match turn {
            Turn::Done(outcome) => return Ok(outcome),
            Turn::Load => {
                // A call is asked for its load at most once.
                let loader = loader.take().expect("a call loads at most once");
                match call.run(loader()).await {
                    Ok(loaded) => {
                        let loaded = loaded.map(Into::into).map_err(LoadFailure::new);
                        call.tell(|engine, now, op| engine.handle_loaded(now, op, loaded));
                        call.turn().await
                    }
                    Err(end) => end,
                }
            }
            Turn::LoadMany(_) => call.turn().await,
        };
    }
}

/// Carries a call that loads several keys to its end.
pub(crate) async fn load_many<R: Runtime, L, F, M, N, T, E>(
    shared: &Shared<R>,
    options: CallOptions,
    begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    mut loader: L,
) -> Result<Outcome, Error>
where
    L: FnMut(Vec<Key>) -> F,
    F: Future<Output = Result<M, E>>,
    M: IntoIterator<Item = (N, T)>,
    N: Into<Key>,
    T: Into<Loaded>,
    E: Into<BoxError> + 'static,
{
    let mut call = Call::begin(shared, options, begin).await?;
    let mut turn = call.turn().await;
    loop {
        turn = match turn {
            Turn::Done(outcome) => return Ok(outcome),
            Turn::LoadMany(keys) => match call.run(loader(keys)).await {
                Ok(loaded) => {
                    let entry = |(key, value): (N, T)| (key.into(), value.into());
                    let loaded = loaded.map(|found| found.into_iter().map(entry).collect());
                    let loaded = loaded.map_err(LoadFailure::new);
                    call.tell(|engine, now, op| engine.handle_loaded_many(now, op, loaded));
                    call.turn().await
                }
                Err(end) => end,
            },
            Turn::Load => call.turn().await,
        };
    }
}

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
        begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    ) -> Result<Self, Error> {
        let mut begin = Some(begin);
        poll_fn(|cx| {
            // Ready at its first poll, so it is polled just once.
            let Some(begin) = begin.take() else {
                return Poll::Pending;
            };
            Poll::Ready(shared.step(|state, now| {
                let op = begin(&mut state.engine, now)?;
                if let Some(after) = options.timeout_after() {
                    state.engine.set_timeout(now, op, after);
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
