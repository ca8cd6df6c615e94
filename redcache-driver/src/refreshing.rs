//! Registered loaders: reads through them refresh values in the background before they expire.

use std::convert::identity;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use redcache_adapter::{LoadResult, Registered};
use redcache_core::{
    Answer, BatchResult, BoxError, CallOptions, Error, Key, LoadError, Loaded, RefreshOptions,
};

use crate::cache::Cache;
use crate::call;
use crate::shared::{Loader, Shared};

/// A cache with a registered loader, which also refreshes values in the background before they
/// expire.
///
/// [`Cache::refreshing`] creates it. `E` is the loader's error. Handles are cheap to clone. When
/// the last handle is dropped, the loader is dropped, together with the refreshes that wait for it.
///
/// # Examples
///
/// ```no_run
/// # use redcache_driver::{Cache, Error, RefreshOptions, RefreshingCache};
/// use std::time::Duration;
///
/// struct Users {
///     by_key: RefreshingCache<std::io::Error>,
/// }
///
/// fn users(cache: &Cache) -> Result<Users, Error> {
///     let options = RefreshOptions::new(Duration::from_secs(60));
///     let by_key = cache.refreshing(options, |keys| async move {
///         // Query the database here, once for all keys.
///         Ok(keys.into_iter().map(|key| (key, "Ada")))
///     })?;
///     Ok(Users { by_key })
/// }
/// ```
pub struct RefreshingCache<E> {
    cache: Cache,
    registered: Arc<Registered<Shared>>,
    error: PhantomData<fn() -> E>,
}

impl<E> Clone for RefreshingCache<E> {
    fn clone(&self) -> Self {
        let (cache, registered) = (self.cache.clone(), Arc::clone(&self.registered));
        Self { cache, registered, error: PhantomData }
    }
}

impl<E> fmt::Debug for RefreshingCache<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshingCache")
            .field("cache", &self.cache)
            .field("options", &self.registered)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Register a loader that also refreshes values in the background before they expire, for reads
    /// through the returned handle.
    ///
    /// A refresh runs once for all processes that share the Redis, redcache for Go included. It
    /// replaces a value only if the value is still the one that was due, and readers get the old
    /// value until then. Keys that are due at the same time are loaded together. After a failure,
    /// the loader pauses.
    ///
    /// The loader gets the keys and returns their values. A key that it leaves out is stored as
    /// "not found". A loader that owns a handle of the cache keeps the cache open until
    /// [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if an option is invalid,
    /// [`Closed`](crate::ErrorKind::Closed) if the cache is closed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache_driver::RefreshOptions;
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// use std::time::Duration;
    ///
    /// let options = RefreshOptions::new(Duration::from_secs(60));
    /// let users = cache.refreshing(options, |keys| async move {
    ///     // Query the database here, once for all keys.
    ///     Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")))
    /// })?;
    /// let answer = users.get("user:42").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn refreshing<L, F, M, N, T, E>(
        &self,
        options: RefreshOptions,
        loader: L,
    ) -> Result<RefreshingCache<E>, Error>
    where
        L: Fn(Vec<Key>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<M, E>> + Send + 'static,
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        let loader: Loader = Arc::new(move |keys| {
            let load = loader(keys);
            Box::pin(async { LoadResult::many(load.await) })
        });
        RefreshingCache::register(self, options, loader)
    }
}

impl<E> RefreshingCache<E> {
    /// Register a loader whose errors have the type `E`.
    pub(crate) fn register(
        cache: &Cache,
        options: RefreshOptions,
        loader: Loader,
    ) -> Result<Self, Error> {
        let registered = Registered::new(cache.shared(), options, loader)?;
        Ok(Self { cache: cache.clone(), registered, error: PhantomData })
    }
}

impl<E: 'static> RefreshingCache<E> {
    /// Read a key like [`Cache::get_with`], with the registered loader. Refresh its value in the
    /// background if that is due.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_with`]. A refresh continues in the background.
    ///
    /// # Errors
    ///
    /// As for [`Cache::get_with`]. A failed refresh reaches no caller; [`Stats`](crate::Stats)
    /// count it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache_driver::BoxError;
    /// # use std::io::Error;
    /// # async fn example(users: redcache_driver::RefreshingCache<Error>) -> Result<(), BoxError> {
    /// let answer = users.get("user:42").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, LoadError<E>> {
        let (key, options, loader) =
            (key.as_ref(), *self.cache.options(), self.registered.loader());
        let request = match self.registered.get(key, options) {
            Ok(answer) => return Ok(answer),
            Err(request) => request,
        };
        let load = |_| loader(vec![Key::copy_from(key)]);
        let only = |loaded: LoadResult| loaded.only(key);
        Ok(call::run_once(self.cache.shared(), options, request, load, only).await?)
    }

    /// Read several keys like [`Cache::get_many_with`], with the registered loader. Refresh the
    /// values that are due in the background.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_many_with`]. Refreshes continue in the background.
    ///
    /// # Errors
    ///
    /// As for [`Cache::get_many_with`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache_driver::BoxError;
    /// # use std::io::Error;
    /// # async fn example(users: redcache_driver::RefreshingCache<Error>) -> Result<(), BoxError> {
    /// for answer in users.get_many(["user:1", "user:2"]).await? {
    ///     println!("{:?}", answer?.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<Answer, LoadError<E>> {
        let (options, loader) = (*self.cache.options(), self.registered.loader());
        let (batch, rest) = self.registered.get_many(keys, options);
        let Some(request) = rest else { return Ok(batch.into_answers()) };
        let load = |keys| Some(loader(keys));
        let found = call::run_with(self.cache.shared(), options, request, load, identity);
        Ok(batch.fill(found.await?))
    }

    /// Return a handle whose calls use `options`. The loader is the same.
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        let cache = self.cache.with_options(options);
        Self { cache, registered: Arc::clone(&self.registered), error: PhantomData }
    }

    /// Return the cache, for all other calls.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }
}
