//! Counters and histograms for the crate `metrics`.

use std::time::Duration;

use metrics::{counter, histogram};
use redcache_core::{Key, Observer, RefreshEvent, Source};

/// Counts and measures with the recorder of the crate `metrics`. Times are in seconds.
///
/// | name | labels |
/// |---|---|
/// | `redcache_answers_total` | `source`: near, redis, loaded, joined, stale |
/// | `redcache_loaded_keys_total` | `outcome`: ok, error |
/// | `redcache_load_seconds` | `outcome` |
/// | `redcache_lock_wait_seconds` | |
/// | `redcache_round_trip_seconds` | `command` |
/// | `redcache_locks_lost_total` | |
/// | `redcache_refreshes_total` | `event`: triggered, refreshed, skipped, dropped, failed, panicked |
/// | `redcache_invalidations_total` | |
/// | `redcache_flushes_total` | |
/// | `redcache_connections_total` | `event`: connected, disconnected |
///
/// # Examples
///
/// ```
/// let observer = redcache_observe::Metrics;
/// // cache.observe(observer);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics;

impl Observer for Metrics {
    fn on_answer(&self, source: Source) {
        counter!("redcache_answers_total", "source" => source.as_str()).increment(1);
    }

    fn on_load(&self, keys: usize, took: Duration, is_ok: bool) {
        let outcome = if is_ok { "ok" } else { "error" };
        counter!("redcache_loaded_keys_total", "outcome" => outcome).increment(keys as u64);
        histogram!("redcache_load_seconds", "outcome" => outcome).record(took);
    }

    fn on_lock_wait(&self, took: Duration) {
        histogram!("redcache_lock_wait_seconds").record(took);
    }

    fn on_round_trip(&self, command: &'static str, took: Duration) {
        histogram!("redcache_round_trip_seconds", "command" => command).record(took);
    }

    fn on_lock_lost(&self, _: &Key) {
        counter!("redcache_locks_lost_total").increment(1);
    }

    fn on_refresh(&self, _: &Key, refresh: RefreshEvent) {
        counter!("redcache_refreshes_total", "event" => refresh.as_str()).increment(1);
    }

    fn on_invalidated(&self, keys: usize) {
        counter!("redcache_invalidations_total").increment(keys as u64);
    }

    fn on_flushed(&self) {
        counter!("redcache_flushes_total").increment(1);
    }

    fn on_connected(&self) {
        counter!("redcache_connections_total", "event" => "connected").increment(1);
    }

    fn on_disconnected(&self) {
        counter!("redcache_connections_total", "event" => "disconnected").increment(1);
    }
}
