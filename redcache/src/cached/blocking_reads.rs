//! The reads of plain functions with the attribute `cached`.

use std::future;
use std::sync::Arc;

use redcache_core::{BoxError, Error, LoadError};

use crate::answer::TypedLoaded;
use crate::blocking_calls::ready;
use crate::cached::reads;
use crate::cached::views::Parts;
use crate::codec::Codec;
use crate::typed::TypedCacheOn;

/// Read a value, or run the function.
///
/// # Errors
///
/// The errors of [`TypedCache::get_with`](crate::TypedCacheOn::get_with).
pub fn value<F, V: Send + Sync + 'static, C: Codec<V>, T, E>(
    view: Result<TypedCacheOn<F, Parts, V, C>, Error>,
    key: Parts,
    load: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<V>, LoadError<E>>
where
    T: Into<TypedLoaded<V>>,
    E: Into<BoxError> + 'static,
{
    ready(reads::value(view, key, || future::ready(load())))
}

/// Read a value or "not found", or run the function.
///
/// # Errors
///
/// The errors of [`TypedCache::get_with`](crate::TypedCacheOn::get_with).
pub fn optional<F, V: Send + Sync + 'static, C: Codec<V>, T, E>(
    view: Result<TypedCacheOn<F, Parts, V, C>, Error>,
    key: Parts,
    load: impl FnOnce() -> Result<T, E>,
) -> Result<Option<Arc<V>>, LoadError<E>>
where
    T: Into<TypedLoaded<V>>,
    E: Into<BoxError> + 'static,
{
    ready(reads::optional(view, key, || future::ready(load())))
}
