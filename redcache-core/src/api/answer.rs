//! The answer of a read, and the result of a loader.

use std::time::Duration;

use bytes::Bytes;

/// The source of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The near cache of this process. Redis was not queried.
    Near,
    /// Redis.
    Redis,
    /// The loader of this call.
    Loaded,
    /// Another call of this process that was fetching the same key.
    Joined,
    /// An expired entry of the near cache, instead of an error or a wait. Only
    /// [`stale_if_error`](crate::ConfigBuilder::stale_if_error) and
    /// [`stale_while_revalidate`](crate::ConfigBuilder::stale_while_revalidate) allow it.
    Stale,
}

impl Source {
    /// Return the source as one lower-case word, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Redis => "redis",
            Self::Loaded => "loaded",
            Self::Joined => "joined",
            Self::Stale => "stale",
        }
    }
}

/// The answer for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The value; `None` if the key is absent or cached as not found.
    pub value: Option<Bytes>,
    /// The source of the answer.
    pub source: Source,
    /// The time for which the value stays in Redis; `None` if unknown.
    ///
    /// A read with a loader may leave it out under load;
    /// [`CallOptions::ask_ttl`](crate::CallOptions::ask_ttl) asks for it.
    pub ttl: Option<Duration>,
    /// The time since this process learned the value: zero for a value that was loaded for this
    /// answer. `None` for a value that was just read from Redis, because Redis does not record when
    /// a value was written.
    pub age: Option<Duration>,
    /// The time between the instant at which the value was known to be current in Redis and the
    /// answer; `None` if unknown.
    ///
    /// For a near hit, it counts from the instant at which the latest command that the connection
    /// has answered was sent; for a read, from the instant at which it was sent; for a loaded
    /// value, from the instant at which its publication was sent, or from the start of the load if
    /// the value was not stored. [`CallOptions::max_staleness`](crate::CallOptions::max_staleness)
    /// limits it.
    pub fresh_as_of: Option<Duration>,
}

impl Answer {
    /// Return an answer without a value, from Redis.
    pub(crate) fn none() -> Self {
        Self { value: None, source: Source::Redis, ttl: None, age: None, fresh_as_of: None }
    }
}

/// The result of a loader for one key: a value or "not found", its TTL, and whether to store it.
///
/// Bytes and text convert into a value with the TTL of the call; `None` converts into "not found".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub(crate) value: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) store: bool,
}

impl Loaded {
    /// Return a value, stored for the TTL of the call.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ttl: None, store: true }
    }

    /// Return "not found", stored for the TTL of the call, so that the next read does not load.
    pub fn not_found() -> Self {
        Self { value: None, ttl: None, store: true }
    }

    /// Set the TTL, instead of the TTL of the call.
    ///
    /// With a TTL under 1 ms, the value is returned to the callers of the load and not stored. This
    /// counts as [`Stats::not_stored`](crate::Stats::not_stored), and the observer gets a
    /// [`NotStoredEvent`](crate::observer::NotStoredEvent).
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Convert the value, for an adapter that wraps it.
    #[doc(hidden)]
    #[must_use]
    pub fn map_value(mut self, convert: impl FnOnce(Bytes) -> Bytes) -> Self {
        self.value = self.value.map(convert);
        self
    }

    /// Return the result to the callers of the load, and store nothing.
    #[must_use]
    pub fn do_not_store(mut self) -> Self {
        self.store = false;
        self
    }
}

impl From<Bytes> for Loaded {
    fn from(value: Bytes) -> Self {
        Self::value(value)
    }
}

impl From<Vec<u8>> for Loaded {
    fn from(value: Vec<u8>) -> Self {
        Self::value(value)
    }
}

impl From<String> for Loaded {
    fn from(value: String) -> Self {
        Self::value(value)
    }
}

impl From<&'static str> for Loaded {
    fn from(value: &'static str) -> Self {
        Self::value(value)
    }
}

impl From<&'static [u8]> for Loaded {
    fn from(value: &'static [u8]) -> Self {
        Self::value(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Loaded {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::not_found, Into::into)
    }
}
