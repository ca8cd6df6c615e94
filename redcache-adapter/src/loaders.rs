//! Registered loaders, and the keys that their readers find due for a refresh.

use std::time::Instant;

use redcache_core::engine::{
    Batch, CallError, Engine, LoadOptions, LoaderId, NearHit, RefreshPolicy,
};
use redcache_core::{CallOptions, Error, Key, RefreshOptions};

use crate::near_reader::NearReader;
use crate::request::read::{GetManyWith, GetWith};

/// The registered loaders of one cache. A face chooses how it runs a loader of type `L`.
#[derive(Debug)]
pub struct Loaders<L>(Vec<(LoaderId, L)>);

impl<L> Default for Loaders<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L> Loaders<L> {
    /// Register a loader.
    ///
    /// # Errors
    ///
    /// Fails if the options are invalid, or the cache is closed.
    pub(crate) fn register(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        options: RefreshOptions,
        loader: L,
    ) -> Result<Registration, Error> {
        let policy = engine.register_refresh(now, options)?;
        self.0.push((policy.loader(), loader));
        Ok(Registration { policy })
    }

    /// Remove a loader and everything that waits for it. Return the loader, which the caller drops
    /// without a lock: it may own a handle of the cache.
    pub(crate) fn unregister(&mut self, engine: &mut Engine, loader: LoaderId) -> Option<L> {
        engine.unregister_refresh(loader);
        let at = self.0.iter().position(|(id, _)| *id == loader)?;
        Some(self.0.swap_remove(at).1)
    }
}

impl<L: Clone> Loaders<L> {
    /// Return a loader.
    pub fn get(&self, loader: LoaderId) -> Option<L> {
        self.0.iter().find(|(id, _)| *id == loader).map(|(_, loader)| loader.clone())
    }
}

/// A registered loader as its readers know it.
#[derive(Debug)]
pub(crate) struct Registration {
    policy: RefreshPolicy,
}

impl Registration {
    /// Return the loader's id.
    pub(crate) fn loader(&self) -> LoaderId {
        self.policy.loader()
    }

    /// Return the options of the registration.
    pub(crate) fn options(&self) -> RefreshOptions {
        self.policy.options()
    }

    /// Create the request for a key that the near cache does not have.
    pub(crate) fn get(&self, key: &[u8], options: CallOptions) -> GetWith {
        GetWith::new(key, self.load_options(options))
    }

    /// Look several keys up in the near cache. Return the batch with the keys that are due for a
    /// refresh.
    pub(crate) fn lookup_many<K: AsRef<[u8]>, E: From<CallError>>(
        &self,
        near: &NearReader,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
        now: Instant,
    ) -> (Batch<E>, Vec<DueKey>) {
        let mut due = Vec::new();
        let on_each = |key: &[u8], hit: &NearHit| due.extend(self.due(key, hit, now));
        (near.get_many_and(keys, options, now, on_each), due)
    }

    /// Create the request for the keys of `batch` that the near cache did not have. Return `None`
    /// if it had all.
    pub(crate) fn rest<E: From<CallError>>(
        &self,
        batch: &mut Batch<E>,
        options: CallOptions,
    ) -> Option<GetManyWith> {
        GetManyWith::rest(batch, self.load_options(options))
    }

    fn load_options(&self, options: CallOptions) -> LoadOptions {
        LoadOptions::new(self.policy.options().ttl(), options).refreshed_by(self.policy.loader())
    }

    /// Return the key of a hit if it is due for a refresh.
    pub(crate) fn due(&self, key: &[u8], hit: &NearHit, now: Instant) -> Option<DueKey> {
        let is_due = self.policy.is_due(key, hit, now);
        is_due.then(|| DueKey {
            loader: self.policy.loader(),
            key: Key::copy_from(key),
            expires_at: now + hit.ttl,
        })
    }
}

/// A key that is due for a refresh.
#[derive(Debug)]
pub(crate) struct DueKey {
    loader: LoaderId,
    key: Key,
    expires_at: Instant,
}

impl DueKey {
    /// Request the refresh from the engine.
    pub(crate) fn refresh(self, engine: &mut Engine, now: Instant) {
        engine.refresh(now, self.loader, self.key, self.expires_at);
    }
}
