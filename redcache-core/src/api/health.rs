//! The state of the connections of a cache.

use std::time::Duration;

use crate::api::error::Error;

/// The state of a cache's connections at one moment.
///
/// # Examples
///
/// ```
/// use redcache_core::Health;
///
/// /// Return the status of a health endpoint, and a line for its body.
/// fn status(health: &Health) -> (u16, String) {
///     let status = if health.is_connected && !health.is_breaker_open { 200 } else { 503 };
///     let reason = health.last_error.as_ref().map(ToString::to_string);
///     (status, reason.unwrap_or_else(|| "ok".to_owned()))
/// }
/// # assert_eq!(status(&Health::default()).0, 503);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Health {
    /// A connection accepts commands; in a cluster, the connection to any primary. A disabled cache
    /// counts as connected.
    pub is_connected: bool,
    /// Every server that the cache needs is connected; in a cluster, every primary with slots.
    pub is_complete: bool,
    /// Every connected server tracks the keys that this cache reads, so that the near cache is in
    /// use.
    pub is_tracked: bool,
    /// A connected server has left `breaker_failures` consecutive commands unanswered. Commands for
    /// it fail at once until it replies to a probe.
    pub is_breaker_open: bool,
    /// An attempt to connect is in progress. Without a connection and without an attempt, the cache
    /// pauses for `reconnect_delay_max` at most.
    pub is_connecting: bool,
    /// The time since the loss of a connection that is still missing.
    pub disconnected_for: Option<Duration>,
    /// Reason why the latest connection ended or the latest attempt to connect failed. It is `None`
    /// before the first one, and again once every server is connected.
    pub last_error: Option<Error>,
    /// The cache is closed.
    pub is_closed: bool,
}
