//! What a call gives back: a value, or that there is none, and where that was learned.

use std::time::Duration;

use bytes::Bytes;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The near cache of this process; Redis was not asked.
    Near,
    /// Redis.
    Redis,
    /// The loader of this very call.
    Loaded,
    /// Another call of this process that was fetching the same key.
    Joined,
    /// An outdated copy in the near cache, in place of an error or a wait; only if the settings allow it.
    Stale,
}

impl Source {
    /// Gives the source as one lower-case word, for logs and labels.
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

/// The answer to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The value; `None` when there is none, be it that the key is absent or that it is cached as not found.
    pub value: Option<Bytes>,
    /// Where the answer came from.
    pub source: Source,
    /// How long the value stays in Redis, as far as that is known.
    pub ttl: Option<Duration>,
    /// How long ago this process learned the value: zero when it was loaded for this answer, and for a copy from the
    /// near cache, outdated or not, the time since it was loaded here or read from Redis. `None` for what was just read from Redis, which
    /// does not say when a value was written.
    pub age: Option<Duration>,
}

impl Answer {
    /// Nothing, of which Redis says no more.
    pub(crate) fn none() -> Self {
        Self { value: None, source: Source::Redis, ttl: None, age: None }
    }
}

/// What a loader found: a value or nothing, for how long, and whether to store it at all.
///
/// Plain bytes and texts convert into a value with the call's ttl; `None` converts into "not found".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub(crate) value: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) store: bool,
}

impl Loaded {
    /// A value, stored for the call's ttl.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ttl: None, store: true }
    }

    /// Nothing is there; stored as such for the call's ttl, so that the next reader does not load either.
    pub fn not_found() -> Self {
        Self { value: None, ttl: None, store: true }
    }

    /// The same outcome with a ttl of its own. Under 1 ms it is refused when the load ends.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The same outcome, given to the callers and stored nowhere.
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
