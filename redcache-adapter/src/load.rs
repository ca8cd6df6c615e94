//! The results of loaders, in the form that the engine takes.

use std::time::Instant;

use redcache_core::engine::{Engine, LoadFailure, OpId};
use redcache_core::{BoxError, Key, Loaded};

use crate::deferred::{Owned, owned};

/// The result of a loader.
#[derive(Debug)]
pub enum LoadResult {
    /// The result for a single key.
    One(Result<Loaded, LoadFailure>),
    /// The result for several keys.
    Many(Result<Vec<(Key, Loaded)>, LoadFailure>),
}

impl LoadResult {
    /// Return the result of a call that has no loader: nothing was loaded.
    pub fn nothing() -> Self {
        Self::Many(Ok(Vec::new()))
    }

    /// Convert the result of a loader of one key.
    pub fn one<T, E>(result: Result<T, E>) -> Self
    where
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        Self::One(result.map(loaded).map_err(failure))
    }

    /// Convert the result of a loader of several keys.
    pub fn many<M, N, T, E>(result: Result<M, E>) -> Self
    where
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
        E: Into<BoxError> + 'static,
    {
        let entry = |(key, value): (N, T)| (Key::copy_from(key.into().as_bytes()), loaded(value));
        let result = result.map(|entries| entries.into_iter().map(entry).collect());
        Self::Many(result.map_err(failure))
    }

    /// Return the result for `key`, the only key that a loader of several keys was called with. A
    /// key that the loader left out is "not found".
    #[must_use]
    pub fn only(self, key: &[u8]) -> Self {
        let Self::Many(result) = self else { return self };
        Self::One(result.map(|entries| {
            let entry = entries.into_iter().find(|(name, _)| name.as_bytes() == key);
            entry.map_or_else(Loaded::not_found, |(_, loaded)| loaded)
        }))
    }

    /// Return `true` if the loader returned an error.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_failed(&self) -> bool {
        match self {
            Self::One(result) => result.is_err(),
            Self::Many(result) => result.is_err(),
        }
    }

    /// Hand the result to the engine.
    pub fn hand_over(self, engine: &mut Engine, now: Instant, op: OpId) {
        match self {
            Self::One(result) => engine.handle_loaded(now, op, result),
            Self::Many(result) => engine.handle_loaded_many(now, op, result),
        }
    }
}

fn loaded(value: impl Into<Loaded>) -> Loaded {
    value.into().map_value(owned)
}

fn failure<E: Into<BoxError> + 'static>(error: E) -> LoadFailure {
    LoadFailure::new(error).owned_by(Owned::new)
}
