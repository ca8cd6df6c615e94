//! Events for the crate `tracing`.

use std::time::Duration;

use redcache_core::{Key, Observer, RefreshEvent, Source};
use tracing::{debug, info, trace, warn};

/// Writes events of the crate `tracing` with the target `redcache`: answers and round trips as traces, loads, waits and
/// refreshes for debugging, connections as information, and what is lost or fails as warnings. Keys are named, values
/// are not.
///
/// # Examples
///
/// ```
/// let observer = redcache_observe::Tracing;
/// // cache.observe(observer);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracing;

impl Observer for Tracing {
    fn on_answer(&self, source: Source) {
        trace!(target: "redcache", source = source.as_str(), "answer");
    }

    fn on_load(&self, keys: usize, took: Duration, is_ok: bool) {
        if is_ok {
            debug!(target: "redcache", keys, ?took, "load");
        } else {
            warn!(target: "redcache", keys, ?took, "load failed");
        }
    }

    fn on_lock_wait(&self, took: Duration) {
        debug!(target: "redcache", ?took, "waited for a lock");
    }

    fn on_round_trip(&self, command: &'static str, took: Duration) {
        trace!(target: "redcache", command, ?took, "round trip");
    }

    fn on_lock_lost(&self, key: &Key) {
        warn!(target: "redcache", %key, "lock lost, value not stored");
    }

    fn on_refresh(&self, key: &Key, refresh: RefreshEvent) {
        let event = refresh.as_str();
        match refresh {
            RefreshEvent::Failed | RefreshEvent::Panicked | RefreshEvent::Dropped => {
                warn!(target: "redcache", %key, event, "refresh");
            }
            _ => debug!(target: "redcache", %key, event, "refresh"),
        }
    }

    fn on_invalidated(&self, keys: usize) {
        trace!(target: "redcache", keys, "invalidation");
    }

    fn on_flushed(&self) {
        debug!(target: "redcache", "flush");
    }

    fn on_connected(&self) {
        info!(target: "redcache", "connected");
    }

    fn on_disconnected(&self) {
        warn!(target: "redcache", "connection lost");
    }
}
