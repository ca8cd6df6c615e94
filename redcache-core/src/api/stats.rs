//! The counters of a cache.

use std::time::Duration;

/// A snapshot of a cache. The counters start when the cache is created; the fields from
/// [`near_entries`](Self::near_entries) on are current values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys answered from the near cache.
    pub near_hits: u64,
    /// Keys answered from Redis.
    pub redis_hits: u64,
    /// Keys that `get` or `get_many` did not find.
    pub misses: u64,
    /// Keys that a loader of this process was called for.
    pub loads: u64,
    /// Keys whose loader failed.
    pub load_failures: u64,
    /// Keys answered by joining another call of this process.
    pub joined: u64,
    /// Keys answered with an expired near entry, instead of an error or a wait.
    pub stale: u64,
    /// Waits for a lock of another process.
    pub lock_waits: u64,
    /// Loaded values that were not stored because the lock was lost.
    pub locks_lost: u64,
    /// Loaded values that cannot be stored: too large, equal to `not_found_marker`, with a TTL
    /// under 1 ms, or refused by the server, for example because its memory is full.
    pub not_stored: u64,
    /// Keys queued for a refresh.
    pub refreshes_triggered: u64,
    /// Keys whose value was refreshed before it expired.
    pub refreshes: u64,
    /// Keys that another process refreshed or changed, or whose loader paused after a failure.
    pub refreshes_skipped: u64,
    /// Keys that were not queued because the queue was full.
    pub refreshes_dropped: u64,
    /// Keys whose refresh failed, by the loader or by Redis.
    pub refreshes_failed: u64,
    /// Keys whose refresh ended because the loader panicked.
    pub refreshes_panicked: u64,
    /// Keys that a batch loader returned although they were not requested.
    pub extra_keys: u64,
    /// Keys that Redis invalidated.
    pub invalidations: u64,
    /// Invalidations of all keys by a flush.
    pub flushes: u64,
    /// Keys whose removal failed because Redis could not be reached, and is kept until it can be
    /// repeated.
    pub removals_kept: u64,
    /// Keys whose kept removal was repeated.
    pub removals_repeated: u64,
    /// Keys whose kept removal was abandoned, because there were too many or Redis refused it.
    pub removals_dropped: u64,
    /// Near hits that were checked against Redis by `near_audit_every`.
    pub audits: u64,
    /// Checked near hits that differed from Redis: an invalidation was lost.
    pub audit_differences: u64,
    /// The age of the oldest entry that differed.
    pub audit_age_max: Duration,
    /// Connections established, without those for large values.
    pub connections: u64,
    /// Connections for values of `large_value_bytes` or more that were established. They have no
    /// events of the observer.
    pub large_connections: u64,
    /// Values too large for the near cache: with their key larger than 6% of `near_cache_bytes`.
    pub near_oversized: u64,
    /// Entries in the near cache.
    pub near_entries: u64,
    /// Bytes in the near cache, bookkeeping included.
    pub near_bytes: u64,
    /// Calls in flight.
    pub calls: u64,
    /// Keys being fetched.
    pub flights: u64,
    /// Commands that wait for a reply.
    pub commands: u64,
    /// Armed timers.
    pub timers: u64,
    /// Keys whose removal waits for its repetition.
    pub removals_waiting: u64,
}
