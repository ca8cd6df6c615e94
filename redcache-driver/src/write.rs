//! The calls that write.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use redcache_adapter::{
    Change, Committed, Insert, InsertMany, InsertManyWith, InsertWith, LoadResult, Remove,
    RemoveMany, Request, Touch, TouchMany,
};
use redcache_core::{BatchResult, BoxError, Error, Key, LoadError, Loaded};

use crate::cache::Cache;
use crate::call;

impl Cache {
    /// Write a value for `ttl` (1 ms or more). It replaces any other content of the key.
    ///
    /// The TTL counts from the call. A write that reaches Redis after its end deletes the key.
    ///
    /// A load of the key in progress, in any process, reaches its callers and is not stored.
    ///
    /// # Cancellation
    ///
    /// Redis may still execute a dropped call.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] if the value is too large or the TTL too short; nothing was sent then.
    /// [`Unavailable`], [`Overloaded`] or [`Server`] if nothing was written. [`Timeout`] or
    /// [`OutcomeUnknown`] if Redis may have executed the write.
    ///
    /// [`InvalidInput`]: crate::ErrorKind::InvalidInput
    /// [`Unavailable`]: crate::ErrorKind::Unavailable
    /// [`Overloaded`]: crate::ErrorKind::Overloaded
    /// [`Server`]: crate::ErrorKind::Server
    /// [`Timeout`]: crate::ErrorKind::Timeout
    /// [`OutcomeUnknown`]: crate::ErrorKind::OutcomeUnknown
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// use std::time::Duration;
    ///
    /// cache.insert("user:42", "Ada", Duration::from_secs(60)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), Error> {
        self.run(Insert::new(key.as_ref(), value, ttl)).await
    }

    /// Write several values in one pipeline.
    ///
    /// There is one result per entry, in the order of the entries.
    ///
    /// # Cancellation
    ///
    /// Redis may still execute a dropped call, for some entries or all.
    ///
    /// # Errors
    ///
    /// The outer error means that the call failed as a whole and nothing was sent. An inner error
    /// concerns one entry, as for [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// use std::time::Duration;
    ///
    /// let users = [("user:1", "Ada"), ("user:2", "Grace")];
    /// for result in cache.insert_many(users, Duration::from_secs(60)).await? {
    ///     result?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert_many<K: AsRef<[u8]>, V: Into<Bytes>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Duration,
    ) -> BatchResult<()> {
        self.run(InsertMany::new(entries, ttl)).await
    }

    /// Delete a key in Redis and in every near cache. Return `true` if Redis had it.
    ///
    /// A load of the key in progress, in any process, is not stored. Call this after the database
    /// has committed: once it returns, this cache no longer returns the old value. Other processes
    /// return it until Redis's invalidation reaches them.
    ///
    /// If Redis cannot be reached, the call fails, and the cache keeps the key. It repeats the
    /// removal once Redis replies, unless a newer write of this cache has succeeded by then;
    /// [`Observer::on_removal`](crate::Observer::on_removal) reports it. The setting
    /// `kept_removals_max` limits the number of keys.
    ///
    /// # Cancellation
    ///
    /// Redis may still execute a dropped call.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// let was_cached = cache.remove("user:42").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.run(Remove::new(key.as_ref())).await
    }

    /// Delete several keys in one pipeline.
    ///
    /// There is one result per key, in the order of the keys.
    ///
    /// # Cancellation
    ///
    /// Redis may still execute a dropped call, for some keys or all.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// for result in cache.remove_many(["user:1", "user:2"]).await? {
    ///     let was_cached = result?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<bool> {
        self.run(RemoveMany::new(keys)).await
    }

    /// Set the TTL of a value to `ttl` (1 ms or more). Return `true` if there was a value.
    ///
    /// Redis invalidates the key, so every near cache drops it.
    ///
    /// # Cancellation
    ///
    /// Redis may still execute a dropped call.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// use std::time::Duration;
    ///
    /// let was_cached = cache.touch("session:42", Duration::from_secs(1800)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        self.run(Touch::new(key.as_ref(), ttl)).await
    }

    /// Set the TTL of several values in one pipeline.
    ///
    /// There is one result per key, in the order of the keys.
    ///
    /// # Cancellation
    ///
    /// Redis may still execute a dropped call, for some keys or all.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::Error> {
    /// use std::time::Duration;
    ///
    /// let sessions = ["session:1", "session:2"];
    /// for result in cache.touch_many(sessions, Duration::from_secs(1800)).await? {
    ///     let was_cached = result?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn touch_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
    ) -> BatchResult<bool> {
        self.run(TouchMany::new(keys, ttl)).await
    }

    /// Lock a key, run `loader`, and write its value for `ttl` (1 ms or more). Return `true` if
    /// there was a value to write.
    ///
    /// Use it to change data that also lives elsewhere, such as a row of a database. While the
    /// loader runs, no other caller loads the key or reads its old value; they wait for the new
    /// one. Writes of one key take turns, in this process and in all others that share the Redis,
    /// and the loader of each write runs.
    ///
    /// The old value is restored, with the TTL that it had left, if the loader fails, panics or
    /// exceeds `load_timeout`, if it returns [`Loaded::do_not_store`] (the result is `false` then),
    /// or if the cache is closed. A loader that returns [`Loaded::not_found`] has the key stored as
    /// "not found".
    ///
    /// Only this process knows the old value. If the process is killed, or the connection is lost
    /// while the key is being locked, the key is empty once the lock has expired.
    ///
    /// # Cancellation
    ///
    /// The old value is restored if the call is dropped while the loader runs. After that, Redis
    /// may still execute the write.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`] if the loader failed. Otherwise [`LoadError::Cache`], with the kinds
    /// of [`insert`](Self::insert) and:
    ///
    /// - [`LockLost`](crate::ErrorKind::LockLost) if another caller removed or overwrote the key in
    ///   the meantime. That write prevails, and the value was not stored.
    /// - [`LockTimeout`](crate::ErrorKind::LockTimeout) if other callers kept the key locked. The
    ///   loader did not run.
    /// - [`LoadTimeout`](crate::ErrorKind::LoadTimeout) if the loader took too long.
    ///
    /// An error does not undo the effects of the loader itself.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// use std::time::Duration;
    ///
    /// cache
    ///     .insert_with("user:42", Duration::from_secs(60), || async {
    ///         // Change the row here, then return the value for the cache.
    ///         Ok::<_, std::io::Error>("Ada Lovelace")
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert_with<L, F, T, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: L,
    ) -> Result<bool, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        let (shared, request) = (self.shared(), InsertWith::new(key.as_ref(), ttl));
        let load = |_| loader();
        Ok(call::run_once(shared, *self.options(), request, load, LoadResult::one).await?)
    }

    /// Lock keys, run `commit`, which changes the data elsewhere, and remove the keys. Return the
    /// result of `commit`.
    ///
    /// While `commit` runs, no caller of any process reads an old value of the keys or loads a new
    /// one; they wait. A load that began earlier is not stored. `docs/writes.md` compares the call
    /// with a [`remove`](Self::remove) after the commit, which leaves a window.
    ///
    /// `commit` runs once all keys are locked. If a key cannot be locked, it does not run, and the
    /// old values are restored. Once it runs, the old values are lost, even if it fails. Neither
    /// `load_timeout` nor the timeout of the call interrupts it; its locks are renewed.
    ///
    /// A process that is killed during `commit` leaves the locks, which expire after `lock_ttl`.
    ///
    /// # Cancellation
    ///
    /// A dropped call restores the old values if `commit` has not begun. While `commit` runs, the
    /// change may still take effect, so the locks stay until they expire.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`] if `commit` failed. [`LoadError::Cache`] if it did not run, or was cut
    /// off because the cache closed: with the kinds of [`insert`](Self::insert) and
    /// [`LockTimeout`](crate::ErrorKind::LockTimeout), or with
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no key. A removal that fails
    /// after the commit is no error: it is repeated as for [`remove`](Self::remove), and the lock
    /// expires.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// let rows = cache
    ///     .change(["user:42", "users:newest"], || async {
    ///         // Change the rows here, in one transaction.
    ///         Ok::<_, std::io::Error>(1)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn change<K, L, F, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        commit: L,
    ) -> Result<T, LoadError<E>>
    where
        K: AsRef<[u8]>,
        L: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError> + 'static,
    {
        let (committed, request) = (Committed::new(), Change::new(keys));
        let commit = |_| commit();
        let keep = |result| committed.keep(result);
        let ended = call::run_once(self.shared(), *self.options(), request, commit, keep).await;
        committed.finish(ended)
    }

    /// Lock several keys, run `loader` once for all of them, and write its values for `ttl` (1 ms
    /// or more).
    ///
    /// The result of a key is `true` if there was a value to write. A key that the loader leaves
    /// out keeps its old value, and its result is `false`. A returned key that was not requested is
    /// ignored. Duplicates are written once. There is one result per key, in the order of the keys.
    ///
    /// The call holds no lock while it waits for another key, so overlapping batches do not block
    /// each other. A key whose content cannot be replaced by a lock fails alone, and is not passed
    /// to the loader. The old values are restored as for [`insert_with`](Self::insert_with).
    ///
    /// # Cancellation
    ///
    /// As for [`insert_with`](Self::insert_with), for each key.
    ///
    /// # Errors
    ///
    /// The outer error means that the call failed as a whole. An inner error concerns one key, as
    /// for [`insert_with`](Self::insert_with). If any key stays locked longer than
    /// `load_timeout + lock_ttl`, every key fails with
    /// [`LockTimeout`](crate::ErrorKind::LockTimeout).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// use std::time::Duration;
    ///
    /// let results = cache
    ///     .insert_many_with(["stock:1", "stock:2"], Duration::from_secs(60), |keys| async {
    ///         // Change the rows here, then return the values for the cache.
    ///         Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "7")))
    ///     })
    ///     .await?;
    /// for result in results {
    ///     result?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert_many_with<K, L, F, M, N, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
        loader: L,
    ) -> BatchResult<bool, LoadError<E>>
    where
        K: AsRef<[u8]>,
        L: FnOnce(Vec<Key>) -> F,
        F: Future<Output = Result<M, E>>,
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        let (shared, request) = (self.shared(), InsertManyWith::new(keys, ttl));
        let written = call::run_once(shared, *self.options(), request, loader, LoadResult::many);
        Ok(written.await?.into_iter().map(|result| result.map_err(LoadError::from)).collect())
    }

    async fn run<Q: Request>(&self, request: Q) -> Result<Q::Output, Q::Error> {
        call::run(self.shared(), *self.options(), request).await
    }
}
