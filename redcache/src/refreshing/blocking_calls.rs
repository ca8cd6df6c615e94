//! The blocking calls of refreshing views.

use std::borrow::Borrow;
use std::future;
use std::sync::Arc;

use redcache_blocking::Cache;
use redcache_core::{BatchResult, BoxError, Error, LoadError, RefreshOptions};

use crate::answer::{TypedAnswer, TypedLoaded};
use crate::blocking_calls::ready;
use crate::codec::Codec;
use crate::key::CacheKey;
use crate::parsed_key::ParsedKey;
use crate::refreshing::{TypedRefreshingCacheOn, typed};
use crate::typed::TypedCacheOn;
use crate::view::refresh::Loader;

impl<K, V, C> TypedCacheOn<Cache, K, V, C>
where
    K: ParsedKey + Send + 'static,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    /// Register a loader that also refreshes values in the background before they expire, for reads
    /// through the returned handle.
    ///
    /// It works as [`Cache::refreshing`](crate::blocking::Cache::refreshing) does. The loader gets
    /// keys and returns keys with values. A key that it leaves out is stored as "not found". Values
    /// have the TTL of the options; "not found" has the view's `not_found_ttl`, if it is set. A
    /// value that another version of your program has written is a miss.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::refreshing`](crate::blocking::Cache::refreshing), and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a view with plain keys.
    pub fn refreshing<M, T, E>(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<K>) -> Result<M, E> + Send + Sync + 'static,
    ) -> Result<TypedRefreshingCacheOn<Cache, K, V, C, E>, Error>
    where
        M: IntoIterator<Item = (K, T)>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + Send + 'static,
    {
        let loader: Loader<K, V, E> =
            Arc::new(move |keys| Box::pin(future::ready(loader(keys).map(typed))));
        TypedRefreshingCacheOn::new(self, options, loader)
    }
}

impl<K, V, C, E> TypedRefreshingCacheOn<Cache, K, V, C, E>
where
    K: ParsedKey + 'static,
    V: Send + Sync + 'static,
    C: Codec<V>,
    E: Into<BoxError> + 'static,
{
    /// Read a key with the registered loader on a miss. Refresh its value in the background if that
    /// is due.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_with`](crate::blocking::Cache::get_with). A failed refresh
    /// reaches no caller; [`Stats`](crate::Stats) count it.
    pub fn get<Q>(&self, key: &Q) -> Result<TypedAnswer<V>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        ready(self.refreshing.get(key))
    }

    /// Read several keys with the registered loader for missing ones. Refresh the values that are
    /// due in the background.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_many_with`](crate::blocking::Cache::get_many_with).
    pub fn get_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<TypedAnswer<V>, LoadError<E>> {
        ready(self.refreshing.get_many(keys))
    }
}
