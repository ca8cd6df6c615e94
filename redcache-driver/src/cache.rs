//! The cache as an application sees it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use redcache_adapter::new_seed;
use redcache_core::{
    Answer, Batch, BatchResult, BoxError, CallError, CallOptions, Config, Engine, Error,
    IntoConfig, Key, LoadError, LoadOptions, Loaded, NearHit, Notice, Observer, OpId, Outcome,
    RefreshOptions, Seed, Source, Stats, check_ttl,
};

use crate::call::{self, Call};
use crate::driver;
use crate::refresh::RefreshingCache;
use crate::runtime::Runtime;
use crate::shared::{Shared, Turn};

/// A cache-aside cache over one Redis, with a near cache in this process.
///
/// Handles are cheap to clone and share one connection and one near cache. When the last one is dropped, locks are
/// released and the connection is closed in the background; [`close`](Self::close) waits for that.
///
/// Every call may be dropped at any time: a load that it ran goes to the next caller in line, a lock that it held is
/// released, and nothing that others wait for is lost.
pub struct Cache<R: Runtime> {
    handle: Arc<Handle<R>>,
    options: CallOptions,
}

struct Handle<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.shared.step(|state, now| state.engine.close(now));
    }
}

impl<R: Runtime> Clone for Cache<R> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), options: self.options }
    }
}

impl<R: Runtime> fmt::Debug for Cache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared().lock();
        f.debug_struct("Cache")
            .field("servers", state.engine.config().servers())
            .field("connected", &state.engine.is_connected())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime + Default> Cache<R> {
    /// Connects to the server that a URL or a [`Config`] names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a wrong setting; otherwise why the first attempt to connect failed. To open a cache
    /// while its server may be away, use [`open`](Self::open).
    pub async fn connect(config: impl IntoConfig) -> Result<Self, Error> {
        let config = config.into_config()?;
        let cache = Self::open(config, R::default())?;
        cache.ready().await?;
        Ok(cache)
    }
}

impl<R: Runtime> Cache<R> {
    /// Opens a cache on `runtime` without waiting for its connection; calls wait for it as long as
    /// `command_timeout` allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the operating system has no randomness to give.
    ///
    /// # Panics
    ///
    /// Where the runtime's `spawn` does, for tokio outside of a runtime.
    pub fn open(config: Config, runtime: R) -> Result<Self, Error> {
        Ok(Self::open_seeded(config, &new_seed()?, runtime))
    }

    pub(crate) fn open_seeded(config: Config, seed: &Seed, runtime: R) -> Self {
        let shared = Arc::new(Shared::new(config, seed, runtime));
        driver::start(&shared);
        Self { handle: Arc::new(Handle { shared }), options: CallOptions::new() }
    }

