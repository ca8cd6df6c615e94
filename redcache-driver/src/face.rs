//! The cache as a face, for the layers above it.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use redcache_adapter::{Face, LoadResult, NearReader, Request};
use redcache_core::engine::NearTime;
use redcache_core::{CallOptions, Error, Key, RefreshOptions};

use crate::cache::Cache;
use crate::call;
use crate::refreshing::RefreshingCache;

impl Face for Cache {
    type Refreshing<E> = RefreshingCache<E>;

    #[inline]
    fn near(&self) -> &NearReader {
        &self.shared().near
    }

    #[inline]
    fn options(&self) -> &CallOptions {
        self.options()
    }

    fn with_options(&self, options: CallOptions) -> Self {
        self.with_options(options)
    }

    fn now(&self) -> Instant {
        self.shared().runtime.now()
    }

    #[inline]
    fn near_now(&self, is_call_limited: bool) -> NearTime {
        self.shared().near_now(is_call_limited)
    }

    async fn run<Q: Request>(&self, request: Q) -> Result<Q::Output, Q::Error> {
        call::run(self.shared(), *self.options(), request).await
    }

    async fn run_with<Q: Request, F: Future<Output = LoadResult>>(
        &self,
        request: Q,
        load: impl FnMut(Vec<Key>) -> Option<F>,
    ) -> Result<Q::Output, Q::Error> {
        call::run_with(self.shared(), *self.options(), request, load, std::convert::identity).await
    }

    fn register<E, F: Future<Output = LoadResult> + Send + 'static>(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> F + Send + Sync + 'static,
    ) -> Result<RefreshingCache<E>, Error> {
        RefreshingCache::register(self, options, Arc::new(move |keys| Box::pin(loader(keys))))
    }
}
