//! The cache of any adapter behind blocking calls, so that one scenario runs on all adapters.
//!
//! Callers of a scenario are threads. On an async adapter each thread drives the future of its
//! call, while the runtime of the adapter drives the connection.

use std::convert::identity;
use std::fmt::{self, Debug};
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use redcache_async_std::AsyncStd;
use redcache_core::{
    Answer, BatchResult, BoxError, CallOptions, Error, Health, IntoConfig, Key, LoadError, Loaded,
    RefreshOptions, Stats,
};
use redcache_driver::Runtime;
use redcache_smol::Smol;
use redcache_tokio::Tokio;

use super::boom::Boom;
use super::server::trusting;

/// The bounds of a loader's error.
pub(crate) trait Failure: Into<BoxError> + 'static {}

impl<E: Into<BoxError> + 'static> Failure for E {}

/// The calls that every adapter has.
pub(crate) trait Cache: Clone + Debug + Send + Sync + 'static {
    fn connect(config: impl IntoConfig) -> Result<Self, Error>;
    fn open(config: impl IntoConfig) -> Self;
    fn ready(&self) -> Result<(), Error>;
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error>;
    fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> BatchResult<Answer>;
    fn get_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<Answer, LoadError<E>>;
    fn get_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        loader: impl FnMut(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<Answer, LoadError<E>>;
    fn insert_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<bool, LoadError<E>>;
    fn insert_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        loader: impl FnOnce(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<bool, LoadError<E>>;
    fn change<T, E: Failure>(
        &self,
        keys: &[&str],
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, LoadError<E>>;
    fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), Error>;
    fn insert_many<K: AsRef<[u8]>>(
        &self,
        entries: Vec<(K, Bytes)>,
        ttl: Duration,
    ) -> BatchResult<()>;
    fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error>;
    fn remove_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> BatchResult<bool>;
    fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error>;
    fn touch_many<K: AsRef<[u8]>>(&self, keys: &[K], ttl: Duration) -> BatchResult<bool>;
    fn with_options(&self, options: CallOptions) -> Self;
    fn refreshing(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> + Send + Sync + 'static,
    ) -> Result<Reader, Error>;
    fn stats(&self) -> Stats;
    fn is_tracked(&self) -> bool;
    fn health(&self) -> Health;
    fn close(&self);
}

/// Reads of a key through a registered loader, which ends when this is dropped.
pub(crate) type Reader = Box<dyn Fn(&str) -> Result<Answer, LoadError<Boom>> + Send + Sync>;

/// A cache whose calls are futures.
pub(crate) trait AsyncCache: Cache {
    type Host: Host;

    fn handle(&self) -> &redcache_driver::Cache;
}

/// The cache of an async adapter on its runtime `H`.
pub(crate) struct Async<H> {
    cache: redcache_driver::Cache,
    host: PhantomData<fn() -> H>,
}

impl<H> Async<H> {
    fn new(cache: redcache_driver::Cache) -> Self {
        Self { cache, host: PhantomData }
    }
}

impl<H> Clone for Async<H> {
    fn clone(&self) -> Self {
        Self::new(self.cache.clone())
    }
}

impl<H> Debug for Async<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cache.fmt(f)
    }
}

impl<H: Host> AsyncCache for Async<H> {
    type Host = H;

    fn handle(&self) -> &redcache_driver::Cache {
        &self.cache
    }
}

/// A runtime that the tests start.
pub(crate) trait Host: Runtime + Default {
    fn block_on<T>(future: impl Future<Output = T>) -> T;
}

/// The runtime of all tests: its threads drive connections and timers, and are never blocked.
pub(crate) static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("tokio starts")
});

impl Host for Smol {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }
}

impl Host for AsyncStd {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }
}

impl Host for Tokio {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        TOKIO.block_on(future)
    }
}

