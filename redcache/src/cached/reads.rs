//! The reads of functions with the attribute `cached`.

use std::future::Future;
use std::sync::Arc;

use redcache_core::{BoxError, Error, Key, LoadError};

use crate::answer::TypedLoaded;
use crate::cached::views::Parts;
use crate::codec::Codec;
use crate::typed::TypedCacheOn;

/// Read a value, or run the function. A cached "not found" comes from another program and is
/// replaced.
///
/// # Errors
///
/// The errors of [`TypedCache::get_with`](crate::TypedCache::get_with).
pub async fn value<F, V, C, L, Fut, T, E>(
    view: Result<TypedCacheOn<F, Parts, V, C>, Error>,
    key: Parts,
    load: L,
) -> Result<Arc<V>, LoadError<E>>
where
    V: Send + Sync + 'static,
    C: Codec<V>,
    L: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    T: Into<TypedLoaded<V>>,
    E: Into<BoxError> + 'static,
{
    let view = view?.view;
    let mut load = Some(load);
    // The loader is present, because a call runs it once.
    let first = || load.take().expect("the loader runs once")();
    if let Some(value) = view.get_with(&key, first).await?.value {
        return Ok(value);
    }
    if let Some(load) = load {
        let reloading = view.with_options(view.face().options().reload());
        if let Some(value) = reloading.get_with(&key, load).await?.value {
            return Ok(value);
        }
    }
    let name = view.names().await?.of(&key);
    Err(Error::undecodable(&Key::copy_from(&name), view.space().namespace().codec()).into())
}

/// Read a value or "not found", or run the function.
///
/// # Errors
///
/// The errors of [`TypedCache::get_with`](crate::TypedCache::get_with).
pub async fn optional<F, V, C, L, Fut, T, E>(
    view: Result<TypedCacheOn<F, Parts, V, C>, Error>,
    key: Parts,
    load: L,
) -> Result<Option<Arc<V>>, LoadError<E>>
where
    V: Send + Sync + 'static,
    C: Codec<V>,
    L: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    T: Into<TypedLoaded<V>>,
    E: Into<BoxError> + 'static,
{
    Ok(view?.view.get_with(&key, load).await?.value)
}

/// Return a value that the cache shares.
pub fn owned<V: Clone>(value: Arc<V>) -> V {
    Arc::unwrap_or_clone(value)
}

/// Convert the error of a call into that of the function.
pub fn error<E: From<LoadError<E>>>(error: LoadError<E>) -> E {
    error.into()
}
