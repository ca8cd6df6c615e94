//! The engine's parts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::env::{Closing, Env};
use super::fetches::Fetches;
use super::ops::Ops;
use super::plain::PlainCalls;
use super::refreshes::Refreshes;
use super::removals::Removals;
use super::round_trip::RoundTrip;
use super::script_support::ScriptSupport;
use super::seed::Seed;
use super::writes::Writes;
use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::stats::Stats;
use crate::flow::superseded::SupersededLocks;
use crate::flow::timers::Timers;
use crate::near::Near;
use crate::protocol::lock::{LockSettings, Locks};
use crate::protocol::slot::Slot;
use crate::rng::Rng;
use crate::wire::router::Router;

/// Redis's cache-aside protocol as a state machine: bytes and time in, bytes and events out.
///
/// The same seed and inputs always produce the same outputs. There are four kinds of methods:
///
/// - calls of the application, plain verbs like [`get_with`](Self::get_with). They return the
///   [`OpId`](crate::engine::OpId) that [`Event::Done`](crate::engine::Event::Done) names;
/// - inputs from the outside, `handle_…`, with the time first;
/// - outputs, `poll_…`. After each call or input, drain [`poll_event`](Self::poll_event), write the
///   bytes of [`take_transmit`](Self::take_transmit), and call
///   [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout);
/// - queries, which take `&self`.
pub struct Engine {
    pub(super) env: Env,
    pub(super) plain: PlainCalls,
    pub(super) fetches: Fetches,
    pub(super) writes: Writes,
    pub(super) refreshes: Refreshes,
    pub(super) removals: Removals,
}

impl fmt::Debug for Engine {
    /// Show nothing of the state, because it contains values and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Create an engine. It requests its first connection at once.
    pub fn new(now: Instant, seed: &Seed, config: Config) -> Self {
        let [near_seed, flight_seed, rng_seed] = seed.words();
        let mut rng = Rng::new(rng_seed);
        let locks = Locks::new(config.lock_prefix.as_bytes(), seed.unix_ms, &seed.lock_random());
        let lock_settings = LockSettings {
            lock_prefix: config.lock_prefix.clone().into_bytes(),
            lock_base: locks.base().to_vec(),
            lock_ttl: config.lock_ttl,
        };
        let router = Router::new(now, &config, Rng::new(rng.next()));
        let slots = if config.servers.is_cluster() { usize::from(Slot::COUNT) } else { 1 };
        let keeps_stale =
            !(config.stale_if_error.is_zero() && config.stale_while_revalidate.is_zero());
        let near = Near::new(now, config.near_cache_bytes, keeps_stale, near_seed, slots)
            .with_staleness_max(config.near_staleness_max)
            .with_audits(config.near_audit_every as u64);
        let near_bytes = config.near_cache_bytes;
        // Without a server, there is nothing to wait for.
        let readiness = config.servers.is_none().then_some(Ok(()));
        let removals = Removals::new(config.reconnect_delay_max);
        let env = Env {
            config,
            lock_settings,
            near: Arc::new(near),
            router,
            disabled_replies: VecDeque::new(),
            ops: Ops::default(),
            timers: Timers::default(),
            locks,
            superseded: SupersededLocks::default(),
            scripts: ScriptSupport::default(),
            round_trip: RoundTrip::default(),
            rng,
            stats: Stats::default(),
            audits: 0,
            disconnected_at: None,
            closing: Closing::No,
            closed: Error::closed(),
            events: VecDeque::new(),
            readiness,
            last_error: None,
        };
        let mut engine = Self {
            env,
            plain: PlainCalls::default(),
            fetches: Fetches::new(flight_seed, near_bytes),
            writes: Writes::default(),
            refreshes: Refreshes::default(),
            removals,
        };
        engine.handle_timeout(now);
        engine
    }

    /// Expect hits, treat more than `commands` commands in flight as load, remember at most `keys`
    /// keys that were read, and start as few keys of a batch at the same time. For tests with
    /// little traffic and few keys.
    #[doc(hidden)]
    pub fn expect_load(&mut self, commands: usize, keys: usize) {
        self.fetches.expect_load(commands, keys);
    }
}