/// Define the calls with equal signatures. `$end` completes their results.
macro_rules! same_calls {
    ($end:expr, $($cache:tt)*) => {
        fn ready(&self) -> Result<(), Error> {
            $end(self$($cache)*.ready())
        }

        fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error> {
            $end(self$($cache)*.get(key))
        }

        fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> BatchResult<Answer> {
            $end(self$($cache)*.get_many(keys))
        }

        fn insert(
            &self,
            key: impl AsRef<[u8]>,
            value: impl Into<Bytes>,
            ttl: Duration,
        ) -> Result<(), Error> {
            $end(self$($cache)*.insert(key, value, ttl))
        }

        fn insert_many<K: AsRef<[u8]>>(
            &self,
            entries: Vec<(K, Bytes)>,
            ttl: Duration,
        ) -> BatchResult<()> {
            $end(self$($cache)*.insert_many(entries, ttl))
        }

        fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
            $end(self$($cache)*.remove(key))
        }

        fn remove_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> BatchResult<bool> {
            $end(self$($cache)*.remove_many(keys))
        }

        fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
            $end(self$($cache)*.touch(key, ttl))
        }

        fn touch_many<K: AsRef<[u8]>>(&self, keys: &[K], ttl: Duration) -> BatchResult<bool> {
            $end(self$($cache)*.touch_many(keys, ttl))
        }

        fn stats(&self) -> Stats {
            self$($cache)*.stats()
        }

        fn is_tracked(&self) -> bool {
            self$($cache)*.is_tracked()
        }

        fn health(&self) -> Health {
            self$($cache)*.health()
        }

        fn close(&self) {
            $end(self$($cache)*.close());
        }
    };
}

impl<H: Host> Cache for Async<H> {
    fn connect(config: impl IntoConfig) -> Result<Self, Error> {
        // `H::default` looks up the current runtime, so it runs inside of it.
        let config = trusting(config)?;
        let connect = async { redcache_driver::Cache::connect_on(H::default(), config).await };
        H::block_on(connect).map(Self::new)
    }

    fn open(config: impl IntoConfig) -> Self {
        let config = trusting(config).expect("the settings are valid");
        let open = async { redcache_driver::Cache::connect_lazy_on(H::default(), config) };
        H::block_on(open).map(Self::new).expect("the system is able")
    }

    fn get_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<Answer, LoadError<E>> {
        H::block_on(self.cache.get_with(key, ttl, || async { loader() }))
    }

    fn get_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        mut loader: impl FnMut(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<Answer, LoadError<E>> {
        H::block_on(self.cache.get_many_with(keys, ttl, |keys| ready(loader(keys))))
    }

    fn insert_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<bool, LoadError<E>> {
        H::block_on(self.cache.insert_with(key, ttl, || async { loader() }))
    }

    fn insert_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        loader: impl FnOnce(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<bool, LoadError<E>> {
        H::block_on(self.cache.insert_many_with(keys, ttl, |keys| ready(loader(keys))))
    }

    fn change<T, E: Failure>(
        &self,
        keys: &[&str],
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, LoadError<E>> {
        H::block_on(self.cache.change(keys, || async { commit() }))
    }

    fn refreshing(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> + Send + Sync + 'static,
    ) -> Result<Reader, Error> {
        // The loader runs on its own thread: it may block, and the runtime must not.
        let loader = Arc::new(loader);
        let load = move |keys| {
            let loader = Arc::clone(&loader);
            smol::unblock(move || loader(keys))
        };
        let refreshing = self.cache.refreshing(options, load)?;
        Ok(Box::new(move |key| H::block_on(refreshing.get(key))))
    }

    fn with_options(&self, options: CallOptions) -> Self {
        Self::new(self.cache.with_options(options))
    }

    same_calls!(H::block_on, .cache);
}

impl Cache for redcache_blocking::Cache {
    fn connect(config: impl IntoConfig) -> Result<Self, Error> {
        redcache_blocking::connect(trusting(config)?)
    }

    fn open(config: impl IntoConfig) -> Self {
        let config = trusting(config).expect("the settings are valid");
        redcache_blocking::connect_lazy(config).expect("the system is able")
    }

    fn get_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<Answer, LoadError<E>> {
        self.get_with(key, ttl, loader)
    }

    fn get_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        loader: impl FnMut(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<Answer, LoadError<E>> {
        self.get_many_with(keys, ttl, loader)
    }

    fn insert_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<bool, LoadError<E>> {
        self.insert_with(key, ttl, loader)
    }

    fn insert_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        loader: impl FnOnce(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<bool, LoadError<E>> {
        self.insert_many_with(keys, ttl, loader)
    }

    fn change<T, E: Failure>(
        &self,
        keys: &[&str],
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, LoadError<E>> {
        self.change(keys, commit)
    }

    fn refreshing(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> + Send + Sync + 'static,
    ) -> Result<Reader, Error> {
        let refreshing = self.refreshing(options, loader)?;
        Ok(Box::new(move |key| refreshing.get(key)))
    }

    fn with_options(&self, options: CallOptions) -> Self {
        self.with_options(options)
    }

    same_calls!(identity,);
}
