//! The wait of a call's thread before it sleeps.
//!
//! A sleep and a wake-up of a thread take more processor time than the rest of a call. A lone
//! caller therefore polls the connection and reads the reply itself. If many commands are in
//! flight, a caller yields its processor to other threads a few times, because the reply mostly
//! arrives while they run.

use std::sync::Arc;
use std::thread;

use crate::connection::ConnectionIo;
use crate::shared::{Shared, State};

/// The largest number of commands in flight with which threads do not yield. With so few, other
/// threads are rarely ready to run.
const FEW_COMMANDS_MAX: usize = 8;
/// The number of times that a thread yields before it sleeps. If no other thread is ready to run,
/// that many take about as long as a sleep and a wake-up.
const YIELDS_MAX: usize = 16;

/// The way in which a thread waits before it sleeps.
pub(crate) enum Waiting {
    /// It reads from the connection.
    Read(Arc<ConnectionIo>),
    /// It yields to other threads.
    Yield,
    /// It sleeps at once.
    Sleep,
}

impl Waiting {
    /// Choose the way for a call that has just given the engine an input.
    pub(crate) fn choose(state: &State) -> Self {
        let engine = &state.host.engine;
        if engine.config().busy_poll().is_zero() || !engine.is_busier_than(0) {
            return Self::Sleep;
        }
        match state.awaited_connection() {
            Some(connection) if engine.is_quiet() => Self::Read(Arc::clone(&connection.io)),
            _ if engine.is_busier_than(FEW_COMMANDS_MAX) => Self::Yield,
            _ => Self::Sleep,
        }
    }

    /// Wait until `is_done`, or until it is time to sleep.
    pub(crate) fn wait(self, shared: &Shared, is_done: impl Fn() -> bool) {
        match self {
            Self::Read(io) => {
                io.poll_for_reply(
                    |received| {
                        shared.step(|state, now| {
                            (state.host.engine.handle_received(now, io.conn, received), ())
                        })
                    },
                    is_done,
                );
            }
            Self::Yield if !is_done() && shared.yields.begin() => {
                let is_done_after_yield = |_| {
                    thread::yield_now();
                    is_done()
                };
                if (0..YIELDS_MAX).any(is_done_after_yield) {
                    shared.yields.on_success();
                } else {
                    shared.yields.on_failure();
                }
            }
            Self::Yield | Self::Sleep => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use redcache_adapter::{CallTrace, Remove};
    use redcache_core::engine::Seed;
    use redcache_core::{CallOptions, Config};

    use super::*;

    fn shared(busy_poll: &str) -> Shared {
        let config = Config::from_url(&format!("redis://localhost?busy_poll={busy_poll}")).unwrap();
        Shared::new(config, &Seed::new([7; 32], 0)).unwrap()
    }

    /// Begin calls, whose commands wait for a connection, and return their ways to wait.
    fn begin(shared: &Shared, calls: usize) -> Vec<Waiting> {
        let begin = |_| {
            let mut request = Remove::new(b"k");
            let trace = CallTrace::begin(shared.near.trace(), &request);
            shared.step(|state, now| {
                state.host.begin(now, &mut request, (CallOptions::new(), &trace)).unwrap();
                Waiting::choose(state)
            })
        };
        (0..calls).map(begin).collect()
    }

    fn sleeps(waiting: &Waiting) -> bool {
        matches!(waiting, Waiting::Sleep)
    }

    #[test]
    fn a_thread_yields_only_beside_many_commands() {
        let shared = shared("100us");
        assert!(sleeps(&Waiting::choose(&shared.lock())), "no reply is due");
        assert!(begin(&shared, FEW_COMMANDS_MAX).iter().all(sleeps));
        assert!(matches!(begin(&shared, 1)[..], [Waiting::Yield]));
    }

    #[test]
    fn without_busy_polls_every_thread_sleeps_at_once() {
        let shared = shared("0ms");
        assert!(begin(&shared, FEW_COMMANDS_MAX + 1).iter().all(sleeps));
    }

    #[test]
    fn a_thread_yields_until_its_event_and_rarely_after_it_came_too_late() {
        let shared = shared("100us");
        let turns = Cell::new(0);
        let wait = |turns_needed| {
            turns.set(0);
            Waiting::Yield.wait(&shared, || {
                let is_done = turns.get() == turns_needed;
                turns.set(turns.get() + 1);
                is_done
            });
            turns.get() - 1
        };
        assert_eq!(wait(0), 0);
        assert_eq!(wait(3), 3);
        assert_eq!(wait(usize::MAX), YIELDS_MAX);
        assert_eq!(wait(3), 0);
        assert_eq!(wait(3), 3);
    }
}
