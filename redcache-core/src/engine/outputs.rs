//! The engine's outputs and its read-only queries.

use std::sync::Arc;
use std::time::Instant;

use super::env::Closing;
use super::state::Engine;
use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::health::Health;
use crate::api::stats::Stats;
use crate::event::Event;
use crate::near::Near;
use crate::wire::router::{ConnId, Transmit};

/// With more calls in flight, each write to a connection serves several.
const QUIET_CALLS_MAX: usize = 2;

impl Engine {
    /// Take the next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.env.events.pop_front()
    }

    /// Return the instant of the next [`handle_timeout`](Self::handle_timeout), if no other input
    /// comes first.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let env = &self.env;
        let closing = match env.closing {
            Closing::Until(at) => Some(at),
            Closing::No | Closing::Done => None,
        };
        let router = env.router.poll_timeout(&env.config);
        let timers = [env.timers.next(), router, closing, self.fetches.starting_since()];
        timers.into_iter().flatten().min()
    }

    /// Return whether a batch has keys that are not started. After the bytes of an input are
    /// written, [`start_more`](Self::start_more) is due, so that the server works on the first keys
    /// in the meantime. A face that does not call it starts them at
    /// [`poll_timeout`](Self::poll_timeout).
    pub fn is_starting(&self) -> bool {
        self.fetches.starting_since().is_some()
    }

    /// Return the connections that have bytes to write.
    pub fn transmits(&self) -> impl Iterator<Item = Transmit> {
        self.env.router.transmits()
    }

    /// Replace the buffer's content with the bytes to write on `conn`. Return `false` if there are
    /// none. The adapter writes all of them, in order.
    pub fn take_transmit(&mut self, conn: ConnId, into: &mut Vec<u8>) -> bool {
        self.env.router.take_transmit(conn, into)
    }

    /// Return the near cache, which adapters read without the engine.
    pub fn near(&self) -> &Arc<Near> {
        &self.env.near
    }

    /// Return the settings.
    pub fn config(&self) -> &Config {
        &self.env.config
    }

    /// Return whether a connection accepts commands; in a cluster, one to any primary.
    pub fn is_connected(&self) -> bool {
        self.env.router.is_ready()
    }

    /// Return the result of the last attempt to connect; `None` while an attempt is in progress and
    /// no connection accepts commands.
    pub fn readiness(&self) -> Option<Result<(), Error>> {
        self.env.readiness.clone()
    }

    /// Return whether the server reports changes, so that the near cache is in use; in a cluster,
    /// every connected primary.
    pub fn is_tracked(&self) -> bool {
        self.env.is_open() && self.env.router.is_tracked()
    }

    /// Return the state of the connections.
    pub fn health(&self, now: Instant) -> Health {
        let env = &self.env;
        let is_disabled = env.config.servers.is_none();
        let is_connected = env.is_open() && (is_disabled || env.router.is_ready());
        Health {
            is_connected,
            is_complete: is_connected && env.router.is_whole(),
            is_tracked: self.is_tracked(),
            is_breaker_open: env.router.is_resting(),
            is_connecting: env.is_open() && env.router.is_connecting(),
            disconnected_for: env.disconnected_at.map(|at| now.saturating_duration_since(at)),
            last_error: env.last_error.clone(),
            is_closed: !env.is_open(),
        }
    }

    /// Return the number of commands without a reply.
    pub fn in_flight(&self) -> usize {
        self.env.router.in_flight()
    }

    /// Return whether so few calls are in flight that output need not wait for more output.
    pub fn is_quiet(&self) -> bool {
        self.env.ops.len() <= QUIET_CALLS_MAX
    }

    /// Return whether more than `commands` commands have no reply. Cheaper than
    /// [`in_flight`](Self::in_flight).
    pub fn is_busier_than(&self, commands: usize) -> bool {
        self.env.router.is_busier_than(commands)
    }

    /// Return the counters.
    pub fn stats(&self) -> Stats {
        let env = &self.env;
        Stats {
            near_hits: env.near.hits(),
            near_entries: env.near.len() as u64,
            near_bytes: env.near.bytes(),
            near_oversized: env.near.oversized(),
            calls: env.ops.len() as u64,
            flights: self.fetches.len() as u64,
            commands: env.router.in_flight() as u64,
            timers: env.timers.len() as u64,
            removals_waiting: self.removals.len() as u64,
            ..env.stats
        }
    }
}
