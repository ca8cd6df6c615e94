//! The cache of any adapter behind blocking calls, so that one scenario runs on all adapters.
//!
//! Callers of a scenario are threads. On an async adapter each thread drives the future of its
//! call, while the runtime of the adapter drives the connection.

use std::convert::identity;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use redcache_async_std::AsyncStd;
use redcache_core::{
    Answer, BatchResult, BoxError, CallOptions, Config, Error, Key, LoadError, Loaded, Notice,
    Observer, RefreshOptions, Stats,
};
use redcache_driver::Runtime;
use redcache_smol::Smol;
use redcache_tokio::Tokio;

use super::boom::Boom;

/// The bounds of a loader's error.
pub(crate) trait Failure: Into<BoxError> + 'static {}

impl<E: Into<BoxError> + 'static> Failure for E {}

/// The calls that every adapter has.
pub(crate) trait Cache: Clone + Debug + Send + Sync + 'static {
    fn connect(url: &str) -> Result<Self, Error>;
    fn open(url: &str) -> Self;
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
    fn observe(&self, observer: impl Observer + 'static) -> bool;
    fn refreshing(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> + Send + Sync + 'static,
    ) -> Result<Reader, Error>;
    fn stats(&self) -> Stats;
    fn is_tracked(&self) -> bool;
    fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static);
    fn close(&self);
}

/// Reads of a key through a registered loader, which ends when this is dropped.
pub(crate) type Reader = Box<dyn Fn(&str) -> Result<Answer, LoadError<Boom>> + Send + Sync>;

/// A cache whose calls are futures.
pub(crate) trait AsyncCache: Cache {
    type Host: Host;

    fn handle(&self) -> &redcache_driver::Cache<Self::Host>;
}

impl<R: Host> AsyncCache for redcache_driver::Cache<R> {
    type Host = R;

    fn handle(&self) -> &Self {
        self
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

/// Define the calls with equal signatures; `$end` completes what they return.
macro_rules! same_calls {
    ($end:expr) => {
        fn connect(url: &str) -> Result<Self, Error> {
            $end(Self::connect(url))
        }

        fn ready(&self) -> Result<(), Error> {
            $end(self.ready())
        }

        fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, Error> {
            $end(self.get(key))
        }

        fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> BatchResult<Answer> {
            $end(self.get_many(keys))
        }

        fn insert(
            &self,
            key: impl AsRef<[u8]>,
            value: impl Into<Bytes>,
            ttl: Duration,
        ) -> Result<(), Error> {
            $end(self.insert(key, value, ttl))
        }

        fn insert_many<K: AsRef<[u8]>>(
            &self,
            entries: Vec<(K, Bytes)>,
            ttl: Duration,
        ) -> BatchResult<()> {
            $end(self.insert_many(entries, ttl))
        }

        fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
            $end(self.remove(key))
        }

        fn remove_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> BatchResult<bool> {
            $end(self.remove_many(keys))
        }

        fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
            $end(self.touch(key, ttl))
        }

        fn touch_many<K: AsRef<[u8]>>(&self, keys: &[K], ttl: Duration) -> BatchResult<bool> {
            $end(self.touch_many(keys, ttl))
        }

        fn with_options(&self, options: CallOptions) -> Self {
            self.with_options(options)
        }

        fn observe(&self, observer: impl Observer + 'static) -> bool {
            self.observe(observer)
        }

        fn stats(&self) -> Stats {
            self.stats()
        }

        fn is_tracked(&self) -> bool {
            self.is_tracked()
        }

        fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
            self.on_notice(listener);
        }

        fn close(&self) {
            $end(self.close());
        }
    };
}

impl<R: Host> Cache for redcache_driver::Cache<R> {
    fn open(url: &str) -> Self {
        let config = Config::from_url(url).expect("the scenario's URL is right");
        R::block_on(async { Self::open(config, R::default()) }).expect("the system is able")
    }

    fn get_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<Answer, LoadError<E>> {
        R::block_on(self.get_with(key, ttl, || async { loader() }))
    }

    fn get_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        mut loader: impl FnMut(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<Answer, LoadError<E>> {
        R::block_on(self.get_many_with(keys, ttl, |keys| ready(loader(keys))))
    }

    fn insert_with<E: Failure>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> Result<Loaded, E>,
    ) -> Result<bool, LoadError<E>> {
        R::block_on(self.insert_with(key, ttl, || async { loader() }))
    }

    fn insert_many_with<K: AsRef<[u8]>, E: Failure>(
        &self,
        keys: &[K],
        ttl: Duration,
        loader: impl FnOnce(Vec<Key>) -> Result<Vec<(Key, Loaded)>, E>,
    ) -> BatchResult<bool, LoadError<E>> {
        R::block_on(self.insert_many_with(keys, ttl, |keys| ready(loader(keys))))
    }

    fn refreshing(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> + Send + Sync + 'static,
    ) -> Result<Reader, Error> {
        // On its own thread: the loader may block, the runtime must not.
        let loader = Arc::new(loader);
        let load = move |keys| {
            let loader = Arc::clone(&loader);
            smol::unblock(move || loader(keys))
        };
        let refreshing = self.refreshing(options, load)?;
        Ok(Box::new(move |key| R::block_on(refreshing.get(key))))
    }

    same_calls!(R::block_on);
}

impl Cache for redcache_blocking::Cache {
    fn open(url: &str) -> Self {
        let config = Config::from_url(url).expect("the scenario's URL is right");
        Self::open(config).expect("the system is able")
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

    fn refreshing(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> + Send + Sync + 'static,
    ) -> Result<Reader, Error> {
        let refreshing = self.refreshing(options, loader)?;
        Ok(Box::new(move |key| refreshing.get(key)))
    }

    same_calls!(identity);
}
