//! The host of the engine behind a lock of its face, and the operations that both faces share.

use std::time::Instant;

use redcache_core::engine::{LoaderId, OpId};

use crate::host::Host;
use crate::load::LoadResult;
use crate::near_reader::NearReader;
use crate::outputs::Calls;
use crate::process::OwnProcess;

/// The shared state of one cache of a host.
pub trait SharedHost {
    /// The calls that wait for events.
    type Calls: Calls;
    /// A registered loader.
    type Loader: Clone;

    /// Give the engine one input, and act on all its outputs.
    fn with_host<T>(
        &self,
        input: impl FnOnce(&mut Host<Self::Calls, Self::Loader>, Instant) -> T,
    ) -> T;

    /// Return the reader of the near cache.
    fn near(&self) -> &NearReader;

    /// Return the current instant.
    fn now(&self) -> Instant;

    /// Return the process that opened the cache.
    fn process(&self) -> &OwnProcess;

    /// Begin to close the cache. A fork returns `false`, and leaves the cache to its parent.
    fn close(&self) -> bool {
        let is_ours = self.process().is_current();
        if is_ours {
            self.with_host(|host, now| host.engine.close(now));
        }
        is_ours
    }

    /// Hand the result of a call's loader to the engine.
    fn hand_over(&self, op: OpId, loaded: LoadResult) {
        self.with_host(|host, now| loaded.hand_over(&mut host.engine, now, op));
    }

    /// Report the end of a background run of a registered loader.
    fn end_refresh(&self, loader: LoaderId) {
        self.with_host(|host, now| host.engine.handle_refresh_over(now, loader));
    }
}

/// Reports the end of a background run of a registered loader when it is dropped.
#[derive(Debug)]
pub struct RefreshRun<'a, H: SharedHost> {
    host: &'a H,
    loader: LoaderId,
}

impl<'a, H: SharedHost> RefreshRun<'a, H> {
    /// Begin a run.
    pub fn new(host: &'a H, loader: LoaderId) -> Self {
        Self { host, loader }
    }
}

impl<H: SharedHost> Drop for RefreshRun<'_, H> {
    fn drop(&mut self) {
        self.host.end_refresh(self.loader);
    }
}
