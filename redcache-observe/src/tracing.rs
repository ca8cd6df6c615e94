//! Events for the crate `tracing`.

use std::borrow::Cow;

use redcache_core::observer::{
    AnswerEvent, AuditDifferenceEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent,
    FailureEvent, FlushEvent, InvalidationEvent, LoadEvent, LockExtendedEvent, LockLostEvent,
    LockWaitEvent, NotStoredEvent, Observer, RefreshEvent, RefreshStage, RemovalEvent,
    RemovalStage, RoundTripEvent, UndecodableEvent, UntrackedEvent,
};
use redcache_core::{Address, Error};

/// An observer that emits events of the crate `tracing` with the target `redcache`. Every event has
/// the field `cache`, the name given to [`new`](Self::new).
///
/// | level | events |
/// |---|---|
/// | trace | answers, round trips, invalidations |
/// | debug | failed keys, loads, lock waits, refreshes, repeated removals, flushes |
/// | info | new connections |
/// | warn | failed loads, refreshes and removals, lost locks, values that are not stored, the first value of a namespace that cannot be decoded, lost and failed connections, untracked servers |
///
/// Fields have the names of OpenTelemetry's semantic conventions where these name one:
/// `server.address`, `server.port`, `db.system.name`, `db.operation.name` and `error.type`. Events
/// name keys and addresses, and never contain values or passwords.
///
/// The spans of calls, commands and loads do not need this observer, except for the name of the
/// cache: the feature `tracing` of the crates with the calls emits them.
///
/// # Examples
///
/// ```
/// # use redcache_core::Config;
/// use redcache_observe::Tracing;
///
/// let config = Config::builder().observer(Tracing::new("users")).build()?;
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tracing {
    cache: Cow<'static, str>,
}

impl Tracing {
    /// Create the observer of the cache with this name.
    pub fn new(cache: impl Into<Cow<'static, str>>) -> Self {
        Self { cache: cache.into() }
    }
}

/// Emit an event of a cache.
macro_rules! emit {
    ($level:ident, $observer:expr, $($rest:tt)+) => {
        tracing::$level!(target: "redcache", cache = &*$observer.cache, $($rest)+)
    };
}

/// Return the fields `server.address` and `server.port` of an address.
fn server(address: &Address) -> (&str, Option<u16>) {
    match address {
        Address::Tcp { host, port } => (host, Some(*port)),
        Address::Unix(path) => (path, None),
    }
}

/// Return the field `error.type` of an error.
fn error_type(error: &Error) -> &'static str {
    error.kind().as_str()
}

impl Observer for Tracing {
    fn cache_name(&self) -> Option<&str> {
        Some(&self.cache)
    }

    fn on_answer(&self, event: &AnswerEvent) {
        emit!(trace, self, source = event.source.as_str(), "answer");
    }

    fn on_failure(&self, event: &FailureEvent) {
        let key = event.key.as_ref().map(tracing::field::display);
        emit!(debug, self, error.type = event.kind.as_str(), key, "failure");
    }

    fn on_load(&self, event: &LoadEvent) {
        let LoadEvent { keys, took, is_ok, .. } = *event;
        if is_ok {
            emit!(debug, self, keys, ?took, "load");
        } else {
            emit!(warn, self, keys, ?took, "load failed");
        }
    }

    fn on_lock_wait(&self, event: &LockWaitEvent) {
        emit!(debug, self, took = ?event.took, "waited for a lock");
    }

    fn on_round_trip(&self, event: &RoundTripEvent) {
        let RoundTripEvent { command, took, .. } = *event;
        emit!(
            trace,
            self,
            db.system.name = "redis",
            db.operation.name = command,
            ?took,
            "round trip"
        );
    }

    fn on_lock_lost(&self, event: &LockLostEvent) {
        emit!(warn, self, key = %event.key, "lock lost, value not stored");
    }

    fn on_lock_extended(&self, event: &LockExtendedEvent) {
        let LockExtendedEvent { lock_ttl, round_trip, .. } = *event;
        emit!(warn, self, ?lock_ttl, ?round_trip, "locks live longer than configured");
    }

    fn on_not_stored(&self, event: &NotStoredEvent) {
        emit!(warn, self, key = %event.key, reason = event.reason, "value not stored");
    }

    fn on_audit_difference(&self, event: &AuditDifferenceEvent) {
        emit!(warn, self, key = %event.key, age = ?event.age, "near entry differs from Redis");
    }

    fn on_undecodable(&self, event: &UndecodableEvent) {
        let UndecodableEvent { namespace, codec, key, is_first, .. } = event;
        if *is_first {
            emit!(warn, self, %namespace, %codec, %key, "stored value cannot be decoded");
        } else {
            emit!(debug, self, %namespace, %codec, %key, "stored value cannot be decoded");
        }
    }

    fn on_refresh(&self, event: &RefreshEvent) {
        let (key, stage) = (&event.key, event.stage.as_str());
        match event.stage {
            RefreshStage::Failed | RefreshStage::Panicked | RefreshStage::Dropped => {
                emit!(warn, self, %key, event = stage, "refresh");
            }
            _ => emit!(debug, self, %key, event = stage, "refresh"),
        }
    }

    fn on_removal(&self, event: &RemovalEvent) {
        let (key, stage) = (&event.key, event.stage.as_str());
        match event.stage {
            RemovalStage::Repeated => emit!(debug, self, %key, event = stage, "failed removal"),
            _ => emit!(warn, self, %key, event = stage, "failed removal"),
        }
    }

    fn on_invalidation(&self, event: &InvalidationEvent) {
        emit!(trace, self, keys = event.keys, "invalidation");
    }

    fn on_flush(&self, _: &FlushEvent) {
        emit!(debug, self, "flush");
    }

    fn on_connected(&self, event: &ConnectedEvent) {
        let (address, port) = server(&event.address);
        emit!(info, self, server.address = address, server.port = port, "connected");
    }

    fn on_untracked(&self, event: &UntrackedEvent) {
        let (address, port) = server(&event.address);
        let reason = &event.reason;
        emit!(
            warn,
            self,
            server.address = address,
            server.port = port,
            reason,
            "near cache off, waits poll"
        );
    }

    fn on_disconnected(&self, event: &DisconnectedEvent) {
        let ((address, port), reason) = (server(&event.address), &event.reason);
        let kind = error_type(reason);
        emit!(
            warn, self,
            server.address = address, server.port = port, error.type = kind, %reason,
            "connection lost"
        );
    }

    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        let (address, port) = event.address.as_ref().map(server).unzip();
        let (port, reason) = (port.flatten(), &event.reason);
        let kind = error_type(reason);
        emit!(
            warn, self,
            server.address = address, server.port = port, error.type = kind, %reason,
            "connecting failed"
        );
    }
}
