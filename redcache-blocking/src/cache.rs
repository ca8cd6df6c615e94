//! The cache as an application sees it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_adapter::{coarse_now, new_seed};
use redcache_core::{
    Answer, Batch, BatchResult, BoxError, CallError, CallOptions, Config, Engine, Error,
    IntoConfig, Key, LoadError, LoadOptions, Loaded, NearHit, Notice, Observer, OpId, Outcome,
    RefreshOptions, Source, Stats, check_ttl,
};

use crate::call::{self, Call, Turn};
use crate::refresh::RefreshingCache;
use crate::shared::Shared;
use crate::{listener, timer};

/// A cache-aside cache over one Redis, with a near cache in this process, for synchronous code.
///
/// Handles are cheap to clone and share one connection and one near cache; threads may share a handle, too. When the
/// last one is dropped, locks are released and the connection is closed in the background; [`close`](Self::close)
/// waits for that.
///
/// Every call blocks its thread until it has an answer. It ends by itself: each step that waits for Redis within
/// `command_timeout`, whatever the server does, and a load of another caller within `load_timeout`. The only part that
/// no limit can end is the loader of the call itself, which runs on the thread that called.
///
/// # Examples
///
/// ```no_run
/// use redcache_blocking::Cache;
///
/// let cache = Cache::connect("redis://localhost:6379")?;
/// std::thread::scope(|scope| {
///     for key in ["user:1", "user:2"] {
///         let cache = &cache;
///         scope.spawn(move || println!("{:?}", cache.get(key)));
///     }
/// });
/// cache.close();
/// # Ok::<(), redcache_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    handle: Arc<Handle>,
    options: CallOptions,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.step(|state, now| state.engine.close(now));
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared().lock();
        f.debug_struct("Cache")
            .field("servers", state.engine.config().servers())
            .field("connected", &state.engine.is_connected())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Connects to the server that a URL or a [`Config`] names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a wrong setting; otherwise why the first attempt to connect
    /// failed. To open a cache while its server may be away, use [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redcache_blocking::{Cache, ErrorKind};
    ///
    /// match Cache::connect("redis://localhost:6379/?command_timeout=250ms") {
    ///     Ok(cache) => println!("{cache:?}"),
    ///     Err(error) => eprintln!("no cache: {error}"),
    /// }
    /// ```
    pub fn connect(config: impl IntoConfig) -> Result<Self, Error> {
        let config = config.into_config()?;
        let cache = Self::open(config)?;
        cache.ready()?;
        Ok(cache)
    }

    /// Opens a cache without waiting for its connection; calls wait for it as long as `command_timeout` allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the operating system has no randomness or no
    /// thread to give.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redcache_blocking::{Cache, Config};
    ///
    /// let cache = Cache::open(Config::builder().server("localhost", 6379).build().unwrap())?;
    /// cache.on_notice(|notice| eprintln!("redis: {notice}"));
    /// # Ok::<(), redcache_blocking::Error>(())
    /// ```
    pub fn open(config: Config) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(config, &new_seed()?));
        // From here on, dropping the handle ends what has been started.
        let cache = Self { handle: Arc::new(Handle { shared }), options: CallOptions::new() };
        timer::start(&cache.handle.shared).map_err(Error::no_thread)?;
        listener::start(&cache.handle.shared).map_err(Error::no_thread)?;
        Ok(cache)
    }

    /// Waits until the first attempt to connect has succeeded or failed, for `connect_timeout` at most.
    ///
    /// # Errors
    ///
    /// Why the latest attempt failed. Others follow in the background.
    pub fn ready(&self) -> Result<(), Error> {
        self.shared().wait_connected()
    }

    /// Gives a handle of the same cache whose calls are made with `options`. It costs no more than a clone, so it may be
    /// made for one call, or kept.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use redcache_blocking::CallOptions;
    ///
    /// let urgent = cache.with_options(CallOptions::new().timeout(Duration::from_millis(200)));
    /// let answer = urgent.get("user:42")?;
    /// let newest = cache
    ///     .with_options(CallOptions::new().reload())
    ///     .get_with("user:42", Duration::from_secs(60), || { Ok::<_, std::io::Error>("Ada") })?;
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
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let key = key.as_ref();
        if let Some(hit) = self.near(key) {
            return Ok(hit.into());
        }
        let key = Key::copy_from(key);
        let mut call = self.begin(|engine, now| engine.get(now, key))?;
        loop {
            if let Turn::Done(Outcome::Answer(result)) = call.turn() {
                return result.map_err(Error::from);
            }
        }
    }

    /// Reads several keys, what is not near in one pipeline. There is one answer for each key, in their order.
    ///
    /// # Errors
    ///
    /// The outer error when the call as a whole cannot be made; the inner ones concern one key each.
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
        let mut batch = self.ask_near(keys);
        if batch.is_complete() {
            return Ok(batch.into_answers());
        }
        let far = batch.take_far();
        let mut call = self.begin(|engine, now| engine.get_many(now, far))?;
        loop {
            if let Turn::Done(Outcome::Answers(found)) = call.turn() {
                return Ok(batch.fill(found));
            }
        }
    }

    /// Reads a key; on a miss runs `loader`, once for all who ask at the same time, in this process and in all others
    /// that share the Redis, and stores what it gives for `ttl` (1 ms or more).
    ///
    /// The loader runs on the calling thread, so it may borrow and need not be `Send`. Should it panic, the next caller
    /// in line runs its own, and the panic goes on through this call. A loader cannot be interrupted: once it has taken
    /// longer than `load_timeout`, others no longer wait for it, and this call fails when it comes back.
    ///
    /// # Errors
    ///
    /// [`LoadError::Loader`] when the loader failed, be it this call's or that of a call it had joined; otherwise the
    /// cache's own trouble. A value that was loaded is returned also when it cannot be stored.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answer = cache.get_with("user:42", Duration::from_secs(60), || {
    ///     // Ask the database.
    ///     Ok::<_, std::io::Error>(Some("Ada"))
    /// })?;
    /// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_with<L, T, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: L,
    ) -> Result<Answer, LoadError<E>>
    where
        L: FnOnce() -> Result<T, E>,
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
        match call::load(self.shared(), self.options, begin, loader)? {
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
    /// The loader runs on the calling thread, as that of [`get_with`](Self::get_with) does.
    ///
    /// # Errors
    ///
    /// The outer error when the call as a whole cannot be made; the inner ones concern one key each.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let answers = cache.get_many_with(["user:1", "user:2"], Duration::from_secs(60), |keys| {
    ///     // Ask the database for all of them at once.
    ///     Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")).collect::<Vec<_>>())
    /// })?;
    /// assert_eq!(answers.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many_with<K, L, M, N, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
        loader: L,
    ) -> BatchResult<Answer, LoadError<E>>
    where
        K: AsRef<[u8]>,
        L: FnMut(Vec<Key>) -> Result<M, E>,
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
        match call::load_many(self.shared(), self.options, begin, loader)? {
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
    /// the time that it had left. The same happens if the cache is closed before the end.
    /// [`Loaded::not_found`] is stored as such. Writes of one key take turns, in this process and with all others that
    /// share the Redis; the loader of each runs.
    ///
    /// The old value is kept by this process alone: if it is killed, the key is free again when the lock has expired,
    /// and empty. The same goes for a connection that is lost in the very moment of locking.
    ///
    /// The loader runs on the calling thread, as that of [`get_with`](Self::get_with) does.
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
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// cache.insert_with("user:42", Duration::from_secs(60), || {
    ///     // Change the row, then give what the cache is to hold.
    ///     Ok::<_, std::io::Error>("Ada Lovelace")
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_with<L, T, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: L,
    ) -> Result<bool, LoadError<E>>
    where
        L: FnOnce() -> Result<T, E>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        let key = Key::copy_from(key.as_ref());
        let begin = |engine: &mut Engine, now| engine.insert_with(now, key, ttl);
        match call::load(self.shared(), self.options, begin, loader)? {
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
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let stock = ["stock:1", "stock:2"];
    /// let outcomes = cache.insert_many_with(stock, Duration::from_secs(60), |keys| {
    ///     // Change the rows, then give what the cache is to hold.
    ///     Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "7")).collect::<Vec<_>>())
    /// })?;
    /// for outcome in outcomes {
    ///     outcome?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_many_with<K, L, M, N, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
        loader: L,
    ) -> BatchResult<bool, LoadError<E>>
    where
        K: AsRef<[u8]>,
        L: FnOnce(Vec<Key>) -> Result<M, E>,
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
        match call::load_many(self.shared(), self.options, begin, once)? {
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
    /// When the value cannot be stored, or Redis cannot be told or refuses.
    /// [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) leaves open whether it was written.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// use std::time::Duration;
    ///
    /// cache.insert("user:42", "Ada", Duration::from_secs(60))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), Error> {
        let (key, value) = (Key::copy_from(key.as_ref()), value.into());
        self.write(|engine, now| engine.insert(now, key, value, ttl)).map(|_| ())
    }

    /// Writes several values in one pipeline. There is one outcome for each, in their order.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert); the outer error when the call as a whole cannot be made.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// use std::time::Duration;
    ///
    /// let users = [("user:1", "Ada"), ("user:2", "Grace")];
    /// for outcome in cache.insert_many(users, Duration::from_secs(60))? {
    ///     outcome?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_many<K: AsRef<[u8]>, V: Into<Bytes>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Duration,
    ) -> BatchResult<()> {
        let entry = |(key, value): (K, V)| (Key::copy_from(key.as_ref()), value.into());
        let entries = entries.into_iter().map(entry).collect();
        let written = self.write_many(|engine, now| engine.insert_many(now, entries, ttl))?;
        Ok(written.into_iter().map(|result| result.map(|_| ())).collect())
    }

    /// Deletes a key everywhere; says whether it was there. A load of it that is under way anywhere will not be
    /// stored. Call this after the database has committed: this cache no longer gives the old value when the call has
    /// returned, those of other processes from when Redis's push has reached them.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// let was_cached = cache.remove("user:42")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = Key::copy_from(key.as_ref());
        self.write(|engine, now| engine.remove(now, key))
    }

    /// Deletes several keys in one pipeline. There is one outcome for each, in their order.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// let outcomes = cache.remove_many(["user:1", "user:2"])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<bool> {
        let keys = copy_keys(keys);
        self.write_many(|engine, now| engine.remove_many(now, keys))
    }

    /// Gives a value a new time to live of `ttl` (1 ms or more); says whether there was one. Redis reports this as a
    /// change, so every near cache drops the key.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// use std::time::Duration;
    ///
    /// let was_there = cache.touch("session:42", Duration::from_secs(1800))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        let key = Key::copy_from(key.as_ref());
        self.write(|engine, now| engine.touch(now, key, ttl))
    }

    /// Gives several values a new time to live. There is one outcome for each, in their order.
    ///
    /// # Errors
    ///
    /// As for [`insert_many`](Self::insert_many).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::Error> {
    /// use std::time::Duration;
    ///
    /// let sessions = ["session:1", "session:2"];
    /// let outcomes = cache.touch_many(sessions, Duration::from_secs(1800))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn touch_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        ttl: Duration,
    ) -> BatchResult<bool> {
        let keys = copy_keys(keys);
        self.write_many(|engine, now| engine.touch_many(now, keys, ttl))
    }

    /// Registers a loader that also refreshes values in the background before they expire, for those who read through
    /// the handle that this gives. A refresh runs once for all processes that share the Redis, redcache for Go included,
    /// and replaces a value only where it is still the one that was due; until then the old value is given. Keys that
    /// are due at the same time are loaded together. After a failure the loader rests for a while.
    ///
    /// The loader is given the names of the keys and gives their values; a key that it leaves out is not found. It runs
    /// on a thread of its own when it refreshes, and [`close`](Self::close) does not wait for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for options that cannot be.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use redcache_blocking::RefreshOptions;
    ///
    /// let users = cache.refreshing(RefreshOptions::new(Duration::from_secs(60)), |keys| {
    ///     // Ask the database for all of them at once.
    ///     Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, "Ada")).collect::<Vec<_>>())
    /// })?;
    /// let answer = users.get("user:42")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn refreshing<L, M, N, T, E>(
        &self,
        options: RefreshOptions,
        loader: L,
    ) -> Result<RefreshingCache<E>, Error>
    where
        L: Fn(Vec<Key>) -> Result<M, E> + Send + Sync + 'static,
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
    /// use redcache_blocking::{Observer, Source};
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
    /// # fn example(cache: redcache_blocking::Cache) {
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
    /// replaces an earlier listener.
    ///
    /// It is called on a thread that does nothing else, so it may take its time and may use the cache. While it does,
    /// the latest few notices are kept for it. One that owns a handle keeps the cache open until [`close`](Self::close).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// cache.on_notice(|notice| eprintln!("redis: {notice}"));
    /// # }
    /// ```
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        listener::listen(self.shared(), Arc::new(listener));
    }

    /// Ends every call with [`ErrorKind::Closed`](crate::ErrorKind::Closed), releases the locks that this process
    /// holds, closes the connection and joins the threads, for about a second at most. Other handles are closed with
    /// it.
    ///
    /// A loader that is running is not interrupted, only its call has failed when it comes back. Two threads are not
    /// waited for and end on their own: one that is just trying to connect, within `connect_timeout`, and that of a
    /// listener, once the listener returns.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// cache.close();
    /// assert_eq!(cache.get("key").unwrap_err().kind(), redcache_blocking::ErrorKind::Closed);
    /// # }
    /// ```
    pub fn close(&self) {
        self.shared().step(|state, now| state.engine.close(now));
        self.shared().wait_closed();
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    pub(crate) fn shared_arc(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    pub(crate) fn options(&self) -> CallOptions {
        self.options
    }

    /// Hands a call to the engine, with its deadline.
    fn begin(
        &self,
        begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    ) -> Result<Call<'_>, Error> {
        Call::begin(self.shared(), self.options, begin)
    }

    pub(crate) fn near(&self, key: &[u8]) -> Option<NearHit> {
        if !self.options.asks_near() {
            return None;
        }
        let hit = self.shared().near.get(key, coarse_now)?;
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
        let note = |_: &[u8], _: &NearHit| self.note_near();
        Batch::ask_and_note(&self.shared().near, keys, self.options, coarse_now(), note)
    }

    fn write(
        &self,
        begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    ) -> Result<bool, Error> {
        let mut call = self.begin(begin)?;
        loop {
            if let Turn::Done(Outcome::Written(result)) = call.turn() {
                return result;
            }
        }
    }

    fn write_many(
        &self,
        begin: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    ) -> BatchResult<bool> {
        let mut call = self.begin(begin)?;
        loop {
            if let Turn::Done(Outcome::WrittenMany(results)) = call.turn() {
                return Ok(results);
            }
        }
    }
}

