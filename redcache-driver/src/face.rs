//! The cache as a face, for the layers above it.

use std::future::Future;
use std::time::Instant;

use redcache_adapter::{Face, LoadResult, NearReader, Request};
use redcache_core::{CallOptions, Key};

use crate::cache::Cache;
use crate::call;

impl Face for Cache {
    #[inline]
    fn near(&self) -> &NearReader {
        &self.shared().near
    }

    #[inline]
    fn options(&self) -> CallOptions {
        self.options()
    }

    fn with_options(&self, options: CallOptions) -> Self {
        self.with_options(options)
    }

    #[inline]
    fn coarse_now(&self) -> Instant {
        self.shared().runtime.coarse_now()
    }

    async fn run<Q: Request>(&self, request: Q) -> Result<Q::Output, Q::Error> {
        call::run(self.shared(), self.options(), request).await
    }

    async fn run_with<Q: Request, F: Future<Output = LoadResult>>(
        &self,
        request: Q,
        load: impl FnMut(Vec<Key>) -> Option<F>,
    ) -> Result<Q::Output, Q::Error> {
        call::run_with(self.shared(), self.options(), request, load, std::convert::identity).await
    }
}
