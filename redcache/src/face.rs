//! The cache below a view, which belongs to either face.
//!
//! It is an enum and not a type parameter, so that the compiler can prove that the futures of the
//! calls are `Send`.

use std::future::Future;
use std::time::Instant;

#[cfg(any(feature = "async", feature = "blocking"))]
use redcache_adapter::Face as _;
use redcache_adapter::{LoadResult, NearReader, Request};
use redcache_core::engine::NearTime;
use redcache_core::{Answer, BatchResult, CallOptions, Error, Key, LoadError, RefreshOptions};

/// A cache of either face.
#[derive(Clone)]
pub(crate) enum Face {
    #[cfg(feature = "async")]
    Async(redcache_driver::Cache),
    #[cfg(feature = "blocking")]
    Blocking(redcache_blocking::Cache),
}

/// Evaluate the same expression with the cache of either face.
macro_rules! either {
    ($face:expr, $cache:ident => $result:expr) => {
        match $face {
            #[cfg(feature = "async")]
            Face::Async($cache) => $result,
            #[cfg(feature = "blocking")]
            Face::Blocking($cache) => $result,
        }
    };
}

impl Face {
    #[inline]
    pub(crate) fn near(&self) -> &NearReader {
        either!(self, cache => cache.near())
    }

    #[inline]
    pub(crate) fn options(&self) -> &CallOptions {
        either!(self, cache => redcache_adapter::Face::options(cache))
    }

    pub(crate) fn now(&self) -> Instant {
        either!(self, cache => redcache_adapter::Face::now(cache))
    }

    #[inline]
    pub(crate) fn near_now(&self, is_call_limited: bool) -> NearTime {
        either!(self, cache => cache.near_now(is_call_limited))
    }

    pub(crate) fn with_options(&self, options: CallOptions) -> Self {
        match self {
            #[cfg(feature = "async")]
            Self::Async(cache) => Self::Async(cache.with_options(options)),
            #[cfg(feature = "blocking")]
            Self::Blocking(cache) => Self::Blocking(cache.with_options(options)),
        }
    }

    /// Run a call without a loader.
    pub(crate) async fn run<Q: Request>(&self, request: Q) -> Result<Q::Output, Q::Error> {
        either!(self, cache => redcache_adapter::Face::run(cache, request).await)
    }

    /// Run a call whose loader runs each time the engine requests it. The loader returns `None` if
    /// it cannot run again.
    pub(crate) async fn run_with<Q: Request, Fut: Future<Output = LoadResult>>(
        &self,
        request: Q,
        load: impl FnMut(Vec<Key>) -> Option<Fut>,
    ) -> Result<Q::Output, Q::Error> {
        either!(self, cache => redcache_adapter::Face::run_with(cache, request, load).await)
    }

    /// Register a loader for refreshes. Its errors have the type `E`.
    pub(crate) fn register<E, Fut: Future<Output = LoadResult> + Send + 'static>(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> Fut + Send + Sync + 'static,
    ) -> Result<Refreshing<E>, Error> {
        match self {
            #[cfg(feature = "async")]
            Self::Async(cache) => cache.register(options, loader).map(Refreshing::Async),
            #[cfg(feature = "blocking")]
            Self::Blocking(cache) => cache.register(options, loader).map(Refreshing::Blocking),
        }
    }
}

/// A registered loader on a cache of either face.
pub(crate) enum Refreshing<E> {
    #[cfg(feature = "async")]
    Async(redcache_driver::RefreshingCache<E>),
    #[cfg(feature = "blocking")]
    Blocking(redcache_blocking::RefreshingCache<E>),
}

impl<E> Clone for Refreshing<E> {
    fn clone(&self) -> Self {
        match self {
            #[cfg(feature = "async")]
            Self::Async(refreshing) => Self::Async(refreshing.clone()),
            #[cfg(feature = "blocking")]
            Self::Blocking(refreshing) => Self::Blocking(refreshing.clone()),
        }
    }
}

impl<E: 'static> Refreshing<E> {
    /// Return the loader on a handle of the cache whose calls use `options`.
    pub(crate) fn with_options(&self, options: CallOptions) -> Self {
        match self {
            #[cfg(feature = "async")]
            Self::Async(refreshing) => Self::Async(refreshing.with_options(options)),
            #[cfg(feature = "blocking")]
            Self::Blocking(refreshing) => Self::Blocking(refreshing.with_options(options)),
        }
    }

    pub(crate) async fn get(&self, name: &Key) -> Result<Answer, LoadError<E>> {
        match self {
            #[cfg(feature = "async")]
            Self::Async(refreshing) => refreshing.get(name).await,
            #[cfg(feature = "blocking")]
            Self::Blocking(refreshing) => refreshing.get(name),
        }
    }

    pub(crate) async fn get_many(&self, names: &[Key]) -> BatchResult<Answer, LoadError<E>> {
        match self {
            #[cfg(feature = "async")]
            Self::Async(refreshing) => refreshing.get_many(names).await,
            #[cfg(feature = "blocking")]
            Self::Blocking(refreshing) => refreshing.get_many(names),
        }
    }
}

#[cfg(feature = "async")]
impl From<&redcache_driver::Cache> for Face {
    fn from(cache: &redcache_driver::Cache) -> Self {
        Self::Async(cache.clone())
    }
}

#[cfg(feature = "blocking")]
impl From<&redcache_blocking::Cache> for Face {
    fn from(cache: &redcache_blocking::Cache) -> Self {
        Self::Blocking(cache.clone())
    }
}