fn copy_keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Vec<Key> {
    keys.into_iter().map(|key| Key::copy_from(key.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use redcache_sim::listen::EmbeddedServer;

    use super::*;

    #[test]
    fn close_has_joined_every_thread_but_the_listeners() {
        let server = EmbeddedServer::start().unwrap();
        let cache = Cache::connect(server.url()).unwrap();
        let owners = |cache: &Cache| Arc::strong_count(&cache.handle.shared);
        // This handle, and the threads that keep time, read, write and tell of notices.
        assert_eq!(owners(&cache), 5);
        cache.close();
        assert!(owners(&cache) <= 2, "{} owners", owners(&cache));
    }

    #[test]
    fn a_near_hit_takes_no_lock_of_the_engine() {
        let server = EmbeddedServer::start().unwrap();
        let cache = Cache::connect(server.url()).unwrap();
        let load = || Ok::<_, String>("Ada");
        let ttl = Duration::from_secs(60);
        cache.get_with("user:1", ttl, load).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let reader = cache.clone();
        let locked = cache.shared().lock();
        std::thread::spawn(move || {
            tell.send(reader.get("user:1").unwrap().source).unwrap();
            tell.send(reader.get_with("user:1", ttl, load).unwrap().source).unwrap();
            tell.send(reader.get_many(["user:1"]).unwrap()[0].as_ref().unwrap().source).unwrap();
        });
        for _ in 0..3 {
            let source = told.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(source, Source::Near);
        }
        drop(locked);
    }
}
