//! The calls that read.

use std::time::Duration;

use redcache_adapter::{Get, GetMany, GetManyWith, GetWith, LoadResult};
use redcache_core::engine::{LoadOptions, check_ttl};
use redcache_core::{Answer, BatchResult, BoxError, Error, Key, LoadError, Loaded};

use crate::cache::Cache;

impl Cache {
    /// Read a key from the near cache, or else from Redis.
    ///
    /// The call loads nothing. A key that another caller is loading counts as missing.
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
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// if let Some(value) = cache.get("user:42")?.value {
    ///     println!("{} bytes", value.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error> {
        match self.answer_near(key.as_ref()) {
            Some(answer) => Ok(answer),
            None => self.run(Get::new(key.as_ref(), *self.options())),
        }
    }

    /// Read several keys. Keys that are not in the near cache are read from Redis in one pipeline.
    ///
    /// There is one result per key, in the order of the keys.
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
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// for answer in cache.get_many(["user:1", "user:2"])? {
    ///     println!("{:?}", answer?.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<Answer> {
        let (near, options) = (self.near_reader(), *self.options());
        let mut batch = near.get_many(keys, options, near.instant(&options));
        if let Some(request) = GetMany::rest(&mut batch, options) {
            return Ok(batch.fill(self.run(request)?));
        }
        Ok(batch.into_answers())
    }

    /// Read a key. On a miss, run `loader` and store its value for `ttl` (1 ms or more).
    ///
    /// The loader runs once for all concurrent callers, in this process and in all others that
    /// share the Redis. It runs on the calling thread, so it may borrow and need not be `Send`.
    ///
    /// A loader must not read its own key through a call with a loader: that call would wait for
    /// itself until `load_timeout`.
    ///
    /// If the loader panics, the next caller in line runs its own loader, and the panic propagates
    /// through this call. A loader cannot be interrupted: once it has taken longer than
    /// `load_timeout`, other callers no longer wait for it, and this call fails when the loader
    /// returns.
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
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::BoxError> {
    /// use std::time::Duration;
    ///
    /// let answer = cache.get_with("user:42", Duration::from_secs(60), || {
    ///     // Query the database here. `None` is stored as "not found".
    ///     Ok::<_, std::io::Error>(Some("Ada"))
    /// })?;
    /// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn get_with<T: Into<Loaded>, E: Into<BoxError> + 'static>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<T, E>,
    ) -> Result<Answer, LoadError<E>> {
        check_ttl(ttl)?;
        if let Some(answer) = self.answer_near(key.as_ref()) {
            return Ok(answer);
        }
        let options = LoadOptions::new(ttl, *self.options());
        let load = |_| LoadResult::one(loader());
        Ok(self.run_once(GetWith::new(key.as_ref(), options), load)?)
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
    /// of the keys. The loader runs on the calling thread, as that of [`get_with`](Self::get_with)
    /// does.
    ///
    /// # Errors
    ///
    /// The outer error means that the call failed as a whole; an inner error concerns one key. Both
    /// are those of [`get_many`](Self::get_many) and [`get_with`](Self::get_with).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::BoxError> {
    /// use std::time::Duration;
    ///
    /// let answers = cache.get_many_with(["user:1", "user:2"], Duration::from_secs(60), |keys| {
    ///     // Query the database here, once for all keys.
    ///     Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")))
    /// })?;
    /// assert_eq!(answers.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many_with<K, M, N, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
        mut loader: impl FnMut(Vec<Key>) -> Result<M, E>,
    ) -> BatchResult<Answer, LoadError<E>>
    where
        K: AsRef<[u8]>,
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        check_ttl(ttl)?;
        let (near, options) = (self.near_reader(), *self.options());
        let mut batch = near.get_many(keys, options, near.instant(&options));
        let options = LoadOptions::new(ttl, options);
        if let Some(request) = GetManyWith::rest(&mut batch, options) {
            let found = self.run_with(request, |keys| LoadResult::many(loader(keys)))?;
            return Ok(batch.fill(found));
        }
        Ok(batch.into_answers())
    }
}
