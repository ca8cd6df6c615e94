//! The entries that go into the near cache, and the hits that come out.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::companion::Companion;
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
    /// This process published the value.
    pub(crate) is_published: bool,
}

/// A hit of the near cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearHit {
    /// The value; `None` if the key is cached as not found.
    pub value: Option<Bytes>,
    /// The time for which the near cache still returns the value.
    pub ttl: Duration,
    /// The time since this process learned the value.
    pub age: Duration,
    /// The object that a layer above has attached to the value.
    pub companion: Option<Companion>,
    pub(crate) compute_time: Duration,
    pub(crate) is_published: bool,
}

impl From<NearHit> for Answer {
    #[inline]
    fn from(hit: NearHit) -> Self {
        Self { value: hit.value, source: Source::Near, ttl: Some(hit.ttl), age: Some(hit.age) }
    }
}
