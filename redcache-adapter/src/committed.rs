//! The result of the commit of a `change`, kept outside of the engine.

use std::sync::{Mutex, PoisonError};

use redcache_core::engine::CallError;
use redcache_core::{BoxError, Error, LoadError};

use crate::load::LoadResult;

/// The value that a commit has returned, if it has succeeded.
#[derive(Debug)]
pub struct Committed<T>(Mutex<Option<T>>);

impl<T> Committed<T> {
    /// Return the place of the value of a commit that has not run.
    pub fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Keep the value of a commit, and convert its result for the engine.
    pub fn keep<E: Into<BoxError> + 'static>(&self, result: Result<T, E>) -> LoadResult {
        let kept = |value| {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            Vec::<(Vec<u8>, Vec<u8>)>::new()
        };
        LoadResult::many(result.map(kept))
    }

    /// Return the value of the commit, even if the call has failed afterwards.
    ///
    /// # Errors
    ///
    /// Fails with the error of the commit, or with the error of the call if the commit did not
    /// complete.
    pub fn finish<E: 'static>(self, ended: Result<(), CallError>) -> Result<T, LoadError<E>> {
        match (self.0.into_inner().unwrap_or_else(PoisonError::into_inner), ended) {
            (Some(value), _) => Ok(value),
            (None, Err(error)) => Err(error.into()),
            // The engine reports success of a change only after its commit.
            (None, Ok(())) => Err(Error::closed().into()),
        }
    }
}

impl<T> Default for Committed<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Ended = Result<u8, LoadError<std::fmt::Error>>;

    #[test]
    fn a_value_that_was_committed_outlives_the_failure_of_its_call() {
        let committed = Committed::new();
        drop(committed.keep::<std::fmt::Error>(Ok(7)));
        let ended: Ended = committed.finish(Err(Error::closed().into()));
        assert_eq!(ended.unwrap(), 7);
        let failed = Committed::<u8>::new();
        drop(failed.keep(Err(std::fmt::Error)));
        let ended: Ended = failed.finish(Err(Error::closed().into()));
        assert!(ended.unwrap_err().cache_error().is_some());
    }
}
