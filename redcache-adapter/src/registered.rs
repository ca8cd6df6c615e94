//! A registered loader that handles share, and the reads through it.

use std::fmt;
use std::sync::Arc;

use redcache_core::engine::{Batch, CallError};
use redcache_core::{Answer, CallOptions, Error, RefreshOptions};

use crate::loaders::{DueKey, Registration};
use crate::request::read::{GetManyWith, GetWith};
use crate::shared_host::SharedHost;

/// A loader that is registered until this value is dropped.
pub struct Registered<H: SharedHost> {
    host: Arc<H>,
    registration: Registration,
    loader: H::Loader,
}

impl<H: SharedHost> Registered<H> {
    /// Register a loader.
    ///
    /// # Errors
    ///
    /// Fails if the options are invalid, or the cache is closed.
    pub fn new(
        host: &Arc<H>,
        options: RefreshOptions,
        loader: H::Loader,
    ) -> Result<Arc<Self>, Error> {
        host.process().check()?;
        let registered = loader.clone();
        let registration = host.with_host(|host, now| {
            host.loaders.register(&mut host.engine, now, options, registered)
        })?;
        Ok(Arc::new(Self { host: Arc::clone(host), registration, loader }))
    }

    /// Return the loader.
    pub fn loader(&self) -> &H::Loader {
        &self.loader
    }

    /// Look a key up in the near cache, and request its refresh if that is due. Return the answer,
    /// or the request for a key without an entry.
    ///
    /// # Errors
    ///
    /// Fails with the request if the near cache has no entry.
    pub fn get(&self, key: &[u8], options: CallOptions) -> Result<Answer, GetWith> {
        let now = self.host.now();
        let near = self.host.near();
        let Some(hit) = near.get(key, &options, |_| near.time_of(now), |hit| hit) else {
            return Err(self.registration.get(key, options));
        };
        self.refresh(self.registration.due(key, &hit, now));
        Ok(hit.into())
    }

    /// Look several keys up in the near cache, and request the refreshes that are due. Return the
    /// batch, and the request for the keys without an entry.
    pub fn get_many<K: AsRef<[u8]>, E: From<CallError>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
    ) -> (Batch<E>, Option<GetManyWith>) {
        let (near, now) = (self.host.near(), self.host.now());
        let (mut batch, due) = self.registration.lookup_many(near, keys, options, now);
        self.refresh(due);
        let rest = self.registration.rest(&mut batch, options);
        (batch, rest)
    }

    /// Request refreshes of the keys that are due.
    fn refresh(&self, due: impl IntoIterator<Item = DueKey>) {
        for key in due {
            if self.host.process().is_current() {
                self.host.with_host(|host, now| key.refresh(&mut host.engine, now));
            }
        }
    }
}

impl<H: SharedHost> Drop for Registered<H> {
    fn drop(&mut self) {
        if !self.host.process().is_current() {
            return;
        }
        let id = self.registration.loader();
        let loader = self.host.with_host(|host, _| host.loaders.unregister(&mut host.engine, id));
        // The loader may own a handle of this cache, so it is not dropped under the lock.
        drop(loader);
    }
}

impl<H: SharedHost> fmt::Debug for Registered<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.registration.options(), f)
    }
}
