//! The async calls of refreshing views.

use std::borrow::Borrow;
use std::future::Future;
use std::sync::Arc;

use redcache_core::{BatchResult, BoxError, Error, LoadError, RefreshOptions};
use redcache_driver::Cache;

use crate::answer::{TypedAnswer, TypedLoaded};
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
    /// It works as [`Cache::refreshing`](crate::Cache::refreshing) does. The loader gets keys and
    /// returns keys with values. A key that it leaves out is stored as "not found". Values have the
    /// TTL of the options; "not found" has the view's `not_found_ttl`, if it is set. A value that
    /// another version of your program has written is a miss.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::refreshing`](crate::Cache::refreshing), and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a view with plain keys.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use redcache::{RefreshOptions, TypedCache};
    ///
    /// # async fn select_names(_: &[u64]) -> std::io::Result<Vec<(u64, String)>> {
    /// #     Ok(Vec::new())
    /// # }
    /// # async fn example(names: TypedCache<u64, String>) -> Result<(), redcache::BoxError> {
    /// let options = RefreshOptions::new(Duration::from_secs(60));
    /// let names = names.refreshing(options, async |ids| select_names(&ids).await)?;
    /// if let Some(name) = names.get(&42).await?.value {
    ///     println!("{name}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn refreshing<L, Fut, M, T, E>(
        &self,
        options: RefreshOptions,
        loader: L,
    ) -> Result<TypedRefreshingCacheOn<Cache, K, V, C, E>, Error>
    where
        L: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M, E>> + Send + 'static,
        M: IntoIterator<Item = (K, T)>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        let loader: Loader<K, V, E> = Arc::new(move |keys| {
            let loading = loader(keys);
            Box::pin(async move { Ok(typed(loading.await?)) })
        });
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
    /// Read a key like [`TypedCache::get_with`](crate::TypedCache::get_with), with the registered
    /// loader. Refresh its value in the background if that is due.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_with`](crate::Cache::get_with). A refresh continues in the background.
    ///
    /// # Errors
    ///
    /// As for [`TypedCache::get_with`](crate::TypedCache::get_with). A failed refresh reaches no
    /// caller; [`Stats`](crate::Stats) count it.
    pub async fn get<Q>(&self, key: &Q) -> Result<TypedAnswer<V>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        self.refreshing.get(key).await
    }

    /// Read several keys like [`TypedCache::get_many_with`](crate::TypedCache::get_many_with), with
    /// the registered loader. Refresh the values that are due in the background.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_many_with`](crate::Cache::get_many_with). Refreshes continue in the
    /// background.
    ///
    /// # Errors
    ///
    /// As for [`TypedCache::get_many_with`](crate::TypedCache::get_many_with).
    pub async fn get_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<TypedAnswer<V>, LoadError<E>> {
        self.refreshing.get_many(keys).await
    }
}
