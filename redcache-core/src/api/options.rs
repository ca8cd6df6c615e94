//! The options of a call, of a load and of a refresh.

use std::time::{Duration, Instant};

/// The options of the calls of a handle: skip the near cache, reload, time out, or limit the
/// staleness of answers.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::CallOptions;
///
/// let patient = CallOptions::new().timeout(Duration::from_millis(200));
/// let fresh = patient.reload();
/// assert_ne!(patient, fresh);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallOptions {
    pub(crate) skip_near: bool,
    pub(crate) reload: bool,
    pub(crate) timeout: Option<Duration>,
    /// The instant at which the timeout ends, once a call of several steps has begun.
    pub(crate) deadline: Option<Instant>,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) asks_ttl: bool,
}

impl CallOptions {
    /// Return the default options: use the near cache, load on a miss, no timeout.
    pub const fn new() -> Self {
        Self {
            skip_near: false,
            reload: false,
            timeout: None,
            deadline: None,
            max_staleness: None,
            asks_ttl: false,
        }
    }

    /// Query Redis even if the near cache has the key. The answer replaces the near entry, so the
    /// call also asks for the TTL.
    #[must_use]
    pub const fn skip_near(mut self) -> Self {
        self.skip_near = true;
        self
    }

    /// Run the loader of `get_with` and `get_many_with` even if the key is cached.
    ///
    /// The load begins after the call. It runs under a lock that replaces the old value; if the
    /// load fails, the old value is restored. Other callers of the key wait for the new value, and
    /// a load that began earlier is not stored. Concurrent reloads of a key share one load. A call
    /// without a loader skips the near cache.
    #[must_use]
    pub const fn reload(mut self) -> Self {
        self.reload = true;
        self
    }

    /// Set the timeout of a whole call, after which it fails with
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded).
    ///
    /// Other callers are not affected: the next one takes over a load of the call, and a lock
    /// without a caller is released. Redis may still execute a write.
    #[must_use]
    pub const fn timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    /// Set the limit of the staleness of an answer: its value was current in Redis when the call
    /// began, or within `max` before that. The default is no limit.
    ///
    /// A near entry beyond the limit is no hit: its key is read from Redis. A call that joins a
    /// fetch which began too early reads once more. The limit also applies to stale answers, so a
    /// call may return an error instead of one. With zero, the answer is no older than the call
    /// itself.
    ///
    /// The limit is about Redis: a loader's value is as old as its load, and may be older than the
    /// database if the loader reads a replica. An answer that was read on time is returned even if
    /// it arrives late.
    #[must_use]
    pub const fn max_staleness(mut self, max: Duration) -> Self {
        self.max_staleness = Some(max);
        self
    }

    /// Read the TTL of each value that comes from Redis, for [`Answer::ttl`](crate::Answer::ttl).
    ///
    /// Without this option, a call with a loader leaves the TTL out if many commands are in flight
    /// and the key was not read lately. Such a value does not enter the near cache; the next read
    /// of the key asks for the TTL. A call that joins the fetch of another call gets its answer,
    /// with or without the TTL.
    #[must_use]
    pub const fn ask_ttl(mut self) -> Self {
        self.asks_ttl = true;
        self
    }

    /// Return the limit of the staleness of an answer.
    #[inline]
    pub fn staleness_max(&self) -> Option<Duration> {
        self.max_staleness
    }

    /// Return the instant at which the value of an answer must have been current, or later, for a
    /// call that begins at `now`.
    pub(crate) fn fresh_since(&self, now: Instant) -> Option<Instant> {
        fresh_since(self.max_staleness, now)
    }

    /// Return the timeout, counted from the start of a call.
    #[inline]
    pub fn timeout_after(&self) -> Option<Duration> {
        self.timeout
    }

    /// Return the options of the steps of a call that begins at `now`: they share its timeout.
    #[must_use]
    pub fn begun_at(mut self, now: Instant) -> Self {
        self.deadline = self.timeout.and_then(|timeout| now.checked_add(timeout));
        self
    }

    /// Return the instant at which the timeout of a call ends, of which a step begins at `now`. A
    /// limit after the latest representable instant is no limit.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.deadline.or_else(|| now.checked_add(self.timeout?))
    }

    /// Return `true` if the near cache may answer.
    #[inline]
    pub fn asks_near(&self) -> bool {
        !(self.skip_near || self.reload) || mutant!(PastNearAsksNear)
    }
}

