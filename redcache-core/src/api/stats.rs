//! What has happened so far, as plain counters.

/// A snapshot of a cache's counters since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys answered from the near cache.
    pub near_hits: u64,
    /// Keys answered from Redis.
    pub redis_hits: u64,
    /// Keys that `get` or `get_many` did not find.
    pub misses: u64,
    /// Keys that a loader of this process was asked for.
    pub loads: u64,
    /// Keys whose loader failed.
    pub load_failures: u64,
    /// Keys answered by joining another call of this process.
    pub joined: u64,
    /// Keys answered with an outdated copy, in place of an error or a wait.
    pub stale: u64,
    /// Times that a key was found locked by another process.
    pub lock_waits: u64,
    /// Loaded values that could not be published because the lock was gone.
    pub locks_lost: u64,
    /// Keys that were found due and queued for a refresh.
    pub refreshes_triggered: u64,
    /// Keys whose value was refreshed ahead of its end.
    pub refreshes: u64,
    /// Keys that somebody else refreshed or changed in the meantime, or whose loader rested after a failure.
    pub refreshes_skipped: u64,
    /// Keys that were due while the queue was full.
    pub refreshes_dropped: u64,
    /// Keys whose refresh failed, by the loader or by Redis.
    pub refreshes_failed: u64,
    /// Keys whose refresh ended with a panic of the loader.
    pub refreshes_panicked: u64,
    /// Keys that a batch loader returned without having been asked.
    pub extra_keys: u64,
    /// Keys that Redis reported as changed.
    pub invalidations: u64,
    /// Times that Redis reported all keys as changed.
    pub flushes: u64,
    /// Connections made.
    pub connections: u64,
    /// Entries in the near cache.
    pub near_entries: u64,
    /// Bytes in the near cache, overhead included.
    pub near_bytes: u64,
    /// Values too large for the near cache: with their key larger than 6% of `near_cache_bytes`.
    pub near_oversized: u64,
    /// Calls in flight.
    pub calls: u64,
    /// Keys being fetched.
    pub flights: u64,
    /// Commands that wait for an answer.
    pub commands: u64,
    /// Deadlines that are armed.
    pub timers: u64,
}
