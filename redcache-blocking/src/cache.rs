//! The public type `Cache`: its creation, options, state and end. The calls are in `read` and
//! `write`.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use redcache_adapter::{LoadResult, NearReader, Request, SharedHost, new_seed};
use redcache_core::{Answer, CallOptions, Config, Error, Health, IntoConfig, Key, Stats};

use crate::shared::Shared;
use crate::{call, timer};

/// A cache-aside cache over Redis, with a near cache in this process, for synchronous code.
///
/// Handles are cheap to clone and share the connections and the near cache; threads may also share
/// a handle. When the last handle is dropped, the cache releases its locks and closes its
/// connections in the background; [`close`](Self::close) waits for that.
///
/// Every call blocks its thread until it has a result, and every call ends in time: each step that
/// waits for Redis takes at most `command_timeout`, and the load of another caller at most
/// `load_timeout`. Only the loader of the call itself has no limit, because it runs on the calling
/// thread. Do not make these calls in async code: use `redcache-tokio` or another async adapter
/// there.
///
/// # Examples
///
/// ```no_run
/// let cache = redcache_blocking::connect("redis://localhost:6379")?;
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

/// Closes the cache when the last handle is dropped.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (servers, is_connected) = {
            let engine = &self.shared().lock().host.engine;
            (engine.config().servers().clone(), engine.is_connected())
        };
        // The formatter may belong to the application, so no lock is held.
        let mut debug = f.debug_struct("Cache");
        debug.field("servers", &servers).field("connected", &is_connected).finish_non_exhaustive()
    }
}

/// Create a cache and wait for its first connection, for `connect_timeout` at most.
///
/// # Errors
///
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if a setting is invalid; otherwise the reason
/// why the first attempt to connect failed. [`connect_lazy`] does not need the server.
///
/// # Examples
///
/// ```no_run
/// match redcache_blocking::connect("redis://localhost:6379/?command_timeout=250ms") {
///     Ok(cache) => println!("{cache:?}"),
///     Err(error) => eprintln!("no cache: {error}"),
/// }
/// ```
pub fn connect(config: impl IntoConfig) -> Result<Cache, Error> {
    let cache = connect_lazy(config)?;
    cache.ready()?;
    Ok(cache)
}

/// Create a cache that connects in the background. Calls wait for the first attempt to connect, for
/// `command_timeout` at most.
///
/// # Errors
///
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if a setting is invalid,
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the operating system has no
/// randomness or no thread.
///
/// # Examples
///
/// ```no_run
/// let cache = redcache_blocking::connect_lazy("redis://localhost:6379")?;
/// # Ok::<(), redcache_blocking::Error>(())
/// ```
pub fn connect_lazy(config: impl IntoConfig) -> Result<Cache, Error> {
    let shared = Arc::new(Shared::new(config.into_config()?, &new_seed()?)?);
    // From now on, dropping the handle ends the threads.
    let cache = Cache { handle: Arc::new(Handle { shared }), options: CallOptions::new() };
    timer::start(cache.shared()).map_err(Error::no_thread)?;
    Ok(cache)
}

/// Create a disabled cache: without a server, as [`Config::disabled`] describes. Loaders always
/// run, one at a time for each key in this process.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the operating system has no
/// randomness or no thread.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let cache = redcache_blocking::disabled()?;
/// let load = || Ok::<_, std::io::Error>("Ada");
/// let answer = cache.get_with("user:42", Duration::from_secs(60), load)?;
/// assert_eq!(answer.value.as_deref(), Some(&b"Ada"[..]));
/// assert!(cache.get("user:42")?.value.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn disabled() -> Result<Cache, Error> {
    connect_lazy(Config::disabled())
}

impl Cache {
    /// Wait until the first attempt to connect has succeeded or failed.
    ///
    /// # Errors
    ///
    /// The reason why the latest attempt failed. More attempts follow in the background.
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the cache is closed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// if let Err(error) = cache.ready() {
    ///     eprintln!("starting without Redis: {error}");
    /// }
    /// # }
    /// ```
    pub fn ready(&self) -> Result<(), Error> {
        self.shared().wait_ready()
    }