    /// Waits until the first attempt to connect has succeeded or failed.
    ///
    /// # Errors
    ///
    /// Why the latest attempt failed. Others follow in the background.
    pub async fn ready(&self) -> Result<(), Error> {
        poll_fn(|cx| {
            let mut state = self.shared().lock();
            if state.closed {
                return Poll::Ready(Err(Error::closed()));
            }
            match &state.connected {
                Some(Ok(())) => Poll::Ready(Ok(())),
                Some(Err(reason)) => Poll::Ready(Err(reason.clone())),
                None => {
                    state.watchers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Gives a handle of the same cache whose calls are made with `options`. It costs no more than a clone, so it may be
    /// made for one call, or kept.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example<R: redcache_driver::Runtime>(cache: redcache_driver::Cache<R>) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use redcache_driver::CallOptions;
    ///
    /// let urgent = cache.with_options(CallOptions::new().timeout(Duration::from_millis(200)));
    /// let answer = urgent.get("user:42").await?;
    /// let newest = cache
    ///     .with_options(CallOptions::new().reload())
    ///     .get_with("user:42", Duration::from_secs(60), || async { Ok::<_, std::io::Error>("Ada") })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { handle: Arc::clone(&self.handle), options }
    }

    /// Reads a key from the near cache or else from Redis. Nothing is loaded; a key that somebody is loading counts
    /// as missing.
    ///
    /// # Errors
    ///
    /// When Redis cannot be asked or refuses.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let key = key.as_ref();
        if let Some(hit) = self.near(key) {
            return Ok(hit.into());
        }
        let key = Key::copy_from(key);
        let mut call = self.begin(|engine, now| engine.get(now, key)).await?;
        loop {
            if let Turn::Done(Outcome::Answer(result)) = call.turn().await {
                return result.map_err(Error::from);
            }
        }
    }

    /// Reads several keys, what is not near in one pipeline. There is one answer for each key, in their order.
    ///
    /// # Errors
    ///
    /// The outer error when the call as a whole cannot be made; the inner ones concern one key each.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<Answer> {
        let mut batch = self.ask_near(keys);
        if batch.is_complete() {
            return Ok(batch.into_answers());
        }
        let far = batch.take_far();
        let mut call = self.begin(|engine, now| engine.get_many(now, far)).await?;
        loop {
            if let Turn::Done(Outcome::Answers(found)) = call.turn().await {
                return Ok(batch.fill(found));
            }
        }
    }

    /// Reads a key; on a miss runs `loader`, once for all who ask at the same time, in this process and in all others
    /// that share the Redis, and stores what it gives for `ttl` (1 ms or more).
    ///
    /// The loader runs in this very future, so it may borrow and need not be `Send`. Should this future be dropped
    /// while it runs, or the loader panic, the next caller in line runs its own.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`] when the loader failed, be it this call's or that of a call it had joined; otherwise the
    /// cache's own trouble. A value that was loaded is returned also when it cannot be stored.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example<R: redcache_driver::Runtime>(cache: redcache_driver::Cache<R>) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answer = cache
    ///     .get_with("user:42", Duration::from_secs(60), || async {
    ///         // Ask the database.
    ///         Ok::<_, std::io::Error>(Some("Ada"))
    ///     })
    ///     .await?;
    /// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
    /// # Ok(())
    /// # }
    /// ```
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
        let key = key.as_ref();
        if let Some(hit) = self.near(key) {
            return Ok(hit.into());
        }
        let key = Key::copy_from(key);
        let options = LoadOptions::new(ttl, self.options);
        let begin = |engine: &mut Engine, now| engine.get_with(now, key, options);
        match call::load(self.shared(), self.options, begin, loader).await? {
            Outcome::Answer(result) => result.map_err(LoadError::from),
            other => unreachable!("`get_with` ended with {other:?}"),
        }
    }

    /// Reads several keys; for those that nobody has, runs `loader` with their names, in one go as far as they are
    /// free at once, and stores what it gives for `ttl` (1 ms or more). Keys that others are loading are waited for
    /// while the own load runs; one that becomes free without a value is loaded in a further go.
    ///
    /// A key that the loader leaves out is not found, and remembered as such. One that it was not asked for is
    /// ignored. Duplicates are loaded once. There is one answer for each key, in their order.
    ///
    /// # Errors
    ///
    /// The outer error when the call as a whole cannot be made; the inner ones concern one key each.
    pub async fn get_many_with<K, L, F, M, N, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
        loader: L,
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
        check_ttl(ttl)?;
        let mut batch = self.ask_near(keys);
        if batch.is_complete() {
            return Ok(batch.into_answers());
        }
        let far = batch.take_far();
        let options = LoadOptions::new(ttl, self.options);
        let begin = |engine: &mut Engine, now| engine.get_many_with(now, far, options);
        match call::load_many(self.shared(), self.options, begin, loader).await? {
            Outcome::Answers(found) => Ok(batch.fill(found)),
            other => unreachable!("`get_many_with` ended with {other:?}"),
        }
    }

