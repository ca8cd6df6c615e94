//! Counters, histograms and gauges for the crate `metrics`.

use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use redcache_core::observer::{
    AnswerEvent, AuditDifferenceEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent,
    FailureEvent, FlushEvent, InvalidationEvent, LoadEvent, LockLostEvent, LockWaitEvent,
    NotStoredEvent, Observer, RefreshEvent, RemovalEvent, RoundTripEvent, UndecodableEvent,
    UntrackedEvent,
};
use redcache_core::{Address, Error, Health, Stats};

/// An observer that counts and measures with the recorder of the crate `metrics`. Times are in
/// seconds. Every series has the label `cache`, the name given to [`new`](Self::new). No label
/// contains a key.
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
/// | `redcache_undecodable_total` | `namespace` |
/// | `redcache_refreshes_total` | `event`: triggered, refreshed, skipped, dropped, failed, panicked |
/// | `redcache_failed_removals_total` | `event`: kept, repeated, dropped |
/// | `redcache_invalidations_total` | |
/// | `redcache_flushes_total` | |
/// | `redcache_connections_total` | `event`: connected, untracked; `address` |
/// | `redcache_connection_failures_total` | `event`: disconnected, failed; `address`; `kind` |
///
/// [`record`](Self::record) sets the gauges `redcache_near_entries`, `redcache_near_bytes`,
/// `redcache_calls`, `redcache_flights` and `redcache_commands`;
/// [`record_health`](Self::record_health) sets `redcache_connected`, `redcache_tracked` and
/// `redcache_breaker_open` to 1 or 0.
///
/// The folder `monitoring` of the package has a dashboard for Grafana and alert rules for
/// Prometheus.
///
/// # Examples
///
/// ```
/// # use redcache_core::Config;
/// use redcache_observe::Metrics;
///
/// let config = Config::builder().observer(Metrics::new("users")).build()?;
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Metrics {
    cache: SharedString,
}

impl Metrics {
    /// Create the observer of the cache with this name, and describe the series to the recorder of
    /// the process. Install the recorder first.
    pub fn new(cache: impl Into<SharedString>) -> Self {
        describe();
        Self { cache: cache.into() }
    }

    /// Set the gauges to the current values of a cache. Call it for every scrape, or every few
    /// seconds.
    ///
    /// # Examples
    ///
    /// ```
    /// # use redcache_observe::Metrics;
    /// # let stats = redcache_core::Stats::default();
    /// let metrics = Metrics::new("users");
    /// // `stats` is the result of `cache.stats()`.
    /// metrics.record(&stats);
    /// ```
    pub fn record(&self, stats: &Stats) {
        for (name, value) in [
            ("redcache_near_entries", stats.near_entries),
            ("redcache_near_bytes", stats.near_bytes),
            ("redcache_calls", stats.calls),
            ("redcache_flights", stats.flights),
            ("redcache_commands", stats.commands),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "a gauge holds a float")]
            gauge!(name, "cache" => self.cache.clone()).set(value as f64);
        }
    }

    /// Set the gauges of the connections to 1 or 0. Call it together with [`record`](Self::record).
    ///
    /// # Examples
    ///
    /// ```
    /// use redcache_observe::Metrics;
    ///
    /// # let health = redcache_core::Health::default();
    /// let metrics = Metrics::new("users");
    /// // `health` is the result of `cache.health()`.
    /// metrics.record_health(&health);
    /// ```
    pub fn record_health(&self, health: &Health) {
        for (name, is_so) in [
            ("redcache_connected", health.is_connected),
            ("redcache_tracked", health.is_tracked),
            ("redcache_breaker_open", health.is_breaker_open),
        ] {
            gauge!(name, "cache" => self.cache.clone()).set(f64::from(u8::from(is_so)));
        }
    }

    fn count_connection(&self, event: &'static str, address: &Address) {
        let (cache, address) = (self.cache.clone(), address.to_string());
        let labels = [("cache", cache), ("event", event.into()), ("address", address.into())];
        counter!("redcache_connections_total", &labels).increment(1);
    }

    /// Count a failure. Its address is empty if no server could be named.
    fn count_connection_failure(
        &self,
        event: &'static str,
        address: Option<&Address>,
        reason: &Error,
    ) {
        let address = address.map(Address::to_string).unwrap_or_default();
        let labels = [
            ("cache", self.cache.clone()),
            ("event", event.into()),
            ("address", address.into()),
            ("kind", reason.kind().as_str().into()),
        ];
        counter!("redcache_connection_failures_total", &labels).increment(1);
    }
}