    /// Return a handle of the same cache whose calls use `options`. It costs as much as a clone.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache_blocking::CallOptions;
    /// # fn example(cache: redcache_blocking::Cache) -> Result<(), redcache_blocking::BoxError> {
    /// use std::time::Duration;
    ///
    /// let urgent = cache.with_options(CallOptions::new().timeout(Duration::from_millis(200)));
    /// let answer = urgent.get("user:42")?;
    /// let newest = cache
    ///     .with_options(CallOptions::new().reload())
    ///     .get_with("user:42", Duration::from_secs(60), || { Ok::<_, std::io::Error>("Ada") })
    ///     ?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { handle: Arc::clone(&self.handle), options }
    }

    /// Return the counters.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// let stats = cache.stats();
    /// println!("{} hits, {} bytes", stats.near_hits, stats.near_bytes);
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        self.shared().lock().host.engine.stats()
    }

    /// Return the state of the connections: whether there is one, whether the server tracks keys,
    /// whether the circuit breaker is open, and the last error.
    ///
    /// It sends nothing and costs about as much as [`stats`](Self::stats), so a health endpoint may
    /// call it on each request. It also answers while an attempt to connect hangs.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// let health = cache.health();
    /// if !health.is_connected {
    ///     eprintln!("no connection: {:?}", health.last_error);
    /// }
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        self.shared().lock().host.engine.health(Instant::now())
    }

    /// Return `true` if the server tracks the keys that this cache reads, so that the near cache is
    /// in use. Return `false` while there is no connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// if !cache.is_tracked() {
    ///     eprintln!("every read is a round trip");
    /// }
    /// # }
    /// ```
    pub fn is_tracked(&self) -> bool {
        self.shared().lock().host.engine.is_tracked()
    }

    /// Close the cache and all its handles.
    ///
    /// Calls end with [`ErrorKind::Closed`](crate::ErrorKind::Closed), locks are released, and
    /// connections are closed. The call joins the threads, for about a second at most.
    ///
    /// A loader is not interrupted, and its call fails when the loader returns. Threads that are
    /// trying to connect are not waited for; they end within `connect_timeout`. In an observer that
    /// runs on a thread of a cache, the call does not wait.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_blocking::Cache) {
    /// cache.close();
    /// assert!(cache.get("user:42").is_err());
    /// # }
    /// ```
    pub fn close(&self) {
        if self.shared().close() {
            self.shared().wait_closed();
        }
    }

    pub(crate) fn run<Q: Request>(&self, request: Q) -> Result<Q::Output, Q::Error> {
        call::run(self.shared(), self.options, request)
    }

    pub(crate) fn run_once<Q: Request>(
        &self,
        request: Q,
        load: impl FnOnce(Vec<Key>) -> LoadResult,
    ) -> Result<Q::Output, Q::Error> {
        call::run_once(self.shared(), self.options, request, load)
    }

    pub(crate) fn run_with<Q: Request>(
        &self,
        request: Q,
        load: impl FnMut(Vec<Key>) -> LoadResult,
    ) -> Result<Q::Output, Q::Error> {
        call::run_with(self.shared(), self.options, request, load)
    }

    #[inline]
    pub(crate) fn near_reader(&self) -> &NearReader {
        &self.handle.shared.near
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    #[inline]
    pub(crate) fn options(&self) -> &CallOptions {
        &self.options
    }

    /// Answer a key from the near cache.
    #[inline]
    pub(crate) fn answer_near(&self, key: &[u8]) -> Option<Answer> {
        let near = self.near_reader();
        near.get(key, &self.options, |is_call_limited| near.now(is_call_limited), Answer::from)
    }
}

#[cfg(test)]
mod tests {
    use redcache_sim::listen::EmbeddedServer;

    use redcache_core::Source;
    use std::time::Duration;

    use super::*;

    #[test]
    fn close_joins_every_thread() {
        let server = EmbeddedServer::start().unwrap();
        let cache = connect(server.url()).unwrap();
        let owners = |cache: &Cache| Arc::strong_count(&cache.handle.shared);
        // The owners are this handle and the timer, reader and writer threads.
        assert_eq!(owners(&cache), 4);
        cache.close();
        assert_eq!(owners(&cache), 1);
    }

    #[test]
    fn a_near_hit_takes_no_lock_of_the_engine() {
        let server = EmbeddedServer::start().unwrap();
        let cache = connect(server.url()).unwrap();
        let load = || Ok::<_, String>("Ada");
        let ttl = Duration::from_secs(60);
        cache.get_with("user:1", ttl, load).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = cache.clone();
        let locked = cache.shared().lock();
        std::thread::spawn(move || {
            sender.send(reader.get("user:1").unwrap().source).unwrap();
            sender.send(reader.get_with("user:1", ttl, load).unwrap().source).unwrap();
            sender.send(reader.get_many(["user:1"]).unwrap()[0].as_ref().unwrap().source).unwrap();
        });
        for _ in 0..3 {
            let source = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(source, Source::Near);
        }
        drop(locked);
    }
}
