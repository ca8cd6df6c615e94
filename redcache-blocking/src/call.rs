//! A call in flight: how one with a loader goes, where its thread waits, and what is given back should it not wait to the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use redcache_core::{
    BoxError, CallOptions, Engine, Error, Key, LoadFailure, Loaded, OpId, Outcome,
};

use crate::shared::Shared;

/// What a call is told next.
#[derive(Debug)]
pub(crate) enum Turn {
    Load,
    LoadMany(Vec<Key>),
    Done(Outcome),
}

/// Where the thread of a call waits for its turn.
pub(crate) struct Seat {
    thread: Thread,
    turn: Mutex<Option<Turn>>,
}

impl Seat {
    fn take() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), turn: Mutex::new(None) })
    }

    /// Replaces a turn that was not taken yet: a load that is over before it began need not begin.
    pub(crate) fn tell(&self, turn: Turn) {
        *self.turn() = Some(turn);
    }

    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }

    fn has_turn(&self) -> bool {
        self.turn().is_some()
    }

    fn wait(&self) -> Turn {
        loop {
            if let Some(turn) = self.turn().take() {
                return turn;
            }
            thread::park();
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a call that loads one key to its end.
pub(crate) fn load<L, T, E>(
    shared: &Shared,
    options: CallOptions,
    begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    loader: L,
) -> Result<Outcome, Error>
where
    L: FnOnce() -> Result<T, E>,
    T: Into<Loaded>,
    E: Into<BoxError> + 'static,
{
    let mut loader = Some(loader);
    let mut call = Call::begin(shared, options, begin)?;
    loop {
        match call.turn() {
            Turn::Done(outcome) => return Ok(outcome),
            // A call is asked for its load at most once.
            Turn::Load => {
                if let Some(loader) = loader.take() {
                    let loaded = loader().map(Into::into).map_err(LoadFailure::new);
                    call.tell(|engine, now, op| engine.handle_loaded(now, op, loaded));
                }
            }
            Turn::LoadMany(_) => {}
        }
    }
}

/// Carries a call that loads several keys to its end.
pub(crate) fn load_many<L, M, N, T, E>(
    shared: &Shared,
    options: CallOptions,
    begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    mut loader: L,
) -> Result<Outcome, Error>
where
    L: FnMut(Vec<Key>) -> Result<M, E>,
    M: IntoIterator<Item = (N, T)>,
    N: Into<Key>,
    T: Into<Loaded>,
    E: Into<BoxError> + 'static,
{
    let mut call = Call::begin(shared, options, begin)?;
    loop {
        match call.turn() {
            Turn::Done(outcome) => return Ok(outcome),
            Turn::LoadMany(keys) => {
                let entry = |(key, value): (N, T)| (key.into(), value.into());
                let loaded = loader(keys).map(|found| found.into_iter().map(entry).collect());
                let loaded = loaded.map_err(LoadFailure::new);
                call.tell(|engine, now, op| engine.handle_loaded_many(now, op, loaded));
            }
            Turn::Load => {}
        }
    }
}

/// Cancels its call when it is dropped before the call is over, which is when a loader panics.
pub(crate) struct Call<'a> {
    shared: &'a Shared,
    op: OpId,
    seat: Arc<Seat>,
    over: bool,
}

impl<'a> Call<'a> {
    /// Hands the call to the engine.
    pub(crate) fn begin(
        shared: &'a Shared,
        options: CallOptions,
        begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    ) -> Result<Self, Error> {
        let seat = Seat::take();
        let op = shared.step(|state, now| {
            let op = begin(&mut state.engine, now)?;
            if let Some(after) = options.timeout_after() {
                state.engine.set_timeout(now, op, after);
            }
            state.seat(op, &seat);
            Ok::<_, Error>(op)
        })?;
        Ok(Self { shared, op, seat, over: false })
    }

    /// Waits for what comes next. The engine ends every call in time, so this needs no timeout of its own.
    pub(crate) fn turn(&mut self) -> Turn {
        #[cfg(unix)]
        if let Some(link) = self.shared.lone_link() {
            link.look_for(self.shared, || self.seat.has_turn());
        }
        let turn = self.seat.wait();
        self.over = matches!(turn, Turn::Done(_));
        turn
    }

    /// Gives the engine news of this call.
    pub(crate) fn tell(&self, tell: impl FnOnce(&mut Engine, Instant, OpId)) {
        self.shared.step(|state, now| tell(&mut state.engine, now, self.op));
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.shared.step(|state, now| {
            state.unseat(self.op, &self.seat);
            state.engine.cancel(now, self.op);
        });
    }
}

#[cfg(test)]
mod tests {
    use redcache_core::{Config, Seed};

    use super::*;

    #[test]
    fn a_call_that_is_dropped_late_leaves_the_seat_to_who_has_it_now() {
        let config = Config::from_url("redis://localhost").unwrap();
        let shared = Shared::new(config, &Seed { random: [7; 32], unix_ms: 0 });
        let begin = |key| {
            let get = |engine: &mut Engine, now| engine.get(now, Key::from(key));
            Call::begin(&shared, CallOptions::default(), get).unwrap()
        };
        let early = begin("early");
        // The engine has ended it, and gives its place to the next.
        shared.step(|state, now| state.engine.cancel(now, early.op));
        let late = begin("late");
        assert_eq!(early.op.index(), late.op.index());
        drop(early);
        assert!(!late.seat.has_turn());
        shared.step(|state, now| state.engine.close(now));
        assert!(late.seat.has_turn(), "nobody tells it that it is over");
    }
}
