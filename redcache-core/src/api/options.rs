//! How a call is to be made, where that differs from what the cache does by itself.

use std::time::Duration;

/// How the calls of a handle are made: past the near cache, with a load in any case, with a deadline.
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
}

impl CallOptions {
    /// Starts with what the cache does by itself.
    pub const fn new() -> Self {
        Self { skip_near: false, reload: false, timeout: None }
    }

    /// Asks Redis even if there is a copy in the near cache, which the answer then replaces.
    #[must_use]
    pub const fn skip_near(mut self) -> Self {
        self.skip_near = true;
        self
    }

    /// Answers `get_with` and `get_many_with` with what a loader gives that begins after the call does, whatever is
    /// cached. It runs under a lock in the place of the old value, which is put back should the load fail. Who asks
    /// for the key meanwhile is given the new value; a load that began earlier is not stored any more. Calls that
    /// reload the same key at the same time share one load. Calls without a loader just skip the near cache.
    #[must_use]
    pub const fn reload(mut self) -> Self {
        self.reload = true;
        self
    }

    /// Has a call fail with [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded) when it has taken so
    /// long, whatever it waits for. What others wait for goes on: a load that the call ran goes to the next in line,
    /// a lock that nobody needs any more is given back. A write may have been executed all the same.
    #[must_use]
    pub const fn timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    /// Returns the time limit, counted from the beginning of a call.
    pub fn timeout_after(&self) -> Option<Duration> {
        self.timeout
    }

    /// Says whether the near cache may answer.
    pub fn asks_near(&self) -> bool {
        !(self.skip_near || self.reload) || mutant!(PastNearAsksNear)
    }
}

/// What a call with a loader tells the engine beside its keys. A [`Duration`] is the ttl, and nothing special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    pub(crate) ttl: Duration,
    pub(crate) reload: bool,
    pub(crate) refreshed_by: Option<LoaderId>,
}

impl LoadOptions {
    /// Combines the ttl of what is loaded with the options of the call.
    pub fn new(ttl: Duration, options: CallOptions) -> Self {
        Self { ttl, reload: options.reload, refreshed_by: None }
    }

    /// The same for a call of a registered loader: what it finds in Redis and is due, the loader refreshes.
    #[must_use]
    pub fn refreshed_by(mut self, loader: LoaderId) -> Self {
        self.refreshed_by = Some(loader);
        self
    }
}

impl From<Duration> for LoadOptions {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl, CallOptions::new())
    }
}

/// A loader that is registered for refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoaderId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// When values are refreshed before they expire.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use redcache_core::RefreshOptions;
///
/// // For a minute; who reads a value in its last ten seconds has it loaded anew.
/// let options = RefreshOptions::new(Duration::from_secs(60)).refresh_at_fraction(5.0 / 6.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RefreshOptions {
    pub(crate) ttl: Duration,
    pub(crate) after: f64,
    pub(crate) beta: f64,
}

impl RefreshOptions {
    /// Starts with values that live for `ttl` (1 ms or more) and are refreshed in the last fifth of that.
    pub const fn new(ttl: Duration) -> Self {
        Self { ttl, after: 0.8, beta: 0.0 }
    }

    /// Gives the ttl of what is loaded.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// After which part of its life a read has a value refreshed, at least 0 and under 1. Default 0.8; 0 turns this rule
    /// off.
    #[must_use]
    pub const fn refresh_at_fraction(mut self, part: f64) -> Self {
        self.after = part;
        self
    }

    /// How eagerly a value is refreshed by chance before it expires, in multiples of the time that it took to load;
    /// 1 is what the theory says is best, more is earlier. Default 0, which turns this rule off. It is XFetch, by
    /// Vattani, Chierichetti and Lowenstein (VLDB 2015).
    #[must_use]
    pub const fn refresh_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }
}