    /// Locks a key in the place of its value, runs `loader` and stores what it gives for `ttl` (1 ms or more); says
    /// whether there was something to store. For a change that has to be made elsewhere too, such as a row: nobody
    /// loads the key meanwhile, nobody sees its old value any more, and who asks for it waits for the new one.
    ///
    /// If the loader fails, panics, takes longer than `load_timeout` or gives what is not to be stored
    /// ([`Loaded::do_not_store`], for which the result is `false`), the old value is put back, byte for byte and with
    /// the time that it had left. The same happens if this future is dropped or the cache closed before the end.
    /// [`Loaded::not_found`] is stored as such. Writes of one key take turns, in this process and with all others that
    /// share the Redis; the loader of each runs.
    ///
    /// The old value is kept by this process alone: if it is killed, the key is free again when the lock has expired,
    /// and empty. The same goes for a connection that is lost in the very moment of locking.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`] when the loader failed. [`ErrorKind::LockLost`](crate::ErrorKind::LockLost) when somebody has
    /// removed or overwritten the key meanwhile, which prevails: the value was not stored.
    /// [`ErrorKind::LockTimeout`](crate::ErrorKind::LockTimeout) when others kept the key locked; the loader did not
    /// run then. Otherwise the cache's own trouble; [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) and
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) leave open whether the value was stored. A failed call says
    /// nothing of what the loader itself has done.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example<R: redcache_driver::Runtime>(cache: redcache_driver::Cache<R>) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// cache
    ///     .insert_with("user:42", Duration::from_secs(60), || async {
    ///         // Change the row, then give what the cache is to hold.
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
        let key = Key::copy_from(key.as_ref());
        let begin = |engine: &mut Engine, now| engine.insert_with(now, key, ttl);
        match call::load(self.shared(), self.options, begin, loader).await? {
            Outcome::Stored(result) => result.map_err(LoadError::from),
            other => unreachable!("`insert_with` ended with {other:?}"),
        }
    }

    /// The same for several keys: locks them all, then runs `loader` once with their names. There is one outcome for
    /// each, in their order. No lock is kept while one of them has to be waited for, so batches that overlap do not
    /// block each other.
    ///
    /// A key that the loader leaves out keeps its old value, and its outcome is `false`. One that it was not asked for
    /// is ignored. Duplicates are written once. A key that cannot be locked because of what it holds fails alone; the
    /// loader is not asked for it.
    ///
    /// # Errors
    ///
    /// The outer error when the call as a whole cannot be made; the inner ones concern one key each, and are those of
    /// [`insert_with`](Self::insert_with). With others in the way of some keys beyond all patience, all fail.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example<R: redcache_driver::Runtime>(cache: redcache_driver::Cache<R>) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let outcomes = cache
    ///     .insert_many_with(["stock:1", "stock:2"], Duration::from_secs(60), |keys| async {
    ///         // Change the rows, then give what the cache is to hold.
    ///         Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "7")).collect::<Vec<_>>())
    ///     })
    ///     .await?;
    /// for outcome in outcomes {
    ///     outcome?;
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
        let keys = copy_keys(keys);
        let begin = |engine: &mut Engine, now| engine.insert_many_with(now, keys, ttl);
        let mut loader = Some(loader);
        // A write is asked for its load at most once.
        let once = |keys| loader.take().expect("a write loads at most once")(keys);
        match call::load_many(self.shared(), self.options, begin, once).await? {
            Outcome::StoredMany(results) => {
                Ok(results.into_iter().map(|result| result.map_err(LoadError::from)).collect())
            }
            other => unreachable!("`insert_many_with` ended with {other:?}"),
        }
    }

    /// Writes a value for `ttl` (1 ms or more), whatever the key holds. Loads of the key that are under way anywhere
    /// are given to their callers and not stored.
    ///
    /// # Errors
    ///
    /// When the value cannot be stored, or Redis cannot be told or refuses. [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) leaves open
    /// whether it was written.
    pub async fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), Error> {
        let (key, value) = (Key::copy_from(key.as_ref()), value.into());
        self.write(|engine, now| engine.insert(now, key, value, ttl)).await.map(|_| ())
    }

    /// Writes several values in one pipeline. There is one outcome for each, in their order.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert); the outer error when the call as a whole cannot be made.
    pub async fn insert_many<K: AsRef<[u8]>, V: Into<Bytes>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Duration,
    ) -> BatchResult<()> {
        let entry = |(key, value): (K, V)| (Key::copy_from(key.as_ref()), value.into());
        let entries = entries.into_iter().map(entry).collect();
        let written = self.write_many(|engine, now| engine.insert_many(now, entries, ttl)).await?;
        Ok(written.into_iter().map(|result| result.map(|_| ())).collect())
    }

    /// Deletes a key everywhere; says whether it was there. A load of it that is under way anywhere will not be
    /// stored. Call this after the database has committed: this cache no longer gives the old value when the call has
    /// returned, those of other processes from when Redis's push has reached them.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = Key::copy_from(key.as_ref());
        self.write(|engine, now| engine.remove(now, key)).await
    }

    /// Deletes several keys in one pipeline. There is one outcome for each, in their order.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    pub async fn remove_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<bool> {
        let keys = copy_keys(keys);
        self.write_many(|engine, now| engine.remove_many(now, keys)).await
    }

    /// Gives a value a new time to live of `ttl` (1 ms or more); says whether there was one. Redis reports this as a
    /// change, so every near cache drops the key.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    pub async fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        let key = Key::copy_from(key.as_ref());
        self.write(|engine, now| engine.touch(now, key, ttl)).await
    }

    /// Gives several values a new time to live. There is one outcome for each, in their order.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    pub async fn touch_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
    ) -> BatchResult<bool> {
        let keys = copy_keys(keys);
        self.write_many(|engine, now| engine.touch_many(now, keys, ttl)).await
    }

    /// Registers a loader that also refreshes values in the background before they expire, for those who read through
    /// the handle that this gives. A refresh runs once for all processes that share the Redis, redcache for Go included,
    /// and replaces a value only where it is still the one that was due; until then the old value is given. Keys that
    /// are due at the same time are loaded together. After a failure the loader rests for a while.
    ///
    /// The loader is given the names of the keys and gives their values; a key that it leaves out is not found.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for options that cannot be.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example<R: redcache_driver::Runtime>(cache: redcache_driver::Cache<R>) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use redcache_driver::RefreshOptions;
    ///
    /// let users = cache.refreshing(RefreshOptions::new(Duration::from_secs(60)), |keys| async move {
    ///     // Ask the database for all of them at once.
    ///     Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")).collect::<Vec<_>>())
    /// })?;
    /// let answer = users.get("user:42").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn refreshing<L, F, M, N, T, E>(
        &self,
        options: RefreshOptions,
        loader: L,
    ) -> Result<RefreshingCache<R, E>, Error>
    where
        L: Fn(Vec<Key>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<M, E>> + Send + 'static,
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        RefreshingCache::new(self.clone(), options, loader)
    }

    /// Has `observer` told of every answer, load, wait, round trip and refresh from now on. There is one for a cache; the
    /// first stays, and this says whether it is `observer`. `redcache-observe` has observers for the crates `tracing` and
    /// `metrics`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redcache_driver::{Observer, Source};
    ///
    /// struct Hits(std::sync::atomic::AtomicU64);
    ///
    /// impl Observer for Hits {
    ///     fn on_answer(&self, source: Source) {
    ///         if source == Source::Near {
    ///             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    ///         }
    ///     }
    /// }
    ///
    /// # fn example<R: redcache_driver::Runtime>(cache: redcache_driver::Cache<R>) {
    /// cache.observe(Hits(0.into()));
    /// # }
    /// ```
    pub fn observe(&self, observer: impl Observer + 'static) -> bool {
        let is_first = self.shared().observer.set(observer);
        if is_first {
            self.shared().step(|state, _| state.engine.observe());
        }
        is_first
    }

    /// Gives the counters.
    pub fn stats(&self) -> Stats {
        self.shared().lock().engine.stats()
    }

    /// Whether the server reports changes, so that the near cache is in use. `false` also while there is no
    /// connection.
    pub fn is_tracked(&self) -> bool {
        self.shared().lock().engine.is_tracked()
    }

    /// Has `listener` told of connections and of what an operator should know, from the latest few notices on. It
    /// replaces an earlier listener. It is called from whichever task caused the notice and must not block.
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        self.shared().listen(Box::new(listener));
    }

    /// Ends every call with [`ErrorKind::Closed`](crate::ErrorKind::Closed), releases the locks that this process holds, closes the connection
    /// and waits for the background tasks, for about a second at most. Other handles are closed with it.
    pub async fn close(&self) {
        self.shared().step(|state, now| state.engine.close(now));
        poll_fn(|cx| {
            let mut state = self.shared().lock();
            if state.closed && state.tasks == 0 {
                return Poll::Ready(());
            }
            state.watchers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn shared(&self) -> &Shared<R> {
        &self.handle.shared
    }

    pub(crate) fn shared_arc(&self) -> &Arc<Shared<R>> {
        &self.handle.shared
    }

    pub(crate) fn options(&self) -> CallOptions {
        self.options
    }

    /// Hands a call to the engine, with its deadline.
    async fn begin(
        &self,
        begin: impl FnOnce(&mut Engine, std::time::Instant) -> Result<OpId, Error>,
    ) -> Result<Call<'_, R>, Error> {
        Call::begin(self.shared(), self.options, begin).await
    }

    pub(crate) fn near(&self, key: &[u8]) -> Option<NearHit> {
        if !self.options.asks_near() {
            return None;
        }
        let hit = self.shared().near.get(key, || self.shared().runtime.coarse_now())?;
        self.note_near();
        Some(hit)
    }

    pub(crate) fn note_near(&self) {
        self.shared().observer.tell(|observer| observer.on_answer(Source::Near));
    }

    fn ask_near<K: AsRef<[u8]>, E: From<CallError>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Batch<E> {
        let now = self.shared().runtime.coarse_now();
        let note = |_: &[u8], _: &NearHit| self.note_near();
        Batch::ask_and_note(&self.shared().near, keys, self.options, now, note)
    }

    async fn write(
        &self,
        begin: impl FnOnce(&mut Engine, std::time::Instant) -> Result<OpId, Error>,
    ) -> Result<bool, Error> {
        let mut call = self.begin(begin).await?;
        loop {
            if let Turn::Done(Outcome::Written(result)) = call.turn().await {
                return result;
            }
        }
    }

    async fn write_many(
        &self,
        begin: impl FnOnce(&mut Engine, std::time::Instant) -> Result<OpId, Error>,
    ) -> BatchResult<bool> {
        let mut call = self.begin(begin).await?;
        loop {
            if let Turn::Done(Outcome::WrittenMany(results)) = call.turn().await {
                return Ok(results);
            }
        }
    }
}

fn copy_keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Vec<Key> {
    keys.into_iter().map(|key| Key::copy_from(key.as_ref())).collect()
}
