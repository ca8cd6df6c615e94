//! The public type `Cache`: its creation, options, state and end. The calls are in `read` and
//! `write`.

use std::fmt;
use std::sync::Arc;

use redcache_adapter::{SharedHost, new_seed};
use redcache_core::engine::Seed;
use redcache_core::{CallOptions, Config, Error, Health, IntoConfig, Stats};

use crate::drive;
use crate::runtime::Runtime;
use crate::shared::{Shared, State};

/// A cache-aside cache over Redis, with a near cache in this process.
///
/// Handles are cheap to clone and share the connections and the near cache. When the last handle is
/// dropped, the cache releases its locks and closes its connections in the background;
/// [`close`](Self::close) waits for that.
///
/// # Cancellation
///
/// Every call may be dropped at any time. The next caller in line takes over a load, a lock that
/// the call held is released, and other callers lose nothing. Dropping a call does not take back
/// what it has sent: Redis may still execute a write.
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
#[derive(Clone)]
pub struct Cache {
    handle: Arc<Handle>,
    options: CallOptions,
}

/// Closes the cache when the last handle is dropped.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
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

impl Cache {
    /// Create a cache on `runtime` and wait for its first connection.
    ///
    /// The `connect` function of each adapter calls this with its own runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a setting is invalid; otherwise the
    /// reason why the first attempt to connect failed. [`connect_lazy_on`](Self::connect_lazy_on)
    /// does not need the server.
    pub async fn connect_on(runtime: impl Runtime, config: impl IntoConfig) -> Result<Self, Error> {
        let cache = Self::connect_lazy_on(runtime, config)?;
        cache.ready().await?;
        Ok(cache)
    }

    /// Create a cache on `runtime` that connects in the background. Calls wait for the first
    /// attempt to connect, for `command_timeout` at most.
    ///
    /// The `connect_lazy` function of each adapter calls this with its own runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a setting is invalid,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the operating system has no
    /// randomness.
    ///
    /// # Panics
    ///
    /// Panics if the runtime's `spawn` panics.
    pub fn connect_lazy_on(runtime: impl Runtime, config: impl IntoConfig) -> Result<Self, Error> {
        Self::seeded(config.into_config()?, &new_seed()?, runtime)
    }

    pub(crate) fn seeded(
        config: Config,
        seed: &Seed,
        runtime: impl Runtime,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(config, seed, Box::new(runtime))?);
        drive::start(&shared);
        Ok(Self { handle: Arc::new(Handle(shared)), options: CallOptions::new() })
    }

    /// Wait until the first attempt to connect has succeeded or failed.
    ///
    /// # Cancellation
    ///
    /// A dropped call has no effect.
    ///
    /// # Errors
    ///
    /// The reason why the latest attempt failed. More attempts follow in the background.
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the cache is closed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) {
    /// if let Err(error) = cache.ready().await {
    ///     eprintln!("starting without Redis: {error}");
    /// }
    /// # }
    /// ```
    pub async fn ready(&self) -> Result<(), Error> {
        self.shared().process.check()?;
        self.shared().wait_for(|state| state.host.readiness()).await
    }

    /// Return a handle of the same cache whose calls use `options`. It costs as much as a clone.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache_driver::CallOptions;
    /// # async fn example(cache: redcache_driver::Cache) -> Result<(), redcache_driver::BoxError> {
    /// use std::time::Duration;
    ///
    /// let urgent = cache.with_options(CallOptions::new().timeout(Duration::from_millis(200)));
    /// let answer = urgent.get("user:42").await?;
    /// let newest = cache
    ///     .with_options(CallOptions::new().reload())
    ///     .get_with("user:42", Duration::from_secs(60), async || Ok::<_, std::io::Error>("Ada"))
    ///     .await?;
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
    /// # fn example(cache: redcache_driver::Cache) {
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
    /// # fn example(cache: redcache_driver::Cache) {
    /// let health = cache.health();
    /// if !health.is_connected {
    ///     eprintln!("no connection: {:?}", health.last_error);
    /// }
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let now = self.shared().now();
        self.shared().lock().host.engine.health(now)
    }

    /// Return `true` if the server tracks the keys that this cache reads, so that the near cache is
    /// in use. Return `false` while there is no connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(cache: redcache_driver::Cache) {
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
    /// connections are closed. The call waits for the background tasks, for about a second at most.
    ///
    /// # Cancellation
    ///
    /// The cache is closed even if the call is dropped.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(cache: redcache_driver::Cache) {
    /// cache.close().await;
    /// assert!(cache.get("user:42").await.is_err());
    /// # }
    /// ```
    pub async fn close(&self) {
        if !self.shared().close() {
            return;
        }
        let is_closed = |state: &mut State| state.host.is_closed() && state.tasks == 0;
        self.shared().wait_for(|state| is_closed(state).then_some(())).await;
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }

    #[inline]
    pub(crate) fn options(&self) -> &CallOptions {
        &self.options
    }
}
