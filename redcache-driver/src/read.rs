//! The calls that read.

use std::future::Future;
use std::time::Duration;

use redcache_adapter::{Get, GetMany, GetManyWith, GetWith, LoadResult};
use redcache_core::engine::{LoadOptions, check_ttl};
use redcache_core::{Answer, BatchResult, BoxError, Error, Key, LoadError, Loaded};

use crate::cache::Cache;
use crate::call;

impl Cache {
    /// Read a key from the near cache, or else from Redis.
    ///
    /// The call loads nothing. A key that another caller is loading counts as missing.
    ///
    /// # Cancellation
    ///
    /// A dropped call has no effect.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], [`Timeout`], [`Overloaded`], [`Server`] or [`Protocol`] if Redis does not
    /// answer the read. [`InvalidInput`] if the key is too long.
    ///
    /// [`Unavailable`]: crate::ErrorKind::Unavailable
    /// [`Timeout`]: crate::ErrorKind::Timeout
    /// [`Overloaded`]: crate::ErrorKind::Overloaded
    /// [`Server`]: crate::ErrorKind::Server
    /// [`Protocol`]: crate::ErrorKind::Protocol
    /// [`InvalidInput`]: crate::ErrorKind::InvalidInput
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// if let Some(value) = cache.get("user:42").await?.value {
    ///     println!("{} bytes", value.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let shared = self.shared();
        let key = key.as_ref();
        if let Some(answer) = shared.answer_near(key, self.options()) {
            return Ok(answer);
        }
        let options = *self.options();
        call::run(shared, options, Get::new(key, options)).await
    }

    /// Read several keys. Keys that are not in the near cache are read from Redis in one pipeline.
    ///
    /// There is one result per key, in the order of the keys.
    ///
    /// # Cancellation
    ///
    /// A dropped call has no effect.
    ///
    /// # Errors
    ///
    /// The outer error means that the call failed as a whole:
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for too many keys or a key that is too
    /// long, [`Closed`](crate::ErrorKind::Closed) for a closed cache. An inner error concerns one
    /// key, as for [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// for answer in cache.get_many(["user:1", "user:2"]).await? {
    ///     println!("{:?}", answer?.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<Answer> {
        let (shared, options) = (self.shared(), *self.options());
        let mut batch = shared.near.get_many(keys, options, shared.near_instant(&options));
        match GetMany::rest(&mut batch, options) {
            None => Ok(batch.into_answers()),
            Some(request) => Ok(batch.fill(call::run(shared, options, request).await?)),
        }
    }

    /// Read a key. On a miss, run `loader` and store its value for `ttl` (1 ms or more).
    ///
    /// The loader runs once for all concurrent callers, in this process and in all others that
    /// share the Redis. It runs within this future, so it may borrow and need not be `Send`.
    ///
    /// A future that is neither polled nor dropped stalls its load. Another caller of this process
    /// takes the load over: after about half of `lock_ttl` if it has not begun, otherwise after
    /// `load_timeout`. To make several calls at the same time, spawn each as a task, or poll all of
    /// them, as `join!` does. A `select!` that keeps a pending call must continue to poll it.
    ///
    /// A loader must not read its own key through a call with a loader: that call would wait for
    /// itself until `load_timeout`.
    ///
    /// # Cancellation
    ///
    /// If the call is dropped, or the loader panics, the next caller in line runs its own loader.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`] if the loader failed, in this call or in a call whose load this call
    /// joined. Otherwise [`LoadError::Cache`], with the kinds of [`get`](Self::get) and
    /// [`LoadTimeout`](crate::ErrorKind::LoadTimeout) for a loader that takes too long. A loaded
    /// value is returned even if it cannot be stored.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// use std::time::Duration;
    ///
    /// let answer = cache
    ///     .get_with("user:42", Duration::from_secs(60), || async {
    ///         // Query the database here. `None` is stored as "not found".
    ///         Ok::<_, std::io::Error>(Some("Ada"))
    ///     })
    ///     .await?;
    /// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub async fn get_with<L, F, T, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: L,
    ) -> Result<Answer, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        check_ttl(ttl)?;
        let shared = self.shared();
        let key = key.as_ref();
        if let Some(answer) = shared.answer_near(key, self.options()) {
            return Ok(answer);
        }
        let options = *self.options();
        let request = GetWith::new(key, LoadOptions::new(ttl, options));
        let load = |_| loader();
        Ok(call::run_once(shared, options, request, load, LoadResult::one).await?)
    }

    /// Read several keys. Run `loader` for the missing ones, and store its values for `ttl` (1 ms
    /// or more).
    ///
    /// The loader is called with all missing keys that no other caller is loading. The call waits
    /// for the others in the meantime, and runs the loader again for a key that becomes free
    /// without a value.
    ///
    /// A key that the loader leaves out is stored as "not found". A returned key that was not
    /// requested is ignored. Duplicates are loaded once. There is one result per key, in the order
    /// of the keys.
    ///
    /// # Cancellation
    ///
    /// As for [`get_with`](Self::get_with), for each key.
    ///
    /// # Errors
    ///
    /// The outer error means that the call failed as a whole; an inner error concerns one key. Both
    /// are those of [`get_many`](Self::get_many) and [`get_with`](Self::get_with).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// use std::time::Duration;
    ///
    /// let answers = cache
    ///     .get_many_with(["user:1", "user:2"], Duration::from_secs(60), |keys| async {
    ///         // Query the database here, once for all keys.
    ///         Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")))
    ///     })
    ///     .await?;
    /// assert_eq!(answers.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many_with<K, L, F, M, N, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
        mut loader: L,
    ) -> BatchResult<Answer, LoadError<E>>
    where
        K: AsRef<[u8]>,
        L: FnMut(Vec<Key>) -> F,
        F: Future<Output = Result<M, E>>,
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        let (shared, options) = (self.shared(), *self.options());
        check_ttl(ttl)?;
        let mut batch = shared.near.get_many(keys, options, shared.near_instant(&options));
        match GetManyWith::rest(&mut batch, LoadOptions::new(ttl, options)) {
            None => Ok(batch.into_answers()),
            Some(request) => {
                let load = |keys| Some(loader(keys));
                let found = call::run_with(shared, options, request, load, LoadResult::many);
                Ok(batch.fill(found.await?))
            }
        }
    }
}
