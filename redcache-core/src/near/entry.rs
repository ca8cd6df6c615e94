//! The entries that are inserted into the near cache, and the hits that it returns.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::companion::Companion;
use super::compute_time::ComputeTime;
use super::content::Content;
use crate::api::answer::{Answer, Source};

/// A value for the near cache.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `None` if the key is cached as not found.
    pub(crate) value: Option<Bytes>,
    pub(crate) deadline: Instant,
    /// The end of the TTL in Redis, at the deadline or later; `None` without a TTL.
    pub(crate) expires_at: Option<Instant>,
    /// The instant at which the value was requested or published.
    pub(crate) learned_at: Instant,
    /// The run time of the loader; zero if unknown.
    pub(crate) compute_time: Duration,
    /// Whether this process published the value.
    pub(crate) is_published: bool,
}

/// A hit of the near cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearHit {
    pub(crate) content: Content,
    /// The time for which the near cache still returns the value.
    pub ttl: Duration,
    /// The time since this process learned the value.
    pub age: Duration,
    /// The time since the value was known to be current in Redis. It counts from the instant at
    /// which the latest command that this connection has answered was sent.
    pub fresh_as_of: Duration,
    pub(crate) compute_time: ComputeTime,
    pub(crate) is_published: bool,
}

impl NearHit {
    /// Return the value; `None` if the key is cached as not found.
    #[inline]
    pub fn value(&self) -> Option<&Bytes> {
        self.content.value()
    }

    /// Return the value, owned.
    #[inline]
    pub fn into_value(self) -> Option<Bytes> {
        self.content.into_value()
    }

    /// Return the companion of the value.
    #[inline]
    pub fn companion(&self) -> Option<&Companion> {
        self.content.companion()
    }
}

impl From<NearHit> for Answer {
    #[inline]
    fn from(hit: NearHit) -> Self {
        let (ttl, age, fresh_as_of) = (Some(hit.ttl), Some(hit.age), Some(hit.fresh_as_of));
        Self { value: hit.into_value(), source: Source::Near, ttl, age, fresh_as_of }
    }
}
