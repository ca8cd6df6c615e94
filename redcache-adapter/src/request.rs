//! Typed requests: each call of a cache as a value that starts the call and converts its outcome.
//!
//! A face runs every request the same way: it begins the call under the engine's lock, waits for
//! the outcome, and returns the result of [`Request::finish`]. The behaviour of a call is defined
//! here, once for both faces.

use std::time::Instant;

use redcache_core::Error;
use redcache_core::engine::{Engine, OpId, Outcome};

pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod refresh;
pub(crate) mod write;

/// A call of the application.
pub trait Request: Sized {
    /// The result of a successful call.
    type Output;
    /// The error of the call.
    type Error: From<Error>;
    /// The name of the call, for traces.
    const NAME: &'static str;

    /// Return the number of keys, before the call starts.
    fn keys(&self) -> usize;

    /// Hand the call to the engine. It is called once.
    ///
    /// # Errors
    ///
    /// Fails if the engine rejects the call. Nothing was sent then.
    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error>;

    /// Convert the outcome of the call. Return `None` if the outcome belongs to another kind of
    /// call.
    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Self::Error>>;

    /// Return the result of the call.
    ///
    /// # Errors
    ///
    /// Fails if the call failed.
    fn finish(outcome: Outcome) -> Result<Self::Output, Self::Error> {
        // The engine ends each call with an outcome of the call's kind.
        Self::convert(outcome).expect("the outcome belongs to the call")
    }
}
