//! Counters and histograms for the crate `metrics`.

use metrics::{counter, histogram};
use redcache_core::observer::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, FlushEvent,
    InvalidationEvent, LoadEvent, LockLostEvent, LockWaitEvent, NotStoredEvent, Observer,
    RefreshEvent, RoundTripEvent, UntrackedEvent,
};

/// An observer that counts and measures with the recorder of the crate `metrics`. Times are in
/// seconds.
///
/// | name | labels |
/// |---|---|
/// | `redcache_answers_total` | `source`: near, redis, loaded, joined, stale |
/// | `redcache_failures_total` | `kind`: the words of [`ErrorKind::as_str`](redcache_core::ErrorKind::as_str) |
/// | `redcache_loaded_keys_total` | `outcome`: ok, error |
/// | `redcache_load_seconds` | `outcome` |
/// | `redcache_lock_wait_seconds` | |
/// | `redcache_round_trip_seconds` | `command` |
/// | `redcache_locks_lost_total` | |
/// | `redcache_not_stored_total` | |
/// | `redcache_refreshes_total` | `event`: triggered, refreshed, skipped, dropped, failed, panicked |
/// | `redcache_invalidations_total` | |
/// | `redcache_flushes_total` | |
/// | `redcache_connections_total` | `event`: connected, untracked, disconnected, failed |
///
/// # Examples
///
/// ```
/// # use redcache_core::Config;
/// let config = Config::builder().observer(redcache_observe::Metrics).build()?;
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics;

impl Observer for Metrics {
    fn on_answer(&self, event: &AnswerEvent) {
        counter!("redcache_answers_total", "source" => event.source.as_str()).increment(1);
    }

    fn on_failure(&self, event: &FailureEvent) {
        counter!("redcache_failures_total", "kind" => event.kind.as_str()).increment(1);
    }

    fn on_load(&self, event: &LoadEvent) {
        let outcome = if event.is_ok { "ok" } else { "error" };
        counter!("redcache_loaded_keys_total", "outcome" => outcome).increment(event.keys as u64);
        histogram!("redcache_load_seconds", "outcome" => outcome).record(event.took);
    }

    fn on_lock_wait(&self, event: &LockWaitEvent) {
        histogram!("redcache_lock_wait_seconds").record(event.took);
    }

    fn on_round_trip(&self, event: &RoundTripEvent) {
        histogram!("redcache_round_trip_seconds", "command" => event.command).record(event.took);
    }

    fn on_lock_lost(&self, _: &LockLostEvent) {
        counter!("redcache_locks_lost_total").increment(1);
    }

    fn on_not_stored(&self, _: &NotStoredEvent) {
        counter!("redcache_not_stored_total").increment(1);
    }

    fn on_refresh(&self, event: &RefreshEvent) {
        counter!("redcache_refreshes_total", "event" => event.stage.as_str()).increment(1);
    }

    fn on_invalidation(&self, event: &InvalidationEvent) {
        counter!("redcache_invalidations_total").increment(event.keys as u64);
    }

    fn on_flush(&self, _: &FlushEvent) {
        counter!("redcache_flushes_total").increment(1);
    }

    fn on_connected(&self, _: &ConnectedEvent) {
        counter!("redcache_connections_total", "event" => "connected").increment(1);
    }

    fn on_untracked(&self, _: &UntrackedEvent) {
        counter!("redcache_connections_total", "event" => "untracked").increment(1);
    }

    fn on_disconnected(&self, _: &DisconnectedEvent) {
        counter!("redcache_connections_total", "event" => "disconnected").increment(1);
    }

    fn on_connect_failed(&self, _: &ConnectFailedEvent) {
        counter!("redcache_connections_total", "event" => "failed").increment(1);
    }
}
