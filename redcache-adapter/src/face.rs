//! The interface of a face to the layers above it.

use std::future::Future;
use std::time::Instant;

use redcache_core::engine::NearTime;
use redcache_core::{CallOptions, Error, Key, RefreshOptions};

use crate::load::LoadResult;
use crate::near_reader::NearReader;
use crate::request::Request;

/// A cache of one face, for code that works with both faces.
///
/// The futures of the blocking face are ready when they are polled for the first time.
pub trait Face: Clone {
    /// A handle of a registered loader, whose error is `E`.
    type Refreshing<E>;

    /// Return the near cache.
    fn near(&self) -> &NearReader;

    /// Return the options of the calls of this handle.
    fn options(&self) -> &CallOptions;

    /// Return a handle whose calls use `options`.
    #[must_use]
    fn with_options(&self, options: CallOptions) -> Self;

    /// Return the time.
    fn now(&self) -> Instant;

    /// Return the time of a lookup in the near cache, whose call may limit the staleness.
    fn near_now(&self, is_call_limited: bool) -> NearTime;

    /// Run a call without a loader.
    fn run<Q: Request>(&self, request: Q) -> impl Future<Output = Result<Q::Output, Q::Error>>;

    /// Run a call whose loader runs each time the engine requests it. The loader returns `None` if
    /// it cannot run again.
    fn run_with<Q: Request, F: Future<Output = LoadResult>>(
        &self,
        request: Q,
        load: impl FnMut(Vec<Key>) -> Option<F>,
    ) -> impl Future<Output = Result<Q::Output, Q::Error>>;

    /// Register a loader for refreshes. Its errors have the type `E`.
    ///
    /// # Errors
    ///
    /// Fails if an option is invalid, or the cache is closed.
    fn register<E, F: Future<Output = LoadResult> + Send + 'static>(
        &self,
        options: RefreshOptions,
        loader: impl Fn(Vec<Key>) -> F + Send + Sync + 'static,
    ) -> Result<Self::Refreshing<E>, Error>;
}
