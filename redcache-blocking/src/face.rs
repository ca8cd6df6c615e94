//! The cache as a face, for the layers above it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use redcache_adapter::{Face, LoadResult, NearReader, Request};
use redcache_core::engine::NearTime;
use redcache_core::{CallOptions, Error, Key, RefreshOptions};

use crate::cache::Cache;
use crate::refreshing::RefreshingCache;

impl Face for Cache {
    type Refreshing<E> = RefreshingCache<E>;

    #[inline]
    fn near(&self) -> &NearReader {
        self.near_reader()
    }

    #[inline]
    fn options(&self) -> &CallOptions {
        self.options()
    }

    fn with_options(&self, options: CallOptions) -> Self {
        self.with_options(options)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn near_now(&self, is_call_limited: bool) -> NearTime {
        self.near_reader().now(is_call_limited)
    }

    async fn run<Q: Request>(&self, request: Q) -> Result<Q::Output, Q::Error> {
        self.run(request)
    }

    async fn run_with<Q: Request, F: Future<Output = LoadResult>>(
        &self,
        request: Q,
        mut load: impl FnMut(Vec<Key>) -> Option<F>,
    ) -> Result<Q::Output, Q::Error> {
        let load = |keys| load(keys).and_then(ready).unwrap_or_else(LoadResult::nothing);
        self.run_with(request, load)
    }

    fn register<E, F: Future<Output = LoadResult> + Send + 'static>(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> F + Send + Sync + 'static,
    ) -> Result<RefreshingCache<E>, Error> {
        let load = move |keys| ready(loader(keys)).unwrap_or_else(LoadResult::nothing);
        RefreshingCache::register(self, options, Arc::new(load))
    }
}

/// Return the output of a future of synchronous code. It is ready at the first poll.
fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