/// Give the recorder a help text for every series.
fn describe() {
    for (name, help) in [
        ("redcache_answers_total", "Keys answered, by the source of the answer."),
        ("redcache_failures_total", "Keys not answered or not written, by the kind of the error."),
        ("redcache_loaded_keys_total", "Keys given to a loader, by its outcome."),
        ("redcache_locks_lost_total", "Loaded values not stored because the lock was lost."),
        ("redcache_not_stored_total", "Loaded values that cannot be stored."),
        ("redcache_audit_differences_total", "Checked near hits that differ from Redis."),
        ("redcache_undecodable_total", "Stored values that a typed view cannot decode."),
        ("redcache_refreshes_total", "Stages of background refreshes."),
        ("redcache_failed_removals_total", "Removals that failed for want of Redis, by event."),
        ("redcache_invalidations_total", "Keys that Redis invalidated."),
        ("redcache_flushes_total", "Flushes of the database."),
        ("redcache_connections_total", "New connections, and those without invalidations."),
        ("redcache_connection_failures_total", "Lost connections and failed attempts to connect."),
    ] {
        describe_counter!(name, Unit::Count, help);
    }
    for (name, help) in [
        ("redcache_load_seconds", "Run time of loaders, by outcome."),
        ("redcache_lock_wait_seconds", "Time of waits for the lock of another caller."),
        ("redcache_round_trip_seconds", "Time from sending a command to its reply."),
    ] {
        describe_histogram!(name, Unit::Seconds, help);
    }
    for (name, unit, help) in [
        ("redcache_near_entries", Unit::Count, "Entries of the near cache."),
        ("redcache_near_bytes", Unit::Bytes, "Bytes of the near cache, bookkeeping included."),
        ("redcache_calls", Unit::Count, "Calls in flight."),
        ("redcache_flights", Unit::Count, "Keys being fetched."),
        ("redcache_commands", Unit::Count, "Commands that wait for a reply."),
        ("redcache_connected", Unit::Count, "1 while a connection accepts commands, else 0."),
        ("redcache_tracked", Unit::Count, "1 while every server reports changes, else 0."),
        ("redcache_breaker_open", Unit::Count, "1 while a server leaves commands unanswered."),
    ] {
        describe_gauge!(name, unit, help);
    }
}

impl Observer for Metrics {
    fn cache_name(&self) -> Option<&str> {
        Some(&self.cache)
    }

    fn on_answer(&self, event: &AnswerEvent) {
        let (cache, source) = (self.cache.clone(), event.source.as_str());
        counter!("redcache_answers_total", "cache" => cache, "source" => source).increment(1);
    }

    fn on_failure(&self, event: &FailureEvent) {
        let (cache, kind) = (self.cache.clone(), event.kind.as_str());
        counter!("redcache_failures_total", "cache" => cache, "kind" => kind).increment(1);
    }

    fn on_load(&self, event: &LoadEvent) {
        let outcome = if event.is_ok { "ok" } else { "error" };
        let labels = [("cache", self.cache.clone()), ("outcome", outcome.into())];
        counter!("redcache_loaded_keys_total", &labels).increment(event.keys as u64);
        histogram!("redcache_load_seconds", &labels).record(event.took);
    }

    fn on_lock_wait(&self, event: &LockWaitEvent) {
        histogram!("redcache_lock_wait_seconds", "cache" => self.cache.clone()).record(event.took);
    }

    fn on_round_trip(&self, event: &RoundTripEvent) {
        let (cache, command) = (self.cache.clone(), event.command);
        histogram!("redcache_round_trip_seconds", "cache" => cache, "command" => command)
            .record(event.took);
    }

    fn on_lock_lost(&self, _: &LockLostEvent) {
        counter!("redcache_locks_lost_total", "cache" => self.cache.clone()).increment(1);
    }

    fn on_not_stored(&self, _: &NotStoredEvent) {
        counter!("redcache_not_stored_total", "cache" => self.cache.clone()).increment(1);
    }

    fn on_audit_difference(&self, _: &AuditDifferenceEvent) {
        counter!("redcache_audit_differences_total", "cache" => self.cache.clone()).increment(1);
    }

    fn on_undecodable(&self, event: &UndecodableEvent) {
        let (cache, namespace) = (self.cache.clone(), event.namespace.to_string());
        counter!("redcache_undecodable_total", "cache" => cache, "namespace" => namespace)
            .increment(1);
    }

    fn on_refresh(&self, event: &RefreshEvent) {
        let (cache, stage) = (self.cache.clone(), event.stage.as_str());
        counter!("redcache_refreshes_total", "cache" => cache, "event" => stage).increment(1);
    }

    fn on_removal(&self, event: &RemovalEvent) {
        let (cache, stage) = (self.cache.clone(), event.stage.as_str());
        counter!("redcache_failed_removals_total", "cache" => cache, "event" => stage).increment(1);
    }

    fn on_invalidation(&self, event: &InvalidationEvent) {
        counter!("redcache_invalidations_total", "cache" => self.cache.clone())
            .increment(event.keys as u64);
    }

    fn on_flush(&self, _: &FlushEvent) {
        counter!("redcache_flushes_total", "cache" => self.cache.clone()).increment(1);
    }

    fn on_connected(&self, event: &ConnectedEvent) {
        self.count_connection("connected", &event.address);
    }

    fn on_untracked(&self, event: &UntrackedEvent) {
        self.count_connection("untracked", &event.address);
    }

    fn on_disconnected(&self, event: &DisconnectedEvent) {
        self.count_connection_failure("disconnected", Some(&event.address), &event.reason);
    }

    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        self.count_connection_failure("failed", event.address.as_ref(), &event.reason);
    }
}
