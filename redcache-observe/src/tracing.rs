//! Events for the crate `tracing`.

use redcache_core::observer::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, FlushEvent,
    InvalidationEvent, LoadEvent, LockLostEvent, LockWaitEvent, NotStoredEvent, Observer,
    RefreshEvent, RefreshStage, RoundTripEvent, UntrackedEvent,
};
use tracing::{debug, info, trace, warn};

/// An observer that emits events of the crate `tracing` with the target `redcache`.
///
/// | level | events |
/// |---|---|
/// | trace | answers, round trips, invalidations |
/// | debug | failed keys, loads, lock waits, refreshes, flushes |
/// | info | new connections |
/// | warn | failed loads and refreshes, lost locks, values that are not stored, lost and failed connections, untracked servers |
///
/// Events name keys and addresses, and never contain values or passwords.
///
/// # Examples
///
/// ```
/// # use redcache_core::Config;
/// let config = Config::builder().observer(redcache_observe::Tracing).build()?;
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracing;

impl Observer for Tracing {
    fn on_answer(&self, event: &AnswerEvent) {
        trace!(target: "redcache", source = event.source.as_str(), "answer");
    }

    fn on_failure(&self, event: &FailureEvent) {
        let (kind, key) = (event.kind.as_str(), event.key.as_ref().map(tracing::field::display));
        debug!(target: "redcache", kind, key, "failure");
    }

    fn on_load(&self, event: &LoadEvent) {
        let LoadEvent { keys, took, is_ok, .. } = *event;
        if is_ok {
            debug!(target: "redcache", keys, ?took, "load");
        } else {
            warn!(target: "redcache", keys, ?took, "load failed");
        }
    }

    fn on_lock_wait(&self, event: &LockWaitEvent) {
        debug!(target: "redcache", took = ?event.took, "waited for a lock");
    }

    fn on_round_trip(&self, event: &RoundTripEvent) {
        trace!(target: "redcache", command = event.command, took = ?event.took, "round trip");
    }

    fn on_lock_lost(&self, event: &LockLostEvent) {
        warn!(target: "redcache", key = %event.key, "lock lost, value not stored");
    }

    fn on_not_stored(&self, event: &NotStoredEvent) {
        warn!(target: "redcache", key = %event.key, reason = event.reason, "value not stored");
    }

    fn on_refresh(&self, event: &RefreshEvent) {
        let (key, stage) = (&event.key, event.stage.as_str());
        match event.stage {
            RefreshStage::Failed | RefreshStage::Panicked | RefreshStage::Dropped => {
                warn!(target: "redcache", %key, event = stage, "refresh");
            }
            _ => debug!(target: "redcache", %key, event = stage, "refresh"),
        }
    }

    fn on_invalidation(&self, event: &InvalidationEvent) {
        trace!(target: "redcache", keys = event.keys, "invalidation");
    }

    fn on_flush(&self, _: &FlushEvent) {
        debug!(target: "redcache", "flush");
    }

    fn on_connected(&self, event: &ConnectedEvent) {
        info!(target: "redcache", address = %event.address, "connected");
    }

    fn on_untracked(&self, event: &UntrackedEvent) {
        let UntrackedEvent { address, reason, .. } = event;
        warn!(target: "redcache", %address, reason, "near cache off, waits poll");
    }

    fn on_disconnected(&self, event: &DisconnectedEvent) {
        let DisconnectedEvent { address, reason, .. } = event;
        warn!(target: "redcache", %address, %reason, "connection lost");
    }

    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        let address = event.address.as_ref().map(tracing::field::display);
        warn!(target: "redcache", address, reason = %event.reason, "connecting failed");
    }
}
