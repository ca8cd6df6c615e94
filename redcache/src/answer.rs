//! Typed answers, and the typed results of loaders.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redcache_core::Source;
use redcache_core::engine::NearHit;

/// The answer of a typed view for one key.
#[non_exhaustive]
pub struct TypedAnswer<V> {
    /// The decoded value; `None` if the key is absent or cached as not found.
    pub value: Option<Arc<V>>,
    /// The source of the answer.
    pub source: Source,
    /// The time for which the value stays in Redis; `None` if unknown. See
    /// [`Answer::ttl`](crate::Answer::ttl).
    pub ttl: Option<Duration>,
    /// The time since this process learned the value; `None` for a value that was just read from
    /// Redis.
    pub age: Option<Duration>,
    /// The time between the instant at which the value was known to be current in Redis and the
    /// answer; `None` if unknown. See [`Answer::fresh_as_of`](crate::Answer::fresh_as_of).
    pub fresh_as_of: Option<Duration>,
}

impl<V> TypedAnswer<V> {
    /// Return the answer of a near hit with this object.
    #[inline]
    pub(crate) fn of_hit(hit: &NearHit, object: Arc<V>) -> Self {
        let (ttl, age, fresh_as_of) = (Some(hit.ttl), Some(hit.age), Some(hit.fresh_as_of));
        Self { value: Some(object), source: Source::Near, ttl, age, fresh_as_of }
    }
}

impl<V> Clone for TypedAnswer<V> {
    fn clone(&self) -> Self {
        let Self { ref value, source, ttl, age, fresh_as_of } = *self;
        Self { value: value.clone(), source, ttl, age, fresh_as_of }
    }
}

/// A value is not shown, because it may be a secret.
impl<V> fmt::Debug for TypedAnswer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedAnswer")
            .field("is_found", &self.value.is_some())
            .field("source", &self.source)
            .field("ttl", &self.ttl)
            .field("age", &self.age)
            .field("fresh_as_of", &self.fresh_as_of)
            .finish()
    }
}

/// The result of a loader of a typed view for one key: a value or "not found", its TTL, and whether
/// to store it.
///
/// A `V`, an `Arc<V>` and an `Option` of either convert into it, with the TTL of the view.
pub struct TypedLoaded<V> {
    pub(crate) value: Option<Arc<V>>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) store: bool,
}

impl<V> TypedLoaded<V> {
    /// Return a value, stored for the TTL of the view.
    pub fn value(value: impl Into<Arc<V>>) -> Self {
        Self { value: Some(value.into()), ttl: None, store: true }
    }

    /// Return "not found", stored for the view's `not_found_ttl`, so that the next read does not
    /// load.
    pub fn not_found() -> Self {
        Self { value: None, ttl: None, store: true }
    }

    /// Set the TTL, instead of the TTLs of the view.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Return the result to the callers of the load, and store nothing.
    #[must_use]
    pub fn do_not_store(mut self) -> Self {
        self.store = false;
        self
    }
}

impl<V> Clone for TypedLoaded<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), ..*self }
    }
}

/// A value is not shown, because it may be a secret.
impl<V> fmt::Debug for TypedLoaded<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedLoaded")
            .field("is_found", &self.value.is_some())
            .field("ttl", &self.ttl)
            .field("store", &self.store)
            .finish()
    }
}

impl<V> From<V> for TypedLoaded<V> {
    fn from(value: V) -> Self {
        Self::value(value)
    }
}

impl<V> From<Arc<V>> for TypedLoaded<V> {
    fn from(value: Arc<V>) -> Self {
        Self::value(value)
    }
}

impl<V> From<Option<V>> for TypedLoaded<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or_else(Self::not_found, Self::value)
    }
}

impl<V> From<Option<Arc<V>>> for TypedLoaded<V> {
    fn from(value: Option<Arc<V>>) -> Self {
        value.map_or_else(Self::not_found, Self::value)
    }
}
