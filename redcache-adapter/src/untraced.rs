//! The spans of calls in a build without the feature `tracing`: there are none, and the compiler
//! removes every use.

use std::future::Future;

use redcache_core::Error;
use redcache_core::engine::{CallStep, Outcome, SharedObserver};

use crate::load::LoadResult;
use crate::request::Request;

/// The name of a cache in its spans.
#[derive(Debug)]
pub struct CacheTrace;

impl CacheTrace {
    /// Take the name from the cache's observer.
    pub(crate) fn new(_: &SharedObserver) -> Self {
        Self
    }

    /// Record a near hit.
    #[inline]
    pub(crate) fn on_near_hit(&self) {}
}

/// The spans of one call.
#[derive(Debug)]
pub struct CallTrace;

/// The time in which a span is entered.
#[derive(Debug)]
pub struct Entered;

impl CallTrace {
    /// Begin the span of a call.
    pub fn begin<Q: Request>(_: &CacheTrace, _: &Q) -> Self {
        Self
    }

    /// Return `true` if a subscriber wants the spans.
    pub fn is_on(&self) -> bool {
        false
    }

    /// Attach the span of the call to its future, which owns the trace.
    pub fn around<F: Future>(self, call: impl FnOnce(Self) -> F) -> F {
        call(self)
    }

    /// Enter the span of the call on this thread until the returned value is dropped.
    pub fn enter(&self) -> Entered {
        Entered
    }

    /// Begin and end the spans of steps.
    pub fn note(&mut self, _: impl IntoIterator<Item = CallStep>) {}

    /// Begin the span of a run of the loader.
    pub fn load(&mut self, _: usize) -> LoadTrace {
        LoadTrace
    }

    /// Record the outcome of the call, and end its steps.
    pub fn end(&mut self, _: &Outcome) {}

    /// Record that the engine has rejected the call.
    pub fn reject(&self, _: &Error) {}
}

/// The span of one run of a loader.
#[derive(Debug)]
pub struct LoadTrace;

impl LoadTrace {
    /// Attach the span to the future of a loader.
    pub fn within<F: Future>(&self, load: F) -> F {
        load
    }

    /// Run a loader, or create its future, within the span.
    pub fn in_scope<T>(&self, load: impl FnOnce() -> T) -> T {
        load()
    }

    /// End the span with the result of the loader.
    pub fn end(self, _: &LoadResult) {}
}