/// The options of a call with a loader. A [`Duration`] converts into a TTL with the other defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    pub(crate) ttl: Duration,
    pub(crate) reload: bool,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) refreshed_by: Option<LoaderId>,
    pub(crate) asks_ttl: bool,
    pub(crate) reach: Reach,
}

/// The sources of the value of a call with a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Redis, and the loader as `on_redis_down` says.
    Any,
    /// Redis, and the loader under a lock only.
    Redis,
    /// The loader, as while Redis cannot be reached.
    Loader,
}

impl LoadOptions {
    /// Return the options for a TTL of the loaded values and the options of the call.
    pub fn new(ttl: Duration, options: CallOptions) -> Self {
        let CallOptions { reload, max_staleness, asks_ttl, skip_near, .. } = options;
        // An answer without a TTL cannot replace the near entry.
        let asks_ttl = asks_ttl || skip_near;
        Self { ttl, reload, max_staleness, refreshed_by: None, asks_ttl, reach: Reach::Any }
    }

    /// Fail if Redis cannot be reached, even if
    /// [`on_redis_down`](crate::ConfigBuilder::on_redis_down) says otherwise.
    #[must_use]
    pub fn not_direct(mut self) -> Self {
        self.reach = Reach::Redis;
        self
    }

    /// Send nothing to Redis, and load as
    /// [`on_redis_down`](crate::ConfigBuilder::on_redis_down) says.
    #[must_use]
    pub fn only_direct(mut self) -> Self {
        self.reach = Reach::Loader;
        self
    }

    /// Set the registered loader that refreshes the values found in Redis if they are due.
    #[must_use]
    pub fn refreshed_by(mut self, loader: LoaderId) -> Self {
        self.refreshed_by = Some(loader);
        self
    }
}

impl LoadOptions {
    pub(crate) fn fresh_since(&self, now: Instant) -> Option<Instant> {
        fresh_since(self.max_staleness, now)
    }
}

/// Return the earliest instant within `max_staleness` before `now`. A limit before the earliest
/// representable instant is no limit.
fn fresh_since(max_staleness: Option<Duration>, now: Instant) -> Option<Instant> {
    max_staleness.and_then(|max| now.checked_sub(max))
}

impl From<Duration> for LoadOptions {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl, CallOptions::new())
    }
}

/// The id of a registered loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoaderId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The options of a registered loader: the TTL, and when a value is refreshed before it expires.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::RefreshOptions;
///
/// // Values live for a minute. A read in their last ten seconds triggers a refresh.
/// let options = RefreshOptions::new(Duration::from_secs(60)).refresh_at_fraction(5.0 / 6.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RefreshOptions {
    pub(crate) ttl: Duration,
    pub(crate) after: f64,
    pub(crate) beta: f64,
}

impl RefreshOptions {
    /// Return options for values that live for `ttl` (1 ms or more) and are refreshed in the last
    /// fifth of it.
    pub const fn new(ttl: Duration) -> Self {
        Self { ttl, after: 0.8, beta: 0.0 }
    }

    /// Return the TTL of the loaded values.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Set the fraction of the TTL after which a read triggers a refresh: 0 or more, and less than
    /// 1. Default: 0.8. `0` turns this rule off.
    #[must_use]
    pub const fn refresh_at_fraction(mut self, part: f64) -> Self {
        self.after = part;
        self
    }

    /// Set the beta of XFetch, which refreshes a value at random before it expires. A higher beta
    /// and a longer load make the refresh earlier. 1 is optimal in theory. Default: 0, which turns
    /// this rule off. See Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache
    /// Stampede Prevention" (VLDB 2015).
    #[must_use]
    pub const fn refresh_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }
}
